use serde_json::json;

use super::super::schema::TYPES;
use super::*;

fn strategic(object: &Value, patch: &Value) -> Result<Value, Status> {
    apply(
        PatchKind::Strategic,
        object,
        patch,
        TYPES.get("core.v1.Pod"),
    )
}

fn names(pod: &Value) -> Vec<&str> {
    let all = pod["spec"]["containers"].as_array().unwrap();
    all.iter().map(|c| c["name"].as_str().unwrap()).collect()
}

fn pod() -> Value {
    json!({"spec": {"containers": [
        {"name": "main", "image": "m:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "istio-proxy", "image": "p:1"},
    ]}})
}

#[test]
fn containers_merge_by_name_and_keep_their_order() {
    let patch = json!({"spec": {"containers": [{"name": "istio-proxy", "image": "p:2"}]}});
    let patched = strategic(&pod(), &patch).unwrap();
    assert_eq!(names(&patched), ["main", "istio-proxy"]);
    assert_eq!(patched["spec"]["containers"][1]["image"], "p:2");
}

#[test]
fn an_item_can_be_deleted_and_a_list_replaced() {
    let gone = json!({"spec": {"containers": [{"name": "istio-proxy", "$patch": "delete"}]}});
    assert_eq!(names(&strategic(&pod(), &gone).unwrap()), ["main"]);
    let only = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}]}});
    assert_eq!(names(&strategic(&pod(), &only).unwrap()), ["only"]);
}

#[test]
fn the_order_of_elements_is_obeyed() {
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
        "containers": [{"name": "side", "image": "s:1"}],
    }});
    let patched = strategic(&pod(), &patch).unwrap();
    assert_eq!(names(&patched), ["side", "main", "istio-proxy"]);
}

#[test]
fn an_item_without_its_key_is_an_error() {
    let patch = json!({"spec": {"containers": [{"image": "noname:1"}]}});
    let error = strategic(&pod(), &patch).unwrap_err();
    assert_eq!(
        error.message,
        "map: map[image:noname:1] does not contain declared merge key: name"
    );
}

#[test]
fn a_json_patch_is_applied_whole_or_not_at_all() {
    let patch = json!([
        {"op": "add", "path": "/spec/x~1y", "value": 1},
        {"op": "test", "path": "/spec/containers/0/name", "value": "main"},
        {"op": "remove", "path": "/spec/containers/1"},
    ]);
    let patched = apply(PatchKind::Json, &pod(), &patch, None).unwrap();
    assert_eq!(
        (&patched["spec"]["x/y"], names(&patched)),
        (&json!(1), vec!["main"])
    );
    let broken = json!([{"op": "remove", "path": "/spec/none"}]);
    assert_eq!(
        apply(PatchKind::Json, &pod(), &broken, None)
            .unwrap_err()
            .code,
        422
    );
}

#[test]
fn a_merge_patch_removes_with_null() {
    let mut object = json!({"a": {"b": 1, "c": 2}});
    merge(&mut object, &json!({"a": {"b": null, "d": {"e": null}}}));
    assert_eq!(object, json!({"a": {"c": 2, "d": {}}}));
}
