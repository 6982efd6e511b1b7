//! Certificates that are odd or wrong on purpose, each in one way that has a name.

use std::fmt;

use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};

use super::MintError;
use super::der::{self, Element};

/// One way in which a certificate is not what its kind should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Oddity {
    /// Extended key usage `anyExtendedKeyUsage` alone.
    AnyPurpose,
    /// A bit of the signature is wrong.
    BadSignature,
    /// Extended key usage clientAuth alone.
    ClientOnly,
    /// A critical extension that nobody knows.
    CriticalExtension,
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
    /// Extended key usage serverAuth alone.
    ServerOnly,
    /// An extension that nobody knows, not critical.
    UnknownExtension,
    /// X.509 version 1: no extensions.
    Version1,
    /// An authority key identifier of somebody else.
    WrongAuthorityKeyId,
}

impl Oddity {
    /// All of them.
    pub const ALL: [Oddity; 18] = [
        Oddity::AnyPurpose,
        Oddity::BadSignature,
        Oddity::ClientOnly,
        Oddity::CriticalExtension,
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
        Oddity::ServerOnly,
        Oddity::UnknownExtension,
        Oddity::Version1,
        Oddity::WrongAuthorityKeyId,
    ];

    /// A stable name: `no-cert-sign`.
    pub fn name(self) -> &'static str {
        match self {
            Oddity::AnyPurpose => "any-purpose",
            Oddity::BadSignature => "bad-signature",
            Oddity::ClientOnly => "client-only",
            Oddity::CriticalExtension => "critical-extension",
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
            Oddity::ServerOnly => "server-only",
            Oddity::UnknownExtension => "unknown-extension",
            Oddity::Version1 => "version-1",
            Oddity::WrongAuthorityKeyId => "wrong-authority-key-id",
        }
    }

    /// Before the generator encodes it.
    pub(super) fn shape(self, params: &mut CertificateParams) {
        let purposes = &mut params.extended_key_usages;
        match self {
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
            Oddity::ServerOnly => *purposes = vec![ExtendedKeyUsagePurpose::ServerAuth],
            Oddity::UnknownExtension => params.custom_extensions.push(unknown_extension(false)),
            Oddity::WrongAuthorityKeyId => {
                params.use_authority_key_identifier_extension = false;
                // SEQUENCE { [0] keyIdentifier }
                let mut content = vec![0x30, 22, 0x80, 20];
                content.extend([0x5a; 20]);
                let extension = CustomExtension::from_oid_content(&[2, 5, 29, 35], content);
                params.custom_extensions.push(extension);
            }
            Oddity::BadSignature
            | Oddity::IssuerAsUtf8
            | Oddity::NegativeSerial
            | Oddity::Version1 => {}
        }
    }

    /// What the generator cannot say: another body, to be signed anew. `None`: leave it.
    pub(super) fn reshape(self, body: &[u8]) -> Result<Option<Vec<u8>>, MintError> {
        let mut fields = der::children(body)?;
        match self {
            Oddity::IssuerAsUtf8 => retag(&mut fields[3])?,
            Oddity::NegativeSerial => {
                let serial = &mut fields[1].content;
                serial.truncate(16);
                serial[0] = 0x80 | serial[0] & 0x3f;
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

/// PrintableString into UTF8String, in every attribute of a name.
fn retag(name: &mut Element) -> Result<(), MintError> {
    let mut rdns = der::children(&name.content)?;
    for rdn in &mut rdns {
        let mut attributes = der::children(&rdn.content)?;
        for attribute in &mut attributes {
            let mut parts = der::children(&attribute.content)?;
            for part in parts.iter_mut().filter(|part| part.tag == 0x13) {
                part.tag = 0x0c;
            }
            attribute.content = der::join(&parts);
        }
        rdn.content = der::join(&attributes);
    }
    name.content = der::join(&rdns);
    Ok(())
}

/// Under an enterprise number that nobody has.
fn unknown_extension(critical: bool) -> CustomExtension {
    let oid = [1, 3, 6, 1, 4, 1, 4_294_967, u64::from(critical)];
    let mut extension = CustomExtension::from_oid_content(&oid, vec![0x05, 0x00]);
    extension.set_criticality(critical);
    extension
}

/// SEQUENCE { [0] permitted SEQUENCE { SEQUENCE { [2] dNSName } } }
fn name_constraints() -> CustomExtension {
    let name = Element::new(0x82, b"example.com".to_vec()).encode();
    let subtree = Element::new(0x30, name).encode();
    let permitted = Element::new(0xa0, subtree).encode();
    let content = Element::new(0x30, permitted).encode();
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    extension
}
