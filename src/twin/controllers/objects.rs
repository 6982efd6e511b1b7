//! Reading Kubernetes objects that are plain JSON: the questions that all controllers ask.
//!
//! Missing fields read as empty or zero, as Go's zero values do in the real controllers.

use serde_json::{Map, Value, json};

/// What stands at a path like `/status/conditions/0`. Not `Value::pointer`: that unescapes each key, and
/// controllers read all day.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/')
        .skip(1)
        .try_fold(object, |at, key| match at {
            Value::Object(map) => map.get(key),
            Value::Array(list) => list.get(key.parse::<usize>().ok()?),
            _ => None,
        })
}

/// The string at a path, or `""`.
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a path, or 0.
pub fn int(object: &Value, path: &str) -> i64 {
    int_or(object, path, 0)
}

/// The integer at a path, or another.
pub fn int_or(object: &Value, path: &str, otherwise: i64) -> i64 {
    at(object, path)
        .and_then(Value::as_i64)
        .unwrap_or(otherwise)
}

/// The array at a path, or an empty one.
pub fn array<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    at(object, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn generation(object: &Value) -> i64 {
    int(object, "/metadata/generation")
}

/// The resource version; a store that hands out other than numbers reads as 0.
pub fn version(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion")
        .parse()
        .unwrap_or(0)
}

pub fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"][key]
        .as_str()
        .unwrap_or_default()
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// Whether the object is being deleted.
pub fn deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// The reference to the controller of an object.
pub fn controller(object: &Value) -> Option<&Value> {
    array(object, "/metadata/ownerReferences")
        .iter()
        .find(|r| r["controller"] == true)
}

/// The UID of the controller of an object, or `""`.
pub fn controller_uid(object: &Value) -> &str {
    controller(object).map_or("", |r| text(r, "/uid"))
}

/// The reference by which `owner` controls something.
pub fn controller_ref(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Whether a `LabelSelector` selects these labels. A missing selector selects nothing, an empty one everything.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(parts) = selector.as_object() else {
        return false;
    };
    let labels_match = parts
        .get("matchLabels")
        .and_then(Value::as_object)
        .is_none_or(|wanted| wanted.iter().all(|(k, v)| &labels[k] == v));
    labels_match
        && array(selector, "/matchExpressions")
            .iter()
            .all(|r| requirement_holds(r, labels))
}

/// Whether a plain map of labels, a Service's selector, selects these labels. An empty one selects nothing.
pub fn map_selects(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(k, v)| &labels[k] == v))
}

/// One requirement of a label selector or of a node selector term (which also knows `Gt` and `Lt`).
pub fn requirement_holds(requirement: &Value, labels: &Value) -> bool {
    let have = &labels[text(requirement, "/key")];
    let values = array(requirement, "/values");
    let number = |v: &Value| v.as_str().and_then(|s| s.parse::<i64>().ok());
    match text(requirement, "/operator") {
        "In" => values.contains(have),
        "NotIn" => !values.contains(have),
        "Exists" => !have.is_null(),
        "DoesNotExist" => have.is_null(),
        "Gt" => number(have) > values.first().and_then(number) && number(have).is_some(),
        "Lt" => number(have).is_some() && number(have) < values.first().and_then(number),
        _ => false,
    }
}

/// The condition of a type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    array(object, "/status/conditions")
        .iter()
        .find(|c| c["type"] == kind)
}

/// The reason of a condition, or `""`.
pub fn condition_reason<'a>(object: &'a Value, kind: &str) -> &'a str {
    condition(object, kind).map_or("", |c| text(c, "/reason"))
}

/// Whether a condition is True.
pub fn condition_is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

/// Sets a condition. Where one of that type has the same status, reason and message, nothing changes;
/// where it has the same status, its `lastTransitionTime` stays.
pub fn set_condition(object: &mut Value, mut condition: Value) {
    let list = conditions_mut(object);
    let Some(old) = list.iter_mut().find(|c| c["type"] == condition["type"]) else {
        list.push(condition);
        return;
    };
    let same = |key: &str| old[key] == condition[key];
    if same("status") && same("reason") && same("message") {
        return;
    }
    if same("status") {
        condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
    }
    *old = condition;
}

/// Removes the conditions of a type.
pub fn remove_condition(object: &mut Value, kind: &str) {
    if condition(object, kind).is_none() {
        return;
    }
    let list = conditions_mut(object);
    list.retain(|c| c["type"] != kind);
    if list.is_empty() {
        object_at(object, "status").remove("conditions");
    }
}

fn conditions_mut(object: &mut Value) -> &mut Vec<Value> {
    let status = object_at(object, "status");
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    match list {
        Value::Array(list) => list,
        _ => unreachable!("made an array just above"),
    }
}

/// The object under a key, made if it is not there.
pub fn object_at<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !object[key].is_object() {
        object[key] = json!({});
    }
    match &mut object[key] {
        Value::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

/// Sets a counter of a status; 0 removes it, as Go's `omitempty` does.
pub fn set_count(status: &mut Map<String, Value>, key: &str, count: i64) {
    if count == 0 {
        status.remove(key);
    } else {
        status.insert(key.to_owned(), count.into());
    }
}

/// Adds an owner, unless it is one already.
pub fn add_owner(object: &mut Value, reference: Value) {
    let meta = object_at(object, "metadata");
    let list = meta.entry("ownerReferences").or_insert_with(|| json!([]));
    if let Value::Array(list) = list
        && !list.iter().any(|r| r["uid"] == reference["uid"])
    {
        list.push(reference);
    }
}

/// Removes the owner with that UID.
pub fn remove_owner(object: &mut Value, owner: &str) {
    let meta = object_at(object, "metadata");
    if let Some(Value::Array(list)) = meta.get_mut("ownerReferences") {
        list.retain(|r| r["uid"] != owner);
        if list.is_empty() {
            meta.remove("ownerReferences");
        }
    }
}

/// Removes one finalizer.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let meta = object_at(object, "metadata");
    if let Some(Value::Array(list)) = meta.get_mut("finalizers") {
        list.retain(|f| f != finalizer);
        if list.is_empty() {
            meta.remove("finalizers");
        }
    }
}

pub fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    array(object, "/metadata/finalizers")
        .iter()
        .any(|f| f == finalizer)
}

/// An `IntOrString`: a number, or a percentage of `total` rounded up or down. What is neither reads as `otherwise`.
pub fn scaled(value: &Value, total: i64, round_up: bool, otherwise: i64) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let percent = value
        .as_str()
        .and_then(|s| s.strip_suffix('%'))
        .and_then(|s| s.parse::<i64>().ok());
    match percent {
        Some(p) if round_up => (p * total + 99).div_euclid(100),
        Some(p) => (p * total).div_euclid(100),
        None => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = json!("25%");
        assert_eq!(scaled(&quarter, 3, true, 0), 1);
        assert_eq!(scaled(&quarter, 3, false, 0), 0);
        assert_eq!(scaled(&quarter, 4, true, 0), 1);
        assert_eq!(scaled(&json!(2), 100, true, 0), 2);
        assert_eq!(scaled(&Value::Null, 100, true, 1), 1);
    }

    #[test]
    fn selectors_of_both_forms() {
        let labels = json!({"app": "web", "tier": "front"});
        assert!(selects(&json!({"matchLabels": {"app": "web"}}), &labels));
        assert!(!selects(&json!({"matchLabels": {"app": "db"}}), &labels));
        let expression = |op: &str, values: Value| json!({"matchExpressions": [{"key": "tier", "operator": op, "values": values}]});
        assert!(selects(&expression("In", json!(["front"])), &labels));
        assert!(!selects(&expression("NotIn", json!(["front"])), &labels));
        assert!(selects(&expression("Exists", Value::Null), &labels));
        assert!(selects(&json!({}), &labels), "empty selects everything");
        assert!(!selects(&Value::Null, &labels), "missing selects nothing");
        assert!(!map_selects(&json!({}), &labels));
    }

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let mut pod = json!({});
        let at = |status: &str, reason: &str, time: &str| json!({"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": time});
        set_condition(&mut pod, at("False", "a", "1"));
        set_condition(&mut pod, at("False", "b", "2"));
        assert_eq!(condition(&pod, "Ready"), Some(&at("False", "b", "1")));
        set_condition(&mut pod, at("True", "b", "3"));
        assert_eq!(condition(&pod, "Ready"), Some(&at("True", "b", "3")));
        remove_condition(&mut pod, "Ready");
        assert_eq!(pod, json!({"status": {}}));
    }
}
