//! Words that change something.

use super::act;
use crate::engine::kit::{self, Reply};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "write", words);
}

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
        let (world, cluster) = super::super::place(&ctx)?;
        let object = kit::to_json(&object.into())?;
        super::super::written(world.wait(cluster.apply(object))?)
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

    /// Sets labels of a cluster-wide object, and removes those that are `()`.
    ///
    /// A tool that owns one of them and would put it back (see `cluster::reverts`) is told before as a
    /// warning.
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
}
