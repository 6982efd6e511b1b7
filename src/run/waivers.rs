//! Waivers: gates that a person lets pass, and how often each did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::journal::WaiverRecord;

/// The waivers of a run: for everything that a gate finds (`RS301`), or for what is named so only (`RS301:shop/web`).
#[derive(Debug, Default)]
pub struct Waivers(Mutex<BTreeMap<String, Waiver>>);

#[derive(Debug)]
struct Waiver {
    reason: Option<String>,
    used: u64,
}

impl Waivers {
    /// Waivers by gate code or `CODE:NAME`, each with its reason; one given twice keeps the later reason.
    pub fn new(given: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let waivers = given
            .into_iter()
            .map(|(code, reason)| (code, Waiver { reason, used: 0 }));
        Self(Mutex::new(waivers.collect()))
    }

    /// Uses the waivers for a gate, if they cover every line of its evidence: their reason, which may be empty.
    ///
    /// A waiver for a name covers the lines in which the name stands as a word.
    pub fn apply(&self, code: &str, evidence: &[String]) -> Option<String> {
        let mut waivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<String> = if waivers.contains_key(code) {
            vec![code.to_owned()]
        } else {
            let named = |key: &&String| {
                key.strip_prefix(code)
                    .is_some_and(|rest| rest.starts_with(':'))
            };
            let keys: Vec<String> = waivers.keys().filter(named).cloned().collect();
            let covers =
                |key: &str, line: &str| words(line).any(|word| word == &key[code.len() + 1..]);
            let covered = |line: &String| keys.iter().any(|key| covers(key, line));
            if evidence.is_empty() || !evidence.iter().all(covered) {
                return None;
            }
            let used = |key: &String| evidence.iter().any(|line| covers(key, line));
            keys.iter().filter(|key| used(key)).cloned().collect()
        };
        let mut reasons = Vec::new();
        for key in keys {
            let waiver = waivers.get_mut(&key)?;
            waiver.used += 1;
            reasons.extend(waiver.reason.clone());
        }
        Some(reasons.join("; "))
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

/// The words of a line, without what may stand around a name.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
        .map(|word| word.trim_matches(|c| matches!(c, '(' | ')' | '`' | ',' | ':' | ';')))
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
        let seen = ["anything".to_owned()];
        assert_eq!(waivers.apply("roots", &seen).as_deref(), Some("rehearsal"));
        assert_eq!(waivers.apply("signer", &seen), None);
        let used: Vec<_> = waivers
            .records()
            .into_iter()
            .map(|w| (w.code, w.used))
            .collect();
        assert_eq!(used, [("aliases".to_owned(), 0), ("roots".to_owned(), 1)]);
    }

    #[test]
    fn a_waiver_for_a_name_covers_what_is_named_so_and_nothing_else() {
        let waivers = Waivers::new([
            ("RS301:shop/web".to_owned(), Some("old".to_owned())),
            ("RS301:pay/api".to_owned(), None),
        ]);
        let line = |name: &str| format!("{name}-1.ns ({name}) lacks MESHCA");
        let (web, api, cart) = (line("shop/web"), line("pay/api"), line("shop/web2"));
        let apply = |lines: &[&String]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).clone()).collect();
            waivers.apply("RS301", &lines)
        };
        assert_eq!(apply(&[&web]).as_deref(), Some("old"));
        assert_eq!(apply(&[&web, &api]).as_deref(), Some("old"));
        assert_eq!(apply(&[&web, &cart]), None, "one of them was not waived");
        assert_eq!(apply(&[]), None);
        assert_eq!(waivers.apply("RS302", &[web]), None, "another gate");
        let used: Vec<u64> = waivers.records().into_iter().map(|w| w.used).collect();
        assert_eq!(used, [1, 2]);
        assert_eq!(
            words("shop/web → pay/api: the client").collect::<Vec<_>>()[..3],
            ["shop/web", "→", "pay/api"]
        );
    }
}
