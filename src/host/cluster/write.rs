//! Words that change something.

use super::change::{self, At, Part};
use crate::engine::kit::Reply;
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
    /// kubectl: `kubectl annotate KIND NAME KEY=VALUE --overwrite`
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
        let at = At::wide(kind, name);
        change::mark(&ctx, at, Part::Annotations, annotations, Map::new())
    }

    /// As `annotate(kind, name, annotations)`, with options.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `annotations`: a map of texts, or `()` to remove.
    /// - `options`: `overwrite` (`true`): with `false`, another value that is there already is an error.
    ///
    /// Gives and throws as `annotate(kind, name, annotations)`.
    ///
    /// ```rhai
    /// cluster::annotate("ns", "legacy", #{ "example.com/a": "1" });
    /// let kept = ();
    /// try { cluster::annotate("ns", "legacy", #{ "example.com/a": "2" }, #{ overwrite: false }); } catch (e) { kept = e; }
    /// assert(kept.kind == "cluster", "it has another value");
    /// cluster::annotate("ns", "legacy", #{ "example.com/a": () });
    /// ```
    #[rhai_fn(name = "annotate", return_raw, volatile)]
    pub fn annotate_with(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        annotations: Map,
        options: Map,
    ) -> Reply<Map> {
        let at = At::wide(kind, name);
        change::mark(&ctx, at, Part::Annotations, annotations, options)
    }

    /// Sets annotations of an object in a namespace, and removes those that are `()`.
    ///
    /// kubectl: `kubectl annotate -n NAMESPACE KIND NAME KEY=VALUE --overwrite`
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
        let at = At::inside(kind, namespace, name);
        change::mark(&ctx, at, Part::Annotations, annotations, Map::new())
    }

    /// As `annotate(kind, namespace, name, annotations)`, with options.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `annotations`: a map of texts, or `()` to remove.
    /// - `options`: `overwrite` (`true`): with `false`, another value that is there already is an error.
    ///
    /// Gives and throws as `annotate(kind, name, annotations)`.
    ///
    /// ```rhai
    /// let note = #{ "example.com/note": "1" };
    /// let done = cluster::annotate("deploy", "legacy", "batch", note, #{ overwrite: false });
    /// assert(done.outcome == "changed", "it had none");
    /// cluster::annotate("deploy", "legacy", "batch", #{ "example.com/note": () });
    /// ```
    #[rhai_fn(name = "annotate", return_raw, volatile)]
    pub fn annotate_in_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        annotations: Map,
        options: Map,
    ) -> Reply<Map> {
        let at = At::inside(kind, namespace, name);
        change::mark(&ctx, at, Part::Annotations, annotations, options)
    }

    /// Creates an object, or sets the fields that it has, by server-side apply as field manager
    /// `rootshift`; what it does not mention stays.
    ///
    /// kubectl: `kubectl apply --server-side -f FILE`
    ///
    /// - `object`: a map with `apiVersion`, `kind` and `metadata.name`.
    ///
    /// Gives `#{outcome, summary, diff, object}`, where `outcome` is `created`, `changed` or `unchanged`.
    /// Throws `script` if a part is missing, `refused` if a gate says no, and `cluster` if it would change
    /// fields that another manager owns: the error names each manager and field.
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
    /// Gives `#{outcome, summary, diff, object}`. Throws `cluster` if an object of that name exists,
    /// `refused` if a gate says no.
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

    /// Deletes a cluster-wide object and waits until it is gone.
    ///
    /// kubectl: `kubectl delete KIND NAME`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    ///
    /// Gives `#{outcome, summary, diff}`. Throws `cluster` if it does not exist or is still there after
    /// five minutes, `refused` if a gate says no.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "short-lived" } });
    /// assert(cluster::delete("ns", "short-lived").outcome == "deleted", "gone");
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete(ctx: NativeCallContext, kind: &str, name: &str) -> Reply<Map> {
        change::delete(&ctx, At::wide(kind, name), Map::new())
    }

    /// Deletes a cluster-wide object.
    ///
    /// kubectl: `kubectl delete KIND NAME --ignore-not-found --cascade=foreground --timeout=60s`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `options`: `ignore_missing` (`false`); `wait` (`true`) and its `timeout` in seconds (300);
    ///   `propagation`: `background`, `foreground` or `orphan`; `uid`: this one only, and no other of the
    ///   name; `grace`: seconds that a pod gets to end.
    ///
    /// Gives `#{outcome, summary, diff}`, where `outcome` may be `absent`. Throws as `delete(kind, name)`.
    ///
    /// ```rhai
    /// let done = cluster::delete("namespace", "never-was", #{ ignore_missing: true });
    /// assert(done.outcome == "absent", done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete_with(ctx: NativeCallContext, kind: &str, name: &str, options: Map) -> Reply<Map> {
        change::delete(&ctx, At::wide(kind, name), options)
    }

    /// Deletes an object in a namespace and waits until it is gone.
    ///
    /// kubectl: `kubectl delete -n NAMESPACE KIND NAME`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    ///
    /// Gives and throws as `delete(kind, name)`.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "ConfigMap",
    ///     metadata: #{ name: "short-lived", namespace: "legacy" } });
    /// let done = cluster::delete("configmap", "legacy", "short-lived");
    /// assert(done.summary == `configmap "short-lived" deleted from legacy namespace`, done.summary);
    /// ```
    #[rhai_fn(name = "delete", return_raw, volatile)]
    pub fn delete_in(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Reply<Map> {
        change::delete(&ctx, At::inside(kind, namespace, name), Map::new())
    }

    /// Deletes an object in a namespace.
    ///
    /// kubectl: `kubectl delete -n NAMESPACE KIND NAME --ignore-not-found --grace-period=5`
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
        change::delete(&ctx, At::inside(kind, namespace, name), options)
    }

    /// Deletes all objects of a kind that match, one after the other, and waits until they are gone.
    ///
    /// kubectl: `kubectl delete KIND -n NAMESPACE -l SELECTOR`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `labels`, `fields`: selectors as kubectl takes them, one of which must be given;
    ///   `namespace` (all); `wait`, `timeout`, `propagation` and `grace` as for `delete`.
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
        change::delete_all(&ctx, kind, options)
    }

    /// Evicts a pod, if its disruption budgets allow it, and waits until it is gone.
    ///
    /// kubectl: `kubectl drain NODE --pod-selector=SELECTOR`
    ///
    /// - `namespace`: where it is.
    /// - `pod`: its name.
    ///
    /// Gives `#{outcome, summary, diff}`. Throws `cluster` if a budget does not allow it, naming the budget
    /// and how many disruptions it allows; if there is no such pod, or it is still there after five
    /// minutes; `refused` if a gate says no.
    ///
    /// ```rhai
    /// let pod = cluster::list("pods", #{ namespace: "legacy" })[0].metadata.name;
    /// assert(cluster::evict("legacy", pod).summary == `pod/${pod} evicted`, "its controller makes another");
    /// ```
    #[rhai_fn(name = "evict", return_raw, volatile)]
    pub fn evict(ctx: NativeCallContext, namespace: &str, pod: &str) -> Reply<Map> {
        change::evict(&ctx, namespace, pod, Map::new())
    }

    /// As `evict(namespace, pod)`, with options.
    ///
    /// kubectl: `kubectl drain NODE --pod-selector=SELECTOR --timeout=60s --grace-period=5`
    ///
    /// - `namespace`: where it is.
    /// - `pod`: its name.
    /// - `options`: `timeout`: seconds for the budget to allow it and the pod to be gone (without: the budget
    ///   must allow it now); `wait` (`true`): until it is gone; `grace`: seconds that the pod gets to end;
    ///   `uid`: this one only, and no other of the name; `ignore_missing` (`false`).
    ///
    /// Gives and throws as `evict(namespace, pod)`; `outcome` may be `absent`.
    ///
    /// ```rhai
    /// let done = cluster::evict("legacy", "no-such-pod", #{ ignore_missing: true });
    /// assert(done.outcome == "absent", done.summary);
    /// ```
    #[rhai_fn(name = "evict", return_raw, volatile)]
    pub fn evict_with(
        ctx: NativeCallContext,
        namespace: &str,
        pod: &str,
        options: Map,
    ) -> Reply<Map> {
        change::evict(&ctx, namespace, pod, options)
    }

    /// Whether changes are only rehearsed (`--dry-run`): reviewed, sent with `dryRun=All`, not stored.
    ///
    /// kubectl: `kubectl … --dry-run=server`
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

    /// Sets labels of a cluster-wide object, and removes those that are `()`.
    ///
    /// kubectl: `kubectl label KIND NAME KEY=VALUE --overwrite`
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
        let at = At::wide(kind, name);
        change::mark(&ctx, at, Part::Labels, labels, Map::new())
    }

    /// As `label(kind, name, labels)`, with options.
    ///
    /// kubectl: `kubectl label KIND NAME KEY=VALUE`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `name`: which object.
    /// - `labels`: a map of texts, or `()` to remove.
    /// - `options`: `overwrite` (`true`): with `false`, another value that is there already is an error.
    ///
    /// Gives and throws as `label(kind, name, labels)`.
    ///
    /// ```rhai
    /// cluster::label("ns", "legacy", #{ tier: "back" });
    /// let kept = ();
    /// try { cluster::label("ns", "legacy", #{ tier: "front" }, #{ overwrite: false }); } catch (e) { kept = e; }
    /// assert(kept.message.contains("label `tier` is `back` already"), kept);
    /// cluster::label("ns", "legacy", #{ tier: () });
    /// ```
    #[rhai_fn(name = "label", return_raw, volatile)]
    pub fn label_with(
        ctx: NativeCallContext,
        kind: &str,
        name: &str,
        labels: Map,
        options: Map,
    ) -> Reply<Map> {
        let at = At::wide(kind, name);
        change::mark(&ctx, at, Part::Labels, labels, options)
    }

    /// Sets labels of an object in a namespace, and removes those that are `()`.
    ///
    /// kubectl: `kubectl label -n NAMESPACE KIND NAME KEY=VALUE --overwrite`
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
        let at = At::inside(kind, namespace, name);
        change::mark(&ctx, at, Part::Labels, labels, Map::new())
    }

    /// As `label(kind, namespace, name, labels)`, with options.
    ///
    /// kubectl: `kubectl label -n NAMESPACE KIND NAME KEY=VALUE`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `namespace`: where it is.
    /// - `name`: which object.
    /// - `labels`: a map of texts, or `()` to remove.
    /// - `options`: `overwrite` (`true`): with `false`, another value that is there already is an error.
    ///
    /// Gives and throws as `label(kind, name, labels)`.
    ///
    /// ```rhai
    /// let done = cluster::label("deployment", "legacy", "batch", #{ shift: "night" }, #{ overwrite: false });
    /// assert(done.object.metadata.labels.shift == "night", "it had none");
    /// cluster::label("deployment", "legacy", "batch", #{ shift: () });
    /// ```
    #[rhai_fn(name = "label", return_raw, volatile)]
    pub fn label_in_with(
        ctx: NativeCallContext,
        kind: &str,
        namespace: &str,
        name: &str,
        labels: Map,
        options: Map,
    ) -> Reply<Map> {
        let at = At::inside(kind, namespace, name);
        change::mark(&ctx, at, Part::Labels, labels, options)
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
    /// `cluster` if the object does not exist, `refused` if a gate says no.
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
