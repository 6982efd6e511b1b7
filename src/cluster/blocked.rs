//! What stands in the way of a rollout: found at the replica set, the pods and their events.
//!
//! Kubernetes tells it in five places and in none of them all: conditions of the workload or its
//! newest ReplicaSet (creation fails), events of the workload (creation fails, StatefulSet and
//! DaemonSet), conditions of a pod (scheduling), states of its containers (image, crash), events
//! of the pod (probes). It decides nothing about waiting: [`super::wait`] does.

use serde_json::Value;

use super::rollout::Blocked;
use super::{Cluster, ClusterError, Kind, Object, Selector};

impl Cluster {
    /// The first thing found that keeps the newest pods of a workload from becoming ready.
    /// Events that may not be read are done without.
    pub(super) async fn blocker(
        &self,
        kind: &Kind,
        workload: &Object,
    ) -> Result<Option<Blocked>, ClusterError> {
        let Some(namespace) = workload.namespace() else {
            return Ok(None);
        };
        if let Some(going) = stuck_termination(workload) {
            return Ok(Some(going));
        }
        if kind.plural() == "pods" {
            return Ok(self.of_pods(std::slice::from_ref(workload), workload).await);
        }
        let mut owner = workload.clone();
        if kind.plural() == "deployments" {
            let replica_sets = self.kind("replicasets.apps").await?;
            let sets = self
                .owned(&replica_sets, namespace, workload, workload.uid())
                .await?;
            match sets.into_iter().max_by_key(revision) {
                Some(newest) => owner = newest,
                None => return Ok(failed_creation(workload)),
            }
        }
        if let Some(blocked) = failed_creation(&owner).or_else(|| failed_creation(workload)) {
            return Ok(Some(blocked));
        }
        let pod = self.kind("v1/Pod").await?;
        let mut pods = self.owned(&pod, namespace, workload, owner.uid()).await?;
        if kind.plural() != "deployments" {
            // Pods of the old revision are in nobody's way; if none is new, all are looked at.
            let newest = workload.text("/status/updateRevision");
            let is_new = |p: &Object| p.label("controller-revision-hash") == Some(newest);
            if pods.iter().any(is_new) {
                pods.retain(is_new);
            }
        }
        if let Some(blocked) = self.of_pods(&pods, &owner).await {
            return Ok(Some(blocked));
        }
        let others = self.owned_by_any(&pod, namespace, workload).await?;
        Ok(others.iter().find_map(stuck_termination))
    }

    /// What a pod waits for, or a workload's newest pod; none for other kinds, or if nothing is found.
    pub(super) async fn obstacle(&self, kind: &Kind, object: &Object) -> Option<Blocked> {
        if kind.resource() != "pods" {
            let is_workload = object.at("/spec/selector/matchLabels").is_some();
            return if is_workload {
                self.blocker(kind, object).await.ok().flatten()
            } else {
                None
            };
        }
        match (of_pod(object), not_ready(object)) {
            (Some(blocked), _) => Some(blocked),
            (None, Some(container)) => Some(self.unready(object, container).await),
            (None, None) => None,
        }
    }

    /// What the pods themselves say, or the events of their owner.
    async fn of_pods(&self, pods: &[Object], owner: &Object) -> Option<Blocked> {
        for pod in pods {
            if let Some(blocked) = of_pod(pod) {
                if blocked.reason == "Unschedulable"
                    && let Some(claim) = self.unbound_claim(pod).await
                {
                    return Some(claim);
                }
                return Some(blocked);
            }
        }
        if let Some(blocked) = self.failed_creation_event(owner).await {
            return Some(blocked);
        }
        for pod in pods {
            if let Some(container) = not_ready(pod) {
                return Some(self.unready(pod, container).await);
            }
        }
        None
    }

    /// The first of a pod's volume claims that does not exist or has no volume yet, with what its
    /// newest warning says. Claims that may not be read are done without.
    async fn unbound_claim(&self, pod: &Object) -> Option<Blocked> {
        let kind = self.kind("persistentvolumeclaims").await.ok()?;
        for name in claims(pod) {
            let Some(claim) = self.get(&kind, pod.namespace(), name).await.ok()? else {
                let detail = format!("the claim `{name}` does not exist");
                return Some(blocked("PersistentVolumeClaim", pod, &detail));
            };
            if claim.text("/status/phase") == "Bound" {
                continue;
            }
            let warning = self.warnings(&claim).await.into_iter().next();
            let detail = match warning {
                Some((reason, message)) => format!("it is not bound: {reason}: {message}"),
                None => format!(
                    "it is not bound, phase {}, storage class `{}`",
                    claim.text("/status/phase"),
                    claim.text("/spec/storageClassName")
                ),
            };
            return Some(blocked("PersistentVolumeClaim", &claim, &detail));
        }
        None
    }

    /// Objects that match the workload's selector and that `uid` controls.
    async fn owned(
        &self,
        kind: &Kind,
        namespace: &str,
        workload: &Object,
        uid: &str,
    ) -> Result<Vec<Object>, ClusterError> {
        let mut objects = self.owned_by_any(kind, namespace, workload).await?;
        objects.retain(|o| o.controller().is_some_and(|(_, _, owner)| owner == uid));
        Ok(objects)
    }

    async fn owned_by_any(
        &self,
        kind: &Kind,
        namespace: &str,
        workload: &Object,
    ) -> Result<Vec<Object>, ClusterError> {
        let selector = Selector::labels(selector(workload));
        self.list(kind, Some(namespace), &selector).await
    }

    /// The newest warning about an object, with its reason, if events can be read.
    async fn warnings(&self, object: &Object) -> Vec<(String, String)> {
        let Ok(kind) = self.kind("v1/Event").await else {
            return Vec::new();
        };
        let selector = Selector {
            labels: None,
            fields: Some(format!("involvedObject.uid={}", object.uid())),
        };
        let mut events = self
            .list(&kind, object.namespace(), &selector)
            .await
            .unwrap_or_default();
        events.retain(|e| {
            e.text("/type") == "Warning" && e.text("/involvedObject/uid") == object.uid()
        });
        events.sort_by_key(event_time);
        events
            .iter()
            .rev()
            .map(|e| (e.text("/reason").to_owned(), e.text("/message").to_owned()))
            .collect()
    }

    async fn failed_creation_event(&self, owner: &Object) -> Option<Blocked> {
        let warnings = self.warnings(owner).await;
        let (reason, message) = warnings
            .into_iter()
            .find(|(reason, _)| reason == "FailedCreate")?;
        Some(blocked(&reason, owner, &message))
    }

    async fn unready(&self, pod: &Object, container: &str) -> Blocked {
        let warnings = self.warnings(pod).await;
        let probe = warnings
            .into_iter()
            .find(|(reason, _)| reason == "Unhealthy");
        let detail = match probe {
            Some((_, message)) => format!("container `{container}`: {message}"),
            None => format!("container `{container}` is not ready"),
        };
        blocked("NotReady", pod, &detail)
    }
}

fn blocked(reason: &str, object: &Object, detail: &str) -> Blocked {
    let (kind, namespace) = (
        object.kind().to_lowercase(),
        object.namespace().unwrap_or(""),
    );
    let group = object.api_version().rsplit_once('/').map(|(g, _)| g);
    let group = group.map(|g| format!(".{g}")).unwrap_or_default();
    Blocked {
        reason: reason.to_owned(),
        object: format!("{kind}{group}/{namespace}/{}", object.name()),
        detail: detail.trim().replace('\n', " "),
    }
}

/// The condition by which a ReplicaSet, or its Deployment, says that it cannot create pods.
fn failed_creation(owner: &Object) -> Option<Blocked> {
    let condition = owner
        .items("/status/conditions")
        .iter()
        .find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True")?;
    let text = |key: &str| condition[key].as_str().unwrap_or("");
    Some(blocked(text("reason"), owner, text("message")))
}

/// What a pod itself says that keeps it from running.
fn of_pod(pod: &Object) -> Option<Blocked> {
    if pod.is_deleting() {
        return None;
    }
    let unscheduled = pod.items("/status/conditions").iter().find(|c| {
        c["type"] == "PodScheduled" && c["status"] == "False" && c["reason"] == "Unschedulable"
    });
    if let Some(condition) = unscheduled {
        let detail = condition["message"].as_str().unwrap_or("");
        return Some(blocked("Unschedulable", pod, detail));
    }
    for status in containers(pod) {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or("");
        // These are the steps of an ordinary start.
        if matches!(reason, "" | "ContainerCreating" | "PodInitializing") {
            continue;
        }
        let name = status["name"].as_str().unwrap_or("");
        let mut detail = format!("container `{name}`");
        if let Some(message) = waiting["message"].as_str() {
            detail = format!("{detail}: {message}");
        }
        let last = &status["lastState"]["terminated"];
        if let Some(code) = last["exitCode"].as_i64() {
            let why = last["reason"].as_str().unwrap_or("ended");
            detail = format!("{detail} (last: {why}, exit code {code})");
            // What the container itself left to be told (`terminationMessagePath`).
            if let Some(said) = last["message"]
                .as_str()
                .filter(|said| !said.trim().is_empty())
            {
                let line = said.trim().lines().last().unwrap_or("");
                detail = format!("{detail}: {line}");
            }
        }
        return Some(blocked(reason, pod, &detail));
    }
    None
}

/// The first container that runs and is not ready.
fn not_ready(pod: &Object) -> Option<&str> {
    if pod.is_deleting() {
        return None;
    }
    pod.items("/status/containerStatuses")
        .iter()
        .find(|s| s["state"].get("running").is_some() && s["ready"] == false)
        .and_then(|s| s["name"].as_str())
}

/// The names of the claims that a pod's volumes are of.
fn claims(pod: &Object) -> impl Iterator<Item = &str> {
    pod.items("/spec/volumes")
        .iter()
        .filter_map(|v| v["persistentVolumeClaim"]["claimName"].as_str())
}

fn containers(pod: &Object) -> impl Iterator<Item = &Value> {
    pod.items("/status/initContainerStatuses")
        .iter()
        .chain(pod.items("/status/containerStatuses"))
}

/// A pod that should have been gone by now: `deletionTimestamp` is when its grace period ends.
fn stuck_termination(pod: &Object) -> Option<Blocked> {
    let end: jiff::Timestamp = pod.text("/metadata/deletionTimestamp").parse().ok()?;
    let late = jiff::Timestamp::now().duration_since(end).as_secs();
    if late < 5 {
        return None;
    }
    let mut detail = format!("it should have ended {late}s ago");
    let finalizers = pod.finalizers();
    if !finalizers.is_empty() {
        detail = format!("{detail}; finalizers: {}", finalizers.join(", "));
    }
    Some(blocked("Terminating", pod, &detail))
}

/// A ReplicaSet's number in the history of its Deployment.
fn revision(replica_set: &Object) -> i64 {
    replica_set
        .annotation("deployment.kubernetes.io/revision")
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

/// When an event was last seen; its three forms have it in three places.
fn event_time(event: &Object) -> String {
    for pointer in [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ] {
        let time = event.text(pointer);
        if !time.is_empty() {
            return time.to_owned();
        }
    }
    String::new()
}

/// A workload's `spec.selector` in the notation of a label selector.
pub(super) fn selector(workload: &Object) -> String {
    let mut terms = Vec::new();
    if let Some(Value::Object(labels)) = workload.at("/spec/selector/matchLabels") {
        for (key, value) in labels {
            terms.push(format!("{key}={}", value.as_str().unwrap_or("")));
        }
    }
    for expression in workload.items("/spec/selector/matchExpressions") {
        let key = expression["key"].as_str().unwrap_or("");
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}
