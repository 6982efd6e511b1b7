//! Words that list, count and pick from many objects; all of it is done here and not in the script.

use super::act::{place, shown};
use crate::cluster::{ClusterError, FieldPath, Filter, PathError, Query, Selector};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;
use serde_json::Value;

/// Adds the words to the module `cluster`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "select", words);
}

#[export_module]
mod words {
    /// How many objects of a kind there are, in all namespaces.
    ///
    /// - `kind`: as kubectl takes it.
    ///
    /// Throws `script` if the server knows no such kind, `cluster` if they may not be listed.
    ///
    /// ```rhai
    /// assert(cluster::count("namespaces") >= 4, "those of Kubernetes alone are four");
    /// ```
    #[rhai_fn(name = "count", return_raw, volatile)]
    pub fn count(ctx: NativeCallContext, kind: &str) -> Reply<Dynamic> {
        super::count(&ctx, kind, Map::new())
    }

    /// How many objects of a kind match, or how many for each value of a field.
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `namespace`, `labels`, `fields`, `where`: as for `list`; `by`: a path, as in `where`.
    ///
    /// Gives a number; with `by`, a map of the field's values to numbers, where `<none>` stands for
    /// objects without it. Throws as `list`.
    ///
    /// ```rhai
    /// let by = cluster::count("pods", #{ namespace: "shop", by: ".status.phase" });
    /// assert(by.Running > 0, by);
    /// let by = cluster::count("pods", #{ by: ".metadata.labels['app']" });
    /// assert(by.web == cluster::count("pods", #{ labels: "app=web" }), by);
    /// ```
    #[rhai_fn(name = "count", return_raw, volatile)]
    pub fn count_with(ctx: NativeCallContext, kind: &str, options: Map) -> Reply<Dynamic> {
        super::count(&ctx, kind, options)
    }

    /// All objects of a kind, of all namespaces.
    ///
    /// kubectl: `kubectl get KIND --all-namespaces`
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
        super::list(&ctx, kind, Map::new())
    }

    /// The objects of a kind that match, in the server's order.
    ///
    /// kubectl: `kubectl get KIND --namespace NS --selector LABELS --field-selector FIELDS`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `namespace` (all); `labels` and `fields`: selectors as kubectl takes them; `where`:
    ///   more requirements, on any field, in the notation of selectors with paths for names
    ///   (`".status.phase=Running,.spec.nodeName in (a,b),!.metadata.deletionTimestamp,.spec.replicas>1"`)
    ///   or as a map of paths to a value, an array of values, or `()` for a field that is not there;
    ///   `columns`: a map of names to paths: maps of these are given in place of objects; `limit`: how many
    ///   at most; `slim`: only `metadata` is transferred and given.
    ///
    /// Paths are kubectl's JSONPath: `.a.b`, `['name.with/dots']`, `[0]`, `[*]`, `[?(@.type=="Ready")]`. One
    /// that may lead to several values gives an array, and matches if one of the values does; `!=` and
    /// `notin` match if none does. Large lists are read in pages, and what does not match is dropped page
    /// by page: it is cheaper to say what is wanted than to sort it out in the script.
    ///
    /// Throws `script` if the server knows no such kind or an option cannot be read, `cluster` if they may not
    /// be read or the selector is none.
    ///
    /// ```rhai
    /// let found = cluster::list("deploy", #{ namespace: "shop", fields: "metadata.name=web" });
    /// assert(found.len() == 1 && found[0].kind == "Deployment", found.len());
    /// let rows = cluster::list("pods", #{
    ///     namespace: "shop",
    ///     where: ".status.phase=Running,!.metadata.deletionTimestamp",
    ///     columns: #{ name: ".metadata.name", images: ".spec.containers[*].image" },
    /// });
    /// assert(rows[0].name != "" && rows[0].images.len() > 0, rows);
    /// let web = cluster::list("pods", #{ where: #{ ".metadata.labels.app": ["web", "www"] }, slim: true });
    /// assert(web.len() > 0 && web[0].spec == (), web);
    /// ```
    #[rhai_fn(name = "list", return_raw, volatile)]
    pub fn list_with(ctx: NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
        super::list(&ctx, kind, options)
    }

    /// The names of all objects of a kind; `NAMESPACE/NAME` where it lives in namespaces.
    ///
    /// kubectl: `kubectl get KIND --all-namespaces --output name`
    ///
    /// - `kind`: as kubectl takes it.
    ///
    /// Throws as `list`.
    ///
    /// ```rhai
    /// assert("shop" in cluster::names("namespaces"), "plain names");
    /// assert("shop/web" in cluster::names("deployments"), "with the namespace");
    /// ```
    #[rhai_fn(name = "names", return_raw, volatile)]
    pub fn names(ctx: NativeCallContext, kind: &str) -> Reply<Array> {
        super::names(&ctx, kind, Map::new())
    }

    /// The names of the objects of a kind that match; only metadata is transferred.
    ///
    /// kubectl: `kubectl get KIND --namespace NS --output name`
    ///
    /// - `kind`: as kubectl takes it.
    /// - `options`: `namespace` (all), `labels`, `fields`, `where`, `limit`: as for `list`.
    ///
    /// Gives plain names if a namespace was given, else `NAMESPACE/NAME` where the kind lives in namespaces.
    /// Throws as `list`.
    ///
    /// ```rhai
    /// assert("web" in cluster::names("deploy", #{ namespace: "shop" }), "plain names");
    /// ```
    #[rhai_fn(name = "names", return_raw, volatile)]
    pub fn names_with(ctx: NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
        super::names(&ctx, kind, options)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
    #[serde(rename = "where")]
    requirements: Value,
    columns: Option<serde_json::Map<String, Value>>,
    limit: Option<usize>,
    slim: bool,
    by: Option<String>,
}

impl Which {
    /// # Errors
    /// Requirements that cannot be read.
    pub(super) fn query(&self) -> Result<Query, ClusterError> {
        Ok(Query {
            namespace: self.namespace.clone(),
            selector: Selector {
                labels: self.labels.clone(),
                fields: self.fields.clone(),
            },
            filter: filter(&self.requirements)?,
            limit: self.limit,
            slim: self.slim,
        })
    }
}

fn list(ctx: &NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
    const KNOWN: &[&str] = &[
        "namespace",
        "labels",
        "fields",
        "where",
        "columns",
        "limit",
        "slim",
    ];
    let (world, cluster) = place(ctx)?;
    let which: Which = kit::options("cluster::list", options, KNOWN)?;
    let query = which.query().map_err(thrown)?;
    let Some(columns) = &which.columns else {
        let objects = world.wait(async {
            let kind = cluster.kind(kind).await?;
            cluster.select(&kind, &query).await
        })?;
        return Ok(objects.iter().map(shown).collect());
    };
    let columns = columns
        .iter()
        .map(|(name, at)| Ok((name.clone(), path(at.as_str().unwrap_or_default())?)))
        .collect::<Result<Vec<_>, ClusterError>>()
        .map_err(thrown)?;
    let rows = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.columns(&kind, &query, &columns).await
    })?;
    Ok(rows
        .into_iter()
        .map(|row| kit::to_dynamic(&Value::Object(row)))
        .collect())
}

fn count(ctx: &NativeCallContext, kind: &str, options: Map) -> Reply<Dynamic> {
    const KNOWN: &[&str] = &["namespace", "labels", "fields", "where", "by"];
    let (world, cluster) = place(ctx)?;
    let which: Which = kit::options("cluster::count", options, KNOWN)?;
    let query = which.query().map_err(thrown)?;
    let by = which.by.as_deref().map(path).transpose().map_err(thrown)?;
    let groups = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.count(&kind, &query, by.as_ref()).await
    })?;
    let number = |count: u64| Dynamic::from(i64::try_from(count).unwrap_or(i64::MAX));
    if by.is_none() {
        return Ok(number(groups.values().sum()));
    }
    let groups = groups
        .into_iter()
        .map(|(group, count)| (group.into(), number(count)));
    Ok(groups.collect::<Map>().into())
}

fn names(ctx: &NativeCallContext, kind: &str, options: Map) -> Reply<Array> {
    const KNOWN: &[&str] = &["namespace", "labels", "fields", "where", "limit"];
    let (world, cluster) = place(ctx)?;
    let which: Which = kit::options("cluster::names", options, KNOWN)?;
    let query = which.query().map_err(thrown)?;
    let columns = [
        ("name".to_owned(), path(".metadata.name").map_err(thrown)?),
        (
            "namespace".to_owned(),
            path(".metadata.namespace").map_err(thrown)?,
        ),
    ];
    let rows = world.wait(async {
        let kind = cluster.kind(kind).await?;
        cluster.columns(&kind, &query, &columns).await
    })?;
    let name = |row: serde_json::Map<String, Value>| {
        let text = |key: &str| row.get(key).and_then(Value::as_str);
        let name = text("name").unwrap_or_default();
        match text("namespace").filter(|_| query.namespace.is_none()) {
            Some(namespace) => Dynamic::from(format!("{namespace}/{name}")),
            None => Dynamic::from(name.to_owned()),
        }
    };
    Ok(rows.into_iter().map(name).collect())
}

fn thrown(error: ClusterError) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::from(error))
}

fn path(text: &str) -> Result<FieldPath, ClusterError> {
    FieldPath::parse(text).map_err(|e: PathError| ClusterError::BadRequest {
        message: e.to_string(),
    })
}

/// The option `where`: a text, or a map of paths to what must be there.
fn filter(requirements: &Value) -> Result<Filter, ClusterError> {
    let wrong = |what: String| ClusterError::BadRequest { message: what };
    match requirements {
        Value::Null => Ok(Filter::default()),
        Value::String(text) => Filter::parse(text),
        Value::Object(map) => {
            let mut filter = Filter::default();
            for (at, wanted) in map {
                let path = path(at)?;
                let all = match wanted {
                    Value::Null => {
                        filter.absent(path);
                        continue;
                    }
                    Value::Array(all) => all.as_slice(),
                    one => std::slice::from_ref(one),
                };
                let texts = all.iter().map(|value| match value {
                    Value::String(text) => Ok(text.clone()),
                    Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
                    other => Err(wrong(format!(
                        "`{at}` in `where` is compared with a text, a number, true or false, not with {other}"
                    ))),
                });
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                filter.one_of(path, texts);
            }
            Ok(filter)
        }
        other => Err(wrong(format!(
            "`where` is a text or a map of paths, not {other}"
        ))),
    }
}
