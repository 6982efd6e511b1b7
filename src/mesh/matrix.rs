//! Who can talk to whom: every ordered pair of workloads, now and after a step.
//!
//! A pair can talk when the client's bundle ends a path of the server's certificate and the
//! client's clusters accept the server's name, and the same the other way round with the server's
//! bundle and inbound prefixes. Proxies that are alike in all of that are one class, and the answer
//! is computed once for a pair of classes; it is told by workload, because that is what an operator
//! can act on.
//!
//! The next state holds the proxies of today *and* those that a step makes: while a rollout runs,
//! both are live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::dump::{Reading, TrustStore};
use super::matchers::{Accepts, Inbound, Matchers};
use super::survey::{Proxy, Survey};
use crate::pki::{self, Cert, NamedCa, Signer, SpiffeId, Trust};

/// What a proxy shows its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Certificates that exist, each chain leaf first.
    Chains(Vec<Vec<Cert>>),
    /// A certificate to come, by the CA that will sign it.
    SignedBy(NamedCa),
}

/// One side of a pair: a proxy that is, or one that a step will make.
#[derive(Debug, Clone)]
pub struct Member {
    /// `NAMESPACE/NAME` of its workload.
    pub workload: String,
    /// Who it is.
    pub identity: Reading<SpiffeId>,
    /// What it shows.
    pub credential: Reading<Credential>,
    /// Who signed or will sign it, as text for people and for the class.
    pub signer: String,
    /// What it trusts.
    pub trust: Reading<Vec<TrustStore>>,
    /// Whom it accepts by name.
    pub matchers: Reading<Matchers>,
    /// Whether a step will make it.
    pub next: bool,
    /// Whether another pod of its workload may be live beside it.
    pub has_twin: bool,
}

/// The side that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that connects.
    Client,
    /// The one that is connected to.
    Server,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Whether a pair can talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Talk {
    /// One side refuses.
    No {
        /// Which.
        side: Side,
        /// Why.
        cause: String,
    },
    /// It cannot be told.
    Unknown(String),
    /// Both accept.
    Yes,
}

/// A pair that cannot talk, or about which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// `NAMESPACE/NAME` of the client's workload.
    pub client: String,
    /// `NAMESPACE/NAME` of the server's workload.
    pub server: String,
    /// `No` or `Unknown`.
    pub talk: Talk,
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}: ", self.client, self.server)?;
        match &self.talk {
            Talk::No { side, cause } => write!(f, "the {side} refuses: {cause}"),
            Talk::Unknown(reason) => write!(f, "unknown: {reason}"),
            Talk::Yes => f.write_str("yes"),
        }
    }
}

/// One class of proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Who signs.
    pub signer: String,
    /// Its trust domain.
    pub trust_domain: String,
    /// Names of the roots that it trusts.
    pub roots: Vec<String>,
    /// Trust domains that its inbound side accepts; none for what is no server.
    pub accepts: Vec<String>,
    /// The workloads in it.
    pub workloads: BTreeSet<String>,
    /// Whether a step will make it.
    pub next: bool,
}

/// The answer for every ordered pair.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The classes, as indices into `cells`.
    pub classes: Vec<Class>,
    /// `cells[client][server]`, by class; `None` where the server is no server.
    pub cells: Vec<Vec<Option<Talk>>>,
    /// Pairs of workloads that fail or are unknown, each once, in order.
    pub failing: Vec<Failing>,
    /// How many ordered pairs of workloads were judged.
    pub pairs: usize,
}

impl Matrix {
    /// The mesh as it is.
    pub fn now(survey: &Survey, cas: &[NamedCa], now: Timestamp) -> Self {
        Self::of(&members(survey), cas, now, |_, _| true)
    }

    /// The mesh while and after a step makes these members: every pair that has one of them.
    pub fn next(survey: &Survey, made: Vec<Member>, cas: &[NamedCa], now: Timestamp) -> Self {
        let mut all = members(survey);
        for member in &mut all {
            member.has_twin |= made
                .iter()
                .any(|m| m.workload == member.workload && m.has_twin);
        }
        all.extend(made);
        Self::of(&all, cas, now, |client, server| client.next || server.next)
    }

    fn of(
        members: &[Member],
        cas: &[NamedCa],
        now: Timestamp,
        asked: impl Fn(&Member, &Member) -> bool,
    ) -> Self {
        let mut judge = Judge {
            now,
            seen: HashMap::new(),
        };
        let (classes, class_of) = classes(members, cas);
        let mut cells = vec![vec![None; classes.len()]; classes.len()];
        let mut failing: BTreeMap<(String, String), Talk> = BTreeMap::new();
        let mut pairs = BTreeSet::new();
        for (c, client) in members.iter().enumerate() {
            for (s, server) in members.iter().enumerate() {
                if !is_server(server) || !asked(client, server) || !live_together(c, s, members) {
                    continue;
                }
                let talk = judge.talk(client, server);
                let cell: &mut Option<Talk> = &mut cells[class_of[c]][class_of[s]];
                if cell.as_ref().is_none_or(|known| *known == Talk::Yes) {
                    *cell = Some(talk.clone());
                }
                let pair = (client.workload.clone(), server.workload.clone());
                pairs.insert(pair.clone());
                if talk != Talk::Yes {
                    failing.entry(pair).or_insert(talk);
                }
            }
        }
        let failing = failing
            .into_iter()
            .map(|((client, server), talk)| Failing {
                client,
                server,
                talk,
            })
            .collect();
        Self {
            classes,
            cells,
            failing,
            pairs: pairs.len(),
        }
    }
}

/// The first pair of these, of two different pods, that cannot talk or about which nothing is known; else the
/// first that can. `None` where no server is one.
pub fn worst<'a>(
    clients: &'a [Member],
    servers: &'a [Member],
    same: bool,
    now: Timestamp,
) -> Option<(&'a Member, &'a Member, Talk)> {
    let mut judge = Judge {
        now,
        seen: HashMap::new(),
    };
    let mut first = None;
    for (c, client) in clients.iter().enumerate() {
        for (s, server) in servers.iter().enumerate() {
            if !is_server(server) || (same && c == s) {
                continue;
            }
            match judge.talk(client, server) {
                Talk::Yes => first = first.or(Some((client, server, Talk::Yes))),
                talk => return Some((client, server, talk)),
            }
        }
    }
    first
}

/// Two different pods; or a pod of today and its successor, where the workload lets both live.
fn live_together(c: usize, s: usize, members: &[Member]) -> bool {
    let (client, server) = (&members[c], &members[s]);
    if client.workload != server.workload {
        return true;
    }
    client.has_twin && (c != s || client.next)
}

fn is_server(member: &Member) -> bool {
    !matches!(&member.matchers, Ok(m) if m.inbound == Inbound::NotAServer)
}

/// Every live proxy as one side of pairs, in the order of [`Survey::all`].
pub fn members(survey: &Survey) -> Vec<Member> {
    let mut pods: BTreeMap<String, usize> = BTreeMap::new();
    for proxy in survey.all() {
        *pods.entry(proxy.pod().workload.to_string()).or_default() += 1;
    }
    survey
        .all()
        .map(|proxy| member(proxy, pods[&proxy.pod().workload.to_string()] > 1))
        .collect()
}

fn member(proxy: &Proxy, has_twin: bool) -> Member {
    let (chains, trust) = match &proxy.reading.secrets {
        Ok(secrets) => (secrets.chains.clone(), secrets.trust.clone()),
        Err(reason) => (Err(reason.clone()), Err(reason.clone())),
    };
    Member {
        workload: proxy.pod().workload.to_string(),
        identity: proxy.verdict.identity.clone(),
        credential: chains.map(Credential::Chains),
        signer: signer_name(&proxy.verdict.signer),
        trust,
        matchers: proxy.reading.matchers.clone(),
        next: false,
        has_twin,
    }
}

/// A signer as one word, for tables and classes.
pub fn signer_name(signer: &Signer) -> String {
    match signer {
        Signer::By { ca, .. } => ca.clone(),
        Signer::Foreign { root, .. } => format!("foreign {}", root.short()),
        Signer::Broken { .. } => "broken".into(),
        Signer::Ambiguous { cas } => format!("ambiguous ({})", cas.join(" or ")),
        Signer::Unknown { .. } => "unknown".into(),
    }
}

fn classes(members: &[Member], cas: &[NamedCa]) -> (Vec<Class>, Vec<usize>) {
    let mut classes: Vec<Class> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut of = Vec::with_capacity(members.len());
    for member in members {
        let class = class(member, cas);
        let key = format!(
            "{:?}|{:?}",
            Class {
                workloads: BTreeSet::new(),
                ..class.clone()
            },
            demands(member)
        );
        let at = *index.entry(key).or_insert_with(|| {
            classes.push(Class {
                workloads: BTreeSet::new(),
                ..class
            });
            classes.len() - 1
        });
        classes[at].workloads.insert(member.workload.clone());
        of.push(at);
    }
    (classes, of)
}

fn class(member: &Member, cas: &[NamedCa]) -> Class {
    let roots = match &member.trust {
        Ok(stores) => stores
            .iter()
            .flat_map(|s| {
                s.all()
                    .certs()
                    .map(|c| super::ca::name_of(c, cas))
                    .collect::<Vec<_>>()
            })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        Err(_) => vec!["unknown".to_owned()],
    };
    let accepts = match &member.matchers {
        Ok(Matchers {
            inbound: Inbound::Names(names),
            ..
        }) => names.iter().map(ToString::to_string).collect(),
        Ok(Matchers {
            inbound: Inbound::AnyName,
            ..
        }) => vec!["any name".to_owned()],
        Ok(Matchers {
            inbound: Inbound::NotAServer,
            ..
        }) => Vec::new(),
        Err(_) => vec!["unknown".to_owned()],
    };
    Class {
        signer: member.signer.clone(),
        trust_domain: member
            .identity
            .as_ref()
            .map_or_else(|_| "unknown".into(), |id| id.trust_domain.clone()),
        roots,
        accepts,
        workloads: BTreeSet::new(),
        next: member.next,
    }
}

/// What tells two members of otherwise equal class apart: the names that they demand of servers.
fn demands(member: &Member) -> String {
    match &member.matchers {
        Ok(m) => m.outbound.uniform().map_or_else(
            || format!("{:?}", m.outbound.accounts),
            |d| format!("{d:?}"),
        ),
        Err(reason) => reason.clone(),
    }
}

/// Path verdicts repeat: many pods, few bundles.
struct Judge {
    now: Timestamp,
    seen: HashMap<(pki::Fingerprint, pki::Fingerprint, Side), Talkable>,
}

/// Whether one side accepts the other's certificate.
type Talkable = Result<(), Refused>;

#[derive(Debug, Clone)]
enum Refused {
    No(String),
    Unknown(String),
}

impl Judge {
    fn talk(&mut self, client: &Member, server: &Member) -> Talk {
        for (side, judge, judged) in [
            (Side::Client, client, server),
            (Side::Server, server, client),
        ] {
            match self.accepts(judge, judged, side) {
                Ok(()) => {}
                Err(Refused::No(cause)) => return Talk::No { side, cause },
                Err(Refused::Unknown(reason)) => return Talk::Unknown(reason),
            }
        }
        Talk::Yes
    }

    fn accepts(&mut self, judge: &Member, judged: &Member, side: Side) -> Talkable {
        let identity = judged
            .identity
            .as_ref()
            .map_err(|r| Refused::Unknown(r.clone()))?;
        let credential = judged
            .credential
            .as_ref()
            .map_err(|r| Refused::Unknown(r.clone()))?;
        let stores = judge
            .trust
            .as_ref()
            .map_err(|r| Refused::Unknown(r.clone()))?;
        let matchers = judge
            .matchers
            .as_ref()
            .map_err(|r| Refused::Unknown(r.clone()))?;
        for store in stores {
            let Some(bundle) = store.for_peer(&identity.trust_domain) else {
                return Err(Refused::No(format!(
                    "it has no bundle for trust domain `{}`",
                    identity.trust_domain
                )));
            };
            self.trusts(bundle, credential, side)?;
        }
        let accepts = match side {
            Side::Client => matchers.outbound.accepts(identity),
            Side::Server => matchers.inbound.accepts(identity),
        };
        match accepts {
            Accepts::Yes => Ok(()),
            Accepts::No(wanted) => Err(Refused::No(format!(
                "the name `{identity}` is not among those it accepts ({wanted})"
            ))),
            Accepts::Unknown(reason) => Err(Refused::Unknown(reason)),
        }
    }

    fn trusts(&mut self, bundle: &pki::Bundle, credential: &Credential, judging: Side) -> Talkable {
        match credential {
            Credential::SignedBy(ca) => match pki::trusts(bundle, ca, self.now) {
                Trust::Yes | Trust::YesByKey { .. } => Ok(()),
                Trust::Unknown { reason } => Err(Refused::Unknown(reason)),
                Trust::No { reason } | Trust::Partial { reason } => Err(Refused::No(reason)),
            },
            Credential::Chains(chains) => {
                for chain in chains {
                    let Some(leaf) = chain.first() else {
                        return Err(Refused::Unknown("the peer shows no certificate".into()));
                    };
                    let now = self.now;
                    self.seen
                        .entry((leaf.sha256(), bundle.sha256(), judging))
                        .or_insert_with(|| path(chain, bundle, judging, now))
                        .clone()?;
                }
                Ok(())
            }
        }
    }
}

/// Whether the judging side's bundle ends a path of the other's chain, as Envoy builds it.
fn path(chain: &[Cert], bundle: &pki::Bundle, judging: Side, now: Timestamp) -> Talkable {
    let shown_as = match judging {
        Side::Client => pki::Usage::Server,
        Side::Server => pki::Usage::Client,
    };
    match pki::accepts(bundle, chain, shown_as, now) {
        Ok(_) => Ok(()),
        Err(error) if error.is_unknown() => Err(Refused::Unknown(error.to_string())),
        Err(error) => Err(Refused::No(error.to_string())),
    }
}

#[cfg(all(test, feature = "twin"))]
#[path = "matrix_tests.rs"]
mod tests;

#[cfg(all(test, feature = "twin"))]
#[path = "matrix_random_tests.rs"]
mod random_tests;

#[cfg(all(test, feature = "twin", unix))]
#[path = "matrix_envoy_tests.rs"]
mod envoy_tests;
