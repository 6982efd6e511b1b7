//! What is not as it should be in a mesh, now: each kind once, with all that it is true of.
//!
//! A mesh of a thousand proxies is told by its exceptions and by counts. Exceptions are facts about one
//! moment and not gates: they name more (a root that nobody needs), and permit nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::gate::View;
use super::identity::{self, Change};
use super::injection::{Injector, Labels};
use super::matrix::{Failing, Matrix, Side, Talk};
use super::pods::Workload;
use super::read::Source;
use super::revision::{self, CaEndpoint};
use super::survey::Proxy;
use super::verdict::Expiry;
use super::{ca, names};
use crate::pki::{Cert, Fingerprint, Signer};

/// A CA certificate that ends sooner is an exception.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many items of one kind are kept: with more of them nobody reads them.
pub const MOST: usize = 1000;

/// How bad an exception is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Requests fail, or would as soon as a pod is made anew.
    Unsafe,
    /// It cannot be told whether anything is wrong.
    Unknown,
    /// Nothing fails yet; somebody should look at it.
    Warning,
    /// Nothing is wrong; worth knowing.
    Note,
}

impl Severity {
    /// The word that people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsafe => "unsafe",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One kind of exception, and all that it is true of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Its stable name.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so, of all of them.
    pub title: &'static str,
    /// How many it is true of.
    pub count: usize,
    /// One line each, of at most [`MOST`].
    pub items: Vec<String>,
    /// What to do next.
    pub next: String,
}

/// The kinds, the worst first: name, severity, what is so, what to do.
const KINDS: &[(&str, Severity, &str, &str)] = &[
    (
        "no-proxies",
        Severity::Unsafe,
        "no proxy was found in any namespace",
        "is this the right cluster? `rootshift eval 'mesh::connect().namespaces()'`",
    ),
    (
        "no-trust",
        Severity::Unsafe,
        "pairs of workloads cannot talk",
        "ask for one of them: rootshift why CLIENT SERVER",
    ),
    (
        "expired",
        Severity::Unsafe,
        "certificates are not valid",
        "look at the agent's log (container istio-proxy): it renews them; then restart these",
    ),
    (
        "expiring",
        Severity::Unsafe,
        "certificates are about to expire, and were not renewed",
        "look at the agent's log (container istio-proxy): it renews them; then restart these",
    ),
    (
        "wrong-identity",
        Severity::Unsafe,
        "certificates are of somebody else",
        "restart these, and see who signs for them",
    ),
    (
        "bad-signature",
        Severity::Unsafe,
        "certificates are signed by nobody who is known, under a known name",
        "a CA was made anew under its old name: see the CA secrets, then restart these",
    ),
    (
        "identity",
        Severity::Unsafe,
        "policies and rules do not match peers that have the new trust domain",
        "each line ends with what mends it; rootshift explain RS105",
    ),
    (
        "both-labels",
        Severity::Unsafe,
        "namespaces have both injection labels",
        "keep one: kubectl label namespace NAMESPACE istio-injection-",
    ),
    (
        "two-injectors",
        Severity::Unsafe,
        "namespaces are injected by more than one revision",
        "remove the webhook that is left over, or one of the labels",
    ),
    (
        "no-injector",
        Severity::Unsafe,
        "namespaces ask for a revision that nothing injects: new pods start without a proxy",
        "label them for a revision that is installed: rootshift eval 'mesh::connect().revisions()'",
    ),
    (
        "istiod-not-ready",
        Severity::Unsafe,
        "revisions in use have no istiod that is ready: no certificate is renewed",
        "kubectl get pods -n istio-system -l app=istiod",
    ),
    (
        "istiods-apart",
        Severity::Unsafe,
        "istiods have different roots: proxies of all but one cannot reach theirs, and renew no certificate",
        "in the middle of phase 3 `rootshift run retire-old-ca` goes on; else put the CA secret back as it was, and restart whoever has the other root",
    ),
    (
        "unknown",
        Severity::Unknown,
        "proxies and pods cannot be judged",
        "make these pods readable, give their dumps with --dump, or remove them; what cannot be read blocks every gate",
    ),
    (
        "unseen",
        Severity::Unknown,
        "clusters and workloads of the mesh were not looked at",
        "look at each: rootshift check --context THAT-CLUSTER, gates take every --context at once; of a WorkloadEntry give the dump, with --dump",
    ),
    (
        "no-sidecar",
        Severity::Unknown,
        "pods lack the sidecar that they should have",
        "make them anew; their traffic is plain text until then",
    ),
    (
        "pair-unknown",
        Severity::Unknown,
        "pairs of workloads cannot be judged",
        "ask for one of them: rootshift why CLIENT SERVER",
    ),
    (
        "identity-unknown",
        Severity::Unknown,
        "which policies and rules name peers by their trust domain is not known",
        "allow `list` on these kinds; rootshift explain RS105",
    ),
    (
        "unnamed-signer",
        Severity::Unknown,
        "certificates are signed by a CA without a name",
        "name it, if it is one of yours: --ca NAME=FILE",
    ),
    (
        "overdue",
        Severity::Warning,
        "certificates should have been renewed by now",
        "look at the agent's log (container istio-proxy) before they expire",
    ),
    (
        "identity-ahead",
        Severity::Warning,
        "policies and rules will not match peers when they get the new trust domain",
        "do what each line ends with before phase 2, which is refused until then; rootshift explain RS105",
    ),
    (
        "root-users",
        Severity::Warning,
        "the old root has other users than proxies",
        "do what each line ends with before phase 3, which is refused until then; rootshift explain RS205",
    ),
    (
        "ca-expires",
        Severity::Warning,
        "CA certificates in use expire within 30 days, or have",
        "plan the next root now: everything below it ends with it",
    ),
    (
        "behind",
        Severity::Warning,
        "workloads are not of the revision that their namespace asks for",
        "restart them: rootshift status says by which step",
    ),
    (
        "third-root",
        Severity::Warning,
        "roots without a name are trusted",
        "name them if they are yours (--ca NAME=FILE); else find out who gives them to the proxies",
    ),
    (
        "from-dump",
        Severity::Note,
        "proxies are judged by dumps that were saved, and not by asking them",
        "save them again before each phase; what may not be taken from a dump is unknown",
    ),
    (
        "spare-root",
        Severity::Note,
        "roots are trusted that no certificate needs",
        "during a migration this is as it should be; after it, rootshift run retire-old-ca",
    ),
];

/// Collects items by kind.
#[derive(Default)]
struct Found(BTreeMap<&'static str, Vec<String>>);

impl Found {
    fn add(&mut self, kind: &'static str, item: impl Into<String>) {
        self.0.entry(kind).or_default().push(item.into());
    }
}

/// Every exception of a mesh, the worst kind first. `ahead`: what moving on would change, by [`identity::ahead`];
/// `users`: lines of who else uses the old root, where that is retired next.
pub fn of(
    view: &View,
    matrix: &Matrix,
    ahead: &[(Change, identity::Found)],
    users: &[String],
) -> Vec<Exception> {
    let mut found = Found::default();
    if view.survey.proxies.is_empty() {
        found.add("no-proxies", "a check of nothing proves nothing");
    }
    for proxy in view.survey.here() {
        of_proxy(proxy, view.survey.taken_at, &mut found);
    }
    for pod in &view.survey.unjudged {
        let lacks = pod.reason.starts_with("should have a sidecar");
        let kind = if lacks { "no-sidecar" } else { "unknown" };
        found.add(
            kind,
            format!("{}.{}: {}", pod.pod, pod.namespace, pod.reason),
        );
    }
    for line in &view.survey.unseen {
        found.add("unseen", line.clone());
    }
    pairs(view, matrix, &mut found);
    namespaces(view, &mut found);
    revisions(view, &mut found);
    roots(view, &mut found);
    identities(view, ahead, &mut found);
    for line in users {
        found.add("root-users", line.clone());
    }
    KINDS
        .iter()
        .filter_map(|&(kind, severity, title, next)| {
            let mut items = found.0.remove(kind)?;
            let count = items.len();
            items.truncate(MOST);
            Some(Exception {
                kind,
                severity,
                title,
                next: concrete(next, &items),
                count,
                items,
            })
        })
        .collect()
}

/// The next step with the names of the first pair in it.
fn concrete(next: &str, items: &[String]) -> String {
    let pair = items.first().and_then(|item| item.split_once(": "));
    let pair = pair.and_then(|(pair, _)| pair.split_once(" → "));
    match pair {
        Some((client, server)) if next.contains("CLIENT SERVER") => {
            next.replace("CLIENT SERVER", &format!("{client} {server}"))
        }
        _ => next.to_owned(),
    }
}

fn name(proxy: &Proxy) -> String {
    let pod = proxy.pod();
    format!("{}.{} ({})", pod.name, pod.namespace, pod.workload)
}

fn of_proxy(proxy: &Proxy, now: Timestamp, found: &mut Found) {
    let (verdict, name) = (&proxy.verdict, name(proxy));
    if let Source::Dump(taken) = &proxy.reading.source {
        let text = format!("{name}: {} ({})", taken.age(now), taken.file);
        found.add("from-dump", text);
    }
    if let Some(reason) = verdict.unknown() {
        found.add("unknown", format!("{name}: {reason}"));
        return;
    }
    let left = verdict.not_after.map(|end| {
        let minutes = end.duration_since(now).as_mins();
        format!(
            "it ends {end:.0}, in {} h {} min",
            minutes / 60,
            minutes % 60
        )
    });
    let left = left.unwrap_or_default();
    match verdict.expiry {
        Some(expiry @ (Expiry::Expired | Expiry::NotYet)) => {
            let at = verdict.not_after.map(|end| format!("{end:.0}"));
            let text = format!("{name}: {}, {}", expiry.as_str(), at.unwrap_or_default());
            found.add("expired", text);
        }
        Some(Expiry::Critical) => found.add("expiring", format!("{name}: {left}")),
        Some(Expiry::Overdue) => found.add("overdue", format!("{name}: {left}")),
        Some(Expiry::Ok) | None => {}
    }
    if let Err(reason) = &verdict.identity {
        found.add("wrong-identity", format!("{name}: {reason}"));
    }
    match &verdict.signer {
        Signer::By { .. } => {}
        Signer::Broken { issuer } => found.add("bad-signature", format!("{name}: `{issuer}`")),
        // Of what has ended, nobody is the signer.
        Signer::Unknown { .. }
            if matches!(verdict.expiry, Some(Expiry::Expired | Expiry::NotYet)) => {}
        Signer::Unknown { reason } => found.add("unknown", format!("{name}: {reason}")),
        other => found.add("unnamed-signer", format!("{name}: {other}")),
    }
}

fn pairs(view: &View, matrix: &Matrix, found: &mut Found) {
    // What is not known of a proxy is told once, and not for each of its pairs.
    let unknown: BTreeSet<String> = view
        .survey
        .here()
        .filter(|p| p.verdict.unknown().is_some())
        .map(|p| p.pod().workload.to_string())
        .collect();
    let roots = Roots::of(view);
    // One pair of each cause first: who reads only some of them should read of all causes.
    let mut of_cause: BTreeMap<String, usize> = BTreeMap::new();
    let mut no = Vec::new();
    for failing in &matrix.failing {
        match &failing.talk {
            Talk::No { side, cause } => {
                let cause = roots.cause(failing, *side).unwrap_or_else(|| cause.clone());
                let count = of_cause.entry(cause.clone()).or_default();
                *count += 1;
                let (client, server) = (&failing.client, &failing.server);
                no.push((
                    *count,
                    format!("{client} → {server}: the {side} refuses: {cause}"),
                ));
            }
            Talk::Unknown(_)
                if unknown.contains(&failing.client) || unknown.contains(&failing.server) => {}
            Talk::Unknown(_) | Talk::Yes => found.add("pair-unknown", failing.to_string()),
        }
    }
    no.sort_by_key(|(count, _)| *count);
    for (_, item) in no {
        found.add("no-trust", item);
    }
}

/// By workload, the CAs that sign for its proxies, and those that one of them does not trust.
struct Roots(BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>);

impl Roots {
    fn of(view: &View) -> Self {
        let mut all: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
        for proxy in view.survey.here() {
            let workload = proxy.pod().workload.to_string();
            let (signers, lacking) = all.entry(workload).or_default();
            if let Signer::By { ca, .. } = &proxy.verdict.signer {
                signers.insert(ca.clone());
            }
            let untrusted = view.cas.iter().filter(|ca| !proxy.verdict.trusts(&ca.name));
            lacking.extend(untrusted.map(|ca| ca.name.clone()));
        }
        Self(all)
    }

    /// A root that one side lacks, by name; what a path says of its certificates is longer and says less.
    fn cause(&self, failing: &Failing, side: Side) -> Option<String> {
        let (judge, judged) = match side {
            Side::Client => (&failing.client, &failing.server),
            Side::Server => (&failing.server, &failing.client),
        };
        let ((signers, _), (_, lacking)) = (self.0.get(judged)?, self.0.get(judge)?);
        let ca = signers.intersection(lacking).next()?;
        Some(format!("it does not trust {ca}, which signs for {judged}"))
    }
}

fn identities(view: &View, ahead: &[(Change, identity::Found)], found: &mut Found) {
    let now = identity::domains_in_use(view);
    for (change, impacts) in ahead {
        let begun = now.contains(&change.to);
        let kind = if begun { "identity" } else { "identity-ahead" };
        for impact in &impacts.impacts {
            found.add(kind, impact.to_string());
        }
        for line in &impacts.unknown {
            found.add("identity-unknown", line.clone());
        }
    }
}

fn namespaces(view: &View, found: &mut Found) {
    let none = Labels::new();
    for (name, labels) in &view.survey.namespaces {
        let asked = labels.get(names::REV);
        let older = labels.get(names::INJECTION);
        if let (Some(rev), Some(older)) = (asked, older) {
            found.add(
                "both-labels",
                format!(
                    "{name}: `{}={rev}` and `{}={older}`: which revision injects is not what it seems",
                    names::REV,
                    names::INJECTION
                ),
            );
        }
        match view.survey.injection.injector(name, labels, &none) {
            Injector::Several(all) => found.add(
                "two-injectors",
                format!("{name}: by revisions {}", all.join(", ")),
            ),
            Injector::Nobody => {
                let wanted = match (asked, older.map(String::as_str)) {
                    _ if names::IGNORED.contains(&name.as_str()) => None,
                    (_, Some("disabled")) => None,
                    (Some(rev), _) => Some(format!("`{}={rev}`", names::REV)),
                    (None, Some("enabled")) => Some(format!("`{}=enabled`", names::INJECTION)),
                    _ => None,
                };
                if let Some(wanted) = wanted {
                    found.add("no-injector", format!("{name}: {wanted}"));
                }
            }
            Injector::Revision(_) => {}
        }
    }
    for (workload, (asked, are)) in behind(view) {
        let are: Vec<String> = are.into_iter().collect();
        found.add(
            "behind",
            format!(
                "{workload}: its namespace asks for revision `{asked}`, its proxies are of {}",
                are.join(", ")
            ),
        );
    }
}

/// Workloads whose proxies are not of the revision that would inject them now, with both.
pub fn behind(view: &View) -> BTreeMap<Workload, (String, BTreeSet<String>)> {
    let mut out: BTreeMap<Workload, (String, BTreeSet<String>)> = BTreeMap::new();
    let none = Labels::new();
    for proxy in &view.survey.proxies {
        let pod = proxy.pod();
        let labels = view.survey.namespaces.get(&pod.namespace).unwrap_or(&none);
        let injector = view
            .survey
            .injection
            .injector(&pod.namespace, labels, &pod.labels);
        let is = pod.revision.clone().unwrap_or_else(|| "default".into());
        if let Injector::Revision(asked) = injector
            && asked != is
        {
            let entry = out
                .entry(pod.workload.clone())
                .or_insert_with(|| (asked, BTreeSet::new()));
            entry.1.insert(format!("`{is}`"));
        }
    }
    out
}

fn revisions(view: &View, found: &mut Found) {
    for name in view.survey.revisions_in_use() {
        match view.revision(&name) {
            None => found.add("istiod-not-ready", format!("{name}: it has no istiod")),
            Some(revision) if revision.ready == 0 => found.add(
                "istiod-not-ready",
                format!(
                    "{name}: {}: 0 of {} pods ready",
                    revision.istiod(),
                    revision.wanted
                ),
            ),
            Some(_) => {}
        }
    }
    if let Some(which) = revision::roots_apart(&view.revisions) {
        found.add("istiods-apart", which);
    }
}

/// A CA certificate that proxies hold, and how many of them.
#[derive(Debug, Clone)]
pub struct Held {
    /// The certificate.
    pub cert: Cert,
    /// The name of its CA, or its fingerprint and subject.
    pub name: String,
    /// How many proxies hold it.
    pub proxies: usize,
    /// Whether the certificate of a proxy leads to it, or an installed revision signs with it.
    pub needed: bool,
}

/// The roots that proxies trust, by fingerprint.
pub fn trusted_roots(view: &View) -> BTreeMap<Fingerprint, Held> {
    let mut out: BTreeMap<Fingerprint, Held> = BTreeMap::new();
    for proxy in view.survey.here() {
        let stores = proxy.reading.secrets.as_ref().ok();
        let stores = stores.and_then(|s| s.trust.as_ref().ok());
        let mut seen = BTreeSet::new();
        for cert in stores.into_iter().flatten().flat_map(|store| {
            let all = store.all();
            all.certs().cloned().collect::<Vec<_>>()
        }) {
            if !seen.insert(cert.sha256()) {
                continue;
            }
            let entry = out.entry(cert.sha256()).or_insert_with(|| Held {
                name: ca::name_of(&cert, &view.cas),
                cert: cert.clone(),
                proxies: 0,
                needed: false,
            });
            entry.proxies += 1;
        }
    }
    let signing = view.survey.here().filter_map(|p| match &p.verdict.signer {
        Signer::By { root, .. } | Signer::Foreign { root, .. } => Some(*root),
        _ => None,
    });
    let of_istiod = view
        .revisions
        .iter()
        .filter(|r| r.signer == CaEndpoint::Istiod)
        .filter_map(|r| r.root.as_ref().ok())
        .flat_map(|roots| roots.certs().map(Cert::sha256).collect::<Vec<_>>());
    let of_mesh_ca = view
        .revisions
        .iter()
        .filter(|r| r.signer == CaEndpoint::MeshCa)
        .filter_map(|_| view.cas.iter().find(|ca| ca.name == names::MESHCA))
        .flat_map(|ca| ca.roots.certs().map(Cert::sha256).collect::<Vec<_>>());
    let needed: Vec<Fingerprint> = signing.chain(of_istiod).chain(of_mesh_ca).collect();
    for root in needed {
        if let Some(held) = out.get_mut(&root) {
            held.needed = true;
        }
    }
    out
}

/// The intermediates that proxies present, by fingerprint.
pub fn intermediates(view: &View) -> BTreeMap<Fingerprint, Held> {
    let mut out: BTreeMap<Fingerprint, Held> = BTreeMap::new();
    for proxy in view.survey.here() {
        let chains = proxy.reading.secrets.as_ref().ok();
        let chains = chains.and_then(|s| s.chains.as_ref().ok());
        let certs = chains.into_iter().flatten().flatten();
        for cert in certs.filter(|c| c.is_ca() && !c.is_self_issued()) {
            let entry = out.entry(cert.sha256()).or_insert_with(|| Held {
                name: format!("{} ({})", cert.sha256().short(), cert.subject()),
                cert: cert.clone(),
                proxies: 0,
                needed: true,
            });
            entry.proxies += 1;
        }
    }
    out
}

fn roots(view: &View, found: &mut Found) {
    let now = view.survey.taken_at;
    let roots = trusted_roots(view);
    // A root is spare only where it is known of every certificate that it does not need it.
    let all_known = view.survey.unjudged.is_empty()
        && view.survey.here().all(|p| {
            let signer = &p.verdict.signer;
            matches!(signer, Signer::By { .. } | Signer::Foreign { .. })
        });
    for held in roots.values() {
        let named = view.cas.iter().any(|ca| ca.roots.contains(&held.cert));
        let many = if held.proxies == 1 {
            "proxy"
        } else {
            "proxies"
        };
        let by = format!("{}: trusted by {} {many}", held.name, held.proxies);
        match (named, held.needed) {
            (false, _) => found.add("third-root", by),
            (true, false) if all_known => found.add("spare-root", by),
            (true, _) => {}
        }
    }
    let intermediates = intermediates(view);
    let used = roots.values().filter(|r| r.needed);
    for held in used.chain(intermediates.values()) {
        if held.cert.expires_in(now) < SOON {
            let end = held.cert.not_after();
            found.add("ca-expires", format!("{}: {end:.0}", held.name));
        }
    }
}

#[cfg(all(test, feature = "twin"))]
#[path = "exceptions_tests.rs"]
mod tests;
