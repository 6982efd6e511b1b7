//! X.509: certificates, bundles, path building, keys, handshakes.
//!
//! Certificates are compared by their DER and verified by signature, never by name or text: a CA
//! that was made anew under the old name (`O=cluster.local`) is another CA. Every verdict is yes,
//! no, or unknown with its reason, and the time is a parameter of every one of them.
//!
//! Two verifications exist on purpose and share no code: [`paths`] and [`accepts`] build and explain
//! paths and work without private keys; [`handshake()`] is a real one, in which `rustls-webpki` has to
//! agree too. Tests hold them against each other, against OpenSSL, and against Envoy itself.
//!
//! This room knows nothing of Kubernetes, of Envoy's dumps, or of scripts. It is the only one that
//! parses X.509.

mod bundle;
mod cache;
mod cert;
mod der;
mod fingerprint;
mod handshake;
mod input;
mod key;
pub mod meshca;
#[cfg(feature = "twin")]
pub mod mint;
mod name;
mod parse;
mod path;
mod pem;
mod plugin;
mod render;
mod san;
mod signature;
mod spiffe;
mod strict;
#[cfg(all(test, feature = "twin"))]
mod tests;
mod verdict;
mod when;

pub use bundle::{Bundle, BundleDiff, NamedCa};
pub use cache::{CertCache, ReadBundle, ReadChain};
pub use cert::{Cert, CertError, KeyKind};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use handshake::{
    Endpoint, HandshakeFailure, Identity, Presented, Probe, Refusal, Side, handshake,
};
pub use input::{MAX_INPUT, certs_from_bytes, decode_base64};
pub use key::{KeyError, PrivateKey};
pub use path::{Path, PathError, Usage, accepts, paths, paths_for};
pub use pem::{PemIssue, certs_from_pem};
pub use plugin::{
    HORIZON, PLUGIN_FILES, PluginCa, PluginFile, PluginFinding, PluginInput, Severity,
    check_plugin_ca,
};
pub use san::SanRules;
pub use spiffe::{SpiffeError, SpiffeId};
pub use strict::loads_in_envoy;
pub use verdict::{Signer, Trust, signer, trusts};
