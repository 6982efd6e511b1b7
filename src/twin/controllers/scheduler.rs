//! The scheduler: assigns pods to a node that they accept.
//!
//! It looks at `nodeSelector`, required node affinity, taints and cordons; not at resources: nodes of the twin have room.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::context::Ctx;
use super::events::Event;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    array, condition_reason, deleting, name, namespace, requirement_holds, set_condition, text,
    uid, version,
};
use super::pods::is_finished;
use super::snapshot::Snapshot;

/// Who says events about scheduling.
pub const NAME: &str = "default-scheduler";

/// How long an assignment takes.
const LATENCY: Duration = Duration::from_millis(100);

/// Reconciles pods without a node.
pub struct Scheduler;

impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let waiting = world.list("pods").iter().filter(|p| is_waiting(p));
        waiting
            .map(|p| (Key::of(p), version(p).wrapping_add(world.nodes())))
            .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { reconcile(&ctx, &key).await })
    }
}

fn is_waiting(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty() && !is_finished(pod)
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(pod) = ctx.kube.get("pods", &key.namespace, &key.name) else {
        return Outcome::Done;
    };
    let scheduler = text(&pod, "/spec/schedulerName");
    if !is_waiting(&pod) || !(scheduler.is_empty() || scheduler == NAME) {
        return Outcome::Done;
    }
    if deleting(&pod) {
        // Nothing runs that could be waited for.
        let _ = ctx.kube.remove("pods", &key.namespace, &key.name);
        return Outcome::Done;
    }
    if !array(&pod, "/spec/schedulingGates").is_empty() {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        set_scheduled(ctx, &pod, Some(("SchedulingGated", message)));
        return Outcome::Done;
    }
    ctx.clock.sleep(LATENCY).await;
    match choose(ctx, &pod) {
        Ok(node) => bind(ctx, &pod, &node).await,
        Err(message) => {
            let new = condition_reason(&pod, "PodScheduled") != "Unschedulable";
            let changed = set_scheduled(ctx, &pod, Some(("Unschedulable", &message)));
            if new || changed {
                ctx.event(&pod, Event::warning(NAME, "FailedScheduling", &message))
                    .await;
            }
        }
    }
    Outcome::Done
}

async fn bind(ctx: &Ctx, pod: &Value, node: &str) {
    let bound = ctx.kube.update("pods", namespace(pod), name(pod), |o| {
        if uid(o) == uid(pod) && text(o, "/spec/nodeName").is_empty() && !deleting(o) {
            o["spec"]["nodeName"] = node.into();
        }
    });
    // Gone meanwhile, or being deleted: not assigned.
    let Ok(bound) = bound else { return };
    if uid(&bound) != uid(pod) || text(&bound, "/spec/nodeName") != node {
        return;
    }
    set_scheduled(ctx, pod, None);
    let message = format!(
        "Successfully assigned {}/{} to {node}",
        namespace(pod),
        name(pod)
    );
    ctx.event(pod, Event::normal(NAME, "Scheduled", &message))
        .await;
}

/// Sets the condition `PodScheduled`; says whether that changed anything.
fn set_scheduled(ctx: &Ctx, pod: &Value, lack: Option<(&str, &str)>) -> bool {
    let mut condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": ctx.now(),
    });
    if let Some((reason, message)) = lack {
        condition["status"] = "False".into();
        condition["reason"] = reason.into();
        condition["message"] = message.into();
    }
    let written = ctx
        .kube
        .update_status("pods", namespace(pod), name(pod), |o| {
            if uid(o) == uid(pod) {
                set_condition(o, condition.clone());
            }
        });
    written.is_ok_and(|w| version(&w) != version(pod))
}

/// A node for a pod, or why there is none.
fn choose(ctx: &Ctx, pod: &Value) -> Result<String, String> {
    let nodes = ctx.kube.list("nodes", None);
    let mut refusals: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for node in &nodes {
        match refusal(node, pod) {
            None => return Ok(name(node).to_owned()),
            Some(reason) => *refusals.entry(reason).or_default() += 1,
        }
    }
    let total = nodes.len();
    if total == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let reasons: Vec<String> = refusals.iter().map(|(r, n)| format!("{n} {r}")).collect();
    Err(format!(
        "0/{total} nodes are available: {}. no new claims to deallocate, preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling.",
        reasons.join(", ")
    ))
}

fn refusal(node: &Value, pod: &Value) -> Option<String> {
    let cordoned = node["spec"]["unschedulable"] == true;
    if cordoned
        && !tolerates(
            pod,
            &json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}),
        )
    {
        return Some("node(s) were unschedulable".to_owned());
    }
    let repelling = array(node, "/spec/taints").iter().find(|t| {
        t["key"] != "node.kubernetes.io/unschedulable"
            && t["effect"] != "PreferNoSchedule"
            && !tolerates(pod, t)
    });
    if let Some(taint) = repelling {
        let (key, value) = (text(taint, "/key"), text(taint, "/value"));
        return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
    }
    (!accepts(pod, node)).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

/// Whether a pod's `nodeSelector` and required node affinity accept a node.
pub fn accepts(pod: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let selector = pod["spec"]["nodeSelector"].as_object();
    if !selector.is_none_or(|s| s.iter().all(|(k, v)| &labels[k] == v)) {
        return false;
    }
    let required =
        pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    let Some(required) = required.filter(|r| r.is_object()) else {
        return true;
    };
    let mut fields = Map::new();
    fields.insert("metadata.name".to_owned(), name(node).into());
    let fields = Value::Object(fields);
    array(required, "/nodeSelectorTerms").iter().any(|term| {
        let by_label = array(term, "/matchExpressions");
        let by_field = array(term, "/matchFields");
        (!by_label.is_empty() || !by_field.is_empty())
            && by_label.iter().all(|r| requirement_holds(r, labels))
            && by_field.iter().all(|r| requirement_holds(r, &fields))
    })
}

/// Whether a pod tolerates a taint.
pub fn tolerates(pod: &Value, taint: &Value) -> bool {
    array(pod, "/spec/tolerations").iter().any(|t| {
        let effect = text(t, "/effect");
        let key = text(t, "/key");
        let any_value = text(t, "/operator") == "Exists";
        (effect.is_empty() || effect == text(taint, "/effect"))
            && (key == text(taint, "/key") || (key.is_empty() && any_value))
            && (any_value || text(t, "/value") == text(taint, "/value"))
    })
}
