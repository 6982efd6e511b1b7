//! Revisions: which ReplicaSet is the one of the present template, and its annotations.

use serde_json::{Value, json};

use super::super::events::Event;
use super::super::naming::template_hash;
use super::super::objects::{
    annotation, condition, controller_ref, controller_uid, deleting, generation, int, name,
    namespace, uid,
};
use super::super::pods::set_annotation;
use super::super::replicaset::replicas;
use super::{NAME, REPLICASETS, RESOURCE, Rollout, with_hash};
use crate::twin::kube::Propagation;

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that a ReplicaSet does not take over from its Deployment.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// The revision of a ReplicaSet, 0 if it has none.
pub fn of(rs: &Value) -> u64 {
    annotation(rs, REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

impl Rollout<'_> {
    /// Moves the ReplicaSet whose template is the Deployment's, the oldest such, from the old ones to `new`.
    pub(super) fn find_new(&mut self) {
        let wanted = comparable(&self.deployment["spec"]["template"]);
        let mut matching: Vec<usize> = (0..self.old.len())
            .filter(|i| comparable(&self.old[*i]["spec"]["template"]) == wanted)
            .collect();
        let age = |i: &usize| {
            let rs = &self.old[*i];
            (
                rs["metadata"]["creationTimestamp"].to_string(),
                name(rs).to_owned(),
            )
        };
        matching.sort_by_key(age);
        if let Some(index) = matching.first() {
            self.new = Some(self.old.remove(*index));
        }
    }

    /// Brings the new ReplicaSet's annotations and the Deployment's revision up to date; creates it if asked to.
    pub(super) async fn sync_new(&mut self, create: bool) -> Result<(), String> {
        let next = self.old.iter().map(of).max().unwrap_or(0) + 1;
        match self.new.take() {
            Some(existing) => self.sync_existing(existing, next),
            None if create => self.create_new(next).await,
            None => Ok(()),
        }
    }

    fn sync_existing(&mut self, existing: Value, next: u64) -> Result<(), String> {
        let min_ready = self.deployment["spec"]["minReadySeconds"].clone();
        let written = self
            .ctx
            .kube
            .update(REPLICASETS, namespace(&existing), name(&existing), |rs| {
                self.annotate(rs, next, true);
                if int(rs, "/spec/minReadySeconds") != min_ready.as_i64().unwrap_or(0) {
                    rs["spec"]["minReadySeconds"] = min_ready.clone();
                }
            })
            .map_err(|status| status.message)?;
        let revision = of(&written);
        let set_name = name(&written).to_owned();
        self.new = Some((*written).clone());
        self.set_revision(revision);
        if self.progress_deadline().is_some()
            && condition(&self.deployment, "Progressing").is_none()
        {
            let message = format!("Found new replica set \"{set_name}\"");
            self.set_progressing("True", "FoundNewReplicaSet", &message);
            self.write_conditions();
        }
        Ok(())
    }

    async fn create_new(&mut self, revision: u64) -> Result<(), String> {
        let collisions = int(&self.deployment, "/status/collisionCount");
        let set = self.draft(revision, collisions);
        let set_name = name(&set).to_owned();
        let space = namespace(&self.deployment).to_owned();
        match self.ctx.kube.create(REPLICASETS, &space, set).await {
            Ok(created) => {
                let size = replicas(&created);
                if size > 0 {
                    let message = format!("Scaled up replica set {set_name} from 0 to {size}");
                    self.say(Event::normal(NAME, "ScalingReplicaSet", &message))
                        .await;
                }
                self.new = Some((*created).clone());
                self.set_revision(revision);
                if self.progress_deadline().is_some() {
                    let message = format!("Created new replica set \"{set_name}\"");
                    self.set_progressing("True", "NewReplicaSetCreated", &message);
                    self.write_conditions();
                }
                Ok(())
            }
            Err(status) if status.reason == Some("AlreadyExists") => {
                self.meet(&set_name, collisions, status.message)
            }
            Err(status) => {
                let message = format!(
                    "Failed to create new replica set \"{set_name}\": {}",
                    status.message
                );
                if self.progress_deadline().is_some() {
                    self.set_progressing("False", "ReplicaSetCreateError", &message);
                    self.write_conditions();
                }
                self.say(Event::warning(NAME, "ReplicaSetCreateError", &message))
                    .await;
                Err(message)
            }
        }
    }

    /// The name is taken: by our own, or by a template with the same hash, which then is hashed anew.
    fn meet(&mut self, set_name: &str, collisions: i64, message: String) -> Result<(), String> {
        let taken = self
            .ctx
            .kube
            .get(REPLICASETS, namespace(&self.deployment), set_name);
        if let Some(rs) = taken
            && controller_uid(&rs) == uid(&self.deployment)
            && comparable(&rs["spec"]["template"])
                == comparable(&self.deployment["spec"]["template"])
        {
            self.new = Some((*rs).clone());
            return Ok(());
        }
        self.write_status_with(|status| {
            status.insert("collisionCount".to_owned(), (collisions + 1).into());
        });
        Err(message)
    }

    /// The ReplicaSet of the present template, as it would be created.
    fn draft(&self, revision: u64, collisions: i64) -> Value {
        let d = &self.deployment;
        let mut template = d["spec"]["template"].clone();
        let hash = template_hash(&comparable(&template), collisions);
        template["metadata"]["labels"] = with_hash(&template["metadata"]["labels"], &hash);
        let mut selector = d["spec"]["selector"].clone();
        selector["matchLabels"] = with_hash(&selector["matchLabels"], &hash);
        // 253: the longest name of an object.
        let kept = name(d).len().min(253 - 1 - hash.len());
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", &name(d)[..kept]), "namespace": namespace(d),
                "labels": template["metadata"]["labels"], "ownerReferences": [controller_ref(d)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        });
        if int(d, "/spec/minReadySeconds") != 0 {
            set["spec"]["minReadySeconds"] = d["spec"]["minReadySeconds"].clone();
        }
        set["spec"]["replicas"] = self.new_size(0).into();
        self.annotate(&mut set, revision, false);
        set
    }

    /// `SetNewReplicaSetAnnotations`: the Deployment's annotations, the revision and its history, the sizes of one that is being made.
    fn annotate(&self, rs: &mut Value, revision: u64, exists: bool) {
        if let Some(own) = self.deployment["metadata"]["annotations"].as_object() {
            for (key, value) in own {
                if let Some(value) = value.as_str()
                    && !NOT_COPIED.contains(&key.as_str())
                {
                    set_annotation(rs, key, value);
                }
            }
        }
        let old = annotation(rs, REVISION).map(str::to_owned);
        if of(rs) < revision {
            set_annotation(rs, REVISION, &revision.to_string());
            if let Some(old) = old {
                let history = annotation(rs, HISTORY).unwrap_or_default();
                let history = if history.is_empty() {
                    old
                } else {
                    format!("{history},{old}")
                };
                set_annotation(rs, HISTORY, &history);
            }
        }
        if !exists {
            self.note_sizes(rs);
        }
    }

    /// What a later scaling is measured against.
    pub(super) fn note_sizes(&self, rs: &mut Value) {
        set_annotation(rs, DESIRED, &self.wanted().to_string());
        set_annotation(rs, MAX, &(self.wanted() + self.max_surge()).to_string());
    }

    fn set_revision(&mut self, revision: u64) {
        if revision == 0 || !set_annotation(&mut self.deployment, REVISION, &revision.to_string()) {
            return;
        }
        let d = &self.deployment;
        // With the status, as the real one does: written with the spec it would count the generation up.
        // Gone meanwhile: nothing to write.
        let _ = self
            .ctx
            .kube
            .update_status(RESOURCE, namespace(d), name(d), |o| {
                if uid(o) == uid(d) {
                    set_annotation(o, REVISION, &revision.to_string());
                }
            });
    }

    /// Deletes old ReplicaSets beyond `revisionHistoryLimit`, the lowest revisions first.
    pub(super) fn clean_up(&self) {
        let Some(limit) = self.deployment["spec"]["revisionHistoryLimit"].as_i64() else {
            return;
        };
        let mut alive: Vec<&Value> = self.old.iter().filter(|rs| !deleting(rs)).collect();
        alive.sort_by_key(|rs| of(rs));
        let surplus = alive
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for rs in alive.into_iter().take(surplus) {
            let empty = int(rs, "/status/replicas") == 0 && replicas(rs) == 0;
            if empty && generation(rs) <= int(rs, "/status/observedGeneration") {
                // Gone meanwhile: as good.
                let _ = self.ctx.kube.delete(
                    REPLICASETS,
                    namespace(rs),
                    name(rs),
                    Propagation::Background,
                );
            }
        }
    }

    pub(super) async fn say(&self, event: Event<'_>) {
        self.ctx.event(&self.deployment, event).await;
    }
}

/// A template as templates are compared: without the hash, and without fields that say nothing.
fn comparable(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH_LABEL);
    }
    if let Some(meta) = template["metadata"].as_object_mut() {
        meta.remove("creationTimestamp");
        meta.retain(|_, v| v.as_object().is_none_or(|o| !o.is_empty()));
    }
    template
}
