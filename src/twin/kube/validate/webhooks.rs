//! Webhook configurations.

use serde_json::Value;

use super::super::status::Cause;
use super::{check, names};

/// What is wrong with the webhooks of a configuration.
pub fn webhooks(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (at, hook) in object["webhooks"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let path = format!("webhooks[{at}]");
        let name = hook["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if let Some(why) = names::subdomain(name) {
            causes.push(Cause::invalid(format!("{path}.name"), &hook["name"], why));
        } else if name.split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            causes.push(Cause::invalid(format!("{path}.name"), &hook["name"], why));
        }
        versions(&path, hook, &mut causes);
        for (at, rule) in hook["rules"].as_array().into_iter().flatten().enumerate() {
            for field in ["operations", "apiGroups", "apiVersions", "resources"] {
                if rule[field].as_array().is_none_or(Vec::is_empty) {
                    causes.push(Cause::required(format!("{path}.rules[{at}].{field}"), ""));
                }
            }
        }
        let known = ["Fail", "Ignore"];
        causes.extend(check::one_of(
            &format!("{path}.failurePolicy"),
            &hook["failurePolicy"],
            &known,
        ));
        let known = ["Equivalent", "Exact"];
        causes.extend(check::one_of(
            &format!("{path}.matchPolicy"),
            &hook["matchPolicy"],
            &known,
        ));
        let known = ["None", "NoneOnDryRun"];
        if hook["sideEffects"].as_str().unwrap_or_default().is_empty() {
            let why = "must specify one of None, NoneOnDryRun";
            causes.push(Cause::required(format!("{path}.sideEffects"), why));
        } else {
            causes.extend(check::one_of(
                &format!("{path}.sideEffects"),
                &hook["sideEffects"],
                &known,
            ));
        }
        let timeout = &hook["timeoutSeconds"];
        if timeout.as_i64().is_some_and(|t| !(1..=30).contains(&t)) {
            let why = "the timeout value must be between 1 and 30 seconds";
            causes.push(Cause::invalid(
                format!("{path}.timeoutSeconds"),
                timeout,
                why,
            ));
        }
        causes.extend(check::selector(
            &format!("{path}.namespaceSelector"),
            &hook["namespaceSelector"],
        ));
        causes.extend(check::selector(
            &format!("{path}.objectSelector"),
            &hook["objectSelector"],
        ));
        client(
            &format!("{path}.clientConfig"),
            &hook["clientConfig"],
            &mut causes,
        );
    }
    causes
}

fn versions(path: &str, hook: &Value, causes: &mut Vec<Cause>) {
    let field = format!("{path}.admissionReviewVersions");
    match hook["admissionReviewVersions"].as_array() {
        Some(all) if !all.is_empty() => {
            if !all.iter().any(|v| v == "v1" || v == "v1beta1") {
                let why = "must include at least one of v1, v1beta1";
                causes.push(Cause::invalid(field, &hook["admissionReviewVersions"], why));
            }
        }
        _ => causes.push(Cause::required(field, "must specify one of v1, v1beta1")),
    }
}

fn client(path: &str, config: &Value, causes: &mut Vec<Cause>) {
    let (url, service) = (&config["url"], &config["service"]);
    if url.is_null() == service.is_null() {
        let why = "exactly one of url or service is required";
        causes.push(if url.is_null() {
            Cause::required(path, why)
        } else {
            Cause::required(format!("{path}.url"), why)
        });
        return;
    }
    if !service.is_null() {
        for field in ["name", "namespace"] {
            if service[field].as_str().unwrap_or_default().is_empty() {
                let why = format!("service {field} is required");
                causes.push(Cause::required(format!("{path}.service.{field}"), &why));
            }
        }
    }
}
