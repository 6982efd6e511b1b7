//! The only node.

use serde_json::{Value, json};

use super::context::Ctx;
use super::kubelet::NODE_IP;

/// Puts the node on the cluster, unless it is there.
pub async fn ensure(ctx: &Ctx) {
    if ctx.kube.get("nodes", "", &ctx.node).is_some() {
        return;
    }
    // Refused by a webhook that a scenario has for nodes: then pods stay pending, as they would.
    let _ = ctx.kube.create("nodes", "", document(ctx)).await;
    let _ = ctx.kube.update_status("nodes", "", &ctx.node, |node| {
        node["status"] = document(ctx)["status"].clone();
    });
}

fn document(ctx: &Ctx) -> Value {
    let node = &ctx.node;
    let now = ctx.now();
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let room = json!({
        "cpu": "64", "memory": "262144Mi", "ephemeral-storage": "1048576Mi", "pods": "110000",
    });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node, "labels": {
            "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": node, "kubernetes.io/os": "linux",
        }},
        "spec": {"podCIDR": "10.8.0.0/14", "podCIDRs": ["10.8.0.0/14"], "providerID": format!("twin://{node}")},
        "status": {
            "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": node}],
            "allocatable": room, "capacity": room,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "twin://1", "kernelVersion": "twin",
                "kubeProxyVersion": "v1.34.4", "kubeletVersion": "v1.34.4", "machineID": "",
                "operatingSystem": "linux", "osImage": "twin", "systemUUID": "",
            },
        },
    })
}
