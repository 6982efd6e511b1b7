//! The line editor: history, completion, and going on with a line that is not complete.

use std::{borrow::Cow, collections::BTreeSet, path::PathBuf, sync::Arc};

use rustyline::{
    CompletionType, Config, Context, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::DefaultHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};

use crate::{
    effect::files,
    engine::{Failure, Session, WordDoc},
};

const PROMPT: &str = "rootshift> ";

/// Reads lines from a terminal.
pub(super) struct Editor {
    editor: rustyline::Editor<Assistant, DefaultHistory>,
    history: Option<PathBuf>,
}

/// What came from the terminal.
pub(super) enum Input {
    /// A complete line, or several.
    Line(String),
    /// Ctrl-C.
    Dropped,
    /// Ctrl-D, or the terminal is gone.
    End,
}

impl Editor {
    /// An editor with the history of earlier sessions.
    pub(super) fn new(session: Arc<Session>) -> Result<Self, Failure> {
        let config = Config::builder()
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = rustyline::Editor::with_config(config).map_err(|error| {
            Failure::environment(format!("the terminal cannot be used: {error}"))
        })?;
        let words = session.engine().metadata();
        editor.set_helper(Some(Assistant { session, words }));
        let history = files::state_dir().map(|dir| dir.join("history"));
        if let Some(file) = &history {
            if let Some(dir) = file.parent() {
                // A session without a history is better than none.
                files::create_dir(dir).ok();
            }
            editor.load_history(file).ok();
        }
        Ok(Self { editor, history })
    }

    /// Reads until something is complete.
    pub(super) fn read(&mut self) -> Input {
        match self.editor.readline(PROMPT) {
            Ok(line) => {
                if let Some(file) = &self.history {
                    self.editor.append_history(file).ok();
                }
                Input::Line(line)
            }
            Err(ReadlineError::Interrupted) => Input::Dropped,
            Err(_) => Input::End,
        }
    }
}

/// Completes and judges lines.
struct Assistant {
    session: Arc<Session>,
    words: Vec<WordDoc>,
}

impl Helper for Assistant {}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if self.session.is_incomplete(ctx.input()) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _ctx: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = beginning(&line[..position]);
        let found = candidates(&line[start..position], &self.words, &self.session.names());
        Ok((start, found))
    }
}

/// Where the name begins that `before` ends in, its modules included.
fn beginning(before: &str) -> usize {
    before
        .rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .map_or(0, |at| at + 1)
}

/// Every name that `begun` may become: modules and global words and the session's own names, or the
/// words of the module that is named already.
fn candidates(begun: &str, words: &[WordDoc], own: &[String]) -> Vec<String> {
    if begun.is_empty() {
        return Vec::new();
    }
    let mut all: BTreeSet<String> = own.iter().cloned().collect();
    for word in words.iter().filter(|word| !word.doc.is_empty()) {
        match &word.module {
            Some(module) if begun.contains(':') => {
                all.insert(format!("{module}::{}(", word.name));
            }
            Some(module) => {
                all.insert(format!("{module}::"));
            }
            None if word.form.is_some() => {
                all.insert(format!("{} ", word.name));
            }
            None => {
                all.insert(format!("{}(", word.name));
            }
        }
    }
    all.retain(|name| name.starts_with(begun));
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(module: Option<&str>, name: &str) -> WordDoc {
        WordDoc {
            module: module.map(str::to_owned),
            name: name.to_owned(),
            params: Vec::new(),
            returns: String::new(),
            doc: "A word.".to_owned(),
            form: None,
        }
    }

    #[test]
    fn modules_come_first_and_their_words_after_the_colons() {
        let words = [
            word(Some("cluster"), "get"),
            word(Some("cluster"), "list"),
            word(None, "retry"),
        ];
        let own = ["clusters".to_owned()];
        assert_eq!(candidates("cl", &words, &own), ["cluster::", "clusters"]);
        assert_eq!(candidates("cluster::l", &words, &own), ["cluster::list("]);
        assert_eq!(candidates("re", &words, &own), ["retry("]);
        assert_eq!(beginning("let x = cluster::g"), 8);
        assert_eq!(beginning("re"), 0);
    }
}
