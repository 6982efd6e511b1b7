//! The account of one run: gives every event its time, keeps it, and passes it on.
//!
//! One place, so that the journal, the report and an embedder never differ, and so that nothing
//! secret can pass it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    effect::clock::Clock,
    engine::Failure,
    journal::{Event, Journal, MutationCounts, MutationEvent, Record, redact_value},
};

/// Hears every record of a run, from any thread, one at a time and in order.
pub trait Listener: Send {
    /// Takes the next record.
    fn hear(&mut self, record: &Record);
}

/// Where the events of a run go.
pub struct Account {
    run: String,
    clock: Arc<dyn Clock>,
    journal: Option<Journal>,
    state: Mutex<State>,
}

struct State {
    listener: Box<dyn Listener>,
    counts: MutationCounts,
    /// Why the journal could not be written, once it could not.
    broken: Option<String>,
}

impl Account {
    /// An account for the run with this id. `journal` keeps it on the disk; without one it is only
    /// told to `listener`.
    pub fn new(
        run: String,
        clock: Arc<dyn Clock>,
        journal: Option<Journal>,
        listener: Box<dyn Listener>,
    ) -> Self {
        Self {
            run,
            clock,
            journal,
            state: Mutex::new(State {
                listener,
                counts: MutationCounts::default(),
                broken: None,
            }),
        }
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where the journal is, if there is one.
    pub fn journal_path(&self) -> Option<String> {
        let journal = self.journal.as_ref()?;
        Some(journal.path().display().to_string())
    }

    /// Records an event. A journal that cannot be written keeps later mutations from being sent
    /// (see [`Account::kept`]), it does not lose the event for those who listen.
    pub fn emit(&self, event: Event) {
        let record = clean(Record {
            event,
            at: self.clock.now(),
            run: self.run.clone(),
        });
        let mut state = self.state();
        state.count(&record.event);
        if let Some(journal) = &self.journal
            && state.broken.is_none()
            && let Err(error) = journal.append(&record)
        {
            state.broken = Some(error.to_string());
        }
        state.listener.hear(&record);
    }

    /// That everything so far could be kept.
    ///
    /// # Errors
    /// `environment`: the journal could not be written.
    pub fn kept(&self) -> Result<(), Failure> {
        match &self.state().broken {
            None => Ok(()),
            Some(why) => Err(
                Failure::environment(format!("the journal cannot be kept: {why}"))
                    .hint("free the disk, or give another place with `--journal FILE`"),
            ),
        }
    }

    /// Mutations so far, by what became of them.
    pub fn counts(&self) -> MutationCounts {
        self.state().counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&mut self, event: &Event) {
        let Event::Mutation { what, .. } = event else {
            return;
        };
        match what {
            MutationEvent::Failed { .. } => self.counts.failed += 1,
            MutationEvent::Intended { .. } => {}
            MutationEvent::Unchanged { .. } => self.counts.unchanged += 1,
            MutationEvent::Refused { .. } => self.counts.refused += 1,
            MutationEvent::Sent { outcome, .. } => match outcome.as_str() {
                "absent" | "unchanged" => self.counts.unchanged += 1,
                _ => self.counts.changed += 1,
            },
        }
    }
}

/// The record without key material.
fn clean(record: Record) -> Record {
    // Nearly no record has any; looking at the text costs less than walking the value.
    let suspicious = serde_json::to_string(&record).is_ok_and(|text| text.contains("PRIVATE KEY"));
    if !suspicious {
        return record;
    }
    let Ok(mut value) = serde_json::to_value(&record) else {
        return record;
    };
    redact_value(&mut value);
    serde_json::from_value(value).unwrap_or(record)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        effect::clock::SystemClock,
        journal::{Level, REDACTED},
    };

    /// Keeps what it hears.
    #[derive(Clone, Default)]
    pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

    impl Heard {
        pub(crate) fn events(&self) -> Vec<Event> {
            self.0.lock().unwrap().clone()
        }
    }

    impl Listener for Heard {
        fn hear(&mut self, record: &Record) {
            self.0.lock().unwrap().push(record.event.clone());
        }
    }

    /// An account without a journal, and what it tells.
    pub(crate) fn account() -> (Arc<Account>, Heard) {
        let heard = Heard::default();
        let account = Account::new(
            "run".to_owned(),
            Arc::new(SystemClock),
            None,
            Box::new(heard.clone()),
        );
        (Arc::new(account), heard)
    }

    #[test]
    fn a_key_in_an_event_reaches_nobody() {
        let (account, heard) = account();
        account.emit(Event::Note {
            level: Level::Info,
            text: "got -----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----".to_owned(),
        });
        assert_eq!(
            heard.events(),
            [Event::Note {
                level: Level::Info,
                text: format!("got {REDACTED}")
            }]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_and_the_listener_hears_on() {
        let heard = Heard::default();
        let journal = Journal::open(std::path::Path::new("/dev/full")).unwrap();
        let account = Account::new(
            "run".to_owned(),
            Arc::new(SystemClock),
            Some(journal),
            Box::new(heard.clone()),
        );
        account.emit(Event::Output {
            text: "a".to_owned(),
        });
        let failure = account.kept().unwrap_err();
        assert_eq!(
            failure.message,
            "the journal cannot be kept: /dev/full: cannot append to: no space left on device"
        );
        assert_eq!(heard.events().len(), 1);
    }
}
