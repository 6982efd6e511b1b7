//! Kubernetes objects as cheap shared handles.
//!
//! A realistic pod is 13 kB of JSON and ten times that as a typed struct or as script maps, so an
//! object is parsed once into one [`Value`] and shared from then on. `managedFields` are dropped
//! on the way in: nobody here reads them, and they are half of the bytes.
//!
//! It does not know the kinds: [`super::Kind`] does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A Kubernetes object, or a part of one: an [`Arc`] of the whole and the JSON pointer of the part.
///
/// Cloning copies a pointer. `Debug` and `Display` say which object it is and never print its
/// content, which for a Secret is key material.
#[derive(Clone)]
pub struct Object {
    root: Arc<Value>,
    /// RFC 6901; empty for the whole object. Always points at something that exists.
    pointer: Arc<str>,
}

impl Object {
    /// Takes over a parsed object and drops its `metadata.managedFields`.
    pub fn new(mut value: Value) -> Self {
        if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        Self {
            root: Arc::new(value),
            pointer: Arc::from(""),
        }
    }

    /// The whole of a document that another object, or a script, shares.
    pub fn shared(root: Arc<Value>) -> Self {
        Self {
            root,
            pointer: Arc::from(""),
        }
    }

    /// The JSON of this part.
    pub fn value(&self) -> &Value {
        self.root.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    /// The JSON of the whole object that this is a part of, shared.
    pub fn root(&self) -> &Arc<Value> {
        &self.root
    }

    /// The whole object that this is a part of.
    pub fn whole(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            pointer: Arc::from(""),
        }
    }

    /// Where in the whole object this part is (RFC 6901); empty for the whole.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is at an RFC 6901 pointer below this part: `at("/metadata/name")`.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.value().pointer(pointer)
    }

    /// The string at a pointer; empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or("")
    }

    /// The integer at a pointer.
    pub fn int(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).and_then(Value::as_i64)
    }

    /// The elements of the array at a pointer; none if it is absent or no array.
    pub fn items(&self, pointer: &str) -> &[Value] {
        self.at(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The part under a key of this map, as a handle on the same object.
    pub fn field(&self, key: &str) -> Option<Self> {
        self.value().as_object()?.get(key)?;
        Some(self.below(&escape(key)))
    }

    /// The element at an index of this array, as a handle on the same object.
    pub fn element(&self, index: usize) -> Option<Self> {
        self.value().as_array()?.get(index)?;
        Some(self.below(&index.to_string()))
    }

    fn below(&self, token: &str) -> Self {
        Self {
            root: Arc::clone(&self.root),
            pointer: Arc::from(format!("{}/{token}", self.pointer)),
        }
    }

    /// `kind`, of the whole object.
    pub fn kind(&self) -> &str {
        self.root_text("/kind")
    }

    /// `apiVersion`, of the whole object.
    pub fn api_version(&self) -> &str {
        self.root_text("/apiVersion")
    }

    /// `metadata.name`, of the whole object.
    pub fn name(&self) -> &str {
        self.root_text("/metadata/name")
    }

    /// `metadata.namespace`; none for cluster-wide objects.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.root_text("/metadata/namespace")).filter(|s| !s.is_empty())
    }

    /// `metadata.uid`, of the whole object.
    pub fn uid(&self) -> &str {
        self.root_text("/metadata/uid")
    }

    /// `metadata.resourceVersion`, of the whole object.
    pub fn resource_version(&self) -> &str {
        self.root_text("/metadata/resourceVersion")
    }

    /// `metadata.generation`; 0 where the kind has none.
    pub fn generation(&self) -> i64 {
        self.root
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0)
    }

    /// Whether deletion of it has begun (`metadata.deletionTimestamp`).
    pub fn is_deleting(&self) -> bool {
        !self.root_text("/metadata/deletionTimestamp").is_empty()
    }

    /// `metadata.finalizers`, of the whole object.
    pub fn finalizers(&self) -> Vec<String> {
        strings(self.root.pointer("/metadata/finalizers"))
    }

    /// `metadata.labels`; empty if there are none.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.string_map("/metadata/labels")
    }

    /// `metadata.annotations`; empty if there are none.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.string_map("/metadata/annotations")
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.root.pointer("/metadata/labels")?.get(key)?.as_str()
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.root
            .pointer("/metadata/annotations")?
            .get(key)?
            .as_str()
    }

    /// The owner that controls it (`ownerReferences` with `controller: true`): kind, name, UID.
    pub fn controller(&self) -> Option<(&str, &str, &str)> {
        let owners = self.root.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner = owners
            .iter()
            .find(|o| o.get("controller").and_then(Value::as_bool) == Some(true))?;
        let text = |key| owner.get(key).and_then(Value::as_str).unwrap_or("");
        Some((text("kind"), text("name"), text("uid")))
    }

    /// A copy of this part that may be changed.
    pub fn to_value(&self) -> Value {
        self.value().clone()
    }

    fn root_text(&self, pointer: &str) -> &str {
        self.root
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    fn string_map(&self, pointer: &str) -> BTreeMap<String, String> {
        let Some(Value::Object(map)) = self.root.pointer(pointer) else {
            return BTreeMap::new();
        };
        map.iter()
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect()
    }
}

impl PartialEq for Object {
    /// Whether the parts have the same content; where they come from does not matter.
    fn eq(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.root, &other.root) && self.pointer == other.pointer)
            || self.value() == other.value()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind().is_empty() {
            "object"
        } else {
            self.kind()
        };
        match self.namespace() {
            Some(ns) => write!(f, "{kind} {ns}/{}", self.name())?,
            None => write!(f, "{kind} {}", self.name())?,
        }
        if self.pointer.is_empty() {
            Ok(())
        } else {
            write!(f, "#{}", self.pointer)
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({self})")
    }
}

/// What a value is, for errors, which never repeat it: it may be a Secret's.
pub(super) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "a list",
        Value::Bool(_) => "a truth value",
        Value::Null => "nothing",
        Value::Number(_) => "a number",
        Value::Object(_) => "a map",
        Value::String(_) => "a text",
    }
}

/// A copy of an object in which a Secret's values read `‹redacted›`: what a journal may hold.
pub fn redacted(value: &Value) -> Value {
    let mut copy = value.clone();
    for key in ["data", "stringData"] {
        if let Some(Value::Object(data)) = copy.get_mut(key) {
            hide(data);
        }
    }
    // `kubectl apply` keeps the whole object, keys included, in an annotation.
    if let Some(Value::Object(annotations)) = copy.pointer_mut("/metadata/annotations")
        && let Some(last) = annotations.get_mut("kubectl.kubernetes.io/last-applied-configuration")
    {
        *last = Value::from("‹redacted›");
    }
    copy
}

fn hide(data: &mut Map<String, Value>) {
    for value in data.values_mut().filter(|v| !v.is_null()) {
        *value = Value::from("‹redacted›");
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// RFC 6901, section 3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Object {
        Object::new(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "u1", "generation": 3,
                "labels": {"istio.io/rev": "r1"},
                "managedFields": [{"manager": "kubectl"}],
                "ownerReferences": [
                    {"kind": "X", "name": "x", "uid": "0"},
                    {"kind": "ReplicaSet", "name": "a-1", "uid": "7", "controller": true},
                ],
            },
            "spec": {"containers": [{"name": "main"}]},
        }))
    }

    #[test]
    fn managed_fields_are_dropped_and_the_rest_reads_like_json() {
        let pod = pod();
        assert_eq!(pod.at("/metadata/managedFields"), None);
        assert_eq!(pod.text("/spec/containers/0/name"), "main");
        assert_eq!(
            (pod.name(), pod.namespace(), pod.generation()),
            ("a", Some("shop"), 3)
        );
        assert_eq!(pod.label("istio.io/rev"), Some("r1"));
        assert_eq!(pod.controller(), Some(("ReplicaSet", "a-1", "7")));
    }

    #[test]
    fn parts_share_the_whole_and_escape_their_keys() {
        let labels = pod().field("metadata").unwrap().field("labels").unwrap();
        let rev = labels.field("istio.io/rev").unwrap();
        assert_eq!(rev.pointer(), "/metadata/labels/istio.io~1rev");
        assert_eq!(rev.value(), "r1");
        assert_eq!(rev.name(), "a");
        assert!(labels.field("none").is_none());
        let spec = pod().field("spec").unwrap();
        assert!(spec.field("containers").unwrap().element(1).is_none());
    }

    #[test]
    fn neither_debug_nor_display_prints_content() {
        let secret = Object::new(json!({
            "kind": "Secret", "metadata": {"name": "cacerts", "namespace": "istio-system"},
            "data": {"ca-key.pem": "c2VjcmV0"},
        }));
        assert_eq!(format!("{secret}"), "Secret istio-system/cacerts");
        assert_eq!(
            format!("{:?}", secret.field("data").unwrap()),
            "Object(Secret istio-system/cacerts#/data)"
        );
        let shown = redacted(secret.value()).to_string();
        assert!(
            shown.contains("‹redacted›") && !shown.contains("c2VjcmV0"),
            "{shown}"
        );
    }
}
