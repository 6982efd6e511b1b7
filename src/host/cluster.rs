//! `cluster::…`: objects of any kind, read and changed as kubectl does it.
//!
//! The words only translate: what they promise (reading before writing, one door for every change)
//! is kept by [`crate::cluster`].

mod act;

use crate::cluster::ClusterError;
use crate::engine::kit::{self, Reply};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};

pub(in crate::host) use act::{place, shown, written};

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("cluster", rhai::exported_module!(words).into());
}

/// Objects of any kind, read and changed as kubectl does it.
#[export_module]
mod words {
    /// Sets annotations of a cluster-wide object, and removes those that are `()`.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `annotations`: a map of texts, or `()` to remove.
    ///
    /// Gives what `cluster::patch` gives. Throws `cluster` if the object does not exist.
    ///
    /// ```rhai
    /// let done = cluster::annotate("namespace", "legacy", #{ "example.com/owner": "ops" });
    /// assert(done.summary == "namespace/legacy annotated", done.summary);
    /// assert(cluster::annotate("ns", "legacy", #{ "example.com/owner": () }).outcome == "changed", "removed");
    /// ```
    #[rhai_fn(name = "annotate", return_raw, volatile)]
    pub fn annotate(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        annotations: Map,
    ) -> Reply<Map> {
        act::annotate(&ctx, kind, None, name, annotations)
    }

    /// Sets annotations of an object in a namespace, and removes those that are `()`.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `annotations`: a map of texts, or `()` to remove.
    ///
    /// Gives what `cluster::patch` gives. Throws `cluster` if the object does not exist.
    ///
    /// ```rhai
    /// let done = cluster::annotate("deploy", "legacy", "batch", #{ "example.com/owner": () });
    /// assert(done.outcome == "unchanged", "it had none");
    /// ```
    #[rhai_fn(name = "annotate", return_raw, volatile)]
    pub fn annotate_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        annotations: Map,
    ) -> Reply<Map> {
        act::annotate(&ctx, kind, Some(namespace), name, annotations)
    }

    /// Creates an object, or merges into it what differs; what it does not mention stays, and lists
    /// are taken whole.
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata.name`.
    ///
    /// Gives `#{outcome, summary, object}`, where `outcome` is `created`, `changed` or `unchanged`.
    /// Throws `script` if a part is missing, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let map = #{ apiVersion: "v1", kind: "ConfigMap", data: #{ a: "1" },
    ///     metadata: #{ name: "applied", namespace: "legacy" } };
    /// assert(cluster::apply(map).summary == "configmap/applied created", "new");
    /// assert(cluster::apply(map).outcome == "unchanged", "the second time nothing is sent");
    /// cluster::delete("configmap", "legacy", "applied");
    /// ```
    #[rhai_fn(name = "apply", return_raw, volatile)]
    pub fn apply(ctx: NativeCallContext, object: Map) -> Reply<Map> {
        let (world, cluster) = super::place(&ctx)?;
        let object = kit::to_json(&object.into())?;
        super::written(world.wait(cluster.apply(object))?)
    }

    /// Whether the API server lets this user do something in the whole cluster (`kubectl auth can-i`).
    ///
    /// - `verb`: `get`, `list`, `create`, `patch`, `delete`, …
    /// - `kind`: as kubectl takes it, with a subresource behind a slash: `pods/portforward`.
    ///
    /// Throws `cluster` if the server cannot be asked.
    ///
    /// ```rhai
    /// assert(cluster::can("list", "nodes"), "the twin's user is its administrator");
    /// ```
    #[rhai_fn(name = "can", return_raw, volatile)]
    pub fn can(ctx: NativeCallContext, verb: &str, kind: &str) -> Reply<bool> {
        act::can(&ctx, verb, kind, None)
    }

    /// Whether the API server lets this user do something in a namespace (`kubectl auth can-i`).
    ///
    /// - `verb`: `get`, `list`, `create`, `patch`, `delete`, …
    /// - `kind`: as kubectl takes it, with a subresource behind a slash: `pods/portforward`.
    /// - `namespace`: where.
    ///
    /// Throws `cluster` if the server cannot be asked.
    ///
    /// ```rhai
    /// assert(cluster::can("create", "pods/portforward", "shop"), "proxies can be read");
    /// ```
    #[rhai_fn(name = "can", return_raw, volatile)]
    pub fn can_in(ctx: NativeCallContext, verb: &str, kind: &str, namespace: &str) -> Reply<bool> {
        act::can(&ctx, verb, kind, Some(namespace))
    }

    /// The name of the context that this run acts on.
    ///
    /// Throws `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// assert(cluster::context().starts_with("gke_"), cluster::context());
    /// ```
    #[rhai_fn(name = "context", return_raw)]
    pub fn context_name(ctx: NativeCallContext) -> Reply<String> {
        Ok(super::place(&ctx)?.1.context().to_owned())
    }

    /// Creates an object.
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata`.
    ///
    /// Gives `#{outcome, summary, object}`. Throws `cluster` if an object of that name exists, `refused`
    /// if a gate says no.
    ///
    /// ```rhai
    /// let done = cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", data: #{ a: "1" },
    ///     metadata: #{ name: "created", namespace: "legacy" } });
    /// assert(done.outcome == "created" && done.object.data.a == "1", done.summary);
    /// cluster::delete("configmap", "legacy", "created");
    /// ```
    #[rhai_fn(name = "create", return_raw, volatile)]
    pub fn create(ctx: NativeCallContext, object: Map) -> Reply<Map> {
        act::create(&ctx, object)
    }

    /// Deletes a cluster-wide object and waits until it is gone.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    ///
    /// Gives `#{outcome, summary}`. Throws `cluster` if it does not exist, or is still there after five
    /// minutes; `refused` if a gate says no.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "short-lived" } });
    /// let done = cluster::delete("namespace", "short-lived");
    /// assert(done.summary == `namespace "short-lived" deleted`, done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete(ctx: NativeCallContext, kind: &str, name: &str) -> Reply<Map> {
        act::delete(&ctx, kind, None, name, Map::new())
    }

    /// As `delete(kind, name)`, with options.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `options`: `ignore_missing`, whether its absence is fine (`false`); `wait`, whether to wait
    ///   until it is gone (`true`); `timeout`, seconds to wait (300); `propagation`: `background`,
    ///   `foreground` or `orphan`, for what it owns.
    ///
    /// Gives `#{outcome, summary}`, where `outcome` is `deleted` or `absent`. Throws as `delete`.
    ///
    /// ```rhai
    /// let done = cluster::delete("namespace", "nowhere", #{ ignore_missing: true });
    /// assert(done.outcome == "absent", done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete_with(ctx: NativeCallContext, kind: &str, name: &str, options: Map) -> Reply<Map> {
        act::delete(&ctx, kind, None, name, options)
    }

    /// Deletes an object in a namespace and waits until it is gone.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Gives and throws as `delete(kind, name)`.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "Secret", metadata: #{ name: "old", namespace: "legacy" } });
    /// let done = cluster::delete("secret", "legacy", "old");
    /// assert(done.summary == `secret "old" deleted from legacy namespace`, done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Map> {
        act::delete(&ctx, kind, Some(namespace), name, Map::new())
    }

    /// As `delete(kind, namespace, name)`, with options.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `options`: as for `delete(kind, name, options)`.
    ///
    /// Gives and throws as `delete(kind, name, options)`.
    ///
    /// ```rhai
    /// let done = cluster::delete("secret", "legacy", "nothing", #{ ignore_missing: true });
    /// assert(done.outcome == "absent", done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete_in_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        options: Map,
    ) -> Reply<Map> {
        act::delete(&ctx, kind, Some(namespace), name, options)
    }

    /// Deletes all objects of a kind that match, one after the other, and waits until they are gone.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `labels`, `fields`: selectors as kubectl takes them, one of which must be given;
    ///   `namespace` (all); `wait` and `timeout` as for `delete`.
    ///
    /// Gives what `delete` gives, for each. Throws what `delete` throws first; later ones are then not
    /// begun.
    ///
    /// ```rhai
    /// for n in ["a", "b"] {
    ///     cluster::create(#{ apiVersion: "v1", kind: "ConfigMap",
    ///         metadata: #{ name: n, namespace: "legacy", labels: #{ swept: "yes" } } });
    /// }
    /// let done = cluster::delete_all("configmaps", #{ namespace: "legacy", labels: "swept=yes" });
    /// assert(done.len() == 2, "both");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn delete_all(ctx: NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
        act::delete_all(&ctx, kind, options)
    }

    /// A cluster-wide object, or `()` if there is none.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    ///
    /// Throws `script` if the server knows no such kind, `cluster` if it may not be read.
    ///
    /// ```rhai
    /// assert(cluster::get("ns", "shop").metadata.labels["kubernetes.io/metadata.name"] == "shop", "there");
    /// assert(cluster::get("ns", "nowhere") == (), "not there");
    /// ```
    #[rhai_fn(name = "get", return_raw, volatile)]
    pub fn get(ctx: NativeCallContext, kind: &str, name: &str) -> Reply<Dynamic> {
        act::get(&ctx, kind, None, name)
    }

    /// An object in a namespace, or `()` if there is none, or no such namespace.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Throws `script` if the server knows no such kind, `cluster` if it may not be read.
    ///
    /// ```rhai
    /// assert(cluster::get("deploy", "shop", "web").spec.replicas == 3, "as the scenario has it");
    /// ```
    #[rhai_fn(name = "get", return_raw, volatile)]
    pub fn get_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Dynamic> {
        act::get(&ctx, kind, Some(namespace), name)
    }

    /// Whether the server knows a kind.
    ///
    /// - `kind`: as kubectl takes it.
    ///
    /// Throws `cluster` if the server cannot be asked.
    ///
    /// ```rhai
    /// assert(cluster::has_kind("deployments.apps") && !cluster::has_kind("rockets.example.com"), "known");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn has_kind(ctx: NativeCallContext, kind: &str) -> Reply<bool> {
        let (world, cluster) = super::place(&ctx)?;
        world.wait(async {
            match cluster.kind(kind).await {
                Ok(_) => Ok(true),
                Err(ClusterError::UnknownKind { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    /// Sets labels of a cluster-wide object, and removes those that are `()`.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `labels`: a map of texts, or `()` to remove.
    ///
    /// Gives what `cluster::patch` gives. Throws `cluster` if the object does not exist, `refused` if a
    /// gate says no.
    ///
    /// ```rhai
    /// let done = cluster::label("namespace", "legacy", #{ tier: "back", colour: () });
    /// assert(done.summary == "namespace/legacy labeled", done.summary);
    /// assert(cluster::label("namespace", "legacy", #{ tier: "back" }).outcome == "unchanged", "again");
    /// assert(cluster::label("namespace", "legacy", #{ tier: () }).summary == "namespace/legacy unlabeled", "off");
    /// ```
    #[rhai_fn(name = "label", return_raw, volatile)]
    pub fn label(ctx: NativeCallContext, kind: &str, name: &str, labels: Map) -> Reply<Map> {
        act::label(&ctx, kind, None, name, labels)
    }

    /// Sets labels of an object in a namespace, and removes those that are `()`.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `labels`: a map of texts, or `()` to remove.
    ///
    /// Gives and throws as `label(kind, name, labels)`.
    ///
    /// ```rhai
    /// let done = cluster::label("deployment", "legacy", "batch", #{ colour: () });
    /// assert(done.summary == "deployment.apps/batch not labeled", done.summary);
    /// ```
    #[rhai_fn(name = "label", return_raw, volatile)]
    pub fn label_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        labels: Map,
    ) -> Reply<Map> {
        act::label(&ctx, kind, Some(namespace), name, labels)
    }

    /// All objects of a kind, of all namespaces.
    ///
    /// - `kind`: as kubectl takes it.
    ///
    /// Throws `script` if the server knows no such kind, `cluster` if they may not be read.
    ///
    /// ```rhai
    /// let names = cluster::list("namespaces").map(|ns| ns.metadata.name);
    /// assert("shop" in names && "pay" in names, names);
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list(ctx: NativeCallContext, kind: &str) -> Reply<Array> {
        act::list(&ctx, kind, Map::new())
    }

    /// The objects of a kind that match.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `namespace` (all); `labels` and `fields`: selectors as kubectl takes them.
    ///
    /// Throws `script` if the server knows no such kind, `cluster` if they may not be read or the
    /// selector is none.
    ///
    /// ```rhai
    /// let found = cluster::list("deploy", #{ namespace: "shop", fields: "metadata.name=web" });
    /// assert(found.len() == 1 && found[0].kind == "Deployment", found.len());
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_with(ctx: NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
        act::list(&ctx, kind, options)
    }

    /// Merges a map into a cluster-wide object (JSON merge patch): lists are replaced, `()` removes.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: what is to be different.
    ///
    /// Gives `#{outcome, summary, object}`, where `outcome` is `changed` or, when nothing had to be
    /// sent, `unchanged`. Throws `cluster` if the object does not exist, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = cluster::patch("ns", "legacy", #{ metadata: #{ annotations: #{ note: "1" } } });
    /// assert(done.object.metadata.annotations.note == "1", done.summary);
    /// cluster::patch("ns", "legacy", #{ metadata: #{ annotations: #{ note: () } } });
    /// ```
    #[rhai_fn(name = "patch", return_raw, volatile)]
    pub fn patch(ctx: NativeCallContext, kind: &str, name: &str, change: Map) -> Reply<Map> {
        act::patch(&ctx, kind, None, name, change)
    }

    /// Merges a map into an object in a namespace (JSON merge patch).
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `change`: what is to be different.
    ///
    /// Gives and throws as `patch(kind, name, change)`.
    ///
    /// ```rhai
    /// let done = cluster::patch("deployment", "legacy", "batch", #{ spec: #{ replicas: 1 } });
    /// assert(done.summary == "deployment.apps/batch patched (no change)", done.summary);
    /// ```
    #[rhai_fn(name = "patch", return_raw, volatile)]
    pub fn patch_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        change: Map,
    ) -> Reply<Map> {
        act::patch(&ctx, kind, Some(namespace), name, change)
    }

    /// What a path of the API server answers (`kubectl get --raw`).
    ///
    /// - `path`: from the `/` on; its answer must be JSON.
    ///
    /// Throws `cluster` if the server has nothing there.
    ///
    /// ```rhai
    /// assert(cluster::raw("/version").gitVersion.starts_with("v1."), "a version");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn raw(ctx: NativeCallContext, path: &str) -> Reply<Dynamic> {
        let (world, cluster) = super::place(&ctx)?;
        Ok(kit::to_dynamic(&world.wait(cluster.raw(path))?))
    }

    /// The address of the API server that this run acts on.
    ///
    /// Throws `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// assert(cluster::server().starts_with("https://"), cluster::server());
    /// ```
    #[rhai_fn(return_raw)]
    pub fn server(ctx: NativeCallContext) -> Reply<String> {
        Ok(super::place(&ctx)?.1.server().to_owned())
    }

    /// The version of the API server.
    ///
    /// Throws `cluster` if it cannot be asked.
    ///
    /// ```rhai
    /// assert(cluster::version().starts_with("v1."), cluster::version());
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn version(ctx: NativeCallContext) -> Reply<String> {
        let (world, cluster) = super::place(&ctx)?;
        Ok(world.wait(cluster.version())?.git_version)
    }
}
