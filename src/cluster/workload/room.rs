//! Whether more pods of a template fit on the nodes: requests, taints, node selectors and affinity.
//!
//! The scheduler knows more (spreading, affinity between pods, volumes bound to zones). Where a template
//! uses what is not judged here, the answer is unknown, unless already the requests do not fit.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::Object;
use super::is_finished;
use super::quantity::{milli, shown};
use super::selector::{holds, items, texts};

/// Amounts by resource (`cpu`, `memory`, `nvidia.com/gpu`), in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

/// Whether pods fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// Not so many: why.
    No(String),
    /// It cannot be told: why.
    Unknown(String),
    /// All of them.
    Yes,
}

/// What a container asks for or may use. A request that a template leaves out is the limit, as the server
/// writes it into pods.
pub(super) fn own(container: &Value, what: &str) -> Amounts {
    let read = |what: &str| -> Amounts {
        let list = container["resources"][what].as_object();
        list.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), amount(value)?)))
            .collect()
    };
    let mut amounts = read(what);
    if what == "requests" {
        for (key, value) in read("limits") {
            amounts.entry(key).or_insert(value);
        }
    }
    amounts
}

/// What a pod asks of its node (`what` = `requests`) or may use (`limits`): the sum of its containers
/// and sidecars, or the largest init container if that is more; and its overhead.
pub(super) fn amounts(spec: &Value, what: &str) -> Amounts {
    let of = |container: &Value| own(container, what);
    let mut sum = Amounts::new();
    for container in items(spec.get("containers")) {
        add(&mut sum, &of(container));
    }
    let mut sidecars = Amounts::new();
    let mut largest = Amounts::new();
    for container in items(spec.get("initContainers")) {
        let mut own = of(container);
        if container["restartPolicy"] == "Always" {
            add(&mut sidecars, &own);
            continue;
        }
        add(&mut own, &sidecars);
        for (key, value) in own {
            let most = largest.entry(key).or_default();
            *most = (*most).max(value);
        }
    }
    add(&mut sum, &sidecars);
    for (key, value) in largest {
        let total = sum.entry(key).or_default();
        *total = (*total).max(value);
    }
    if what == "requests" {
        let overhead = spec["overhead"].as_object();
        for (key, value) in overhead.into_iter().flatten() {
            *sum.entry(key.clone()).or_default() += amount(value).unwrap_or(0);
        }
    }
    sum
}

/// An amount of a manifest, where numbers may stand without quotes.
pub(super) fn amount(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => milli(text),
        Value::Number(number) => milli(&number.to_string()),
        _ => None,
    }
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (key, value) in more {
        *to.entry(key.clone()).or_default() += value;
    }
}

/// The nodes that may take a pod of this template, whatever they have room for; unknown if the
/// template says what is not understood here.
pub(super) fn candidates<'a>(spec: &Value, nodes: &'a [Object]) -> Result<Vec<&'a Object>, String> {
    let wanted = texts(spec.get("nodeSelector"));
    let terms = spec.pointer(
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let mut found = Vec::new();
    for node in nodes {
        let labels = node.labels();
        let ready = node
            .items("/status/conditions")
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        let open = ready
            && node.at("/spec/unschedulable") != Some(&Value::Bool(true))
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
            && node
                .items("/spec/taints")
                .iter()
                .all(|t| tolerated(spec, t));
        if !open {
            continue;
        }
        let mut any = terms.is_none();
        for term in items(terms) {
            let mut all = true;
            for requirement in items(term.get("matchExpressions")) {
                all &= holds(requirement, &labels)
                    .ok_or("its node affinity has an unknown operator")?;
            }
            for requirement in items(term.get("matchFields")) {
                let name = BTreeMap::from([("metadata.name".to_owned(), node.name().to_owned())]);
                all &=
                    holds(requirement, &name).ok_or("its node affinity has an unknown operator")?;
            }
            any |= all;
        }
        if any {
            found.push(node);
        }
    }
    Ok(found)
}

fn tolerated(spec: &Value, taint: &Value) -> bool {
    if taint["effect"] == "PreferNoSchedule" {
        return true;
    }
    items(spec.get("tolerations")).iter().any(|toleration| {
        let key = toleration["key"].as_str().unwrap_or("");
        let effect = toleration["effect"].as_str().unwrap_or("");
        let exists = toleration["operator"] == "Exists";
        let value = |v: &Value| v["value"].as_str().unwrap_or("").to_owned();
        (effect.is_empty() || taint["effect"] == effect)
            && ((key.is_empty() && exists) || taint["key"] == key)
            && (exists || value(toleration) == value(taint))
    })
}

/// What one more pod needs, and what each of the nodes has free beside the pods that are there.
fn need_and_free(spec: &Value, open: &[&Object], pods: &[Object]) -> (Amounts, Vec<Amounts>) {
    let mut need = amounts(spec, "requests");
    need.insert("pods".to_owned(), 1000);
    let mut used: BTreeMap<&str, Amounts> = BTreeMap::new();
    for pod in pods.iter().filter(|p| !is_finished(p)) {
        let node = pod.text("/spec/nodeName");
        let mut own = amounts(&pod.value()["spec"], "requests");
        own.insert("pods".to_owned(), 1000);
        add(used.entry(node).or_default(), &own);
    }
    let free = open.iter().map(|node| {
        let mut free = Amounts::new();
        let allocatable = node.at("/status/allocatable").and_then(Value::as_object);
        for (key, value) in allocatable.into_iter().flatten() {
            let taken = used.get(node.name()).and_then(|u| u.get(key)).copied();
            free.insert(key.clone(), amount(value).unwrap_or(0) - taken.unwrap_or(0));
        }
        free
    });
    (need, free.collect())
}

fn has_room(free: &Amounts, need: &Amounts) -> bool {
    need.iter()
        .all(|(key, value)| free.get(key).copied().unwrap_or(0) >= *value)
}

/// Whether one more pod of a template fits on each node that may take it, as a DaemonSet's surge needs.
pub(super) fn fits_each(spec: &Value, nodes: &[Object], pods: &[Object]) -> Fit {
    let open = match candidates(spec, nodes) {
        Ok(open) => open,
        Err(why) => return Fit::Unknown(why),
    };
    let (need, free) = need_and_free(spec, &open, pods);
    let full: Vec<&str> = open
        .iter()
        .zip(&free)
        .filter(|(_, free)| !has_room(free, &need))
        .map(|(node, _)| node.name())
        .collect();
    if full.is_empty() {
        return Fit::Yes;
    }
    let shown = full
        .iter()
        .take(5)
        .copied()
        .collect::<Vec<_>>()
        .join("`, `");
    Fit::No(format!(
        "{} of the {} nodes that may take its pods have no room for one more: `{shown}`{}",
        full.len(),
        open.len(),
        if full.len() > 5 { ", …" } else { "" }
    ))
}

/// Whether `count` more pods of a template fit beside the pods that are there.
pub(super) fn fits(spec: &Value, count: i64, nodes: &[Object], pods: &[Object]) -> Fit {
    let open = match candidates(spec, nodes) {
        Ok(open) => open,
        Err(why) => return Fit::Unknown(why),
    };
    let (mut need, free) = need_and_free(spec, &open, pods);
    let mut placed = 0;
    for mut free in free {
        while placed < count && has_room(&free, &need) {
            for (key, value) in &need {
                *free.entry(key.clone()).or_default() -= value;
            }
            placed += 1;
        }
    }
    if placed < count {
        need.remove("pods");
        let asks: Vec<String> = need
            .iter()
            .map(|(key, value)| format!("{key} {}", shown(key, *value)))
            .collect();
        let each = if asks.is_empty() {
            String::new()
        } else {
            format!(" that ask for {} each", asks.join(", "))
        };
        return Fit::No(format!(
            "{placed} of {count} more pods{each} fit on the {} of {} nodes that may take them",
            open.len(),
            nodes.len()
        ));
    }
    match unjudged(spec, open.len()) {
        Some(what) => Fit::Unknown(format!("its requests fit, but its {what} was not judged")),
        None => Fit::Yes,
    }
}

/// What of a template the scheduler heeds and this file does not, where so many nodes may take it.
fn unjudged(spec: &Value, nodes: usize) -> Option<&'static str> {
    let has = |pointer: &str| !items(spec.pointer(pointer)).is_empty();
    if has("/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution") {
        return Some("anti-affinity to other pods");
    }
    if has("/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution") {
        return Some("affinity to other pods");
    }
    let spread = items(spec.get("topologySpreadConstraints"));
    if spread
        .iter()
        .any(|c| c["whenUnsatisfiable"] == "DoNotSchedule")
    {
        return Some("topology spread");
    }
    if !items(spec.get("resourceClaims")).is_empty() {
        return Some("resource claims");
    }
    // A volume may be bound to a zone, or to a node.
    let mut volumes = items(spec.get("volumes")).iter();
    if nodes > 1 && volumes.any(|v| v["persistentVolumeClaim"].is_object()) {
        return Some("volumes' places");
    }
    let scheduler = spec["schedulerName"]
        .as_str()
        .unwrap_or("default-scheduler");
    (scheduler != "default-scheduler").then_some("own scheduler")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, cpu: &str, spec: Value) -> Object {
        Object::new(json!({
            "kind": "Node", "metadata": {"name": name, "labels": {"zone": name}}, "spec": spec,
            "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "3"},
                "conditions": [{"type": "Ready", "status": "True"}]},
        }))
    }

    fn pod(node: &str, cpu: &str, phase: &str) -> Object {
        Object::new(json!({
            "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": phase},
            "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu}}}]},
        }))
    }

    fn asks(cpu: &str) -> Value {
        json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]})
    }

    #[test]
    fn requests_count_sidecars_and_the_largest_init_container() {
        let request = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "containers": [{"resources": request("100m")}, {"resources": request("1")}],
            "initContainers": [
                {"restartPolicy": "Always", "resources": request("200m")},
                {"resources": request("500m")},
            ],
            "overhead": {"cpu": "50m"},
        });
        assert_eq!(amounts(&spec, "requests")["cpu"], 1350);
        let large = json!({"containers": [{}], "initContainers": [{"resources": request("2")}]});
        assert_eq!(amounts(&large, "requests")["cpu"], 2000);
        assert!(amounts(&json!({}), "requests").is_empty());
        // What only limits name is asked for too, for each container by itself.
        let limited = json!({"containers": [
            {"resources": {"limits": {"cpu": "2", "memory": "1"}, "requests": {"cpu": "1"}}},
            {"resources": {"limits": {"cpu": "3"}}},
        ]});
        assert_eq!(amounts(&limited, "requests")["cpu"], 4000);
        assert_eq!(amounts(&limited, "requests")["memory"], 1000);
        assert_eq!(amounts(&limited, "limits")["cpu"], 5000);
    }

    #[test]
    fn pods_fit_where_requests_taints_and_selectors_leave_room() {
        let nodes = [node("a", "2", json!({})), node("b", "2", json!({}))];
        let used = [pod("a", "1500m", "Running"), pod("b", "2", "Succeeded")];
        assert_eq!(fits(&asks("500m"), 4, &nodes, &used), Fit::Yes);
        assert_eq!(
            fits(&asks("1"), 3, &nodes, &used),
            Fit::No("2 of 3 more pods that ask for cpu 1 each fit on the 2 of 2 nodes that may take them".into())
        );
        // Three pods a node.
        assert!(matches!(fits(&json!({}), 6, &nodes, &used), Fit::No(_)));
        let mut only = asks("500m");
        only["nodeSelector"] = json!({"zone": "a"});
        assert_eq!(fits(&only, 1, &nodes, &used), Fit::Yes);
        assert!(matches!(fits(&only, 2, &nodes, &used), Fit::No(_)));
        let mut affine = asks("500m");
        affine["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["c"]}]}]}}});
        assert!(matches!(fits(&affine, 1, &nodes, &used), Fit::No(_)));
        let mut spread = asks("500m");
        spread["topologySpreadConstraints"] = json!([{"whenUnsatisfiable": "DoNotSchedule"}]);
        assert!(matches!(fits(&spread, 1, &nodes, &used), Fit::Unknown(_)));
        let mut bound = asks("500m");
        bound["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "d"}}]);
        assert!(matches!(fits(&bound, 1, &nodes, &used), Fit::Unknown(_)));
        assert_eq!(fits(&bound, 1, &nodes[..1], &used), Fit::Yes);
        assert_eq!(fits_each(&asks("500m"), &nodes, &used), Fit::Yes);
        assert_eq!(
            fits_each(&asks("1"), &nodes, &used),
            Fit::No(
                "1 of the 2 nodes that may take its pods have no room for one more: `a`".into()
            )
        );
        let closed = [
            node("a", "2", json!({"unschedulable": true})),
            node(
                "b",
                "2",
                json!({"taints": [{"key": "only", "value": "db", "effect": "NoSchedule"}]}),
            ),
        ];
        assert!(matches!(fits(&asks("1"), 1, &closed, &[]), Fit::No(_)));
        let mut tolerant = asks("1");
        tolerant["tolerations"] = json!([{"key": "only", "value": "db"}]);
        assert_eq!(fits(&tolerant, 1, &closed, &[]), Fit::Yes);
        tolerant["tolerations"][0]["value"] = json!("web");
        assert!(matches!(fits(&tolerant, 1, &closed, &[]), Fit::No(_)));
    }
}
