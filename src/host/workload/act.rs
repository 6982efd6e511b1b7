//! Words that restart, undo, pause and wait.

use super::super::cluster::{place, warn_of_reverts, written};
use super::super::time::duration;
use super::{status, teller};
use crate::cluster::workload::restart_change;
use crate::engine::kit::{self, Reply};
use rhai::Map;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use serde::Deserialize;
use std::time::Duration;

/// Adds the words to the module `workload`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "act", words);
}

#[export_module]
mod words {
    /// Pauses a Deployment: changes of its template are not rolled out until it is resumed.
    ///
    /// kubectl: `kubectl rollout pause deployment/NAME -n NAMESPACE`
    ///
    /// - `kind`: `Deployment`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{outcome, summary, object}`; `outcome` is `unchanged` if it was paused already. Throws
    /// `cluster` if it does not exist, `script` for other kinds.
    ///
    /// ```rhai
    /// let done = workload::pause("deploy", "legacy", "batch");
    /// assert(done.summary == "deployment.apps/batch paused", done.summary);
    /// assert(workload::pause("deploy", "legacy", "batch").outcome == "unchanged", "it is");
    /// workload::resume("deploy", "legacy", "batch");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn pause(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        super::set_paused(&ctx, kind, namespace, name, true)
    }

    /// Restarts a workload as `kubectl rollout restart` does; each call restarts it.
    ///
    /// kubectl: `kubectl rollout restart KIND/NAME -n NAMESPACE`
    ///
    /// Whoever would put the restart back (a tool that owns the template's annotation) is told before as
    /// a warning. To restart many within their PodDisruptionBudgets, see `restart_in_waves`.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{outcome, summary, object}`. Throws `cluster` if it does not exist, `script` if it is
    /// paused or has the strategy OnDelete, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = workload::restart("deploy", "legacy", "batch");
    /// assert(done.summary == "deployment.apps/batch restarted", done.summary);
    /// workload::wait("deploy", "legacy", "batch", #{ timeout: 60 });
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn restart(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        let (world, cluster) = place(&ctx)?;
        let port = world.shared_port();
        written(world.wait(async {
            let kind = cluster.kind(kind).await?;
            let change = restart_change();
            warn_of_reverts(&*port, &cluster, &kind, Some(namespace), name, &change).await;
            cluster.restart(&kind, Some(namespace), name).await
        })?)
    }

    /// Resumes a Deployment that is paused: what was changed meanwhile is rolled out.
    ///
    /// kubectl: `kubectl rollout resume deployment/NAME -n NAMESPACE`
    ///
    /// - `kind`: `Deployment`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives and throws as `pause`.
    ///
    /// ```rhai
    /// let done = workload::resume("deploy", "legacy", "batch");
    /// assert(done.outcome == "unchanged", done.summary);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn resume(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        super::set_paused(&ctx, kind, namespace, name, false)
    }

    /// Gives a workload the template that it had before the last.
    ///
    /// kubectl: `kubectl rollout undo KIND/NAME -n NAMESPACE`
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{outcome, summary, object}`; `outcome` is `unchanged` if it has that template already.
    /// Throws `cluster` if it does not exist, `script` if it is paused or has no such revision,
    /// `refused` if a gate says no.
    ///
    /// ```rhai
    /// workload::restart("deploy", "legacy", "batch");
    /// wait_until("the revision of the restart", || workload::history("deploy", "legacy", "batch").len() > 1);
    /// let done = workload::undo("deploy", "legacy", "batch");
    /// assert(done.summary == "deployment.apps/batch rolled back", done.summary);
    /// ```
    #[rhai_fn(name = "undo", return_raw, volatile)]
    pub fn undo(ctx: NativeCallContext, kind: &str, namespace: &str, name: &str) -> Reply<Map> {
        super::undo(&ctx, kind, namespace, name, Map::new())
    }

    /// As `undo(kind, namespace, name)`, with options.
    ///
    /// kubectl: `kubectl rollout undo KIND/NAME -n NAMESPACE --to-revision=N`
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    /// - `options`: `to_revision`, a number that `history` names (the one before the last).
    ///
    /// Gives and throws as `undo(kind, namespace, name)`.
    ///
    /// ```rhai
    /// let now = workload::history("sts", "shop", "cart").find(|r| r.current);
    /// let done = workload::undo("sts", "shop", "cart", #{ to_revision: now.revision });
    /// assert(done.outcome == "unchanged", done.summary);
    /// ```
    #[rhai_fn(name = "undo", return_raw, volatile)]
    pub fn undo_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        options: Map,
    ) -> Reply<Map> {
        super::undo(&ctx, kind, namespace, name, options)
    }

    /// Waits until the rollout of a workload is done, for ten minutes at most.
    ///
    /// kubectl: `kubectl rollout status KIND/NAME -n NAMESPACE`
    ///
    /// - `kind`: as `rollout_status` takes it.
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
    /// kubectl: `kubectl rollout status KIND/NAME -n NAMESPACE --timeout=60s`
    ///
    /// - `kind`: as `rollout_status` takes it.
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

fn set_paused(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: &str,
    name: &str,
    paused: bool,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    written(world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.set_paused(&kind, namespace, name, paused).await
    })?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Undo {
    to_revision: Option<i64>,
}

fn undo(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: &str,
    name: &str,
    options: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let options: Undo = kit::options("workload::undo", options, &["to_revision"])?;
    written(world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .undo(&kind, namespace, name, options.to_revision)
            .await
    })?)
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
    let mut changed = teller(&*port, namespace, name);
    let rollout = world.bridge().watch(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .watch_rollout(&kind, Some(namespace), name, limit, &mut changed)
            .await
    })?;
    Ok(status(&rollout))
}
