//! The events of a run and their JSON form, which is a public, stable schema.
//!
//! Every record is one JSON object. `event` names its kind in snake_case, `at` is the time
//! (RFC 3339), `run` the run's id; the other fields belong to the kind. Fields that do not apply
//! are left out. New kinds and new fields may come without a new [`SCHEMA`]; a field never changes
//! its meaning under the same one.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::traffic::TrafficFigures;

/// The version of the schema, in every `started` event.
pub const SCHEMA: u32 = 1;

/// One line of a journal: an event, when it happened, and in which run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// The run's id.
    pub run: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody, or something that speaks for somebody, allowed what needs permission.
    Approval {
        /// What was asked.
        question: String,
        /// Whether it was allowed.
        granted: bool,
        /// Who or what answered.
        by: Approval,
    },
    /// The last record of a run.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// The program's exit code.
        exit_code: u8,
        /// Wall time of the run in seconds.
        seconds: f64,
        /// Mutual TLS handshakes seen during the run; absent where nothing makes any.
        #[serde(skip_serializing_if = "Option::is_none")]
        handshakes: Option<TrafficFigures>,
        /// How many mutations there were, by what became of them.
        mutation_counts: MutationCounts,
        /// Every waiver that was given, and how often it was used.
        waivers: Vec<WaiverRecord>,
        /// What the script returned.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        summary: Value,
        /// Why it did not end well.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<FailureRecord>,
    },
    /// A gate was asked whether something may happen.
    Gate {
        /// Stable name, which `--waive` takes.
        code: String,
        /// What it asks, in a few words.
        title: String,
        /// Its answer.
        verdict: GateVerdict,
        /// The findings it rests on, one sentence each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        evidence: Vec<String>,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// The reason given with `--waive`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The cluster is to be changed, or has been. The intent is on the disk before the request is sent.
    Mutation {
        /// Number of the mutation in this run, from 1; joins intent and result.
        mutation: u64,
        /// What is changed.
        #[serde(flatten)]
        target: MutationTarget,
        /// Intent or result.
        #[serde(flatten)]
        what: MutationEvent,
    },
    /// Something worth knowing.
    Note {
        /// How much it matters.
        level: Level,
        /// One line.
        text: String,
    },
    /// A line of the script's own results (`print`).
    Output {
        /// The text.
        text: String,
    },
    /// A child process started, said something, or ended.
    Process {
        /// Number of the child in this run, from 1.
        process: u64,
        /// What it did.
        #[serde(flatten)]
        what: ChildEvent,
    },
    /// The first record of a run.
    Started {
        /// Version of this schema.
        schema: u32,
        /// Version of the program.
        version: String,
        /// The script: a bundled name or a path.
        script: String,
        /// The script's title, if its header has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// Whether the run may change anything.
        mode: Mode,
        /// The clusters it acts on.
        targets: Vec<TargetRecord>,
        /// The parameters, resolved.
        params: Value,
        /// The waivers given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waivers: Vec<WaiverRecord>,
        /// Where the journal is kept, if anywhere.
        #[serde(skip_serializing_if = "Option::is_none")]
        journal: Option<String>,
    },
    /// A step ended.
    StepFinished {
        /// Number of the step in this run, from 1.
        step: u64,
        /// Its name.
        name: String,
        /// How deep it is nested, from 0.
        depth: usize,
        /// How it ended.
        result: StepResult,
        /// Wall time in seconds.
        seconds: f64,
        /// Handshakes made while it ran, those of its inner steps included.
        #[serde(skip_serializing_if = "Option::is_none")]
        handshakes: Option<TrafficFigures>,
        /// Why it did not end well.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<FailureRecord>,
    },
    /// A step began.
    StepStarted {
        /// Number of the step in this run, from 1.
        step: u64,
        /// The step it is part of.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<u64>,
        /// Its name.
        name: String,
        /// How deep it is nested, from 0.
        depth: usize,
    },
}

/// Who or what answered a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// `--confirm NAME` on the command line.
    ConfirmFlag,
    /// Nobody could be asked.
    Nobody,
    /// A person at the terminal.
    Person,
    /// `--dry-run`, under which nothing is stored.
    Rehearsal,
    /// The run is on a twin, where nothing can be harmed.
    Twin,
    /// `--yes` on the command line.
    YesFlag,
}

/// What a child process did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum ChildEvent {
    /// It ended.
    Ended {
        /// Its exit code; 128 + signal if a signal ended it.
        code: i32,
        /// Wall time in seconds.
        seconds: f64,
    },
    /// It wrote a line.
    Line {
        /// `stdout` or `stderr`.
        stream: String,
        /// The line.
        text: String,
    },
    /// It was started.
    Started {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// Why something did not end well.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// Whose fault: `bug`, `cluster`, `environment`, `interrupted`, `refused`, `script`, `usage`.
    pub kind: String,
    /// Stable name of the case, such as a gate's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
    /// The object it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether the same again may succeed.
    #[serde(default)]
    pub retryable: bool,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The findings it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The message with its place in the script and who called that, as shown to people; without the
    /// evidence and the hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// A gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// It may happen.
    Passed,
    /// It may not, or it is unknown whether it may.
    Refused,
    /// It would be refused, but a waiver lets it pass.
    Waived,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Progress.
    Info,
    /// Somebody should look at it.
    Warn,
}

/// Whether a run may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Every mutation is rehearsed: reviewed, sent with `dryRun=All`, and not stored.
    DryRun,
    /// It may.
    Mutating,
    /// Every mutation is refused.
    ReadOnly,
}

/// Mutations by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutationCounts {
    /// Sent, and the cluster changed.
    pub changed: u64,
    /// Sent, and the cluster did not take it, or its fate is unknown.
    pub failed: u64,
    /// Not sent, because a gate, or the mode, refused it.
    pub refused: u64,
    /// Asked for, and so already.
    pub unchanged: u64,
}

/// Intent or result of a mutation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum MutationEvent {
    /// It was sent and did not succeed.
    Failed {
        /// Why.
        error: String,
    },
    /// It is about to be sent.
    Intended {
        /// What will be different, as a merge patch, whatever form is sent; empty for what is created
        /// or goes. A Secret's values are hidden.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        change: Value,
    },
    /// It was not sent.
    Refused {
        /// The gate's code, or `read-only`.
        code: String,
        /// Why.
        error: String,
    },
    /// It was sent and answered.
    Sent {
        /// `created`, `changed`, `unchanged`, `deleted`, `deleting`, `absent`.
        outcome: String,
        /// As kubectl says it: `namespace/shop labeled`.
        summary: String,
    },
    /// It was asked for and is so already: nothing was sent.
    Unchanged {
        /// As kubectl says it.
        summary: String,
    },
}

/// What a mutation is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutationTarget {
    /// The cluster's context.
    pub context: String,
    /// `create`, `patch` or `delete`.
    pub verb: String,
    /// Kind and group, as kubectl names it: `deployment.apps`.
    pub kind: String,
    /// The object's namespace, if its kind has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The word behind it: `restart`, `label`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl fmt::Display for MutationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.why.as_deref().unwrap_or(&self.verb);
        write!(f, "{verb} {}/{}", self.kind, self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, " -n {namespace}"),
            None => Ok(()),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should, and no handshake failed for trust.
    Done,
    /// It did not end well, or handshakes failed for trust.
    Failed,
    /// A person stopped it.
    Interrupted,
    /// A gate, or the program itself, did not let it go on.
    Refused,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Refused => "refused",
        })
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// Its block ended.
    Done,
    /// Its block failed.
    Failed,
    /// A person stopped it.
    Interrupted,
    /// A gate, or the program itself, did not let it go on.
    Refused,
}

/// A cluster that a run acts on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRecord {
    /// Its context in the kubeconfig.
    pub context: String,
    /// The API server's address.
    pub server: String,
    /// Present where the cluster is a twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin: Option<TwinRecord>,
}

/// A twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinRecord {
    /// The scenario's name or file.
    pub scenario: String,
    /// What repeats the run.
    pub seed: u64,
}

/// A waiver and its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverRecord {
    /// The gate's code.
    pub code: String,
    /// Why it is allowed to pass, if that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How often it let something pass, so far.
    pub used: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: Event) -> Record {
        Record {
            event,
            at: "2026-11-23T10:00:00Z".parse().unwrap(),
            run: "20261123T100000Z-1a2b".to_owned(),
        }
    }

    #[test]
    fn a_line_begins_with_its_kind_and_reads_back_as_it_was() {
        let cases = [
            Event::Mutation {
                mutation: 3,
                target: MutationTarget {
                    context: "c".to_owned(),
                    verb: "patch".to_owned(),
                    kind: "namespace".to_owned(),
                    namespace: None,
                    name: "shop".to_owned(),
                    why: Some("label".to_owned()),
                },
                what: MutationEvent::Sent {
                    outcome: "changed".to_owned(),
                    summary: "namespace/shop labeled".to_owned(),
                },
            },
            Event::Process {
                process: 1,
                what: ChildEvent::Ended {
                    code: 0,
                    seconds: 1.5,
                },
            },
            Event::Finished {
                outcome: Outcome::Done,
                exit_code: 0,
                seconds: 2.0,
                handshakes: Some(TrafficFigures::default()),
                mutation_counts: MutationCounts::default(),
                waivers: Vec::new(),
                summary: Value::Null,
                failure: None,
            },
        ];
        let starts = [
            r#"{"event":"mutation","mutation":3,"context":"c","verb":"patch","kind":"namespace","name":"shop","why":"label","phase":"sent","outcome":"changed","summary":"namespace/shop labeled","at":"2026-11-23T10:00:00Z","run":"20261123T100000Z-1a2b"}"#,
            r#"{"event":"process","process":1,"phase":"ended","code":0,"seconds":1.5,"at":"#,
            r#"{"event":"finished","outcome":"done","exit_code":0,"seconds":2.0,"handshakes":{"made":0,"failed":0,"unreachable":0,"#,
        ];
        for (event, start) in cases.into_iter().zip(starts) {
            let record = record(event);
            let line = serde_json::to_string(&record).unwrap();
            assert!(line.starts_with(start), "{line}");
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
    }
}
