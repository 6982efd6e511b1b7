//! The controllers, the scheduler and the kubelet of the twin.

mod lifecycle;

use serde_json::Value;

pub use lifecycle::{NoMesh, PodLifecycle};

/// Whether a pod receives traffic: its condition `Ready` is True and it is not being deleted.
pub fn in_ready_set(pod: &Value) -> bool {
    let deleting = pod
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null());
    let ready = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|all| {
            all.iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        });
    ready && !deleting
}
