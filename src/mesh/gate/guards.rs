//! Gates before effects: what a mutation would do to the mesh, judged before it is sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    CA_SECRET, Finding, HANDSHAKES, INJECTION, ISTIOD_REMOVAL, ISTIOD_RESTART, NEW_ROOT, View,
    judged,
};
use crate::cluster::{Cluster, ClusterError};
use crate::mesh::ca_secrets::{self, CaSecrets, Load, Unloadable};
use crate::mesh::effect::Effect;
use crate::mesh::forecast::{self, Moved};
use crate::mesh::matrix::{Matrix, signer_name};
use crate::mesh::revision::{CaEndpoint, Revision};
use crate::mesh::survey::SurveyOptions;
use crate::mesh::{MeshError, names};
use crate::pki::{Bundle, NamedCa, Signer};

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
    let mut view = View::take(cluster, given, options).await?;
    if matches!(effect, Effect::NamespaceLabels { .. } | Effect::Pods { .. }) {
        view.ask_injectors(cluster).await;
    }
    Ok(match effect {
        Effect::CaSecret { name, after } => ca_secret(cluster, &view, name, after).await?,
        Effect::CaSecretRemoval { names } => ca_secret_removal(cluster, &view, names).await?,
        Effect::ControlPlaneRemoval => control_plane_removal(cluster, &view).await?,
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
    let injection = crate::mesh::injection::Injection::read(cluster).await?;
    let kind = cluster.kind("namespaces").await?;
    let namespace = cluster.get(&kind, None, &workload.namespace).await?;
    let namespace_labels = namespace.map(|n| n.labels()).unwrap_or_default();
    let injector = injection.injector(&workload.namespace, &namespace_labels, labels);
    Ok(injector != crate::mesh::injection::Injector::Nobody
        || has_proxies(cluster, workload).await?)
}

async fn has_proxies(
    cluster: &Cluster,
    workload: &crate::mesh::pods::Workload,
) -> Result<bool, MeshError> {
    let kind = cluster.kind("pods").await?;
    let all = cluster
        .list(
            &kind,
            Some(&workload.namespace),
            &crate::cluster::Selector::default(),
        )
        .await?;
    Ok(all.iter().any(|p| match crate::mesh::pods::classify(p) {
        crate::mesh::pods::PodClass::Proxy(proxy) => proxy.workload == *workload,
        _ => false,
    }))
}

fn is_gateway(
    view: &View,
    workload: &crate::mesh::pods::Workload,
    labels: &crate::mesh::injection::Labels,
) -> bool {
    use crate::mesh::pods::ProxyKind;
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
        ) == crate::mesh::injection::Injector::Nobody;
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
    // Also where nothing seems to be made anew: pods that wait for a node come up as the labels are by then.
    findings.extend(judged(&view.survey, false));
    if made.is_empty() {
        return findings;
    }
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

/// A CA secret that is written: istiod has to go on as it would have.
async fn ca_secret(
    cluster: &Cluster,
    view: &View,
    name: &str,
    after: &Value,
) -> Result<Vec<Finding>, MeshError> {
    let mut findings: Vec<Finding> = judged(&view.survey, false).into_iter().collect();
    let secrets = match readable(cluster).await? {
        Ok(secrets) => secrets,
        Err(why) => {
            findings.push(unreadable(&format!(
                "which root secret {name} may hold is not known: {why}"
            )));
            return Ok(findings);
        }
    };
    let now = Timestamp::now();
    let held = secrets.load(now);
    // One that lies dormant is judged as well: it comes first as soon as the other is gone.
    let next = match CaSecrets::only(name, after).load(now) {
        Ok(None) => secrets.with(name, after).load(now),
        next => next,
    };
    if let Some(wrong) = wrong(view, &held, &next) {
        findings.push(Finding::new(
            CA_SECRET,
            vec![format!(
                "secret {name} would hold {wrong}, which istiod finds at its next start"
            )],
            "change roots by distributing the new one first",
        ));
    }
    Ok(findings)
}

/// What is wrong with what istiod would find, as the object of a sentence.
fn wrong(
    view: &View,
    held: &Result<Option<Load>, Unloadable>,
    next: &Result<Option<Load>, Unloadable>,
) -> Option<String> {
    let next = match next {
        Err(unloadable) => return Some(unloadable.holds.clone()),
        Ok(None) => return matches!(held, Ok(Some(_))).then(|| "no CA".into()),
        Ok(Some(next)) => next,
    };
    let another_signer = format!(
        "a certificate that signs under another root, {}",
        show(&next.anchors)
    );
    match held {
        Ok(Some(held)) if held.roots != next.roots => Some("another root".into()),
        Ok(Some(held)) => (!held.anchors.shares_key(&next.anchors)).then_some(another_signer),
        // The first one of a mesh, or one that is put back: what runs is what had been loaded or made.
        Ok(None) | Err(_) => {
            let mut running = view.revisions.iter().filter(|r| r.ca_server);
            let other = |r: &Revision| r.root.as_ref().is_ok_and(|b| !b.shares_key(&next.anchors));
            running.any(other).then_some(another_signer)
        }
    }
}

/// CA secrets that are deleted, judged together: what istiod would load without them.
async fn ca_secret_removal(
    cluster: &Cluster,
    view: &View,
    names: &[String],
) -> Result<Vec<Finding>, MeshError> {
    let mut findings: Vec<Finding> = judged(&view.survey, false).into_iter().collect();
    let secrets = match readable(cluster).await? {
        Ok(secrets) => secrets,
        Err(why) => {
            findings.push(unreadable(&format!(
                "what istiod loads without secret {} is not known: {why}",
                names.join(", ")
            )));
            return Ok(findings);
        }
    };
    let users = istiod_signed(view);
    if !users.is_empty() {
        findings.push(Finding::new(
            CA_SECRET,
            users,
            "finish phase 2 first, so that every certificate comes from the new CA",
        ));
    }
    let now = Timestamp::now();
    let held = secrets.load(now);
    let instead = match secrets.without(names).load(now) {
        Ok(Some(left)) => match &held {
            Ok(Some(held)) if held.anchors.shares_key(&left.anchors) => return Ok(findings),
            _ => format!(
                "without it, istiod loads secret {} when it starts next, which holds {}, and gives that root to every proxy",
                left.secret,
                show(&left.roots)
            ),
        },
        Err(left) => format!(
            "without it, istiod finds secret {} when it starts next, which holds {}",
            left.secret, left.holds
        ),
        Ok(None) => {
            "without a CA secret it makes a self-signed root when it starts next, and gives it to every proxy".into()
        }
    };
    let mut evidence: Vec<String> = view
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
    if !evidence.is_empty() {
        evidence.push(instead);
        findings.push(Finding::new(
            NEW_ROOT,
            evidence,
            "accept it with --set new_root=accept, or install the revision with ENABLE_CA_SERVER=false \
             and a serving certificate of its own",
        ));
    }
    Ok(findings)
}

/// The CA secrets, or why they may not be read.
async fn readable(cluster: &Cluster) -> Result<Result<CaSecrets, String>, MeshError> {
    match CaSecrets::read(cluster).await {
        Err(MeshError::Cluster(why @ ClusterError::Forbidden(_))) => Ok(Err(why.to_string())),
        secrets => Ok(Ok(secrets?)),
    }
}

/// What cannot be read cannot be shown to be safe.
fn unreadable(evidence: &str) -> Finding {
    Finding::new(
        CA_SECRET,
        vec![evidence.to_owned()],
        "allow `get` on secrets in istio-system, then run this again",
    )
}

/// Namespace istio-system goes, with every istiod and the CA secrets.
async fn control_plane_removal(cluster: &Cluster, view: &View) -> Result<Vec<Finding>, MeshError> {
    let what = format!("namespace {}", names::ISTIO_SYSTEM);
    let revisions = view.revisions.iter();
    let mut findings: Vec<Finding> = revisions
        .flat_map(|revision| istiod_removal(view, &revision.name, &what))
        .collect();
    let all = ca_secrets::ALL.map(str::to_owned);
    findings.extend(ca_secret_removal(cluster, view, &all).await?);
    Ok(findings)
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
    let none = crate::mesh::injection::Labels::new();
    let wanted = crate::mesh::injection::Injector::Revision(revision.to_owned());
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
    let istiod = revision.istiod();
    let change = match (&revision.root, readable(cluster).await?) {
        (Err(reason), _) => format!("the root that {istiod} has now is not known: {reason}"),
        (Ok(_), Err(why)) => {
            format!("which CA secret {istiod} would load is not known: {why}")
        }
        (Ok(now), Ok(secrets)) => match secrets.load(Timestamp::now()) {
            Ok(Some(load)) if load.anchors.shares_key(now) => return Ok(Vec::new()),
            Ok(Some(load)) => format!(
                "secret {} has {istiod} sign under {}, now it signs under {}",
                load.secret,
                show(&load.anchors),
                show(now)
            ),
            Ok(None) => format!(
                "there is no CA secret: {istiod} would make a new root in place of {}",
                show(now)
            ),
            Err(found) => format!(
                "secret {} holds {}: {istiod} would not start, or would sign under another root than {}",
                found.secret,
                found.holds,
                show(now)
            ),
        },
    };
    let users = istiod_signed(view);
    if users.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        ISTIOD_RESTART,
        std::iter::once(change).chain(users).collect(),
        "see that istiod loads the CA that it has now (put its secret back, or allow `get` on it), or finish phase 2 first",
    )])
}

fn show(bundle: &Bundle) -> String {
    let all: Vec<String> = bundle
        .certs()
        .map(|c| format!("{} ({})", c.sha256().short(), c.subject()))
        .collect();
    all.join(", ")
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
