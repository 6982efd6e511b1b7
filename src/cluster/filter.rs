//! Which objects are meant, said by any of their fields and decided here.
//!
//! The notation is the one of label selectors, with paths ([`FieldPath`]) for names:
//! `.status.phase=Running,.spec.nodeName in (a,b),!.metadata.deletionTimestamp,.spec.replicas>1`.
//! The API server can select by labels and a few fields only; where it can, [`super::Selector`] is
//! better, because less is transferred.

use std::fmt;

use serde_json::Value;

use super::path::{FieldPath, REDACTED, scalar};
use super::{ClusterError, Object};

/// Requirements, all of which must hold; none: everything is meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone)]
struct Requirement {
    path: FieldPath,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Absent,
    Compared(Comparison, f64),
    In(Vec<String>),
    NotIn(Vec<String>),
    Present,
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Above,
    AtLeast,
    AtMost,
    Below,
}

impl Filter {
    /// Reads requirements, separated by commas. `=`, `==`, `in`: one of the path's values is one of
    /// these; `!=`, `notin`: none is; a path alone: it leads to something; `!` before it: it does not;
    /// `<`, `<=`, `>`, `>=`: a number.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`]: it cannot be read.
    pub fn parse(text: &str) -> Result<Self, ClusterError> {
        let wrong = |reason: String| ClusterError::BadRequest {
            message: format!("`{text}` selects nothing: {reason}"),
        };
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let negated = rest.strip_prefix('!');
            let (path, after) = FieldPath::parse_first(negated.unwrap_or(rest))
                .map_err(|e| wrong(e.to_string()))?;
            let after = after.trim_start();
            let (demand, after) = if negated.is_some() {
                (Test::Absent, after)
            } else {
                demand(after).map_err(&wrong)?
            };
            requirements.push(Requirement { path, test: demand });
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) if !next.trim().is_empty() => next.trim_start(),
                None if after.is_empty() => "",
                _ => return Err(wrong(format!("`{after}` is not expected"))),
            };
        }
        if requirements.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        Ok(Self { requirements })
    }

    /// Adds that one of a path's values is one of these, as text.
    pub fn one_of(&mut self, path: FieldPath, values: Vec<String>) {
        let test = Test::In(values);
        self.requirements.push(Requirement { path, test });
    }

    /// Adds that a path leads to nothing.
    pub fn absent(&mut self, path: FieldPath) {
        let test = Test::Absent;
        self.requirements.push(Requirement { path, test });
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The paths that it looks at.
    pub fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.requirements.iter().map(|r| &r.path)
    }

    /// Whether an object is meant.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`]: a number is compared with what is none, or a list is asked for a field.
    pub fn matches(&self, object: &Value) -> Result<bool, ClusterError> {
        for requirement in &self.requirements {
            if !requirement.holds(object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Requirement {
    fn holds(&self, object: &Value) -> Result<bool, ClusterError> {
        let values = self.path.values_of(object)?;
        let mut present = values.iter().filter(|v| !v.is_null());
        let is_one_of = |wanted: &[String]| {
            let mut texts = values.iter().filter_map(|v| scalar(v));
            texts.any(|text| wanted.contains(&text))
        };
        Ok(match &self.test {
            Test::Absent => present.next().is_none(),
            Test::Present => present.next().is_some(),
            Test::In(wanted) => is_one_of(wanted),
            Test::NotIn(wanted) => !is_one_of(wanted),
            Test::Compared(comparison, limit) => {
                let mut any = false;
                for value in present {
                    any |= comparison.holds(self.number(value, object)?, *limit);
                }
                any
            }
        })
    }

    fn number(&self, value: &Value, object: &Value) -> Result<f64, ClusterError> {
        value.as_f64().ok_or_else(|| {
            let secret = object["kind"] == "Secret" && self.path.is_confidential();
            let shown = if secret {
                REDACTED.to_owned()
            } else {
                value.to_string()
            };
            ClusterError::BadRequest {
                message: format!(
                    "`{}` of {} is {shown}, which is no number to compare",
                    self.path,
                    Object::new(object.clone())
                ),
            }
        })
    }
}

impl Comparison {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::AtMost => value <= limit,
            Self::Below => value < limit,
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let path = &requirement.path;
            match &requirement.test {
                Test::Absent => write!(f, "{comma}!{path}")?,
                Test::Present => write!(f, "{comma}{path}")?,
                Test::In(values) => write!(f, "{comma}{path} in ({})", values.join(","))?,
                Test::NotIn(values) => write!(f, "{comma}{path} notin ({})", values.join(","))?,
                Test::Compared(comparison, limit) => {
                    let sign = match comparison {
                        Comparison::Above => ">",
                        Comparison::AtLeast => ">=",
                        Comparison::AtMost => "<=",
                        Comparison::Below => "<",
                    };
                    write!(f, "{comma}{path}{sign}{limit}")?;
                }
            }
        }
        Ok(())
    }
}

/// What is asked of a path, and what comes after it.
fn demand(text: &str) -> Result<(Test, &str), String> {
    if text.is_empty() || text.starts_with(',') {
        return Ok((Test::Present, text));
    }
    for (sign, comparison) in [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::Above),
        ("<", Comparison::Below),
    ] {
        if let Some(rest) = text.strip_prefix(sign) {
            let (value, rest) = value(rest, &[','])?;
            let number = value
                .parse()
                .map_err(|_| format!("`{value}` is no number"))?;
            return Ok((Test::Compared(comparison, number), rest));
        }
    }
    if let Some(rest) = text.strip_prefix("!=") {
        let (value, rest) = value(rest, &[','])?;
        return Ok((Test::NotIn(vec![value]), rest));
    }
    if let Some(rest) = text.strip_prefix("==").or_else(|| text.strip_prefix('=')) {
        let (value, rest) = value(rest, &[','])?;
        return Ok((Test::In(vec![value]), rest));
    }
    for (word, inside) in [("notin", false), ("in", true)] {
        let list = text
            .strip_prefix(word)
            .and_then(|rest| rest.trim_start().strip_prefix('('));
        if let Some(mut rest) = list {
            let mut values = Vec::new();
            loop {
                let (one, after) = value(rest, &[',', ')'])?;
                values.push(one);
                if let Some(after) = after.strip_prefix(')') {
                    let demand = if inside {
                        Test::In(values)
                    } else {
                        Test::NotIn(values)
                    };
                    return Ok((demand, after));
                }
                rest = after.strip_prefix(',').ok_or("`(` without `)`")?;
            }
        }
    }
    Err(format!(
        "`{text}` is none of `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (…)`, `notin (…)`"
    ))
}

/// A value, bare or in quotes, and what comes after it.
fn value<'a>(text: &'a str, ends: &[char]) -> Result<(String, &'a str), String> {
    let text = text.trim_start();
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let inside = &text[1..];
        let end = inside
            .find(quote)
            .ok_or_else(|| format!("`{quote}` without another one"))?;
        return Ok((inside[..end].to_owned(), inside[end + 1..].trim_start()));
    }
    let end = text.find(ends).unwrap_or(text.len());
    Ok((text[..end].trim_end().to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: &str) -> bool {
        let object = json!({
            "kind": "Pod",
            "metadata": {"name": "a", "namespace": "shop", "labels": {"istio.io/rev": "r1"}},
            "spec": {"nodeName": "n1", "replicas": 3, "paused": false,
                "containers": [{"name": "main", "image": "x:1,2"}, {"name": "proxy", "image": "y"}]},
            "status": {"phase": "Running", "reason": null},
        });
        let filter = Filter::parse(filter).unwrap_or_else(|e| panic!("{e}"));
        filter.matches(&object).unwrap()
    }

    #[test]
    fn requirements_hold_or_do_not() {
        for yes in [
            ".status.phase=Running",
            ".status.phase==Running",
            ".status.phase = Running",
            ".status.phase!=Pending",
            ".status.nothing!=Pending",
            ".spec.nodeName in (n0, n1)",
            ".spec.nodeName notin (n2)",
            ".spec.nothing notin (n2)",
            ".spec.nodeName",
            "!.metadata.deletionTimestamp",
            "!.status.reason",
            ".spec.replicas>2,.spec.replicas>=3,.spec.replicas<4,.spec.replicas<=3",
            ".spec.replicas=3,.spec.paused=false",
            ".spec.containers[*].name=proxy",
            ".spec.containers[*].image='x:1,2',.spec.nodeName=n1",
            ".metadata.labels['istio.io/rev']=r1",
            "{.status.phase}=Running,.spec.nodeName=n1",
            ".spec.containers[?(@.name==\"main\")].image!=y",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            ".status.phase=running",
            ".status.phase!=Running",
            ".spec.nodeName notin (n1,n2)",
            ".spec.nothing",
            ".status.reason",
            "!.spec.nodeName",
            ".spec.replicas>3",
            ".spec.nothing>0",
            ".spec.containers[*].name!=proxy",
            ".spec.containers=main",
            ".status.phase=Running,.spec.nodeName=n2",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_compared_is_said() {
        for (text, reason) in [
            ("", "it is empty"),
            (
                "phase=Running",
                "`phase=Running` is no path into an object: it begins with `.`, as in `.metadata.name`",
            ),
            (
                ".a~b",
                "`~b` is none of `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (…)`, `notin (…)`",
            ),
            (".a=b,", "`,` is not expected"),
            (".a>b", "`b` is no number"),
            (".a in (b", "`(` without `)`"),
            (".a='b' c", "`c` is not expected"),
            (
                ".metadata.labels.istio.io/rev=x",
                "`.metadata.labels.istio.io/rev` is no path into an object: a name with dots is written in quotes: \
                 `.metadata.labels['istio.io/rev']`",
            ),
        ] {
            let error = Filter::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("`{text}` selects nothing: {reason}"));
        }
        let object =
            json!({"kind": "Pod", "metadata": {"name": "a"}, "status": {"phase": "Running"}});
        let error = Filter::parse(".status.phase>1").unwrap().matches(&object);
        assert_eq!(
            error.unwrap_err().to_string(),
            "`.status.phase` of Pod a is \"Running\", which is no number to compare"
        );
        let secret =
            json!({"kind": "Secret", "metadata": {"name": "a"}, "data": {"key": "aHVudGVy"}});
        let error = Filter::parse(".data.key>1").unwrap().matches(&secret);
        assert_eq!(
            error.unwrap_err().to_string(),
            "`.data.key` of Secret a is ‹redacted›, which is no number to compare"
        );
    }

    #[test]
    fn a_list_that_is_asked_for_a_field_is_an_error() {
        let pod = json!({"spec": {"containers": [{"name": "main"}]}});
        for test in ["=main", "!=main", " notin (main)", ">1", ""] {
            let filter = Filter::parse(&format!(".spec.containers.name{test}")).unwrap();
            let error = filter.matches(&pod).unwrap_err().to_string();
            assert!(error.contains("write `[*].name`"), "{test}: {error}");
        }
        let absent = Filter::parse("!.spec.containers.name").unwrap();
        assert!(absent.matches(&pod).is_err());
        assert!(absent.matches(&json!({"spec": {}})).unwrap());
    }
}
