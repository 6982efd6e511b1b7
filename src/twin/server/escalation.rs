//! Nobody grants what they do not have: roles and bindings are checked against the rights of who writes them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::kube::Status;
use super::objects::Ask;
use super::rbac::{self, Attributes};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or a binding that gives more than its writer has. Who may `escalate` a role, or `bind` it,
/// may do so all the same.
///
/// # Errors
/// 403 with the rules that are not held.
pub fn require(ask: &Ask<'_>, object: &Value) -> Result<(), Status> {
    let resource = &ask.view.resource;
    if resource.group != GROUP {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (verb, plural, role, rules) = match resource.plural.as_str() {
        "clusterroles" | "roles" => (
            "escalate",
            resource.plural.as_str(),
            name,
            object["rules"].clone(),
        ),
        _ => {
            let reference = &object["roleRef"];
            let role = reference["name"].as_str().unwrap_or_default();
            let (plural, namespace) = match reference["kind"].as_str() {
                Some("ClusterRole") => ("clusterroles", ""),
                _ => ("roles", ask.path.namespace.as_str()),
            };
            let found = ask.kube.get(&format!("{plural}.{GROUP}"), namespace, role);
            let rules = found.map(|r| r["rules"].clone()).unwrap_or_default();
            ("bind", plural, role, rules)
        }
    };
    let wish = Attributes {
        verb,
        group: GROUP,
        resource: plural,
        namespace: &ask.path.namespace,
        name: role,
        ..Attributes::default()
    };
    if rbac::allowed(ask.kube, ask.actor, &wish) {
        return Ok(());
    }
    let lacking = lacking(ask, &rules);
    if lacking.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = ask
        .actor
        .groups
        .iter()
        .map(|g| format!("\"{g}\""))
        .collect();
    let why = format!(
        "user \"{}\" (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        ask.actor.user,
        groups.join(" "),
        lacking.join("\n")
    );
    Err(Status::forbidden(resource, name, &why))
}

/// The rules that the writer does not have, by group and resource, as Go prints them.
fn lacking(ask: &Ask<'_>, rules: &Value) -> Vec<String> {
    let texts = |v: &Value| -> Vec<String> {
        let all = v.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let (plural, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                for verb in texts(&rule["verbs"]) {
                    let wish = Attributes {
                        verb: &verb,
                        group: &group,
                        resource: plural,
                        subresource,
                        namespace: &ask.path.namespace,
                        ..Attributes::default()
                    };
                    if !rbac::allowed(ask.kube, ask.actor, &wish) {
                        let key = (group.clone(), resource.clone());
                        let verbs = found.entry(key).or_default();
                        verbs.extend((!verbs.contains(&verb)).then_some(verb));
                    }
                }
            }
        }
    }
    let shown = |((group, resource), verbs): (&(String, String), &Vec<String>)| {
        let verbs: Vec<String> = verbs.iter().map(|v| format!("\"{v}\"")).collect();
        format!(
            "{{APIGroups:[\"{group}\"], Resources:[\"{resource}\"], Verbs:[{}]}}",
            verbs.join(" ")
        )
    };
    found.iter().map(shown).collect()
}
