//! What the server adds to new pods: service account, priority, tolerations.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::Kube;
use super::super::ops::Target;
use super::super::status::Status;

/// The mount point of a service account's token.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How often the account `default` is looked for, and how long apart: a namespace is there a moment before its
/// controller has made it (`getServiceAccount` in plugin/pkg/admission/serviceaccount/admission.go, where the pause is
/// 100 to 200 ms, by chance).
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(150);

/// Waits for the account `default` of a new namespace, if the pod is to run as that one. Whether it came is for
/// [`admit`] to see.
pub async fn await_account(kube: &Kube, target: Target<'_>, pod: &Value) {
    let name = pod["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or_default();
    if !matches!(name, "" | "default") {
        return;
    }
    for _ in 1..LOOKS {
        if kube
            .get("serviceaccounts", target.namespace, "default")
            .is_some()
        {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes a new pod through the admission of service accounts, priorities and tolerations.
///
/// # Errors
/// The service account or the priority class is not there.
pub fn admit(kube: &Kube, target: Target<'_>, pod: &mut Value) -> Result<(), Status> {
    service_account(kube, target, pod)?;
    priority(kube, target, pod)?;
    tolerate(pod);
    Ok(())
}

fn service_account(kube: &Kube, target: Target<'_>, pod: &mut Value) -> Result<(), Status> {
    let mut name = pod["spec"]["serviceAccountName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() {
        "default".clone_into(&mut name);
        pod["spec"]["serviceAccountName"] = name.clone().into();
        pod["spec"]["serviceAccount"] = name.clone().into();
    }
    let Some(account) = kube.get("serviceaccounts", target.namespace, &name) else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            target.namespace
        );
        return Err(Status::forbidden(target.resource, target.name, &why));
    };
    let secrets = pod["spec"]["imagePullSecrets"].as_array();
    if secrets.is_none_or(Vec::is_empty) && !account["imagePullSecrets"].is_null() {
        pod["spec"]["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    let mounts = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if mounts {
        mount_token(kube, pod);
    }
    Ok(())
}

fn mount_token(kube: &Kube, pod: &mut Value) {
    let name = format!("kube-api-access-{}", kube.random().suffix(5));
    let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
    let mut used = false;
    for list in ["containers", "initContainers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = &mut container["volumeMounts"];
            if mounts
                .as_array()
                .is_some_and(|m| m.iter().any(|v| v["mountPath"] == MOUNT))
            {
                continue;
            }
            used = true;
            push(mounts, mount.clone());
        }
    }
    if used {
        let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{
                "path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
            }]}},
        ]}});
        push(&mut pod["spec"]["volumes"], volume);
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn priority(kube: &Kube, target: Target<'_>, pod: &mut Value) -> Result<(), Status> {
    let name = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let built_in = match name.as_str() {
        "" => Some(0),
        "system-cluster-critical" => Some(2_000_000_000),
        "system-node-critical" => Some(2_000_001_000),
        _ => None,
    };
    let (value, policy) = if let Some(value) = built_in {
        (value, "PreemptLowerPriority".to_owned())
    } else {
        let class = kube
            .get("priorityclasses.scheduling.k8s.io", "", &name)
            .ok_or_else(|| {
                let why = format!("no PriorityClass with name {name} was found");
                Status::forbidden(target.resource, target.name, &why)
            })?;
        let policy = class["preemptionPolicy"]
            .as_str()
            .unwrap_or("PreemptLowerPriority");
        (class["value"].as_i64().unwrap_or(0), policy.to_owned())
    };
    pod["spec"]["priority"] = value.into();
    if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = policy.into();
    }
    Ok(())
}

/// The tolerations that every pod has.
pub fn tolerate(pod: &mut Value) {
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let known = pod["spec"]["tolerations"].as_array().is_some_and(|all| {
            all.iter().any(|t| {
                (t["key"] == key || t["key"].as_str().unwrap_or_default().is_empty())
                    && (t["effect"] == "NoExecute"
                        || t["effect"].as_str().unwrap_or_default().is_empty())
            })
        });
        if !known {
            let toleration = json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            });
            push(&mut pod["spec"]["tolerations"], toleration);
        }
    }
}

/// The quality of service that follows from requests and limits of CPU and memory.
pub fn quality(pod: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let containers = lists
        .iter()
        .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    let (mut any, mut all) = (false, true);
    for container in containers {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
            any |= !request.is_null() || !limit.is_null();
            all &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
