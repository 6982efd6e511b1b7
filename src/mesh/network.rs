//! Whether NetworkPolicies leave new proxies the ways that they need: to the istiod of their revision, and to the CA that
//! will sign for them.
//!
//! Today's proxies prove nothing of it: their CA is istiod, in the cluster, and Mesh CA is outside of it; and a policy may
//! name the istiod of one revision. A pod without these ways never comes up. What a network plugin makes of a
//! policy, and kinds of policy of its own, cannot be read here: the first pod that is moved is their proof.
//! Source: Kubernetes, "Network Policies" (policies add up; a pod that none selects is not restricted).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::gate::View;
use super::injection::{Labels, selects};
use super::revision::{CaEndpoint, Revision};
use super::templates::texts;
use super::{MeshError, names};
use crate::cluster::{Cluster, ClusterError, Selector};

/// Where agents ask istiod for configuration and certificates (Istio's `15012`, XDS and CA over TLS).
const ISTIOD_PORT: u64 = 15012;
/// Where Mesh CA listens (`meshca.googleapis.com:443`).
const CA_PORT: u64 = 443;
/// One that no rule names.
const NO_PORT: u64 = 0;

/// The pods of one workload.
struct Pods<'a> {
    namespace: &'a str,
    labels: &'a Labels,
}

/// Where a way leads.
enum Goal<'a> {
    /// To these pods, whose port has these names.
    Pods(Pods<'a>, BTreeSet<&'a str>),
    /// Out of the cluster, to an address that only its name tells.
    Outside,
}

/// Whether a way is open.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Open,
    /// Closed by all of these policies together.
    Closed(BTreeSet<String>),
    /// These policies let through some addresses or ports; whether the goal has one of them is not known.
    Perhaps(BTreeSet<String>),
}

/// Which workloads of the mesh that are not of this revision yet have no way to its istiod or to its CA, a line each.
///
/// # Errors
/// As [`Cluster::list`], except that who may not list the policies is told so in a line.
pub async fn faults(
    cluster: &Cluster,
    view: &View,
    revision: &Revision,
) -> Result<Vec<String>, MeshError> {
    let kind = cluster.kind("networkpolicies.networking.k8s.io").await?;
    let policies = match cluster.list(&kind, None, &Selector::all()).await {
        Err(why @ ClusterError::Forbidden(_)) => {
            return Ok(vec![format!(
                "whether policies leave a way is not known: {why}"
            )]);
        }
        policies => policies?,
    };
    let policies: Vec<&Value> = policies.iter().map(crate::cluster::Object::value).collect();
    if policies.is_empty() {
        return Ok(Vec::new());
    }
    let kind = cluster.kind("deployments.apps").await?;
    let name = revision.istiod();
    let istiod = cluster.get(&kind, Some(names::ISTIO_SYSTEM), &name).await?;
    let template = istiod.map(|object| object.value()["spec"]["template"].clone());
    let mut moved: BTreeMap<String, (&str, Labels)> = BTreeMap::new();
    for proxy in &view.survey.proxies {
        let pod = proxy.pod();
        if pod.revision.as_deref() == Some(&revision.name) {
            continue;
        }
        let mut labels = pod.labels.clone();
        if let Some(own) = labels.get_mut(names::REV) {
            own.clone_from(&revision.name);
        }
        let name = format!("{} {}", pod.workload.kind, pod.workload);
        moved.insert(name, (&pod.namespace, labels));
    }
    let network = Network {
        policies,
        namespaces: &view.survey.namespaces,
    };
    let signer = &revision.signer;
    Ok(network.faults(&moved, template.as_ref(), &name, signer))
}

struct Network<'a> {
    policies: Vec<&'a Value>,
    namespaces: &'a BTreeMap<String, Labels>,
}

impl Network<'_> {
    fn faults(
        &self,
        moved: &BTreeMap<String, (&str, Labels)>,
        istiod: Option<&Value>,
        istiod_name: &str,
        signer: &CaEndpoint,
    ) -> Vec<String> {
        let labels = istiod.map(|template| texts(&template["metadata"]["labels"]));
        let mut lines = Vec::new();
        for (name, (namespace, labels_of)) in moved {
            let pods = Pods {
                namespace,
                labels: labels_of,
            };
            if let (Some(template), Some(labels)) = (istiod, &labels) {
                let istiod = Pods {
                    namespace: names::ISTIO_SYSTEM,
                    labels,
                };
                let goal = Goal::Pods(istiod, port_names(template, ISTIOD_PORT));
                let way = self.leaves(&pods, &goal, ISTIOD_PORT);
                lines.extend(line(
                    name,
                    &format!("{istiod_name}, TCP {ISTIOD_PORT}"),
                    &way,
                ));
                if let Goal::Pods(istiod, ports) = &goal {
                    let way = self.enters(istiod, &pods, ports, ISTIOD_PORT);
                    lines.extend(line(
                        name,
                        &format!("{istiod_name}, TCP {ISTIOD_PORT}"),
                        &way,
                    ));
                }
            }
            match signer {
                CaEndpoint::Istiod => {}
                CaEndpoint::MeshCa => {
                    let way = self.leaves(&pods, &Goal::Outside, CA_PORT);
                    lines.extend(line(name, &format!("Mesh CA, TCP {CA_PORT}"), &way));
                }
                CaEndpoint::Other(address) => {
                    // Where it is and on which port is not known: open is only what is open to everything.
                    let way = match self.leaves(&pods, &Goal::Outside, NO_PORT) {
                        Way::Closed(policies) => Way::Perhaps(policies),
                        way => way,
                    };
                    lines.extend(line(name, address, &way));
                }
            }
        }
        lines
    }

    /// Whether these pods may connect to that goal.
    fn leaves(&self, pods: &Pods, goal: &Goal, port: u64) -> Way {
        let names = match goal {
            Goal::Pods(_, names) => names.clone(),
            Goal::Outside => BTreeSet::new(),
        };
        let peer = |policy: &Value, peer: &Value| match goal {
            Goal::Pods(target, _) => self.is_peer(policy, peer, target),
            Goal::Outside => matches_address(&peer["ipBlock"]),
        };
        self.way(pods, "Egress", ["egress", "to"], &names, port, peer)
    }

    /// Whether these pods let the others in.
    fn enters(&self, pods: &Pods, from: &Pods, names: &BTreeSet<&str>, port: u64) -> Way {
        let peer = |policy: &Value, peer: &Value| self.is_peer(policy, peer, from);
        self.way(pods, "Ingress", ["ingress", "from"], names, port, peer)
    }

    fn way(
        &self,
        pods: &Pods,
        direction: &str,
        [rules, peers]: [&str; 2],
        names: &BTreeSet<&str>,
        port: u64,
        is_peer: impl Fn(&Value, &Value) -> Option<bool>,
    ) -> Way {
        let mut selecting = BTreeSet::new();
        let mut perhaps = BTreeSet::new();
        for policy in &self.policies {
            let spec = &policy["spec"];
            let of = policy["metadata"]["namespace"].as_str().unwrap_or_default();
            if of != pods.namespace
                || !selects(&spec["podSelector"], pods.labels)
                || !restricts(spec, direction)
            {
                continue;
            }
            let name = policy["metadata"]["name"].as_str().unwrap_or_default();
            selecting.insert(format!("{of}/{name}"));
            for rule in spec[rules].as_array().into_iter().flatten() {
                if !is_port(&rule["ports"], names, port) {
                    continue;
                }
                let listed = rule[peers]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                if listed.is_empty() {
                    return Way::Open;
                }
                for peer in listed {
                    match is_peer(policy, peer) {
                        Some(true) => return Way::Open,
                        Some(false) => {}
                        None => {
                            perhaps.insert(format!("{of}/{name}"));
                        }
                    }
                }
            }
        }
        match (selecting.is_empty(), perhaps.is_empty()) {
            (true, _) => Way::Open,
            (false, true) => Way::Closed(selecting),
            (false, false) => Way::Perhaps(perhaps),
        }
    }

    /// Whether a peer of a rule is these pods; `None`: addresses are named.
    fn is_peer(&self, policy: &Value, peer: &Value, pods: &Pods) -> Option<bool> {
        if peer["ipBlock"].is_object() {
            return matches_address(&peer["ipBlock"]);
        }
        let nobody = Labels::new();
        let namespace = self.namespaces.get(pods.namespace).unwrap_or(&nobody);
        let in_namespace = match &peer["namespaceSelector"] {
            Value::Null => policy["metadata"]["namespace"] == *pods.namespace,
            selector => selects(selector, namespace),
        };
        let is_pod = match &peer["podSelector"] {
            Value::Null => true,
            selector => selects(selector, pods.labels),
        };
        Some(in_namespace && is_pod)
    }
}

/// Whether a policy says anything about a direction: by its types, or by what it lists where it has none.
fn restricts(spec: &Value, direction: &str) -> bool {
    match spec["policyTypes"].as_array() {
        Some(types) if !types.is_empty() => types.iter().any(|t| t == direction),
        _ => direction == "Ingress" || spec["egress"].is_array(),
    }
}

/// Whether an address block has an address that is not known. All of IPv4 has it; all of IPv6 only in clusters of that.
fn matches_address(block: &Value) -> Option<bool> {
    match block["cidr"].as_str() {
        None => Some(false),
        Some("0.0.0.0/0") if block["except"].is_null() => Some(true),
        Some(_) => None,
    }
}

/// Whether a rule's ports have a TCP port, by its number, a range, or its name.
fn is_port(ports: &Value, names: &BTreeSet<&str>, wanted: u64) -> bool {
    let Some(ports) = ports.as_array().filter(|ports| !ports.is_empty()) else {
        return true;
    };
    ports.iter().any(|port| {
        let is_tcp = port["protocol"].as_str().is_none_or(|p| p == "TCP");
        is_tcp
            && match (&port["port"], port["endPort"].as_u64()) {
                (Value::Null, _) => true,
                (Value::String(name), _) => names.contains(name.as_str()),
                (number, None) => number.as_u64() == Some(wanted),
                (number, Some(end)) => number.as_u64().is_some_and(|n| (n..=end).contains(&wanted)),
            }
    })
}

/// The names that a pod's containers give to a port.
fn port_names(template: &Value, port: u64) -> BTreeSet<&str> {
    let containers = template["spec"]["containers"].as_array();
    let ports = containers
        .into_iter()
        .flatten()
        .filter_map(|c| c["ports"].as_array());
    ports
        .flatten()
        .filter(|p| p["containerPort"].as_u64() == Some(port))
        .filter_map(|p| p["name"].as_str())
        .collect()
}

fn line(workload: &str, goal: &str, way: &Way) -> Option<String> {
    let named = |policies: &BTreeSet<String>| {
        let all: Vec<&str> = policies.iter().map(String::as_str).collect();
        all.join(", ")
    };
    match way {
        Way::Open => None,
        Way::Closed(policies) => Some(format!(
            "{workload} has no way to {goal}: closed by NetworkPolicy {}",
            named(policies)
        )),
        Way::Perhaps(policies) => Some(format!(
            "{workload} may have no way to {goal}: NetworkPolicy {} lets some addresses or ports through, and whether it has one of them is not known",
            named(policies)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(value: &Value) -> Labels {
        texts(value)
    }

    /// What is said of `shop/web`, moved to a revision that signs with Mesh CA, under these policies.
    fn said(policies: &[Value]) -> Vec<String> {
        said_of(policies, &CaEndpoint::MeshCa)
    }

    fn said_of(policies: &[Value], signer: &CaEndpoint) -> Vec<String> {
        let namespaces = BTreeMap::from([
            ("shop".to_owned(), labels(&json!({"team": "a"}))),
            (
                "istio-system".to_owned(),
                labels(&json!({"kubernetes.io/metadata.name": "istio-system"})),
            ),
        ]);
        let network = Network {
            policies: policies.iter().collect(),
            namespaces: &namespaces,
        };
        let istiod = json!({
            "metadata": {"labels": {"app": "istiod", "istio.io/rev": "new"}},
            "spec": {"containers": [{"ports": [{"containerPort": 15012, "name": "tls-xds"}, {"containerPort": 15017, "name": "https"}]}]},
        });
        let web = labels(&json!({"app": "web", "istio.io/rev": "new"}));
        let moved = BTreeMap::from([("Deployment shop/web".to_owned(), ("shop", web))]);
        network.faults(&moved, Some(&istiod), "istiod-new", signer)
    }

    fn policy(namespace: &str, spec: Value) -> Value {
        json!({"metadata": {"namespace": namespace, "name": "p"}, "spec": spec})
    }

    /// One policy for the egress of everything in `shop`, with these rules.
    fn egress(rules: Value) -> Vec<String> {
        said(&[policy(
            "shop",
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": rules}),
        )])
    }

    const NO_ISTIOD: &str =
        "Deployment shop/web has no way to istiod-new, TCP 15012: closed by NetworkPolicy shop/p";
    const NO_CA: &str =
        "Deployment shop/web has no way to Mesh CA, TCP 443: closed by NetworkPolicy shop/p";

    #[test]
    fn a_pod_that_no_policy_selects_is_not_restricted() {
        let deny =
            json!({"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]});
        assert!(said(&[]).is_empty());
        assert!(said(&[policy("shop", deny)]).is_empty());
        // Of another namespace, and of another direction.
        assert!(
            said(&[policy(
                "pay",
                json!({"podSelector": {}, "policyTypes": ["Egress"]})
            )])
            .is_empty()
        );
        assert!(said(&[policy("shop", json!({"podSelector": {}, "ingress": []}))]).is_empty());
    }

    #[test]
    fn what_lists_nothing_closes_everything() {
        assert_eq!(egress(json!([])), [NO_ISTIOD, NO_CA]);
        // Without types a policy is for egress if it lists some.
        let listed = policy("shop", json!({"podSelector": {}, "egress": []}));
        assert_eq!(said(&[listed]), [NO_ISTIOD, NO_CA]);
    }

    /// What Citadel's mesh needs, and no more: it hindered nobody until Mesh CA signs.
    #[test]
    fn a_way_to_istiod_is_none_to_mesh_ca() {
        let system = json!({"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}});
        let to = |peer: Value| egress(json!([{"to": [peer]}]));
        assert_eq!(to(json!({"namespaceSelector": system})), [NO_CA]);
        let istiod =
            json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "istiod"}}});
        assert_eq!(to(istiod), [NO_CA]);
        // The old one's, and pods of the policy's own namespace.
        let old = json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"istio.io/rev": "old"}}});
        assert_eq!(to(old), [NO_ISTIOD, NO_CA]);
        let own = json!({"podSelector": {"matchLabels": {"app": "istiod"}}});
        assert_eq!(to(own), [NO_ISTIOD, NO_CA]);
    }

    #[test]
    fn ports_are_told_by_number_range_and_name() {
        let ports = |ports: Value| egress(json!([{"ports": ports}]));
        assert!(ports(json!([{"port": 443}, {"port": 15012}])).is_empty());
        assert_eq!(ports(json!([{"port": 443}])), [NO_ISTIOD]);
        assert_eq!(ports(json!([{"port": 15000, "endPort": 15012}])), [NO_CA]);
        assert_eq!(
            ports(json!([{"port": 15000, "endPort": 15011}])),
            [NO_ISTIOD, NO_CA]
        );
        assert_eq!(ports(json!([{"port": "tls-xds"}])), [NO_CA]);
        assert_eq!(ports(json!([{"port": "https"}])), [NO_ISTIOD, NO_CA]);
        assert_eq!(ports(json!([{"protocol": "UDP"}])), [NO_ISTIOD, NO_CA]);
        assert!(ports(json!([{"protocol": "TCP"}])).is_empty());
    }

    #[test]
    fn addresses_are_known_only_where_they_are_all() {
        let to = |block: Value| egress(json!([{"to": [{"ipBlock": block}]}]));
        assert!(to(json!({"cidr": "0.0.0.0/0"})).is_empty());
        for block in [
            json!({"cidr": "199.36.153.8/30"}),
            json!({"cidr": "::/0"}),
            json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}),
        ] {
            let lines = to(block);
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(
                lines
                    .iter()
                    .all(|line| line.contains("may have no way") && line.contains("shop/p")),
                "{lines:?}"
            );
        }
    }

    /// Where another CA is, nobody knows here.
    #[test]
    fn another_ca_has_a_way_only_where_everything_has() {
        let signer = CaEndpoint::Other("ca.example:8443".into());
        let said = |rules: Value| {
            let spec = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": rules});
            said_of(&[policy("shop", spec)], &signer)
        };
        assert!(said_of(&[], &signer).is_empty());
        assert!(said(json!([{}])).is_empty());
        let lines = said(json!([{"ports": [{"port": 443}, {"port": 15012}]}]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with(
                "Deployment shop/web may have no way to ca.example:8443: NetworkPolicy shop/p"
            ),
            "{lines:?}"
        );
    }

    #[test]
    fn policies_add_up() {
        let deny = policy(
            "shop",
            json!({"podSelector": {}, "policyTypes": ["Egress"]}),
        );
        let allow = json!({"podSelector": {"matchLabels": {"app": "web"}}, "egress": [{}]});
        assert!(said(&[deny, policy("shop", allow)]).is_empty());
    }

    #[test]
    fn istiod_has_to_let_them_in() {
        let from = |peer: Value| {
            let rules = json!([{"from": [peer], "ports": [{"port": 15012}]}]);
            said(&[policy(
                "istio-system",
                json!({"podSelector": {"matchLabels": {"app": "istiod"}}, "ingress": rules}),
            )])
        };
        assert!(from(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})).is_empty());
        let closed = "Deployment shop/web has no way to istiod-new, TCP 15012: closed by NetworkPolicy istio-system/p";
        assert_eq!(
            from(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})),
            [closed]
        );
        assert_eq!(from(json!({"podSelector": {}})), [closed]);
    }
}
