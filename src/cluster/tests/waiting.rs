//! Waiting for rollouts: done, blocked, late, gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Cluster, ClusterError, Rollout};
use super::server::Server;

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

fn web(status: Value) -> Value {
    json!({
        "metadata": {"namespace": "shop", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        "status": status,
    })
}

fn under_way() -> Value {
    json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2})
}

fn finished() -> Value {
    json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2})
}

/// A ReplicaSet of the Deployment, and a pod of the ReplicaSet.
fn below(server: &Server, replica_set_status: Value, pod_status: Option<Value>) {
    let owner = |kind: &str, path: &str| {
        let object = server.at(path).unwrap();
        json!([{"kind": kind, "name": object["metadata"]["name"], "uid": object["metadata"]["uid"], "controller": true}])
    };
    let rs = "/apis/apps/v1/namespaces/shop/replicasets/web-2";
    server.put(
        rs,
        json!({
            "metadata": {"namespace": "shop", "ownerReferences": owner("Deployment", WEB),
                "annotations": {"deployment.kubernetes.io/revision": "2"}},
            "status": replica_set_status,
        }),
    );
    if let Some(status) = pod_status {
        server.put(
            "/api/v1/namespaces/shop/pods/web-2-x",
            json!({
                "metadata": {"namespace": "shop", "ownerReferences": owner("ReplicaSet", rs)},
                "status": status,
            }),
        );
    }
}

async fn wait(
    cluster: &Cluster,
    deadline: Duration,
) -> (Result<Rollout, ClusterError>, Vec<String>) {
    let deploy = cluster.kind("deploy").await.unwrap();
    let mut told = Vec::new();
    let mut changed = |r: &Rollout| told.push(r.message.clone());
    let result = cluster
        .watch_rollout(&deploy, Some("shop"), "web", deadline, &mut changed)
        .await;
    (result, told)
}

async fn blocked(replica_set: Value, pod: Option<Value>) -> String {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    below(&server, replica_set, pod);
    let cluster = server.connect().await;
    let (result, _) = wait(&cluster, Duration::from_millis(100)).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, ClusterError::RolloutTimeout { .. }),
        "{error}"
    );
    assert!(error.retryable());
    let text = error.to_string();
    let start = "rollout of `deployment.apps/web` in namespace `shop` is not done after 100ms: \
        Waiting for deployment \"web\" rollout to finish: 1 out of 2 new replicas have been updated...";
    text.strip_prefix(start)
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[tokio::test]
async fn a_rollout_that_finishes_is_seen() {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    let cluster = server.connect().await;
    let waiting = wait(&cluster, Duration::from_secs(20));
    let finishing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.put(WEB, web(finished()));
    };
    let ((result, told), ()) = tokio::join!(waiting, finishing);
    assert!(result.unwrap().done);
    assert_eq!(
        told,
        [
            "Waiting for deployment \"web\" rollout to finish: 1 out of 2 new replicas have been updated...",
            "deployment \"web\" successfully rolled out",
        ]
    );
}

#[tokio::test]
async fn a_webhook_that_forbids_pods_is_named() {
    let message = "Internal error occurred: failed calling webhook \"rev.namespace.sidecar-injector.istio.io\": connection refused";
    let status = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]});
    assert_eq!(
        blocked(status, None).await,
        format!("; FailedCreate at `replicaset.apps/shop/web-2`: {message}")
    );
}

#[tokio::test]
async fn a_pod_that_cannot_be_scheduled_pulled_or_kept_running_is_named() {
    let pod = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]});
    assert_eq!(
        blocked(json!({}), Some(pod)).await,
        "; Unschedulable at `pod/shop/web-2-x`: 0/1 nodes are available"
    );
    let waiting = |reason: &str, message: &str| {
        json!({"containerStatuses": [
        {"name": "main", "state": {"waiting": {"reason": reason, "message": message}},
         "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]})
    };
    assert_eq!(
        blocked(
            json!({}),
            Some(waiting(
                "ImagePullBackOff",
                "Back-off pulling image \"nope\""
            ))
        )
        .await,
        "; ImagePullBackOff at `pod/shop/web-2-x`: container `main`: Back-off pulling image \"nope\" (last: Error, exit code 3)"
    );
    assert_eq!(
        blocked(json!({}), Some(waiting("CrashLoopBackOff", "back-off 10s"))).await,
        "; CrashLoopBackOff at `pod/shop/web-2-x`: container `main`: back-off 10s (last: Error, exit code 3)"
    );
    let unready = json!({"containerStatuses": [{"name": "istio-proxy", "ready": false, "state": {"running": {}}}]});
    assert_eq!(
        blocked(json!({}), Some(unready)).await,
        "; NotReady at `pod/shop/web-2-x`: container `istio-proxy` is not ready"
    );
    let starting = json!({"containerStatuses": [{"name": "main", "ready": false, "state": {"waiting": {"reason": "ContainerCreating"}}}]});
    assert_eq!(blocked(json!({}), Some(starting)).await, "");
}

#[tokio::test]
async fn a_failing_probe_is_told_with_its_event() {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    let unready =
        json!({"containerStatuses": [{"name": "main", "ready": false, "state": {"running": {}}}]});
    below(&server, json!({}), Some(unready));
    let pod = server.at("/api/v1/namespaces/shop/pods/web-2-x").unwrap();
    for (name, time, message) in [
        ("e1", "2026-01-01T00:00:00Z", "old"),
        (
            "e2",
            "2026-01-01T00:00:09Z",
            "Readiness probe failed: HTTP 503\n",
        ),
    ] {
        server.put(
            &format!("/api/v1/namespaces/shop/events/{name}"),
            json!({
                "type": "Warning", "reason": "Unhealthy", "message": message, "lastTimestamp": time,
                "involvedObject": {"uid": pod["metadata"]["uid"]},
            }),
        );
    }
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let rollout = cluster.rollout(&deploy, Some("shop"), "web").await.unwrap();
    assert_eq!(
        rollout.blocked.unwrap().to_string(),
        "NotReady at `pod/shop/web-2-x`: container `main`: Readiness probe failed: HTTP 503"
    );
}

#[tokio::test]
async fn a_deadline_of_the_deployment_itself_ends_the_wait_at_once() {
    let server = Server::start().await;
    let mut status = under_way();
    status["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too late"}]);
    server.put(WEB, web(status));
    let cluster = server.connect().await;
    let (result, _) = wait(&cluster, Duration::from_secs(60)).await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rollout of `deployment.apps/web` in namespace `shop` is blocked: ProgressDeadlineExceeded at `deployment.apps/shop/web`: too late"
    );
    assert_eq!(
        error.evidence(),
        ["deployment \"web\" exceeded its progress deadline"]
    );
}

#[tokio::test]
async fn a_workload_that_is_deleted_meanwhile_ends_the_wait() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let (result, _) = wait(&cluster, Duration::from_secs(60)).await;
    assert!(result.unwrap_err().is_not_found());
}
