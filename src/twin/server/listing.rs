//! Lists: selection, pages that are one snapshot, and their three forms.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde_json::{Value, json};

use super::super::kube::selector::{FieldSelector, LabelSelector};
use super::super::kube::{Key, Kube, Listing, Resource, Status};
use super::convert::{self, View};
use super::options;
use super::path::Query;
use super::reply::{Form, Notation, Reply, document, partial};
use super::table;

/// What a list or a watch is limited to.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
}

impl Selection {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// 400: a selector cannot be read, or selects by a field that the resource cannot be selected by.
    pub fn read(resource: &Resource, version: &str, query: &Query) -> Result<Selection, Status> {
        let labels =
            LabelSelector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
        let fields =
            FieldSelector::parse(query.get("fieldSelector")).map_err(Status::bad_request)?;
        for field in fields.fields() {
            selectable(resource, version, field).map_err(Status::bad_request)?;
        }
        let fields = if resource.is_second_view() {
            fields.renamed(convert::core_field)
        } else {
            fields
        };
        Ok(Selection { labels, fields })
    }

    /// Whether an object is in it.
    pub fn has(&self, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"]) && self.fields.matches(object)
    }

    /// Whether everything is in it.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.fields().next().is_none()
    }
}

fn selectable(resource: &Resource, version: &str, field: &str) -> Result<(), String> {
    if field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced) {
        return Ok(());
    }
    let known: &[&str] = match resource.name().as_str() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "replicationcontrollers" => &["status.replicas"],
        "jobs.batch" => &["status.successful"],
        "events.events.k8s.io" => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingController",
            "type",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &[],
    };
    if known.contains(&field) {
        return Ok(());
    }
    if let Some(custom) = resource.version(version).and_then(|v| v.custom.as_ref()) {
        let dotted = format!(".{field}");
        if custom.selectable.contains(&dotted) {
            return Ok(());
        }
        return Err(format!("field label not supported: {field}"));
    }
    if known.is_empty() {
        let names = if resource.namespaced {
            "\"metadata.name\", \"metadata.namespace\""
        } else {
            "\"metadata.name\""
        };
        return Err(format!(
            "\"{field}\" is not a known field selector: only {names}"
        ));
    }
    Err(match resource.kind.as_str() {
        "Job" => format!("field label \"{field}\" not supported for Job"),
        _ => format!("field label not supported: {field}"),
    })
}

/// Answers a list request.
///
/// # Errors
/// As an API server refuses it.
pub async fn answer(
    kube: &Kube,
    view: &View,
    namespace: Option<&str>,
    query: &Query,
    (form, notation): (Form, Notation),
) -> Result<Reply, Status> {
    options::check_list(query)?;
    let selection = Selection::read(&view.resource, &view.version, query)?;
    let page = page(kube, &view.resource, namespace, query, &selection).await?;
    let meta = page.metadata();
    let items: Vec<&Value> = page.items.iter().map(|(_, o)| &**o).collect();
    match form {
        Form::Table => {
            let objects: Vec<_> = items.iter().map(|o| view.show(o)).collect();
            let rows: Vec<&Value> = objects.iter().map(AsRef::as_ref).collect();
            let table = table::of(view, &rows, &meta, query.get("includeObject"))?;
            Ok(document(200, notation, &table))
        }
        Form::Partial => {
            let items: Vec<Value> = items.iter().map(|o| partial(o)).collect();
            // Go's word for a list that was never made.
            let items = if items.is_empty() {
                Value::Null
            } else {
                items.into()
            };
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": meta, "items": items,
            });
            Ok(document(200, notation, &list))
        }
        Form::Object => {
            let list = List {
                view,
                meta: &meta,
                items: &items,
            };
            Ok(document(200, notation, &list))
        }
    }
}

/// A list as it is written: items of built-in kinds carry no kind of their own.
struct List<'a> {
    view: &'a View,
    meta: &'a Value,
    items: &'a [&'a Value],
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_struct("List", 4)?;
        list.serialize_field("kind", &self.view.resource.list_kind)?;
        list.serialize_field("apiVersion", &self.view.api_version())?;
        list.serialize_field("metadata", self.meta)?;
        list.serialize_field("items", &Items(self.view, self.items))?;
        list.end()
    }
}

struct Items<'a>(&'a View, &'a [&'a Value]);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.1.iter().map(|o| Item(self.0, o)))
    }
}

struct Item<'a>(&'a View, &'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let shown = self.0.show(self.1);
        let Value::Object(map) = shown.as_ref() else {
            return shown.serialize(to);
        };
        if !self.0.resource.built_in {
            return map.serialize(to);
        }
        let mut out = to.serialize_map(None)?;
        for (key, value) in map {
            if key != "kind" && key != "apiVersion" {
                out.serialize_entry(key, value)?;
            }
        }
        out.end()
    }
}

/// One page of a list.
struct Page {
    version: u64,
    items: Listing,
    next: Option<String>,
    remaining: Option<usize>,
}

impl Page {
    fn metadata(&self) -> Value {
        let mut meta = json!({"resourceVersion": self.version.to_string()});
        if let Some(next) = &self.next {
            meta["continue"] = next.clone().into();
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
        meta
    }
}

async fn page(
    kube: &Kube,
    resource: &Resource,
    namespace: Option<&str>,
    query: &Query,
    selection: &Selection,
) -> Result<Page, Status> {
    let limit = number(query.get("limit"))?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let token = query.get("continue");
    let asked = query.get("resourceVersion");
    let name = resource.storage_name();
    let (version, mut items, exact) = if token.is_empty() {
        let (version, items, exact) = snapshot(kube, &name, namespace, query).await?;
        (version, items, exact)
    } else {
        if !asked.is_empty() {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (version, after) = read_token(token)?;
        let mut items = kube
            .store()
            .list_at(&name, namespace, version)
            .map_err(|_| expired_token())?;
        items.retain(|(key, _)| *key > after);
        (version, items, true)
    };
    let _ = exact;
    if !selection.is_everything() {
        items.retain(|(_, object)| selection.has(object));
    }
    let mut page = Page {
        version,
        items,
        next: None,
        remaining: None,
    };
    if limit > 0 && page.items.len() > limit {
        let rest = page.items.len() - limit;
        page.items.truncate(limit);
        page.next = page.items.last().map(|(key, _)| write_token(version, key));
        page.remaining = selection.is_everything().then_some(rest);
    }
    Ok(page)
}

/// The objects at the version that the request asks for.
async fn snapshot(
    kube: &Kube,
    name: &str,
    namespace: Option<&str>,
    query: &Query,
) -> Result<(u64, Listing, bool), Status> {
    let asked = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    if matching.is_empty() && (asked.is_empty() || asked == "0") {
        let (version, items) = kube.store().list(name, namespace);
        return Ok((version, items, false));
    }
    let version = convert::version_number(asked)
        .map_err(|e| Status::bad_request(format!("invalid resource version: {}", e.message)))?;
    wait_for(kube, version).await?;
    if matching == "Exact" {
        let items = kube
            .store()
            .list_at(name, namespace, version)
            .map_err(|e| Status::expired(version, e.oldest))?;
        return Ok((version, items, true));
    }
    let (now, items) = kube.store().list(name, namespace);
    Ok((now, items, false))
}

/// A version from the future is waited for, as long as an API server waits.
///
/// # Errors
/// 504: it does not come.
pub async fn wait_for(kube: &Kube, version: u64) -> Result<(), Status> {
    let mut changes = kube.changes();
    let reached = tokio::time::timeout(
        Duration::from_secs(3),
        changes.wait_for(|now| *now >= version),
    );
    if reached.await.is_ok() {
        return Ok(());
    }
    let mut status = Status::new(
        504,
        "Timeout",
        format!(
            "Timeout: Too large resource version: {version}, current: {}",
            kube.store().version()
        ),
    );
    status.details = Some(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }));
    Err(status)
}

/// A whole number; nothing is zero.
///
/// # Errors
/// 400: it is none.
pub fn number(text: &str) -> Result<i64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "strconv.ParseInt: parsing \"{text}\": invalid syntax"
        ))
    })
}

fn write_token(version: u64, key: &Key) -> String {
    let start = format!("{}/{}\u{0}", key.0, key.1);
    let token = json!({"v": "meta.k8s.io/v1", "rv": version, "start": start});
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str) -> Result<(u64, Key), Status> {
    let broken = |why: &str| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|error| {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) => at,
                _ => token.len() - token.len() % 4,
            };
            broken(&format!("illegal base64 data at input byte {at}"))
        })?;
    let token: Value = serde_json::from_slice(&text).map_err(|e| broken(&e.to_string()))?;
    let start = token["start"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches('\u{0}');
    match (token["rv"].as_u64(), start.split_once('/')) {
        (Some(version), Some((namespace, name))) => {
            Ok((version, (namespace.to_owned(), name.to_owned())))
        }
        _ => Err(broken(
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        )),
    }
}

fn expired_token() -> Status {
    Status::new(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new \
         list without the continue parameter, or use the continue token in this response to retrieve the \
         remainder of the results. Continuing with the provided token results in an inconsistent list - \
         objects that were created, modified, or deleted between the time the first chunk was returned and \
         now may show up in the list.",
    )
}

/// The objects that a deletion of a collection means.
pub fn selected(
    kube: &Kube,
    view: &View,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Vec<Arc<Value>>, Status> {
    let selection = Selection::read(&view.resource, &view.version, query)?;
    let all = kube.list(&view.resource.storage_name(), namespace);
    Ok(all.into_iter().filter(|o| selection.has(o)).collect())
}
