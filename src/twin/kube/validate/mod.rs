//! What may be written: metadata of every kind, and the fields of the kinds that matter here, with
//! the wording of `k8s.io/apimachinery/pkg/util/validation` and `k8s.io/kubernetes/pkg/apis`.
//!
//! Rules about fields that nothing in the twin reads are left out; the types of all fields have been
//! checked before.

mod check;
mod kinds;
mod meta;
mod names;
mod template;
mod webhooks;
mod workloads;

use serde_json::Value;

use super::custom;
use super::ops::Part;
use super::registry::Resource;
use super::status::Cause;

pub use names::{label_value, qualified_name};

/// What is wrong with a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes = meta::create(resource, object);
    causes.extend(body(resource, object));
    causes
}

/// What a request changes in the metadata that nobody may. What it leaves out stays as it is.
pub fn fixed(before: &Value, after: &Value, part: Part) -> Vec<Cause> {
    if part != Part::Main {
        return Vec::new();
    }
    let (was, is) = (&before["metadata"], &after["metadata"]);
    let field = "deletionTimestamp";
    let cause = check::immutable("metadata.deletionTimestamp", &was[field], &is[field]);
    cause.filter(|_| !is[field].is_null()).into_iter().collect()
}

/// What is wrong with the new state of an object.
pub fn update(resource: &Resource, before: &Value, after: &Value, part: Part) -> Vec<Cause> {
    let mut causes = meta::update(resource, before, after);
    if part == Part::Status {
        if resource.built_in {
            causes.extend(kinds::status(&resource.kind, after));
        }
        return causes;
    }
    let fixed = if resource.built_in {
        kinds::unchangeable(&resource.kind, before, after)
    } else {
        Vec::new()
    };
    let body = body(resource, after);
    // A real server has one order for these and the other for all else.
    if resource.built_in && resource.kind == "DaemonSet" {
        causes.extend(fixed.into_iter().chain(body));
    } else {
        causes.extend(body.into_iter().chain(fixed));
    }
    causes
}

fn body(resource: &Resource, object: &Value) -> Vec<Cause> {
    if resource.built_in {
        return kinds::body(&resource.kind, object);
    }
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let version = version.rsplit('/').next().unwrap_or_default();
    let custom = resource.version(version).and_then(|v| v.custom.as_ref());
    custom
        .map(|c| custom::validate(object, &c.schema))
        .unwrap_or_default()
}
