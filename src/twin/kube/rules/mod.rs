//! What is special about a kind: defaults, what a write may touch, when the generation counts up.

use serde_json::Value;

use super::Kube;
use super::ops::{Part, Target};
use super::registry::Resource;
use super::status::Status;

/// Fills in what the object leaves open.
pub fn default(_resource: &Resource, _object: &mut Value) {}

/// What a new object starts with.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if has_generation(resource) {
        object["metadata"]["generation"] = 1.into();
    }
}

/// Takes back what a write of this part may not touch, and counts the generation.
pub fn prepare_update(resource: &Resource, before: &Value, after: &mut Value, part: Part) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
    ] {
        restore(before, after, "metadata", field);
    }
    match part {
        Part::Status => {
            let status = after.get("status").cloned();
            let annotations = after["metadata"].get("annotations").cloned();
            *after = before.clone();
            set(after, "status", status);
            set(&mut after["metadata"], "annotations", annotations);
        }
        Part::Main => {
            if has_status(resource) {
                set(after, "status", before.get("status").cloned());
            }
        }
    }
}

/// Counts a change of what is wished for.
pub fn count_generation(resource: &Resource, before: &Value, after: &mut Value, part: Part) {
    if part == Part::Main && has_generation(resource) && body(before) != body(after) {
        let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
        after["metadata"]["generation"] = (generation + 1).into();
    }
}

/// What the server itself adds to a new object of a kind, or has against it.
///
/// # Errors
/// A rule of the kind is broken.
pub fn admit(_kube: &Kube, _target: Target<'_>, _object: &mut Value) -> Result<(), Status> {
    Ok(())
}

fn body(object: &Value) -> Option<&Value> {
    object.get("spec")
}

/// Whether the status is a subresource.
pub fn has_status(resource: &Resource) -> bool {
    resource
        .versions
        .iter()
        .any(|v| v.subresources.iter().any(|s| s == "status"))
}

fn has_generation(resource: &Resource) -> bool {
    !resource.built_in
        || matches!(
            resource.kind.as_str(),
            "CronJob"
                | "CustomResourceDefinition"
                | "DaemonSet"
                | "Deployment"
                | "EndpointSlice"
                | "Ingress"
                | "Job"
                | "MutatingWebhookConfiguration"
                | "NetworkPolicy"
                | "Pod"
                | "PodDisruptionBudget"
                | "PriorityClass"
                | "ReplicaSet"
                | "ReplicationController"
                | "StatefulSet"
                | "ValidatingWebhookConfiguration"
        )
}

fn restore(before: &Value, after: &mut Value, parent: &str, field: &str) {
    set(
        &mut after[parent],
        field,
        before[parent].get(field).cloned(),
    );
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => map.insert(field.to_owned(), value),
        None => map.remove(field),
    };
}
