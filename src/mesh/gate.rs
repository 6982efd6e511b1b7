//! May this step be taken? Each gate has a stable code, evidence, and what to do next.
//!
//! Two kinds. A *guard* looks at an effect ([`Effect`]) before the mutation that causes it is sent,
//! with a survey taken for it. A *check* is asked by a script between the phases. Both answer with
//! findings; no finding is a yes, and what is not known is a finding.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::effect::Effect;
use super::forecast::{self, Moved};
use super::matrix::{Matrix, signer_name};
use super::revision::{CaEndpoint, Revision};
use super::survey::{Survey, SurveyOptions};
use super::{MeshError, ca, names, revision};
use crate::cluster::Cluster;
use crate::pki::{Bundle, NamedCa, Signer, certs_from_pem};

/// A gate: its code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// `RS` and three digits.
    pub code: &'static str,
    /// What must hold.
    pub title: &'static str,
}

macro_rules! gates {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $title:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: Gate = Gate { code: $code, title: $title };)+
        /// Every gate, by code.
        pub const ALL: &[Gate] = &[$($name),+];
    };
}

gates! {
    /// The trust matrix of the next state has no failing pair.
    HANDSHAKES = "RS101", "every pair of workloads can handshake during and after this step";
    /// The pods that the step makes come up with a proxy.
    INJECTION = "RS102", "new pods come up with a proxy of an installed revision";
    /// Nothing in the mesh is unknown, and there is a mesh.
    JUDGED = "RS103", "every proxy of the mesh can be judged";
    /// The CA secrets have no users.
    CA_SECRET = "RS201", "no certificate in use or to come depends on the CA secret";
    /// istiod would not make a root of its own.
    NEW_ROOT = "RS202", "istiod will not make a new root when it starts next";
    /// A restarted istiod loads the CA that it has now.
    ISTIOD_RESTART = "RS203", "a restarted istiod signs with the root that proxies trust";
    /// A revision has no users.
    ISTIOD_REMOVAL = "RS204", "no proxy and no namespace uses the revision";
    /// Every proxy trusts the given CAs.
    TRUSTS = "RS301", "every proxy trusts the roots";
    /// Every workload certificate is signed by the given CA.
    SIGNED_BY = "RS302", "every workload certificate is signed by the CA";
    /// The given root is in no proxy.
    ROOT_GONE = "RS303", "the root is in no proxy";
    /// The revision is installed as it must be.
    REVISION = "RS304", "the revision is installed, ready, and set up for the step";
    /// The mesh is healthy before anything is begun.
    HEALTHY = "RS305", "the mesh is healthy";
}

/// Why a gate does not pass.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which gate.
    pub gate: Gate,
    /// What was seen, a line each.
    pub evidence: Vec<String>,
    /// The next step for the operator.
    pub next: String,
}

impl Finding {
    fn new(gate: Gate, evidence: Vec<String>, next: &str) -> Self {
        Self {
            gate,
            evidence,
            next: next.to_owned(),
        }
    }
}

/// Everything that a gate looks at.
#[derive(Debug)]
pub struct View {
    /// The proxies.
    pub survey: Survey,
    /// The revisions.
    pub revisions: Vec<Revision>,
    /// The CAs by name.
    pub cas: Vec<NamedCa>,
}

impl View {
    /// Reads the mesh as it is now.
    pub async fn take(
        cluster: &Cluster,
        given: &[NamedCa],
        options: &SurveyOptions,
    ) -> Result<Self, MeshError> {
        let cas = ca::find(cluster, given).await?;
        let survey = Survey::take(cluster, &cas, options).await?;
        let revisions = revision::read_all(cluster, &survey.injection).await?;
        Ok(Self {
            survey,
            revisions,
            cas,
        })
    }

    /// The revision of that name.
    pub fn revision(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|r| r.name == name)
    }
}

/// Judges an effect before it is caused. Empty: it may be caused.
///
/// # Errors
/// When the mesh cannot be read at all; the caller treats that as a no.
pub async fn review(
    cluster: &Cluster,
    given: &[NamedCa],
    effect: &Effect,
    options: &SurveyOptions,
) -> Result<Vec<Finding>, MeshError> {
    if !concerns_mesh(cluster, effect).await? {
        return Ok(Vec::new());
    }
    let view = View::take(cluster, given, options).await?;
    Ok(match effect {
        Effect::CaSecret { name, after } => ca_secret(cluster, &view, name, after.as_ref()).await?,
        Effect::IstiodRemoval { revision, what } => istiod_removal(&view, revision, what),
        Effect::IstiodRestart { revision } => istiod_restart(cluster, &view, revision).await?,
        Effect::NamespaceLabels { namespace, after } => {
            recreated(&view, &forecast::namespace(&view.survey, namespace, after))
        }
        Effect::Pods {
            workload,
            labels,
            service_account,
        } => {
            let namespace_labels = view
                .survey
                .namespaces
                .get(&workload.namespace)
                .cloned()
                .unwrap_or_default();
            let live = view
                .survey
                .proxies
                .iter()
                .filter(|p| p.pod().workload == *workload)
                .count();
            let moved = Moved {
                workload: workload.clone(),
                service_account: service_account.clone(),
                namespace_labels,
                pod_labels: labels.clone(),
                has_twin: workload.kind == "Deployment" || live > 1,
                gateway: is_gateway(&view, workload, labels),
            };
            recreated(&view, &[moved])
        }
    })
}

/// Spares a survey where nothing of the mesh is touched: pods that no webhook injects, now or then.
async fn concerns_mesh(cluster: &Cluster, effect: &Effect) -> Result<bool, MeshError> {
    let Effect::Pods {
        workload, labels, ..
    } = effect
    else {
        return Ok(true);
    };
    let injection = super::injection::Injection::read(cluster).await?;
    let kind = cluster.kind("namespaces").await?;
    let namespace = cluster.get(&kind, None, &workload.namespace).await?;
    let namespace_labels = namespace.map(|n| n.labels()).unwrap_or_default();
    let injector = injection.injector(&workload.namespace, &namespace_labels, labels);
    Ok(injector != super::injection::Injector::Nobody || has_proxies(cluster, workload).await?)
}

async fn has_proxies(
    cluster: &Cluster,
    workload: &super::pods::Workload,
) -> Result<bool, MeshError> {
    let kind = cluster.kind("pods").await?;
    let all = cluster
        .list(
            &kind,
            Some(&workload.namespace),
            &crate::cluster::Selector::default(),
        )
        .await?;
    Ok(all.iter().any(|p| match super::pods::classify(p) {
        super::pods::PodClass::Proxy(proxy) => proxy.workload == *workload,
        _ => false,
    }))
}

fn is_gateway(
    view: &View,
    workload: &super::pods::Workload,
    labels: &super::injection::Labels,
) -> bool {
    use super::pods::ProxyKind;
    view.survey
        .proxies
        .iter()
        .filter(|p| p.pod().workload == *workload)
        .any(|p| p.pod().kind == ProxyKind::Gateway)
        || labels.get("istio").is_some_and(|v| v.ends_with("gateway"))
}

/// Pods that come up anew: can they, and can they talk?
fn recreated(view: &View, moved: &[Moved]) -> Vec<Finding> {
    let (mut no_proxy, mut made) = (Vec::new(), Vec::new());
    for m in moved {
        let had_proxy = view
            .survey
            .proxies
            .iter()
            .any(|p| p.pod().workload == m.workload);
        let nobody = view.survey.injection.injector(
            &m.workload.namespace,
            &m.namespace_labels,
            &m.pod_labels,
        ) == super::injection::Injector::Nobody;
        if nobody && !had_proxy {
            continue;
        }
        match forecast::injecting(&view.survey, &view.revisions, m) {
            Ok(revision) => made.push(forecast::member(&view.survey, revision, &view.cas, m)),
            Err(reason) => no_proxy.push(reason.0),
        }
    }
    let mut findings = Vec::new();
    if !no_proxy.is_empty() {
        findings.push(Finding::new(
            INJECTION,
            no_proxy,
            "install the revision, or put the namespace's labels back to one that is installed",
        ));
    }
    if made.is_empty() {
        return findings;
    }
    findings.extend(judged(&view.survey, false));
    let matrix = Matrix::next(&view.survey, made, &view.cas, Timestamp::now());
    if !matrix.failing.is_empty() {
        let total = format!(
            "{} of {} ordered pairs would fail or are unknown",
            matrix.failing.len(),
            matrix.pairs
        );
        let pairs = matrix.failing.iter().map(ToString::to_string);
        findings.push(Finding::new(
            HANDSHAKES,
            std::iter::once(total).chain(pairs).collect(),
            "give every proxy both roots and both trust domains first: rootshift run citadel-to-meshca",
        ));
    }
    findings
}

/// A mesh in which something is unknown, or in which there is nothing.
pub fn judged(survey: &Survey, needs_some: bool) -> Option<Finding> {
    let mut evidence = survey.unknowns();
    if needs_some && survey.proxies.is_empty() {
        evidence.insert(0, "no proxy was found in any namespace".into());
    }
    (!evidence.is_empty()).then(|| {
        Finding::new(
            JUDGED,
            evidence,
            "make these pods readable, or remove them; then run this again",
        )
    })
}

async fn ca_secret(
    cluster: &Cluster,
    view: &View,
    name: &str,
    after: Option<&Value>,
) -> Result<Vec<Finding>, MeshError> {
    let mut findings: Vec<Finding> = judged(&view.survey, false).into_iter().collect();
    let held = ca::secret_root(cluster).await?;
    if let Some(after) = after {
        let new = secret_roots(after);
        let same = held
            .as_ref()
            .is_none_or(|(_, roots)| new.is_empty() || *roots == new);
        if !same {
            findings.push(Finding::new(
                CA_SECRET,
                vec![format!(
                    "secret {name} would hold another root, which istiod loads at its next start"
                )],
                "change roots by distributing the new one first",
            ));
        }
        return Ok(findings);
    }
    let users = istiod_signed(view);
    if !users.is_empty() {
        findings.push(Finding::new(
            CA_SECRET,
            users,
            "finish phase 2 first, so that every certificate comes from the new CA",
        ));
    }
    let kind = cluster.kind("secrets").await?;
    let other = if name == names::CACERTS {
        names::CA_SECRET
    } else {
        names::CACERTS
    };
    let last = cluster
        .get(&kind, Some(names::ISTIO_SYSTEM), other)
        .await?
        .is_none();
    let makers: Vec<String> = view
        .revisions
        .iter()
        .filter(|r| r.ca_server)
        .map(|r| {
            format!(
                "{} runs its CA server (ENABLE_CA_SERVER is not false)",
                r.istiod()
            )
        })
        .collect();
    if last && !makers.is_empty() {
        let mut evidence = makers;
        evidence.push(
            "without a CA secret it makes a self-signed root when it starts next, and gives it to every proxy".into(),
        );
        findings.push(Finding::new(
            NEW_ROOT,
            evidence,
            "accept it with --set new_root=accept, or install the revision with ENABLE_CA_SERVER=false \
             and a serving certificate of its own",
        ));
    }
    Ok(findings)
}

fn secret_roots(secret: &Value) -> Bundle {
    use base64::Engine as _;
    let texts = ["root-cert.pem", "ca.crt", "ca-cert.pem"]
        .iter()
        .filter_map(|key| {
            let encoded = secret["data"][key].as_str()?;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .ok()?;
            String::from_utf8(bytes).ok()
        });
    texts
        .map(|t| Bundle::from_certs(certs_from_pem(&t).0))
        .find(|b| !b.is_empty())
        .unwrap_or_default()
}

/// Who depends on istiod's own CA: certificates in use, and namespaces whose pods would get one.
fn istiod_signed(view: &View) -> Vec<String> {
    let external: BTreeSet<&str> = view
        .cas
        .iter()
        .map(|ca| ca.name.as_str())
        .filter(|name| *name != names::CITADEL)
        .collect();
    let mut users: Vec<String> = view
        .survey
        .proxies
        .iter()
        .filter(|p| !matches!(&p.verdict.signer, Signer::By { ca, .. } if external.contains(ca.as_str())))
        .map(|p| {
            let pod = p.pod();
            format!("{}.{} has a certificate signed by {}", pod.name, pod.namespace, signer_name(&p.verdict.signer))
        })
        .collect();
    for revision in view
        .revisions
        .iter()
        .filter(|r| r.signer == CaEndpoint::Istiod)
    {
        users.extend(namespaces_of(view, &revision.name).into_iter().map(|ns| {
            format!(
                "namespace {ns} is labelled for revision `{}`, for which istiod signs",
                revision.name
            )
        }));
    }
    users
}

fn namespaces_of(view: &View, revision: &str) -> Vec<String> {
    let none = super::injection::Labels::new();
    let wanted = super::injection::Injector::Revision(revision.to_owned());
    view.survey
        .namespaces
        .iter()
        .filter(|(name, labels)| view.survey.injection.injector(name, labels, &none) == wanted)
        .map(|(name, _)| name.clone())
        .collect()
}

async fn istiod_restart(
    cluster: &Cluster,
    view: &View,
    revision: &str,
) -> Result<Vec<Finding>, MeshError> {
    let Some(revision) = view.revision(revision) else {
        return Ok(Vec::new());
    };
    if !revision.ca_server {
        return Ok(Vec::new());
    }
    let will_load = ca::secret_root(cluster).await?;
    let change = match (&will_load, &revision.root) {
        (Some((_, roots)), Ok(now)) if shares_key(roots, now) => return Ok(Vec::new()),
        (Some((secret, roots)), Ok(now)) => {
            format!(
                "secret {secret} holds {}, {} signs with {}",
                show(roots),
                revision.istiod(),
                show(now)
            )
        }
        (None, Ok(now)) => format!(
            "there is no CA secret: {} would make a new root in place of {}",
            revision.istiod(),
            show(now)
        ),
        (_, Err(reason)) => format!(
            "the root that {} has now is not known: {reason}",
            revision.istiod()
        ),
    };
    let users = istiod_signed(view);
    if users.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        ISTIOD_RESTART,
        std::iter::once(change).chain(users).collect(),
        "put the CA secret back, or finish phase 2 first",
    )])
}

fn show(bundle: &Bundle) -> String {
    let all: Vec<String> = bundle
        .certs()
        .map(|c| format!("{} ({})", c.sha256().short(), c.subject()))
        .collect();
    all.join(", ")
}

fn shares_key(a: &Bundle, b: &Bundle) -> bool {
    a.certs()
        .any(|x| b.certs().any(|y| x.spki_sha256() == y.spki_sha256()))
}

fn istiod_removal(view: &View, revision: &str, what: &str) -> Vec<Finding> {
    let proxies = view
        .survey
        .proxies
        .iter()
        .filter(|p| p.pod().revision.as_deref().unwrap_or("default") == revision)
        .map(|p| {
            format!(
                "{}.{} is a proxy of revision `{revision}`",
                p.pod().name,
                p.pod().namespace
            )
        });
    let namespaces = namespaces_of(view, revision)
        .into_iter()
        .map(|ns| format!("namespace {ns} is labelled for revision `{revision}`"));
    let mut evidence: Vec<String> = proxies.chain(namespaces).collect();
    evidence.extend(view.survey.unknowns());
    if evidence.is_empty() {
        return Vec::new();
    }
    evidence.insert(0, format!("{what} serves revision `{revision}`"));
    vec![Finding::new(
        ISTIOD_REMOVAL,
        evidence,
        "move these to another revision first",
    )]
}

/// Check: every proxy trusts all of these CAs.
pub fn every_proxy_trusts(view: &View, wanted: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true).into_iter().collect();
    let lacking: Vec<String> = view
        .survey
        .proxies
        .iter()
        .filter(|p| p.verdict.unknown().is_none())
        .filter_map(|p| {
            let lacks: Vec<&str> = wanted
                .iter()
                .filter(|ca| !p.verdict.trusts(ca))
                .map(String::as_str)
                .collect();
            let pod = p.pod();
            (!lacks.is_empty()).then(|| {
                format!(
                    "{}.{} ({}) lacks {}",
                    pod.name,
                    pod.namespace,
                    pod.workload,
                    lacks.join(", ")
                )
            })
        })
        .collect();
    if !lacking.is_empty() {
        findings.push(Finding::new(
            TRUSTS,
            lacking,
            "move these workloads to a revision that distributes the roots, and restart them",
        ));
    }
    findings
}

/// Check: every workload certificate is signed by this CA.
pub fn every_certificate_signed_by(view: &View, wanted: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true).into_iter().collect();
    let others: Vec<String> = view
        .survey
        .proxies
        .iter()
        .filter(|p| !matches!(&p.verdict.signer, Signer::By { ca, .. } if ca == wanted))
        .map(|p| {
            let pod = p.pod();
            format!(
                "{}.{} ({}) is signed by {}",
                pod.name,
                pod.namespace,
                pod.workload,
                why(&p.verdict.signer)
            )
        })
        .collect();
    if !others.is_empty() {
        findings.push(Finding::new(
            SIGNED_BY,
            others,
            "move these workloads to the revision that signs with it, and restart them",
        ));
    }
    findings
}

fn why(signer: &Signer) -> String {
    match signer {
        Signer::Unknown { reason } => format!("unknown: {reason}"),
        Signer::Foreign { root, subject } => {
            format!("a CA without a name here, {} ({subject})", root.short())
        }
        Signer::Broken { issuer } => {
            format!("nobody who is known: no certificate `{issuer}` has the key")
        }
        other => signer_name(other),
    }
}

/// Check: these roots are in no proxy.
pub fn root_is_gone(view: &View, roots: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true).into_iter().collect();
    let gone: BTreeSet<_> = roots.certs().map(crate::pki::Cert::sha256).collect();
    let holders: Vec<String> = view
        .survey
        .proxies
        .iter()
        .filter_map(|p| {
            let held = p
                .verdict
                .roots
                .as_ref()
                .ok()?
                .iter()
                .find(|(fingerprint, _)| gone.contains(fingerprint))?;
            Some(format!(
                "{}.{} still trusts {} ({})",
                p.pod().name,
                p.pod().namespace,
                held.1,
                held.0.short()
            ))
        })
        .collect();
    if !holders.is_empty() {
        findings.push(Finding::new(
            ROOT_GONE,
            holders,
            "wait until these have the new bundle, or restart them",
        ));
    }
    findings
}

/// Check: a revision is installed and set up to sign and to distribute as a phase needs it.
///
/// `signer` is the named CA that must sign; every CA of `trusts` must reach its proxies.
pub fn revision_ready(view: &View, name: &str, signer: &str, trusts: &[String]) -> Vec<Finding> {
    let next = "install the revision with asmcli as the procedure has it; see the installer's log";
    let Some(revision) = view.revision(name) else {
        return vec![Finding::new(
            REVISION,
            vec![format!("revision `{name}` has no istiod Deployment")],
            next,
        )];
    };
    let mut evidence = Vec::new();
    if revision.ready < revision.wanted.max(1) {
        evidence.push(format!(
            "{}: {} of {} pods ready",
            revision.istiod(),
            revision.ready,
            revision.wanted
        ));
    }
    if trusts.len() > 1 {
        if !revision.multi_root {
            evidence.push(format!(
                "{} has no ISTIO_MULTIROOT_MESH=true: a second root reaches no proxy",
                revision.istiod()
            ));
        }
        if !revision.xds_agent {
            evidence.push(format!(
                "its proxies have no PROXY_CONFIG_XDS_AGENT=true (ConfigMap {}): a second root reaches none",
                revision::with_revision("istio", name)
            ));
        }
    }
    let moved = Moved {
        workload: super::pods::Workload {
            kind: "Pod".into(),
            namespace: "any".into(),
            name: "any".into(),
        },
        service_account: "any".into(),
        namespace_labels: super::injection::Labels::new(),
        pod_labels: super::injection::Labels::new(),
        has_twin: false,
        gateway: false,
    };
    let member = forecast::member(&view.survey, revision, &view.cas, &moved);
    if member.signer != signer {
        evidence.push(format!(
            "its proxies would be signed for by {}, not by {signer}",
            member.signer
        ));
    }
    match &member.trust {
        Err(reason) => evidence.push(reason.clone()),
        Ok(stores) => {
            for wanted in view.cas.iter().filter(|ca| trusts.contains(&ca.name)) {
                let now = Timestamp::now();
                let lacks = stores
                    .iter()
                    .any(|s| !crate::pki::trusts(&s.all(), wanted, now).is_yes());
                if lacks {
                    evidence.push(format!("its proxies would not trust {}", wanted.name));
                }
            }
        }
    }
    if evidence.is_empty() {
        Vec::new()
    } else {
        vec![Finding::new(REVISION, evidence, next)]
    }
}

/// Check: nothing is wrong before anything is begun: every proxy judged, valid, talking to every
/// other, and no namespace with both injection labels.
pub fn healthy(view: &View) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true).into_iter().collect();
    let mut evidence = Vec::new();
    for (name, labels) in &view.survey.namespaces {
        if labels.contains_key(names::REV) && labels.contains_key(names::INJECTION) {
            evidence.push(format!(
                "namespace {name} has both `{}` and `{}`: which revision injects is not what it seems",
                names::REV,
                names::INJECTION
            ));
        }
    }
    for proxy in &view.survey.proxies {
        use super::verdict::Expiry;
        if let Some(expiry @ (Expiry::Expired | Expiry::NotYet | Expiry::Critical)) =
            proxy.verdict.expiry
        {
            let pod = proxy.pod();
            evidence.push(format!(
                "{}.{}: its certificate is {}",
                pod.name,
                pod.namespace,
                expiry.as_str()
            ));
        }
        if let Err(reason) = &proxy.verdict.identity {
            let pod = proxy.pod();
            evidence.push(format!("{}.{}: {reason}", pod.name, pod.namespace));
        }
    }
    let matrix = Matrix::now(&view.survey, &view.cas, Timestamp::now());
    evidence.extend(
        matrix
            .failing
            .iter()
            .map(|f| format!("cannot talk today: {f}")),
    );
    if !evidence.is_empty() {
        findings.push(Finding::new(
            HEALTHY,
            evidence,
            "mend the mesh first: a migration makes none of this better",
        ));
    }
    findings
}
