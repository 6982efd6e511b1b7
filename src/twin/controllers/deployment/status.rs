//! The status of a Deployment: counts, conditions, progress and its deadline.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::context::seconds;
use super::super::manager::Outcome;
use super::super::objects::{
    array, condition, condition_reason, generation, int, name, object_at, set_count, text, uid,
};
use super::super::replicaset::replicas;
use super::{Rollout, available};

/// However fast the simulated time runs, a longer deadline of progress never passes sooner than this in real time:
/// the work that the twin itself does between two pods (handshakes, webhooks) takes real time.
const LEAST_REAL_DEADLINE: Duration = Duration::from_secs(10);

/// Sets a condition as `SetDeploymentCondition`: nothing changes where status and reason are the same; the newest stands last.
pub fn set(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    put(object, kind, status, reason, message, now, false);
}

fn put(
    object: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: &str,
    renew: bool,
) {
    let old = condition(object, kind);
    let same_status = old.is_some_and(|c| c["status"] == status);
    if !renew && same_status && old.is_some_and(|c| c["reason"] == reason) {
        return;
    }
    let transition = match old {
        Some(old) if same_status => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let entry = json!({
        "type": kind, "status": status, "lastUpdateTime": now, "lastTransitionTime": transition,
        "reason": reason, "message": message,
    });
    let mut list: Vec<Value> = array(object, "/status/conditions").to_vec();
    list.retain(|c| c["type"] != kind);
    list.push(entry);
    object_at(object, "status").insert("conditions".to_owned(), list.into());
}

fn remove(object: &mut Value, kind: &str) {
    super::super::objects::remove_condition(object, kind);
}

impl Rollout<'_> {
    /// Whether the status, as last written, says that the rollout is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.completes(&self.deployment)
    }

    fn completes(&self, with: &Value) -> bool {
        let wanted = self.wanted();
        ["updatedReplicas", "replicas", "availableReplicas"]
            .iter()
            .all(|key| int(&with["status"], &format!("/{key}")) == wanted)
            && int(with, "/status/observedGeneration") >= generation(&self.deployment)
    }

    /// Writes counts and availability only.
    pub(super) fn write_plain_status(self) -> Outcome {
        let after = self.counted();
        self.write(&after);
        Outcome::Done
    }

    /// Writes the status of a rollout with its progress; says when to look again for the deadline.
    pub(super) fn write_rollout_status(self) -> Outcome {
        let mut after = self.counted();
        let wait = self.judge_progress(&mut after);
        self.note_failures(&mut after);
        self.write(&after);
        Outcome::after(wait)
    }

    /// The Deployment with the counts of its ReplicaSets (`calculateStatus`).
    fn counted(&self) -> Value {
        let mut after = self.deployment.clone();
        let sum = |pointer: &str| self.all().map(|rs| int(rs, pointer)).sum::<i64>();
        let serving: i64 = self.all().map(available).sum();
        let asked: i64 = self.all().map(replicas).sum();
        let updated = self
            .new
            .as_ref()
            .map_or(0, |rs| int(rs, "/status/replicas"));
        let status: &mut Map<String, Value> = object_at(&mut after, "status");
        let observed = generation(&self.deployment);
        status.insert("observedGeneration".to_owned(), observed.into());
        set_count(status, "replicas", sum("/status/replicas"));
        set_count(status, "updatedReplicas", updated);
        set_count(status, "readyReplicas", sum("/status/readyReplicas"));
        set_count(status, "availableReplicas", serving);
        set_count(status, "unavailableReplicas", (asked - serving).max(0));
        let now = self.ctx.now();
        if serving >= self.wanted() - self.max_unavailable() {
            let message = "Deployment has minimum availability.";
            set(
                &mut after,
                "Available",
                "True",
                "MinimumReplicasAvailable",
                message,
                &now,
            );
        } else {
            let message = "Deployment does not have minimum availability.";
            set(
                &mut after,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                message,
                &now,
            );
        }
        after
    }

    /// The condition `Progressing` (`syncRolloutStatus`). Says when a deadline could pass.
    fn judge_progress(&self, after: &mut Value) -> Option<Duration> {
        let Some(deadline) = self.progress_deadline() else {
            remove(after, "Progressing");
            return None;
        };
        let before = &self.deployment;
        let reason = condition_reason(before, "Progressing").to_owned();
        let all_new = int(after, "/status/replicas") == int(after, "/status/updatedReplicas");
        if all_new && reason == "NewReplicaSetAvailable" {
            return None;
        }
        let subject = match &self.new {
            Some(rs) => format!("ReplicaSet \"{}\"", name(rs)),
            None => format!("Deployment \"{}\"", name(before)),
        };
        let now = self.ctx.now();
        if self.completes(after) {
            let message = format!("{subject} has successfully progressed.");
            set(
                after,
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                &message,
                &now,
            );
            return None;
        }
        if progressed(before, after) {
            let message = format!("{subject} is progressing.");
            put(
                after,
                "Progressing",
                "True",
                "ReplicaSetUpdated",
                &message,
                &now,
                true,
            );
            self.ctx.set_progress_now(uid(before));
            return Some(seconds(deadline));
        }
        if reason.is_empty()
            || reason == "ProgressDeadlineExceeded"
            || reason == "NewReplicaSetAvailable"
        {
            return None;
        }
        let since = self.ctx.progress_since(uid(before));
        let real_limit = seconds(deadline).min(LEAST_REAL_DEADLINE);
        let left = seconds(deadline).saturating_sub(self.ctx.simulated_since(since));
        let left_real = real_limit.saturating_sub(since.elapsed());
        if left.is_zero() && left_real.is_zero() {
            let message = format!("{subject} has timed out progressing.");
            set(
                after,
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                &message,
                &now,
            );
            return None;
        }
        Some(left.max(left_real.mul_f64(self.ctx.clock.speed())))
    }

    /// Pods that cannot be created are the Deployment's failure too: the new ReplicaSet's before the old ones'.
    fn note_failures(&self, after: &mut Value) {
        let mut sets = self.new.iter().chain(&self.old);
        let failure = sets.find_map(|rs| condition(rs, "ReplicaFailure"));
        match failure {
            None => remove(after, "ReplicaFailure"),
            Some(c) => {
                let (status, reason) = (text(c, "/status"), text(c, "/reason"));
                let at = text(c, "/lastTransitionTime");
                set(
                    after,
                    "ReplicaFailure",
                    status,
                    reason,
                    text(c, "/message"),
                    at,
                );
            }
        }
    }

    fn write(&self, after: &Value) {
        if after["status"] == self.deployment["status"] {
            return;
        }
        self.write_status_with(|status| {
            if let Some(new) = after["status"].as_object() {
                status.clone_from(new);
            }
        });
    }
}

/// Whether there are more new, fewer old, more ready or more available pods than before.
fn progressed(before: &Value, after: &Value) -> bool {
    let count = |of: &Value, key: &str| int(&of["status"], &format!("/{key}"));
    let old = |of: &Value| count(of, "replicas") - count(of, "updatedReplicas");
    let more = |key: &str| count(after, key) > count(before, key);
    more("updatedReplicas")
        || old(after) < old(before)
        || more("readyReplicas")
        || more("availableReplicas")
}
