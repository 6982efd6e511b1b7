//! Watching: the changes of the objects of a kind, one after the other, without gaps.
//!
//! The API server ends every watch after a while, forgets old versions (410) and may be away for a
//! moment. A [`Watch`] goes on from the version that it has seen last, which bookmarks keep fresh. Where
//! the server does not remember that version, it lists anew and gives the difference as events, so that
//! nothing is lost and nothing told twice. It decides nothing: [`super::until`] does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::{Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::{Call, Failure, lost, pause, root_cause, status_answer, worth_retrying};
use super::{Cluster, ClusterError, Kind, Object, Query, Selector};

/// How long one request to watch lasts at most, seconds (client-go: 5 to 10 minutes, at random).
const LASTS: u64 = 290;

/// How much later than it should have ended a silent connection is given up.
const GRACE: Duration = Duration::from_secs(15);

/// How soon after another a request to watch is made, when the server ends them at once.
const SHORTEST: Duration = Duration::from_millis(500);

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new, or was there when the watch began.
    Added,
    /// It is gone, or does not match any more.
    Deleted,
    /// It is different.
    Modified,
}

impl Change {
    /// As the API server writes it: `ADDED`, `MODIFIED`, `DELETED`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Deleted => "DELETED",
            Self::Modified => "MODIFIED",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object after it; the last one, if it is gone. Of an object that went while nobody could
    /// look, only the metadata, without annotations.
    pub object: Object,
}

/// Where a watch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// With what is there, each as [`Change::Added`]; then the changes.
    Existing,
    /// With the next change.
    Now,
    /// With the first change after this resource version. If the server forgets it before a version
    /// that was seen, the watch ends with [`ClusterError::Forgotten`]: it cannot tell what is gone.
    Version(String),
}

/// A watch of the objects that a query means; its filter, limit and form are not looked at.
pub struct Watch {
    cluster: Cluster,
    kind: Kind,
    namespace: Option<String>,
    selector: Selector,
    /// The metadata of what is there, by UID.
    known: HashMap<String, Object>,
    /// Whether that is all of what is there: only then it can be said what is gone after a gap.
    complete: bool,
    queue: VecDeque<Event>,
    state: State,
    /// The last version that was seen; empty before the first.
    version: String,
    /// Failures since it went well the last time.
    failures: u32,
    /// The last of these.
    trouble: Option<ClusterError>,
}

enum State {
    /// It has to be listed; whether what is there is told.
    List {
        tell: bool,
    },
    /// It has to be asked for.
    Ask,
    Open(Stream),
}

/// An answer under way.
struct Stream {
    chunks: BoxStream<'static, Result<Bytes, String>>,
    buffer: Vec<u8>,
    since: Instant,
    /// When the server should have ended it.
    until: Instant,
}

/// One line of an answer.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl Cluster {
    /// Watches the objects of a kind.
    pub fn watch(&self, kind: &Kind, query: Query, since: Since) -> Watch {
        let (state, version) = match since {
            Since::Existing => (State::List { tell: true }, String::new()),
            Since::Now => (State::List { tell: false }, String::new()),
            Since::Version(version) => (State::Ask, version),
        };
        Watch {
            cluster: self.clone(),
            kind: kind.clone(),
            namespace: query.namespace,
            selector: query.selector,
            known: HashMap::new(),
            complete: false,
            queue: VecDeque::new(),
            state,
            version,
            failures: 0,
            trouble: None,
        }
    }
}

impl Watch {
    /// Tells it what was there at the version from which it begins, or what of it matters: what of
    /// these is gone after a gap is told then.
    pub(super) fn knowing(mut self, objects: &[Object]) -> Self {
        self.remember(objects);
        self
    }

    fn remember(&mut self, objects: &[Object]) {
        let stubs = objects.iter().map(|o| (o.uid().to_owned(), stub(o)));
        self.known = stubs.collect();
        self.complete = true;
    }

    /// The next change; none if there is none before the deadline. A server that is away for a while
    /// is asked again.
    ///
    /// # Errors
    /// It may not be watched; the server was away when the deadline came; or
    /// [`ClusterError::Forgotten`].
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Event>, ClusterError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            if Instant::now() >= deadline {
                return match self.trouble.take() {
                    Some(error) => Err(error),
                    None => Ok(None),
                };
            }
            match &mut self.state {
                State::List { tell } => {
                    let tell = *tell;
                    let query = Query {
                        namespace: self.namespace.clone(),
                        selector: self.selector.clone(),
                        // What is not told is only remembered.
                        slim: !tell,
                        ..Query::default()
                    };
                    let listing = self.cluster.select_at(&self.kind, &query);
                    match tokio::time::timeout_at(deadline, listing).await {
                        Ok(Ok((objects, version))) => {
                            self.compare(objects, tell);
                            self.version = version;
                            self.state = State::Ask;
                            self.well();
                        }
                        Ok(Err(error)) if error.retryable() => {
                            self.wait(error, None, deadline).await;
                        }
                        Ok(Err(error)) => return Err(error),
                        Err(_) => {}
                    }
                }
                State::Ask => {
                    let asking = self.ask(deadline);
                    if let Ok(asked) = tokio::time::timeout_at(deadline, asking).await {
                        asked?;
                    }
                }
                State::Open(stream) => {
                    let end = deadline.min(stream.until);
                    match tokio::time::timeout_at(end, stream.line()).await {
                        Ok(Some(line)) => self.take(line, deadline).await?,
                        // It has ended as all do, was cut, or is silent for too long.
                        Ok(None) => {
                            let next = deadline.min(stream.since + SHORTEST);
                            self.state = State::Ask;
                            tokio::time::sleep_until(next).await;
                        }
                        Err(_) if Instant::now() < deadline => self.state = State::Ask,
                        Err(_) => {}
                    }
                }
            }
        }
    }

    fn well(&mut self) {
        self.failures = 0;
        self.trouble = None;
    }

    /// Waits a little before the next attempt.
    async fn wait(&mut self, error: ClusterError, failure: Option<&Failure>, deadline: Instant) {
        self.failures += 1;
        tracing::debug!(%error, "watching again");
        let other = Failure::Lost(String::new());
        let long = pause(self.failures, failure.unwrap_or(&other));
        self.trouble = Some(error);
        tokio::time::sleep_until(deadline.min(Instant::now() + long)).await;
    }

    /// Opens the connection.
    async fn ask(&mut self, deadline: Instant) -> Result<(), ClusterError> {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs() + 1;
        let seconds = left.clamp(1, LASTS);
        let namespace = self.namespace.as_deref();
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}{}",
            self.kind.path(namespace, None)?,
            super::read::encode(&self.version),
            self.selector.query(),
        );
        let call = Call::get("watch", self.kind.subject(namespace, None), path);
        match self.cluster.open_watch(&call).await {
            Ok(chunks) => {
                self.state = State::Open(Stream {
                    chunks,
                    buffer: Vec::new(),
                    since: Instant::now(),
                    until: Instant::now() + Duration::from_secs(seconds) + GRACE,
                });
                self.well();
            }
            Err(Failure::Status(status)) if status.code == 410 => self.fill_gap()?,
            Err(failure) if worth_retrying(&failure) => {
                let error = self.cluster.error(&call, failure.clone());
                self.wait(error, Some(&failure), deadline).await;
            }
            Err(failure) => return Err(self.cluster.error(&call, failure)),
        }
        Ok(())
    }

    /// The server has forgotten the last version that was seen: what differs from what is known is told.
    fn fill_gap(&mut self) -> Result<(), ClusterError> {
        if !self.complete {
            return Err(ClusterError::Forgotten {
                subject: self.kind.subject(self.namespace.as_deref(), None),
                version: self.version.clone(),
            });
        }
        self.state = State::List { tell: true };
        Ok(())
    }

    /// What a line says.
    async fn take(&mut self, line: Line, deadline: Instant) -> Result<(), ClusterError> {
        let object = self.kind.object(line.object);
        let change = match line.kind.as_str() {
            "ADDED" => Change::Added,
            "MODIFIED" => Change::Modified,
            "DELETED" => Change::Deleted,
            "BOOKMARK" => {
                object.resource_version().clone_into(&mut self.version);
                return Ok(());
            }
            _ => {
                // `ERROR`, with a Status.
                if object.int("/code") == Some(410) {
                    return self.fill_gap();
                }
                self.state = State::Ask;
                let error = ClusterError::Server {
                    operation: "watch",
                    subject: self.kind.subject(self.namespace.as_deref(), None),
                    code: object
                        .int("/code")
                        .and_then(|c| c.try_into().ok())
                        .unwrap_or(500),
                    message: object.text("/message").to_owned(),
                };
                self.wait(error, None, deadline).await;
                return Ok(());
            }
        };
        object.resource_version().clone_into(&mut self.version);
        self.note(change, object);
        Ok(())
    }

    /// Remembers a change and tells it, unless it was told already.
    fn note(&mut self, change: Change, object: Object) {
        let uid = object.uid().to_owned();
        if change == Change::Deleted {
            self.known.remove(&uid);
        } else {
            let before = self.known.insert(uid, stub(&object));
            if before.is_some_and(|b| b.resource_version() == object.resource_version()) {
                return;
            }
        }
        self.queue.push_back(Event { change, object });
    }

    /// What a list says that differs from what is known; `tell`: whether that is told.
    fn compare(&mut self, objects: Vec<Object>, tell: bool) {
        if !tell {
            self.remember(&objects);
            return;
        }
        self.complete = true;
        let there: HashSet<String> = objects.iter().map(|o| o.uid().to_owned()).collect();
        let mut gone: Vec<Object> = Vec::new();
        self.known.retain(|uid, object| {
            let stays = there.contains(uid);
            if !stays {
                gone.push(object.clone());
            }
            stays
        });
        gone.sort_by_key(|o| (o.namespace().map(str::to_owned), o.name().to_owned()));
        self.queue.extend(gone.into_iter().map(|object| Event {
            change: Change::Deleted,
            object,
        }));
        for object in objects {
            match self.known.contains_key(object.uid()) {
                true => self.note(Change::Modified, object),
                // Seen before this watch began: it has not changed since.
                false if !self.is_news(&object) => {
                    self.known.insert(object.uid().to_owned(), stub(&object));
                }
                false => self.note(Change::Added, object),
            }
        }
    }

    /// Whether an object has changed since the last version that was seen. Versions are numbers that
    /// grow (etcd's revisions); where they are none, everything is news.
    fn is_news(&self, object: &Object) -> bool {
        let number = |text: &str| text.parse::<u128>().ok();
        let (seen, now) = (number(&self.version), number(object.resource_version()));
        seen.zip(now).is_none_or(|(seen, now)| now > seen)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?} from {:?})", self.kind, self.version)
    }
}

/// What is remembered of an object.
fn stub(object: &Object) -> Object {
    let mut metadata = object.value()["metadata"].clone();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|field, _| !matches!(field.as_str(), "annotations" | "managedFields"));
    }
    Object::new(json!({
        "apiVersion": object.api_version(),
        "kind": object.kind(),
        "metadata": metadata,
    }))
}

impl Stream {
    /// The next line; none if there is no more, or what comes is no line of a watch.
    async fn line(&mut self) -> Option<Line> {
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..].iter().position(|b| *b == b'\n');
            if let Some(end) = end {
                let rest = self.buffer.split_off(searched + end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                return serde_json::from_slice(&line).ok();
            }
            searched = self.buffer.len();
            self.buffer
                .extend_from_slice(&self.chunks.next().await?.ok()?);
        }
    }
}

impl Cluster {
    /// Sends a request whose answer goes on, and gives what comes.
    async fn open_watch(
        &self,
        call: &Call,
    ) -> Result<BoxStream<'static, Result<Bytes, String>>, Failure> {
        let request = Request::get(&call.path)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, &self.shared.user_agent)
            .body(Body::empty())
            .map_err(|e| Failure::Connect(e.to_string()))?;
        let sent = tokio::time::timeout(call.timeout, self.shared.client.send(request));
        let response = sent.await.map_err(|_| Failure::Timeout)?.map_err(lost)?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            let chunks = body.into_data_stream();
            return Ok(chunks.map(|c| c.map_err(|e| root_cause(&e))).boxed());
        }
        let body = body.collect().await;
        let body = body.map_err(|e| Failure::Lost(root_cause(&e)))?.to_bytes();
        Err(Failure::Status(status_answer(
            parts.status.as_u16(),
            &body,
            None,
        )))
    }
}
