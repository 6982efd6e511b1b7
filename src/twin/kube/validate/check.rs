//! Checks that many kinds share.

use serde_json::Value;

use super::super::selector::LabelSelector;
use super::super::status::Cause;
use super::{meta, names};

/// A number that may not be negative; absent is fine.
pub fn not_negative(path: &str, value: &Value) -> Option<Cause> {
    value
        .as_i64()
        .filter(|n| *n < 0)
        .map(|_| Cause::invalid(path, value, "must be greater than or equal to 0"))
}

/// A number or percentage that may not be negative.
pub fn int_or_percent(path: &str, value: &Value) -> Option<Cause> {
    match value {
        Value::String(text) if !is_percent(text) => Some(Cause::invalid(
            path,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
             regex used for validation is '[0-9]+%')",
        )),
        other => not_negative(path, other),
    }
}

/// A percentage of at most 100.
pub fn at_most_100_percent(path: &str, value: &Value) -> Option<Cause> {
    let over = value
        .as_str()
        .filter(|t| is_percent(t))
        .and_then(number_of)
        .is_some_and(|n| n > 100);
    over.then(|| Cause::invalid(path, value, "must not be greater than 100%"))
}

/// The number of a number or a percentage.
pub fn amount(value: &Value) -> i64 {
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(number_of))
        .unwrap_or(0)
}

fn number_of(text: &str) -> Option<i64> {
    text.strip_suffix('%').unwrap_or(text).parse().ok()
}

fn is_percent(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

/// A closed list of texts; empty is the caller's business.
pub fn one_of(path: &str, value: &Value, known: &[&str]) -> Option<Cause> {
    let is_known = value.as_str().is_some_and(|v| known.contains(&v));
    (!is_known).then(|| Cause::unsupported(path, value, known))
}

/// The labels of a selector.
pub fn selector(path: &str, selector: &Value) -> Vec<Cause> {
    let mut causes = meta::labels_at(&format!("{path}.matchLabels"), &selector["matchLabels"]);
    for (at, expression) in selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let here = format!("{path}.matchExpressions[{at}]");
        let values = expression["values"]
            .as_array()
            .is_some_and(|v| !v.is_empty());
        match expression["operator"].as_str() {
            Some("In" | "NotIn") if !values => causes.push(Cause::required(
                format!("{here}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            Some("Exists" | "DoesNotExist") if values => causes.push(Cause::forbidden(
                format!("{here}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            Some("In" | "NotIn" | "Exists" | "DoesNotExist") => {}
            _ => causes.push(Cause::invalid(
                format!("{here}.operator"),
                &expression["operator"],
                "not a valid selector operator",
            )),
        }
        let key = expression["key"].as_str().unwrap_or_default();
        for why in names::qualified_name(key) {
            causes.push(Cause::invalid(
                format!("{here}.key"),
                &expression["key"],
                why,
            ));
        }
    }
    causes
}

/// Whether a selector is there and selects by nothing.
pub fn is_empty_selector(selector: &Value) -> bool {
    let empty = |v: &Value| {
        v.as_object().is_none_or(serde_json::Map::is_empty)
            && v.as_array().is_none_or(Vec::is_empty)
    };
    !selector.is_null() && empty(&selector["matchLabels"]) && empty(&selector["matchExpressions"])
}

/// Whether a selector that is there selects the labels of a template.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    !selector.is_null() && LabelSelector::from_value(selector).is_some_and(|s| s.matches(labels))
}

/// A part that may not change.
pub fn immutable(path: &str, before: &Value, after: &Value) -> Option<Cause> {
    (before != after).then(|| Cause::invalid(path, after, "field is immutable"))
}
