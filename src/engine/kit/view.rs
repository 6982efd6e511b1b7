//! An object read in place: a cheap handle on JSON that a script reads like a map.
//!
//! A pod as a Rhai map takes ten times the memory of its JSON and is copied at every call; a view is
//! two reference counts. A view is always of a JSON object: arrays below it are given as arrays of
//! views, since they are short, and everything else as the plain value.
//!
//! As text, a view of a Secret shows its keys and not its values; a script that wants them reads the
//! field, or asks for `to_map()` or `to_json()`.
//!
//! A missing field is `()`. Going below a missing field is an error, unless the script says `?.`.
//! `metadata.labels` and `metadata.annotations` are always maps, if empty.

use super::{Reply, fail, to_dynamic};
use crate::engine::Failure;
use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A JSON object inside a shared document.
#[derive(Clone)]
pub struct View {
    root: Arc<Value>,
    pointer: Arc<str>,
}

impl View {
    /// A view of a whole document.
    pub fn new(root: Arc<Value>) -> View {
        View {
            root,
            pointer: Arc::from(""),
        }
    }

    /// A view of the part that a JSON pointer (RFC 6901) names.
    pub fn at(root: Arc<Value>, pointer: &str) -> View {
        View {
            root,
            pointer: Arc::from(pointer),
        }
    }

    /// The document it is a part of.
    pub fn root(&self) -> &Arc<Value> {
        &self.root
    }

    /// Which part: a JSON pointer, empty for the whole.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What it shows.
    pub fn value(&self) -> &Value {
        self.root.pointer(&self.pointer).unwrap_or(&Value::Null)
    }

    pub(super) fn value_of(&self) -> Value {
        self.value().clone()
    }

    /// What it shows, as people may see it: the values of a Secret are hidden.
    pub fn shown(&self) -> Value {
        let mut value = self.value().clone();
        if self.root.get("kind").and_then(Value::as_str) != Some("Secret") {
            return value;
        }
        match &*self.pointer {
            "" => {
                for key in ["data", "stringData"] {
                    value.get_mut(key).into_iter().for_each(hide);
                }
                let kept = value.pointer_mut("/metadata/annotations").and_then(|all| {
                    all.get_mut("kubectl.kubernetes.io/last-applied-configuration")
                });
                if let Some(kept) = kept {
                    *kept = Value::from(HIDDEN);
                }
            }
            "/data" | "/stringData" => hide(&mut value),
            _ => {}
        }
        value
    }

    /// The field `key` as a script sees it.
    pub fn field(&self, key: &str) -> Dynamic {
        let value = self.value().get(key).unwrap_or(&Value::Null);
        let is_metadata = self.pointer.ends_with("/metadata");
        if is_metadata && matches!(key, "labels" | "annotations") {
            return match value {
                Value::Object(_) => to_dynamic(value),
                _ => Map::new().into(),
            };
        }
        let token = key.replace('~', "~0").replace('/', "~1");
        self.show(value, &format!("{}/{token}", self.pointer))
    }

    fn show(&self, value: &Value, pointer: &str) -> Dynamic {
        match value {
            Value::Object(_) => Dynamic::from(View::at(self.root.clone(), pointer)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.show(item, &format!("{pointer}/{index}")))
                .collect::<Array>()
                .into(),
            plain => to_dynamic(plain),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &String> {
        self.value()
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
    }
}

/// What stands where a secret is.
const HIDDEN: &str = "‹redacted›";

fn hide(values: &mut Value) {
    for (_, value) in values.as_object_mut().into_iter().flatten() {
        *value = Value::from(HIDDEN);
    }
}

impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.value() == other.value()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown())
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown())
    }
}

/// Makes views usable in scripts.
pub(in crate::engine) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<View>("Object");
    engine.register_indexer_get(|view: &mut View, key: ImmutableString| view.field(&key));
    engine.register_indexer_get(|_: &mut View, index: i64| -> Reply<Dynamic> {
        Err(fail(Failure::script(format!(
            "an object has fields, not elements: [{index}]"
        ))))
    });
    engine.register_global_module(rhai::exported_module!(words).into());
    // Rhai's own hooks for texts made of values.
    engine.register_fn("to_string", |view: &mut View| view.to_string());
    engine.register_fn("to_debug", |view: &mut View| view.to_string());
    engine.register_fn("==", |a: View, b: View| a == b);
    engine.register_fn("!=", |a: View, b: View| a != b);
    engine.register_fn("==", |a: View, b: Map| {
        super::to_json(&b.into()).is_ok_and(|b| *a.value() == b)
    });
    engine.register_fn("==", |a: Map, b: View| {
        super::to_json(&a.into()).is_ok_and(|a| *b.value() == a)
    });
    engine.register_fn("!=", |a: View, b: Map| {
        !super::to_json(&b.into()).is_ok_and(|b| *a.value() == b)
    });
    engine.register_fn("!=", |a: Map, b: View| {
        !super::to_json(&a.into()).is_ok_and(|a| *b.value() == a)
    });
}

/// What can be asked of an object besides its fields.
#[export_module]
mod words {
    /// Whether an object has a field; also written `"name" in object`.
    ///
    /// - `object`: an object.
    /// - `key`: the field's name.
    ///
    /// ```rhai
    /// let object = cluster::get("namespace", "default");
    /// assert(object.contains("metadata") && !("nothing" in object), object);
    /// ```
    #[rhai_fn(global)]
    pub fn contains(object: View, key: &str) -> bool {
        object.value().get(key).is_some()
    }

    /// Whether an object has no fields.
    ///
    /// - `object`: an object.
    ///
    /// ```rhai
    /// assert(!cluster::get("namespace", "default").is_empty(), "it has some");
    /// ```
    #[rhai_fn(global)]
    pub fn is_empty(object: View) -> bool {
        object.keys().next().is_none()
    }

    /// The names of an object's fields, sorted.
    ///
    /// - `object`: an object.
    ///
    /// ```rhai
    /// assert("metadata" in cluster::get("namespace", "default").keys(), "as of all objects");
    /// ```
    #[rhai_fn(global)]
    pub fn keys(object: View) -> Array {
        object.keys().map(|key| key.as_str().into()).collect()
    }

    /// How many fields an object has.
    ///
    /// - `object`: an object.
    ///
    /// ```rhai
    /// let object = cluster::get("namespace", "default");
    /// assert(object.len() == object.keys().len(), object.len());
    /// ```
    #[rhai_fn(global)]
    pub fn len(object: View) -> i64 {
        i64::try_from(object.keys().count()).unwrap_or(i64::MAX)
    }

    /// An object as JSON text, the values of Secrets included.
    ///
    /// - `object`: an object.
    ///
    /// ```rhai
    /// let object = cluster::get("namespace", "default");
    /// assert(data::parse_json(object.to_json()).metadata.name == "default", "the whole object");
    /// ```
    #[rhai_fn(global)]
    pub fn to_json(object: View) -> String {
        object.value().to_string()
    }

    /// A copy of an object that the script may change: maps and arrays.
    ///
    /// - `object`: an object; it cannot be changed itself.
    ///
    /// ```rhai
    /// let copy = cluster::get("namespace", "default").to_map();
    /// copy.metadata.name = "other";
    /// assert(copy.metadata.name == "other", "changed");
    /// ```
    #[rhai_fn(global)]
    pub fn to_map(object: View) -> Dynamic {
        to_dynamic(object.value())
    }

    /// The values of an object's fields, in the order of `keys()`.
    ///
    /// - `object`: an object.
    ///
    /// ```rhai
    /// assert("default" in cluster::get("namespace", "default").metadata.values(), "its name");
    /// ```
    #[rhai_fn(global)]
    pub fn values(object: View) -> Array {
        object.keys().map(|key| object.field(key)).collect()
    }
}
