//! Waiting: for a rollout to finish, for a deleted object to be gone.
//!
//! A wait has a deadline, is rung by a watch, and looks again after a while even if nothing rang
//! (a watch may be forbidden, cut or stale). A server that is away for a while does not end it.

use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt};
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;

use super::rollout::{Blocked, Rollout, decide, has_status};
use super::until::{INQUIRY, in_time};
use super::{Cluster, ClusterError, Kind, Object};

/// How long a blocked rollout is watched before it is called blocked, unless it is sure at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often what blocks a rollout is looked for.
const LOOK: Duration = Duration::from_secs(1);

impl Cluster {
    /// Waits until a rollout is done, a Job complete, or a pod ready. One whose change was a dry run is
    /// not waited for, and given as it is.
    ///
    /// # Errors
    /// [`ClusterError::RolloutBlocked`] when waiting will not help: the progress deadline is over,
    /// the strategy is `OnDelete`, it is paused, suspended or failed, or for twenty seconds pods could
    /// not be created, pulled or kept running; [`ClusterError::RolloutTimeout`] at the deadline, with what stands
    /// in the way if something does; and those of [`Cluster::rollout`].
    pub async fn wait_rollout(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        deadline: Duration,
    ) -> Result<Rollout, ClusterError> {
        self.watch_rollout(kind, namespace, name, deadline, &mut |_| ())
            .await
    }

    /// As [`Self::wait_rollout`]; `changed` is told each new message and each new blocker. What is read at
    /// first is meant, not another one that takes its name.
    ///
    /// # Errors
    /// As for [`Self::wait_rollout`]; [`ClusterError::WaitInVain`] if another one has taken its name.
    pub async fn watch_rollout(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        deadline: Duration,
        changed: &mut (dyn FnMut(&Rollout) + Send),
    ) -> Result<Rollout, ClusterError> {
        has_status(kind)?;
        let subject = kind.subject(namespace, Some(name));
        let start = Instant::now();
        let mut bell = Bell::new(self, kind, namespace, name);
        let mut told: Option<Rollout> = None;
        let mut looked = start;
        let mut found: Option<(Instant, Blocked)> = None;
        let mut meant: Option<String> = None;
        loop {
            let workload = self
                .patiently(start, deadline, kind, namespace, name)
                .await?;
            let Some(workload) = workload else {
                if self.is_rehearsed(kind, namespace, name) {
                    return Ok(Rollout {
                        done: false,
                        message: format!("{subject} was created by a dry run only"),
                        blocked: None,
                        note: Some("its creation was a dry run, so nothing rolls out".into()),
                    });
                }
                return Err(ClusterError::NotFound { subject });
            };
            let mut rollout = decide(&workload);
            if self.is_rehearsed(kind, namespace, name) {
                // What was not changed does not roll out: it is shown as it is.
                rollout.note = Some("its change was a dry run, so nothing rolls out".into());
                changed(&rollout);
                return Ok(rollout);
            }
            let uid = workload.uid();
            if meant.get_or_insert_with(|| uid.to_owned()) != uid {
                return Err(ClusterError::WaitInVain {
                    subject,
                    wanted: "rollout".into(),
                    reason: "it was deleted, and another one has taken its name".into(),
                });
            }
            if rollout.done {
                changed(&rollout);
                return Ok(rollout);
            }
            if rollout.blocked.is_none()
                && (looked.elapsed() >= LOOK || start.elapsed() >= deadline)
            {
                looked = Instant::now();
                let looking = tokio::time::timeout(INQUIRY, self.blocker(kind, &workload));
                let now = looking.await.ok().and_then(Result::ok).flatten();
                found = match (found, now) {
                    (Some((since, old)), Some(new)) if old.reason == new.reason => {
                        Some((since, new))
                    }
                    (_, Some(new)) => Some((Instant::now(), new)),
                    (_, None) => None,
                };
            }
            let sure = rollout.blocked.as_ref().is_some_and(Blocked::is_final);
            let stubborn = found
                .as_ref()
                .is_some_and(|(since, b)| b.is_stubborn() && since.elapsed() >= PATIENCE);
            rollout.blocked = rollout
                .blocked
                .or_else(|| found.as_ref().map(|(_, b)| b.clone()));
            if told.as_ref() != Some(&rollout) {
                changed(&rollout);
                told = Some(rollout.clone());
            }
            if sure || stubborn {
                let blocked = rollout.blocked.unwrap_or_else(|| Blocked {
                    reason: "Unknown".into(),
                    object: subject.key(),
                    detail: String::new(),
                });
                return Err(ClusterError::RolloutBlocked {
                    subject,
                    message: rollout.message,
                    blocked: Box::new(blocked),
                });
            }
            let left = deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ClusterError::RolloutTimeout {
                    subject,
                    after: deadline,
                    message: rollout.message,
                    blocked: rollout.blocked.map(Box::new),
                });
            }
            bell.rings(workload.resource_version(), LOOK.min(left))
                .await;
        }
    }

    /// Waits until the object with that UID is gone; another one may have taken its name. One whose
    /// deletion was a dry run is not waited for.
    ///
    /// # Errors
    /// [`ClusterError::StillThere`] after `limit`, and those of [`Cluster::get`].
    pub async fn wait_gone(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        uid: &str,
        limit: Duration,
    ) -> Result<(), ClusterError> {
        if self.is_rehearsed(kind, namespace, name) {
            return Ok(());
        }
        let start = Instant::now();
        let mut bell = Bell::new(self, kind, namespace, name);
        loop {
            let now = self.patiently(start, limit, kind, namespace, name).await?;
            let Some(now) = now.filter(|now| now.uid() == uid) else {
                return Ok(());
            };
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ClusterError::StillThere {
                    subject: kind.subject(namespace, Some(name)),
                    after: limit,
                    finalizers: now.finalizers(),
                });
            }
            bell.rings(now.resource_version(), Duration::from_secs(1).min(left))
                .await;
        }
    }

    /// Reads an object; a server that is away is asked again until the deadline.
    async fn patiently(
        &self,
        start: Instant,
        deadline: Duration,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Object>, ClusterError> {
        let end = tokio::time::Instant::now() + deadline.saturating_sub(start.elapsed());
        loop {
            let subject = kind.subject(namespace, Some(name));
            match in_time(end, "get", subject, self.get(kind, namespace, name)).await {
                Err(e) if e.retryable() && start.elapsed() < deadline => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                result => return result,
            }
        }
    }
}

/// A watch of one object, used as a bell only: what is so is read after it rang.
pub(super) struct Bell<'a> {
    cluster: &'a Cluster,
    kind: &'a Kind,
    namespace: Option<&'a str>,
    name: &'a str,
    stream: Option<BoxStream<'static, ()>>,
}

impl<'a> Bell<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        kind: &'a Kind,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> Self {
        Self {
            cluster,
            kind,
            namespace,
            name,
            stream: None,
        }
    }

    /// Returns when the object has changed since `resource_version`, or after `at_most`.
    pub(super) async fn rings(&mut self, resource_version: &str, at_most: Duration) {
        let end = tokio::time::Instant::now() + at_most;
        if self.stream.is_none() {
            let opened = tokio::time::timeout_at(end, self.open(resource_version)).await;
            self.stream = opened.ok().flatten();
        }
        let Some(stream) = &mut self.stream else {
            // It may not be watched: look often.
            let short = Duration::from_millis(250).min(at_most);
            tokio::time::sleep(short).await;
            return;
        };
        match tokio::time::timeout_at(end, stream.next()).await {
            Ok(Some(())) => {
                // Changes come in swarms: one reading serves them all.
                let settle = tokio::time::Instant::now() + Duration::from_millis(20);
                while let Ok(Some(())) = tokio::time::timeout_at(settle, stream.next()).await {}
            }
            Ok(None) => {
                self.stream = None;
                tokio::time::sleep(Duration::from_millis(250).min(at_most)).await;
            }
            Err(_) => {}
        }
    }

    async fn open(&self, resource_version: &str) -> Option<BoxStream<'static, ()>> {
        let path = self.kind.path(self.namespace, None).ok()?;
        let request = Request::get(format!(
            "{path}?watch=true&fieldSelector=metadata.name%3D{}&resourceVersion={resource_version}&timeoutSeconds=290",
            self.name
        ))
        .header(http::header::USER_AGENT, &self.cluster.shared.user_agent)
        .body(Body::empty())
        .ok()?;
        let response = self.cluster.shared.client.send(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        // What the events say does not matter, except that an error ("too old resource version")
        // is the last one; the next watch starts from what is read then.
        let chunks = response.into_body().into_data_stream();
        let rings = chunks.take_while(|chunk| {
            let fine = chunk
                .as_ref()
                .is_ok_and(|c| !c.starts_with(br#"{"type":"ERROR""#));
            async move { fine }
        });
        Some(rings.map(|_| ()).boxed())
    }
}
