//! Namespaces: what every one has from the start, and how one goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    array, condition_is_true, deleting, name, object_at, set_condition, uid, version,
};
use super::snapshot::Snapshot;
use crate::twin::kube::{Propagation, Status};

const NAME: &str = "namespace-controller";
const ROOT_CA: &str = "kube-root-ca.crt";

/// A namespace in which something was left is not looked at again at once, so it outlives its contents a little;
/// in real time so long that whoever removed the last of it can still see it.
const SECOND_LOOK: Duration = Duration::from_secs(1);
const LEAST_REAL_SECOND_LOOK: Duration = Duration::from_millis(300);

/// Reconciles namespaces.
pub struct Namespaces {
    /// What `kube-root-ca.crt` holds: the API server's CA, as PEM.
    pub cluster_ca: Arc<str>,
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list("namespaces").iter();
        all.map(|ns| {
            let print = if deleting(ns) {
                // Anything in it may be what it waits for.
                ctx.kube.store().version()
            } else {
                let there = |resource: &str, own: &str| {
                    u64::from(ctx.kube.get(resource, name(ns), own).is_some())
                };
                version(ns) * 4
                    + there("serviceaccounts", "default") * 2
                    + there("configmaps", ROOT_CA)
            };
            (Key::of(ns), print)
        })
        .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        let cluster_ca = Arc::clone(&self.cluster_ca);
        Box::pin(async move {
            let Some(ns) = ctx.kube.get("namespaces", "", &key.name) else {
                return Outcome::Done;
            };
            if deleting(&ns) {
                if empty(&ctx, &ns) {
                    if condition_is_true(&ns, "NamespaceContentRemaining") {
                        let pause = ctx.clock.real(SECOND_LOOK).max(LEAST_REAL_SECOND_LOOK);
                        tokio::time::sleep(pause).await;
                    }
                    if empty(&ctx, &ns) {
                        release(&ctx, &ns);
                    }
                }
                return Outcome::Done;
            }
            match furnish(&ctx, &ns, &cluster_ca).await {
                Ok(()) => Outcome::Done,
                Err(status) => Outcome::Failed(status.message),
            }
        })
    }
}

/// The default ServiceAccount and the cluster's CA.
async fn furnish(ctx: &Ctx, ns: &Value, cluster_ca: &str) -> Result<(), Status> {
    let account = json!({"metadata": {"name": "default"}});
    create_missing(ctx, "serviceaccounts", name(ns), account).await?;
    let ca = json!({
        "metadata": {"name": ROOT_CA, "annotations": {
            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
        }},
        "data": {"ca.crt": cluster_ca},
    });
    create_missing(ctx, "configmaps", name(ns), ca).await
}

async fn create_missing(
    ctx: &Ctx,
    resource: &str,
    space: &str,
    object: Value,
) -> Result<(), Status> {
    if ctx.kube.get(resource, space, name(&object)).is_some() {
        return Ok(());
    }
    match ctx.kube.create(resource, space, object).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Some("AlreadyExists") => Ok(()),
        // It began to go meanwhile.
        Err(status) if matches!(status.code, 403 | 404) => Ok(()),
        Err(status) => Err(status),
    }
}

/// What is left in a namespace.
#[derive(Default)]
struct Remains {
    /// Instances by resource, as the conditions name it (`configmaps.`, `deployments.apps`).
    resources: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

/// Deletes what is in the namespace, and writes what is left. True if nothing is.
fn empty(ctx: &Ctx, ns: &Value) -> bool {
    let mut remains = Remains::default();
    for resource in ctx.kube.registry().all() {
        if !resource.namespaced || !resource.stored() {
            continue;
        }
        let resource_name = resource.name();
        for object in ctx.kube.list(&resource_name, Some(name(ns))) {
            if !deleting(&object) {
                // Gone meanwhile: as good.
                let _ = ctx.kube.delete(
                    &resource_name,
                    name(ns),
                    name(&object),
                    Propagation::Background,
                );
            }
        }
        let left = ctx.kube.list(&resource_name, Some(name(ns)));
        if !left.is_empty() {
            let label = format!("{}.{}", resource.plural, resource.group);
            remains.resources.insert(label, left.len());
        }
        for finalizer in left.iter().flat_map(|o| array(o, "/metadata/finalizers")) {
            let finalizer = finalizer.as_str().unwrap_or_default().to_owned();
            *remains.finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let now = ctx.now();
    // Gone meanwhile: nothing to write.
    let _ = ctx.kube.update_status("namespaces", "", name(ns), |o| {
        if uid(o) == uid(ns) {
            object_at(o, "status").insert("phase".to_owned(), "Terminating".into());
            for condition in conditions(&remains, &now) {
                set_condition(o, condition);
            }
        }
    });
    remains.resources.is_empty()
}

/// Takes the finalizer from a namespace, which was all that held it.
fn release(ctx: &Ctx, ns: &Value) {
    // Gone meanwhile: as good.
    let _ = ctx.kube.update("namespaces", "", name(ns), |o| {
        if uid(o) == uid(ns) {
            let spec = object_at(o, "spec");
            let held = spec.get_mut("finalizers").and_then(Value::as_array_mut);
            let others = held.is_some_and(|list| {
                list.retain(|f| f != "kubernetes");
                !list.is_empty()
            });
            if !others {
                spec.remove("finalizers");
            }
        }
    });
}

/// The five conditions of a namespace that is going, worded as `namespaced_resources_deleter.go` does.
fn conditions(remains: &Remains, now: &str) -> [Value; 5] {
    let condition = |kind: &str, bad: bool, reason: &str, message: String| {
        let status = if bad { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message})
    };
    let listed = |counts: &BTreeMap<String, usize>, verb: &str| {
        let parts: Vec<String> = counts
            .iter()
            .map(|(what, count)| format!("{what} {verb} {count} resource instances"))
            .collect();
        parts.join(", ")
    };
    let content = if remains.resources.is_empty() {
        condition(
            "NamespaceContentRemaining",
            false,
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        )
    } else {
        let message = format!(
            "Some resources are remaining: {}",
            listed(&remains.resources, "has")
        );
        condition(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            message,
        )
    };
    let finalizers = if remains.finalizers.is_empty() {
        let message = "All content-preserving finalizers finished".to_owned();
        condition(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            message,
        )
    } else {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            listed(&remains.finalizers, "in")
        );
        condition(
            "NamespaceFinalizersRemaining",
            true,
            "SomeFinalizersRemain",
            message,
        )
    };
    [
        condition(
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        content,
        finalizers,
    ]
}
