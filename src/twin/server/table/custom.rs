//! Rows of custom resources, by the columns of their CRD.

use serde_json::{Value, json};

use super::super::super::kube::CustomVersion;
use super::time;

/// The columns of a version.
pub fn columns(custom: &CustomVersion) -> Vec<Value> {
    let mut all = vec![super::column(&super::NAME)];
    if custom.columns.is_empty() {
        all.push(super::column(&("Age", "date", 0)));
    }
    for column in &custom.columns {
        let text = |field: &str| column[field].as_str().unwrap_or_default().to_owned();
        all.push(json!({
            "name": text("name"), "type": text("type"), "format": text("format"),
            "priority": column["priority"].as_i64().unwrap_or(0),
            "description": column["description"].as_str().map_or_else(
                || format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
                str::to_owned,
            ),
        }));
    }
    all
}

/// The cells of one object.
pub fn cells(custom: &CustomVersion, object: &Value) -> Vec<Value> {
    let mut all = vec![object["metadata"]["name"].clone()];
    if custom.columns.is_empty() {
        all.push(time::since(&object["metadata"]["creationTimestamp"]).into());
    }
    for column in &custom.columns {
        let path = column["jsonPath"].as_str().unwrap_or_default();
        let found = find(object, path);
        all.push(match (column["type"].as_str(), found) {
            (_, None) => Value::Null,
            (Some("date"), Some(value)) => time::since(value).into(),
            (Some("string"), Some(value)) if !value.is_string() => value.to_string().into(),
            (_, Some(value)) => value.clone(),
        });
    }
    all
}

/// The simple paths that columns use: fields, quoted fields, indices, and filters on one field
/// (`.status.conditions[?(@.type=="Ready")].status`).
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[?(@.") {
            let (filter, after) = after.split_once(")]")?;
            let (field, wanted) = filter.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            at = at.as_array()?.iter().find(|i| i[field.trim()] == wanted)?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']')?;
            at = match inside.trim_matches(['"', '\'']).parse::<usize>() {
                Ok(index) => at.get(index)?,
                Err(_) => at.get(inside.trim_matches(['"', '\'']))?,
            };
            rest = after;
        } else {
            let field = rest.strip_prefix('.').unwrap_or(rest);
            let mut end = field.len();
            let mut escaped = false;
            for (index, c) in field.char_indices() {
                if !escaped && (c == '.' || c == '[') {
                    end = index;
                    break;
                }
                escaped = c == '\\';
            }
            at = at.get(field[..end].replace('\\', ""))?;
            rest = &field[end..];
        }
    }
    Some(at)
}
