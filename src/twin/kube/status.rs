//! The answer of an API server that is not an object: `meta.k8s.io/v1 Status`, with the wording of
//! kube-apiserver 1.34.

use std::fmt;

use serde_json::{Map, Value, json};

use super::registry::Resource;

/// A refusal (or, rarely, a success without an object).
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, `NotFound`; some errors of a real server have none.
    pub reason: Option<&'static str>,
    /// The sentence that kubectl prints.
    pub message: String,
    /// `details`: which object, and causes by field.
    pub details: Option<Value>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Path of the field, `spec.replicas`.
    pub field: String,
    /// `FieldValueInvalid` and the like.
    pub reason: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Cause {
    /// A value that breaks a rule. `value` is as Go prints it: strings quoted, others as JSON.
    pub fn invalid(field: impl Into<String>, value: &Value, why: impl fmt::Display) -> Cause {
        Cause {
            field: field.into(),
            reason: "FieldValueInvalid",
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    /// A value that must be there.
    pub fn required(field: impl Into<String>, why: &str) -> Cause {
        let colon = if why.is_empty() { "" } else { ": " };
        Cause {
            field: field.into(),
            reason: "FieldValueRequired",
            message: format!("Required value{colon}{why}"),
        }
    }

    /// A value outside of a closed list; `known` in the order to print.
    pub fn unsupported(
        field: impl Into<String>,
        value: impl fmt::Display,
        known: &[&str],
    ) -> Cause {
        let known: Vec<String> = known.iter().map(|k| format!("\"{k}\"")).collect();
        Cause {
            field: field.into(),
            reason: "FieldValueNotSupported",
            message: format!(
                "Unsupported value: {value}: supported values: {}",
                known.join(", ")
            ),
        }
    }

    /// A value that may not be there.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Cause {
        Cause {
            field: field.into(),
            reason: "FieldValueForbidden",
            message: format!("Forbidden: {why}"),
        }
    }

    /// A value that is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
        Cause {
            field: field.into(),
            reason: "FieldValueDuplicate",
            message: format!("Duplicate value: {value}"),
        }
    }

    /// For a value that is given as text because Go prints it in a form of its own: without quotes.
    pub fn unquoted(mut self) -> Cause {
        if let Some(rest) = self.message.strip_prefix("Invalid value: ")
            && let Some((text, why)) = split_quoted(rest)
        {
            self.message = format!("Invalid value: {text}{why}");
        }
        self
    }

    fn to_value(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

/// The text of the JSON string that a text begins with, and what follows.
fn split_quoted(text: &str) -> Option<(String, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let first = values.next()?.ok()?;
    let at = values.byte_offset();
    Some((first, &text[at..]))
}

impl Status {
    /// An answer with a code, a reason and a sentence.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status {
            code,
            reason: Some(reason),
            message: message.into(),
            details: None,
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    /// 404 of one object.
    pub fn not_found(resource: &Resource, name: &str) -> Status {
        Status::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", resource.name()),
        )
        .about(resource, name)
    }

    /// 404 of a resource or path that is not served.
    pub fn no_resource() -> Status {
        let mut status = Status::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        status.details = Some(json!({}));
        status
    }

    /// 405.
    pub fn method_not_allowed() -> Status {
        let mut status = Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(json!({}));
        status
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Status {
        Status::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", resource.name()),
        )
        .about(resource, name)
    }

    /// 409: the object is not what the caller thought.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Status {
        Status::new(
            409,
            "Conflict",
            format!(
                "Operation cannot be fulfilled on {} \"{name}\": {why}",
                resource.name()
            ),
        )
        .about(resource, name)
    }

    /// 409: the resource version given is not the newest one.
    pub fn modified(resource: &Resource, name: &str) -> Status {
        Status::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 410: the resource version given has been forgotten.
    pub fn expired(asked: u64, oldest: u64) -> Status {
        Status::new(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    /// 403 by a rule of the server (authorisation words its own).
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Status {
        let name_part = if name.is_empty() {
            String::new()
        } else {
            format!(" \"{name}\"")
        };
        Status::new(
            403,
            "Forbidden",
            format!("{}{name_part} is forbidden: {why}", resource.name()),
        )
        .about(resource, name)
    }

    /// 422 with the fields that are wrong.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Status {
        let mut texts: Vec<String> = Vec::new();
        for cause in causes {
            let text = format!("{}: {}", cause.field, cause.message);
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut status = Status::new(
            422,
            "Invalid",
            format!("{qualified} \"{name}\" is invalid: {joined}"),
        );
        let mut details = Map::new();
        for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
            if !text.is_empty() {
                details.insert(key.to_owned(), text.into());
            }
        }
        details.insert(
            "causes".to_owned(),
            causes.iter().map(Cause::to_value).collect(),
        );
        status.details = Some(Value::Object(details));
        status
    }

    /// 500 as an API server gives it: without a reason.
    pub fn internal(message: impl Into<String>) -> Status {
        Status {
            code: 500,
            reason: None,
            message: message.into(),
            details: None,
        }
    }

    /// 500 of something that the server asked and that did not answer (webhooks).
    pub fn internal_error(message: impl fmt::Display) -> Status {
        let mut status = Status::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        );
        status.details = Some(json!({"causes": [{"message": message.to_string()}]}));
        status
    }

    /// 501: what the twin does not model it refuses, so that nobody takes silence for success.
    pub fn not_modelled(what: &str) -> Status {
        Status::new(
            501,
            "NotImplemented",
            format!("the twin does not model {what}"),
        )
    }

    /// Adds which object it is about.
    pub fn about(mut self, resource: &Resource, name: &str) -> Status {
        let mut details = Map::new();
        for (key, text) in [
            ("name", name),
            ("group", resource.group.as_str()),
            ("kind", resource.plural.as_str()),
        ] {
            if !text.is_empty() {
                details.insert(key.to_owned(), text.into());
            }
        }
        self.details = Some(Value::Object(details));
        self
    }

    /// Adds one cause to the details.
    pub fn with_cause(mut self, reason: &str, message: &str) -> Status {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["causes"] = json!([{"reason": reason, "message": message}]);
        self
    }

    /// Adds the seconds after which to ask again.
    pub fn retry_after(mut self, seconds: u64) -> Status {
        let details = self.details.get_or_insert_with(|| json!({}));
        details["retryAfterSeconds"] = seconds.into();
        self
    }

    /// The document that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "code": self.code,
        });
        if let Some(reason) = self.reason {
            status["reason"] = reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}
