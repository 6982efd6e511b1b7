//! Certificates that are odd or wrong on purpose, each in one way that has a name.

use std::fmt;

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};

use super::MintError;
use super::der::{self, Element};
use crate::pki::Cert;

/// The last arcs of extensions below 2.5.29.
const POLICIES: u64 = 32;
const POLICY_MAPPINGS: u64 = 33;
const AUTHORITY_KEY_ID: u64 = 35;
const POLICY_CONSTRAINTS: u64 = 36;

/// A policy: 2.23.140.1.2.1.
const POLICY: &[u8] = &[0x67, 0x81, 0x0c, 1, 2, 1];
/// `anyPolicy`: 2.5.29.32.0.
const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0];
/// `id-qt-cps`: 1.3.6.1.5.5.7.2.1.
const STATEMENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 2, 1];

/// One way in which a certificate is not what its kind should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Oddity {
    /// A policy mapping to `anyPolicy`, which RFC 5280 forbids.
    AnyPolicyMapped,
    /// Extended key usage `anyExtendedKeyUsage` alone.
    AnyPurpose,
    /// An authority key identifier of the issuer's certificate by its issuer and serial number.
    AuthorityBySerial,
    /// A bit of the signature is wrong.
    BadSignature,
    /// Extended key usage clientAuth alone.
    ClientOnly,
    /// A critical extension that nobody knows.
    CriticalExtension,
    /// Key identifiers that are critical, which RFC 5280 forbids.
    CriticalKeyIds,
    /// The issuer's name in another string type: the same text, other bytes.
    IssuerAsUtf8,
    /// A serial number of 20 bytes with the high bit set, the longest that RFC 5280 allows.
    LongSerial,
    /// Name constraints that permit one DNS domain.
    NameConstraints,
    /// A serial number below zero.
    NegativeSerial,
    /// No authority key identifier.
    NoAuthorityKeyId,
    /// A CA whose key usage lacks keyCertSign.
    NoCertSign,
    /// A key usage without digitalSignature.
    NoDigitalSignature,
    /// No key usage at all.
    NoKeyUsage,
    /// No extended key usage.
    NoPurposes,
    /// Basic constraints CA:FALSE.
    NotACa,
    /// A certificate policy with the address of its statement.
    Policy,
    /// One certificate policy twice, which RFC 5280 forbids.
    PolicyTwice,
    /// A policy constraint that asks for a policy in every certificate below.
    RequirePolicy,
    /// Extended key usage serverAuth alone.
    ServerOnly,
    /// A CA's own name in another string type than those below it say: BMPString.
    SubjectAsBmp,
    /// A CA's own name in another string type than those below it say: T61String.
    SubjectAsT61,
    /// A CA's own name in other letters than those below it say, and with blanks.
    SubjectInCapitals,
    /// An extension that nobody knows, not critical.
    UnknownExtension,
    /// X.509 version 1: no extensions.
    Version1,
    /// An authority key identifier of somebody else.
    WrongAuthorityKeyId,
    /// An authority key identifier of the issuer's key, and of another certificate of that key.
    WrongAuthoritySerial,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Oddity; 28] = [
        Oddity::AnyPolicyMapped,
        Oddity::AnyPurpose,
        Oddity::AuthorityBySerial,
        Oddity::BadSignature,
        Oddity::ClientOnly,
        Oddity::CriticalExtension,
        Oddity::CriticalKeyIds,
        Oddity::IssuerAsUtf8,
        Oddity::LongSerial,
        Oddity::NameConstraints,
        Oddity::NegativeSerial,
        Oddity::NoAuthorityKeyId,
        Oddity::NoCertSign,
        Oddity::NoDigitalSignature,
        Oddity::NoKeyUsage,
        Oddity::NoPurposes,
        Oddity::NotACa,
        Oddity::Policy,
        Oddity::PolicyTwice,
        Oddity::RequirePolicy,
        Oddity::ServerOnly,
        Oddity::SubjectAsBmp,
        Oddity::SubjectAsT61,
        Oddity::SubjectInCapitals,
        Oddity::UnknownExtension,
        Oddity::Version1,
        Oddity::WrongAuthorityKeyId,
        Oddity::WrongAuthoritySerial,
    ];

    /// A stable name: `no-cert-sign`.
    pub fn name(self) -> &'static str {
        match self {
            Oddity::AnyPolicyMapped => "any-policy-mapped",
            Oddity::AnyPurpose => "any-purpose",
            Oddity::AuthorityBySerial => "authority-by-serial",
            Oddity::BadSignature => "bad-signature",
            Oddity::ClientOnly => "client-only",
            Oddity::CriticalExtension => "critical-extension",
            Oddity::CriticalKeyIds => "critical-key-ids",
            Oddity::IssuerAsUtf8 => "issuer-as-utf8",
            Oddity::LongSerial => "long-serial",
            Oddity::NameConstraints => "name-constraints",
            Oddity::NegativeSerial => "negative-serial",
            Oddity::NoAuthorityKeyId => "no-authority-key-id",
            Oddity::NoCertSign => "no-cert-sign",
            Oddity::NoDigitalSignature => "no-digital-signature",
            Oddity::NoKeyUsage => "no-key-usage",
            Oddity::NoPurposes => "no-purposes",
            Oddity::NotACa => "not-a-ca",
            Oddity::Policy => "policy",
            Oddity::PolicyTwice => "policy-twice",
            Oddity::RequirePolicy => "require-policy",
            Oddity::ServerOnly => "server-only",
            Oddity::SubjectAsBmp => "subject-as-bmp",
            Oddity::SubjectAsT61 => "subject-as-t61",
            Oddity::SubjectInCapitals => "subject-in-capitals",
            Oddity::UnknownExtension => "unknown-extension",
            Oddity::Version1 => "version-1",
            Oddity::WrongAuthorityKeyId => "wrong-authority-key-id",
            Oddity::WrongAuthoritySerial => "wrong-authority-serial",
        }
    }

    /// Before the generator encodes it. `above` is the issuer's certificate; a root has none.
    pub(super) fn shape(self, params: &mut CertificateParams, above: Option<&Cert>) {
        let purposes = &mut params.extended_key_usages;
        let mut extend = |last: u64, critical: bool, content: Vec<u8>| {
            let oid = [2, 5, 29, last];
            let mut extension = CustomExtension::from_oid_content(&oid, content);
            extension.set_criticality(critical);
            // Two oddities of one extension: the later one.
            let all = &mut params.custom_extensions;
            all.retain(|other| !other.oid_components().eq(oid));
            all.push(extension);
        };
        match self {
            Oddity::AnyPolicyMapped => {
                let mapping = sequence(0x30, [oid(POLICY), oid(ANY_POLICY)]);
                extend(POLICY_MAPPINGS, false, sequence(0x30, [mapping]).encode());
            }
            Oddity::AnyPurpose => *purposes = vec![ExtendedKeyUsagePurpose::Any],
            Oddity::ClientOnly => *purposes = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Oddity::CriticalExtension => params.custom_extensions.push(unknown_extension(true)),
            Oddity::LongSerial => {
                let mut bytes = [0xa5; 20];
                bytes[0] = 0x7f;
                bytes[1] = 0xff;
                params.serial_number = Some(SerialNumber::from_slice(&bytes));
            }
            Oddity::NameConstraints => params.custom_extensions.push(name_constraints()),
            Oddity::NoAuthorityKeyId => params.use_authority_key_identifier_extension = false,
            Oddity::NoCertSign => params.key_usages = vec![KeyUsagePurpose::CrlSign],
            Oddity::NoDigitalSignature => {
                params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            }
            Oddity::NoKeyUsage => params.key_usages = Vec::new(),
            Oddity::NoPurposes => *purposes = Vec::new(),
            Oddity::NotACa => params.is_ca = IsCa::ExplicitNoCa,
            Oddity::Policy => {
                let address = Element::new(0x16, b"https://cluster.local/".to_vec());
                let statement = sequence(0x30, [oid(STATEMENT), address]);
                let policy = sequence(0x30, [oid(POLICY), sequence(0x30, [statement])]);
                extend(POLICIES, false, sequence(0x30, [policy]).encode());
            }
            Oddity::PolicyTwice => {
                let policy = sequence(0x30, [oid(POLICY)]);
                extend(
                    POLICIES,
                    false,
                    sequence(0x30, [policy.clone(), policy]).encode(),
                );
            }
            Oddity::RequirePolicy => {
                // SEQUENCE { [0] requireExplicitPolicy 0 }
                extend(POLICY_CONSTRAINTS, true, vec![0x30, 3, 0x80, 1, 0]);
            }
            Oddity::ServerOnly => *purposes = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Oddity::UnknownExtension => params.custom_extensions.push(unknown_extension(false)),
            Oddity::WrongAuthorityKeyId => {
                let wrong = sequence(0x30, [Element::new(0x80, vec![0x5a; 20])]);
                extend(AUTHORITY_KEY_ID, false, wrong.encode());
                params.use_authority_key_identifier_extension = false;
            }
            Oddity::AuthorityBySerial | Oddity::WrongAuthoritySerial => {
                let Some(above) = above.map(Cert::parsed) else {
                    return;
                };
                let mut serial = above.serial.clone();
                let mut parts = Vec::new();
                if self == Oddity::WrongAuthoritySerial {
                    parts.extend(above.ski.clone().map(|id| Element::new(0x80, id)));
                    serial[0] ^= 1;
                }
                // GeneralNames { [4] EXPLICIT Name }
                let name = Element::new(0xa4, above.issuer_raw.clone());
                parts.extend([sequence(0xa1, [name]), Element::new(0x82, serial)]);
                extend(AUTHORITY_KEY_ID, false, sequence(0x30, parts).encode());
                params.use_authority_key_identifier_extension = false;
            }
            Oddity::BadSignature
            | Oddity::CriticalKeyIds
            | Oddity::IssuerAsUtf8
            | Oddity::NegativeSerial
            | Oddity::SubjectAsBmp
            | Oddity::SubjectAsT61
            | Oddity::SubjectInCapitals
            | Oddity::Version1 => {}
        }
    }

    /// What the generator cannot say: another body, to be signed anew. `None`: leave it.
    pub(super) fn reshape(self, body: &[u8]) -> Result<Option<Vec<u8>>, MintError> {
        let mut fields = der::children(body)?;
        match self {
            Oddity::CriticalKeyIds => {
                if let Some(extensions) = fields.last_mut() {
                    make_key_ids_critical(extensions)?;
                }
            }
            Oddity::IssuerAsUtf8 => rewrite(&mut fields[3], 0x0c, <[u8]>::to_vec)?,
            Oddity::NegativeSerial => {
                let serial = &mut fields[1].content;
                serial.truncate(16);
                serial[0] = 0x80 | serial[0] & 0x3f;
            }
            Oddity::SubjectAsBmp => {
                let wide = |text: &[u8]| text.iter().flat_map(|byte| [0, *byte]).collect();
                rewrite(&mut fields[5], 0x1e, wide)?;
            }
            Oddity::SubjectAsT61 => rewrite(&mut fields[5], 0x14, <[u8]>::to_vec)?,
            Oddity::SubjectInCapitals => {
                let loud = |text: &[u8]| [b"  ", &text.to_ascii_uppercase()[..], b" "].concat();
                rewrite(&mut fields[5], 0x13, loud)?;
            }
            Oddity::Version1 => {
                fields.remove(0);
                fields.pop();
            }
            _ => return Ok(None),
        }
        Ok(Some(Element::new(0x30, der::join(&fields)).encode()))
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of a name's attributes in another string type and text; they are PrintableStrings.
fn rewrite(name: &mut Element, tag: u8, text: impl Fn(&[u8]) -> Vec<u8>) -> Result<(), MintError> {
    let mut rdns = der::children(&name.content)?;
    for rdn in &mut rdns {
        let mut attributes = der::children(&rdn.content)?;
        for attribute in &mut attributes {
            let mut parts = der::children(&attribute.content)?;
            for part in parts.iter_mut().filter(|part| part.tag == 0x13) {
                *part = Element::new(tag, text(&part.content));
            }
            attribute.content = der::join(&parts);
        }
        rdn.content = der::join(&attributes);
    }
    name.content = der::join(&rdns);
    Ok(())
}

fn make_key_ids_critical(extensions: &mut Element) -> Result<(), MintError> {
    let mut list = der::children(&extensions.content)?.remove(0);
    let mut all = der::children(&list.content)?;
    for extension in &mut all {
        let mut parts = der::children(&extension.content)?;
        if matches!(parts[0].content[..], [0x55, 0x1d, 14 | 35]) {
            parts.insert(1, Element::new(0x01, vec![0xff]));
        }
        extension.content = der::join(&parts);
    }
    list.content = der::join(&all);
    extensions.content = list.encode();
    Ok(())
}

fn sequence(tag: u8, parts: impl IntoIterator<Item = Element>) -> Element {
    let parts: Vec<Element> = parts.into_iter().collect();
    Element::new(tag, der::join(&parts))
}

fn oid(bytes: &[u8]) -> Element {
    Element::new(0x06, bytes.to_vec())
}

/// Under an enterprise number that nobody has.
fn unknown_extension(critical: bool) -> CustomExtension {
    let oid = [1, 3, 6, 1, 4, 1, 4_294_967, u64::from(critical)];
    let mut extension = CustomExtension::from_oid_content(&oid, vec![0x05, 0x00]);
    extension.set_criticality(critical);
    extension
}

/// `SEQUENCE { [0] permitted SEQUENCE { SEQUENCE { [2] dNSName } } }`
fn name_constraints() -> CustomExtension {
    let name = Element::new(0x82, b"example.com".to_vec()).encode();
    let subtree = Element::new(0x30, name).encode();
    let permitted = Element::new(0xa0, subtree).encode();
    let content = Element::new(0x30, permitted).encode();
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    extension
}
