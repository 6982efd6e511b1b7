//! Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs.

use serde_json::{Value, json};

use super::super::status::Cause;
use super::{check, template};

const MISMATCH: &str = "`selector` does not match template `labels`";

/// What is wrong with a Deployment.
pub fn deployment(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::from_iter(check::not_negative("spec.replicas", &spec["replicas"]));
    causes.extend(selector(spec, "deployment"));
    causes.extend(matching(spec));
    causes.extend(template::template("spec.template", &spec["template"]));
    causes.extend(always(spec));
    causes.extend(strategy(&spec["strategy"]));
    causes.extend(check::not_negative(
        "spec.minReadySeconds",
        &spec["minReadySeconds"],
    ));
    causes.extend(check::not_negative(
        "spec.revisionHistoryLimit",
        &spec["revisionHistoryLimit"],
    ));
    let deadline = &spec["progressDeadlineSeconds"];
    causes.extend(check::not_negative(
        "spec.progressDeadlineSeconds",
        deadline,
    ));
    if deadline
        .as_i64()
        .is_some_and(|d| d <= check::amount(&spec["minReadySeconds"]))
    {
        let why = "must be greater than minReadySeconds";
        causes.push(Cause::invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            why,
        ));
    }
    causes
}

/// What is wrong with the status of a Deployment.
pub fn deployment_status(status: &Value) -> Vec<Cause> {
    let fields = [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
    ];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let mut causes: Vec<Cause> = fields
        .iter()
        .filter_map(|f| check::not_negative(&format!("status.{f}"), &status[*f]))
        .collect();
    let more = |field: &str, than: &str| {
        (number(field) > number(than)).then(|| {
            let why = format!("cannot be greater than status.{than}");
            Cause::invalid(format!("status.{field}"), &number(field).into(), why)
        })
    };
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        causes.extend(more(field, "replicas"));
    }
    causes.extend(more("availableReplicas", "readyReplicas"));
    causes
}

/// What is wrong with a ReplicaSet.
pub fn replica_set(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::from_iter(check::not_negative("spec.replicas", &spec["replicas"]));
    causes.extend(check::not_negative(
        "spec.minReadySeconds",
        &spec["minReadySeconds"],
    ));
    causes.extend(selector(spec, "deployment"));
    causes.extend(matching(spec));
    causes.extend(template::template("spec.template", &spec["template"]));
    causes.extend(always(spec));
    causes
}

/// What is wrong with a StatefulSet.
pub fn stateful_set(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let policy = &spec["podManagementPolicy"];
    if !matches!(policy.as_str(), Some("OrderedReady" | "Parallel")) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        causes.push(Cause::invalid("spec.podManagementPolicy", policy, why));
    }
    let update = &spec["updateStrategy"];
    let rolling = &update["rollingUpdate"];
    match update["type"].as_str() {
        Some("OnDelete") if !rolling.is_null() => causes.push(Cause::invalid(
            "spec.updateStrategy.rollingUpdate",
            rolling,
            "only allowed for updateStrategy 'RollingUpdate'",
        )),
        Some("OnDelete") => {}
        Some("RollingUpdate") => {
            let path = "spec.updateStrategy.rollingUpdate.partition";
            causes.extend(check::not_negative(path, &rolling["partition"]));
        }
        _ => causes.push(
            Cause::invalid(
                "spec.updateStrategy",
                &json!(go_strategy(update)),
                "must be 'RollingUpdate' or 'OnDelete'",
            )
            .unquoted(),
        ),
    }
    causes.extend(check::not_negative("spec.replicas", &spec["replicas"]));
    causes.extend(check::not_negative(
        "spec.minReadySeconds",
        &spec["minReadySeconds"],
    ));
    causes.extend(selector(spec, "statefulset"));
    causes.extend(matching(spec));
    causes.extend(template::template("spec.template", &spec["template"]));
    causes.extend(always(spec));
    causes
}

/// What is wrong with a DaemonSet.
pub fn daemon_set(spec: &Value) -> Vec<Cause> {
    let mut causes = check::selector("spec.selector", &spec["selector"]);
    causes.extend(matching(spec));
    if check::is_empty_selector(&spec["selector"]) {
        let why = "empty selector is invalid for daemonset";
        causes.push(Cause::invalid("spec.selector", &spec["selector"], why));
    }
    causes.extend(template::template("spec.template", &spec["template"]));
    causes.extend(always(spec));
    causes.extend(check::not_negative(
        "spec.minReadySeconds",
        &spec["minReadySeconds"],
    ));
    let update = &spec["updateStrategy"];
    match update["type"].as_str() {
        Some("OnDelete") => {}
        Some("RollingUpdate") => {
            let path = "spec.updateStrategy.rollingUpdate";
            let (unavailable, surge) = (
                &update["rollingUpdate"]["maxUnavailable"],
                &update["rollingUpdate"]["maxSurge"],
            );
            causes.extend(check::int_or_percent(
                &format!("{path}.maxUnavailable"),
                unavailable,
            ));
            causes.extend(check::int_or_percent(&format!("{path}.maxSurge"), surge));
            match (check::amount(unavailable) != 0, check::amount(surge) != 0) {
                (true, true) => causes.push(Cause::invalid(
                    format!("{path}.maxSurge"),
                    surge,
                    "may not be set when maxUnavailable is non-zero",
                )),
                (false, false) => causes.push(Cause::required(
                    format!("{path}.maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                _ => {}
            }
        }
        _ => causes.push(Cause::unsupported(
            "spec.updateStrategy",
            go_strategy(update),
            &["OnDelete", "RollingUpdate"],
        )),
    }
    causes
}

/// What is wrong with a Job.
pub fn job(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
    ] {
        causes.extend(check::not_negative(&format!("spec.{field}"), &spec[field]));
    }
    let own = spec["selector"]["matchLabels"].as_object();
    if spec["manualSelector"] != true && own.is_some_and(|labels| labels.len() > 1) {
        let why = "`selector` not auto-generated";
        causes.push(Cause::invalid("spec.selector", &spec["selector"], why));
    }
    if !check::selects(&spec["selector"], &spec["template"]["metadata"]["labels"]) {
        let labels = &spec["template"]["metadata"]["labels"];
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            labels,
            MISMATCH,
        ));
    }
    causes.extend(template::template("spec.template", &spec["template"]));
    match spec["template"]["spec"]["restartPolicy"].as_str() {
        Some("OnFailure" | "Never") => {}
        _ => causes.push(Cause::required(
            "spec.template.spec.restartPolicy",
            "valid values: \"OnFailure\", \"Never\"",
        )),
    }
    causes
}

fn selector(spec: &Value, kind: &str) -> Vec<Cause> {
    let selector = &spec["selector"];
    if selector.is_null() {
        return vec![Cause::required("spec.selector", "")];
    }
    let mut causes = check::selector("spec.selector", selector);
    if check::is_empty_selector(selector) {
        let why = format!("empty selector is invalid for {kind}");
        causes.push(Cause::invalid("spec.selector", selector, why));
    }
    causes
}

fn matching(spec: &Value) -> Option<Cause> {
    let labels = &spec["template"]["metadata"]["labels"];
    if check::is_empty_selector(&spec["selector"]) || check::selects(&spec["selector"], labels) {
        return None;
    }
    Some(Cause::invalid(
        "spec.template.metadata.labels",
        labels,
        MISMATCH,
    ))
}

fn always(spec: &Value) -> Vec<Cause> {
    let path = "spec.template.spec.restartPolicy";
    let policy = &spec["template"]["spec"]["restartPolicy"];
    Vec::from_iter(check::one_of(path, policy, &["Always"]))
}

fn strategy(strategy: &Value) -> Vec<Cause> {
    let rolling = &strategy["rollingUpdate"];
    let path = "spec.strategy.rollingUpdate";
    let mut causes = Vec::new();
    match strategy["type"].as_str() {
        Some("Recreate") => {
            if !rolling.is_null() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                causes.push(Cause::forbidden(path, why));
            }
        }
        Some("RollingUpdate") => {
            let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
            let unavailable_path = format!("{path}.maxUnavailable");
            causes.extend(check::int_or_percent(&unavailable_path, unavailable));
            causes.extend(check::int_or_percent(&format!("{path}.maxSurge"), surge));
            if check::amount(unavailable) == 0 && check::amount(surge) == 0 {
                let why = "may not be 0 when `maxSurge` is 0";
                causes.push(Cause::invalid(&unavailable_path, unavailable, why));
            }
            causes.extend(check::at_most_100_percent(&unavailable_path, unavailable));
        }
        _ => causes.push(Cause::unsupported(
            "spec.strategy",
            go_strategy(strategy),
            &["Recreate", "RollingUpdate"],
        )),
    }
    causes
}

/// A strategy as Go prints its internal type, which has no JSON names.
fn go_strategy(strategy: &Value) -> String {
    let rolling = match &strategy["rollingUpdate"] {
        Value::Object(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("\"{}\":{value}", capitalised(name)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        _ => "null".to_owned(),
    };
    format!(
        "{{\"Type\":{},\"RollingUpdate\":{rolling}}}",
        strategy["type"]
    )
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// What may not change in a StatefulSet.
pub fn stateful_set_update(before: &Value, after: &Value) -> Option<Cause> {
    let mut kept = after["spec"].clone();
    for field in [
        "replicas",
        "template",
        "updateStrategy",
        "minReadySeconds",
        "ordinals",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
    ] {
        match before["spec"].get(field) {
            Some(value) => kept[field] = value.clone(),
            None => {
                if let Some(spec) = kept.as_object_mut() {
                    spec.remove(field);
                }
            }
        }
    }
    (kept != before["spec"]).then(|| {
        Cause::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
             'minReadySeconds' are forbidden",
        )
    })
}

/// What is wrong with a CronJob.
pub fn cron_job(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let schedule = spec["schedule"].as_str().unwrap_or_default();
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.is_empty() {
        causes.push(Cause::required("spec.schedule", ""));
    } else if fields.len() != 5 && !schedule.starts_with('@') {
        let why = format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        );
        causes.push(Cause::invalid("spec.schedule", &spec["schedule"], why));
    }
    causes.extend(check::one_of(
        "spec.concurrencyPolicy",
        &spec["concurrencyPolicy"],
        &["Allow", "Forbid", "Replace"],
    ));
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        causes.extend(check::not_negative(&format!("spec.{field}"), &spec[field]));
    }
    causes
}

/// What may not change in a Job.
pub fn job_update(before: &Value, after: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["completions", "selector", "template", "completionMode"] {
        let (was, is) = (&before["spec"][field], &after["spec"][field]);
        if was == is {
            continue;
        }
        let path = format!("spec.{field}");
        if field == "template" {
            // The metadata of the internal type is printed inline.
            let labels = &is["metadata"]["labels"];
            let shown = format!("{{\"labels\":{labels},\"Spec\":{}}}", is["spec"]);
            causes.push(Cause::invalid(path, &json!(shown), "field is immutable").unquoted());
        } else {
            causes.push(Cause::invalid(path, is, "field is immutable"));
        }
    }
    causes
}
