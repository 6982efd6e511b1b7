//! The socket: TLS on a free port of the loopback, one task for each connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use super::service::{App, serve};
use crate::pki::mint::{Authority, CaSpec, serving};

/// A listening socket.
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// The root that clients need, PEM.
    pub root: String,
    /// The task that accepts.
    pub task: JoinHandle<()>,
}

/// Starts to accept connections.
pub async fn listen(app: Arc<App>) -> Result<Listening, ServerError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (acceptor, root) = identity()?;
    let task = tokio::spawn(async move {
        // Ends its connections when it is dropped.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(Arc::clone(&app), acceptor.clone(), stream));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(Listening {
        address,
        root,
        task,
    })
}

async fn connection(app: Arc<App>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(tls) = acceptor.accept(stream).await else {
        return;
    };
    let second = tls.get_ref().1.alpn_protocol() == Some(HTTP_2);
    let service = service_fn(move |request| serve(Arc::clone(&app), request));
    if second {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(tls), service)
            .await;
        return;
    }
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(false)
        .serve_connection(TokioIo::new(tls), service)
        .with_upgrades()
        .await;
}

/// HTTP/2 as TLS names it. kubectl speaks it, and words the end of a watch by it; WebSockets are of
/// HTTP/1.1.
const HTTP_2: &[u8] = b"h2";

/// A throw-away CA and the server's certificate by it.
fn identity() -> Result<(TlsAcceptor, String), ServerError> {
    let broken = |why: String| ServerError::Certificate(why);
    let spec = CaSpec::new([("CN", "twin-kubernetes-ca")], Timestamp::now());
    let authority = Authority::self_signed(&spec).map_err(|e| broken(e.to_string()))?;
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let serving = serving(&["localhost", "kubernetes.default.svc"], &[ip], &authority)
        .map_err(|e| broken(e.to_string()))?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(serving.chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| broken(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.expose_secret().as_bytes())
        .map_err(|e| broken(e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| broken(e.to_string()))?;
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), serving.root))
}
