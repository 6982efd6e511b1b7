//! What it costs to read and judge the secrets of 10,000 proxies, beside its peers, in one run.
//!
//! `cargo bench --bench secrets`. Two distinct bundles (the old root; both roots), 10,000 leaves of an RSA
//! root, each in a dump as Envoy gives it. Judged is what a check asks: which CAs does the proxy trust, who
//! signed its certificate, who is it, until when. The peers: `x509-parser` and `ring` doing no more than parsing
//! the leaf and checking its signature once, and the `openssl` command line as Google's script and runbooks use
//! it (on a sample; a process for each question).

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use jiff::Timestamp;
use rootshift::mesh::dump;
use rootshift::mesh::pods::{ProxyKind, ProxyPod, Workload};
use rootshift::mesh::read::{ProxyReading, Source};
use rootshift::mesh::verdict::Verdict;
use rootshift::pki::mint::{Authority, CaSpec, KeySpec, LeafSpec};
use rootshift::pki::{Bundle, CertCache, NamedCa, SpiffeId};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const PROXIES: usize = 10_000;
const SAMPLE: usize = 100;

struct Proxy {
    leaf: Vec<u8>,
    chain: String,
    bundle: String,
    dump: String,
}

fn main() {
    let now = Timestamp::now();
    let root = Authority::self_signed(&CaSpec::istio("cluster.local", now).key(KeySpec::Rsa2048));
    let root = root.unwrap();
    let mesh = Authority::self_signed(&CaSpec::mesh_ca(now)).unwrap();
    let of = |ca: &Authority| Bundle::from_certs([ca.cert().clone()]);
    let cas = [
        NamedCa::new("CITADEL", of(&root)),
        NamedCa::new("MESHCA", of(&mesh)),
    ];
    let bundles = [of(&root).pem(), of(&root).union(&of(&mesh)).pem()];
    let proxies: Vec<Proxy> = (0..PROXIES)
        .map(|number| proxy(&root, &bundles[number % 2], now))
        .collect();

    println!("{PROXIES} proxies, per proxy:\n");
    let floor = time(
        "parse the leaf, check its signature (x509-parser, ring)",
        PROXIES,
        None,
        || {
            let (_, issuer) = X509Certificate::from_der(root.cert().der()).unwrap();
            for proxy in &proxies {
                let (_, leaf) = X509Certificate::from_der(&proxy.leaf).unwrap();
                leaf.verify_signature(Some(issuer.public_key())).unwrap();
            }
        },
    );
    time(
        "parse the dump as JSON (serde_json)",
        PROXIES,
        Some(floor),
        || {
            for proxy in &proxies {
                serde_json::from_str::<Value>(&proxy.dump).unwrap();
            }
        },
    );
    let judge = |cache: Option<&CertCache>| {
        for (number, proxy) in proxies.iter().enumerate() {
            let dump: Value = serde_json::from_str(&proxy.dump).unwrap();
            let secrets = match cache {
                Some(cache) => dump::secrets_with(&dump, cache),
                None => dump::secrets(&dump),
            };
            let reading = ProxyReading {
                pod: pod(),
                source: Source::Itself,
                secrets,
                matchers: Err(String::new()),
            };
            let verdict = Verdict::of(&reading, &cas, now);
            assert!(verdict.trusts("CITADEL") && verdict.identity.is_ok());
            assert_eq!(verdict.trusts("MESHCA"), number % 2 == 1);
        }
    };
    time("read and judge the dump", PROXIES, Some(floor), || {
        judge(Some(&CertCache::default()));
    });
    time(
        "the same, parsing everything anew",
        PROXIES,
        Some(floor),
        || judge(None),
    );
    time(
        "openssl x509 and openssl verify, a process each",
        SAMPLE,
        Some(floor),
        || {
            for proxy in &proxies[..SAMPLE] {
                openssl(proxy);
            }
        },
    );
}

fn proxy(root: &Authority, bundle: &str, now: Timestamp) -> Proxy {
    let id = SpiffeId::new("cluster.local", "shop", "front");
    let (leaf, _) = root.issue(&LeafSpec::workload(&id, now)).unwrap();
    let chain = leaf.pem() + bundle;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    let dump = json!({"configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
        "dynamic_active_secrets": [
            {"name": "default", "last_updated": "2026-11-27T01:32:52.262Z", "secret": {"@type": secret, "name": "default",
                "tls_certificate": {"certificate_chain": {"inline_bytes": base64(&chain)}, "private_key": {"inline_bytes": "W3JlZGFjdGVkXQ=="}}}},
            {"name": "ROOTCA", "last_updated": "2026-11-27T01:32:52.262Z", "secret": {"@type": secret, "name": "ROOTCA",
                "validation_context": {"trusted_ca": {"inline_bytes": base64(bundle)}}}},
        ],
    }]});
    Proxy {
        leaf: leaf.der().to_vec(),
        chain,
        bundle: bundle.to_owned(),
        dump: dump.to_string(),
    }
}

fn pod() -> ProxyPod {
    ProxyPod {
        restarts: 0,
        started: None,
        addresses: Vec::new(),
        namespace: "shop".into(),
        name: "front-1".into(),
        uid: "1".into(),
        kind: ProxyKind::Sidecar,
        workload: Workload {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "front".into(),
        },
        service_account: "front".into(),
        revision: None,
        admin_port: 15000,
        labels: std::collections::BTreeMap::new(),
        ready: true,
        file_mounted: false,
        cluster: None,
    }
}

/// What a person types to see the same of one proxy.
fn openssl(proxy: &Proxy) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (chain, bundle) = (file("chain", &proxy.chain), file("bundle", &proxy.bundle));
    for args in [
        &["x509", "-noout", "-text", "-in", &chain][..],
        &[
            "verify",
            "-partial_chain",
            "-CAfile",
            &bundle,
            "-untrusted",
            &chain,
            &chain,
        ],
    ] {
        let mut command = Command::new("openssl");
        let status = command.args(args).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "{args:?}");
    }
}

/// The best of three rounds, in microseconds per proxy.
fn time(what: &str, count: usize, floor: Option<f64>, mut run: impl FnMut()) -> f64 {
    let best = (0..3)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    #[allow(clippy::cast_precision_loss)]
    let each = best / count as f64 * 1e6;
    let ratio = floor.map_or_else(String::new, |floor| format!("{:>8.2} x", each / floor));
    println!("{each:>10.1} µs {ratio:>10}  {what}");
    each
}
