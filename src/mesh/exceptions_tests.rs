//! Proxies with whatever can be wrong with their certificates, and that it is named.

#![allow(clippy::unwrap_used)]

use jiff::ToSpan as _;

use super::super::dump::{Secrets, TrustStore};
use super::super::dumps::Fates;
use super::super::injection::Injection;
use super::super::matchers::{Inbound, Matchers, Outbound};
use super::super::pods::{ProxyKind, ProxyPod};
use super::super::read::{ProxyReading, Source};
use super::super::survey::Survey;
use super::super::verdict::Verdict;
use super::*;
use crate::pki::mint::{Authority, CaSpec, LeafSpec};
use crate::pki::{Bundle, NamedCa, SpiffeId};

fn now() -> Timestamp {
    Timestamp::now()
}

fn hours(count: i64) -> Timestamp {
    now() + count.hours()
}

fn citadel() -> Authority {
    Authority::self_signed(&CaSpec::istio("cluster.local", now())).unwrap()
}

/// A leaf of `shop/web`, from and until these hours from now.
fn leaf(from: i64, until: i64) -> LeafSpec {
    let id = SpiffeId::new("cluster.local", "shop", "web");
    LeafSpec::workload(&id, now()).valid(hours(from), hours(until))
}

/// The kinds that are found of one proxy with this certificate, which trusts these.
fn found(
    named: &Authority,
    signer: &Authority,
    leaf: &LeafSpec,
    trusts: &[&Authority],
) -> Vec<&'static str> {
    let cas = vec![NamedCa::new(
        "CITADEL",
        Bundle::from_certs([named.root().clone()]),
    )];
    let (cert, _) = signer.issue(leaf).unwrap();
    let bundle: Bundle = trusts.iter().map(|ca| ca.root().clone()).collect();
    let root = Some(signer.root()).filter(|root| bundle.contains(root));
    let chain = std::iter::once(cert).chain(root.cloned()).collect();
    let reading = ProxyReading {
        source: Source::Itself,
        pod: ProxyPod {
            restarts: 0,
            started: None,
            addresses: Vec::new(),
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: "1".into(),
            kind: ProxyKind::Sidecar,
            workload: Workload {
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: "web".into(),
            },
            service_account: "web".into(),
            revision: None,
            admin_port: 15000,
            labels: Labels::new(),
            ready: true,
            file_mounted: false,
            cluster: None,
        },
        secrets: Ok(Secrets {
            chains: Ok(vec![chain]),
            trust: Ok(vec![TrustStore::Bundle(bundle)]),
            notes: Vec::new(),
        }),
        matchers: Ok(Matchers {
            inbound: Inbound::NotAServer,
            outbound: Outbound::default(),
        }),
    };
    let verdict = Verdict::of(&reading, &cas, now());
    let view = view(vec![Proxy { reading, verdict }], cas);
    let matrix = Matrix::now(&view.survey, &view.cas, now());
    let kinds = of(&view, &matrix, &[], &[]).into_iter().map(|e| e.kind);
    // There is no control plane here.
    kinds.filter(|kind| *kind != "istiod-not-ready").collect()
}

fn view(proxies: Vec<Proxy>, cas: Vec<NamedCa>) -> View {
    View {
        survey: Survey {
            taken_at: now(),
            proxies,
            machines: Vec::new(),
            abroad: Vec::new(),
            dumps: Fates::default(),
            unseen: Vec::new(),
            starting: Vec::new(),
            skipped: Vec::new(),
            unjudged: Vec::new(),
            lacking: Vec::new(),
            outside: Vec::new(),
            namespaces: BTreeMap::new(),
            injection: Injection::default(),
        },
        revisions: Vec::new(),
        cas,
    }
}

#[test]
fn the_kinds_are_ordered_by_severity_and_each_has_a_next_step() {
    let severities: Vec<Severity> = KINDS.iter().map(|k| k.1).collect();
    assert!(severities.is_sorted());
    let names: BTreeSet<&str> = KINDS.iter().map(|k| k.0).collect();
    assert_eq!(names.len(), KINDS.len());
    assert!(KINDS.iter().all(|k| !k.2.is_empty() && !k.3.is_empty()));
}

#[test]
fn a_certificate_is_named_by_what_is_left_of_it() {
    let ca = citadel();
    for (from, until, kinds) in [
        (0, 24, &[][..]),
        (-16, 8, &["overdue"]),
        (-23, 1, &["expiring"]),
        (-25, -1, &["expired"]),
        (1, 25, &["expired"]),
    ] {
        assert_eq!(
            found(&ca, &ca, &leaf(from, until), &[&ca]),
            kinds,
            "{from} to {until}"
        );
    }
}

#[test]
fn a_certificate_is_named_by_whose_it_is_and_who_signed_it() {
    let (ca, namesake) = (citadel(), citadel());
    let other = Authority::self_signed(&CaSpec::new([("CN", "other")], now())).unwrap();
    let of_cart = LeafSpec::workload(&SpiffeId::new("cluster.local", "shop", "cart"), now());
    assert_eq!(found(&ca, &ca, &of_cart, &[&ca]), ["wrong-identity"]);
    let mine = leaf(0, 24);
    assert_eq!(
        found(&ca, &other, &mine, &[&ca, &other]),
        ["unnamed-signer", "third-root", "spare-root"]
    );
    assert_eq!(
        found(&ca, &ca, &mine, &[&ca, &namesake]),
        ["third-root"],
        "by its name it is the old one"
    );
    assert_eq!(found(&ca, &namesake, &mine, &[&ca]), ["bad-signature"]);
}

#[test]
fn a_root_in_use_that_ends_within_a_month_is_named() {
    let spec = |days: i64| CaSpec::istio("cluster.local", now()).valid(hours(-1), hours(24 * days));
    let ending = |days: i64| Authority::self_signed(&spec(days)).unwrap();
    let (soon, later) = (ending(29), ending(31));
    let mine = leaf(0, 24);
    assert_eq!(found(&soon, &soon, &mine, &[&soon]), ["ca-expires"]);
    assert!(found(&later, &later, &mine, &[&later]).is_empty());
}

#[test]
fn a_pair_that_is_not_known_is_named_unless_a_proxy_of_it_is() {
    let view = view(Vec::new(), Vec::new());
    let pair = |talk: Talk| Failing {
        client: "shop/web".into(),
        server: "pay/api".into(),
        talk,
    };
    let matrix = |failing: Vec<Failing>| Matrix {
        classes: Vec::new(),
        cells: Vec::new(),
        failing,
        pairs: 1,
    };
    let unknown = of(
        &view,
        &matrix(vec![pair(Talk::Unknown("opaque".into()))]),
        &[],
        &[],
    );
    let unknown = unknown.iter().find(|e| e.kind == "pair-unknown").unwrap();
    assert_eq!(unknown.severity, Severity::Unknown);
    assert_eq!(
        unknown.next,
        "ask for one of them: rootshift why shop/web pay/api"
    );
    let none = of(&view, &matrix(Vec::new()), &[], &[]);
    assert_eq!(
        none.iter().map(|e| e.kind).collect::<Vec<_>>(),
        ["no-proxies"]
    );
}

#[test]
fn one_pair_of_each_cause_comes_first() {
    let view = view(Vec::new(), Vec::new());
    let no = |client: &str, cause: &str| Failing {
        client: client.into(),
        server: "pay/api".into(),
        talk: Talk::No {
            side: Side::Client,
            cause: cause.into(),
        },
    };
    let matrix = Matrix {
        classes: Vec::new(),
        cells: Vec::new(),
        failing: vec![no("a/a", "x"), no("b/b", "x"), no("c/c", "y")],
        pairs: 3,
    };
    let found = of(&view, &matrix, &[], &[]);
    let items = &found.iter().find(|e| e.kind == "no-trust").unwrap().items;
    let clients: Vec<&str> = items.iter().map(|i| &i[..3]).collect();
    assert_eq!(clients, ["a/a", "c/c", "b/b"]);
}
