//! Commands in containers, over the WebSocket protocols `v5.channel.k8s.io` and, without standard input,
//! `v4.channel.k8s.io`.
//!
//! A command may change anything, so it passes the one door as every mutation does, is never sent twice, and a
//! connection that breaks before the command's end is an error of its own: what it has done is not known then.

use std::fmt;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{Request, header};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::call::{Call, Failure, lost, root_cause};
use super::container::{Container, ContainerError};
use super::door::{Mutation, Outcome, Verb, Written};
use super::read::encode;
use super::{Cluster, ClusterError};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// v5: the channel that the next byte names is closed.
const CLOSE: u8 = 255;
/// Standard input is sent in pieces of so many bytes.
const CHUNK: usize = 32 * 1024;
/// A shell's code for a program that is there and cannot be run.
const NOT_EXECUTABLE: u8 = 126;
/// A shell's code for a program that is not there.
const NOT_FOUND: u8 = 127;

/// How a command is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOptions {
    /// In which container; the pod's default one unless named.
    pub container: Option<String>,
    /// What the command reads; without it, it has no standard input.
    pub stdin: Option<Vec<u8>>,
    /// From the request to the command's end.
    pub timeout: Duration,
    /// Bytes of each output that are kept; the rest is read and thrown away.
    pub max_output: usize,
    /// Whether a code other than 0 is [`ExecError::Code`].
    pub check: bool,
}

impl Default for ExecOptions {
    /// 60 s, 16 MiB of each output.
    fn default() -> Self {
        Self {
            container: None,
            stdin: None,
            timeout: Duration::from_secs(60),
            max_output: 16 << 20,
            check: false,
        }
    }
}

/// What a command has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code. 127: there is no such program; 126: it cannot be run; whether a shell or the container's runtime
    /// says so.
    pub code: u8,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, and what the runtime said where it could not be started.
    pub stderr: Vec<u8>,
    /// Whether there was more than was kept.
    pub truncated: bool,
}

impl ExecOutput {
    /// The last line of standard error, or else of standard output.
    fn last_line(&self) -> String {
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let line = text.lines().rev().find(|l| !l.trim().is_empty());
            line.map(|l| l.trim().chars().take(300).collect::<String>())
        };
        last(&self.stderr)
            .or_else(|| last(&self.stdout))
            .unwrap_or_default()
    }
}

/// How a command was not executed, or not to its known end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecError {
    /// It ended with a code other than 0, and that was not to be.
    Code {
        /// The command.
        command: String,
        /// Its code.
        code: u8,
        /// The last of what it wrote to standard error, or else to standard output.
        said: String,
    },
    /// The node could not start it; its words.
    Failed(String),
    /// The connection broke before the command's end.
    Lost(String),
    /// The server cannot close standard input (it speaks `v4.channel.k8s.io` only), so the command would never end.
    NoStdin,
    /// The server does not execute it; its words.
    Refused(String),
    /// It was not done in time.
    Timeout(Duration),
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code {
                command,
                code,
                said,
            } => {
                write!(f, "`{command}` ended with code {code}")?;
                if said.is_empty() {
                    return Ok(());
                }
                write!(f, ": {said}")
            }
            Self::Failed(reason) => write!(f, "it could not be started: {reason}"),
            Self::Lost(reason) => write!(
                f,
                "the connection broke before its end ({reason}); what it has done is not known"
            ),
            Self::NoStdin => f.write_str(
                "the API server cannot end its standard input; it was cut off, and what it has done is not known",
            ),
            Self::Refused(reason) => write!(f, "it was refused: {reason}"),
            Self::Timeout(after) => write!(
                f,
                "it was not done within {after:?}; it may still be running in the container"
            ),
        }
    }
}

impl ExecError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Code { code, .. } if *code == NOT_FOUND => {
                Some("the container's image may have no such program".to_owned())
            }
            Self::Code { code, .. } if *code == NOT_EXECUTABLE => {
                Some("it is there, but may not be run by the container's user".to_owned())
            }
            Self::Lost(_) => Some("look at what it was to do before running it again".to_owned()),
            Self::Timeout(_) => Some("give it more time: `timeout: SECONDS`".to_owned()),
            _ => None,
        }
    }
}

impl Cluster {
    /// Executes a command in a container, without a terminal. A code other than 0 is no error.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`]; [`ClusterError::Container`]: no such container, none chosen, or not running;
    /// [`ClusterError::Refused`]; [`ClusterError::Exec`]; [`ClusterError::Forbidden`] (it needs `create` and `get` on
    /// `pods/exec`); and those of a server that cannot be reached.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        command: &[String],
        options: &ExecOptions,
    ) -> Result<ExecOutput, ClusterError> {
        if command.is_empty() || command[0].is_empty() {
            return Err(ClusterError::BadRequest {
                message: "a command to execute needs a program".to_owned(),
            });
        }
        if self.is_dry_run() {
            return Err(ClusterError::BadRequest {
                message: format!(
                    "`{}` is not started: a command cannot be rehearsed",
                    command[0]
                ),
            });
        }
        let container = self
            .container(namespace, pod, options.container.as_deref())
            .await?;
        let place = Place {
            namespace,
            pod,
            container: &container.name,
        };
        container.runs().map_err(|cause| place.container(cause))?;
        let mutation = Mutation {
            before: Some(container.pod.clone()),
            body: Some(json!({"command": command, "container": container.name})),
            ..self.mutation(Verb::Exec, &container.kind, Some(namespace), pod)
        };
        let told = |output: &ExecOutput| Written {
            outcome: Outcome::Executed,
            object: None,
            summary: format!(
                "pod/{pod} executed {} in {} (exit code {})",
                command.join(" "),
                container.name,
                output.code
            ),
            diff: String::new(),
        };
        let work = self.run_command(&container, &place, command, options);
        self.admit(&mutation, work, told).await
    }

    async fn run_command(
        &self,
        container: &Container,
        place: &Place<'_>,
        command: &[String],
        options: &ExecOptions,
    ) -> Result<ExecOutput, ClusterError> {
        let mut path = format!(
            "{}/exec?container={}&stdout=true&stderr=true",
            container
                .kind
                .path(Some(place.namespace), Some(place.pod))?,
            container.name
        );
        if options.stdin.is_some() {
            path.push_str("&stdin=true");
        }
        for part in command {
            path.push_str("&command=");
            path.push_str(&encode(part));
        }
        let subject = container
            .kind
            .subject(Some(place.namespace), Some(place.pod));
        let call = Call::get("exec", subject, path);
        let work = self.talk(&call, place, options);
        match timeout(options.timeout, work).await {
            Ok(Ok(output)) if options.check && output.code != 0 => {
                Err(place.error(ExecError::Code {
                    command: command.join(" "),
                    code: output.code,
                    said: output.last_line(),
                }))
            }
            Ok(result) => result,
            Err(_) => Err(place.error(ExecError::Timeout(options.timeout))),
        }
    }

    async fn talk(
        &self,
        call: &Call,
        place: &Place<'_>,
        options: &ExecOptions,
    ) -> Result<ExecOutput, ClusterError> {
        let request = Request::get(&call.path)
            .header(header::USER_AGENT, &self.shared.user_agent)
            .body(Vec::new())
            .map_err(|e| ClusterError::BadRequest {
                message: format!("this command cannot be sent: {e}"),
            })?;
        let connection = match self.shared.client.connect(request).await {
            Ok(connection) => connection,
            Err(error) => return Err(self.not_begun(call, place, error)),
        };
        let closes = connection.supports_stream_close();
        let (mut send, mut receive) = connection.into_stream().split();
        if options.stdin.is_some() && !closes {
            return Err(place.error(ExecError::NoStdin));
        }
        let feed = async {
            if let Some(stdin) = &options.stdin {
                for piece in stdin.chunks(CHUNK) {
                    let frame = [&[STDIN], piece].concat();
                    if send.send(Message::binary(frame)).await.is_err() {
                        // The reader sees the end of the connection, or of a command that reads no more.
                        break;
                    }
                }
                let _ = send.send(Message::binary(vec![CLOSE, STDIN])).await;
            }
            std::future::pending::<()>().await;
        };
        let read = async {
            let mut output = ExecOutput::default();
            loop {
                let broken = |reason: String| place.error(ExecError::Lost(reason));
                let bytes = match receive.next().await {
                    None => return Err(broken("it was closed".to_owned())),
                    Some(Err(error)) => return Err(broken(root_cause(&error))),
                    Some(Ok(Message::Close(_))) => {
                        return Err(broken("it was closed".to_owned()));
                    }
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    Some(Ok(_)) => continue,
                };
                match bytes.split_first() {
                    Some((&STDOUT, data)) => {
                        output.truncated |= keep(&mut output.stdout, data, options.max_output);
                    }
                    Some((&STDERR, data)) => {
                        output.truncated |= keep(&mut output.stderr, data, options.max_output);
                    }
                    Some((&STATUS, data)) if !data.is_empty() => {
                        return place.ended(data, output);
                    }
                    _ => {}
                }
            }
        };
        tokio::select! {
            biased;
            result = read => result,
            () = feed => Err(place.error(ExecError::Lost("it was closed".to_owned()))),
        }
    }

    /// Why the connection was not made. What was refused was certainly not executed; a request whose answer was lost
    /// may have been.
    fn not_begun(&self, call: &Call, place: &Place<'_>, error: kube::Error) -> ClusterError {
        if let kube::Error::UpgradeConnection(e) = &error {
            return place.error(ExecError::Lost(root_cause(e)));
        }
        match lost(error) {
            Failure::Status(s) if s.code == 400 && s.message.contains("host assigned") => {
                let state = "the pod is on no node".to_owned();
                let container = place.container.to_owned();
                place.container(ContainerError::NotRunning { container, state })
            }
            Failure::Status(s) if s.code == 400 || s.code >= 500 => {
                place.error(ExecError::Refused(s.message))
            }
            Failure::Lost(reason) => place.error(ExecError::Lost(reason)),
            failure => self.error(call, failure),
        }
    }
}

/// Adds to what is kept; true if some of it is not.
fn keep(kept: &mut Vec<u8>, data: &[u8], limit: usize) -> bool {
    let room = limit.saturating_sub(kept.len()).min(data.len());
    kept.extend_from_slice(&data[..room]);
    room < data.len()
}

struct Place<'a> {
    namespace: &'a str,
    pod: &'a str,
    container: &'a str,
}

impl Place<'_> {
    fn error(&self, cause: ExecError) -> ClusterError {
        ClusterError::Exec {
            pod: self.pod.to_owned(),
            namespace: self.namespace.to_owned(),
            container: self.container.to_owned(),
            cause,
        }
    }

    fn container(&self, cause: ContainerError) -> ClusterError {
        ClusterError::Container {
            pod: self.pod.to_owned(),
            namespace: self.namespace.to_owned(),
            cause,
        }
    }

    /// What the `Status` at the end says.
    fn ended(&self, status: &[u8], mut output: ExecOutput) -> Result<ExecOutput, ClusterError> {
        let Ok(status) = serde_json::from_slice::<Value>(status) else {
            let text = String::from_utf8_lossy(status);
            return Err(self.error(ExecError::Failed(text.into_owned())));
        };
        if status["status"] == "Success" {
            return Ok(output);
        }
        let message = status["message"].as_str().unwrap_or_default();
        if status["reason"] == "NonZeroExitCode" {
            let causes = status["details"]["causes"].as_array();
            let code = causes
                .into_iter()
                .flatten()
                .find(|c| c["reason"] == "ExitCode")
                .and_then(|c| c["message"].as_str()?.parse::<i64>().ok());
            return match code.and_then(|code| u8::try_from(code).ok()) {
                Some(code) => {
                    output.code = code;
                    Ok(output)
                }
                None => Err(self.error(ExecError::Failed(message.to_owned()))),
            };
        }
        if message.contains("container not found") || message.contains("container is not running") {
            let (container, state) = (self.container.to_owned(), "not running".to_owned());
            return Err(self.container(ContainerError::NotRunning { container, state }));
        }
        // runc's words, and crun's, behind containerd's or CRI-O's.
        let says = |texts: &[&str]| texts.iter().any(|t| message.contains(t));
        let starting = says(&[
            "unable to start container process",
            "OCI runtime",
            "exec failed",
        ]);
        let code = if starting && says(&["executable file not found", "no such file or directory"])
        {
            NOT_FOUND
        } else if starting && says(&["permission denied", "Permission denied"]) {
            NOT_EXECUTABLE
        } else if status["code"] == 501 {
            return Err(self.error(ExecError::Refused(message.to_owned())));
        } else {
            return Err(self.error(ExecError::Failed(message.to_owned())));
        };
        output.code = code;
        output.stderr.extend_from_slice(message.as_bytes());
        output.stderr.push(b'\n');
        Ok(output)
    }
}
