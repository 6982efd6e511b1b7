//! `managedFields`' notation of sets of fields (`FieldsV1`), and the paths of a merge patch.
//!
//! `f:NAME` is a field, `k:{…}` the list element with these keys, `v:…` the list element with that value,
//! `i:N` the one at that place, `.` the map or element itself (structured-merge-diff, `fieldpath`).

use serde_json::Value;

/// The fields of a set, as they are shown.
pub(super) fn leaves(set: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(set, &mut Vec::new(), &mut found);
    found
}

fn walk(set: &Value, path: &mut Vec<String>, found: &mut Vec<String>) {
    let Some(map) = set.as_object() else { return };
    let below: Vec<_> = map.iter().filter(|(key, _)| *key != ".").collect();
    if below.is_empty() && !path.is_empty() {
        found.push(shown(path));
    }
    for (key, inner) in below {
        path.push(segment(key));
        walk(inner, path, found);
        path.pop();
    }
}

/// A segment of `FieldsV1` as a segment of a path: list elements begin with `[`.
fn segment(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => name.to_owned(),
        Some(("k", keys)) => {
            let keys: Value = serde_json::from_str(keys).unwrap_or_default();
            let pairs: Vec<String> = keys
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key}={}", plain(value)))
                .collect();
            format!("[{}]", pairs.join(","))
        }
        Some((_, value)) => format!("[{value}]"),
        None => key.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A path as a script would write it: `metadata.labels["istio.io/rev"]`, `spec.replicas`.
pub(super) fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        let simple = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if part.starts_with('[') {
            text.push_str(part);
        } else if !simple {
            text.push_str("[\"");
            text.push_str(part);
            text.push_str("\"]");
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

/// Whether a set has the field at a path, something below it, or an atomic whole that it is part of.
pub(super) fn owns(set: &Value, path: &[String]) -> bool {
    let mut at = set;
    let mut above = "";
    for part in path {
        let Some(map) = at.as_object() else {
            return false;
        };
        let Some(inner) = map.get(&format!("f:{part}")) else {
            // An element of the set without anything below it is owned as a whole; `.` alone is the
            // map itself and says nothing of its fields. Labels and annotations are never owned as a
            // whole: there, an empty map was applied.
            let whole = map.is_empty() && !std::ptr::eq(at, set);
            return whole && !matches!(above, "labels" | "annotations");
        };
        at = inner;
        above = part;
    }
    true
}

/// The paths at which a merge patch would make an object different.
pub(super) fn changed_paths(object: &Value, change: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    compare(Some(object), change, &mut Vec::new(), &mut found);
    found
}

fn compare(
    now: Option<&Value>,
    change: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Vec<String>>,
) {
    if let Value::Object(map) = change {
        for (key, inner) in map {
            path.push(key.clone());
            compare(now.and_then(|n| n.get(key)), inner, path, found);
            path.pop();
        }
        return;
    }
    let same = match (now, change) {
        (None | Some(Value::Null), Value::Null) => true,
        (Some(now), change) => now == change,
        (None, _) => false,
    };
    if !same {
        found.push(path.clone());
    }
}
