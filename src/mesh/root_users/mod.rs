//! Who trusts or shows the old root beside the proxies, and would be left behind when it is retired.
//!
//! Proxies are told a new root; what people built on the old one is not: applications that mount the root by which
//! agents verify istiod, or the certificates that a proxy writes out; webhooks and API servers whose certificate the old
//! CA signed; copies of the root; other meshes that were given it. Only what is on the cluster can be found: whoever
//! keeps the root elsewhere is known to its owners alone.

mod objects;
mod pods;

use std::fmt;

use super::MeshError;
use super::gate::View;
use super::names;
use crate::cluster::{Cluster, ClusterError};
use crate::pki::{Bundle, Signer};

/// One user of the old root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How it uses the root.
    pub how: String,
    /// What to do about it.
    pub way_out: &'static str,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind, name, how, ..
        } = self;
        let namespace = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        write!(f, "{kind} {namespace}{name}: {how}; {}", self.way_out)
    }
}

/// What is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The users.
    pub users: Vec<User>,
    /// What may not be read, a line each.
    pub unknown: Vec<String>,
}

impl Found {
    /// All of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let users = self.users.iter().map(ToString::to_string);
        self.unknown.iter().cloned().chain(users).collect()
    }

    /// Adds what was read; lack of rights is unknown.
    fn add(&mut self, what: &str, read: Result<Vec<User>, MeshError>) -> Result<(), MeshError> {
        match read {
            Ok(users) => self.users.extend(users),
            Err(MeshError::Cluster(
                why @ (ClusterError::Forbidden(_) | ClusterError::KindsUnread { .. }),
            )) => self.unknown.push(format!(
                "{what}: whether they use the old root is not known: {why}"
            )),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Every user of CITADEL's roots that can be found on the cluster.
///
/// # Errors
/// When something cannot be read for another reason than lack of rights; those are unknown.
pub async fn find(cluster: &Cluster, view: &View) -> Result<Found, MeshError> {
    let mut found = Found::default();
    let citadel = view.cas.iter().find(|ca| ca.name == names::CITADEL);
    let roots = citadel.map(|ca| ca.roots.clone()).unwrap_or_default();
    if roots.is_empty() {
        // Nothing is a copy of nothing: that would be a yes to a question that was not asked.
        let unasked = "which roots are CITADEL's is not known, and so not who uses them";
        found.unknown.push(unasked.to_owned());
    }
    found.add("workloads", pods::of_templates(cluster, view).await)?;
    found.add("pods", pods::of_pods(cluster, view).await)?;
    for kind in objects::VERIFIED {
        found.add(kind, objects::verified(cluster, kind, &roots).await)?;
    }
    for kind in ["configmaps", "secrets"] {
        found.add(kind, objects::copies(cluster, kind, &roots).await)?;
    }
    found.users.extend(federated(view));
    found.users.sort();
    found.users.dedup();
    Ok(found)
}

/// Whether the old root is what is retired next: every certificate is signed by another CA, and proxies still trust it.
pub fn are_next(view: &View) -> bool {
    let proxies = || view.survey.here();
    let by_others =
        |signer: &Signer| matches!(signer, Signer::By { ca, .. } if ca != names::CITADEL);
    proxies().all(|p| by_others(&p.verdict.signer))
        && proxies().any(|p| p.verdict.trusts(names::CITADEL))
}

/// Other meshes: a root that is taken for some trust domains only, or fetched from a SPIFFE bundle endpoint, is there for
/// peers of another mesh, which was given this one's.
fn federated(view: &View) -> Vec<User> {
    let revisions = view.revisions.iter();
    let user = |name: String, how: &String| User {
        kind: "ConfigMap".into(),
        namespace: names::ISTIO_SYSTEM.into(),
        name,
        how: how.clone(),
        way_out: "give that mesh the new root, and its owners' word for it with --waive",
    };
    revisions
        .flat_map(|revision| {
            let name = super::revision::with_revision("istio", &revision.name);
            let all = revision.federated.iter();
            all.map(move |how| user(name.clone(), how))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether certificates are of the old CA, in words.
fn remains(certs: Bundle, roots: &Bundle) -> Option<String> {
    let store = super::dump::TrustStore::Bundle(certs);
    super::verdict::remains(&[store], roots, jiff::Timestamp::now())
}
