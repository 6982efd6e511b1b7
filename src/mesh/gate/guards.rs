//! Gates before effects: what a mutation would do to the mesh, judged before it is sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    CA_SECRET, Finding, ISTIOD_REMOVAL, ISTIOD_RESTART, NEW_ROOT, ROOT_USERS, View, judged, made,
    settings,
};
use crate::cluster::{Cluster, ClusterError, Selector};
use crate::mesh::ca_secrets::{self, CaSecrets, Load, Unloadable};
use crate::mesh::effect::Effect;
use crate::mesh::forecast;
use crate::mesh::injection::{Injection, Injector, Labels};
use crate::mesh::matrix::signer_name;
use crate::mesh::pods::{self, PodClass, Workload};
use crate::mesh::read::Ask;
use crate::mesh::revision::{CaEndpoint, Revision};
use crate::mesh::survey::SurveyOptions;
use crate::mesh::{MeshError, names, root_users, templates, verdict};
use crate::pki::{Bundle, NamedCa, Signer};

/// Judges an effect on a cluster before it is caused. Empty: it may be caused. `others` are further clusters of the mesh.
///
/// # Errors
/// When the mesh cannot be read at all; the caller treats that as a no.
pub async fn review(
    cluster: &Cluster,
    others: &[Cluster],
    given: &[NamedCa],
    effect: &Effect,
    options: &SurveyOptions,
) -> Result<Vec<Finding>, MeshError> {
    if !concerns_mesh(cluster, effect).await? {
        return Ok(Vec::new());
    }
    let mut options = options.clone();
    if let Effect::Pods { workload, .. } = effect {
        options.replaced = Some(workload.clone());
    }
    // Who accepts whom is asked where pairs are judged.
    options.read.ask = match effect {
        Effect::CaSecret { .. }
        | Effect::CaSecretRemoval { .. }
        | Effect::ControlPlaneRemoval
        | Effect::IstiodRemoval { .. }
        | Effect::IstiodRestart { after: None, .. } => Ask::Certificates,
        Effect::Injectors { .. }
        | Effect::IstiodRestart { after: Some(_), .. }
        | Effect::MeshSettings { .. }
        | Effect::NamespaceLabels { .. }
        | Effect::Pods { .. } => Ask::Everything,
    };
    let mut view = View::take(cluster, others, given, &options).await?;
    if !matches!(
        effect,
        Effect::CaSecret { .. } | Effect::CaSecretRemoval { .. }
    ) {
        view.ask_injectors(cluster).await;
    }
    Ok(match effect {
        Effect::CaSecret { name, after } => ca_secret(cluster, &view, name, after).await?,
        Effect::CaSecretRemoval { names } => ca_secret_removal(cluster, &view, names).await?,
        Effect::ControlPlaneRemoval => control_plane_removal(cluster, &view).await?,
        Effect::Injectors {
            configuration,
            after,
        } => settings::injectors(cluster, others, view, configuration, after.as_ref()).await?,
        Effect::IstiodRemoval { revision, what } => istiod_removal(&view, revision, what),
        Effect::IstiodRestart { revision, after } => {
            let mut findings = istiod_restart(cluster, &view, revision, after.as_ref()).await?;
            if let Some(after) = after {
                let change = |r: &Revision| r.with_deployment(after);
                findings.extend(settings::change(cluster, &view, revision, change).await?);
            }
            findings
        }
        Effect::MeshSettings {
            revision,
            after,
            key,
        } => {
            let change = |r: &Revision| r.with_settings(key, after.as_ref());
            settings::change(cluster, &view, revision, change).await?
        }
        Effect::NamespaceLabels { namespace, after } => {
            let templates = templates::all(cluster, Some(namespace)).await?;
            let moved = forecast::namespace(&view.survey, &templates, namespace, after);
            let mut findings = made::judge(&view, &moved, false);
            findings.extend(made::identity(cluster, others, &view, &view.survey, &moved).await?);
            findings
        }
        Effect::Pods {
            workload,
            pod,
            made,
        } => made::pods(cluster, others, &view, workload, pod, *made).await?,
    })
}

/// Spares a survey where nothing of the mesh is touched: pods that no webhook injects, now or then.
async fn concerns_mesh(cluster: &Cluster, effect: &Effect) -> Result<bool, MeshError> {
    let Effect::Pods { workload, pod, .. } = effect else {
        return Ok(true);
    };
    let injection = Injection::read(cluster).await?;
    let kind = cluster.kind("namespaces").await?;
    let namespace = cluster.get(&kind, None, &workload.namespace).await?;
    let of_namespace = namespace.map(|n| n.labels()).unwrap_or_default();
    let labels = templates::texts(&pod["metadata"]["labels"]);
    let injector = injection.injector(&workload.namespace, &of_namespace, &labels);
    Ok(injector != Injector::Nobody || has_proxies(cluster, workload).await?)
}

async fn has_proxies(cluster: &Cluster, workload: &Workload) -> Result<bool, MeshError> {
    let kind = cluster.kind("pods").await?;
    let everything = Selector::default();
    let all = cluster
        .list(&kind, Some(&workload.namespace), &everything)
        .await?;
    Ok(all.iter().any(|p| match pods::classify(p) {
        PodClass::Proxy(proxy) | PodClass::Starting(proxy, _) => proxy.workload == *workload,
        _ => false,
    }))
}

/// A CA secret that is written: istiod has to go on as it would have.
async fn ca_secret(
    cluster: &Cluster,
    view: &View,
    name: &str,
    after: &Value,
) -> Result<Vec<Finding>, MeshError> {
    let mut findings: Vec<Finding> = judged(&view.survey, false);
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
    let mut findings: Vec<Finding> = judged(&view.survey, false);
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
    let users = root_users::find(cluster, view).await?.lines();
    if !users.is_empty() {
        findings.push(Finding::new(
            ROOT_USERS,
            users,
            "do what each line ends with, then run this again; `rootshift explain RS205` says more",
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
        .all()
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
    let none = Labels::new();
    let wanted = Injector::Revision(revision.to_owned());
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
    after: Option<&Value>,
) -> Result<Vec<Finding>, MeshError> {
    let Some(revision) = view.revision(revision) else {
        return Ok(Vec::new());
    };
    let next = after
        .map(|after| revision.with_deployment(after))
        .transpose()?;
    if !next.as_ref().unwrap_or(revision).ca_server {
        return Ok(Vec::new());
    }
    let istiod = revision.istiod();
    let change = match (&revision.root, readable(cluster).await?) {
        (Err(reason), _) => format!("the root that {istiod} has now is not known: {reason}"),
        (Ok(_), Err(why)) => {
            format!("which CA secret {istiod} would load is not known: {why}")
        }
        (Ok(now), Ok(secrets)) => match secrets.load(Timestamp::now()) {
            Ok(Some(load)) if load.anchors.shares_key(now) => {
                let refusing = refusing(view, &load.anchors);
                if refusing.is_empty() {
                    return Ok(Vec::new());
                }
                let next =
                    "have every proxy get the root first: restart the workloads that are named";
                let change = format!(
                    "secret {} has {istiod} sign under {}",
                    load.secret,
                    show(&load.anchors)
                );
                return Ok(vec![
                    Finding::new(ISTIOD_RESTART, refusing, next).headed(change),
                ]);
            }
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
    let next = "see that istiod loads the CA that it has now (put its secret back, or allow `get` on it), or finish phase 2 first";
    Ok(vec![
        Finding::new(ISTIOD_RESTART, users, next).headed(change),
    ])
}

/// Proxies that would not trust what is signed under these roots, or of which that is not known.
fn refusing(view: &View, anchors: &Bundle) -> Vec<String> {
    let ca = NamedCa::new("it", anchors.clone());
    let now = Timestamp::now();
    let proxies = view.survey.all();
    proxies
        .filter_map(|p| {
            let answer = verdict::trusts(&p.reading, &ca, now);
            let pod = p.pod();
            (!answer.is_yes()).then(|| {
                format!(
                    "{}.{} does not trust that: {answer}",
                    pod.name, pod.namespace
                )
            })
        })
        .collect()
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
        .here()
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
    let next = "move these to another revision first";
    vec![
        Finding::new(ISTIOD_REMOVAL, evidence, next)
            .headed(format!("{what} serves revision `{revision}`")),
    ]
}
