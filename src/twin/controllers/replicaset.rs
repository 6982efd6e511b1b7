//! ReplicaSets: as many pods as asked for.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::Ctx;
use super::events::Event;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    deleting, generation, int, int_or, name, namespace, object_at, selects, set_count, uid,
};
use super::ownership::claim;
use super::pods::{from_template, is_active, is_ready, sort_for_deletion};
use super::snapshot::Snapshot;
use crate::twin::kube::Propagation;

const NAME: &str = "replicaset-controller";
const RESOURCE: &str = "replicasets.apps";

/// Reconciles ReplicaSets.
pub struct ReplicaSets;

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|rs| (Key::of(rs), world.family(rs))).collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { reconcile(&ctx, &key).await })
    }
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(rs) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
        return Outcome::Done;
    };
    let failure = if deleting(&rs) {
        claim(ctx, "pods", &rs);
        None
    } else {
        manage(ctx, &rs).await.err()
    };
    let wait = write_status(ctx, &rs, failure.as_ref());
    match failure {
        Some(failure) => Outcome::Failed(failure.message),
        None => Outcome::after(wait),
    }
}

/// Why the number of pods is not as it should be.
struct Failure {
    reason: &'static str,
    message: String,
}

/// Creates or deletes one pod after the other; before each, what is wanted and what is there are read again.
async fn manage(ctx: &Ctx, rs: &Value) -> Result<(), Failure> {
    loop {
        let Some(now) = ctx.kube.get(RESOURCE, namespace(rs), name(rs)) else {
            return Ok(());
        };
        if uid(&now) != uid(rs) || deleting(&now) {
            return Ok(());
        }
        let mut active = claim(ctx, "pods", &now);
        active.retain(|p| is_active(p));
        let wanted = usize::try_from(replicas(&now)).unwrap_or(0);
        match active.len().cmp(&wanted) {
            Ordering::Less => create(ctx, &now).await?,
            Ordering::Equal => return Ok(()),
            Ordering::Greater => {
                sort_for_deletion(&mut active, |p| ctx.ready_for(p).as_secs_f64());
                delete(ctx, &now, &active[0]).await?;
            }
        }
    }
}

async fn create(ctx: &Ctx, rs: &Value) -> Result<(), Failure> {
    let prefix = format!("{}-", name(rs));
    let pod_name = ctx.names.next(namespace(rs), &prefix);
    let pod = from_template(rs, &rs["spec"]["template"], &prefix, &pod_name);
    match ctx.kube.create("pods", namespace(rs), pod).await {
        Ok(pod) => {
            let message = format!("Created pod: {}", name(&pod));
            ctx.event(rs, Event::normal(NAME, "SuccessfulCreate", &message))
                .await;
            Ok(())
        }
        // The name is taken: the next one is tried.
        Err(status) if status.reason == Some("AlreadyExists") => Ok(()),
        Err(status) => {
            let message = format!("Error creating: {}", status.message);
            ctx.event(rs, Event::warning(NAME, "FailedCreate", &message))
                .await;
            Err(Failure {
                reason: "FailedCreate",
                message: status.message,
            })
        }
    }
}

async fn delete(ctx: &Ctx, rs: &Value, pod: &Value) -> Result<(), Failure> {
    let done = ctx
        .kube
        .delete("pods", namespace(pod), name(pod), Propagation::Background);
    match done {
        Ok(()) => {
            let message = format!("Deleted pod: {}", name(pod));
            ctx.event(rs, Event::normal(NAME, "SuccessfulDelete", &message))
                .await;
            Ok(())
        }
        Err(status) if status.code == 404 => Ok(()),
        Err(status) => {
            let message = format!("Error deleting: {}", status.message);
            ctx.event(rs, Event::warning(NAME, "FailedDelete", &message))
                .await;
            Err(Failure {
                reason: "FailedDelete",
                message: status.message,
            })
        }
    }
}

/// Writes the status; says after what time another pod will be available.
fn write_status(ctx: &Ctx, rs: &Value, failure: Option<&Failure>) -> Option<Duration> {
    let mut active = claim(ctx, "pods", rs);
    active.retain(|p| is_active(p));
    let template_labels = json!({"matchLabels": rs["spec"]["template"]["metadata"]["labels"]});
    let labelled = active
        .iter()
        .filter(|p| selects(&template_labels, &p["metadata"]["labels"]))
        .count();
    let ready = active.iter().filter(|p| is_ready(p)).count();
    let min_ready = int(rs, "/spec/minReadySeconds");
    let (available, next) = ctx.available(&active, min_ready);
    let now = ctx.now();
    // Gone meanwhile: nothing to write.
    let _ = ctx
        .kube
        .update_status(RESOURCE, namespace(rs), name(rs), |o| {
            if uid(o) != uid(rs) {
                return;
            }
            set_failure(o, failure, &now);
            let status = object_at(o, "status");
            status.insert("replicas".to_owned(), active.len().into());
            set_count(status, "fullyLabeledReplicas", count(labelled));
            set_count(status, "readyReplicas", count(ready));
            set_count(status, "availableReplicas", available);
            status.insert("observedGeneration".to_owned(), generation(rs).into());
        });
    next
}

/// The condition `ReplicaFailure`, there only while it fails.
fn set_failure(rs: &mut Value, failure: Option<&Failure>, now: &str) {
    match failure {
        None => super::objects::remove_condition(rs, "ReplicaFailure"),
        Some(failure) => super::objects::set_condition(
            rs,
            json!({
                "type": "ReplicaFailure", "status": "True", "lastTransitionTime": now,
                "reason": failure.reason, "message": failure.message,
            }),
        ),
    }
}

/// `spec.replicas`, with its default.
pub fn replicas(rs: &Value) -> i64 {
    int_or(rs, "/spec/replicas", 1)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
