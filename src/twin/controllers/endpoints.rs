//! Endpoints and EndpointSlices of Services with a selector.
//!
//! What is written is computed inside the write, from pods listed then: so of two writers the later one knows the newer
//! pods, and [`withdraw`] can promise that a pod is out before it stops.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::naming::template_hash;
use super::objects::{
    array, controller_ref, deleting, label, map_selects, name, namespace, text, uid, version,
};
use super::pods::{is_finished, is_ready};
use super::snapshot::Snapshot;
use crate::twin::kube::{Kube, Status};

const NAME: &str = "endpoint-controller";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const SLICE_MANAGER: &str = "endpointslice-controller.k8s.io";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// Reconciles the endpoints of Services.
pub struct Endpoints;

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let services = world.list("services").iter();
        let mut work: Vec<(Key, u64)> = services
            .map(|s| {
                (
                    Key::of(s),
                    version(s).wrapping_add(world.pods_in(namespace(s))),
                )
            })
            .collect();
        // What a deleted Service left behind.
        for left in world.list("endpoints") {
            let key = Key::of(left);
            if !label(left, MANAGED_BY).is_empty() && !work.iter().any(|(k, _)| *k == key) {
                work.push((key, version(left)));
            }
        }
        work
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            match reconcile(&ctx, &key).await {
                Ok(()) => Outcome::Done,
                Err(status) => Outcome::Failed(status.message),
            }
        })
    }
}

/// Takes a pod that is going out of all endpoints.
pub fn withdraw(ctx: &Ctx, pod: &Value) {
    for service in ctx.kube.list("services", Some(namespace(pod))) {
        if map_selects(&service["spec"]["selector"], &pod["metadata"]["labels"]) {
            // Not there (yet): then the pod is not in it.
            let _ = write_endpoints(&ctx.kube, &service);
            let _ = write_slice(&ctx.kube, &service);
        }
    }
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Result<(), Status> {
    let kube = &ctx.kube;
    let Some(service) = kube.get("services", &key.namespace, &key.name) else {
        // The slice goes with its owner; Endpoints have none.
        return gone_is_fine(kube.remove("endpoints", &key.namespace, &key.name));
    };
    let has_selector = service["spec"]["selector"]
        .as_object()
        .is_some_and(|s| !s.is_empty());
    if deleting(&service) || !has_selector || text(&service, "/spec/type") == "ExternalName" {
        return Ok(());
    }
    if let Err(status) = write_endpoints(kube, &service) {
        create_if_missing(kube, "endpoints", &service, status, new_endpoints(&service)).await?;
        gone_is_fine(write_endpoints(kube, &service))?;
    }
    if let Err(status) = write_slice(kube, &service) {
        create_if_missing(kube, SLICES, &service, status, new_slice(&service)).await?;
        gone_is_fine(write_slice(kube, &service))?;
    }
    Ok(())
}

fn gone_is_fine(result: Result<(), Status>) -> Result<(), Status> {
    result.or_else(|status| {
        if status.code == 404 {
            Ok(())
        } else {
            Err(status)
        }
    })
}

async fn create_if_missing(
    kube: &Kube,
    resource: &str,
    service: &Value,
    status: Status,
    object: Value,
) -> Result<(), Status> {
    if status.code != 404 {
        return Err(status);
    }
    match kube.create(resource, namespace(service), object).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == Some("AlreadyExists") => Ok(()),
        Err(status) => Err(status),
    }
}

fn new_endpoints(service: &Value) -> Value {
    let mut labels = own_labels(service);
    labels[MANAGED_BY] = NAME.into();
    json!({"metadata": {"name": name(service), "labels": labels}})
}

/// Empty, as [`new_endpoints`]: what is in it is for [`write_slice`], which cannot overtake a [`withdraw`] as a creation could.
fn new_slice(service: &Value) -> Value {
    let mut labels = own_labels(service);
    labels["kubernetes.io/service-name"] = name(service).into();
    labels["endpointslice.kubernetes.io/managed-by"] = SLICE_MANAGER.into();
    json!({
        "metadata": {
            "name": slice_name(service), "generateName": format!("{}-", name(service)),
            "labels": labels, "ownerReferences": [controller_ref(service)],
        },
        "addressType": "IPv4", "endpoints": [], "ports": ports(service, &[]),
    })
}

fn own_labels(service: &Value) -> Value {
    let mut labels = service["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    if text(service, "/spec/clusterIP") == "None" {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    labels
}

/// One slice for each Service, so its name can follow from the Service.
fn slice_name(service: &Value) -> String {
    let hash = template_hash(&service["metadata"]["uid"], 0);
    format!("{}-{}", name(service), &hash[5..])
}

fn write_endpoints(kube: &Kube, service: &Value) -> Result<(), Status> {
    let written = kube.update("endpoints", namespace(service), name(service), |o| {
        let pods = members(kube, service);
        let subsets = subsets(service, &pods);
        if let Some(object) = o.as_object_mut() {
            if subsets.is_empty() {
                object.remove("subsets");
            } else {
                object.insert("subsets".to_owned(), subsets.into());
            }
        }
    });
    written.map(|_| ())
}

fn write_slice(kube: &Kube, service: &Value) -> Result<(), Status> {
    let written = kube.update(SLICES, namespace(service), &slice_name(service), |o| {
        let pods = members(kube, service);
        o["endpoints"] = slice_endpoints(kube, service);
        o["ports"] = ports(service, &pods);
    });
    written.map(|_| ())
}

/// The pods behind a Service that have an address.
fn members(kube: &Kube, service: &Value) -> Vec<Arc<Value>> {
    let mut pods = kube.list("pods", Some(namespace(service)));
    pods.retain(|p| {
        map_selects(&service["spec"]["selector"], &p["metadata"]["labels"])
            && !text(p, "/status/podIP").is_empty()
            && !is_finished(p)
    });
    pods
}

fn publishes_unready(service: &Value) -> bool {
    service["spec"]["publishNotReadyAddresses"] == true
}

fn target(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})
}

fn subsets(service: &Value, pods: &[Arc<Value>]) -> Vec<Value> {
    let (mut ready, mut unready) = (Vec::new(), Vec::new());
    let staying = pods
        .iter()
        .filter(|p| publishes_unready(service) || !deleting(p));
    for pod in staying {
        let address = json!({
            "ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod),
        });
        if is_ready(pod) || publishes_unready(service) {
            ready.push(address);
        } else {
            unready.push(address);
        }
    }
    if ready.is_empty() && unready.is_empty() {
        return Vec::new();
    }
    let mut subset = json!({});
    for (key, list) in [("addresses", ready), ("notReadyAddresses", unready)] {
        if !list.is_empty() {
            subset[key] = list.into();
        }
    }
    let mut ports = ports(service, pods);
    for port in ports.as_array_mut().into_iter().flatten() {
        // Unlike a slice, it leaves out an empty name.
        if port["name"] == ""
            && let Some(port) = port.as_object_mut()
        {
            port.remove("name");
        }
    }
    if ports.as_array().is_some_and(|p| !p.is_empty()) {
        subset["ports"] = ports;
    }
    vec![subset]
}

fn slice_endpoints(kube: &Kube, service: &Value) -> Value {
    let pods = members(kube, service);
    let all = pods.iter().map(|pod| {
        let serving = is_ready(pod);
        let ready = publishes_unready(service) || (serving && !deleting(pod));
        json!({
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": ready, "serving": serving, "terminating": deleting(pod)},
            "nodeName": pod["spec"]["nodeName"], "targetRef": target(pod),
        })
    });
    all.collect()
}

/// The Service's ports as the pods number them.
fn ports(service: &Value, pods: &[Arc<Value>]) -> Value {
    let all = array(service, "/spec/ports").iter().filter_map(|port| {
        let number = target_port(port, pods)?;
        let mut out = json!({"port": number, "protocol": port["protocol"]});
        if port["protocol"].is_null() {
            out["protocol"] = "TCP".into();
        }
        out["name"] = text(port, "/name").into();
        if port["appProtocol"].is_string() {
            out["appProtocol"] = port["appProtocol"].clone();
        }
        Some(out)
    });
    all.collect()
}

/// A number, or the name of a port of the pods' containers.
fn target_port(port: &Value, pods: &[Arc<Value>]) -> Option<i64> {
    let target = &port["targetPort"];
    if let Some(wanted) = target.as_str() {
        let container_ports = pods.iter().flat_map(|p| {
            array(p, "/spec/containers")
                .iter()
                .chain(array(p, "/spec/initContainers"))
                .flat_map(|c| array(c, "/ports"))
        });
        let mut named = container_ports.filter(|p| p["name"] == wanted);
        return named.find_map(|p| p["containerPort"].as_i64());
    }
    target
        .as_i64()
        .filter(|n| *n != 0)
        .or_else(|| port["port"].as_i64())
}
