//! What the words of `cluster` do.

use super::super::world::World;
use crate::cluster::{
    self, Cluster, ClusterError, Difference, Kind, Object, Outcome, Selector, Written,
};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply, View};
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde::Deserialize;

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
        Outcome::Deleting => "deleting",
        Outcome::Executed => "executed",
        Outcome::Unchanged => "unchanged",
    };
    let mut map = Map::new();
    map.insert("outcome".into(), outcome.into());
    map.insert("summary".into(), written.summary.into());
    map.insert("diff".into(), written.diff.into());
    if let Some(object) = &written.object {
        map.insert("object".into(), shown(object));
    }
    Ok(map)
}

/// What is different between two readings of objects, as scripts see it.
pub(super) fn compare(before: &Array, after: &Array) -> Reply<Array> {
    let (before, after) = (objects(before)?, objects(after)?);
    let found = cluster::compare(&before, &after);
    Ok(found.iter().map(|d| difference(d).into()).collect())
}

fn objects(list: &Array) -> Reply<Vec<Object>> {
    list.iter()
        .map(|item| {
            item.read_lock::<View>()
                .filter(|view| view.pointer().is_empty())
                .map(|view| Object::shared(view.root().clone()))
                .ok_or_else(|| {
                    kit::fail(
                        Failure::script(format!(
                            "`cluster::compare` takes whole objects, not {}",
                            item.type_name()
                        ))
                        .hint("as `cluster::list` gives them"),
                    )
                })
        })
        .collect()
}

fn difference(difference: &Difference) -> Map {
    let of = |object: &Option<Object>| object.as_ref().map_or(Dynamic::UNIT, shown);
    let text = |text: &Option<String>| text.clone().map_or(Dynamic::UNIT, Dynamic::from);
    let fields: Array = difference
        .fields
        .iter()
        .map(|field| {
            let map: Map = [
                ("path".into(), field.path.clone().into()),
                ("was".into(), text(&field.was)),
                ("is".into(), text(&field.is)),
            ]
            .into();
            map.into()
        })
        .collect();
    let object = difference.object();
    let kind = object.map(|object| object.kind().to_lowercase());
    let namespace = object.and_then(Object::namespace).unwrap_or_default();
    [
        ("change".into(), difference.sign().into()),
        ("kind".into(), kind.unwrap_or_default().into()),
        ("namespace".into(), namespace.into()),
        ("name".into(), object.map_or("", Object::name).into()),
        ("before".into(), of(&difference.before)),
        ("after".into(), of(&difference.after)),
        ("fields".into(), fields.into()),
        ("text".into(), difference.to_string().into()),
    ]
    .into()
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

/// Which objects of a kind.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
}

impl Which {
    /// What selects just this one of them, as long as it is one of them.
    pub(super) fn selector_of(&self, object: &Object) -> Selector {
        let name = format!("metadata.name={}", object.name());
        let fields = self
            .fields
            .iter()
            .filter(|fields| !fields.trim().is_empty());
        let fields: Vec<&str> = fields.map(String::as_str).chain([name.as_str()]).collect();
        Selector {
            labels: self.labels.clone(),
            fields: Some(fields.join(",")),
        }
    }
}

/// The kind, and its objects that are meant.
pub(super) async fn matching(
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
