//! Jobs: pods that run to completion. Completion counts and parallelism, back-off limit, suspension and
//! time to live are honoured; indexed completion is not modelled: such a Job stays as it is.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::context::{Ctx, seconds};
use super::events::Event;
use super::manager::{Controller, Key, Outcome};
use super::objects::{
    array, condition_is_true, deleting, int_or, name, namespace, object_at, set_condition,
    set_count, text, uid,
};
use super::ownership::claim;
use super::pods::{from_template, is_active, is_ready};
use super::snapshot::Snapshot;
use crate::twin::kube::Propagation;

const NAME: &str = "job-controller";
const RESOURCE: &str = "jobs.batch";

/// Reconciles Jobs.
pub struct Jobs;

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|j| (Key::of(j), world.family(j))).collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move { reconcile(&ctx, &key).await })
    }
}

/// What a Job's pods have come to.
struct Tally {
    active: Vec<Arc<Value>>,
    succeeded: i64,
    failed: i64,
    /// How often containers of the active pods were started again.
    restarts: i64,
}

fn tally(ctx: &Ctx, job: &Value) -> Tally {
    let pods = claim(ctx, "pods", job);
    let ended = |phase: &str| {
        let some = pods.iter().filter(|p| text(p, "/status/phase") == phase);
        i64::try_from(some.count()).unwrap_or(i64::MAX)
    };
    Tally {
        succeeded: ended("Succeeded"),
        failed: ended("Failed"),
        restarts: pods
            .iter()
            .filter(|p| is_active(p))
            .map(|p| restarts(p))
            .sum(),
        active: pods.iter().filter(|p| is_active(p)).cloned().collect(),
    }
}

fn restarts(pod: &Value) -> i64 {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .flat_map(|list| array(pod, list))
        .map(|c| int_or(c, "/restartCount", 0))
        .sum()
}

async fn reconcile(ctx: &Ctx, key: &Key) -> Outcome {
    let Some(job) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
        return Outcome::Done;
    };
    if deleting(&job) || text(&job, "/spec/completionMode") == "Indexed" {
        return Outcome::Done;
    }
    if condition_is_true(&job, "Complete") || condition_is_true(&job, "Failed") {
        return expire(ctx, &job).await;
    }
    let before = tally(ctx, &job);
    let suspended = job["spec"]["suspend"] == true;
    let left = time_left(ctx, &job).filter(|_| !suspended);
    let mut verdict = verdict(&job, &before);
    if verdict.is_none() && left == Some(Duration::ZERO) {
        verdict = Some(Verdict::DeadlineExceeded);
    }
    let failure = match verdict {
        Some(_) => stop(ctx, &before).err(),
        None if suspended => stop(ctx, &before).err(),
        None => start(ctx, &job, &before).await.err(),
    };
    let stopped = before.active.len();
    write_status(ctx, &job, verdict, stopped).await;
    match (failure, left) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, left) if verdict.is_none() => Outcome::after(left),
        (None, _) => Outcome::Done,
    }
}

/// How long (simulated) a Job may still be active, if it has a deadline. The time that it is suspended does
/// not count.
fn time_left(ctx: &Ctx, job: &Value) -> Option<Duration> {
    let deadline = seconds(job["spec"]["activeDeadlineSeconds"].as_i64()?);
    if job["spec"]["suspend"] == true {
        ctx.set_progress_now(uid(job));
    }
    let active = ctx.simulated_since(ctx.progress_since(uid(job)));
    Some(deadline.saturating_sub(active))
}

/// How a Job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Complete,
    BackoffLimitExceeded,
    DeadlineExceeded,
}

fn verdict(job: &Value, tally: &Tally) -> Option<Verdict> {
    let limit = int_or(job, "/spec/backoffLimit", 6);
    let restarts_in_place = text(job, "/spec/template/spec/restartPolicy") == "OnFailure";
    let completions = job["spec"]["completions"].as_i64();
    let complete = match completions {
        Some(wanted) => tally.succeeded >= wanted,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    if complete {
        Some(Verdict::Complete)
    } else if tally.failed > limit || (restarts_in_place && tally.restarts >= limit.max(1)) {
        Some(Verdict::BackoffLimitExceeded)
    } else {
        None
    }
}

fn stop(ctx: &Ctx, tally: &Tally) -> Result<(), String> {
    for pod in &tally.active {
        let done = ctx
            .kube
            .delete("pods", namespace(pod), name(pod), Propagation::Background);
        if let Err(status) = done
            && status.code != 404
        {
            return Err(status.message);
        }
    }
    Ok(())
}

/// Creates what is missing to the wanted parallelism.
async fn start(ctx: &Ctx, job: &Value, tally: &Tally) -> Result<(), String> {
    let parallel = int_or(job, "/spec/parallelism", 1);
    let left = match job["spec"]["completions"].as_i64() {
        Some(wanted) => wanted - tally.succeeded,
        None if tally.succeeded > 0 => 0,
        None => parallel,
    };
    let active = i64::try_from(tally.active.len()).unwrap_or(i64::MAX);
    for _ in active..parallel.min(left) {
        let prefix = format!("{}-", name(job));
        let pod_name = ctx.names.next(namespace(job), &prefix);
        let pod = from_template(job, &job["spec"]["template"], &prefix, &pod_name);
        match ctx.kube.create("pods", namespace(job), pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", name(&pod));
                ctx.event(job, Event::normal(NAME, "SuccessfulCreate", &message))
                    .await;
            }
            Err(status) => {
                let message = format!("Error creating: {}", status.message);
                ctx.event(job, Event::warning(NAME, "FailedCreate", &message))
                    .await;
                return Err(status.message);
            }
        }
    }
    Ok(())
}

/// `stopped` pods were active when the Job ended: when it failed, they failed too.
async fn write_status(ctx: &Ctx, job: &Value, verdict: Option<Verdict>, stopped: usize) {
    let now = ctx.now();
    let tally = tally(ctx, job);
    let suspended = verdict.is_none() && job["spec"]["suspend"] == true;
    let failed = match verdict {
        Some(Verdict::BackoffLimitExceeded | Verdict::DeadlineExceeded) => {
            tally.failed + i64::try_from(stopped).unwrap_or(i64::MAX)
        }
        _ => tally.failed,
    };
    let ready = tally.active.iter().filter(|p| is_ready(p)).count();
    let active = i64::try_from(tally.active.len()).unwrap_or(i64::MAX);
    // Gone meanwhile: nothing to write.
    let _ = ctx
        .kube
        .update_status(RESOURCE, namespace(job), name(job), |o| {
            if uid(o) != uid(job) {
                return;
            }
            for (kind, reason, message) in conditions(verdict) {
                set_condition(
                    o,
                    json!({
                        "type": kind, "status": "True", "reason": reason, "message": message,
                        "lastProbeTime": now, "lastTransitionTime": now,
                    }),
                );
            }
            suspension(o, suspended, &now);
            let status = object_at(o, "status");
            if suspended {
                status.remove("startTime");
            } else {
                status
                    .entry("startTime")
                    .or_insert_with(|| now.clone().into());
            }
            set_count(status, "active", active);
            set_count(status, "succeeded", tally.succeeded);
            set_count(status, "failed", failed);
            status.insert("ready".to_owned(), ready.into());
            status.insert("terminating".to_owned(), 0.into());
            status.insert("uncountedTerminatedPods".to_owned(), json!({}));
            if verdict == Some(Verdict::Complete) {
                status
                    .entry("completionTime")
                    .or_insert_with(|| now.clone().into());
            }
        });
    match verdict {
        Some(Verdict::Complete) => {
            ctx.event(job, Event::normal(NAME, "Completed", "Job completed"))
                .await;
        }
        Some(Verdict::BackoffLimitExceeded) => {
            let message = "Job has reached the specified backoff limit";
            ctx.event(job, Event::warning(NAME, "BackoffLimitExceeded", message))
                .await;
        }
        Some(Verdict::DeadlineExceeded) => {
            let message = "Job was active longer than specified deadline";
            ctx.event(job, Event::warning(NAME, "DeadlineExceeded", message))
                .await;
        }
        None => {}
    }
}

/// Says whether a Job is suspended; one that never was says nothing.
fn suspension(job: &mut Value, suspended: bool, now: &str) {
    let (status, reason, message) = if suspended {
        ("True", "JobSuspended", "Job suspended")
    } else if condition_is_true(job, "Suspended") {
        ("False", "JobResumed", "Job resumed")
    } else {
        return;
    };
    set_condition(
        job,
        json!({
            "type": "Suspended", "status": status, "reason": reason, "message": message,
            "lastProbeTime": now, "lastTransitionTime": now,
        }),
    );
}

fn conditions(verdict: Option<Verdict>) -> Vec<(&'static str, &'static str, &'static str)> {
    match verdict {
        None => Vec::new(),
        Some(Verdict::Complete) => {
            let (reason, message) = (
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
            vec![
                ("SuccessCriteriaMet", reason, message),
                ("Complete", reason, message),
            ]
        }
        Some(Verdict::BackoffLimitExceeded) => {
            let (reason, message) = (
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
            vec![
                ("FailureTarget", reason, message),
                ("Failed", reason, message),
            ]
        }
        Some(Verdict::DeadlineExceeded) => {
            let (reason, message) = (
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            );
            vec![
                ("FailureTarget", reason, message),
                ("Failed", reason, message),
            ]
        }
    }
}

/// Deletes a finished Job when its time to live has passed.
async fn expire(ctx: &Ctx, job: &Value) -> Outcome {
    let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else {
        return Outcome::Done;
    };
    ctx.clock
        .sleep(seconds(ttl).max(Duration::from_millis(1)))
        .await;
    let present = ctx.kube.get(RESOURCE, namespace(job), name(job));
    if present.is_some_and(|j| uid(&j) == uid(job)) {
        // Gone meanwhile: as good.
        let _ = ctx
            .kube
            .delete(RESOURCE, namespace(job), name(job), Propagation::Foreground);
    }
    Outcome::Done
}
