//! DER into the facts that the room needs; the one place that knows what extensions mean.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use jiff::Timestamp;
use x509_parser::asn1_rs::{Class, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name, X509Version};

use super::cert::{CertError, KeyKind};
use super::der;
use super::fingerprint::{Fingerprint, hex};
use super::name;
use super::signature::{self, Signature};

/// Longer than a certificate may be: no peer can present it to Envoy, where BoringSSL takes no more for
/// a whole chain (`SSL_MAX_CERT_LIST_DEFAULT`). What is done with a certificate may then take the square
/// of its length, as its serial number in decimal does.
const MAX_LENGTH: usize = 100 << 10;

/// Everything that is known of a certificate.
pub(super) struct Parsed {
    pub(super) der: Vec<u8>,
    pub(super) sha256: Fingerprint,
    pub(super) spki: Vec<u8>,
    pub(super) spki_sha256: Fingerprint,
    pub(super) subject: String,
    pub(super) subject_raw: Vec<u8>,
    pub(super) subject_canonical: Vec<u8>,
    pub(super) issuer: String,
    pub(super) issuer_raw: Vec<u8>,
    pub(super) issuer_canonical: Vec<u8>,
    /// The content of the INTEGER: two's complement, big-endian.
    pub(super) serial: Vec<u8>,
    pub(super) signature_algorithm: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) ca: bool,
    pub(super) path_len: Option<u32>,
    pub(super) usages: Option<KeyUsages>,
    pub(super) purposes: Option<Purposes>,
    pub(super) uris: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) ip_addresses: Vec<IpAddr>,
    pub(super) email_addresses: Vec<String>,
    /// SANs of other kinds, as `KIND:VALUE`.
    pub(super) other_names: Vec<String>,
    pub(super) key_kind: KeyKind,
    pub(super) ski: Option<Vec<u8>>,
    pub(super) aki: Option<Vec<u8>>,
    /// The canonical name and the serial of the issuer's certificate, where the key identifier says them.
    pub(super) aki_issuer: Option<Vec<u8>>,
    pub(super) aki_serial: Option<Vec<u8>>,
    /// Whether its own key signed it; asked often of the same few roots.
    pub(super) self_signature: OnceLock<Signature>,
    /// An extension that decides validity and that this room cannot evaluate.
    pub(super) beyond_us: Option<String>,
}

/// The flags of a key usage extension, bit 0 being `digitalSignature` (RFC 5280, section 4.2.1.3).
#[derive(Clone, Copy)]
pub(super) struct KeyUsages(u16);

impl KeyUsages {
    const NAMES: [&'static str; 9] = [
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "dataEncipherment",
        "keyAgreement",
        "keyCertSign",
        "cRLSign",
        "encipherOnly",
        "decipherOnly",
    ];

    pub(super) fn cert_sign(self) -> bool {
        self.0 & 1 << 5 != 0
    }

    pub(super) fn digital_signature(self) -> bool {
        self.0 & 1 != 0
    }

    /// The names in the order of the bits.
    pub(super) fn names(self) -> Vec<&'static str> {
        let set = Self::NAMES.iter().enumerate();
        set.filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect()
    }
}

/// The extended key usages. `anyExtendedKeyUsage` counts for neither side of TLS, as in BoringSSL
/// and webpki.
#[derive(Clone)]
pub(super) struct Purposes {
    pub(super) client: bool,
    pub(super) server: bool,
    /// All of them by RFC 5280's names, or as OIDs.
    pub(super) names: Vec<String>,
}

pub(super) fn parse(der: Vec<u8>) -> Result<Parsed, CertError> {
    let fail = |reason: String| CertError::Der { reason };
    if der.len() > MAX_LENGTH {
        return Err(fail(format!(
            "{} bytes are more than the {MAX_LENGTH} that a certificate may have",
            der.len()
        )));
    }
    let (rest, cert) = X509Certificate::from_der(&der).map_err(|error| fail(describe(&error)))?;
    if !rest.is_empty() {
        return Err(fail(format!("{} bytes follow the certificate", rest.len())));
    }
    strict(&cert, &der).map_err(fail)?;
    let tbs = &cert.tbs_certificate;
    let mut parsed = Parsed {
        sha256: Fingerprint::of(&der),
        spki: tbs.subject_pki.raw.to_vec(),
        spki_sha256: Fingerprint::of(tbs.subject_pki.raw),
        subject: name::rfc4514(tbs.subject()),
        subject_raw: tbs.subject().as_raw().to_vec(),
        subject_canonical: name::canonical(tbs.subject()),
        issuer: name::rfc4514(tbs.issuer()),
        issuer_raw: tbs.issuer().as_raw().to_vec(),
        issuer_canonical: name::canonical(tbs.issuer()),
        serial: cert.raw_serial().to_vec(),
        signature_algorithm: signature::algorithm_name(&cert.signature_algorithm),
        not_before: timestamp(tbs.validity().not_before),
        not_after: timestamp(tbs.validity().not_after),
        ca: false,
        path_len: None,
        usages: None,
        purposes: None,
        uris: Vec::new(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        email_addresses: Vec::new(),
        other_names: Vec::new(),
        key_kind: key_kind(tbs.public_key()),
        ski: None,
        aki: None,
        aki_issuer: None,
        aki_serial: None,
        self_signature: OnceLock::new(),
        beyond_us: None,
        der: Vec::new(),
    };
    let mut seen: BTreeSet<&[u8]> = BTreeSet::new();
    for extension in tbs.extensions() {
        // RFC 5280, section 4.2: at most one of each. A second one could contradict the first.
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(fail(format!("extension {} occurs twice", extension.oid)));
        }
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                parsed.aki = aki.key_identifier.as_ref().map(|id| id.0.to_vec());
                parsed.aki_serial = aki.authority_cert_serial.map(<[u8]>::to_vec);
                let mut names = aki.authority_cert_issuer.iter().flatten();
                parsed.aki_issuer = names.find_map(|name| match name {
                    GeneralName::DirectoryName(name) => Some(name::canonical(name)),
                    _ => None,
                });
            }
            ParsedExtension::BasicConstraints(basic) => {
                parsed.ca = basic.ca;
                parsed.path_len = basic.path_len_constraint;
            }
            ParsedExtension::ExtendedKeyUsage(eku) => {
                parsed.purposes = Some(Purposes {
                    client: eku.client_auth,
                    server: eku.server_auth,
                    names: purposes(eku),
                });
            }
            ParsedExtension::KeyUsage(usage) => {
                parsed.usages = Some(KeyUsages(usage.flags));
            }
            ParsedExtension::NameConstraints(_) => {
                parsed.beyond_us = Some("name constraints".to_owned());
            }
            ParsedExtension::PolicyConstraints(_) | ParsedExtension::InhibitAnyPolicy(_) => {
                parsed.beyond_us = Some("policy constraints".to_owned());
            }
            // Envoy reads them although it asks for no policy, and some may not be.
            ParsedExtension::PolicyMappings(_) => {
                parsed.beyond_us = Some("policy mappings".to_owned());
            }
            ParsedExtension::CertificatePolicies(_) if !der::policies(extension.value) => {
                parsed.beyond_us = Some("unsound policies".to_owned());
            }
            ParsedExtension::ParseError { error } => {
                return Err(fail(format!("extension {}: {error}", extension.oid)));
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                for name in &san.general_names {
                    alternative_name(name, &mut parsed);
                }
            }
            ParsedExtension::SubjectKeyIdentifier(ski) => parsed.ski = Some(ski.0.to_vec()),
            _ => {}
        }
        if extension.critical && !may_be_critical(extension.parsed_extension()) {
            parsed.beyond_us = Some(format!("critical extension {}", extension.oid));
        }
    }
    if parsed.path_len.is_some() && !parsed.ca {
        return Err(fail("a path length without being a CA".to_owned()));
    }
    parsed.der = der;
    Ok(parsed)
}

/// What BoringSSL does not accept anywhere, and the parser lets pass.
fn strict(cert: &X509Certificate<'_>, der: &[u8]) -> Result<(), String> {
    let tbs = &cert.tbs_certificate;
    // RFC 5280, section 4.1.1.2.
    if tbs.signature != cert.signature_algorithm {
        return Err("it names two different signature algorithms".to_owned());
    }
    if tbs.version != X509Version::V3 && !tbs.extensions().is_empty() {
        return Err("extensions in a certificate that is not of version 3".to_owned());
    }
    if !der::certificate(der) {
        return Err("its encoding is not the one of X.509".to_owned());
    }
    let mut extensions = tbs.extensions().iter();
    match extensions.find(|it| !der::extension(it.oid.as_bytes(), it.value)) {
        Some(extension) => Err(format!(
            "extension {}: its encoding is not the one of RFC 5280",
            extension.oid
        )),
        None => Ok(()),
    }
}

/// BoringSSL evaluates these (`X509_supported_extension`), and refuses all others that are critical, key
/// identifiers among them.
fn may_be_critical(extension: &ParsedExtension<'_>) -> bool {
    matches!(
        extension,
        ParsedExtension::BasicConstraints(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::SubjectAlternativeName(_)
    )
}

/// The attributes of a raw name; empty if it is unreadable, which a certificate's never is.
pub(super) fn attributes(raw: &[u8]) -> Vec<(String, String)> {
    X509Name::from_der(raw).map_or_else(|_| Vec::new(), |(_, name)| name::attributes(&name))
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

fn alternative_name(name: &GeneralName<'_>, parsed: &mut Parsed) {
    let other = |kind: &str, value: &str| format!("{kind}:{value}");
    let other = match name {
        GeneralName::DNSName(dns) => return parsed.dns_names.push((*dns).to_owned()),
        GeneralName::RFC822Name(email) => return parsed.email_addresses.push((*email).to_owned()),
        GeneralName::URI(uri) => return parsed.uris.push((*uri).to_owned()),
        GeneralName::IPAddress(bytes) => match ip_address(bytes) {
            Some(ip) => return parsed.ip_addresses.push(ip),
            None => other("IP", &format!("#{}", hex(bytes))),
        },
        GeneralName::DirectoryName(name) => other("DirName", &name::rfc4514(name)),
        GeneralName::RegisteredID(oid) => other("RID", &oid.to_id_string()),
        GeneralName::OtherName(oid, value) => {
            other(&oid.to_id_string(), &format!("#{}", hex(value)))
        }
        GeneralName::X400Address(any) => other("X400", &format!("#{}", hex(any.data))),
        GeneralName::EDIPartyName(any) => other("EDI", &format!("#{}", hex(any.data))),
        GeneralName::Invalid(tag, value) => {
            other(&format!("[{}]", tag.0), &format!("#{}", hex(value)))
        }
    };
    parsed.other_names.push(other);
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).into())
}

fn purposes(eku: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (eku.any, "anyExtendedKeyUsage"),
        (eku.server_auth, "serverAuth"),
        (eku.client_auth, "clientAuth"),
        (eku.code_signing, "codeSigning"),
        (eku.email_protection, "emailProtection"),
        (eku.time_stamping, "timeStamping"),
        (eku.ocsp_signing, "OCSPSigning"),
    ];
    let known = known
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| (*name).to_owned());
    known
        .chain(eku.other.iter().map(Oid::to_id_string))
        .collect()
}

/// `%032x` of the number, as Istio prints it since 1.29. A negative one, which RFC 5280 forbids and
/// old CAs made, keeps its sign.
pub(super) fn serial_hex(raw: &[u8]) -> String {
    let (negative, magnitude) = sign_and_magnitude(raw);
    let digits = hex(&magnitude);
    let digits = digits.trim_start_matches('0');
    if negative {
        format!("-{digits:0>31}")
    } else {
        format!("{digits:0>32}")
    }
}

/// The number in decimal, as Istio printed it up to 1.17.
pub(super) fn serial_decimal(raw: &[u8]) -> String {
    let (negative, magnitude) = sign_and_magnitude(raw);
    let sign = if negative { "-" } else { "" };
    format!("{sign}{}", BigUint::from_bytes_be(&magnitude))
}

fn sign_and_magnitude(raw: &[u8]) -> (bool, Vec<u8>) {
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
    (negative, magnitude)
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
        // `as_oid` does not look at the tag.
        .filter(|any| any.class() == Class::Universal && any.tag() == Tag::Oid)
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
        assert_eq!(serial_hex(&[0x0a]), format!("{}a", "0".repeat(31)));
        assert_eq!(
            serial_hex(&[0x00, 0xff, 0x01]),
            format!("{}ff01", "0".repeat(28))
        );
        let twenty: Vec<u8> = (1..=20).collect();
        assert_eq!(
            serial_hex(&twenty),
            "102030405060708090a0b0c0d0e0f1011121314"
        );
        assert_eq!(serial_hex(&[0xff]), format!("-{}1", "0".repeat(30)));
        assert_eq!(
            serial_hex(&[0x80, 0x00]),
            format!("-{}8000", "0".repeat(27))
        );
        assert_eq!(serial_decimal(&[0x00, 0xff, 0x01]), "65281");
        assert_eq!(serial_decimal(&[0xff]), "-1");
        assert_eq!(serial_decimal(&[0x00]), "0");
        assert_eq!(
            serial_decimal(&twenty),
            "5753854965885600108575829560559299546819203860"
        );
    }

    #[test]
    fn sizes_of_rsa_keys_count_significant_bits() {
        assert_eq!(modulus_bits(&[0, 0x80, 0]), 16);
        assert_eq!(modulus_bits(&[0x01, 0]), 9);
        assert_eq!(modulus_bits(&[]), 0);
    }
}
