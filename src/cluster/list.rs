//! Lists of any size: read in pages, and only what is wanted of a page is kept.
//!
//! 10,000 pods are 130 MB of JSON and ten times that as values. So a page is split into its items as
//! text, of one item at a time that becomes a value which is looked at, and what a caller does not keep is
//! dropped before the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::call::{Call, Failure};
use super::path::{FieldPath, scalar};
use super::pluck::Mask;
use super::read::encode;
use super::{Cluster, ClusterError, Filter, Kind, Object, Selector};

/// How many objects a page of a list holds (kubectl's and client-go's figure).
const PAGE: usize = 500;

/// How often a list whose next page is too old is begun anew, before it is read in one piece.
const RESTARTS: u32 = 2;

/// For items of which only the metadata is transferred; a server that cannot sends them whole.
const METADATA: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// Which objects of a kind are listed. The default: all, whole.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Where; none: everywhere.
    pub namespace: Option<String>,
    /// What the API server selects by.
    pub selector: Selector,
    /// What is decided here, item by item.
    pub filter: Filter,
    /// How many at most; the first ones in the server's order.
    pub limit: Option<usize>,
    /// Whether only `metadata` is transferred and given.
    pub slim: bool,
}

impl Query {
    /// All objects of a namespace.
    pub fn within(namespace: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            ..Self::default()
        }
    }
}

/// How `kubectl` shows a group whose objects lack what they are grouped by.
const NONE: &str = "<none>";

impl Cluster {
    /// All objects that match, in the server's order; of all namespaces if none is given. A
    /// namespace that does not exist has none. A list is read in pages; if it takes so long that
    /// the server forgets where it was (410), it is read anew.
    ///
    /// # Errors
    /// As for [`Self::get`]; a selector that is none is [`ClusterError::Invalid`].
    pub async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: &Selector,
    ) -> Result<Vec<Object>, ClusterError> {
        let query = Query {
            namespace: namespace.map(str::to_owned),
            selector: selector.clone(),
            ..Query::default()
        };
        self.select(kind, &query).await
    }

    /// The objects that a query means, in the server's order.
    ///
    /// # Errors
    /// As for [`Self::list`]; [`ClusterError::BadRequest`]: what is to be decided needs more than is
    /// transferred, or compares what cannot be compared.
    pub async fn select(&self, kind: &Kind, query: &Query) -> Result<Vec<Object>, ClusterError> {
        Ok(self.select_at(kind, query).await?.0)
    }

    /// As [`Self::select`], with the resource version of the list, from which it can be watched.
    pub(super) async fn select_at(
        &self,
        kind: &Kind,
        query: &Query,
    ) -> Result<(Vec<Object>, String), ClusterError> {
        let mut objects = Objects {
            kind,
            slim: query.slim,
            found: Vec::new(),
        };
        let version = self.each(kind, query, &mut objects).await?;
        Ok((objects.found, version))
    }

    /// For each object of a query the values at paths, by the names given to them.
    ///
    /// # Errors
    /// As for [`Self::select`].
    pub async fn columns(
        &self,
        kind: &Kind,
        query: &Query,
        columns: &[(String, FieldPath)],
    ) -> Result<Vec<Map<String, Value>>, ClusterError> {
        let query = lean(query, columns.iter().map(|(_, path)| path));
        let mut rows = Rows {
            columns,
            found: Vec::new(),
        };
        self.each(kind, &query, &mut rows).await?;
        Ok(rows.found)
    }

    /// How many objects a query means, by the value at a path (`<none>` where there is none); an
    /// object with several values there counts for each. Without a path, all under one empty name.
    ///
    /// # Errors
    /// As for [`Self::select`]; [`ClusterError::BadRequest`]: what is at the path is no single value.
    pub async fn count(
        &self,
        kind: &Kind,
        query: &Query,
        by: Option<&FieldPath>,
    ) -> Result<BTreeMap<String, u64>, ClusterError> {
        let query = lean(query, by.into_iter());
        let mut groups = Groups {
            by,
            found: BTreeMap::new(),
        };
        self.each(kind, &query, &mut groups).await?;
        Ok(groups.found)
    }

    /// Gives each object of a query to a collector, and the resource version of the list back.
    async fn each(
        &self,
        kind: &Kind,
        query: &Query,
        collector: &mut dyn Collect,
    ) -> Result<String, ClusterError> {
        if !kind.can("list") {
            return Err(ClusterError::BadRequest {
                message: format!("`{}` cannot be listed: they are only made", kind.resource()),
            });
        }
        let wanted = collector.paths();
        if query.slim
            && let Some(path) = {
                let mut paths = query.filter.paths().chain(wanted.iter().flatten().copied());
                paths.find(|path| !path.is_metadata())
            }
        {
            return Err(ClusterError::BadRequest {
                message: format!(
                    "`{path}` cannot be looked at in a slim list, which has metadata only"
                ),
            });
        }
        let whole = wanted.is_none();
        let mask = Mask::of(query.filter.paths().chain(wanted.into_iter().flatten()));
        let base = kind.path(query.namespace.as_deref(), None)?;
        let selection = query.selector.query();
        // With a filter, nobody knows on which page the last one is.
        let page = match query.limit {
            Some(limit) if query.filter.is_empty() => limit.clamp(1, PAGE),
            _ => PAGE,
        };
        let (mut token, mut restarts, mut paged) = (String::new(), 0, true);
        let mut kept = 0;
        loop {
            let mut path = if paged {
                format!("{base}?limit={page}{selection}")
            } else {
                format!("{base}?{}", selection.trim_start_matches('&'))
            };
            if !token.is_empty() {
                path.push_str("&continue=");
                path.push_str(&encode(&token));
            }
            let mut call = Call::get("list", kind.subject(query.namespace.as_deref(), None), path);
            if query.slim {
                call.accept = METADATA;
            }
            let mut parse = |bytes: &[u8]| {
                let page: Page = serde_json::from_slice(bytes)
                    .map_err(|e| format!("{} bytes that are no list: {e}", bytes.len()))?;
                let next = page.metadata.next.unwrap_or_default();
                let Some(items) = page.items else {
                    return Ok(Err(None));
                };
                for item in items.0.unwrap_or_default() {
                    if query.limit.is_some_and(|limit| kept >= limit) {
                        return Ok(Ok((String::new(), page.metadata.resource_version)));
                    }
                    // The page was read to its end, so each item is JSON.
                    let read = |whole: bool| {
                        let value = if whole {
                            serde_json::from_str(item.get())
                        } else {
                            mask.read(item.get())
                        };
                        let mut value: Value = value.map_err(|e| e.to_string())?;
                        // The items of a list of a built-in kind have no kind, those of metadata have
                        // another.
                        if let Some(map) = value.as_object_mut() {
                            map.insert("kind".to_owned(), kind.kind().into());
                            map.insert("apiVersion".to_owned(), kind.api_version().into());
                        }
                        Ok::<_, String>(value)
                    };
                    let mut value = read(whole && query.filter.is_empty())?;
                    match query.filter.matches(&value) {
                        Ok(false) => continue,
                        Ok(true) => {}
                        Err(error) => return Ok(Err(Some(error))),
                    }
                    if whole && !query.filter.is_empty() {
                        value = read(true)?;
                    }
                    kept += 1;
                    if let Err(error) = collector.take(value) {
                        return Ok(Err(Some(error)));
                    }
                }
                Ok(Ok((next, page.metadata.resource_version)))
            };
            let (next, version) = match self.try_read_as(&call, &mut parse).await {
                Ok(Ok(read)) => read,
                Ok(Err(Some(error))) => return Err(error),
                Ok(Err(None)) => {
                    return Err(ClusterError::Decode {
                        operation: "list",
                        subject: call.subject,
                        reason: "it has no `items`".into(),
                    });
                }
                Err(Failure::Status(s)) if s.code == 410 && !token.is_empty() => {
                    // As client-go does it: what takes too long in pages is asked for at once.
                    restarts += 1;
                    paged = restarts <= RESTARTS;
                    token.clear();
                    kept = 0;
                    collector.clear();
                    continue;
                }
                Err(failure) => return Err(self.error(&call, failure)),
            };
            let enough = query.limit.is_some_and(|limit| kept >= limit);
            if next.is_empty() || enough {
                return Ok(version);
            }
            token = next;
        }
    }
}

/// The query, slim if nothing but metadata is looked at.
fn lean<'a>(query: &Query, mut paths: impl Iterator<Item = &'a FieldPath>) -> Query {
    let metadata =
        paths.all(FieldPath::is_metadata) && query.filter.paths().all(FieldPath::is_metadata);
    Query {
        slim: query.slim || metadata,
        ..query.clone()
    }
}

/// A field that is there, if it is `null` too.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

#[derive(Deserialize)]
struct Page<'a> {
    /// A real API server writes `null` for an empty list of metadata; a list without the field is none.
    #[serde(borrow, default, deserialize_with = "present")]
    items: Option<Items<'a>>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Items<'a>(#[serde(borrow)] Option<Vec<&'a RawValue>>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
    #[serde(rename = "resourceVersion")]
    resource_version: String,
}

/// What becomes of the items of a list.
trait Collect: Send {
    /// What it looks at in an item; none: it wants the whole.
    fn paths(&self) -> Option<Vec<&FieldPath>> {
        None
    }

    /// A list is begun anew.
    fn clear(&mut self);

    /// One more item.
    fn take(&mut self, item: Value) -> Result<(), ClusterError>;
}

struct Objects<'a> {
    kind: &'a Kind,
    slim: bool,
    found: Vec<Object>,
}

impl Collect for Objects<'_> {
    fn clear(&mut self) {
        self.found.clear();
    }

    fn take(&mut self, mut item: Value) -> Result<(), ClusterError> {
        if self.slim {
            item = slimmed(self.kind, item);
        }
        self.found.push(self.kind.object(item));
        Ok(())
    }
}

/// The metadata of an item, under its own kind and not the one of a partial object.
fn slimmed(kind: &Kind, mut item: Value) -> Value {
    let metadata = item.get_mut("metadata").map(Value::take);
    serde_json::json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind(),
        "metadata": metadata.unwrap_or_default(),
    })
}

struct Rows<'a> {
    columns: &'a [(String, FieldPath)],
    found: Vec<Map<String, Value>>,
}

impl Collect for Rows<'_> {
    fn paths(&self) -> Option<Vec<&FieldPath>> {
        Some(self.columns.iter().map(|(_, path)| path).collect())
    }

    fn clear(&mut self) {
        self.found.clear();
    }

    fn take(&mut self, item: Value) -> Result<(), ClusterError> {
        let mut row = Map::new();
        for (name, path) in self.columns {
            row.insert(name.clone(), path.value(&item)?.unwrap_or_default());
        }
        self.found.push(row);
        Ok(())
    }
}

struct Groups<'a> {
    by: Option<&'a FieldPath>,
    found: BTreeMap<String, u64>,
}

impl Collect for Groups<'_> {
    fn paths(&self) -> Option<Vec<&FieldPath>> {
        Some(self.by.into_iter().collect())
    }

    fn clear(&mut self) {
        self.found.clear();
    }

    fn take(&mut self, item: Value) -> Result<(), ClusterError> {
        let mut count = |group: String| *self.found.entry(group).or_default() += 1;
        let Some(path) = self.by else {
            count(String::new());
            return Ok(());
        };
        let values = path.values_of(&item)?;
        if values.iter().all(|v| v.is_null()) {
            count(NONE.to_owned());
        }
        for value in values.into_iter().filter(|v| !v.is_null()) {
            count(scalar(value).ok_or_else(|| ClusterError::BadRequest {
                message: format!(
                    "`{path}` leads to a map or a list, by which nothing can be grouped"
                ),
            })?);
        }
        Ok(())
    }
}
