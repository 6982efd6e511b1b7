//! What the words of `cluster` do.

use super::super::time::duration;
use super::super::world::World;
use super::owners::warn_of_reverts;
use crate::cluster::{
    Cluster, ClusterError, DeleteOptions, Kind, Object, Outcome, Propagation, Selector, Written,
};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply, View};
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the calling script acts on.
pub(in crate::host) fn place(ctx: &NativeCallContext) -> Reply<(World, Cluster)> {
    let world = World::of(ctx)?;
    let cluster = world.cluster()?;
    Ok((world, cluster))
}

/// An object as scripts see it.
pub(in crate::host) fn shown(object: &Object) -> Dynamic {
    Dynamic::from(View::at(object.root().clone(), object.pointer()))
}

/// The result of a change as scripts see it.
#[allow(clippy::unnecessary_wraps)] // Every caller returns it as it is.
pub(in crate::host) fn written(written: Written) -> Reply<Map> {
    let outcome = match written.outcome {
        Outcome::Absent => "absent",
        Outcome::Changed => "changed",
        Outcome::Created => "created",
        Outcome::Deleted => "deleted",
        Outcome::Executed => "executed",
        Outcome::Unchanged => "unchanged",
    };
    let mut map = Map::new();
    map.insert("outcome".into(), outcome.into());
    map.insert("summary".into(), written.summary.into());
    if let Some(object) = &written.object {
        map.insert("object".into(), shown(object));
    }
    Ok(map)
}

pub(super) fn get(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Reply<Dynamic> {
    let (world, cluster) = place(ctx)?;
    let object = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.get(&kind, namespace, name).await
    })?;
    Ok(object.as_ref().map_or(Dynamic::UNIT, shown))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Which {
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
    wait: Option<bool>,
    timeout: Option<f64>,
}

async fn matching(
    cluster: &Cluster,
    kind: &str,
    which: Which,
) -> Result<(Kind, Vec<Object>), ClusterError> {
    let kind = cluster.kind(kind).await?;
    let selector = Selector {
        labels: which.labels,
        fields: which.fields,
    };
    let objects = cluster
        .list(&kind, which.namespace.as_deref(), &selector)
        .await?;
    Ok((kind, objects))
}

pub(super) fn create(ctx: &NativeCallContext, object: Map) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let object = kit::to_json(&object.into())?;
    let mut name = Vec::new();
    for field in ["apiVersion", "kind"] {
        let Some(text) = object.get(field).and_then(|v| v.as_str()) else {
            return Err(kit::fail(Failure::script(format!(
                "an object to create needs `{field}`"
            ))));
        };
        name.push(text);
    }
    let kind = name.join("/");
    written(world.wait(async {
        let kind = cluster.kind(&kind).await?;
        cluster.create(&kind, None, object).await
    })?)
}

pub(super) fn patch(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    change: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let change = kit::to_json(&change.into())?;
    written(world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.patch(&kind, namespace, name, change).await
    })?)
}

pub(super) fn label(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    labels: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let labels = texts("cluster::label", labels)?;
    let change = serde_json::json!({"metadata": {"labels": labels}});
    let port = world.shared_port();
    written(world.wait(async {
        let kind = cluster.kind(kind).await?;
        warn_of_reverts(&*port, &cluster, &kind, namespace, name, &change).await;
        cluster.label(&kind, namespace, name, &labels).await
    })?)
}

pub(super) fn annotate(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    annotations: Map,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    let annotations = texts("cluster::annotate", annotations)?;
    written(world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.annotate(&kind, namespace, name, &annotations).await
    })?)
}

/// Labels and annotations are texts; a number or a truth value must be written as one, because
/// Kubernetes refuses anything else.
fn texts(word: &str, map: Map) -> Reply<BTreeMap<String, Option<String>>> {
    map.into_iter()
        .map(|(key, value)| {
            if value.is_unit() {
                return Ok((key.into(), None));
            }
            let kind = value.type_name();
            let text = value.into_string().map_err(|_| {
                kit::fail(
                    Failure::script(format!("`{word}`: `{key}` is a text or (), not {kind}"))
                        .hint("write it in quotes"),
                )
            })?;
            Ok((key.into(), Some(text)))
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(default)]
struct Deletion {
    ignore_missing: bool,
    wait: bool,
    timeout: f64,
    propagation: String,
}

impl Default for Deletion {
    fn default() -> Deletion {
        Deletion {
            ignore_missing: false,
            wait: true,
            timeout: 300.0,
            propagation: "background".into(),
        }
    }
}

pub(super) fn delete(
    ctx: &NativeCallContext,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    options: Map,
) -> Reply<Map> {
    const KNOWN: &[&str] = &["ignore_missing", "wait", "timeout", "propagation"];
    let (world, cluster) = place(ctx)?;
    let options: Deletion = kit::options("cluster::delete", options, KNOWN)?;
    let limit = duration("`timeout`", &options.timeout.into())?;
    let propagation = match options.propagation.as_str() {
        "background" => Propagation::Background,
        "foreground" => Propagation::Foreground,
        "orphan" => Propagation::Orphan,
        other => {
            return Err(kit::fail(Failure::script(format!(
                "option `propagation` of `cluster::delete` is `background`, `foreground` or `orphan`, not `{other}`"
            ))));
        }
    };
    let kind = world.wait(cluster.kind(kind))?;
    let going = Going {
        kind: &kind,
        namespace,
        name,
        limit: options.wait.then_some(limit),
    };
    let before = world.wait(cluster.get(&kind, namespace, name))?;
    let how = DeleteOptions {
        ignore_missing: options.ignore_missing,
        propagation,
        uid: None,
        wait: None,
    };
    going.delete(&world, &cluster, before.as_ref(), how)
}

pub(super) fn delete_all(ctx: &NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
    const KNOWN: &[&str] = &["namespace", "labels", "fields", "wait", "timeout"];
    let (world, cluster) = place(ctx)?;
    let which: Which = kit::options("cluster::delete_all", options, KNOWN)?;
    if which.labels.is_none() && which.fields.is_none() {
        return Err(kit::fail(Failure::script(
            "`cluster::delete_all` needs `labels` or `fields`: it does not delete everything",
        )));
    }
    let limit = duration("`timeout`", &which.timeout.unwrap_or(300.0).into())?;
    let wait = which.wait.unwrap_or(true);
    let (kind, objects) = world.wait(matching(&cluster, kind, which))?;
    let mut results = Array::new();
    for object in objects {
        let going = Going {
            kind: &kind,
            namespace: object.namespace(),
            name: object.name(),
            limit: wait.then_some(limit),
        };
        let how = DeleteOptions {
            ignore_missing: true,
            uid: Some(object.uid().to_owned()),
            wait: None,
            ..DeleteOptions::default()
        };
        results.push(going.delete(&world, &cluster, Some(&object), how)?.into());
    }
    Ok(results)
}

/// An object that is to go.
struct Going<'a> {
    kind: &'a Kind,
    namespace: Option<&'a str>,
    name: &'a str,
    /// How long it is waited for.
    limit: Option<Duration>,
}

impl Going<'_> {
    /// The deletion is a call that a request to stop lets finish; the wait after it is given up.
    fn delete(
        &self,
        world: &World,
        cluster: &Cluster,
        before: Option<&Object>,
        how: DeleteOptions,
    ) -> Reply<Map> {
        let call = cluster.delete(self.kind, self.namespace, self.name, &how);
        let done = world.wait(call)?;
        if let (Some(limit), Some(before)) = (self.limit, before) {
            let (kind, name, uid) = (self.kind, self.name, before.uid());
            let gone = cluster.wait_gone(kind, self.namespace, name, uid, limit);
            world.bridge().watch(gone)?;
        }
        written(done)
    }
}
