//! What a run offers its words.

use std::sync::Arc;

use super::{Account, Approvals, Waivers, approvals::Answer};
use crate::{
    engine::{Bridge, Failure},
    host::world::RunPort,
    journal::{Approval, Event},
};

/// The run as the host's words see it.
pub(super) struct Port {
    pub(super) account: Arc<Account>,
    pub(super) approvals: Arc<Approvals>,
    pub(super) waivers: Arc<Waivers>,
    pub(super) bridge: Bridge,
    /// Nothing is stored.
    pub(super) rehearsal: bool,
}

impl Port {
    /// Records the answer, also that nobody could give one.
    fn answered(&self, question: &str, answer: Result<Answer, Failure>) -> Result<bool, Failure> {
        let (granted, by) = match &answer {
            Ok((granted, by)) => (*granted, *by),
            Err(_) => (false, Approval::Nobody),
        };
        self.account.emit(Event::Approval {
            question: question.to_owned(),
            granted,
            by,
        });
        answer.map(|(granted, _)| granted)
    }
}

impl RunPort for Port {
    fn emit(&self, event: Event) {
        self.account.emit(event);
    }

    fn confirm(&self, question: &str) -> Result<bool, Failure> {
        self.answered(question, self.approvals.confirm(question, &self.bridge))
    }

    fn confirm_name(&self, what: &str, name: &str) -> Result<bool, Failure> {
        let answer = self.approvals.confirm_name(what, name, &self.bridge);
        self.answered(&format!("{what} (`{name}`)"), answer)
    }

    fn waived(&self, code: &str, evidence: &[String]) -> Option<String> {
        self.waivers.apply(code, evidence)
    }

    fn output(&self, text: &str) {
        self.account.emit(Event::Output {
            text: text.to_owned(),
        });
    }

    fn is_dry_run(&self) -> bool {
        self.rehearsal
    }

    fn interactive(&self) -> bool {
        self.approvals.person.is_some()
    }
}
