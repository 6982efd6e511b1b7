//! Gates between the phases: what a script asks of the whole mesh.

use jiff::Timestamp;

use super::{Finding, HEALTHY, REVISION, ROOT_GONE, SIGNED_BY, TRUSTS, View, judged};
use crate::mesh::forecast::{self, Moved};
use crate::mesh::matrix::{Matrix, signer_name};
use crate::mesh::{names, revision, verdict};
use crate::pki::{Bundle, Signer};

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

/// Check: no proxy trusts anything of these roots any more, be it issued again, or through an intermediate.
pub fn root_is_gone(view: &View, roots: &Bundle) -> Vec<Finding> {
    let mut findings: Vec<Finding> = judged(&view.survey, true).into_iter().collect();
    let survey = &view.survey;
    let holders: Vec<String> = survey
        .proxies
        .iter()
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
        service_account: "any".into(),
        namespace_labels: crate::mesh::injection::Labels::new(),
        pod_labels: crate::mesh::injection::Labels::new(),
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
        use crate::mesh::verdict::Expiry;
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
