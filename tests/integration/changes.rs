//! Changes of objects: that none is made twice or goes round a gate, and that a rehearsal is none.
//!
//! On a twin's API server without controllers, so that each new version of the store is a change that
//! was asked for.

mod faults;
mod gates;
mod rehearsal;
mod removals;
mod stopping;
mod waves;

use std::sync::Arc;

use futures::future::BoxFuture;
use rootshift::cluster::{Cluster, Target};
use rootshift::twin::clock::SimClock;
use rootshift::twin::kube::Kube;
use rootshift::twin::process::Containers;
use rootshift::twin::server::{FaultPlan, Server, ServerOptions};
use serde_json::{Value, json};

/// A server, and a connection to it.
struct Place {
    kube: Kube,
    faults: Arc<FaultPlan>,
    cluster: Cluster,
    _server: Server,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let kube = Kube::new(7);
        let faults = Arc::new(FaultPlan::default());
        let options = ServerOptions {
            kube: kube.clone(),
            containers: Containers::new(kube.clone(), SimClock::new(1.0)),
            users: Vec::new(),
            extra: None,
            faults: Arc::clone(&faults),
            context: "twin".to_owned(),
        };
        let server = Server::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
        let target = Target {
            kubeconfig: Some(kubeconfig),
            ..Target::default()
        };
        let cluster = Cluster::connect(&target).await.unwrap();
        let place = Self {
            kube,
            faults,
            cluster,
            _server: server,
            _dir: dir,
        };
        for name in ["shop", "istio-system"] {
            place
                .make(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .await;
            place
                .make(json!({"apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": {"name": "default", "namespace": name}}))
                .await;
        }
        place
    }

    async fn make(&self, object: Value) {
        let text = |field: &str| object[field].as_str().unwrap().to_owned();
        let kind = format!("{}/{}", text("apiVersion"), text("kind"));
        let kind = self.cluster.kind(&kind).await.unwrap();
        self.cluster.create(&kind, None, object).await.unwrap();
    }

    /// How many changes the store has seen.
    fn changes(&self) -> u64 {
        self.kube.store().version()
    }
}

fn map(name: &str, x: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "labels": {"l": "0"}}, "data": {"x": x}})
}

fn deployment(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, "istio.io/rev": "r1"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "none", "args": ["a"]}]}}},
    })
}

fn pod(namespace: &str, name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    })
}
