//! What names peers by their identity, and no longer matches them when their trust domain changes.
//!
//! Two proxies that talk are judged by [`super::matrix`]: roots, and the names that the mesh itself demands. Here is
//! what people wrote: policies that let in, or refuse, by principal, and rules that demand the name of a server. istiod
//! reads some of it for every trust domain of the mesh and its aliases, some for the aliases only, some literally;
//! [`pattern`] has the rules. A policy that allows and no longer matches refuses requests; one that denies and no longer
//! matches lets them pass, which nobody sees.
//!
//! Not looked at: JSON Web Tokens, which the trust domain is no part of, and what applications check themselves.

mod cited;
mod judge;
mod objects;
mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::judge::{Judge, Reader};
use self::objects::Objects;
use super::MeshError;
use super::gate::View;
use super::revision::{CaEndpoint, Revision};
use crate::cluster::Cluster;

/// Peers that get another trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Those that they have.
    pub from: BTreeSet<String>,
    /// The one that they get.
    pub to: String,
    /// The revisions that give it to them.
    pub revisions: BTreeSet<String>,
}

impl Change {
    /// What a revision would change if every proxy moved to it; `None` if they have its trust domain already.
    pub fn moving_to(view: &View, revision: &Revision) -> Option<Self> {
        let mut from = domains_in_use(view);
        from.remove(&revision.trust_domain);
        (!from.is_empty()).then(|| Self {
            from,
            to: revision.trust_domain.clone(),
            revisions: [revision.name.clone()].into(),
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (quoted(&self.from), &self.to);
        write!(f, "the trust domain changes from {from} to `{to}`")
    }
}

/// The trust domains of the live proxies.
pub fn domains_in_use(view: &View) -> BTreeSet<String> {
    let proxies = view.survey.all();
    let identities = proxies.filter_map(|p| p.verdict.identity.as_ref().ok());
    identities.map(|id| id.trust_domain.clone()).collect()
}

/// How a value goes on matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// These trust domains become aliases, each of these revisions.
    Aliases(BTreeMap<String, BTreeSet<String>>),
    /// Only whoever wrote it knows.
    ByHand,
    /// The command that adds the same for the new trust domain.
    Patch(String),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aliases(aliases) => {
                let one = |(domain, revisions): (&String, &BTreeSet<String>)| {
                    format!(
                        "add `{domain}` to meshConfig.trustDomainAliases of revision {}",
                        quoted(revisions)
                    )
                };
                f.write_str(&aliases.iter().map(one).collect::<Vec<_>>().join(", and "))
            }
            Self::ByHand => f.write_str("write it for both trust domains by hand"),
            Self::Patch(command) => f.write_str(command),
        }
    }
}

/// A value that stops matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impact {
    /// The kind of the object.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where in it, as `spec.rules[0].from[0].source.principals[0]`.
    pub field: String,
    /// What stands there.
    pub value: String,
    /// What that does.
    pub effect: String,
    /// What keeps it.
    pub keep: Keep,
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            field,
            value,
            effect,
            keep,
        } = self;
        write!(
            f,
            "{kind} {namespace}/{name}: {field} `{value}`: {effect}; {keep}"
        )
    }
}

/// What is known of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What stops matching.
    pub impacts: Vec<Impact>,
    /// What could not be read, a line each.
    pub unknown: Vec<String>,
}

impl Found {
    /// All of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let impacts = self.impacts.iter().map(ToString::to_string);
        self.unknown.iter().cloned().chain(impacts).collect()
    }
}

/// Everything that stops matching by a change, in this cluster and the others of the mesh.
///
/// # Errors
/// When a list fails for another reason than lack of rights, or a kind that is not served; those are unknown.
pub async fn find(
    cluster: &Cluster,
    others: &[Cluster],
    view: &View,
    change: &Change,
) -> Result<Found, MeshError> {
    let mut found = Found::default();
    let readers = judge::readers(view, change);
    add(
        &mut found,
        &Objects::read(cluster, "").await?,
        view,
        change,
        &readers,
    );
    for other in others.iter().filter(|o| o.server() != cluster.server()) {
        let objects = Objects::read(other, &format!("@{}", other.context())).await?;
        let theirs = judge::readers_of(other).await?;
        // A cluster without an istiod of its own is told by this one's.
        let readers = if theirs.is_empty() { &readers } else { &theirs };
        add(&mut found, &objects, view, change, readers);
    }
    Ok(found)
}

/// What moving on to an installed revision would change, for who only looks: of those for which a CA other than istiod's
/// own signs, since a migration goes there.
///
/// # Errors
/// As [`find`].
pub async fn ahead(cluster: &Cluster, view: &View) -> Result<Vec<(Change, Found)>, MeshError> {
    let mut all: Vec<(Change, Found)> = Vec::new();
    for revision in view
        .revisions
        .iter()
        .filter(|r| r.signer != CaEndpoint::Istiod)
    {
        let Some(change) = Change::moving_to(view, revision) else {
            continue;
        };
        let found = find(cluster, &[], view, &change).await?;
        all.push((change, found));
    }
    Ok(all)
}

fn add(found: &mut Found, objects: &Objects, view: &View, change: &Change, readers: &[Reader]) {
    let judge = Judge::new(view, change, readers, objects);
    found.unknown.extend(objects.unknown.iter().cloned());
    found.impacts.extend(judge.all());
}

fn quoted(names: &BTreeSet<String>) -> String {
    let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    all.join(", ")
}
