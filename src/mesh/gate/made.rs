//! Gates before pods are made: do they come up with a proxy, and can they talk?

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::{Finding, HANDSHAKES, IDENTITY, INJECTION, SEEN, View};
use crate::cluster::Cluster;
use crate::mesh::forecast::{self, Moved};
use crate::mesh::identity::{self, Change};
use crate::mesh::injection::Injector;
use crate::mesh::matrix::{self, Matrix, Member};
use crate::mesh::pods::{ProxyKind, Workload};
use crate::mesh::survey::Survey;
use crate::mesh::{MeshError, rehearsal, templates};
use crate::pki::Bundle;

/// Judges pods of one workload: foreseen, and rehearsed with its template.
///
/// `is_made`: `pod` is one that is, whose workload makes another by a template that is read here.
pub(super) async fn pods(
    cluster: &Cluster,
    others: &[Cluster],
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
    let moved = std::slice::from_ref(&moved);
    findings.extend(identity(cluster, others, view, &view.survey, moved).await?);
    Ok(findings)
}

/// Asks for a pod of each workload of these namespaces that has or is to have a proxy, by a dry run, as the labels and
/// webhooks are now.
///
/// Separate from what is judged before a webhook changes: the API server calls the webhooks that it has, so that only
/// after the change can it be asked what comes of it.
///
/// # Errors
/// When templates cannot be listed.
pub async fn rehearsed(
    cluster: &Cluster,
    view: &View,
    namespaces: &[String],
) -> Result<Vec<Finding>, MeshError> {
    let mut evidence = Vec::new();
    for name in namespaces {
        let templates = templates::all(cluster, Some(name)).await?;
        let labels = view.survey.namespaces.get(name).cloned();
        let moved =
            forecast::namespace(&view.survey, &templates, name, &labels.unwrap_or_default());
        let has_template = |m: &&Moved| templates.iter().any(|t| t.workload == m.workload);
        for m in moved.iter().filter(has_template) {
            let expected = match forecast::injecting(&view.survey, &view.revisions, m) {
                Ok(revision) => revision,
                Err(_) if !m.was_injected => continue,
                Err(reason) => {
                    evidence.push(reason.0);
                    continue;
                }
            };
            if let Err(reason) = rehearsal::rehearse(cluster, m, Some(&expected)).await {
                evidence.push(reason);
            }
        }
    }
    Ok((!evidence.is_empty())
        .then(|| no_proxy(evidence))
        .into_iter()
        .collect())
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

/// Pods that come up under another trust domain: what names peers by the one that they leave.
///
/// `before` knows who injects them now.
///
/// # Errors
/// When the objects that name peers cannot be listed; lack of rights is a finding.
pub(super) async fn identity(
    cluster: &Cluster,
    others: &[Cluster],
    view: &View,
    before: &Survey,
    moved: &[Moved],
) -> Result<Option<Finding>, MeshError> {
    let (mut heads, mut evidence) = (Vec::new(), Vec::new());
    for change in changes(view, before, moved) {
        let found = identity::find(cluster, others, view, &change)
            .await?
            .lines();
        if !found.is_empty() {
            heads.push(change.to_string());
            evidence.extend(found);
        }
    }
    let next =
        "do what each line ends with, then run this again; `rootshift explain RS105` says more";
    Ok((!evidence.is_empty())
        .then(|| Finding::new(IDENTITY, evidence, next).headed(heads.join("; "))))
}

/// The changes of trust domain among pods that come up anew, by the new one.
fn changes(view: &View, before: &Survey, moved: &[Moved]) -> Vec<Change> {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for m in moved {
        let Injector::Revision(name) = m.injector(&view.survey) else {
            continue;
        };
        let Some(revision) = view.revision(&name) else {
            continue;
        };
        let to = &revision.trust_domain;
        let mut from = domains_now(view, before, m, to);
        from.remove(to);
        if !from.is_empty() {
            let change = changes.entry(to.clone()).or_insert_with(|| Change {
                from: BTreeSet::new(),
                to: to.clone(),
                revisions: BTreeSet::new(),
            });
            change.from.extend(from);
            change.revisions.insert(name);
        }
    }
    changes.into_values().collect()
}

/// The trust domains that a workload has: of its live proxies; where there are none, of the revision that would inject
/// it as yet; and where that is the same, of everybody, if nobody has the new one.
fn domains_now(view: &View, before: &Survey, moved: &Moved, next: &str) -> BTreeSet<String> {
    let live = view.survey.proxies.iter();
    let live = live.filter(|p| p.pod().workload == moved.workload);
    let identities = live.filter_map(|p| p.verdict.identity.as_ref().ok());
    let domains: BTreeSet<String> = identities.map(|id| id.trust_domain.clone()).collect();
    if !domains.is_empty() {
        return domains;
    }
    let labels = before.namespaces.get(&moved.workload.namespace);
    let today = Moved {
        namespace_labels: labels.cloned().unwrap_or_default(),
        ..moved.clone()
    };
    if let Injector::Revision(name) = today.injector(before)
        && let Some(revision) = view.revision(&name)
        && revision.trust_domain != next
    {
        return [revision.trust_domain.clone()].into();
    }
    let all = identity::domains_in_use(view);
    if all.contains(next) {
        BTreeSet::new()
    } else {
        all
    }
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
    // Of a trust domain of the site's own no revision of the procedure knows: asmcli sets Citadel's.
    let by_name = |f: &matrix::Failing| match &f.talk {
        matrix::Talk::No { cause, .. } => cause.starts_with("the name "),
        _ => false,
    };
    let next = if matrix.failing.iter().filter(|f| asked(f)).all(by_name) {
        "have both revisions list each other's trust domain first: meshConfig.trustDomainAliases, in ConfigMap \
         istio-REVISION"
    } else {
        "give every proxy both roots and both trust domains first: rootshift run citadel-to-meshca"
    };
    Some(Finding::new(HANDSHAKES, failing, next).headed(total))
}
