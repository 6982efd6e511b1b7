//! Garbage collection by `ownerReferences`: background, foreground, orphan.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    array, deleting, has_finalizer, name, namespace, remove_finalizer, remove_owner, text, uid,
};
use super::snapshot::Snapshot;
use crate::twin::kube::Propagation;

const NAME: &str = "garbage-collector";
/// Real time between two collections: each looks at all objects, and there is no hurry.
const REST: Duration = Duration::from_millis(5);
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Kinds that own nothing and are owned by nothing, and of which there are many.
const IGNORED: [&str; 2] = ["events", "leases.coordination.k8s.io"];

/// Collects what has lost its owners.
pub struct Garbage;

impl Controller for Garbage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, _world: &Snapshot, ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = Key {
            namespace: String::new(),
            name: "all".to_owned(),
        };
        vec![(all, ctx.kube.store().version())]
    }

    fn reconcile(&self, ctx: Arc<Ctx>, _key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            tokio::time::sleep(REST).await;
            Graph::of(&ctx).collect(&ctx);
            Outcome::Done
        })
    }
}

/// One object and the resource it is of.
#[derive(Clone)]
struct Node {
    resource: String,
    object: Arc<Value>,
}

/// All objects that have something to do with ownership.
struct Graph {
    uids: HashSet<String>,
    /// Owner's UID to dependents.
    dependents: HashMap<String, Vec<Node>>,
    /// Being deleted, and held by one of the two finalizers.
    held: Vec<Node>,
}

impl Graph {
    fn of(ctx: &Ctx) -> Graph {
        let mut graph = Graph {
            uids: HashSet::new(),
            dependents: HashMap::new(),
            held: Vec::new(),
        };
        for resource in ctx.kube.registry().all() {
            let resource_name = resource.name();
            if !resource.stored() || IGNORED.contains(&resource_name.as_str()) {
                continue;
            }
            for object in ctx.kube.list(&resource_name, None) {
                graph.uids.insert(uid(&object).to_owned());
                let node = Node {
                    resource: resource_name.clone(),
                    object,
                };
                if deleting(&node.object)
                    && (has_finalizer(&node.object, FOREGROUND)
                        || has_finalizer(&node.object, ORPHAN))
                {
                    graph.held.push(node.clone());
                }
                for owner in array(&node.object, "/metadata/ownerReferences") {
                    let owned = graph
                        .dependents
                        .entry(text(owner, "/uid").to_owned())
                        .or_default();
                    owned.push(node.clone());
                }
            }
        }
        graph
    }

    fn collect(&self, ctx: &Ctx) {
        for node in &self.held {
            if has_finalizer(&node.object, ORPHAN) {
                self.orphan(ctx, node);
            } else {
                self.delete_in_foreground(ctx, node);
            }
        }
        let lost = self
            .dependents
            .iter()
            .filter(|(owner, _)| !self.uids.contains(*owner));
        for node in lost.flat_map(|(_, nodes)| nodes) {
            self.delete_unowned(ctx, node);
        }
    }

    fn dependents_of(&self, owner: &Value) -> &[Node] {
        self.dependents.get(uid(owner)).map_or(&[], Vec::as_slice)
    }

    /// Takes the owner out of its dependents, then lets it go.
    fn orphan(&self, ctx: &Ctx, owner: &Node) {
        for dependent in self.dependents_of(&owner.object) {
            change(ctx, dependent, |o| remove_owner(o, uid(&owner.object)));
        }
        change(ctx, owner, |o| remove_finalizer(o, ORPHAN));
    }

    /// Deletes the dependents; lets the owner go when none of those that block it is left.
    fn delete_in_foreground(&self, ctx: &Ctx, owner: &Node) {
        let dependents = self.dependents_of(&owner.object);
        for dependent in dependents.iter().filter(|d| !deleting(&d.object)) {
            if self.has_other_owner(ctx, &dependent.object, uid(&owner.object)) {
                change(ctx, dependent, |o| remove_owner(o, uid(&owner.object)));
                continue;
            }
            let below = !self.dependents_of(&dependent.object).is_empty();
            let how = if below {
                Propagation::Foreground
            } else {
                Propagation::Background
            };
            delete(ctx, dependent, how);
        }
        let blocks = |d: &&Node| {
            array(&d.object, "/metadata/ownerReferences")
                .iter()
                .any(|r| text(r, "/uid") == uid(&owner.object) && r["blockOwnerDeletion"] == true)
        };
        let blocked = dependents.iter().filter(blocks).any(|d| is_there(ctx, d));
        if !blocked {
            change(ctx, owner, |o| remove_finalizer(o, FOREGROUND));
        }
    }

    /// Deletes an object all of whose owners are gone; where some are left, only forgets the others.
    fn delete_unowned(&self, ctx: &Ctx, node: &Node) {
        let owners = array(&node.object, "/metadata/ownerReferences");
        let (absent, present): (Vec<&Value>, Vec<&Value>) = owners
            .iter()
            .partition(|r| self.is_absent(ctx, &node.object, r));
        if absent.is_empty() || deleting(&node.object) {
            return;
        }
        if present.is_empty() {
            let how = if has_finalizer(&node.object, ORPHAN) {
                Propagation::Orphan
            } else if has_finalizer(&node.object, FOREGROUND) {
                Propagation::Foreground
            } else {
                Propagation::Background
            };
            delete(ctx, node, how);
            return;
        }
        for owner in absent {
            change(ctx, node, |o| remove_owner(o, text(owner, "/uid")));
        }
    }

    fn has_other_owner(&self, ctx: &Ctx, object: &Value, owner: &str) -> bool {
        let others = array(object, "/metadata/ownerReferences").iter();
        others.filter(|r| text(r, "/uid") != owner).any(|r| {
            !self.is_absent(ctx, object, r)
                && !self.held.iter().any(|h| uid(&h.object) == text(r, "/uid"))
        })
    }

    /// Whether an owner is gone. Looked up anew: it may have come after its kind was listed. An owner of a kind
    /// that is not served cannot be judged, and counts as there.
    fn is_absent(&self, ctx: &Ctx, object: &Value, owner: &Value) -> bool {
        if self.uids.contains(text(owner, "/uid")) {
            return false;
        }
        let group = text(owner, "/apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        let Some(resource) = ctx.kube.registry().by_kind(group, text(owner, "/kind")) else {
            return false;
        };
        let space = if resource.namespaced {
            namespace(object)
        } else {
            ""
        };
        let found = ctx.kube.get(&resource.name(), space, text(owner, "/name"));
        found.is_none_or(|o| uid(&o) != text(owner, "/uid"))
    }
}

fn is_there(ctx: &Ctx, node: &Node) -> bool {
    let found = ctx
        .kube
        .get(&node.resource, namespace(&node.object), name(&node.object));
    found.is_some_and(|o| uid(&o) == uid(&node.object))
}

/// Changes an object if it is still the same one.
fn change(ctx: &Ctx, node: &Node, mut f: impl FnMut(&mut Value)) {
    // Gone meanwhile: as good.
    let _ = ctx.kube.update(
        &node.resource,
        namespace(&node.object),
        name(&node.object),
        |o| {
            if uid(o) == uid(&node.object) {
                f(o);
            }
        },
    );
}

fn delete(ctx: &Ctx, node: &Node, how: Propagation) {
    if is_there(ctx, node) {
        // Gone meanwhile: as good.
        let _ = ctx.kube.delete(
            &node.resource,
            namespace(&node.object),
            name(&node.object),
            how,
        );
    }
}
