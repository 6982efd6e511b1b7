//! Restarting many workloads, a bounded part at a time, within their PodDisruptionBudgets.
//!
//! Kubernetes' rollouts do not ask a PodDisruptionBudget; only evictions do. So before each wave the
//! budgets that select the workloads' pods are read, and what the rollouts of a wave take away together
//! must be allowed by each. This file decides and does the single steps; who runs the waves
//! waits, tells and stops.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::door::Written;
use super::super::write::RESTARTED_AT;
use super::super::{Cluster, ClusterError, Kind, Object, Selector};
use super::selector::{selects, texts};
use super::share::Share;
use super::{controller_of, is_finished, is_ready};

/// How many pods of a workload its restart makes unavailable at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disruption {
    /// So many.
    pub pods: i64,
    /// By which rule: `maxUnavailable 25% of 8`.
    pub why: String,
}

/// What may be unavailable at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Workloads that are restarted at the same time, of all that are to be restarted; a percentage is
    /// rounded down, and at least one is.
    pub workloads: Share,
    /// Pods of them; a percentage of all their pods, rounded down. None: as many as come together.
    pub pods: Option<Share>,
}

/// A workload that is to be restarted, as it was read.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its kind.
    pub kind: Kind,
    /// Itself.
    pub object: Object,
}

/// Whether a wave may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clearance {
    /// The first so many of its members may.
    Go(usize),
    /// No: a PodDisruptionBudget will never allow it as things are set.
    Never(String),
    /// Not now: a PodDisruptionBudget does not allow it.
    Wait(String),
}

/// What comes next for a workload whose pods are replaced when they are deleted.
#[derive(Debug, Clone)]
pub enum Next {
    /// All pods are new and ready.
    Done,
    /// This old pod is to go.
    Replace(Object),
    /// One is under way: which, and what is waited for.
    Wait(String),
}

impl Member {
    /// `deployment.apps/shop/web`.
    pub fn key(&self) -> String {
        self.kind
            .subject(self.object.namespace(), Some(self.object.name()))
            .key()
    }

    /// Whether its pods are replaced only when somebody deletes them.
    pub fn is_on_delete(&self) -> bool {
        self.object.text("/spec/updateStrategy/type") == "OnDelete"
    }

    /// Whether it was restarted at or after a time, by the annotation that a restart leaves.
    pub fn restarted_since(&self, since: Timestamp) -> bool {
        self.restarted_at().is_some_and(|at| at >= since)
    }

    /// When it was restarted last, by the annotation of its pod template.
    pub fn restarted_at(&self) -> Option<Timestamp> {
        let annotations = self.object.at("/spec/template/metadata/annotations")?;
        annotations.get(RESTARTED_AT)?.as_str()?.parse().ok()
    }

    /// How many pods it wants.
    pub fn size(&self) -> i64 {
        if self.object.kind() == "DaemonSet" {
            self.object
                .int("/status/desiredNumberScheduled")
                .unwrap_or(0)
        } else {
            self.object.int("/spec/replicas").unwrap_or(1)
        }
    }

    /// How many of its pods a restart makes unavailable at the same time.
    pub fn disruption(&self) -> Disruption {
        let size = self.size();
        let object = &self.object;
        let field = |name: &str| {
            let at = if object.kind() == "Deployment" {
                format!("/spec/strategy/rollingUpdate/{name}")
            } else {
                format!("/spec/updateStrategy/rollingUpdate/{name}")
            };
            (Share::of(object.at(&at)), object.at(&at).cloned())
        };
        let (unavailable, said) = field("maxUnavailable");
        let said = said.map_or_else(|| "25%".to_owned(), |v| v.to_string().replace('"', ""));
        let (pods, why) = match object.kind() {
            _ if self.is_on_delete() => (1, "OnDelete: one after the other".to_owned()),
            "Deployment" if object.text("/spec/strategy/type") == "Recreate" => {
                (size, "strategy Recreate: all".to_owned())
            }
            "Deployment" => {
                // The Deployment controller rounds the surge up and what is unavailable down; if
                // both come to none, one is unavailable.
                let surge = field("maxSurge").0.unwrap_or(Share::Percent(25)).ceil(size);
                let floor = unavailable.unwrap_or(Share::Percent(25)).floor(size);
                let pods = if floor == 0 && surge == 0 { 1 } else { floor };
                (pods, format!("maxUnavailable {said} of {size}"))
            }
            // Rounded up, unlike a Deployment's; with a surge none is taken away first.
            "DaemonSet" => match (unavailable, field("maxSurge").0.map(|s| s.ceil(size))) {
                (Some(share), surge) if share.ceil(size) > 0 || surge.unwrap_or(0) == 0 => (
                    share.ceil(size).max(1),
                    format!("maxUnavailable {said} of {size}"),
                ),
                (None, surge) if surge.unwrap_or(0) == 0 => (1, "maxUnavailable 1".to_owned()),
                _ => (0, "surge only".to_owned()),
            },
            _ => match unavailable {
                Some(share) => (
                    share.ceil(size).max(1),
                    format!("maxUnavailable {said} of {size}"),
                ),
                None => (1, "one after the other".to_owned()),
            },
        };
        Disruption {
            pods: pods.min(size),
            why,
        }
    }

    /// The labels that its pods have or will have: those of its template, and those of each of these
    /// pods that its selector selects.
    pub(super) fn pod_labels(&self, pods: &[Object]) -> Vec<BTreeMap<String, String>> {
        let selector = self.object.at("/spec/selector");
        let live = pods
            .iter()
            .filter(|p| p.namespace() == self.object.namespace() && !is_finished(p))
            .map(Object::labels)
            .filter(|labels| selects(selector, labels));
        let template = texts(self.object.at("/spec/template/metadata/labels"));
        std::iter::once(template).chain(live).collect()
    }
}

/// How many of `left`, from the first on, the next wave has; `all` are those that are to be restarted
/// altogether, `stuck` those of an earlier wave that are not done and so count as part of each wave.
/// None if these leave no room.
///
/// # Errors
/// A workload whose restart alone takes away more pods than is allowed.
pub fn next_wave(
    left: &[Member],
    all: &[Member],
    stuck: &[Member],
    bounds: Bounds,
) -> Result<usize, ClusterError> {
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let most = usize::try_from(bounds.workloads.floor(total).max(1)).unwrap_or(1);
    let most = most.saturating_sub(stuck.len());
    let Some(share) = bounds.pods else {
        return Ok(most.min(left.len()));
    };
    let limit = share.floor(all.iter().map(Member::size).sum()).max(1);
    let mut away: i64 = stuck.iter().map(|m| m.disruption().pods).sum();
    for (index, member) in left.iter().take(most).enumerate() {
        let disruption = member.disruption();
        if disruption.pods > limit {
            return Err(ClusterError::BadRequest {
                message: format!(
                    "the restart of `{}` makes {} pods unavailable at the same time ({}), more than the {limit} \
                     that are allowed: lower its maxUnavailable",
                    member.key(),
                    disruption.pods,
                    disruption.why
                ),
            });
        }
        away += disruption.pods;
        if away > limit {
            return Ok(index);
        }
    }
    Ok(most.min(left.len()))
}

/// Whether the PodDisruptionBudgets allow what these restarts take away together. Members that were
/// restarted since `since` take nothing more away. A budget counts for a member if it selects the
/// labels of its template, or one of its `pods`: what is injected when a pod is made labels it too.
pub fn clearance(
    members: &[Member],
    budgets: &[Object],
    pods: &[Object],
    since: Timestamp,
) -> Clearance {
    let mut taken: BTreeMap<(Option<&str>, &str), i64> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        if member.restarted_since(since) && !member.is_on_delete() {
            continue;
        }
        let disruption = member.disruption();
        if disruption.pods == 0 {
            continue;
        }
        let labels = member.pod_labels(pods);
        for budget in budgets {
            let selector = budget.at("/spec/selector");
            let selected = budget.namespace() == member.object.namespace()
                && labels.iter().any(|labels| selects(selector, labels));
            if !selected {
                continue;
            }
            let key = (budget.namespace(), budget.name());
            let sum = taken.entry(key).or_default();
            *sum += disruption.pods;
            if let Some(no) = refusal(budget, member, &disruption, *sum) {
                return if index == 0 { no } else { Clearance::Go(index) };
            }
        }
    }
    Clearance::Go(members.len())
}

fn refusal(
    budget: &Object,
    member: &Member,
    disruption: &Disruption,
    sum: i64,
) -> Option<Clearance> {
    let status = |field: &str| budget.int(&format!("/status/{field}")).unwrap_or(0);
    let name = format!(
        "poddisruptionbudget.policy/{}/{}",
        budget.namespace().unwrap_or(""),
        budget.name()
    );
    if status("observedGeneration") < budget.generation() {
        return Some(Clearance::Wait(format!(
            "the status of `{name}` is not written yet"
        )));
    }
    let takes = format!(
        "the restart of `{}` takes away {} ({})",
        member.key(),
        pods(disruption.pods),
        disruption.why
    );
    let at_best = status("expectedPods") - status("desiredHealthy");
    if disruption.pods > at_best {
        return Some(Clearance::Never(format!(
            "{takes}, but `{name}` allows {at_best} even when all {} are healthy",
            pods(status("expectedPods"))
        )));
    }
    let allowed = status("disruptionsAllowed");
    (sum > allowed).then(|| {
        Clearance::Wait(format!(
            "{takes}, and `{name}` allows {allowed} now ({} of {} healthy, {} needed)",
            status("currentHealthy"),
            status("expectedPods"),
            status("desiredHealthy")
        ))
    })
}

fn pods(count: i64) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

/// The change that a restart is, as a merge patch: for telling who would put it back.
pub fn restart_change() -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "now"}}}}})
}

impl Cluster {
    /// Reads a workload that is to be restarted.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`]; [`ClusterError::BadRequest`] for a paused Deployment and for kinds
    /// that have no rollouts.
    pub async fn member(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Member, ClusterError> {
        super::super::rollout::rolls_out(kind)?;
        let object = self.get_existing(kind, Some(namespace), name).await?;
        super::super::write::not_paused(kind, &object)?;
        Ok(Member {
            kind: kind.clone(),
            object,
        })
    }

    /// Whether a wave may begin: see [`clearance`]. Reads the budgets of the members' namespaces and,
    /// where there are some, the members' pods.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn clearance(
        &self,
        members: &[Member],
        since: Timestamp,
    ) -> Result<Clearance, ClusterError> {
        let kind = self.kind("poddisruptionbudgets.policy").await?;
        let mut namespaces: Vec<&str> = members
            .iter()
            .filter_map(|m| m.object.namespace())
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let mut budgets = Vec::new();
        for namespace in namespaces {
            budgets.extend(self.list(&kind, Some(namespace), &Selector::all()).await?);
        }
        let pod = self.kind("v1/Pod").await?;
        let mut pods = Vec::new();
        for Member { object, .. } in members {
            if budgets.iter().any(|b| b.namespace() == object.namespace()) {
                let selector = Selector::labels(super::super::blocked::selector(object));
                pods.extend(self.list(&pod, object.namespace(), &selector).await?);
            }
        }
        Ok(clearance(members, &budgets, &pods, since))
    }

    /// Restarts a workload by the annotation on its template, unless it was restarted at or after
    /// `since`. Old pods of the strategy `OnDelete` stay: [`Self::next_replacement`] names them.
    ///
    /// # Errors
    /// As for [`Cluster::restart`].
    pub async fn restart_unless(
        &self,
        member: &Member,
        since: Timestamp,
    ) -> Result<Written, ClusterError> {
        let namespace = member.object.namespace().unwrap_or("");
        let now = self
            .member(&member.kind, namespace, member.object.name())
            .await?;
        let patch = if now.restarted_since(since) {
            json!({})
        } else {
            // Finer than kubectl's seconds, so that it can be compared with `since`.
            let at = Timestamp::now().max(since);
            json!({"spec": {"template": {"metadata": {"annotations": {
                RESTARTED_AT: at.to_string(),
            }}}}})
        };
        self.patch_read(&now.kind, now.object, patch, Some("restart"))
            .await
    }

    /// What is to be done next to make the pods of a workload with the strategy `OnDelete` new, one
    /// after the other: an old pod is named only while all others are there and ready. Old pods that are
    /// not ready come first, then those with the highest ordinal. After a restart that was only rehearsed
    /// all pods are old.
    ///
    /// # Errors
    /// It is gone, or its pods or revisions cannot be read.
    pub async fn next_replacement(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Next, ClusterError> {
        let object = self.get_existing(kind, Some(namespace), name).await?;
        let member = Member {
            kind: kind.clone(),
            object,
        };
        let workload = &member.object;
        if workload.generation() > workload.int("/status/observedGeneration").unwrap_or(0) {
            return Ok(Next::Wait("its new template to be observed".to_owned()));
        }
        let hash = match workload.kind() {
            // The server kept no new template; no pod has this revision.
            _ if self.is_rehearsed(kind, Some(namespace), name) => "rehearsed".to_owned(),
            "StatefulSet" => workload.text("/status/updateRevision").to_owned(),
            _ => self.newest_hash(workload).await?,
        };
        if hash.is_empty() {
            return Ok(Next::Wait("its new revision".to_owned()));
        }
        let pod = self.kind("v1/Pod").await?;
        let selector = Selector::labels(super::super::blocked::selector(workload));
        let mut pods = self.list(&pod, Some(namespace), &selector).await?;
        pods.retain(|p| controller_of(p).is_some_and(|owner| owner.uid == workload.uid()));
        Ok(next(&member, pods, &hash))
    }

    /// The hash label of the newest revision of a DaemonSet; empty if it has none yet.
    async fn newest_hash(&self, workload: &Object) -> Result<String, ClusterError> {
        let revisions = self.controller_revisions(workload).await?;
        let newest = revisions.last();
        Ok(newest
            .and_then(|r| r.label("controller-revision-hash"))
            .unwrap_or("")
            .to_owned())
    }
}

fn next(member: &Member, mut pods: Vec<Object>, hash: &str) -> Next {
    // A pod that has ended serves nobody: its controller makes another, which is waited for.
    pods.retain(|p| !is_finished(p));
    let is_new = |p: &Object| p.label("controller-revision-hash") == Some(hash);
    if let Some(going) = pods.iter().find(|p| p.is_deleting()) {
        return Next::Wait(format!("pod `{}` to be gone", going.name()));
    }
    let (new, mut old): (Vec<Object>, Vec<Object>) = pods.into_iter().partition(|p| is_new(p));
    if let Some(pod) = new.iter().find(|p| !is_ready(p)) {
        return Next::Wait(format!("pod `{}` to be ready", pod.name()));
    }
    let there = i64::try_from(new.len() + old.len()).unwrap_or(i64::MAX);
    if there < member.size() {
        return Next::Wait(format!(
            "{} to be created",
            pods_missing(member.size() - there)
        ));
    }
    // The one that serves nobody first; then as a StatefulSet rolls.
    old.sort_by_key(|p| (is_ready(p), std::cmp::Reverse(ordinal(p))));
    match old.into_iter().next() {
        Some(pod) => Next::Replace(pod),
        None => Next::Done,
    }
}

fn pods_missing(count: i64) -> String {
    format!("{} more", pods(count))
}

/// The number at the end of a StatefulSet's pod; -1 for others.
fn ordinal(pod: &Object) -> i64 {
    let last = pod.name().rsplit_once('-').map_or("", |(_, last)| last);
    last.parse().unwrap_or(-1)
}

/// Refuses the restart of a workload with the strategy `OnDelete`: all its pods would stay as they are.
pub(in super::super) fn refuse_on_delete(kind: &Kind, object: &Object) -> Result<(), ClusterError> {
    if object
        .at("/spec/updateStrategy/type")
        .and_then(Value::as_str)
        != Some("OnDelete")
    {
        return Ok(());
    }
    Err(ClusterError::BadRequest {
        message: format!(
            "{} has the strategy OnDelete: its pods stay as they are until they are deleted; restart it \
             with workload::restart_in_waves, which evicts them one after the other",
            kind.subject(object.namespace(), Some(object.name()))
        ),
    })
}

#[cfg(test)]
#[path = "waves_tests.rs"]
mod tests;
