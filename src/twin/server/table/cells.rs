//! The cells of each built-in kind.

use serde_json::{Value, json};

use super::workloads::{containers, selector};
use super::{pod, time};

/// The cells of an object of a kind, one for each of its columns.
pub fn of(kind: &str, object: &Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let name = object["metadata"]["name"].clone();
    let age: Value = time::since(&object["metadata"]["creationTimestamp"]).into();
    let count = |v: &Value| -> Value { v.as_i64().unwrap_or(0).into() };
    let size = |v: &Value| {
        v.as_array()
            .map(Vec::len)
            .or(v.as_object().map(serde_json::Map::len))
            .unwrap_or(0)
    };
    let text = |v: &Value, other: &str| -> Value {
        match v.as_str() {
            None | Some("") => other.into(),
            Some(text) => text.into(),
        }
    };
    match kind {
        "Pod" => pod::cells(object),
        "APIService" => vec![name, "Local".into(), "True".into(), age],
        "ClusterRoleBinding" | "RoleBinding" => {
            let role = &object["roleRef"];
            let whole = format!("{}/{}", plain(&role["kind"]), plain(&role["name"]));
            let mut row = vec![name, whole.into(), age];
            row.extend(subjects(object));
            row
        }
        "ConfigMap" => {
            vec![
                name,
                (size(&object["data"]) + size(&object["binaryData"])).into(),
                age,
            ]
        }
        "ControllerRevision" => {
            let owner = &object["metadata"]["ownerReferences"][0];
            let whole = if owner.is_null() {
                "<none>".to_owned()
            } else {
                let group = plain(&owner["apiVersion"]);
                let group = group.split('/').next().unwrap_or_default();
                format!(
                    "{}.{group}/{}",
                    plain(&owner["kind"]).to_lowercase(),
                    plain(&owner["name"])
                )
            };
            vec![name, whole.into(), count(&object["revision"]), age]
        }
        "CronJob" => {
            let last = match status["lastScheduleTime"].as_str() {
                None => "<none>".to_owned(),
                Some(_) => time::since(&status["lastScheduleTime"]),
            };
            let template = json!({"spec": {"template": spec["jobTemplate"]["spec"]["template"]}});
            let [names, images] = containers(&template);
            vec![
                name,
                spec["schedule"].clone(),
                text(&spec["timeZone"], "<none>"),
                if spec["suspend"] == true {
                    "True"
                } else {
                    "False"
                }
                .into(),
                size(&status["active"]).into(),
                last.into(),
                age,
                names,
                images,
                selector(&spec["jobTemplate"]["spec"]["selector"]),
            ]
        }
        "DaemonSet" => {
            let [names, images] = containers(object);
            vec![
                name,
                count(&status["desiredNumberScheduled"]),
                count(&status["currentNumberScheduled"]),
                count(&status["numberReady"]),
                count(&status["updatedNumberScheduled"]),
                count(&status["numberAvailable"]),
                selector(&spec["template"]["spec"]["nodeSelector"]),
                age,
                names,
                images,
                selector(&spec["selector"]),
            ]
        }
        "Deployment" => {
            let [names, images] = containers(object);
            vec![
                name,
                format!(
                    "{}/{}",
                    count(&status["readyReplicas"]),
                    count(&spec["replicas"])
                )
                .into(),
                count(&status["updatedReplicas"]),
                count(&status["availableReplicas"]),
                age,
                names,
                images,
                selector(&spec["selector"]),
            ]
        }
        "EndpointSlice" => endpoint_slice(object, name, age),
        "Endpoints" => vec![name, endpoints(object).into(), age],
        "Event" => event(object),
        "HorizontalPodAutoscaler" => {
            let to = &spec["scaleTargetRef"];
            vec![
                name,
                format!("{}/{}", plain(&to["kind"]), plain(&to["name"])).into(),
                targets(object).into(),
                spec["minReplicas"]
                    .as_i64()
                    .map_or("<unset>".to_owned(), |n| n.to_string())
                    .into(),
                count(&spec["maxReplicas"]),
                count(&status["currentReplicas"]),
                age,
            ]
        }
        "Ingress" => {
            let rules = spec["rules"].as_array().into_iter().flatten();
            let hosts: Vec<&str> = rules.map(|r| r["host"].as_str().unwrap_or("*")).collect();
            let hosts = if hosts.is_empty() {
                "*".to_owned()
            } else {
                hosts.join(",")
            };
            let ports = if spec["tls"].is_null() {
                "80"
            } else {
                "80, 443"
            };
            let class = text(&spec["ingressClassName"], "<none>");
            vec![name, class, hosts.into(), "".into(), ports.into(), age]
        }
        "Job" => job(object, name, age),
        "Lease" => vec![name, text(&spec["holderIdentity"], ""), age],
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            vec![name, size(&object["webhooks"]).into(), age]
        }
        "Namespace" => vec![name, text(&status["phase"], ""), age],
        "NetworkPolicy" => vec![name, selector(&spec["podSelector"]), age],
        "Node" => node(object, name, age),
        "PersistentVolumeClaim" => vec![
            name,
            text(&status["phase"], ""),
            text(&spec["volumeName"], ""),
            text(&status["capacity"]["storage"], ""),
            "".into(),
            text(&spec["storageClassName"], ""),
            text(&spec["volumeAttributesClassName"], "<unset>"),
            age,
            text(&spec["volumeMode"], "<unset>"),
        ],
        "PodDisruptionBudget" => {
            let amount = |v: &Value| -> Value {
                match v {
                    Value::Null => "N/A".into(),
                    Value::String(text) => text.clone().into(),
                    other => other.to_string().into(),
                }
            };
            vec![
                name,
                amount(&spec["minAvailable"]),
                amount(&spec["maxUnavailable"]),
                count(&status["disruptionsAllowed"]),
                age,
            ]
        }
        "PriorityClass" => vec![
            name,
            count(&object["value"]),
            object["globalDefault"].as_bool().unwrap_or(false).into(),
            age,
            text(&object["preemptionPolicy"], ""),
        ],
        "ReplicaSet" | "ReplicationController" => {
            let [names, images] = containers(object);
            vec![
                name,
                count(&spec["replicas"]),
                count(&status["replicas"]),
                count(&status["readyReplicas"]),
                age,
                names,
                images,
                selector(&spec["selector"]),
            ]
        }
        "ResourceQuota" => vec![name, usage(status, false), usage(status, true), age],
        "Secret" => vec![
            name,
            text(&object["type"], ""),
            size(&object["data"]).into(),
            age,
        ],
        "Service" => service(object, name, age),
        "ServiceAccount" => vec![name, size(&object["secrets"]).into(), age],
        "StatefulSet" => {
            let [names, images] = containers(object);
            let ready = format!(
                "{}/{}",
                count(&status["readyReplicas"]),
                count(&spec["replicas"])
            );
            vec![name, ready.into(), age, names, images]
        }
        _ => vec![name, object["metadata"]["creationTimestamp"].clone()],
    }
}

/// What a quota has of requests, or of limits: `pods: 1/2, secrets: 0/1`.
fn usage(status: &Value, of_limits: bool) -> Value {
    let hard = status["hard"].as_object().into_iter().flatten();
    let parts: Vec<String> = hard
        .filter(|(key, _)| key.starts_with("limits.") == of_limits)
        .map(|(key, most)| format!("{key}: {}/{}", plain(&status["used"][key]), plain(most)))
        .collect();
    parts.join(", ").into()
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn subjects(binding: &Value) -> [Value; 3] {
    let of = |kind: &str| -> Value {
        let all = binding["subjects"].as_array().into_iter().flatten();
        let names: Vec<String> = all
            .filter(|s| s["kind"] == kind)
            .map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", plain(&s["namespace"]), plain(&s["name"])),
                _ => plain(&s["name"]),
            })
            .collect();
        names.join(", ").into()
    };
    [of("User"), of("Group"), of("ServiceAccount")]
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in object["subsets"].as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            let ip = plain(&address["ip"]);
            let ports = subset["ports"].as_array().filter(|p| !p.is_empty());
            match ports {
                None => all.push(ip),
                Some(ports) => all.extend(ports.iter().map(|p| format!("{ip}:{}", p["port"]))),
            }
        }
    }
    shortened(&all)
}

/// The first three, and how many more there are.
fn shortened(all: &[String]) -> String {
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

fn endpoint_slice(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let ports = object["ports"].as_array().into_iter().flatten();
    let ports: Vec<String> = ports.map(|p| p["port"].to_string()).collect();
    let addresses = object["endpoints"].as_array().into_iter().flatten();
    let addresses: Vec<String> = addresses
        .flat_map(|e| e["addresses"].as_array().into_iter().flatten())
        .map(plain)
        .collect();
    let or_unset = |list: &[String]| {
        if list.is_empty() {
            "<unset>".to_owned()
        } else {
            shortened(list)
        }
    };
    vec![
        name,
        object["addressType"].clone(),
        or_unset(&ports).into(),
        or_unset(&addresses).into(),
        age,
    ]
}

fn event(event: &Value) -> Vec<Value> {
    // Both groups' names of the fields.
    let field = |core: &str, new: &str| {
        let found = event.get(core).or_else(|| event.get(new));
        found.cloned().unwrap_or_default()
    };
    let of = field("involvedObject", "regarding");
    let (began, ended) = (
        field("firstTimestamp", "deprecatedFirstTimestamp"),
        field("lastTimestamp", "deprecatedLastTimestamp"),
    );
    let source = field("source", "deprecatedSource");
    let first = match began.as_str() {
        Some(_) => time::since(&began),
        None => time::since(&event["eventTime"]),
    };
    let last = match ended.as_str() {
        Some(_) => time::since(&ended),
        None => first.clone(),
    };
    let source = match (source["component"].as_str(), source["host"].as_str()) {
        (Some(component), Some(host)) => format!("{component}, {host}"),
        (Some(component), None) => component.to_owned(),
        _ => plain(&field("reportingComponent", "reportingController")),
    };
    vec![
        last.into(),
        event["type"].clone(),
        event["reason"].clone(),
        format!(
            "{}/{}",
            plain(&of["kind"]).to_lowercase(),
            plain(&of["name"])
        )
        .into(),
        plain(&of["fieldPath"]).into(),
        source.into(),
        plain(&field("message", "note")).trim().into(),
        first.into(),
        field("count", "deprecatedCount")
            .as_i64()
            .unwrap_or(1)
            .into(),
        event["metadata"]["name"].clone(),
    ]
}

fn targets(autoscaler: &Value) -> String {
    let spec = &autoscaler["spec"];
    let metrics = spec["metrics"].as_array().cloned().unwrap_or_default();
    if let Some(percent) = spec["targetCPUUtilizationPercentage"].as_i64() {
        return format!("cpu: <unknown>/{percent}%");
    }
    let shown: Vec<String> = metrics
        .iter()
        .map(|metric| {
            let (of, target) = (&metric["resource"]["name"], &metric["resource"]["target"]);
            let current = autoscaler["status"]["currentMetrics"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|c| c["resource"]["name"] == *of)
                .map(|c| &c["resource"]["current"]);
            match target["averageUtilization"].as_i64() {
                Some(percent) => {
                    let now = current
                        .and_then(|c| c["averageUtilization"].as_i64())
                        .map_or("<unknown>".to_owned(), |n| format!("{n}%"));
                    format!("{}: {now}/{percent}%", plain(of))
                }
                None => format!("<unknown>/{}", plain(&target["averageValue"])),
            }
        })
        .collect();
    if shown.is_empty() {
        "<none>".to_owned()
    } else {
        shown.join(", ")
    }
}

fn job(job: &Value, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let is = |kind: &str| {
        let all = status["conditions"].as_array();
        all.is_some_and(|c| c.iter().any(|c| c["type"] == kind && c["status"] == "True"))
    };
    let word = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if job["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let done = status["succeeded"].as_i64().unwrap_or(0);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(all), _) => format!("{done}/{all}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    };
    let at = |v: &Value| v.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let duration = match (at(&status["startTime"]), at(&status["completionTime"])) {
        (None, _) => String::new(),
        (Some(_), None) => time::since(&status["startTime"]),
        (Some(from), Some(to)) => time::human(to.as_second() - from.as_second()),
    };
    let [names, images] = containers(job);
    vec![
        name,
        word.into(),
        completions.into(),
        duration.into(),
        age,
        names,
        images,
        selector(&spec["selector"]),
    ]
}

fn node(node: &Value, name: Value, age: Value) -> Vec<Value> {
    let ready = node["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
    let mut word = match ready.and_then(|c| c["status"].as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        word.push_str(",SchedulingDisabled");
    }
    let labels = node["metadata"]["labels"].as_object();
    let mut roles: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role.to_owned()),
                None if key == "kubernetes.io/role" => Some(plain(value)),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort();
    let roles = if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| -> Value {
        let all = node["status"]["addresses"].as_array().into_iter().flatten();
        all.into_iter()
            .find(|a| a["type"] == kind)
            .map_or("<none>".into(), |a| a["address"].clone())
    };
    let info = |field: &str| -> Value {
        match node["status"]["nodeInfo"][field].as_str() {
            None | Some("") => "<unknown>".into(),
            Some(text) => text.into(),
        }
    };
    vec![
        name,
        word.into(),
        roles.into(),
        age,
        node["status"]["nodeInfo"]["kubeletVersion"]
            .as_str()
            .unwrap_or_default()
            .into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn service(service: &Value, name: Value, age: Value) -> Vec<Value> {
    let spec = &service["spec"];
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let cluster_ip = match spec["clusterIP"].as_str() {
        None | Some("") => "<none>",
        Some(ip) => ip,
    };
    let mut external: Vec<String> = spec["externalIPs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(plain)
        .collect();
    let balanced = service["status"]["loadBalancer"]["ingress"]
        .as_array()
        .into_iter()
        .flatten();
    for entry in balanced {
        external.push(
            entry["ip"]
                .as_str()
                .or(entry["hostname"].as_str())
                .unwrap_or_default()
                .to_owned(),
        );
    }
    let external = match kind {
        "ExternalName" => plain(&spec["externalName"]),
        _ if !external.is_empty() => external.join(","),
        "LoadBalancer" => "<pending>".to_owned(),
        _ => "<none>".to_owned(),
    };
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or("TCP");
            match p["nodePort"].as_i64().filter(|n| *n > 0) {
                Some(node) => format!("{}:{node}/{protocol}", p["port"]),
                None => format!("{}/{protocol}", p["port"]),
            }
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    };
    vec![
        name,
        kind.into(),
        cluster_ip.into(),
        external.into(),
        ports.into(),
        age,
        selector(&spec["selector"]),
    ]
}
