//! Which pods are proxies, what kind, whose, and what is to be done about the others.
//!
//! Rules: Istio's `FindSidecar` (`containers`, then `initContainers`, by the exact name
//! `istio-proxy`), its injector and its gateway charts. Every pod of the cluster ends in exactly
//! one of the classes, so that a count can say what was not looked at and why.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::names;
use crate::cluster::Object;

/// What a proxy does in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProxyKind {
    /// `proxy router`: an ingress or egress gateway.
    Gateway,
    /// A workload without a pod, by its `WorkloadEntry`: a virtual machine.
    Machine,
    /// A sidecar among the init containers, with `restartPolicy: Always`.
    NativeSidecar,
    /// A sidecar among the containers.
    Sidecar,
    /// `proxy waypoint`.
    Waypoint,
}

impl ProxyKind {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Machine => "machine",
            Self::NativeSidecar => "native sidecar",
            Self::Sidecar => "sidecar",
            Self::Waypoint => "waypoint",
        }
    }
}

/// The controller that makes a pod, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job`, …, or `Pod` for a bare one.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod with a proxy that speaks for a workload, or a `WorkloadEntry` in the place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: a pod of the same name after a restart is another pod.
    pub uid: String,
    /// How often its proxy was started again: one that was holds another certificate.
    pub restarts: u64,
    /// Since when the proxy's container runs; of a `WorkloadEntry` nobody tells.
    pub started: Option<Timestamp>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// What the proxy does.
    pub kind: ProxyKind,
    /// What made the pod.
    pub workload: Workload,
    /// The service account it runs as (`default` when unset), part of its identity.
    pub service_account: String,
    /// The revision that injected it, if the pod tells.
    pub revision: Option<String>,
    /// Envoy's admin port.
    pub admin_port: u16,
    /// Its labels: a webhook's object selector reads them.
    pub labels: BTreeMap<String, String>,
    /// Whether the pod is Ready.
    pub ready: bool,
    /// Set when certificates are mounted as files instead of coming from the CA.
    pub file_mounted: bool,
    /// The name of its cluster as the injector gave it (`ISTIO_META_CLUSTER_ID`).
    pub cluster: Option<String>,
}

impl ProxyPod {
    /// What tells one proxy from another: the pod's UID, and which start of its container it is.
    pub fn incarnation(&self) -> (String, u64) {
        (self.uid.clone(), self.restarts)
    }
}

/// What one pod means for a verdict about the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodClass {
    /// No proxy, and none is expected: outside of the mesh.
    Outside,
    /// A proxy to be read.
    Proxy(Box<ProxyPod>),
    /// Ended, or never to have a proxy: skipped, with the reason.
    Skipped(&'static str),
    /// Not decided yet: going away. Asked again; it blocks when it stays so.
    Leaving,
    /// Not decided yet: it has a proxy that has not come up, for this reason. Asked again; it blocks when it stays so.
    Starting(Box<ProxyPod>, String),
    /// Part of the mesh in a way that cannot be judged: blocks.
    Unjudgeable(String),
}

/// Classifies one pod.
pub fn classify(pod: &Object) -> PodClass {
    let value = pod.value();
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let phase = text("/status/phase");
    let Some((container, native)) = proxy_container(value) else {
        if pod
            .annotations()
            .get(names::AMBIENT)
            .is_some_and(|v| v == "enabled")
        {
            return PodClass::Unjudgeable(
                "ambient: its trust lives in ztunnel, which has no second root".into(),
            );
        }
        return PodClass::Outside;
    };
    if matches!(phase, "Succeeded" | "Failed") {
        return PodClass::Skipped("ended");
    }
    if pod.labels().get("app").is_some_and(|app| app == "ztunnel") {
        return PodClass::Unjudgeable("ztunnel: ambient meshes cannot hold two roots".into());
    }
    if env(container, "DISABLE_ENVOY").as_deref() == Some("true") {
        return PodClass::Unjudgeable(
            "proxyless gRPC: no Envoy to ask, certificates live in files".into(),
        );
    }
    if value.pointer("/metadata/deletionTimestamp").is_some() {
        return PodClass::Leaving;
    }
    let proxy = Box::new(ProxyPod {
        namespace: pod.namespace().unwrap_or_default().to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        restarts: restarts(value),
        started: started(value),
        addresses: addresses(value),
        kind: kind_of(container, native),
        workload: workload_of(pod),
        service_account: service_account(value),
        revision: revision_of(pod, container),
        admin_port: admin_port(container),
        labels: pod.labels(),
        ready: is_ready(value),
        file_mounted: env(container, "FILE_MOUNTED_CERTS").as_deref() == Some("true"),
        cluster: env(container, "ISTIO_META_CLUSTER_ID"),
    });
    if phase == "Running" {
        return PodClass::Proxy(proxy);
    }
    let phase = if phase.is_empty() {
        "not yet scheduled"
    } else {
        phase
    };
    PodClass::Starting(proxy, format!("is {phase}"))
}

/// Whether the pod's condition `Ready` is true.
pub fn is_ready(pod: &Value) -> bool {
    pod.pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| {
            conditions
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
}

/// The service account of a pod or of a pod template; `default` when unset.
pub fn service_account(pod: &Value) -> String {
    let name = pod
        .pointer("/spec/serviceAccountName")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        "default".to_owned()
    } else {
        name.to_owned()
    }
}

/// The proxy's container in a pod, as admitted.
pub(super) fn proxy_of(pod: &Value) -> Option<&Value> {
    proxy_container(pod).map(|(container, _)| container)
}

/// The revision that injected a pod, by the injector's own record.
pub(super) fn injected_by(pod: &Value) -> Option<String> {
    let status = pod["metadata"]["annotations"][names::STATUS].as_str()?;
    let status: Value = serde_json::from_str(status).ok()?;
    let revision = status["revision"].as_str().filter(|r| !r.is_empty())?;
    Some(revision.to_owned())
}

/// The proxy's container, and whether it is a native sidecar.
fn proxy_container(pod: &Value) -> Option<(&Value, bool)> {
    let find = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_array)
            .and_then(|list| list.iter().find(|c| c["name"] == names::PROXY_CONTAINER))
    };
    find("/spec/containers").map(|c| (c, false)).or_else(|| {
        find("/spec/initContainers")
            .filter(|c| c["restartPolicy"] == "Always")
            .map(|c| (c, true))
    })
}

fn status(pod: &Value) -> Option<&Value> {
    let statuses = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let lists = statuses
        .iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array());
    lists
        .flatten()
        .find(|status| status["name"] == names::PROXY_CONTAINER)
}

fn restarts(pod: &Value) -> u64 {
    let count = status(pod).and_then(|status| status["restartCount"].as_u64());
    count.unwrap_or_default()
}

fn started(pod: &Value) -> Option<Timestamp> {
    let since = status(pod)?.pointer("/state/running/startedAt")?;
    since.as_str()?.parse().ok()
}

fn addresses(pod: &Value) -> Vec<String> {
    let several = pod["status"]["podIPs"].as_array().into_iter().flatten();
    let all = several.map(|ip| &ip["ip"]).chain([&pod["status"]["podIP"]]);
    let all: BTreeSet<&str> = all.filter_map(Value::as_str).collect();
    all.into_iter().map(str::to_owned).collect()
}

/// The proxy that a `WorkloadEntry` stands for, as far as the entry tells.
pub(super) fn machine(entry: &Object) -> ProxyPod {
    let (namespace, name) = (entry.namespace().unwrap_or_default(), entry.name());
    let text = |key: &str| {
        entry.value()["spec"][key]
            .as_str()
            .filter(|t| !t.is_empty())
    };
    ProxyPod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: entry.uid().to_owned(),
        restarts: 0,
        started: None,
        addresses: text("address").map(str::to_owned).into_iter().collect(),
        kind: ProxyKind::Machine,
        workload: Workload {
            kind: "WorkloadEntry".into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        service_account: text("serviceAccount").unwrap_or("default").to_owned(),
        revision: None,
        admin_port: names::ADMIN_PORT,
        labels: entry.labels(),
        ready: true,
        file_mounted: false,
        cluster: None,
    }
}

fn kind_of(container: &Value, native: bool) -> ProxyKind {
    let role = container["args"]
        .as_array()
        .and_then(|args| args.get(1))
        .and_then(Value::as_str);
    match (role, native) {
        (Some("router"), _) => ProxyKind::Gateway,
        (Some("waypoint"), _) => ProxyKind::Waypoint,
        (_, true) => ProxyKind::NativeSidecar,
        (_, false) => ProxyKind::Sidecar,
    }
}

/// A variable that is given to a container as text.
pub(super) fn env(container: &Value, name: &str) -> Option<String> {
    // Of two of one name Kubernetes takes the last.
    let mut given = container["env"].as_array()?.iter().rev();
    given
        .find(|e| e["name"] == name)
        .and_then(|e| e["value"].as_str())
        .map(str::to_owned)
}

/// Order of trust: the injector's own record, the annotation (≥ 1.18), the pod's label (gateways;
/// on ordinary pods a label is only what was asked for).
fn revision_of(pod: &Object, container: &Value) -> Option<String> {
    let annotations = pod.annotations();
    injected_by(pod.value())
        .or_else(|| annotations.get(names::REV).cloned())
        .or_else(|| pod.labels().get(names::REV).cloned())
        .or_else(|| {
            let address = env(container, "CA_ADDR")?;
            let host = address.split(['.', ':']).next()?.to_owned();
            match host.strip_prefix("istiod") {
                Some("") => Some("default".to_owned()),
                Some(rest) => rest.strip_prefix('-').map(str::to_owned),
                None => None,
            }
        })
}

fn admin_port(container: &Value) -> u16 {
    env(container, "PROXY_CONFIG")
        .and_then(|json| serde_json::from_str::<Value>(&json).ok())
        .and_then(|config| config["proxyAdminPort"].as_u64())
        .and_then(|port| u16::try_from(port).ok())
        .unwrap_or(names::ADMIN_PORT)
}

/// Walks from the pod's controller to the workload that a person knows. A ReplicaSet's name is its
/// Deployment's plus the pod template hash, so no second read is needed.
pub fn workload_of(pod: &Object) -> Workload {
    let namespace = pod.namespace().unwrap_or_default().to_owned();
    let owner = pod
        .value()
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .and_then(|owners| {
            owners
                .iter()
                .find(|o| o["controller"] == Value::Bool(true))
                .or_else(|| owners.first())
        });
    let Some(owner) = owner else {
        return Workload {
            kind: "Pod".into(),
            namespace,
            name: pod.name().to_owned(),
        };
    };
    let (kind, name) = (
        owner["kind"].as_str().unwrap_or("Unknown").to_owned(),
        owner["name"].as_str().unwrap_or_default().to_owned(),
    );
    if kind == "ReplicaSet"
        && let Some(hash) = pod.labels().get("pod-template-hash")
        && let Some(deployment) = name.strip_suffix(&format!("-{hash}"))
    {
        return Workload {
            kind: "Deployment".into(),
            namespace,
            name: deployment.to_owned(),
        };
    }
    Workload {
        kind,
        namespace,
        name,
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
