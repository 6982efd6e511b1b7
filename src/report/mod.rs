//! What happened, for people and programs; reads only events.
//!
//! A report hears every record of a run as it happens. It never asks anything back, and a report
//! that cannot write does not stop a run: what must not be lost is in the journal.
//!
//! [`Jsonl`] and [`Json`] are for programs. The text report is for people and comes with the `cli`
//! feature.

mod json;
#[cfg(feature = "cli")]
mod style;
#[cfg(feature = "cli")]
mod text;
#[cfg(feature = "cli")]
mod value;

use std::io;

use crate::journal::Record;

pub use json::{Json, Jsonl};
#[cfg(feature = "cli")]
pub use style::Style;
#[cfg(feature = "cli")]
pub use text::{Text, failure_text};
#[cfg(feature = "cli")]
pub use value::render;

/// The key of a result map under which it says how people are shown it.
const SHOWN_AS: &str = "shown_as";

/// Something that shows a run.
pub trait Report: Send {
    /// Takes the next record.
    ///
    /// # Errors
    /// If it cannot be written; a closed pipe is one of those.
    fn record(&mut self, record: &Record) -> io::Result<()>;
}
