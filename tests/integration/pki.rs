//! Certificates as the rest of the world sees them.
//!
//! What is minted is shown to `openssl`, and what is judged is judged by others too: by OpenSSL, by
//! `rustls-webpki`, and by two bare Envoys. The generator of [`cases`] makes what they all see; where
//! they differ, the difference is on a list with its reason.

mod cases;
mod differential;
#[cfg(target_os = "linux")]
mod envoy;
#[cfg(target_os = "linux")]
mod mutants;
mod openssl;
mod served;
mod shown;

use jiff::Timestamp;
use rootshift::pki::mint::{Authority, CaSpec, LeafSpec};
use rootshift::pki::{Cert, SpiffeId};

use openssl::openssl;

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

#[test]
fn openssl_sees_istios_profile_in_what_is_minted() {
    if !openssl::available() {
        return;
    }
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
