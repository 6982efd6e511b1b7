//! Patches: what a PATCH request makes of an object.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

use super::schema::Struct;
use super::status::Status;

pub use merge::merge;

/// A patch by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/apply-patch+yaml`.
    Apply,
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

impl PatchKind {
    /// The kind that a content type names.
    pub fn of(content_type: &str) -> Option<PatchKind> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/apply-patch+yaml" => Some(PatchKind::Apply),
            "application/json-patch+json" => Some(PatchKind::Json),
            "application/merge-patch+json" => Some(PatchKind::Merge),
            "application/strategic-merge-patch+json" => Some(PatchKind::Strategic),
            _ => None,
        }
    }
}

/// Applies a patch that is not a server-side apply. `of` is the object's type, if it is built in.
///
/// # Errors
/// The patch cannot be read (400) or applied (422).
pub fn apply(
    kind: PatchKind,
    object: &Value,
    patch: &Value,
    of: Option<&'static Struct>,
) -> Result<Value, Status> {
    let mut patched = object.clone();
    match kind {
        PatchKind::Json => {
            let Some(operations) = patch.as_array() else {
                return Err(decoding(&format!(
                    "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                    go_type(patch)
                )));
            };
            json::apply(&mut patched, operations).map_err(|()| rejected())?;
        }
        PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => {
            if !patch.is_object() {
                return Err(decoding(&format!(
                    "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    go_type(patch)
                )));
            }
            match (kind, of) {
                (PatchKind::Strategic, Some(of)) => {
                    strategic::apply(&mut patched, patch, of).map_err(Status::internal)?;
                }
                _ => merge(&mut patched, patch),
            }
        }
    }
    Ok(patched)
}

/// 400: the patch is not what its content type says.
pub fn decoding(why: &str) -> Status {
    Status::bad_request(format!("error decoding patch: {why}"))
}

fn rejected() -> Status {
    let mut status = Status::new(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    status.details = Some(serde_json::json!({}));
    status
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;
