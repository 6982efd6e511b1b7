//! `workload::…`: what rolls out: Deployments, StatefulSets, DaemonSets.

use super::cluster::{place, shown, written};
use super::time::duration;
use crate::cluster::{Blocked, Cluster, ClusterError, Object, Rollout, Selector};
use crate::engine::kit::{self, Reply};
use crate::journal::{Event, Level};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;
use std::time::Duration;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("workload", rhai::exported_module!(words).into());
}

/// What rolls out: Deployments, StatefulSets, DaemonSets.
#[export_module]
mod words {
    /// The Deployments, StatefulSets and DaemonSets of a namespace, in this order, each by name.
    ///
    /// - `namespace`: where.
    ///
    /// Gives `#{kind, namespace, name, object}` for each. Throws `cluster` if they may not be read.
    ///
    /// ```rhai
    /// let names = workload::list("shop").map(|w| `${w.kind}/${w.name}`);
    /// assert(names == ["Deployment/web", "StatefulSet/cart", "DaemonSet/agent"], names);
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list(ctx: NativeCallContext, namespace: &str) -> Reply<Array> {
        super::list(&ctx, Some(namespace))
    }

    /// The Deployments, StatefulSets and DaemonSets of all namespaces.
    ///
    /// Gives `#{kind, namespace, name, object}` for each. Throws `cluster` if they may not be read.
    ///
    /// ```rhai
    /// assert(workload::list().some(|w| w.namespace == "pay" && w.name == "api"), "among them");
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_everywhere(ctx: NativeCallContext) -> Reply<Array> {
        super::list(&ctx, None)
    }

    /// Restarts a workload as `kubectl rollout restart` does; each call restarts it.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{outcome, summary, object}`. Throws `cluster` if it does not exist, `script` if it is
    /// paused, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = workload::restart("deploy", "legacy", "batch");
    /// assert(done.summary == "deployment.apps/batch restarted", done.summary);
    /// workload::wait("deploy", "legacy", "batch", #{ timeout: 60 });
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn restart(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        let (world, cluster) = place(&ctx)?;
        written(world.wait(async {
            let kind = cluster.kind(kind).await?;
            cluster.restart(&kind, Some(namespace), name).await
        })?)
    }

    /// How far the rollout of a workload is, as `kubectl rollout status` judges it.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{done, message, blocked, note}`; `blocked` is `()` or `#{reason, object, detail}`, what
    /// stands in the way; `note` is `()` or what is not as one might think, such as pods that a
    /// partition keeps. Throws `cluster` if it does not exist.
    ///
    /// ```rhai
    /// let status = workload::rollout_status("statefulset", "shop", "cart");
    /// assert(status.done && status.blocked == (), status.message);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn rollout_status(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Map> {
        let (world, cluster) = place(&ctx)?;
        let rollout = world.wait(async {
            let kind = cluster.kind(kind).await?;
            cluster.rollout(&kind, Some(namespace), name).await
        })?;
        Ok(super::status(&rollout))
    }

    /// Waits until the rollout of a workload is done, for ten minutes at most.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives what `rollout_status` gives. Throws `cluster` when it is blocked or the time is up, with
    /// what stands in the way.
    ///
    /// ```rhai
    /// let status = workload::wait("Deployment", "shop", "web");
    /// assert(status.message == `deployment "web" successfully rolled out`, status.message);
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        super::wait(&ctx, kind, namespace, name, Map::new())
    }

    /// As `wait(kind, namespace, name)`, with options.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    /// - `options`: `timeout`, seconds (600).
    ///
    /// Gives and throws as `wait(kind, namespace, name)`.
    ///
    /// ```rhai
    /// assert(workload::wait("ds", "pay", "audit", #{ timeout: 60 }).done, "it runs");
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        options: Map,
    ) -> Reply<Map> {
        super::wait(&ctx, kind, namespace, name, options)
    }
}

fn list(ctx: &NativeCallContext, namespace: Option<&str>) -> Reply<Array> {
    let (world, cluster) = place(ctx)?;
    let objects = world.wait(all(&cluster, namespace))?;
    let entry = |object: &Object| {
        let mut map = Map::new();
        map.insert("kind".into(), object.kind().into());
        map.insert("namespace".into(), object.namespace().unwrap_or("").into());
        map.insert("name".into(), object.name().into());
        map.insert("object".into(), shown(object));
        map.into()
    };
    Ok(objects.iter().map(entry).collect())
}

async fn all(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Object>, ClusterError> {
    let mut objects = Vec::new();
    for kind in ["deployments.apps", "statefulsets.apps", "daemonsets.apps"] {
        let kind = cluster.kind(kind).await?;
        objects.extend(cluster.list(&kind, namespace, &Selector::all()).await?);
    }
    Ok(objects)
}

#[derive(Deserialize)]
#[serde(default)]
struct Wait {
    timeout: f64,
}

impl Default for Wait {
    fn default() -> Wait {
        Wait { timeout: 600.0 }
    }
}

fn wait(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: &str,
    name: &str,
    options: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let options: Wait = kit::options("workload::wait", options, &["timeout"])?;
    let limit: Duration = duration("`timeout`", &options.timeout.into())?;
    let port = world.shared_port();
    let mut told: Option<Blocked> = None;
    let mut changed = |rollout: &Rollout| {
        // Progress is no news; what stands in the way is, once.
        if let Some(blocked) = &rollout.blocked
            && told.as_ref().map(|b| &b.reason) != Some(&blocked.reason)
        {
            port.emit(Event::Note {
                level: Level::Warn,
                text: format!("rollout of `{name}` in namespace `{namespace}`: {blocked}"),
            });
            told = Some(blocked.clone());
        }
    };
    let rollout = world.bridge().watch(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .watch_rollout(&kind, Some(namespace), name, limit, &mut changed)
            .await
    })?;
    Ok(status(&rollout))
}

fn status(rollout: &Rollout) -> Map {
    let text = |text: &str| -> Dynamic { text.to_owned().into() };
    let blocked = rollout.blocked.as_ref().map_or(Dynamic::UNIT, |b| {
        let mut map = Map::new();
        map.insert("reason".into(), text(&b.reason));
        map.insert("object".into(), text(&b.object));
        map.insert("detail".into(), text(&b.detail));
        map.into()
    });
    let mut map = Map::new();
    map.insert("done".into(), rollout.done.into());
    map.insert("message".into(), text(&rollout.message));
    map.insert("blocked".into(), blocked);
    map.insert(
        "note".into(),
        rollout.note.as_deref().map_or(Dynamic::UNIT, text),
    );
    map
}
