//! What to mint.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::Oddity;
use crate::pki::SpiffeId;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The kind of a new key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeySpec {
    /// Edwards curve 25519.
    Ed25519,
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits, as Istio's own. Not new: one of two keys that everybody can read, one for
    /// CAs and one for leaves, because making one takes too long.
    Rsa2048,
}

/// A CA certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaSpec {
    /// Attribute and value, in the order of encoding: `[("O", "cluster.local")]`.
    pub subject: Vec<(String, String)>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// How many CAs may follow below; `None`: any number.
    pub path_len: Option<u8>,
    /// Extended key usages serverAuth and clientAuth, as Mesh CA's root states them.
    pub tls_only: bool,
    /// The kind of its key.
    pub key: KeySpec,
    /// What is wrong with it; each at most once.
    pub oddities: Vec<Oddity>,
}

impl CaSpec {
    /// A CA of this name, valid for ten years from a minute before `now`.
    pub fn new<A: Into<String>, V: Into<String>>(
        subject: impl IntoIterator<Item = (A, V)>,
        now: Timestamp,
    ) -> CaSpec {
        CaSpec {
            subject: subject
                .into_iter()
                .map(|(a, v)| (a.into(), v.into()))
                .collect(),
            not_before: now - SignedDuration::from_mins(1),
            not_after: now + DAY * 3650,
            path_len: None,
            tls_only: false,
            key: KeySpec::default(),
            oddities: Vec::new(),
        }
    }

    /// The root that istiod makes for itself: `O=TRUST_DOMAIN`, 3650 days.
    pub fn istio(trust_domain: &str, now: Timestamp) -> CaSpec {
        CaSpec::new([("O", trust_domain)], now)
    }

    /// A root that bears a name as Mesh CA's does, commas and colons in it, valid for a century.
    pub fn mesh_ca(now: Timestamp) -> CaSpec {
        let common_name =
            "istio_v1_cloud_workload_root-signer-0-2018-04-25T14:11:33-07:00 K:1, 1:twin:0:18";
        CaSpec {
            not_after: now + DAY * 36_500,
            tls_only: true,
            ..CaSpec::new(
                [
                    ("C", "US"),
                    ("ST", "California"),
                    ("L", "Mountain View"),
                    ("O", "Google LLC"),
                    ("OU", "Cloud"),
                    ("CN", common_name),
                ],
                now,
            )
        }
    }

    /// The same with other dates.
    pub fn valid(self, not_before: Timestamp, not_after: Timestamp) -> CaSpec {
        CaSpec {
            not_before,
            not_after,
            ..self
        }
    }

    /// The same with another kind of key.
    pub fn key(self, key: KeySpec) -> CaSpec {
        CaSpec { key, ..self }
    }

    /// The same with one more thing wrong.
    pub fn odd(mut self, oddity: Oddity) -> CaSpec {
        if !self.oddities.contains(&oddity) {
            self.oddities.push(oddity);
        }
        self
    }

    /// The same with a bound on the CAs below.
    pub fn path_len(self, path_len: u8) -> CaSpec {
        CaSpec {
            path_len: Some(path_len),
            ..self
        }
    }
}

/// An end-entity certificate. The subject stays empty, so the SAN is critical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// URIs of the SAN.
    pub uris: Vec<String>,
    /// DNS names of the SAN.
    pub dns: Vec<String>,
    /// IP addresses of the SAN.
    pub ips: Vec<IpAddr>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Extended key usage clientAuth.
    pub client: bool,
    /// Extended key usage serverAuth.
    pub server: bool,
    /// The kind of its key.
    pub key: KeySpec,
    /// What is wrong with it; each at most once.
    pub oddities: Vec<Oddity>,
}

impl LeafSpec {
    /// Istio's workload certificate: one URI, 24 hours, begun two minutes ago, for both sides of a
    /// connection.
    pub fn workload(id: &SpiffeId, now: Timestamp) -> LeafSpec {
        LeafSpec::uris([id.to_string()], now)
    }

    /// A workload certificate with these URIs, however many.
    pub fn uris<S: Into<String>>(uris: impl IntoIterator<Item = S>, now: Timestamp) -> LeafSpec {
        LeafSpec {
            uris: uris.into_iter().map(Into::into).collect(),
            dns: Vec::new(),
            ips: Vec::new(),
            not_before: now - SignedDuration::from_mins(2),
            not_after: now + DAY,
            client: true,
            server: true,
            key: KeySpec::default(),
            oddities: Vec::new(),
        }
    }

    /// The same with another kind of key.
    pub fn key(self, key: KeySpec) -> LeafSpec {
        LeafSpec { key, ..self }
    }

    /// The same with one more thing wrong.
    pub fn odd(mut self, oddity: Oddity) -> LeafSpec {
        if !self.oddities.contains(&oddity) {
            self.oddities.push(oddity);
        }
        self
    }

    /// The same with other dates.
    pub fn valid(self, not_before: Timestamp, not_after: Timestamp) -> LeafSpec {
        LeafSpec {
            not_before,
            not_after,
            ..self
        }
    }
}
