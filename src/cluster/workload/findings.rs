//! What would go wrong in a restart, told before it: one finding for each cause, with the object.
//!
//! | code | what | severity |
//! |---|---|---|
//! | `WL001` | the Deployment is paused: it cannot be restarted | unsafe |
//! | `WL002` | strategy Recreate: all pods go before the first new one comes | unsafe |
//! | `WL003` | a surge, and a volume that only one pod or node can hold | unsafe if the rollout cannot go on without the surge, else warn |
//! | `WL004` | a surge, and a host port that no node has free | as `WL003` |
//! | `WL005` | a container without readiness probe: it counts as ready when it has started | warn |
//! | `WL006` | one replica, which is taken away before the new one is there | unsafe |
//! | `WL007` | no room for the surge on the nodes: CPU, memory, pods | as `WL003` |
//! | `WL008` | no room in a ResourceQuota for the surge, as `WL003`; or for any new pod | unsafe |
//! | `WL009` | its HorizontalPodAutoscaler is at its maximum, or has no range | warn |
//! | `WL010` | a PodDisruptionBudget allows less than the restart takes away; a rollout does not ask it | unsafe; warn if nothing is taken away |
//! | `WL011` | all pods may be unavailable at the same time | unsafe |
//! | `WL012` | grace period 0: requests under way are cut off | unsafe |
//! | `WL013` | strategy OnDelete: nothing restarts until the pods are deleted | warn |
//! | `WL014` | a partition keeps pods as they are | warn |
//! | `WL015` | it is not as it should be now, before the restart | warn |
//!
//! Where something cannot be read or judged, the finding has the severity unknown under the code of what
//! could not be judged. Absent findings mean that the cause was looked for and not there.

use serde_json::Value;

use super::super::Object;
use super::load::{admitted, surge};
use super::ports::{holds_one_of, host_ports};
use super::room::{Fit, amount, amounts, candidates, fits, fits_each, own};
use super::selector::{items, selects};
use super::surroundings::{Known, Surroundings};
use super::waves::{Disruption, Member};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It could not be told whether it is so.
    Unknown,
    /// A restart would be felt, or would hang.
    Unsafe,
    /// Somebody should look at it.
    Warn,
}

impl Severity {
    /// `unknown`, `unsafe`, `warn`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unsafe => "unsafe",
            Self::Warn => "warn",
        }
    }
}

/// One thing that would go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its stable name: `WL001` and so on.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The workload: `deployment.apps/shop/web`.
    pub workload: String,
    /// Where it shows: the workload itself, or `poddisruptionbudget.policy/shop/web`.
    pub object: String,
    /// What is so.
    pub detail: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// All findings of one workload.
pub(super) fn findings(member: &Member, around: &Surroundings) -> Vec<Finding> {
    let size = member.size();
    let mut judge = Judge {
        member,
        around,
        spec: member
            .object
            .at("/spec/template/spec")
            .unwrap_or(&Value::Null),
        asks: admitted(member, around.pods.as_deref().unwrap_or_default()),
        size,
        disruption: member.disruption(),
        surge: surge(member),
        found: Vec::new(),
    };
    judge.strategy();
    judge.template();
    if judge.surge > 0 {
        judge.claims();
        judge.host_ports();
        judge.room();
    }
    if size > 0 {
        judge.quotas();
    }
    judge.autoscaler();
    judge.budgets();
    judge.found
}

struct Judge<'a> {
    member: &'a Member,
    around: &'a Surroundings,
    spec: &'a Value,
    /// The same as it is admitted, as far as that is known.
    asks: Value,
    size: i64,
    disruption: Disruption,
    surge: i64,
    found: Vec<Finding>,
}

impl Judge<'_> {
    fn say(
        &mut self,
        code: &'static str,
        severity: Severity,
        object: Option<String>,
        detail: String,
        hint: &'static str,
    ) {
        let workload = self.member.key();
        self.found.push(Finding {
            code,
            severity,
            object: object.unwrap_or_else(|| workload.clone()),
            workload,
            detail,
            hint,
        });
    }

    /// What could not be read, under the code of what it keeps from being judged.
    fn unread(&mut self, code: &'static str, what: &str, why: &str) {
        let detail = format!("{what} cannot be read: {why}");
        let hint = "grant the right to list them, or look for yourself";
        self.say(code, Severity::Unknown, None, detail, hint);
    }

    /// What a surge that cannot be had means: a rollout that may take none away hangs.
    fn without_surge(&self) -> Severity {
        if self.disruption.pods == 0 {
            Severity::Unsafe
        } else {
            Severity::Warn
        }
    }

    fn strategy(&mut self) {
        use Severity::{Unsafe, Warn};
        let object = &self.member.object;
        if super::is_paused(object) {
            let detail = "it is paused, and cannot be restarted".to_owned();
            self.say("WL001", Unsafe, None, detail, "workload::resume it first");
        }
        let recreate = object.text("/spec/strategy/type") == "Recreate";
        if recreate && self.size > 0 {
            let detail = format!(
                "strategy Recreate: {} of {} pods go before the first new one comes",
                self.size, self.size
            );
            self.say(
                "WL002",
                Unsafe,
                None,
                detail,
                "use the strategy RollingUpdate, or expect the outage",
            );
        }
        let takes = self.disruption.clone();
        if object.kind() != "DaemonSet" && self.size == 1 && takes.pods >= 1 {
            let detail = format!(
                "its only pod is taken away before the new one is ready ({})",
                takes.why
            );
            self.say(
                "WL006",
                Unsafe,
                None,
                detail,
                "give it a second replica, or a Deployment maxUnavailable 0 and maxSurge 1",
            );
        }
        if !recreate && self.size > 1 && takes.pods >= self.size {
            let detail = format!(
                "all {} pods may be unavailable at the same time ({})",
                self.size, takes.why
            );
            self.say("WL011", Unsafe, None, detail, "lower maxUnavailable");
        }
        if self.member.is_on_delete() {
            let detail = "strategy OnDelete: its pods stay until they are deleted".to_owned();
            self.say(
                "WL013",
                Warn,
                None,
                detail,
                "workload::restart_in_waves evicts them one after the other",
            );
        }
        let partition = object
            .int("/spec/updateStrategy/rollingUpdate/partition")
            .unwrap_or(0);
        if object.kind() == "StatefulSet" && partition > 0 && self.size > 0 {
            let detail = format!(
                "partition {partition} leaves {} of {} pods as they are",
                partition.min(self.size),
                self.size
            );
            self.say("WL014", Warn, None, detail, "set the partition to 0");
        }
        let now = super::super::rollout::decide(object);
        if !now.done && !self.member.is_on_delete() && !super::is_paused(object) {
            let detail = format!("it is not done with what was before: {}", now.message);
            self.say(
                "WL015",
                Warn,
                None,
                detail,
                "workload::wait for it, or see what workload::rollout_status says",
            );
        }
    }

    fn template(&mut self) {
        let without: Vec<&str> = items(self.spec.get("containers"))
            .iter()
            .filter(|c| c["readinessProbe"].is_null())
            .filter_map(|c| c["name"].as_str())
            .collect();
        if !without.is_empty() {
            let detail = format!(
                "no readiness probe in `{}`: a new pod counts as ready when it has started",
                without.join("`, `")
            );
            self.say(
                "WL005",
                Severity::Warn,
                None,
                detail,
                "give the container a readinessProbe",
            );
        }
        if self.spec["terminationGracePeriodSeconds"] == 0 {
            let detail = "terminationGracePeriodSeconds is 0: requests under way are cut off";
            self.say(
                "WL012",
                Severity::Unsafe,
                None,
                detail.to_owned(),
                "give it the time that a request takes",
            );
        }
    }

    fn claims(&mut self) {
        let names: Vec<(&str, bool)> = items(self.spec.get("volumes"))
            .iter()
            .map(|v| &v["persistentVolumeClaim"])
            .filter_map(|v| Some((v["claimName"].as_str()?, v["readOnly"] == true)))
            .collect();
        if names.is_empty() {
            return;
        }
        let around = self.around;
        let claims = match &around.claims {
            Ok(claims) => claims,
            Err(why) => return self.unread("WL003", "PersistentVolumeClaims", why),
        };
        for (name, read_only) in names {
            let object = format!("persistentvolumeclaim/{}/{name}", self.namespace());
            let Some(claim) = claims.iter().find(|c| c.name() == name) else {
                let detail = "its volume's claim does not exist: no new pod can start".to_owned();
                self.say(
                    "WL003",
                    Severity::Unsafe,
                    Some(object),
                    detail,
                    "create the claim",
                );
                continue;
            };
            let mut modes = claim.items("/status/accessModes");
            if modes.is_empty() {
                modes = claim.items("/spec/accessModes");
            }
            let has = |mode: &str| modes.iter().any(|m| m == mode);
            // What can also be written by one is for many only where it is mounted to be read.
            let for_one = has("ReadWriteOnce") || has("ReadWriteOncePod");
            if has("ReadWriteMany") || (has("ReadOnlyMany") && (read_only || !for_one)) {
                continue;
            }
            let severity = self.without_surge();
            let hint = "use the strategy Recreate or a volume with ReadWriteMany";
            if has("ReadWriteOncePod") {
                let detail = format!(
                    "access mode ReadWriteOncePod: a new pod cannot start while an old one has the volume (surge {})",
                    self.surge
                );
                self.say("WL003", severity, Some(object), detail, hint);
                continue;
            }
            // One node: old and new pods are on it together.
            let nodes = around
                .nodes
                .as_ref()
                .map(|nodes| candidates(self.spec, nodes).map_or(nodes.len(), |open| open.len()));
            match nodes {
                Ok(1) => {}
                Ok(count) => {
                    let detail = format!(
                        "access mode ReadWriteOnce: a new pod can start only on the node that has the volume, \
                         and {count} nodes may take it (surge {})",
                        self.surge
                    );
                    self.say("WL003", severity, Some(object), detail, hint);
                }
                Err(why) => {
                    let detail =
                        format!("access mode ReadWriteOnce, and nodes cannot be read: {why}");
                    self.say("WL003", Severity::Unknown, Some(object), detail, hint);
                }
            }
        }
    }

    fn host_ports(&mut self) {
        let wanted = host_ports(self.spec);
        if wanted.is_empty() {
            return;
        }
        let texts: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let ports = texts.join(", ");
        let around = self.around;
        let nodes = match &around.nodes {
            Ok(nodes) => nodes,
            Err(why) => return self.unread("WL004", "nodes", why),
        };
        let hint = "leave the host port out, or set maxSurge 0 and maxUnavailable 1";
        let mut open = match candidates(self.spec, nodes) {
            Ok(open) => open,
            Err(why) => {
                let detail = format!("host port {ports}: {why}");
                return self.say("WL004", Severity::Unknown, None, detail, hint);
            }
        };
        if let Ok(pods) = &around.pods {
            let taken: Vec<&str> = pods
                .iter()
                .filter(|p| !self.is_own(p) && holds_one_of(p, &wanted))
                .map(|p| p.text("/spec/nodeName"))
                .collect();
            open.retain(|node| !taken.contains(&node.name()));
        }
        let free = i64::try_from(open.len()).unwrap_or(i64::MAX);
        // Each pod has one node for itself; a DaemonSet's new pod comes beside the old one.
        if free - self.size < 1 || self.member.object.kind() == "DaemonSet" {
            let detail = format!(
                "host port {ports}: {} pods hold it on the {free} nodes that may take them and where no other pod \
                 holds it, so a new pod starts only when an old one is gone",
                self.size
            );
            self.say("WL004", self.without_surge(), None, detail, hint);
        } else if let Err(why) = &around.pods {
            self.unread("WL004", "pods, which may hold its host ports,", why);
        }
    }

    /// Whether a pod is one of the workload's, by its selector.
    fn is_own(&self, pod: &Object) -> bool {
        let object = &self.member.object;
        pod.namespace() == object.namespace() && selects(object.at("/spec/selector"), &pod.labels())
    }

    fn room(&mut self) {
        let around = self.around;
        let known: (&Known, &Known) = (&around.nodes, &around.pods);
        let hint = "free some, add a node, or lower maxSurge; a cluster autoscaler may make room by itself";
        match known {
            (Ok(nodes), Ok(pods)) => match if self.member.object.kind() == "DaemonSet" {
                fits_each(&self.asks, nodes, pods)
            } else {
                fits(&self.asks, self.surge, nodes, pods)
            } {
                Fit::Yes => {}
                Fit::No(why) => self.say("WL007", self.without_surge(), None, why, hint),
                Fit::Unknown(why) => self.say("WL007", Severity::Unknown, None, why, hint),
            },
            (Err(why), _) => self.unread("WL007", "nodes", why),
            (_, Err(why)) => self.unread("WL007", "pods", why),
        }
    }

    fn quotas(&mut self) {
        let around = self.around;
        let quotas = match &around.quotas {
            Ok(quotas) => quotas,
            Err(why) => return self.unread("WL008", "ResourceQuotas", why),
        };
        let (requests, limits) = (
            amounts(&self.asks, "requests"),
            amounts(&self.asks, "limits"),
        );
        let hint = "raise the quota, free some of it, or lower maxSurge";
        for quota in quotas {
            let object = format!("resourcequota/{}/{}", self.namespace(), quota.name());
            let scoped = !quota.items("/spec/scopes").is_empty()
                || quota.at("/spec/scopeSelector").is_some();
            let hard = quota.at("/status/hard").or_else(|| quota.at("/spec/hard"));
            for (key, most) in hard.and_then(Value::as_object).into_iter().flatten() {
                if let Some(detail) = self.unnamed(key) {
                    let object = Some(object.clone());
                    let hint = "give each container of the template what the quota counts";
                    self.say("WL008", Severity::Unknown, object, detail, hint);
                    continue;
                }
                let each = if matches!(key.as_str(), "pods" | "count/pods") {
                    Some(1000)
                } else if let Some(resource) = key.strip_prefix("limits.") {
                    limits.get(resource).copied()
                } else {
                    let resource = key.strip_prefix("requests.").unwrap_or(key);
                    requests.get(resource).copied()
                };
                let Some(each) = each else { continue };
                let used = quota.at("/status/used").and_then(|u| u.get(key));
                let free = amount(most).unwrap_or(0) - used.and_then(amount).unwrap_or(0);
                if i128::from(self.surge) * each <= free {
                    continue;
                }
                let text = |v: Option<&Value>| {
                    v.map_or_else(|| "0".to_owned(), |v| v.to_string().replace('"', ""))
                };
                let what = match self.surge {
                    0 => "no pod that goes can be made anew".to_owned(),
                    surge => format!("the surge needs {surge} more pods"),
                };
                let detail = format!(
                    "{key}: {} of {} are used, and {what}",
                    text(used),
                    text(Some(most))
                );
                let severity = match self.surge {
                    _ if scoped => Severity::Unknown,
                    0 => Severity::Unsafe,
                    _ => self.without_surge(),
                };
                self.say("WL008", severity, Some(object.clone()), detail, hint);
            }
        }
    }

    /// What a quota demands of each container and one of them does not name.
    fn unnamed(&self, key: &str) -> Option<String> {
        let (what, resource) = match key.split_once('.') {
            Some(("limits", resource)) => ("limits", resource),
            Some(("requests", resource)) => ("requests", resource),
            _ => ("requests", key),
        };
        // Only these are demanded of all (Kubernetes `pkg/quota/v1/evaluator/core/pods.go`).
        if !matches!(resource, "cpu" | "memory") || self.asks["resources"].is_object() {
            return None;
        }
        let first = items(self.asks.get("initContainers"));
        let mut containers = first.iter().chain(items(self.asks.get("containers")));
        let without = containers.find(|c| !own(c, what).contains_key(resource))?;
        let name = without["name"].as_str().unwrap_or("");
        Some(format!(
            "{key}: container `{name}` names none; unless a LimitRange does, no new pod is admitted"
        ))
    }

    fn autoscaler(&mut self) {
        let around = self.around;
        let autoscalers = match &around.autoscalers {
            Ok(autoscalers) => autoscalers,
            Err(why) => return self.unread("WL009", "HorizontalPodAutoscalers", why),
        };
        let (kind, name) = (self.member.object.kind(), self.member.object.name());
        for hpa in autoscalers {
            let target = |field: &str| hpa.text(&format!("/spec/scaleTargetRef/{field}"));
            if (target("kind"), target("name")) != (kind, name) {
                continue;
            }
            let most = hpa.int("/spec/maxReplicas").unwrap_or(0);
            let least = hpa.int("/spec/minReplicas").unwrap_or(1);
            let object = format!(
                "horizontalpodautoscaler.autoscaling/{}/{}",
                self.namespace(),
                hpa.name()
            );
            let detail = if least >= most {
                format!(
                    "its minimum and its maximum are both {most}: it cannot add pods during the restart"
                )
            } else if self.size >= most {
                format!("it is at its maximum of {most}: it cannot add pods during the restart")
            } else {
                continue;
            };
            self.say(
                "WL009",
                Severity::Warn,
                Some(object),
                detail,
                "raise maxReplicas for the time of the restart",
            );
        }
    }

    fn budgets(&mut self) {
        let around = self.around;
        let budgets = match &around.budgets {
            Ok(budgets) => budgets,
            Err(why) => return self.unread("WL010", "PodDisruptionBudgets", why),
        };
        let live = around.pods.as_ref().map_or(&[][..], Vec::as_slice);
        let labels = self.member.pod_labels(live);
        let mut others = 0;
        for budget in budgets {
            let selector = budget.at("/spec/selector");
            if self.size == 0 || !labels.iter().any(|labels| selects(selector, labels)) {
                others += 1;
                continue;
            }
            let allowed = budget.int("/status/disruptionsAllowed").unwrap_or(0);
            let takes = self.disruption.pods;
            let object = format!(
                "poddisruptionbudget.policy/{}/{}",
                self.namespace(),
                budget.name()
            );
            let hint = "workload::restart_in_waves waits until it allows it";
            if budget.int("/status/observedGeneration").unwrap_or(0) < budget.generation() {
                let detail = "its status is not written yet".to_owned();
                self.say("WL010", Severity::Unknown, Some(object), detail, hint);
                continue;
            }
            if takes > allowed {
                let detail = format!(
                    "it allows {allowed} pods to be away now, and the restart takes {takes} away ({}); a rollout \
                     does not ask it",
                    self.disruption.why
                );
                self.say("WL010", Severity::Unsafe, Some(object), detail, hint);
            } else if allowed == 0 {
                let detail =
                    "it allows no pod to be evicted now; the restart takes none away".to_owned();
                self.say(
                    "WL010",
                    Severity::Warn,
                    Some(object),
                    detail,
                    "let its pods become healthy, or lower what it needs",
                );
            }
        }
        if let Err(why) = &around.pods
            && others > 0
            && self.size > 0
        {
            self.unread(
                "WL010",
                "pods, which may have labels that a budget selects,",
                why,
            );
        }
    }

    fn namespace(&self) -> String {
        self.member.object.namespace().unwrap_or("").to_owned()
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
