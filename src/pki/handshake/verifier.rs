//! Envoy's judgement of a peer's certificate, carried out by `rustls-webpki`.

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
use crate::pki::{Bundle, Cert, SanRules, when};

/// A bundle as anchors, prepared once.
#[derive(Debug)]
pub(super) struct Anchors {
    all: Vec<(Cert, TrustAnchor<'static>)>,
}

impl Anchors {
    /// Every certificate of the bundle, intermediates too (`X509_V_FLAG_PARTIAL_CHAIN`).
    pub(super) fn new(bundle: &Bundle) -> Anchors {
        let all = bundle
            .certs()
            .filter_map(|cert| {
                let der = CertificateDer::from(cert.der());
                let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
                Some((cert.clone(), anchor))
            })
            .collect();
        Anchors { all }
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
        usage: KeyUsage,
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
        usage: KeyUsage,
    ) -> Result<(), Refused> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let other = |detail: String| Refused {
            cause: Refusal::Other,
            detail,
        };
        let entity = EndEntityCert::try_from(leaf).map_err(|error| other(error.to_string()))?;
        let peer = Cert::from_der(leaf.as_ref()).map_err(|error| other(error.to_string()))?;

        // webpki takes anchors as they are; Envoy also wants them valid and to be CAs.
        let (fit, unfit): (Vec<_>, Vec<_>) = self
            .anchors
            .all
            .iter()
            .partition(|(cert, _)| cert.valid_at(at) && cert.can_sign_certs());
        let anchored = |anchors: &[&(Cert, TrustAnchor<'static>)]| {
            let anchors: Vec<TrustAnchor<'_>> =
                anchors.iter().map(|(_, anchor)| anchor.clone()).collect();
            entity
                .verify_for_usage(
                    self.provider.signature_verification_algorithms.all,
                    &anchors,
                    chain,
                    now,
                    usage,
                    None,
                    None,
                )
                .map(|_| ())
        };
        if let Err(error) = anchored(&fit) {
            if matches!(error, webpki::Error::UnknownIssuer)
                && let Some((cert, _)) = unfit.iter().find(|anchor| anchored(&[anchor]).is_ok())
            {
                return Err(unfit_anchor(cert, at));
            }
            return Err(self.explain(&error, &peer, at));
        }
        self.accepts.accepts(&peer).map_err(|detail| Refused {
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
            .all
            .iter()
            .map(|(cert, _)| format!("`{}` {}", cert.display_name(), cert.sha256().short()))
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    }
}

fn unfit_anchor(cert: &Cert, now: Timestamp) -> Refused {
    let name = format!(
        "trusted `{}` ({})",
        cert.display_name(),
        cert.sha256().short()
    );
    let (cause, detail) = if !cert.can_sign_certs() {
        (
            Refusal::UnknownIssuer,
            format!("{name} is not a CA that may sign"),
        )
    } else if now < cert.not_before() {
        let when = when::relative(cert.not_before(), now);
        (Refusal::NotYetValid, format!("{name} becomes valid {when}"))
    } else {
        let when = when::relative(cert.not_after(), now);
        (Refusal::Expired, format!("{name} expired {when}"))
    };
    Refused { cause, detail }
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
        self.verify(leaf, chain, now, KeyUsage::server_auth())?;
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
        self.verify(leaf, chain, now, KeyUsage::client_auth())?;
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
