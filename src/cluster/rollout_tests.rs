//! kubectl's decisions, state by state.

use super::*;
use serde_json::{Value, json};

fn object(kind: &str, generation: i64, spec: Value, status: Value) -> Object {
    Object::new(json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", "generation": generation},
        "spec": spec, "status": status,
    }))
}

fn message(rollout: &Rollout) -> (bool, &str) {
    (rollout.done, rollout.message.as_str())
}

#[test]
fn a_deployment_is_judged_as_kubectl_judges_it() {
    let judge = |generation, status: Value| {
        decide(&object(
            "Deployment",
            generation,
            json!({"replicas": 3}),
            status,
        ))
    };
    // Right after a restart the old status still says that all is well.
    let stale = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
    assert_eq!(
        message(&judge(2, stale.clone())),
        (
            false,
            "Waiting for deployment spec update to be observed..."
        )
    );
    assert_eq!(
        message(&judge(1, stale)),
        (true, "deployment \"web\" successfully rolled out")
    );
    assert_eq!(
        message(&judge(
            2,
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3})
        )),
        (
            false,
            "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated..."
        )
    );
    assert_eq!(
        message(&judge(
            2,
            json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 3})
        )),
        (
            false,
            "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination..."
        )
    );
    assert_eq!(
        message(&judge(
            2,
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2})
        )),
        (
            false,
            "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available..."
        )
    );
    let dead = judge(
        2,
        json!({
            "observedGeneration": 2, "replicas": 4, "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                "message": "ReplicaSet \"web-1\" has timed out progressing."}],
        }),
    );
    assert_eq!(
        message(&dead),
        (false, "deployment \"web\" exceeded its progress deadline")
    );
    assert!(dead.blocked.unwrap().is_final());
}

#[test]
fn a_deployment_without_replicas_is_done_at_once() {
    let none = object(
        "Deployment",
        1,
        json!({"replicas": 0}),
        json!({"observedGeneration": 1}),
    );
    assert!(decide(&none).done);
}

#[test]
fn a_paused_deployment_does_not_wait_for_nobody() {
    let spec = json!({"replicas": 2, "paused": true});
    let paused = decide(&object(
        "Deployment",
        2,
        spec,
        json!({"observedGeneration": 2, "replicas": 2}),
    ));
    assert_eq!(paused.blocked.unwrap().reason, "Paused");
}

#[test]
fn a_daemon_set_is_judged_as_kubectl_judges_it() {
    let judge = |status: Value| {
        decide(&object(
            "DaemonSet",
            2,
            json!({"updateStrategy": {"type": "RollingUpdate"}}),
            status,
        ))
    };
    for (status, expected) in [
        (
            json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
            (
                false,
                "Waiting for daemon set spec update to be observed...",
            ),
        ),
        (
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}),
            (
                false,
                "Waiting for daemon set \"web\" rollout to finish: 1 out of 2 new pods have been updated...",
            ),
        ),
        (
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}),
            (
                false,
                "Waiting for daemon set \"web\" rollout to finish: 1 of 2 updated pods are available...",
            ),
        ),
        (
            json!({"observedGeneration": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
            (true, "daemon set \"web\" successfully rolled out"),
        ),
    ] {
        assert_eq!(message(&judge(status)), expected);
    }
}

fn set(strategy: Value, status: Value) -> Rollout {
    decide(&object(
        "StatefulSet",
        2,
        json!({"replicas": 3, "updateStrategy": strategy}),
        status,
    ))
}

#[test]
fn a_stateful_set_is_judged_as_kubectl_judges_it() {
    let rolling = || json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    for (status, expected) in [
        (
            json!({"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 3}),
            (
                false,
                "Waiting for statefulset spec update to be observed...",
            ),
        ),
        (
            json!({"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 1}),
            (false, "Waiting for 1 pods to be ready..."),
        ),
        (
            json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 2}),
            (
                false,
                "Waiting for partitioned roll out to finish: 2 out of 3 new pods have been updated...",
            ),
        ),
        (
            json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3}),
            (
                true,
                "partitioned roll out complete: 3 new pods have been updated...",
            ),
        ),
    ] {
        let rollout = set(rolling(), status);
        assert_eq!(message(&rollout), expected);
        assert_eq!(rollout.note, None);
    }
    let unpartitioned = json!({"type": "RollingUpdate"});
    let status = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1,
        "currentReplicas": 2, "currentRevision": "web-1", "updateRevision": "web-2"});
    assert_eq!(
        message(&set(unpartitioned.clone(), status)),
        (
            false,
            "waiting for statefulset rolling update to complete 1 pods at revision web-2..."
        )
    );
    let status = json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3,
        "currentReplicas": 3, "currentRevision": "web-2", "updateRevision": "web-2"});
    assert_eq!(
        message(&set(unpartitioned, status)),
        (
            true,
            "statefulset rolling update complete 3 pods at revision web-2..."
        )
    );
}

#[test]
fn a_partition_leaves_pods_as_they_were_and_says_so() {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let rollout = set(
        strategy,
        json!({"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1}),
    );
    assert_eq!(
        message(&rollout),
        (
            true,
            "partitioned roll out complete: 1 new pods have been updated..."
        )
    );
    assert_eq!(
        rollout.note.as_deref(),
        Some("partition 2 leaves 2 of 3 pods as they were")
    );
}

#[test]
fn on_delete_is_never_done_silently() {
    let old = set(
        json!({"type": "OnDelete"}),
        json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1,
            "currentRevision": "a", "updateRevision": "b"}),
    );
    assert_eq!(
        message(&old),
        (
            false,
            "StatefulSet \"web\": 2 of 3 pods are old and are replaced only when somebody deletes them"
        )
    );
    let blocked = old.blocked.unwrap();
    assert!(blocked.is_final());
    assert_eq!(
        blocked.to_string(),
        "OnDelete at `statefulset.apps/shop/web`: 2 of 3 pods are old and are replaced only when somebody deletes them"
    );
    let new = set(
        json!({"type": "OnDelete"}),
        json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3,
            "currentRevision": "b", "updateRevision": "b"}),
    );
    assert_eq!(
        message(&new),
        (
            true,
            "StatefulSet \"web\": all 3 pods are new (strategy OnDelete)"
        )
    );
    let daemon = decide(&object(
        "DaemonSet",
        1,
        json!({"updateStrategy": {"type": "OnDelete"}}),
        json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "updatedNumberScheduled": 0, "numberAvailable": 2}),
    ));
    assert_eq!(daemon.blocked.unwrap().reason, "OnDelete");
    // Just created: nobody has to delete anything.
    let begun = set(
        json!({"type": "OnDelete"}),
        json!({"observedGeneration": 2, "replicas": 0, "currentRevision": "a", "updateRevision": "a"}),
    );
    assert_eq!(
        (message(&begun), begun.blocked.clone()),
        ((false, "Waiting for 3 pods to be ready..."), None)
    );
}

fn batch(kind: &str, spec: Value, status: Value) -> Rollout {
    let version = if kind == "Job" { "batch/v1" } else { "v1" };
    decide(&Object::new(json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": "j", "namespace": "shop"},
        "spec": spec, "status": status,
    })))
}

#[test]
fn a_job_is_done_when_it_is_complete_and_over_when_it_failed() {
    let condition = |kind: &str, reason: &str, message: &str| json!({"conditions": [{"type": kind, "status": "True", "reason": reason, "message": message}]});
    let job = |status: Value| batch("Job", json!({"completions": 3}), status);
    let complete = job(condition("Complete", "", ""));
    assert_eq!(message(&complete), (true, "job \"j\" completed"));
    let failed = job(condition(
        "Failed",
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    ));
    assert_eq!(message(&failed), (false, "job \"j\" failed"));
    let why = failed.blocked.unwrap();
    assert!(why.is_final());
    assert_eq!(
        why.to_string(),
        "JobFailed at `job.batch/shop/j`: BackoffLimitExceeded: Job has reached the specified backoff limit"
    );
    let running = job(json!({"succeeded": 1, "active": 2, "failed": 4}));
    assert_eq!(
        message(&running),
        (
            false,
            "Waiting for job \"j\" to complete: 1 of 3 succeeded, 2 active, 4 failed..."
        )
    );
    assert_eq!(running.blocked, None);
    let suspended = batch("Job", json!({"suspend": true}), json!({}));
    assert!(suspended.blocked.unwrap().is_final());
}

#[test]
fn a_pod_is_done_when_it_is_ready_or_has_ended_well() {
    let ready = |status: &str| json!({"phase": "Running", "conditions": [{"type": "Ready", "status": status}]});
    let pod = |status: Value| batch("Pod", json!({}), status);
    assert_eq!(message(&pod(ready("True"))), (true, "pod \"j\" is ready"));
    assert!(!pod(ready("False")).done);
    assert!(pod(json!({"phase": "Succeeded"})).done);
    let failed = pod(
        json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory",
        "containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": 137}}}]}),
    );
    assert_eq!(
        failed.blocked.unwrap().to_string(),
        "PodFailed at `pod/shop/j`: Evicted: low on memory; container `main` ended with exit code 137"
    );
    // What is going is not done, however it ended.
    let going = Object::new(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "j", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Succeeded"}}));
    assert_eq!(
        message(&decide(&going)),
        (false, "pod \"j\" is being deleted...")
    );
}
