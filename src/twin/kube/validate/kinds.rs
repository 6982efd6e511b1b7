//! Which checks a kind has: of its fields, and of what may not change in them.

use serde_json::{Value, json};

use super::super::status::Cause;
use super::{check, names, template, webhooks, workloads};

/// Data of a ConfigMap or a Secret together.
const DATA_BYTES: usize = 1_048_576;

/// What is wrong with the fields of an object.
pub fn body(kind: &str, object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    match kind {
        "ConfigMap" => config_map(object),
        "CronJob" => workloads::cron_job(spec),
        "CustomResourceDefinition" => custom_resource_definition(object),
        "DaemonSet" => workloads::daemon_set(spec),
        "Deployment" => workloads::deployment(spec),
        "Event" => event(object),
        "HorizontalPodAutoscaler" => autoscaler(spec),
        "Job" => workloads::job(spec),
        "Lease" => lease(spec),
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            webhooks::webhooks(object)
        }
        "Pod" => template::spec("spec", spec),
        "PodDisruptionBudget" => disruption_budget(spec),
        "ReplicaSet" => workloads::replica_set(spec),
        "RoleBinding" | "ClusterRoleBinding" => binding(kind, object),
        "Role" | "ClusterRole" => role(object),
        "Secret" => secret(object),
        "Service" => service(spec),
        "StatefulSet" => workloads::stateful_set(spec),
        _ => Vec::new(),
    }
}

/// What is wrong with the status of an object.
pub fn status(kind: &str, object: &Value) -> Vec<Cause> {
    let status = &object["status"];
    match kind {
        "Deployment" => workloads::deployment_status(status),
        "Namespace" => Vec::from_iter(phase(object)),
        _ => Vec::new(),
    }
}

fn phase(namespace: &Value) -> Option<Cause> {
    let (phase, going) = (
        &namespace["status"]["phase"],
        namespace["metadata"]["deletionTimestamp"].is_string(),
    );
    let why = match (going, phase.as_str()) {
        (false, Some("Active")) | (true, Some("Terminating")) => return None,
        (false, _) => "may only be 'Active' if `deletionTimestamp` is empty",
        (true, _) => "may only be 'Terminating' if `deletionTimestamp` is not empty",
    };
    Some(Cause::invalid("status.Phase", phase, why))
}

/// What an update changes that may not change.
pub fn unchangeable(kind: &str, before: &Value, after: &Value) -> Vec<Cause> {
    let one = |path: &str, pointer: &str| {
        let null = Value::Null;
        let was = before.pointer(pointer).unwrap_or(&null);
        let is = after.pointer(pointer).unwrap_or(&null);
        Vec::from_iter(check::immutable(path, was, is))
    };
    match kind {
        "ConfigMap" | "Secret" => fixed_data(kind, before, after),
        "DaemonSet" | "Deployment" | "ReplicaSet" => one("spec.selector", "/spec/selector"),
        "Job" => workloads::job_update(before, after),
        "Pod" => Vec::from_iter(template::pod_update(before, after)),
        "PriorityClass" => one("value", "/value"),
        "RoleBinding" | "ClusterRoleBinding" => role_reference(before, after),
        "Service" => address(before, after),
        "StatefulSet" => Vec::from_iter(workloads::stateful_set_update(before, after)),
        "CustomResourceDefinition" => {
            let mut causes = one("spec.scope", "/spec/scope");
            causes.extend(one("spec.names.kind", "/spec/names/kind"));
            causes
        }
        _ => Vec::new(),
    }
}

fn keys(path: &str, data: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for key in data.as_object().into_iter().flatten().map(|(key, _)| key) {
        for why in names::config_key(key) {
            causes.push(Cause::invalid(format!("{path}[{key}]"), &json!(key), why));
        }
    }
    causes
}

fn bytes(data: &Value) -> usize {
    let values = data.as_object().into_iter().flatten();
    values
        .map(|(_, value)| value.as_str().map_or(0, str::len))
        .sum()
}

fn too_long(field: &str) -> Cause {
    Cause {
        field: field.to_owned(),
        reason: "FieldValueTooLong",
        message: format!("Too long: may not be more than {DATA_BYTES} bytes"),
    }
}

fn config_map(object: &Value) -> Vec<Cause> {
    let mut causes = keys("data", &object["data"]);
    causes.extend(keys("binaryData", &object["binaryData"]));
    for key in object["data"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k)
    {
        if !object["binaryData"][key].is_null() {
            let why = "duplicate of key present in binaryData";
            causes.push(Cause::invalid(format!("data[{key}]"), &json!(key), why));
        }
    }
    if bytes(&object["data"]) + bytes(&object["binaryData"]) / 4 * 3 > DATA_BYTES {
        causes.push(too_long("[]"));
    }
    causes
}

fn secret(object: &Value) -> Vec<Cause> {
    let mut causes = keys("data", &object["data"]);
    if bytes(&object["data"]) / 4 * 3 > DATA_BYTES {
        causes.push(too_long("data"));
    }
    let required: &[&str] = match object["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        _ => &[],
    };
    if object["type"] == "kubernetes.io/service-account-token" {
        let account = "kubernetes.io/service-account.name";
        if object["metadata"]["annotations"][account].is_null() {
            causes.push(Cause::required(
                format!("metadata.annotations[{account}]"),
                "",
            ));
        }
    }
    for key in required {
        if object["data"][*key].is_null() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
    causes
}

fn fixed_data(kind: &str, before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if kind == "Secret" {
        causes.extend(check::immutable("type", &before["type"], &after["type"]));
    }
    if before["immutable"] == true {
        let why = "field is immutable when `immutable` is set";
        for field in ["immutable", "data", "binaryData"] {
            if before[field] != after[field] {
                causes.push(Cause::forbidden(field, why));
            }
        }
    }
    causes
}

fn event(object: &Value) -> Vec<Cause> {
    let (own, of) = (
        &object["metadata"]["namespace"],
        &object["involvedObject"]["namespace"],
    );
    let of_cluster = of.as_str().unwrap_or_default().is_empty();
    if own == of || (of_cluster && own == "default") {
        return Vec::new();
    }
    let of = if of.is_null() { json!("") } else { of.clone() };
    vec![Cause::invalid(
        "involvedObject.namespace",
        &of,
        "does not match event.namespace",
    )]
}

fn lease(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let duration = &spec["leaseDurationSeconds"];
    if duration.as_i64().is_some_and(|d| d <= 0) {
        let why = "must be greater than 0";
        causes.push(Cause::invalid("spec.leaseDurationSeconds", duration, why));
    }
    if spec["leaseTransitions"].as_i64().is_some_and(|t| t < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid(
            "spec.leaseTransitions",
            &spec["leaseTransitions"],
            why,
        ));
    }
    if spec["holderIdentity"] == "" {
        let why = "holderIdentity must not be empty";
        causes.push(Cause::invalid(
            "spec.holderIdentity",
            &spec["holderIdentity"],
            why,
        ));
    }
    causes
}

fn disruption_budget(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (least, most) = (&spec["minAvailable"], &spec["maxUnavailable"]);
    if !least.is_null() && !most.is_null() {
        // The internal type has no JSON names.
        let shown = format!(
            "{{\"MinAvailable\":{least},\"Selector\":{},\"MaxUnavailable\":{most},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["selector"], spec["unhealthyPodEvictionPolicy"]
        );
        let why = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::invalid("spec", &json!(shown), why).unquoted());
    }
    for (path, value) in [("spec.minAvailable", least), ("spec.maxUnavailable", most)] {
        causes.extend(check::int_or_percent(path, value));
        causes.extend(check::at_most_100_percent(path, value));
    }
    causes.extend(check::selector("spec.selector", &spec["selector"]));
    causes
}

fn autoscaler(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (least, most) = (&spec["minReplicas"], &spec["maxReplicas"]);
    if least.as_i64().is_some_and(|m| m < 1) {
        let why = "must be greater than or equal to 1";
        causes.push(Cause::invalid("spec.minReplicas", least, why));
    }
    if most.as_i64().unwrap_or(0) < 1 {
        causes.push(Cause::invalid(
            "spec.maxReplicas",
            most,
            "must be greater than 0",
        ));
    } else if most.as_i64() < least.as_i64() {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", most, why));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            causes.push(Cause::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    causes
}

fn service(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    let external = spec["type"] == "ExternalName";
    if ports.is_empty() && !headless && !external {
        causes.push(Cause::required("spec.ports", ""));
    }
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let known_type = spec["type"].as_str().is_some_and(|t| known.contains(&t));
    let mut seen: Vec<&str> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(format!("{path}.name"), ""));
            }
        } else if let Some(why) = names::label(name) {
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
        } else if seen.contains(&name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &port["name"]));
        } else {
            seen.push(name);
        }
        if !(1..=65_535).contains(&port["port"].as_i64().unwrap_or(0)) {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(format!("{path}.port"), &port["port"], why));
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        causes.extend(check::one_of(
            &format!("{path}.protocol"),
            &port["protocol"],
            &protocols,
        ));
        causes.extend(target_port(
            &format!("{path}.targetPort"),
            &port["targetPort"],
        ));
    }
    causes.extend(super::meta::labels_at("spec.selector", &spec["selector"]));
    causes.extend(check::one_of(
        "spec.sessionAffinity",
        &spec["sessionAffinity"],
        &["ClientIP", "None"],
    ));
    if !known_type {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &known));
    }
    if external && spec["externalName"].as_str().unwrap_or_default().is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    }
    causes
}

fn target_port(path: &str, target: &Value) -> Option<Cause> {
    let why = match target {
        Value::Number(_) if !(1..=65_535).contains(&target.as_i64().unwrap_or(0)) => {
            Some("must be between 1 and 65535, inclusive".to_owned())
        }
        Value::String(name) => names::port_name(name),
        _ => None,
    };
    why.map(|why| Cause::invalid(path, target, why))
}

fn address(before: &Value, after: &Value) -> Vec<Cause> {
    let (was, is) = (&before["spec"]["clusterIP"], &after["spec"]["clusterIP"]);
    let fixed = |s: &Value| s["spec"]["type"] != "ExternalName";
    if was == is || was.is_null() || !fixed(before) || !fixed(after) {
        return Vec::new();
    }
    let why = "may not change once set";
    vec![Cause::invalid("spec.clusterIPs[0]", &json!([is]), why)]
}

fn role(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (at, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let path = format!("rules[{at}]");
        let empty = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            causes.push(Cause::required(
                format!("{path}.verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !empty("nonResourceURLs") && !object["metadata"]["namespace"].is_null() {
            let why = "namespaced rules cannot apply to non-resource URLs";
            causes.push(Cause::invalid(
                format!("{path}.nonResourceURLs"),
                &rule["nonResourceURLs"],
                why,
            ));
        } else if empty("nonResourceURLs") {
            if empty("apiGroups") {
                let why = "resource rules must supply at least one api group";
                causes.push(Cause::required(format!("{path}.apiGroups"), why));
            }
            if empty("resources") {
                let why = "resource rules must supply at least one resource";
                causes.push(Cause::required(format!("{path}.resources"), why));
            }
        }
    }
    causes
}

fn binding(kind: &str, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let reference = &object["roleRef"];
    let group = ["rbac.authorization.k8s.io"];
    causes.extend(check::one_of(
        "roleRef.apiGroup",
        &reference["apiGroup"],
        &group,
    ));
    let kinds: &[&str] = if kind == "RoleBinding" {
        &["ClusterRole", "Role"]
    } else {
        &["ClusterRole"]
    };
    causes.extend(check::one_of("roleRef.kind", &reference["kind"], kinds));
    if reference["name"].as_str().unwrap_or_default().is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    for (at, subject) in object["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let path = format!("subjects[{at}]");
        if subject["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        let kinds = ["ServiceAccount", "User", "Group"];
        causes.extend(check::one_of(
            &format!("{path}.kind"),
            &subject["kind"],
            &kinds,
        ));
        let account = subject["kind"] == "ServiceAccount";
        if account && subject["namespace"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.namespace"), ""));
        }
    }
    causes
}

fn role_reference(before: &Value, after: &Value) -> Vec<Cause> {
    let is = &after["roleRef"];
    if before["roleRef"] == *is {
        return Vec::new();
    }
    // The internal type has no JSON names.
    let shown = format!(
        "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
        is["apiGroup"], is["kind"], is["name"]
    );
    vec![Cause::invalid("roleRef", &json!(shown), "cannot change roleRef").unquoted()]
}

fn custom_resource_definition(object: &Value) -> Vec<Cause> {
    let spec = &object["spec"];
    let mut causes = Vec::new();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let wanted = format!(
        "{}.{}",
        text(&spec["names"]["plural"]),
        text(&spec["group"])
    );
    let name = &object["metadata"]["name"];
    if *name != wanted.as_str() {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", name, why));
    }
    if text(&spec["group"]).is_empty() {
        causes.push(Cause::required("spec.group", ""));
    }
    for field in ["plural", "kind"] {
        if text(&spec["names"][field]).is_empty() {
            causes.push(Cause::required(format!("spec.names.{field}"), ""));
        }
    }
    causes.extend(check::one_of(
        "spec.scope",
        &spec["scope"],
        &["Cluster", "Namespaced"],
    ));
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &spec["versions"], why));
    }
    for (at, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        let path = format!("spec.versions[{at}].schema.openAPIV3Schema");
        if schema.is_null() {
            causes.push(Cause::required(path, ""));
        } else if schema["type"] != "object" {
            // The schema of an only version is kept where there was one for all.
            let path = match versions.as_slice() {
                [_] => "spec.validation.openAPIV3Schema.type".to_owned(),
                _ => format!("{path}.type"),
            };
            causes.push(match &schema["type"] {
                Value::Null => Cause::required(path, "must not be empty at the root"),
                other => Cause::invalid(path, other, "must be object at the root"),
            });
        }
    }
    causes
}
