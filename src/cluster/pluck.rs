//! Reading only those parts of a JSON text that paths lead to.
//!
//! Of 13 kB of a pod, a list that is counted or filtered needs a few fields; the rest is passed over
//! without becoming values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::path::FieldPath;

/// Which parts are read.
#[derive(Debug, Default)]
pub(super) struct Mask {
    /// All of it, from here on.
    all: bool,
    fields: BTreeMap<String, Mask>,
}

impl Mask {
    /// What these paths lead to, and what names the object in messages.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a FieldPath>) -> Self {
        let mut mask = Self::default();
        for fields in [
            ["kind", ""],
            ["metadata", "name"],
            ["metadata", "namespace"],
        ] {
            mask.add(fields.into_iter().filter(|f| !f.is_empty()));
        }
        for path in paths {
            mask.add(path.leading_fields());
        }
        mask
    }

    fn add<'a>(&mut self, fields: impl Iterator<Item = &'a str>) {
        let mut mask = self;
        for field in fields {
            mask = mask.fields.entry(field.to_owned()).or_default();
        }
        mask.all = true;
    }

    /// The parts of a JSON text.
    ///
    /// # Errors
    /// It is no JSON.
    pub(super) fn read(&self, text: &str) -> Result<Value, serde_json::Error> {
        let mut from = serde_json::Deserializer::from_str(text);
        let value = self.deserialize(&mut from)?;
        from.end()?;
        Ok(value)
    }
}

impl<'de> DeserializeSeed<'de> for &Mask {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        if self.all {
            return Value::deserialize(from);
        }
        from.deserialize_any(self)
    }
}

/// Where a path goes on but the text does not, there is nothing: `null`.
impl<'de> Visitor<'de> for &Mask {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<Cow<'de, str>>()? {
            match self.fields.get(key.as_ref()) {
                Some(mask) => {
                    let value = from.next_value_seed(mask)?;
                    map.insert(key.into_owned(), value);
                }
                None => {
                    from.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        while from.next_element::<IgnoredAny>()?.is_some() {}
        // A path that goes on with a field is wrong, which can be said only if the list is one.
        Ok(Value::Array(Vec::new()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_path_finds_in_the_parts_what_it_finds_in_the_whole() {
        let whole = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a", "namespace": "shop", "uid": "1", "labels": {"istio.io/rev": "r1", "x": "y"}},
            "spec": {"nodeName": "n1", "replicas": 3, "share": 0.5, "paused": true, "none": null,
                "containers": [{"name": "main", "image": "x"}, {"name": "proxy"}], "text": "a\"\u{e4}\n"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let paths = [
            ".spec.nodeName",
            ".spec.nodeName.below",
            ".spec.replicas",
            ".spec.share.x",
            ".spec.paused",
            ".spec.paused.x",
            ".spec.none",
            ".spec.none.x",
            ".spec.text",
            ".spec.text.x",
            ".spec.replicas.x",
            ".spec.containers[*].name",
            ".spec.containers.name",
            ".spec.containers[0].image",
            ".spec.*",
            ".metadata.labels['istio.io/rev']",
            ".metadata",
            ".metadata.uid",
            ".status.conditions[?(@.type==\"Ready\")].status",
            ".nothing.at.all",
            ".kind",
        ];
        let text = whole.to_string();
        let paths: Vec<FieldPath> = paths.iter().map(|p| FieldPath::parse(p).unwrap()).collect();
        let all = Mask::of(&paths).read(&text).unwrap();
        for path in &paths {
            let one = Mask::of([path]).read(&text).unwrap();
            let wanted = path.values(&whole);
            assert_eq!(path.values(&one), wanted, "{path}");
            assert_eq!(path.values(&all), wanted, "{path}");
        }
        let one = Mask::of([&paths[0]]).read(&text).unwrap();
        let parts = json!({"kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}, "spec": {"nodeName": "n1"}});
        assert_eq!(one, parts);
        assert!(Mask::of(&paths).read("{\"kind\":").is_err());
    }
}
