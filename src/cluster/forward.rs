//! HTTP to a port of a pod, through the API server's port-forward.
//!
//! One [`Forward`] is one WebSocket to the API server and one TCP connection inside of the pod,
//! over which several requests are made one after the other. Each way to fail is an error of its
//! own ([`ForwardError`]), because "no answer" must never be taken for an answer. It knows
//! nothing of what is served there.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::Api;
use kube::api::Portforwarder;
use tokio::time::{Instant, timeout, timeout_at};

use super::call::{Call, Failure, lost, root_cause};
use super::error::Subject;
use super::{Cluster, ClusterError};

/// How much time and memory a port-forward may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the API server has set it up.
    pub connect: Duration,
    /// From the start to the last byte of the last answer.
    pub total: Duration,
    /// Bytes of one answer's body.
    pub body: usize,
}

impl Default for Limits {
    /// 5 s to connect, 30 s in all, 64 MiB a body.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(30),
            body: 64 << 20,
        }
    }
}

/// An answer that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`; empty if there was none.
    pub content_type: String,
    /// All headers, names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, complete.
    pub body: Bytes,
    /// Whether the answer says how long it is, by its length or in chunks. Without it the body ends with the
    /// connection, and nobody can say whether it was cut short.
    pub delimited: bool,
}

/// How a port of a pod could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardError {
    /// The connection ended before an answer.
    Closed,
    /// The API server did not set up the port-forward in time.
    ConnectTimeout(Duration),
    /// What was answered is no HTTP.
    NotHttp(String),
    /// The pod does not exist.
    PodMissing,
    /// The port-forward was set up and broke, or could not be set up; the node's words.
    Broken(String),
    /// Nobody listens on the port.
    PortRefused,
    /// An answer other than 200.
    Status(u16),
    /// The body ended before its end.
    Truncated {
        /// Bytes announced; none if the body was sent in chunks.
        expected: Option<u64>,
        /// Bytes that came.
        got: u64,
    },
    /// The body is longer than allowed.
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// There was a connection, but no (complete) answer in time.
    Hangs(Duration),
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "the port-forward failed: {reason}"),
            Self::Closed => f.write_str("the connection was closed before an answer"),
            Self::ConnectTimeout(after) => write!(f, "no port-forward within {after:?}"),
            Self::Hangs(after) => write!(f, "no complete answer within {after:?}"),
            Self::NotHttp(reason) => write!(f, "what answered is no HTTP: {reason}"),
            Self::PodMissing => f.write_str("the pod does not exist"),
            Self::PortRefused => f.write_str("connection refused"),
            Self::Status(status) => write!(f, "HTTP {status} instead of 200"),
            Self::TooLarge { limit } => write!(f, "the body is longer than {limit} bytes"),
            Self::Truncated { expected, got } => match expected {
                Some(expected) => {
                    write!(f, "the body was cut short: {got} of {expected} bytes")
                }
                None => write!(f, "the body was cut short after {got} bytes"),
            },
        }
    }
}

impl ForwardError {
    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::PortRefused => "is the container that should listen there running?",
            Self::Hangs(_) => "it accepts connections but does not answer: look at its log",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    pub(super) fn retryable(&self) -> bool {
        !matches!(
            self,
            Self::NotHttp(_) | Self::PodMissing | Self::Status(_) | Self::TooLarge { .. }
        )
    }
}

type PortError = Shared<BoxFuture<'static, Option<String>>>;

/// A port-forward to one port of one pod.
pub struct Forward {
    sender: http1::SendRequest<Empty<Bytes>>,
    connection: tokio::task::JoinHandle<Result<(), hyper::Error>>,
    forwarder: Portforwarder,
    port_error: PortError,
    place: Place,
    limits: Limits,
    deadline: Instant,
}

#[derive(Clone)]
struct Place {
    namespace: String,
    pod: String,
    port: u16,
}

impl Place {
    fn error(&self, cause: ForwardError) -> ClusterError {
        ClusterError::Forward {
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
            cause,
        }
    }
}

impl Cluster {
    /// Opens a port-forward to a port of a pod.
    ///
    /// # Errors
    /// [`ClusterError::Forward`]; [`ClusterError::Forbidden`] (it needs `create` and `get` on
    /// `pods/portforward`); and those of a server that cannot be reached.
    pub async fn forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        limits: &Limits,
    ) -> Result<Forward, ClusterError> {
        let place = Place {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            port,
        };
        let deadline = Instant::now() + limits.total;
        let api: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.shared.client.clone(), namespace);
        let ports = [port];
        let connecting = api.portforward(pod, &ports);
        let mut forwarder = match timeout(limits.connect, connecting).await {
            Err(_) => return Err(place.error(ForwardError::ConnectTimeout(limits.connect))),
            Ok(Err(error)) => return Err(self.not_forwarded(&place, error)),
            Ok(Ok(forwarder)) => forwarder,
        };
        let (Some(stream), Some(port_error)) =
            (forwarder.take_stream(port), forwarder.take_error(port))
        else {
            let reason = "it has no stream for the port".to_owned();
            return Err(place.error(ForwardError::Broken(reason)));
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| place.error(ForwardError::Broken(root_cause(&e))))?;
        Ok(Forward {
            sender,
            connection: tokio::spawn(connection),
            forwarder,
            port_error: port_error.boxed().shared(),
            place,
            limits: *limits,
            deadline,
        })
    }

    fn not_forwarded(&self, place: &Place, error: kube::Error) -> ClusterError {
        if let kube::Error::UpgradeConnection(e) = &error {
            return place.error(ForwardError::Broken(root_cause(e)));
        }
        let subject = Subject::new("pod", Some(&place.namespace), Some(&place.pod));
        let call = Call::get("port-forward", subject, String::new());
        match lost(error) {
            Failure::Status(s) if s.is_missing_object() => place.error(ForwardError::PodMissing),
            // "unable to forward port because pod is not running. Current status=Pending"
            Failure::Status(s) if s.code == 400 || s.code >= 500 => {
                place.error(ForwardError::Broken(s.message))
            }
            failure => self.error(&call, failure),
        }
    }
}

impl Forward {
    /// Asks for a path (`/config_dump?resource=…`) and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`ClusterError::Forward`] with the way in which it failed. After an error the forward is of
    /// no more use.
    pub async fn get(&mut self, path: &str) -> Result<HttpAnswer, ClusterError> {
        self.get_with(path, &[]).await
    }

    /// As [`Self::get`], with headers of one's own.
    ///
    /// # Errors
    /// As for [`Self::get`]; a header that cannot be one is [`ForwardError::NotHttp`].
    pub async fn get_with(
        &mut self,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<HttpAnswer, ClusterError> {
        self.ask(Method::GET, path, headers).await
    }

    /// As [`Self::get`], by POST and with nothing in it. Of [`Cluster::post`] alone, since it may change anything.
    pub(super) async fn post(&mut self, path: &str) -> Result<HttpAnswer, ClusterError> {
        self.ask(Method::POST, path, &[]).await
    }

    /// An answer that is another than was hoped for, as an error.
    pub(super) fn status(&self, answer: &HttpAnswer) -> ClusterError {
        self.place.error(ForwardError::Status(answer.status))
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<HttpAnswer, ClusterError> {
        let total = self.limits.total;
        let place = self.place.clone();
        match timeout_at(self.deadline, self.exchange(method, path, headers)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(place.error(self.explain(cause).await)),
            Err(_) => {
                let cause = self.explain(ForwardError::Hangs(total)).await;
                Err(place.error(cause))
            }
        }
    }

    /// As [`Self::get`]; an answer other than 200 is an error, and one that does not say how long it is.
    ///
    /// # Errors
    /// As for [`Self::get`], [`ForwardError::Status`] and [`ForwardError::Truncated`].
    pub async fn get_ok(&mut self, path: &str) -> Result<Bytes, ClusterError> {
        let answer = self.get(path).await?;
        if answer.status != 200 {
            return Err(self.status(&answer));
        }
        if !answer.delimited {
            let got = answer.body.len() as u64;
            let expected = None;
            return Err(self.place.error(ForwardError::Truncated { expected, got }));
        }
        Ok(answer.body)
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<HttpAnswer, ForwardError> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            request = request.header(header::HOST, "localhost");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Empty::new())
            .map_err(|e| ForwardError::NotHttp(format!("`{path}` is no path: {e}")))?;
        self.sender.ready().await.map_err(|e| of_hyper(&e))?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|e| of_hyper(&e))?;
        let (parts, mut body) = response.into_parts();
        let expected: Option<u64> = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse().ok());
        let chunked = parts
            .headers
            .get_all(header::TRANSFER_ENCODING)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| v.to_ascii_lowercase().contains("chunked"));
        let limit = self.limits.body;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let got = bytes.len() as u64;
            let frame = frame.map_err(|_| ForwardError::Truncated { expected, got })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                return Err(ForwardError::TooLarge { limit });
            }
            bytes.extend_from_slice(&data);
        }
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_owned();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.to_string(), value)
            })
            .collect();
        Ok(HttpAnswer {
            status: parts.status.as_u16(),
            headers,
            content_type,
            body: bytes.into(),
            delimited: expected.is_some() || chunked || matches!(parts.status.as_u16(), 204 | 304),
        })
    }

    /// The node's explanation, which comes on a channel of its own, if it comes at all.
    async fn explain(&mut self, cause: ForwardError) -> ForwardError {
        if matches!(
            cause,
            ForwardError::NotHttp(_) | ForwardError::TooLarge { .. }
        ) {
            return cause;
        }
        let soon = Duration::from_millis(250);
        match timeout(soon, self.port_error.clone()).await {
            Ok(Some(message)) if message.to_lowercase().contains("connection refused") => {
                ForwardError::PortRefused
            }
            Ok(Some(message)) if matches!(cause, ForwardError::Truncated { .. }) => {
                tracing::debug!(message, "a port-forward broke in the middle of a body");
                cause
            }
            Ok(Some(message)) => ForwardError::Broken(message.trim().to_owned()),
            Ok(None) | Err(_) => cause,
        }
    }
}

fn of_hyper(error: &hyper::Error) -> ForwardError {
    if error.is_parse() {
        ForwardError::NotHttp(root_cause(error))
    } else {
        ForwardError::Closed
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.connection.abort();
        self.forwarder.abort();
    }
}
