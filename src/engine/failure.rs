//! What went wrong, as one value that crosses every boundary: host word → script → run → exit code.
//!
//! A script sees it as a thrown map with the same fields; it never sees a bare string from a word.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A failure with its origin, its evidence and the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whose fault it is; decides the exit code.
    pub kind: FailureKind,
    /// The stable name of a refusal, as `--waive` takes it.
    pub code: Option<String>,
    /// What happened: lower case, no full stop, names in backticks.
    pub message: String,
    /// What it is about, as kubectl writes it (`deployment.apps/shop/cart`).
    pub resource: Option<String>,
    /// Whether doing the same again may succeed.
    pub retryable: bool,
    /// The next step for a person.
    pub hint: Option<String>,
    /// Lines that support the message, most telling first.
    pub evidence: Vec<String>,
    /// What the script had found all the same: a check that does not pass has a result too.
    #[serde(default)]
    pub result: Option<Value>,
}

/// Whose fault a [`Failure`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Ours: something that cannot happen did.
    Bug,
    /// The cluster's: unreachable, forbidden, a rollout that is blocked.
    Cluster,
    /// The machine's: a file, a program, a network.
    Environment,
    /// Nobody's: a person or a deadline stopped it.
    Interrupted,
    /// A gate or a check said no.
    Refused,
    /// The script's: syntax, unknown word, a thrown value.
    Script,
    /// The command line's: flags, headers, parameters.
    Usage,
}

impl Failure {
    /// A failure of `kind` that says `message` and nothing more.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            code: None,
            message: message.into(),
            resource: None,
            retryable: false,
            hint: None,
            evidence: Vec::new(),
            result: None,
        }
    }

    /// The script's fault.
    pub fn script(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Script, message)
    }

    /// The machine's fault.
    pub fn environment(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Environment, message)
    }

    /// The command line's fault.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Usage, message)
    }

    /// Our fault.
    pub fn bug(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Bug, message)
    }

    /// Refused by the gate or check named `code`.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Failure {
        let mut failure = Failure::new(FailureKind::Refused, message);
        failure.code = Some(code.into());
        failure
    }

    /// Stopped by a person or a deadline.
    pub fn interrupted(message: impl Into<String>) -> Failure {
        Failure::new(FailureKind::Interrupted, message)
    }

    /// With the next step for a person.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// With what it is about.
    pub fn about(mut self, resource: impl Into<String>) -> Failure {
        self.resource = Some(resource.into());
        self
    }

    /// With one more line of evidence.
    pub fn evidence(mut self, line: impl Into<String>) -> Failure {
        self.evidence.push(line.into());
        self
    }

    /// Marked as worth another try.
    pub fn retryable(mut self) -> Failure {
        self.retryable = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl FailureKind {
    /// The process's exit code when a run ends with this.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureKind::Bug | FailureKind::Script => 1,
            FailureKind::Usage => 2,
            FailureKind::Refused => 3,
            FailureKind::Cluster | FailureKind::Environment => 4,
            FailureKind::Interrupted => 130,
        }
    }

    /// The name scripts and JSON know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Bug => "bug",
            FailureKind::Cluster => "cluster",
            FailureKind::Environment => "environment",
            FailureKind::Interrupted => "interrupted",
            FailureKind::Refused => "refused",
            FailureKind::Script => "script",
            FailureKind::Usage => "usage",
        }
    }

    /// All of them, by name.
    pub const ALL: [FailureKind; 7] = [
        FailureKind::Bug,
        FailureKind::Cluster,
        FailureKind::Environment,
        FailureKind::Interrupted,
        FailureKind::Refused,
        FailureKind::Script,
        FailureKind::Usage,
    ];

    /// The kind with that name.
    pub fn parse(name: &str) -> Option<FailureKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whose fault it is and what to do, in words.
    pub fn explanation(self) -> &'static str {
        match self {
            FailureKind::Bug => {
                "Something happened that cannot. It is this program's fault: keep the journal, and report it."
            }
            FailureKind::Cluster => {
                "The cluster said no or did not answer: unreachable, forbidden, an object that is not there, a \
                 rollout that is blocked. What was done before it stays done; when the cause is mended, run the \
                 same again: it goes on from there."
            }
            FailureKind::Environment => {
                "This machine's fault: a file, a program such as asmcli, a network. When it is mended, run the \
                 same again."
            }
            FailureKind::Interrupted => {
                "A person or a deadline stopped it. `rootshift status` says what is half-done and whether it is \
                 safe to leave it so; running the same again goes on from there."
            }
            FailureKind::Refused => {
                "A gate or a check said no, or could not tell. What it refused was not done. Its code is \
                 explained by `rootshift explain CODE`."
            }
            FailureKind::Script => {
                "The script's fault: syntax, an unknown word, a value that was thrown. The error shows its line."
            }
            FailureKind::Usage => {
                "The command line's fault: flags, the script's header, a context, a parameter. Nothing was done."
            }
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
