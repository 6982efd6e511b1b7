//! JSON ⇄ Rhai values.

use super::{Reply, View, fail};
use crate::engine::Failure;
use rhai::{Array, Dynamic, Map};
use serde_json::{Number, Value};

/// `value` as a script's own data: maps and arrays that it may edit.
///
/// Integers beyond 64 bits become floats. To show a large object without copying it, use [`View`].
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number
            .as_i64()
            .map(Dynamic::from)
            .or_else(|| number.as_f64().map(Dynamic::from))
            .unwrap_or(Dynamic::UNIT),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Array>().into(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.as_str().into(), to_dynamic(value)))
            .collect::<Map>()
            .into(),
    }
}

/// The JSON of a value whose type the words have added; `None` for types that have none.
pub type JsonForm = fn(&Dynamic) -> Option<Value>;

/// `value` as JSON. `()` is null; a [`View`] is the object that it shows.
///
/// # Errors
/// A value that JSON cannot say (a closure, a handle, a float that is not a number), with its path.
pub fn to_json(value: &Dynamic) -> Reply<Value> {
    to_json_with(value, |_| None)
}

/// As [`to_json`], with a form for types that the words have added.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_with(value: &Dynamic, form: JsonForm) -> Reply<Value> {
    convert(value, &View::value_of, form, &mut Vec::new())
}

/// As [`to_json_with`], for people: the values of Secrets are hidden.
///
/// # Errors
/// As [`to_json`].
pub fn to_shown_json(value: &Dynamic, form: JsonForm) -> Reply<Value> {
    convert(value, &View::shown, form, &mut Vec::new())
}

/// `value` as text: a text as it is, an object with the values of Secrets hidden, anything else as
/// JSON if it has that form.
pub fn text(value: &Dynamic) -> String {
    if value.is_string() || !(value.is_array() || value.is_map() || value.is::<View>()) {
        return value.to_string();
    }
    to_shown_json(value, |_| None).map_or_else(|_| value.to_string(), |json| json.to_string())
}

fn convert(
    value: &Dynamic,
    of: &dyn Fn(&View) -> Value,
    form: JsonForm,
    path: &mut Vec<String>,
) -> Reply<Value> {
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Value::Number(number.into()));
    }
    if let Ok(number) = value.as_float() {
        return Number::from_f64(number).map(Value::Number).ok_or_else(|| {
            fail(Failure::script(format!(
                "{number} has no JSON form{}",
                at(path)
            )))
        });
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return Ok(Value::String(text.to_string()));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::String(letter.to_string()));
    }
    if let Some(items) = value.read_lock::<Array>() {
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            path.push(format!("[{index}]"));
            out.push(convert(item, of, form, path)?);
            path.pop();
        }
        return Ok(Value::Array(out));
    }
    if let Some(fields) = value.read_lock::<Map>() {
        let mut out = serde_json::Map::new();
        for (key, field) in fields.iter() {
            path.push(format!(".{key}"));
            out.insert(key.to_string(), convert(field, of, form, path)?);
            path.pop();
        }
        return Ok(Value::Object(out));
    }
    if let Some(view) = value.read_lock::<View>() {
        return Ok(of(&view));
    }
    if let Some(json) = form(value) {
        return Ok(json);
    }
    let kind = if value.is_fnptr() {
        "a function"
    } else {
        value.type_name().rsplit("::").next().unwrap_or("a value")
    };
    Err(fail(Failure::script(format!(
        "{kind} has no JSON form{}",
        at(path)
    ))))
}

fn at(path: &[String]) -> String {
    if path.is_empty() {
        return String::new();
    }
    format!(" (at `{}`)", path.concat().trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_survives_the_way_there_and_back() {
        let value = json!({"a": [1, 2.5, true, null, "x"], "b": {"c": {}}});
        assert_eq!(to_json(&to_dynamic(&value)).unwrap(), value);
    }

    #[test]
    fn a_value_without_json_form_is_named_with_its_path() {
        let mut inner = Map::new();
        inner.insert("run".into(), Dynamic::from(rhai::FnPtr::new("f").unwrap()));
        let mut map = Map::new();
        map.insert("hooks".into(), vec![Dynamic::from(inner)].into());
        let error = to_json(&map.into()).unwrap_err();
        assert_eq!(
            super::super::failure_of(&error).message,
            "a function has no JSON form (at `hooks[0].run`)"
        );
    }
}
