//! The cluster room against an API server that behaves: the twin's, or a real one.
//!
//! The same cases are asked of both: with `ROOTSHIFT_TEST_KUBECONFIG` set to the kubeconfig of an
//! administrator they run there instead of on the twin, in namespaces of their own. Where a real
//! server answers otherwise than the twin, the twin is wrong.

mod connecting;
mod objects;
mod ports;
mod rollouts;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use rootshift::cluster::{Cluster, ClusterError, DeleteOptions, Kind, Rollout, Target, Written};
use rootshift::twin::clock::SimClock;
use rootshift::twin::controllers::{self, Controllers, NoMesh};
use rootshift::twin::kube::Kube;
use rootshift::twin::process::Containers;
use rootshift::twin::server::{FaultPlan, PodNetwork, Server, ServerOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A server to ask: a twin's without a mesh, which ends with it, or a real one.
struct Place {
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
    twin: Option<(Server, Controllers)>,
    faults: Arc<FaultPlan>,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(FaultPlan::default());
        if let Some(path) = std::env::var_os("ROOTSHIFT_TEST_KUBECONFIG") {
            return Self {
                kubeconfig: path.into(),
                dir,
                twin: None,
                faults,
            };
        }
        let kube = Kube::new(7);
        let clock = SimClock::new(20.0);
        let containers = Containers::new(kube.clone(), clock);
        containers.set_network(Arc::new(Web));
        let options = ServerOptions {
            kube: kube.clone(),
            containers: containers.clone(),
            users: Vec::new(),
            extra: None,
            faults: Arc::clone(&faults),
            context: "twin".to_owned(),
        };
        let server = Server::start(options).await.unwrap();
        let options = controllers::Options {
            containers: Some(containers),
            ..controllers::Options::default()
        };
        let controllers = Controllers::start(kube, clock, Arc::new(NoMesh), &options);
        let kubeconfig = dir.path().join("twin");
        std::fs::write(&kubeconfig, server.kubeconfig()).unwrap();
        Self {
            kubeconfig,
            dir,
            twin: Some((server, controllers)),
            faults,
        }
    }

    /// Whether pods run here: a real API server may be without a node.
    fn runs_pods(&self) -> bool {
        self.twin.is_some()
    }

    async fn connect(&self) -> Cluster {
        let target = Target {
            kubeconfig: Some(self.kubeconfig.clone()),
            ..Target::default()
        };
        Cluster::connect(&target).await.unwrap()
    }

    /// The same kubeconfig with one thing changed about its user.
    async fn as_user(&self, change: Value) -> Result<Cluster, ClusterError> {
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let mut config: Value = serde_saphyr::from_str(&text).unwrap();
        rootshift::cluster::merge(&mut config["users"][0]["user"], &change);
        let path = self.dir.path().join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        Cluster::connect(&Target {
            kubeconfig: Some(path),
            ..Target::default()
        })
        .await
    }
}

/// Pods that serve one page on port 8080.
struct Web;

impl PodNetwork for Web {
    fn connect<'a>(
        &'a self,
        _: &'a Value,
        port: u16,
    ) -> BoxFuture<'a, Result<DuplexStream, String>> {
        Box::pin(async move {
            if port != 8080 {
                return Err("connection refused".to_owned());
            }
            let (ours, mut theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while theirs.read_buf(&mut request).await.is_ok_and(|n| n > 0) {
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        let page = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                        theirs.write_all(page).await.ok();
                    }
                }
            });
            Ok(ours)
        })
    }
}

/// A new namespace, gone at the end of the test that took it (or with the twin).
async fn namespace(cluster: &Cluster) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::SeqCst)
    );
    let kind = cluster.kind("ns").await.unwrap();
    let object = json!({"metadata": {"name": name}});
    cluster.create(&kind, None, object).await.unwrap();
    name
}

async fn kind(cluster: &Cluster, name: &str) -> Kind {
    cluster.kind(name).await.unwrap()
}

async fn remove(cluster: &Cluster, namespace: &str) -> Written {
    let kind = cluster.kind("ns").await.unwrap();
    cluster
        .delete(&kind, None, namespace, &DeleteOptions::default())
        .await
        .unwrap()
}

/// A workload of a kind, with one container that no node has the label for.
fn workload(kind: &str, namespace: &str) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "w", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "w"}},
            "template": {"metadata": {"labels": {"app": "w"}},
                "spec": {"containers": [{"name": "main", "image": "none"}]}}},
    });
    match kind {
        "DaemonSet" => {}
        "StatefulSet" => {
            object["spec"]["serviceName"] = json!("w");
            object["spec"]["replicas"] = json!(1);
        }
        _ => object["spec"]["replicas"] = json!(1),
    }
    object
}

async fn settled(cluster: &Cluster, kind: &Kind, ns: &str, name: &str) -> Rollout {
    let limit = Duration::from_secs(30);
    cluster
        .wait_rollout(kind, Some(ns), name, limit)
        .await
        .unwrap()
}
