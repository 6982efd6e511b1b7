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
    /// Nobody listens on the port.
    Refuses,
    /// The API server takes so long to set the forward up.
    Slow(Duration),
}

pub(super) async fn serve(mut stream: TcpStream, seen: &Seen, pod: Pod) {
    if let Pod::Slow(time) = pod {
        tokio::time::sleep(time).await;
        return;
    }
    let protocol = seen.headers["sec-websocket-protocol"]
        .split(',')
        .next()
        .unwrap()
        .trim();
    let accept = derive_accept_key(seen.headers["sec-websocket-key"].as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
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
        Pod::Closes => VecDeque::new(),
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
