//! `data::…`: JSON and YAML, both ways.
//!
//! What is parsed is the script's own: maps and arrays that it may change.

use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, suggest};
use rhai::Array;
use rhai::plugin::*;
use serde_json::Value;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("data", rhai::exported_module!(words).into());
}

/// JSON and YAML, both ways.
#[export_module]
mod words {
    /// The value that a JSON text says.
    ///
    /// - `text`: one JSON value.
    ///
    /// Throws `script` with line and column if it is not JSON.
    ///
    /// ```rhai
    /// assert(data::parse_json(`{"a": [1, null]}`) == #{ a: [1, ()] }, "parsed");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_json(ctx: NativeCallContext, text: &str) -> Reply<Dynamic> {
        kit::called(&ctx);
        let value: Value = serde_json::from_str(text).map_err(|e| super::not("JSON", &e))?;
        Ok(kit::to_dynamic(&value))
    }

    /// The value that a YAML text of one document says.
    ///
    /// - `text`: one document.
    ///
    /// Throws `script` with the place if it is not YAML.
    ///
    /// ```rhai
    /// assert(data::parse_yaml("a: [1, x]").a == [1, "x"], "parsed");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_yaml(ctx: NativeCallContext, text: &str) -> Reply<Dynamic> {
        kit::called(&ctx);
        let value: Value = serde_saphyr::from_str(text).map_err(|e| super::not("YAML", &e))?;
        Ok(kit::to_dynamic(&value))
    }

    /// The values of all documents of a YAML text, empty ones left out.
    ///
    /// - `text`: documents, separated by `---`.
    ///
    /// Throws `script` with the place if it is not YAML.
    ///
    /// ```rhai
    /// let all = data::parse_yaml_all("kind: A\n---\nkind: B\n");
    /// assert(all.map(|object| object.kind) == ["A", "B"], "both");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn parse_yaml_all(ctx: NativeCallContext, text: &str) -> Reply<Array> {
        kit::called(&ctx);
        let values: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|e| super::not("YAML", &e))?;
        Ok(values
            .iter()
            .filter(|value| !value.is_null())
            .map(kit::to_dynamic)
            .collect())
    }

    /// The one of several texts that somebody may have meant who wrote another, or `()`.
    ///
    /// - `text`: what was written.
    /// - `known`: what there is, as texts.
    ///
    /// Near is what is the same without case and separators, has few other letters, or begins so.
    ///
    /// ```rhai
    /// assert(data::nearest("--revison_name", ["--revision_name", "--option"]) == "--revision_name", "a letter is missing");
    /// assert(data::nearest("--frob", ["--revision_name", "--option"]) == (), "nothing is near");
    /// ```
    #[rhai_fn()]
    pub fn nearest(text: &str, known: Array) -> Dynamic {
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        suggest::nearest(text, known.iter().map(String::as_str))
            .map_or(Dynamic::UNIT, |near| near.to_owned().into())
    }

    /// A value as JSON, on one line.
    ///
    /// - `value`: maps, arrays, objects, certificates, texts, numbers, truth values, `()`.
    ///
    /// Throws `script` for a value that JSON cannot say, such as a closure.
    ///
    /// ```rhai
    /// assert(data::to_json(#{ a: [1, ()] }) == `{"a":[1,null]}`, "as JSON");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn to_json(ctx: NativeCallContext, value: Dynamic) -> Reply<String> {
        kit::called(&ctx);
        Ok(kit::to_json_with(&value, super::super::json_form)?.to_string())
    }

    /// A value as YAML.
    ///
    /// - `value`: as for `to_json`.
    ///
    /// Throws `script` for a value that YAML cannot say, such as a closure.
    ///
    /// ```rhai
    /// assert(data::parse_yaml(data::to_yaml(#{ a: ["yes", 1] })) == #{ a: ["yes", 1] }, "there and back");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn to_yaml(ctx: NativeCallContext, value: Dynamic) -> Reply<String> {
        kit::called(&ctx);
        let value = kit::to_json_with(&value, super::super::json_form)?;
        serde_saphyr::to_string(&value).map_err(|error| {
            kit::fail(Failure::script(format!(
                "cannot be written as YAML: {error}"
            )))
        })
    }
}

fn not(format: &str, error: &dyn std::fmt::Display) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::script(format!(
        "the text is not {format}: {error}"
    )))
}
