//! What the kubelet tells the mesh inside of its pods, and asks of it.
//!
//! A trait because the kubelet must not know Istio: it starts and stops containers; the mesh decides
//! what an agent does then. Calls are awaited, so that the world does not move on before the mesh has.

use futures::future::BoxFuture;
use serde_json::Value;

/// The mesh side of a pod's life. All calls for one pod are made in order, by one task; calls for
/// different pods may overlap.
///
/// Each pod, known by its `metadata.uid`, sees: `started` once, `ready` until it answers `Ok` (again after a
/// container was restarted), `stopped` once (also when the pod was deleted by force, and when it ran to
/// completion). A pod that goes before its containers started sees none of them; one that goes while it
/// starts may see no `ready`.
pub trait PodLifecycle: Send + Sync {
    /// The containers that carry the proxy have started: its agent may fetch its certificate.
    fn started<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()>;

    /// Asked before the pod is set Ready, and, for a native sidecar with a startup probe, before the
    /// application's containers start.
    ///
    /// # Errors
    /// The reason why it is not ready. It stays so and is asked again after a simulated second.
    fn ready<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, Result<(), String>>;

    /// A pod became Ready or left the ready set ([`super::in_ready_set`]). Awaited before the next transition of that pod.
    fn live_set_changed(&self) -> BoxFuture<'_, ()>;

    /// The containers are gone, and the pod has been out of the ready set and of all endpoints since before
    /// they began to stop. The object is removed right after, or is already.
    fn stopped<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()>;
}

/// A cluster without a mesh: every pod is ready as soon as its containers run.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMesh;

impl PodLifecycle for NoMesh {
    fn started<'a>(&'a self, _pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn ready<'a>(&'a self, _pod: &'a Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn live_set_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn stopped<'a>(&'a self, _pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
