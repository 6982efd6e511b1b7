//! What is different between two readings of many objects: which came, went and changed, and in which fields.
//!
//! For what somebody else did (an installer, a controller), of which there is no answer of the server to show. As
//! in [`super::diff`], the server's own fields are no difference and no value of a Secret is shown. A text that is
//! YAML, as in Istio's ConfigMaps, is compared field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::Object;
use super::diff::{REDACTED, asked};

/// The longest value that is shown whole, in characters.
const SHOWN: usize = 60;

/// One object that is not as it was.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What it was; none if it was not there.
    pub before: Option<Object>,
    /// What it is; none if it is gone.
    pub after: Option<Object>,
    /// Which fields changed; empty for an object that came or went.
    pub fields: Vec<FieldChange>,
}

/// One field that is not as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldChange {
    /// `spec.containers[0].image`; keys that are no plain word in brackets and quotes.
    pub path: String,
    /// Its old value, shortened; none if it was not there.
    pub was: Option<String>,
    /// Its new value.
    pub is: Option<String>,
}

impl Difference {
    /// What it is, or was.
    pub fn object(&self) -> Option<&Object> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// `+` for one that came, `-` for one that went, `~` for one that changed.
    pub fn sign(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "+",
            (_, None) => "-",
            _ => "~",
        }
    }
}

/// `~ configmap istio-system/istio`, and a line for each field.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(object) = self.object() else {
            return Ok(());
        };
        write!(f, "{} {} ", self.sign(), object.kind().to_lowercase())?;
        if let Some(namespace) = object.namespace() {
            write!(f, "{namespace}/")?;
        }
        f.write_str(object.name())?;
        for field in &self.fields {
            let side = |side: &'_ Option<String>| side.clone().unwrap_or_else(|| "nothing".into());
            let (was, is) = (side(&field.was), side(&field.is));
            write!(f, "\n    {}: {was} → {is}", field.path)?;
        }
        Ok(())
    }
}

/// The objects of `before` and `after` that are not the same, by kind, namespace and name.
///
/// An object that was deleted and made again is one that changed, whatever its UID.
pub fn compare(before: &[Object], after: &[Object]) -> Vec<Difference> {
    let mut all = BTreeMap::<_, (Option<&Object>, Option<&Object>)>::new();
    for object in before {
        all.entry(key(object)).or_default().0 = Some(object);
    }
    for object in after {
        all.entry(key(object)).or_default().1 = Some(object);
    }
    let mut found = Vec::new();
    for (was, is) in all.into_values() {
        let mut fields = Vec::new();
        if let (Some(was), Some(is)) = (was, is) {
            walk(&asked(was), &asked(is), &mut Vec::new(), &mut fields);
            if fields.is_empty() {
                continue;
            }
            if is.kind() == "Secret" {
                hide(&mut fields);
            }
        }
        found.push(Difference {
            before: was.cloned(),
            after: is.cloned(),
            fields,
        });
    }
    found
}

fn key(object: &Object) -> (String, String, String) {
    // The same object in another version of its group is the same object.
    let group = object.api_version().split_once('/').map_or("", |(g, _)| g);
    (
        format!("{}.{group}", object.kind()),
        object.namespace().unwrap_or_default().to_owned(),
        object.name().to_owned(),
    )
}

fn walk(was: &Value, is: &Value, path: &mut Vec<String>, found: &mut Vec<FieldChange>) {
    if was == is {
        return;
    }
    if let (Value::Object(was), Value::Object(is)) = (was, is) {
        let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for key in keys {
            // A copy of the rest, which is compared itself.
            if key == "kubectl.kubernetes.io/last-applied-configuration" {
                continue;
            }
            path.push(key.clone());
            let none = Value::Null;
            walk(
                was.get(key).unwrap_or(&none),
                is.get(key).unwrap_or(&none),
                path,
                found,
            );
            path.pop();
        }
        return;
    }
    if let (Value::Array(was), Value::Array(is)) = (was, is)
        && was.len() == is.len()
        && was.iter().chain(is).all(Value::is_object)
    {
        for (index, (was, is)) in was.iter().zip(is).enumerate() {
            path.push(index.to_string());
            walk(was, is, path, found);
            path.pop();
        }
        return;
    }
    // The first label or annotation brings the map that holds it.
    if path.len() == 2 && path[0] == "metadata" {
        let none = Value::Object(serde_json::Map::new());
        match (was, is) {
            (Value::Null, Value::Object(_)) => return walk(&none, is, path, found),
            (Value::Object(_), Value::Null) => return walk(was, &none, path, found),
            _ => {}
        }
    }
    if let (Some(was), Some(is)) = (document(was), document(is)) {
        return walk(&was, &is, path, found);
    }
    found.push(FieldChange {
        path: written(path),
        was: shown(was),
        is: shown(is),
    });
}

/// The map that a text of several lines says in YAML.
fn document(value: &Value) -> Option<Value> {
    let text = value.as_str().filter(|text| text.contains('\n'))?;
    serde_saphyr::from_str::<Value>(text)
        .ok()
        .filter(Value::is_object)
}

fn written(path: &[String]) -> String {
    let mut text = String::new();
    for key in path {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let (before, after) = if key.chars().all(|c| c.is_ascii_digit()) {
            ("[", "]")
        } else if !key.chars().all(plain) {
            ("['", "']")
        } else if text.is_empty() {
            ("", "")
        } else {
            (".", "")
        };
        text.extend([before, key, after]);
    }
    text
}

fn shown(value: &Value) -> Option<String> {
    let whole = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = whole.lines().collect::<Vec<_>>().join("⏎");
    if line.chars().count() <= SHOWN {
        return Some(line);
    }
    let start: String = line.chars().take(SHOWN).collect();
    Some(format!("{start}… ({} characters)", whole.chars().count()))
}

fn hide(fields: &mut [FieldChange]) {
    for field in fields {
        if field.path.starts_with("metadata") {
            continue;
        }
        for side in [&mut field.was, &mut field.is].into_iter().flatten() {
            REDACTED.clone_into(side);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(name: &str, version: &str, data: Value) -> Object {
        Object::new(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"namespace": "n", "name": name, "resourceVersion": version, "uid": version},
        }))
    }

    fn field(path: &str, was: Option<&str>, is: Option<&str>) -> FieldChange {
        FieldChange {
            path: path.to_owned(),
            was: was.map(str::to_owned),
            is: is.map(str::to_owned),
        }
    }

    #[test]
    fn what_came_went_and_changed_is_told_and_what_only_the_server_counts_is_not() {
        let before = [
            map("same", "1", json!({"a": "1"})),
            map("gone", "1", json!({})),
            map("other", "1", json!({"a": "1", "b/c": "2"})),
        ];
        let after = [
            map("new", "9", json!({})),
            map("other", "2", json!({"a": "2", "d": "3"})),
            map("same", "2", json!({"a": "1"})),
        ];
        let found = compare(&before, &after);
        let told: Vec<_> = found
            .iter()
            .map(|d| (d.before.is_some(), d.after.is_some(), d.fields.len()))
            .collect();
        assert_eq!(told, [(true, false, 0), (false, true, 0), (true, true, 3)]);
        assert_eq!(
            found[2].fields,
            [
                field("data.a", Some("1"), Some("2")),
                field("data['b/c']", Some("2"), None),
                field("data.d", None, Some("3")),
            ]
        );
    }

    #[test]
    fn a_text_that_is_yaml_is_compared_field_by_field() {
        let of = |aliases: &str| {
            map(
                "istio",
                "1",
                json!({"mesh": format!("trustDomain: td\ntrustDomainAliases: {aliases}\n")}),
            )
        };
        let found = compare(&[of("[]")], &[of("[cluster.local]")]);
        assert_eq!(
            found[0].fields,
            [field(
                "data.mesh.trustDomainAliases",
                Some("[]"),
                Some("[\"cluster.local\"]")
            )]
        );
    }

    #[test]
    fn containers_are_compared_one_by_one_and_long_values_are_cut() {
        let of = |image: &str| {
            Object::new(
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {"containers": [{"name": "a", "image": image}]}, "status": {"seen": image}}),
            )
        };
        let long = "x".repeat(100);
        let found = compare(&[of("a:1")], &[of(&long)]);
        assert_eq!(found[0].fields.len(), 1, "{found:?}");
        assert_eq!(found[0].fields[0].path, "spec.containers[0].image");
        let is = found[0].fields[0].is.as_deref().unwrap();
        assert!(is.ends_with("x… (100 characters)"), "{is}");
    }

    #[test]
    fn a_first_label_is_one_field() {
        let of = |labels: Value| {
            let metadata = json!({"name": "n", "labels": labels});
            Object::new(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
        };
        let (none, one) = (of(Value::Null), of(json!({"a.b/c": "d"})));
        let found = compare(std::slice::from_ref(&none), std::slice::from_ref(&one));
        assert_eq!(
            found[0].fields,
            [field("metadata.labels['a.b/c']", None, Some("d"))]
        );
        let found = compare(&[one], &[none]);
        assert_eq!(
            found[0].fields,
            [field("metadata.labels['a.b/c']", Some("d"), None)]
        );
    }

    #[test]
    fn of_a_secret_it_is_told_that_a_value_changed_and_never_which() {
        let of = |key: &str| {
            Object::new(json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "cacerts", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": key}},
                "data": {"ca-key.pem": key}}))
        };
        let found = compare(&[of("b2xk")], &[of("bmV3")]);
        assert_eq!(
            found[0].fields,
            [field(
                "data['ca-key.pem']",
                Some("‹redacted›"),
                Some("‹redacted›")
            )]
        );
    }
}
