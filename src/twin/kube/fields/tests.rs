use super::super::schema::TYPES;
use super::*;

#[test]
fn a_map_is_owned_key_by_key() {
    let of = TYPES.get("core.v1.ConfigMap").unwrap();
    let kind = Kind::Struct(of.name);
    let before = empty_object(Some(of));
    let after = json!({"metadata": {"labels": {"a": "b"}}, "data": {"x": "1"}});
    let found = compare(&before, &after, Type::root(Some(&kind)));
    let wanted = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:data": {".": {}, "f:x": {}},
    });
    assert_eq!(found.added.write(), wanted);
    assert_eq!(Set::read(&wanted), found.added);
}

#[test]
fn containers_merge_by_name() {
    let of = TYPES.get("core.v1.PodSpec").unwrap();
    let kind = Kind::Struct(of.name);
    let live = json!({"containers": [{"name": "main", "image": "m:1"}]});
    let wanted =
        json!({"containers": [{"name": "proxy", "image": "p:1"}, {"name": "main", "tty": true}]});
    let merged = merge(&live, &wanted, Type::root(Some(&kind)));
    assert_eq!(
        merged,
        json!({"containers": [
            {"name": "proxy", "image": "p:1"}, {"name": "main", "image": "m:1", "tty": true},
        ]})
    );
    let gone = Set::read(&json!({"f:containers": {"k:{\"name\":\"proxy\"}": {}}}));
    let mut left = merged;
    remove(&mut left, &gone, Type::root(Some(&kind)));
    assert_eq!(left["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn fields_are_printed_as_paths() {
    let set =
        Set::read(&json!({"f:spec": {"f:containers": {"k:{\"name\":\"main\"}": {"f:image": {}}}}}));
    assert_eq!(set.paths(), [".spec.containers[name=\"main\"].image"]);
}

#[test]
fn sets_are_calculated_with() {
    let a = Set::read(&json!({"f:data": {"f:x": {}, "f:y": {}}}));
    let b = Set::read(&json!({"f:data": {"f:y": {}, "f:z": {}}}));
    assert_eq!(a.intersection(&b).paths(), [".data.y"]);
    assert_eq!(a.difference(&b).paths(), [".data.x"]);
    assert_eq!(a.union(&b).paths(), [".data.x", ".data.y", ".data.z"]);
}
