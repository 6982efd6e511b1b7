//! ControllerRevisions: the templates that a StatefulSet or DaemonSet had.

use std::sync::Arc;

use serde_json::{Value, json};

use super::context::Ctx;
use super::naming::template_hash;
use super::objects::{
    annotation, controller_ref, controller_uid, int, label, name, namespace, uid,
};
use super::ownership::claim;
use super::pods::set_annotation;
use crate::twin::kube::Propagation;

pub const RESOURCE: &str = "controllerrevisions.apps";

/// The hash of a revision; for a DaemonSet also the label of its pods.
pub const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The label of a pod that names its revision.
pub const POD_LABEL: &str = "controller-revision-hash";

/// The revisions of an owner, oldest first, the one of its present template last.
pub struct History {
    pub revisions: Vec<Arc<Value>>,
    /// `status.collisionCount` after this.
    pub collisions: i64,
}

impl History {
    /// The revision of the present template.
    pub fn update(&self) -> Option<&Arc<Value>> {
        self.revisions.last()
    }

    /// The revision with a name.
    pub fn named(&self, wanted: &str) -> Option<&Arc<Value>> {
        self.revisions.iter().find(|r| name(r) == wanted)
    }
}

/// Reads the revisions of an owner and sees to it that the last one is of its present template: an equal
/// one is renumbered, else one is created. `hash_label` is put on it besides the owner's labels.
///
/// # Errors
/// It could not be created.
pub async fn sync(ctx: &Ctx, owner: &Value, hash_label: &str) -> Result<History, String> {
    let mut revisions = claim(ctx, RESOURCE, owner);
    sort(&mut revisions);
    let data = data_of(owner);
    let mut collisions = int(owner, "/status/collisionCount");
    let next = revisions.last().map_or(1, |r| int(r, "/revision") + 1);
    if let Some(at) = revisions.iter().rposition(|r| r["data"] == data) {
        if at + 1 != revisions.len() {
            let equal = revisions.remove(at);
            let renumbered = ctx
                .kube
                .update(RESOURCE, namespace(owner), name(&equal), |r| {
                    r["revision"] = next.into();
                })
                .map_err(|status| status.message)?;
            revisions.push(renumbered);
        }
        return Ok(History {
            revisions,
            collisions,
        });
    }
    loop {
        let draft = draft(owner, &data, next, collisions, hash_label);
        let draft_name = name(&draft).to_owned();
        match ctx.kube.create(RESOURCE, namespace(owner), draft).await {
            Ok(created) => {
                revisions.push(created);
                return Ok(History {
                    revisions,
                    collisions,
                });
            }
            Err(status) if status.reason == Some("AlreadyExists") => {
                let taken = ctx.kube.get(RESOURCE, namespace(owner), &draft_name);
                match taken {
                    Some(r) if r["data"] == data && controller_uid(&r) == uid(owner) => {
                        revisions.push(r);
                        return Ok(History {
                            revisions,
                            collisions,
                        });
                    }
                    _ => collisions += 1,
                }
            }
            Err(status) => return Err(status.message),
        }
    }
}

/// Deletes old revisions beyond `spec.revisionHistoryLimit` that no pod (`live`) has.
pub fn truncate(ctx: &Ctx, owner: &Value, history: &History, live: &[String]) {
    let limit = owner["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10);
    let last = history.update().map_or("", |r| name(r));
    let is_live = |r: &Value| {
        live.iter()
            .any(|l| l == name(r) || l == label(r, HASH_LABEL))
            || name(r) == last
    };
    let old: Vec<&Arc<Value>> = history.revisions.iter().filter(|r| !is_live(r)).collect();
    let surplus = old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in old.into_iter().take(surplus) {
        // Gone meanwhile: as good.
        let _ = ctx.kube.delete(
            RESOURCE,
            namespace(owner),
            name(revision),
            Propagation::Background,
        );
    }
}

/// The owner's template as a revision holds it: a patch that replaces the template.
fn data_of(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The owner's template as it was in a revision.
pub fn template_of(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(template) = template.as_object_mut() {
        template.remove("$patch");
    }
    template
}

fn draft(owner: &Value, data: &Value, revision: i64, collisions: i64, hash_label: &str) -> Value {
    let hash = template_hash(data, collisions);
    let mut labels = owner["spec"]["template"]["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[hash_label] = hash.clone().into();
    let mut draft = json!({
        "metadata": {
            "name": format!("{}-{hash}", name(owner)), "namespace": namespace(owner),
            "labels": labels, "ownerReferences": [controller_ref(owner)],
        },
        "data": data, "revision": revision,
    });
    if let Some(own) = owner["metadata"]["annotations"].as_object() {
        for key in own.keys() {
            if let Some(value) = annotation(owner, key) {
                set_annotation(&mut draft, key, value);
            }
        }
    }
    draft
}

fn sort(revisions: &mut [Arc<Value>]) {
    revisions.sort_by_key(|r| (int(r, "/revision"), name(r).to_owned()));
}
