//! How far a rollout is: exactly as `kubectl rollout status` decides it, in its words.
//!
//! The rules are kubectl's (`pkg/polymorphichelpers/rollout_status.go`, 1.34). They are pure
//! functions of the object, so that each can be tested; what stands in the way of a rollout is
//! found in [`super::blocked`], waiting is in [`super::wait`]. Jobs and pods, of which kubectl does not
//! judge, are judged by their conditions: a Job is done when it is complete, a pod when it is ready or has
//! ended well.

use std::fmt;

use super::{Cluster, ClusterError, Kind, Object};

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Whether all that is to be updated is, and is available.
    pub done: bool,
    /// kubectl's words: `Waiting for deployment "web" rollout to finish: …`.
    pub message: String,
    /// What stands in the way, if it is not done and something does.
    pub blocked: Option<Blocked>,
    /// What is not as one might think although it is done: pods that a partition leaves as they
    /// are.
    pub note: Option<String>,
}

/// What stands in the way of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Kubernetes' word for it: `FailedCreate`, `ImagePullBackOff`, `CrashLoopBackOff`,
    /// `Unschedulable`, `NotReady`, `ProgressDeadlineExceeded`, `OnDelete`, `Paused`, `Terminating`,
    /// `JobFailed`, `PodFailed`, `Suspended`, `PersistentVolumeClaim`, …
    pub reason: String,
    /// The object where it shows: `pod/shop/web-5d9c-x2x1p`.
    pub object: String,
    /// Kubernetes' explanation.
    pub detail: String,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at `{}`", self.reason, self.object)?;
        if self.detail.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.detail)
        }
    }
}

impl Blocked {
    /// What may be done about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.reason.as_str() {
            "CrashLoopBackOff" => "read the log of the container that ended",
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
                "is the image's name right, and may the node pull it?"
            }
            "FailedCreate" if self.detail.contains("webhook") => {
                "is the webhook's control plane running, and its certificate right?"
            }
            "FailedCreate" if self.detail.contains("quota") => "raise the quota or free some of it",
            "JobFailed" => "read the log of its pods; a Job that failed must be created anew",
            "OnDelete" => {
                "evict the old pods one after the other with workload::restart_in_waves, or use the strategy RollingUpdate"
            }
            "Paused" => "resume the rollout",
            "PersistentVolumeClaim" => {
                "see the events of the claim: is there a storage class, and a volume?"
            }
            "Suspended" => "set its spec.suspend to false",
            "Terminating" if self.detail.contains("finalizers") => {
                "whoever set the finalizers must remove them"
            }
            "Unschedulable" => "make room on the nodes, or wait for the autoscaler",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether it will not go away by waiting a little.
    pub(super) fn is_final(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "JobFailed"
                | "OnDelete"
                | "Paused"
                | "PodFailed"
                | "ProgressDeadlineExceeded"
                | "Suspended"
        )
    }

    /// Whether it rarely goes away by itself, so that it need not be watched to the end.
    pub(super) fn is_stubborn(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "CrashLoopBackOff"
                | "CreateContainerConfigError"
                | "CreateContainerError"
                | "FailedCreate"
                | "ImagePullBackOff"
                | "InvalidImageName"
        )
    }
}

impl Cluster {
    /// How far the rollout of a Deployment, StatefulSet or DaemonSet is, a Job with its runs, or a pod
    /// with its start; and what blocks it.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], [`ClusterError::BadRequest`] for other kinds, and those of the
    /// server.
    pub async fn rollout(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Rollout, ClusterError> {
        has_status(kind)?;
        let workload = self.get_existing(kind, namespace, name).await?;
        let mut rollout = decide(&workload);
        if !rollout.done && rollout.blocked.is_none() {
            rollout.blocked = self.blocker(kind, &workload).await?;
        }
        Ok(rollout)
    }
}

/// Whether a kind has rollouts.
pub(super) fn rolls_out(kind: &Kind) -> Result<(), ClusterError> {
    let known = matches!(kind.plural(), "daemonsets" | "deployments" | "statefulsets");
    if known && kind.group() == "apps" {
        return Ok(());
    }
    Err(ClusterError::BadRequest {
        message: format!(
            "`{}` have no rollouts: only Deployments, StatefulSets and DaemonSets do",
            kind.resource()
        ),
    })
}

/// Whether objects of a kind have an end to wait for: those with rollouts, Jobs and pods.
pub(super) fn has_status(kind: &Kind) -> Result<(), ClusterError> {
    if matches!(kind.resource().as_str(), "jobs.batch" | "pods") {
        return Ok(());
    }
    rolls_out(kind).map_err(|_| ClusterError::BadRequest {
        message: format!(
            "`{}` have no rollouts: Deployments, StatefulSets, DaemonSets, Jobs and pods can be waited for",
            kind.resource()
        ),
    })
}

/// kubectl's decision on one object of a kind that has rollouts; ours on a Job or a pod.
pub(super) fn decide(workload: &Object) -> Rollout {
    match workload.kind() {
        "DaemonSet" => daemon_set(workload),
        "Job" => job(workload),
        "Pod" => pod(workload),
        "StatefulSet" => stateful_set(workload),
        _ => deployment(workload),
    }
}

fn waiting(message: String) -> Rollout {
    Rollout {
        done: false,
        message,
        blocked: None,
        note: None,
    }
}

fn done(message: String) -> Rollout {
    Rollout {
        done: true,
        ..waiting(message)
    }
}

fn status(workload: &Object, field: &str) -> i64 {
    workload.int(&format!("/status/{field}")).unwrap_or(0)
}

fn key(workload: &Object) -> String {
    let mut kind = workload.kind().to_lowercase();
    if let Some((group, _)) = workload.api_version().split_once('/') {
        kind = format!("{kind}.{group}");
    }
    let namespace = workload.namespace().unwrap_or("");
    format!("{kind}/{namespace}/{}", workload.name())
}

/// A condition that is true.
fn condition<'a>(object: &'a Object, name: &str) -> Option<&'a serde_json::Value> {
    let conditions = object.items("/status/conditions");
    conditions
        .iter()
        .find(|c| c["type"] == name && c["status"] == "True")
}

/// `reason: message` of a condition, or what of it there is.
fn explained(condition: &serde_json::Value) -> String {
    let text = |key: &str| condition[key].as_str().unwrap_or("");
    match (text("reason"), text("message")) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn stopped(object: &Object, reason: &str, message: String, detail: String) -> Rollout {
    Rollout {
        blocked: Some(Blocked {
            reason: reason.to_owned(),
            object: key(object),
            detail,
        }),
        ..waiting(message)
    }
}

fn job(job: &Object) -> Rollout {
    let name = job.name();
    if condition(job, "Complete").is_some() {
        return done(format!("job {name:?} completed"));
    }
    // `FailureTarget` comes first: its pods are being ended, and it will fail.
    if let Some(failed) = condition(job, "Failed").or_else(|| condition(job, "FailureTarget")) {
        let detail = explained(failed);
        return stopped(job, "JobFailed", format!("job {name:?} failed"), detail);
    }
    if job.at("/spec/suspend") == Some(&serde_json::Value::Bool(true)) {
        let message = format!("job {name:?} is suspended");
        return stopped(job, "Suspended", message.clone(), message);
    }
    let wanted = job
        .int("/spec/completions")
        .unwrap_or_else(|| job.int("/spec/parallelism").unwrap_or(1).min(1));
    waiting(format!(
        "Waiting for job {name:?} to complete: {} of {wanted} succeeded, {} active, {} failed...",
        status(job, "succeeded"),
        status(job, "active"),
        status(job, "failed")
    ))
}

fn pod(pod: &Object) -> Rollout {
    let name = pod.name();
    if pod.is_deleting() {
        return waiting(format!("pod {name:?} is being deleted..."));
    }
    match pod.text("/status/phase") {
        "Succeeded" => return done(format!("pod {name:?} succeeded")),
        "Failed" => {
            let text = |field: &str| pod.text(&format!("/status/{field}")).to_owned();
            let mut detail = text("reason");
            if !text("message").is_empty() {
                detail = format!("{detail}: {}", text("message"));
            }
            let ended = pod.items("/status/containerStatuses").iter().find_map(|c| {
                let code = c["state"]["terminated"]["exitCode"].as_i64()?;
                (code != 0).then(|| {
                    let container = c["name"].as_str().unwrap_or("");
                    format!("container `{container}` ended with exit code {code}")
                })
            });
            let parts: Vec<String> = [Some(detail).filter(|d| !d.is_empty()), ended]
                .into_iter()
                .flatten()
                .collect();
            return stopped(
                pod,
                "PodFailed",
                format!("pod {name:?} failed"),
                parts.join("; "),
            );
        }
        _ => {}
    }
    if condition(pod, "Ready").is_some() {
        return done(format!("pod {name:?} is ready"));
    }
    waiting(format!("Waiting for pod {name:?} to be ready..."))
}

fn deployment(d: &Object) -> Rollout {
    let name = d.name();
    let blocked = |reason: &str, detail: &str| {
        Some(Blocked {
            reason: reason.to_owned(),
            object: key(d),
            detail: detail.to_owned(),
        })
    };
    if d.generation() > status(d, "observedGeneration") {
        return waiting("Waiting for deployment spec update to be observed...".into());
    }
    let progressing = d
        .items("/status/conditions")
        .iter()
        .find(|c| c["type"] == "Progressing");
    if let Some(condition) = progressing
        && condition["reason"] == "ProgressDeadlineExceeded"
    {
        return Rollout {
            blocked: blocked(
                "ProgressDeadlineExceeded",
                condition["message"].as_str().unwrap_or(""),
            ),
            ..waiting(format!(
                "deployment {name:?} exceeded its progress deadline"
            ))
        };
    }
    let (updated, replicas, available) = (
        status(d, "updatedReplicas"),
        status(d, "replicas"),
        status(d, "availableReplicas"),
    );
    let begin = format!("Waiting for deployment {name:?} rollout to finish:");
    let mut rollout = match d.int("/spec/replicas") {
        Some(wanted) if updated < wanted => waiting(format!(
            "{begin} {updated} out of {wanted} new replicas have been updated..."
        )),
        _ if replicas > updated => waiting(format!(
            "{begin} {} old replicas are pending termination...",
            replicas - updated
        )),
        _ if available < updated => waiting(format!(
            "{begin} {available} of {updated} updated replicas are available..."
        )),
        _ => return done(format!("deployment {name:?} successfully rolled out")),
    };
    if d.at("/spec/paused").and_then(serde_json::Value::as_bool) == Some(true) {
        rollout.blocked = blocked("Paused", "the deployment is paused");
    }
    rollout
}

fn daemon_set(d: &Object) -> Rollout {
    let name = d.name();
    let (updated, desired, available) = (
        status(d, "updatedNumberScheduled"),
        status(d, "desiredNumberScheduled"),
        status(d, "numberAvailable"),
    );
    if d.generation() > status(d, "observedGeneration") {
        return waiting("Waiting for daemon set spec update to be observed...".into());
    }
    if d.text("/spec/updateStrategy/type") == "OnDelete" {
        let there = status(d, "currentNumberScheduled");
        return on_delete(d, there - updated, desired, available);
    }
    let begin = format!("Waiting for daemon set {name:?} rollout to finish:");
    if updated < desired {
        return waiting(format!(
            "{begin} {updated} out of {desired} new pods have been updated..."
        ));
    }
    if available < desired {
        return waiting(format!(
            "{begin} {available} of {desired} updated pods are available..."
        ));
    }
    done(format!("daemon set {name:?} successfully rolled out"))
}

fn stateful_set(s: &Object) -> Rollout {
    let observed = status(s, "observedGeneration");
    let (updated, ready) = (status(s, "updatedReplicas"), status(s, "readyReplicas"));
    let wanted = s.int("/spec/replicas").unwrap_or(1);
    if observed == 0 || s.generation() > observed {
        return waiting("Waiting for statefulset spec update to be observed...".into());
    }
    let revision = s.text("/status/updateRevision");
    if s.text("/spec/updateStrategy/type") == "OnDelete" {
        // A set whose revisions agree counts no updated replicas.
        let updated = if revision == s.text("/status/currentRevision") {
            status(s, "replicas")
        } else {
            updated
        };
        return on_delete(s, status(s, "replicas") - updated, wanted, ready);
    }
    if ready < wanted {
        return waiting(format!(
            "Waiting for {} pods to be ready...",
            wanted - ready
        ));
    }
    if s.at("/spec/updateStrategy/rollingUpdate").is_some() {
        let partition = s
            .int("/spec/updateStrategy/rollingUpdate/partition")
            .unwrap_or(0);
        let share = wanted - partition;
        if updated < share {
            return waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {share} new pods have been updated..."
            ));
        }
        let mut rollout = done(format!(
            "partitioned roll out complete: {updated} new pods have been updated..."
        ));
        let kept = partition.min(wanted);
        if kept > 0 && updated < wanted {
            rollout.note = Some(format!(
                "partition {partition} leaves {} of {wanted} pods as they were",
                wanted - updated
            ));
        }
        return rollout;
    }
    if revision != s.text("/status/currentRevision") {
        return waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
        ));
    }
    done(format!(
        "statefulset rolling update complete {} pods at revision {revision}...",
        status(s, "currentReplicas")
    ))
}

/// kubectl refuses to judge the strategy `OnDelete`; nothing will happen until somebody deletes
/// the `old` pods, so that is what is said unless none is left. Pods that are not there yet are waited for.
fn on_delete(workload: &Object, old: i64, wanted: i64, available: i64) -> Rollout {
    let kind = workload.kind();
    if old > 0 {
        let detail = format!(
            "{old} of {wanted} pods are old and are replaced only when somebody deletes them"
        );
        return Rollout {
            blocked: Some(Blocked {
                reason: "OnDelete".into(),
                object: key(workload),
                detail: detail.clone(),
            }),
            ..waiting(format!("{kind} {:?}: {detail}", workload.name()))
        };
    }
    if available < wanted {
        return waiting(format!(
            "Waiting for {} pods to be ready...",
            wanted - available
        ));
    }
    done(format!(
        "{kind} {:?}: all {wanted} pods are new (strategy OnDelete)",
        workload.name()
    ))
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
