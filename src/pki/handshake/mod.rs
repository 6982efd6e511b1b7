//! A real mutual TLS handshake between two identities, in memory.
//!
//! `rustls` on both sides, over buffers, without resumption: what Envoy would do with the same
//! keys, chains, bundles and SAN matchers. A side accepts its peer if `rustls-webpki`, with every
//! certificate of the bundle as an anchor, and [`accepts`](super::accepts) both do: the handshake is
//! never laxer than either.
//!
//! It does not model Envoy's connection handling, ALPN or SNI; nothing of that decides trust.

mod endpoint;
mod probe;
mod refusal;
mod verifier;

use jiff::Timestamp;

pub use endpoint::Endpoint;
pub use probe::{Presented, Probe};
pub use refusal::{HandshakeFailure, Refusal, Side};

use super::{Bundle, Cert, PrivateKey, SanRules};

/// What a proxy has: its certificate with the chain that it presents, its key, what it trusts.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The workload's certificate first, then whatever else it presents (Istio: intermediates and
    /// all roots).
    pub chain: Vec<Cert>,
    /// The key of the first certificate.
    pub key: PrivateKey,
    /// What it trusts.
    pub bundle: Bundle,
}

/// Makes one mutual handshake at `now`. `client_accepts` is what the client's cluster matches on
/// the server's SAN, `server_accepts` what the server's inbound listener matches on the client's.
///
/// For many handshakes between the same identities prepare an [`Endpoint`] for each.
///
/// # Errors
/// Who refused, and why.
pub fn handshake(
    client: &Identity,
    client_accepts: &SanRules,
    server: &Identity,
    server_accepts: &SanRules,
    now: Timestamp,
) -> Result<(), HandshakeFailure> {
    let inbound = |side| move |error: super::KeyError| HandshakeFailure::unusable(side, &error);
    let client = Endpoint::new(client, &SanRules::any()).map_err(inbound(Side::Client))?;
    let server = Endpoint::new(server, server_accepts).map_err(inbound(Side::Server))?;
    client.handshake(client_accepts, &server, now)
}
