//! A CA that signs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};

use super::{CaSpec, LeafSpec, MintError};
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
        Authority::root_with(spec, KeyPair::generate()?)
    }

    /// A new CA with a new key below this one.
    pub fn intermediate(&self, spec: &CaSpec) -> Result<Authority, MintError> {
        self.certify(spec, KeyPair::generate()?)
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
        let key = KeyPair::generate()?;
        let mut params = params(&[], spec.not_before, spec.not_after)?;
        // Critical CA:FALSE and no subject key identifier, as Go's `x509` writes it; rcgen's own
        // `ExplicitNoCa` would add the identifier.
        let mut not_a_ca = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
        not_a_ca.set_criticality(true);
        params.custom_extensions.push(not_a_ca);
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
        let cert = params.signed_by(&key, &self.0.issuer)?;
        let key = PrivateKey::from_pkcs8(key.serialize_der())?;
        Ok((Cert::from_der(cert.der().to_vec())?, key))
    }

    fn root_with(spec: &CaSpec, key: KeyPair) -> Result<Authority, MintError> {
        // istiod's own root has only keyCertSign.
        let mut params = ca_params(spec)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let cert = Cert::from_der(params.self_signed(&key)?.der().to_vec())?;
        Authority::assemble(vec![cert], key)
    }

    fn certify(&self, spec: &CaSpec, key: KeyPair) -> Result<Authority, MintError> {
        let mut params = ca_params(spec)?;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let cert = Cert::from_der(params.signed_by(&key, &self.0.issuer)?.der().to_vec())?;
        let up = std::iter::once(cert)
            .chain(self.0.up.iter().cloned())
            .collect();
        Authority::assemble(up, key)
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
