//! Pods and templates of pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::quantity;
use super::super::status::Cause;
use super::{check, meta, names};

/// The longest deadline of a pod.
const MOST_SECONDS: i64 = 2_147_483_647;

/// What is wrong with a template.
pub fn template(path: &str, template: &Value) -> Vec<Cause> {
    let labels = format!("{path}.labels");
    let mut causes = meta::labels_at(&labels, &template["metadata"]["labels"]);
    causes.extend(spec(&format!("{path}.spec"), &template["spec"]));
    causes
}

/// What is wrong with the spec of a pod.
pub fn spec(path: &str, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let volumes = volumes(path, spec, &mut causes);
    containers(path, "containers", spec, &volumes, &mut causes);
    containers(path, "initContainers", spec, &volumes, &mut causes);
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    causes.extend(check::one_of(
        &format!("{path}.restartPolicy"),
        &spec["restartPolicy"],
        &["Always", "OnFailure", "Never"],
    ));
    causes.extend(check::one_of(
        &format!("{path}.dnsPolicy"),
        &spec["dnsPolicy"],
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    ));
    causes.extend(meta::labels_at(
        &format!("{path}.nodeSelector"),
        &spec["nodeSelector"],
    ));
    if !text("serviceAccountName").is_empty()
        && let Some(why) = names::subdomain(text("serviceAccountName"))
    {
        let field = format!("{path}.serviceAccountName");
        causes.push(Cause::invalid(field, &spec["serviceAccountName"], why));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    if !deadline.is_null() && !(1..=MOST_SECONDS).contains(&deadline.as_i64().unwrap_or(0)) {
        let why = format!("must be between 1 and {MOST_SECONDS}, inclusive");
        causes.push(Cause::invalid(
            format!("{path}.activeDeadlineSeconds"),
            deadline,
            why,
        ));
    }
    causes
}

fn volumes(path: &str, spec: &Value, causes: &mut Vec<Cause>) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (at, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        let here = format!("{path}.volumes[{at}].name");
        let name = volume["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(here, ""));
        } else if let Some(why) = names::label(name) {
            causes.push(Cause::invalid(here, &volume["name"], why));
        } else if !known.insert(name.to_owned()) {
            causes.push(Cause::duplicate(here, &volume["name"]));
        }
        let sources = volume.as_object().into_iter().flatten();
        for (kind, _) in sources.filter(|(key, _)| *key != "name").skip(1) {
            let why = "may not specify more than 1 volume type";
            causes.push(Cause::forbidden(
                format!("{path}.volumes[{at}].{kind}"),
                why,
            ));
        }
    }
    known
}

fn containers(
    path: &str,
    list: &str,
    spec: &Value,
    volumes: &BTreeSet<String>,
    causes: &mut Vec<Cause>,
) {
    let empty = Vec::new();
    let all = spec[list].as_array().unwrap_or(&empty);
    if all.is_empty() && list == "containers" {
        causes.push(Cause::required(format!("{path}.{list}"), ""));
    }
    let mut known = BTreeSet::new();
    if list == "initContainers" {
        let mains = spec["containers"].as_array().into_iter().flatten();
        known.extend(mains.filter_map(|c| c["name"].as_str()));
    }
    for (at, container) in all.iter().enumerate() {
        let here = format!("{path}.{list}[{at}]");
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{here}.name"), ""));
        } else if let Some(why) = names::label(name) {
            causes.push(Cause::invalid(
                format!("{here}.name"),
                &container["name"],
                why,
            ));
        } else if !known.insert(name) {
            causes.push(Cause::duplicate(format!("{here}.name"), &container["name"]));
        }
        let image = container["image"].as_str().unwrap_or_default();
        if image.is_empty() {
            causes.push(Cause::required(format!("{here}.image"), ""));
        } else if image.trim() != image {
            let why = "must not have leading or trailing whitespace";
            causes.push(Cause::invalid(
                format!("{here}.image"),
                &container["image"],
                why,
            ));
        }
        ports(&here, container, causes);
        for (at, variable) in container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            if variable["name"].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(format!("{here}.env[{at}].name"), ""));
            }
        }
        mounts(&here, container, volumes, causes);
        causes.extend(check::one_of(
            &format!("{here}.imagePullPolicy"),
            &container["imagePullPolicy"],
            &["Always", "IfNotPresent", "Never"],
        ));
        resources(&here, &container["resources"], causes);
    }
}

/// No more may be requested than is the limit.
fn resources(here: &str, resources: &Value, causes: &mut Vec<Cause>) {
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let number = |v: &Value| Some(quantity::parse(v.as_str()?)?.0);
        if let (Some(wanted), Some(most)) = (number(request), number(limit))
            && wanted > most
        {
            let limit = limit.as_str().unwrap_or_default();
            causes.push(Cause::invalid(
                format!("{here}.resources.requests"),
                request,
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
}

fn ports(here: &str, container: &Value, causes: &mut Vec<Cause>) {
    let mut known = BTreeSet::new();
    for (at, port) in container["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let here = format!("{here}.ports[{at}]");
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => causes.push(Cause::required(format!("{here}.containerPort"), "")),
            1..=65_535 => {}
            _ => causes.push(Cause::invalid(
                format!("{here}.containerPort"),
                &port["containerPort"],
                "must be between 1 and 65535, inclusive",
            )),
        }
        causes.extend(check::one_of(
            &format!("{here}.protocol"),
            &port["protocol"],
            &["SCTP", "TCP", "UDP"],
        ));
        if let Some(name) = port["name"].as_str()
            && !known.insert(name)
        {
            causes.push(Cause::duplicate(format!("{here}.name"), &json!(name)));
        }
    }
}

fn mounts(here: &str, container: &Value, volumes: &BTreeSet<String>, causes: &mut Vec<Cause>) {
    for (at, mount) in container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let here = format!("{here}.volumeMounts[{at}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{here}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause {
                field: format!("{here}.name"),
                reason: "FieldValueNotFound",
                message: format!("Not found: \"{name}\""),
            });
        }
        if mount["mountPath"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{here}.mountPath"), ""));
        }
    }
}

/// What an update of a pod changes that may not change.
pub fn pod_update(before: &Value, after: &Value) -> Option<Cause> {
    for list in ["containers", "initContainers"] {
        let count = |pod: &Value| pod["spec"][list].as_array().map_or(0, Vec::len);
        if count(before) != count(after) {
            let why = "pod updates may not add or remove containers";
            return Some(Cause::forbidden(format!("spec.{list}"), why));
        }
    }
    let (was, is) = (
        &before["spec"]["activeDeadlineSeconds"],
        &after["spec"]["activeDeadlineSeconds"],
    );
    if let Some(was) = was.as_i64() {
        let path = "spec.activeDeadlineSeconds";
        if is.is_null() {
            let why = "must not update from a positive integer to nil value";
            return Some(Cause::invalid(path, is, why));
        }
        if is.as_i64().is_some_and(|is| is > was) {
            return Some(Cause::invalid(
                path,
                is,
                "must be less than or equal to previous value",
            ));
        }
    }
    let mut allowed = after["spec"].clone();
    let mut was = before["spec"].clone();
    for spec in [&mut allowed, &mut was] {
        for list in ["containers", "initContainers"] {
            let all = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in all.into_iter().flatten() {
                container["image"] = Value::Null;
            }
        }
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("activeDeadlineSeconds");
            spec.remove("tolerations");
        }
    }
    let known = before["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let now = after["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let only_added = known.iter().all(|t| now.contains(t));
    (allowed != was || !only_added).then(|| {
        Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
             existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
             previously negative)",
        )
    })
}
