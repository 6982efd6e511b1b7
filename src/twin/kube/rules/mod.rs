//! What is special about a kind: defaults, what a write may touch, when the generation counts up.

mod defaults;
mod pod;
mod service;

use base64::Engine as _;
use serde_json::{Value, json};

use super::Kube;
use super::custom;
use super::ops::{Part, Target, metadata};
use super::registry::{CustomVersion, Resource};
use super::schema;
use super::status::Status;

/// Fills in what the object leaves open.
pub fn default(resource: &Resource, object: &mut Value) {
    if let Some(of) = schema::stored_type(resource) {
        defaults::fill(object, of);
    } else if let Some(custom) = custom_version(resource, object) {
        custom::fill(object, &custom.schema);
    }
}

fn custom_version<'a>(resource: &'a Resource, object: &Value) -> Option<&'a CustomVersion> {
    let version = object["apiVersion"].as_str()?.rsplit('/').next()?;
    resource.version(version)?.custom.as_deref()
}

/// Waits for what another controller is about to make, as the server does before it has something against an object.
pub async fn settle(kube: &Kube, target: Target<'_>, object: &Value) {
    if target.resource.name() == "pods" {
        pod::await_account(kube, target, object).await;
    }
}

/// What the server itself adds to a new object of a kind, or has against it.
///
/// # Errors
/// A rule of the kind is broken.
pub fn admit(kube: &Kube, target: Target<'_>, object: &mut Value) -> Result<(), Status> {
    match target.resource.name().as_str() {
        "pods" => pod::admit(kube, target, object),
        "services" => {
            service::allocate(kube, object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a new object starts with: its own generation, and no status yet.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    let meta = metadata(object);
    if has_generation(resource) {
        meta.insert("generation".to_owned(), 1.into());
    }
    // The state of a node is told by whoever creates it.
    if has_status(resource) && resource.name() != "nodes" {
        reset_status(resource, object);
    }
    match resource.name().as_str() {
        "pods" => object["status"] = json!({"phase": "Pending", "qosClass": pod::quality(object)}),
        "namespaces"
            if object["spec"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty) =>
        {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
        }
        "daemonsets.apps" => count_templates(&Value::Null, object),
        "secrets" => merge_string_data(object),
        "jobs.batch" => select_by_uid(object),
        _ => {}
    }
}

fn reset_status(resource: &Resource, object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    if let Some(of) = schema::stored_type(resource) {
        schema::normalise(object, of);
        defaults::fill(object, of);
    }
}

/// A DaemonSet counts its templates in an annotation.
fn count_templates(before: &Value, after: &mut Value) {
    const ANNOTATION: &str = "deprecated.daemonset.template.generation";
    let known = before["metadata"]["annotations"][ANNOTATION]
        .as_str()
        .and_then(|n| n.parse::<i64>().ok())
        .unwrap_or(0);
    let another = before["spec"]["template"] != after["spec"]["template"];
    let count = known + i64::from(another);
    let annotations = metadata(after)
        .entry("annotations")
        .or_insert_with(|| json!({}));
    annotations[ANNOTATION] = count.to_string().into();
}

/// `stringData` is for writing only.
fn merge_string_data(secret: &mut Value) {
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    for (key, text) in texts {
        let text = text.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        secret["data"][key] = encoded.into();
    }
}

/// A job finds its pods by its own UID.
fn select_by_uid(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (
        job["metadata"]["uid"].clone(),
        job["metadata"]["name"].clone(),
    );
    let template = &mut job["spec"]["template"]["metadata"]["labels"];
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        template[key] = uid.clone();
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        template[key] = name.clone();
    }
    // A selector that is given is kept beside it, and refused later.
    job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"] = uid;
}

/// Takes back what a write of this part may not touch.
pub fn prepare_update(resource: &Resource, before: &Value, after: &mut Value, part: Part) {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
        "generateName",
    ] {
        restore(before, after, "metadata", field);
    }
    for field in ["kind", "apiVersion"] {
        after[field] = before[field].clone();
    }
    match part {
        Part::Status => {
            let status = after.get("status").cloned();
            let annotations = after["metadata"].get("annotations").cloned();
            let managed = after["metadata"].get("managedFields").cloned();
            let version = after["metadata"].get("resourceVersion").cloned();
            *after = before.clone();
            set(after, "status", status);
            set(&mut after["metadata"], "managedFields", managed);
            set(&mut after["metadata"], "resourceVersion", version);
            if resource.built_in {
                set(&mut after["metadata"], "annotations", annotations);
            }
        }
        Part::Main | Part::Scale => {
            if resource.name() == "pods" {
                pod::tolerate(after);
            }
            if has_status(resource) {
                set(after, "status", before.get("status").cloned());
            }
            match resource.name().as_str() {
                "daemonsets.apps" => count_templates(before, after),
                "secrets" => merge_string_data(after),
                "services" => service::keep(before, after),
                _ => {}
            }
        }
    }
}

/// What requests may not touch, beyond what nobody may: the finalizers in a namespace's spec.
pub fn prepare_request(resource: &Resource, before: &Value, after: &mut Value) {
    if resource.name() == "namespaces" {
        restore(before, after, "spec", "finalizers");
    }
}

/// Counts a change of what is wished for. A request that changes the annotations of a Deployment is
/// counted too; its controller's are not, as they come with its status.
pub fn count_generation(resource: &Resource, before: &Value, after: &mut Value, part: Part) {
    let counted = part != Part::Status && has_generation(resource);
    if counted && wish_changed(resource, before, after) {
        count(before, after);
    }
}

/// Counts what [`count_generation`] does, and what it leaves to requests.
pub fn count_generation_of_request(
    resource: &Resource,
    before: &Value,
    after: &mut Value,
    part: Part,
) {
    let notes = |o: &Value| o["metadata"]["annotations"].clone();
    let deployment = resource.built_in && resource.kind == "Deployment" && part == Part::Main;
    if deployment && notes(before) != notes(after) {
        count(before, after);
    } else {
        count_generation(resource, before, after, part);
    }
}

fn count(before: &Value, after: &mut Value) {
    let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
    after["metadata"]["generation"] = (generation + 1).into();
}

fn wish_changed(resource: &Resource, before: &Value, after: &Value) -> bool {
    match resource.kind.as_str() {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            before["webhooks"] != after["webhooks"]
        }
        "EndpointSlice" => {
            ["addressType", "endpoints", "ports"]
                .iter()
                .any(|f| before[*f] != after[*f])
                || before["metadata"]["labels"] != after["metadata"]["labels"]
        }
        // Being bound to a node is not a wish.
        "Pod" if resource.built_in => {
            let wish = |pod: &Value| {
                let mut spec = pod["spec"].clone();
                spec["nodeName"] = Value::Null;
                spec
            };
            wish(before) != wish(after)
        }
        _ if resource.built_in => before["spec"] != after["spec"],
        _ => custom_body(resource, before) != custom_body(resource, after),
    }
}

/// All of a custom resource but its metadata, and its status where that is a subresource.
fn custom_body(resource: &Resource, object: &Value) -> Value {
    let mut body = object.clone();
    set(&mut body, "metadata", None);
    if has_status(resource) {
        set(&mut body, "status", None);
    }
    body
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
