//! A mesh of two CAs in miniature: who can talk to whom.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::super::matchers::{Outbound, San};
use super::*;
use crate::pki::Bundle;
use crate::pki::mint::{Authority, CaSpec, LeafSpec};

fn now() -> Timestamp {
    Timestamp::now()
}

/// A mesh of two CAs, in which members are made.
struct Mesh {
    citadel: Authority,
    meshca: Authority,
}

impl Mesh {
    fn new() -> Self {
        Self {
            citadel: Authority::self_signed(&CaSpec::istio("cluster.local", now())).unwrap(),
            meshca: Authority::self_signed(&CaSpec::mesh_ca(now())).unwrap(),
        }
    }

    fn named(&self) -> Vec<NamedCa> {
        [("CITADEL", &self.citadel), ("MESHCA", &self.meshca)]
            .map(|(name, ca)| NamedCa::new(name, Bundle::from_certs([ca.root().clone()])))
            .into()
    }

    fn member(
        &self,
        name: &str,
        signer: &str,
        domain: &str,
        trusts: &[&str],
        accepts: &[&str],
    ) -> Member {
        let by = |ca: &str| {
            if ca == "CITADEL" {
                &self.citadel
            } else {
                &self.meshca
            }
        };
        let id = SpiffeId::new(domain, "shop", name);
        let (leaf, _) = by(signer).issue(&LeafSpec::workload(&id, now())).unwrap();
        let chain = std::iter::once(leaf)
            .chain([by(signer).root().clone()])
            .collect();
        let bundle = Bundle::from_certs(trusts.iter().map(|ca| by(ca).root().clone()));
        Member {
            workload: format!("shop/{name}"),
            identity: Ok(id),
            credential: Ok(Credential::Chains(vec![chain])),
            signer: signer.into(),
            trust: Ok(vec![TrustStore::Bundle(bundle)]),
            matchers: Ok(Matchers {
                inbound: Inbound::Names(
                    accepts
                        .iter()
                        .map(|d| San::Prefix(format!("spiffe://{d}/")))
                        .collect(),
                ),
                outbound: Outbound {
                    everyone: Some(accepts.iter().map(|d| (*d).to_owned()).collect()),
                    accounts: BTreeMap::new(),
                    ..Outbound::default()
                },
            }),
            next: false,
            has_twin: false,
        }
    }

    fn judge(&self, members: &[Member]) -> Vec<String> {
        Matrix::of(members, &self.named(), now(), |_, _| true)
            .failing
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

const BOTH: &[&str] = &["CITADEL", "MESHCA"];
const DOMAINS: &[&str] = &["cluster.local", "fleet.svc.id.goog"];

#[test]
fn with_both_roots_and_both_domains_either_ca_may_sign() {
    let mesh = Mesh::new();
    let a = mesh.member("a", "CITADEL", "cluster.local", BOTH, DOMAINS);
    let b = mesh.member("b", "MESHCA", "fleet.svc.id.goog", BOTH, DOMAINS);
    assert_eq!(mesh.judge(&[a, b]), Vec::<String>::new());
}

#[test]
fn one_root_missing_on_one_side_fails_both_directions_and_names_the_side() {
    let mesh = Mesh::new();
    let old = mesh.member("old", "CITADEL", "cluster.local", &["CITADEL"], DOMAINS);
    let new = mesh.member("new", "MESHCA", "fleet.svc.id.goog", BOTH, DOMAINS);
    let failing = mesh.judge(&[old, new]);
    assert_eq!(failing.len(), 2, "{failing:?}");
    assert!(
        failing[0].starts_with("shop/new → shop/old: the server refuses:"),
        "{failing:?}"
    );
    assert!(
        failing[1].starts_with("shop/old → shop/new: the client refuses:"),
        "{failing:?}"
    );
}

#[test]
fn all_roots_right_and_one_domain_unknown_is_an_outage_all_the_same() {
    let mesh = Mesh::new();
    let old = mesh.member("old", "CITADEL", "cluster.local", BOTH, &["cluster.local"]);
    let new = mesh.member("new", "MESHCA", "fleet.svc.id.goog", BOTH, DOMAINS);
    let failing = mesh.judge(&[old, new]);
    assert_eq!(failing.len(), 2, "{failing:?}");
    assert!(
        failing
            .iter()
            .all(|f| f.contains("spiffe://fleet.svc.id.goog/ns/shop/sa/new")),
        "{failing:?}"
    );
}

#[test]
fn a_ca_made_anew_under_the_same_name_is_another_ca() {
    let mesh = Mesh::new();
    let other = Mesh::new();
    let a = mesh.member("a", "CITADEL", "cluster.local", &["CITADEL"], DOMAINS);
    let b = other.member("b", "CITADEL", "cluster.local", &["CITADEL"], DOMAINS);
    assert_eq!(mesh.judge(&[a, b]).len(), 2);
}

#[test]
fn what_is_not_known_is_not_yes() {
    let mesh = Mesh::new();
    let a = mesh.member("a", "CITADEL", "cluster.local", BOTH, DOMAINS);
    let mut b = mesh.member("b", "CITADEL", "cluster.local", BOTH, DOMAINS);
    b.matchers = Err("its admin port refuses".into());
    let failing = mesh.judge(&[a, b]);
    assert_eq!(failing.len(), 2, "{failing:?}");
    assert!(
        failing
            .iter()
            .all(|f| f.ends_with("unknown: its admin port refuses")),
        "{failing:?}"
    );
}

#[test]
fn a_gateway_is_a_client_and_nobodys_server() {
    let mesh = Mesh::new();
    let mut gateway = mesh.member("gateway", "CITADEL", "cluster.local", &["CITADEL"], DOMAINS);
    gateway.matchers.as_mut().unwrap().inbound = Inbound::NotAServer;
    let new = mesh.member("new", "MESHCA", "fleet.svc.id.goog", BOTH, DOMAINS);
    assert_eq!(
        mesh.judge(&[gateway, new]).len(),
        1,
        "only gateway → new is a pair"
    );
}

/// An egress gateway serves the mesh (`ISTIO_MUTUAL`): its listeners tell, not its kind.
#[test]
fn a_gateway_with_a_listener_for_the_mesh_is_a_server() {
    use super::super::pods::{ProxyKind, ProxyPod, Workload};
    use super::super::read::{ProxyReading, Source};
    use super::super::verdict::Verdict;
    let listening = |inbound: Inbound| {
        let pod = ProxyPod {
            namespace: "istio-system".into(),
            name: "egress-1".into(),
            uid: "1".into(),
            restarts: 0,
            started: None,
            addresses: Vec::new(),
            kind: ProxyKind::Gateway,
            workload: Workload {
                kind: "Deployment".into(),
                namespace: "istio-system".into(),
                name: "egress".into(),
            },
            service_account: "egress".into(),
            revision: None,
            admin_port: 15000,
            labels: BTreeMap::new(),
            ready: true,
            file_mounted: false,
            cluster: None,
        };
        let outbound = Outbound::default();
        let reading = ProxyReading {
            source: Source::Itself,
            pod,
            secrets: Err("not of interest".into()),
            matchers: Ok(Matchers { inbound, outbound }),
        };
        let verdict = Verdict::of(&reading, &[], now());
        is_server(&member(&Proxy { reading, verdict }, false))
    };
    assert!(listening(Inbound::AnyName));
    assert!(!listening(Inbound::NotAServer));
}

#[test]
fn the_pods_of_one_workload_meet_only_where_two_of_them_live() {
    let mesh = Mesh::new();
    let old = mesh.member("w", "CITADEL", "cluster.local", &["CITADEL"], DOMAINS);
    let mut new = mesh.member("w", "MESHCA", "fleet.svc.id.goog", &["MESHCA"], DOMAINS);
    new.next = true;
    assert!(
        mesh.judge(&[old.clone(), new.clone()]).is_empty(),
        "one replica, old before new"
    );
    let both: Vec<Member> = [old, new]
        .into_iter()
        .map(|m| Member {
            has_twin: true,
            ..m
        })
        .collect();
    assert_eq!(
        mesh.judge(&both).len(),
        1,
        "shop/w → shop/w, while the rollout runs"
    );
}

#[test]
fn alike_proxies_are_one_class() {
    let mesh = Mesh::new();
    let members: Vec<Member> = ["a", "b", "c"]
        .map(|n| mesh.member(n, "CITADEL", "cluster.local", BOTH, DOMAINS))
        .into();
    let matrix = Matrix::of(&members, &mesh.named(), now(), |_, _| true);
    assert_eq!((matrix.classes.len(), matrix.pairs), (1, 6));
    assert_eq!(matrix.classes[0].roots, ["CITADEL", "MESHCA"]);
}
