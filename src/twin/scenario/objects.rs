//! The Kubernetes objects of a scenario's applications and gateways, as a user would apply them.

use serde_json::{Value, json};

use super::{Gateway, Namespace, Workload, WorkloadKind};

/// Annotation of a gateway's pod on the twin: the `credentialName`s of its `Gateway` resources, with commas between.
pub(in crate::twin) const CREDENTIALS: &str = "twin.rootshift.dev/credentials";

/// Annotation of a pod on the twin: how many connections to its proxy end only with it, as those of WebSockets may.
pub(in crate::twin) const HELD_CONNECTIONS: &str = "twin.rootshift.dev/held-connections";

/// Namespace, service accounts, Services and workloads of one application namespace, in the order
/// in which they are created.
pub fn application_objects(name: &str, namespace: &Namespace) -> Vec<Value> {
    let mut labels = json!({});
    match namespace.injection.as_deref() {
        None => {}
        Some("enabled") => labels["istio-injection"] = json!("enabled"),
        Some("disabled") => labels["istio-injection"] = json!("disabled"),
        Some(revision) => labels["istio.io/rev"] = json!(revision),
    }
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    })];
    for workload in &namespace.workloads {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": service_account(workload), "namespace": name},
        }));
        objects.push(service(
            name,
            &workload.name,
            &json!({"app": workload.name}),
            workload.port,
        ));
    }
    objects.dedup();
    objects.extend(namespace.workloads.iter().map(|w| workload_object(name, w)));
    objects
}

/// Service account, Service and Deployment of an ingress gateway: the pod's only container is
/// filled in by the injector (`image: auto`, template `gateway`).
pub fn gateway_objects(gateway: &Gateway) -> Vec<Value> {
    let labels = json!({"app": gateway.name, "istio": gateway_selector(&gateway.name)});
    let mut pod_labels = labels.clone();
    pod_labels["sidecar.istio.io/inject"] = json!("true");
    pod_labels["istio.io/rev"] = json!(gateway.revision);
    let mut annotations = json!({"inject.istio.io/templates": "gateway"});
    if !gateway.credentials.is_empty() {
        annotations[CREDENTIALS] = json!(gateway.credentials.join(","));
    }
    if gateway.held_connections > 0 {
        annotations[HELD_CONNECTIONS] = json!(gateway.held_connections.to_string());
    }
    vec![
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": gateway.name, "namespace": gateway.namespace},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": gateway.name, "namespace": gateway.namespace, "labels": labels},
            "spec": {"selector": labels, "ports": [{"name": "http2", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": gateway.name, "namespace": gateway.namespace, "labels": labels},
            "spec": {
                "replicas": gateway.replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"annotations": annotations, "labels": pod_labels},
                    "spec": {
                        "serviceAccountName": gateway.name,
                        "containers": [{"name": "istio-proxy", "image": "auto", "ports": [{"containerPort": 8080}]}],
                    },
                },
            },
        }),
    ]
}

/// `istio-ingressgateway` is selected by `istio: ingressgateway`, as in the gateway chart.
fn gateway_selector(name: &str) -> &str {
    name.strip_prefix("istio-").unwrap_or(name)
}

fn service_account(workload: &Workload) -> &str {
    workload
        .service_account
        .as_deref()
        .unwrap_or(&workload.name)
}

fn service(namespace: &str, name: &str, selector: &Value, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": selector},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]},
    })
}

fn workload_object(namespace: &str, workload: &Workload) -> Value {
    let kind = match workload.kind {
        WorkloadKind::DaemonSet => "DaemonSet",
        WorkloadKind::Deployment => "Deployment",
        WorkloadKind::StatefulSet => "StatefulSet",
    };
    let mut labels = json!({"app": workload.name});
    for (key, value) in &workload.labels {
        labels[key] = json!(value);
    }
    let mut template = json!({
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": service_account(workload),
            "containers": [{
                "name": "app",
                "image": format!("registry.example/{}:1.0", workload.name),
                "ports": [{"containerPort": workload.port, "protocol": "TCP"}],
            }],
        },
    });
    if !workload.annotations.is_empty() {
        template["metadata"]["annotations"] = json!(workload.annotations);
    }
    let mut spec =
        json!({"selector": {"matchLabels": {"app": workload.name}}, "template": template});
    if workload.kind != WorkloadKind::DaemonSet {
        spec["replicas"] = json!(workload.replicas);
    }
    if workload.kind == WorkloadKind::StatefulSet {
        spec["serviceName"] = json!(workload.name);
    }
    if let Some(strategy) = &workload.update_strategy {
        spec["updateStrategy"] = json!({"type": strategy});
    }
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": workload.name, "namespace": namespace, "labels": {"app": workload.name}},
        "spec": spec,
    })
}
