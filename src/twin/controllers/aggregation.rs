//! ClusterRoles with an aggregation rule: their rules are those of the ClusterRoles that it selects.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use super::context::Ctx;
use super::manager::{Controller, Key, Outcome};
use super::objects::{array, name, selects};
use super::snapshot::{Snapshot, sum};

const NAME: &str = "clusterrole-aggregation-controller";
const RESOURCE: &str = "clusterroles.rbac.authorization.k8s.io";

/// Reconciles aggregated ClusterRoles.
pub struct Aggregation;

impl Controller for Aggregation {
    fn name(&self) -> &'static str {
        NAME
    }

    fn work(&self, world: &Snapshot, _ctx: &Ctx) -> Vec<(Key, u64)> {
        let roles = world.list(RESOURCE);
        let all = sum(roles);
        let aggregated = roles.iter().filter(|r| r["aggregationRule"].is_object());
        aggregated.map(|r| (Key::of(r), all)).collect()
    }

    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let Some(role) = ctx.kube.get(RESOURCE, "", &key.name) else {
                return Outcome::Done;
            };
            let rules = rules(&ctx, &role);
            if role["rules"] != rules {
                // Gone meanwhile: nothing to write.
                let _ = ctx
                    .kube
                    .update(RESOURCE, "", &key.name, |r| r["rules"] = rules.clone());
            }
            Outcome::Done
        })
    }
}

/// The rules of the selected roles, each once, in the order of the selectors and of the names.
fn rules(ctx: &Ctx, role: &Value) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    for selector in array(role, "/aggregationRule/clusterRoleSelectors") {
        for part in ctx.kube.list(RESOURCE, None) {
            if name(&part) == name(role) || !selects(selector, &part["metadata"]["labels"]) {
                continue;
            }
            for rule in array(&part, "/rules") {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules.into()
}
