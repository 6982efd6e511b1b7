//! Ports of pods, and proxies behind them.

use std::time::{Duration, Instant};

use rootshift::cluster::*;
use rootshift::twin::{Scenario, Twin, TwinOptions};
use serde_json::Value;

use super::*;

const SECRETS: &str = "/config_dump?mask=dynamic_active_secrets,dynamic_warming_secrets";

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_a_pod_that_is_missing_is_told() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let limits = Limits::default();
    let error = cluster
        .forward("default", "nobody", 15000, &limits)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "pod `nobody` in namespace `default`, port 15000: the pod does not exist"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_read_several_times_through_one_forward() {
    let twin;
    let kubeconfig = if let Some(path) = std::env::var_os("ROOTSHIFT_TEST_KUBECONFIG") {
        path.into()
    } else {
        let scenario = Scenario::find("default").unwrap();
        twin = Twin::start(scenario, TwinOptions::default()).await.unwrap();
        twin.kubeconfig_path().to_owned()
    };
    let target = Target {
        kubeconfig: Some(kubeconfig),
        ..Target::default()
    };
    let cluster = Cluster::connect(&target).await.unwrap();
    let pods = kind(&cluster, "pods").await;
    let running = Selector {
        fields: Some("status.phase=Running".into()),
        labels: None,
    };
    let all = cluster.list(&pods, None, &running).await.unwrap();
    let proxied = |pod: &&Object| {
        let containers = pod
            .items("/spec/initContainers")
            .iter()
            .chain(pod.items("/spec/containers"));
        containers.clone().any(|c| c["name"] == "istio-proxy") && !pod.is_deleting()
    };
    let Some(pod) = all.iter().find(proxied) else {
        return; // A real server without a mesh.
    };
    let (ns, name) = (pod.namespace().unwrap(), pod.name());
    let limits = Limits::default();
    let mut forward = cluster.forward(ns, name, 15000, &limits).await.unwrap();
    for _ in 0..3 {
        let secrets = forward.get_ok(SECRETS).await.unwrap();
        assert!(!secrets.is_empty());
        let other = forward.get("/config_dump").await.unwrap();
        assert_eq!(other.status, 200);
        let whole: Value = serde_json::from_slice(&other.body).unwrap();
        assert!(whole["configs"].is_array());
    }
    let missing = forward.get("/no-such-path").await.unwrap();
    assert_eq!(missing.status, 404);
    let start = Instant::now();
    for _ in 0..20 {
        let mut forward = cluster.forward(ns, name, 15000, &limits).await.unwrap();
        forward.get_ok(SECRETS).await.unwrap();
    }
    let each = start.elapsed() / 20;
    assert!(
        each < Duration::from_millis(40),
        "{each:?} a forward: is Nagle's algorithm on?"
    );

    let refused = async { cluster.forward(ns, name, 9, &limits).await?.get("/").await };
    assert_eq!(
        refused.await.unwrap_err().to_string(),
        format!("pod `{name}` in namespace `{ns}`, port 9: connection refused")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_from_a_pod_and_a_closed_port_refuses() {
    let place = Place::new().await;
    if !place.runs_pods() {
        return;
    }
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    cluster.apply(workload("StatefulSet", &ns)).await.unwrap();
    let sets = kind(&cluster, "sts").await;
    settled(&cluster, &sets, &ns, "w").await;
    let limits = Limits::default();
    let mut forward = cluster.forward(&ns, "w-0", 8080, &limits).await.unwrap();
    for _ in 0..3 {
        assert_eq!(&forward.get_ok("/").await.unwrap()[..], b"hello");
    }
    let refused = async {
        cluster
            .forward(&ns, "w-0", 9, &limits)
            .await?
            .get("/")
            .await
    };
    let ClusterError::Forward { cause, .. } = refused.await.unwrap_err() else {
        panic!("another error");
    };
    assert_eq!(cause, ForwardError::PortRefused);
}
