//! Who may say yes: flags, the twin, or a person at the terminal.
//!
//! `--yes` answers plain confirmations. It never answers where a name has to be typed, because
//! what comes then cannot be taken back: that takes a person, or `--confirm NAME`. On a twin, and in a
//! rehearsal, nothing can be harmed, so they answer both.

use std::io;

use futures::future::BoxFuture;

use crate::{
    engine::{Bridge, Failure, kit},
    journal::Approval,
};

/// Asks a person one question and reads one line; `None` at the end of input.
pub trait Ask: Send + Sync {
    /// Shows `question` as it is and reads the answer.
    fn ask<'a>(&'a self, question: &'a str) -> BoxFuture<'a, io::Result<Option<String>>>;
}

/// What was allowed beforehand, and who can be asked.
#[derive(Default)]
pub struct Approvals {
    /// `--yes`.
    pub yes: bool,
    /// `--confirm NAME`.
    pub names: Vec<String>,
    /// Nothing is stored: `--dry-run`.
    pub rehearsal: bool,
    /// The run is on a twin.
    pub twin: bool,
    /// The person, if there is one.
    pub person: Option<Box<dyn Ask>>,
}

/// An answer and who gave it.
pub(super) type Answer = (bool, Approval);

impl Approvals {
    /// Whether anybody can answer a plain confirmation.
    pub fn can_confirm(&self) -> bool {
        self.yes || self.twin || self.rehearsal || self.person.is_some()
    }

    /// Asks a yes-or-no question.
    pub(super) fn confirm(&self, question: &str, bridge: &Bridge) -> Result<Answer, Failure> {
        if self.twin {
            return Ok((true, Approval::Twin));
        }
        if self.rehearsal {
            return Ok((true, Approval::Rehearsal));
        }
        if self.yes {
            return Ok((true, Approval::YesFlag));
        }
        let Some(person) = &self.person else {
            return Err(
                Failure::usage(format!("nobody is here to answer: {question}"))
                    .hint("`--yes` answers confirmations"),
            );
        };
        let answer = read(person.as_ref(), &format!("{question} [y/N] "), bridge)?;
        let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        Ok((yes, Approval::Person))
    }

    /// Asks for `name` to be typed.
    pub(super) fn confirm_name(
        &self,
        what: &str,
        name: &str,
        bridge: &Bridge,
    ) -> Result<Answer, Failure> {
        if self.twin {
            return Ok((true, Approval::Twin));
        }
        if self.rehearsal {
            return Ok((true, Approval::Rehearsal));
        }
        if self.names.iter().any(|n| n == name) {
            return Ok((true, Approval::ConfirmFlag));
        }
        let Some(person) = &self.person else {
            return Err(Failure::usage(format!("nobody is here to confirm: {what}"))
                .hint(format!("`--confirm {name}` confirms it; `--yes` does not")));
        };
        let question = format!("{what}\nThis cannot be taken back. Type `{name}` to go on: ");
        let answer = read(person.as_ref(), &question, bridge)?;
        Ok((answer.trim() == name, Approval::Person))
    }
}

fn read(person: &dyn Ask, question: &str, bridge: &Bridge) -> Result<String, Failure> {
    let answer = async {
        person
            .ask(question)
            .await
            .map_err(|e| Failure::environment(format!("cannot ask at the terminal: {e}")))
    };
    let line = bridge.watch(answer).map_err(|e| kit::failure_of(&e))?;
    Ok(line.unwrap_or_default())
}
