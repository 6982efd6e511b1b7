//! A prepared identity, and the loop that carries bytes between two of them.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::verifier::{Anchors, PeerVerifier, Refused};
use super::{HandshakeFailure, Identity, Refusal, Side};
use crate::pki::{KeyError, SanRules};

/// An identity with everything prepared that does not change from handshake to handshake: one
/// costs well under a millisecond. Cloning shares.
#[derive(Clone)]
pub struct Endpoint(Arc<Prepared>);

struct Prepared {
    client: ClientConfig,
    server: ServerConfig,
    anchors: Arc<Anchors>,
    provider: Arc<CryptoProvider>,
    has_certificate: bool,
}

impl Endpoint {
    /// Prepares an identity; `inbound` is what its listener accepts of clients. Without a
    /// certificate it can still connect, and be refused for it.
    ///
    /// # Errors
    /// The key does not belong to the chain's first certificate.
    pub fn new(identity: &Identity, inbound: &SanRules) -> Result<Endpoint, KeyError> {
        if let Some(leaf) = identity.chain.first()
            && !identity.key.matches(leaf)?
        {
            return Err(KeyError::Mismatch {
                cert: leaf.display_name(),
            });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anchors = Arc::new(Anchors::new(&identity.bundle));
        let verifier = |accepts: &SanRules| {
            Arc::new(PeerVerifier {
                anchors: Arc::clone(&anchors),
                accepts: Arc::new(accepts.clone()),
                provider: Arc::clone(&provider),
            })
        };
        let chain: Vec<CertificateDer<'static>> = identity
            .chain
            .iter()
            .map(|cert| CertificateDer::from(cert.der().to_vec()))
            .collect();
        let has_certificate = !chain.is_empty();
        let certified = Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            chain,
            identity.key.signing_key(),
        )));

        let unsupported = |_| KeyError::Unsupported;
        let at = || Arc::new(At(Timestamp::UNIX_EPOCH)) as Arc<dyn TimeProvider>;
        let client = ClientConfig::builder_with_details(Arc::clone(&provider), at())
            .with_safe_default_protocol_versions()
            .map_err(unsupported)?
            .dangerous()
            .with_custom_certificate_verifier(verifier(&SanRules::any()));
        let mut client = if has_certificate {
            client.with_client_cert_resolver(Arc::clone(&certified) as _)
        } else {
            client.with_no_client_auth()
        };
        client.resumption = Resumption::disabled();
        client.enable_sni = false;

        let resolver: Arc<dyn ResolvesServerCert> = certified;
        let mut server = ServerConfig::builder_with_details(Arc::clone(&provider), at())
            .with_safe_default_protocol_versions()
            .map_err(unsupported)?
            .with_client_cert_verifier(verifier(inbound))
            .with_cert_resolver(resolver);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Endpoint(Arc::new(Prepared {
            client,
            server,
            anchors,
            provider,
            has_certificate,
        })))
    }

    /// Connects to `server` at `now`, mutually authenticated; `outbound` is what this client
    /// accepts of that server.
    ///
    /// # Errors
    /// Who refused, and why.
    pub fn handshake(
        &self,
        outbound: &SanRules,
        server: &Endpoint,
        now: Timestamp,
    ) -> Result<(), HandshakeFailure> {
        if !server.0.has_certificate {
            return Err(HandshakeFailure {
                side: Side::Server,
                cause: Refusal::NoCertificate,
                detail: "the server has no certificate to present".to_owned(),
            });
        }
        // Configurations are a few shared pointers: copying them for the time and the matchers of
        // this one connection costs nothing beside the cryptography.
        let mut client_config = self.0.client.clone();
        client_config.time_provider = Arc::new(At(now));
        client_config
            .dangerous()
            .set_certificate_verifier(Arc::new(PeerVerifier {
                anchors: Arc::clone(&self.0.anchors),
                accepts: Arc::new(outbound.clone()),
                provider: Arc::clone(&self.0.provider),
            }));
        let mut server_config = server.0.server.clone();
        server_config.time_provider = Arc::new(At(now));

        // Never looked at: the verifier judges by SAN matchers, as Envoy does, and SNI is off.
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let mut client = ClientConnection::new(Arc::new(client_config), name)
            .map_err(|error| failure(Side::Client, &error))?;
        let mut server = ServerConnection::new(Arc::new(server_config))
            .map_err(|error| failure(Side::Server, &error))?;
        converse(&mut client, &mut server)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint(anchors: {:?})", self.0.anchors)
    }
}

/// Carries bytes both ways until each side has read a byte that the other wrote: only then has
/// the server, which judges last in TLS 1.3, accepted the client.
fn converse(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), HandshakeFailure> {
    let other = |side, detail: &str| HandshakeFailure {
        side,
        cause: Refusal::Other,
        detail: detail.to_owned(),
    };
    let io = |side| move |error: std::io::Error| other(side, &error.to_string());
    client.writer().write_all(b"?").map_err(io(Side::Client))?;
    let (mut asked, mut answered) = (false, false);
    // A full handshake needs three flights; the bound only guards against a loop.
    for _ in 0..16 {
        let moved = carry(client, server)?;
        if !asked && read_one(&mut server.reader()) {
            asked = true;
            server.writer().write_all(b"!").map_err(io(Side::Server))?;
        }
        let moved_back = carry_back(server, client)?;
        answered = answered || read_one(&mut client.reader());
        if asked && answered {
            return Ok(());
        }
        if !moved && !moved_back && !asked {
            break;
        }
    }
    Err(other(Side::Server, "the handshake stalled"))
}

fn carry(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<bool, HandshakeFailure> {
    let mut wire = Vec::new();
    while client.wants_write() {
        if client.write_tls(&mut wire).is_err() {
            break;
        }
    }
    let mut unread = wire.as_slice();
    while !unread.is_empty() {
        if server.read_tls(&mut unread).is_err() {
            break;
        }
        server
            .process_new_packets()
            .map_err(|error| failure(Side::Server, &error))?;
    }
    Ok(!wire.is_empty())
}

fn carry_back(
    server: &mut ServerConnection,
    client: &mut ClientConnection,
) -> Result<bool, HandshakeFailure> {
    let mut wire = Vec::new();
    while server.wants_write() {
        if server.write_tls(&mut wire).is_err() {
            break;
        }
    }
    let mut unread = wire.as_slice();
    while !unread.is_empty() {
        if client.read_tls(&mut unread).is_err() {
            break;
        }
        client
            .process_new_packets()
            .map_err(|error| failure(Side::Client, &error))?;
    }
    Ok(!wire.is_empty())
}

fn read_one(reader: &mut impl Read) -> bool {
    let mut byte = [0u8; 1];
    matches!(reader.read(&mut byte), Ok(1))
}

fn failure(side: Side, error: &rustls::Error) -> HandshakeFailure {
    let (cause, detail) = match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<Refused>() {
                Some(refused) => (refused.cause.clone(), refused.detail.clone()),
                None => (Refusal::Other, error.to_string()),
            }
        }
        rustls::Error::NoCertificatesPresented => (
            Refusal::NoCertificate,
            "the peer presents no certificate".to_owned(),
        ),
        error => (Refusal::Other, error.to_string()),
    };
    HandshakeFailure {
        side,
        cause,
        detail,
    }
}

/// The time of one handshake.
#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            seconds,
        )))
    }
}
