//! Who controls what: adopting orphans that a selector selects, letting go of what it no longer does.
//!
//! The rules of `controller_ref_manager.go` of kube-controller-manager: only an owner that is not being
//! deleted adopts, and only what is not being deleted.

use std::sync::Arc;

use serde_json::Value;

use super::context::Ctx;
use super::objects::{
    add_owner, controller, controller_ref, controller_uid, deleting, name, namespace, remove_owner,
    selects, uid,
};

/// The objects of a resource that `owner` controls now, after adoption and release by its `spec.selector`.
pub fn claim(ctx: &Ctx, resource: &str, owner: &Value) -> Vec<Arc<Value>> {
    let mut claimed = Vec::new();
    for object in ctx.kube.list(resource, Some(namespace(owner))) {
        let matches = selects(&owner["spec"]["selector"], &object["metadata"]["labels"]);
        if controller_uid(&object) == uid(owner) {
            if matches {
                claimed.push(object);
            } else if !deleting(owner) {
                release(ctx, resource, owner, &object);
            }
        } else if matches
            && controller(&object).is_none()
            && !deleting(owner)
            && !deleting(&object)
            && let Some(adopted) = adopt(ctx, resource, owner, &object)
        {
            claimed.push(adopted);
        }
    }
    claimed
}

fn adopt(ctx: &Ctx, resource: &str, owner: &Value, orphan: &Value) -> Option<Arc<Value>> {
    let reference = controller_ref(owner);
    let adopted = ctx
        .kube
        .update(resource, namespace(orphan), name(orphan), |o| {
            if uid(o) == uid(orphan) && controller(o).is_none() && !deleting(o) {
                add_owner(o, reference.clone());
            }
        })
        .ok()?;
    (controller_uid(&adopted) == uid(owner)).then_some(adopted)
}

fn release(ctx: &Ctx, resource: &str, owner: &Value, object: &Value) {
    // Gone meanwhile: as good as released.
    let _ = ctx
        .kube
        .update(resource, namespace(object), name(object), |o| {
            if uid(o) == uid(object) {
                remove_owner(o, uid(owner));
            }
        });
}
