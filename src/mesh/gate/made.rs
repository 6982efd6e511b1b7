//! Gates before pods are made: do they come up with a proxy, and can they talk?

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Finding, HANDSHAKES, INJECTION, SEEN, View};
use crate::cluster::Cluster;
use crate::mesh::forecast::{self, Moved};
use crate::mesh::injection::Injector;
use crate::mesh::matrix::{self, Matrix, Member};
use crate::mesh::pods::{ProxyKind, Workload};
use crate::mesh::{MeshError, rehearsal, templates};
use crate::pki::Bundle;

/// Judges pods of one workload: foreseen, and rehearsed with its template.
///
/// `is_made`: `pod` is one that is, whose workload makes another by a template that is read here.
pub(super) async fn pods(
    cluster: &Cluster,
    view: &View,
    workload: &Workload,
    pod: &Value,
    is_made: bool,
) -> Result<Vec<Finding>, MeshError> {
    let template = if is_made {
        templates::of_workload(cluster, workload).await?
    } else {
        Some(pod.clone())
    };
    let mine = |p: &&crate::mesh::survey::Proxy| p.pod().workload == *workload;
    let live: Vec<_> = view.survey.proxies.iter().filter(mine).collect();
    let labels = view.survey.namespaces.get(&workload.namespace);
    let pod = template.as_ref().unwrap_or(pod).clone();
    let mut moved = Moved {
        was_injected: false,
        workload: workload.clone(),
        namespace_labels: labels.cloned().unwrap_or_default(),
        has_twin: workload.kind == "Deployment" || live.len() > 1,
        gateway: live.iter().any(|p| p.pod().kind == ProxyKind::Gateway)
            || forecast::is_gateway(&pod),
        pod,
    };
    moved.was_injected = forecast::is_injected(&view.survey, &moved);
    let mut findings = judge(view, std::slice::from_ref(&moved), true);
    let foreseen = findings.iter().all(|finding| finding.gate != INJECTION);
    if foreseen && template.is_some() {
        let expected = match moved.injector(&view.survey) {
            Injector::Nobody => None,
            _ => forecast::injecting(&view.survey, &view.revisions, &moved).ok(),
        };
        if let Err(reason) = rehearsal::rehearse(cluster, &moved, expected.as_ref()).await {
            findings.push(no_proxy(vec![reason]));
        }
    }
    Ok(findings)
}

/// Pods that come up anew: can they, and can they talk?
///
/// `mends`: it is these workloads themselves that change, so that their pods that wait are no reason against it.
pub(super) fn judge(view: &View, moved: &[Moved], mends: bool) -> Vec<Finding> {
    let (mut without, mut made) = (Vec::new(), Vec::new());
    for m in moved {
        if m.injector(&view.survey) == Injector::Nobody && !m.was_injected {
            continue;
        }
        match forecast::injecting(&view.survey, &view.revisions, m) {
            Ok(revision) => made.push(forecast::member(&view.survey, &revision, &view.cas, m)),
            Err(reason) => without.push(reason.0),
        }
    }
    let mut findings = Vec::new();
    if !without.is_empty() {
        findings.push(no_proxy(without));
    }
    // Also where nothing seems to be made anew: pods that wait for a node come up as the labels are by then.
    let (waiting, known) = waiting(view, if mends { moved } else { &[] });
    let mut unknown = judged(view, &known);
    if made.iter().all(|member| is_as_before(view, member)) {
        // What nobody looked at is no worse off with the same certificates, roots and names.
        unknown.retain(|finding| finding.gate != SEEN);
    }
    findings.extend(unknown);
    if made.is_empty() {
        return findings;
    }
    made.extend(waiting);
    let matrix = Matrix::next(&view.survey, made, &view.cas, Timestamp::now());
    findings.extend(handshakes(&matrix, |_| true));
    findings
}

/// Whether a live proxy of the same workload has the same signer, identity, roots and names.
fn is_as_before(view: &View, made: &Member) -> bool {
    let roots = |member: &Member| {
        let stores = member.trust.as_ref().ok()?.iter();
        Some(stores.fold(Bundle::default(), |all, store| all.union(&store.all())))
    };
    let live = matrix::members(&view.survey);
    live.iter().any(|live| {
        live.workload == made.workload
            && live.signer == made.signer
            && live.identity.is_ok()
            && live.identity == made.identity
            && names_stay(live, made)
            && roots(live).is_some_and(|held| {
                roots(made).is_some_and(|next| held.difference(&next).is_empty())
            })
    })
}

/// Whether it accepts the names that the live one accepts.
fn names_stay(live: &Member, made: &Member) -> bool {
    let (Ok(live), Ok(made)) = (&live.matchers, &made.matchers) else {
        return false;
    };
    let servers = live.outbound.uniform().zip(made.outbound.uniform());
    live.inbound == made.inbound && servers.is_some_and(|(live, made)| live.is_subset(made))
}

/// Pods of the same workloads that wait to come up: they are replaced, or come up as the revision that injected them
/// makes them. Those of which that is known are judged like the others, and keep nobody from mending them.
fn waiting(view: &View, moved: &[Moved]) -> (Vec<Member>, BTreeSet<(String, String)>) {
    let (mut members, mut known) = (Vec::new(), BTreeSet::new());
    for pod in &view.survey.starting {
        let Some(like) = moved.iter().find(|m| m.workload == pod.workload) else {
            continue;
        };
        let revision = pod.revision.as_deref().and_then(|name| view.revision(name));
        let Some(revision) = revision else { continue };
        let as_it_is = Moved {
            pod: forecast::like(&pod.labels, &pod.service_account),
            ..like.clone()
        };
        members.push(forecast::member(
            &view.survey,
            revision,
            &view.cas,
            &as_it_is,
        ));
        known.insert((pod.namespace.clone(), pod.name.clone()));
    }
    (members, known)
}

/// What is unknown of the mesh, but for these pods.
fn judged(view: &View, known: &BTreeSet<(String, String)>) -> Vec<Finding> {
    let mut survey = view.survey.clone();
    survey
        .unjudged
        .retain(|u| !known.contains(&(u.namespace.clone(), u.pod.clone())));
    super::judged(&survey, false)
}

fn no_proxy(evidence: Vec<String>) -> Finding {
    Finding::new(
        INJECTION,
        evidence,
        "install the revision, mend what the dry run says, or put the namespace's labels back to a revision that is installed",
    )
}

/// The pairs of a coming state that fail, of those that are asked for.
pub(super) fn handshakes(
    matrix: &Matrix,
    asked: impl Fn(&crate::mesh::matrix::Failing) -> bool,
) -> Option<Finding> {
    let failing: Vec<String> = matrix
        .failing
        .iter()
        .filter(|f| asked(f))
        .map(ToString::to_string)
        .collect();
    if failing.is_empty() {
        return None;
    }
    let total = format!(
        "{} of {} ordered pairs would fail or are unknown",
        failing.len(),
        matrix.pairs
    );
    let next =
        "give every proxy both roots and both trust domains first: rootshift run citadel-to-meshca";
    Some(Finding::new(HANDSHAKES, failing, next).headed(total))
}
