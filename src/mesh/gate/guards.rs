//! Gates before effects: what a mutation would do to the mesh, judged before it is sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    CA_SECRET, Finding, HANDSHAKES, INJECTION, ISTIOD_REMOVAL, ISTIOD_RESTART, NEW_ROOT, View,
    judged,
};
use crate::cluster::{Cluster, ClusterError};
use crate::mesh::effect::Effect;
use crate::mesh::forecast::{self, Moved};
use crate::mesh::matrix::{Matrix, signer_name};
use crate::mesh::revision::CaEndpoint;
use crate::mesh::survey::SurveyOptions;
use crate::mesh::{MeshError, ca, names};
use crate::pki::{Bundle, NamedCa, Signer, certs_from_pem};

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
        Effect::CaSecret { name, after } => ca_secret(cluster, &view, name, after.as_ref()).await?,
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

async fn ca_secret(
    cluster: &Cluster,
    view: &View,
    name: &str,
    after: Option<&Value>,
) -> Result<Vec<Finding>, MeshError> {
    let mut findings: Vec<Finding> = judged(&view.survey, false).into_iter().collect();
    let held = match ca::secret_root(cluster).await {
        Err(MeshError::Cluster(why @ ClusterError::Forbidden(_))) => {
            findings.push(unreadable(&format!(
                "which root secret {name} may hold is not known: {why}"
            )));
            return Ok(findings);
        }
        held => held?,
    };
    if let Some(after) = after {
        let wrong = match &held {
            Some(_) if lacking(name, after).is_some() => lacking(name, after),
            Some((_, roots)) if *roots != secret_roots(name, after) => Some("another root".into()),
            _ => None,
        };
        if let Some(wrong) = wrong {
            findings.push(Finding::new(
                CA_SECRET,
                vec![format!(
                    "secret {name} would hold {wrong}, which istiod finds at its next start"
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
    findings.extend(ca_secret(cluster, view, names::CACERTS, None).await?);
    Ok(findings)
}

/// What keeps istiod from loading a CA secret (`security/pkg/pki/ca`): it takes the one file format or the other,
/// and each whole.
fn lacking(name: &str, secret: &Value) -> Option<String> {
    let formats: &[&[&str]] = if name == names::CACERTS {
        &[
            &[
                "ca-cert.pem",
                "ca-key.pem",
                "root-cert.pem",
                "cert-chain.pem",
            ],
            &["tls.crt", "tls.key", "ca.crt"],
        ]
    } else {
        &[&["ca-cert.pem", "ca-key.pem"]]
    };
    let is_there = |key: &str| {
        let value = secret["data"][key].as_str();
        value.is_some_and(|value| !value.is_empty())
    };
    if formats
        .iter()
        .any(|keys| keys.iter().all(|key| is_there(key)))
    {
        return None;
    }
    let first = formats[0].iter().find(|key| !is_there(key))?;
    Some(format!("no `{first}`"))
}

/// The root that istiod reads in a CA secret.
fn secret_roots(name: &str, secret: &Value) -> Bundle {
    use base64::Engine as _;
    let keys: &[&str] = if name == names::CACERTS {
        &["root-cert.pem", "ca.crt"]
    } else {
        &["ca-cert.pem"]
    };
    let texts = keys.iter().filter_map(|key| {
        let encoded = secret["data"][*key].as_str()?;
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
    let will_load = match ca::secret_root(cluster).await {
        Err(MeshError::Cluster(why @ ClusterError::Forbidden(_))) => Err(why),
        will_load => Ok(will_load?),
    };
    let change = match (&will_load, &revision.root) {
        (Ok(Some((_, roots))), Ok(now)) if shares_key(roots, now) => return Ok(Vec::new()),
        (Ok(Some((secret, roots))), Ok(now)) => {
            format!(
                "secret {secret} holds {}, {} signs with {}",
                show(roots),
                revision.istiod(),
                show(now)
            )
        }
        (Ok(None), Ok(now)) => format!(
            "there is no CA secret: {} would make a new root in place of {}",
            revision.istiod(),
            show(now)
        ),
        (Err(why), Ok(_)) => format!(
            "which CA secret {} would load is not known: {why}",
            revision.istiod()
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
