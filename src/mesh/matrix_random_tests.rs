//! Random meshes: the matrix says yes to a pair exactly when both of its real TLS handshakes are made, today and with
//! what a step will sign; what it does not know it may call unknown, never yes.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::matchers::{Outbound, San};
use super::*;
use crate::pki::mint::{Authority, CaSpec, LeafSpec};
use crate::pki::{Bundle, Endpoint, Identity, PrivateKey, SanRules};

const MESHES: u32 = 2000;
pub(super) const DOMAINS: [&str; 3] = ["cluster.local", "fleet.svc.id.goog", "other.example"];
/// Workloads that may meet.
pub(super) const NAMES: usize = 3;

/// Who signs, and what there is to trust. The indices are those of the specifications below.
pub(super) struct World {
    pub(super) now: Timestamp,
    signers: Vec<Authority>,
    roots: Vec<Cert>,
    /// By signer, trust domain and name.
    pub(super) issued: HashMap<(usize, usize, usize), (Cert, PrivateKey)>,
    endpoints: RefCell<HashMap<String, Endpoint>>,
}

/// Of the signers: a self-signed CA, one that bears its name, Mesh CA's intermediate, a CA whose root has expired.
const CITADEL: usize = 0;
const NAMESAKE: usize = 1;
const ISSUING: usize = 2;
const SIGNERS: usize = 4;
/// Another intermediate of Mesh CA's, by which what is to come may be signed as well.
const OTHER: usize = 4;
/// Of the roots: those of the signers, the first one issued again, and Mesh CA's intermediate.
const ROOTS: usize = 6;

impl World {
    pub(super) fn new() -> Self {
        let now = Timestamp::now();
        let hours = SignedDuration::from_hours;
        let spec = CaSpec::istio("cluster.local", now);
        let citadel = Authority::self_signed(&spec).unwrap();
        let namesake = Authority::self_signed(&spec).unwrap();
        let again = citadel.reissued(&spec).unwrap();
        let mesh_ca = Authority::self_signed(&CaSpec::mesh_ca(now)).unwrap();
        let issuing = mesh_ca
            .intermediate(&CaSpec::new([("CN", "issuing")], now))
            .unwrap();
        let past = CaSpec::new([("CN", "past")], now).valid(now - hours(9), now - hours(1));
        let past = Authority::self_signed(&past).unwrap();
        let roots = [&citadel, &namesake, &mesh_ca, &past, &again, &issuing];
        let roots = roots.map(|ca| ca.cert().clone()).into();
        let other = mesh_ca
            .intermediate(&CaSpec::new([("CN", "another")], now))
            .unwrap();
        let signers = vec![citadel, namesake, issuing, past, other];
        let mut issued = HashMap::new();
        for (s, signer) in signers.iter().enumerate() {
            for (d, domain) in DOMAINS.iter().enumerate() {
                for name in 0..NAMES {
                    let id = SpiffeId::new(*domain, "shop", format!("w{name}"));
                    issued.insert(
                        (s, d, name),
                        signer.issue(&LeafSpec::workload(&id, now)).unwrap(),
                    );
                }
            }
        }
        Self {
            now,
            signers,
            roots,
            issued,
            endpoints: RefCell::default(),
        }
    }

    pub(super) fn bundle(&self, of: &[usize]) -> Bundle {
        of.iter().map(|root| self.roots[*root].clone()).collect()
    }

    pub(super) fn named(&self) -> Vec<NamedCa> {
        let ca = |name: &str, roots: &[usize]| NamedCa::new(name, self.bundle(roots));
        vec![
            ca("CITADEL", &[0]),
            ca("NAMESAKE", &[1]),
            ca("MESHCA", &[2]),
            ca("PAST", &[3]),
        ]
    }

    /// What one proxy presents, signed by one of the signers.
    pub(super) fn chain(&self, spec: &Spec, name: usize, signer: usize) -> Vec<Cert> {
        let (leaf, _) = &self.issued[&(signer, spec.domain, name)];
        let mut chain = vec![leaf.clone()];
        chain.extend(self.signers[signer].chain());
        chain.extend(spec.trusts.iter().map(|root| self.roots[*root].clone()));
        chain
    }

    pub(super) fn member(&self, spec: &Spec, name: usize) -> Member {
        let domains: BTreeSet<String> = spec
            .accepts
            .iter()
            .map(|d| DOMAINS[*d].to_owned())
            .collect();
        let credential = if spec.future {
            Credential::SignedBy(self.future(spec))
        } else {
            Credential::Chains(vec![self.chain(spec, name, spec.signer)])
        };
        let prefix = |domain: &String| San::Prefix(format!("spiffe://{domain}/"));
        Member {
            workload: format!("shop/w{name}"),
            identity: Ok(SpiffeId::new(
                DOMAINS[spec.domain],
                "shop",
                format!("w{name}"),
            )),
            credential: Ok(credential),
            signer: spec.signer.to_string(),
            trust: Ok(vec![TrustStore::Bundle(self.bundle(&spec.trusts))]),
            matchers: Ok(Matchers {
                inbound: if spec.any_name {
                    Inbound::AnyName
                } else {
                    Inbound::Names(domains.iter().map(prefix).collect())
                },
                outbound: Outbound {
                    everyone: Some(domains),
                    accounts: BTreeMap::new(),
                    ..Outbound::default()
                },
            }),
            next: spec.future,
            has_twin: false,
        }
    }

    /// The CA that will sign: one of a single key, or one in the midst of a change of roots.
    fn future(&self, spec: &Spec) -> NamedCa {
        let all = self.named();
        match (spec.signer, spec.two_keys) {
            (CITADEL | NAMESAKE, true) => {
                NamedCa::new("CITADEL", self.bundle(&[CITADEL, NAMESAKE]))
            }
            (signer, _) => all[signer].clone(),
        }
    }

    /// Who may really sign for a proxy.
    pub(super) fn signers_of(spec: &Spec) -> Vec<usize> {
        match (spec.future, spec.signer, spec.two_keys) {
            (true, CITADEL | NAMESAKE, true) => vec![CITADEL, NAMESAKE],
            (true, ISSUING, _) => vec![ISSUING, OTHER],
            (_, signer, _) => vec![signer],
        }
    }

    fn endpoint(&self, spec: &Spec, name: usize, signer: usize) -> Endpoint {
        let key = format!("{spec:?} {name} {signer}");
        let mut known = self.endpoints.borrow_mut();
        let made = || {
            let identity = Identity {
                chain: self.chain(spec, name, signer),
                key: self.issued[&(signer, spec.domain, name)].1.clone(),
                bundle: self.bundle(&spec.trusts),
            };
            let prefixes = spec
                .accepts
                .iter()
                .map(|d| format!("spiffe://{}/", DOMAINS[*d]));
            let inbound = if spec.any_name {
                SanRules::any()
            } else {
                SanRules::prefixes(prefixes)
            };
            Endpoint::new(&identity, &inbound).unwrap()
        };
        known.entry(key).or_insert_with(made).clone()
    }

    /// Whether every handshake that may come is made, whoever signs.
    fn meet(&self, client: (&Spec, usize), server: (&Spec, usize)) -> bool {
        let outbound = client
            .0
            .accepts
            .iter()
            .map(|d| format!("spiffe://{}/ns/shop/sa/w{}", DOMAINS[*d], server.1));
        let outbound = SanRules::exact(outbound);
        Self::signers_of(client.0).into_iter().all(|c| {
            Self::signers_of(server.0).into_iter().all(|s| {
                let connects = self.endpoint(client.0, client.1, c);
                let listens = self.endpoint(server.0, server.1, s);
                connects.handshake(&outbound, &listens, self.now).is_ok()
            })
        })
    }
}

/// One proxy.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    signer: usize,
    pub(super) domain: usize,
    pub(super) trusts: Vec<usize>,
    pub(super) accepts: Vec<usize>,
    pub(super) any_name: bool,
    future: bool,
    two_keys: bool,
}

pub(super) fn spec() -> impl Strategy<Value = Spec> {
    let subset = |of: usize| proptest::sample::subsequence((0..of).collect::<Vec<_>>(), 1..=of);
    let often = |p| proptest::bool::weighted(p);
    (
        0..SIGNERS,
        0..DOMAINS.len(),
        subset(ROOTS),
        subset(DOMAINS.len()),
        often(0.2),
        often(0.4),
        often(0.3),
    )
        .prop_map(
            |(signer, domain, trusts, accepts, any_name, future, two_keys)| Spec {
                signer,
                domain,
                trusts,
                accepts,
                any_name,
                future,
                two_keys,
            },
        )
}

#[test]
fn a_pair_is_said_to_talk_exactly_when_its_handshakes_are_made() {
    let world = World::new();
    let config = Config {
        cases: MESHES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let counts = RefCell::new([0_u32; 3]);
    let meshes = proptest::collection::vec(spec(), 2..=NAMES);
    let outcome = runner.run(&meshes, |specs| {
        let members: Vec<Member> = specs
            .iter()
            .enumerate()
            .map(|(name, spec)| world.member(spec, name))
            .collect();
        let matrix = Matrix::of(&members, &world.named(), world.now, |_, _| true);
        for (c, client) in specs.iter().enumerate() {
            for (s, server) in specs.iter().enumerate().filter(|(s, _)| *s != c) {
                let pair = (&members[c].workload, &members[s].workload);
                let said = matrix
                    .failing
                    .iter()
                    .find(|f| (&f.client, &f.server) == pair);
                let made = world.meet((client, c), (server, s));
                let kind = match said.map(|f| &f.talk) {
                    None => {
                        prop_assert!(made, "false safe: {client:?} → {server:?}");
                        0
                    }
                    Some(Talk::Unknown(_)) => 1,
                    Some(talk) => {
                        prop_assert!(!made, "{talk:?}, and it is made: {client:?} → {server:?}");
                        2
                    }
                };
                counts.borrow_mut()[kind] += 1;
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let [yes, unknown, no] = counts.into_inner();
    // The meshes are of both kinds, and little is unknown.
    assert!(
        yes > 1000 && no > 1000 && unknown < yes / 4,
        "{yes} {unknown} {no}"
    );
}
