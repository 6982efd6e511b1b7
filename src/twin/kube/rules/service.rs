//! What the server gives new Services: addresses and node ports.

use serde_json::{Value, json};

use super::super::Kube;

/// Services have addresses from 10.96.0.0/16, node ports from 30000 on.
const FIRST_NODE_PORT: u64 = 30_000;

/// Gives a Service the addresses and ports that it needs and does not name.
pub fn allocate(kube: &Kube, service: &mut Value) {
    let spec = &mut service["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP").to_owned();
    if kind == "ExternalName" {
        return;
    }
    let asked = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    let address = if asked.is_empty() {
        free_address(kube)
    } else {
        asked
    };
    spec["clusterIP"] = address.clone().into();
    spec["clusterIPs"] = json!([address]);
    if spec["ipFamilies"].is_null() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
    let node_ports = kind == "NodePort"
        || (kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false);
    if node_ports {
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            if port["nodePort"].as_i64().unwrap_or(0) == 0 {
                port["nodePort"] = (FIRST_NODE_PORT + kube.random().next() % 2768).into();
            }
        }
    }
}

fn free_address(kube: &Kube) -> String {
    let used = kube.list("services", None);
    loop {
        let number = kube.random().next() % 65_000 + 10;
        let address = format!("10.96.{}.{}", number / 256, number % 256);
        if !used
            .iter()
            .any(|s| s["spec"]["clusterIP"] == address.as_str())
        {
            return address;
        }
    }
}

/// Keeps the addresses of a Service that an update leaves out.
pub fn keep(before: &Value, after: &mut Value) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let known = &before["spec"][field];
        let open = match &after["spec"][field] {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if open && !known.is_null() {
            after["spec"][field] = known.clone();
        }
    }
    let ports = after["spec"].get_mut("ports").and_then(Value::as_array_mut);
    for (at, port) in ports.into_iter().flatten().enumerate() {
        let known = &before["spec"]["ports"][at]["nodePort"];
        if port["nodePort"].as_i64().unwrap_or(0) == 0 && !known.is_null() {
            port["nodePort"] = known.clone();
        }
    }
}
