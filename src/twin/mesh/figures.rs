//! Figures of the prober: how many handshakes between whom, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Handshakes of a period.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// What the period was called.
    pub label: String,
    /// Handshakes carried out, failed ones included.
    pub made: u64,
    /// Of those, refused by one side for a reason of trust.
    pub failed: u64,
    /// Attempts that reached no TLS at all: nobody listened. Not part of `made`.
    pub unreachable: u64,
    /// By ordered pair of workloads (`NAMESPACE/NAME`).
    pub pairs: Vec<PairFigures>,
    /// By ordered pair of classes: what a proxy presents, trusts and accepts.
    pub classes: Vec<PairFigures>,
    /// The pair of workloads, among those alive at the end, with the fewest handshakes.
    pub least: Option<Least>,
}

/// Handshakes of one ordered pair.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PairFigures {
    /// Who called.
    pub client: String,
    /// Who was called.
    pub server: String,
    /// Whether both were alive at the end; told of pairs of workloads only.
    pub alive: bool,
    /// The counts.
    #[serde(flatten)]
    pub count: Count,
}

/// The least-probed pair.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Least {
    /// Who called.
    pub client: String,
    /// Who was called.
    pub server: String,
    /// Handshakes made between them.
    pub made: u64,
}

/// What became of a pair's handshakes.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Count {
    /// Handshakes carried out, failed ones included.
    pub made: u64,
    /// Refused for a reason of trust.
    pub failed: u64,
    /// Nobody listened.
    pub unreachable: u64,
    /// Why, with counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
}

/// How one attempt ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Accepted,
    Refused(String),
    Unreachable(String),
}

type Pair = (String, String);

/// Counts that can be taken off and started anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pairs: BTreeMap<Pair, Count>,
    classes: BTreeMap<Pair, Count>,
}

impl Ledger {
    /// Counts one attempt.
    pub(super) fn record(&mut self, workloads: Pair, classes: Pair, outcome: &Outcome) {
        self.pairs.entry(workloads).or_default().add(outcome);
        self.classes.entry(classes).or_default().add(outcome);
    }

    /// The figures; `alive` are the ordered pairs of workloads that could have been probed.
    pub(super) fn figures(&self, label: &str, alive: &[Pair]) -> Figures {
        let sum = |of: fn(&Count) -> u64| self.pairs.values().map(of).sum();
        let least = alive
            .iter()
            .map(|pair| (self.pairs.get(pair).map_or(0, |c| c.made), pair))
            .min()
            .map(|(made, (client, server))| Least {
                client: client.clone(),
                server: server.clone(),
                made,
            });
        Figures {
            label: label.to_owned(),
            made: sum(|c| c.made),
            failed: sum(|c| c.failed),
            unreachable: sum(|c| c.unreachable),
            pairs: list(&self.pairs, alive),
            classes: list(&self.classes, &[]),
            least,
        }
    }
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => self.made += 1,
            Outcome::Refused(reason) => {
                self.made += 1;
                self.failed += 1;
                *self.reasons.entry(reason.clone()).or_default() += 1;
            }
            Outcome::Unreachable(reason) => {
                self.unreachable += 1;
                *self.reasons.entry(reason.clone()).or_default() += 1;
            }
        }
    }
}

/// Every pair that was counted or is alive.
fn list(counts: &BTreeMap<Pair, Count>, alive: &[Pair]) -> Vec<PairFigures> {
    let alive: BTreeSet<&Pair> = alive.iter().collect();
    let pairs: BTreeSet<&Pair> = counts.keys().chain(alive.iter().copied()).collect();
    pairs
        .into_iter()
        .map(|pair| PairFigures {
            client: pair.0.clone(),
            server: pair.1.clone(),
            alive: alive.contains(pair),
            count: counts.get(pair).cloned().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(client: &str, server: &str) -> Pair {
        (client.to_owned(), server.to_owned())
    }

    #[test]
    fn a_refusal_is_made_and_failed_and_an_unreachable_server_is_neither() {
        let mut ledger = Ledger::default();
        for outcome in [
            Outcome::Accepted,
            Outcome::Refused("unknown issuer".to_owned()),
            Outcome::Unreachable("connection refused".to_owned()),
        ] {
            ledger.record(pair("a/a", "b/b"), pair("x", "y"), &outcome);
        }
        let figures = ledger.figures("step", &[pair("a/a", "b/b"), pair("b/b", "a/a")]);
        assert_eq!(
            (figures.made, figures.failed, figures.unreachable),
            (2, 1, 1)
        );
        assert_eq!(figures.pairs[0].count.reasons["unknown issuer"], 1);
        let least = Least {
            client: "b/b".to_owned(),
            server: "a/a".to_owned(),
            made: 0,
        };
        assert_eq!(
            figures.least,
            Some(least),
            "a pair that nobody probed is the least probed"
        );
    }
}
