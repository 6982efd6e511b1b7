//! How a run ended, and the exit code that says so: the only place where one becomes the other.

use serde_json::Value;

use crate::{
    engine::{Diagnostic, Failure, FailureKind},
    journal::{FailureRecord, Outcome},
};

/// The exit code of a run during which handshakes failed for trust.
const UNSAFE: u8 = 3;

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// The program's exit code: 0 done; 1 the script's fault, or a bug; 2 usage; 3 refused or unsafe;
    /// 4 the cluster's or the environment's fault; 130 interrupted.
    pub exit_code: u8,
    /// Why it did not end well.
    pub failure: Option<FailureRecord>,
}

/// Judges the end of a script and of the traffic that ran beside it. Handshakes that failed for trust
/// make every run unsafe, whatever the script says, unless a person stopped it.
pub fn conclude(result: &Result<Value, Diagnostic>, failed_handshakes: u64) -> Ended {
    let failure = result.as_ref().err().map(|d| {
        let mut record = failure_record(&d.failure);
        // Where a check says no with its result, its line in the script explains nothing.
        if !d.frames.is_empty() && d.failure.result.is_none() {
            let mut alone = d.clone();
            alone.failure.evidence.clear();
            alone.failure.hint = None;
            record.rendered = Some(alone.render(false));
        }
        record
    });
    let kind = result.as_ref().err().map(|d| d.failure.kind);
    let (outcome, exit_code) = match kind {
        Some(kind @ FailureKind::Interrupted) => (Outcome::Interrupted, kind.exit_code()),
        _ if failed_handshakes > 0 => (Outcome::Failed, UNSAFE),
        None => (Outcome::Done, 0),
        Some(kind @ FailureKind::Refused) => (Outcome::Refused, kind.exit_code()),
        Some(kind) => (Outcome::Failed, kind.exit_code()),
    };
    let failure = failure.or_else(|| {
        (failed_handshakes > 0).then(|| FailureRecord {
            kind: FailureKind::Refused.as_str().to_owned(),
            code: Some("trust-failures".to_owned()),
            message: format!("{failed_handshakes} handshakes failed for trust during the run"),
            ..FailureRecord::default()
        })
    });
    Ended {
        outcome,
        exit_code,
        failure,
    }
}

/// A failure as the account of a run holds it.
pub fn failure_record(failure: &Failure) -> FailureRecord {
    FailureRecord {
        kind: failure.kind.as_str().to_owned(),
        code: failure.code.clone(),
        message: failure.message.clone(),
        resource: failure.resource.clone(),
        retryable: failure.retryable,
        hint: failure.hint.clone(),
        evidence: failure.evidence.clone(),
        rendered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(result: Result<(), Failure>, failed: u64) -> (Outcome, u8) {
        let result = result.map(|()| Value::Null).map_err(Diagnostic::new);
        let ended = conclude(&result, failed);
        assert_eq!(ended.failure.is_some(), ended.exit_code != 0);
        (ended.outcome, ended.exit_code)
    }

    #[test]
    fn each_end_has_its_exit_code() {
        assert_eq!(end(Ok(()), 0), (Outcome::Done, 0));
        assert_eq!(end(Err(Failure::script("x")), 0), (Outcome::Failed, 1));
        assert_eq!(end(Err(Failure::bug("x")), 0), (Outcome::Failed, 1));
        assert_eq!(end(Err(Failure::usage("x")), 0), (Outcome::Failed, 2));
        assert_eq!(
            end(Err(Failure::refused("c", "x")), 0),
            (Outcome::Refused, 3)
        );
        assert_eq!(end(Err(Failure::environment("x")), 0), (Outcome::Failed, 4));
        assert_eq!(
            end(Err(Failure::interrupted("x")), 0),
            (Outcome::Interrupted, 130)
        );
    }

    #[test]
    fn failed_handshakes_are_never_done() {
        assert_eq!(end(Ok(()), 1), (Outcome::Failed, 3));
        assert_eq!(
            end(Err(Failure::refused("c", "x")), 1),
            (Outcome::Failed, 3)
        );
        assert_eq!(end(Err(Failure::environment("x")), 1), (Outcome::Failed, 3));
        assert_eq!(
            end(Err(Failure::interrupted("x")), 1),
            (Outcome::Interrupted, 130)
        );
    }
}
