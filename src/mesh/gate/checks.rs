//! Gates between the phases: what a script asks of the whole mesh.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Finding, HEALTHY, NETWORK, REVISION, ROOT_GONE, SIGNED_BY, TRUST_DOMAINS, TRUSTS, VALIDATION,
    View, judged,
};
use crate::cluster::{Cluster, ClusterError};
use crate::mesh::forecast::{self, Moved};
use crate::mesh::matchers::Accepts;
use crate::mesh::matrix::{Matrix, signer_name};
use crate::mesh::{MeshError, names, network, revision, trust_domains, validation, verdict};
use crate::pki::{Bundle, Signer, Trust};

/// How long a CA certificate has to be good for when a migration begins: what it has signed ends with it, and days pass
/// between the phases.
const CA_HORIZON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Check: every proxy trusts all of these CAs.
pub fn every_proxy_trusts(view: &View, wanted: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true);
    let lacking: Vec<String> = view
        .survey
        .all()
        .filter_map(|p| {
            let lacks: Vec<String> = wanted
                .iter()
                .filter(|ca| !p.verdict.trusts(ca))
                .map(|ca| match p.verdict.trusts.get(ca) {
                    Some(Trust::Unknown { .. }) | None => format!("{ca} (unknown)"),
                    Some(_) => ca.clone(),
                })
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

/// Check: every proxy accepts every workload of the mesh under each of these trust domains.
pub fn every_proxy_accepts(view: &View, domains: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true);
    let mut refusing = Vec::new();
    for proxy in view.survey.all() {
        let pod = proxy.pod();
        let name = format!("{}.{} ({})", pod.name, pod.namespace, pod.workload);
        // Whether the others accept it cannot be asked.
        if let Err(reason) = &proxy.verdict.identity {
            refusing.push(format!("{name} may not be accepted: {reason}"));
        }
        for domain in domains {
            let answer = match trust_domains::accepts(&view.survey, proxy, domain) {
                Accepts::Yes => continue,
                Accepts::No(peer) => format!("does not accept {peer}"),
                Accepts::Unknown(reason) => {
                    format!("may not accept trust domain {domain}: {reason}")
                }
            };
            refusing.push(format!("{name} {answer}"));
        }
    }
    if !refusing.is_empty() {
        findings.push(Finding::new(
            TRUST_DOMAINS,
            refusing,
            "list the trust domain in meshConfig.trustDomainAliases of the revision that these proxies are of",
        ));
    }
    findings
}

/// Check: every workload certificate is signed by this CA.
pub fn every_certificate_signed_by(view: &View, wanted: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true);
    let others: Vec<String> = view
        .survey
        .all()
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

/// Check: no proxy trusts anything of these roots any more, be it issued again, or through an intermediate.
pub fn root_is_gone(view: &View, roots: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true);
    let survey = &view.survey;
    let holders: Vec<String> = survey
        .all()
        .filter_map(|p| {
            let stores = &p.reading.secrets.as_ref().ok()?.trust;
            let remains = verdict::remains(stores.as_ref().ok()?, roots, survey.taken_at)?;
            let pod = p.pod();
            Some(format!(
                "{}.{} still trusts {remains}",
                pod.name, pod.namespace
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
/// The view must have asked the injectors. `signer` is the named CA that must sign; every CA of `trusts` must reach its proxies.
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
    if let Err(reason) = &revision.injects {
        evidence.push(reason.clone());
    }
    if trusts.len() > 1 {
        evidence.extend(revision.loses_roots());
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
        workload: crate::mesh::pods::Workload {
            kind: "Pod".into(),
            namespace: "any".into(),
            name: "any".into(),
        },
        namespace_labels: crate::mesh::injection::Labels::new(),
        pod: serde_json::Value::Null,
        has_twin: false,
        gateway: false,
        was_injected: false,
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
    let mut findings: Vec<Finding> = judged(&view.survey, true);
    let mut evidence = Vec::new();
    let now = Timestamp::now();
    let mut ending: BTreeMap<(Timestamp, String), Vec<String>> = BTreeMap::new();
    for (name, labels) in &view.survey.namespaces {
        if labels.contains_key(names::REV) && labels.contains_key(names::INJECTION) {
            evidence.push(format!(
                "namespace {name} has both `{}` and `{}`: which revision injects is not what it seems",
                names::REV,
                names::INJECTION
            ));
        }
    }
    for proxy in view.survey.all() {
        use crate::mesh::verdict::Expiry;
        let pod = proxy.pod();
        match proxy.verdict.expiry {
            Some(expiry @ (Expiry::Expired | Expiry::NotYet | Expiry::Critical)) => {
                evidence.push(format!(
                    "{}.{}: its certificate is {}",
                    pod.name,
                    pod.namespace,
                    expiry.as_str()
                ));
            }
            Some(Expiry::Overdue) => evidence.push(format!(
                "{}.{}: its certificate should have been renewed by now: its agent does not reach the CA",
                pod.name, pod.namespace
            )),
            Some(Expiry::Ok) | None => {}
        }
        if let Some((issuer, end)) = verdict::issuer_ends(&proxy.reading, now)
            && end < now + CA_HORIZON
        {
            ending
                .entry((end, issuer))
                .or_default()
                .push(format!("{}.{}", pod.name, pod.namespace));
        }
        if let Err(reason) = &proxy.verdict.identity {
            evidence.push(format!("{}.{}: {reason}", pod.name, pod.namespace));
        }
    }
    evidence.extend(ending.into_iter().map(|((end, issuer), proxies)| {
        format!(
            "`{issuer}`, under which {} of the certificates are signed ({}{}), ends at {end}",
            proxies.len(),
            proxies[0],
            if proxies.len() > 1 { ", …" } else { "" }
        )
    }));
    if let Some(which) = revision::roots_apart(&view.revisions) {
        evidence.push(format!("istiods have different roots: {which}"));
    }
    let matrix = Matrix::now(&view.survey, &view.cas, now);
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

/// Check: what istiod refuses is refused, by an istiod that answers.
///
/// # Errors
/// As [`validation::faults`].
pub async fn validation_answers(cluster: &Cluster) -> Result<Vec<Finding>, ClusterError> {
    let faults = validation::faults(cluster).await?;
    Ok(if faults.is_empty() {
        Vec::new()
    } else {
        let next = "see where the webhook's Service leads (kubectl -n istio-system get endpoints), and apply asm/istio/istiod-service.yaml of the revision in use";
        vec![Finding::new(VALIDATION, faults, next)]
    })
}

/// Check: what runs and is not of this revision yet will have a way to its istiod and to its CA.
///
/// # Errors
/// As [`network::faults`].
pub async fn network_is_open(
    cluster: &Cluster,
    view: &View,
    name: &str,
) -> Result<Vec<Finding>, MeshError> {
    let Some(revision) = view.revision(name) else {
        let evidence = vec![format!("revision `{name}` has no istiod Deployment")];
        return Ok(vec![Finding::new(NETWORK, evidence, "install it first")]);
    };
    let faults = network::faults(cluster, view, revision).await?;
    Ok(if faults.is_empty() {
        Vec::new()
    } else {
        let next = "allow these ways in the named NetworkPolicies; where the network enforces none, or a policy of another kind allows it, waive this";
        vec![Finding::new(NETWORK, faults, next)]
    })
}
