//! Real mutual handshakes between the proxies of the twin, all the time.
//!
//! A sweep makes one handshake for every ordered pair of groups, a group being the proxies of one
//! workload that are of one class (what they present, trust and accept); gateways only call. Sweeps
//! run in the background with a bounded share of one processor, and synchronously whenever the set of
//! live proxies or a proxy's secrets change, so that no state in between goes unprobed. In a mesh of hundreds
//! these synchronous ones have one pair for each pair of classes, whose members take turns: which handshakes
//! succeed is a matter of classes, and two hundred workloads have forty thousand pairs, too many for each pod that
//! comes or goes. What a handshake is, is the certificates' room's: rustls on both sides, resumption off, names and partial
//! chains as Envoy treats them. Open connections are not modelled: each attempt is a new one. A gateway that no
//! visitor comes to makes its handshakes like the others, but has passed nothing on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::envoy::stats::{self, TlsCounters};
use super::envoy::traffic::Passed;
use super::envoy::{Cluster, Pushed, ServiceKey};
use super::figures::{Figures, Ledger, Outcome};
use crate::pki::{Endpoint, SanRules};

/// Handshakes of one uninterrupted stretch.
const STRETCH: usize = 32;
/// Real time that the background leaves to others after each stretch, as a multiple of its length.
const REST: u32 = 3;
const IDLE: Duration = Duration::from_millis(5);
/// Groups from which on a synchronous sweep goes by classes.
const MANY: usize = 40;

/// A live, ready proxy.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) uid: String,
    /// `NAMESPACE/NAME`, in a further cluster `NAMESPACE/NAME@CLUSTER`.
    pub(super) workload: String,
    /// What it presents, trusts and accepts, in words.
    pub(super) class: Arc<str>,
    /// Whether it only calls.
    pub(super) gateway: bool,
    /// Nothing when the proxy has no certificate.
    pub(super) endpoint: Option<Endpoint>,
    /// Its outbound clusters.
    pub(super) pushed: Option<Arc<Pushed>>,
    /// The Services in front of it.
    pub(super) services: Vec<ServiceKey>,
    /// Namespace and service account.
    pub(super) account: (String, String),
    /// What its Envoy counts.
    pub(super) counters: TlsCounters,
    /// Where its Envoy counts what it passes on; nothing for a gateway that nobody comes to.
    pub(super) passed: Option<Passed>,
    /// Its pod's address.
    pub(super) address: String,
}

/// Where the live proxies come from.
pub(super) type Source = Arc<dyn Fn() -> Vec<Target> + Send + Sync>;

/// Makes handshakes and counts them.
pub struct Prober {
    source: Source,
    /// One sweep at a time, so that a synchronous one is not interleaved.
    sweeping: tokio::sync::Mutex<()>,
    counts: Mutex<Counts>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Counts {
    total: Ledger,
    since: Ledger,
}

type Names = (String, String);

/// One handshake to make.
struct Attempt {
    workloads: Names,
    classes: Names,
    client: Option<Endpoint>,
    server: Option<Endpoint>,
    outbound: SanRules,
    /// The counters of both, and the client's cluster.
    counters: (TlsCounters, TlsCounters),
    scope: String,
    /// Where the client counts what it passes on, and the server's address.
    passed: (Option<Passed>, String),
}

impl Prober {
    pub(super) fn new(source: Source) -> Prober {
        Prober {
            source,
            sweeping: tokio::sync::Mutex::new(()),
            counts: Mutex::new(Counts::default()),
            turn: AtomicUsize::new(0),
        }
    }

    /// Sweeps until every proxy has had its turn on both sides, and returns what was counted since
    /// the previous checkpoint.
    pub async fn checkpoint(&self, label: &str) -> Figures {
        for _ in 0..largest_group(&(self.source)()) {
            self.sweep_of(|targets, turn| plan(targets, &by_group(targets), None, turn))
                .await;
        }
        let alive = alive(&(self.source)());
        let since = std::mem::take(&mut self.counts().since);
        since.figures(label, &alive)
    }

    /// What was counted since the start.
    pub fn total(&self) -> Figures {
        let alive = alive(&(self.source)());
        self.counts().total.figures("total", &alive)
    }

    /// A synchronous sweep: over all pairs, or over those that have one of `only` on a side.
    pub(super) async fn sweep(&self, only: Option<&BTreeSet<String>>) {
        self.sweep_of(|targets, turn| {
            let groups = by_group(targets);
            let is_large = groups.len() >= MANY;
            let groups = if is_large { by_class(targets) } else { groups };
            plan(targets, &groups, only, turn)
        })
        .await;
    }

    async fn sweep_of(&self, plan: impl FnOnce(&[Target], usize) -> Vec<(usize, usize)>) {
        let _one = self.sweeping.lock().await;
        let targets = (self.source)();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let pairs = plan(&targets, turn);
        let attempts = pairs.iter().map(|pair| attempt(&targets, *pair)).collect();
        self.carry_out(attempts).await;
    }

    /// Sweeps without end, resting in between.
    pub(super) async fn run(&self) {
        loop {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let (mut done, mut all) = (0, 1);
            while done < all {
                let spent = Instant::now();
                {
                    let _one = self.sweeping.lock().await;
                    // Looked at again for each stretch: the world may have moved on meanwhile.
                    let targets = (self.source)();
                    let groups = by_group(&targets);
                    all = groups.len().pow(2);
                    let stretch = (done..all).take(STRETCH);
                    let pairs = stretch.filter_map(|at| pair(&targets, &groups, at, turn));
                    self.carry_out(pairs.map(|pair| attempt(&targets, pair)).collect())
                        .await;
                }
                done += STRETCH;
                tokio::time::sleep(spent.elapsed() * REST).await;
            }
            tokio::time::sleep(IDLE).await;
        }
    }

    /// Off the asynchronous threads, on two at once.
    async fn carry_out(&self, mut attempts: Vec<Attempt>) {
        let second = attempts.split_off(attempts.len() / 2);
        let halves = [attempts, second].map(|half| tokio::task::spawn_blocking(move || make(half)));
        for half in halves {
            let Ok(results) = half.await else { continue };
            let mut counts = self.counts();
            for (attempt, outcome) in results {
                counts
                    .total
                    .record(attempt.workloads.clone(), attempt.classes.clone(), &outcome);
                counts
                    .since
                    .record(attempt.workloads, attempt.classes, &outcome);
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(attempts: Vec<Attempt>) -> Vec<(Attempt, Outcome)> {
    attempts
        .into_iter()
        .map(|attempt| {
            let outcome = match (&attempt.client, &attempt.server) {
                (Some(client), Some(server)) => {
                    match client.handshake(&attempt.outbound, server, Timestamp::now()) {
                        Ok(()) => {
                            if let (Some(passed), address) = &attempt.passed {
                                let cluster = attempt.scope.trim_start_matches("cluster.");
                                passed.count(cluster, address);
                            }
                            Outcome::Accepted
                        }
                        Err(failure) => {
                            let (client, server) = &attempt.counters;
                            stats::count(&failure, client, &attempt.scope, server);
                            Outcome::Refused(format!("{} refused: {}", failure.side, failure.cause))
                        }
                    }
                }
                (None, _) => Outcome::Unreachable("the client has no certificate".to_owned()),
                (_, None) => Outcome::Unreachable("connection refused".to_owned()),
            };
            (attempt, outcome)
        })
        .collect()
}

/// Proxies of the largest group, at least one.
fn largest_group(targets: &[Target]) -> usize {
    by_group(targets).iter().map(Vec::len).max().unwrap_or(1)
}

/// The proxies by workload and class, by index.
fn by_group(targets: &[Target]) -> Vec<Vec<usize>> {
    by(targets, |target| (&target.workload, &target.class))
}

/// The proxies by class alone, those that only call apart.
fn by_class(targets: &[Target]) -> Vec<Vec<usize>> {
    by(targets, |target| (target.gateway, &target.class))
}

fn by<'a, K: Ord>(targets: &'a [Target], key: impl Fn(&'a Target) -> K) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        groups.entry(key(target)).or_default().push(index);
    }
    groups.into_values().collect()
}

/// The pairs of a sweep over these groups, by index: client, server. `turn` lets the proxies of a group take turns.
fn plan(
    targets: &[Target],
    groups: &[Vec<usize>],
    only: Option<&BTreeSet<String>>,
    turn: usize,
) -> Vec<(usize, usize)> {
    let mut pairs = BTreeSet::new();
    match only {
        None => {
            pairs.extend((0..groups.len().pow(2)).filter_map(|at| pair(targets, groups, at, turn)));
        }
        Some(only) => {
            let serves = |index: usize| !targets[index].gateway;
            for index in (0..targets.len()).filter(|i| only.contains(&targets[*i].uid)) {
                for other in groups.iter().filter_map(|group| pick(group, index, turn)) {
                    pairs.extend(serves(other).then_some((index, other)));
                    pairs.extend(serves(index).then_some((other, index)));
                }
            }
        }
    }
    pairs.into_iter().collect()
}

/// One of the pairs of groups, by its number: of each the one whose turn it is; none where nobody is called.
fn pair(
    targets: &[Target],
    groups: &[Vec<usize>],
    at: usize,
    turn: usize,
) -> Option<(usize, usize)> {
    let callers = &groups[at / groups.len()];
    let from = callers[turn % callers.len()];
    let to = pick(&groups[at % groups.len()], from, turn)?;
    (!targets[to].gateway).then_some((from, to))
}

/// The one of a group whose turn it is, but not this one.
fn pick(group: &[usize], not: usize, turn: usize) -> Option<usize> {
    let others: Vec<usize> = group.iter().copied().filter(|i| *i != not).collect();
    (!others.is_empty()).then(|| others[turn % others.len()])
}

fn attempt(targets: &[Target], (client, server): (usize, usize)) -> Attempt {
    let (client, server) = (&targets[client], &targets[server]);
    Attempt {
        workloads: (client.workload.clone(), server.workload.clone()),
        classes: (client.class.to_string(), server.class.to_string()),
        client: client.endpoint.clone(),
        server: server.endpoint.clone(),
        outbound: outbound(client, server),
        counters: (client.counters.clone(), server.counters.clone()),
        scope: scope(client, server),
        passed: (client.passed.clone(), server.address.clone()),
    }
}

/// The Service by which the client reaches the server: the first in front of it that the client knows.
fn cluster<'a>(client: &'a Target, server: &'a Target) -> Option<(&'a ServiceKey, &'a Cluster)> {
    let clusters = &client.pushed.as_ref()?.clusters;
    let mut services = server.services.iter();
    services.find_map(|service| Some((service, clusters.get(service)?)))
}

/// How Envoy's counters name the client's cluster; a server without a Service is passed through.
fn scope(client: &Target, server: &Target) -> String {
    cluster(client, server).map_or_else(
        || "cluster.PassthroughCluster".to_owned(),
        |(service, cluster)| {
            stats::outbound(service, cluster.ports.first().copied().unwrap_or_default())
        },
    )
}

/// What the client's cluster accepts of the server: its names; of a server without a Service, its own
/// under the client's trust domains.
fn outbound(client: &Target, server: &Target) -> SanRules {
    let Some(pushed) = &client.pushed else {
        return SanRules::any();
    };
    let names = match cluster(client, server) {
        Some((_, cluster)) => cluster.names.clone(),
        None => super::envoy::server_names(std::slice::from_ref(&server.account), &pushed.expected),
    };
    if names.is_empty() {
        SanRules::any()
    } else {
        SanRules::exact(names)
    }
}

/// Ordered pairs of workloads that a sweep reaches.
fn alive(targets: &[Target]) -> Vec<Names> {
    let names = |(client, server): (usize, usize)| {
        (
            targets[client].workload.clone(),
            targets[server].workload.clone(),
        )
    };
    let pairs: BTreeSet<Names> = plan(targets, &by_group(targets), None, 0)
        .into_iter()
        .map(names)
        .collect();
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uid: &str, workload: &str, class: &str, gateway: bool) -> Target {
        Target {
            uid: uid.to_owned(),
            workload: workload.to_owned(),
            class: class.into(),
            gateway,
            endpoint: None,
            pushed: None,
            services: Vec::new(),
            account: ("n".to_owned(), "a".to_owned()),
            counters: TlsCounters::default(),
            passed: None,
            address: String::new(),
        }
    }

    fn names(targets: &[Target], pairs: &[(usize, usize)]) -> Vec<String> {
        pairs
            .iter()
            .map(|(c, s)| format!("{}>{}", targets[*c].uid, targets[*s].uid))
            .collect()
    }

    #[test]
    fn a_sweep_has_every_ordered_pair_of_groups_and_no_proxy_calls_itself() {
        let targets = [
            target("a", "w", "1", false),
            target("b", "x", "1", false),
            target("g", "gw", "1", true),
        ];
        let pairs = plan(&targets, &by_group(&targets), None, 0);
        assert_eq!(names(&targets, &pairs), ["a>b", "b>a", "g>a", "g>b"]);
    }

    #[test]
    fn two_classes_of_one_workload_are_two_groups() {
        let targets = [
            target("a", "w", "old", false),
            target("b", "w", "new", false),
        ];
        assert_eq!(
            names(&targets, &plan(&targets, &by_group(&targets), None, 0)),
            ["a>b", "b>a"]
        );
    }

    #[test]
    fn proxies_of_a_group_take_turns_and_call_each_other() {
        let targets = [
            target("a", "w", "1", false),
            target("b", "w", "1", false),
            target("c", "x", "1", false),
        ];
        let seen: BTreeSet<String> = (0..4)
            .flat_map(|turn| names(&targets, &plan(&targets, &by_group(&targets), None, turn)))
            .collect();
        assert_eq!(seen.len(), 6, "{seen:?}");
    }

    #[test]
    fn a_sweep_of_one_proxy_has_it_on_one_side_of_every_pair() {
        let targets = [
            target("a", "w", "1", false),
            target("b", "x", "1", false),
            target("g", "gw", "1", true),
        ];
        let pairs = plan(
            &targets,
            &by_group(&targets),
            Some(&BTreeSet::from(["a".to_owned()])),
            0,
        );
        assert_eq!(names(&targets, &pairs), ["a>b", "b>a", "g>a"]);
    }

    #[test]
    fn by_classes_their_members_take_turns_and_what_only_calls_is_never_called() {
        let mut targets: Vec<Target> = (0..6)
            .map(|i| {
                let class = if i < 3 { "old" } else { "new" };
                target(&format!("{i}"), &format!("n/w{i}"), class, false)
            })
            .collect();
        targets.push(target("g", "n/gw", "old", true));
        let at = |turn| names(&targets, &plan(&targets, &by_class(&targets), None, turn));
        let pairs = at(0);
        let is = |pair: &str, from: &str, to: &str| {
            let (c, s) = pair.split_once('>').unwrap();
            from.contains(c) && to.contains(s)
        };
        for (from, to) in [
            ("012", "012"),
            ("012", "345"),
            ("345", "012"),
            ("345", "345"),
        ] {
            assert!(
                pairs.iter().any(|p| is(p, from, to)),
                "{from} {to} {pairs:?}"
            );
        }
        assert!(pairs.iter().any(|p| is(p, "g", "012")) && pairs.iter().any(|p| is(p, "g", "345")));
        assert!(!pairs.iter().any(|p| p.ends_with(">g")), "{pairs:?}");
        assert_eq!(pairs.len(), 6);
        assert_ne!(pairs, at(1));
    }

    #[tokio::test]
    async fn a_live_proxy_without_a_certificate_is_unreachable_and_no_failure_of_trust() {
        let targets = vec![
            target("a", "n/w", "1", false),
            target("b", "n/x", "1", false),
        ];
        let prober = Prober::new(Arc::new(move || targets.clone()));
        let figures = prober.checkpoint("step").await;
        assert_eq!(
            (figures.made, figures.failed, figures.unreachable),
            (0, 0, 2)
        );
        assert_eq!(
            prober.checkpoint("next").await.unreachable,
            2,
            "a checkpoint starts anew"
        );
        assert_eq!(prober.total().unreachable, 4);
    }
}
