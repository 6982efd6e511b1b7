//! Parameters: what was typed, what a file says, what the scenario says, what the header says.

use super::error::ParamError;
use super::header::{Header, Param};
use serde_json::{Map, Value};

/// Where parameters were given; earlier fields win over later ones.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--set NAME=VALUE`, in order; the last of a name wins.
    pub sets: Vec<String>,
    /// `--params FILE`: the file's name and its content.
    pub file: Option<(String, Value)>,
    /// The twin's scenario's parameters; those that the script does not have are for other scripts.
    pub scenario: Option<Value>,
}

/// The value of every parameter of `header`: `--set`, then the file, then the scenario, then the
/// default. `script` is its name in errors.
///
/// # Errors
/// An unknown name, a value of another type, a required parameter that nobody gave.
pub fn resolve(
    script: &str,
    header: &Header,
    given: &Given,
) -> Result<Map<String, Value>, ParamError> {
    let mut values = Map::new();
    if let Some(scenario) = &given.scenario {
        let origin = "the scenario";
        for (name, value) in fields(scenario, origin)? {
            if let Some(param) = header.param(name) {
                values.insert(name.clone(), accept(param, value, origin)?);
            }
        }
    }
    if let Some((file, content)) = &given.file {
        let origin = format!("`{file}`");
        for (name, value) in fields(content, &origin)? {
            let param = known(script, header, name, &origin)?;
            values.insert(name.clone(), accept(param, value, &origin)?);
        }
    }
    for set in &given.sets {
        let Some((name, text)) = set.split_once('=') else {
            return Err(ParamError::Form { text: set.clone() });
        };
        let name = name.trim();
        let param = known(script, header, name, "`--set`")?;
        let value = param
            .kind
            .read(text)
            .ok_or_else(|| wrong(param, format!("`{text}`"), "`--set`"))?;
        values.insert(name.to_owned(), value);
    }
    for param in &header.params {
        if !values.contains_key(&param.name) {
            let default = param.default.clone().ok_or_else(|| ParamError::Missing {
                script: script.to_owned(),
                name: param.name.clone(),
                kind: param.kind.clone(),
                help: param.help.clone(),
            })?;
            values.insert(param.name.clone(), default);
        }
    }
    Ok(values)
}

fn fields<'a>(content: &'a Value, origin: &str) -> Result<&'a Map<String, Value>, ParamError> {
    content.as_object().ok_or_else(|| ParamError::NotAMap {
        origin: origin.to_owned(),
    })
}

fn known<'a>(
    script: &str,
    header: &'a Header,
    name: &str,
    origin: &str,
) -> Result<&'a Param, ParamError> {
    header.param(name).ok_or_else(|| ParamError::Unknown {
        script: script.to_owned(),
        name: name.to_owned(),
        origin: origin.to_owned(),
        known: header
            .params
            .iter()
            .map(|param| param.name.clone())
            .collect(),
    })
}

fn accept(param: &Param, value: &Value, origin: &str) -> Result<Value, ParamError> {
    param
        .kind
        .accept(value)
        .ok_or_else(|| wrong(param, format!("`{value}`"), origin))
}

fn wrong(param: &Param, found: String, origin: &str) -> ParamError {
    ParamError::WrongType {
        name: param.name.clone(),
        kind: param.kind.clone(),
        found,
        origin: origin.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = "//! T.\n//! param a: string = \"d\"\n//! param b: array = []\n//! param c: int\n//! param d: string(x, y) = \"x\"\n//! param e: float = 0.5\n//! param f: bool = false";

    fn ask(sets: &[&str], file: Option<Value>, scenario: Option<Value>) -> Result<Value, String> {
        let header = Header::parse(TEXT).unwrap();
        let given = Given {
            sets: sets.iter().map(|set| (*set).to_owned()).collect(),
            file: file.map(|content| ("p.yaml".to_owned(), content)),
            scenario,
        };
        resolve("demo", &header, &given)
            .map(Value::Object)
            .map_err(|error| format!("{error} | {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn set_wins_over_file_over_scenario_over_default() {
        let values = ask(
            &["c=3", "b=x, y"],
            Some(json!({"c": 2, "a": "file"})),
            Some(json!({"a": "scenario", "d": "y", "other": 1})),
        );
        assert_eq!(
            values.unwrap(),
            json!({"a": "file", "b": ["x", "y"], "c": 3, "d": "y", "e": 0.5, "f": false})
        );
    }

    #[test]
    fn text_is_coerced_to_the_declared_type() {
        let values = ask(
            &["c=-1", "b=[1,\"z\"]", "a=a=b", "e=2", "f=true"],
            None,
            None,
        )
        .unwrap();
        assert_eq!(
            values,
            json!({"a": "a=b", "b": [1, "z"], "c": -1, "d": "x", "e": 2.0, "f": true})
        );
        assert_eq!(ask(&["c=1", "b="], None, None).unwrap()["b"], json!([]));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        for (sets, file, message) in [
            (
                vec!["c"],
                None,
                "`--set c` is not of the form NAME=VALUE | ",
            ),
            (
                vec!["cc=1"],
                None,
                "`demo` has no parameter `cc` (given by `--set`) | did you mean `c`?",
            ),
            (
                vec!["c=one"],
                None,
                "parameter `c` is int, not `one` (given by `--set`) | ",
            ),
            (
                vec!["c=1", "f=yes"],
                None,
                "parameter `f` is bool, not `yes` (given by `--set`) | `true` or `false`",
            ),
            (
                vec!["c=1", "d=z"],
                None,
                "parameter `d` is one of `x`, `y`, not `z` (given by `--set`) | ",
            ),
            (
                vec![],
                Some(json!({"c": "1"})),
                "parameter `c` is int, not `\"1\"` (given by `p.yaml`) | ",
            ),
            (
                vec![],
                Some(json!(["c"])),
                "`p.yaml` does not hold parameters: it is not a map of names to values | like `namespaces: [shop, mail]`",
            ),
            (
                vec![],
                None,
                "`demo` needs the parameter `c` (int) | give it with `--set c=…`",
            ),
        ] {
            assert_eq!(ask(&sets, file, None).unwrap_err(), message);
        }
    }
}
