//! Waiting for rollouts: done, blocked, late, gone.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Cluster, ClusterError, Rollout};
use super::server::{Fate, Server};

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
async fn the_rollout_of_a_successor_is_not_the_one_that_is_waited_for() {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    let cluster = server.connect().await;
    let waiting = wait(&cluster, Duration::from_secs(20));
    let replacing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.remove(WEB);
        server.put(WEB, web(finished()));
    };
    let ((result, _), ()) = tokio::join!(waiting, replacing);
    assert_eq!(
        result.unwrap_err().to_string(),
        "waiting for `rollout` of `deployment.apps/web` in namespace `shop` is in vain: it was deleted, and \
        another one has taken its name"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_does_not_hold_the_wait() {
    let server = Server::planned(|seen| {
        if seen.path() == WEB {
            Fate::Late(Duration::from_secs(20))
        } else {
            Fate::Answer
        }
    })
    .await;
    server.put(WEB, web(under_way()));
    let cluster = server.connect().await;
    let start = std::time::Instant::now();
    let (result, _) = wait(&cluster, Duration::from_millis(100)).await;
    assert!(
        matches!(result, Err(ClusterError::Timeout { .. })),
        "{result:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_workload_that_is_deleted_meanwhile_ends_the_wait() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let (result, _) = wait(&cluster, Duration::from_secs(60)).await;
    assert!(result.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_claim_without_a_volume_is_named_with_its_event() {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    let status = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims"}]});
    below(&server, json!({}), Some(status));
    let pod = "/api/v1/namespaces/shop/pods/web-2-x";
    let mut object = server.at(pod).unwrap();
    object["spec"] =
        json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    server.put(pod, object);
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let why = async || {
        let rollout = cluster.rollout(&deploy, Some("shop"), "web").await.unwrap();
        rollout.blocked.unwrap().to_string()
    };
    assert_eq!(
        why().await,
        "PersistentVolumeClaim at `pod/shop/web-2-x`: the claim `data` does not exist"
    );
    let claim = "/api/v1/namespaces/shop/persistentvolumeclaims/data";
    let pending = json!({"metadata": {"namespace": "shop"}, "spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}});
    server.put(claim, pending);
    assert_eq!(
        why().await,
        "PersistentVolumeClaim at `persistentvolumeclaim/shop/data`: it is not bound, phase Pending, storage class `fast`"
    );
    let uid = server.at(claim).unwrap()["metadata"]["uid"].clone();
    server.put(
        "/api/v1/namespaces/shop/events/e1",
        json!({"type": "Warning", "reason": "ProvisioningFailed", "message": "storageclass \"fast\" not found",
            "involvedObject": {"uid": uid}}),
    );
    assert_eq!(
        why().await,
        "PersistentVolumeClaim at `persistentvolumeclaim/shop/data`: it is not bound: ProvisioningFailed: storageclass \"fast\" not found"
    );
    // Bound, it is the scheduler's word that counts.
    let mut bound = server.at(claim).unwrap();
    bound["status"] = json!({"phase": "Bound"});
    server.put(claim, bound);
    assert_eq!(
        why().await,
        "Unschedulable at `pod/shop/web-2-x`: pod has unbound immediate PersistentVolumeClaims"
    );
}

#[tokio::test]
async fn a_workload_that_is_held_by_a_finalizer_is_named_with_it() {
    let server = Server::start().await;
    let mut going = web(under_way());
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    going["metadata"]["finalizers"] = json!(["example.com/held"]);
    server.put(WEB, going);
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let rollout = cluster.rollout(&deploy, Some("shop"), "web").await.unwrap();
    let why = rollout.blocked.unwrap();
    assert_eq!(
        (why.reason.as_str(), why.object.as_str()),
        ("Terminating", "deployment.apps/shop/web")
    );
    assert!(
        why.detail.ends_with("finalizers: example.com/held"),
        "{why}"
    );
    assert_eq!(
        why.hint().as_deref(),
        Some("whoever set the finalizers must remove them")
    );
}

#[tokio::test]
async fn what_a_container_left_to_be_told_is_told() {
    let crash = json!({"containerStatuses": [{"name": "main",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "first\nno such table\n"}}}]});
    assert_eq!(
        blocked(json!({}), Some(crash)).await,
        "; CrashLoopBackOff at `pod/shop/web-2-x`: container `main` (last: Error, exit code 3): no such table"
    );
}

#[tokio::test]
async fn the_newest_warning_of_a_workload_that_cannot_create_pods_tells_why() {
    let server = Server::start().await;
    server.put(WEB, web(under_way()));
    below(&server, json!({}), None);
    let set = server
        .at("/apis/apps/v1/namespaces/shop/replicasets/web-2")
        .unwrap();
    let message =
        "Error creating: pods \"web-2-\" is forbidden: exceeded quota: few, requested: pods=1";
    server.put(
        "/api/v1/namespaces/shop/events/e1",
        json!({"type": "Warning", "reason": "FailedCreate", "message": message,
            "involvedObject": {"uid": set["metadata"]["uid"]}}),
    );
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let rollout = cluster.rollout(&deploy, Some("shop"), "web").await.unwrap();
    let why = rollout.blocked.unwrap();
    assert_eq!(
        why.to_string(),
        format!("FailedCreate at `replicaset.apps/shop/web-2`: {message}")
    );
    assert_eq!(
        why.hint().as_deref(),
        Some("raise the quota or free some of it")
    );
}

#[tokio::test]
async fn a_pod_is_evicted_by_its_uid_and_a_budget_may_refuse() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/shop/pods/web-0";
    server.put(path, json!({"metadata": {"namespace": "shop"}}));
    let cluster = server.connect().await;
    let pods = cluster.kind("pods").await.unwrap();
    let pod = cluster
        .get_existing(&pods, Some("shop"), "web-0")
        .await
        .unwrap();
    let no = json!({"kind": "Status", "code": 429, "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget."});
    server.fates((0..4).map(|_| super::server::Fate::Instead(429, no.clone())));
    let how = crate::cluster::EvictOptions {
        uid: Some(pod.uid().to_owned()),
        wait: None,
        ..Default::default()
    };
    let error = cluster.evict("shop", "web-0", &how).await.unwrap_err();
    assert!(
        error.retryable() && error.to_string().contains("disruption budget"),
        "{error}"
    );
    let yes = json!({"kind": "Status", "status": "Success"});
    server.fates([super::server::Fate::Instead(201, yes)]);
    let done = cluster.evict("shop", "web-0", &how).await.unwrap();
    assert_eq!(done.summary, "pod/web-0 evicted");
    let sent = server.bodies("POST");
    let uid = pod.uid();
    assert_eq!(
        sent.last().unwrap(),
        &json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": "web-0", "namespace": "shop"},
        "deleteOptions": {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}})
    );
    assert!(
        server
            .log()
            .iter()
            .any(|line| line == &format!("POST {path}/eviction"))
    );
}
