//! Finds unknown words before a script runs.
//!
//! Rhai looks functions up when they are called, so that a misspelt word at the end of a migration
//! would be found at the end of the migration. Here every call `name(…)` and `module::name(…)` in the
//! text is compared with what is known: words, the script's own functions, and the functions of the
//! modules it imports, which are checked in the same way.
//!
//! Only what is certainly wrong is reported. Method calls are not looked at, because a map may
//! hold a closure under any name; neither is a name that the script declares as a variable.

use super::docs::WordDoc;
use super::volatile::{self, Call};
use super::{Failure, suggest};
use rhai::AST;
use std::collections::{BTreeMap, BTreeSet};

/// Rhai's keywords that are called like functions.
const KEYWORDS: [&str; 12] = [
    "print",
    "debug",
    "type_of",
    "Fn",
    "call",
    "curry",
    "eval",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "this",
    "exit",
];

/// Everything that calls are compared with.
pub(super) struct Known<'a> {
    /// The words, Rhai's own library included.
    pub words: &'a [WordDoc],
    /// The functions of the script, and of a session's earlier lines.
    pub functions: BTreeMap<String, BTreeSet<usize>>,
    /// The names that the text declares in other ways.
    pub declared: BTreeSet<String>,
    /// Import alias → its functions; none if they cannot be known.
    pub imported: BTreeMap<String, Option<BTreeMap<String, BTreeSet<usize>>>>,
}

/// A call that cannot succeed.
pub(super) struct Unknown {
    /// What is wrong and what was meant.
    pub failure: Failure,
    /// The call.
    pub call: Call,
}

/// The first call in `ast` that cannot succeed.
pub(super) fn unknown_call(ast: &AST, known: &Known) -> Option<Unknown> {
    volatile::calls(ast).into_iter().find_map(|call| {
        let failure = match call.modules.as_slice() {
            [] => global(&call, known),
            [module] if module == "global" => None,
            [module] if known.imported.contains_key(module) => imported(&call, module, known),
            modules => word(&call, Some(&modules.join("::")), known),
        }?;
        Some(Unknown { failure, call })
    })
}

/// The functions that `ast` defines, with their numbers of parameters.
pub(super) fn functions(ast: &AST, only_public: bool) -> BTreeMap<String, BTreeSet<usize>> {
    let mut functions = BTreeMap::<String, BTreeSet<usize>>::new();
    for function in ast.iter_functions() {
        if !only_public || function.access.is_public() {
            functions
                .entry(function.name.to_owned())
                .or_default()
                .insert(function.params.len());
        }
    }
    functions
}

fn global(call: &Call, known: &Known) -> Option<Failure> {
    let name = call.name.as_str();
    if KEYWORDS.contains(&name)
        || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        || name.contains('$')
        || known.declared.contains(name) && !known.functions.contains_key(name)
    {
        return None;
    }
    if let Some(arities) = known.functions.get(name) {
        if arities.contains(&call.args) || is_word(call, None, known) {
            return None;
        }
        return Some(takes(name, call.args, arities));
    }
    word(call, None, known)
}

fn is_word(call: &Call, module: Option<&str>, known: &Known) -> bool {
    known.words.iter().any(|word| {
        word.name == call.name && word.module.as_deref() == module && word.params.len() == call.args
    })
}

fn word(call: &Call, module: Option<&str>, known: &Known) -> Option<Failure> {
    if is_word(call, module, known) {
        return None;
    }
    let path = match module {
        Some(module) => format!("{module}::{}", call.name),
        None => call.name.clone(),
    };
    let own: Vec<String> = known.functions.keys().cloned().collect();
    let mut failure = Failure::script(format!("there is no word `{path}`"));
    super::explain::unknown_word(&mut failure, &path, None, known.words, &own);
    if known
        .words
        .iter()
        .any(|word| word.name == call.name && word.module.as_deref() == module)
    {
        failure.message = refuses(&path, call.args);
    }
    Some(failure)
}

fn imported(call: &Call, module: &str, known: &Known) -> Option<Failure> {
    let functions = known.imported.get(module)?.as_ref()?;
    match functions.get(&call.name) {
        Some(arities) if arities.contains(&call.args) => None,
        Some(arities) => Some(takes(
            &format!("{module}::{}", call.name),
            call.args,
            arities,
        )),
        None => {
            let mut failure =
                Failure::script(format!("there is no function `{module}::{}`", call.name));
            failure.hint = suggest::nearest(&call.name, functions.keys().map(String::as_str))
                .map(|near| format!("did you mean `{module}::{near}`?"));
            Some(failure)
        }
    }
}

fn takes(path: &str, given: usize, arities: &BTreeSet<usize>) -> Failure {
    let numbers: Vec<String> = arities.iter().map(|n| arguments(*n)).collect();
    Failure::script(refuses(path, given)).hint(format!("`{path}` takes {}", numbers.join(" or ")))
}

fn refuses(path: &str, given: usize) -> String {
    match given {
        0 => format!("`{path}` cannot be called without arguments"),
        given => format!("`{path}` does not take {}", arguments(given)),
    }
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}
