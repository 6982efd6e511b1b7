//! Certificates of TLS servers: the twin's API server.

use std::net::IpAddr;

use jiff::Timestamp;
use secrecy::SecretString;

use super::{Authority, LeafSpec, MintError};
use crate::pki::Cert;

/// A server's certificate and key, as PEM.
#[derive(Debug)]
pub struct Serving {
    /// The certificate and the CAs above it, without the root.
    pub chain: String,
    /// The key, PKCS#8.
    pub key: SecretString,
    /// The root that clients need.
    pub root: String,
}

/// A serving certificate for these names, valid as long as the CA, from the clock of `by`'s
/// begin on.
pub fn serving(dns: &[&str], ips: &[IpAddr], by: &Authority) -> Result<Serving, MintError> {
    let (begin, end): (Timestamp, Timestamp) = (by.cert().not_before(), by.cert().not_after());
    let spec = LeafSpec {
        dns: dns.iter().map(|name| (*name).to_owned()).collect(),
        ips: ips.to_vec(),
        not_before: begin,
        not_after: end,
        client: false,
        ..LeafSpec::uris::<String>([], begin)
    };
    let (cert, key) = by.issue(&spec)?;
    let chain = std::iter::once(cert)
        .chain(by.chain())
        .map(|cert: Cert| cert.pem())
        .collect();
    Ok(Serving {
        chain,
        key: key.pem(),
        root: by.root().pem(),
    })
}
