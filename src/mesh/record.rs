//! What must be remembered of a migration, kept on the cluster beside istiod.
//!
//! Nothing here can be read from the mesh later: after the old root is gone, only this record tells
//! which root it was. One ConfigMap, readable with kubectl; the certificates in it are public.

use serde_json::json;

use super::{MeshError, names};
use crate::cluster::{Cluster, Written};
use crate::pki::{Bundle, certs_from_pem};

/// The ConfigMap in [`names::ISTIO_SYSTEM`].
pub const CONFIG_MAP: &str = "rootshift";
/// Key with the roots that the control plane signed with when the migration started (PEM).
pub const ROOT_AT_START: &str = "root-at-start.pem";
/// Annotation on a namespace: how it was injected before, as `LABEL=VALUE`.
pub const PREVIOUS_INJECTION: &str = "rootshift.dev/previous-injection";

/// The roots recorded at the start, if a migration was ever started here.
pub async fn root_at_start(cluster: &Cluster) -> Result<Option<Bundle>, MeshError> {
    let kind = cluster.kind("configmaps").await?;
    let Some(found) = cluster
        .get(&kind, Some(names::ISTIO_SYSTEM), CONFIG_MAP)
        .await?
    else {
        return Ok(None);
    };
    let Some(text) = found.value()["data"][ROOT_AT_START].as_str() else {
        return Ok(None);
    };
    let (certs, issues) = certs_from_pem(text);
    if certs.is_empty() || !issues.is_empty() {
        return Err(MeshError::Unreadable {
            object: format!(
                "ConfigMap {}/{CONFIG_MAP}, key `{ROOT_AT_START}`",
                names::ISTIO_SYSTEM
            ),
            reason: "holds something that is not a certificate".into(),
        });
    }
    Ok(Some(Bundle::from_certs(certs)))
}

/// Records the roots at the start. Never overwrites: the first record is the truth.
pub async fn record_root(cluster: &Cluster, roots: &Bundle) -> Result<Option<Written>, MeshError> {
    if root_at_start(cluster).await?.is_some() {
        return Ok(None);
    }
    let written = cluster
        .apply(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": names::ISTIO_SYSTEM},
            "data": {ROOT_AT_START: roots.pem()},
        }))
        .await?;
    Ok(Some(written))
}
