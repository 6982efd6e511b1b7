//! Every proxy of the mesh, whatever its owner, with how it will be moved; and every pod accounted for.
//!
//! Separate from [`super::survey`], which asks what proxies hold: here it is who makes them anew, which
//! takes the workloads above the pods, and what would stand in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::forecast;
use super::gate::View;
use super::injection::{Injector, Labels};
use super::matrix::{Matrix, Talk};
use super::pods::{ProxyKind, ProxyPod, Workload};
use super::survey::Survey;
use super::templates::Template;
use super::{MeshError, names};
use crate::cluster::Cluster;
use crate::cluster::workload::{self as owners, Restart};

/// How a migration gives a workload new proxies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    /// Nothing does it: somebody has to; why.
    ByHand(String),
    /// Its pods are evicted one by one (`OnDelete`).
    Evict,
    /// A gateway: a new one beside it in phase 1, in place in phase 2.
    Gateway,
    /// Something stands in the way; what.
    Held(String),
    /// The next run of this `CronJob` has new pods.
    NextRun(String),
    /// By a rollout that first takes all pods away.
    Recreate,
    /// By a rollout.
    Rollout,
    /// Its owner cannot be read; why.
    Unknown(String),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByHand(why) => write!(f, "by hand: {why}"),
            Self::Evict => f.write_str("evict one by one (OnDelete)"),
            Self::Gateway => f.write_str("gateway: beside, then in place"),
            Self::Held(why) => write!(f, "held: {why}"),
            Self::NextRun(name) => write!(f, "made anew by its CronJob `{name}`"),
            Self::Recreate => f.write_str("rollout restart, all pods at once (Recreate)"),
            Self::Rollout => f.write_str("rollout restart"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Who owns the proxies of one workload, and how they are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The topmost controller: `CronJob shop/nightly`.
    pub name: String,
    /// How its proxies are moved.
    pub moves: Move,
}

/// Pods that were skipped, by reason.
pub fn skipped(survey: &Survey) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for pod in &survey.skipped {
        *reasons.entry(pod.reason.clone()).or_default() += 1;
    }
    if !survey.outside.is_empty() {
        reasons.insert(
            "no proxy, and none is asked for".into(),
            survey.outside.len(),
        );
    }
    reasons
}

/// The owner of each workload that has proxies.
///
/// # Errors
/// The pods of a workload cannot be read. Owners that cannot be are told as [`Move::Unknown`].
pub async fn owners(
    cluster: &Cluster,
    survey: &Survey,
) -> Result<BTreeMap<Workload, Owner>, MeshError> {
    let mut of: BTreeMap<&Workload, &ProxyPod> = BTreeMap::new();
    for proxy in &survey.proxies {
        of.entry(&proxy.pod().workload).or_insert(proxy.pod());
    }
    let known = match cluster.workloads(None, true).await {
        Ok(known) => known,
        Err(error) => {
            let unknown = |workload: &Workload| Owner {
                name: format!("{} {workload}", workload.kind),
                moves: Move::Unknown(error.to_string()),
            };
            return Ok(of.keys().map(|w| ((*w).clone(), unknown(w))).collect());
        }
    };
    let held = held(cluster, survey).await;
    let machines = survey.machines.iter().map(|proxy| {
        let workload = &proxy.pod().workload;
        let owner = Owner {
            name: format!("{} {workload}", workload.kind),
            moves: Move::ByHand("no pod, give its agent the new revision's configuration".into()),
        };
        (workload.clone(), owner)
    });
    let mut out: BTreeMap<Workload, Owner> = machines.collect();
    for (workload, pod) in of {
        let found = known.iter().find(|k| {
            (&k.kind, &k.namespace, &k.name)
                == (&workload.kind, &workload.namespace, &workload.name)
        });
        let owner = match found {
            Some(found) => owner(found, pod, &held),
            // Its pods are controlled by something that is controlled in turn.
            None => match cluster.workload_of_pod(&pod.namespace, &pod.name).await {
                Ok((above, _)) => owner(&above, pod, &held),
                Err(error) => Owner {
                    name: format!("{} {workload}", workload.kind),
                    moves: Move::Unknown(error.to_string()),
                },
            },
        };
        out.insert(workload.clone(), owner);
    }
    Ok(out)
}

fn owner(found: &owners::Workload, pod: &ProxyPod, held: &BTreeMap<String, String>) -> Owner {
    let key = format!("{}/{}/{}", found.kind, found.namespace, found.name);
    Owner {
        name: format!("{} {}/{}", found.kind, found.namespace, found.name),
        moves: match held.get(&key) {
            Some(why) => Move::Held(why.clone()),
            None => moves(found, pod),
        },
    }
}

fn moves(found: &owners::Workload, pod: &ProxyPod) -> Move {
    let rolls_out = ["DaemonSet", "Deployment", "StatefulSet"].contains(&found.kind.as_str());
    match (found.kind.as_str(), found.restart) {
        ("Deployment", _) if pod.kind == ProxyKind::Gateway => Move::Gateway,
        _ if pod.namespace == names::ISTIO_SYSTEM => {
            Move::ByHand(format!("namespace {} is not moved", names::ISTIO_SYSTEM))
        }
        ("Pod", _) => Move::ByHand("bare pod, delete it and make it again".into()),
        ("Job", _) => Move::ByHand("its Job runs on to its end; or make the Job again".into()),
        ("CronJob", _) => Move::NextRun(format!("{}/{}", found.namespace, found.name)),
        (_, Restart::Rollout) if rolls_out => Move::Rollout,
        (_, Restart::Recreate) if rolls_out => Move::Recreate,
        (_, Restart::DeletePods) if rolls_out => Move::Evict,
        (_, Restart::None) if rolls_out => Move::Held(found.reason.clone()),
        (kind, _) => Move::ByHand(format!("{kind}: {}", found.reason)),
    }
}

/// What would keep a restart from being made, by `KIND/NAMESPACE/NAME`: a pause, a disruption budget.
async fn held(cluster: &Cluster, survey: &Survey) -> BTreeMap<String, String> {
    let namespaces: BTreeSet<&str> = survey
        .proxies
        .iter()
        .map(|p| p.pod().namespace.as_str())
        .collect();
    let mut out = BTreeMap::new();
    for namespace in namespaces {
        // Where it may not be asked, the restart itself says it.
        let found = cluster.restart_findings_in(namespace).await;
        for finding in found.unwrap_or_default() {
            let stops = ["WL001", "WL010"].contains(&finding.code)
                && finding.severity == owners::Severity::Unsafe;
            let what = if finding.object == finding.workload {
                finding.detail
            } else {
                format!("`{}`: {}", finding.object, finding.detail)
            };
            if let (true, Some(key)) = (stops, key(&finding.workload)) {
                out.entry(key).or_insert(what);
            }
        }
    }
    out
}

/// `Deployment/shop/web` of `deployment.apps/shop/web`.
fn key(workload: &str) -> Option<String> {
    let (kind, rest) = workload.split_once('/')?;
    let kind = match kind {
        "daemonset.apps" => "DaemonSet",
        "deployment.apps" => "Deployment",
        "statefulset.apps" => "StatefulSet",
        _ => return None,
    };
    Some(format!("{kind}/{rest}"))
}

/// What would fail if pods were made anew now, as the labels are: by a node that goes, by anybody's restart, by what is
/// scaled up again or due at night. Without what fails already.
pub fn if_made_anew(view: &View, templates: &[Template], matrix: &Matrix) -> Vec<String> {
    let survey = &view.survey;
    let (mut lines, mut made) = (Vec::new(), Vec::new());
    let none = Labels::new();
    for namespace in survey.meshed_namespaces() {
        let labels = survey.namespaces.get(&namespace).unwrap_or(&none);
        for moved in forecast::namespace(survey, templates, &namespace, labels) {
            if moved.injector(survey) == Injector::Nobody && !moved.was_injected {
                continue;
            }
            // Nobody asked the injectors, which takes the right to create pods.
            let mut revisions = view.revisions.clone();
            for revision in &mut revisions {
                revision.injects = Ok(());
            }
            match forecast::injecting(survey, &revisions, &moved) {
                Ok(revision) => made.push(forecast::member(survey, &revision, &view.cas, &moved)),
                Err(reason) => lines.push(reason.0),
            }
        }
    }
    let next = Matrix::next(survey, made, &view.cas, survey.taken_at);
    let now: BTreeSet<(&str, &str)> = matrix
        .failing
        .iter()
        .map(|f| (f.client.as_str(), f.server.as_str()))
        .collect();
    // What cannot be read is told by itself.
    let unread: BTreeSet<String> = survey
        .proxies
        .iter()
        .filter(|p| p.verdict.unknown().is_some())
        .map(|p| p.pod().workload.to_string())
        .collect();
    let failing = next.failing.iter();
    lines.extend(
        failing
            .filter(|f| !now.contains(&(f.client.as_str(), f.server.as_str())))
            .filter(|f| {
                let is_no = matches!(f.talk, Talk::No { .. });
                is_no || !(unread.contains(&f.client) || unread.contains(&f.server))
            })
            .map(ToString::to_string),
    );
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::pods::Workload;
    use super::*;
    use crate::cluster::workload::PodCounts;

    fn way(kind: &str, restart: Restart, proxy: ProxyKind, namespace: &str) -> String {
        let found = owners::Workload {
            kind: kind.into(),
            api_version: "v1".into(),
            namespace: namespace.into(),
            name: "x".into(),
            object: None,
            pods: PodCounts::default(),
            restart,
            reason: "why so".into(),
            controlled_by: None,
        };
        let pod = ProxyPod {
            namespace: namespace.into(),
            name: "x-1".into(),
            uid: "1".into(),
            restarts: 0,
            started: None,
            addresses: Vec::new(),
            kind: proxy,
            workload: Workload {
                kind: kind.into(),
                namespace: namespace.into(),
                name: "x".into(),
            },
            service_account: "x".into(),
            revision: None,
            admin_port: 15000,
            labels: BTreeMap::new(),
            ready: true,
            file_mounted: false,
            cluster: None,
        };
        moves(&found, &pod).to_string()
    }

    #[test]
    fn each_owner_has_its_way() {
        use ProxyKind::{Gateway, Sidecar};
        for (kind, restart, proxy, namespace, says) in [
            (
                "Deployment",
                Restart::Rollout,
                Sidecar,
                "shop",
                "rollout restart",
            ),
            (
                "Deployment",
                Restart::Recreate,
                Sidecar,
                "shop",
                "rollout restart, all pods at once (Recreate)",
            ),
            ("Deployment", Restart::None, Sidecar, "shop", "held: why so"),
            (
                "Deployment",
                Restart::Rollout,
                Gateway,
                "edge",
                "gateway: beside, then in place",
            ),
            (
                "DaemonSet",
                Restart::Rollout,
                Gateway,
                "edge",
                "rollout restart",
            ),
            (
                "DaemonSet",
                Restart::DeletePods,
                Sidecar,
                "shop",
                "evict one by one (OnDelete)",
            ),
            (
                "CronJob",
                Restart::NextRun,
                Sidecar,
                "shop",
                "made anew by its CronJob `shop/x`",
            ),
            (
                "Rollout",
                Restart::DeletePods,
                Sidecar,
                "shop",
                "by hand: Rollout: why so",
            ),
            (
                "ReplicaSet",
                Restart::DeletePods,
                Sidecar,
                "shop",
                "by hand: ReplicaSet: why so",
            ),
            (
                "DaemonSet",
                Restart::Rollout,
                Sidecar,
                "istio-system",
                "by hand: namespace istio-system is not moved",
            ),
        ] {
            assert_eq!(way(kind, restart, proxy, namespace), says);
        }
    }
}
