//! How a dump is written: as Envoy does it, indented by one space a level.
//!
//! Clusters grow with the mesh, and all proxies that got the same push have the same ones, but for the time at which each
//! got it. So their text is made once for a push, and each dump puts its own time in.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde::Serialize as _;
use serde_json::Value;

use super::{Pushed, sections, stamp};

/// Stands for the time in a text that is shared; no name of Kubernetes or Istio has such a character.
const TIME: &str = "\u{2022}";

/// A section of a dump, by field.
pub(super) type Section<'a> = BTreeMap<String, Field<'a>>;

/// A field of a section.
pub(super) enum Field<'a> {
    /// The clusters of a push, and when the proxy got it.
    Clusters(&'a Pushed, Timestamp),
    /// What is the proxy's own.
    Own(Value),
}

/// The text of a push's clusters, in pieces between which the time belongs. Made when it is first asked for.
#[derive(Debug, Default)]
pub(in crate::twin::mesh) struct Shown(OnceLock<Vec<String>>);

impl PartialEq for Shown {
    /// It follows from the rest of a push.
    fn eq(&self, _: &Shown) -> bool {
        true
    }
}

impl Eq for Shown {}

/// The whole dump.
pub(super) fn document(sections: &[Section<'_>]) -> String {
    let mut text = "{\n \"configs\": [".to_owned();
    for (at, section) in sections.iter().enumerate() {
        text += if at == 0 { "\n  {" } else { ",\n  {" };
        for (at, (name, field)) in section.iter().enumerate() {
            text += if at == 0 { "\n   " } else { ",\n   " };
            text.extend(["\"", name.as_str(), "\": "]);
            match field {
                Field::Clusters(pushed, updated) => text += &clusters(pushed, *updated),
                Field::Own(value) => text += &indented(value),
            }
        }
        text += "\n  }";
    }
    text + "\n ]\n}\n"
}

fn clusters(pushed: &Pushed, updated: Timestamp) -> String {
    let pieces = pushed.shown.0.get_or_init(|| {
        let text = indented(&Value::Array(sections::dynamic_clusters(pushed, TIME)));
        text.split(TIME).map(str::to_owned).collect()
    });
    pieces.join(&stamp(updated))
}

/// As a field's value. A text of JSON has no line ends but those between its parts.
fn indented(value: &Value) -> String {
    pretty(value).replace('\n', "\n   ")
}

/// A document of JSON without its last line end.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let written = value.serialize(&mut writer).is_ok();
    let text = written.then(|| String::from_utf8(text).ok()).flatten();
    text.unwrap_or_else(|| value.to_string())
}
