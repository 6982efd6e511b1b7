//! The objects of a cluster that may name peers, and which hosts are outside of the mesh.

use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, Object, Selector};
use crate::mesh::MeshError;

/// The kinds that may name peers; each may be absent.
const KINDS: [&str; 7] = [
    "authorizationpolicies.security.istio.io",
    "destinationrules.networking.istio.io",
    "envoyfilters.networking.istio.io",
    "gateways.networking.istio.io",
    "serviceentries.networking.istio.io",
    "virtualservices.networking.istio.io",
    "wasmplugins.extensions.istio.io",
];

/// One object.
pub(super) struct Named {
    /// Its kind as kubectl takes it.
    pub resource: &'static str,
    /// Itself.
    pub object: Object,
}

/// All of a cluster.
pub(super) struct Objects {
    /// What was read.
    pub all: Vec<Named>,
    /// What may not be read, a line each.
    pub unknown: Vec<String>,
    /// What namespaces are called after, in a mesh of several clusters: `@CONTEXT`.
    pub at: String,
}

impl Objects {
    /// Reads them.
    ///
    /// # Errors
    /// When a list fails for another reason than lack of rights.
    pub(super) async fn read(cluster: &Cluster, at: &str) -> Result<Self, MeshError> {
        let lists = KINDS.map(|resource| list(cluster, resource));
        let lists = futures::future::join_all(lists).await;
        let mut read = Self {
            all: Vec::new(),
            unknown: Vec::new(),
            at: at.to_owned(),
        };
        for (resource, list) in KINDS.into_iter().zip(lists) {
            match list {
                Ok(found) => {
                    let named = found.into_iter().map(|object| Named { resource, object });
                    read.all.extend(named);
                }
                Err(why @ (ClusterError::Forbidden(_) | ClusterError::KindsUnread { .. })) => {
                    let line = format!("{resource}: whom they name is not known: {why}");
                    read.unknown.push(line);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    /// Whether a host is that of a service outside of the mesh: a ServiceEntry says so, and none says otherwise.
    pub(super) fn is_outside(&self, host: &str) -> bool {
        let entries = self.all.iter().map(|named| named.object.value());
        let entries = entries.filter(|object| object["kind"] == "ServiceEntry");
        let mut matching = entries.filter(|entry| hosts(entry).any(|known| alike(known, host)));
        let first = matching.next();
        first.is_some_and(is_external) && matching.all(is_external)
    }
}

/// Whether a ServiceEntry is outside of the mesh, as one is that does not say (`MESH_EXTERNAL` is the default).
pub(super) fn is_external(entry: &Value) -> bool {
    entry["spec"]["location"] != "MESH_INTERNAL" && entry["spec"]["workloadSelector"].is_null()
}

async fn list(cluster: &Cluster, resource: &str) -> Result<Vec<Object>, ClusterError> {
    if !cluster.has_kind(resource).await? {
        return Ok(Vec::new());
    }
    let kind = cluster.kind(resource).await?;
    cluster.list(&kind, None, &Selector::default()).await
}

fn hosts(entry: &Value) -> impl Iterator<Item = &str> {
    let hosts = entry["spec"]["hosts"].as_array().into_iter().flatten();
    hosts.filter_map(Value::as_str)
}

/// Either may be a wildcard, `*.example.com`.
fn alike(a: &str, b: &str) -> bool {
    let wild = |pattern: &str, host: &str| {
        pattern
            .strip_prefix('*')
            .is_some_and(|end| host.ends_with(end))
    };
    a == b || wild(a, b) || wild(b, a)
}
