//! Words that end objects.

use super::change::{self, At};
use crate::engine::kit::Reply;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "delete", words);
}

#[export_module]
mod words {
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
    ///   `propagation`: `background`, `foreground` or `orphan`; `uid`: this one only: another of the name
    ///   is an error, or `absent` with `ignore_missing`; `grace`: seconds that a pod gets to end.
    ///
    /// Gives `#{outcome, summary, diff}`, where `outcome` may be `absent`, and without `wait` `deleting`: it is
    /// still there. Throws as `delete(kind, name)`.
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

    /// Evicts a pod, if its disruption budgets allow it, and waits until it is gone. Budgets are all that stands
    /// in the way: a pod without a controller is gone for good, and a DaemonSet makes another on the same node at
    /// once (`kubectl drain` asks for `--force` and `--ignore-daemonsets`).
    ///
    /// kubectl: `kubectl drain NODE --pod-selector=SELECTOR --force`
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
    /// kubectl: `kubectl drain NODE --pod-selector=SELECTOR --force --timeout=60s --grace-period=5`
    ///
    /// - `namespace`: where it is.
    /// - `pod`: its name.
    /// - `options`: `timeout`: seconds for the budget to allow it and the pod to be gone (without: the budget
    ///   must allow it now); `wait` (`true`): until it is gone; `grace`: seconds that the pod gets to end;
    ///   `uid`: this one only: another of the name is an error, or `absent` with `ignore_missing` (`false`).
    ///
    /// Gives and throws as `evict(namespace, pod)`; `outcome` may be `absent`, and without `wait` `deleting`.
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
}
