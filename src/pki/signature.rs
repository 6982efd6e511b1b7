//! Whether one certificate's key made the signature on another.
//!
//! Done with `ring` through `x509-parser`, so that path building does not rest on the same code
//! as the handshakes.

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use super::cert::{Cert, KeyKind};

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signature {
    /// The signature is of another key, or of other bytes.
    Bad,
    /// The issuer's key signed this certificate.
    Good,
    /// Cannot be told; the algorithm or key, in words.
    Unsupported(String),
}

const SHA1_WITH_RSA: [&str; 2] = ["1.2.840.113549.1.1.5", "1.3.14.3.2.29"];
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// Checks `cert`'s signature with `issuer`'s key. SHA-1 counts as unsupported: it proves nothing.
pub(super) fn check(cert: &Cert, issuer: &Cert) -> Signature {
    match issuer.key_kind() {
        // ring's lower bound; a smaller key would be reported as a bad signature.
        KeyKind::Rsa(bits) if !(2048..=8192).contains(&bits) => {
            return Signature::Unsupported(format!("RSA key of {bits} bits"));
        }
        KeyKind::Ecdsa(curve) if !matches!(curve.as_str(), "P-256" | "P-384") => {
            return Signature::Unsupported(format!("ECDSA key on curve {curve}"));
        }
        KeyKind::Other(oid) => return Signature::Unsupported(format!("key of type {oid}")),
        _ => {}
    }
    let (Ok((_, parsed)), Ok((_, spki))) = (
        X509Certificate::from_der(cert.der()),
        SubjectPublicKeyInfo::from_der(&issuer.parsed().spki),
    ) else {
        return Signature::Unsupported("unreadable certificate".to_owned());
    };
    if let Some(what) = beyond_ring(&parsed.signature_algorithm) {
        return Signature::Unsupported(what);
    }
    match parsed.verify_signature(Some(&spki)) {
        Ok(()) => Signature::Good,
        Err(X509Error::SignatureVerificationError) => Signature::Bad,
        Err(_) => Signature::Unsupported(format!(
            "signature algorithm {} with a {} key",
            parsed.signature_algorithm.algorithm,
            issuer.key_kind()
        )),
    }
}

/// The algorithm as people call it: `RSA with SHA-256`; its OID if it is none of the usual ones.
pub(super) fn algorithm_name(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "RSA with SHA-1",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        RSASSA_PSS => "RSA-PSS",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        _ => return oid,
    };
    name.to_owned()
}

/// What `ring` would take for a bad signature although it is only another variant.
fn beyond_ring(algorithm: &AlgorithmIdentifier<'_>) -> Option<String> {
    let oid = algorithm.algorithm.to_id_string();
    if SHA1_WITH_RSA.contains(&oid.as_str()) {
        return Some("signature algorithm SHA-1 with RSA".to_owned());
    }
    if oid != RSASSA_PSS {
        return None;
    }
    let unsupported = Some("RSA-PSS with unusual parameters".to_owned());
    let Some(parameters) = algorithm
        .parameters
        .as_ref()
        .and_then(|any| RsaSsaPssParams::try_from(any).ok())
    else {
        return unsupported;
    };
    let hash = parameters.hash_algorithm_oid().to_id_string();
    let digest_length = match hash.as_str() {
        "2.16.840.1.101.3.4.2.1" => 32,
        "2.16.840.1.101.3.4.2.2" => 48,
        "2.16.840.1.101.3.4.2.3" => 64,
        _ => return unsupported,
    };
    let mask_agrees = parameters
        .mask_gen_algorithm()
        .is_ok_and(|mask| mask.hash.to_id_string() == hash);
    if mask_agrees && parameters.salt_length() == digest_length {
        None
    } else {
        unsupported
    }
}
