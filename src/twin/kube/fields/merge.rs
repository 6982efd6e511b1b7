//! Merging an applied configuration into an object, and taking fields out of one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Set, Shape, Type, parts};

/// Merges a configuration into a live object.
pub fn merge(live: &Value, wanted: &Value, of: Type<'_>) -> Value {
    let shape = of.shape(wanted);
    match shape {
        Shape::Whole => wanted.clone(),
        Shape::Struct(_) | Shape::Map(_) => {
            let mut merged = live.as_object().cloned().unwrap_or_default();
            for (name, value, kind) in parts(shape, wanted) {
                let key = name.trim_start_matches("f:").to_owned();
                let value = match merged.get(&key) {
                    Some(known) => merge(known, value, kind),
                    None => value.clone(),
                };
                merged.insert(key, value);
            }
            Value::Object(merged)
        }
        Shape::Keyed(..) | Shape::Values => Value::Array(merge_lists(live, wanted, shape)),
    }
}

/// Items of both lists: shared ones in the order of the configuration, others where they were.
fn merge_lists(live: &Value, wanted: &Value, shape: Shape<'_>) -> Vec<Value> {
    let left = parts(shape, live);
    let right = parts(shape, wanted);
    let on_left: BTreeMap<&str, &Value> = left.iter().map(|(n, v, _)| (n.as_str(), *v)).collect();
    let on_right: BTreeMap<&str, &Value> = right.iter().map(|(n, v, _)| (n.as_str(), *v)).collect();
    let both = |name: &str, kind: Type<'_>| match (on_left.get(name), on_right.get(name)) {
        (Some(l), Some(r)) => merge(l, r, kind),
        (Some(v), None) | (None, Some(v)) => (*v).clone(),
        (None, None) => Value::Null,
    };
    let mut shared = right
        .iter()
        .map(|(n, _, _)| n.as_str())
        .filter(|n| on_left.contains_key(n))
        .peekable();
    let mut merged: Vec<&str> = Vec::new();
    let mut out = Vec::new();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let (Some((ln, _, kind)), Some((rn, _, _))) = (left.get(l), right.get(r)) {
            if ln == rn {
                merged.push(ln);
                out.push(both(ln, *kind));
                l += 1;
                r += 1;
                shared.next();
                continue;
            }
            let other_is_next = shared.peek().is_some_and(|next| *next != ln.as_str());
            if on_right.contains_key(ln.as_str()) && other_is_next {
                l += 1;
                continue;
            }
        }
        if let Some((ln, _, kind)) = left.get(l) {
            if !on_right.contains_key(ln.as_str()) {
                out.push(both(ln, *kind));
                l += 1;
                continue;
            }
            if merged.contains(&ln.as_str()) {
                l += 1;
            }
        }
        if let Some((rn, _, kind)) = right.get(r) {
            merged.push(rn);
            out.push(both(rn, *kind));
            r += 1;
            if shared.peek() == Some(&rn.as_str()) {
                shared.next();
            }
        }
    }
    out
}

/// Takes the fields of a set out of an object. A struct or a map that loses its last field stays.
pub fn remove(object: &mut Value, gone: &Set, of: Type<'_>) {
    let shape = of.shape(object);
    match shape {
        Shape::Whole => {}
        Shape::Struct(_) | Shape::Map(_) => {
            let kinds: Vec<(String, bool)> = parts(shape, object)
                .into_iter()
                .map(|(name, value, kind)| {
                    let whole = matches!(kind.shape(value), Shape::Whole);
                    (name, whole)
                })
                .collect();
            for (name, whole) in kinds {
                let Some(below) = gone.below(&name) else {
                    continue;
                };
                let key = name.trim_start_matches("f:").to_owned();
                if below.is_member()
                    && (whole || all_gone(object.get(&key), below, child(of, object, &name)))
                {
                    if let Some(map) = object.as_object_mut() {
                        map.remove(&key);
                    }
                } else {
                    remove_below(object, &key, &name, below, of);
                }
            }
        }
        Shape::Keyed(..) | Shape::Values => {
            let items = parts(shape, object);
            let mut kept = Vec::new();
            for (name, value, kind) in items {
                match gone.below(&name) {
                    Some(below) if below.is_member() => {}
                    Some(below) => {
                        let mut left = value.clone();
                        remove(&mut left, below, kind);
                        kept.push(left);
                    }
                    None => kept.push(value.clone()),
                }
            }
            *object = Value::Array(kept);
        }
    }
}

fn child<'a>(of: Type<'a>, object: &Value, name: &str) -> Type<'a> {
    parts(of.shape(object), object)
        .into_iter()
        .find(|(n, _, _)| n == name)
        .map_or(Type::Deduced, |(_, _, kind)| kind)
}

/// Whether nothing is left of a value when a set is taken out of it.
fn all_gone(value: Option<&Value>, gone: &Set, of: Type<'_>) -> bool {
    let Some(value) = value else { return true };
    let mut left = value.clone();
    remove(&mut left, gone, of);
    left.as_object().is_some_and(Map::is_empty) || left.as_array().is_some_and(Vec::is_empty)
}

fn remove_below(object: &mut Value, key: &str, name: &str, below: &Set, of: Type<'_>) {
    let kind = child(of, object, name);
    let Some(value) = object.get_mut(key) else {
        return;
    };
    remove(value, below, kind);
    let emptied = value.as_array().is_some_and(Vec::is_empty);
    if emptied && let Some(map) = object.as_object_mut() {
        map.remove(key);
    }
}
