//! Port-forward over a WebSocket: protocols `v4.channel.k8s.io` and `v5.channel.k8s.io`, and kubectl's ([`spdy`]).
//!
//! Each asked port has two channels, data and error, in the order of the ports. The first frame of a
//! channel is the port's number; then data is passed on in both directions. When the pod's side ends,
//! so does the forward.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::super::kube::Status;
use super::network::PodNetwork;
use super::path::Query;
use super::reply::Reply;
use super::spdy;
use super::streams::{Offer, Socket, close, frame};

const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", spdy::PROTOCOL];

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
    let offer = Offer::read(request, PROTOCOLS, "port-forward")?;
    // The tunnelled protocol names its ports later, stream by stream.
    let tunnel = offer.protocol == spdy::PROTOCOL;
    let ports = if tunnel { Vec::new() } else { ports(query)? };
    if pod["status"]["phase"] != "Running" {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let pods = Arc::clone(pods);
    Ok(offer.accept(move |socket| async move {
        if tunnel {
            spdy::forward(socket, pods, pod).await;
        } else {
            forward(socket, pods, pod, ports).await;
        }
    }))
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

/// The number of a port's data channel; its error channel is the next one.
fn data_channel(at: usize) -> u8 {
    u8::try_from(at * 2).unwrap_or(u8::MAX)
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
        let _ = to_client.send(close()).await;
        let _ = to_client.flush().await;
    };
    tokio::select! {
        () = client => {}
        () = pod_side => {}
    }
}

/// The words of a real node.
pub fn refused(pod: &Value, port: u16, why: &str) -> String {
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
