//! What happened, as events, durably.
//!
//! One run is a sequence of [`Record`]s. The same records go to the journal file, to the reports
//! for people and programs, and to an embedder: there is no second account of a run. This room
//! knows the shape of the account and how to keep it; it decides nothing and shows nothing.
//!
//! A journal is evidence, never state: no run reads one to decide what to do.

mod event;
mod file;
mod redact;
mod traffic;

pub use event::{
    Approval, ChildEvent, Event, FailureRecord, GateVerdict, Level, Mode, MutationCounts,
    MutationEvent, MutationTarget, Outcome, Record, SCHEMA, StepResult, TargetRecord, TwinRecord,
    WaiverRecord,
};
pub use file::{Journal, JournalError, run_id};
pub use redact::{REDACTED, redact, redact_value};
pub use traffic::{Least, PairFigures, TrafficFigures};
