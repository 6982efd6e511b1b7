//! Waiting until objects are as they should be (`kubectl wait`): by watching, with a deadline.
//!
//! What is missing or can never become so is told at once; a wait that is too long tells what was seen
//! last and what stands in the way. What "so" means, [`super::condition`] decides.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::condition::{Condition, Goal, Standing};
use super::error::Subject;
use super::watch::{Change, Since};
use super::{Cluster, ClusterError, Kind, Object, Query, Selector};

/// How often an object is read that may be read but not watched.
const LOOK: Duration = Duration::from_secs(1);

/// How long is looked for what stands in the way, after the time is up.
pub(super) const INQUIRY: Duration = Duration::from_secs(3);

/// How long a read of a wait may last at least, if the time is up before: one look is always taken.
const LEEWAY: Duration = Duration::from_secs(2);

/// What a read of a wait gives, which is not to outlast it: without it, a server that accepts requests and
/// answers none would hold it for the whole limit of a call.
///
/// # Errors
/// [`ClusterError::Timeout`], and those of the read.
pub(super) async fn in_time<T>(
    deadline: Instant,
    operation: &'static str,
    subject: Subject,
    reading: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, ClusterError> {
    let begun = Instant::now();
    let end = deadline.max(begun + LEEWAY);
    let late = |_| ClusterError::Timeout {
        operation,
        subject,
        after: end.saturating_duration_since(begun),
    };
    tokio::time::timeout_at(end, reading).await.map_err(late)?
}

impl Cluster {
    /// Waits until one object is as it should be, and gives it; none if it is gone.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], at once, unless it is waited for its creation or deletion;
    /// [`ClusterError::WaitInVain`], as soon as it is clear; [`ClusterError::WaitTimeout`]; and those
    /// of reading.
    pub async fn wait_for(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        condition: &Condition,
        timeout: Duration,
    ) -> Result<Option<Object>, ClusterError> {
        let deadline = Instant::now() + timeout;
        let mut one = One {
            cluster: self,
            kind,
            namespace,
            name,
            condition,
            uid: String::new(),
            last: None,
        };
        let read = async || loop {
            let subject = kind.subject(namespace, Some(name));
            match in_time(deadline, "get", subject, self.get(kind, namespace, name)).await {
                Err(e) if e.retryable() && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                result => return result,
            }
        };
        let first = read().await?;
        let since = match &first {
            Some(object) => Since::Version(object.resource_version().to_owned()),
            None => Since::Existing,
        };
        let known: Vec<Object> = first.iter().cloned().collect();
        if let Seen::Over(done) = one.look(first)? {
            return Ok(done);
        }
        let query = Query {
            namespace: namespace.map(str::to_owned),
            selector: Selector {
                fields: Some(format!("metadata.name={name}")),
                labels: None,
            },
            ..Query::default()
        };
        let mut watch = self.watch(kind, query, since).knowing(&known);
        loop {
            let object = match watch.next(deadline).await {
                Ok(Some(event)) => Some(event.object).filter(|_| event.change != Change::Deleted),
                Ok(None) => return Err(one.late(timeout).await),
                Err(ClusterError::Forbidden(_)) => {
                    tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
                    let object = read().await?;
                    let open = matches!(one.look(object.clone())?, Seen::Open);
                    if open && Instant::now() >= deadline {
                        return Err(one.late(timeout).await);
                    }
                    object
                }
                Err(error) => return Err(error),
            };
            if let Seen::Over(done) = one.look(object)? {
                return Ok(done);
            }
        }
    }

    /// Waits until all objects that a query means at first are as they should be, and gives them. These
    /// are meant from then on, each by its UID, whether or not they still match.
    ///
    /// # Errors
    /// As for [`Self::wait_for`]; [`ClusterError::WaitInVain`] if there are none, unless it is waited
    /// for the creation of the first or the deletion of all.
    pub async fn wait_for_all(
        &self,
        kind: &Kind,
        query: &Query,
        condition: &Condition,
        timeout: Duration,
    ) -> Result<Vec<Object>, ClusterError> {
        let deadline = Instant::now() + timeout;
        let subject = kind.subject(query.namespace.as_deref(), None);
        let listing = self.select_at(kind, query);
        let (objects, version) = in_time(deadline, "list", subject.clone(), listing).await?;
        let in_vain = |subject, reason: &str| ClusterError::WaitInVain {
            subject,
            wanted: condition.to_string(),
            reason: reason.to_owned(),
        };
        let of = |object: &Object| kind.subject(object.namespace(), Some(object.name()));
        if objects.is_empty() && !matches!(condition.goal(), Goal::Create | Goal::Delete) {
            return Err(in_vain(subject, "there are none"));
        }
        // A watch with the selector would tell an object that only stops to match as deleted.
        let fields = match objects.as_slice() {
            [one] => Some(format!("metadata.name={}", one.name())),
            _ => None,
        };
        let labels = None;
        let watched = Query {
            namespace: query.namespace.clone(),
            selector: match condition.goal() {
                Goal::Create => query.selector.clone(),
                _ => Selector { labels, fields },
            },
            ..Query::default()
        };
        let mut watch = self
            .watch(kind, watched, Since::Version(version))
            .knowing(&objects);
        let mut all: BTreeMap<String, (Object, Standing)> = BTreeMap::new();
        for object in objects {
            let standing = condition.standing(kind, &object)?;
            all.insert(object.uid().to_owned(), (object, standing));
        }
        loop {
            for (object, standing) in all.values() {
                if let Standing::Never(reason) = standing {
                    return Err(in_vain(of(object), reason));
                }
            }
            let waits = |(_, standing): &&(Object, Standing)| *standing != Standing::Met;
            let open = all.values().filter(waits).count();
            let created = !all.is_empty() || !matches!(condition.goal(), Goal::Create);
            if open == 0 && created {
                return Ok(all.into_values().map(|(object, _)| object).collect());
            }
            let Some(event) = watch.next(deadline).await? else {
                let first = all.values().find(waits);
                let mut last = "there are none".to_owned();
                let mut blocked = None;
                if let Some((object, Standing::NotYet(why))) = first {
                    let key = of(object).key();
                    last = format!("{open} of {} are not, such as `{key}`: {why}", all.len());
                    blocked = self.hindrance(kind, object).await;
                }
                return Err(ClusterError::WaitTimeout {
                    subject,
                    wanted: condition.to_string(),
                    after: timeout,
                    last,
                    blocked,
                });
            };
            let uid = event.object.uid().to_owned();
            match (event.change, condition.goal()) {
                (Change::Deleted, Goal::Delete) => {
                    all.remove(&uid);
                }
                (Change::Deleted, _) if all.contains_key(&uid) => {
                    return Err(in_vain(of(&event.object), "it was deleted"));
                }
                (Change::Deleted, _) => {}
                (_, Goal::Create) => {
                    all.insert(uid, (event.object, Standing::Met));
                }
                // Those that come later were not meant.
                _ => {
                    if let Some(entry) = all.get_mut(&uid) {
                        let standing = condition.standing(kind, &event.object)?;
                        *entry = (event.object, standing);
                    }
                }
            }
        }
    }

    /// What stands in the way of a pod or of a workload, if it can be found in a moment.
    async fn hindrance(
        &self,
        kind: &Kind,
        object: &Object,
    ) -> Option<Box<super::rollout::Blocked>> {
        let looking = self.obstacle(kind, object);
        let found = tokio::time::timeout(INQUIRY, looking).await.ok().flatten();
        found.map(Box::new)
    }
}

/// What a look at an object says of the wait for it.
enum Seen {
    /// It goes on.
    Open,
    /// It is over, with the object if it is still there.
    Over(Option<Object>),
}

/// One object that is waited for.
struct One<'a> {
    cluster: &'a Cluster,
    kind: &'a Kind,
    namespace: Option<&'a str>,
    name: &'a str,
    condition: &'a Condition,
    /// Of the object that was there at first; empty before.
    uid: String,
    /// As it was seen last, and how it stood.
    last: Option<(Object, String)>,
}

impl One<'_> {
    /// How things are with this object, or without it.
    fn look(&mut self, object: Option<Object>) -> Result<Seen, ClusterError> {
        let subject = self.kind.subject(self.namespace, Some(self.name));
        let gone = matches!(self.condition.goal(), Goal::Delete);
        let Some(object) = object else {
            return match self.condition.goal() {
                Goal::Delete => Ok(Seen::Over(None)),
                Goal::Create => Ok(Seen::Open),
                _ if self.uid.is_empty() => Err(ClusterError::NotFound { subject }),
                _ => Err(self.in_vain("it was deleted")),
            };
        };
        if self.uid.is_empty() {
            object.uid().clone_into(&mut self.uid);
        }
        if self.uid != object.uid() {
            if gone {
                return Ok(Seen::Over(None));
            }
            return Err(self.in_vain("it was deleted, and another one has taken its name"));
        }
        match self.condition.standing(self.kind, &object)? {
            Standing::Met => Ok(Seen::Over(Some(object))),
            Standing::Never(reason) => Err(self.in_vain(&reason)),
            Standing::NotYet(last) => {
                self.last = Some((object, last));
                Ok(Seen::Open)
            }
        }
    }

    fn in_vain(&self, reason: &str) -> ClusterError {
        ClusterError::WaitInVain {
            subject: self.kind.subject(self.namespace, Some(self.name)),
            wanted: self.condition.to_string(),
            reason: reason.to_owned(),
        }
    }

    /// The time is up.
    async fn late(&self, after: Duration) -> ClusterError {
        let (last, blocked) = match &self.last {
            None => ("it is not there".to_owned(), None),
            Some((object, last)) => {
                let blocked = self.cluster.hindrance(self.kind, object).await;
                (last.clone(), blocked)
            }
        };
        ClusterError::WaitTimeout {
            subject: self.kind.subject(self.namespace, Some(self.name)),
            wanted: self.condition.to_string(),
            after,
            last,
            blocked,
        }
    }
}
