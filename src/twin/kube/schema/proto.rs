//! Reading the binary notation in which kubectl's typed clients send objects
//! (`application/vnd.kubernetes.protobuf`). Nothing is written in it: answers are JSON.

use base64::Engine as _;
use serde_json::{Map, Number, Value, json};

use super::{Kind, Struct, TYPES};

/// What each document begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Reads a document of a kind.
///
/// # Errors
/// It is not in this notation, or of a kind that is not built in.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
    )?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, wire) in Fields(rest) {
        match (number, wire) {
            (1, Wire::Bytes(meta)) => {
                for (number, wire) in Fields(meta) {
                    match (number, wire) {
                        (1, Wire::Bytes(text)) => api_version = text_of(text),
                        (2, Wire::Bytes(text)) => kind = text_of(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let of = TYPES
        .of(group, version, &kind)
        .or_else(|| TYPES.get(&format!("meta.v1.{kind}")))
        .ok_or_else(|| format!("no kind \"{kind}\" is registered for version \"{api_version}\""))?;
    let mut object = Map::new();
    message(raw, of, &[], &mut object);
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

enum Wire<'a> {
    Bytes(&'a [u8]),
    Double(f64),
    Varint(u64),
}

/// The fields of a message; ends at the first that is broken.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Wire<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok()?;
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Double(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((number, wire))
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Reads a message into an object. `at` is the way into the messages that JSON has inline.
fn message(bytes: &[u8], of: &'static Struct, at: &[u32], out: &mut Map<String, Value>) {
    for (number, wire) in Fields(bytes) {
        let mut path = at.to_vec();
        path.push(number);
        if let Some(field) = of.fields.iter().find(|f| f.tag == path) {
            add(out, field.name, &field.kind, &wire);
        } else if let Wire::Bytes(inner) = wire
            && of.fields.iter().any(|f| f.tag.starts_with(&path))
        {
            message(inner, of, &path, out);
        }
    }
}

fn add(out: &mut Map<String, Value>, name: &str, kind: &Kind, wire: &Wire<'_>) {
    match (kind, wire) {
        (Kind::List(of), wire) => {
            let list = out.entry(name.to_owned()).or_insert_with(|| json!([]));
            if let (Value::Array(items), Some(value)) = (list, value(of, wire)) {
                items.push(value);
            }
        }
        (Kind::Map(of), Wire::Bytes(entry)) => {
            let map = out.entry(name.to_owned()).or_insert_with(|| json!({}));
            let (mut key, mut found) = (String::new(), Value::Null);
            for (number, wire) in Fields(entry) {
                match (number, &wire) {
                    (1, Wire::Bytes(text)) => key = text_of(text),
                    (2, Wire::Bytes(inner)) if matches!(**of, Kind::List(_)) => {
                        found = listed(inner);
                    }
                    (2, _) => found = value(of, &wire).unwrap_or_default(),
                    _ => {}
                }
            }
            map[key] = found;
        }
        (kind, wire) => {
            if let Some(value) = value(kind, wire) {
                out.insert(name.to_owned(), value);
            }
        }
    }
}

/// A list of texts that is a message of its own.
fn listed(bytes: &[u8]) -> Value {
    Fields(bytes)
        .filter_map(|(_, wire)| match wire {
            Wire::Bytes(text) => Some(Value::from(text_of(text))),
            _ => None,
        })
        .collect()
}

fn value(kind: &Kind, wire: &Wire<'_>) -> Option<Value> {
    match (kind, wire) {
        (Kind::Bool, Wire::Varint(number)) => Some((*number != 0).into()),
        (Kind::Int32 | Kind::Int64, Wire::Varint(number)) => Some(number.cast_signed().into()),
        (Kind::Float, Wire::Double(number)) => Number::from_f64(*number).map(Value::Number),
        (Kind::String, Wire::Bytes(text)) => Some(text_of(text).into()),
        (Kind::Bytes, Wire::Bytes(bytes)) => Some(
            base64::engine::general_purpose::STANDARD
                .encode(bytes)
                .into(),
        ),
        (Kind::Quantity, Wire::Bytes(inner)) => first_text(inner).map(Value::from),
        (Kind::IntOrString, Wire::Bytes(inner)) => Some(int_or_string(inner)),
        (Kind::Time | Kind::MicroTime, Wire::Bytes(inner)) => time(inner),
        (Kind::Any, Wire::Bytes(inner)) => {
            first_bytes(inner).and_then(|raw| serde_json::from_slice(raw).ok())
        }
        (Kind::Struct(_), Wire::Bytes(inner)) => {
            let mut object = Map::new();
            message(inner, kind.fields()?, &[], &mut object);
            Some(Value::Object(object))
        }
        _ => None,
    }
}

fn first_bytes(message: &[u8]) -> Option<&[u8]> {
    Fields(message).find_map(|(number, wire)| match wire {
        Wire::Bytes(bytes) if number == 1 => Some(bytes),
        _ => None,
    })
}

fn first_text(message: &[u8]) -> Option<String> {
    first_bytes(message).map(text_of)
}

fn int_or_string(message: &[u8]) -> Value {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for (field, wire) in Fields(message) {
        match (field, wire) {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = text_of(value),
            _ => {}
        }
    }
    if is_text { text.into() } else { number.into() }
}

/// Nothing stands for the zero time.
fn time(message: &[u8]) -> Option<Value> {
    let (mut seconds, mut nanos) = (None, 0);
    for (field, wire) in Fields(message) {
        match (field, wire) {
            (1, Wire::Varint(value)) => seconds = Some(value.cast_signed()),
            (2, Wire::Varint(value)) => nanos = i32::try_from(value).unwrap_or(0),
            _ => {}
        }
    }
    let at = jiff::Timestamp::new(seconds?, nanos).ok()?;
    Some(at.to_string().into())
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field whose content has a length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[number << 3 | 2, length], content].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let entry = [field(1, b"k"), field(2, b"v")].concat();
        let object = [field(1, &field(1, b"a")), field(2, &entry)].concat();
        let document = [MAGIC, &field(1, &kind), &field(2, &object)].concat();
        assert_eq!(
            read(&document).unwrap(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
        );
    }

    #[test]
    fn json_is_not_this_notation() {
        assert!(read(b"{}").is_err());
    }
}
