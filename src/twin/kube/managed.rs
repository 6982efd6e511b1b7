//! Which manager owns which fields: `metadata.managedFields`.

use serde_json::Value;

use super::ops::{Part, Target, WriteOptions};

/// Who is entered for a write.
#[derive(Clone, Debug)]
pub struct Manager {
    /// `manager`.
    pub name: String,
    /// `apiVersion`.
    pub api_version: String,
    /// `subresource`.
    pub subresource: &'static str,
}

impl Manager {
    /// The manager of a write.
    pub fn of(target: Target<'_>, options: &WriteOptions, part: Part) -> Manager {
        Manager {
            name: options.manager.clone(),
            api_version: target.api_version(),
            subresource: part.subresource(),
        }
    }
}

/// Enters the manager of a new object.
pub fn created(_object: &mut Value, _manager: &Manager) {}

/// Enters the manager of what changed.
pub fn updated(_before: &Value, _after: &mut Value, _manager: &Manager) {}

/// Whether a write changes nothing.
pub fn same(before: &Value, after: &Value) -> bool {
    before == after
}
