//! The API server's HTTP side: what `kube` and `kubectl` speak to.
//!
//! It is apart from [`super::kube`] so that objects and their rules know no HTTP. It decides who asks,
//! what they may do, and in which form they get the answer.

mod fault;
mod network;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

pub use fault::{Call, Effect, Fault, FaultPlan};
pub use network::PodNetwork;

use super::kube::Kube;

/// Answers paths under `/twin/`, which are not part of Kubernetes.
pub trait ExtraRoutes: Send + Sync {
    /// Answers a request of an authenticated user.
    fn answer(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>>;
}

/// Someone who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Groups; `system:authenticated` is added. `system:masters` may do everything.
    pub groups: Vec<String>,
    /// Bearer token.
    pub token: String,
}

/// What a server needs to start.
pub struct ServerOptions {
    /// The cluster that it serves.
    pub kube: Kube,
    /// What is behind the ports of pods.
    pub pods: Arc<dyn PodNetwork>,
    /// Users beside the administrator, whose token is made up and stands in the kubeconfig.
    pub users: Vec<User>,
    /// What answers `/twin/…`.
    pub extra: Option<Arc<dyn ExtraRoutes>>,
    /// Faults; more can be added while it runs.
    pub faults: Arc<FaultPlan>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No port could be had.
    #[error("no port on 127.0.0.1: {0}")]
    Port(#[from] std::io::Error),
    /// The serving certificate could not be made.
    #[error("no serving certificate: {0}")]
    Certificate(String),
}

/// A running API server; dropping it ends it with all its connections.
pub struct Server {
    address: SocketAddr,
    kubeconfig: String,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no port, or no certificate could be made.
    pub async fn start(options: ServerOptions) -> Result<Server, ServerError> {
        let _ = options;
        std::future::ready(()).await;
        Err(ServerError::Certificate("being built".to_owned()))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's kubeconfig, with the token in it.
    pub fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }
}
