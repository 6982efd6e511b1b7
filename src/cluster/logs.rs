//! Logs of containers: what was written, and what is being written.
//!
//! A log is bytes; what is no UTF-8 becomes U+FFFD, as in every terminal. A log that is longer than asked for is an
//! error, because a part of a log that reads as a whole one hides what went wrong.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use kube::client::Body;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::call::{Call, Failure, lost, pause, root_cause, status_answer, worth_retrying};
use super::container::ContainerError;
use super::error::Subject;
use super::{Cluster, ClusterError};

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Which container; the pod's default one unless named.
    pub container: Option<String>,
    /// Of the run before the present one.
    pub previous: bool,
    /// So many of the last lines.
    pub tail: Option<u64>,
    /// What was written in the last so long; the server counts whole seconds.
    pub since: Option<Duration>,
    /// What was written since then.
    pub since_time: Option<Timestamp>,
    /// Each line begins with its time (RFC 3339) and a blank.
    pub timestamps: bool,
    /// The server sends so many bytes, and cuts off the rest without a word.
    pub limit_bytes: Option<u64>,
}

/// Bytes of a log that [`Cluster::logs`] reads at most, unless `limit_bytes` allows more: 64 MiB.
const LONGEST: usize = 64 << 20;
/// A line that is longer is given in pieces of so many bytes.
const LONGEST_LINE: usize = 1 << 20;
/// Until the server begins to answer.
const FIRST_BYTE: Duration = Duration::from_secs(30);
/// For the whole of a log that is not followed.
const WHOLE: Duration = Duration::from_secs(120);
/// For the end of a container to be in the status of its pod.
const STATUS: Duration = Duration::from_secs(5);
/// How often a log is asked for.
const ATTEMPTS: u32 = 4;

/// A log that is being written, line by line.
pub struct LogStream {
    body: Body,
    unread: Vec<u8>,
    ended: bool,
    call: Call,
    cluster: Cluster,
    lines: u64,
    namespace: String,
    pod: String,
    container: String,
    /// The run whose log it is, if that was known to run at the beginning.
    run: Option<String>,
    previous: bool,
}

impl Cluster {
    /// What a container has written, as text.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`]; [`ClusterError::Container`]: no such container, none chosen, not started, no run
    /// before; [`ClusterError::LogTooLong`]; and those of the server.
    pub async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        options: &LogOptions,
    ) -> Result<String, ClusterError> {
        let deadline = Instant::now() + WHOLE;
        let mut stream = self.open(namespace, pod, options, false).await?;
        let asked = options.limit_bytes.and_then(|l| usize::try_from(l).ok());
        let limit = asked.unwrap_or(LONGEST);
        let mut bytes = Vec::new();
        loop {
            let frame = timeout_at(deadline, stream.frame()).await;
            let Some(data) = frame.map_err(|_| self.error(&stream.call, Failure::Timeout))?? else {
                break;
            };
            bytes.extend_from_slice(&data);
            if bytes.len() > limit {
                return Err(ClusterError::LogTooLong {
                    pod: pod.to_owned(),
                    namespace: namespace.to_owned(),
                    limit,
                });
            }
        }
        Ok(text(&bytes))
    }

    /// What a container writes, from what `options` says on, until it ends.
    ///
    /// # Errors
    /// As for [`Self::logs`].
    pub async fn follow_logs(
        &self,
        namespace: &str,
        pod: &str,
        options: &LogOptions,
    ) -> Result<LogStream, ClusterError> {
        self.open(namespace, pod, options, true).await
    }

    async fn open(
        &self,
        namespace: &str,
        pod: &str,
        options: &LogOptions,
        follow: bool,
    ) -> Result<LogStream, ClusterError> {
        let container = self
            .container(namespace, pod, options.container.as_deref())
            .await?;
        let path = format!(
            "{}/log?container={}{}",
            container.kind.path(Some(namespace), Some(pod))?,
            container.name,
            query(options, follow)
        );
        let subject = Subject::new("pod", Some(namespace), Some(pod));
        let call = Call {
            // Text: the server answers 406 to whoever takes JSON alone.
            accept: "*/*",
            timeout: FIRST_BYTE,
            ..Call::get("logs", subject, path)
        };
        let mut attempt = 0;
        loop {
            let answer = match timeout(call.timeout, self.asked(&call)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Timeout),
            };
            let failure = match answer {
                Ok(body) => {
                    return Ok(LogStream {
                        body,
                        unread: Vec::new(),
                        ended: false,
                        call,
                        cluster: self.clone(),
                        lines: 0,
                        namespace: namespace.to_owned(),
                        pod: pod.to_owned(),
                        run: container.run(),
                        container: container.name,
                        previous: options.previous,
                    });
                }
                Err(failure) => failure,
            };
            attempt += 1;
            if attempt >= ATTEMPTS || !worth_retrying(&failure) || not_modelled(&failure) {
                return Err(self.no_log(&call, namespace, pod, &container.name, failure));
            }
            sleep(pause(attempt, &failure)).await;
        }
    }

    /// Sends the request; the body of an answer of success.
    async fn asked(&self, call: &Call) -> Result<Body, Failure> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(&call.path)
            .header(header::ACCEPT, call.accept)
            .header(header::USER_AGENT, &self.shared.user_agent)
            .body(Body::empty())
            .map_err(|e| Failure::Connect(e.to_string()))?;
        let response = self.shared.client.send(request).await.map_err(lost)?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(body);
        }
        let body = body
            .collect()
            .await
            .map_err(|e| Failure::Lost(root_cause(&e)))?
            .to_bytes();
        Err(Failure::Status(status_answer(
            parts.status.as_u16(),
            &body,
            None,
        )))
    }

    /// What a refusal means, by the words of API server and kubelet.
    fn no_log(
        &self,
        call: &Call,
        namespace: &str,
        pod: &str,
        container: &str,
        failure: Failure,
    ) -> ClusterError {
        let Failure::Status(status) = &failure else {
            return self.error(call, failure);
        };
        let container = container.to_owned();
        let message = &status.message;
        let cause = if message.contains("previous terminated container") {
            ContainerError::NoPrevious { container }
        } else if let Some((_, state)) = message.split_once("is waiting to start: ") {
            let state = format!("waiting: {state}");
            ContainerError::NotRunning { container, state }
        } else if status.code == 400 && message.contains("is not available") {
            let state = "not started".to_owned();
            ContainerError::NotRunning { container, state }
        } else {
            return self.error(call, failure);
        };
        ClusterError::Container {
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            cause,
        }
    }
}

fn not_modelled(failure: &Failure) -> bool {
    matches!(failure, Failure::Status(s) if s.code == 501)
}

fn query(options: &LogOptions, follow: bool) -> String {
    let mut query = String::new();
    for (name, wanted) in [
        ("follow", follow),
        ("previous", options.previous),
        ("timestamps", options.timestamps),
    ] {
        if wanted {
            let _ = write!(query, "&{name}=true");
        }
    }
    let seconds = options.since.map(|since| {
        // Rounded up: rather a line too much than one that is missing.
        since.as_secs() + u64::from(since.subsec_nanos() > 0)
    });
    for (name, number) in [
        ("tailLines", options.tail),
        ("sinceSeconds", seconds.map(|s| s.max(1))),
        ("limitBytes", options.limit_bytes),
    ] {
        if let Some(number) = number {
            let _ = write!(query, "&{name}={number}");
        }
    }
    if let Some(time) = options.since_time {
        let _ = write!(query, "&sinceTime={time}");
    }
    query
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl LogStream {
    /// The next line, without its end; `None` when the container has ended and all was read. Nothing is lost when the
    /// future is dropped. A line of more than 1 MiB comes in pieces.
    ///
    /// # Errors
    /// The connection broke: what was written since then is not known.
    pub async fn next(&mut self) -> Result<Option<String>, ClusterError> {
        loop {
            let end = self.unread.iter().position(|b| *b == b'\n');
            if let Some(line) = match end {
                Some(end) => {
                    let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                    line.pop();
                    Some(line)
                }
                None if self.unread.len() >= LONGEST_LINE => {
                    Some(self.unread.drain(..LONGEST_LINE).collect())
                }
                None if self.ended && !self.unread.is_empty() => {
                    Some(std::mem::take(&mut self.unread))
                }
                None => None,
            } {
                self.lines += 1;
                return Ok(Some(text(&line)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.frame().await? {
                Some(data) => self.unread.extend_from_slice(&data),
                None => self.ended = true,
            }
        }
    }

    /// After its end, whether the container has ended. If not, only the connection did (a node or an API server
    /// ends it after some hours), and what is written from then on is missing. A pod's status comes later than
    /// the end of its log, so it is looked at for five seconds.
    ///
    /// # Errors
    /// The pod cannot be read.
    pub async fn has_container_ended(&self) -> Result<bool, ClusterError> {
        if self.previous {
            return Ok(true);
        }
        let until = Instant::now() + STATUS;
        loop {
            let name = Some(self.container.as_str());
            let read = self.cluster.container(&self.namespace, &self.pod, name);
            let now = match read.await {
                Ok(container) => container.run(),
                Err(ClusterError::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            let goes_on = match (&self.run, &now) {
                (Some(then), Some(now)) => then == now,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if !goes_on {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// The lines that were given.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, ClusterError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|e| {
                let reason = format!("the log broke off: {}", root_cause(&e));
                self.cluster.error(&self.call, Failure::Lost(reason))
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
