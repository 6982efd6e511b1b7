//! ResourceQuotas: how many objects of a kind a namespace may have.
//!
//! Amounts (CPU, memory, storage) and scopes are not modelled: such a quota is refused, as is a LimitRange,
//! because nothing would keep it.

use serde_json::{Map, Value, json};

use super::Kube;
use super::ops::Target;
use super::registry::Resource;
use super::status::Status;

/// Resources that a quota may name without `count/`.
const PLAIN: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// Refuses a quota that would not be kept.
///
/// # Errors
/// 501.
pub fn require_modelled(resource: &Resource, object: &Value) -> Result<(), Status> {
    match resource.name().as_str() {
        "limitranges" => Err(Status::not_modelled("limit ranges")),
        "resourcequotas" => {
            let spec = &object["spec"];
            if !spec["scopes"].is_null() || !spec["scopeSelector"].is_null() {
                return Err(Status::not_modelled("scopes of resource quotas"));
            }
            match keys(&spec["hard"]).find(|key| counted(key).is_none()) {
                Some(key) => Err(Status::not_modelled(&format!("quotas of {key}"))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Refuses a new object that a quota of its namespace has no room for.
///
/// # Errors
/// 403.
pub fn admit(kube: &Kube, target: Target<'_>) -> Result<(), Status> {
    if target.namespace.is_empty() {
        return Ok(());
    }
    let name = target.resource.name();
    for quota in kube.list("resourcequotas", Some(target.namespace)) {
        let hard = &quota["spec"]["hard"];
        let used = used(kube, target.namespace, hard);
        let full: Vec<&str> = keys(hard)
            .filter(|key| counted(key) == Some(name.as_str()))
            .filter(|key| number(&used[*key]) >= number(&hard[*key]))
            .collect();
        if full.is_empty() {
            continue;
        }
        let listed = |of: &dyn Fn(&str) -> String| {
            let parts: Vec<String> = full.iter().map(|k| format!("{k}={}", of(k))).collect();
            parts.join(",")
        };
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            text(&quota["metadata"]["name"]),
            listed(&|_| "1".to_owned()),
            listed(&|key| text(&used[key])),
            listed(&|key| text(&hard[key])),
        );
        return Err(Status::forbidden(target.resource, target.name, &why));
    }
    Ok(())
}

/// The resources that a quota counts, by their stored names.
pub fn resources(hard: &Value) -> impl Iterator<Item = &str> {
    keys(hard).filter_map(counted)
}

/// How much of a quota is used.
pub fn used(kube: &Kube, namespace: &str, hard: &Value) -> Value {
    let count = |key: &str| {
        let all = kube.list(counted(key)?, Some(namespace));
        let counts = |o: &&std::sync::Arc<Value>| {
            // A pod that has ended takes no room, but where all are counted.
            let phase = o["status"]["phase"].as_str();
            key != "pods" || !matches!(phase, Some("Succeeded" | "Failed"))
        };
        Some(all.iter().filter(counts).count())
    };
    let used: Map<String, Value> = keys(hard)
        .filter_map(|key| Some((key.to_owned(), json!(count(key)?.to_string()))))
        .collect();
    Value::Object(used)
}

fn keys(hard: &Value) -> impl Iterator<Item = &str> {
    let all = hard.as_object().into_iter().flatten();
    all.map(|(key, _)| key.as_str())
}

fn counted(key: &str) -> Option<&str> {
    key.strip_prefix("count/")
        .or_else(|| PLAIN.contains(&key).then_some(key))
}

fn number(quantity: &Value) -> i128 {
    let text = quantity.as_str().unwrap_or_default();
    super::quantity::parse(text).map_or(0, |(thousandths, _)| thousandths)
}
