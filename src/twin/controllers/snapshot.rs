//! One look at the cluster, from which the manager sees who has work.
//!
//! A reconciler reads afresh what it decides on; this only tells whether anything that it depends on
//! has changed since it last ran, as a fingerprint of resource versions.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::naming::mix;
use super::objects::{controller_uid, namespace, uid, version};
use crate::twin::kube::Kube;

/// The kinds whose objects controllers own.
const OWNED: [&str; 3] = ["pods", "replicasets.apps", "controllerrevisions.apps"];

/// The rest that somebody reconciles.
const OTHERS: [&str; 12] = [
    "clusterroles.rbac.authorization.k8s.io",
    "daemonsets.apps",
    "deployments.apps",
    "endpoints",
    "horizontalpodautoscalers.autoscaling",
    "jobs.batch",
    "namespaces",
    "nodes",
    "poddisruptionbudgets.policy",
    "resourcequotas",
    "services",
    "statefulsets.apps",
];

/// The objects of the kinds above, and fingerprints of groups of them.
pub struct Snapshot {
    lists: HashMap<&'static str, Vec<Arc<Value>>>,
    by_owner: HashMap<String, u64>,
    unowned: HashMap<String, u64>,
    pods_in: HashMap<String, u64>,
    nodes: u64,
}

impl Snapshot {
    pub fn take(kube: &Kube) -> Snapshot {
        let mut lists = HashMap::new();
        for resource in OWNED.into_iter().chain(OTHERS) {
            lists.insert(resource, kube.list(resource, None));
        }
        let mut snapshot = Snapshot {
            lists,
            by_owner: HashMap::new(),
            unowned: HashMap::new(),
            pods_in: HashMap::new(),
            nodes: 0,
        };
        for resource in OWNED {
            for object in &snapshot.lists[resource] {
                let owner = controller_uid(object);
                let (group, key) = if owner.is_empty() {
                    (&mut snapshot.unowned, namespace(object))
                } else {
                    (&mut snapshot.by_owner, owner)
                };
                add(group, key, object);
            }
        }
        for pod in &snapshot.lists["pods"] {
            add(&mut snapshot.pods_in, namespace(pod), pod);
        }
        snapshot.nodes = sum(&snapshot.lists["nodes"]);
        snapshot
    }

    /// The objects of one of the kinds above.
    pub fn list(&self, resource: &str) -> &[Arc<Value>] {
        self.lists.get(resource).map_or(&[], Vec::as_slice)
    }

    /// Changes with an object, with what it controls, and with what nobody controls beside it.
    pub fn family(&self, owner: &Value) -> u64 {
        version(owner)
            .wrapping_add(self.owned_by(uid(owner)))
            .wrapping_add(self.unowned.get(namespace(owner)).copied().unwrap_or(0))
    }

    /// Changes with what an owner controls.
    pub fn owned_by(&self, owner: &str) -> u64 {
        self.by_owner.get(owner).copied().unwrap_or(0)
    }

    /// Changes with the pods of a namespace.
    pub fn pods_in(&self, namespace: &str) -> u64 {
        self.pods_in.get(namespace).copied().unwrap_or(0)
    }

    /// Changes with the nodes.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }
}

/// A fingerprint of objects, whatever their order.
pub fn sum(objects: &[Arc<Value>]) -> u64 {
    objects
        .iter()
        .fold(0, |sum, object| sum.wrapping_add(print_of(object)))
}

fn add(group: &mut HashMap<String, u64>, key: &str, object: &Value) {
    let print = print_of(object);
    if let Some(sum) = group.get_mut(key) {
        *sum = sum.wrapping_add(print);
    } else {
        group.insert(key.to_owned(), print);
    }
}

/// Resource versions are unique in the cluster; mixed, so that their sum says which they were.
fn print_of(object: &Value) -> u64 {
    mix(version(object))
}
