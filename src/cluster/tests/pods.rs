//! The pod's side of a port-forward, well- and ill-behaved.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::server::Seen;

/// How the pod behaves.
#[derive(Debug, Clone)]
pub(super) enum Pod {
    /// Answers each request with the next of these bytes; closes after the last one.
    Answers(Vec<Vec<u8>>),
    /// Closes at the first request.
    Closes,
    /// Takes requests and answers nothing.
    Hangs,
    /// Executes commands.
    Runs(Runs),
    /// Nobody listens on the port.
    Refuses,
    /// The API server takes so long to set the forward up.
    Slow(Duration),
}

/// How a pod executes a command.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    /// It speaks the old protocol.
    pub(super) v4: bool,
    /// What it says, channel first.
    pub(super) frames: Vec<Vec<u8>>,
    /// It goes on for ever; otherwise the connection is cut.
    pub(super) hold: bool,
    /// It says so only when its input is at its end, and repeats that on standard output.
    pub(super) reads: bool,
}

async fn run(mut socket: WebSocketStream<TcpStream>, runs: Runs) {
    let mut input = vec![1];
    if runs.reads {
        loop {
            let Some(Ok(message)) = socket.next().await else {
                return;
            };
            let data = message.into_data();
            match data.split_first() {
                Some((0, text)) => input.extend_from_slice(text),
                Some((255, [0])) => break,
                _ => {}
            }
        }
        send(&mut socket, input).await;
    }
    for frame in runs.frames {
        send(&mut socket, frame).await;
    }
    while runs.hold && socket.next().await.is_some_and(|m| m.is_ok()) {}
}

pub(super) async fn serve(mut stream: TcpStream, seen: &Seen, pod: Pod) {
    if let Pod::Slow(time) = pod {
        tokio::time::sleep(time).await;
        return;
    }
    let mut offered = seen.headers["sec-websocket-protocol"].split(',');
    let old = matches!(&pod, Pod::Runs(runs) if runs.v4);
    let wanted = offered.find(|p| !old || p.contains("v4"));
    let protocol = wanted.unwrap().trim();
    let accept = derive_accept_key(seen.headers["sec-websocket-key"].as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    if let Pod::Runs(runs) = pod {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        return run(socket, runs).await;
    }
    let port: u16 = seen.target.split("ports=").nth(1).unwrap().parse().unwrap();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let [low, high] = port.to_le_bytes();
    for channel in [0, 1] {
        send(&mut socket, vec![channel, low, high]).await;
    }
    let mut answers = match pod {
        Pod::Refuses => {
            let text = format!(
                "an error occurred forwarding {port} -> {port}: dial tcp4 127.0.0.1:{port}: connect: connection refused"
            );
            send(&mut socket, [&[1u8], text.as_bytes()].concat()).await;
            socket.close(None).await.ok();
            return;
        }
        Pod::Answers(answers) => VecDeque::from(answers),
        Pod::Closes | Pod::Runs(_) => VecDeque::new(),
        Pod::Hangs | Pod::Slow(_) => {
            while socket.next().await.is_some_and(|m| m.is_ok()) {}
            return;
        }
    };
    while let Some(Ok(message)) = socket.next().await {
        let data = message.into_data();
        if data.first() != Some(&0) || !data.ends_with(b"\r\n\r\n") {
            continue;
        }
        if let Some(answer) = answers.pop_front() {
            // In small pieces, as a network would.
            for piece in answer.chunks(7) {
                send(&mut socket, [&[0u8], piece].concat()).await;
            }
        }
        if answers.is_empty() {
            break;
        }
    }
    socket.close(None).await.ok();
    while socket.next().await.is_some_and(|m| m.is_ok()) {}
}

async fn send(socket: &mut WebSocketStream<TcpStream>, bytes: Vec<u8>) {
    socket.send(Message::binary(bytes)).await.ok();
}
