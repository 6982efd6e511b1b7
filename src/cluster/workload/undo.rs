//! The history of a workload, the way back in it, and pausing: the rules of `kubectl rollout`.
//!
//! A Deployment's history are its ReplicaSets, that of a StatefulSet or a DaemonSet its
//! ControllerRevisions (kubectl `pkg/polymorphichelpers/history.go`, `rollback.go`, 1.34).

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::super::door::Written;
use super::super::error::NOT_DONE;
use super::super::{Cluster, ClusterError, Kind, Object, Selector};
use super::controller_of;

/// The annotation by which a Deployment numbers its ReplicaSets.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Why a revision came to be, if somebody said so.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Annotations of a Deployment that going back does not take from the ReplicaSet (kubectl
/// `annotationsToSkip`).
const KEPT: [&str; 6] = [
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deprecated.deployment.rollback.to",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// How long the controller is given to note the last change, before which the history lacks it.
const OBSERVED: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// A template that a workload has or had.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its number, from 1. Going back gives a template a new one.
    pub number: i64,
    /// The annotation `kubernetes.io/change-cause`, if any.
    pub change_cause: Option<String>,
    /// Whether it is the workload's template now.
    pub current: bool,
    /// The pod template.
    pub template: Value,
    /// The ReplicaSet or ControllerRevision that keeps it.
    pub object: Object,
}

impl Cluster {
    /// The templates that a workload has and had, as far as they are kept, oldest first.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], [`ClusterError::BadRequest`] for other kinds, and those of the
    /// server.
    pub async fn history(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Revision>, ClusterError> {
        super::super::rollout::rolls_out(kind)?;
        let workload = self.get_existing(kind, Some(namespace), name).await?;
        self.history_of(&workload).await
    }

    async fn history_of(&self, workload: &Object) -> Result<Vec<Revision>, ClusterError> {
        let own = template_of(workload);
        let mut history = Vec::new();
        if workload.kind() == "Deployment" {
            for set in self.controlled("replicasets.apps", workload).await? {
                let number = set.annotation(REVISION).and_then(|r| r.parse().ok());
                history.push(revision(number.unwrap_or(0), template_of(&set), set));
            }
            history.sort_by_key(|r| r.number);
        } else {
            for kept in self.controller_revisions(workload).await? {
                let number = kept.int("/revision").unwrap_or(0);
                let mut template = kept.at("/data/spec/template").cloned().unwrap_or_default();
                if let Some(map) = template.as_object_mut() {
                    map.remove("$patch");
                }
                history.push(revision(number, template, kept));
            }
        }
        // The newest of those that are equal, if several are.
        if let Some(current) = history.iter_mut().rev().find(|r| r.template == own) {
            current.current = true;
        }
        Ok(history)
    }

    /// Gives a workload the template of an earlier revision: the one before the last, or `to`. A
    /// template that it has already is not set again. Which is the last is known when the controller
    /// has seen the last change; that is waited for, up to ten seconds.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for a paused Deployment, where there is no such revision, where the
    /// last change was not observed, and for other kinds; and as for [`Cluster::patch`].
    pub async fn undo(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        to: Option<i64>,
    ) -> Result<Written, ClusterError> {
        super::super::rollout::rolls_out(kind)?;
        let subject = kind.subject(Some(namespace), Some(name));
        let begun = Instant::now();
        let workload = loop {
            let workload = self.get_existing(kind, Some(namespace), name).await?;
            if is_paused(&workload) {
                return Err(ClusterError::BadRequest {
                    message: format!("{subject} is paused and cannot be undone: resume it first"),
                });
            }
            if to.is_some() || is_observed(&workload) {
                break workload;
            }
            if begun.elapsed() >= OBSERVED {
                return Err(ClusterError::BadRequest {
                    message: format!(
                        "the last change of {subject} is not observed by its controller after {OBSERVED:?}, so it \
                         is not known which revision was before it: name the revision to go back to"
                    ),
                });
            }
            if self.rest(LOOK).await.is_err() {
                return Err(ClusterError::Interrupted {
                    operation: "undo",
                    subject,
                    known: NOT_DONE,
                });
            }
        };
        let mut history = self.history_of(&workload).await?;
        let numbers: Vec<String> = history.iter().map(|r| r.number.to_string()).collect();
        let found = match to {
            Some(number) => history.iter().position(|r| r.number == number),
            None => history.len().checked_sub(2),
        };
        let Some(index) = found else {
            let message = match to {
                Some(number) => format!(
                    "{subject} has no revision {number}; it has {}",
                    numbers.join(", ")
                ),
                None => format!("{subject} has no earlier revision to go back to"),
            };
            return Err(ClusterError::BadRequest { message });
        };
        let target = history.swap_remove(index);
        let patch = undo_patch(&workload, &target);
        self.patch_read(kind, workload, patch, Some("undo")).await
    }

    /// Pauses a Deployment, or resumes it. It must be one.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for other kinds; and as for [`Cluster::patch`].
    pub async fn set_paused(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        paused: bool,
    ) -> Result<Written, ClusterError> {
        let (word, done) = if paused {
            ("pause", "paused")
        } else {
            ("resume", "resumed")
        };
        if kind.resource() != "deployments.apps" {
            return Err(ClusterError::BadRequest {
                message: format!(
                    "`{}` cannot be {done}: only Deployments can",
                    kind.resource()
                ),
            });
        }
        let workload = self.get_existing(kind, Some(namespace), name).await?;
        let patch = if is_paused(&workload) == paused {
            json!({})
        } else {
            json!({"spec": {"paused": if paused { json!(true) } else { Value::Null }}})
        };
        self.patch_read(kind, workload, patch, Some(word)).await
    }

    /// The ControllerRevisions of a workload, oldest first.
    pub(super) async fn controller_revisions(
        &self,
        workload: &Object,
    ) -> Result<Vec<Object>, ClusterError> {
        let mut kept = self
            .controlled("controllerrevisions.apps", workload)
            .await?;
        kept.sort_by_key(|r| (r.int("/revision").unwrap_or(0), r.name().to_owned()));
        Ok(kept)
    }

    async fn controlled(&self, kind: &str, workload: &Object) -> Result<Vec<Object>, ClusterError> {
        let kind = self.kind(kind).await?;
        let selector = Selector::labels(super::super::blocked::selector(workload));
        let mut objects = self.list(&kind, workload.namespace(), &selector).await?;
        objects.retain(|o| controller_of(o).is_some_and(|owner| owner.uid == workload.uid()));
        Ok(objects)
    }
}

fn revision(number: i64, template: Value, object: Object) -> Revision {
    Revision {
        number,
        change_cause: object.annotation(CHANGE_CAUSE).map(str::to_owned),
        current: false,
        template,
        object,
    }
}

pub(in super::super) fn is_paused(workload: &Object) -> bool {
    workload.at("/spec/paused") == Some(&Value::Bool(true))
}

/// Whether its controller has seen its last change.
fn is_observed(workload: &Object) -> bool {
    workload.int("/status/observedGeneration").unwrap_or(0) >= workload.generation()
}

/// A pod template without the label that a Deployment gives to each of its ReplicaSets.
fn template_of(object: &Object) -> Value {
    let mut template = object.at("/spec/template").cloned().unwrap_or_default();
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.remove("pod-template-hash");
    }
    template
}

/// The merge patch that gives a workload an earlier template; empty if it has that already.
fn undo_patch(workload: &Object, target: &Revision) -> Value {
    let Some(template) = replacement(&template_of(workload), &target.template) else {
        return json!({});
    };
    let mut patch = json!({"spec": {"template": template}});
    if workload.kind() == "Deployment" {
        let own = json!(workload.annotations());
        let mut wanted = Map::new();
        for (key, value) in target.object.annotations() {
            if !KEPT.contains(&key.as_str()) {
                wanted.insert(key, value.into());
            }
        }
        for (key, value) in workload.annotations() {
            if KEPT.contains(&key.as_str()) {
                wanted.insert(key, value.into());
            }
        }
        if let Some(annotations) = replacement(&own, &Value::Object(wanted)) {
            patch["metadata"] = json!({"annotations": annotations});
        }
    }
    patch
}

/// The merge patch that makes `wanted` of `current`, whatever `current` has besides; none if they are
/// equal. An empty map counts as none.
fn replacement(current: &Value, wanted: &Value) -> Option<Value> {
    let empty = Map::new();
    let is_map = |v: &Value| v.is_object() || v.is_null();
    if !(is_map(current) && is_map(wanted)) {
        return (current != wanted).then(|| wanted.clone());
    }
    let (current, wanted) = (
        current.as_object().unwrap_or(&empty),
        wanted.as_object().unwrap_or(&empty),
    );
    let mut patch = Map::new();
    for (key, value) in wanted {
        let now = current.get(key).unwrap_or(&Value::Null);
        if let Some(inner) = replacement(now, value) {
            patch.insert(key.clone(), inner);
        }
    }
    for (key, value) in current {
        let is_nothing = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        if !wanted.contains_key(key) && !is_nothing {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::super::super::merge;
    use super::*;

    fn deployment(template: Value, annotations: Value) -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
            "spec": {"template": template},
        }))
    }

    fn target(template: Value, annotations: Value) -> Revision {
        let set = Object::new(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": "web-1", "namespace": "shop", "annotations": annotations},
            "spec": {"template": template},
        }));
        revision(1, template_of(&set), set)
    }

    #[test]
    fn a_patch_replaces_the_whole_template() {
        let now = json!({"metadata": {"labels": {"app": "web"}, "annotations": {"new": "1"}},
            "spec": {"containers": [{"name": "a", "image": "x:2"}], "hostNetwork": true}});
        let then = json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "77"}},
            "spec": {"containers": [{"name": "a", "image": "x:1"}], "securityContext": {}}});
        let workload = deployment(
            now,
            json!({REVISION: "2", "note": "kept by nobody", "kubernetes.io/change-cause": "two"}),
        );
        let back = target(
            then,
            json!({REVISION: "1", "kubernetes.io/change-cause": "one"}),
        );
        let patch = undo_patch(&workload, &back);
        let mut after = workload.to_value();
        merge(&mut after, &patch);
        assert_eq!(
            after["spec"]["template"],
            json!({"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "image": "x:1"}]}})
        );
        // As kubectl: the Deployment keeps its own revision and takes the rest from the ReplicaSet.
        assert_eq!(
            after["metadata"]["annotations"],
            json!({REVISION: "2", "kubernetes.io/change-cause": "one"})
        );
    }

    #[test]
    fn a_change_is_observed_when_the_controller_has_seen_its_generation() {
        let at = |generation: i64, observed: Value| {
            is_observed(&Object::new(json!({
                "metadata": {"generation": generation}, "status": {"observedGeneration": observed},
            })))
        };
        assert!(at(2, json!(2)));
        assert!(!at(2, json!(1)));
        assert!(!at(1, json!(null)));
    }

    #[test]
    fn a_template_that_it_has_already_is_no_change() {
        let same = json!({"metadata": {"labels": {"app": "web"}}, "spec": {}});
        let workload = deployment(same.clone(), json!({"note": "x"}));
        assert_eq!(undo_patch(&workload, &target(same, json!({}))), json!({}));
    }
}
