//! Waivers: gates that a person lets pass, and how often each did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::journal::WaiverRecord;

/// The waivers of a run.
#[derive(Debug, Default)]
pub struct Waivers(Mutex<BTreeMap<String, Waiver>>);

#[derive(Debug)]
struct Waiver {
    reason: Option<String>,
    used: u64,
}

impl Waivers {
    /// Waivers by gate code, each with its reason; a code given twice keeps the later reason.
    pub fn new(given: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let waivers = given
            .into_iter()
            .map(|(code, reason)| (code, Waiver { reason, used: 0 }));
        Self(Mutex::new(waivers.collect()))
    }

    /// Uses the waiver for a gate, if there is one: its reason, which may be empty.
    pub fn apply(&self, code: &str) -> Option<String> {
        let mut waivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiver = waivers.get_mut(code)?;
        waiver.used += 1;
        Some(waiver.reason.clone().unwrap_or_default())
    }

    /// Every waiver and its use so far.
    pub fn records(&self) -> Vec<WaiverRecord> {
        let waivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = |(code, waiver): (&String, &Waiver)| WaiverRecord {
            code: code.clone(),
            reason: waiver.reason.clone(),
            used: waiver.used,
        };
        waivers.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_counted_and_what_was_not_given_does_not_pass() {
        let waivers = Waivers::new([
            ("roots".to_owned(), Some("rehearsal".to_owned())),
            ("aliases".to_owned(), None),
        ]);
        assert_eq!(waivers.apply("roots").as_deref(), Some("rehearsal"));
        assert_eq!(waivers.apply("signer"), None);
        let used: Vec<_> = waivers
            .records()
            .into_iter()
            .map(|w| (w.code, w.used))
            .collect();
        assert_eq!(used, [("aliases".to_owned(), 0), ("roots".to_owned(), 1)]);
    }
}
