//! JSON merge patches (RFC 7396): applying one, and telling what of it would change something.
//!
//! Separate because it is pure, and because "would this change anything?" decides whether a
//! mutation is sent at all, resent after a lost answer, or reported as done already.

use serde_json::{Map, Value};

/// Applies a merge patch, as RFC 7396, section 2 defines it.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// Whether applying `patch` to `target` would leave it as it is.
///
/// Labels and annotations that are an empty map are none, in the object and in a template of pods. Anywhere
/// else an empty map may mean something: in policy/v1 an empty selector selects every pod, none selects
/// nothing.
pub fn changes_nothing(target: &Value, patch: &Value) -> bool {
    let mut after = target.clone();
    merge(&mut after, patch);
    let mut before = target.clone();
    drop_empty(&mut before);
    drop_empty(&mut after);
    before == after
}

/// What of `wanted` differs from `current`, as a merge patch; none if nothing does.
///
/// Lists are taken whole. What `current` has and `wanted` does not mention stays. A list whose
/// elements are maps counts as equal if each wanted element is contained in the one at its place,
/// because servers add defaults inside (`containers[0].imagePullPolicy`).
pub fn difference(current: &Value, wanted: &Value) -> Option<Value> {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            let mut patch = Map::new();
            for (key, value) in wanted {
                match current.get(key) {
                    None if value.is_null() => {}
                    None if value.is_object() => {
                        // Keys that it wants absent are absent already.
                        if let Some(inner) = difference(&Value::Object(Map::new()), value) {
                            patch.insert(key.clone(), inner);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                    Some(Value::Null) if value.is_null() => {}
                    Some(_) if value.is_null() => {
                        patch.insert(key.clone(), Value::Null);
                    }
                    Some(now) => {
                        if let Some(inner) = difference(now, value) {
                            patch.insert(key.clone(), inner);
                        }
                    }
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (Value::Array(now), Value::Array(value)) => {
            let same = now.len() == value.len()
                && now
                    .iter()
                    .zip(value)
                    .all(|(n, v)| difference(n, v).is_none());
            (!same).then(|| wanted.clone())
        }
        _ => (current != wanted).then(|| wanted.clone()),
    }
}

/// The merge patch that makes `after` of `before`; an empty map if they are equal.
///
/// Exact, unlike [`difference`]: what `after` lacks is removed. Lists are taken whole.
pub fn between(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return after.clone();
    };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(now) if now == value => {}
            Some(now) if now.is_object() && value.is_object() => {
                patch.insert(key.clone(), between(now, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

fn is_empty_map(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn drop_empty(value: &mut Value) {
    for metadata in ["/metadata", "/spec/template/metadata"] {
        if let Some(Value::Object(metadata)) = value.pointer_mut(metadata) {
            for field in ["labels", "annotations"] {
                if metadata.get(field).is_some_and(is_empty_map) {
                    metadata.remove(field);
                }
            }
        }
    }
    for holder in ["", "/spec/template"] {
        if let Some(Value::Object(holder)) = value.pointer_mut(holder)
            && holder.get("metadata").is_some_and(is_empty_map)
        {
            holder.remove("metadata");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_map_is_nothing_only_for_labels_and_annotations() {
        let template = |metadata: Value| json!({"spec": {"template": {"metadata": metadata}}});
        for (target, patch) in [
            (
                json!({"metadata": {"name": "a"}}),
                json!({"metadata": {"labels": {}}}),
            ),
            (
                json!({"metadata": {"annotations": {"a": "b"}}}),
                json!({"metadata": {"annotations": {}}}),
            ),
            (
                template(json!({"labels": {"a": "b"}})),
                template(json!({"annotations": {}})),
            ),
        ] {
            assert!(changes_nothing(&target, &patch), "{patch}");
        }
        // In policy/v1 an empty selector selects every pod, and none selects nothing.
        for (target, patch) in [
            (json!({"spec": {}}), json!({"spec": {"selector": {}}})),
            (
                json!({"spec": {"selector": {}}}),
                json!({"spec": {"selector": null}}),
            ),
        ] {
            assert!(!changes_nothing(&target, &patch), "{patch}");
        }
    }

    #[test]
    fn merging_follows_the_examples_of_rfc_7396() {
        // RFC 7396, appendix A: original, patch, result.
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ];
        for (mut target, patch, result) in cases {
            merge(&mut target, &patch);
            assert_eq!(target, result, "{patch}");
        }
    }

    #[test]
    fn a_patch_that_changes_nothing_is_seen_as_such() {
        let now = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
        assert!(changes_nothing(
            &now,
            &json!({"data": {"x": "1", "y": null}})
        ));
        assert!(changes_nothing(
            &now,
            &json!({"metadata": {"labels": {"gone": null}}})
        ));
        assert!(!changes_nothing(&now, &json!({"data": {"x": "2"}})));
        assert!(!changes_nothing(&now, &json!({"data": {"x": null}})));
    }

    #[test]
    fn the_difference_leaves_out_what_is_so_already() {
        let now = json!({
            "metadata": {"labels": {"a": "1"}, "uid": "u"},
            "spec": {"replicas": 2, "containers": [{"name": "c", "imagePullPolicy": "Always"}]},
        });
        let wanted = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {}},
            "spec": {"replicas": 2, "containers": [{"name": "c"}], "gone": null},
        });
        assert_eq!(
            difference(&now, &wanted),
            Some(json!({"metadata": {"labels": {"b": "2"}}}))
        );
        assert_eq!(difference(&now, &now.clone()), None);
        let fewer = json!({"spec": {"containers": []}});
        assert_eq!(difference(&now, &fewer), Some(fewer.clone()));
    }

    proptest::proptest! {
        #[test]
        fn applying_the_difference_leaves_no_difference(a in any_json(), b in any_json()) {
            if let Some(patch) = difference(&a, &b) {
                let mut after = a.clone();
                merge(&mut after, &patch);
                proptest::prop_assert_eq!(difference(&after, &b), None);
            }
        }
    }

    #[test]
    fn the_patch_between_two_states_makes_the_one_of_the_other() {
        let before = json!({"a": 1, "b": {"c": [1], "d": "x"}, "e": {}});
        let after = json!({"a": 1, "b": {"c": [1, 2]}, "f": {"g": true}});
        let patch = between(&before, &after);
        assert_eq!(
            patch,
            json!({"b": {"c": [1, 2], "d": null}, "e": null, "f": {"g": true}})
        );
        let mut made = before.clone();
        merge(&mut made, &patch);
        assert_eq!(made, after);
        assert_eq!(between(&before, &before), json!({}));
    }

    fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4i64).prop_map(Value::from),
            "[ab]".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }
}
