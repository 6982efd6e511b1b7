//! Words about the cluster itself: contexts, kinds, rights; and what was said about an object.

use super::act::place;
use crate::cluster::Wish;
use crate::engine::kit::{self, Reply};
use crate::host::world::World;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};
use serde::Deserialize;
use serde_json::Value;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "about", words);
}

#[export_module]
mod words {
    /// What the API server says to something that this user wants to do, with its reason.
    ///
    /// kubectl: `kubectl auth can-i VERB KIND --namespace NS`
    ///
    /// - `verb`: `get`, `list`, `create`, `patch`, `delete`, …
    /// - `kind`: as kubectl takes it, with a subresource behind a slash (`pods/portforward`), or a path of
    ///   the API server (`/metrics`).
    /// - `options`: `namespace` (the whole cluster); `name`, one object (all).
    ///
    /// Gives `#{allowed, reason, unsure}`: `reason` is the server's, such as the binding that allows it;
    /// `unsure` what it could not find out, when a no may be wrong. Throws `script` for a verb, kind or
    /// subresource that does not exist, `cluster` if the server cannot be asked.
    ///
    /// ```rhai
    /// let access = cluster::access("patch", "deployments", #{ namespace: "shop", name: "web" });
    /// assert(access.allowed && access.unsure == "", access);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn access(ctx: NativeCallContext, verb: &str, kind: &str, options: Map) -> Reply<Map> {
        super::access(&ctx, verb, kind, options)
    }

    /// Whether the API server lets this user do something in the whole cluster.
    ///
    /// kubectl: `kubectl auth can-i VERB KIND --all-namespaces`
    ///
    /// - `verb`: `get`, `list`, `create`, `patch`, `delete`, …, or `*`, all of them.
    /// - `kind`: as kubectl takes it, with a subresource behind a slash (`pods/portforward`), or a path of
    ///   the API server (`/metrics`), or `*`, all kinds.
    ///
    /// Throws `script` for a verb, kind or subresource that does not exist, `cluster` if the server cannot
    /// be asked.
    ///
    /// ```rhai
    /// assert(cluster::can("list", "nodes"), "the twin's user is its administrator");
    /// assert(cluster::can("*", "*"), "so that it may do anything");
    /// ```
    #[rhai_fn(name = "can", return_raw, volatile)]
    pub fn can(ctx: NativeCallContext, verb: &str, kind: &str) -> Reply<bool> {
        super::can(&ctx, verb, kind, None, None)
    }

    /// Whether the API server lets this user do something in a namespace.
    ///
    /// kubectl: `kubectl auth can-i VERB KIND --namespace NS`
    ///
    /// - `verb`: `get`, `list`, `create`, `patch`, `delete`, …
    /// - `kind`: as kubectl takes it, with a subresource behind a slash: `pods/portforward`.
    /// - `namespace`: where.
    ///
    /// Throws as `can(verb, kind)`.
    ///
    /// ```rhai
    /// assert(cluster::can("create", "pods/portforward", "shop"), "proxies can be read");
    /// ```
    #[rhai_fn(name = "can", return_raw, volatile)]
    pub fn can_in(ctx: NativeCallContext, verb: &str, kind: &str, namespace: &str) -> Reply<bool> {
        super::can(&ctx, verb, kind, Some(namespace), None)
    }

    /// Whether the API server lets this user do something with one object in a namespace.
    ///
    /// kubectl: `kubectl auth can-i VERB KIND/NAME --namespace NS`
    ///
    /// - `verb`: `get`, `patch`, `delete`, …
    /// - `kind`: as kubectl takes it, with a subresource behind a slash: `deployments/scale`.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Throws as `can(verb, kind)`.
    ///
    /// ```rhai
    /// assert(cluster::can("patch", "deployments/scale", "shop", "web"), "it can be scaled");
    /// ```
    #[rhai_fn(name = "can", return_raw, volatile)]
    pub fn can_named(
        ctx: NativeCallContext,
        verb: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<bool> {
        super::can(&ctx, verb, kind, Some(namespace), Some(name))
    }

    /// The names of the contexts that this run was given, the one that words mean first.
    ///
    /// kubectl: `kubectl config get-contexts --output name`
    ///
    /// Throws `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// assert(cluster::contexts() == [cluster::context()], "the twin is one");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn contexts(ctx: NativeCallContext) -> Reply<Array> {
        super::place(&ctx)?;
        let world = World::of(&ctx)?;
        let names = world
            .clusters()
            .iter()
            .map(|c| c.context().to_owned().into());
        Ok(names.collect())
    }

    /// What was said about a cluster-wide object, oldest first.
    ///
    /// kubectl: `kubectl events --for KIND/NAME`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    ///
    /// Gives, for each, `#{type, reason, message, count, last_seen, from}`; of an object that is gone, what
    /// is remembered under its name. Events are kept for about an hour. Throws `cluster` if there is
    /// neither the object nor an event of it.
    ///
    /// ```rhai
    /// assert(cluster::events("namespace", "shop").len() >= 0, "perhaps none");
    /// ```
    #[rhai_fn(name = "events", return_raw, volatile)]
    pub fn events(ctx: NativeCallContext, kind: &str, name: &str) -> Reply<Array> {
        super::events(&ctx, kind, None, name)
    }

    /// What was said about an object in a namespace, oldest first.
    ///
    /// kubectl: `kubectl events --namespace NS --for KIND/NAME`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Gives and throws as `events(kind, name)`.
    ///
    /// ```rhai
    /// let rs = cluster::list("replicasets", #{ namespace: "shop", labels: "app=web" })[0];
    /// let told = cluster::events("replicaset", "shop", rs.metadata.name);
    /// assert(told.some(|e| e.reason == "SuccessfulCreate" && e.type == "Normal" && e.count >= 1), told);
    /// ```
    #[rhai_fn(name = "events", return_raw, volatile)]
    pub fn events_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Array> {
        super::events(&ctx, kind, Some(namespace), name)
    }

    /// Calls a closure whose words act on another context of this run, and gives what it gives.
    ///
    /// kubectl: `kubectl --context CONTEXT …`
    ///
    /// - `context`: one of `cluster::contexts()`.
    /// - `f`: takes nothing. What it calls acts there too, and what it starts with `parallel_map`.
    ///
    /// Throws what the closure throws, `usage` if the run was not given this context.
    ///
    /// ```rhai
    /// let here = cluster::context();
    /// assert(cluster::on(here, || cluster::context()) == here, "the twin is one");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn on(ctx: NativeCallContext, context: &str, f: FnPtr) -> Reply<Dynamic> {
        let world = World::of(&ctx)?.on(context)?;
        kit::call_in(&ctx, world.into(), &f)
    }

    /// Calls a closure once on each cluster of this run, one after the other, and gives what each call gave.
    ///
    /// - `f`: takes nothing; `cluster::context()` tells it where it is. Two contexts with one API server are one cluster,
    ///   by the first of them.
    ///
    /// Throws what the closure throws, the clusters after that one left alone; `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// let names = cluster::each(|| cluster::context());
    /// assert(names == cluster::contexts(), "the twin is one");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn each(ctx: NativeCallContext, f: FnPtr) -> Reply<Array> {
        let worlds = World::of(&ctx)?.each()?;
        let calls = worlds.into_iter();
        calls
            .map(|world| kit::call_in(&ctx, world.into(), &f))
            .collect()
    }

    /// All kinds that the server serves, in its order.
    ///
    /// kubectl: `kubectl api-resources --output wide`
    ///
    /// Gives, for each, `#{name, short_names, api_version, kind, namespaced, verbs, categories,
    /// subresources}`. Throws `cluster` if the server cannot be asked, or (retryable) a group's API server
    /// does not answer, so that its kinds are not known.
    ///
    /// ```rhai
    /// let deploy = cluster::resources().find(|r| r.name == "deployments");
    /// assert(deploy.api_version == "apps/v1" && "deploy" in deploy.short_names && deploy.namespaced, deploy);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn resources(ctx: NativeCallContext) -> Reply<Array> {
        super::resources(&ctx)
    }

    /// All that the API server lets this user do in a namespace.
    ///
    /// kubectl: `kubectl auth can-i --list --namespace NS`
    ///
    /// - `namespace`: where.
    ///
    /// Gives `#{resources, paths, incomplete}`: the rules of RBAC that apply; `incomplete` is `()`, or
    /// why there may be more. Throws `cluster` if the server cannot be asked.
    ///
    /// ```rhai
    /// let rules = cluster::rules("shop");
    /// assert(rules.resources.some(|r| "*" in r.verbs), "an administrator");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn rules(ctx: NativeCallContext, namespace: &str) -> Reply<Map> {
        super::rules(&ctx, namespace)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Of {
    namespace: Option<String>,
    name: Option<String>,
}

fn access(ctx: &NativeCallContext, verb: &str, kind: &str, options: Map) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let of: Of = kit::options("cluster::access", options, &["namespace", "name"])?;
    let wish = Wish {
        verb: verb.to_owned(),
        on: kind.to_owned(),
        namespace: of.namespace,
        name: of.name,
    };
    let access = world.wait(cluster.access(&wish))?;
    let mut map = Map::new();
    map.insert("allowed".into(), access.allowed.into());
    map.insert("reason".into(), access.reason.into());
    map.insert("unsure".into(), access.unsure.into());
    Ok(map)
}

fn can(
    ctx: &NativeCallContext,
    verb: &str,
    kind: &str,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Reply<bool> {
    let (world, cluster) = place(ctx)?;
    let wish = Wish {
        verb: verb.to_owned(),
        on: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    };
    Ok(world.wait(cluster.access(&wish))?.allowed)
}

fn events(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Reply<Array> {
    let (world, cluster) = place(ctx)?;
    let events = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.events(&kind, namespace, name).await
    })?;
    let told = events.into_iter().map(|event| {
        let map: Map = [
            ("type", event.kind.into()),
            ("reason", event.reason.into()),
            ("message", event.message.into()),
            ("count", event.count.into()),
            ("last_seen", event.last_seen.into()),
            ("from", event.from.into()),
        ]
        .into_iter()
        .map(|(key, value): (&str, Dynamic)| (key.into(), value))
        .collect();
        map.into()
    });
    Ok(told.collect())
}

fn resources(ctx: &NativeCallContext) -> Reply<Array> {
    let (world, cluster) = place(ctx)?;
    let kinds = world.wait(cluster.kinds())?;
    let list = |texts: &[String]| -> Dynamic {
        let all: Array = texts.iter().map(|t| t.clone().into()).collect();
        all.into()
    };
    let shown = kinds.iter().map(|kind| {
        let map: Map = [
            ("name", kind.plural().to_owned().into()),
            ("short_names", list(kind.short_names())),
            ("api_version", kind.api_version().into()),
            ("kind", kind.kind().to_owned().into()),
            ("namespaced", kind.is_namespaced().into()),
            ("verbs", list(kind.verbs())),
            ("categories", list(kind.categories())),
            ("subresources", list(kind.subresources())),
        ]
        .into_iter()
        .map(|(key, value): (&str, Dynamic)| (key.into(), value))
        .collect();
        map.into()
    });
    Ok(shown.collect())
}

fn rules(ctx: &NativeCallContext, namespace: &str) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let rules = world.wait(cluster.rules(namespace))?;
    let mut map = Map::new();
    map.insert(
        "resources".into(),
        kit::to_dynamic(&Value::Array(rules.resources)),
    );
    map.insert("paths".into(), kit::to_dynamic(&Value::Array(rules.paths)));
    let incomplete = rules.incomplete.map_or(Dynamic::UNIT, Dynamic::from);
    map.insert("incomplete".into(), incomplete);
    Ok(map)
}
