//! What a change changed, for people: a unified diff of the object's YAML.
//!
//! Separate because two things are decided here and nowhere else: which fields are the server's
//! own and no part of any change, and that no value of a Secret is ever shown.

use serde_json::{Map, Value};
use similar::TextDiff;

use super::{Kind, Object};

/// In place of what a Secret holds.
pub(super) const REDACTED: &str = "‹redacted›";

/// An object without what the server keeps for itself: two objects that are equal like this differ
/// in nothing that anybody asked for.
pub(super) fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for field in ["generation", "managedFields", "resourceVersion"] {
            metadata.remove(field);
        }
    }
    object
}

/// What is different between two states of an object; none stands for its absence. Empty if nothing is.
pub(super) fn unified(kind: &Kind, before: Option<&Object>, after: Option<&Object>) -> String {
    let (mut old, mut new) = (shown(before), shown(after));
    if kind.group().is_empty() && kind.plural() == "secrets" {
        redact(&mut old, &mut new);
    }
    let (old, new) = (yaml(&old), yaml(&new));
    if old == new {
        return String::new();
    }
    let name = after.or(before).map_or("", Object::name);
    let name = format!("{}/{name}", kind.printed());
    let side = |object: Option<&Object>| {
        if object.is_some() {
            name.clone()
        } else {
            "/dev/null".to_owned()
        }
    };
    TextDiff::from_lines(&old, &new)
        .unified_diff()
        .header(&side(before), &side(after))
        .to_string()
}

fn shown(object: Option<&Object>) -> Value {
    object.map_or(Value::Null, asked)
}

/// What of an object is compared: no status, and nothing that the server counts or stamps.
pub(super) fn asked(object: &Object) -> Value {
    let mut value = stripped(object.whole().value());
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        for field in ["creationTimestamp", "selfLink", "uid"] {
            metadata.remove(field);
        }
    }
    value
}

/// Hides a Secret's values on both sides; where they differ, it still shows that they do.
fn redact(old: &mut Value, new: &mut Value) {
    for pointer in ["/data", "/stringData"] {
        let empty = Map::new();
        let of = |side: &Value| side.pointer(pointer).and_then(Value::as_object).cloned();
        let (was, is) = (of(old), of(new));
        let (was, is) = (
            was.as_ref().unwrap_or(&empty),
            is.as_ref().unwrap_or(&empty),
        );
        for (side, mine, other, word) in [
            (&mut *old, was, is, "before"),
            (&mut *new, is, was, "after"),
        ] {
            let Some(Value::Object(data)) = side.pointer_mut(pointer) else {
                continue;
            };
            for (key, value) in data.iter_mut() {
                let changed = other
                    .get(key)
                    .is_some_and(|other| Some(other) != mine.get(key));
                *value = if changed {
                    format!("{REDACTED} ({word})").into()
                } else {
                    REDACTED.into()
                };
            }
        }
    }
    // `kubectl apply` keeps the whole object, keys included, in an annotation.
    for side in [old, new] {
        if let Some(Value::Object(annotations)) = side.pointer_mut("/metadata/annotations")
            && let Some(last) =
                annotations.get_mut("kubectl.kubernetes.io/last-applied-configuration")
        {
            *last = REDACTED.into();
        }
    }
}

/// As YAML; nothing for what is not there.
fn yaml(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    let text = serde_saphyr::to_string(value);
    let mut text = text.unwrap_or_else(|_| format!("{value:#}"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::kind::tests::kind;
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::new(value)
    }

    #[test]
    fn a_diff_shows_what_was_asked_for_and_nothing_of_the_servers() {
        let maps = kind("", "v1", "ConfigMap", "configmaps", &[], true);
        let before = object(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "resourceVersion": "1", "uid": "u"}, "data": {"x": "1", "y": "2"},
        }));
        let after = object(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "resourceVersion": "2", "uid": "u"}, "data": {"x": "one", "y": "2"},
            "status": {"seen": true},
        }));
        let diff = unified(&maps, Some(&before), Some(&after));
        assert!(
            diff.starts_with("--- configmap/a\n+++ configmap/a\n@@ "),
            "{diff}"
        );
        let changed: Vec<&str> = diff
            .lines()
            .skip(3)
            .filter(|l| l.starts_with(['+', '-']))
            .collect();
        assert_eq!(changed.len(), 2, "{diff}");
        assert!(changed[1].contains("one"), "{diff}");
        assert_eq!(unified(&maps, Some(&before), Some(&before)), "");
        let made = unified(&maps, None, Some(&after));
        assert!(
            made.starts_with("--- /dev/null\n+++ configmap/a\n"),
            "{made}"
        );
        let gone = unified(&maps, Some(&before), None);
        assert!(
            gone.starts_with("--- configmap/a\n+++ /dev/null\n"),
            "{gone}"
        );
    }

    #[test]
    fn a_secret_shows_which_values_differ_and_none_of_them() {
        let secrets = kind("", "v1", "Secret", "secrets", &[], true);
        let of = |a: &str, b: &str| {
            object(json!({
                "kind": "Secret", "metadata": {"name": "s", "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": format!("{{{a}}}")}},
                "data": {"a": a, "b": b},
            }))
        };
        let diff = unified(
            &secrets,
            Some(&of("b2xk", "c2FtZQ")),
            Some(&of("bmV3", "c2FtZQ")),
        );
        for hidden in ["b2xk", "bmV3", "c2FtZQ"] {
            assert!(!diff.contains(hidden), "{diff}");
        }
        assert!(
            diff.contains("‹redacted› (before)") && diff.contains("‹redacted› (after)"),
            "{diff}"
        );
        let made = unified(&secrets, None, Some(&of("bmV3", "c2FtZQ")));
        assert!(
            !made.contains("bmV3") && made.contains("‹redacted›"),
            "{made}"
        );
    }
}
