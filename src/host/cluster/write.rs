//! Words that make or change an object.

use super::change::{self, At};
use crate::engine::kit::Reply;
use rhai::Map;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "write", words);
}

#[export_module]
mod words {
    /// Creates an object, or sets the fields that it has, by server-side apply as field manager
    /// `rootshift`. What others set and it does not mention stays; what it was applied with before and is not
    /// mentioned any more goes.
    ///
    /// kubectl: `kubectl apply --server-side -f FILE`
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata.name`.
    ///
    /// Gives `#{outcome, summary, diff, object}`, where `outcome` is `created`, `changed` (which may be only who
    /// owns the fields: then `diff` is empty) or `unchanged`.
    /// Throws `script` if a part is missing, `refused` if a gate says no, and `cluster` if it would change
    /// fields that another manager owns: the error names each manager and field; or if it has a
    /// `metadata.uid` or `metadata.resourceVersion` that the object, being there, does not have.
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
        change::apply(&ctx, object, Map::new())
    }

    /// As `apply(object)`, with options.
    ///
    /// kubectl: `kubectl apply --server-side --force-conflicts --field-manager NAME -f FILE`
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata.name`.
    /// - `options`: `force` (`false`): takes fields that other managers own; `field_manager`
    ///   (`"rootshift"`): who owns the fields.
    ///
    /// Gives and throws as `apply(object)`.
    ///
    /// ```rhai
    /// let map = |a| #{ apiVersion: "v1", kind: "ConfigMap", data: #{ a: a },
    ///     metadata: #{ name: "owned", namespace: "legacy" } };
    /// cluster::apply(map.call("1"), #{ field_manager: "argocd" });
    /// let theirs = ();
    /// try { cluster::apply(map.call("2")); } catch (e) { theirs = e; }
    /// assert(theirs.message.contains("manager `argocd` over .data.a"), theirs);
    /// assert(cluster::apply(map.call("2"), #{ force: true }).object.data.a == "2", "taken");
    /// cluster::delete("configmap", "legacy", "owned");
    /// ```
    #[rhai_fn(name = "apply", return_raw, volatile)]
    pub fn apply_with(ctx: NativeCallContext, object: Map, options: Map) -> Reply<Map> {
        change::apply(&ctx, object, options)
    }

    /// Creates an object.
    ///
    /// kubectl: `kubectl create -f FILE`
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata`.
    ///
    /// Gives `#{outcome, summary, diff, object}`. Throws `cluster` if an object of that name exists or the kind
    /// has no such field, `script` if it has a `metadata.resourceVersion`, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", data: #{ a: "1" },
    ///     metadata: #{ name: "created", namespace: "legacy" } });
    /// assert(done.outcome == "created" && done.object.data.a == "1", done.summary);
    /// cluster::delete("configmap", "legacy", "created");
    /// ```
    #[rhai_fn(name = "create", return_raw, volatile)]
    pub fn create(ctx: NativeCallContext, object: Map) -> Reply<Map> {
        change::create(&ctx, object)
    }

    /// Whether changes are only rehearsed (`--dry-run`): reviewed, sent with `dryRun=All`, not stored.
    ///
    /// Gives `true` or `false`. Throws `usage` if there is no cluster.
    ///
    /// ```rhai
    /// assert(!cluster::is_dry_run(), "changes are made");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn is_dry_run(ctx: NativeCallContext) -> Reply<bool> {
        Ok(super::super::place(&ctx)?.1.is_dry_run())
    }

    /// Merges a map into a cluster-wide object (JSON merge patch): lists are replaced, `()` removes.
    ///
    /// kubectl: `kubectl patch KIND NAME --type=merge -p PATCH`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: what is to be different.
    ///
    /// Gives `#{outcome, summary, diff, object}`: `outcome` is `changed` or, when nothing had to be sent,
    /// `unchanged`; `diff` is a unified diff of the YAML, in which a Secret's values are hidden. Throws
    /// `cluster` if the object does not exist, if the kind has no such field, or if the patch names a
    /// `metadata.uid` or `metadata.resourceVersion` that it does not have; `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = cluster::patch("ns", "legacy", #{ metadata: #{ annotations: #{ note: "1" } } });
    /// assert(done.object.metadata.annotations.note == "1", done.summary);
    /// assert(done.diff.contains("+++ namespace/legacy"), done.diff);
    /// cluster::patch("ns", "legacy", #{ metadata: #{ annotations: #{ note: () } } });
    /// ```
    #[rhai_fn(name = "patch", return_raw, volatile)]
    pub fn patch(ctx: NativeCallContext, kind: &str, name: &str, change: Map) -> Reply<Map> {
        change::patch(&ctx, At::wide(kind, name), change.into(), Map::new())
    }

    /// Changes a cluster-wide object by a patch of the type that the options say.
    ///
    /// kubectl: `kubectl patch KIND NAME --type=json -p PATCH`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `change`: the patch: a list of operations for `json`, else a map.
    /// - `options`: `type`: `merge`, `json` (RFC 6902) or `strategic` (built-in kinds only).
    ///
    /// Gives and throws as `patch(kind, name, change)`.
    ///
    /// ```rhai
    /// let add = [#{ op: "add", path: "/metadata/labels/tier", value: "back" }];
    /// let done = cluster::patch("ns", "legacy", add, #{ type: "json" });
    /// assert(done.object.metadata.labels.tier == "back", done.summary);
    /// cluster::label("ns", "legacy", #{ tier: () });
    /// ```
    #[rhai_fn(name = "patch", return_raw, volatile)]
    pub fn patch_with(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        change: Dynamic,
        options: Map,
    ) -> Reply<Map> {
        change::patch(&ctx, At::wide(kind, name), change, options)
    }

    /// Merges a map into an object in a namespace (JSON merge patch).
    ///
    /// kubectl: `kubectl patch -n NAMESPACE KIND NAME --type=merge -p PATCH`
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
        let at = At::inside(kind, namespace, name);
        change::patch(&ctx, at, change.into(), Map::new())
    }

    /// Changes an object in a namespace by a patch of the type that the options say.
    ///
    /// kubectl: `kubectl patch -n NAMESPACE KIND NAME --type=strategic -p PATCH`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `change`: the patch: a list of operations for `json`, else a map.
    /// - `options`: `type`: `merge`, `json` (RFC 6902) or `strategic` (built-in kinds only).
    ///
    /// Gives and throws as `patch(kind, name, change)`.
    ///
    /// ```rhai
    /// let pause = #{ spec: #{ paused: true } };
    /// let done = cluster::patch("deployment", "legacy", "batch", pause, #{ type: "strategic" });
    /// assert(done.object.spec.paused, done.summary);
    /// let go_on = [#{ op: "remove", path: "/spec/paused" }];
    /// assert(cluster::patch("deployment", "legacy", "batch", go_on, #{ type: "json" }).outcome == "changed", "on");
    /// ```
    #[rhai_fn(name = "patch", return_raw, volatile)]
    pub fn patch_in_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        change: Dynamic,
        options: Map,
    ) -> Reply<Map> {
        let at = At::inside(kind, namespace, name);
        change::patch(&ctx, at, change, options)
    }

    /// Puts a whole object, read before and changed, in its own place.
    ///
    /// kubectl: `kubectl replace -f FILE`
    ///
    /// - `object`: what `cluster::get` gave, as a map, changed; its `metadata.resourceVersion` says what
    ///   was read.
    ///
    /// Gives what `cluster::patch` gives. Throws `cluster` if somebody else has changed it since it was
    /// read, `script` if it has no `metadata.resourceVersion`, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let batch = cluster::get("deployment", "legacy", "batch").to_map();
    /// batch.metadata.labels.shift = "night";
    /// assert(cluster::replace(batch).summary == "deployment.apps/batch replaced", "put");
    /// let late = ();
    /// try { cluster::replace(batch); } catch (e) { late = e; }
    /// assert(late.message.contains("conflicts with another change"), late);
    /// cluster::label("deployment", "legacy", "batch", #{ shift: () });
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn replace(ctx: NativeCallContext, object: Map) -> Reply<Map> {
        change::replace(&ctx, object)
    }

    /// Sets the number of replicas of whatever has a scale: Deployments, StatefulSets, custom kinds.
    ///
    /// kubectl: `kubectl scale -n NAMESPACE KIND/NAME --replicas=N`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `replicas`: how many.
    ///
    /// Gives what `cluster::patch` gives. Throws `cluster` if the object does not exist, `script` if its kind
    /// has no scale, `refused` if a gate says no.
    ///
    /// ```rhai
    /// let done = cluster::scale("deployment", "legacy", "batch", 2);
    /// assert(done.summary == "deployment.apps/batch scaled" && done.object.spec.replicas == 2, done.summary);
    /// assert(cluster::scale("deployment", "legacy", "batch", 2).outcome == "unchanged", "again");
    /// cluster::scale("deployment", "legacy", "batch", 1);
    /// ```
    #[rhai_fn(name = "scale", return_raw, volatile)]
    pub fn scale(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        replicas: i64,
    ) -> Reply<Map> {
        let at = At::inside(kind, namespace, name);
        change::scale(&ctx, at, replicas, Map::new())
    }

    /// As `scale(kind, namespace, name, replicas)`, with options.
    ///
    /// kubectl: `kubectl scale -n NAMESPACE KIND/NAME --replicas=N --current-replicas=M`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `replicas`: how many.
    /// - `options`: `current_replicas`: only if there are so many now.
    ///
    /// Gives and throws as `scale(kind, namespace, name, replicas)`, and `cluster` if there are not so many.
    ///
    /// ```rhai
    /// let other = ();
    /// try { cluster::scale("deployment", "legacy", "batch", 3, #{ current_replicas: 7 }); } catch (e) { other = e; }
    /// assert(other.message.contains("7 replicas were expected, and it has 1"), other);
    /// ```
    #[rhai_fn(name = "scale", return_raw, volatile)]
    pub fn scale_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        replicas: i64,
        options: Map,
    ) -> Reply<Map> {
        let at = At::inside(kind, namespace, name);
        change::scale(&ctx, at, replicas, options)
    }
}
