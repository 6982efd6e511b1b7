//! The types of the built-in kinds: which fields there are, of what type, how lists merge.
//!
//! `types.txt` is drawn from the OpenAPI document of kube-apiserver 1.34 and the Go types behind it
//! (Apache License 2.0), without their prose. A line without indentation begins a type, the lines below
//! are its fields: name, type, flags. Types: `string`, `bool`, `int32`, `int64`, `float64`, `bytes`,
//! `time`, `microtime`, `quantity`, `intorstring`, `any`, another type, `[]T`, `map[string]T`. Flags:
//! `#N` (number in the binary notation; `#N.M` is field M of an inlined message N); `required`; `pointer`
//! and `omitempty` (as in Go: whether a zero value is written); `merge[=KEY]`, `replace` and `retainKeys`
//! (strategic merge patch); `map=KEYS`, `set`, `atomic` (server-side apply).
//!
//! Everything that must know fields reads them here: decoding, patches, defaults of empty fields and
//! the OpenAPI documents that are served.

mod decode;
mod proto;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::registry::Resource;

pub use decode::{Strictness, check_types, normalise, parse, quoted, unknown_fields};
pub use proto::read as read_proto;

/// All types.
pub static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(include_str!("types.txt")));

/// The types by short name, `core.v1.Container`.
#[derive(Debug)]
pub struct Types(BTreeMap<&'static str, Struct>);

/// One type with fields.
#[derive(Debug)]
pub struct Struct {
    /// Its short name.
    pub name: &'static str,
    /// Whether it is owned and replaced as a whole.
    pub atomic: bool,
    /// Its fields, ordered by name.
    pub fields: Vec<Field>,
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its number in the binary notation, below the messages that JSON has inline.
    pub tag: Vec<u32>,
    /// Whether OpenAPI says that it must be there.
    pub required: bool,
    /// What becomes of its zero value when it is written.
    pub zero: Zero,
    /// Key by which a strategic merge patch merges lists of objects; empty for lists of scalars.
    pub merge: Option<&'static str>,
    /// Whether a strategic merge patch replaces it as a whole.
    pub replace: bool,
    /// Whether a strategic merge patch sends `$retainKeys` for it.
    pub retain_keys: bool,
    /// How server-side apply treats it.
    pub list: ListType,
}

/// What Go writes for a field that is zero or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Zero is written, also for what is absent.
    Always,
    /// Zero is not written: `omitempty`.
    Omitted,
    /// Zero is written when it is there: a pointer.
    Pointer,
}

/// How server-side apply owns a field that is a list, or a map with a flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The default of its type: lists as a whole, maps and structs by field.
    #[default]
    Plain,
    /// As a whole.
    Atomic,
    /// By item, keyed by fields.
    Map(Vec<&'static str>),
    /// By item, keyed by value.
    Set,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// `true` or `false`.
    Bool,
    /// Base64.
    Bytes,
    /// A number with a fraction.
    Float,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number or a percentage.
    IntOrString,
    /// A list.
    List(Box<Kind>),
    /// A map with any keys.
    Map(Box<Kind>),
    /// RFC 3339 with microseconds.
    MicroTime,
    /// `100m`, `1Gi`.
    Quantity,
    /// Text.
    String,
    /// A type with fields.
    Struct(&'static str),
    /// RFC 3339.
    Time,
}

impl Types {
    fn read(text: &'static str) -> Types {
        let mut types: BTreeMap<&'static str, Struct> = BTreeMap::new();
        let mut current = "";
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            if line.starts_with(' ') {
                if let Some(of) = types.get_mut(current) {
                    of.fields.push(field(first, words));
                }
            } else {
                current = first;
                let atomic = words.next() == Some("atomic");
                let fields = Vec::new();
                types.insert(
                    first,
                    Struct {
                        name: first,
                        atomic,
                        fields,
                    },
                );
            }
        }
        Types(types)
    }

    /// A type by its short name.
    pub fn get(&self, name: &str) -> Option<&Struct> {
        self.0.get(name)
    }

    /// The type of a kind, by the `apiVersion` of its objects.
    pub fn of(&self, group: &str, version: &str, kind: &str) -> Option<&Struct> {
        self.get(&format!("{}.{version}.{kind}", package(group)))
    }

    /// All types, ordered by name.
    pub fn all(&self) -> impl Iterator<Item = &Struct> {
        self.0.values()
    }
}

/// The type in which objects of a resource are stored; `None` for custom resources.
pub fn stored_type(resource: &Resource) -> Option<&'static Struct> {
    let version = resource.versions.first()?;
    TYPES.of(&resource.group, &version.name, &resource.kind)
}

impl Struct {
    /// A field by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|f| f.name.cmp(name));
        at.ok().map(|at| &self.fields[at])
    }

    /// The name as Go's errors print it after the package: `DeploymentSpec`.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

impl Kind {
    /// The fields of this type, if it has any.
    pub fn fields(&self) -> Option<&'static Struct> {
        match self {
            Kind::Struct(name) => TYPES.get(name),
            _ => None,
        }
    }

    /// The type as Go prints it: `int32`, `map[string]string`, `[]v1.Container`.
    pub fn go(&self) -> String {
        match self {
            Kind::Any => "interface {}".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::Bytes => "[]uint8".to_owned(),
            Kind::Float => "float64".to_owned(),
            Kind::Int32 => "int32".to_owned(),
            Kind::Int64 => "int64".to_owned(),
            Kind::IntOrString => "intstr.IntOrString".to_owned(),
            Kind::List(of) => format!("[]{}", of.go()),
            Kind::Map(of) => format!("map[string]{}", of.go()),
            Kind::MicroTime => "v1.MicroTime".to_owned(),
            Kind::Quantity => "resource.Quantity".to_owned(),
            Kind::String => "string".to_owned(),
            Kind::Struct(name) => name.split_once('.').map_or(*name, |(_, n)| n).to_owned(),
            Kind::Time => "v1.Time".to_owned(),
        }
    }
}

/// The package of a group in short names: the group's first part, `core` for the core group.
fn package(group: &str) -> &str {
    match group.split('.').next() {
        None | Some("") => "core",
        Some(first) => first,
    }
}

fn field(name: &'static str, mut words: std::str::SplitWhitespace<'static>) -> Field {
    let mut field = Field {
        name,
        kind: kind(words.next().unwrap_or("any")),
        tag: Vec::new(),
        required: false,
        zero: Zero::Always,
        merge: None,
        replace: false,
        retain_keys: false,
        list: ListType::Plain,
    };
    for flag in words {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("required", _) => field.required = true,
            ("omitempty", _) => field.zero = Zero::Omitted,
            ("pointer", _) => field.zero = Zero::Pointer,
            (tag, _) if tag.starts_with('#') => {
                field.tag = tag[1..].split('.').filter_map(|n| n.parse().ok()).collect();
            }
            ("merge", key) => field.merge = Some(key),
            ("replace", _) => field.replace = true,
            ("retainKeys", _) => field.retain_keys = true,
            ("atomic", _) => field.list = ListType::Atomic,
            ("set", _) => field.list = ListType::Set,
            ("map", keys) => field.list = ListType::Map(keys.split(',').collect()),
            _ => {}
        }
    }
    field
}

fn kind(text: &'static str) -> Kind {
    if let Some(of) = text.strip_prefix("[]") {
        return Kind::List(Box::new(kind(of)));
    }
    if let Some(of) = text.strip_prefix("map[string]") {
        return Kind::Map(Box::new(kind(of)));
    }
    match text {
        "any" => Kind::Any,
        "bool" => Kind::Bool,
        "bytes" => Kind::Bytes,
        "float64" => Kind::Float,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "intorstring" => Kind::IntOrString,
        "microtime" => Kind::MicroTime,
        "quantity" => Kind::Quantity,
        "string" => Kind::String,
        "time" => Kind::Time,
        other => Kind::Struct(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_a_field_names_is_there() {
        fn named(kind: &Kind) -> Option<&'static str> {
            match kind {
                Kind::Struct(name) => Some(name),
                Kind::List(of) | Kind::Map(of) => named(of),
                _ => None,
            }
        }
        for of in TYPES.all() {
            for field in &of.fields {
                if let Some(name) = named(&field.kind) {
                    assert!(
                        TYPES.get(name).is_some(),
                        "{}.{}: {name}",
                        of.name,
                        field.name
                    );
                }
            }
        }
    }

    #[test]
    fn containers_merge_by_name() {
        let pod = TYPES.get("core.v1.PodSpec").unwrap();
        assert_eq!(pod.field("containers").unwrap().merge, Some("name"));
        assert!(pod.field("volumes").unwrap().retain_keys);
    }
}
