//! The types of parameters, and how text and documents become them.

use serde_json::{Number, Value};
use std::fmt;

/// The type of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A list of any values.
    Array,
    /// `true` or `false`.
    Bool,
    /// A number with a fraction; a whole one serves.
    Float,
    /// A whole number of 64 bits.
    Int,
    /// Text.
    String,
    /// Text that is one of these, written `string(a, b)`.
    OneOf(Vec<String>),
}

impl Kind {
    /// The type that a header names.
    pub(super) fn parse(text: &str) -> Option<Kind> {
        Some(match text {
            "array" => Kind::Array,
            "bool" => Kind::Bool,
            "float" => Kind::Float,
            "int" => Kind::Int,
            "string" => Kind::String,
            _ => {
                let inner = text.strip_prefix("string(")?.strip_suffix(')')?;
                let names: Vec<String> = inner
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect();
                if names.iter().any(String::is_empty) {
                    return None;
                }
                Kind::OneOf(names)
            }
        })
    }

    /// The type of a literal, for headers that leave it out.
    pub(super) fn of(value: &Value) -> Option<Kind> {
        Some(match value {
            Value::Array(_) => Kind::Array,
            Value::Bool(_) => Kind::Bool,
            Value::Number(number) if number.is_f64() => Kind::Float,
            Value::Number(_) => Kind::Int,
            Value::String(_) => Kind::String,
            Value::Null | Value::Object(_) => return None,
        })
    }

    /// A value from a document, if it is of this type.
    pub(super) fn accept(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Kind::Array, Value::Array(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::String, Value::String(_)) => Some(value.clone()),
            (Kind::Int, Value::Number(number)) if number.is_i64() => Some(value.clone()),
            (Kind::Float, Value::Number(number)) => {
                Number::from_f64(number.as_f64()?).map(Value::Number)
            }
            (Kind::OneOf(names), Value::String(name)) if names.contains(name) => {
                Some(value.clone())
            }
            _ => None,
        }
    }

    /// A value from the command line, if it can be read as this type. Arrays are JSON, or separated
    /// by commas; the empty text is the empty array.
    pub(super) fn read(&self, text: &str) -> Option<Value> {
        match self {
            Kind::Array if text.trim_start().starts_with('[') => {
                self.accept(&serde_json::from_str(text).ok()?)
            }
            Kind::Array if text.trim().is_empty() => Some(Value::Array(Vec::new())),
            Kind::Array => Some(
                text.split(',')
                    .map(|item| Value::from(item.trim()))
                    .collect(),
            ),
            Kind::Bool => text.parse().ok().map(Value::Bool),
            Kind::Float => Number::from_f64(text.parse().ok()?).map(Value::Number),
            Kind::Int => text.parse::<i64>().ok().map(Value::from),
            Kind::String | Kind::OneOf(_) => self.accept(&text.into()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Array => "array",
            Kind::Bool => "bool",
            Kind::Float => "float",
            Kind::Int => "int",
            Kind::String => "string",
            Kind::OneOf(names) => return write!(f, "one of {}", ticked(names)),
        })
    }
}

/// `a`, `b`.
pub(super) fn ticked(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
