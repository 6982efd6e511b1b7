//! What a pod will hold once it is made anew: predicted from the revision that would inject it.
//!
//! Rests on what the cluster says (webhooks, mesh ConfigMap, istiod's environment and root) and,
//! where the revision already has proxies, on what those hold: a proxy in hand beats a setting.
//! What cannot be told stays unknown and blocks.

use std::collections::BTreeSet;

use super::dump::{Reading, TrustStore};
use super::injection::{Injector, Labels};
use super::matchers::{Inbound, Matchers, Outbound, San};
use super::matrix::{Credential, Member};
use super::names;
use super::pods::{ProxyKind, Workload};
use super::revision::{CaEndpoint, Revision};
use super::survey::Survey;
use crate::pki::{Bundle, NamedCa, Signer, SpiffeId};

/// Pods that a step will make anew.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose they are.
    pub workload: Workload,
    /// The service account they will run as.
    pub service_account: String,
    /// The labels that their namespace will have.
    pub namespace_labels: Labels,
    /// The labels that they will have.
    pub pod_labels: Labels,
    /// Whether the new ones run beside old ones of the same workload.
    pub has_twin: bool,
    /// Whether they are gateways: nobody in the mesh is their client.
    pub gateway: bool,
}

/// Why no member can be predicted: the pods would not come up, or not as proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProxy(pub String);

/// What would inject a moved pod, and whether it can.
///
/// # Errors
/// When no webhook matches (the pod would start without a proxy), several do, or the one that does
/// has no istiod that is Ready or does not answer a dry run with a proxy.
pub fn injecting<'a>(
    survey: &Survey,
    revisions: &'a [Revision],
    moved: &Moved,
) -> Result<&'a Revision, NoProxy> {
    let workload = &moved.workload;
    match survey.injection.injector(
        &workload.namespace,
        &moved.namespace_labels,
        &moved.pod_labels,
    ) {
        Injector::Nobody => Err(NoProxy(format!(
            "new pods of {workload} would start without a proxy: no injector matches the labels {}",
            show(&moved.namespace_labels)
        ))),
        Injector::Several(all) => Err(NoProxy(format!(
            "new pods of {workload} match the injectors of several revisions: {}",
            all.join(", ")
        ))),
        Injector::Revision(name) => match revisions.iter().find(|r| r.name == name) {
            None => Err(NoProxy(format!(
                "new pods of {workload} would not start: the injector of revision `{name}` has no istiod"
            ))),
            Some(revision) if revision.ready == 0 => Err(NoProxy(format!(
                "new pods of {workload} would not start: no istiod of revision `{name}` is ready"
            ))),
            Some(revision) => match &revision.injects {
                Ok(()) => Ok(revision),
                Err(reason) => Err(NoProxy(format!(
                    "new pods of {workload} would not start: {reason}"
                ))),
            },
        },
    }
}

/// The member that a moved pod will be.
pub fn member(survey: &Survey, revision: &Revision, cas: &[NamedCa], moved: &Moved) -> Member {
    let signer = signer(survey, revision, cas);
    let domains: BTreeSet<String> = std::iter::once(revision.trust_domain.clone())
        .chain(revision.aliases.iter().cloned())
        .collect();
    let prefixes = domains
        .iter()
        .map(|d| San::Prefix(format!("spiffe://{d}/")))
        .collect();
    Member {
        workload: moved.workload.to_string(),
        identity: Ok(SpiffeId {
            trust_domain: revision.trust_domain.clone(),
            namespace: moved.workload.namespace.clone(),
            service_account: moved.service_account.clone(),
        }),
        signer: signer
            .as_ref()
            .map_or_else(|_| "unknown".into(), |ca| ca.name.clone()),
        trust: signer
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|ca| bundle(revision, ca))
            .map(|b| vec![b]),
        credential: signer.map(Credential::SignedBy),
        matchers: Ok(Matchers {
            inbound: if moved.gateway {
                Inbound::NotAServer
            } else {
                Inbound::Names(prefixes)
            },
            outbound: Outbound {
                everyone: Some(domains),
                ..Outbound::default()
            },
        }),
        next: true,
        has_twin: moved.has_twin,
    }
}

/// Who will sign for new proxies of a revision.
fn signer(survey: &Survey, revision: &Revision, cas: &[NamedCa]) -> Reading<NamedCa> {
    if revision.signer == CaEndpoint::Istiod {
        return istiod(revision, cas);
    }
    let seen: BTreeSet<String> = survey
        .proxies
        .iter()
        .filter(|p| p.pod().revision.as_deref() == Some(revision.name.as_str()))
        .filter_map(|p| match &p.verdict.signer {
            Signer::By { ca, .. } => Some(ca.clone()),
            _ => None,
        })
        .collect();
    let named = |name: &str| cas.iter().find(|ca| ca.name == name).cloned();
    match (seen.len(), &revision.signer) {
        (1, _) => seen
            .first()
            .and_then(|name| named(name))
            .ok_or_else(|| "unknown CA".into()),
        (0, CaEndpoint::MeshCa) => named(names::MESHCA).ok_or_else(|| "MESHCA is not named".into()),
        (0, CaEndpoint::Other(ca)) => Err(format!(
            "revision `{}` is signed for by `{ca}`: which CA that is is not known before one of its proxies runs",
            revision.name
        )),
        _ => Err(format!(
            "proxies of revision `{}` are signed by several CAs: {}",
            revision.name,
            seen.into_iter().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// istiod's own CA: by name when a named CA has its root, else a CA without a name.
fn istiod(revision: &Revision, cas: &[NamedCa]) -> Reading<NamedCa> {
    let root = revision.root.as_ref().map_err(Clone::clone)?;
    let known = cas
        .iter()
        .find(|ca| root.certs().any(|c| ca.roots.contains(c)));
    Ok(known.cloned().unwrap_or_else(|| NamedCa {
        name: format!(
            "istiod-{}'s own root {}",
            revision.name,
            first_fingerprint(root)
        ),
        roots: root.clone(),
    }))
}

/// What a new proxy will trust: the root that comes with its certificate, and, where the revision
/// distributes, istiod's root and the configured ones.
fn bundle(revision: &Revision, signer: &NamedCa) -> Reading<TrustStore> {
    let mut roots = match revision.signer {
        CaEndpoint::Istiod => revision.root.as_ref().map_err(Clone::clone)?.clone(),
        _ => signer.roots.clone(),
    };
    if revision.distributes() {
        roots = roots.union(&revision.ca_certificates);
        if revision.ca_server {
            roots = roots.union(revision.root.as_ref().map_err(Clone::clone)?);
        }
    }
    Ok(TrustStore::Bundle(roots))
}

/// Every workload of a namespace as it would be made anew under these namespace labels.
pub fn namespace(survey: &Survey, namespace: &str, labels: &Labels) -> Vec<Moved> {
    let mut out: Vec<Moved> = Vec::new();
    let inside = survey.in_namespace(namespace).map(|p| {
        let pod = p.pod();
        (
            &pod.workload,
            &pod.service_account,
            &pod.labels,
            pod.kind == ProxyKind::Gateway,
        )
    });
    let outside = survey
        .outside
        .iter()
        .chain(&survey.lacking)
        .filter(|o| o.workload.namespace == namespace)
        .map(|o| (&o.workload, &o.service_account, &o.labels, false));
    for (workload, service_account, pod_labels, gateway) in inside.chain(outside) {
        if let Some(known) = out.iter_mut().find(|m| m.workload == *workload) {
            known.has_twin = true;
            continue;
        }
        out.push(Moved {
            workload: workload.clone(),
            service_account: service_account.clone(),
            namespace_labels: labels.clone(),
            pod_labels: pod_labels.clone(),
            has_twin: workload.kind == "Deployment",
            gateway,
        });
    }
    out
}

fn first_fingerprint(bundle: &Bundle) -> String {
    bundle
        .certs()
        .next()
        .map(|c| c.sha256().short())
        .unwrap_or_default()
}

fn show(labels: &Labels) -> String {
    let relevant: Vec<_> = labels
        .iter()
        .filter(|(k, _)| [names::REV, names::INJECTION].contains(&k.as_str()))
        .map(|(k, v)| format!("`{k}={v}`"))
        .collect();
    if relevant.is_empty() {
        "of its namespace".into()
    } else {
        relevant.join(" ")
    }
}
