//! Ports of the node that pods take for themselves.

use std::fmt;

use serde_json::Value;

use super::super::Object;
use super::is_finished;
use super::selector::items;

/// A port of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    port: i64,
    protocol: String,
    /// The address of the node; empty for all.
    ip: String,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)
    }
}

impl HostPort {
    fn collides(&self, other: &Self) -> bool {
        let all = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || all(&self.ip) || all(&other.ip))
    }
}

/// The ports of its node that a pod takes: `hostPort` of its containers and sidecars, and with
/// `hostNetwork` each `containerPort`.
pub(super) fn host_ports(spec: &Value) -> Vec<HostPort> {
    let sidecars = items(spec.get("initContainers"))
        .iter()
        .filter(|c| c["restartPolicy"] == "Always");
    items(spec.get("containers"))
        .iter()
        .chain(sidecars)
        .flat_map(|c| items(c.get("ports")))
        .filter_map(|port| {
            let host = port["hostPort"].as_i64().filter(|port| *port > 0);
            let number = match host {
                None if spec["hostNetwork"] == true => port["containerPort"].as_i64(),
                host => host,
            };
            Some(HostPort {
                port: number?,
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                ip: port["hostIP"].as_str().unwrap_or("").to_owned(),
            })
        })
        .collect()
}

/// Whether a pod takes one of these ports of its node.
pub(super) fn holds_one_of(pod: &Object, ports: &[HostPort]) -> bool {
    !is_finished(pod)
        && host_ports(&pod.value()["spec"])
            .iter()
            .any(|own| ports.iter().any(|port| port.collides(own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_of_sidecars_and_of_the_hosts_network_count() {
        let shown =
            |spec: Value| -> Vec<i64> { host_ports(&spec).iter().map(|p| p.port).collect() };
        let mut spec = json!({
            "containers": [{"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}],
            "initContainers": [
                {"restartPolicy": "Always", "ports": [{"hostPort": 15090}]},
                {"ports": [{"hostPort": 1}]},
            ],
        });
        assert_eq!(shown(spec.clone()), [8080, 15090]);
        spec["hostNetwork"] = json!(true);
        assert_eq!(shown(spec), [8080, 81, 15090]);
    }

    #[test]
    fn ports_collide_by_number_protocol_and_address() {
        let of = |port: Value| host_ports(&json!({"containers": [{"ports": [port]}]})).remove(0);
        let all = of(json!({"hostPort": 80}));
        assert!(all.collides(&of(json!({"hostPort": 80, "hostIP": "10.0.0.1"}))));
        assert!(!all.collides(&of(json!({"hostPort": 80, "protocol": "UDP"}))));
        assert!(!all.collides(&of(json!({"hostPort": 81}))));
        let one = of(json!({"hostPort": 80, "hostIP": "10.0.0.1"}));
        assert!(!one.collides(&of(json!({"hostPort": 80, "hostIP": "10.0.0.2"}))));
    }
}
