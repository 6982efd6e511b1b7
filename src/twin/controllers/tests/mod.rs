//! The controllers on a cluster without HTTP, judged by the log of changes: every moment counts, not
//! only the end.

mod lifecycle;
mod ownership;
mod rollouts;
mod sets;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::objects::{array, condition_is_true, deleting, int, label, name, text, uid};
use super::pods::is_active;
use super::{Controllers, Options, PodLifecycle, in_ready_set};
use crate::twin::clock::SimClock;
use crate::twin::kube::{Kube, Propagation, Store};

/// A cluster under control.
struct World {
    kube: Kube,
    controllers: Controllers,
    mesh: Arc<Recorder>,
}

/// A mesh that writes down what it is told, and takes its time over it.
#[derive(Default)]
struct Recorder {
    kube: Mutex<Option<Kube>>,
    calls: Mutex<Vec<(String, &'static str)>>,
    /// Pods that served when they were told to have stopped.
    violations: Mutex<Vec<String>>,
    sweeps: AtomicUsize,
    /// `ready` refuses while this is set.
    refuses: Mutex<bool>,
    /// `ready` panics while this is set.
    panics: Mutex<bool>,
}

impl Recorder {
    fn note(&self, pod: &Value, what: &'static str) {
        let mut calls = self.calls.lock().unwrap();
        calls.push((uid(pod).to_owned(), what));
    }

    /// What each pod was told, in order, without repeated questions.
    fn stories(&self) -> BTreeMap<String, Vec<&'static str>> {
        let mut stories: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for (pod, what) in self.calls.lock().unwrap().iter() {
            let story = stories.entry(pod.clone()).or_default();
            if story.last() != Some(what) {
                story.push(what);
            }
        }
        stories
    }
}

impl PodLifecycle for Recorder {
    fn started<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async { self.note(pod, "started") })
    }

    fn ready<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            assert!(!*self.panics.lock().unwrap(), "the mesh is broken");
            self.note(pod, "ready");
            if *self.refuses.lock().unwrap() {
                return Err("no certificate".to_owned());
            }
            Ok(())
        })
    }

    fn live_set_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.sweeps.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(2)).await;
        })
    }

    fn stopped<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async {
            self.note(pod, "stopped");
            let kube = self.kube.lock().unwrap().clone().unwrap();
            for slice in kube.list("endpointslices.discovery.k8s.io", None) {
                let serves = array(&slice, "/endpoints").iter().any(|e| {
                    text(e, "/targetRef/uid") == uid(pod) && e["conditions"]["ready"] == true
                });
                if serves {
                    self.violations.lock().unwrap().push(name(pod).to_owned());
                }
            }
        })
    }
}

impl World {
    /// A cluster with the namespace `shop`.
    async fn new(speed: f64) -> World {
        World::seeded(speed, 1).await
    }

    async fn seeded(pace: f64, seed: u64) -> World {
        let kube = Kube::new(seed);
        let mesh = Arc::new(Recorder::default());
        *mesh.kube.lock().unwrap() = Some(kube.clone());
        let options = Options {
            seed,
            ..Options::default()
        };
        let lifecycle: Arc<dyn PodLifecycle> = mesh.clone();
        let controllers =
            Controllers::start(kube.clone(), SimClock::new(pace), lifecycle, &options);
        let world = World {
            kube,
            controllers,
            mesh,
        };
        let space = json!({"metadata": {"name": "shop"}, "spec": {"finalizers": ["kubernetes"]}});
        world.kube.create("namespaces", "", space).await.unwrap();
        world
            .until("the namespace is furnished", |k| {
                k.get("serviceaccounts", "shop", "default").is_some()
                    && k.get("configmaps", "shop", "kube-root-ca.crt").is_some()
            })
            .await;
        world
    }

    async fn create(&self, resource: &str, object: Value) -> Arc<Value> {
        self.kube.create(resource, "shop", object).await.unwrap()
    }

    /// Waits until something holds; a controller that panics meanwhile fails the test.
    async fn until(&self, what: &str, holds: impl Fn(&Kube) -> bool) {
        let mut changes = self.kube.changes();
        let wait = async {
            while !holds(&self.kube) {
                changes.changed().await.unwrap();
            }
        };
        tokio::select! {
            panic = self.controllers.failed() => panic!("{panic}"),
            done = tokio::time::timeout(Duration::from_secs(30), wait) => {
                assert!(done.is_ok(), "never so: {what}: {}", self.describe());
            }
        }
    }

    /// The state of all workloads and pods, for a failed assertion.
    fn describe(&self) -> String {
        let mut lines = Vec::new();
        for resource in [
            "deployments.apps",
            "replicasets.apps",
            "statefulsets.apps",
            "daemonsets.apps",
            "jobs.batch",
            "pods",
        ] {
            for o in self.kube.list(resource, None) {
                lines.push(format!(
                    "{resource} {} {} spec.replicas={} status={}",
                    name(&o),
                    o["metadata"]["deletionTimestamp"],
                    o["spec"]["replicas"],
                    o["status"]
                ));
            }
        }
        lines.join("\n")
    }

    fn get(&self, resource: &str, own: &str) -> Arc<Value> {
        self.kube.get(resource, "shop", own).unwrap()
    }

    fn pods(&self) -> Vec<Arc<Value>> {
        self.kube.list("pods", Some("shop"))
    }

    /// Changes an object's spec.
    fn edit(&self, resource: &str, own: &str, change: impl FnMut(&mut Value)) {
        self.kube.update(resource, "shop", own, change).unwrap();
    }

    fn delete(&self, resource: &str, own: &str, how: Propagation) {
        self.kube.delete(resource, "shop", own, how).unwrap();
    }

    fn version(&self) -> u64 {
        self.kube.store().version()
    }

    /// Calls `see` with the pods of the namespace as they were after each change since a version.
    fn replay(&self, since: u64, mut see: impl FnMut(&BTreeMap<String, Arc<Value>>)) {
        let mut pods: BTreeMap<String, Arc<Value>> = BTreeMap::new();
        for change in self.kube.store().since("pods", Store::FIRST).unwrap() {
            if change.deleted {
                pods.remove(&change.key.1);
            } else {
                pods.insert(change.key.1.clone(), change.object);
            }
            if change.version > since {
                see(&pods);
            }
        }
    }

    /// Stops the controllers and checks what must hold after every test.
    async fn end(self) {
        self.controllers.stop().await.unwrap();
        assert_eq!(*self.mesh.violations.lock().unwrap(), Vec::<String>::new());
        for (pod, story) in self.mesh.stories() {
            let whole = ["started", "ready", "stopped"];
            assert!(
                story == whole[..story.len()] || story == ["started", "stopped"],
                "pod {pod}: {story:?}"
            );
        }
    }
}

/// Pods that count, and of them those in the ready set.
fn counts(pods: &BTreeMap<String, Arc<Value>>) -> (usize, usize) {
    let active = pods.values().filter(|p| is_active(p)).count();
    let serving = pods.values().filter(|p| in_ready_set(p)).count();
    (active, serving)
}

/// A template of one container.
fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "containers": [{"name": "main", "image": image}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
        },
    })
}

fn deployment(own: &str, replicas: i64, surge: &Value, unavailable: &Value) -> Value {
    json!({
        "metadata": {"name": own},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": own}}, "template": template(own, "app:1"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        },
    })
}

fn service(own: &str) -> Value {
    json!({
        "metadata": {"name": own},
        "spec": {"selector": {"app": own}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}], "clusterIP": "10.12.0.10"},
    })
}

fn set_image(object: &mut Value, image: &str) {
    object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
}

/// Whether a Deployment is rolled out, as `kubectl rollout status` judges.
fn rolled_out(kube: &Kube, own: &str) -> bool {
    kube.get("deployments.apps", "shop", own).is_some_and(|d| {
        let count = |key: &str| int(&d["status"], &format!("/{key}"));
        let wanted = int(&d, "/spec/replicas");
        int(&d, "/metadata/generation") <= count("observedGeneration")
            && count("updatedReplicas") == wanted
            && count("replicas") == wanted
            && count("availableReplicas") == wanted
    })
}
