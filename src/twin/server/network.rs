//! What is behind a port of a pod: the mesh inside the twin.

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::io::DuplexStream;

/// Opens connections to the ports of pods, for port-forward.
pub trait PodNetwork: Send + Sync {
    /// Connects to a port of a pod.
    ///
    /// # Errors
    /// The reason in the words of a real node (`connection refused`).
    fn connect<'a>(
        &'a self,
        pod: &'a Value,
        port: u16,
    ) -> BoxFuture<'a, Result<DuplexStream, String>>;
}
