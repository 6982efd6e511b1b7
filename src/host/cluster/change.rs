//! What the words of `cluster` that change something do.

use super::super::time::duration;
use super::super::world::World;
use super::act::{Which, matching, place, written};
use super::owners::warn_of_reverts;
use crate::cluster::{
    ApplyOptions, Cluster, ClusterError, DeleteOptions, EvictOptions, Kind, Object, Outcome,
    PatchForm, Propagation, Written,
};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use rhai::{Array, Dynamic, Map, NativeCallContext};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One object, as the words name it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> At<'a> {
    /// A cluster-wide one.
    pub(super) fn wide(kind: &'a str, name: &'a str) -> At<'a> {
        At {
            kind,
            namespace: None,
            name,
        }
    }

    /// One in a namespace.
    pub(super) fn inside(kind: &'a str, namespace: &'a str, name: &'a str) -> At<'a> {
        At {
            kind,
            namespace: Some(namespace),
            name,
        }
    }
}

/// Warns of those who would put a change back, before it is made.
fn foretell(ctx: &NativeCallContext, at: At<'_>, what: &Value) -> Reply<()> {
    let (world, cluster) = place(ctx)?;
    let port = world.shared_port();
    world.wait(async {
        let kind = cluster.kind(at.kind).await?;
        warn_of_reverts(&*port, &cluster, &kind, at.namespace, at.name, what).await;
        Ok::<(), ClusterError>(())
    })
}

/// Makes one change and shows what became of it.
fn change(
    ctx: &NativeCallContext,
    call: impl AsyncFnOnce(&Cluster) -> Result<Written, ClusterError>,
) -> Reply<Map> {
    let (world, cluster) = place(ctx)?;
    written(world.wait(call(&cluster))?)
}

fn wrong<T>(message: String) -> Reply<T> {
    Err(kit::fail(Failure::script(message)))
}

pub(super) fn create(ctx: &NativeCallContext, object: Map) -> Reply<Map> {
    let object = kit::to_json(&object.into())?;
    let mut name = Vec::new();
    for field in ["apiVersion", "kind"] {
        let Some(text) = object.get(field).and_then(|v| v.as_str()) else {
            return wrong(format!("an object to create needs `{field}`"));
        };
        name.push(text.to_owned());
    }
    let kind = name.join("/");
    change(ctx, async |cluster| {
        let kind = cluster.kind(&kind).await?;
        cluster.create(&kind, None, object).await
    })
}

pub(super) fn apply(ctx: &NativeCallContext, object: Map, options: Map) -> Reply<Map> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Given {
        force: bool,
        field_manager: Option<String>,
    }
    let given: Given = kit::options("cluster::apply", options, &["force", "field_manager"])?;
    let mut how = ApplyOptions {
        force: given.force,
        ..ApplyOptions::default()
    };
    if let Some(manager) = given.field_manager {
        if manager.is_empty() {
            return wrong("option `field_manager` of `cluster::apply` is empty".to_owned());
        }
        how.field_manager = manager;
    }
    let object = kit::to_json(&object.into())?;
    change(ctx, async |cluster| cluster.apply_with(object, &how).await)
}

pub(super) fn replace(ctx: &NativeCallContext, object: Map) -> Reply<Map> {
    let object = kit::to_json(&object.into())?;
    change(ctx, async |cluster| cluster.replace(object).await)
}

pub(super) fn patch(
    ctx: &NativeCallContext,
    at: At<'_>,
    patch: Dynamic,
    options: Map,
) -> Reply<Map> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Given {
        r#type: Option<String>,
    }
    let given: Given = kit::options("cluster::patch", options, &["type"])?;
    let form = match given.r#type.as_deref() {
        None | Some("merge") => PatchForm::Merge,
        Some("json") => PatchForm::Json,
        Some("strategic") => PatchForm::Strategic,
        Some(other) => {
            return wrong(format!(
                "option `type` of `cluster::patch` is `merge`, `json` or `strategic`, not `{other}`"
            ));
        }
    };
    let patch: Value = kit::to_json(&patch)?;
    if patch.is_object() {
        foretell(ctx, at, &patch)?;
    }
    change(ctx, async |cluster| {
        let kind = cluster.kind(at.kind).await?;
        cluster
            .patch_as(&kind, at.namespace, at.name, form, patch)
            .await
    })
}

/// Which part of the metadata is set key by key.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Annotations,
    Labels,
}

pub(super) fn mark(
    ctx: &NativeCallContext,
    at: At<'_>,
    part: Part,
    values: Map,
    options: Map,
) -> Reply<Map> {
    #[derive(Deserialize)]
    #[serde(default)]
    struct Given {
        overwrite: bool,
    }
    impl Default for Given {
        fn default() -> Given {
            Given { overwrite: true }
        }
    }
    let word = match part {
        Part::Annotations => "cluster::annotate",
        Part::Labels => "cluster::label",
    };
    let given: Given = kit::options(word, options, &["overwrite"])?;
    let values = texts(word, values)?;
    let field = match part {
        Part::Annotations => "annotations",
        Part::Labels => "labels",
    };
    foretell(ctx, at, &json!({"metadata": {field: values}}))?;
    change(ctx, async |cluster| {
        let kind = cluster.kind(at.kind).await?;
        let (namespace, name) = (at.namespace, at.name);
        match (part, given.overwrite) {
            (Part::Annotations, true) => cluster.annotate(&kind, namespace, name, &values).await,
            (Part::Annotations, false) => {
                cluster.annotate_new(&kind, namespace, name, &values).await
            }
            (Part::Labels, true) => cluster.label(&kind, namespace, name, &values).await,
            (Part::Labels, false) => cluster.label_new(&kind, namespace, name, &values).await,
        }
    })
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

pub(super) fn scale(
    ctx: &NativeCallContext,
    at: At<'_>,
    replicas: i64,
    options: Map,
) -> Reply<Map> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Given {
        current_replicas: Option<i64>,
    }
    let given: Given = kit::options("cluster::scale", options, &["current_replicas"])?;
    foretell(ctx, at, &json!({"spec": {"replicas": replicas}}))?;
    change(ctx, async |cluster| {
        let kind = cluster.kind(at.kind).await?;
        cluster
            .scale(
                &kind,
                at.namespace,
                at.name,
                replicas,
                given.current_replicas,
            )
            .await
    })
}

/// How a deletion is made; the part that `delete` and `delete_all` share.
#[derive(Deserialize)]
#[serde(default)]
struct Deletion {
    ignore_missing: bool,
    wait: bool,
    timeout: f64,
    propagation: String,
    grace: Option<f64>,
    uid: Option<String>,
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
}

impl Default for Deletion {
    fn default() -> Deletion {
        Deletion {
            ignore_missing: false,
            wait: true,
            timeout: 300.0,
            propagation: "background".into(),
            grace: None,
            uid: None,
            namespace: None,
            labels: None,
            fields: None,
        }
    }
}

impl Deletion {
    fn how(&self, word: &str) -> Reply<DeleteOptions> {
        let propagation = match self.propagation.as_str() {
            "background" => Propagation::Background,
            "foreground" => Propagation::Foreground,
            "orphan" => Propagation::Orphan,
            other => {
                return wrong(format!(
                    "option `propagation` of `{word}` is `background`, `foreground` or `orphan`, not `{other}`"
                ));
            }
        };
        Ok(DeleteOptions {
            ignore_missing: self.ignore_missing,
            grace: grace(word, self.grace)?,
            propagation,
            uid: self.uid.clone(),
            wait: None,
        })
    }

    /// How long the end is waited for.
    fn limit(&self) -> Reply<Option<Duration>> {
        let limit = duration("`timeout`", &self.timeout.into())?;
        Ok(self.wait.then_some(limit))
    }
}

/// Whole seconds that a pod gets to end.
fn grace(word: &str, seconds: Option<f64>) -> Reply<Option<u32>> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let whole = format!("{seconds}").parse();
    whole.map(Some).or_else(|_| {
        wrong(format!(
            "option `grace` of `{word}` is a whole number of seconds, not `{seconds}`"
        ))
    })
}

pub(super) fn delete(ctx: &NativeCallContext, at: At<'_>, options: Map) -> Reply<Map> {
    const WORD: &str = "cluster::delete";
    const KNOWN: &[&str] = &[
        "ignore_missing",
        "wait",
        "timeout",
        "propagation",
        "grace",
        "uid",
    ];
    let (world, cluster) = place(ctx)?;
    let options: Deletion = kit::options(WORD, options, KNOWN)?;
    let (how, limit) = (options.how(WORD)?, options.limit()?);
    let kind = world.wait(cluster.kind(at.kind))?;
    let going = Going {
        kind: &kind,
        namespace: at.namespace,
        name: at.name,
        limit,
    };
    let before = world.wait(cluster.get(&kind, at.namespace, at.name))?;
    going.delete(&world, &cluster, before.as_ref(), how)
}

pub(super) fn delete_all(ctx: &NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
    const WORD: &str = "cluster::delete_all";
    const KNOWN: &[&str] = &[
        "namespace",
        "labels",
        "fields",
        "wait",
        "timeout",
        "propagation",
        "grace",
    ];
    let (world, cluster) = place(ctx)?;
    // Elsewhere `()` is as if it were not there. Here that would be more than was meant.
    for key in ["namespace", "labels", "fields"] {
        if options.get(key).is_some_and(Dynamic::is_unit) {
            return wrong(format!(
                "option `{key}` of `{WORD}` is `()`, which would choose more than was meant; leave it out for all"
            ));
        }
    }
    let options: Deletion = kit::options(WORD, options, KNOWN)?;
    let given = |s: &Option<String>| s.as_deref().is_some_and(|s| !s.trim().is_empty());
    if !given(&options.labels) && !given(&options.fields) {
        return wrong(format!(
            "`{WORD}` needs `labels` or `fields`, and not an empty one: it does not delete everything"
        ));
    }
    let (how, limit) = (options.how(WORD)?, options.limit()?);
    let which = Which {
        namespace: options.namespace,
        labels: options.labels,
        fields: options.fields,
    };
    let (kind, objects) = world.wait(matching(&cluster, kind, which.clone()))?;
    let mut results = Array::new();
    for object in objects {
        // The ones before may have taken their time: who was taken out of the selection meanwhile stays.
        let alone = which.selector_of(&object);
        let now = world.wait(cluster.list(&kind, object.namespace(), &alone))?;
        if !now.iter().any(|now| now.uid() == object.uid()) {
            continue;
        }
        let going = Going {
            kind: &kind,
            namespace: object.namespace(),
            name: object.name(),
            limit,
        };
        let how = DeleteOptions {
            ignore_missing: true,
            uid: Some(object.uid().to_owned()),
            ..how.clone()
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
        self.gone(world, cluster, before, done)
    }

    fn gone(
        &self,
        world: &World,
        cluster: &Cluster,
        before: Option<&Object>,
        mut done: Written,
    ) -> Reply<Map> {
        // What was left alone, being another of the name, stays.
        if let (Some(limit), Some(before), Outcome::Deleting) = (self.limit, before, done.outcome) {
            let (kind, name, uid) = (self.kind, self.name, before.uid());
            let gone = cluster.wait_gone(kind, self.namespace, name, uid, limit);
            world.bridge().watch(gone)?;
            done.outcome = Outcome::Deleted;
        }
        written(done)
    }
}

pub(super) fn evict(
    ctx: &NativeCallContext,
    namespace: &str,
    name: &str,
    options: Map,
) -> Reply<Map> {
    #[derive(Deserialize)]
    #[serde(default)]
    struct Given {
        ignore_missing: bool,
        wait: bool,
        timeout: Option<f64>,
        grace: Option<f64>,
        uid: Option<String>,
    }
    impl Default for Given {
        fn default() -> Given {
            Given {
                ignore_missing: false,
                wait: true,
                timeout: None,
                grace: None,
                uid: None,
            }
        }
    }
    const KNOWN: &[&str] = &["ignore_missing", "wait", "timeout", "grace", "uid"];
    let (world, cluster) = place(ctx)?;
    let given: Given = kit::options("cluster::evict", options, KNOWN)?;
    // Without a limit a budget is not waited for, and the end of the pod as `delete` does.
    let patience = duration("`timeout`", &given.timeout.unwrap_or(0.0).into())?;
    let limit = given.timeout.map_or(Duration::from_secs(300), |_| patience);
    let how = EvictOptions {
        ignore_missing: given.ignore_missing,
        uid: given.uid,
        grace: grace("cluster::evict", given.grace)?,
        patience,
        wait: None,
    };
    let start = Instant::now();
    let kind = world.wait(cluster.kind("v1/pods"))?;
    let before = world.wait(cluster.get(&kind, Some(namespace), name))?;
    let done = world.wait(cluster.evict(namespace, name, &how))?;
    let going = Going {
        kind: &kind,
        namespace: Some(namespace),
        name,
        limit: given.wait.then(|| limit.saturating_sub(start.elapsed())),
    };
    going.gone(&world, &cluster, before.as_ref(), done)
}
