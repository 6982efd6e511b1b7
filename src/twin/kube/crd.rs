//! What follows from writing CRDs: their resources come and go, their status says so.

use serde_json::{Map, Value, json};

use super::custom;
use super::deletion::{Deletion, Propagation, delete};
use super::ops::{Part, now, update};
use super::registry::Resource;
use super::{Kube, target};

const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Lets a CRD that is being deleted wait for its objects.
pub fn hold(meta: &mut Map<String, Value>) {
    let finalizers = meta.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(all) = finalizers.as_array_mut()
        && !all.iter().any(|f| f == CLEANUP)
    {
        all.push(CLEANUP.into());
    }
}

/// Serves what a CRD that was just written says, and fills in its status.
pub fn written(kube: &Kube, crd: &Value) {
    let name = crd["metadata"]["name"].as_str().unwrap_or_default();
    if crd["metadata"]["deletionTimestamp"].is_string() {
        clean_up(kube, name);
        return;
    }
    if let Some(resource) = custom::resource(crd) {
        kube.registry().set(resource);
    }
    let Some(crds) = kube.registry().get(CRDS) else {
        return;
    };
    let _ = update(kube, target(&crds, "", name), Part::Status, fill_status);
}

/// Lets a CRD go whose last object has gone.
pub fn removed(kube: &Kube, resource: &Resource) {
    let name = resource.name();
    let going = kube
        .get(CRDS, "", &name)
        .is_some_and(|crd| crd["metadata"]["deletionTimestamp"].is_string());
    if going {
        clean_up(kube, &name);
    }
}

/// Deletes the objects of a CRD that is being deleted; once there are none, it is gone too.
fn clean_up(kube: &Kube, name: &str) {
    let (Some(crds), Some(resource)) = (kube.registry().get(CRDS), kube.registry().get(name))
    else {
        return;
    };
    for object in kube.list(name, None) {
        if object["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let (namespace, object_name) = super::ops::key_of(&object);
        let wish = Deletion {
            propagation: Some(Propagation::Background),
            ..Deletion::default()
        };
        let _ = delete(kube, target(&resource, &namespace, &object_name), &wish);
    }
    if kube.list(name, None).is_empty() {
        kube.registry().unset(name);
        let _ = update(kube, target(&crds, "", name), Part::Main, |crd| {
            if let Some(all) = crd["metadata"]["finalizers"].as_array_mut() {
                all.retain(|f| f != CLEANUP);
            }
        });
    }
}

fn fill_status(crd: &mut Value) {
    let storage = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|v| v["storage"] == true)
        .map(|v| v["name"].clone());
    let mut stored = crd["status"]["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    stored.extend(storage.filter(|version| !stored.contains(version)));
    let mut names = crd["spec"]["names"].clone();
    if let (Some(kind), true) = (names["kind"].as_str(), names["listKind"].is_null()) {
        names["listKind"] = format!("{kind}List").into();
    }
    let known = &crd["status"]["conditions"];
    let since = |kind: &str| {
        let all = known.as_array().into_iter().flatten();
        all.filter(|c| c["type"] == kind && c["status"] == "True")
            .map(|c| c["lastTransitionTime"].clone())
            .next()
            .unwrap_or_else(now)
    };
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since(kind),
        })
    };
    let conditions = json!([
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition(
            "Established",
            "InitialNamesAccepted",
            "the initial names have been accepted"
        ),
    ]);
    crd["status"] = json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": conditions,
    });
}
