//! Private keys: read, compared with certificates, used for handshakes, and never shown.

use std::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Cert, pem};

/// A private key. `Debug` and `Display` print `‹redacted›`; its bytes are wiped when dropped.
#[derive(Clone)]
pub struct PrivateKey {
    label: &'static str,
    der: Arc<SecretSlice<u8>>,
    signer: Arc<dyn SigningKey>,
}

/// Why a text is not a usable private key, or cannot be compared. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not exactly one private key in the text.
    #[error("the text holds {found} private keys, expected exactly one")]
    Count {
        /// How many blocks of a known kind.
        found: usize,
    },
    /// The key is encrypted.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The block is damaged.
    #[error("the private key is damaged: {0}")]
    Malformed(String),
    /// The key of another certificate.
    #[error("the private key does not belong to the certificate of `{cert}`")]
    Mismatch {
        /// Whose certificate.
        cert: String,
    },
    /// A key that this program cannot use: P-521, RSA below 2048 bits, a foreign algorithm. That
    /// does not mean that it fails to match.
    #[error(
        "the private key is of a kind that is not supported (supported: RSA from 2048 bits, ECDSA P-256 and P-384, Ed25519)"
    )]
    Unsupported,
}

const PKCS1: &str = "RSA PRIVATE KEY";
const PKCS8: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";

impl PrivateKey {
    /// Reads the one private key of a text: PKCS#1, PKCS#8 or SEC1. Other blocks (certificates,
    /// `EC PARAMETERS`) are ignored.
    pub fn from_pem(text: &str) -> Result<PrivateKey, KeyError> {
        let mut keys = Vec::new();
        for piece in pem::pieces(text) {
            match piece {
                pem::Piece::Block {
                    label: "ENCRYPTED PRIVATE KEY",
                    ..
                } => {
                    return Err(KeyError::Encrypted);
                }
                pem::Piece::Block { label, body, .. } => {
                    if let Some(label) = [PKCS1, PKCS8, SEC1].into_iter().find(|l| *l == label) {
                        if body.contains("ENCRYPTED") {
                            return Err(KeyError::Encrypted);
                        }
                        keys.push((label, body));
                    }
                }
                pem::Piece::Broken { flaw, .. } => {
                    return Err(KeyError::Malformed(flaw.unquoted().to_owned()));
                }
            }
        }
        let [(label, body)] = keys[..] else {
            return Err(KeyError::Count { found: keys.len() });
        };
        PrivateKey::from_der(label, pem::decode(body).map_err(KeyError::Malformed)?)
    }

    /// A key in PKCS#8, fresh from the generator.
    #[cfg(feature = "twin")]
    pub(super) fn from_pkcs8(der: Vec<u8>) -> Result<PrivateKey, KeyError> {
        PrivateKey::from_der(PKCS8, der)
    }

    fn from_der(label: &'static str, der: Vec<u8>) -> Result<PrivateKey, KeyError> {
        let secret = SecretSlice::from(der);
        let bytes = secret.expose_secret();
        let key = match label {
            PKCS1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes)),
            SEC1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes)),
            _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes)),
        };
        let signer = any_supported_type(&key).map_err(|_| KeyError::Unsupported)?;
        Ok(PrivateKey {
            label,
            der: Arc::new(secret),
            signer,
        })
    }

    /// Whether this is the key of the certificate's public key.
    pub fn matches(&self, cert: &Cert) -> Result<bool, KeyError> {
        let public = self.signer.public_key().ok_or(KeyError::Unsupported)?;
        if public.as_ref() == cert.parsed().spki.as_slice() {
            return Ok(true);
        }
        // One key can be written in several ways (an RSA key with or without NULL parameters), so
        // a difference in bytes is proved by a signature.
        Ok(self.proves(cert))
    }

    /// Its kind: `RSA`, `ECDSA`, `Ed25519`.
    pub fn kind(&self) -> &'static str {
        match self.signer.algorithm() {
            rustls::SignatureAlgorithm::RSA => "RSA",
            rustls::SignatureAlgorithm::ECDSA => "ECDSA",
            rustls::SignatureAlgorithm::ED25519 => "Ed25519",
            _ => "of another kind",
        }
    }

    /// Whether it is an RSA key.
    #[cfg(feature = "twin")]
    pub(crate) fn is_rsa(&self) -> bool {
        self.signer.algorithm() == rustls::SignatureAlgorithm::RSA
    }

    /// The key as PEM, in the encoding it was read in.
    pub fn pem(&self) -> SecretString {
        SecretString::from(pem::encode(self.label, self.der.expose_secret()))
    }

    pub(super) fn signing_key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.signer)
    }

    /// Signs something and lets the certificate's key verify it.
    fn proves(&self, cert: &Cert) -> bool {
        const MESSAGE: &[u8] = b"rootshift: does this key belong to this certificate";
        const SCHEMES: [SignatureScheme; 4] = [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
        ];
        let Some(signer) = self.signer.choose_scheme(&SCHEMES) else {
            return false;
        };
        let Ok(signature) = signer.sign(MESSAGE) else {
            return false;
        };
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let der = rustls_pki_types::CertificateDer::from(cert.der());
        let Ok(end_entity) = webpki::EndEntityCert::try_from(&der) else {
            return false;
        };
        algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signer.scheme())
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| {
                end_entity
                    .verify_signature(*algorithm, MESSAGE, &signature)
                    .is_ok()
            })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹redacted›")
    }
}

impl fmt::Display for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("‹redacted›")
    }
}
