//! The socket: TLS on a free port of the loopback, one task for each connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
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
    let service = service_fn(move |request| serve(Arc::clone(&app), request));
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(false)
        .serve_connection(TokioIo::new(tls), service)
        .with_upgrades()
        .await;
}

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
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| broken(e.to_string()))?;
    Ok((TlsAcceptor::from(Arc::new(config)), serving.root))
}
