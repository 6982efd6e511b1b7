//! PodDisruptionBudgets: their status, and the eviction that honours it.
//!
//! Only evictions do. A rollout, a scaling, a plain deletion do not, as in Kubernetes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    controller, deleting, generation, int, name, namespace, object_at, scaled, selects,
    set_condition, text, uid, version,
};
use super::pods::{is_active, is_ready};
use super::replicaset::replicas;
use super::snapshot::Snapshot;
use crate::twin::kube::{Kube, Status};

const NAME: &str = "disruption-controller";
const RESOURCE: &str = "poddisruptionbudgets.policy";

/// How long an eviction that was allowed but has not been seen counts against the budget.
const UNSEEN: Duration = Duration::from_secs(120);

/// Reconciles PodDisruptionBudgets.
pub struct Budgets;

impl Controller for Budgets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|b| {
            (
                Key::of(b),
                version(b).wrapping_add(world.pods_in(namespace(b))),
            )
        })
        .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let Some(budget) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
                return Outcome::Done;
            };
            write_status(&ctx, &budget)
        })
    }
}

/// What a budget has and needs.
struct Count {
    expected: i64,
    desired: i64,
    healthy: i64,
}

fn count(kube: &Kube, budget: &Value) -> Count {
    let mut pods = kube.list("pods", Some(namespace(budget)));
    pods.retain(|p| selects(&budget["spec"]["selector"], &p["metadata"]["labels"]) && is_active(p));
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let disrupted = &budget["status"]["disruptedPods"];
    let healthy = pods
        .iter()
        .filter(|p| is_ready(p) && disrupted[name(p)].is_null());
    let healthy = number(healthy.count());
    let (least, most) = (
        &budget["spec"]["minAvailable"],
        &budget["spec"]["maxUnavailable"],
    );
    let (expected, desired) = if !most.is_null() {
        let expected = controlled(kube, &pods);
        (
            expected,
            (expected - scaled(most, expected, true, 0)).max(0),
        )
    } else if least.is_string() {
        let expected = controlled(kube, &pods);
        (expected, scaled(least, expected, true, 0))
    } else {
        (number(pods.len()), least.as_i64().unwrap_or(0))
    };
    Count {
        expected,
        desired,
        healthy,
    }
}

/// The sizes of the controllers of these pods, each counted once; Deployments through their ReplicaSets.
fn controlled(kube: &Kube, pods: &[Arc<Value>]) -> i64 {
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    for reference in pods
        .iter()
        .filter_map(|p| controller(p).map(|r| (namespace(p), r)))
    {
        let (space, reference) = reference;
        let resource = match text(reference, "/kind") {
            "ReplicaSet" => "replicasets.apps",
            "StatefulSet" => "statefulsets.apps",
            _ => continue,
        };
        let Some(mut owner) = kube.get(resource, space, text(reference, "/name")) else {
            continue;
        };
        if let Some(above) = controller(&owner).filter(|r| r["kind"] == "Deployment")
            && let Some(deployment) = kube.get("deployments.apps", space, text(above, "/name"))
        {
            owner = deployment;
        }
        sizes.insert(uid(&owner).to_owned(), replicas(&owner));
    }
    sizes.values().sum()
}

fn write_status(ctx: &Ctx, budget: &Value) -> Outcome {
    let now = ctx.now();
    let mut waiting = false;
    // Gone meanwhile: nothing to write.
    let _ = ctx
        .kube
        .update_status(RESOURCE, namespace(budget), name(budget), |o| {
            if uid(o) != uid(budget) {
                return;
            }
            waiting = forget_seen(&ctx.kube, o);
            let count = count(&ctx.kube, o);
            let allowed = if count.expected > 0 {
                (count.healthy - count.desired).max(0)
            } else {
                0
            };
            let (status, reason) = if allowed > 0 {
                ("True", "SufficientPods")
            } else {
                ("False", "InsufficientPods")
            };
            set_condition(
                o,
                json!({
                    "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "",
                    "lastTransitionTime": now, "observedGeneration": generation(budget),
                }),
            );
            let status = object_at(o, "status");
            for (key, number) in [
                ("currentHealthy", count.healthy),
                ("desiredHealthy", count.desired),
                ("disruptionsAllowed", allowed),
                ("expectedPods", count.expected),
                ("observedGeneration", generation(budget)),
            ] {
                status.insert(key.to_owned(), number.into());
            }
        });
    if waiting {
        Outcome::Again(UNSEEN)
    } else {
        Outcome::Done
    }
}

/// Forgets evicted pods that are going or gone. True if some are still to be seen.
fn forget_seen(kube: &Kube, budget: &mut Value) -> bool {
    let space = namespace(budget).to_owned();
    let Some(Value::Object(disrupted)) = object_at(budget, "status").get_mut("disruptedPods")
    else {
        return false;
    };
    disrupted.retain(|pod, _| kube.get("pods", &space, pod).is_some_and(|p| !deleting(&p)));
    let left = !disrupted.is_empty();
    if !left {
        object_at(budget, "status").remove("disruptedPods");
    }
    left
}

/// Asks the budget of a pod whether it may be evicted, and takes the disruption from it, in one step: of
/// two evictions that race for the last one, one is refused. A pod that does not run may always go, and one
/// that is not ready while its budget is met. With `dry_run` nothing is taken.
///
/// # Errors
/// 429: the budget does not allow it. 500: the pod has several budgets.
pub fn allow_eviction(kube: &Kube, pod: &Value, dry_run: bool) -> Result<(), Status> {
    if text(pod, "/status/phase") != "Running" || deleting(pod) {
        return Ok(());
    }
    let mut budgets = kube.list(RESOURCE, Some(namespace(pod)));
    budgets.retain(|b| selects(&b["spec"]["selector"], &pod["metadata"]["labels"]));
    let budget = match budgets.as_slice() {
        [] => return Ok(()),
        [one] => one,
        _ => {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
    };
    let desired = int(budget, "/status/desiredHealthy");
    let met = desired > 0 && int(budget, "/status/currentHealthy") >= desired;
    let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    if !is_ready(pod) && (met || always) {
        return Ok(());
    }
    if dry_run {
        return refusal(budget).map_or(Ok(()), Err);
    }
    spend(kube, budget, pod)
}

/// Takes one disruption from a budget, or says why not.
fn spend(kube: &Kube, budget: &Value, pod: &Value) -> Result<(), Status> {
    let mut refused = None;
    let now = jiff::Timestamp::now();
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    let written = kube.update_status(RESOURCE, namespace(budget), name(budget), |o| {
        refused = refusal(o);
        if refused.is_none() {
            let left = int(o, "/status/disruptionsAllowed") - 1;
            let status = object_at(o, "status");
            status.insert("disruptionsAllowed".to_owned(), left.into());
            let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
            disrupted[name(pod)] = now.to_string().into();
        }
    });
    match (written, refused) {
        // The budget went meanwhile: nothing forbids it.
        (Err(status), _) if status.code == 404 => Ok(()),
        (Err(status), _) => Err(status),
        (Ok(_), Some(refusal)) => Err(refusal),
        (Ok(_), None) => Ok(()),
    }
}

fn refusal(budget: &Value) -> Option<Status> {
    let too_many = |message: &str| {
        Status::new(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )
        .with_cause("DisruptionBudget", message)
    };
    let own = name(budget);
    if int(budget, "/status/observedGeneration") < generation(budget) {
        let message =
            format!("The disruption budget {own} is still being processed by the server.");
        return Some(too_many(&message).retry_after(10));
    }
    if int(budget, "/status/disruptionsAllowed") > 0 {
        return None;
    }
    let message = format!(
        "The disruption budget {own} needs {} healthy pods and has {} currently",
        int(budget, "/status/desiredHealthy"),
        int(budget, "/status/currentHealthy")
    );
    Some(too_many(&message))
}
