//! Strategic merge patch: a merge patch that merges the lists of built-in types by key.
//!
//! The rules, and the order of merged lists, are those of
//! `k8s.io/apimachinery/pkg/util/strategicpatch`: an item that is new stands before the items that only
//! the server has, unless `$setElementOrder` says otherwise.

use serde_json::{Map, Value};

use super::super::schema::{Field, Kind, Struct};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Merges a patch into an object of a type.
pub fn apply(target: &mut Value, patch: &Value, of: &'static Struct) -> Result<(), String> {
    merge_maps(target, patch, Some(&Kind::Struct(of.name)))
}

/// How a field of a map merges.
struct Rule<'a> {
    kind: Option<&'a Kind>,
    field: Option<&'a Field>,
}

impl Rule<'_> {
    /// The key by which its list merges; empty for scalars; `None` when lists replace each other.
    fn merge_key(&self) -> Option<&'static str> {
        self.field.and_then(|f| f.merge)
    }

    fn item(&self) -> Option<&Kind> {
        match self.kind {
            Some(Kind::List(of)) => Some(of),
            _ => None,
        }
    }
}

fn rule<'a>(kind: Option<&'a Kind>, name: &str) -> Rule<'a> {
    match kind {
        Some(Kind::Map(of)) => Rule {
            kind: Some(of),
            field: None,
        },
        Some(kind) => {
            let field = kind.fields().and_then(|s| s.field(name));
            Rule {
                kind: field.map(|f| &f.kind),
                field,
            }
        }
        None => Rule {
            kind: None,
            field: None,
        },
    }
}

fn merge_maps(target: &mut Value, patch: &Value, kind: Option<&Kind>) -> Result<(), String> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove(DIRECTIVE);
            *target = Value::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(format!("unknown patch type found: {other}"));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else {
        return Ok(());
    };
    if let Some(keep) = patch.get(RETAIN).and_then(Value::as_array) {
        target.retain(|key, _| keep.iter().any(|k| k == key));
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE) {
            take_scalars(target, name, value);
        } else if let Some(name) = key.strip_prefix(ORDER) {
            merge_in_order(target, name, value, patch.get(name), &rule(kind, name))?;
        } else if !key.starts_with('$') && !patch.contains_key(&format!("{ORDER}{key}")) {
            merge_field(target, key, value, &rule(kind, key))?;
        }
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    rule: &Rule<'_>,
) -> Result<(), String> {
    if value.is_null() {
        target.remove(key);
        return Ok(());
    }
    let Some(is) = target.get_mut(key) else {
        target.insert(key.to_owned(), plain(value));
        return Ok(());
    };
    match (&*is, value) {
        (Value::Object(_), Value::Object(_)) if rule.field.is_some_and(|f| f.replace) => {
            *is = plain(value);
        }
        (Value::Object(_), Value::Object(_)) => merge_maps(is, value, rule.kind)?,
        (Value::Array(original), Value::Array(wanted)) => {
            *is = match rule.merge_key() {
                Some(by) => Value::Array(merge_lists(original, wanted, by, rule)?),
                None => plain(value),
            };
        }
        _ => *is = plain(value),
    }
    Ok(())
}

/// A value that is new: without directives and nulls.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(key, value)| !value.is_null() && !is_directive(key))
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
        ),
        Value::Array(items) => items
            .iter()
            .filter(|i| i.get(DIRECTIVE).is_none())
            .map(plain)
            .collect(),
        other => other.clone(),
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN || key.starts_with(ORDER) || key.starts_with(DELETE)
}

fn take_scalars(target: &mut Map<String, Value>, name: &str, gone: &Value) {
    let gone = gone.as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(items)) = target.get_mut(name) {
        items.retain(|item| !gone.contains(item));
    }
}

/// A list whose patch says in which order its items are to stand.
fn merge_in_order(
    target: &mut Map<String, Value>,
    name: &str,
    order: &Value,
    patch: Option<&Value>,
    rule: &Rule<'_>,
) -> Result<(), String> {
    let order = order.as_array().cloned().unwrap_or_default();
    let key = rule.merge_key().unwrap_or_default();
    let original = target.get(name).and_then(Value::as_array).cloned();
    let wanted = patch.and_then(Value::as_array);
    let merged = match (&original, wanted) {
        (None, None) => return Ok(()),
        (Some(original), None) => original.clone(),
        (None, Some(wanted)) => wanted.iter().map(plain).collect(),
        (Some(original), Some(wanted)) => merge_lists(original, wanted, key, rule)?,
    };
    let (listed, others) = split(merged, &order, key);
    let original = original.unwrap_or_default();
    let merged = in_order(listed, others, &order, &original, key);
    target.insert(name.to_owned(), Value::Array(merged));
    Ok(())
}

fn merge_lists(
    original: &[Value],
    patch: &[Value],
    key: &str,
    rule: &Rule<'_>,
) -> Result<Vec<Value>, String> {
    let scalars = key.is_empty() || patch.iter().chain(original).all(|i| !i.is_object());
    if scalars {
        let mut both: Vec<Value> = original.to_vec();
        both.extend(patch.iter().cloned());
        let mut merged: Vec<Value> = Vec::new();
        for item in both {
            if !merged.contains(&item) {
                merged.push(item);
            }
        }
        let (listed, others) = split(merged, patch, key);
        return Ok(in_order(listed, others, patch, original, key));
    }
    let (mut merged, patch) = with_directives(original, patch, key)?;
    for item in &patch {
        let value = key_of(item, key)?;
        match merged.iter_mut().find(|m| m.get(key) == Some(value)) {
            Some(found) => merge_maps(found, item, rule.item())?,
            None => merged.push(plain(item)),
        }
    }
    for item in &merged {
        key_of(item, key)?;
    }
    let (listed, others) = split(merged, &patch, key);
    Ok(in_order(listed, others, &patch, original, key))
}

/// Carries out `$patch` in the items of a list; what remains of both sides is to be merged.
fn with_directives(
    original: &[Value],
    patch: &[Value],
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), String> {
    let mut kept = original.to_vec();
    let mut wanted = Vec::new();
    let mut replace = false;
    for item in patch {
        match item.get(DIRECTIVE).and_then(Value::as_str) {
            None | Some("merge") => wanted.push(item.clone()),
            Some("replace") => replace = true,
            Some("delete") => {
                let value = item.get(key).ok_or_else(|| {
                    format!(
                        "delete patch type with no merge key defined: {}",
                        go_print(item)
                    )
                })?;
                kept.retain(|k| k.get(key) != Some(value));
            }
            Some(other) => return Err(format!("unexpected patch type found: {other}")),
        }
    }
    if replace {
        return Ok((wanted, Vec::new()));
    }
    Ok((kept, wanted))
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, String> {
    item.get(key).ok_or_else(|| {
        format!(
            "map: {} does not contain declared merge key: {key}",
            go_print(item)
        )
    })
}

/// The items that a list names, and the others.
fn split(items: Vec<Value>, list: &[Value], key: &str) -> (Vec<Value>, Vec<Value>) {
    items
        .into_iter()
        .partition(|item| position(item, list, key).is_some())
}

fn position(item: &Value, list: &[Value], key: &str) -> Option<usize> {
    list.iter().position(|other| {
        if key.is_empty() {
            other == item
        } else {
            other.get(key).is_some() && other.get(key) == item.get(key)
        }
    })
}

/// Both parts sorted by their lists, then merged by the order that the server had.
fn in_order(
    mut listed: Vec<Value>,
    mut others: Vec<Value>,
    order: &[Value],
    original: &[Value],
    key: &str,
) -> Vec<Value> {
    listed.sort_by_key(|item| position(item, order, key));
    others.sort_by_key(|item| position(item, original, key));
    let mut merged = Vec::with_capacity(listed.len() + others.len());
    let (mut listed, mut others) = (listed.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let first_is_other = match (others.peek(), listed.peek()) {
            (None, None) => return merged,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(item)) => {
                let found = position(other, original, key).zip(position(item, original, key));
                found.is_some_and(|(o, i)| o < i)
            }
        };
        merged.extend(if first_is_other {
            others.next()
        } else {
            listed.next()
        });
    }
}

/// A value as Go's `%v` prints it.
fn go_print(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_print).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let items: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", go_print(v)))
                .collect();
            format!("map[{}]", items.join(" "))
        }
        other => other.to_string(),
    }
}
