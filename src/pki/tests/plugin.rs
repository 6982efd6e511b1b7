//! What asmcli lets pass of a plug-in CA, and whatever else would break a mesh.

use super::*;
use crate::pki::mint::{KeySpec, Oddity};
use secrecy::ExposeSecret as _;

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn sub_spec() -> CaSpec {
    CaSpec::new([("O", "cluster.local"), ("CN", "plug-in")], now()).path_len(0)
}

fn deep_spec() -> CaSpec {
    CaSpec::new([("O", "cluster.local"), ("CN", "deep")], now())
}

fn input(certs: &[&Cert], name: &str) -> PluginInput {
    let text: String = certs.iter().map(|cert| cert.pem()).collect();
    let file = PluginFile {
        name: name.to_owned(),
        mode: Some(0o644),
    };
    PluginInput::read(text.as_bytes(), Some(file))
}

/// As it should be: an intermediate of the root in use.
fn sound(root: &Authority, sub: &Authority) -> PluginCa {
    PluginCa {
        ca_cert: input(&[sub.cert()], "ca-cert.pem"),
        ca_key: PrivateKey::from_pem(sub.key_pem().expose_secret()),
        ca_key_file: Some(PluginFile {
            name: "ca-key.pem".to_owned(),
            mode: Some(0o600),
        }),
        root_cert: input(&[root.cert()], "root-cert.pem"),
        cert_chain: input(&[sub.cert(), root.cert()], "cert-chain.pem"),
        in_use: Some(bundle(&[root.cert()])),
        horizon: HORIZON,
    }
}

fn codes(ca: &PluginCa) -> Vec<(Severity, &'static str, &'static str)> {
    let found = check_plugin_ca(ca, now());
    found.iter().map(|f| (f.severity, f.code, f.part)).collect()
}

fn with_sub(spec: &CaSpec) -> (Authority, Authority) {
    let root = citadel();
    let sub = root.intermediate(spec).unwrap();
    (root, sub)
}

use Severity::{Error, Unknown, Warning};

#[test]
fn a_sound_ca_has_no_findings() {
    let (root, sub) = with_sub(&sub_spec());
    assert_eq!(codes(&sound(&root, &sub)), []);
    // And its chain may leave the root out.
    let mut ca = sound(&root, &sub);
    ca.cert_chain = input(&[sub.cert()], "cert-chain.pem");
    assert_eq!(codes(&ca), []);
}

#[test]
fn a_certificate_that_is_no_ca_is_an_error() {
    let (root, sub) = with_sub(&sub_spec().odd(Oddity::NotACa));
    let found = codes(&sound(&root, &sub));
    assert!(found.contains(&(Error, "not_a_ca", "ca_cert")), "{found:?}");
}

#[test]
fn usages_that_forbid_signing_or_tls_are_errors() {
    let (root, sub) = with_sub(&sub_spec().odd(Oddity::NoCertSign));
    assert!(codes(&sound(&root, &sub)).contains(&(Error, "key_usage", "ca_cert")));
    let (root, sub) = with_sub(&sub_spec().odd(Oddity::ServerOnly));
    assert!(codes(&sound(&root, &sub)).contains(&(Error, "extended_key_usage", "ca_cert")));
}

#[test]
fn one_day_left_is_an_error_and_the_horizon_can_be_said() {
    let spec = sub_spec().valid(now() - days(1), now() + days(1));
    let (root, sub) = with_sub(&spec);
    let mut ca = sound(&root, &sub);
    let found = check_plugin_ca(&ca, now());
    assert_eq!((found[0].code, found[0].part), ("expires_soon", "ca_cert"));
    assert!(
        found[0].message.contains("before the horizon of 30d"),
        "{}",
        found[0].message
    );
    ca.horizon = hours(12);
    assert_eq!(codes(&ca), []);
    let (root, sub) = with_sub(&sub_spec().valid(now() - days(9), now() - days(1)));
    assert!(codes(&sound(&root, &sub)).contains(&(Error, "expired", "ca_cert")));
}

#[test]
fn the_key_has_to_be_the_certificates_whatever_its_kind() {
    for kind in [
        KeySpec::P256,
        KeySpec::P384,
        KeySpec::Rsa2048,
        KeySpec::Ed25519,
    ] {
        let (root, sub) = with_sub(&sub_spec().key(kind));
        assert_eq!(codes(&sound(&root, &sub)), [], "{kind:?}");
        let mut ca = sound(&root, &sub);
        ca.ca_key = PrivateKey::from_pem(root.key_pem().expose_secret());
        assert_eq!(codes(&ca), [(Error, "key_mismatch", "ca_key")], "{kind:?}");
    }
    let (root, sub) = with_sub(&sub_spec());
    let mut ca = sound(&root, &sub);
    ca.ca_key = PrivateKey::from_pem(data!("keys/encrypted-pkcs8.key"));
    assert_eq!(codes(&ca), [(Error, "key_unreadable", "ca_key")]);
    ca.ca_key = PrivateKey::from_pem(data!("keys/p521-pkcs8.key"));
    assert_eq!(codes(&ca), [(Unknown, "key_unsupported", "ca_key")]);
}

#[test]
fn garbage_beside_the_certificates_is_an_error() {
    let (root, sub) = with_sub(&sub_spec());
    let mut ca = sound(&root, &sub);
    let text = root.cert().pem() + "-----BEGIN CERTIFICATE-----\nAAAA";
    ca.root_cert = PluginInput::read(text.as_bytes(), None);
    assert_eq!(codes(&ca), [(Error, "unreadable", "root_cert")]);
    ca.root_cert = PluginInput::default();
    assert!(codes(&ca).contains(&(Error, "empty", "root_cert")));
}

#[test]
fn a_chain_without_the_intermediate_or_upside_down_is_an_error() {
    let (root, sub) = with_sub(&sub_spec());
    let mut ca = sound(&root, &sub);
    ca.cert_chain = input(&[root.cert()], "cert-chain.pem");
    assert_eq!(codes(&ca), [(Error, "chain_incomplete", "cert_chain")]);
    ca.cert_chain = input(&[root.cert(), sub.cert()], "cert-chain.pem");
    let found = codes(&ca);
    assert!(found.iter().all(|f| f.1 == "chain_order"), "{found:?}");
    assert_eq!(found.len(), 2);

    let deep = sub.intermediate(&deep_spec()).unwrap();
    let mut ca = sound(&root, &deep);
    ca.cert_chain = input(&[deep.cert(), root.cert()], "cert-chain.pem");
    let found = codes(&ca);
    assert!(
        found.contains(&(Error, "chain_to_root", "cert_chain")),
        "{found:?}"
    );
}

#[test]
fn more_cas_than_the_path_length_allows_are_an_error() {
    let (root, sub) = with_sub(&sub_spec());
    let deep = sub.intermediate(&deep_spec()).unwrap();
    let mut ca = sound(&root, &deep);
    ca.cert_chain = input(&[deep.cert(), sub.cert(), root.cert()], "cert-chain.pem");
    let found = check_plugin_ca(&ca, now());
    assert_eq!(found[0].code, "chain_to_root");
    assert!(
        found[0].message.contains("allows 0 CAs below it"),
        "{}",
        found[0].message
    );
}

/// asmcli takes any root, and phase 1 then changes the mesh's CA without a word.
#[test]
fn another_root_than_the_one_in_use_is_an_error() {
    let (root, sub) = with_sub(&sub_spec());
    let mut ca = sound(&root, &sub);
    let old = citadel();
    ca.in_use = Some(bundle(&[old.cert()]));
    let found = check_plugin_ca(&ca, now());
    let codes: Vec<&str> = found.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["chain_to_root_in_use", "wrong_root"]);
    assert!(
        found[1].message.contains("has its name, but another key"),
        "{}",
        found[1].message
    );
    // Nobody may say that it is the same without having looked.
    ca.in_use = None;
    let found = check_plugin_ca(&ca, now());
    assert_eq!((found[0].severity, found[0].code), (Unknown, "root_in_use"));
    ca.in_use = Some(Bundle::default());
    assert_eq!(super::plugin::codes(&ca), []);
    // Both roots: nothing is lost, and it is said.
    ca.in_use = Some(bundle(&[old.cert()]));
    ca.root_cert = input(&[root.cert(), old.cert()], "root-cert.pem");
    let found = super::plugin::codes(&ca);
    assert!(
        found.contains(&(Error, "chain_to_root_in_use", "ca_cert")),
        "{found:?}"
    );
    assert!(
        found.contains(&(Warning, "additional_root", "root_cert")),
        "{found:?}"
    );
}

#[test]
fn a_root_that_signs_itself_and_mesh_cas_root_are_named() {
    let root = citadel();
    let mut ca = sound(&root, &root);
    ca.cert_chain = input(&[root.cert()], "cert-chain.pem");
    assert_eq!(codes(&ca), [(Warning, "root_signs", "ca_cert")]);
    let (root, sub) = with_sub(&sub_spec());
    let mesh = Cert::from_pem(meshca::ROOT_PEM).unwrap();
    let mut ca = sound(&root, &sub);
    ca.root_cert = input(&[root.cert(), &mesh], "root-cert.pem");
    assert!(codes(&ca).contains(&(Error, "mesh_ca_root", "root_cert")));
}

#[test]
fn names_and_modes_of_files_count() {
    let (root, sub) = with_sub(&sub_spec());
    let mut ca = sound(&root, &sub);
    ca.ca_cert = input(&[sub.cert()], "intermediate.crt");
    let found = check_plugin_ca(&ca, now());
    assert_eq!(found[0].code, "file_name");
    assert!(
        found[0].message.contains("looks for `ca-cert.pem`"),
        "{}",
        found[0].message
    );
    let mut ca = sound(&root, &sub);
    ca.ca_key_file = Some(PluginFile {
        name: "ca-key.pem".to_owned(),
        mode: Some(0o640),
    });
    let found = check_plugin_ca(&ca, now());
    assert_eq!(found[0].code, "key_permissions");
    assert!(found[0].message.contains("0640"), "{}", found[0].message);
}

#[test]
fn weak_keys_and_signatures_are_errors() {
    let chain = chain(data!("algorithms/rsa-sha1.pem"));
    let mut ca = sound(&citadel(), &citadel());
    ca.cert_chain = PluginInput {
        certs: chain,
        ..PluginInput::default()
    };
    let found = codes(&ca);
    assert!(
        found.contains(&(Error, "weak_signature", "cert_chain")),
        "{found:?}"
    );
    let (certs, _) = certs_from_pem(data!("algorithms/rsa1024-sha256.pem"));
    ca.root_cert.certs = vec![certs[1].clone()];
    assert!(codes(&ca).contains(&(Error, "weak_key", "root_cert")));
}
