//! Envoy's judgement of a peer's certificate: yes only if `rustls-webpki` and this room's own path
//! building both say so. Each knows rules that the other does not.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::Refusal;
use crate::pki::{Bundle, Cert, CertCache, CertError, SanRules, Usage, path, when};

/// A bundle, and what webpki needs of it, prepared once.
pub(super) struct Anchors {
    bundle: Bundle,
    trusted: Vec<TrustAnchor<'static>>,
    /// What peers presented: the same few, again and again.
    presented: CertCache,
}

impl Anchors {
    /// Every certificate of the bundle, intermediates too (`X509_V_FLAG_PARTIAL_CHAIN`).
    pub(super) fn new(bundle: &Bundle) -> Anchors {
        let trusted = bundle
            .certs()
            .filter_map(|cert| {
                let der = CertificateDer::from(cert.der());
                Some(webpki::anchor_from_trusted_cert(&der).ok()?.to_owned())
            })
            .collect();
        Anchors {
            bundle: bundle.clone(),
            trusted,
            presented: CertCache::default(),
        }
    }

    /// webpki's verdict alone. It is laxer than Envoy's: it takes anchors as they are, reads no key
    /// usages and no key identifiers, and tries every certificate that it was given.
    fn webpki(
        &self,
        leaf: &EndEntityCert<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), webpki::Error> {
        let extended = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server | Usage::Workload => KeyUsage::server_auth(),
        };
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        leaf.verify_for_usage(algorithms, &self.trusted, chain, now, extended, None, None)
            .map(drop)
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.bundle.certs()).finish()
    }
}

/// Judges peers: the path first, then the SAN.
#[derive(Debug, Clone)]
pub(super) struct PeerVerifier {
    pub(super) anchors: Arc<Anchors>,
    pub(super) accepts: Arc<SanRules>,
    pub(super) provider: Arc<CryptoProvider>,
}

/// What the verifier hands through rustls to whoever drives the handshake.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Refused {
    pub(super) cause: Refusal,
    pub(super) detail: String,
}

impl PeerVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), rustls::Error> {
        self.judge(leaf, chain, now, usage).map_err(|refused| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(
                refused,
            ))))
        })
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), Refused> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let other = |detail: String| Refused {
            cause: Refusal::Other,
            detail,
        };
        let entity = EndEntityCert::try_from(leaf).map_err(|error| other(error.to_string()))?;
        let read = |der: &CertificateDer<'_>| self.anchors.presented.cert(der.to_vec());
        let presented: Result<Vec<Cert>, CertError> =
            std::iter::once(leaf).chain(chain).map(read).collect();
        let presented = presented.map_err(|error| other(error.to_string()))?;
        let peer = &presented[0];
        self.anchors
            .webpki(&entity, chain, now, usage)
            .map_err(|error| self.explain(&error, peer, at))?;
        path::accepts(&self.anchors.bundle, &presented, usage, at).map_err(|error| Refused {
            cause: Refusal::of(&error),
            detail: error.to_string(),
        })?;
        self.accepts.accepts(peer).map_err(|detail| Refused {
            cause: Refusal::SanMismatch {
                presented: peer.uris().to_vec(),
                accepted: self.accepts.as_ref().clone(),
            },
            detail: format!("SAN not accepted: peer {detail}"),
        })
    }

    fn explain(&self, error: &webpki::Error, peer: &Cert, now: Timestamp) -> Refused {
        let name = peer.display_name();
        let at = |time: &UnixTime| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            when::relative(
                Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX),
                now,
            )
        };
        let (cause, detail) = match error {
            webpki::Error::CertExpired { not_after, .. } => (
                Refusal::Expired,
                format!(
                    "a certificate of `{name}`'s chain expired {}",
                    at(not_after)
                ),
            ),
            webpki::Error::CertNotValidYet { not_before, .. } => (
                Refusal::NotYetValid,
                format!(
                    "a certificate of `{name}`'s chain becomes valid {}",
                    at(not_before)
                ),
            ),
            webpki::Error::UnknownIssuer => (
                Refusal::UnknownIssuer,
                format!(
                    "unknown issuer: `{name}` was issued by `{}`, and none of the trusted \
                     certificates ({}) ends its chain",
                    peer.issuer(),
                    self.trusted()
                ),
            ),
            webpki::Error::InvalidSignatureForPublicKey => (
                Refusal::UnknownIssuer,
                format!(
                    "unknown issuer: `{name}` names `{}`, but the key of that name did not sign \
                     (trusted: {})",
                    peer.issuer(),
                    self.trusted()
                ),
            ),
            error => (
                Refusal::Other,
                format!("`{name}` was not accepted: {error:?}"),
            ),
        };
        Refused { cause, detail }
    }

    fn trusted(&self) -> String {
        let names: Vec<String> = self
            .anchors
            .bundle
            .certs()
            .map(|cert| format!("`{}` {}", cert.display_name(), cert.sha256().short()))
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, chain, now, Usage::Server)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, chain, now, Usage::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
