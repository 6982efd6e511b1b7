//! Commands in containers, over the WebSocket protocols `v5.channel.k8s.io` and `v4.channel.k8s.io`.
//!
//! Channels: 0 standard input, 1 standard output, 2 standard error, 3 the `Status` of the end, and in v5 255,
//! which says that a channel is closed. A command that ended with another code than 0 is a Failure with the reason
//! `NonZeroExitCode` and the code as its cause. What is not modelled is refused before the socket is made, so that
//! nobody takes a refusal for the command's own failure.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::super::kube::Status;
use super::super::process::{Channel, Containers, Ended, NotModelled};
use super::path::Query;
use super::reply::Reply;
use super::streams::{Offer, Socket, close, frame};
use super::subresources::check_container;

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
/// v5: the channel that the next byte names is closed.
const CLOSE: u8 = 255;

/// Answers a request to execute a command, or to attach to a container.
///
/// # Errors
/// 400: there is no such container, nothing to execute, or no WebSocket. 501: the command is not modelled.
pub fn answer(
    containers: &Containers,
    pod: Arc<Value>,
    request: &mut Request<Bytes>,
    query: &Query,
    subresource: &str,
) -> Result<Reply, Status> {
    check_container(&pod, query, false)?;
    if pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    if subresource == "attach" {
        return Err(Status::not_modelled("attach"));
    }
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command"));
    }
    if query.is_true("tty") {
        return Err(Status::not_modelled("exec with a terminal"));
    }
    let container = match query.get("container") {
        "" => pod["spec"]["containers"][0]["name"]
            .as_str()
            .unwrap_or_default(),
        named => named,
    };
    let ask = Exec {
        containers: containers.clone(),
        container: container.to_owned(),
        command,
        stdin: query.is_true("stdin"),
        stdout: query.is_true("stdout"),
        stderr: query.is_true("stderr"),
        pod: Arc::clone(&pod),
    };
    containers
        .check(&ask.container, &ask.command)
        .map_err(|NotModelled(what)| Status::not_modelled(&what))?;
    let offer = Offer::read(request, &[V5, V4], "exec")?;
    let v5 = offer.protocol == V5;
    Ok(offer.accept(move |socket| ask.serve(socket, v5)))
}

struct Exec {
    containers: Containers,
    pod: Arc<Value>,
    container: String,
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

impl Exec {
    async fn serve(self, socket: Socket, v5: bool) {
        let (mut to_client, mut from_client) = socket.split();
        let (input, lines) = mpsc::channel::<Bytes>(16);
        let (output, mut written) = mpsc::channel::<(Channel, Bytes)>(16);
        let mut input = self.stdin.then_some(input);
        let running = self.containers.exec(
            &self.pod,
            &self.container,
            &self.command,
            self.stdin.then_some(lines),
            output,
        );
        let client = async {
            while let Some(Ok(message)) = from_client.next().await {
                match message {
                    Message::Binary(bytes) if bytes.first() == Some(&STDIN) => {
                        if let Some(to) = &input {
                            // A command that has closed its input reads no more; it is not the client's end.
                            let _ = to.send(bytes.slice(1..)).await;
                        }
                    }
                    Message::Binary(bytes) if v5 && bytes[..] == [CLOSE, STDIN] => input = None,
                    Message::Close(_) => return,
                    _ => {}
                }
            }
        };
        let work = async {
            tokio::pin!(running);
            let ended = loop {
                tokio::select! {
                    biased;
                    Some((channel, bytes)) = written.recv() => {
                        let (number, wanted) = match channel {
                            Channel::Out => (STDOUT, self.stdout),
                            Channel::Err => (STDERR, self.stderr),
                        };
                        if wanted && to_client.send(frame(number, &bytes)).await.is_err() {
                            return;
                        }
                    }
                    ended = &mut running => break ended,
                }
            };
            while let Ok((channel, bytes)) = written.try_recv() {
                let (number, wanted) = match channel {
                    Channel::Out => (STDOUT, self.stdout),
                    Channel::Err => (STDERR, self.stderr),
                };
                if wanted && to_client.send(frame(number, &bytes)).await.is_err() {
                    return;
                }
            }
            let status = match ended {
                Ok(ended) => status(ended),
                Err(_) => internal(&format!(
                    "unable to upgrade connection: container not found (\"{}\")",
                    self.container
                )),
            };
            let status = status.to_string();
            let _ = to_client.send(frame(STATUS, status.as_bytes())).await;
            let _ = to_client.send(close()).await;
            let _ = to_client.flush().await;
        };
        // A client that goes away ends the command.
        tokio::select! {
            biased;
            () = work => {}
            () = client => {}
        }
    }
}

fn internal(message: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {message}"),
        "details": {"causes": [{"message": message}]},
    })
}

fn status(ended: Ended) -> Value {
    match ended {
        Ended::Code(0) => json!({"metadata": {}, "status": "Success"}),
        Ended::Code(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        // containerd and runc, as kubectl shows them.
        Ended::NoProgram(why) => internal(&format!(
            "error executing command in container: failed to exec in container: failed to start exec: OCI runtime \
             exec failed: exec failed: unable to start container process: {why}: unknown"
        )),
        Ended::Refused(NotModelled(what)) => Status::not_modelled(&what).to_value(),
    }
}
