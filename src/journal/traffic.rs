//! Figures of the traffic that ran beside a run: mutual TLS handshakes by pair of classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Handshakes over some time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficFigures {
    /// Handshakes carried out, failed ones included.
    pub made: u64,
    /// Of those, refused by one side for trust: the other's chain, name or validity.
    pub failed: u64,
    /// Attempts that met nobody to shake hands with; not part of `made`.
    pub unreachable: u64,
    /// The live pair of workloads with the fewest handshakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least: Option<Least>,
    /// Every ordered pair of workloads, by client, then server.
    pub pairs: Vec<PairFigures>,
    /// Every ordered pair of classes of proxies: of what they present, trust and accept.
    #[serde(default)]
    pub classes: Vec<PairFigures>,
}

/// The least-probed pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Least {
    /// `CLIENT -> SERVER`.
    pub pair: String,
    /// Its handshakes.
    pub made: u64,
}

/// Handshakes of one ordered pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFigures {
    /// The side that connects.
    pub client: String,
    /// The side that is connected to.
    pub server: String,
    /// Whether both had a ready member at the end; told of pairs of workloads only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Handshakes carried out, failed ones included.
    pub made: u64,
    /// Of those, refused for trust.
    pub failed: u64,
    /// Attempts that met nobody.
    pub unreachable: u64,
    /// Why handshakes were refused or met nobody, and how many for each reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
}

impl TrafficFigures {
    /// Sums up the pairs of workloads and finds the least-probed live one.
    pub fn of(mut pairs: Vec<PairFigures>, mut classes: Vec<PairFigures>) -> Self {
        for list in [&mut pairs, &mut classes] {
            list.sort_by(|a, b| (&a.client, &a.server).cmp(&(&b.client, &b.server)));
        }
        let least = pairs.iter().filter(|p| p.live).min_by_key(|p| p.made);
        Self {
            made: pairs.iter().map(|p| p.made).sum(),
            failed: pairs.iter().map(|p| p.failed).sum(),
            unreachable: pairs.iter().map(|p| p.unreachable).sum(),
            least: least.map(|p| Least {
                pair: p.name(),
                made: p.made,
            }),
            pairs,
            classes,
        }
    }

    /// What was added since `earlier`, an older reading of the same counters. Pairs with nothing
    /// new that are not live are left out; whether a pair is live is as it is now.
    pub fn since(&self, earlier: &Self) -> Self {
        Self::of(
            added(&self.pairs, &earlier.pairs),
            added(&self.classes, &earlier.classes),
        )
    }
}

impl PairFigures {
    /// `CLIENT -> SERVER`.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.client, self.server)
    }

    fn since(&self, old: &Self) -> Self {
        let mut new = self.clone();
        new.made = self.made.saturating_sub(old.made);
        new.failed = self.failed.saturating_sub(old.failed);
        new.unreachable = self.unreachable.saturating_sub(old.unreachable);
        for (reason, count) in &old.reasons {
            if let Some(n) = new.reasons.get_mut(reason) {
                *n = n.saturating_sub(*count);
            }
        }
        new.reasons.retain(|_, n| *n > 0);
        new
    }
}

fn added(now: &[PairFigures], earlier: &[PairFigures]) -> Vec<PairFigures> {
    let before: BTreeMap<_, _> = earlier
        .iter()
        .map(|p| ((p.client.as_str(), p.server.as_str()), p))
        .collect();
    now.iter()
        .map(
            |p| match before.get(&(p.client.as_str(), p.server.as_str())) {
                Some(old) => p.since(old),
                None => p.clone(),
            },
        )
        .filter(|p| p.live || p.made + p.unreachable > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(client: &str, server: &str, live: bool, made: u64, failed: u64) -> PairFigures {
        let reasons = (failed > 0)
            .then(|| ("unknown issuer".to_owned(), failed))
            .into_iter()
            .collect();
        PairFigures {
            client: client.to_owned(),
            server: server.to_owned(),
            live,
            made,
            failed,
            unreachable: 0,
            reasons,
        }
    }

    #[test]
    fn the_least_probed_pair_is_a_live_one() {
        let figures = TrafficFigures::of(
            vec![pair("b", "a", true, 9, 1), pair("a", "b", false, 1, 0)],
            vec![],
        );
        assert_eq!((figures.made, figures.failed), (10, 1));
        assert_eq!(
            figures.least,
            Some(Least {
                pair: "b -> a".to_owned(),
                made: 9
            })
        );
    }

    #[test]
    fn a_difference_holds_only_what_is_new() {
        let earlier = TrafficFigures::of(
            vec![pair("a", "b", true, 5, 2), pair("x", "b", true, 7, 0)],
            vec![],
        );
        let later = TrafficFigures::of(
            vec![
                pair("a", "b", true, 6, 5),
                pair("x", "b", false, 7, 0),
                pair("y", "b", true, 0, 0),
            ],
            vec![],
        );
        let new = later.since(&earlier);
        assert_eq!(new.pairs.len(), 2);
        assert_eq!((new.made, new.failed), (1, 3));
        assert_eq!(new.pairs[0].reasons["unknown issuer"], 3);
        assert_eq!(new.least.unwrap().made, 0);
    }
}
