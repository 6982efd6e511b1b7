//! Reports for programs: every record as a line (`-o jsonl`), or one document at the end (`-o json`).
//!
//! The lines are the journal's (see [`crate::journal::Event`]). The document holds the fields of the
//! `started` and the `finished` event at its top, `started_at` and `finished_at`, and the records in
//! between by kind: `steps` (their ends), `gates`, `mutations`, `processes` (without their lines),
//! `approvals`, `notes`, and `output`, an array of strings.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::{Report, SHOWN_AS};
use crate::journal::{ChildEvent, Event, Record};

/// One record a line.
#[derive(Debug)]
pub struct Jsonl<W>(W);

/// One document at the end.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    document: Map<String, Value>,
}

/// The lists of the document.
const LISTS: [&str; 7] = [
    "approvals",
    "gates",
    "mutations",
    "notes",
    "output",
    "processes",
    "steps",
];

impl<W: Write + Send> Jsonl<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Report for Jsonl<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }
}

impl<W: Write + Send> Json<W> {
    /// Writes to `out`, once.
    pub fn new(out: W) -> Self {
        let document = LISTS
            .iter()
            .map(|list| ((*list).to_owned(), Value::Array(Vec::new())))
            .collect();
        Self { out, document }
    }

    fn push(&mut self, list: &str, value: Value) {
        if let Some(Value::Array(items)) = self.document.get_mut(list) {
            items.push(value);
        }
    }

    fn merge(&mut self, record: &Record, time: &str) -> io::Result<()> {
        if let Value::Object(mut fields) = serde_json::to_value(record)? {
            fields.remove("event");
            if let Some(at) = fields.remove("at") {
                self.document.insert(time.to_owned(), at);
            }
            self.document.append(&mut fields);
        }
        Ok(())
    }
}

impl<W: Write + Send> Report for Json<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let list = match &record.event {
            Event::Approval { .. } => "approvals",
            Event::Finished { .. } => {
                self.merge(record, "finished_at")?;
                if let Some(Value::Object(summary)) = self.document.get_mut("summary") {
                    summary.remove(SHOWN_AS);
                }
                serde_json::to_writer_pretty(&mut self.out, &self.document)?;
                self.out.write_all(b"\n")?;
                return self.out.flush();
            }
            Event::Gate { .. } => "gates",
            Event::Mutation { .. } => "mutations",
            Event::Note { .. } => "notes",
            Event::Output { text } => {
                self.push("output", Value::String(text.clone()));
                return Ok(());
            }
            Event::Process {
                what: ChildEvent::Line { .. },
                ..
            }
            | Event::StepStarted { .. } => return Ok(()),
            Event::Process { .. } => "processes",
            Event::Started { .. } => return self.merge(record, "started_at"),
            Event::StepFinished { .. } => "steps",
        };
        let mut value = serde_json::to_value(record)?;
        if let Value::Object(fields) = &mut value {
            fields.remove("event");
            fields.remove("run");
        }
        self.push(list, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::{Level, MutationCounts, Outcome};

    fn records() -> Vec<Record> {
        let events = [
            Event::Output {
                text: "pay trusts".to_owned(),
            },
            Event::Note {
                level: Level::Warn,
                text: "slow".to_owned(),
            },
            Event::Finished {
                outcome: Outcome::Done,
                exit_code: 0,
                seconds: 0.5,
                handshakes: None,
                mutation_counts: MutationCounts::default(),
                waivers: Vec::new(),
                summary: serde_json::json!({"proxies": 3, "shown_as": ["3 proxies"]}),
                failure: None,
            },
        ];
        events
            .into_iter()
            .map(|event| Record {
                event,
                at: Timestamp::UNIX_EPOCH,
                run: "r".to_owned(),
            })
            .collect()
    }

    #[test]
    fn the_document_comes_once_and_holds_everything_by_kind() {
        let mut out = Vec::new();
        let mut report = Json::new(&mut out);
        for record in records() {
            report.record(&record).unwrap();
        }
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
              "run": "r", "outcome": "done", "exit_code": 0, "seconds": 0.5, "finished_at": "1970-01-01T00:00:00Z",
              "mutations": [], "waivers": [], "summary": {"proxies": 3}, "output": ["pay trusts"], "steps": [],
              "notes": [{"level": "warn", "text": "slow", "at": "1970-01-01T00:00:00Z"}],
              "gates": [], "processes": [], "approvals": [],
              "mutation_counts": {"changed": 0, "failed": 0, "refused": 0, "unchanged": 0},
            })
        );
    }

    #[test]
    fn each_line_is_a_record_and_the_last_is_finished() {
        let mut out = Vec::new();
        let mut report = Jsonl::new(&mut out);
        for record in records() {
            report.record(&record).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.lines()
                .last()
                .unwrap()
                .starts_with(r#"{"event":"finished","outcome":"done","#)
        );
    }
}
