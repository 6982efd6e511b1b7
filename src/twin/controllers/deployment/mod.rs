//! Deployments: rollouts over ReplicaSets. A port of `pkg/controller/deployment` of Kubernetes 1.34.
//!
//! Two differences, so that its limits hold for pods at every moment and not only for what is asked of
//! ReplicaSets, whose status lags: pods that a scaled-down ReplicaSet has not yet given up still count when the
//! new one is scaled up ([`scale::occupied`]), and do not count as available when old ones are scaled down
//! ([`rolling::staying`]).

mod revision;
mod rolling;
mod scale;
mod status;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{condition_reason, deleting, int, int_or, name, namespace, scaled, text, uid};
use super::ownership::claim;
use super::replicaset::replicas;
use super::snapshot::Snapshot;

const NAME: &str = "deployment-controller";
const RESOURCE: &str = "deployments.apps";
const REPLICASETS: &str = "replicasets.apps";

/// Reconciles Deployments.
pub struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        // Of pods only a rollout of type Recreate needs to know, through its ReplicaSets.
        let mut pods_below = std::collections::HashMap::<&str, u64>::new();
        for rs in world.list(REPLICASETS) {
            let below = pods_below
                .entry(super::objects::controller_uid(rs))
                .or_default();
            *below = below.wrapping_add(world.owned_by(uid(rs)));
        }
        let print = |d: &Value| {
            let below = match text(d, "/spec/strategy/type") {
                "Recreate" => pods_below.get(uid(d)).copied().unwrap_or(0),
                _ => 0,
            };
            world.family(d).wrapping_add(below)
        };
        let all = world.list(RESOURCE).iter();
        all.map(|d| (Key::of(d), print(d))).collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            match reconcile(&ctx, &key).await {
                Ok(outcome) => outcome,
                Err(reason) => Outcome::Failed(reason),
            }
        })
    }
}

/// A Deployment with its ReplicaSets, as one reconciliation knows them. What it writes it also keeps here.
struct Rollout<'a> {
    ctx: &'a Ctx,
    deployment: Value,
    /// The ReplicaSet of the present template.
    new: Option<Value>,
    /// The others, oldest first.
    old: Vec<Value>,
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Result<Outcome, String> {
    let Some(deployment) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
        return Ok(Outcome::Done);
    };
    let mut sets: Vec<Value> = claim(ctx, REPLICASETS, &deployment)
        .iter()
        .map(|rs| (**rs).clone())
        .collect();
    sets.sort_by_key(by_age);
    let mut rollout = Rollout {
        ctx,
        deployment: (*deployment).clone(),
        new: None,
        old: sets,
    };
    rollout.find_new();
    if deleting(&deployment) {
        return Ok(rollout.write_plain_status());
    }
    rollout.note_pause();
    if rollout.paused() || rollout.is_scaling() {
        rollout.sync_new(false).await?;
        rollout.scale().await?;
        if rollout.paused() {
            rollout.clean_up();
        }
        return Ok(rollout.write_plain_status());
    }
    match text(&rollout.deployment, "/spec/strategy/type") {
        "Recreate" => rollout.recreate().await,
        _ => rollout.roll().await,
    }
}

/// The key by which older ReplicaSets come first.
fn by_age(rs: &Value) -> (u64, String, String) {
    (
        revision::of(rs),
        text(rs, "/metadata/creationTimestamp").to_owned(),
        name(rs).to_owned(),
    )
}

impl Rollout<'_> {
    fn paused(&self) -> bool {
        self.deployment["spec"]["paused"] == true
    }

    /// `spec.replicas`.
    fn wanted(&self) -> i64 {
        replicas(&self.deployment)
    }

    fn is_rolling(&self) -> bool {
        text(&self.deployment, "/spec/strategy/type") != "Recreate"
    }

    /// How many pods may be there beyond the wanted ones.
    fn max_surge(&self) -> i64 {
        if self.is_rolling() {
            let value = &self.deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"];
            scaled(value, self.wanted(), true, 0)
        } else {
            0
        }
    }

    /// How many of the wanted pods may be unavailable. Where neither may be, one may (`ResolveFenceposts`).
    fn max_unavailable(&self) -> i64 {
        if !self.is_rolling() || self.wanted() == 0 {
            return 0;
        }
        let value = &self.deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"];
        let unavailable = scaled(value, self.wanted(), false, 0);
        let unavailable = if unavailable == 0 && self.max_surge() == 0 {
            1
        } else {
            unavailable
        };
        unavailable.min(self.wanted())
    }

    /// All ReplicaSets, old ones first.
    fn all(&self) -> impl Iterator<Item = &Value> {
        self.old.iter().chain(&self.new)
    }

    /// `progressDeadlineSeconds`; the greatest number means none.
    fn progress_deadline(&self) -> Option<i64> {
        let seconds = int_or(
            &self.deployment,
            "/spec/progressDeadlineSeconds",
            i64::from(i32::MAX),
        );
        (seconds != i64::from(i32::MAX)).then_some(seconds)
    }

    /// While a rollout is paused its progress is not judged; that is said by a condition.
    fn note_pause(&mut self) {
        let reason = condition_reason(&self.deployment, "Progressing");
        if self.progress_deadline().is_none() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let (reason, message) = match (self.paused(), reason == "DeploymentPaused") {
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        self.set_progressing("Unknown", reason, message);
        self.write_conditions();
    }

    /// Sets the condition `Progressing` in what this reconciliation knows, and restarts its deadline.
    fn set_progressing(&mut self, status: &str, reason: &str, message: &str) {
        let now = self.ctx.now();
        status::set(
            &mut self.deployment,
            "Progressing",
            status,
            reason,
            message,
            &now,
        );
        self.ctx.set_progress_now(uid(&self.deployment));
    }

    /// Writes the conditions that this reconciliation knows.
    fn write_conditions(&self) {
        let conditions = self.deployment["status"]["conditions"].clone();
        self.write_status_with(|status| {
            status.insert("conditions".to_owned(), conditions.clone());
        });
    }

    fn write_status_with(&self, mut change: impl FnMut(&mut serde_json::Map<String, Value>)) {
        let d = &self.deployment;
        // Gone meanwhile: nothing to write.
        let _ = self
            .ctx
            .kube
            .update_status(RESOURCE, namespace(d), name(d), |o| {
                if uid(o) == uid(d) {
                    change(super::objects::object_at(o, "status"));
                }
            });
    }
}

/// `status.availableReplicas` of a ReplicaSet.
fn available(rs: &Value) -> i64 {
    int(rs, "/status/availableReplicas")
}

/// A ReplicaSet's reference for a Deployment's template: labels and selector with the hash.
fn with_hash(value: &Value, hash: &str) -> Value {
    let mut labels = if value.is_object() {
        value.clone()
    } else {
        json!({})
    };
    labels[revision::HASH_LABEL] = hash.into();
    labels
}
