//! Parsed certificates and bundles, each read once: thousands of proxies hold the same few roots.
//!
//! The key is the SHA-256 of the bytes. A check that keyed its verdicts by the serial number of a
//! bundle's first certificate took a proxy with one root for a proxy with two, because the first was
//! the same; bytes that differ anywhere never share an entry here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Bundle, Cert, CertError, Fingerprint, PemIssue, pem, strict};

/// Entries of each kind; when there are more, all are forgotten.
const CAPACITY: usize = 65_536;

/// A cache that any number of threads may share. What it answers equals what reading anew answers.
#[derive(Debug, Default)]
pub struct CertCache {
    kept: Mutex<Kept>,
}

/// What a text says to one who reads what he can, and whether Envoy reads it at all.
#[derive(Debug, Clone)]
pub struct ReadBundle {
    /// The certificates.
    pub bundle: Bundle,
    /// What could not be used.
    pub issues: Vec<PemIssue>,
    /// [`loads_in_envoy`](super::loads_in_envoy).
    pub loads: Result<(), PemIssue>,
}

/// The same of a chain, whose order counts.
#[derive(Debug, Clone)]
pub struct ReadChain {
    /// The certificates in the order of the text, repetitions included.
    pub certs: Vec<Cert>,
    /// What could not be used.
    pub issues: Vec<PemIssue>,
    /// [`loads_in_envoy`](super::loads_in_envoy).
    pub loads: Result<(), PemIssue>,
}

#[derive(Debug, Default)]
struct Kept {
    certs: HashMap<Fingerprint, Result<Cert, CertError>>,
    bundles: HashMap<Fingerprint, Arc<ReadBundle>>,
}

impl CertCache {
    /// The certificates of a text. Each is parsed once, so that the same one is the same value; the
    /// text as a whole is not kept, since a workload's chain is its own.
    pub fn chain(&self, text: &str) -> ReadChain {
        let (certs, issues) = pem::certs_with(text, |der| self.cert(der));
        ReadChain {
            loads: strict::check(text, &issues),
            certs,
            issues,
        }
    }

    /// The certificates of a text as a bundle, once for each text.
    pub fn bundle(&self, text: &str) -> Arc<ReadBundle> {
        let key = Fingerprint::of(text.as_bytes());
        if let Some(found) = self.kept().bundles.get(&key) {
            return Arc::clone(found);
        }
        let chain = self.chain(text);
        let read = Arc::new(ReadBundle {
            bundle: Bundle::from_certs(chain.certs),
            issues: chain.issues,
            loads: chain.loads,
        });
        let bundles = &mut self.kept().bundles;
        if bundles.len() >= CAPACITY {
            bundles.clear();
        }
        bundles.insert(key, Arc::clone(&read));
        read
    }

    /// One certificate.
    pub fn cert(&self, der: Vec<u8>) -> Result<Cert, CertError> {
        let key = Fingerprint::of(&der);
        if let Some(found) = self.kept().certs.get(&key) {
            return found.clone();
        }
        let read = Cert::from_der(der);
        let certs = &mut self.kept().certs;
        if certs.len() >= CAPACITY {
            certs.clear();
        }
        certs.insert(key, read.clone());
        read
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
