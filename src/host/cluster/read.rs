//! Words that only read.

use super::act;
use crate::engine::kit::{self, Reply};
use rhai::Array;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "read", words);
}

#[export_module]
mod words {
    /// The name of the context that words act on here: the run's first, or the one of `cluster::on`.
    ///
    /// kubectl: `kubectl config current-context`
    ///
    /// Throws `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// assert(cluster::context().starts_with("gke_"), cluster::context());
    /// ```
    #[rhai_fn(name = "context", return_raw)]
    pub fn context_name(ctx: NativeCallContext) -> Reply<String> {
        Ok(super::super::place(&ctx)?.1.context().to_owned())
    }

    /// A cluster-wide object, or `()` if there is none.
    ///
    /// kubectl: `kubectl get KIND NAME --ignore-not-found`
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
    /// kubectl: `kubectl get KIND NAME --namespace NS --ignore-not-found`
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

    /// What is different between two readings of objects: what came, what went, and which fields changed.
    ///
    /// kubectl: `kubectl diff`, between two times
    ///
    /// - `before`, `after`: objects of any kinds, as `list` gives them.
    ///
    /// Gives a map for each object that is not as it was, by kind, namespace and name: `#{change, kind, namespace,
    /// name, before, after, fields, text}`. `change` is `+`, `-` or `~`; `before` and `after` are the objects or `()`;
    /// `fields` are those that changed, as `#{path, was, is}`, in texts that are YAML too; `text` is all of it in lines.
    /// What only the server counts is no difference, nor is `status`. Values of Secrets read `‹redacted›`.
    ///
    /// Throws `script` for what is no whole object.
    ///
    /// ```rhai
    /// cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "seen", namespace: "shop" }, data: #{ mesh: "a: 1\nb: 2\n" } });
    /// let before = cluster::list("configmaps", #{ namespace: "shop" });
    /// cluster::patch("configmap", "shop", "seen", #{ data: #{ mesh: "a: 1\nb: 3\n" } });
    /// let found = cluster::compare(before, cluster::list("configmaps", #{ namespace: "shop" }));
    /// assert(found.len() == 1 && found[0].text == "~ configmap shop/seen\n    data.mesh.b: 2 → 3", found);
    /// cluster::delete("configmap", "shop", "seen");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn compare(ctx: NativeCallContext, before: Array, after: Array) -> Reply<Array> {
        kit::called(&ctx);
        act::compare(&before, &after)
    }

    /// Whether the server knows a kind.
    ///
    /// - `kind`: as kubectl takes it.
    ///
    /// Throws `cluster` if the server cannot be asked, or (retryable) it may be a kind of a group whose API
    /// server does not answer.
    ///
    /// ```rhai
    /// assert(cluster::has_kind("deployments.apps") && !cluster::has_kind("rockets.example.com"), "known");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn has_kind(ctx: NativeCallContext, kind: &str) -> Reply<bool> {
        let (world, cluster) = super::super::place(&ctx)?;
        world.wait(cluster.has_kind(kind))
    }

    /// What a path of the API server answers.
    ///
    /// kubectl: `kubectl get --raw PATH`
    ///
    /// - `path`: from the `/` on.
    ///
    /// Gives what the JSON says, or the text of what is none (`/readyz`). Throws `cluster` if the server has nothing
    /// there, or the answer was cut.
    ///
    /// ```rhai
    /// assert(cluster::raw("/version").gitVersion.starts_with("v1."), "a version");
    /// assert(cluster::raw("/readyz") == "ok", "a text");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn raw(ctx: NativeCallContext, path: &str) -> Reply<Dynamic> {
        let (world, cluster) = super::super::place(&ctx)?;
        Ok(kit::to_dynamic(&world.wait(cluster.raw(path))?))
    }

    /// The address of the API server that words act on here.
    ///
    /// kubectl: `kubectl cluster-info`
    ///
    /// Throws `usage` if the run was told no cluster.
    ///
    /// ```rhai
    /// assert(cluster::server().starts_with("https://"), cluster::server());
    /// ```
    #[rhai_fn(return_raw)]
    pub fn server(ctx: NativeCallContext) -> Reply<String> {
        Ok(super::super::place(&ctx)?.1.server().to_owned())
    }

    /// The version of the API server.
    ///
    /// kubectl: `kubectl version`
    ///
    /// Throws `cluster` if it cannot be asked.
    ///
    /// ```rhai
    /// assert(cluster::version().starts_with("v1."), cluster::version());
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn version(ctx: NativeCallContext) -> Reply<String> {
        let (world, cluster) = super::super::place(&ctx)?;
        Ok(world.wait(cluster.version())?.git_version)
    }
}
