//! Envoy's judgement of a peer's certificate, carried out by `rustls-webpki`.

use std::cell::RefCell;
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
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::Refusal;
use crate::pki::{Bundle, Cert, SanRules, when};

/// A bundle as anchors, prepared once; both lists in the same order.
pub(super) struct Anchors {
    certs: Vec<Cert>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Anchors {
    /// Every certificate of the bundle, intermediates too (`X509_V_FLAG_PARTIAL_CHAIN`).
    pub(super) fn new(bundle: &Bundle) -> Anchors {
        let (certs, anchors) = bundle
            .certs()
            .filter_map(|cert| {
                let der = CertificateDer::from(cert.der());
                let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
                Some((cert.clone(), anchor))
            })
            .unzip();
        Anchors { certs, anchors }
    }

    /// webpki takes anchors as they are. Envoy holds them to the same rules as every other CA of
    /// the path: dates, CA flag, key usages, path length.
    fn fit(&self, path: &VerifiedPath<'_>, client: bool, now: Timestamp) -> Result<(), Refused> {
        let used = self
            .anchors
            .iter()
            .position(|anchor| std::ptr::eq(anchor, path.anchor()));
        let Some(cert) = used.and_then(|index| self.certs.get(index)) else {
            let detail = "the path ends at an anchor of somebody else".to_owned();
            return Err(Refused {
                cause: Refusal::Other,
                detail,
            });
        };
        let name = format!(
            "trusted `{}` ({})",
            cert.display_name(),
            cert.sha256().short()
        );
        let refuse = |cause, detail: String| {
            Err(Refused {
                cause,
                detail: format!("{name} {detail}"),
            })
        };
        if now < cert.not_before() {
            let when = when::relative(cert.not_before(), now);
            return refuse(Refusal::NotYetValid, format!("becomes valid {when}"));
        }
        if !cert.valid_at(now) {
            let when = when::relative(cert.not_after(), now);
            return refuse(Refusal::Expired, format!("expired {when}"));
        }
        if !cert.can_sign_certs() {
            return refuse(
                Refusal::UnknownIssuer,
                "is not a CA that may sign".to_owned(),
            );
        }
        let purposes = cert.parsed().purposes;
        if purposes.is_some_and(|allowed| {
            !(if client {
                allowed.client
            } else {
                allowed.server
            })
        }) {
            return refuse(Refusal::Other, "does not allow this side of TLS".to_owned());
        }
        let below = path
            .intermediate_certificates()
            .filter(|ca| ca.subject() != ca.issuer())
            .count();
        match cert.path_len() {
            Some(limit) if below > limit as usize => refuse(
                Refusal::Other,
                format!("allows {limit} CAs below it, the path has {below}"),
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.certs).finish()
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
        client: bool,
    ) -> Result<(), rustls::Error> {
        self.judge(leaf, chain, now, client).map_err(|refused| {
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
        client: bool,
    ) -> Result<(), Refused> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let at = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let other = |detail: String| Refused {
            cause: Refusal::Other,
            detail,
        };
        let entity = EndEntityCert::try_from(leaf).map_err(|error| other(error.to_string()))?;
        let peer = Cert::from_der(leaf.as_ref()).map_err(|error| other(error.to_string()))?;

        let unfit = RefCell::new(None);
        let fit = |path: &VerifiedPath<'_>| {
            self.anchors.fit(path, client, at).map_err(|refused| {
                unfit.replace(Some(refused));
                webpki::Error::UnknownIssuer
            })
        };
        let usage = if client {
            KeyUsage::client_auth()
        } else {
            KeyUsage::server_auth()
        };
        let verified = entity.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &self.anchors.anchors,
            chain,
            now,
            usage,
            None,
            Some(&fit),
        );
        if let Err(error) = verified {
            return Err(match (error, unfit.take()) {
                (webpki::Error::UnknownIssuer, Some(refused)) => refused,
                (error, _) => self.explain(&error, &peer, at),
            });
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
            .certs
            .iter()
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
        self.verify(leaf, chain, now, false)?;
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
        self.verify(leaf, chain, now, true)?;
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
