//! The journal on the disk: one JSON object a line, only ever appended to.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiff::{Timestamp, tz::TimeZone};

use super::event::{Event, MutationEvent, Record};
use crate::effect::files::{AppendFile, FileError};

/// An open journal. Records of several threads come one after the other.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<AppendFile>,
    path: PathBuf,
}

/// The account of a run could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A record has no JSON form.
    #[error("a record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Journal {
    /// Opens the journal at `path`, which is created with mode 0600 if it is not there.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self {
            file: Mutex::new(AppendFile::open(path)?),
            path: path.to_owned(),
        })
    }

    /// Appends one record. The intent of a mutation, and the end of the run, are on the disk when
    /// this returns; other records are when the next of those is.
    pub fn append(&self, record: &Record) -> Result<(), JournalError> {
        let line = serde_json::to_string(record)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.line(&line)?;
        if must_be_durable(&record.event) {
            file.sync()?;
        }
        Ok(())
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A name for a run that sorts by time: `20261123T100000Z-1a2b3c4d`.
pub fn run_id(now: Timestamp, random: u32) -> String {
    let utc = now.to_zoned(TimeZone::UTC);
    format!("{}-{random:08x}", utc.strftime("%Y%m%dT%H%M%SZ"))
}

fn must_be_durable(event: &Event) -> bool {
    matches!(
        event,
        Event::Finished { .. }
            | Event::Mutation {
                what: MutationEvent::Intended { .. },
                ..
            }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Level;

    #[test]
    fn records_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("run.jsonl")).unwrap();
        for text in ["a", "b"] {
            let event = Event::Note {
                level: Level::Info,
                text: text.to_owned(),
            };
            journal
                .append(&Record {
                    event,
                    at: Timestamp::UNIX_EPOCH,
                    run: "r".to_owned(),
                })
                .unwrap();
        }
        let text = std::fs::read_to_string(journal.path()).unwrap();
        assert_eq!(
            text,
            "{\"event\":\"note\",\"level\":\"info\",\"text\":\"a\",\"at\":\"1970-01-01T00:00:00Z\",\"run\":\"r\"}\n\
             {\"event\":\"note\",\"level\":\"info\",\"text\":\"b\",\"at\":\"1970-01-01T00:00:00Z\",\"run\":\"r\"}\n"
        );
    }

    #[test]
    fn a_run_id_sorts_by_time() {
        let at = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(run_id(at, 0x1a2b), "20261123T100000Z-00001a2b");
    }
}
