//! DaemonSets: one pod on each node that the template accepts.
//!
//! The rules of `pkg/controller/daemon` of Kubernetes 1.34: without a surge the old pod is gone before the new
//! one comes; with one, the new pod is available before the old one goes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::context::Ctx;
use super::events::Event;
use super::history::{self, POD_LABEL};
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    annotation, array, deleting, generation, int, label, name, namespace, object_at, scaled,
    set_count, text, uid,
};
use super::ownership::claim;
use super::pods::{from_template, is_finished, is_ready, set_label};
use super::scheduler::{accepts, tolerates};
use super::snapshot::Snapshot;
use crate::twin::kube::Propagation;

const NAME: &str = "daemonset-controller";
const RESOURCE: &str = "daemonsets.apps";
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION_ANNOTATION: &str = "deprecated.daemonset.template.generation";

/// What a daemon's pod tolerates besides what its template says.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Reconciles DaemonSets.
pub struct DaemonSets;

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|d| (Key::of(d), world.family(d).wrapping_add(world.nodes())))
            .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { reconcile(&ctx, &key).await })
    }
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(set) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
        return Outcome::Done;
    };
    let history = match history::sync(ctx, &set, POD_LABEL).await {
        Ok(history) => history,
        Err(_) if deleting(&set) => return Outcome::Done,
        Err(reason) => return Outcome::Failed(reason),
    };
    let Some(update) = history.update() else {
        return Outcome::Failed("there is no revision of the present template".to_owned());
    };
    let view = View {
        ctx,
        set: &set,
        hash: label(update, POD_LABEL).to_owned(),
        nodes: ctx.kube.list("nodes", None),
    };
    let failure = if deleting(&set) {
        None
    } else {
        view.step().await.err()
    };
    let wait = view.write_status(history.collisions);
    let live: Vec<String> = view
        .pods()
        .iter()
        .map(|p| label(p, POD_LABEL).to_owned())
        .collect();
    history::truncate(ctx, &set, &history, &live);
    match failure {
        Some(reason) => Outcome::Failed(reason),
        None => Outcome::after(wait),
    }
}

struct View<'a> {
    ctx: &'a Ctx,
    set: &'a Value,
    /// Of the present template.
    hash: String,
    nodes: Vec<Arc<Value>>,
}

impl View<'_> {
    fn pods(&self) -> Vec<Arc<Value>> {
        claim(self.ctx, "pods", self.set)
    }

    fn is_new(&self, pod: &Value) -> bool {
        label(pod, POD_LABEL) == self.hash
    }

    fn is_available(&self, pod: &Value) -> bool {
        self.ctx
            .is_available(pod, int(self.set, "/spec/minReadySeconds"))
    }

    /// Whether a node should have a pod.
    fn wants(&self, node: &Value) -> bool {
        let probe = self.pod_for(node, "probe");
        let repels = array(node, "/spec/taints")
            .iter()
            .any(|t| t["effect"] != "PreferNoSchedule" && !tolerates(&probe, t));
        accepts(&probe, node) && !repels
    }

    fn limits(&self) -> (i64, i64) {
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let desired = self.nodes.iter().filter(|n| self.wants(n)).count();
        let desired = i64::try_from(desired).unwrap_or(i64::MAX);
        let surge = scaled(&rolling["maxSurge"], desired, true, 0);
        let unavailable = scaled(&rolling["maxUnavailable"], desired, true, 1);
        if surge == 0 {
            (unavailable.max(1), 0)
        } else {
            (unavailable, surge)
        }
    }

    async fn step(&self) -> Result<(), String> {
        let pods = self.pods();
        let rolls = text(self.set, "/spec/updateStrategy/type") != "OnDelete";
        let (max_unavailable, max_surge) = self.limits();
        let mut unavailable = 0;
        let mut surging = 0;
        let mut replaceable: Vec<&Arc<Value>> = Vec::new();
        let mut surge_to: Vec<&Arc<Value>> = Vec::new();
        for node in &self.nodes {
            let on_node: Vec<&Arc<Value>> =
                pods.iter().filter(|p| node_of(p) == name(node)).collect();
            let wanted = self.wants(node);
            let mut alive: Vec<&Arc<Value>> = Vec::new();
            for pod in &on_node {
                if deleting(pod) {
                    continue;
                }
                if !wanted || is_finished(pod) {
                    self.delete(pod).await?;
                } else {
                    alive.push(pod);
                }
            }
            if !wanted {
                continue;
            }
            let (new, old): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) =
                alive.iter().partition(|p| self.is_new(p));
            match (new.as_slice(), old.as_slice()) {
                ([], []) => {
                    unavailable += 1;
                    if on_node.is_empty() {
                        self.create(node).await?;
                    }
                }
                ([pod], []) => unavailable += i64::from(!self.is_available(pod)),
                ([], [_]) if !rolls => {}
                ([], [pod]) if max_surge == 0 => {
                    if self.is_available(pod) {
                        replaceable.push(pod);
                    } else {
                        // Whatever the limit: it serves nobody.
                        unavailable += 1;
                        self.delete(pod).await?;
                    }
                }
                ([], [pod]) if !self.is_available(pod) => self.create(node).await?,
                ([], [_]) => surge_to.push(node),
                ([new_pod], [old_pod]) => {
                    if self.is_available(new_pod) {
                        self.delete(old_pod).await?;
                    } else {
                        surging += 1;
                    }
                }
                (new_pods, old_pods) => {
                    // Too many: the oldest of each stays.
                    for pod in new_pods.iter().skip(1).chain(old_pods.iter().skip(1)) {
                        self.delete(pod).await?;
                    }
                }
            }
        }
        let room = |limit: i64, used: i64| usize::try_from(limit - used).unwrap_or(0);
        for pod in replaceable
            .into_iter()
            .take(room(max_unavailable, unavailable))
        {
            self.delete(pod).await?;
        }
        for node in surge_to.into_iter().take(room(max_surge, surging)) {
            self.create(node).await?;
        }
        Ok(())
    }

    /// The pod for a node: only that node is acceptable to it.
    fn pod_for(&self, node: &Value, pod_name: &str) -> Value {
        let prefix = format!("{}-", name(self.set));
        let template = &self.set["spec"]["template"];
        let mut pod = from_template(self.set, template, &prefix, pod_name);
        let template_generation = annotation(self.set, GENERATION_ANNOTATION)
            .map_or_else(|| generation(self.set).to_string(), str::to_owned);
        set_label(&mut pod, POD_LABEL, &self.hash);
        set_label(&mut pod, GENERATION_LABEL, &template_generation);
        let only = json!([{"key": "metadata.name", "operator": "In", "values": [name(node)]}]);
        pin(&mut pod, &only);
        let spec = object_at(&mut pod, "spec");
        let mut tolerations = spec
            .get("tolerations")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for (key, effect) in TOLERATED {
            let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
            if !tolerations.contains(&toleration) {
                tolerations.push(toleration);
            }
        }
        spec.insert("tolerations".to_owned(), tolerations.into());
        pod
    }

    async fn create(&self, node: &Value) -> Result<(), String> {
        let prefix = format!("{}-", name(self.set));
        let pod_name = self.ctx.names.next(namespace(self.set), &prefix);
        let pod = self.pod_for(node, &pod_name);
        match self.ctx.kube.create("pods", namespace(self.set), pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", name(&pod));
                self.say(Event::normal(NAME, "SuccessfulCreate", &message))
                    .await;
                Ok(())
            }
            Err(status) => {
                let message = format!("Error creating: {}", status.message);
                self.say(Event::warning(NAME, "FailedCreate", &message))
                    .await;
                Err(status.message)
            }
        }
    }

    async fn delete(&self, pod: &Value) -> Result<(), String> {
        let done = self
            .ctx
            .kube
            .delete("pods", namespace(pod), name(pod), Propagation::Background);
        match done {
            Ok(()) => {
                let message = format!("Deleted pod: {}", name(pod));
                self.say(Event::normal(NAME, "SuccessfulDelete", &message))
                    .await;
                Ok(())
            }
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => Err(status.message),
        }
    }

    async fn say(&self, event: Event<'_>) {
        self.ctx.event(self.set, event).await;
    }

    /// Writes the status; says after what time another pod will be available.
    fn write_status(&self, collisions: i64) -> Option<Duration> {
        let pods = self.pods();
        let (mut desired, mut current, mut misscheduled) = (0, 0, 0);
        let mut running: Vec<Arc<Value>> = Vec::new();
        let mut updated = 0;
        for node in &self.nodes {
            let mut on_node: Vec<&Arc<Value>> =
                pods.iter().filter(|p| node_of(p) == name(node)).collect();
            if !self.wants(node) {
                misscheduled += i64::from(!on_node.is_empty());
                continue;
            }
            desired += 1;
            // The oldest speaks for the node (`GetOldestPod…`): it serves while the new one starts.
            on_node.sort_by_key(|p| {
                (
                    deleting(p),
                    text(p, "/metadata/creationTimestamp").to_owned(),
                )
            });
            if let Some(pod) = on_node.first() {
                current += 1;
                updated += i64::from(self.is_new(pod));
                if is_ready(pod) {
                    running.push(Arc::clone(pod));
                }
            }
        }
        let (available, next) = self
            .ctx
            .available(&running, int(self.set, "/spec/minReadySeconds"));
        let mut counts: Map<String, Value> = Map::new();
        let ready = i64::try_from(running.len()).unwrap_or(i64::MAX);
        for (key, count) in [
            ("currentNumberScheduled", current),
            ("desiredNumberScheduled", desired),
            ("numberMisscheduled", misscheduled),
            ("numberReady", ready),
            ("observedGeneration", generation(self.set)),
        ] {
            counts.insert(key.to_owned(), count.into());
        }
        let optional = [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
            ("collisionCount", collisions),
        ];
        // Gone meanwhile: nothing to write.
        let _ = self
            .ctx
            .kube
            .update_status(RESOURCE, namespace(self.set), name(self.set), |o| {
                if uid(o) == uid(self.set) {
                    let status = object_at(o, "status");
                    status.extend(counts.clone());
                    for (key, count) in optional {
                        set_count(status, key, count);
                    }
                }
            });
        next
    }
}

/// The node that a pod is on, or is made for.
fn node_of(pod: &Value) -> &str {
    let assigned = text(pod, "/spec/nodeName");
    if !assigned.is_empty() {
        return assigned;
    }
    let pointer = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    text(pod, pointer)
}

/// Replaces what a pod's node affinity says of node names by one rule (`ReplaceDaemonSetPodNodeNameNodeAffinity`).
fn pin(pod: &mut Value, fields: &Value) {
    let required =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let mut terms: Vec<Value> = array(required, "/nodeSelectorTerms").to_vec();
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in &mut terms {
        term["matchFields"] = fields.clone();
    }
    if !pod["spec"]["affinity"].is_object() {
        pod["spec"]["affinity"] = json!({});
    }
    let affinity = &mut pod["spec"]["affinity"];
    if !affinity["nodeAffinity"].is_object() {
        affinity["nodeAffinity"] = json!({});
    }
    affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
        json!({"nodeSelectorTerms": terms});
}
