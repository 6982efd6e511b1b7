//! Fields of objects as sets: what server-side apply and `managedFields` calculate with.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff`: structs and maps by field, lists by key
//! or value where their type says so, everything else as a whole.

mod compare;
mod merge;
mod set;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::registry::Resource;
use super::schema::{self, Kind, ListType, Struct, Zero};

pub use compare::compare;
pub use merge::{merge, remove};
pub use set::Set;

/// How a value divides into fields.
#[derive(Clone, Copy, Debug)]
pub enum Type<'a> {
    /// By its schema.
    Known(&'a Kind, &'a ListType),
    /// A custom resource: maps by key, lists as a whole, metadata as everywhere.
    Custom,
    /// Below a custom resource.
    Deduced,
}

const PLAIN: ListType = ListType::Plain;
const METADATA: Kind = Kind::Struct("meta.v1.ObjectMeta");

/// The type of the objects of a resource.
pub fn type_of(resource: &Resource) -> (Option<Kind>, Option<&'static Struct>) {
    let of = schema::stored_type(resource);
    (of.map(|s| Kind::Struct(s.name)), of)
}

impl<'a> Type<'a> {
    /// The type of an object whose kind [`type_of`] gave.
    pub fn root(kind: Option<&'a Kind>) -> Type<'a> {
        match kind {
            Some(kind) => Type::Known(kind, &PLAIN),
            None => Type::Custom,
        }
    }

    /// How a value of this type divides.
    fn shape(self, value: &Value) -> Shape<'a> {
        match self {
            Type::Custom => Shape::Map(Child::Metadata),
            Type::Deduced => {
                if value.is_object() {
                    Shape::Map(Child::Deduced)
                } else {
                    Shape::Whole
                }
            }
            Type::Known(_, ListType::Atomic) => Shape::Whole,
            Type::Known(Kind::List(of), ListType::Map(keys)) => Shape::Keyed(of, keys),
            Type::Known(Kind::List(_), ListType::Set) => Shape::Values,
            Type::Known(Kind::Map(of), _) => Shape::Map(Child::Of(of)),
            Type::Known(kind @ Kind::Struct(_), _) => match kind.fields() {
                Some(of) if !of.atomic => Shape::Struct(of),
                _ => Shape::Whole,
            },
            Type::Known(..) => Shape::Whole,
        }
    }
}

#[derive(Clone, Copy)]
enum Shape<'a> {
    /// A list whose items have keys.
    Keyed(&'a Kind, &'a [&'static str]),
    /// A map with any keys.
    Map(Child<'a>),
    /// Known fields.
    Struct(&'static Struct),
    /// A list whose items are told by their values.
    Values,
    /// Not divided.
    Whole,
}

#[derive(Clone, Copy)]
enum Child<'a> {
    Deduced,
    Metadata,
    Of(&'a Kind),
}

impl<'a> Child<'a> {
    fn type_of(self, key: &str) -> Type<'a> {
        match self {
            Child::Metadata if key == "metadata" => Type::Known(&METADATA, &PLAIN),
            Child::Metadata | Child::Deduced => Type::Deduced,
            Child::Of(kind) => Type::Known(kind, &PLAIN),
        }
    }
}

/// The parts of a value with their names in a set, in order. Fields that the type does not know are
/// left out.
fn parts<'a, 'v>(shape: Shape<'a>, value: &'v Value) -> Vec<(String, &'v Value, Type<'a>)> {
    let items = value.as_array().into_iter().flatten();
    let fields = value.as_object().into_iter().flatten();
    match shape {
        Shape::Whole => Vec::new(),
        Shape::Struct(of) => fields
            .filter_map(|(name, value)| {
                let field = of.field(name)?;
                Some((
                    format!("f:{name}"),
                    value,
                    Type::Known(&field.kind, &field.list),
                ))
            })
            .collect(),
        Shape::Map(child) => fields
            .map(|(name, value)| (format!("f:{name}"), value, child.type_of(name)))
            .collect(),
        Shape::Keyed(of, keys) => items
            .map(|item| (key_of(item, keys), item, Type::Known(of, &PLAIN)))
            .collect(),
        Shape::Values => items
            .map(|item| (format!("v:{item}"), item, Type::Known(&Kind::Any, &PLAIN)))
            .collect(),
    }
}

/// The name of a list's item; a protocol that is left out is TCP.
fn key_of(item: &Value, keys: &[&str]) -> String {
    let mut found = Map::new();
    for key in keys {
        match item.get(*key) {
            Some(value) if !value.is_null() => found.insert((*key).to_owned(), value.clone()),
            _ if *key == "protocol" => found.insert((*key).to_owned(), "TCP".into()),
            _ => None,
        };
    }
    format!("k:{}", Value::Object(found))
}

/// All fields of a value.
pub fn fields_of(value: &Value, of: Type<'_>) -> Set {
    let mut set = Set::default();
    collect(value, of, &mut set);
    set
}

fn collect(value: &Value, of: Type<'_>, set: &mut Set) {
    let shape = of.shape(value);
    if matches!(shape, Shape::Whole) {
        set.own();
        return;
    }
    for (name, part, kind) in parts(shape, value) {
        let child = set.child(&name);
        collect(part, kind, child);
        let empty = part.is_null() || part.as_object().is_some_and(Map::is_empty);
        if empty || !matches!(shape, Shape::Struct(_)) {
            child.own();
        }
    }
}

/// The object that every new one is compared with: what Go writes for an empty one.
pub fn empty_object(of: Option<&'static Struct>) -> Value {
    let Some(of) = of else {
        return json!({"metadata": {}});
    };
    let mut object = json!({});
    schema::normalise(&mut object, of);
    empty_lists(&mut object, of);
    object
}

fn empty_lists(value: &mut Value, of: &'static Struct) {
    for field in &of.fields {
        if field.zero == Zero::Always && matches!(field.kind, Kind::List(_)) {
            value[field.name] = Value::Null;
        }
        if let (Some(inner), Some(value)) = (field.kind.fields(), value.get_mut(field.name)) {
            empty_lists(value, inner);
        }
    }
}

/// A name in a set as errors print it: `.data`, `[name="main"]`.
pub fn shown(name: &str) -> Cow<'_, str> {
    match name.split_once(':') {
        Some(("f", field)) => Cow::Owned(format!(".{field}")),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            Cow::Owned(format!("[{}]", keys.join(",")))
        }
        Some(("v", value)) => Cow::Owned(format!("[={value}]")),
        _ => Cow::Borrowed(name),
    }
}

/// The fields that nobody owns: identity, and what the server itself writes.
pub fn unowned() -> Set {
    let mut set = Set::default();
    for name in ["f:apiVersion", "f:kind", "f:metadata"] {
        set.child(name).own();
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        set.child("f:metadata").child(&format!("f:{name}")).own();
    }
    set
}

#[cfg(test)]
mod tests;
