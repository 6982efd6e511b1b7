//! Paths into an object, in kubectl's JSONPath: `.status.phase`, `{.spec.containers[*].image}`,
//! `.metadata.labels['istio.io/rev']`, `.status.conditions[?(@.type=="Ready")].status`.
//!
//! The parts of the language that `kubectl get -o jsonpath` and `kubectl wait` know and that name
//! values; ranges, unions and recursive descent are refused, not guessed.

use std::fmt;

use serde_json::Value;

use super::ClusterError;

/// In place of what a Secret holds.
pub(super) const REDACTED: &str = "‹redacted›";

/// A path into an object. It may lead to several values.
#[derive(Clone, PartialEq)]
pub struct FieldPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `[*]`, `.*`: all elements, or all values.
    All,
    /// `[0]`, `[-1]`
    At(i64),
    /// `.name`, `['name']`
    Field(String),
    /// `[?(@.type=="Ready")]`
    Where(FieldPath, Equality, Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Equality {
    Equal,
    Different,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    text: String,
    reason: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no path into an object: {}",
            self.text, self.reason
        )
    }
}

impl FieldPath {
    /// Reads a path; the braces of kubectl and a leading `$` may be there or not.
    ///
    /// # Errors
    /// It is none, or uses a part of JSONPath that is not known here.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let trimmed = text.trim();
        let bare = trimmed
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(trimmed)
            .trim();
        let bare = bare.strip_prefix('$').unwrap_or(bare);
        let fail = |reason: String| PathError {
            text: text.to_owned(),
            reason,
        };
        let mut parser = Parser { rest: bare };
        let steps = parser.steps().map_err(fail)?;
        if steps.is_empty() {
            return Err(fail("it begins with `.`, as in `.metadata.name`".into()));
        }
        if !parser.rest.is_empty() {
            return Err(fail(format!("`{}` is not expected", parser.rest)));
        }
        if let Some(reason) = split_key(&steps) {
            return Err(fail(reason));
        }
        Ok(Self {
            text: bare.to_owned(),
            steps,
        })
    }

    /// Reads the path that a text begins with, and gives what comes after it.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub(super) fn parse_first(text: &str) -> Result<(Self, &str), PathError> {
        let text = text.trim_start();
        if text.starts_with('{') {
            let end = text.find('}').map_or(text.len(), |at| at + 1);
            return Ok((Self::parse(&text[..end])?, &text[end..]));
        }
        let mut parser = Parser { rest: text };
        // What is wrong with it, `parse` says.
        parser.steps().ok();
        let end = text.len() - parser.rest.len();
        if end == 0 {
            return Self::parse(text).map(|path| (path, ""));
        }
        Ok((Self::parse(&text[..end])?, &text[end..]))
    }

    /// All values that it leads to.
    pub fn values<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next);
            }
            found = next;
        }
        found
    }

    /// As [`Self::values`]; a list that is asked for a field is an error and not nothing, or a filter with
    /// a `[*]` left out would mean everything, or nothing.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`], with what to write.
    pub(super) fn values_of<'a>(&self, object: &'a Value) -> Result<Vec<&'a Value>, ClusterError> {
        let mut found = vec![object];
        for step in &self.steps {
            if let Step::Field(name) = step
                && found.iter().any(|value| value.is_array())
            {
                return Err(ClusterError::BadRequest {
                    message: format!(
                        "`{self}`: what is asked for `{name}` is a list: write `[*].{name}` for all of its \
                         elements, or `[0].{name}` for the first"
                    ),
                });
            }
            let mut next = Vec::new();
            for value in found {
                step.follow(value, &mut next);
            }
            found = next;
        }
        Ok(found)
    }

    /// Whether it leads into what a Secret keeps secret: its data, and annotations, which may hold a copy.
    pub(super) fn is_confidential(&self) -> bool {
        let fields: Vec<&str> = self.leading_fields().take(2).collect();
        matches!(
            fields.as_slice(),
            ["data" | "stringData", ..] | ["metadata", "annotations"]
        )
    }

    /// Whether it may lead to more than one value.
    pub fn is_plural(&self) -> bool {
        let plural = |step: &Step| matches!(step, Step::All | Step::Where(..));
        self.steps.iter().any(plural)
    }

    /// What it leads to, as one value: an array if it may be several, none if it is not there.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`]: a list is asked for a field.
    pub fn value(&self, object: &Value) -> Result<Option<Value>, ClusterError> {
        let values = self.values_of(object)?;
        if self.is_plural() {
            return Ok(Some(values.into_iter().cloned().collect()));
        }
        Ok(values.first().map(|v| (*v).clone()))
    }

    /// Whether it stays within what a list of metadata alone has.
    pub fn is_metadata(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Field(f)) if matches!(f.as_str(), "metadata" | "kind" | "apiVersion"))
    }

    /// The names that it begins with, up to a step that is none.
    pub(super) fn leading_fields(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map_while(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether it is exactly these fields.
    pub fn is(&self, fields: &[&str]) -> bool {
        self.steps.len() == fields.len()
            && self
                .steps
                .iter()
                .zip(fields)
                .all(|(step, field)| matches!(step, Step::Field(f) if f == field))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => found.extend(map.get(name)),
            (Self::All, Value::Object(map)) => found.extend(map.values()),
            (Self::All, Value::Array(items)) => found.extend(items),
            (Self::At(index), Value::Array(items)) => {
                let index = usize::try_from(*index).ok().or_else(|| {
                    let back = usize::try_from(index.unsigned_abs()).ok()?;
                    items.len().checked_sub(back)
                });
                found.extend(index.and_then(|i| items.get(i)));
            }
            (Self::Where(path, equality, wanted), Value::Array(items)) => {
                found.extend(items.iter().filter(|item| {
                    let equal = path.values(item).contains(&wanted);
                    equal == (*equality == Equality::Equal)
                }));
            }
            _ => {}
        }
    }
}

/// A label's name has dots and a slash: unquoted, it would be read as several fields, and found
/// nowhere.
fn split_key(steps: &[Step]) -> Option<String> {
    let [
        Step::Field(meta),
        Step::Field(map),
        Step::Field(first),
        rest @ ..,
    ] = steps
    else {
        return None;
    };
    if meta != "metadata" || !matches!(map.as_str(), "labels" | "annotations") || rest.is_empty() {
        return None;
    }
    let mut key = first.clone();
    for step in rest {
        let Step::Field(part) = step else { return None };
        key.push('.');
        key.push_str(part);
    }
    Some(format!(
        "a name with dots is written in quotes: `.metadata.{map}['{key}']`"
    ))
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                if rest.starts_with('.') {
                    return Err("`..` is not known here".into());
                }
                // `.['name']` is what some write.
                if rest.starts_with('[') {
                    continue;
                }
                if let Some(rest) = rest.strip_prefix('*') {
                    self.rest = rest;
                    steps.push(Step::All);
                    continue;
                }
                steps.push(Step::Field(self.name()?));
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else {
                return Ok(steps);
            }
        }
    }

    /// A field's name; `\` takes the meaning from the character after it.
    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, c)) => name.push(c),
                    None => return Err("it ends with `\\`".into()),
                },
                c if c.is_alphanumeric() || matches!(c, '_' | '-' | '/') => name.push(c),
                _ => {
                    end = at;
                    break;
                }
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() {
            return Err("a `.` without a name after it".into());
        }
        Ok(name)
    }

    fn bracket(&mut self) -> Result<Step, String> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            self.rest = rest.trim_start();
            return self.filter();
        }
        let step = if self.rest.starts_with(['\'', '"']) {
            Step::Field(self.quoted()?)
        } else {
            let end = self.rest.find(']').ok_or("`[` without `]`")?;
            let inside = self.rest[..end].trim();
            self.rest = &self.rest[end..];
            match inside {
                "*" => Step::All,
                number => Step::At(number.parse().map_err(|_| {
                    format!(
                        "`[{number}]` is none of `[0]`, `[*]`, `['name']`, `[?(@.type==\"Ready\")]`"
                    )
                })?),
            }
        };
        self.expect("]")?;
        Ok(step)
    }

    fn filter(&mut self) -> Result<Step, String> {
        self.expect("@")?;
        let before = self.rest;
        let steps = self.steps()?;
        let text = before[..before.len() - self.rest.len()].to_owned();
        if steps.is_empty() {
            return Err("a filter compares a field: `[?(@.type==\"Ready\")]`".into());
        }
        self.rest = self.rest.trim_start();
        let equality = if let Some(rest) = self.rest.strip_prefix("==") {
            self.rest = rest;
            Equality::Equal
        } else if let Some(rest) = self.rest.strip_prefix("!=") {
            self.rest = rest;
            Equality::Different
        } else {
            return Err("a filter compares with `==` or `!=`".into());
        };
        self.rest = self.rest.trim_start();
        let wanted = if self.rest.starts_with(['\'', '"']) {
            Value::from(self.quoted()?)
        } else {
            let end = self.rest.find(')').ok_or("`(` without `)`")?;
            let word = self.rest[..end].trim();
            let value = serde_json::from_str(word);
            self.rest = &self.rest[end..];
            value.map_err(|_| format!("`{word}` is no value: texts are written in quotes"))?
        };
        self.rest = self.rest.trim_start();
        self.expect(")")?;
        self.expect("]")?;
        Ok(Step::Where(FieldPath { text, steps }, equality, wanted))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map_or('"', |(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[at + 1..];
                return Ok(text);
            }
            text.push(match c {
                '\\' => chars.next().ok_or("it ends with `\\`")?.1,
                c => c,
            });
        }
        Err(format!("`{quote}` without another one"))
    }

    fn expect(&mut self, what: &str) -> Result<(), String> {
        self.rest = self
            .rest
            .strip_prefix(what)
            .ok_or_else(|| match self.rest.chars().next() {
                Some(found) => format!("`{found}` where `{what}` should be"),
                None => format!("it ends where `{what}` should be"),
            })?;
        Ok(())
    }
}

/// A value as `kubectl get -o jsonpath` prints it; none for what is no single value.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "a", "labels": {"istio.io/rev": "r1", "app": "web"}},
            "spec": {"containers": [{"name": "main", "ports": [{"containerPort": 80}]}, {"name": "proxy"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "False"}]},
        })
    }

    #[test]
    fn a_path_leads_where_kubectl_would_go() {
        for (path, found) in [
            (".metadata.name", json!(["a"])),
            ("{.metadata.name}", json!(["a"])),
            ("$.metadata.name", json!(["a"])),
            (".metadata.labels['istio.io/rev']", json!(["r1"])),
            (".metadata.labels[\"istio.io/rev\"]", json!(["r1"])),
            (".metadata.labels.istio\\.io/rev", json!(["r1"])),
            (".metadata.labels.*", json!(["web", "r1"])),
            (".spec.containers[*].name", json!(["main", "proxy"])),
            (".spec.containers[0].ports[0].containerPort", json!([80])),
            (".spec.containers[-1].name", json!(["proxy"])),
            (".spec.containers[-3].name", json!([])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (
                ".status.conditions[?(@.type!='Ready')].status",
                json!(["False"]),
            ),
            (
                ".spec.containers[*].ports[?(@.containerPort==80)].containerPort",
                json!([80]),
            ),
            (".spec.nothing.below", json!([])),
        ] {
            let parsed = FieldPath::parse(path).unwrap_or_else(|e| panic!("{e}"));
            let object = pod();
            assert_eq!(json!(parsed.values(&object)), found, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it begins with `.`, as in `.metadata.name`"),
            (
                "metadata.name",
                "it begins with `.`, as in `.metadata.name`",
            ),
            (".a..b", "`..` is not known here"),
            (".a.", "a `.` without a name after it"),
            (".a[", "`[` without `]`"),
            (
                ".a[1:2]",
                "`[1:2]` is none of `[0]`, `[*]`, `['name']`, `[?(@.type==\"Ready\")]`",
            ),
            (".a b", "` b` is not expected"),
            (".a['b", "`'` without another one"),
            (
                ".a[?(@.b==Ready)]",
                "`Ready` is no value: texts are written in quotes",
            ),
            (".a[?(@.b)]", "a filter compares with `==` or `!=`"),
            (
                ".metadata.labels.istio.io/rev",
                "a name with dots is written in quotes: `.metadata.labels['istio.io/rev']`",
            ),
        ] {
            let error = FieldPath::parse(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`{text}` is no path into an object: {reason}")
            );
        }
    }

    #[test]
    fn several_values_are_an_array_and_a_missing_one_is_none() {
        let value = |path: &str| FieldPath::parse(path).unwrap().value(&pod()).unwrap();
        assert_eq!(
            value(".spec.containers[*].name"),
            Some(json!(["main", "proxy"]))
        );
        assert_eq!(value(".spec.nodeName"), None);
        assert!(FieldPath::parse(".metadata.name").unwrap().is_metadata());
        assert!(!FieldPath::parse(".spec.nodeName").unwrap().is_metadata());
    }
}
