//! StatefulSets: pods with ordinals, updated from the last to the first. A port of
//! `stateful_set_control.go` of Kubernetes 1.34.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::context::Ctx;
use super::events::Event;
use super::history::{self, History, POD_LABEL};
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    array, deleting, generation, int, label, name, namespace, object_at, set_count, text, uid,
};
use super::ownership::claim;
use super::pods::{from_template, is_finished, is_ready, set_label};
use super::replicaset::replicas;
use super::snapshot::Snapshot;
use crate::twin::kube::Propagation;

const NAME: &str = "statefulset-controller";
const RESOURCE: &str = "statefulsets.apps";
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Reconciles StatefulSets.
pub struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|s| (Key::of(s), world.family(s))).collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { reconcile(&ctx, &key).await })
    }
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(set) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
        return Outcome::Done;
    };
    let history = match history::sync(ctx, &set, history::HASH_LABEL).await {
        Ok(history) => history,
        Err(_) if deleting(&set) => return Outcome::Done,
        Err(reason) => return Outcome::Failed(reason),
    };
    let Some(update) = history.update().cloned() else {
        return Outcome::Failed("there is no revision of the present template".to_owned());
    };
    let current = history
        .named(text(&set, "/status/currentRevision"))
        .unwrap_or(&update)
        .clone();
    let view = View {
        ctx,
        set: &set,
        current: &current,
        update: &update,
    };
    let failure = if deleting(&set) {
        None
    } else {
        view.step().await.err()
    };
    let wait = view.write_status(&history);
    view.truncate(&history);
    match failure {
        Some(reason) => Outcome::Failed(reason),
        None => Outcome::after(wait),
    }
}

struct View<'a> {
    ctx: &'a Ctx,
    set: &'a Value,
    current: &'a Value,
    update: &'a Value,
}

impl View<'_> {
    fn first(&self) -> i64 {
        int(self.set, "/spec/ordinals/start")
    }

    fn is_parallel(&self) -> bool {
        text(self.set, "/spec/podManagementPolicy") == "Parallel"
    }

    fn min_ready(&self) -> i64 {
        int(self.set, "/spec/minReadySeconds")
    }

    /// The ordinal of a pod's name, if it is one of this set's names.
    fn ordinal(&self, pod: &Value) -> Option<i64> {
        let rest = name(pod).strip_prefix(name(self.set))?.strip_prefix('-')?;
        rest.parse().ok()
    }

    /// The set's pods with their ordinals, in their order.
    fn pods(&self) -> Vec<(i64, Arc<Value>)> {
        let owned = claim(self.ctx, "pods", self.set).into_iter();
        let mut pods: Vec<_> = owned.filter_map(|p| Some((self.ordinal(&p)?, p))).collect();
        pods.sort_by_key(|(ordinal, _)| *ordinal);
        pods
    }

    fn in_range(&self, ordinal: i64) -> bool {
        (self.first()..self.first() + replicas(self.set)).contains(&ordinal)
    }

    fn is_available(&self, pod: &Value) -> bool {
        is_running_and_ready(pod) && self.ctx.is_available(pod, self.min_ready())
    }

    /// Does what can be done now; what has to wait is done when the pods have changed.
    async fn step(&self) -> Result<(), String> {
        let pods = self.pods();
        let find = |ordinal| pods.iter().find(|(o, _)| *o == ordinal).map(|(_, pod)| pod);
        for ordinal in self.first()..self.first() + replicas(self.set) {
            let waits = match find(ordinal) {
                None => {
                    self.create(ordinal).await?;
                    true
                }
                Some(pod) if is_finished(pod) => {
                    if !deleting(pod) {
                        self.delete(pod).await?;
                    }
                    true
                }
                Some(pod) => deleting(pod) || !self.is_available(pod),
            };
            if waits && !self.is_parallel() {
                return Ok(());
            }
        }
        if self.shrink(&pods).await? || text(self.set, "/spec/updateStrategy/type") == "OnDelete" {
            return Ok(());
        }
        self.replace(&pods).await
    }

    /// Deletes pods beyond the wanted ones, the last first. True if the rest has to wait for that.
    async fn shrink(&self, pods: &[(i64, Arc<Value>)]) -> Result<bool, String> {
        let condemned = || {
            pods.iter()
                .rev()
                .filter(|(o, _)| !self.in_range(*o))
                .map(|(_, p)| p)
        };
        let first_unhealthy = pods
            .iter()
            .filter(|(o, _)| self.in_range(*o))
            .chain(pods.iter().filter(|(o, _)| !self.in_range(*o)))
            .map(|(_, p)| p)
            .find(|p| deleting(p) || !self.is_available(p));
        for pod in condemned() {
            if deleting(pod) {
                if self.is_parallel() {
                    continue;
                }
                return Ok(true);
            }
            let blocks = first_unhealthy.is_some_and(|p| uid(p) != uid(pod));
            if !self.is_parallel() && !self.is_available(pod) && blocks {
                return Ok(true);
            }
            self.delete(pod).await?;
            if !self.is_parallel() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the last pod that is not of the present revision, if all after it are available.
    async fn replace(&self, pods: &[(i64, Arc<Value>)]) -> Result<(), String> {
        let partition = int(self.set, "/spec/updateStrategy/rollingUpdate/partition");
        let from = self.first() + partition;
        for (ordinal, pod) in pods.iter().rev().filter(|(o, _)| self.in_range(*o)) {
            if *ordinal < from {
                break;
            }
            if label(pod, POD_LABEL) != name(self.update) && !deleting(pod) {
                return self.delete(pod).await;
            }
            if deleting(pod) || !self.is_available(pod) {
                break;
            }
        }
        Ok(())
    }

    /// The revision that a pod made now has to have (`newVersionedStatefulSetPod`).
    fn revision_for(&self, ordinal: i64) -> &Value {
        if text(self.set, "/spec/updateStrategy/type") == "OnDelete" {
            return self.update;
        }
        let partition = &self.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"];
        let old = partition
            .as_i64()
            .unwrap_or_else(|| int(self.set, "/status/currentReplicas"));
        if ordinal < self.first() + old {
            self.current
        } else {
            self.update
        }
    }

    async fn create(&self, ordinal: i64) -> Result<(), String> {
        let revision = self.revision_for(ordinal);
        let pod_name = format!("{}-{ordinal}", name(self.set));
        let prefix = format!("{}-", name(self.set));
        let template = history::template_of(revision);
        let mut pod = from_template(self.set, &template, &prefix, &pod_name);
        set_label(&mut pod, POD_LABEL, name(revision));
        set_label(&mut pod, POD_NAME_LABEL, &pod_name);
        set_label(&mut pod, POD_INDEX_LABEL, &ordinal.to_string());
        pod["spec"]["hostname"] = pod_name.clone().into();
        let service = text(self.set, "/spec/serviceName");
        if !service.is_empty() {
            pod["spec"]["subdomain"] = service.into();
        }
        self.claim_volumes(&mut pod, &pod_name).await?;
        let created = self.ctx.kube.create("pods", namespace(self.set), pod).await;
        let set_name = name(self.set);
        match created {
            Ok(_) => {
                let message = format!("create Pod {pod_name} in StatefulSet {set_name} successful");
                self.say(Event::normal(NAME, "SuccessfulCreate", &message))
                    .await;
                Ok(())
            }
            // Its predecessor is still there; its end will be seen.
            Err(status) if status.reason == Some("AlreadyExists") => Ok(()),
            Err(status) => {
                let message = format!(
                    "create Pod {pod_name} in StatefulSet {set_name} failed error: {}",
                    status.message
                );
                self.say(Event::warning(NAME, "FailedCreate", &message))
                    .await;
                Err(status.message)
            }
        }
    }

    /// Volume claims by the templates, one for each pod, kept when the pod goes.
    async fn claim_volumes(&self, pod: &mut Value, pod_name: &str) -> Result<(), String> {
        for template in array(self.set, "/spec/volumeClaimTemplates") {
            let volume = text(template, "/metadata/name");
            let claim_name = format!("{volume}-{pod_name}");
            let mut claim = template.clone();
            claim["metadata"]["name"] = claim_name.clone().into();
            claim["metadata"]["labels"] = self.set["spec"]["selector"]["matchLabels"].clone();
            if let Some(claim) = claim.as_object_mut() {
                claim.remove("status");
            }
            let resource = "persistentvolumeclaims";
            match self
                .ctx
                .kube
                .create(resource, namespace(self.set), claim)
                .await
            {
                Ok(_) => {
                    let _ = self.ctx.kube.update_status(
                        resource,
                        namespace(self.set),
                        &claim_name,
                        |c| {
                            object_at(c, "status").insert("phase".to_owned(), "Bound".into());
                        },
                    );
                }
                Err(status) if status.reason == Some("AlreadyExists") => {}
                Err(status) => return Err(status.message),
            }
            let spec = object_at(pod, "spec");
            let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
            if let Some(volumes) = volumes.as_array_mut() {
                volumes.retain(|v| v["name"] != volume);
                volumes.push(
                    json!({"name": volume, "persistentVolumeClaim": {"claimName": claim_name}}),
                );
            }
        }
        Ok(())
    }

    async fn delete(&self, pod: &Value) -> Result<(), String> {
        let done = self
            .ctx
            .kube
            .delete("pods", namespace(pod), name(pod), Propagation::Background);
        let (pod, set) = (name(pod), name(self.set));
        match done {
            Ok(()) => {
                let message = format!("delete Pod {pod} in StatefulSet {set} successful");
                self.say(Event::normal(NAME, "SuccessfulDelete", &message))
                    .await;
                Ok(())
            }
            Err(status) if status.code == 404 => Ok(()),
            Err(status) => {
                let message = format!(
                    "delete Pod {pod} in StatefulSet {set} failed error: {}",
                    status.message
                );
                self.say(Event::warning(NAME, "FailedDelete", &message))
                    .await;
                Err(status.message)
            }
        }
    }

    async fn say(&self, event: Event<'_>) {
        self.ctx.event(self.set, event).await;
    }

    /// Writes the status; says after what time another pod will be available.
    fn write_status(&self, history: &History) -> Option<Duration> {
        let pods: Vec<Arc<Value>> = self.pods().into_iter().map(|(_, p)| p).collect();
        let of = |revision: &Value| {
            pods.iter()
                .filter(|p| !deleting(p) && label(p, POD_LABEL) == name(revision))
                .count()
        };
        let running: Vec<Arc<Value>> = pods
            .iter()
            .filter(|p| is_running_and_ready(p))
            .cloned()
            .collect();
        let (available, next) = self.ctx.available(&running, self.min_ready());
        let wanted = replicas(self.set);
        let (ready, updated) = (count(running.len()), count(of(self.update)));
        // `completeRollingUpdate`
        let rolls = text(self.set, "/spec/updateStrategy/type") != "OnDelete";
        let complete = rolls && updated == wanted && count(pods.len()) == wanted && ready == wanted;
        let current = if complete { self.update } else { self.current };
        let mut counts: Map<String, Value> = Map::new();
        counts.insert("replicas".to_owned(), pods.len().into());
        counts.insert("availableReplicas".to_owned(), available.into());
        set_count(&mut counts, "readyReplicas", ready);
        set_count(&mut counts, "currentReplicas", count(of(current)));
        set_count(&mut counts, "updatedReplicas", updated);
        counts.insert("observedGeneration".to_owned(), generation(self.set).into());
        counts.insert("currentRevision".to_owned(), name(current).into());
        counts.insert("updateRevision".to_owned(), name(self.update).into());
        counts.insert("collisionCount".to_owned(), history.collisions.into());
        // Gone meanwhile: nothing to write.
        let _ = self
            .ctx
            .kube
            .update_status(RESOURCE, namespace(self.set), name(self.set), |o| {
                if uid(o) != uid(self.set) {
                    return;
                }
                let status = object_at(o, "status");
                for key in ["readyReplicas", "currentReplicas", "updatedReplicas"] {
                    status.remove(key);
                }
                status.extend(counts.clone());
            });
        next
    }

    fn truncate(&self, history: &History) {
        let mut live: Vec<String> = self
            .pods()
            .iter()
            .map(|(_, p)| label(p, POD_LABEL).to_owned())
            .collect();
        live.push(name(self.current).to_owned());
        history::truncate(self.ctx, self.set, history, &live);
    }
}

fn is_running_and_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && is_ready(pod)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
