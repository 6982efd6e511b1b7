//! Rhai's own errors in our words.
//!
//! Words that are not known are explained with the engine's metadata, which is why that part takes
//! the list of words; everything else is a matter of wording.

use super::docs::WordDoc;
use super::{Failure, suggest};
use rhai::{EvalAltResult, ParseErrorType};

/// What `error` (a leaf, not a call frame) says, as far as it can be said without knowing the words.
pub(super) fn rhai_error(error: &EvalAltResult) -> Failure {
    use EvalAltResult as E;
    match error {
        E::ErrorParsing(what, _) => parse_error(what),
        E::ErrorVariableNotFound(name, _) => {
            Failure::script(format!("there is no variable `{name}`"))
        }
        E::ErrorFunctionNotFound(signature, _) => {
            let (name, _) = split_signature(signature);
            Failure::script(format!("there is no word `{name}`"))
        }
        E::ErrorModuleNotFound(name, _) => Failure::script(format!("there is no module `{name}`")),
        E::ErrorStackOverflow(_) => Failure::script("calls are nested too deeply")
            .hint("a function that calls itself without an end?"),
        E::ErrorDotExpr(text, _) => {
            missing_property(text).unwrap_or_else(|| Failure::script(lower(text)))
        }
        E::ErrorIndexingType(text, _) => indexing(text),
        E::ErrorArrayBounds(len, index, _) => Failure::script(format!(
            "index {index} is out of bounds: the array has {len} elements"
        )),
        E::ErrorFor(_) => Failure::script("`for` needs something to iterate over"),
        E::ErrorDataRace(name, _) => Failure::script(format!(
            "`{name}` is in use by another worker, or by the call that iterates over it"
        ))
        .hint("copy it into a variable of its own first"),
        E::ErrorDataTooLarge(what, _) => {
            Failure::script(format!("{} is over the limit", lower(what)))
        }
        E::ErrorTooManyModules(_) => Failure::script("too many modules are imported"),
        E::ErrorMismatchOutputType(expected, actual, _)
        | E::ErrorMismatchDataType(expected, actual, _) => Failure::script(format!(
            "expected {}, found {}",
            lower(expected),
            lower(actual)
        )),
        E::ErrorAssignmentToConstant(name, _) => Failure::script(format!("`{name}` is a constant")),
        E::ErrorSystem(..) | E::ErrorCustomSyntax(..) => Failure::bug(plain(error)),
        other => Failure::script(plain(other)),
    }
}

/// The same for syntax errors.
pub(super) fn parse_error(error: &ParseErrorType) -> Failure {
    match error {
        ParseErrorType::VariableUndefined(name) => {
            Failure::script(format!("there is no variable `{name}`"))
        }
        ParseErrorType::ModuleUndefined(name) => {
            Failure::script(format!("there is no module `{name}`"))
        }
        ParseErrorType::UnexpectedEOF => Failure::script("the script ends too early"),
        ParseErrorType::MissingToken(token, what) => {
            Failure::script(format!("expected `{token}` {what}"))
        }
        ParseErrorType::Reserved(word) => Failure::script(format!("`{word}` is a reserved word"))
            .hint(format!(
                "take another name; for a field of an object, write `[\"{word}\"]`"
            )),
        ParseErrorType::ExprExpected(what) => Failure::script(format!("expected {what}")),
        ParseErrorType::FnDuplicatedDefinition(name, params) => Failure::script(format!(
            "`{name}` with {params} parameter{} is defined twice",
            if *params == 1 { "" } else { "s" }
        )),
        other => Failure::script(backticked(&lower(&other.to_string()))),
    }
}

/// Adds what the list of words knows: near names, overloads, modules.
///
/// `own`: the names that the script itself declares. `modules`: what it could import.
pub(super) fn with_words(
    failure: &mut Failure,
    error: &EvalAltResult,
    words: &[WordDoc],
    own: &[String],
    modules: &[String],
) {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let (name, args) = split_signature(signature);
            unknown_word(failure, name, args, words, own);
        }
        EvalAltResult::ErrorModuleNotFound(name, _) => {
            unknown_module(failure, name, words, modules);
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => {
            unknown_variable(failure, name, words, own);
        }
        EvalAltResult::ErrorParsing(what, _) => match what {
            ParseErrorType::ModuleUndefined(name) => unknown_module(failure, name, words, modules),
            ParseErrorType::VariableUndefined(name) => unknown_variable(failure, name, words, own),
            _ => {}
        },
        _ => {}
    }
}

/// Explains that `name` is unknown, or is not called with `args`, the types as Rhai prints them.
pub(super) fn unknown_word(
    failure: &mut Failure,
    name: &str,
    args: Option<&str>,
    words: &[WordDoc],
    own: &[String],
) {
    let (module, bare) = match name.rsplit_once("::") {
        Some((module, bare)) => (Some(module), bare),
        None => (None, name),
    };
    let overloads: Vec<&WordDoc> = words
        .iter()
        .filter(|word| word.name == bare && word.module.as_deref() == module)
        .collect();
    if overloads.is_empty() {
        let elsewhere = words
            .iter()
            .find(|word| word.name == bare && word.module.as_deref() != module);
        let near = suggest::nearest(
            bare,
            words
                .iter()
                .filter(|word| word.module.as_deref() == module)
                .map(|word| word.name.as_str())
                .chain(own.iter().filter(|_| module.is_none()).map(String::as_str)),
        );
        failure.hint = match (near, elsewhere, module) {
            (Some(near), _, Some(module)) => Some(format!("did you mean `{module}::{near}`?")),
            (Some(near), _, None) => Some(format!("did you mean `{near}`?")),
            (None, Some(word), _) => Some(format!("did you mean `{}`?", word.path())),
            (None, None, Some(module)) => Some(format!(
                "`help {module}` in `rootshift repl` lists its words"
            )),
            (None, None, None) => None,
        };
        return;
    }
    failure.message = match args {
        Some("") | None => format!("`{name}` cannot be called without arguments"),
        Some(args) => format!("`{name}` does not take ({})", kinds(args)),
    };
    let takes: Vec<String> = overloads
        .iter()
        .map(|word| {
            let params: Vec<String> = word
                .params
                .iter()
                .map(|param| match param.kind.as_str() {
                    "" => param.name.clone(),
                    kind => format!("{}: {kind}", param.name),
                })
                .collect();
            format!("({})", params.join(", "))
        })
        .collect();
    failure.hint = Some(format!("`{name}` takes {}", takes.join(" or ")));
}

fn unknown_module(failure: &mut Failure, name: &str, words: &[WordDoc], importable: &[String]) {
    let modules = words.iter().filter_map(|word| word.module.as_deref());
    failure.hint = suggest::nearest(name, modules.chain(importable.iter().map(String::as_str)))
        .map(|near| format!("did you mean `{near}`?"));
}

fn unknown_variable(failure: &mut Failure, name: &str, words: &[WordDoc], own: &[String]) {
    if words
        .iter()
        .any(|word| word.module.as_deref() == Some(name))
    {
        failure.hint = Some(format!("`{name}` is a module: `{name}::…`"));
    } else {
        failure.hint = suggest::nearest(name, own.iter().map(String::as_str))
            .map(|near| format!("did you mean `{near}`?"));
    }
}

/// `cluster::get (&str | ImmutableString | String, i64)` → name and arguments.
fn split_signature(signature: &str) -> (&str, Option<&str>) {
    match signature.split_once(" (") {
        Some((name, args)) => (name.trim(), Some(args.trim_end_matches(')'))),
        None => (signature.trim_end_matches("()").trim(), None),
    }
}

/// Types as Rhai prints them, as script writers call them.
fn kinds(args: &str) -> String {
    args.split(',')
        .map(|kind| match kind.trim() {
            "&str | ImmutableString | String" => "string",
            "i64" => "int",
            "f64" => "float",
            "Fn" => "function",
            "()" => "()",
            other => other,
        })
        .collect::<Vec<_>>()
        .join(", ")
}

/// "Unknown property 'c' - a getter is not registered for type '()'".
fn missing_property(text: &str) -> Option<Failure> {
    if text.contains("riteable property") || text.contains("ritable property") {
        return Some(
            Failure::script("an object cannot be changed in place")
                .hint("`to_map()` gives a copy to edit"),
        );
    }
    let rest = text.strip_prefix("Unknown property '")?;
    let (name, rest) = rest.split_once('\'')?;
    let kind = rest.rsplit('\'').nth(1)?;
    Some(if kind == "()" {
        Failure::script(format!("`.{name}` of nothing: what is left of it is `()`"))
            .hint(format!("if it may be absent, write `?.{name}`"))
    } else if rest.contains("setter") {
        Failure::script(format!("`.{name}` cannot be set on {kind}"))
            .hint("`to_map()` gives a copy to edit")
    } else {
        Failure::script(format!("{kind} has no property `{name}`"))
    })
}

fn indexing(text: &str) -> Failure {
    if text.starts_with("()") || text.contains("'()'") {
        Failure::script("an element of nothing: what is left of `[` is `()`")
            .hint("if it may be absent, write `?[`")
    } else {
        Failure::script(format!("cannot be indexed: {}", lower(text)))
    }
}

/// A Rhai message without its position.
fn plain(error: &EvalAltResult) -> String {
    let mut text = error.to_string();
    let position = error.position();
    if !position.is_none() {
        let suffix = format!(" ({position})");
        if let Some(cut) = text.strip_suffix(&suffix) {
            text = cut.to_owned();
        }
    }
    backticked(&lower(&text))
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !letters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Rhai quotes with apostrophes, we with backticks.
fn backticked(text: &str) -> String {
    text.replace('\'', "`")
}

/// The names that `text` declares: variables, constants, parameters, functions, import aliases.
///
/// A scan and not a parse, because it is asked for texts that do not parse.
pub(super) fn declared(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut last = "";
    let mut in_params = false;
    for (gap, word) in words_of(text) {
        if in_params && gap.contains([')', '{', '|']) {
            in_params = false;
        }
        if in_params || matches!(last, "let" | "const" | "for" | "fn" | "as") || opens_closure(gap)
        {
            names.push(word.to_owned());
        }
        if last == "fn" || opens_closure(gap) {
            in_params = true;
        }
        last = word;
    }
    names.sort();
    names.dedup();
    names
}

/// `|` that begins a closure's parameters.
fn opens_closure(gap: &str) -> bool {
    gap.trim_end().ends_with('|')
        && !gap.trim_end().ends_with("||")
        && gap.contains(['(', ',', '='])
}

/// Every identifier with the text between it and the one before it.
fn words_of(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(is_word)?;
        let (gap, tail) = rest.split_at(start);
        let end = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(end);
        rest = tail;
        Some((gap, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_names_are_found_even_in_text_that_does_not_parse() {
        let text = "import \"x\" as gates; fn move_one(mesh, ns) { let a = 1; for n in [ns] { list.map(|pod| pod.x) } const C = ";
        assert_eq!(
            declared(text),
            ["C", "a", "gates", "mesh", "move_one", "n", "ns", "pod"]
        );
    }
}
