//! The header of a script: its leading `//!` lines.
//!
//! ```text
//! //! Move a mesh to another authority.                                the title
//! //! Anything else is description, until the first line of a key.
//! //! param revision: string = "asm-1"   What it is for.               a parameter
//! //! param through: string(sign, retire) = "sign"   How far to go.
//! //!     More of the help, indented.
//! //! param count = 3                                                  the type of its default
//! //! mutates: false                                                   it only reads
//! ```
//!
//! A line is one of a key if it begins with a lower-case word, perhaps a name, and `:` or `=`; so
//! that a misspelt key is an error and not silently prose.

use super::error::HeaderError;
use super::kind::Kind;
use crate::engine::did_you_mean;
use serde_json::Value;

const KEYS: [&str; 2] = ["param", "mutates"];
const KINDS: [&str; 5] = ["array", "bool", "float", "int", "string"];

/// What a script says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// Its first line, without a full stop.
    pub title: String,
    /// The lines between the title and the keys.
    pub description: String,
    /// Its parameters, in order.
    pub params: Vec<Param>,
    /// False if it says `mutates: false`.
    pub mutates: bool,
}

/// A parameter of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name, as `--set` takes it.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Its value when nobody gives one; without a default it is required.
    pub default: Option<Value>,
    /// What it is for.
    pub help: String,
}

impl Header {
    /// Reads the header of `text`; a script without one has an empty one.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Header, HeaderError> {
        let mut header = Header {
            mutates: true,
            ..Header::default()
        };
        let mut description: Vec<&str> = Vec::new();
        let mut in_keys = false;
        let lines = text
            .lines()
            .enumerate()
            .skip_while(|(index, line)| *index == 0 && line.starts_with("#!"))
            .map_while(|(index, line)| Some((index + 1, line.strip_prefix("//!")?)));
        for (line, content) in lines {
            let indent = content.len() - content.trim_start().len();
            let body = content.trim();
            let at = Line {
                number: line,
                // Three for `//!`; characters before the body are all blanks.
                column: 4 + indent,
                body,
            };
            if header.title.is_empty() && !in_keys && at.key().is_none() {
                body.trim_end_matches('.').clone_into(&mut header.title);
            } else if let Some(key) = at.key().filter(|_| indent < 4) {
                in_keys = true;
                at.apply(key, &mut header)?;
            } else if in_keys {
                let Some(param) = header.params.last_mut().filter(|_| indent >= 4) else {
                    if body.is_empty() {
                        continue;
                    }
                    return Err(at
                        .error(0, "a line that is neither a key nor the rest of one")
                        .with("description comes before the keys; more help is indented by four"));
                };
                if !param.help.is_empty() {
                    param.help.push(' ');
                }
                param.help.push_str(body);
            } else {
                description.push(body);
            }
        }
        description
            .join("\n")
            .trim()
            .clone_into(&mut header.description);
        Ok(header)
    }

    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// A line of a header.
struct Line<'a> {
    number: usize,
    column: usize,
    body: &'a str,
}

impl<'a> Line<'a> {
    /// Its key, known or not, if it is a line of a key.
    fn key(&self) -> Option<&'a str> {
        let word = |text: &'a str| {
            let end = text
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
                .unwrap_or(text.len());
            (&text[..end], text[end..].trim_start())
        };
        let (key, rest) = word(self.body);
        if !key.starts_with(|c: char| c.is_ascii_lowercase()) {
            return None;
        }
        let (name, after) = word(rest);
        let is_key = rest.starts_with([':', '='])
            || !name.is_empty() && after.starts_with([':', '='])
            // `param name` alone is a parameter of unknown type, said below.
            || key == "param" && after.is_empty();
        is_key.then_some(key)
    }

    fn apply(&self, key: &str, header: &mut Header) -> Result<(), HeaderError> {
        let rest = self.body[key.len()..].trim_start();
        match key {
            "param" => {
                let param = self.param(rest)?;
                if header.param(&param.name).is_some() {
                    return Err(self.error(
                        rest.len(),
                        format!("parameter `{}` is declared twice", param.name),
                    ));
                }
                header.params.push(param);
            }
            "mutates" => {
                header.mutates = match rest.trim_start_matches(':').trim() {
                    "true" => true,
                    "false" => false,
                    other => {
                        return Err(self.error(
                            other.len(),
                            format!("`mutates` is true or false, not `{other}`"),
                        ));
                    }
                }
            }
            unknown => {
                let mut error =
                    self.error(self.body.len(), format!("unknown header key `{unknown}`"));
                error.hint = did_you_mean(unknown, KEYS);
                return Err(error);
            }
        }
        Ok(())
    }

    /// `NAME[: TYPE] [= DEFAULT] [HELP]`
    fn param(&self, text: &str) -> Result<Param, HeaderError> {
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(self.error(text.len(), "a parameter has a lower-case name"));
        }
        let mut rest = rest.trim_start();
        let mut kind = None;
        if let Some(after) = rest.strip_prefix(':') {
            let after = after.trim_start();
            let end = if after.starts_with("string(") {
                after.find(')').map_or(after.len(), |at| at + 1)
            } else {
                after
                    .find(|c: char| c.is_whitespace() || c == '=')
                    .unwrap_or(after.len())
            };
            let (text, next) = after.split_at(end);
            kind = Some(Kind::parse(text).ok_or_else(|| {
                let mut error = self.error(after.len(), format!("unknown type `{text}`"));
                error.hint = did_you_mean(text, KINDS);
                error
            })?);
            rest = next.trim_start();
        }
        let (default, help) = match rest.strip_prefix('=') {
            Some(after) => {
                let (value, help) = self.literal(name, after.trim_start())?;
                (Some(value), help)
            }
            None => (None, rest),
        };
        let kind = match (kind, &default) {
            (Some(kind), _) => kind,
            (None, Some(value)) => Kind::of(value).ok_or_else(|| {
                self.error(rest.len(), format!("parameter `{name}` needs a type"))
            })?,
            (None, None) => {
                return Err(self
                    .error(
                        text.len(),
                        format!("parameter `{name}` has neither a type nor a default"),
                    )
                    .with(&format!("like `param {name}: string`")));
            }
        };
        let default = match default {
            None => None,
            Some(value) => Some(kind.accept(&value).ok_or_else(|| {
                self.error(
                    rest.len(),
                    format!("the default of `{name}` is {kind}, not {value}"),
                )
            })?),
        };
        Ok(Param {
            name: name.to_owned(),
            kind,
            default,
            help: help.trim().to_owned(),
        })
    }

    /// The JSON literal that `text` begins with, and what follows it.
    fn literal<'t>(&self, name: &str, text: &'t str) -> Result<(Value, &'t str), HeaderError> {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => Ok((value, &text[values.byte_offset()..])),
            _ => Err(self
                .error(
                    text.len(),
                    format!("the default of `{name}` is not a literal: `{text}`"),
                )
                .with("texts are in double quotes: `= \"text\"`")),
        }
    }

    /// An error at the last `tail` bytes of the line.
    fn error(&self, tail: usize, message: impl Into<String>) -> HeaderError {
        let before = self.body.len().saturating_sub(tail);
        HeaderError {
            line: self.number,
            column: self.column + self.body.get(..before).unwrap_or(self.body).chars().count(),
            message: message.into(),
            hint: None,
        }
    }
}

impl HeaderError {
    fn with(mut self, hint: &str) -> HeaderError {
        self.hint = Some(hint.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_header_is_read_as_designed() {
        let header = Header::parse(concat!(
            "//! Move a mesh from Istio CA to Mesh CA; stops before the old root is retired.\n",
            "//!\n",
            "//! It converges: run it again at any time.\n",
            "//! param revision_1: string = \"asm-1\"   Revision that gives every proxy both roots.\n",
            "//! param namespaces: array = []   Order to move in;\n",
            "//!     empty: all injected ones.\n",
            "//! param through: string(distribute, sign) = \"sign\"   How far to go.\n",
            "//! param expect = [\"CITADEL\",\"MESHCA\"]\n",
            "//! param soak: float = 1 Seconds.\n",
            "//! param team: string\n",
            "//! mutates: false\n",
            "import \"x\" as x;\n//! not a header\n",
        ))
        .unwrap();
        assert_eq!(
            header.title,
            "Move a mesh from Istio CA to Mesh CA; stops before the old root is retired"
        );
        assert_eq!(
            header.description,
            "It converges: run it again at any time."
        );
        assert!(!header.mutates);
        let shown: Vec<_> = header
            .params
            .iter()
            .map(|p| {
                (
                    p.name.as_str(),
                    p.kind.to_string(),
                    p.default.clone(),
                    p.help.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "revision_1",
                    "string".into(),
                    Some(json!("asm-1")),
                    "Revision that gives every proxy both roots."
                ),
                (
                    "namespaces",
                    "array".into(),
                    Some(json!([])),
                    "Order to move in; empty: all injected ones."
                ),
                (
                    "through",
                    "one of `distribute`, `sign`".into(),
                    Some(json!("sign")),
                    "How far to go."
                ),
                (
                    "expect",
                    "array".into(),
                    Some(json!(["CITADEL", "MESHCA"])),
                    ""
                ),
                ("soak", "float".into(), Some(json!(1.0)), "Seconds."),
                ("team", "string".into(), None, ""),
            ]
        );
    }

    #[test]
    fn each_fault_names_its_line_and_the_way_out() {
        for (text, line, column, message, hint) in [
            (
                "//! T.\n//! parm x: int",
                2,
                5,
                "unknown header key `parm`",
                "did you mean `param`?",
            ),
            (
                "//! T.\n//! title: x",
                2,
                5,
                "unknown header key `title`",
                "known: `param`, `mutates`",
            ),
            (
                "//! T.\n//! param x: strng = \"a\"",
                2,
                14,
                "unknown type `strng`",
                "did you mean `string`?",
            ),
            (
                "//! T.\n//! param x: int = \"a\"",
                2,
                18,
                "the default of `x` is int, not \"a\"",
                "",
            ),
            (
                "//! T.\n//! param x = abc",
                2,
                15,
                "the default of `x` is not a literal: `abc`",
                "texts are in double quotes: `= \"text\"`",
            ),
            (
                "//! T.\n//! param x",
                2,
                11,
                "parameter `x` has neither a type nor a default",
                "like `param x: string`",
            ),
            (
                "//! T.\n//! param x: int\n//! param x: int",
                3,
                11,
                "parameter `x` is declared twice",
                "",
            ),
            (
                "//! T.\n//! mutates: maybe",
                2,
                14,
                "`mutates` is true or false, not `maybe`",
                "",
            ),
            (
                "//! T.\n//! mutates: false\n//! Prose.",
                3,
                11,
                "a line that is neither a key nor the rest of one",
                "description comes before the keys; more help is indented by four",
            ),
        ] {
            let error = Header::parse(text).unwrap_err();
            assert_eq!(
                (
                    error.line,
                    error.column,
                    error.message.as_str(),
                    error.hint.as_deref().unwrap_or_default()
                ),
                (line, column, message, hint),
                "{text}"
            );
        }
    }

    #[test]
    fn a_script_without_a_header_has_an_empty_one_and_prose_is_prose() {
        assert!(Header::parse("let x = 1;").unwrap().title.is_empty());
        let header =
            Header::parse("//! Title.\n//! Note: this is prose.\n//! So is http://x").unwrap();
        assert_eq!(header.description, "Note: this is prose.\nSo is http://x");
    }
}
