//! Dumps of real proxies are judged as OpenSSL judges them, and real pods are seen for what they are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use rootshift::cluster::Object;
use rootshift::mesh::dump;
use rootshift::mesh::matchers::{self, Accepts, Inbound};
use rootshift::mesh::pods::{self, PodClass, ProxyKind, ProxyPod, Workload};
use rootshift::mesh::read::{ProxyReading, Source};
use rootshift::mesh::verdict::{Expiry, Verdict};
use rootshift::pki::{Bundle, Cert, NamedCa, Signer, SpiffeId};
use serde_json::Value;

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

fn cas() -> Vec<NamedCa> {
    [
        ("CITADEL", "real/citadel-root.crt"),
        ("MESHCA", "real/meshroot.crt"),
    ]
    .map(|(name, file)| {
        NamedCa::new(
            name,
            Bundle::from_certs([Cert::from_pem(&text(file)).unwrap()]),
        )
    })
    .into()
}

/// An hour after the dumps were taken.
fn then() -> Timestamp {
    "2026-11-23T05:00:00Z".parse().unwrap()
}

fn reading(file: &str, service_account: &str) -> ProxyReading {
    ProxyReading {
        source: Source::Itself,
        pod: ProxyPod {
            restarts: 0,
            started: None,
            addresses: Vec::new(),
            namespace: "pay".into(),
            name: "pod".into(),
            uid: "1".into(),
            kind: ProxyKind::Sidecar,
            workload: Workload {
                kind: "Deployment".into(),
                namespace: "pay".into(),
                name: "w".into(),
            },
            service_account: service_account.into(),
            revision: None,
            admin_port: 15000,
            labels: std::collections::BTreeMap::new(),
            ready: true,
            file_mounted: false,
            cluster: None,
        },
        secrets: dump::secrets(&json(file)),
        matchers: Err("not in this dump".into()),
    }
}

/// The names that the verdicts were written with, by CA.
fn ca_of(name: &str) -> &'static str {
    match name {
        "O = cluster.local" => "CITADEL",
        "O = Lab Mesh CA, CN = istio_v1_cloud_workload_root-signer-lab"
        | "O = Lab Mesh CA, CN = lab mesh issuing ca" => "MESHCA",
        other => panic!("no CA is called `{other}`"),
    }
}

#[test]
fn each_dump_of_a_real_proxy_gets_the_verdict_that_openssl_gave() {
    let mut judged = 0;
    for line in text("real/verdicts.txt").lines() {
        let (file, rest) = line.split_once("  leaf signed by [").unwrap();
        let (signer, trusts) = rest.split_once("]  trusts [").unwrap();
        let mut wanted: Vec<&str> = trusts.split('\'').skip(1).step_by(2).map(ca_of).collect();
        wanted.sort_unstable();
        let account = file.split('-').nth(1).unwrap();

        let verdict = Verdict::of(&reading(&format!("real/{file}"), account), &cas(), then());
        let trusted: Vec<&str> = ["CITADEL", "MESHCA"]
            .into_iter()
            .filter(|ca| verdict.trusts(ca))
            .collect();
        assert_eq!(trusted, wanted, "{file}");
        assert!(
            matches!(&verdict.signer, Signer::By { ca, .. } if ca == ca_of(signer)),
            "{file}: {:?}",
            verdict.signer
        );
        assert_eq!(verdict.unknown(), None, "{file}");
        assert_eq!(
            verdict.identity.as_ref().unwrap().service_account,
            account,
            "{file}"
        );
        assert_eq!(verdict.expiry, Some(Expiry::Ok), "{file}");
        judged += 1;
    }
    assert_eq!(judged, 6);
}

/// One proxy of each kind at each stage of a migration, of a self-signed and of a plugged-in CA
/// (`tests/lab/fixtures.sh`).
#[test]
fn each_stage_of_a_real_migration_gets_the_verdicts_that_openssl_gave() {
    let mut judged = 0;
    for ca in ["self-signed", "plug-in"] {
        let cas = ["CITADEL", "MESHCA"].map(|name| {
            let root = Cert::from_pem(&text(&format!("lab/{ca}/{name}.pem"))).unwrap();
            NamedCa::new(name, Bundle::from_certs([root]))
        });
        let said = json(&format!("lab/{ca}/verdicts.json"));
        let at: Timestamp = said["taken_at"].as_str().unwrap().parse().unwrap();
        for (file, wanted) in said["dumps"].as_object().unwrap() {
            let (_, rest) = file.trim_end_matches(".json").split_once('-').unwrap();
            let namespace = ["istio-system", "pay", "shop"]
                .into_iter()
                .find(|ns| rest.starts_with(ns))
                .unwrap();
            let mut reading = reading(&format!("lab/{ca}/{file}"), &rest[namespace.len() + 1..]);
            namespace.clone_into(&mut reading.pod.namespace);
            let verdict = Verdict::of(&reading, &cas, at);
            let roots: BTreeSet<String> = verdict
                .roots
                .as_ref()
                .unwrap()
                .iter()
                .map(|(fingerprint, _)| fingerprint.to_string())
                .collect();
            let trusts = wanted["trusts"].as_array().unwrap().iter();
            let trusts: BTreeSet<String> = trusts.map(|t| t.as_str().unwrap().to_owned()).collect();
            assert_eq!(roots, trusts, "{ca}/{file}");
            assert!(
                matches!(&verdict.signer, Signer::By { ca, .. } if *ca == wanted["signer"]),
                "{ca}/{file}: {:?}",
                verdict.signer
            );
            let identity = verdict.identity.as_ref().unwrap();
            assert_eq!(identity.trust_domain, wanted["trust_domain"], "{ca}/{file}");
            assert_eq!(verdict.unknown(), None, "{ca}/{file}");
            judged += 1;
        }
    }
    assert_eq!(judged, 22);
}

#[test]
fn the_same_dumps_are_judged_by_time() {
    let late: Timestamp = "2026-11-25T05:00:00Z".parse().unwrap();
    let verdict = Verdict::of(
        &reading("real/pay-sleep-meshca-only.json", "sleep"),
        &cas(),
        late,
    );
    assert_eq!(verdict.expiry, Some(Expiry::Expired));
}

#[test]
fn a_certificate_of_another_service_account_is_no_identity() {
    let verdict = Verdict::of(
        &reading("real/pay-sleep-meshca-only.json", "httpbin"),
        &cas(),
        then(),
    );
    let reason = verdict.identity.unwrap_err();
    assert!(
        reason.contains("spiffe://cluster.local/ns/pay/sa/sleep"),
        "{reason}"
    );
}

#[test]
fn a_whole_dump_of_a_real_proxy_tells_whom_it_accepts() {
    let whole = json("real/full-native-meshca-distribute.json");
    let matchers = matchers::matchers(&[&whole]).unwrap();
    let id = |domain: &str| SpiffeId::new(domain, "pay", "httpbin");
    assert!(matches!(matchers.inbound, Inbound::Names(_)));
    assert_eq!(matchers.inbound.accepts(&id("cluster.local")), Accepts::Yes);
    assert_eq!(
        matchers.inbound.accepts(&id("lab.svc.id.goog")),
        Accepts::No("spiffe://cluster.local/*".into())
    );
    // The prefix ends with a slash: a domain that merely begins alike is another one.
    assert!(matches!(
        matchers.inbound.accepts(&id("cluster.localhost")),
        Accepts::No(_)
    ));
    assert_eq!(
        matchers.outbound.accepts(&id("cluster.local")),
        Accepts::Yes
    );
    assert_eq!(
        matchers.outbound.accepts(&id("lab.svc.id.goog")),
        Accepts::No("spiffe://cluster.local/ns/pay/sa/httpbin".into())
    );
    assert!(dump::secrets(&whole).unwrap().trust.is_ok());
}

#[test]
fn a_dump_without_listeners_is_unknown_and_not_permissive() {
    let secrets_only = json("real/pay-sleep-meshca-only.json");
    assert_eq!(
        matchers::matchers(&[&secrets_only]).unwrap_err(),
        "the dump shows no listeners"
    );
}

#[test]
fn pods_of_the_real_injector_are_told_apart() {
    for (file, kind) in [
        ("injected-pod-classic.yaml", ProxyKind::Sidecar),
        ("injected-pod-native.yaml", ProxyKind::NativeSidecar),
        ("injected-pod-gateway.yaml", ProxyKind::Gateway),
    ] {
        let list: Value = serde_saphyr::from_str(&text(&format!("real/{file}"))).unwrap();
        let pod = list["items"].get(0).cloned().unwrap_or(list);
        let PodClass::Proxy(proxy) = pods::classify(&Object::new(pod)) else {
            panic!("{file}: no proxy")
        };
        assert_eq!(proxy.kind, kind, "{file}");
        assert!(proxy.ready, "{file}");
        assert_eq!(proxy.admin_port, 15000, "{file}");
        assert_eq!(proxy.workload.kind, "Deployment", "{file}");
        assert!(proxy.revision.is_some(), "{file}");
    }
}
