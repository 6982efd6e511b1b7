//! Words that set labels and annotations.

use super::change::{self, At, Part};
use crate::engine::kit::Reply;
use rhai::Map;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "label", words);
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

    /// Sets labels of a cluster-wide object, and removes those that are `()`.
    ///
    /// kubectl: `kubectl label KIND NAME KEY=VALUE --overwrite`
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
}
