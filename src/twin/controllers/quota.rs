//! ResourceQuotas: how much of them is used. They are kept where objects are created.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{name, namespace, object_at, uid, version};
use super::snapshot::{Snapshot, sum};
use crate::twin::kube::quota;

const NAME: &str = "resourcequota-controller";
const RESOURCE: &str = "resourcequotas";

/// Reconciles ResourceQuotas.
pub struct Quotas;

impl Controller for Quotas {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, ctx: &Ctx) -> Vec<(Key, u64)> {
        let all = world.list(RESOURCE).iter();
        all.map(|quota| {
            let counted = quota::resources(&quota["spec"]["hard"])
                .map(|resource| sum(&ctx.kube.list(resource, Some(namespace(quota)))))
                .fold(version(quota), u64::wrapping_add);
            (Key::of(quota), counted)
        })
        .collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let Some(quota) = ctx.kube.get(RESOURCE, &key.namespace, &key.name) else {
                return Outcome::Done;
            };
            let hard = quota["spec"]["hard"].clone();
            let used = quota::used(&ctx.kube, &key.namespace, &hard);
            // Gone meanwhile: nothing to write.
            let _ = ctx
                .kube
                .update_status(RESOURCE, &key.namespace, name(&quota), |o| {
                    if uid(o) == uid(&quota) {
                        let status = object_at(o, "status");
                        status.insert("hard".to_owned(), hard.clone());
                        status.insert("used".to_owned(), used.clone());
                    }
                });
            Outcome::Done
        })
    }
}
