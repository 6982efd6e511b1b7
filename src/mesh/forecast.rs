//! What a pod will hold once it is made anew: predicted from the revision that would inject it.
//!
//! Rests on what the cluster says (webhooks, mesh ConfigMap, istiod's environment and root) and,
//! where the revision already has proxies, on what those hold: a proxy in hand beats a setting.
//! What cannot be told stays unknown and blocks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::dump::{Reading, TrustStore};
use super::injection::{Injector, Labels};
use super::matchers::{Inbound, Matchers, Outbound, San};
use super::matrix::{Credential, Member};
use super::names;
use super::pods::{self, ProxyKind, Workload};
use super::revision::{CaEndpoint, Revision};
use super::survey::Survey;
use super::templates::{self, Template, texts};
use crate::pki::{Bundle, NamedCa, Signer, SpiffeId};

/// Pods that a step will make anew.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Whose they are.
    pub workload: Workload,
    /// The labels that their namespace will have.
    pub namespace_labels: Labels,
    /// Their `metadata` and `spec` as they are given to the API server, as far as that is known.
    pub pod: Value,
    /// Whether the new ones run beside old ones of the same workload.
    pub has_twin: bool,
    /// Whether they are gateways: who in the mesh is their client is told by their listeners only.
    pub gateway: bool,
    /// Whether such pods have been given a proxy until now.
    pub was_injected: bool,
}

impl Moved {
    /// The labels that they will have.
    pub fn labels(&self) -> Labels {
        texts(&self.pod["metadata"]["labels"])
    }

    /// Who would inject them.
    pub fn injector(&self, survey: &Survey) -> Injector {
        if templates::declines(&self.pod).is_some() {
            return Injector::Nobody;
        }
        let namespace = &self.workload.namespace;
        survey
            .injection
            .injector(namespace, &self.namespace_labels, &self.labels())
    }
}

/// Why no member can be predicted: the pods would not come up, or not as proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProxy(pub String);

/// What would inject a moved pod, as its own annotations configure it, and whether it can.
///
/// # Errors
/// When no webhook matches (the pod would start without a proxy), several do, or the one that does
/// has no istiod that is Ready or does not answer a dry run with a proxy.
pub fn injecting(
    survey: &Survey,
    revisions: &[Revision],
    moved: &Moved,
) -> Result<Revision, NoProxy> {
    let workload = &moved.workload;
    match moved.injector(survey) {
        Injector::Nobody => {
            let why = templates::declines(&moved.pod).map_or_else(
                || {
                    format!(
                        "no injector matches the labels {}",
                        show(&moved.namespace_labels)
                    )
                },
                str::to_owned,
            );
            Err(NoProxy(format!(
                "new pods of {workload} would start without a proxy: {why}"
            )))
        }
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
            Some(revision) => revision
                .injects
                .clone()
                .and_then(|()| configured(revision, &moved.pod))
                .map_err(|reason| {
                    NoProxy(format!("new pods of {workload} would not start: {reason}"))
                }),
        },
    }
}

/// A revision as a pod's own annotation `proxy.istio.io/config` changes it.
fn configured(revision: &Revision, pod: &Value) -> Reading<Revision> {
    let mut own = revision.clone();
    let Some(text) = pod["metadata"]["annotations"][names::PROXY_CONFIG].as_str() else {
        return Ok(own);
    };
    let config: Value = serde_saphyr::from_str(text)
        .map_err(|e| format!("its annotation {} cannot be read: {e}", names::PROXY_CONFIG))?;
    let metadata = &config["proxyMetadata"];
    let given = |key: &str| match &metadata[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    if let Some(agent) = given("PROXY_CONFIG_XDS_AGENT") {
        own.xds_agent = agent == "true";
    }
    let address = given("CA_ADDR").or_else(|| config["caAddress"].as_str().map(str::to_owned));
    if let (Some(_), _) | (_, Some(_)) = (given("CA_PROVIDER"), &address) {
        let provider = given("CA_PROVIDER").unwrap_or_default();
        own.own_ca = true;
        own.signer = CaEndpoint::of(&provider, &address.unwrap_or_default());
    }
    Ok(own)
}

/// The member that a moved pod will be.
pub fn member(survey: &Survey, revision: &Revision, cas: &[NamedCa], moved: &Moved) -> Member {
    let signer = signer(survey, revision, cas);
    let domains = domains(revision);
    Member {
        workload: moved.workload.to_string(),
        identity: Ok(SpiffeId {
            trust_domain: revision.trust_domain.clone(),
            namespace: moved.workload.namespace.clone(),
            service_account: pods::service_account(&moved.pod),
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
                gateway(survey, moved, &domains)
            } else {
                Inbound::Names(prefixes(&domains))
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

/// What a gateway will ask of clients in the mesh: what gateways with the same label ask now, which configuration is
/// theirs by that label. Those of none are servers for nobody, as a gateway of the stock profile is.
fn gateway(survey: &Survey, moved: &Moved, domains: &BTreeSet<String>) -> Inbound {
    let label = |labels: &Labels| labels.get("istio").cloned();
    let wanted = label(&moved.labels());
    let alike = survey.proxies.iter().filter(|p| {
        p.pod().kind == ProxyKind::Gateway
            && (p.pod().workload == moved.workload || label(&p.pod().labels) == wanted)
    });
    let mut asked = alike.filter_map(|p| p.reading.matchers.as_ref().ok());
    match asked.find(|m| m.inbound != Inbound::NotAServer) {
        Some(Matchers {
            inbound: Inbound::Names(_),
            ..
        }) => Inbound::Names(prefixes(domains)),
        Some(m) => m.inbound.clone(),
        None => Inbound::NotAServer,
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
        .filter(|p| !revision.own_ca && p.pod().revision.as_deref() == Some(revision.name.as_str()))
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

/// istiod's own CA: by name when every root that it has in memory is of one named CA, else a CA without a name.
/// Which of several keys signs next is not known, so each counts.
fn istiod(revision: &Revision, cas: &[NamedCa]) -> Reading<NamedCa> {
    let roots = revision.root.as_ref().map_err(Clone::clone)?;
    let of = |ca: &&NamedCa| {
        let known = |root| ca.roots.shares_key(&Bundle::from_certs([root]));
        roots.certs().cloned().all(known)
    };
    let name = cas.iter().find(of).map_or_else(
        || {
            format!(
                "istiod-{}'s own root {}",
                revision.name,
                fingerprints(roots)
            )
        },
        |ca| ca.name.clone(),
    );
    Ok(NamedCa::new(name, roots.clone()))
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

/// Every workload of a namespace as it would be made anew under these namespace labels: by its template, also where it
/// has no pod now, and where there is no template by its pods.
pub fn namespace(
    survey: &Survey,
    templates: &[Template],
    namespace: &str,
    labels: &Labels,
) -> Vec<Moved> {
    let mut out: Vec<Moved> = Vec::new();
    let inside = survey.in_namespace(namespace).map(|p| {
        let pod = p.pod();
        let like = like(&pod.labels, &pod.service_account);
        (&pod.workload, like, pod.kind == ProxyKind::Gateway)
    });
    let outside = survey
        .outside
        .iter()
        .chain(&survey.lacking)
        .filter(|o| o.workload.namespace == namespace)
        .map(|o| (&o.workload, like(&o.labels, &o.service_account), false));
    for (workload, pod, gateway) in inside.chain(outside) {
        if let Some(known) = out.iter_mut().find(|m| m.workload == *workload) {
            known.has_twin = true;
            continue;
        }
        out.push(Moved {
            workload: workload.clone(),
            namespace_labels: labels.clone(),
            pod,
            has_twin: workload.kind == "Deployment",
            gateway,
            was_injected: false,
        });
    }
    for template in templates
        .iter()
        .filter(|t| t.workload.namespace == namespace)
    {
        let pod = template.pod.clone();
        match out.iter_mut().find(|m| m.workload == template.workload) {
            Some(known) => known.pod = pod,
            None => out.push(Moved {
                gateway: is_gateway(&pod),
                workload: template.workload.clone(),
                namespace_labels: labels.clone(),
                pod,
                has_twin: template.workload.kind == "Deployment",
                was_injected: false,
            }),
        }
    }
    for moved in &mut out {
        moved.was_injected = is_injected(survey, moved);
    }
    out
}

/// Whether the workload has a proxy, or would be given one as its namespace is labelled now.
pub fn is_injected(survey: &Survey, moved: &Moved) -> bool {
    let mut live = survey.proxies.iter();
    let labels = survey.namespaces.get(&moved.workload.namespace);
    let today = Moved {
        namespace_labels: labels.cloned().unwrap_or_default(),
        ..moved.clone()
    };
    live.any(|p| p.pod().workload == moved.workload) || today.injector(survey) != Injector::Nobody
}

/// As much of a pod as a live one tells of its template.
pub fn like(labels: &Labels, service_account: &str) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"serviceAccountName": service_account}})
}

/// Whether such pods are gateways, by their labels.
pub fn is_gateway(pod: &Value) -> bool {
    let label = pod["metadata"]["labels"]["istio"].as_str();
    label.is_some_and(|label| label.ends_with("gateway"))
}

/// A live proxy as it is after its istiod has other settings: certificates stay, what it is told changes.
pub fn told(proxy: Member, old: &Revision, new: &Revision, cas: &[NamedCa]) -> Member {
    let by = |revision: &Revision| {
        let signer = match &proxy.credential {
            Ok(_) => cas.iter().find(|ca| ca.name == proxy.signer).cloned(),
            Err(_) => None,
        };
        // What comes with its certificate is the same before and after.
        let signer = signer.unwrap_or_else(|| NamedCa::new("nobody", Bundle::default()));
        bundle(revision, &signer).map(|store| store.all())
    };
    let trust = || {
        let (old, new) = (by(old)?, by(new)?);
        let lost = old.difference(&new);
        let change = |store: TrustStore| match store {
            TrustStore::Bundle(held) => TrustStore::Bundle(held.difference(&lost).union(&new)),
            per_domain @ TrustStore::PerDomain(_) => per_domain,
        };
        Ok(proxy.trust.clone()?.into_iter().map(change).collect())
    };
    let trust = trust();
    let domains = domains(new);
    let matchers = proxy.matchers.clone().map(|held| Matchers {
        inbound: match held.inbound {
            Inbound::Names(_) => Inbound::Names(prefixes(&domains)),
            other => other,
        },
        outbound: Outbound {
            everyone: Some(domains.clone()),
            ..held.outbound
        },
    });
    Member {
        trust,
        matchers,
        next: true,
        has_twin: true,
        ..proxy
    }
}

/// The trust domains that proxies of a revision accept.
fn domains(revision: &Revision) -> BTreeSet<String> {
    std::iter::once(revision.trust_domain.clone())
        .chain(revision.aliases.iter().cloned())
        .collect()
}

fn prefixes(domains: &BTreeSet<String>) -> BTreeSet<San> {
    let prefix = |domain: &String| San::Prefix(format!("spiffe://{domain}/"));
    domains.iter().map(prefix).collect()
}

fn fingerprints(bundle: &Bundle) -> String {
    let all: Vec<String> = bundle.certs().map(|c| c.sha256().short()).collect();
    all.join(", ")
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
