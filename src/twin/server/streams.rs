//! Requests that become a WebSocket: exec and port-forward.

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

use super::super::kube::Status;
use super::reply::{Reply, full};

/// A WebSocket with a client.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A request that may become a WebSocket.
pub struct Offer {
    /// Which of the protocols is spoken.
    pub protocol: &'static str,
    key: String,
    upgrade: OnUpgrade,
}

impl Offer {
    /// Reads a request for a WebSocket and chooses the first of `protocols` that it offers.
    ///
    /// # Errors
    /// 400: it is no WebSocket. 501: it offers none of the protocols; `what` names what it asks for.
    pub fn read(
        request: &mut Request<Bytes>,
        protocols: &[&'static str],
        what: &str,
    ) -> Result<Offer, Status> {
        let headers = request.headers();
        let upgrade = headers
            .get(UPGRADE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        if !upgrade.eq_ignore_ascii_case("websocket") {
            return Err(match upgrade {
                "" => Status::bad_request("Upgrade request required"),
                other => Status::not_modelled(&format!("{what} by {other}")),
            });
        }
        let key = headers
            .get("sec-websocket-key")
            .map(|k| derive_accept_key(k.as_bytes()))
            .ok_or_else(|| Status::bad_request("no Sec-WebSocket-Key"))?;
        let protocol = chosen(headers, protocols).ok_or_else(|| {
            Status::not_modelled(&format!(
                "{what} other than by the WebSocket protocols {}",
                protocols.join(", ")
            ))
        })?;
        let upgrade: OnUpgrade = request
            .extensions_mut()
            .remove()
            .ok_or_else(|| Status::bad_request("Upgrade request required"))?;
        Ok(Offer {
            protocol,
            key,
            upgrade,
        })
    }

    /// Accepts it: the answer, after which `serve` has the socket.
    pub fn accept<F: Future<Output = ()> + Send>(
        self,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> Reply {
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let stream = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                serve(socket).await;
            }
        });
        let mut reply = http::Response::new(full(Vec::new()));
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(
            "sec-websocket-protocol",
            HeaderValue::from_static(self.protocol),
        );
        if let Ok(key) = HeaderValue::from_str(&self.key) {
            headers.insert("sec-websocket-accept", key);
        }
        reply
    }
}

fn chosen(headers: &HeaderMap, protocols: &[&'static str]) -> Option<&'static str> {
    let offered: Vec<&str> = headers
        .get_all("sec-websocket-protocol")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    protocols.iter().copied().find(|p| offered.contains(p))
}

/// Bytes of one channel, whose number comes first.
pub fn frame(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}

/// The end that is none of an error: kubectl complains about any other.
pub fn close() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    }))
}
