//! Label selectors of objects: `matchLabels` and `matchExpressions`, asked here and not on the server.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether a `LabelSelector` selects these labels. An empty one selects all, an absent one none.
pub(super) fn selects(selector: Option<&Value>, labels: &BTreeMap<String, String>) -> bool {
    let Some(Value::Object(selector)) = selector else {
        return false;
    };
    let equal = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    equal
        && items(selector.get("matchExpressions"))
            .iter()
            .all(|requirement| holds(requirement, labels) == Some(true))
}

/// Whether one requirement holds: `In`, `NotIn`, `Exists`, `DoesNotExist`, and for nodes `Gt`, `Lt`.
/// None for an operator that is none of these.
pub(super) fn holds(requirement: &Value, labels: &BTreeMap<String, String>) -> Option<bool> {
    let label = labels.get(requirement["key"].as_str().unwrap_or(""));
    let values = items(requirement.get("values"));
    let among = label.is_some_and(|label| values.iter().any(|v| v == label.as_str()));
    let number = |than: fn(&i64, &i64) -> bool| {
        let bound = values.first().and_then(|v| v.as_str()?.parse::<i64>().ok());
        let own = label.and_then(|l| l.parse::<i64>().ok());
        own.zip(bound)
            .is_some_and(|(own, bound)| than(&own, &bound))
    };
    Some(match requirement["operator"].as_str()? {
        "In" => among,
        "NotIn" => !among,
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        "Gt" => number(i64::gt),
        "Lt" => number(i64::lt),
        _ => return None,
    })
}

/// A map of texts, as labels are.
pub(super) fn texts(map: Option<&Value>) -> BTreeMap<String, String> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The elements of a list that may be absent.
pub(super) fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select_as_the_server_does() {
        let labels = texts(Some(&json!({"app": "web", "tier": "3"})));
        let selects = |selector: Value| selects(Some(&selector), &labels);
        assert!(selects(json!({})));
        assert!(!super::selects(None, &labels));
        assert!(selects(json!({"matchLabels": {"app": "web"}})));
        assert!(!selects(json!({"matchLabels": {"app": "web", "x": "y"}})));
        for (operator, values, expected) in [
            ("In", json!(["api", "web"]), true),
            ("In", json!(["api"]), false),
            ("NotIn", json!(["api"]), true),
            ("NotIn", json!(["web"]), false),
            ("Exists", json!(null), true),
            ("DoesNotExist", json!(null), false),
            ("Near", json!(["web"]), false),
        ] {
            let expression = json!({"key": "app", "operator": operator, "values": values});
            assert_eq!(
                selects(json!({"matchExpressions": [expression]})),
                expected,
                "{operator}"
            );
        }
        let above = json!({"key": "tier", "operator": "Gt", "values": ["2"]});
        assert_eq!(holds(&above, &labels), Some(true));
    }
}
