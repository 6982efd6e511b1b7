//! The words an engine knows, from its own metadata: the only list of words there is.
//!
//! Help, completion, the reference, arity errors and the test that runs every example read this.

use serde::Deserialize;
use std::collections::BTreeMap;

/// One overload of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordDoc {
    /// The module it is in; none for a global word.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
    /// Its parameters, in order; what the engine itself passes is left out.
    pub params: Vec<ParamDoc>,
    /// What it gives, as the signature says.
    pub returns: String,
    /// Its documentation in Markdown, without comment markers.
    pub doc: String,
    /// How it is written, if it is a form of the language and not called.
    pub form: Option<&'static str>,
}

/// A parameter of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamDoc {
    /// Its name.
    pub name: String,
    /// Its type, as a script writer calls it; empty if any value will do.
    pub kind: String,
}

impl WordDoc {
    /// `module::name`, or the name alone.
    pub fn path(&self) -> String {
        match &self.module {
            Some(module) => format!("{module}::{}", self.name),
            None => self.name.clone(),
        }
    }

    /// `module::name(a, b)`, or the form.
    pub fn signature(&self) -> String {
        if let Some(form) = self.form {
            return form.to_owned();
        }
        format!("{}({})", self.path(), self.parameter_names())
    }

    /// `a, b`.
    pub fn parameter_names(&self) -> String {
        let names: Vec<&str> = self
            .params
            .iter()
            .map(|param| param.name.as_str())
            .collect();
        names.join(", ")
    }

    /// The first sentence of the documentation.
    pub fn summary(&self) -> &str {
        let paragraph = self.doc.split("\n\n").next().unwrap_or_default().trim();
        paragraph
            .split_once(". ")
            .map_or(paragraph, |(sentence, _)| sentence)
            .trim_end_matches('.')
    }

    /// The kubectl command that does the same, from the line ``kubectl: `…` `` of the documentation.
    pub fn kubectl(&self) -> Option<&str> {
        self.doc.lines().find_map(|line| {
            line.trim()
                .strip_prefix("kubectl: `")?
                .trim_end_matches('.')
                .strip_suffix('`')
        })
    }

    /// The code of every ```` ```rhai ```` block.
    pub fn examples(&self) -> Vec<String> {
        let mut examples = Vec::new();
        let mut current: Option<String> = None;
        for line in self.doc.lines() {
            match (&mut current, line.trim()) {
                (None, "```rhai") => current = Some(String::new()),
                (Some(_), "```") => examples.extend(current.take()),
                (Some(code), _) => {
                    code.push_str(line);
                    code.push('\n');
                }
                (None, _) => {}
            }
        }
        examples
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Functions {
    #[serde(default)]
    modules: BTreeMap<String, Functions>,
    #[serde(default)]
    functions: Vec<Function>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Function {
    name: String,
    access: String,
    num_params: usize,
    #[serde(default)]
    params: Vec<Param>,
    #[serde(default)]
    return_type: String,
    #[serde(default)]
    doc_comments: Vec<String>,
}

#[derive(Deserialize)]
struct Param {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// All functions of `engine`, in the order module, name, number of parameters.
///
/// `standard`: with those of Rhai's own library, of which most have no documentation here.
pub(super) fn words(engine: &rhai::Engine, standard: bool) -> Vec<WordDoc> {
    let Ok(json) = engine.gen_fn_metadata_to_json(standard) else {
        return Vec::new();
    };
    let Ok(found) = serde_json::from_str::<Functions>(&json) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    gather(None, found, &mut words);
    words.sort_by(|a, b| {
        (&a.module, &a.name, a.params.len()).cmp(&(&b.module, &b.name, b.params.len()))
    });
    words
}

fn gather(module: Option<&str>, found: Functions, words: &mut Vec<WordDoc>) {
    for function in found.functions {
        let is_name = function
            .name
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_accessor = ["get$", "set$", "index$"]
            .iter()
            .any(|prefix| function.name.starts_with(prefix));
        if function.access != "public" || !is_name || is_accessor {
            continue;
        }
        words.push(WordDoc {
            module: module.map(str::to_owned),
            name: function.name,
            params: params(function.params, function.num_params),
            returns: function.return_type,
            doc: strip(&function.doc_comments),
            form: None,
        });
    }
    for (name, inner) in found.modules {
        let path = module.map_or_else(|| name.clone(), |outer| format!("{outer}::{name}"));
        gather(Some(&path), inner, words);
    }
}

/// The last `count` parameters: a `NativeCallContext` in front of them is not the script's business.
fn params(found: Vec<Param>, count: usize) -> Vec<ParamDoc> {
    let skip = found.len().saturating_sub(count);
    let mut params: Vec<ParamDoc> = found
        .into_iter()
        .skip(skip)
        .map(|param| ParamDoc {
            name: param.name.unwrap_or_else(|| "value".to_owned()),
            kind: kind(param.kind.as_deref().unwrap_or_default()),
        })
        .collect();
    while params.len() < count {
        params.push(ParamDoc {
            name: "value".to_owned(),
            kind: String::new(),
        });
    }
    params
}

fn kind(rust: &str) -> String {
    let bare = rust.trim_start_matches("&mut ").trim_start_matches('&');
    match bare.rsplit("::").next().unwrap_or(bare) {
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "bool" => "bool",
        "str" | "String" | "ImmutableString" => "string",
        "Array" => "array",
        "Map" => "map",
        "FnPtr" => "function",
        "View" => "object",
        "Dynamic" | "?" => "",
        other => return other.to_owned(),
    }
    .to_owned()
}

/// Comments without their `///`.
fn strip(comments: &[String]) -> String {
    let lines: Vec<&str> = comments
        .iter()
        .flat_map(|comment| comment.lines())
        .map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("///").unwrap_or(line);
            line.strip_prefix(' ').unwrap_or(line)
        })
        .collect();
    lines.join("\n").trim().to_owned()
}
