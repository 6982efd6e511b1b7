//! The few requests that an installer sends to an API server, over HTTPS.
//!
//! Not the project's cluster client: the stand-in is a foreign program, and what it does must not
//! pass the guards and the journal of the program that starts it. One connection per request;
//! failures of the server or the network are repeated as `asmcli` repeats its own (5 times), which
//! is safe since every write here sets a wanted state.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::kubeconfig::Access;
use crate::twin::mesh::manifests::KindInfo;

const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection's settings.
pub(super) struct Client {
    access: Access,
    authority: String,
    tls: TlsConnector,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The server's message, or what there is of a body.
    fn message(&self) -> String {
        self.json()["message"].as_str().map_or_else(
            || String::from_utf8_lossy(&self.body).trim().to_owned(),
            str::to_owned,
        )
    }
}

impl Client {
    pub(super) fn new(access: Access) -> Result<Client, String> {
        let authority = access
            .server
            .strip_prefix("https://")
            .ok_or_else(|| {
                format!(
                    "the server of context {} is not an https address: {}",
                    access.context, access.server
                )
            })?
            .to_owned();
        let mut roots = tokio_rustls::rustls::RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(access.ca.as_bytes()) {
            let der = der.map_err(|e| format!("certificate-authority-data: {e}"))?;
            roots
                .add(der)
                .map_err(|e| format!("certificate-authority-data: {e}"))?;
        }
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client {
            access,
            authority,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// A GET; 404 is an answer, not an error.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.request(Method::GET, path, None).await
    }

    /// Creates the object, or patches what is there to be so.
    pub(super) async fn apply(&self, object: &Value) -> Result<(), String> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let info = KindInfo::of(object).ok_or_else(|| format!("unknown kind {kind}"))?;
        let collection =
            info.collection(object["metadata"]["namespace"].as_str().unwrap_or_default());
        let path = format!("{collection}/{name}");
        let answer = match self.get(&path).await?.status {
            StatusCode::NOT_FOUND => {
                self.request(
                    Method::POST,
                    &collection,
                    Some(("application/json", object)),
                )
                .await?
            }
            _ => {
                self.request(
                    Method::PATCH,
                    &path,
                    Some(("application/merge-patch+json", object)),
                )
                .await?
            }
        };
        if answer.status.is_success() {
            return Ok(());
        }
        Err(format!("{kind} {name}: {}", answer.message()))
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Answer, String> {
        let mut failure = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            let once = self.once(&method, path, body);
            match tokio::time::timeout(TIMEOUT, once).await {
                Ok(Ok(answer))
                    if answer.status.is_server_error()
                        || answer.status == StatusCode::TOO_MANY_REQUESTS =>
                {
                    // 501 is the twin's word for what it does not model: asking again changes nothing.
                    if answer.status == StatusCode::NOT_IMPLEMENTED {
                        return Err(answer.message());
                    }
                    failure = format!("{method} {path}: {}: {}", answer.status, answer.message());
                }
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(reason)) => failure = format!("{method} {path}: {reason}"),
                Err(_) => {
                    failure = format!("{method} {path}: no answer in {} s", TIMEOUT.as_secs());
                }
            }
        }
        Err(failure)
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Answer, String> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let host = self
            .authority
            .rsplit_once(':')
            .map_or(self.authority.as_str(), |(host, _)| host);
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|e| e.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.access.token),
            )
            .header(header::USER_AGENT, "asmcli")
            .header(header::CONNECTION, "close");
        let mut bytes = Bytes::new();
        if let Some((content_type, value)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
            bytes = Bytes::from(value.to_string());
        }
        let request = request.body(Full::new(bytes)).map_err(|e| e.to_string())?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|e| e.to_string())?
            .to_bytes();
        driver.abort();
        Ok(Answer { status, body })
    }
}
