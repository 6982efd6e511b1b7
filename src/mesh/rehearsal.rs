//! A pod's creation, rehearsed: the API server is asked to admit a pod of the real template, and what comes back is held
//! against what was foreseen.
//!
//! Separate from [`super::admission`], which asks whether a revision's injector works at all: this is about one template
//! where it will run. Policies, other webhooks and the pod's own annotations speak up here, before anything is
//! restarted, and so does a webhook that leads to another istiod than its label says.

use serde_json::{Value, json};

use super::forecast::Moved;
use super::pods;
use super::revision::{CaEndpoint, Revision};
use crate::cluster::{Cluster, ClusterError};

/// Asks for one pod of this template, without making it.
///
/// `expected`: the revision that is foreseen to inject it, with what the template itself changes; `None`: nobody.
///
/// # Errors
/// Why such a pod would not come up as foreseen, or why that cannot be told. A quota that has no room just now is none:
/// whether a rollout needs room beside its old pods is another question than this one.
pub(super) async fn rehearse(
    cluster: &Cluster,
    moved: &Moved,
    expected: Option<&Revision>,
) -> Result<(), String> {
    let workload = &moved.workload;
    let cannot = |reason: &dyn std::fmt::Display| {
        format!("a dry run of a pod of {workload} failed: {reason}")
    };
    let mut metadata = moved.pod["metadata"].clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    for key in ["name", "uid", "resourceVersion", "creationTimestamp"] {
        metadata.as_object_mut().map(|fields| fields.remove(key));
    }
    metadata["namespace"] = workload.namespace.clone().into();
    metadata["generateName"] = format!("{}-", workload.name).into();
    let pod = json!({"metadata": metadata, "spec": moved.pod["spec"]});
    let kind = cluster.kind("pods").await.map_err(|e| cannot(&e))?;
    let made = match cluster
        .dry_run_create(&kind, Some(&workload.namespace), pod)
        .await
    {
        Err(error) if is_quota(&error) => return Ok(()),
        made => made.map_err(|e| cannot(&e))?,
    };
    let proxy = pods::proxy_of(made.value());
    match (expected, proxy) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(format!(
            "a dry run of a pod of {workload} came back with a proxy, and none was foreseen"
        )),
        (Some(revision), None) => Err(format!(
            "a dry run of a pod of {workload} came back without a proxy, where revision `{}` was to inject it",
            revision.name
        )),
        (Some(revision), Some(proxy)) => {
            let differs = differences(made.value(), proxy, revision);
            if differs.is_empty() {
                return Ok(());
            }
            Err(format!(
                "a dry run of a pod of {workload} is not what revision `{}` was to make of it: {}",
                revision.name,
                differs.join("; ")
            ))
        }
    }
}

/// Full, or a namespace whose quota asks for limits; the server has only words for it.
fn is_quota(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Forbidden(_)) && error.to_string().contains("exceeded quota")
}

/// What in the pod is not of the revision.
fn differences(pod: &Value, proxy: &Value, revision: &Revision) -> Vec<String> {
    let mut out = Vec::new();
    let env = |name: &str| pods::env(proxy, name);
    let injected = pods::injected_by(pod);
    if let Some(by) = injected.filter(|by| *by != revision.name) {
        // A tag's webhook names the revision itself, so that another name is another istiod.
        out.push(format!("revision `{by}` injected it"));
    }
    let domain = env("TRUST_DOMAIN").unwrap_or_else(|| revision.trust_domain.clone());
    if domain != revision.trust_domain {
        out.push(format!(
            "its trust domain is `{domain}`, not `{}`",
            revision.trust_domain
        ));
    }
    if revision.xds_agent && env("PROXY_CONFIG_XDS_AGENT").as_deref() != Some("true") {
        out.push(
            "it has no PROXY_CONFIG_XDS_AGENT=true, so that a second root does not reach it".into(),
        );
    }
    let signer = CaEndpoint::of(
        &env("CA_PROVIDER").unwrap_or_default(),
        &env("CA_ADDR").unwrap_or_default(),
    );
    if signer != revision.signer {
        out.push(format!("it asks another CA: {}", signer.as_text()));
    }
    out
}
