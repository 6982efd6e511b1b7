//! A CA that signs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SigningKey as _,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};

use super::der::{self, Element};
use super::{CaSpec, KeySpec, LeafSpec, MintError, Oddity};
use crate::pki::{Cert, PrivateKey};

/// A CA: its certificate, its key, and the certificates up to its root. Cloning shares.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    /// This CA first, the root last.
    up: Vec<Cert>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new root with a new key. Called twice with one spec it makes two CAs of one name, which
    /// is what istiod does when its secret is gone.
    pub fn self_signed(spec: &CaSpec) -> Result<Authority, MintError> {
        Authority::root_with(spec, new_key(spec.key, RSA_CA)?)
    }

    /// A new CA with a new key below this one.
    pub fn intermediate(&self, spec: &CaSpec) -> Result<Authority, MintError> {
        self.certify(spec, new_key(spec.key, RSA_CA)?)
    }

    /// This root again with the same key, and what else `spec` says: istiod's root rotator.
    pub fn reissued(&self, spec: &CaSpec) -> Result<Authority, MintError> {
        Authority::root_with(spec, self.key_copy()?)
    }

    /// `other`'s key and name certified by this CA: a cross-signed root.
    pub fn cross_sign(&self, other: &Authority, spec: &CaSpec) -> Result<Authority, MintError> {
        self.certify(spec, other.key_copy()?)
    }

    /// A CA of PEM texts: the certificate, with any intermediates and the root after it, and its
    /// key in PKCS#8.
    pub fn from_pem(certs: &str, key: &str) -> Result<Authority, MintError> {
        let (up, issues) = crate::pki::certs_from_pem(certs);
        if let Some(issue) = issues.into_iter().next() {
            return Err(crate::pki::CertError::from(issue).into());
        }
        let cert = up
            .first()
            .ok_or(crate::pki::CertError::Count { found: 0 })?;
        if !cert.can_sign_certs() {
            let reason = "is not a CA that may sign certificates";
            return Err(MintError::NotACa {
                subject: cert.display_name(),
                reason,
            });
        }
        if !PrivateKey::from_pem(key)?.matches(cert)? {
            let cert = cert.display_name();
            return Err(crate::pki::KeyError::Mismatch { cert }.into());
        }
        Authority::assemble(up, KeyPair::from_pem(key)?)
    }

    /// This CA's certificate.
    pub fn cert(&self) -> &Cert {
        &self.0.up[0]
    }

    /// The root that this CA hangs from; itself if it is one.
    pub fn root(&self) -> &Cert {
        self.0.up.last().unwrap_or(&self.0.up[0])
    }

    /// What a leaf presents besides itself: this CA and those above it, without the root. Empty
    /// for a root.
    pub fn chain(&self) -> Vec<Cert> {
        self.0.up[..self.0.up.len() - 1].to_vec()
    }

    /// The key, PKCS#8 PEM: for the CA secret on the twin.
    pub fn key_pem(&self) -> SecretString {
        SecretString::from(self.0.issuer.key().serialize_pem())
    }

    /// Issues a certificate for a new key.
    pub fn issue(&self, spec: &LeafSpec) -> Result<(Cert, PrivateKey), MintError> {
        let key = new_key(spec.key, RSA_LEAF)?;
        let mut params = params(&[], spec.not_before, spec.not_after)?;
        // Critical CA:FALSE and no subject key identifier, as Go's `x509` writes it; rcgen's own
        // `ExplicitNoCa` would add the identifier.
        params.custom_extensions.push(not_a_ca());
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        if spec.server {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if spec.client {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        for uri in &spec.uris {
            params
                .subject_alt_names
                .push(SanType::URI(Ia5String::try_from(uri.as_str())?));
        }
        for dns in &spec.dns {
            params
                .subject_alt_names
                .push(SanType::DnsName(Ia5String::try_from(dns.as_str())?));
        }
        params
            .subject_alt_names
            .extend(spec.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        let der = self.sign(params, &spec.oddities, &key)?;
        let key = PrivateKey::from_pkcs8(key.serialize_der())?;
        Ok((Cert::from_der(der)?, key))
    }

    fn root_with(spec: &CaSpec, key: KeyPair) -> Result<Authority, MintError> {
        // istiod's own root has only keyCertSign.
        let mut params = ca_params(spec)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Its own issuer. What is odd about the certificate does not keep it from signing here.
        let myself = Issuer::new(params.clone(), key);
        let der = sign(params, &spec.oddities, myself.key(), &myself, None)?;
        let cert = Cert::from_der(der)?;
        Ok(Authority(Arc::new(Inner {
            up: vec![cert],
            issuer: myself,
        })))
    }

    fn certify(&self, spec: &CaSpec, key: KeyPair) -> Result<Authority, MintError> {
        let mut params = ca_params(spec)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let for_children = params.clone();
        let cert = Cert::from_der(self.sign(params, &spec.oddities, &key)?)?;
        let up = std::iter::once(cert)
            .chain(self.0.up.iter().cloned())
            .collect();
        Ok(Authority(Arc::new(Inner {
            up,
            issuer: Issuer::new(for_children, key),
        })))
    }

    fn sign(
        &self,
        params: CertificateParams,
        oddities: &[Oddity],
        key: &impl PublicKeyData,
    ) -> Result<Vec<u8>, MintError> {
        sign(params, oddities, key, &self.0.issuer, Some(self.cert()))
    }

    fn assemble(up: Vec<Cert>, key: KeyPair) -> Result<Authority, MintError> {
        let der = CertificateDer::from(up[0].der());
        let issuer = Issuer::from_ca_cert_der(&der, key)?;
        Ok(Authority(Arc::new(Inner { up, issuer })))
    }

    fn key_copy(&self) -> Result<KeyPair, MintError> {
        Ok(KeyPair::from_pem(self.key_pem().expose_secret())?)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?}, key: ‹redacted›)", self.cert())
    }
}

/// The published keys of [`KeySpec::Rsa2048`].
const RSA_CA: &str = include_str!("rsa/ca.pem");
const RSA_LEAF: &str = include_str!("rsa/leaf.pem");

fn new_key(spec: KeySpec, rsa: &str) -> Result<KeyPair, MintError> {
    Ok(match spec {
        KeySpec::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
        KeySpec::P256 => KeyPair::generate()?,
        KeySpec::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
        KeySpec::Rsa2048 => KeyPair::from_pem(rsa)?,
    })
}

/// A certificate for `key`, with everything that should be wrong with it.
fn sign(
    mut params: CertificateParams,
    oddities: &[Oddity],
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, KeyPair>,
    above: Option<&Cert>,
) -> Result<Vec<u8>, MintError> {
    for oddity in oddities {
        oddity.shape(&mut params, above);
    }
    let der = params.signed_by(key, issuer)?.der().to_vec();
    let mut parts = cert_parts(&der)?;
    // The one that removes extensions comes last: the others know where things are.
    let (last, first): (Vec<Oddity>, Vec<Oddity>) = oddities
        .iter()
        .partition(|oddity| **oddity == Oddity::Version1);
    for oddity in first.into_iter().chain(last) {
        if let Some(body) = oddity.reshape(&parts[0].content)? {
            let mut signature = vec![0];
            signature.extend(issuer.key().sign(&body)?);
            parts[0] = der::children(&body)?.remove(0);
            parts[2].content = signature;
        }
    }
    if oddities.contains(&Oddity::BadSignature)
        && let Some(last) = parts[2].content.last_mut()
    {
        *last ^= 1;
    }
    Ok(Element::new(0x30, der::join(&parts)).encode())
}

/// Body, algorithm, signature.
fn cert_parts(der: &[u8]) -> Result<Vec<Element>, MintError> {
    let cert = der::children(der)?;
    let parts = der::children(&cert.first().ok_or(MintError::Shape)?.content)?;
    if parts.len() == 3 {
        Ok(parts)
    } else {
        Err(MintError::Shape)
    }
}

fn not_a_ca() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    extension.set_criticality(true);
    extension
}

fn ca_params(spec: &CaSpec) -> Result<CertificateParams, MintError> {
    let mut params = params(&spec.subject, spec.not_before, spec.not_after)?;
    params.is_ca = IsCa::Ca(match spec.path_len {
        Some(limit) => BasicConstraints::Constrained(limit),
        None => BasicConstraints::Unconstrained,
    });
    if spec.tls_only {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
    }
    Ok(params)
}

fn params(
    subject: &[(String, String)],
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, MintError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (attribute, value) in subject {
        let kind = match attribute.as_str() {
            "C" => DnType::CountryName,
            "CN" => DnType::CommonName,
            "DC" => DnType::from_oid(&[0, 9, 2342, 19_200_300, 100, 1, 25]),
            "L" => DnType::LocalityName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "ST" => DnType::StateOrProvinceName,
            _ => {
                return Err(MintError::UnknownAttribute {
                    attribute: attribute.clone(),
                });
            }
        };
        // Go, and so Istio, writes PrintableString where the characters allow it.
        let value = match PrintableString::try_from(value.as_str()) {
            Ok(printable) => DnValue::PrintableString(printable),
            Err(_) => DnValue::Utf8String(value.clone()),
        };
        params.distinguished_name.push(kind, value);
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch =
        |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
    // 128 bits as in Istio, positive and of full length.
    let mut serial = [0u8; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| MintError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}
