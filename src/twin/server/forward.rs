//! Port-forward over a WebSocket: protocols `v4.channel.k8s.io` and `v5.channel.k8s.io`.
//!
//! Each asked port has two channels, data and error, in the order of the ports. The first frame of a
//! channel is the port's number; then data is passed on in both directions. When the pod's side ends,
//! so does the forward.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

use super::super::kube::Status;
use super::network::PodNetwork;
use super::path::Query;
use super::reply::{Reply, full};

const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// How much of a pod's answer is passed on in one frame.
const CHUNK: usize = 32 * 1024;

/// Accepts a port-forward to a pod.
///
/// # Errors
/// 400: it is no WebSocket, its protocol is not known, or no port is asked for.
pub fn answer(
    pods: &Arc<dyn PodNetwork>,
    pod: Arc<Value>,
    request: &mut Request<Bytes>,
    query: &Query,
) -> Result<Reply, Status> {
    let headers = request.headers();
    let upgrade = headers
        .get(UPGRADE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let key = headers
        .get("sec-websocket-key")
        .map(|k| derive_accept_key(k.as_bytes()))
        .ok_or_else(|| Status::bad_request("no Sec-WebSocket-Key"))?;
    let protocol = chosen(headers).ok_or_else(|| {
        Status::not_modelled(
            "port-forward other than by the WebSocket protocols v4 and v5.channel.k8s.io",
        )
    })?;
    let ports = ports(query)?;
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let upgrade: OnUpgrade = request
        .extensions_mut()
        .remove()
        .ok_or_else(|| Status::bad_request("Upgrade request required"))?;
    let pods = Arc::clone(pods);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            forward(socket, pods, pod, ports).await;
        }
    });
    let mut reply = http::Response::new(full(Vec::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
    if let Ok(key) = HeaderValue::from_str(&key) {
        headers.insert("sec-websocket-accept", key);
    }
    Ok(reply)
}

fn chosen(headers: &HeaderMap) -> Option<&'static str> {
    let offered: Vec<&str> = headers
        .get_all("sec-websocket-protocol")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    PROTOCOLS.iter().copied().find(|p| offered.contains(p))
}

fn ports(query: &Query) -> Result<Vec<u16>, Status> {
    let texts: Vec<&str> = query.all("ports").flat_map(|p| p.split(',')).collect();
    if texts.is_empty() {
        return Err(Status::bad_request("query parameter \"ports\" is required"));
    }
    texts
        .into_iter()
        .map(|text| {
            text.parse::<u16>()
                .ok()
                .filter(|p| *p > 0)
                .ok_or_else(|| Status::bad_request(format!("unable to parse \"{text}\" as a port")))
        })
        .collect()
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// The number of a port's data channel; its error channel is the next one.
fn data_channel(at: usize) -> u8 {
    u8::try_from(at * 2).unwrap_or(u8::MAX)
}

fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}

async fn forward(socket: Socket, pods: Arc<dyn PodNetwork>, pod: Arc<Value>, ports: Vec<u16>) {
    let (mut to_client, mut from_client) = socket.split();
    let (send, mut outgoing) = mpsc::channel::<Message>(32);
    let mut writers: Vec<Option<WriteHalf<DuplexStream>>> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let channel = data_channel(at);
        for c in [channel, channel + 1] {
            let _ = send.send(frame(c, &port.to_le_bytes())).await;
        }
        match pods.connect(&pod, *port).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                writers.push(Some(writer));
                tokio::spawn(pass_on(reader, channel, send.clone()));
            }
            Err(why) => {
                writers.push(None);
                let _ = send
                    .send(frame(channel + 1, refused(&pod, *port, &why).as_bytes()))
                    .await;
            }
        }
    }
    // Once every pod's side has ended, nothing is left to send.
    drop(send);
    let client = async {
        while let Some(Ok(message)) = from_client.next().await {
            match message {
                Message::Binary(bytes) => deliver(&mut writers, &bytes).await,
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let pod_side = async {
        while let Some(message) = outgoing.recv().await {
            if to_client.send(message).await.is_err() {
                return;
            }
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = to_client.send(Message::Close(Some(close))).await;
        let _ = to_client.flush().await;
    };
    tokio::select! {
        () = client => {}
        () = pod_side => {}
    }
}

/// The words of a real node.
fn refused(pod: &Value, port: u16, why: &str) -> String {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    format!(
        "error forwarding port {port} to pod {uid}, uid : failed to execute portforward in network namespace: \
         failed to connect to localhost:{port} inside namespace \"{uid}\": {why}"
    )
}

async fn pass_on(mut from: ReadHalf<DuplexStream>, channel: u8, to: mpsc::Sender<Message>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                if to.send(frame(channel, &buffer[..read])).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn deliver(writers: &mut [Option<WriteHalf<DuplexStream>>], bytes: &[u8]) {
    let Some((channel, data)) = bytes.split_first() else {
        return;
    };
    let at = usize::from(*channel) / 2;
    if channel % 2 == 0
        && let Some(Some(writer)) = writers.get_mut(at)
    {
        let _ = writer.write_all(data).await;
        let _ = writer.flush().await;
    }
}
