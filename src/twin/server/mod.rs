//! The API server's HTTP side: what `kube` and `kubectl` speak to.
//!
//! It is apart from [`super::kube`] so that objects and their rules know no HTTP. It decides who asks,
//! what they may do, and in which form they get the answer.

mod apply;
mod body;
mod bootstrap;
mod convert;
mod discovery;
mod escalation;
mod exec;
mod fault;
mod forward;
mod listen;
mod listing;
mod logs;
mod network;
mod objects;
mod openapi;
mod options;
mod path;
mod rbac;
mod reply;
mod review;
mod service;
mod spdy;
mod streams;
mod subresources;
mod table;
mod user;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use ring::rand::SecureRandom as _;
use tokio::task::JoinHandle;

pub use fault::{Call, Effect, Fault, FaultPlan};
pub use network::PodNetwork;
pub(super) use path::decode;

use super::kube::Kube;
use super::process::Containers;

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
    /// What runs in pods and is behind their ports.
    pub containers: Containers,
    /// Users beside the administrator, whose token is made up and stands in the kubeconfig.
    pub users: Vec<User>,
    /// What answers `/twin/…`.
    pub extra: Option<Arc<dyn ExtraRoutes>>,
    /// Faults; more can be added while it runs.
    pub faults: Arc<FaultPlan>,
    /// Name of the context, and of the cluster, in its kubeconfig.
    pub context: String,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The objects that every cluster has could not be made.
    #[error("no objects to start with: {0}")]
    Bootstrap(String),
    /// No port could be had.
    #[error("no port on 127.0.0.1: {0}")]
    Port(#[from] std::io::Error),
    /// The serving certificate could not be made.
    #[error("no serving certificate: {0}")]
    Certificate(String),
    /// The machine gives no random numbers.
    #[error("no random numbers for a token")]
    Randomness,
}

/// A running API server; dropping it ends it with all its connections.
pub struct Server {
    address: SocketAddr,
    root: String,
    token: String,
    context: String,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1. The namespaces and roles that every cluster has
    /// are made if they are not there.
    ///
    /// # Errors
    /// There is no port, or no certificate could be made.
    pub async fn start(options: ServerOptions) -> Result<Server, ServerError> {
        bootstrap::run(&options.kube)
            .await
            .map_err(|status| ServerError::Bootstrap(status.message))?;
        let token = made_up_token().ok_or(ServerError::Randomness)?;
        let mut users = options.users.clone();
        users.push(User {
            name: ADMINISTRATOR.to_owned(),
            groups: vec![user::MASTERS.to_owned()],
            token: token.clone(),
        });
        let context = options.context.clone();
        let listening = listen::listen(Arc::new(service::App { options, users })).await?;
        Ok(Server {
            address: listening.address,
            root: listening.root,
            token,
            context,
            task: listening.task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's kubeconfig, with the token in it.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_for(ADMINISTRATOR, &self.token)
    }

    /// The kubeconfig of a user with a token.
    pub fn kubeconfig_for(&self, name: &str, token: &str) -> String {
        let context = self.context.as_str();
        // Apart from those of other clusters, once these are merged.
        let entry = format!("{name}@{context}");
        let root = base64::engine::general_purpose::STANDARD.encode(&self.root);
        let document = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": context,
            "clusters": [{"name": context, "cluster": {
                "server": format!("https://{}", self.address), "certificate-authority-data": root,
            }}],
            "users": [{"name": entry, "user": {"token": token}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": entry}}],
        });
        serde_saphyr::to_string(&document).unwrap_or_default()
    }

    /// Ends the server and waits until its socket is closed.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The user of the kubeconfig.
const ADMINISTRATOR: &str = "twin-admin";

fn made_up_token() -> Option<String> {
    let mut bytes = [0; 24];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
