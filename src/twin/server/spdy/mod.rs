//! Port-forward by SPDY/3.1 inside of a WebSocket (`SPDY/3.1+portforward.k8s.io`), as kubectl does it.
//!
//! A connection to a port is two streams with the same `requestid`: one for the node's error text, one for data. Only
//! what port-forward needs of SPDY is here; flow control is not (no client of Kubernetes has it).

mod inflate;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::forward::refused;
use super::network::PodNetwork;
use super::streams::{Socket, close};
use inflate::{Broken, Inflate};

/// The WebSocket's protocol.
pub const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
/// Flag: the sender of this frame sends no more on its stream.
const FIN: u8 = 1;
/// How much of a pod's answer is passed on in one frame.
const CHUNK: usize = 16 * 1024;

/// A frame: of control, or of data.
#[derive(Debug, PartialEq)]
enum Frame {
    Control {
        kind: u16,
        flags: u8,
        data: Vec<u8>,
    },
    Data {
        stream: u32,
        flags: u8,
        data: Vec<u8>,
    },
}

/// The first whole frame of what came, which is taken off.
fn take_frame(from: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; 8] = from.get(..8)?.try_into().ok()?;
    let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
    let data = from.get(8..8 + length)?.to_vec();
    from.drain(..8 + length);
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    Some(if first >> 31 == 1 {
        Frame::Control {
            kind: u16::from_be_bytes([head[2], head[3]]),
            flags: head[4],
            data,
        }
    } else {
        Frame::Data {
            stream: first,
            flags: head[4],
            data,
        }
    })
}

fn with_length(mut head: Vec<u8>, flags: u8, data: &[u8]) -> Message {
    let length = u32::try_from(data.len()).unwrap_or(0).to_be_bytes();
    head.push(flags);
    head.extend_from_slice(&length[1..]);
    head.extend_from_slice(data);
    Message::Binary(head.into())
}

fn control(kind: u16, flags: u8, data: &[u8]) -> Message {
    let mut head = vec![0x80, 3];
    head.extend_from_slice(&kind.to_be_bytes());
    with_length(head, flags, data)
}

fn data(stream: u32, flags: u8, data: &[u8]) -> Message {
    with_length(stream.to_be_bytes().to_vec(), flags, data)
}

/// A block of no headers: stored, and flushed by an empty stored block, as zlib ends each. The first of a connection
/// has zlib's own head, without a dictionary, which its reader allows.
fn no_headers(first: bool) -> Vec<u8> {
    let mut block = if first { vec![0x78, 0x01] } else { Vec::new() };
    block.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
    block.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
    block
}

/// Headers of a block that was decompressed.
fn headers(block: &[u8]) -> Result<HashMap<String, String>, Broken> {
    let count = u32::from_be_bytes(*block.first_chunk::<4>().ok_or(Broken)?);
    let mut all = HashMap::new();
    let mut at = 4;
    let mut text = || {
        let length: [u8; 4] = block
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .ok_or(Broken)?;
        let length = u32::from_be_bytes(length) as usize;
        let bytes = block.get(at + 4..at + 4 + length).ok_or(Broken)?;
        at += 4 + length;
        Ok::<_, Broken>(String::from_utf8_lossy(bytes).into_owned())
    };
    for _ in 0..count {
        let (name, value) = (text()?, text()?);
        all.insert(name.to_lowercase(), value);
    }
    Ok(all)
}

/// The two streams of one connection to a port, as far as they are there.
#[derive(Default)]
struct Pair {
    error: Option<u32>,
    data: Option<u32>,
}

struct Session {
    pods: Arc<dyn PodNetwork>,
    pod: Arc<Value>,
    send: mpsc::Sender<Message>,
    inflate: Inflate,
    replied: bool,
    pairs: HashMap<String, Pair>,
    /// What the client sends, by the data stream.
    writers: HashMap<u32, mpsc::Sender<Vec<u8>>>,
}

/// Serves a port-forward until the client goes.
pub async fn forward(socket: Socket, pods: Arc<dyn PodNetwork>, pod: Arc<Value>) {
    let (mut to_client, mut from_client) = socket.split();
    let (send, mut outgoing) = mpsc::channel::<Message>(64);
    let mut session = Session {
        pods,
        pod,
        send,
        inflate: Inflate::default(),
        replied: false,
        pairs: HashMap::new(),
        writers: HashMap::new(),
    };
    let client = async {
        let mut unread = Vec::new();
        while let Some(Ok(message)) = from_client.next().await {
            match message {
                Message::Binary(bytes) => unread.extend_from_slice(&bytes),
                Message::Close(_) => return,
                _ => continue,
            }
            while let Some(frame) = take_frame(&mut unread) {
                if session.meet(frame).await.is_err() {
                    return;
                }
            }
        }
    };
    let pod_side = async {
        while let Some(message) = outgoing.recv().await {
            if to_client.send(message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = client => {}
        () = pod_side => {}
    }
    let _ = to_client.send(close()).await;
}

impl Session {
    /// Does what a frame asks for.
    ///
    /// # Errors
    /// It is none, or the client goes: the connection ends.
    async fn meet(&mut self, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Data {
                stream,
                flags,
                data,
            } => {
                if let Some(writer) = self.writers.get(&stream)
                    && !data.is_empty()
                {
                    // One that is gone has been told to the client.
                    let _ = writer.send(data).await;
                }
                if flags & FIN != 0 {
                    self.writers.remove(&stream);
                }
                Ok(())
            }
            Frame::Control {
                kind: SYN_STREAM,
                data,
                ..
            } => self.open(&data).await,
            Frame::Control {
                kind: RST_STREAM,
                data,
                ..
            } => {
                self.writers.remove(&number(&data)?);
                Ok(())
            }
            Frame::Control {
                kind: PING, data, ..
            } => self.say(control(PING, 0, &data)).await,
            Frame::Control { kind: GOAWAY, .. } => Err(Broken),
            Frame::Control { .. } => Ok(()),
        }
    }

    async fn say(&self, message: Message) -> Result<(), Broken> {
        self.send.send(message).await.map_err(|_| Broken)
    }

    /// A new stream; the second of a pair connects.
    async fn open(&mut self, frame: &[u8]) -> Result<(), Broken> {
        let stream = number(frame)?;
        let block = self.inflate.read(frame.get(10..).ok_or(Broken)?)?;
        let headers = headers(&block)?;
        let mut reply = stream.to_be_bytes().to_vec();
        reply.extend(no_headers(!std::mem::replace(&mut self.replied, true)));
        self.say(control(SYN_REPLY, 0, &reply)).await?;
        let text = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        let pair = self.pairs.entry(text("requestid").to_owned()).or_default();
        match text("streamtype") {
            "error" => pair.error = Some(stream),
            "data" => pair.data = Some(stream),
            _ => return Err(Broken),
        }
        let (Some(error), Some(data)) = (pair.error, pair.data) else {
            return Ok(());
        };
        self.pairs.remove(text("requestid"));
        let port: u16 = text("port").parse().map_err(|_| Broken)?;
        let (input, wanted) = mpsc::channel(16);
        self.writers.insert(data, input);
        let (pods, pod, send) = (
            Arc::clone(&self.pods),
            Arc::clone(&self.pod),
            self.send.clone(),
        );
        tokio::spawn(async move {
            // A client that goes away in the middle is no event.
            let _ = connect(&*pods, &pod, port, (error, data), wanted, &send).await;
        });
        Ok(())
    }
}

fn number(data: &[u8]) -> Result<u32, Broken> {
    let bytes = data.first_chunk::<4>().ok_or(Broken)?;
    Ok(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

async fn connect(
    pods: &dyn PodNetwork,
    pod: &Value,
    port: u16,
    (error, stream): (u32, u32),
    mut wanted: mpsc::Receiver<Vec<u8>>,
    send: &mpsc::Sender<Message>,
) -> Result<(), Broken> {
    let say = |message| async { send.send(message).await.map_err(|_| Broken) };
    match pods.connect(pod, port).await {
        Err(why) => {
            let why = refused(pod, port, &why);
            say(data(error, FIN, why.as_bytes())).await?;
        }
        Ok(connection) => {
            let (reader, mut writer) = tokio::io::split(connection);
            tokio::spawn(async move {
                while let Some(bytes) = wanted.recv().await {
                    if writer.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                let _ = writer.shutdown().await;
            });
            pass_on(reader, stream, send).await?;
            say(data(error, FIN, &[])).await?;
        }
    }
    say(data(stream, FIN, &[])).await
}

async fn pass_on(
    mut from: ReadHalf<DuplexStream>,
    stream: u32,
    send: &mpsc::Sender<Message>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => {
                let message = data(stream, 0, &buffer[..read]);
                send.send(message).await.map_err(|_| Broken)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_in_order() {
        let mut all = Vec::new();
        for message in [control(PING, 0, &[0, 0, 0, 1]), data(3, FIN, b"abc")] {
            all.extend_from_slice(&message.into_data());
        }
        let mut some = all[..14].to_vec();
        let ping = Frame::Control {
            kind: PING,
            flags: 0,
            data: vec![0, 0, 0, 1],
        };
        assert_eq!(take_frame(&mut some), Some(ping));
        assert_eq!(take_frame(&mut some), None, "the second is not whole");
        some.extend_from_slice(&all[14..]);
        let last = Frame::Data {
            stream: 3,
            flags: FIN,
            data: b"abc".to_vec(),
        };
        assert_eq!(take_frame(&mut some), Some(last));
        assert!(some.is_empty());
    }

    #[test]
    fn headers_are_read_and_broken_ones_are_not() {
        let block = b"\0\0\0\x01\0\0\0\x04Port\0\0\0\x0280";
        assert_eq!(headers(block).unwrap()["port"], "80");
        for broken in [&block[..3], &block[..10], &block[..17], &[0, 0, 0, 9]] {
            assert_eq!(headers(broken), Err(Broken));
        }
    }
}
