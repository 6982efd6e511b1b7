//! Looks at what a TLS server presents, as `openssl s_client` does.
//!
//! Nothing is trusted and nothing is sent but the handshake: what the chain is worth is for
//! [`accepts`](super::super::accepts) to say. Without input and output of its own; the caller carries
//! the bytes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::pki::{Cert, PrivateKey};

/// A connection that only looks.
pub struct Probe {
    connection: ClientConnection,
    seen: Arc<Seen>,
}

/// What a server presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// In the order of the server, its own certificate first; unreadable ones are in `issues`.
    pub chain: Vec<Cert>,
    /// Certificates that are none, by number and reason.
    pub issues: Vec<String>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: String,
}

impl Probe {
    /// Begins with a server that is called `server_name` (a DNS name, which goes into SNI, or an IP
    /// address, which does not), offering `alpn`, and presenting `identity` if it is asked for one.
    ///
    /// # Errors
    /// The name is neither, or the identity is of no use.
    pub fn new(
        server_name: &str,
        alpn: &[String],
        identity: Option<(&[Cert], &PrivateKey)>,
    ) -> Result<Probe, String> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| format!("`{server_name}` is neither a DNS name nor an IP address"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let seen = Arc::new(Seen {
            provider: Arc::clone(&provider),
            ders: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&seen) as _);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = chain
                    .iter()
                    .map(|cert| CertificateDer::from(cert.der().to_vec()))
                    .collect();
                let certified = CertifiedKey::new(chain, key.signing_key());
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        Ok(Probe { connection, seen })
    }

    /// What has to be sent now.
    pub fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut bytes).is_err() {
                break;
            }
        }
        bytes
    }

    /// What came.
    ///
    /// # Errors
    /// The server's alert, or why this is no TLS.
    pub fn input(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            self.connection
                .read_tls(&mut bytes)
                .map_err(|error| error.to_string())?;
            self.connection
                .process_new_packets()
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the server has presented so far.
    pub fn presented(&self) -> Presented {
        let ders = self
            .seen
            .ders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (mut chain, mut issues) = (Vec::new(), Vec::new());
        for (index, der) in ders.iter().enumerate() {
            match Cert::from_der(der.clone()) {
                Ok(cert) => chain.push(cert),
                Err(error) => issues.push(format!("certificate {}: {error}", index + 1)),
            }
        }
        let protocol = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        };
        Presented {
            chain,
            issues,
            protocol,
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe({:?})", self.presented())
    }
}

/// Keeps what is shown, and lets everything pass: there is nothing to protect.
#[derive(Debug)]
struct Seen {
    provider: Arc<CryptoProvider>,
    ders: Mutex<Vec<Vec<u8>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ders = std::iter::once(leaf).chain(chain);
        *self.ders.lock().unwrap_or_else(PoisonError::into_inner) =
            ders.map(|der| der.to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
