//! The reference of the language in Markdown, made from what the words say of themselves.

use super::WordDoc;
use std::fmt::Write as _;

/// Every word with its documentation, by module; in front of them the table of [`kubectl_table`].
pub fn reference(words: &[WordDoc]) -> String {
    let mut text = String::from("# Words\n\n## From kubectl\n\n");
    text.push_str(&kubectl_table(words));
    let mut module = None;
    for word in words.iter().filter(|word| !word.doc.is_empty()) {
        if module != Some(&word.module) {
            module = Some(&word.module);
            let name = word.module.as_deref().unwrap_or("Anywhere");
            let _ = write!(text, "\n## {name}\n");
        }
        let _ = write!(text, "\n### `{}`\n\n{}\n", word.signature(), word.doc);
    }
    text
}

/// The kubectl commands that words name, each with its word, by command.
pub fn kubectl_table(words: &[WordDoc]) -> String {
    let mut rows: Vec<(&str, String)> = words
        .iter()
        .filter_map(|word| Some((word.kubectl()?, word.signature())))
        .collect();
    rows.sort();
    rows.dedup();
    let mut text = String::from("| kubectl | word |\n|---|---|\n");
    for (command, signature) in rows {
        let command = command.replace('|', "\\|");
        let _ = writeln!(text, "| `{command}` | `{signature}` |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(module: &str, name: &str, doc: &str) -> WordDoc {
        WordDoc {
            module: Some(module.to_owned()),
            name: name.to_owned(),
            params: Vec::new(),
            returns: String::new(),
            doc: doc.to_owned(),
            form: None,
        }
    }

    #[test]
    fn a_word_is_found_by_its_kubectl_command() {
        let words = [
            word(
                "cluster",
                "version",
                "The version.\n\nkubectl: `kubectl version`\n\nMore.",
            ),
            word(
                "cluster",
                "delete",
                "Deletes.\n\nkubectl: `kubectl delete KIND|ALL`",
            ),
            word("log", "info", "Says."),
            word("log", "hidden", ""),
        ];
        assert_eq!(words[0].kubectl(), Some("kubectl version"));
        assert_eq!(words[2].kubectl(), None);
        let table = "| kubectl | word |\n|---|---|\n\
                     | `kubectl delete KIND\\|ALL` | `cluster::delete()` |\n\
                     | `kubectl version` | `cluster::version()` |\n";
        assert_eq!(kubectl_table(&words), table);
        assert_eq!(
            reference(&words[2..]),
            "# Words\n\n## From kubectl\n\n| kubectl | word |\n|---|---|\n\
             \n## log\n\n### `log::info()`\n\nSays.\n"
        );
    }
}
