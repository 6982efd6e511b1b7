//! DER into the facts that the room needs; the one place that reads extensions.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::cert::{CertError, KeyKind};
use super::fingerprint::{Fingerprint, hex};
use super::name;

/// Everything that is known of a certificate.
pub(super) struct Parsed {
    pub(super) der: Vec<u8>,
    pub(super) sha256: Fingerprint,
    pub(super) spki: Vec<u8>,
    pub(super) spki_sha256: Fingerprint,
    pub(super) subject: String,
    pub(super) subject_raw: Vec<u8>,
    pub(super) issuer: String,
    pub(super) issuer_raw: Vec<u8>,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) ca: bool,
    pub(super) path_len: Option<u32>,
    pub(super) usages: Option<KeyUsages>,
    pub(super) purposes: Option<Purposes>,
    pub(super) uris: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) key_kind: KeyKind,
    pub(super) ski: Option<Vec<u8>>,
    pub(super) aki: Option<Vec<u8>>,
    /// An extension that decides validity and that this room cannot evaluate.
    pub(super) beyond_us: Option<String>,
}

/// The key usages that matter here.
#[derive(Clone, Copy)]
pub(super) struct KeyUsages {
    pub(super) cert_sign: bool,
    pub(super) digital_signature: bool,
}

/// The extended key usages that matter here. `anyExtendedKeyUsage` counts for neither, as in
/// BoringSSL and webpki.
#[derive(Clone, Copy)]
pub(super) struct Purposes {
    pub(super) client: bool,
    pub(super) server: bool,
}

pub(super) fn parse(der: Vec<u8>) -> Result<Parsed, CertError> {
    let fail = |reason: String| CertError::Der { reason };
    let (rest, cert) = X509Certificate::from_der(&der).map_err(|error| fail(describe(&error)))?;
    if !rest.is_empty() {
        return Err(fail(format!("{} bytes follow the certificate", rest.len())));
    }
    let tbs = &cert.tbs_certificate;
    let mut parsed = Parsed {
        sha256: Fingerprint::of(&der),
        spki: tbs.subject_pki.raw.to_vec(),
        spki_sha256: Fingerprint::of(tbs.subject_pki.raw),
        subject: name::rfc4514(tbs.subject()),
        subject_raw: tbs.subject().as_raw().to_vec(),
        issuer: name::rfc4514(tbs.issuer()),
        issuer_raw: tbs.issuer().as_raw().to_vec(),
        serial: serial(cert.raw_serial()),
        not_before: timestamp(tbs.validity().not_before),
        not_after: timestamp(tbs.validity().not_after),
        ca: false,
        path_len: None,
        usages: None,
        purposes: None,
        uris: Vec::new(),
        dns_names: Vec::new(),
        key_kind: key_kind(tbs.public_key()),
        ski: None,
        aki: None,
        beyond_us: None,
        der: Vec::new(),
    };
    let mut seen: Vec<&Oid<'_>> = Vec::new();
    for extension in tbs.extensions() {
        // RFC 5280, section 4.2: at most one of each. A second one could contradict the first.
        if seen.contains(&&extension.oid) {
            return Err(fail(format!("extension {} occurs twice", extension.oid)));
        }
        seen.push(&extension.oid);
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                parsed.aki = aki.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::BasicConstraints(basic) => {
                parsed.ca = basic.ca;
                parsed.path_len = basic.path_len_constraint;
            }
            ParsedExtension::ExtendedKeyUsage(eku) => {
                parsed.purposes = Some(Purposes {
                    client: eku.client_auth,
                    server: eku.server_auth,
                });
            }
            ParsedExtension::KeyUsage(usage) => {
                parsed.usages = Some(KeyUsages {
                    cert_sign: usage.key_cert_sign(),
                    digital_signature: usage.digital_signature(),
                });
            }
            ParsedExtension::NameConstraints(_) => {
                parsed.beyond_us = Some("name constraints".to_owned());
            }
            ParsedExtension::ParseError { error } => {
                return Err(fail(format!("extension {}: {error}", extension.oid)));
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                for name in &san.general_names {
                    match name {
                        GeneralName::DNSName(dns) => parsed.dns_names.push((*dns).to_owned()),
                        GeneralName::URI(uri) => parsed.uris.push((*uri).to_owned()),
                        _ => {}
                    }
                }
            }
            ParsedExtension::SubjectKeyIdentifier(ski) => parsed.ski = Some(ski.0.to_vec()),
            // Policies say nothing unless a verifier asks for one, which nobody here does.
            ParsedExtension::CertificatePolicies(_) => {}
            _ if extension.critical => {
                parsed.beyond_us = Some(format!("critical extension {}", extension.oid));
            }
            _ => {}
        }
    }
    parsed.der = der;
    Ok(parsed)
}

fn describe(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    if ["Incomplete", "requires", "Eof"]
        .iter()
        .any(|word| text.contains(word))
    {
        "the DER is cut short".to_owned()
    } else {
        format!("the DER is damaged ({text})")
    }
}

/// Istio prints `%032x` of the number. A negative one, which RFC 5280 forbids and old CAs made,
/// keeps its sign.
fn serial(raw: &[u8]) -> String {
    let negative = raw.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = raw.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (value, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = value;
            carry = overflow;
        }
    }
    let digits = hex(&magnitude);
    let digits = digits.trim_start_matches('0');
    if negative {
        format!("-{digits:0>31}")
    } else {
        format!("{digits:0>32}")
    }
}

/// RFC 5280 writes "no expiry" as the end of the year 9999, a little after the last instant that
/// a `Timestamp` can hold.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn key_kind(spki: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    let algorithm = spki.algorithm.algorithm.to_id_string();
    match (algorithm.as_str(), spki.parsed()) {
        ("1.2.840.10045.2.1", _) => KeyKind::Ecdsa(curve(spki)),
        ("1.3.101.112", _) => KeyKind::Ed25519,
        (_, Ok(PublicKey::RSA(rsa))) => KeyKind::Rsa(modulus_bits(rsa.modulus)),
        _ => KeyKind::Other(algorithm),
    }
}

fn curve(spki: &SubjectPublicKeyInfo<'_>) -> String {
    let oid = spki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    match oid.map(|oid| oid.to_id_string()).as_deref() {
        Some("1.2.840.10045.3.1.7") => "P-256".to_owned(),
        Some("1.3.132.0.34") => "P-384".to_owned(),
        Some("1.3.132.0.35") => "P-521".to_owned(),
        Some(other) => other.to_owned(),
        None => "without a named curve".to_owned(),
    }
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = modulus
        .iter()
        .position(|byte| *byte != 0)
        .map_or(&[][..], |i| &modulus[i..]);
    match significant.first() {
        Some(first) => significant.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_shown_as_istio_shows_them() {
        assert_eq!(serial(&[0x0a]), format!("{}a", "0".repeat(31)));
        assert_eq!(
            serial(&[0x00, 0xff, 0x01]),
            format!("{}ff01", "0".repeat(28))
        );
        let twenty: Vec<u8> = (1..=20).collect();
        assert_eq!(serial(&twenty), "102030405060708090a0b0c0d0e0f1011121314");
        assert_eq!(serial(&[0xff]), format!("-{}1", "0".repeat(30)));
        assert_eq!(serial(&[0x80, 0x00]), format!("-{}8000", "0".repeat(27)));
    }

    #[test]
    fn sizes_of_rsa_keys_count_significant_bits() {
        assert_eq!(modulus_bits(&[0, 0x80, 0]), 16);
        assert_eq!(modulus_bits(&[0x01, 0]), 9);
        assert_eq!(modulus_bits(&[]), 0);
    }
}
