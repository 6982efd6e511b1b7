//! Custom resources: what their CRD's schema says of their fields, and the resource that a CRD makes.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::registry::{CUSTOM_VERBS, CustomVersion, Resource, Version};
use super::status::Cause;

/// Removes the fields that the schema does not have; says which.
pub fn prune(object: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let Some(map) = object.as_object_mut() else {
        return unknown;
    };
    let known = &schema["properties"];
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let mut gone = Vec::new();
    for (name, value) in map.iter_mut() {
        if matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        match known.get(name) {
            Some(of) => prune_value(value, of, name, &mut unknown),
            None if open => {}
            None => gone.push(name.clone()),
        }
    }
    for name in gone {
        map.remove(&name);
        unknown.push(format!("unknown field \"{name}\""));
    }
    unknown
}

fn prune_value(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let additional = &schema["additionalProperties"];
            let mut gone = Vec::new();
            for (name, value) in map.iter_mut() {
                let here = format!("{path}.{name}");
                if let Some(of) = schema["properties"].get(name) {
                    prune_value(value, of, &here, unknown);
                } else if additional.is_object() {
                    prune_value(value, additional, &here, unknown);
                } else if !open && additional != &Value::Bool(true) {
                    gone.push(name.clone());
                }
            }
            for name in gone {
                map.remove(&name);
                unknown.push(format!("unknown field \"{path}.{name}\""));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                prune_value(item, &schema["items"], &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of a schema for what an object leaves open.
pub fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, of) in schema["properties"].as_object().into_iter().flatten() {
                let open = map
                    .get(name)
                    .is_none_or(|v| v.is_null() && of["nullable"] != true);
                if open && let Some(default) = of.get("default") {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    fill(value, of);
                }
            }
            let known = &schema["properties"];
            for (_, value) in map
                .iter_mut()
                .filter(|(name, _)| known[name.as_str()].is_null())
            {
                fill(value, &schema["additionalProperties"]);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|i| fill(i, &schema["items"])),
        _ => {}
    }
}

/// What is wrong with the values of a custom resource: types, required fields, enumerations.
pub fn validate(object: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(object, schema, "", &mut causes);
    causes
}

fn check(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() {
        return;
    }
    let place = || {
        if path.is_empty() {
            "<nil>".to_owned()
        } else {
            path.to_owned()
        }
    };
    if let Some(wanted) = schema["type"].as_str()
        && !has_type(value, wanted)
        && !(schema["x-kubernetes-int-or-string"] == true)
    {
        causes.push(Cause {
            field: place(),
            reason: "FieldValueTypeInvalid",
            message: format!(
                "Invalid value: {0}: {path} in body must be of type {wanted}: {0}",
                quoted_type(value)
            ),
        });
        return;
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
        causes.push(Cause::unsupported(place(), value, &known));
    }
    limits(value, schema, path, causes);
    match value {
        Value::Object(map) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap_or_default();
                if !map.contains_key(name) {
                    causes.push(Cause::required(join(path, name), ""));
                }
            }
            for (name, value) in map {
                let additional = &schema["additionalProperties"];
                if let Some(of) = schema["properties"].get(name) {
                    check(value, of, &join(path, name), causes);
                } else if additional.is_object() {
                    check(value, additional, &join(path, name), causes);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                check(item, &schema["items"], &format!("{path}[{at}]"), causes);
            }
        }
        _ => {}
    }
}

fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        _ => true,
    }
}

/// Bounds of numbers, and of the length of texts and lists.
fn limits(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let bound = |name: &str| schema[name].as_u64().and_then(|n| usize::try_from(n).ok());
    match value {
        Value::Number(number) => {
            let is = number.as_f64().unwrap_or(0.0);
            let beyond = |limit: &str, strict: &str, outside: fn(f64, f64) -> bool| {
                let at = schema[limit].as_f64()?;
                let strict = schema[strict] == true;
                let or_equal = if strict { "" } else { " or equal to" };
                (outside(is, at) || (strict && (is - at).abs() < f64::EPSILON))
                    .then(|| (or_equal, schema[limit].clone()))
            };
            if let Some((or_equal, limit)) = beyond("minimum", "exclusiveMinimum", |is, at| is < at)
            {
                let why = format!("{path} in body should be greater than{or_equal} {limit}");
                causes.push(Cause::invalid(path, value, why));
            }
            if let Some((or_equal, limit)) = beyond("maximum", "exclusiveMaximum", |is, at| is > at)
            {
                let why = format!("{path} in body should be less than{or_equal} {limit}");
                causes.push(Cause::invalid(path, value, why));
            }
        }
        Value::String(text) => {
            let length = text.chars().count();
            if let Some(most) = bound("maxLength").filter(|most| length > *most) {
                causes.push(Cause {
                    field: path.to_owned(),
                    reason: "FieldValueTooLong",
                    message: format!("Too long: may not be more than {most} bytes"),
                });
            }
            if let Some(least) = bound("minLength").filter(|least| length < *least) {
                let why = format!("{path} in body should be at least {least} chars long");
                causes.push(Cause::invalid(path, value, why));
            }
            if let Some(pattern) = schema["pattern"].as_str()
                && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
            {
                let why = format!("{path} in body should match '{pattern}'");
                causes.push(Cause::invalid(path, value, why));
            }
        }
        Value::Array(items) => {
            let length = items.len();
            if let Some(most) = bound("maxItems").filter(|most| length > *most) {
                causes.push(Cause {
                    field: path.to_owned(),
                    reason: "FieldValueTooMany",
                    message: format!("Too many: {length}: must have at most {most} items"),
                });
            }
            if let Some(least) = bound("minItems").filter(|least| length < *least) {
                let why = format!("{path} in body should have at least {least} items");
                causes.push(Cause::invalid(path, &length.into(), why));
            }
        }
        _ => {}
    }
}

fn quoted_type(value: &Value) -> String {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("\"{name}\"")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The resource that a CRD makes, if it serves any version.
pub fn resource(crd: &Value) -> Option<Resource> {
    let spec = &crd["spec"];
    let names = &spec["names"];
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let list = |v: &Value| -> Vec<String> {
        let all = v.as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let kind = text(&names["kind"])?;
    let mut versions: Vec<(bool, Version)> = Vec::new();
    for version in spec["versions"].as_array()? {
        if version["served"] == false {
            continue;
        }
        let mut subresources = Vec::new();
        for name in ["status", "scale"] {
            if !version["subresources"][name].is_null() {
                subresources.push(name.to_owned());
            }
        }
        let selectable = version["selectableFields"].as_array().into_iter().flatten();
        let custom = CustomVersion {
            schema: version["schema"]["openAPIV3Schema"].clone(),
            columns: version["additionalPrinterColumns"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
            scale: version["subresources"].get("scale").cloned(),
            selectable: selectable.filter_map(|f| text(&f["jsonPath"])).collect(),
        };
        let served = Version {
            name: text(&version["name"])?,
            subresources,
            custom: Some(Arc::new(custom)),
        };
        versions.push((version["storage"] == true, served));
    }
    versions.sort_by_key(|(storage, _)| !storage);
    if versions.is_empty() {
        return None;
    }
    Some(Resource {
        group: text(&spec["group"])?,
        plural: text(&names["plural"])?,
        singular: text(&names["singular"]).unwrap_or_else(|| kind.to_lowercase()),
        list_kind: text(&names["listKind"]).unwrap_or_else(|| format!("{kind}List")),
        kind,
        short: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        versions: versions.into_iter().map(|(_, v)| v).collect(),
        built_in: false,
        verbs: CUSTOM_VERBS.to_vec(),
    })
}
