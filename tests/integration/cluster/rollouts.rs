//! Rollouts: done, held up, left as they were.

use std::time::{Duration, Instant};

use rootshift::cluster::*;
use rootshift::twin::server::{Effect, Fault};
use serde_json::json;

use super::*;

/// The UIDs of the pods of a namespace that are not going.
async fn pods_of(cluster: &Cluster, ns: &str) -> Vec<String> {
    let pods = kind(cluster, "pods").await;
    let all = cluster
        .list(&pods, Some(ns), &Selector::all())
        .await
        .unwrap();
    let staying = all.iter().filter(|p| !p.is_deleting());
    staying.map(|p| p.uid().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_keeps_pods_from_being_created_is_named() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let hook = format!("hook-{ns}.example.com");
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": hook},
        "webhooks": [{
            "name": hook, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "clientConfig": {"service": {"namespace": ns, "name": "nobody", "path": "/"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    });
    cluster.apply(configuration).await.unwrap();
    // Webhooks come into force a moment after their configuration.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in ["Deployment", "StatefulSet", "DaemonSet"] {
        if name == "DaemonSet" && cluster.raw("/api/v1/nodes").await.unwrap()["items"] == json!([])
        {
            continue; // Without a node it wants no pod.
        }
        cluster.apply(workload(name, &ns)).await.unwrap();
        let kind = kind(&cluster, name).await;
        let error = cluster
            .wait_rollout(&kind, Some(&ns), "w", Duration::from_secs(4))
            .await
            .unwrap_err();
        let text = error.to_string();
        let at = if name == "Deployment" {
            "replicaset.apps"
        } else {
            &format!("{}.apps", name.to_lowercase())
        };
        assert!(
            text.contains(&format!("; FailedCreate at `{at}/{ns}/w")),
            "{text}"
        );
        assert!(
            text.contains(&format!("failed calling webhook \"{hook}\"")),
            "{text}"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some("is the webhook's control plane running, and its certificate right?")
        );
    }
    let hooks = kind(&cluster, "mutatingwebhookconfigurations").await;
    cluster
        .delete(&hooks, None, &hook, &DeleteOptions::default())
        .await
        .unwrap();
    remove(&cluster, &ns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_no_node_takes_is_named() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let mut object = workload("Deployment", &ns);
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"example.com/rack": "none"});
    cluster.apply(object).await.unwrap();
    let deploy = kind(&cluster, "deploy").await;
    let error = cluster
        .wait_rollout(&deploy, Some(&ns), "w", Duration::from_secs(4))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("0 of 1 updated replicas are available"),
        "{text}"
    );
    assert!(
        text.contains(&format!("; Unschedulable at `pod/{ns}/w-")),
        "{text}"
    );
    remove(&cluster, &ns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_done_when_every_pod_is_new_and_ready() {
    let place = Place::new().await;
    if !place.runs_pods() {
        return;
    }
    let cluster = place.connect().await;
    for name in ["Deployment", "StatefulSet", "DaemonSet"] {
        let ns = namespace(&cluster).await;
        let mut object = workload(name, &ns);
        if name != "DaemonSet" {
            object["spec"]["replicas"] = json!(3);
        }
        cluster.apply(object).await.unwrap();
        let kind = kind(&cluster, name).await;
        settled(&cluster, &kind, &ns, "w").await;
        let before = pods_of(&cluster, &ns).await;
        assert_eq!(before.len(), if name == "DaemonSet" { 1 } else { 3 });

        cluster.restart(&kind, Some(&ns), "w").await.unwrap();
        let at_once = cluster.rollout(&kind, Some(&ns), "w").await.unwrap();
        assert!(!at_once.done, "{}", at_once.message);
        let done = settled(&cluster, &kind, &ns, "w").await;
        assert!(done.done && done.note.is_none(), "{done:?}");
        let after = pods_of(&cluster, &ns).await;
        assert_eq!(after.len(), before.len());
        assert!(after.iter().all(|pod| !before.contains(pod)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_and_on_delete_are_said_plainly() {
    let place = Place::new().await;
    if !place.runs_pods() {
        return;
    }
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let sets = kind(&cluster, "sts").await;
    let mut object = workload("StatefulSet", &ns);
    object["spec"]["replicas"] = json!(3);
    object["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    cluster.apply(object).await.unwrap();
    settled(&cluster, &sets, &ns, "w").await;
    let before = pods_of(&cluster, &ns).await;
    cluster.restart(&sets, Some(&ns), "w").await.unwrap();
    let done = settled(&cluster, &sets, &ns, "w").await;
    assert_eq!(
        (done.message.as_str(), done.note.as_deref()),
        (
            "partitioned roll out complete: 1 new pods have been updated...",
            Some("partition 2 leaves 2 of 3 pods as they were")
        )
    );
    let after = pods_of(&cluster, &ns).await;
    assert_eq!(after.iter().filter(|pod| before.contains(pod)).count(), 2);

    let strategy = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    cluster
        .patch(&sets, Some(&ns), "w", strategy)
        .await
        .unwrap();
    let refused = cluster.restart(&sets, Some(&ns), "w").await.unwrap_err();
    assert!(
        refused.to_string().contains("workload::restart_in_waves"),
        "{refused}"
    );
    let template = json!({"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}});
    cluster
        .patch(&sets, Some(&ns), "w", template)
        .await
        .unwrap();
    let start = Instant::now();
    let error = cluster
        .wait_rollout(&sets, Some(&ns), "w", Duration::from_secs(60))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "rollout of `statefulset.apps/w` in namespace `{ns}` is blocked: OnDelete at `statefulset.apps/{ns}/w`: \
             3 of 3 pods are old and are replaced only when somebody deletes them"
        )
    );
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "said without waiting for the deadline"
    );
    let pods = kind(&cluster, "pods").await;
    for n in 0..3 {
        let name = format!("w-{n}");
        cluster
            .delete(&pods, Some(&ns), &name, &DeleteOptions::default())
            .await
            .unwrap();
    }
    let start = Instant::now();
    let done = loop {
        match cluster
            .wait_rollout(&sets, Some(&ns), "w", Duration::from_secs(30))
            .await
        {
            Ok(done) => break done,
            // The new pods are counted a moment after they are there.
            Err(ClusterError::RolloutBlocked { .. }) if start.elapsed().as_secs() < 20 => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(
        done.message,
        "StatefulSet \"w\": all 3 pods are new (strategy OnDelete)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_outlives_a_server_that_is_away_for_a_while() {
    let place = Place::new().await;
    if !place.runs_pods() {
        return;
    }
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let deploy = kind(&cluster, "deploy").await;
    cluster.apply(workload("Deployment", &ns)).await.unwrap();
    // More failures in a row than one read is repeated for.
    place.faults.add(Fault {
        verb: Some("get".to_owned()),
        resource: Some("deployments.apps".to_owned()),
        namespace: None,
        name: None,
        nth: 1,
        times: 7,
        effect: Effect::DropBefore,
    });
    let done = settled(&cluster, &deploy, &ns, "w").await;
    assert_eq!(done.message, "deployment \"w\" successfully rolled out");
}
