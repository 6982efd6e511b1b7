//! Reading a request's body as the typed decoder of an API server does.
//!
//! Three steps, because their errors differ: the text is JSON ([`parse`]); no field is unknown or twice
//! ([`unknown_fields`], only when asked); each value has its field's type ([`check_types`]). What is
//! stored has then been through the type once ([`normalise`]): nulls, unknown fields and empty optional
//! values are gone.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::{Kind, Struct, Zero};

/// The `fieldValidation` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Unknown fields are dropped.
    Ignore,
    /// Unknown fields are refused.
    Strict,
    /// Unknown fields are dropped and named in a warning.
    #[default]
    Warn,
}

/// Reads JSON; the error is worded as Go's decoder words it.
///
/// # Errors
/// The text is not JSON.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map_err(|e| go_syntax_error(text, &e))
}

/// Fields that the type does not have, and fields that are there twice, in the order of the text.
/// `of` is the type of the object; without it only fields that are twice there are found.
pub fn unknown_fields(text: &[u8], of: Option<&'static Struct>) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(tree) = serde_json::from_slice::<Tree>(text) {
        match of {
            Some(of) => walk_struct(&tree, of, "", &mut found),
            None => walk_any(&tree, "", &mut found),
        }
    }
    found
}

/// Checks the type of each value; the error is worded as Go's decoder words it.
///
/// # Errors
/// The first value of a wrong type.
pub fn check_types(value: &Value, of: &'static Struct) -> Result<(), String> {
    check_struct(value, of, "")
}

/// Brings a value to the form in which it is stored: as Go would write it after reading it.
pub fn normalise(value: &mut Value, of: &'static Struct) {
    let Value::Object(map) = value else { return };
    map.retain(|name, value| {
        of.field(name).is_some_and(|field| {
            if !value.is_null() {
                normalise_kind(value, &field.kind);
            }
            !(value.is_null() || field.zero == Zero::Omitted && is_zero(value, &field.kind))
        })
    });
    for field in &of.fields {
        if field.zero == Zero::Pointer || map.contains_key(field.name) {
            continue;
        }
        let absent = match (&field.kind, field.zero) {
            // `omitempty` does nothing for a struct.
            (Kind::Struct(_), _) => json!({}),
            (Kind::Int32 | Kind::Int64, Zero::Always) => json!(0),
            (Kind::Bool, Zero::Always) => json!(false),
            (Kind::String, Zero::Always) if !field.tag.is_empty() => json!(""),
            _ => continue,
        };
        let mut value = absent;
        normalise_kind(&mut value, &field.kind);
        map.insert(field.name.to_owned(), value);
    }
}

/// A patched object as errors quote it: its own fields by name, those below in the order in which Go
/// writes them.
pub fn quoted(value: &Value, of: &'static Struct) -> String {
    let Value::Object(map) = value else {
        return value.to_string();
    };
    let fields = map.iter().map(|(name, value)| {
        let kind = of.field(name).map(|f| &f.kind);
        format!("\"{name}\":{}", in_order(value, kind))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn in_order(value: &Value, kind: Option<&Kind>) -> String {
    match (kind, value) {
        (Some(Kind::List(of)), Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|i| in_order(i, Some(of))).collect();
            format!("[{}]", items.join(","))
        }
        (Some(kind), Value::Object(map)) => {
            let Some(of) = kind.fields() else {
                return value.to_string();
            };
            let mut fields: Vec<_> = map
                .iter()
                .map(|(name, value)| (of.field(name), name, value))
                .collect();
            fields.sort_by_key(|(field, _, _)| field.map(|f| &f.tag));
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(field, name, value)| {
                    format!("\"{name}\":{}", in_order(value, field.map(|f| &f.kind)))
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        (_, value) => value.to_string(),
    }
}

/// JSON that keeps order and repetition.
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tree, D::Error> {
        from.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = map.next_entry()? {
            items.push(item);
        }
        Ok(Tree::Map(items))
    }
}

fn walk_struct(tree: &Tree, of: &'static Struct, path: &str, found: &mut Vec<String>) {
    let Tree::Map(items) = tree else { return };
    for (at, (name, value)) in items.iter().enumerate() {
        let here = join(path, name);
        match of.field(name) {
            None => found.push(format!("unknown field \"{here}\"")),
            Some(_) if items[..at].iter().any(|(n, _)| n == name) => {
                found.push(format!("duplicate field \"{here}\""));
            }
            Some(field) => walk_kind(value, &field.kind, &here, found),
        }
    }
}

fn walk_kind(tree: &Tree, kind: &Kind, path: &str, found: &mut Vec<String>) {
    match (kind, tree) {
        (Kind::List(of), Tree::List(items)) => {
            for (at, item) in items.iter().enumerate() {
                walk_kind(item, of, &format!("{path}[{at}]"), found);
            }
        }
        (Kind::Map(of), Tree::Map(items)) => {
            for (at, (name, value)) in items.iter().enumerate() {
                if items[..at].iter().any(|(n, _)| n == name) {
                    found.push(format!("duplicate field \"{}\"", join(path, name)));
                }
                walk_kind(value, of, &join(path, name), found);
            }
        }
        (Kind::Any, tree) => walk_any(tree, path, found),
        (kind, tree) => {
            if let Some(of) = kind.fields() {
                walk_struct(tree, of, path, found);
            }
        }
    }
}

fn walk_any(tree: &Tree, path: &str, found: &mut Vec<String>) {
    match tree {
        Tree::Leaf => {}
        Tree::List(items) => {
            for (at, item) in items.iter().enumerate() {
                walk_any(item, &format!("{path}[{at}]"), found);
            }
        }
        Tree::Map(items) => {
            for (at, (name, value)) in items.iter().enumerate() {
                if items[..at].iter().any(|(n, _)| n == name) {
                    found.push(format!("duplicate field \"{}\"", join(path, name)));
                }
                walk_any(value, &join(path, name), found);
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn check_struct(value: &Value, of: &'static Struct, path: &str) -> Result<(), String> {
    let Value::Object(map) = value else {
        return Ok(());
    };
    for (name, value) in map {
        if let Some(field) = of.field(name) {
            check_kind(value, &field.kind, of, &join(path, name))?;
        }
    }
    Ok(())
}

fn check_kind(value: &Value, kind: &Kind, of: &'static Struct, path: &str) -> Result<(), String> {
    let wrong = |what: &str| {
        Err(format!(
            "json: cannot unmarshal {what} into Go struct field {}.{path} of type {}",
            of.go_name(),
            kind.go()
        ))
    };
    match (kind, value) {
        (_, Value::Null) | (Kind::Any, _) | (Kind::Bool, Value::Bool(_)) => Ok(()),
        (Kind::String, Value::String(_)) | (Kind::Float, Value::Number(_)) => Ok(()),
        (Kind::Int32 | Kind::Int64, Value::Number(number)) => {
            let fits = match kind {
                Kind::Int32 => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                _ => number.as_i64().is_some(),
            };
            if fits {
                Ok(())
            } else {
                wrong(&format!("number {number}"))
            }
        }
        (Kind::IntOrString, Value::String(_)) => Ok(()),
        (Kind::IntOrString, Value::Number(n)) if n.as_i64().is_some() => Ok(()),
        (Kind::Quantity, Value::String(text)) => quantity(text),
        (Kind::Quantity, Value::Number(number)) => quantity(&number.to_string()),
        (Kind::Bytes, Value::String(text)) => base64(text),
        (Kind::Time, Value::String(text)) => time(text, "2006-01-02T15:04:05Z07:00"),
        (Kind::MicroTime, Value::String(text)) => time(text, "2006-01-02T15:04:05.000000Z07:00"),
        (Kind::List(inner), Value::Array(items)) => items
            .iter()
            .try_for_each(|item| check_kind(item, inner, of, path)),
        (Kind::Map(inner), Value::Object(map)) => map
            .values()
            .try_for_each(|item| check_kind(item, inner, of, path)),
        (Kind::Struct(_), Value::Object(_)) => match kind.fields() {
            Some(inner) => check_struct(value, inner, path),
            None => Ok(()),
        },
        (_, value) => wrong(go_type_of(value)),
    }
}

fn go_type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn time(text: &str, layout: &str) -> Result<(), String> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "parsing time \"{text}\" as \"{layout}\": cannot parse \"{text}\" as \"2006\""
    ))
}

fn quantity(text: &str) -> Result<(), String> {
    if super::super::quantity::parse(text).is_some() {
        return Ok(());
    }
    Err(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            .to_owned(),
    )
}

fn base64(text: &str) -> Result<(), String> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD
        .decode(text)
        .map(|_| ())
        .map_err(|error| {
            let at = match error {
                ::base64::DecodeError::InvalidByte(at, _)
                | ::base64::DecodeError::InvalidLastSymbol { offset: at, .. } => at,
                _ => text.len().saturating_sub(text.len() % 4),
            };
            format!("illegal base64 data at input byte {at}")
        })
}

fn normalise_kind(value: &mut Value, kind: &Kind) {
    match (kind, &mut *value) {
        (Kind::List(of), Value::Array(items)) => {
            for item in items {
                normalise_kind(item, of);
            }
        }
        (Kind::Map(of), Value::Object(map)) => {
            for item in map.values_mut() {
                // A null in a map of texts is Go's zero value.
                if item.is_null() && **of == Kind::String {
                    *item = Value::String(String::new());
                }
                normalise_kind(item, of);
            }
        }
        (Kind::Quantity, Value::String(text)) => {
            if let Some(canonical) = super::super::quantity::canonical(text) {
                *value = canonical.into();
            }
        }
        (Kind::Quantity, Value::Number(number)) => {
            *value = super::super::quantity::canonical(&number.to_string()).into();
        }
        (Kind::Time, Value::String(text)) => {
            if let Ok(at) = text.parse::<jiff::Timestamp>() {
                *value = format!("{:.0}", Seconds(at)).into();
            }
        }
        (Kind::MicroTime, Value::String(text)) => {
            if let Ok(at) = text.parse::<jiff::Timestamp>() {
                *value = format!("{at:.6}").into();
            }
        }
        (Kind::Struct(_), Value::Object(_)) => {
            if let Some(of) = kind.fields() {
                normalise(value, of);
            }
        }
        _ => {}
    }
}

/// A time cut to whole seconds, as `metav1.Time` writes it.
struct Seconds(jiff::Timestamp);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = jiff::Timestamp::from_second(self.0.as_second()).unwrap_or(self.0);
        write!(f, "{whole}")
    }
}

/// Whether a value is its type's zero, structs apart.
fn is_zero(value: &Value, kind: &Kind) -> bool {
    match (kind, value) {
        (Kind::List(_), Value::Array(items)) => items.is_empty(),
        (Kind::Map(_), Value::Object(map)) => map.is_empty(),
        (Kind::String | Kind::Bytes, Value::String(text)) => text.is_empty(),
        (Kind::Bool, Value::Bool(is)) => !is,
        (Kind::Int32 | Kind::Int64, Value::Number(n)) => n.as_i64() == Some(0),
        _ => false,
    }
}

fn go_syntax_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() || text.is_empty() {
        return "unexpected end of JSON input".to_owned();
    }
    let at = offset(text, error.line(), error.column());
    let found = String::from_utf8_lossy(&text[at.min(text.len())..])
        .chars()
        .next()
        .unwrap_or(' ');
    let place = match text[..at.min(text.len())].trim_ascii_end().last() {
        Some(b'{') => "object key string",
        _ => "value",
    };
    format!("invalid character '{found}' looking for beginning of {place}")
}

fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive(|b| *b == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    start + column.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::TYPES;
    use super::*;

    #[test]
    fn unknown_and_repeated_fields_are_named_in_the_order_of_the_text() {
        let text = br#"{"metadata":{"name":"b","name":"b"},"data":{"k":"v"},"wat":1}"#;
        let found = unknown_fields(text, TYPES.get("core.v1.ConfigMap"));
        assert_eq!(
            found,
            ["duplicate field \"metadata.name\"", "unknown field \"wat\""]
        );
    }

    #[test]
    fn a_wrong_type_is_worded_as_go_words_it() {
        let deployment = TYPES.get("apps.v1.Deployment").unwrap();
        let error = check_types(&json!({"spec": {"replicas": "three"}}), deployment).unwrap_err();
        assert_eq!(
            error,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
    }

    #[test]
    fn what_is_stored_has_no_nulls_and_no_unknown_fields() {
        let mut map =
            json!({"metadata": {"labels": null, "lables": {}}, "data": {"a": null}, "x": 1});
        normalise(&mut map, TYPES.get("core.v1.ConfigMap").unwrap());
        assert_eq!(map, json!({"metadata": {}, "data": {"a": ""}}));
    }
}
