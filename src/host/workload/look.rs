//! Words that only read.

use super::super::cluster::{place, shown};
use crate::cluster::Object;
use crate::cluster::workload::{Finding, Load, Revision, Workload};
use crate::engine::kit::{self, Reply};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;

/// Adds the words to the module `workload`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "look", words);
}

#[export_module]
mod words {
    /// The templates that a workload has and had, oldest first, as far as they are kept.
    ///
    /// kubectl: `kubectl rollout history KIND/NAME -n NAMESPACE`
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{revision, change_cause, current, template, object}` for each: its number, why it came to
    /// be if somebody said so, whether it is the template now, the template, and the ReplicaSet or
    /// ControllerRevision that keeps it. Throws `cluster` if the workload does not exist, `script` for
    /// other kinds.
    ///
    /// ```rhai
    /// let history = workload::history("statefulset", "shop", "cart");
    /// assert(history.len() >= 1 && history[-1].current, history.len());
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn history(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Array> {
        let (world, cluster) = place(&ctx)?;
        let history = world.wait(async {
            let kind = cluster.kind(kind).await?;
            cluster.history(&kind, namespace, name).await
        })?;
        Ok(history.iter().map(|r| super::revision(r).into()).collect())
    }

    /// The Deployments, StatefulSets and DaemonSets of all namespaces, in this order, each by name.
    ///
    /// kubectl: `kubectl get deployments,statefulsets,daemonsets -A`
    ///
    /// Gives for each `#{kind, namespace, name, object, pods, restart, reason, controlled_by}`: `pods` is
    /// `#{desired, ready, updated}`; `restart` tells how its pods are made anew (`rollout`; `recreate`, by
    /// a rollout that first takes all away; `delete_pods`, when they are deleted; `next_run`; `none`) and
    /// `reason` why so; `controlled_by` is `()` or what controls it in turn, such as `Prometheus/k8s`.
    /// Throws `cluster` if they may not be read.
    ///
    /// ```rhai
    /// assert(workload::list().some(|w| w.namespace == "pay" && w.name == "api"), "among them");
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_everywhere(ctx: NativeCallContext) -> Reply<Array> {
        super::list(&ctx, None, Map::new())
    }

    /// The Deployments, StatefulSets and DaemonSets of a namespace, in this order, each by name.
    ///
    /// kubectl: `kubectl get deployments,statefulsets,daemonsets -n NAMESPACE`
    ///
    /// - `namespace`: where.
    ///
    /// Gives and throws as `list()`; `cluster` also if there is no such namespace.
    ///
    /// ```rhai
    /// let names = workload::list("shop").map(|w| `${w.kind}/${w.name}`);
    /// assert(names == ["Deployment/web", "StatefulSet/cart", "DaemonSet/agent"], names);
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list(ctx: NativeCallContext, namespace: &str) -> Reply<Array> {
        super::list(&ctx, Some(namespace), Map::new())
    }

    /// As `list()`, with options.
    ///
    /// - `options`: `all`, whether everything that has pods is wanted (`false`): then also ReplicaSets,
    ///   CronJobs and Jobs that none of these control, owners of other kinds (an Argo `Rollout`), found by
    ///   walking up from the pods, and pods without a controller that have not ended.
    ///
    /// Gives and throws as `list()`; `object` is `()` where the kind of an owner cannot be read, and
    /// `pods.updated` is `()` where nobody tells it.
    ///
    /// ```rhai
    /// let all = workload::list(#{ all: true });
    /// assert(all.len() >= workload::list().len(), "at least those");
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_everywhere_with(ctx: NativeCallContext, options: Map) -> Reply<Array> {
        super::list(&ctx, None, options)
    }

    /// As `list(namespace)`, with options.
    ///
    /// - `namespace`: where.
    /// - `options`: as for `list(options)`.
    ///
    /// Gives and throws as `list(options)`.
    ///
    /// ```rhai
    /// let web = workload::list("shop", #{ all: true }).find(|w| w.name == "web");
    /// assert(web.restart == "rollout" && web.pods.desired == 3, web.reason);
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_with(ctx: NativeCallContext, namespace: &str, options: Map) -> Reply<Array> {
        super::list(&ctx, Some(namespace), options)
    }

    /// The workload that a pod belongs to: the topmost of its controllers, of whatever kind.
    ///
    /// - `namespace`: where the pod is.
    /// - `pod`: its name.
    ///
    /// Gives what `list` gives for one, and `chain`: the controllers from the pod upwards. A pod without
    /// a controller is its own workload. Throws `cluster` if the pod does not exist.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "shop", labels: "app=web" })[0];
    /// let owner = workload::of_pod("shop", pod.metadata.name);
    /// assert(`${owner.kind}/${owner.name}` == "Deployment/web" && owner.chain.len() == 2, owner.chain);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn of_pod(ctx: NativeCallContext, namespace: &str, pod: &str) -> Reply<Map> {
        let (world, cluster) = place(&ctx)?;
        let (workload, chain) = world.wait(cluster.workload_of_pod(namespace, pod))?;
        let mut map = super::entry(&workload);
        let chain: Array = chain.into_iter().map(Into::into).collect();
        map.insert("chain".into(), chain.into());
        Ok(map)
    }

    /// What would go wrong in a restart of any Deployment, StatefulSet or DaemonSet of a namespace.
    ///
    /// - `namespace`: where.
    ///
    /// Gives and throws as `restart_findings(kind, namespace, name)`; `cluster` also if there is no such namespace.
    ///
    /// ```rhai
    /// let codes = workload::restart_findings("shop").map(|f| f.code);
    /// assert("WL005" in codes, codes);
    /// ```
    #[rhai_fn(name = "restart_findings", return_raw, volatile)]
    pub fn restart_findings_in(ctx: NativeCallContext, namespace: &str) -> Reply<Array> {
        let (world, cluster) = place(&ctx)?;
        let found = world.wait(cluster.restart_findings_in(namespace))?;
        Ok(found.iter().map(|f| super::finding(f).into()).collect())
    }

    /// What would go wrong in a restart of a workload, before anything is done.
    ///
    /// The codes are: `WL001` paused; `WL002` strategy Recreate; `WL003` a volume that only one pod or node
    /// can hold, beside a surge; `WL004` a host port that no node has free for the surge; `WL005` a container
    /// without readiness probe; `WL006` one replica that goes before the new one comes; `WL007` no room on
    /// the nodes for the surge; `WL008` none in a ResourceQuota; `WL009` a HorizontalPodAutoscaler at its
    /// maximum; `WL010` a PodDisruptionBudget that allows less than the restart takes away; `WL011` all pods
    /// may be away together; `WL012` grace period 0; `WL013` strategy OnDelete; `WL014` a partition; `WL015`
    /// not done with what was before.
    ///
    /// - `kind`: `Deployment`, `StatefulSet` or `DaemonSet`, as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{code, severity, workload, object, detail, hint}` for each: `severity` is `unsafe` (it would be
    /// felt, or would hang), `warn`, or `unknown` (it could not be judged, so it is not known to be safe).
    /// Throws `cluster` if the workload does not exist.
    ///
    /// ```rhai
    /// let found = workload::restart_findings("deploy", "shop", "web");
    /// assert(!found.some(|f| f.severity == "unsafe"), found);
    /// ```
    #[rhai_fn(name = "restart_findings", return_raw, volatile)]
    pub fn restart_findings(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Array> {
        let (world, cluster) = place(&ctx)?;
        let found = world.wait(async {
            let kind = cluster.kind(kind).await?;
            cluster.restart_findings(&kind, namespace, name).await
        })?;
        Ok(found.iter().map(|f| super::finding(f).into()).collect())
    }

    /// What a restart of each Deployment, StatefulSet and DaemonSet of a namespace needs for a moment.
    ///
    /// - `namespace`: where.
    ///
    /// Gives `#{workload, pods, beside, at_once, asks}` for each: `workload` as `restart_findings` has it, `pods` that it
    /// wants, how many new ones are made `beside` those, how many may come up `at_once`, and what each of them `asks` of
    /// its node, with the proxy as the newest pod has it (`cpu 110m, memory 168Mi`, or empty). Throws `cluster` if there
    /// is no such namespace, or if they may not be read.
    ///
    /// ```rhai
    /// let web = workload::restart_load("shop").find(|w| w.workload == "deployment.apps/shop/web");
    /// assert(web.pods == 3 && web.beside == 1 && web.at_once == 1, web);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn restart_load(ctx: NativeCallContext, namespace: &str) -> Reply<Array> {
        let (world, cluster) = place(&ctx)?;
        let found = world.wait(cluster.restart_load(namespace))?;
        Ok(found.iter().map(|l| super::load(l).into()).collect())
    }

    /// How far the rollout of a workload is, as `kubectl rollout status` judges it, and what blocks it.
    ///
    /// kubectl: `kubectl rollout status KIND/NAME -n NAMESPACE --watch=false`
    ///
    /// - `kind`: `Deployment`, `StatefulSet`, `DaemonSet`; or `Job`, done when it is complete; or `Pod`,
    ///   done when it is ready or has ended well.
    /// - `namespace`: where it is.
    /// - `name`: which.
    ///
    /// Gives `#{done, message, blocked, note}`; `blocked` is `()` or `#{reason, object, detail}`, what
    /// stands in the way: `FailedCreate` (quota, webhook, admission), `Unschedulable`,
    /// `PersistentVolumeClaim`, `ImagePullBackOff`, `CrashLoopBackOff`, `NotReady`, `Terminating`, `Paused`,
    /// `OnDelete`, `ProgressDeadlineExceeded`, `JobFailed`, `PodFailed`, `Suspended` and the like; `note` is
    /// `()` or what is not as one might think, such as pods that a partition keeps. Throws `cluster` if it
    /// does not exist, `script` for other kinds.
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
        Ok(super::super::status(&rollout))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Which {
    all: bool,
}

fn list(ctx: &NativeCallContext, namespace: Option<&str>, options: Map) -> Reply<Array> {
    let (world, cluster) = place(ctx)?;
    let which: Which = kit::options("workload::list", options, &["all"])?;
    let found = world.wait(cluster.workloads(namespace, which.all))?;
    Ok(found.iter().map(|w| entry(w).into()).collect())
}

fn entry(workload: &Workload) -> Map {
    let mut pods = Map::new();
    pods.insert("desired".into(), workload.pods.desired.into());
    pods.insert("ready".into(), workload.pods.ready.into());
    pods.insert(
        "updated".into(),
        workload.pods.updated.map_or(Dynamic::UNIT, Into::into),
    );
    let object: Option<&Object> = workload.object.as_ref();
    let by = workload.controlled_by.clone();
    let mut map = Map::new();
    map.insert("kind".into(), workload.kind.clone().into());
    map.insert("namespace".into(), workload.namespace.clone().into());
    map.insert("name".into(), workload.name.clone().into());
    map.insert("object".into(), object.map_or(Dynamic::UNIT, shown));
    map.insert("pods".into(), pods.into());
    map.insert("restart".into(), workload.restart.as_str().into());
    map.insert("reason".into(), workload.reason.clone().into());
    map.insert("controlled_by".into(), by.map_or(Dynamic::UNIT, Into::into));
    map
}

fn revision(revision: &Revision) -> Map {
    let cause = revision.change_cause.clone();
    let mut map = Map::new();
    map.insert("revision".into(), revision.number.into());
    map.insert(
        "change_cause".into(),
        cause.map_or(Dynamic::UNIT, Into::into),
    );
    map.insert("current".into(), revision.current.into());
    map.insert("template".into(), kit::to_dynamic(&revision.template));
    map.insert("object".into(), shown(&revision.object));
    map
}

fn load(load: &Load) -> Map {
    let mut map = Map::new();
    map.insert("workload".into(), load.workload.clone().into());
    map.insert("pods".into(), load.pods.into());
    map.insert("beside".into(), load.beside.into());
    map.insert("at_once".into(), load.at_once.into());
    map.insert("asks".into(), load.asks.clone().into());
    map
}

fn finding(finding: &Finding) -> Map {
    let mut map = Map::new();
    map.insert("code".into(), finding.code.into());
    map.insert("severity".into(), finding.severity.as_str().into());
    map.insert("workload".into(), finding.workload.clone().into());
    map.insert("object".into(), finding.object.clone().into());
    map.insert("detail".into(), finding.detail.clone().into());
    map.insert("hint".into(), finding.hint.into());
    map
}
