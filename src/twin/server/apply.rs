//! Server-side apply: a configuration that owns the fields it names.

use serde_json::{Value, json};

use super::super::kube::managed::{self, Manager};
use super::super::kube::ops::{self, Changed};
use super::super::kube::schema::{self, TYPES};
use super::super::kube::{Part, Status};
use super::body::WriteWish;
use super::convert::invalid_options;
use super::escalation;
use super::objects::Ask;
use super::reply::Reply;

/// Answers an apply patch: creates the object, or changes it.
///
/// # Errors
/// As an API server refuses it; 409 where others own what it would change.
pub async fn answer(ask: &Ask<'_>, part: Part, wish: &WriteWish) -> Result<Reply, Status> {
    if ask.query.get("fieldManager").is_empty() {
        return Err(invalid_options(
            "PatchOptions",
            "fieldManager",
            "FieldValueRequired",
            "Required value: is required for apply patch",
        ));
    }
    let wanted = configuration(ask)?;
    let force = wish.force == Some(true);
    let options = ask.options(wish);
    let target = ask.target();
    let manager = Manager::of(target, &options, part);
    let resource = &ask.view.resource;
    if ask
        .kube
        .get(&resource.name(), target.namespace, target.name)
        .is_none()
    {
        if part != Part::Main {
            return Err(Status::not_found(resource, target.name));
        }
        escalation::require(ask, &wanted)?;
        let mut object = managed::apply(None, &wanted, &manager, force)?;
        ops::metadata(&mut object).remove("resourceVersion");
        let created = ops::create(ask.kube, target, object, &options).await?;
        return ask.show(201, &created);
    }
    let version = wanted["metadata"]["resourceVersion"].clone();
    let changed = ops::change(ask.kube, target, part, &options, |before| {
        let shown = ask.view.show(before);
        let mut object = managed::apply(Some(&shown), &wanted, &manager, force)?;
        escalation::require(ask, &object)?;
        if version.is_null() {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        }
        if let Some(of) = TYPES.of(&resource.group, &ask.view.version, &resource.kind) {
            schema::normalise(&mut object, of);
        }
        Ok(Changed {
            object: ask.view.read(object),
            exact: !version.is_null(),
            applied: true,
        })
    })
    .await?;
    ask.show(200, &changed)
}

/// Reads the configuration: JSON or YAML, of the right kind and name, with known fields only.
fn configuration(ask: &Ask<'_>) -> Result<Value, Status> {
    let text = String::from_utf8_lossy(ask.body);
    let mut wanted: Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_str(&text)
            .map_err(|e| Status::bad_request(format!("error decoding YAML: {e}")))?,
    };
    let resource = &ask.view.resource;
    let own = ask.view.api_version();
    let place = wanted["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if wanted["apiVersion"].as_str().unwrap_or_default().is_empty() {
        let kind = wanted["kind"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "invalid object type: /, Kind={kind}"
        )));
    }
    for (field, is) in [
        ("apiVersion", own.as_str()),
        ("kind", resource.kind.as_str()),
    ] {
        if wanted[field] != is {
            let version = wanted["apiVersion"].as_str().unwrap_or_default();
            let kind = wanted["kind"].as_str().unwrap_or_default();
            return Err(Status::bad_request(format!(
                "the object provided ({version}, Kind={kind}) does not match the one on the URL ({own}, \
                 Kind={})",
                resource.kind
            )));
        }
    }
    if !wanted["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let meta = ops::metadata(&mut wanted);
    let name = meta.entry("name").or_insert_with(|| json!(ask.path.name));
    if *name != ask.path.name.as_str() {
        return Err(Status::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            name.as_str().unwrap_or_default(),
            ask.path.name
        )));
    }
    if resource.namespaced {
        meta.entry("namespace")
            .or_insert_with(|| json!(ask.path.namespace));
    }
    if let Some(of) = TYPES.of(&resource.group, &ask.view.version, &resource.kind) {
        let typed = |why: &str| {
            let version = if resource.group.is_empty() {
                format!("/{own}")
            } else {
                own.clone()
            };
            Status::internal(format!(
                "failed to create typed patch object ({place}/{}; {version}, Kind={}): {why}",
                ask.path.name, resource.kind
            ))
        };
        let unknown = schema::unknown_fields(wanted.to_string().as_bytes(), Some(of));
        if let Some(first) = unknown.first() {
            let field = first.trim_start_matches("unknown field ").trim_matches('"');
            return Err(typed(&format!(".{field}: field not declared in schema")));
        }
        schema::check_types(&wanted, of).map_err(|why| typed(&why))?;
    }
    Ok(wanted)
}
