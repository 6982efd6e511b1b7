//! Selecting objects: by labels, in both notations, and by fields.

use serde_json::Value;

/// Requirements on labels; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    GreaterThan,
    In,
    LessThan,
    NotExists,
    NotIn,
}

impl LabelSelector {
    /// Reads the notation of `labelSelector=`: `a=b,c!=d,e in (f,g),h,!i`.
    ///
    /// # Errors
    /// In the words of `k8s.io/apimachinery/pkg/labels`.
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        Parser::new(text).parse().map(LabelSelector)
    }

    /// Reads `matchLabels` and `matchExpressions`. `None` when an operator is unknown; an absent
    /// selector, like an empty one, selects everything.
    pub fn from_value(selector: &Value) -> Option<LabelSelector> {
        let mut all = Vec::new();
        if let Some(labels) = selector["matchLabels"].as_object() {
            for (key, value) in labels {
                all.push(Requirement {
                    key: key.clone(),
                    operator: Operator::In,
                    values: vec![value.as_str().unwrap_or_default().to_owned()],
                });
            }
        }
        if let Some(expressions) = selector["matchExpressions"].as_array() {
            for expression in expressions {
                let operator = match expression["operator"].as_str()? {
                    "DoesNotExist" => Operator::NotExists,
                    "Exists" => Operator::Exists,
                    "In" => Operator::In,
                    "NotIn" => Operator::NotIn,
                    _ => return None,
                };
                let values = expression["values"].as_array();
                all.push(Requirement {
                    key: expression["key"].as_str()?.to_owned(),
                    operator,
                    values: values
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect(),
                });
            }
        }
        Some(LabelSelector(all))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels (`metadata.labels`, possibly absent) fulfil all requirements.
    pub fn matches(&self, labels: &Value) -> bool {
        self.0
            .iter()
            .all(|r| r.holds(labels.get(&r.key).and_then(Value::as_str)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = || value.is_some_and(|v| self.values.iter().any(|w| w == v));
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = || Some((number(value?)?, number(self.values.first()?)?));
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::NotExists => value.is_none(),
            Operator::In => among(),
            Operator::NotIn => !among(),
            Operator::GreaterThan => compare().is_some_and(|(is, than)| is > than),
            Operator::LessThan => compare().is_some_and(|(is, than)| is < than),
        }
    }
}

/// The lexer and parser of `labels.Parse`, token by token, because its errors name tokens.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Close,
    Comma,
    DoubleEquals,
    End,
    Equals,
    Greater,
    In,
    Less,
    Not,
    NotEquals,
    NotIn,
    Open,
    Word(String),
}

impl Token {
    fn literal(&self) -> &str {
        match self {
            Token::Close => ")",
            Token::Comma => ",",
            Token::DoubleEquals => "==",
            Token::End => "",
            Token::Equals => "=",
            Token::Greater => ">",
            Token::In => "in",
            Token::Less => "<",
            Token::Not => "!",
            Token::NotEquals => "!=",
            Token::NotIn => "notin",
            Token::Open => "(",
            Token::Word(word) => word,
        }
    }
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0 }
    }

    fn parse(mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        loop {
            match self.peek_key() {
                Token::Word(_) | Token::Not => {
                    let requirement = self
                        .requirement()
                        .map_err(|e| format!("unable to parse requirement: {e}"))?;
                    all.push(requirement);
                    match self.next() {
                        Token::End => return Ok(all),
                        Token::Comma => {
                            let after = self.peek_key();
                            if !matches!(after, Token::Word(_) | Token::Not) {
                                return Err(format!(
                                    "found '{}', expected: identifier after ','",
                                    after.literal()
                                ));
                            }
                        }
                        other => {
                            return Err(format!(
                                "found '{}', expected: ',' or 'end of string'",
                                other.literal()
                            ));
                        }
                    }
                }
                Token::End => return Ok(all),
                other => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.literal()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut operator = None;
        let mut key = self.next_key();
        if key == Token::Not {
            operator = Some(Operator::NotExists);
            key = self.next_key();
        }
        let Token::Word(key) = key else {
            return Err(format!("found '{}', expected: identifier", key.literal()));
        };
        check_key(&key)?;
        let bare = |operator| Requirement {
            key: key.clone(),
            operator,
            values: Vec::new(),
        };
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(bare(operator.unwrap_or(Operator::Exists)));
        }
        if operator.is_some() {
            // `!key` and something behind it: left to the caller, who names it.
            return Ok(bare(Operator::NotExists));
        }
        let (operator, values) = match self.next() {
            Token::In => (Operator::In, self.values()?),
            Token::NotIn => (Operator::NotIn, self.values()?),
            Token::Equals | Token::DoubleEquals => (Operator::In, vec![self.value()?]),
            Token::NotEquals => (Operator::NotIn, vec![self.value()?]),
            Token::Greater => (Operator::GreaterThan, vec![self.value()?]),
            Token::Less => (Operator::LessThan, vec![self.value()?]),
            other => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.literal()
                ));
            }
        };
        for value in &values {
            if let Some(why) = super::validate::label_value(value) {
                return Err(format!(
                    "values[0][{key}]: Invalid value: \"{value}\": {why}"
                ));
            }
        }
        Ok(Requirement {
            key,
            operator,
            values,
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Open => {}
            other => return Err(format!("found '{}' expected: '('", other.literal())),
        }
        let mut all = Vec::new();
        let mut after_comma = true;
        loop {
            match self.next_key() {
                Token::Word(word) if after_comma => {
                    all.push(word);
                    after_comma = false;
                }
                Token::Comma => {
                    if after_comma {
                        all.push(String::new());
                    }
                    after_comma = true;
                }
                Token::Close => {
                    if after_comma {
                        all.push(String::new());
                    }
                    return Ok(all);
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', or ')'",
                        other.literal()
                    ));
                }
            }
        }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek_key() {
            Token::End | Token::Comma => Ok(String::new()),
            Token::Word(word) => {
                self.next_key();
                Ok(word)
            }
            other => Err(format!("found '{}', expected: identifier", other.literal())),
        }
    }

    fn peek(&mut self) -> Token {
        let at = self.at;
        let token = self.next();
        self.at = at;
        token
    }

    fn peek_key(&mut self) -> Token {
        let at = self.at;
        let token = self.next_key();
        self.at = at;
        token
    }

    /// The next token where a key or value is expected: `in` is a word there.
    fn next_key(&mut self) -> Token {
        match self.next() {
            Token::In => Token::Word("in".to_owned()),
            Token::NotIn => Token::Word("notin".to_owned()),
            other => other,
        }
    }

    fn next(&mut self) -> Token {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let signs = [
            ("==", Token::DoubleEquals),
            ("!=", Token::NotEquals),
            ("=", Token::Equals),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
            (">", Token::Greater),
            ("<", Token::Less),
        ];
        for (sign, token) in signs {
            if rest.starts_with(sign) {
                self.at += sign.len();
                return token;
            }
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || "=!(),><".contains(c))
            .unwrap_or(rest.len());
        self.at += end;
        match &rest[..end] {
            "" => Token::End,
            "in" => Token::In,
            "notin" => Token::NotIn,
            word => Token::Word(word.to_owned()),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    match super::validate::qualified_name(key).as_slice() {
        [] => Ok(()),
        whys => Err(format!(
            "<nil>: Invalid value: \"{key}\": {}",
            whys.join("; ")
        )),
    }
}

/// Requirements on fields; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Reads `a=b,c!=d`.
    ///
    /// # Errors
    /// In the words of `k8s.io/apimachinery/pkg/fields`.
    pub fn parse(text: &str) -> Result<FieldSelector, String> {
        let mut all = Vec::new();
        for term in text.split(',').filter(|t| !t.is_empty()) {
            let (field, equal, value) = if let Some((f, v)) = term.split_once("!=") {
                (f, false, v)
            } else if let Some((f, v)) = term.split_once("==") {
                (f, true, v)
            } else if let Some((f, v)) = term.split_once('=') {
                (f, true, v)
            } else {
                return Err(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ));
            };
            all.push((field.to_owned(), equal, value.to_owned()));
        }
        Ok(FieldSelector(all))
    }

    /// The fields that it speaks of.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, _, _)| field.as_str())
    }

    /// The same requirements on fields of other names.
    pub fn renamed(self, name: impl Fn(&str) -> String) -> FieldSelector {
        let all = self.0.into_iter();
        FieldSelector(
            all.map(|(f, equal, value)| (name(&f), equal, value))
                .collect(),
        )
    }

    /// Whether an object fulfils all requirements.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, equal, value)| {
            let is = field_text(object, field);
            (is == *value) == *equal
        })
    }
}

/// The value of a field as text; empty when it is not there.
fn field_text(object: &Value, path: &str) -> String {
    let path = path.strip_prefix('.').unwrap_or(path);
    let path = match (object["kind"].as_str(), path) {
        (Some("Event"), "source") => "source.component",
        (_, path) => path,
    };
    let found = path.split('.').try_fold(object, |at, part| at.get(part));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match path {
            "status.replicas" => "0".to_owned(),
            "spec.hostNetwork" | "spec.unschedulable" => "false".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: &Value) -> bool {
        LabelSelector::parse(selector).unwrap().matches(labels)
    }

    #[test]
    fn every_notation_of_a_label_selector() {
        let labels = json!({"rev": "r1", "tier": "web"});
        for yes in [
            "rev=r1",
            "rev==r1,tier",
            "rev!=r2",
            "rev in (r1,r2)",
            "tier notin (db)",
            "!x",
            "x notin (a)",
            "",
        ] {
            assert!(selects(yes, &labels), "{yes}");
        }
        for no in ["rev=r2", "!rev", "rev in (r2)", "x", "rev=,tier"] {
            assert!(!selects(no, &labels), "{no}");
        }
    }

    #[test]
    fn a_broken_label_selector_says_what_was_expected() {
        let error = LabelSelector::parse("rev in r1").unwrap_err();
        assert_eq!(
            error,
            "unable to parse requirement: found 'r1' expected: '('"
        );
    }

    #[test]
    fn a_field_selector_compares_text() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        let parse = |t: &str| FieldSelector::parse(t).unwrap();
        assert!(parse("metadata.name=a,status.phase!=Pending").matches(&pod));
        assert!(!parse("spec.nodeName=x").matches(&pod));
        assert!(FieldSelector::parse("garbage").is_err());
    }
}
