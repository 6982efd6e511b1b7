//! Values as a person reads them at a prompt: short ones on one line as the language writes them,
//! long ones broken up, Kubernetes objects as YAML.

use super::kit::View;
use rhai::{Array, Dynamic, ImmutableString, Map};
use serde_json::Value;

/// Longer than this, a map or an array is broken into lines.
const WIDTH: usize = 80;

/// Shows a value that is neither data nor an object; the flag says whether it stands alone.
type Custom<'a> = &'a dyn Fn(&Dynamic, bool) -> String;

/// `value` as text without a final line break.
pub(super) fn pretty(value: &Dynamic, custom: Custom<'_>) -> String {
    if let Some(text) = value.read_lock::<ImmutableString>()
        && text.contains('\n')
    {
        return text.trim_end_matches('\n').to_owned();
    }
    if let Some(view) = value.read_lock::<View>() {
        return yaml(&view).unwrap_or_else(|| view.to_string());
    }
    show(value, 0, custom)
}

fn yaml(view: &View) -> Option<String> {
    let text = serde_saphyr::to_string(&view.shown()).ok()?;
    Some(text.trim_end().to_owned())
}

fn show(value: &Dynamic, indent: usize, custom: Custom<'_>) -> String {
    let inner = indent + 2;
    let parts: Vec<String> = if let Some(items) = value.read_lock::<Array>() {
        items.iter().map(|item| show(item, inner, custom)).collect()
    } else if let Some(fields) = value.read_lock::<Map>() {
        fields
            .iter()
            .map(|(key, field)| format!("{}: {}", name(key), show(field, inner, custom)))
            .collect()
    } else {
        return scalar(value, indent == 0, custom);
    };
    let (open, close) = if value.is_array() {
        ("[", "]")
    } else {
        ("#{", "}")
    };
    let one_line = match (parts.is_empty(), value.is_array()) {
        (true, _) => format!("{open}{close}"),
        (false, true) => format!("[{}]", parts.join(", ")),
        (false, false) => format!("#{{ {} }}", parts.join(", ")),
    };
    if one_line.chars().count() + indent <= WIDTH && !one_line.contains('\n') {
        return one_line;
    }
    let pad = " ".repeat(inner);
    let lines: Vec<String> = parts.iter().map(|part| format!("{pad}{part},\n")).collect();
    format!("{open}\n{}{}{close}", lines.concat(), " ".repeat(indent))
}

fn scalar(value: &Dynamic, whole: bool, custom: Custom<'_>) -> String {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return format!("{:?}", text.as_str());
    }
    if let Some(view) = value.read_lock::<View>() {
        return brief(&view);
    }
    if value.is_unit() {
        return "()".to_owned();
    }
    if let Ok(letter) = value.as_char() {
        return format!("{letter:?}");
    }
    let is_plain = value.is_bool() || value.is_int() || value.is_float();
    if is_plain {
        value.to_string()
    } else {
        custom(value, whole)
    }
}

/// An object inside of something else: its name if it is a whole one, else what fits.
fn brief(view: &View) -> String {
    let text = |pointer: &str| view.value().pointer(pointer).and_then(Value::as_str);
    match (
        text("/kind"),
        text("/metadata/name"),
        text("/metadata/namespace"),
    ) {
        (Some(kind), Some(name), Some(namespace)) => format!("‹{kind} {namespace}/{name}›"),
        (Some(kind), Some(name), None) => format!("‹{kind} {name}›"),
        _ => {
            let json = view.to_string();
            if json.chars().count() <= WIDTH {
                return json;
            }
            let fields = view.value().as_object().map_or(0, serde_json::Map::len);
            format!("‹object with {fields} fields›")
        }
    }
}

/// A key, quoted where the language wants it.
fn name(key: &str) -> String {
    let plain = key
        .chars()
        .enumerate()
        .all(|(i, c)| c == '_' || c.is_ascii_alphabetic() || i > 0 && c.is_ascii_digit());
    if plain && !key.is_empty() {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kit::to_dynamic;
    use serde_json::json;
    use std::sync::Arc;

    fn show(value: &serde_json::Value) -> String {
        pretty(&to_dynamic(value), &|_, _| "custom".to_owned())
    }

    #[test]
    fn short_values_are_written_as_in_the_language() {
        assert_eq!(
            show(&json!([1, 2.5, "a\"b", null, true])),
            r#"[1, 2.5, "a\"b", (), true]"#
        );
        assert_eq!(
            show(&json!({"a": {}, "istio.io/rev": []})),
            r#"#{ a: #{}, "istio.io/rev": [] }"#
        );
        assert_eq!(show(&json!("two\nlines\n")), "two\nlines");
    }

    #[test]
    fn long_values_are_broken_and_objects_are_yaml() {
        let long = json!({"names": ["a-long-name-of-a-pod-1", "a-long-name-of-a-pod-2", "a-long-name-of-a-pod-3", "b"], "n": 1});
        assert_eq!(
            show(&long),
            "#{\n  n: 1,\n  names: [\n    \"a-long-name-of-a-pod-1\",\n    \"a-long-name-of-a-pod-2\",\n    \"a-long-name-of-a-pod-3\",\n    \"b\",\n  ],\n}"
        );
        let pod = json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "cart-0"}});
        let pods: Array = vec![Dynamic::from(View::new(Arc::new(pod)))];
        assert_eq!(
            pretty(&pods.into(), &|_, _| String::new()),
            "[‹Pod shop/cart-0›]"
        );
        let secret = View::new(Arc::new(
            json!({"kind": "Secret", "data": {"key.pem": "S0VZ"}}),
        ));
        assert_eq!(
            pretty(&Dynamic::from(secret), &|_, _| String::new()),
            "data:\n  key.pem: ‹redacted›\nkind: Secret"
        );
    }
}
