//! Metadata: names by kind, labels, annotations, finalizers, owners.

use serde_json::{Value, json};

use super::super::registry::Resource;
use super::super::status::Cause;
use super::names;

/// All annotations of an object together.
const ANNOTATIONS_BYTES: usize = 262_144;

/// What is wrong with the metadata of a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let meta = &object["metadata"];
    let mut causes = Vec::from_iter(name(resource, meta));
    causes.extend(labels(meta));
    causes.extend(annotations(meta));
    causes.extend(owners(meta));
    causes.extend(finalizers(meta));
    causes
}

/// What is wrong with the metadata of a changed object.
pub fn update(resource: &Resource, before: &Value, after: &Value) -> Vec<Cause> {
    let meta = &after["metadata"];
    let mut causes = Vec::from_iter(new_finalizers(&before["metadata"], meta));
    // A real server validates them in several places, and says so; for these kinds in one less.
    let once_less = matches!(
        resource.name().as_str(),
        "deployments.apps"
            | "replicasets.apps"
            | "statefulsets.apps"
            | "daemonsets.apps"
            | "services"
            | "pods"
            | "jobs.batch"
    );
    let times = if once_less { 3 } else { 4 };
    for _ in 0..times {
        causes.extend(labels(meta));
    }
    for _ in 0..times {
        causes.extend(annotations(meta));
    }
    causes.extend(owners(meta));
    for _ in 2..times {
        causes.extend(finalizers(meta));
    }
    causes
}

fn name(resource: &Resource, meta: &Value) -> Option<Cause> {
    let name = meta["name"].as_str().unwrap_or_default();
    let why = match resource.name().as_str() {
        "namespaces" => dotless(name).or_else(|| names::label(name)),
        "services" => names::dns_1035(name),
        "roles.rbac.authorization.k8s.io"
        | "clusterroles.rbac.authorization.k8s.io"
        | "rolebindings.rbac.authorization.k8s.io"
        | "clusterrolebindings.rbac.authorization.k8s.io" => names::path_segment(name),
        _ => names::subdomain(name),
    };
    why.map(|why| Cause::invalid("metadata.name", &json!(name), why))
}

fn dotless(name: &str) -> Option<String> {
    name.contains('.')
        .then(|| "must not contain dots".to_owned())
}

/// Labels of an object or of a template, under `metadata`.
pub fn labels(meta: &Value) -> Vec<Cause> {
    labels_at("metadata.labels", &meta["labels"])
}

/// Labels at any path.
pub fn labels_at(path: &str, labels: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        for why in names::qualified_name(key) {
            causes.push(Cause::invalid(path, &json!(key), why));
        }
        if let Some(why) = names::label_value(value.as_str().unwrap_or_default()) {
            causes.push(Cause::invalid(path, value, why));
        }
    }
    causes
}

fn annotations(meta: &Value) -> Vec<Cause> {
    let path = "metadata.annotations";
    let mut causes = Vec::new();
    let mut bytes = 0;
    for (key, value) in meta["annotations"].as_object().into_iter().flatten() {
        for why in names::qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid(path, &json!(key), why));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES {
        causes.push(Cause {
            field: path.to_owned(),
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {ANNOTATIONS_BYTES} bytes"),
        });
    }
    causes
}

fn owners(meta: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = Vec::new();
    // The path that a real server gives has no index.
    let path = "metadata.ownerReferences";
    for owner in meta["ownerReferences"].as_array().into_iter().flatten() {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::invalid(format!("{path}.{field}"), &json!(""), why));
            }
        }
        if owner["controller"] == true {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            controllers.push(format!("{}/{}", text("kind"), text("name")));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let shown = owners_as_go_prints_them(&meta["ownerReferences"]);
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        causes.push(Cause::invalid(path, &json!(shown), why).unquoted());
    }
    causes
}

fn owners_as_go_prints_them(owners: &Value) -> String {
    const FIELDS: [&str; 6] = [
        "apiVersion",
        "kind",
        "name",
        "uid",
        "controller",
        "blockOwnerDeletion",
    ];
    let shown = |owner: &Value| {
        let set = FIELDS.iter().filter(|f| !owner[**f].is_null());
        let fields: Vec<String> = set.map(|f| format!("\"{f}\":{}", owner[*f])).collect();
        format!("{{{}}}", fields.join(","))
    };
    let all: Vec<String> = owners.as_array().into_iter().flatten().map(shown).collect();
    format!("[{}]", all.join(","))
}

fn finalizers(meta: &Value) -> Vec<Cause> {
    let standard = ["kubernetes", "orphan", "foregroundDeletion"];
    let mut causes = Vec::new();
    for (at, finalizer) in meta["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let text = finalizer.as_str().unwrap_or_default();
        let path = format!("metadata.finalizers[{at}]");
        for why in names::qualified_name(text) {
            causes.push(Cause::invalid("metadata.finalizers", finalizer, why));
        }
        if !text.contains('/') && !standard.contains(&text) {
            causes.push(Cause::invalid(
                path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    causes
}

/// What is being deleted may lose finalizers only.
fn new_finalizers(before: &Value, after: &Value) -> Option<Cause> {
    if !before["deletionTimestamp"].is_string() {
        return None;
    }
    let list = |meta: &Value| -> Vec<String> {
        let all = meta["finalizers"].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let known = list(before);
    let new: Vec<String> = list(after)
        .into_iter()
        .filter(|f| !known.contains(f))
        .map(|f| format!("\"{f}\""))
        .collect();
    (!new.is_empty()).then(|| {
        Cause::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            ),
        )
    })
}
