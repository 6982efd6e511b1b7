//! Sets of certificates: what a proxy trusts.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::fingerprint::Hasher;
use super::{Cert, Fingerprint, PemIssue, certs_from_pem};

/// A set of certificates by DER. Order and repetition in the text do not matter; cloning shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bundle(Arc<BTreeSet<Cert>>);

/// How two bundles differ. Order and repetition in the texts are no difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleDiff {
    /// Only in the first.
    pub removed: Bundle,
    /// Only in the second.
    pub added: Bundle,
    /// In both.
    pub kept: Bundle,
}

/// A CA under the name that the configuration gives it. Names never come from certificates: a
/// root made anew bears the old subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCa {
    /// `CITADEL`, `MESHCA`, or what the site calls it.
    pub name: String,
    /// Its roots; several while it is being renewed.
    pub roots: Bundle,
}

impl Bundle {
    /// All certificates of a text, and what could not be used of it.
    pub fn from_pem(text: &str) -> (Bundle, Vec<PemIssue>) {
        let (certs, issues) = certs_from_pem(text);
        (Bundle::from_certs(certs), issues)
    }

    /// The set of these certificates.
    pub fn from_certs(certs: impl IntoIterator<Item = Cert>) -> Bundle {
        Bundle(Arc::new(certs.into_iter().collect()))
    }

    /// The certificates, ordered by DER.
    pub fn certs(&self) -> impl Iterator<Item = &Cert> {
        self.0.iter()
    }

    /// How many different certificates.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No certificate at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether exactly this certificate, by DER, is in it.
    pub fn contains(&self, cert: &Cert) -> bool {
        self.0.contains(cert)
    }

    /// Whether a certificate of each has the same key: a root that is issued anew is another certificate.
    pub fn shares_key(&self, other: &Bundle) -> bool {
        self.certs()
            .any(|a| other.certs().any(|b| a.spki_sha256() == b.spki_sha256()))
    }

    /// What is in either.
    pub fn union(&self, other: &Bundle) -> Bundle {
        Bundle::from_certs(self.0.union(&other.0).cloned())
    }

    /// What is here and not in `other`.
    pub fn difference(&self, other: &Bundle) -> Bundle {
        Bundle::from_certs(self.0.difference(&other.0).cloned())
    }

    /// What is in both.
    pub fn intersection(&self, other: &Bundle) -> Bundle {
        Bundle::from_certs(self.0.intersection(&other.0).cloned())
    }

    /// Whether everything in here is in `other`.
    pub fn is_subset(&self, other: &Bundle) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What leaves and what comes when `self` becomes `other`.
    pub fn diff(&self, other: &Bundle) -> BundleDiff {
        BundleDiff {
            removed: self.difference(other),
            added: other.difference(self),
            kept: self.intersection(other),
        }
    }

    /// When the first of its certificates expires; `None` for an empty bundle. Until then every
    /// path that ends in it keeps its end.
    pub fn first_expiry(&self) -> Option<Timestamp> {
        self.0.iter().map(Cert::not_after).min()
    }

    /// The bundle as Istio's agent writes it into `ROOTCA`: the PEM texts in the order of their
    /// characters (`security/pkg/nodeagent/cache/secretcache.go`, `mergeConfigTrustBundle`), which
    /// is not the order of the DER.
    pub fn pem(&self) -> String {
        self.by_text().into_iter().map(|(text, _)| text).collect()
    }

    /// The certificates in the order of [`Bundle::pem`].
    pub fn in_istios_order(&self) -> impl Iterator<Item = &Cert> {
        self.by_text().into_iter().map(|(_, cert)| cert)
    }

    fn by_text(&self) -> Vec<(String, &Cert)> {
        let mut certs: Vec<(String, &Cert)> = self.0.iter().map(|c| (c.pem(), c)).collect();
        certs.sort();
        certs
    }

    /// SHA-256 of the DER of all certificates, in order: the same for the same set.
    pub fn sha256(&self) -> Fingerprint {
        let mut hasher = Hasher::new();
        for cert in self.0.iter() {
            hasher.update(cert.der());
        }
        hasher.finish()
    }
}

impl FromIterator<Cert> for Bundle {
    fn from_iter<I: IntoIterator<Item = Cert>>(certs: I) -> Self {
        Bundle::from_certs(certs)
    }
}

impl NamedCa {
    /// A CA with these roots.
    pub fn new(name: impl Into<String>, roots: Bundle) -> NamedCa {
        NamedCa {
            name: name.into(),
            roots,
        }
    }
}
