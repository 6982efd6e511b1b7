//! What can be wrong with a script before it runs.

use super::kind::{Kind, ticked};
use crate::effect::files::FileError;
use crate::engine::{Diagnostic, Failure, FailureKind, did_you_mean};

/// A script that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read, or is not text.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its header is not in order.
    #[error("{source_name}:{line}: {error}", line = error.line)]
    Header {
        /// What errors call the script.
        source_name: String,
        /// Its text.
        text: String,
        /// What is wrong with the header.
        error: HeaderError,
    },
    /// No bundled script has that name.
    #[error("there is no script `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
        /// Whether there is a file of that name.
        is_file: bool,
    },
}

/// A header line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeaderError {
    /// Its line, from 1.
    pub line: usize,
    /// The character where the fault begins, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

/// A parameter that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// `--set` without `=`.
    #[error("`--set {text}` is not of the form NAME=VALUE")]
    Form {
        /// What was given.
        text: String,
    },
    /// It has no default and was not given.
    #[error("`{script}` needs the parameter `{name}` ({kind}){help}", help = dash(help))]
    Missing {
        /// The script.
        script: String,
        /// The parameter.
        name: String,
        /// Its type.
        kind: Kind,
        /// What it is for.
        help: String,
    },
    /// The document that should give parameters is not a map.
    #[error("{origin} does not hold parameters: it is not a map of names to values")]
    NotAMap {
        /// Where it came from.
        origin: String,
    },
    /// The script has no such parameter.
    #[error("`{script}` has no parameter `{name}` (given by {origin})")]
    Unknown {
        /// The script.
        script: String,
        /// What was given.
        name: String,
        /// Where it was given.
        origin: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Its value is of another type.
    #[error("parameter `{name}` is {kind}, not {found} (given by {origin})")]
    WrongType {
        /// The parameter.
        name: String,
        /// Its type.
        kind: Kind,
        /// What was given instead.
        found: String,
        /// Where it was given.
        origin: String,
    },
}

impl ScriptError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            ScriptError::File(_) => None,
            ScriptError::Header { error, .. } => error.hint.clone(),
            ScriptError::Unknown {
                name,
                known,
                is_file,
            } => {
                if *is_file {
                    return Some(format!("for the file of that name, write `./{name}`"));
                }
                did_you_mean(name, known.iter().map(String::as_str))
                    .or_else(|| Some("`rootshift scripts` lists them".to_owned()))
            }
        }
    }

    /// The error with its place in the script's text, if it has one.
    pub fn diagnostic(&self) -> Diagnostic {
        let failure = Failure {
            hint: self.hint(),
            ..Failure::usage(match self {
                ScriptError::Header { error, .. } => error.message.clone(),
                other => other.to_string(),
            })
        };
        match self {
            ScriptError::Header {
                source_name,
                text,
                error,
            } => Diagnostic::at(failure, source_name, text, error.line, error.column),
            _ => Diagnostic::new(failure),
        }
    }
}

impl ParamError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        match self {
            ParamError::Form { .. } => None,
            ParamError::Missing { name, .. } => Some(format!("give it with `--set {name}=…`")),
            ParamError::NotAMap { .. } => Some("like `namespaces: [shop, mail]`".to_owned()),
            ParamError::Unknown {
                known,
                name,
                script,
                ..
            } => {
                if known.is_empty() {
                    return Some(format!("`{script}` takes no parameters"));
                }
                did_you_mean(name, known.iter().map(String::as_str))
                    .or_else(|| Some(format!("it has {}", ticked(known))))
            }
            ParamError::WrongType { kind, .. } => match kind {
                Kind::Array => Some("like `a,b` or `[\"a\",\"b\"]`".to_owned()),
                Kind::Bool => Some("`true` or `false`".to_owned()),
                _ => None,
            },
        }
    }
}

impl From<ParamError> for Failure {
    fn from(error: ParamError) -> Failure {
        Failure {
            hint: error.hint(),
            ..Failure::new(FailureKind::Usage, error.to_string())
        }
    }
}

fn dash(help: &str) -> String {
    if help.is_empty() {
        String::new()
    } else {
        format!(": {help}")
    }
}
