//! Cells that the rows of workloads share.

use serde_json::Value;

use super::super::subresources::selector_text;

/// Names and images of the containers of a template.
pub fn containers(object: &Value) -> [Value; 2] {
    let all = object["spec"]["template"]["spec"]["containers"].as_array();
    let join = |field: &str| -> Value {
        let texts: Vec<&str> = all
            .into_iter()
            .flatten()
            .filter_map(|c| c[field].as_str())
            .collect();
        texts.join(",").into()
    };
    [join("name"), join("image")]
}

/// A selector, or `<none>`.
pub fn selector(selector: &Value) -> Value {
    match selector_text(selector).as_str() {
        "" => "<none>".into(),
        text => text.into(),
    }
}
