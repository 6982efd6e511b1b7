//! One view of everything that has pods: what it is, how many pods it has, and how they are made anew.
//!
//! A few lists and no call for each pod. Kinds that nobody here knows (an Argo `Rollout`) are found by
//! walking from the pods up their controllers, and are named.

use std::collections::BTreeMap;

use super::super::{Cluster, ClusterError, Object, Selector};
use super::{Reference, controller_of, is_finished, is_ready};

/// How the pods of a workload come to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// By deleting the pods: their controller makes others.
    DeletePods,
    /// With its next run.
    NextRun,
    /// Not at all, or not now.
    None,
    /// By a rollout that first takes all pods away.
    Recreate,
    /// By a rollout.
    Rollout,
}

impl Restart {
    /// `delete_pods`, `next_run`, `none`, `recreate`, `rollout`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeletePods => "delete_pods",
            Self::NextRun => "next_run",
            Self::None => "none",
            Self::Recreate => "recreate",
            Self::Rollout => "rollout",
        }
    }
}

/// How many pods a workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodCounts {
    /// How many it wants.
    pub desired: i64,
    /// How many are ready.
    pub ready: i64,
    /// How many are of its newest template; none where that is not known.
    pub updated: Option<i64>,
}

/// Something that has pods.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `Deployment`, `Rollout`, `Pod`, …
    pub kind: String,
    /// `apps/v1`.
    pub api_version: String,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Itself; none where its kind cannot be read.
    pub object: Option<Object>,
    /// Its pods, those that have ended not counted.
    pub pods: PodCounts,
    /// How its pods are made anew.
    pub restart: Restart,
    /// Why so.
    pub reason: String,
    /// What controls it in turn: `Prometheus/k8s`.
    pub controlled_by: Option<String>,
}

/// The kinds that are read for the whole view, in the order in which it shows them.
const KINDS: [&str; 6] = [
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "replicasets.apps",
    "cronjobs.batch",
    "jobs.batch",
];

/// How many owners above a pod are followed; a real chain has two or three.
const LEVELS: usize = 8;

impl Cluster {
    /// The workloads of a namespace, or of all: Deployments, StatefulSets, DaemonSets, in this order,
    /// each by name; with `all` also ReplicaSets, CronJobs and Jobs that nothing here controls, owners
    /// of unknown kinds, and pods without a controller that have not ended.
    ///
    /// # Errors
    /// One of the lists cannot be read. Owners of unknown kinds that cannot be read are named without
    /// their object.
    pub async fn workloads(
        &self,
        namespace: Option<&str>,
        all: bool,
    ) -> Result<Vec<Workload>, ClusterError> {
        let mut known = Vec::new();
        for name in if all { &KINDS[..] } else { &KINDS[..3] } {
            let kind = self.kind(name).await?;
            known.extend(self.list(&kind, namespace, &Selector::all()).await?);
        }
        if let (true, Some(namespace)) = (known.is_empty(), namespace) {
            self.namespace_exists(namespace).await?;
        }
        if !all {
            return Ok(known.iter().map(describe).collect());
        }
        let pod = self.kind("v1/Pod").await?;
        let pods = self.list(&pod, namespace, &Selector::all()).await?;
        let mut view = View::of(known, pods);
        for _ in 0..LEVELS {
            let asked = view.unread();
            if asked.is_empty() {
                break;
            }
            for (api_version, kind) in asked {
                let objects = self.owners_of(&api_version, &kind, namespace).await;
                view.learn(&api_version, &kind, objects);
            }
        }
        Ok(view.workloads())
    }

    /// The workload that a pod belongs to: the topmost of its controllers, with the names of those
    /// between, the pod's own first. A pod without a controller is its own.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] for the pod, and those of the server; a controller that cannot be
    /// read is named without its object.
    pub async fn workload_of_pod(
        &self,
        namespace: &str,
        pod: &str,
    ) -> Result<(Workload, Vec<String>), ClusterError> {
        let kind = self.kind("v1/Pod").await?;
        let mut object = self.get_existing(&kind, Some(namespace), pod).await?;
        let mut chain = Vec::new();
        for _ in 0..LEVELS {
            let Some(owner) = controller_of(&object) else {
                break;
            };
            chain.push(format!("{}/{}", owner.kind, owner.name));
            let read = self.owner(namespace, &owner).await;
            match read {
                Some(above) if above.uid() == owner.uid => object = above,
                _ => return Ok((unknown(namespace, &owner), chain)),
            }
        }
        Ok((describe(&object), chain))
    }

    async fn owner(&self, namespace: &str, owner: &Reference) -> Option<Object> {
        let name = format!("{}/{}", owner.api_version, owner.kind);
        let kind = self.kind(&name).await.ok()?;
        let namespace = kind.is_namespaced().then_some(namespace);
        self.get(&kind, namespace, &owner.name).await.ok()?
    }

    /// All objects of a kind that owns pods; none if it is not served or may not be read.
    async fn owners_of(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Vec<Object> {
        let Ok(kind) = self.kind(&format!("{api_version}/{kind}")).await else {
            return Vec::new();
        };
        let namespace = namespace.filter(|_| kind.is_namespaced());
        self.list(&kind, namespace, &Selector::all())
            .await
            .unwrap_or_default()
    }
}

/// Pods and their owners, joined by UID.
struct View {
    known: Vec<Object>,
    pods: Vec<Object>,
    /// Positions in `known`.
    by_uid: BTreeMap<String, usize>,
    /// Kinds that were asked for already.
    asked: Vec<(String, String)>,
}

/// Where the way up from a pod ends.
enum Top {
    /// At an object that was read.
    Known(usize),
    /// At a controller that was not, or cannot be.
    Unknown(Reference),
    /// At the pod itself.
    Itself,
}

impl View {
    fn of(known: Vec<Object>, pods: Vec<Object>) -> Self {
        let mut view = Self {
            known: Vec::new(),
            pods,
            by_uid: BTreeMap::new(),
            asked: Vec::new(),
        };
        view.add(known);
        view
    }

    fn add(&mut self, objects: Vec<Object>) {
        for object in objects {
            self.by_uid
                .insert(object.uid().to_owned(), self.known.len());
            self.known.push(object);
        }
    }

    /// Takes what was read of a kind; objects that own none of the pods are dropped.
    fn learn(&mut self, api_version: &str, kind: &str, mut objects: Vec<Object>) {
        self.asked.push((api_version.to_owned(), kind.to_owned()));
        let wanted: Vec<String> = self
            .unknown_tops()
            .into_keys()
            .map(|(_, r)| r.uid)
            .collect();
        objects.retain(|object| wanted.iter().any(|uid| uid == object.uid()));
        self.add(objects);
    }

    /// Kinds of controllers that were not asked for.
    fn unread(&self) -> Vec<(String, String)> {
        let mut kinds: Vec<(String, String)> = self
            .unknown_tops()
            .into_keys()
            .map(|(_, r)| (r.api_version, r.kind))
            .filter(|kind| kind.1 != "Node" && !self.asked.contains(kind))
            .collect();
        kinds.dedup();
        kinds
    }

    fn unknown_tops(&self) -> BTreeMap<(String, Reference), Vec<&Object>> {
        let mut found: BTreeMap<(String, Reference), Vec<&Object>> = BTreeMap::new();
        // ReplicaSets and Jobs without pods have owners too.
        let below = self.known.iter().filter(|o| !rolls_out(o));
        for object in self.pods.iter().chain(below) {
            if is_finished(object) && object.kind() == "Pod" {
                continue;
            }
            if let Top::Unknown(reference) = self.top(object) {
                let namespace = object.namespace().unwrap_or("").to_owned();
                let pods = found.entry((namespace, reference)).or_default();
                if object.kind() == "Pod" {
                    pods.push(object);
                }
            }
        }
        found
    }

    fn top(&self, object: &Object) -> Top {
        let mut at = Top::Itself;
        let mut above = controller_of(object);
        for _ in 0..LEVELS {
            let Some(reference) = above else { break };
            let Some(&index) = self.by_uid.get(&reference.uid) else {
                return Top::Unknown(reference);
            };
            at = Top::Known(index);
            // What rolls out is a workload of its own, whoever made it.
            above = Some(&self.known[index])
                .filter(|o| !rolls_out(o))
                .and_then(controller_of);
        }
        at
    }

    fn workloads(&self) -> Vec<Workload> {
        let mut below: BTreeMap<usize, Vec<&Object>> = BTreeMap::new();
        let mut bare = Vec::new();
        for pod in self.pods.iter().filter(|p| !is_finished(p)) {
            match self.top(pod) {
                Top::Known(index) => below.entry(index).or_default().push(pod),
                Top::Itself => bare.push(describe(pod)),
                Top::Unknown(_) => {}
            }
        }
        let mut found = Vec::new();
        for (index, object) in self.known.iter().enumerate() {
            if !rolls_out(object) && controller_of(object).is_some() {
                continue;
            }
            let mut workload = describe(object);
            let pods = below.get(&index).map_or(&[][..], Vec::as_slice);
            count(&mut workload, pods);
            found.push(workload);
        }
        for ((namespace, reference), pods) in self.unknown_tops() {
            let mut workload = unknown(&namespace, &reference);
            count(&mut workload, &pods);
            found.push(workload);
        }
        found.extend(bare);
        found
    }
}

/// Counts the pods where the object does not tell.
fn count(workload: &mut Workload, pods: &[&Object]) {
    let told = workload
        .object
        .as_ref()
        .is_some_and(|o| o.int("/spec/replicas").is_some() || rolls_out(o) || o.kind() == "Job");
    if !told {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        workload.pods = PodCounts {
            desired: number(pods.len()),
            ready: number(pods.iter().filter(|p| is_ready(p)).count()),
            updated: None,
        };
    }
}

/// Whether it is a Deployment, a StatefulSet or a DaemonSet.
pub(super) fn rolls_out(object: &Object) -> bool {
    object.api_version().starts_with("apps/")
        && matches!(object.kind(), "DaemonSet" | "Deployment" | "StatefulSet")
}

/// A workload by its object.
pub(super) fn describe(object: &Object) -> Workload {
    let status = |field: &str| object.int(&format!("/status/{field}")).unwrap_or(0);
    let replicas = object.int("/spec/replicas");
    let counts = |desired: i64, ready: i64, updated: Option<i64>| PodCounts {
        desired,
        ready,
        updated,
    };
    let own =
        object.api_version().starts_with("apps/") || object.api_version().starts_with("batch/");
    let (pods, restart, reason) = match object.kind() {
        "Deployment" if own => (
            counts(
                replicas.unwrap_or(1),
                status("readyReplicas"),
                Some(status("updatedReplicas")),
            ),
            of_deployment(object).0,
            of_deployment(object).1,
        ),
        kind @ ("StatefulSet" | "DaemonSet") if own => {
            let pods = if kind == "StatefulSet" {
                counts(
                    replicas.unwrap_or(1),
                    status("readyReplicas"),
                    Some(status("updatedReplicas")),
                )
            } else {
                counts(
                    status("desiredNumberScheduled"),
                    status("numberReady"),
                    Some(status("updatedNumberScheduled")),
                )
            };
            if object.text("/spec/updateStrategy/type") == "OnDelete" {
                let reason = "its strategy is OnDelete: a pod is made anew when it is deleted";
                (pods, Restart::DeletePods, reason)
            } else {
                (pods, Restart::Rollout, "its strategy is RollingUpdate")
            }
        }
        "ReplicaSet" if own => (
            counts(replicas.unwrap_or(1), status("readyReplicas"), None),
            Restart::DeletePods,
            "nothing rolls it out: a pod is made anew when it is deleted",
        ),
        "Job" if own => (
            counts(
                object.int("/spec/parallelism").unwrap_or(1),
                status("ready"),
                None,
            ),
            Restart::None,
            "it runs on to its end; a restart would run it again",
        ),
        "CronJob" if own => (
            PodCounts::default(),
            Restart::NextRun,
            "its next run has new pods",
        ),
        "Pod" => {
            let ready = i64::from(is_ready(object));
            (
                counts(1, ready, None),
                Restart::None,
                "nothing would make it anew: it has no controller",
            )
        }
        "Node" => (
            PodCounts::default(),
            Restart::None,
            "its node runs it from a file there",
        ),
        _ => (
            counts(replicas.unwrap_or(0), status("readyReplicas"), None),
            Restart::DeletePods,
            "how its kind rolls out is not known; its controller replaces pods that are deleted",
        ),
    };
    Workload {
        kind: object.kind().to_owned(),
        api_version: object.api_version().to_owned(),
        namespace: object.namespace().unwrap_or("").to_owned(),
        name: object.name().to_owned(),
        object: Some(object.clone()),
        pods,
        restart,
        reason: reason.to_owned(),
        controlled_by: controller_of(object).map(|owner| format!("{}/{}", owner.kind, owner.name)),
    }
}

fn of_deployment(deployment: &Object) -> (Restart, &'static str) {
    if deployment.at("/spec/paused") == Some(&serde_json::Value::Bool(true)) {
        (Restart::None, "it is paused: resume it first")
    } else if deployment.text("/spec/strategy/type") == "Recreate" {
        (
            Restart::Recreate,
            "its strategy is Recreate: all pods go before the first new one comes",
        )
    } else {
        (Restart::Rollout, "its strategy is RollingUpdate")
    }
}

/// A controller that could not be read.
fn unknown(namespace: &str, owner: &Reference) -> Workload {
    let (restart, reason) = if owner.kind == "Node" {
        (Restart::None, "its node runs it from a file there")
    } else {
        (
            Restart::DeletePods,
            "how its kind rolls out is not known; its controller replaces pods that are deleted",
        )
    };
    Workload {
        kind: owner.kind.clone(),
        api_version: owner.api_version.clone(),
        namespace: namespace.to_owned(),
        name: owner.name.clone(),
        object: None,
        pods: PodCounts::default(),
        restart,
        reason: reason.to_owned(),
        controlled_by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(
        api: &str,
        kind: &str,
        name: &str,
        owner: Option<(&str, &str)>,
        rest: Value,
    ) -> Object {
        let mut value = json!({
            "apiVersion": api, "kind": kind,
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}")},
        });
        if let Some((kind, name)) = owner {
            let api = if kind == "Rollout" {
                "argoproj.io/v1alpha1"
            } else {
                "apps/v1"
            };
            value["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "0"},
                {"apiVersion": api, "kind": kind, "name": name, "uid": format!("u-{name}"), "controller": true},
            ]);
        }
        super::super::super::merge(&mut value, &rest);
        Object::new(value)
    }

    fn pod(name: &str, owner: Option<(&str, &str)>, phase: &str) -> Object {
        let ready = if phase == "Running" { "True" } else { "False" };
        let status =
            json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        object("v1", "Pod", name, owner, status)
    }

    fn shown(view: &View) -> Vec<String> {
        view.workloads()
            .iter()
            .map(|w| {
                let pods = w.pods;
                format!(
                    "{}/{} {}/{} {}",
                    w.kind,
                    w.name,
                    pods.ready,
                    pods.desired,
                    w.restart.as_str()
                )
            })
            .collect()
    }

    #[test]
    fn every_pod_is_counted_at_the_top_of_its_controllers() {
        let known = vec![
            object(
                "apps/v1",
                "Deployment",
                "web",
                None,
                json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}),
            ),
            object(
                "apps/v1",
                "StatefulSet",
                "db",
                Some(("Prometheus", "k8s")),
                json!({"spec": {"replicas": 1, "updateStrategy": {"type": "OnDelete"}}}),
            ),
            object(
                "apps/v1",
                "ReplicaSet",
                "web-1",
                Some(("Deployment", "web")),
                json!({}),
            ),
            object(
                "apps/v1",
                "ReplicaSet",
                "lone",
                None,
                json!({"spec": {"replicas": 1}}),
            ),
            object(
                "apps/v1",
                "ReplicaSet",
                "roll-1",
                Some(("Rollout", "roll")),
                json!({}),
            ),
            object("batch/v1", "CronJob", "tick", None, json!({})),
            object(
                "batch/v1",
                "Job",
                "tick-1",
                Some(("CronJob", "tick")),
                json!({}),
            ),
            object(
                "batch/v1",
                "Job",
                "once",
                None,
                json!({"status": {"ready": 1}}),
            ),
        ];
        let pods = vec![
            pod("web-1-a", Some(("ReplicaSet", "web-1")), "Running"),
            pod("roll-1-a", Some(("ReplicaSet", "roll-1")), "Running"),
            pod("roll-1-b", Some(("ReplicaSet", "roll-1")), "Pending"),
            pod("tick-1-a", Some(("Job", "tick-1")), "Running"),
            pod("tick-1-b", Some(("Job", "tick-1")), "Succeeded"),
            pod("static", Some(("Node", "n1")), "Running"),
            pod("bare", None, "Running"),
            pod("ended", None, "Failed"),
        ];
        let mut view = View::of(known, pods);
        let expected = [
            "Deployment/web 1/2 rollout",
            "StatefulSet/db 0/1 delete_pods",
            "ReplicaSet/lone 0/1 delete_pods",
            "CronJob/tick 1/1 next_run",
            "Job/once 1/1 none",
            "Node/n1 1/1 none",
            "Rollout/roll 1/2 delete_pods",
            "Pod/bare 1/1 none",
        ];
        assert_eq!(shown(&view), expected);
        assert_eq!(
            view.unread(),
            [("argoproj.io/v1alpha1".to_owned(), "Rollout".to_owned())]
        );
        // Read, the Rollout tells its own size, and is no more unknown.
        let rollout = object(
            "argoproj.io/v1alpha1",
            "Rollout",
            "roll",
            None,
            json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 2}}),
        );
        let other = object("argoproj.io/v1alpha1", "Rollout", "other", None, json!({}));
        view.learn("argoproj.io/v1alpha1", "Rollout", vec![rollout, other]);
        assert!(view.unread().is_empty());
        let now = shown(&view);
        assert!(
            now.contains(&"Rollout/roll 2/2 delete_pods".to_owned()),
            "{now:?}"
        );
        assert_eq!(now.iter().filter(|w| w.starts_with("Rollout")).count(), 1);
    }

    #[test]
    fn a_controller_that_rolls_out_says_who_made_it_and_whether_it_can_be_restarted() {
        let made = describe(&object(
            "apps/v1",
            "StatefulSet",
            "db",
            Some(("Prometheus", "k8s")),
            json!({}),
        ));
        assert_eq!(made.controlled_by.as_deref(), Some("Prometheus/k8s"));
        let paused = describe(&object(
            "apps/v1",
            "Deployment",
            "w",
            None,
            json!({"spec": {"paused": true}}),
        ));
        assert_eq!(
            (paused.restart, paused.reason.as_str()),
            (Restart::None, "it is paused: resume it first")
        );
        let recreate = object(
            "apps/v1",
            "Deployment",
            "w",
            None,
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        assert_eq!(describe(&recreate).restart, Restart::Recreate);
    }
}
