//! One certificate: parsed once, shared cheaply, compared by DER.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::fingerprint::hex;
use super::name::printable;
use super::parse::{self, KeyUsages, Parsed};
use super::signature::{self, Signature};
use super::{Fingerprint, SpiffeError, SpiffeId, pem};

/// An X.509 certificate. Cloning shares it; equality, order and hash are those of the DER.
#[derive(Clone)]
pub struct Cert(Arc<Parsed>);

/// Why bytes or text are not a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// Not exactly one certificate where one was expected.
    #[error("the text holds {found} certificates, expected exactly one")]
    Count {
        /// How many were found.
        found: usize,
    },
    /// The bytes are not a certificate.
    #[error("not a certificate: {reason}")]
    Der {
        /// What the parser says.
        reason: String,
    },
    /// The text around the certificate is damaged.
    #[error(transparent)]
    Pem(#[from] pem::PemIssue),
}

/// The kind and size of a public key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// An elliptic curve, by its usual name: `P-256`.
    Ecdsa(String),
    /// Edwards curve 25519.
    Ed25519,
    /// Anything else, by its algorithm's OID.
    Other(String),
    /// RSA, with the size of its modulus in bits.
    Rsa(usize),
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Ecdsa(curve) => write!(f, "ECDSA {curve}"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Other(oid) => write!(f, "key of type {oid}"),
            KeyKind::Rsa(bits) => write!(f, "RSA {bits}"),
        }
    }
}

impl Cert {
    /// Reads one DER certificate with nothing after it.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Cert, CertError> {
        Ok(Cert(Arc::new(parse::parse(der.into())?)))
    }

    /// Reads a text that holds exactly one certificate and no damaged block.
    pub fn from_pem(text: &str) -> Result<Cert, CertError> {
        let (mut certs, issues) = pem::certs_from_pem(text);
        if let Some(issue) = issues.into_iter().next() {
            return Err(issue.into());
        }
        match (certs.pop(), certs.len()) {
            (Some(cert), 0) => Ok(cert),
            (cert, rest) => Err(CertError::Count {
                found: rest + usize::from(cert.is_some()),
            }),
        }
    }

    /// The certificate's bytes.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The certificate as one PEM block, with a newline at its end.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.0.der)
    }

    /// SHA-256 of the DER.
    pub fn sha256(&self) -> Fingerprint {
        self.0.sha256
    }

    /// SHA-256 of the subject's public key (SubjectPublicKeyInfo): the same for a re-issued root.
    pub fn spki_sha256(&self) -> Fingerprint {
        self.0.spki_sha256
    }

    /// The subject, RFC 4514; empty for Istio's workloads.
    pub fn subject(&self) -> String {
        self.0.subject.clone()
    }

    /// The issuer, RFC 4514.
    pub fn issuer(&self) -> String {
        self.0.issuer.clone()
    }

    /// The subject's attributes in the order of encoding, each as type (`O`, or an OID) and value.
    pub fn subject_attributes(&self) -> Vec<(String, String)> {
        parse::attributes(&self.0.subject_raw)
    }

    /// The issuer's attributes, likewise.
    pub fn issuer_attributes(&self) -> Vec<(String, String)> {
        parse::attributes(&self.0.issuer_raw)
    }

    /// The serial number in lower-case hex, padded with zeros to 32 digits as Istio does since 1.29.
    /// Serials name a certificate within its CA only: compare [`Cert::sha256`].
    pub fn serial(&self) -> String {
        parse::serial_hex(&self.0.serial)
    }

    /// The serial number in decimal, as Istio printed it up to 1.17.
    pub fn serial_decimal(&self) -> String {
        parse::serial_decimal(&self.0.serial)
    }

    /// How the issuer signed: `RSA with SHA-256`, or the algorithm's OID.
    pub fn signature_algorithm(&self) -> &str {
        &self.0.signature_algorithm
    }

    /// Valid from this instant on.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Valid up to and including this instant; dates after the year 9999 are cut off there.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Whether `now` lies within the validity, both ends included (RFC 5280, section 4.1.2.5).
    pub fn valid_at(&self, now: Timestamp) -> bool {
        self.0.not_before <= now && now.as_second() <= self.0.not_after.as_second()
    }

    /// Basic constraints say that this is a CA.
    pub fn is_ca(&self) -> bool {
        self.0.ca
    }

    /// How many CAs may follow below this one; `None`: any number.
    pub fn path_len(&self) -> Option<u32> {
        self.0.path_len
    }

    /// How long until it expires; negative afterwards.
    pub fn expires_in(&self, now: Timestamp) -> SignedDuration {
        self.0.not_after.duration_since(now)
    }

    /// A CA whose key usage, if stated, includes signing certificates.
    pub fn can_sign_certs(&self) -> bool {
        self.0.ca && self.0.usages.is_none_or(KeyUsages::cert_sign)
    }

    /// The key usages by RFC 5280's names (`digitalSignature`, `keyCertSign`); `None`: not stated,
    /// which allows all.
    pub fn key_usages(&self) -> Option<Vec<&'static str>> {
        self.0.usages.map(KeyUsages::names)
    }

    /// The extended key usages by RFC 5280's names (`serverAuth`, `clientAuth`), others as OIDs;
    /// `None`: not stated, which allows all.
    pub fn extended_key_usages(&self) -> Option<&[String]> {
        self.0.purposes.as_ref().map(|purposes| &purposes.names[..])
    }

    /// The URIs of the subject alternative name, in order.
    pub fn uris(&self) -> &[String] {
        &self.0.uris
    }

    /// The DNS names of the subject alternative name, in order.
    pub fn dns_names(&self) -> &[String] {
        &self.0.dns_names
    }

    /// The IP addresses of the subject alternative name, in order.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.0.ip_addresses
    }

    /// The e-mail addresses of the subject alternative name, in order.
    pub fn email_addresses(&self) -> &[String] {
        &self.0.email_addresses
    }

    /// Subject alternative names of other kinds, as `KIND:VALUE`.
    pub fn other_names(&self) -> &[String] {
        &self.0.other_names
    }

    /// The one workload identity.
    pub fn spiffe_id(&self) -> Result<SpiffeId, SpiffeError> {
        SpiffeId::from_uris(&self.0.uris)
    }

    /// The kind and size of the public key.
    pub fn key_kind(&self) -> KeyKind {
        self.0.key_kind.clone()
    }

    /// Subject and issuer are the same name. That says nothing about who signed it.
    pub fn is_self_issued(&self) -> bool {
        self.0.subject_canonical == self.0.issuer_canonical
    }

    /// Whether its own key signed it; `None` where the algorithm is not supported, so that it
    /// cannot be told.
    pub fn is_self_signed(&self) -> Option<bool> {
        if !self.is_self_issued() {
            return Some(false);
        }
        match self.self_signature() {
            Signature::Bad => Some(false),
            Signature::Good => Some(true),
            Signature::Unsupported(_) => None,
        }
    }

    pub(super) fn self_signature(&self) -> &Signature {
        self.0
            .self_signature
            .get_or_init(|| signature::check(self, self))
    }

    /// The subject key identifier in lower-case hex, if present.
    pub fn ski(&self) -> Option<String> {
        self.0.ski.as_deref().map(hex)
    }

    /// The key identifier of the issuer in lower-case hex, if present.
    pub fn aki(&self) -> Option<String> {
        self.0.aki.as_deref().map(hex)
    }

    /// What to call this certificate in a sentence: its subject, else its first URI or DNS name,
    /// else its fingerprint.
    pub fn display_name(&self) -> String {
        let parsed = &self.0;
        if !parsed.subject.is_empty() {
            return parsed.subject.clone();
        }
        let mut names = parsed.uris.iter().chain(&parsed.dns_names);
        match names.find(|name| !name.is_empty()) {
            Some(name) => printable(name),
            None => parsed.sha256.short(),
        }
    }

    pub(super) fn parsed(&self) -> &Parsed {
        &self.0
    }
}

impl fmt::Debug for Cert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cert({} {})", self.display_name(), self.0.sha256.short())
    }
}

impl PartialEq for Cert {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Cert {}

impl PartialOrd for Cert {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cert {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.der.cmp(&other.0.der)
    }
}

impl Hash for Cert {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.sha256.hash(state);
    }
}
