//! Certificates as the rest of the world sees them.
//!
//! What is minted, and what is judged, is shown to the `openssl` command line, whose verification is
//! the nearest relative of Envoy's. That needs `openssl` on the PATH, so these run on request:
//! `cargo test --test integration pki -- --ignored`.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use rootshift::pki::mint::{Authority, CaSpec, LeafSpec};
use rootshift::pki::{Bundle, Cert, PathError, SpiffeId, Usage, accepts};

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

fn openssl(args: &[&str], input: &str) -> (bool, String) {
    use std::io::Write;
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is on the PATH");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + String::from_utf8_lossy(&output.stderr).as_ref();
    (output.status.success(), text)
}

fn pem(certs: &[Cert]) -> String {
    certs.iter().map(Cert::pem).collect()
}

/// `openssl verify` with Envoy's flags.
fn openssl_verifies(dir: &Path, leaf: &Cert, chain: &[Cert], anchors: &Bundle) -> (bool, String) {
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let trusted = file("anchors.pem", anchors.pem());
    let presented = file("chain.pem", pem(chain));
    let leaf = file("leaf.pem", leaf.pem());
    let mut args = vec![
        "verify",
        "-partial_chain",
        "-no-CApath",
        "-no-CAstore",
        "-no-CAfile",
    ];
    // openssl takes an empty file for a mistake.
    if !anchors.is_empty() {
        args.extend(["-CAfile", &trusted]);
    }
    if !chain.is_empty() {
        args.extend(["-untrusted", &presented]);
    }
    args.extend(["-purpose", "sslclient", &leaf]);
    openssl(&args, "")
}

#[test]
#[ignore = "needs openssl"]
fn openssl_sees_istios_profile_in_what_is_minted() {
    let root = Authority::self_signed(&CaSpec::istio("cluster.local", now())).unwrap();
    let id = SpiffeId::new("cluster.local", "shop", "front");
    let (leaf, _) = root.issue(&LeafSpec::workload(&id, now())).unwrap();
    let show = |cert: &Cert| openssl(&["x509", "-noout", "-text"], &cert.pem()).1;
    let text = show(&leaf);
    for line in [
        "Issuer: O = cluster.local",
        "X509v3 Subject Alternative Name: critical\n                URI:spiffe://cluster.local/ns/shop/sa/front",
        "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Authority Key Identifier:",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("Subject Key Identifier"), "{text}");
    let text = show(root.cert());
    for line in [
        "Subject: O = cluster.local\n",
        "X509v3 Key Usage: critical\n                Certificate Sign\n",
        "X509v3 Basic Constraints: critical\n                CA:TRUE\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let fingerprint = openssl(&["x509", "-noout", "-fingerprint", "-sha256"], &leaf.pem()).1;
    let fingerprint = fingerprint.trim().rsplit('=').next().unwrap().parse();
    assert_eq!(fingerprint, Ok(leaf.sha256()));
    let serial = openssl(&["x509", "-noout", "-serial"], &leaf.pem()).1;
    assert_eq!(
        serial.trim().rsplit('=').next().unwrap().to_lowercase(),
        leaf.serial()
    );
}

/// Chains and bundles drawn from CAs that are easily confused.
#[test]
#[ignore = "needs openssl"]
fn openssl_accepts_what_accepts_accepts() {
    let (now, hours) = (now(), SignedDuration::from_hours);
    let istio = CaSpec::istio("cluster.local", now);
    let a = Authority::self_signed(&istio).unwrap();
    let b = Authority::self_signed(&istio).unwrap();
    let a_again = a.reissued(&istio).unwrap();
    let expired = istio.clone().valid(now - hours(9), now - hours(1));
    let a_expired = a.reissued(&expired).unwrap();
    let mesh = Authority::self_signed(&CaSpec::mesh_ca(now)).unwrap();
    let mesh_by_a = a.cross_sign(&mesh, &CaSpec::mesh_ca(now)).unwrap();
    let named = |name: &str| CaSpec::new([("CN", name)], now);
    let one = mesh.intermediate(&named("one")).unwrap();
    let namesake = b.intermediate(&named("one")).unwrap();
    let short = one.intermediate(&named("short").path_len(0)).unwrap();
    let deep = short.intermediate(&named("deep")).unwrap();
    let cas = [
        a, b, a_again, a_expired, mesh, mesh_by_a, one, namesake, short, deep,
    ];

    let dir = tempfile::tempdir().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut valid, mut unsure, mut differing) = (0, 0, Vec::new());
    let rounds = 1500;
    for _ in 0..rounds {
        let mut draw = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let issuer = &cas[usize::try_from(draw() % 10).unwrap()];
        let begin = if draw() % 5 == 0 {
            now - hours(30)
        } else {
            now - hours(1)
        };
        let id = SpiffeId::new("cluster.local", "shop", "front");
        let spec = LeafSpec::workload(&id, now).valid(begin, begin + hours(24));
        let (leaf, _) = issuer.issue(&spec).unwrap();
        let pick = |mask: u64| -> Vec<Cert> {
            let chosen = cas.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1);
            chosen.map(|(_, ca)| ca.cert().clone()).collect()
        };
        let chain = pick(draw() >> 7);
        let anchors: Bundle = pick(draw() >> 7).into_iter().collect();
        let presented: Vec<Cert> = [leaf.clone()].into_iter().chain(chain.clone()).collect();
        let ours = accepts(&anchors, &presented, Usage::Client, now);
        let (theirs, text) = openssl_verifies(dir.path(), &leaf, &chain, &anchors);
        valid += usize::from(theirs);
        let uncertain = matches!(ours, Err(PathError::Uncertain { .. }));
        unsure += usize::from(uncertain);
        if ours.is_ok() != theirs && !uncertain {
            differing.push(format!(
                "{chain:?} {anchors:?}\n  ours: {ours:?}\n  openssl: {text}"
            ));
        }
    }
    println!(
        "{rounds} rounds, {valid} valid, {unsure} uncertain, {} differing",
        differing.len()
    );
    assert!(differing.is_empty(), "the first: {}", differing[0]);
}
