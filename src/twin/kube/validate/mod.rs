//! What may be written: metadata of every kind, and the fields of the kinds that matter here, with
//! the wording of `k8s.io/apimachinery/pkg/util/validation` and `k8s.io/kubernetes/pkg/apis`.

mod meta;
mod names;

use serde_json::Value;

use super::ops::Part;
use super::registry::Resource;
use super::status::Cause;

pub use names::{dns_1035, label_value, qualified_name, subdomain};

/// What is wrong with a new object.
pub fn create(resource: &Resource, object: &Value) -> Vec<Cause> {
    meta::create(resource, object)
}

/// What is wrong with the new state of an object.
pub fn update(resource: &Resource, before: &Value, after: &Value, part: Part) -> Vec<Cause> {
    let _ = part;
    meta::update(resource, before, after)
}
