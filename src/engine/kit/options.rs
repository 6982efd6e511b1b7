//! Option maps: strict, because a misspelt option that is silently ignored is how outages start.

use super::{Reply, fail, to_json};
use crate::engine::{Failure, suggest};
use rhai::{Dynamic, Map};
use serde::de::DeserializeOwned;

/// The options that a script gave to `word` (`module::name`), as `T`.
///
/// Give `T` `#[serde(default)]`; an option that is `()` counts as not given.
///
/// # Errors
/// An option that is not in `known`, with a suggestion; a value of the wrong type.
pub fn options<T: DeserializeOwned>(word: &str, mut map: Map, known: &[&str]) -> Reply<T> {
    map.retain(|_, value| !value.is_unit());
    if let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) {
        let mut failure = Failure::script(format!("`{word}` has no option `{unknown}`"));
        failure.hint = suggest::did_you_mean(unknown, known.iter().copied());
        return Err(fail(failure));
    }
    for (key, value) in &map {
        let one = [(key.clone(), value.clone())].into_iter().collect::<Map>();
        let value = to_json(&Dynamic::from(one))?;
        if let Err(error) = serde_json::from_value::<T>(value) {
            let error = error.to_string();
            // A required option that is missing says so below, with all options present.
            if !error.starts_with("missing field") {
                return Err(fail(Failure::script(format!(
                    "option `{key}` of `{word}`: {}",
                    plain(&error)
                ))));
            }
        }
    }
    serde_json::from_value(to_json(&Dynamic::from(map))?)
        .map_err(|error| fail(Failure::script(format!("options of `{word}`: {error}"))))
}

/// serde's words for types, in the language's.
fn plain(error: &str) -> String {
    let mut text = error.to_owned();
    for (rust, word) in [
        ("f64", "a number"),
        ("f32", "a number"),
        ("usize", "a whole number, not negative"),
        ("u64", "a whole number, not negative"),
        ("u32", "a whole number, not negative"),
        ("i64", "a whole number"),
        ("a boolean", "true or false"),
    ] {
        if let Some(before) = text.strip_suffix(&format!("expected {rust}")) {
            text = format!("{before}expected {word}");
        }
    }
    text
}

/// An integer or a float as a float: Rhai does not convert between the two for parameters.
///
/// # Errors
/// Any other type; `what` names the value in the message.
pub fn number(what: &str, value: &Dynamic) -> Reply<f64> {
    #[allow(clippy::cast_precision_loss)]
    value
        .as_float()
        .or_else(|_| value.as_int().map(|whole| whole as f64))
        .map_err(|found| fail(Failure::script(format!("{what} is a number, not {found}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kit::failure_of;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Wait {
        timeout: f64,
        wait: bool,
    }

    fn wait(entries: &[(&str, Dynamic)]) -> Reply<Wait> {
        let map = entries
            .iter()
            .map(|(key, value)| ((*key).into(), value.clone()))
            .collect();
        options("cluster::delete", map, &["timeout", "wait"])
    }

    #[test]
    fn an_integer_serves_as_a_float() {
        let options = wait(&[("timeout", 5.into()), ("wait", Dynamic::UNIT)]).unwrap();
        assert!((options.timeout - 5.0).abs() < f64::EPSILON);
        assert!(!options.wait);
    }

    #[test]
    fn an_unknown_option_is_refused_with_a_suggestion() {
        let failure = failure_of(&wait(&[("timeot", 5.into())]).unwrap_err());
        assert_eq!(failure.message, "`cluster::delete` has no option `timeot`");
        assert_eq!(failure.hint.as_deref(), Some("did you mean `timeout`?"));
    }

    #[test]
    fn a_wrong_type_names_the_option() {
        let failure = failure_of(&wait(&[("wait", "yes".into())]).unwrap_err());
        assert_eq!(
            failure.message,
            "option `wait` of `cluster::delete`: invalid type: string \"yes\", expected true or false"
        );
    }
}
