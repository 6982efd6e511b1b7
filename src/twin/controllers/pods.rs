//! What controllers know about pods: whether one counts, is ready, is available; how one is made from a template.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::objects::{
    annotation, condition_is_true, controller_ref, deleting, int, name, namespace, object_at, text,
};

/// Whether a pod receives traffic: its condition `Ready` is True and it is not being deleted.
pub fn in_ready_set(pod: &Value) -> bool {
    is_ready(pod) && !deleting(pod)
}

/// Whether the condition `Ready` is True.
pub fn is_ready(pod: &Value) -> bool {
    condition_is_true(pod, "Ready")
}

/// Whether a pod has run to its end.
pub fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod counts as a replica: not at its end and not being deleted.
pub fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !deleting(pod)
}

/// The order in which a ReplicaSet gives up pods, first to go first (`ActivePodsWithRanks` of
/// kube-controller-manager): not assigned, not running, not ready, cheap, recently ready, restarted, young.
/// `ready_for` tells for how long a pod has been ready, in seconds.
pub fn sort_for_deletion<T: AsRef<Value>>(pods: &mut [T], ready_for: impl Fn(&Value) -> f64) {
    let cost = |pod: &Value| {
        annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
            .and_then(|c| c.parse::<i64>().ok())
            .unwrap_or(0)
    };
    let phase = |pod: &Value| match text(pod, "/status/phase") {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    pods.sort_by(|a, b| {
        let (a, b) = (a.as_ref(), b.as_ref());
        let rank = |p: &Value| {
            (
                !text(p, "/spec/nodeName").is_empty(),
                phase(p),
                is_ready(p),
                cost(p),
            )
        };
        let age = |p: &Value| Reverse(text(p, "/metadata/creationTimestamp").to_owned());
        rank(a)
            .cmp(&rank(b))
            .then(ready_for(a).total_cmp(&ready_for(b)))
            .then(
                int(b, "/status/containerStatuses/0/restartCount")
                    .cmp(&int(a, "/status/containerStatuses/0/restartCount")),
            )
            .then(age(a).cmp(&age(b)))
            .then(name(b).cmp(name(a)))
    });
}

/// A pod made from the template of `owner`, which controls it. The name is given: the server's would depend on
/// the order of requests.
pub fn from_template(owner: &Value, template: &Value, prefix: &str, name: &str) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "generateName": prefix, "namespace": namespace(owner),
            "ownerReferences": [controller_ref(owner)],
        },
        "spec": template["spec"],
    });
    for key in ["labels", "annotations", "finalizers"] {
        let value = &template["metadata"][key];
        if !value.is_null() {
            pod["metadata"][key] = value.clone();
        }
    }
    pod
}

/// Sets a label.
pub fn set_label(object: &mut Value, key: &str, value: &str) {
    let meta = object_at(object, "metadata");
    let labels = meta.entry("labels").or_insert_with(|| json!({}));
    labels[key] = value.into();
}

/// Sets an annotation; true if it was not so before.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) -> bool {
    if annotation(object, key) == Some(value) {
        return false;
    }
    let meta = object_at(object, "metadata");
    let annotations = meta.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    annotations[key] = value.into();
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: bool) -> Arc<Value> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(json!({
            "metadata": {"name": name}, "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        }))
    }

    #[test]
    fn pods_that_serve_least_go_first() {
        let mut pods = vec![
            pod("old", "n", "Running", true),
            pod("young", "n", "Running", true),
            pod("starting", "n", "Running", false),
            pod("pending", "n", "Pending", false),
            pod("unassigned", "", "Pending", false),
        ];
        sort_for_deletion(&mut pods, |p| if name(p) == "old" { 9.0 } else { 1.0 });
        let names: Vec<_> = pods.iter().map(|p| name(p)).collect();
        assert_eq!(names, ["unassigned", "pending", "starting", "young", "old"]);
    }
}
