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
/// Annotation on a namespace: how it was injected before, as `LABEL=VALUE`.
pub const PREVIOUS_INJECTION: &str = "rootshift.dev/previous-injection";

/// Key with the roots that the control plane signed with when the migration started (PEM).
const ROOT_AT_START: &str = "root-at-start.pem";
/// Key with the revisions that were in use then, separated by spaces.
const REVISIONS_AT_START: &str = "revisions-at-start";

/// The mesh as it was when the migration started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The roots that the control plane signed with.
    pub roots: Bundle,
    /// The revisions that proxies or namespaces used.
    pub revisions: Vec<String>,
}

/// What was recorded, if a migration was ever started here.
///
/// # Errors
/// A record that somebody damaged: guessing another start would make the old root unfindable.
pub async fn start(cluster: &Cluster) -> Result<Option<Start>, MeshError> {
    let kind = cluster.kind("configmaps").await?;
    let found = cluster
        .get(&kind, Some(names::ISTIO_SYSTEM), CONFIG_MAP)
        .await?;
    let Some(found) = found else { return Ok(None) };
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
    let revisions = found.value()["data"][REVISIONS_AT_START]
        .as_str()
        .unwrap_or_default();
    Ok(Some(Start {
        roots: Bundle::from_certs(certs),
        revisions: revisions.split_whitespace().map(str::to_owned).collect(),
    }))
}

/// Records the start. Never overwrites: the first record is the truth.
pub async fn record(cluster: &Cluster, now: &Start) -> Result<Option<Written>, MeshError> {
    if start(cluster).await?.is_some() {
        return Ok(None);
    }
    let written = cluster
        .apply(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": names::ISTIO_SYSTEM},
            "data": {
                ROOT_AT_START: now.roots.pem(),
                REVISIONS_AT_START: now.revisions.join(" "),
            },
        }))
        .await?;
    Ok(Some(written))
}
