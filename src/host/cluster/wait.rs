//! Words that wait until objects are as they should be, or watch them change.

use super::super::time::duration;
use super::act::{place, shown};
use crate::cluster::{ClusterError, Condition, Query, Selector, Since};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};
use serde::Deserialize;
use std::time::Duration;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "wait", words);
}

#[export_module]
mod words {
    /// Waits until a cluster-wide object is as it should be, for 30 seconds at most, and gives it.
    ///
    /// kubectl: `kubectl wait KIND/NAME --for CONDITION`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `condition`: in kubectl's notation: `condition=Ready`, `condition=Available=false`,
    ///   `jsonpath={.status.phase}=Running` or just `.status.phase=Running`, a path alone for a field that
    ///   is there, `create`, or `delete`, which gives `()`.
    ///
    /// It watches, and does not ask again and again. Throws `cluster` at once if the object does not exist
    /// (unless for `create` or `delete`) or can never become so; (retryable) when the time is up, with what
    /// was seen last and what stands in the way; `script` if the condition cannot be read.
    ///
    /// ```rhai
    /// let ns = cluster::wait("namespace", "shop", ".status.phase=Active");
    /// assert(ns.metadata.name == "shop", ns);
    /// assert(cluster::wait("namespace", "nowhere", "delete") == (), "it is not there");
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait(ctx: NativeCallContext, kind: &str, name: &str, condition: &str) -> Reply<Dynamic> {
        super::wait(&ctx, kind, None, name, condition, Map::new())
    }

    /// As `wait(kind, name, condition)`, with options.
    ///
    /// kubectl: `kubectl wait KIND/NAME --for CONDITION --timeout TIMEOUT`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `condition`: as for `wait(kind, name, condition)`.
    /// - `options`: `timeout`, seconds (30); 0 looks once.
    ///
    /// Gives and throws as `wait(kind, name, condition)`.
    ///
    /// ```rhai
    /// try {
    ///     cluster::wait("namespace", "shop", ".status.phase=Terminating", #{ timeout: 0.1 });
    ///     assert(false, "nobody deletes it");
    /// } catch (e) {
    ///     assert(e.retryable && e.message.contains("`.status.phase` is `Active`"), e);
    /// }
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait_with(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        condition: &str,
        options: Map,
    ) -> Reply<Dynamic> {
        super::wait(&ctx, kind, None, name, condition, options)
    }

    /// Waits until an object in a namespace is as it should be, for 30 seconds at most, and gives it.
    ///
    /// kubectl: `kubectl wait KIND/NAME --namespace NS --for CONDITION`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `condition`: as for `wait(kind, name, condition)`.
    ///
    /// Gives and throws as `wait(kind, name, condition)`.
    ///
    /// ```rhai
    /// let web = cluster::wait("deploy", "shop", "web", "condition=Available");
    /// assert(web.metadata.name == "web", web);
    /// try {
    ///     cluster::wait("deploy", "shop", "web", "condition=Availible=false");
    ///     assert(false, "there is no such condition");
    /// } catch (e) {
    ///     assert(e.message.contains("did you mean `Available`?"), e);
    /// }
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        condition: &str,
    ) -> Reply<Dynamic> {
        super::wait(&ctx, kind, Some(namespace), name, condition, Map::new())
    }

    /// As `wait(kind, namespace, name, condition)`, with options.
    ///
    /// kubectl: `kubectl wait KIND/NAME --namespace NS --for CONDITION --timeout TIMEOUT`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `condition`: as for `wait(kind, name, condition)`.
    /// - `options`: `timeout`, seconds (30); 0 looks once.
    ///
    /// Gives and throws as `wait(kind, name, condition)`.
    ///
    /// ```rhai
    /// let web = cluster::wait("deploy", "shop", "web", ".spec.replicas=3", #{ timeout: 5 });
    /// assert(web.spec.replicas == 3, web);
    /// ```
    #[rhai_fn(name = "wait", return_raw, volatile)]
    pub fn wait_in_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        condition: &str,
        options: Map,
    ) -> Reply<Dynamic> {
        super::wait(&ctx, kind, Some(namespace), name, condition, options)
    }

    /// Waits until all objects that match now are as they should be, and gives them.
    ///
    /// kubectl: `kubectl wait KIND --selector LABELS --namespace NS --for CONDITION --timeout TIMEOUT`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `condition`: as for `wait(kind, name, condition)`; `create`: until there is one.
    /// - `options`: `namespace` (all), `labels`, `fields`: which ones, as for `list`; `timeout`, seconds for all
    ///   together (30).
    ///
    /// Objects that come later are not waited for; those that stop to match still are. Throws as `wait`; also
    /// at once if none match, or if one is deleted meanwhile (unless for `delete`, or `create`).
    ///
    /// ```rhai
    /// let pods = cluster::wait_all("pods", "condition=Ready", #{ namespace: "shop", labels: "app=web", timeout: 60 });
    /// assert(pods.len() == 3, pods.len());
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn wait_all(
        ctx: NativeCallContext,
        kind: &str,
        condition: &str,
        options: Map,
    ) -> Reply<Array> {
        super::wait_all(&ctx, kind, condition, options)
    }

    /// Calls a closure with each change of the objects of a kind, until it gives `false`.
    ///
    /// kubectl: `kubectl get KIND --namespace NS --watch`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `namespace` (all), `labels`, `fields`: which ones, as for `list`; `timeout`, seconds (300);
    ///   `from`: a `resourceVersion` after which it begins, or `"now"`; without it, what is there comes
    ///   first, as `ADDED`.
    /// - `f`: takes `#{type, object}`, where `type` is `ADDED`, `MODIFIED` or `DELETED`.
    ///
    /// The watch goes on when the server ends it, is away for a moment, or has forgotten where it was; no
    /// change is left out then, but several of one object may come as one. Gives whether the closure
    /// ended it. Throws what the closure throws; `cluster` if the kind may not be watched, the server
    /// is away when the time is up, or has forgotten what came after the version `from`.
    ///
    /// ```rhai
    /// let seen = [];
    /// let ended = cluster::watch("namespaces", #{ timeout: 5 }, |event| {
    ///     seen.push(event.object.metadata.name);
    ///     event.type == "ADDED" && event.object.metadata.name != "shop"
    /// });
    /// assert(ended && "shop" in seen, seen);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn watch(ctx: NativeCallContext, kind: &str, options: Map, f: FnPtr) -> Reply<bool> {
        super::watch(&ctx, kind, options, &f)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Which {
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
    timeout: Option<f64>,
    from: Option<String>,
}

impl Which {
    fn timeout(&self, or: f64) -> Reply<Duration> {
        duration("`timeout`", &self.timeout.unwrap_or(or).into())
    }

    fn query(&self) -> Query {
        Query {
            namespace: self.namespace.clone(),
            selector: Selector {
                labels: self.labels.clone(),
                fields: self.fields.clone(),
            },
            ..Query::default()
        }
    }
}

fn condition(text: &str) -> Reply<Condition> {
    Condition::parse(text).map_err(|e: ClusterError| kit::fail(Failure::from(e)))
}

fn wait(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    wanted: &str,
    options: Map,
) -> Reply<Dynamic> {
    let (world, cluster) = place(ctx)?;
    let options: Which = kit::options("cluster::wait", options, &["timeout"])?;
    let timeout = options.timeout(30.0)?;
    let condition = condition(wanted)?;
    let object = world.bridge().watch(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .wait_for(&kind, namespace, name, &condition, timeout)
            .await
    })?;
    Ok(object.as_ref().map_or(Dynamic::UNIT, shown))
}

fn wait_all(ctx: &NativeCallContext, kind: &str, wanted: &str, options: Map) -> Reply<Array> {
    const KNOWN: &[&str] = &["namespace", "labels", "fields", "timeout"];
    let (world, cluster) = place(ctx)?;
    let options: Which = kit::options("cluster::wait_all", options, KNOWN)?;
    let timeout = options.timeout(30.0)?;
    let condition = condition(wanted)?;
    let objects = world.bridge().watch(async {
        let kind = cluster.kind(kind).await?;
        cluster
            .wait_for_all(&kind, &options.query(), &condition, timeout)
            .await
    })?;
    Ok(objects.iter().map(shown).collect())
}

fn watch(ctx: &NativeCallContext, kind: &str, options: Map, f: &FnPtr) -> Reply<bool> {
    const KNOWN: &[&str] = &["namespace", "labels", "fields", "timeout", "from"];
    let (world, cluster) = place(ctx)?;
    let options: Which = kit::options("cluster::watch", options, KNOWN)?;
    let timeout = options.timeout(300.0)?;
    let since = match options.from.as_deref() {
        None => Since::Existing,
        Some("now") => Since::Now,
        Some(version) => Since::Version(version.to_owned()),
    };
    let kind = world.wait(cluster.kind(kind))?;
    let mut watch = cluster.watch(&kind, options.query(), since);
    let deadline = tokio::time::Instant::now() + timeout;
    while let Some(event) = world.bridge().watch(watch.next(deadline))? {
        let mut told = Map::new();
        told.insert("type".into(), event.change.as_str().into());
        told.insert("object".into(), shown(&event.object));
        let answer: Dynamic = f.call_within_context(ctx, (Dynamic::from(told),))?;
        if matches!(answer.as_bool(), Ok(false)) {
            return Ok(true);
        }
    }
    Ok(false)
}
