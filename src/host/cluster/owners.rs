//! Who owns an object, and who would put a change back.

use super::super::time::duration;
use super::super::world::RunPort;
use super::act::place;
use crate::cluster::ownership::{Confidence, Manager, Owner, Revert, Reverted, git_patch};
use crate::cluster::{Cluster, Kind};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::journal::{Event, Level};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;
use serde_json::Value;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "owners", words);
}

#[export_module]
mod words {
    /// A change of a cluster-wide object as a patch for the Git repository that it comes from.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: what is to be different; `()` removes.
    ///
    /// Gives YAML: the object's kind and name, and the change, as `kustomize` takes patches. Nothing is
    /// sent. Throws `script` if the server knows no such kind.
    ///
    /// ```rhai
    /// let patch = cluster::git_patch("ns", "shop", #{ metadata: #{ labels: #{ tier: "front" } } });
    /// let read = data::parse_yaml(patch);
    /// assert(read.kind == "Namespace" && read.metadata.labels.tier == "front", patch);
    /// ```
    #[rhai_fn(name = "git_patch", return_raw, volatile)]
    pub fn git_patch(ctx: NativeCallContext, kind: &str, name: &str, change: Map) -> Reply<String> {
        super::patch(&ctx, kind, None, name, change)
    }

    /// A change of an object in a namespace as a patch for the Git repository that it comes from.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `change`: what is to be different; `()` removes.
    ///
    /// Gives and throws as `git_patch(kind, name, change)`.
    ///
    /// ```rhai
    /// let patch = cluster::git_patch("deploy", "shop", "web", #{ spec: #{ replicas: 5 } });
    /// let read = data::parse_yaml(patch);
    /// assert(read.metadata.namespace == "shop" && read.spec.replicas == 5, patch);
    /// ```
    #[rhai_fn(name = "git_patch", return_raw, volatile)]
    pub fn git_patch_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        change: Map,
    ) -> Reply<String> {
        super::patch(&ctx, kind, Some(namespace), name, change)
    }

    /// Who owns a cluster-wide object: who set which fields, and which tools have left their mark.
    ///
    /// kubectl: `kubectl get KIND NAME -o yaml --show-managed-fields`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    ///
    /// Gives `#{managers, tools}`. `managers`: `#{manager, tool, operation, subresource, time, fields}` for each
    /// entry of `managedFields`. `tools`: `#{tool, confidence, source, evidence}` for Argo CD, Config Sync, Flux,
    /// Helm and Kustomize, the surest first; `confidence` is `certain`, `likely` or `possible`; `source` is `()`
    /// or what it manages the object as (an application, a release, a file). Throws `cluster` if the object
    /// does not exist.
    ///
    /// ```rhai
    /// let owners = cluster::owners("ns", "shop");
    /// assert(owners.tools.is_empty() && owners.managers.len() > 0, owners);
    /// ```
    #[rhai_fn(name = "owners", return_raw, volatile)]
    pub fn owners(ctx: NativeCallContext, kind: &str, name: &str) -> Reply<Map> {
        super::owners(&ctx, kind, None, name)
    }

    /// Who owns an object in a namespace: who set which fields, and which tools have left their mark.
    ///
    /// kubectl: `kubectl get KIND NAME -n NAMESPACE -o yaml --show-managed-fields`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Gives and throws as `owners(kind, name)`.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "charted", namespace: "legacy",
    ///     annotations: #{ "meta.helm.sh/release-name": "web" } } });
    /// let tools = cluster::owners("cm", "legacy", "charted").tools;
    /// assert(tools[0].tool == "Helm" && tools[0].source == "release web", tools);
    /// ```
    #[rhai_fn(name = "owners", return_raw, volatile)]
    pub fn owners_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Map> {
        super::owners(&ctx, kind, Some(namespace), name)
    }

    /// Who would put a change of a cluster-wide object back, the surest first.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: what is to be different; `()` removes. What is so already does not count.
    ///
    /// Gives `#{by, confidence, source, fields, when, evidence}` for each: `by` is a tool, or the name of a
    /// field manager; `fields` are the changed ones that it owns, none where it owns the object alone (then it
    /// is only `possible`); `when` is when it would. Throws `cluster` if the object does not exist.
    ///
    /// ```rhai
    /// let found = cluster::reverts("ns", "shop", #{ metadata: #{ labels: #{ tier: "front" } } });
    /// assert(found.is_empty(), found);
    /// ```
    #[rhai_fn(name = "reverts", return_raw, volatile)]
    pub fn reverts(ctx: NativeCallContext, kind: &str, name: &str, change: Map) -> Reply<Array> {
        super::reverts(&ctx, kind, None, name, change)
    }

    /// Who would put a change of an object in a namespace back, the surest first.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `change`: what is to be different; `()` removes. What is so already does not count.
    ///
    /// Gives and throws as `reverts(kind, name, change)`.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "synced", namespace: "legacy",
    ///     annotations: #{ "argocd.argoproj.io/tracking-id": "web:/ConfigMap:legacy/synced" } } });
    /// let found = cluster::reverts("cm", "legacy", "synced", #{ data: #{ a: "1" } });
    /// assert(found[0].by == "Argo CD" && found[0].confidence == "possible", found);
    /// ```
    #[rhai_fn(name = "reverts", return_raw, volatile)]
    pub fn reverts_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        change: Map,
    ) -> Reply<Array> {
        super::reverts(&ctx, kind, Some(namespace), name, change)
    }

    /// Watches whether a change of a cluster-wide object still holds, and tells who put it back.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: what was written.
    /// - `options`: `within`, how many seconds to watch (60).
    ///
    /// Gives `#{reverted, fields, manager, tool, after}`: whether it was put back, in which fields, by which
    /// field manager and which tool that is (`()` if it is none that is known), after how many seconds of
    /// watching. Ends as soon as it was. Throws `cluster` if the object is gone.
    ///
    /// ```rhai
    /// let change = #{ metadata: #{ labels: #{ "kubernetes.io/metadata.name": "shop" } } };
    /// let watched = cluster::watch_revert("ns", "shop", change, #{ within: 0.2 });
    /// assert(!watched.reverted, watched);
    /// ```
    #[rhai_fn(name = "watch_revert", return_raw, volatile)]
    pub fn watch_revert(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        change: Map,
        options: Map,
    ) -> Reply<Map> {
        super::watch(&ctx, kind, None, name, change, options)
    }

    /// Watches whether a change of an object in a namespace still holds, and tells who put it back.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `change`: what was written.
    /// - `options`: `within`, how many seconds to watch (60).
    ///
    /// Gives and throws as `watch_revert(kind, name, change, options)`.
    ///
    /// ```rhai
    /// let watched = cluster::watch_revert("deploy", "shop", "web", #{ spec: #{ replicas: 4 } }, #{ within: 5 });
    /// assert(watched.reverted && watched.fields == ["spec.replicas"], "it has three");
    /// ```
    #[rhai_fn(name = "watch_revert", return_raw, volatile)]
    pub fn watch_revert_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        change: Map,
        options: Map,
    ) -> Reply<Map> {
        super::watch(&ctx, kind, Some(namespace), name, change, options)
    }
}

/// Says, before a write, who would put it back: a tool that owns one of the fields, unless it would only
/// do so when a person acts. What cannot be told is not in the way of the write.
pub(in crate::host) async fn warn_of_reverts(
    port: &dyn RunPort,
    cluster: &Cluster,
    kind: &Kind,
    namespace: Option<&str>,
    name: &str,
    change: &Value,
) {
    let Ok(found) = cluster.reverts(kind, namespace, name, change).await else {
        return;
    };
    for revert in found.iter().filter(|r| r.confidence >= Confidence::Likely) {
        let source = revert.source.as_ref();
        let source = source.map(|s| format!(" ({s})")).unwrap_or_default();
        port.emit(Event::Note {
            level: Level::Warn,
            text: format!(
                "{}: {}{source} owns {} and will put it back {}; change it at its source: cluster::git_patch \
                 gives the patch",
                kind.subject(namespace, Some(name)),
                revert.by,
                revert.fields.join(", "),
                revert.when
            ),
        });
    }
}

fn patch(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    change: Map,
) -> Reply<String> {
    let (world, cluster) = place(ctx)?;
    let change = kit::to_json(&change.into())?;
    let kind = world.wait(cluster.kind(kind))?;
    let patch = git_patch(&kind, namespace, name, &change);
    serde_saphyr::to_string(&patch).map_err(|error| {
        kit::fail(Failure::script(format!(
            "cannot be written as YAML: {error}"
        )))
    })
}

fn owners(ctx: &NativeCallContext, kind: &str, namespace: Option<&str>, name: &str) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let (managers, tools) = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.owners(&kind, namespace, name).await
    })?;
    let managers: Array = managers.iter().map(|m| manager(m).into()).collect();
    let tools: Array = tools.iter().map(|o| owner(o).into()).collect();
    let mut map = Map::new();
    map.insert("managers".into(), managers.into());
    map.insert("tools".into(), tools.into());
    Ok(map)
}

fn reverts(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    change: Map,
) -> Reply<Array> {
    let (world, cluster) = place(ctx)?;
    let change = kit::to_json(&change.into())?;
    let found = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.reverts(&kind, namespace, name, &change).await
    })?;
    Ok(found.iter().map(|r| revert(r).into()).collect())
}

#[derive(Deserialize)]
#[serde(default)]
struct Watch {
    within: f64,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { within: 60.0 }
    }
}

fn watch(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    change: Map,
    options: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let change = kit::to_json(&change.into())?;
    let options: Watch = kit::options("cluster::watch_revert", options, &["within"])?;
    let within = duration("`within`", &options.within.into())?;
    let watched = world.bridge().watch(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .watch_revert(&kind, namespace, name, &change, within)
            .await
    })?;
    Ok(reverted(&watched))
}

fn texts(texts: &[String]) -> Dynamic {
    let array: Array = texts.iter().map(|t| t.clone().into()).collect();
    array.into()
}

fn optional(text: Option<&str>) -> Dynamic {
    text.map_or(Dynamic::UNIT, |t| t.to_owned().into())
}

fn manager(manager: &Manager) -> Map {
    let mut map = Map::new();
    map.insert("manager".into(), manager.name.clone().into());
    map.insert("tool".into(), optional(manager.tool));
    map.insert("operation".into(), manager.operation.clone().into());
    map.insert(
        "subresource".into(),
        optional(manager.subresource.as_deref()),
    );
    map.insert("time".into(), optional(manager.time.as_deref()));
    map.insert("fields".into(), texts(&manager.fields));
    map
}

fn owner(owner: &Owner) -> Map {
    let mut map = Map::new();
    map.insert("tool".into(), owner.tool.into());
    map.insert("confidence".into(), owner.confidence.as_str().into());
    map.insert("source".into(), optional(owner.source.as_deref()));
    map.insert("evidence".into(), texts(&owner.evidence));
    map
}

fn revert(revert: &Revert) -> Map {
    let mut map = Map::new();
    map.insert("by".into(), revert.by.clone().into());
    map.insert("confidence".into(), revert.confidence.as_str().into());
    map.insert("source".into(), optional(revert.source.as_deref()));
    map.insert("fields".into(), texts(&revert.fields));
    map.insert("when".into(), revert.when.into());
    map.insert("evidence".into(), texts(&revert.evidence));
    map
}

fn reverted(reverted: &Reverted) -> Map {
    let mut map = Map::new();
    map.insert("reverted".into(), (!reverted.fields.is_empty()).into());
    map.insert("fields".into(), texts(&reverted.fields));
    map.insert("manager".into(), optional(reverted.manager.as_deref()));
    map.insert("tool".into(), optional(reverted.tool));
    map.insert("after".into(), reverted.after.as_secs_f64().into());
    map
}
