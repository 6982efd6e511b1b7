//! Whether a revision's injector works: the API server is asked to admit a pod that is then not made.
//!
//! Separate from [`super::injection`], which tells which webhook is called, because only a call tells
//! whether it answers: an istiod without its CA server and without a serving certificate from elsewhere is
//! Running and Ready, and yet every pod of a namespace that points to it fails to be created (seen
//! on Istio 1.31). A dry run of one pod shows that before anything is restarted.

use std::collections::BTreeMap;

use serde_json::json;

use super::dump::Reading;
use super::injection::{Injection, Injector, Labels};
use super::{names, pods};
use crate::cluster::Cluster;

/// Asks for a proxy of a revision, by a server-side dry run of a pod that is labelled for it.
///
/// # Errors
/// Why no proxy would be made, or why that cannot be told: the webhook failed, the dry run was
/// forbidden, no namespace takes pods by their own label.
pub(super) async fn dry_run(
    cluster: &Cluster,
    injection: &Injection,
    namespaces: &BTreeMap<String, Labels>,
    revision: &str,
) -> Reading<()> {
    let labels: Labels = [
        (names::REV.to_owned(), revision.to_owned()),
        (names::INJECT.to_owned(), "true".to_owned()),
    ]
    .into();
    let wanted = Injector::Revision(revision.to_owned());
    let preferred = [names::ISTIO_SYSTEM, "default"];
    let namespace = preferred
        .into_iter()
        .chain(namespaces.keys().map(String::as_str))
        .filter_map(|name| namespaces.get_key_value(name))
        .find(|(name, of)| injection.injector(name, of, &labels) == wanted)
        .map(|(name, _)| name.as_str())
        .ok_or_else(|| {
            format!(
                "no namespace is known in which a pod labelled `{}={revision}` gets a proxy of it",
                names::REV
            )
        })?;
    let pod = json!({
        "metadata": {"generateName": "rootshift-dry-run-", "labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    let cannot = |reason: &dyn std::fmt::Display| {
        format!(
            "a dry run of a pod with a proxy of revision `{revision}`, in namespace {namespace}, failed: {reason}"
        )
    };
    let kind = cluster.kind("pods").await.map_err(|e| cannot(&e))?;
    let made = cluster
        .dry_run_create(&kind, Some(namespace), pod)
        .await
        .map_err(|e| cannot(&e))?;
    if pods::proxy_of(made.value()).is_some() {
        Ok(())
    } else {
        Err(cannot(&"the pod was admitted without a proxy"))
    }
}
