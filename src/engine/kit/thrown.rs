//! [`Failure`] ⇄ what a script throws and catches.
//!
//! Host errors are `ErrorRuntime(map)`, so that scripts can catch them and read their fields.
//! Interruptions are `ErrorTerminated`, which passes through every `try … catch`.

use super::{text, to_dynamic, to_shown_json};
use crate::engine::{Failure, FailureKind, explain};
use rhai::{Array, Dynamic, EvalAltResult, Map, Position};

/// The error that carries `failure` through a script.
pub fn fail(failure: Failure) -> Box<EvalAltResult> {
    fail_at(failure, Position::NONE)
}

/// As [`fail`], at a position that is known already; words leave it to Rhai.
pub fn fail_at(failure: Failure, position: Position) -> Box<EvalAltResult> {
    Box::new(if failure.kind == FailureKind::Interrupted {
        EvalAltResult::ErrorTerminated(Dynamic::from(failure), position)
    } else {
        EvalAltResult::ErrorRuntime(to_map(&failure).into(), position)
    })
}

/// What `error` says, wherever it came from: a word, a `throw`, Rhai itself.
pub fn failure_of(error: &EvalAltResult) -> Failure {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
        | EvalAltResult::ErrorInModule(_, inner, _) => failure_of(inner),
        EvalAltResult::ErrorRuntime(value, _) => failure_of_value(value),
        EvalAltResult::ErrorTerminated(token, _) => token
            .clone()
            .try_cast::<Failure>()
            .unwrap_or_else(|| Failure::interrupted("interrupted")),
        other => explain::rhai_error(other),
    }
}

/// What a thrown (or caught) value says.
pub fn failure_of_value(value: &Dynamic) -> Failure {
    let Some(map) = value.read_lock::<Map>() else {
        return Failure::script(if value.is_unit() {
            "the script threw nothing".to_owned()
        } else {
            text(value)
        });
    };
    let field = |key: &str| map.get(key).filter(|value| !value.is_unit()).map(text);
    Failure {
        kind: field("kind")
            .and_then(|name| FailureKind::parse(&name))
            .unwrap_or(FailureKind::Script),
        code: field("code"),
        message: field("message").unwrap_or_else(|| text(value)),
        resource: field("resource"),
        retryable: map
            .get("retryable")
            .and_then(|value| value.as_bool().ok())
            .unwrap_or(false),
        hint: field("hint"),
        evidence: map
            .get("evidence")
            .and_then(|value| value.clone().try_cast::<Array>())
            .unwrap_or_default()
            .iter()
            .map(text)
            .collect(),
        result: map
            .get("result")
            .filter(|value| !value.is_unit())
            .and_then(|value| to_shown_json(value, |_| None).ok()),
    }
}

/// What a script catches when `failure` is thrown.
pub fn thrown(failure: &Failure) -> Dynamic {
    to_map(failure).into()
}

/// The map that a script catches; absent fields are `()`.
pub(in crate::engine) fn to_map(failure: &Failure) -> Map {
    let or_unit = |value: &Option<String>| {
        value
            .as_ref()
            .map_or(Dynamic::UNIT, |text| text.clone().into())
    };
    let evidence: Array = failure
        .evidence
        .iter()
        .map(|line| line.clone().into())
        .collect();
    [
        ("kind", failure.kind.as_str().into()),
        ("code", or_unit(&failure.code)),
        ("message", failure.message.clone().into()),
        ("resource", or_unit(&failure.resource)),
        ("retryable", failure.retryable.into()),
        ("hint", or_unit(&failure.hint)),
        ("evidence", evidence.into()),
        (
            "result",
            failure.result.as_ref().map_or(Dynamic::UNIT, to_dynamic),
        ),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_being_thrown() {
        let failure = Failure::refused("roots-missing", "2 proxies lack a root")
            .about("namespace/shop")
            .hint("move `shop` first")
            .evidence("cart-1: no MESHCA")
            .retryable();
        assert_eq!(failure_of(&fail(failure.clone())), failure);
        let stopped = Failure::interrupted("interrupted by a request to stop");
        let error = fail(stopped.clone());
        assert!(matches!(*error, EvalAltResult::ErrorTerminated(..)));
        assert_eq!(failure_of(&error), stopped);
    }

    #[test]
    fn what_was_found_survives_being_thrown() {
        let mut failure = Failure::refused("check", "one proxy is unknown");
        failure.result = Some(serde_json::json!({"proxies": 3}));
        assert_eq!(failure_of(&fail(failure.clone())), failure);
    }

    #[test]
    fn a_thrown_text_is_the_message() {
        let error = EvalAltResult::ErrorRuntime("no such luck".into(), Position::NONE);
        assert_eq!(failure_of(&error), Failure::script("no such luck"));
    }
}
