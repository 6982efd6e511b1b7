//! A port of this machine that leads to a port of a pod, for programs that speak what we do not.
//!
//! Each connection is a port-forward of its own, as with `kubectl port-forward`. It listens on the loopback address
//! only, since whoever reaches it reaches the pod with our credentials.

use std::net::{Ipv4Addr, SocketAddr};

use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Cluster, ClusterError, ForwardError};

/// A local port; dropping it ends it with all its connections.
pub struct LocalPort {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl LocalPort {
    /// Where it listens: `127.0.0.1` and a free port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LocalPort {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Listens on a free port of 127.0.0.1 and passes each connection on to a port of a pod. Whether somebody listens
    /// there shows at a connection: it is closed if not.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`]; [`ClusterError::Forward`] if the pod does not run or no port is free.
    pub async fn listen(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<LocalPort, ClusterError> {
        let failed = |reason: String| ClusterError::Forward {
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            port,
            cause: ForwardError::Broken(reason),
        };
        let kind = self.kind("pods").await?;
        let object = self.get_existing(&kind, Some(namespace), pod).await?;
        let phase = object.at("/status/phase").and_then(|p| p.as_str());
        if phase != Some("Running") {
            let phase = phase.unwrap_or("unknown");
            return Err(failed(format!("the pod is not running, it is {phase}")));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|e| failed(format!("no port on this machine: {e}")))?;
        let address = listener
            .local_addr()
            .map_err(|e| failed(format!("no port on this machine: {e}")))?;
        let api: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.shared.client.clone(), namespace);
        let pod = pod.to_owned();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        connections.spawn(pass_on(api.clone(), pod.clone(), port, stream));
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(LocalPort { address, task })
    }
}

async fn pass_on(
    api: Api<k8s_openapi::api::core::v1::Pod>,
    pod: String,
    port: u16,
    mut local: TcpStream,
) {
    let mut forwarder = match api.portforward(&pod, &[port]).await {
        Ok(forwarder) => forwarder,
        Err(error) => {
            tracing::debug!(pod, port, %error, "a connection could not be passed on");
            return;
        }
    };
    if let Some(mut remote) = forwarder.take_stream(port) {
        let _ = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
    }
    forwarder.abort();
}
