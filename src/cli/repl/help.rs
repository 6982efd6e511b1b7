//! `help` at the prompt: the words, from their own documentation.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::engine::{Failure, WordDoc, did_you_mean};

/// What help is asked about, if `line` asks for help; empty for everything.
pub(super) fn topic(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("help")?;
    if rest.is_empty() {
        return Some("");
    }
    let topic = rest.strip_prefix(char::is_whitespace)?.trim();
    let is_name = topic
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    is_name.then_some(topic)
}

/// The help about a topic: all modules, a module, a word; or that there is none.
pub(super) fn text(words: &[WordDoc], topic: &str) -> String {
    match about(words, topic) {
        Ok(text) => text,
        Err(failure) => match failure.hint {
            Some(hint) => format!("{}; {hint}", failure.message),
            None => failure.message,
        },
    }
}

/// The help about a topic.
///
/// # Errors
/// `usage`: there is no such word or module.
pub(in crate::cli) fn about(words: &[WordDoc], topic: &str) -> Result<String, Failure> {
    let words: Vec<&WordDoc> = words.iter().filter(|word| !word.doc.is_empty()).collect();
    let module = topic.trim_end_matches(':');
    let found: Vec<&WordDoc> = match topic {
        "" => return Ok(overview(&words)),
        _ => words
            .iter()
            .copied()
            .filter(|word| word.module.as_deref() == Some(module))
            .collect(),
    };
    if !found.is_empty() {
        return Ok(list(&found));
    }
    let found: Vec<String> = words
        .iter()
        .filter(|word| word.path() == topic)
        .map(|word| format!("{}\n\n{}", word.signature(), word.doc))
        .collect();
    if !found.is_empty() {
        return Ok(found.join("\n\n"));
    }
    let paths: Vec<String> = words.iter().map(|word| word.path()).collect();
    let failure = Failure::usage(format!("there is no word `{topic}`"));
    Err(
        match did_you_mean(topic, paths.iter().map(String::as_str)) {
            Some(near) => failure.hint(near),
            None => failure,
        },
    )
}

fn overview(words: &[&WordDoc]) -> String {
    let mut modules = BTreeMap::<&str, Vec<&str>>::new();
    for word in words {
        let names = modules
            .entry(word.module.as_deref().unwrap_or_default())
            .or_default();
        if names.last() != Some(&word.name.as_str()) {
            names.push(&word.name);
        }
    }
    let mut text = String::new();
    for (module, names) in modules {
        let module = if module.is_empty() {
            "(anywhere)"
        } else {
            module
        };
        let _ = writeln!(text, "{module:12} {}", names.join(", "));
    }
    text.push_str("`help MODULE` and `help MODULE::WORD` say more");
    text
}

fn list(words: &[&WordDoc]) -> String {
    let lines: Vec<String> = words
        .iter()
        .map(|word| {
            format!(
                "{}\n    {}",
                word.signature(),
                word.summary().replace('\n', " ")
            )
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ParamDoc;

    fn words() -> Vec<WordDoc> {
        let word = |module: &str, name: &str, doc: &str| WordDoc {
            module: (!module.is_empty()).then(|| module.to_owned()),
            name: name.to_owned(),
            params: vec![ParamDoc {
                name: "kind".to_owned(),
                kind: "string".to_owned(),
            }],
            returns: String::new(),
            doc: doc.to_owned(),
            form: None,
        };
        vec![
            word("", "retry", "Calls again."),
            word(
                "cluster",
                "get",
                "The object,\nor nothing. Really.\n\nMore.",
            ),
            word("cluster", "hidden", ""),
        ]
    }

    #[test]
    fn help_is_asked_for_by_name_and_is_no_expression() {
        assert_eq!(topic("help"), Some(""));
        assert_eq!(topic(" help cluster::get \n"), Some("cluster::get"));
        assert_eq!(topic("helper"), None);
        assert_eq!(topic("help = 1"), None);
    }

    #[test]
    fn help_goes_from_all_to_one() {
        let words = words();
        assert_eq!(
            text(&words, ""),
            "(anywhere)   retry\ncluster      get\n`help MODULE` and `help MODULE::WORD` say more"
        );
        assert_eq!(
            text(&words, "cluster"),
            "cluster::get(kind)\n    The object, or nothing"
        );
        assert_eq!(
            text(&words, "cluster::get"),
            "cluster::get(kind)\n\nThe object,\nor nothing. Really.\n\nMore."
        );
        assert_eq!(
            text(&words, "cluster::gett"),
            "there is no word `cluster::gett`; did you mean `cluster::get`?"
        );
    }
}
