//! The row of a pod: what its containers do, in one word.

use serde_json::{Value, json};

use super::time;

/// The cells of a pod.
pub fn cells(pod: &Value) -> Vec<Value> {
    let status = &pod["status"];
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let statuses = list(&status["containerStatuses"]);
    let native = native_sidecars(pod);
    let init_statuses = list(&status["initContainerStatuses"]);
    let total = list(&pod["spec"]["containers"]).len() + native.len();
    let is_native = |s: &&Value| {
        s["name"]
            .as_str()
            .is_some_and(|n| native.iter().any(|m| m == n))
    };
    let ready = statuses
        .iter()
        .filter(|s| s["ready"] == true && !s["state"]["running"].is_null())
        .count()
        + init_statuses
            .iter()
            .filter(is_native)
            .filter(|s| s["ready"] == true && s["started"] == true)
            .count();
    let restarts: i64 = statuses
        .iter()
        .chain(init_statuses.iter().filter(is_native))
        .filter_map(|s| s["restartCount"].as_i64())
        .sum();
    let or_none = |v: &Value| match v.as_str() {
        None | Some("") => "<none>".to_owned(),
        Some(text) => text.to_owned(),
    };
    vec![
        pod["metadata"]["name"].clone(),
        format!("{ready}/{total}").into(),
        word(pod).into(),
        restarts.to_string().into(),
        time::since(&pod["metadata"]["creationTimestamp"]).into(),
        or_none(&status["podIP"]).into(),
        or_none(&pod["spec"]["nodeName"]).into(),
        or_none(&status["nominatedNodeName"]).into(),
        gates(pod).into(),
    ]
}

/// A finished pod says so in its row.
pub fn row_conditions(kind: &str, object: &Value) -> Option<Value> {
    let (reason, message) = match (kind, object["status"]["phase"].as_str()) {
        ("Pod", Some("Succeeded")) => ("Succeeded", "The pod has completed successfully."),
        ("Pod", Some("Failed")) => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

fn native_sidecars(pod: &Value) -> Vec<String> {
    let init = pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten();
    init.filter(|c| c["restartPolicy"] == "Always")
        .filter_map(|c| c["name"].as_str())
        .map(str::to_owned)
        .collect()
}

fn gates(pod: &Value) -> String {
    let Some(gates) = pod["spec"]["readinessGates"]
        .as_array()
        .filter(|g| !g.is_empty())
    else {
        return "<none>".to_owned();
    };
    let met = gates.iter().filter(|gate| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
    });
    format!("{}/{}", met.count(), gates.len())
}

/// The order of these rules is that of the real printer: init containers speak before the others,
/// deletion before all.
fn word(pod: &Value) -> String {
    let status = &pod["status"];
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let mut word = text(&status["phase"]);
    if !text(&status["reason"]).is_empty() {
        word = text(&status["reason"]);
    }
    let native = native_sidecars(pod);
    let init_total = pod["spec"]["initContainers"].as_array().map_or(0, Vec::len);
    let mut initialising = false;
    let init = status["initContainerStatuses"]
        .as_array()
        .into_iter()
        .flatten();
    for (at, container) in init.into_iter().enumerate() {
        let state = &container["state"];
        let is_native = container["name"]
            .as_str()
            .is_some_and(|n| native.iter().any(|m| m == n));
        if state["terminated"]["exitCode"] == 0 || (is_native && container["started"] == true) {
            continue;
        }
        let waiting = text(&state["waiting"]["reason"]);
        word = if !state["terminated"].is_null() {
            match text(&state["terminated"]["reason"]).as_str() {
                "" => format!("Init:ExitCode:{}", state["terminated"]["exitCode"]),
                reason => format!("Init:{reason}"),
            }
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{init_total}")
        };
        initialising = true;
        break;
    }
    let initialised = status["conditions"].as_array().is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Initialized" && c["status"] == "True")
    });
    if !initialising || initialised {
        let mut running = false;
        let containers = status["containerStatuses"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for container in containers.iter().rev() {
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            let ended = text(&state["terminated"]["reason"]);
            if !waiting.is_empty() {
                word = waiting;
            } else if !ended.is_empty() {
                word = ended;
            } else if !state["terminated"].is_null() {
                word = format!("ExitCode:{}", state["terminated"]["exitCode"]);
            } else if container["ready"] == true && !state["running"].is_null() {
                running = true;
            }
        }
        if word == "Completed" && running {
            let ready = status["conditions"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
            });
            let other = if ready { "Running" } else { "NotReady" };
            other.clone_into(&mut word);
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        if status["reason"] == "NodeLost" {
            return "Unknown".to_owned();
        }
        let phase = text(&status["phase"]);
        if phase != "Failed" && phase != "Succeeded" {
            return "Terminating".to_owned();
        }
    }
    word
}
