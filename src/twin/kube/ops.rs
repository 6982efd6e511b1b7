//! Writing: create and update, in the order of steps of a real API server.
//!
//! Create: metadata, defaults, admission (namespace, rules of kinds, mutating webhooks), validation,
//! validating webhooks, store. Update: change, what may not be touched taken back, then the same.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Kube;
use super::admission;
use super::crd;
use super::managed::{self, Manager};
use super::registry::Resource;
use super::rules;
use super::schema;
use super::status::{Cause, Status};
use super::store::Clash;
use super::validate;

/// Who writes; webhooks are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// User name.
    pub user: String,
    /// UID; often empty.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// `extra` of impersonation.
    pub extra: Vec<(String, Vec<String>)>,
}

impl Actor {
    /// The twin's own controllers.
    pub fn controller() -> Actor {
        Actor {
            user: "system:kube-controller-manager".to_owned(),
            uid: String::new(),
            groups: vec!["system:authenticated".to_owned()],
            extra: Vec::new(),
        }
    }
}

/// How a write is made.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Who writes.
    pub actor: Actor,
    /// All steps but the last.
    pub dry_run: bool,
    /// `managedFields[].manager`.
    pub manager: String,
}

impl WriteOptions {
    /// A write by the twin's own controllers.
    pub fn controller() -> WriteOptions {
        WriteOptions {
            actor: Actor::controller(),
            dry_run: false,
            manager: "kube-controller-manager".to_owned(),
        }
    }
}

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where that is a subresource.
    Main,
    /// The number of replicas, as a Scale tells it.
    Scale,
    /// The status alone.
    Status,
}

impl Part {
    /// The name of the subresource; empty for the object itself.
    pub fn subresource(self) -> &'static str {
        match self {
            Part::Main => "",
            Part::Scale => "scale",
            Part::Status => "status",
        }
    }
}

/// Which object, in which version of its resource.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its resource.
    pub resource: &'a Resource,
    /// The version in which the writer speaks; it shows in errors and managed fields.
    pub version: &'a str,
    /// Namespace; empty for cluster-scoped.
    pub namespace: &'a str,
    /// Name; empty while it is not known.
    pub name: &'a str,
}

impl Target<'_> {
    /// `apps/v1`.
    pub fn api_version(&self) -> String {
        self.resource.api_version(self.version)
    }
}

/// Creates an object.
///
/// # Errors
/// As the API server answers.
pub async fn create(
    kube: &Kube,
    target: Target<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Arc<Value>, Status> {
    let resource = target.resource;
    if let Some(of) = schema::stored_type(resource) {
        schema::normalise(&mut object, of);
    }
    let name = prepare_metadata(kube, target, &mut object)?;
    let target = Target {
        name: &name,
        ..target
    };
    admission::namespace_allows(kube, target)?;
    rules::default(resource, &mut object);
    let object = admission::admit_create(kube, target, object, options).await?;
    store_new(kube, target, object, options)
}

fn store_new(
    kube: &Kube,
    target: Target<'_>,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Arc<Value>, Status> {
    let resource = target.resource;
    // An object that was applied has its managers already.
    if object["metadata"]["managedFields"].is_null() {
        managed::created(&mut object, &Manager::of(target, options, Part::Main));
    }
    let key = (target.namespace.to_owned(), target.name.to_owned());
    let taken = |existing: &Value| {
        let mut status = Status::already_exists(resource, target.name);
        if existing["metadata"]["deletionTimestamp"].is_string() {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    };
    if let Some(existing) = kube.get(&resource.name(), target.namespace, target.name) {
        return Err(taken(&existing));
    }
    if options.dry_run {
        return Ok(Arc::new(object));
    }
    let stored = kube
        .store()
        .insert(&resource.name(), key, object)
        .map_err(|_| Status::already_exists(resource, target.name))?;
    Ok(after_write(kube, resource, stored))
}

/// What follows at once from a write. The object may have been written again by then.
fn after_write(kube: &Kube, resource: &Resource, object: Arc<Value>) -> Arc<Value> {
    if resource.kind == "CustomResourceDefinition" && resource.built_in {
        crd::written(kube, &object);
        let (namespace, name) = key_of(&object);
        return kube
            .get(&resource.name(), &namespace, &name)
            .unwrap_or(object);
    }
    object
}

fn prepare_metadata(kube: &Kube, target: Target<'_>, object: &mut Value) -> Result<String, Status> {
    let resource = target.resource;
    object["apiVersion"] = resource.storage_api_version().into();
    object["kind"] = resource.kind.clone().into();
    let meta = metadata(object);
    if meta.get("resourceVersion").is_some_and(|v| v != "") {
        return Err(Status::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let text = |meta: &Map<String, Value>, key: &str| {
        meta.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (mut name, prefix) = (text(meta, "name"), text(meta, "generateName"));
    if name.is_empty() && !prefix.is_empty() {
        name = format!("{}{}", shortened(&prefix), kube.random().suffix(5));
        meta.insert("name".to_owned(), name.clone().into());
    }
    if name.is_empty() {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(Status::invalid(
            &resource.group,
            &resource.kind,
            "",
            &[cause],
        ));
    }
    if resource.namespaced {
        meta.insert("namespace".to_owned(), target.namespace.into());
    } else {
        meta.remove("namespace");
    }
    for gone in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ] {
        meta.remove(gone);
    }
    meta.insert("uid".to_owned(), kube.random().uid().into());
    meta.insert("creationTimestamp".to_owned(), now());
    Ok(name)
}

/// A prefix leaves room for its suffix in 63 characters.
fn shortened(prefix: &str) -> &str {
    prefix.get(..58).unwrap_or(prefix)
}

/// Reads, modifies and writes as a controller does, until no other write came between.
///
/// # Errors
/// There is no such object.
pub fn update(
    kube: &Kube,
    target: Target<'_>,
    part: Part,
    mut change: impl FnMut(&mut Value),
) -> Result<Arc<Value>, Status> {
    let (resource, name) = (target.resource, target.name);
    let options = WriteOptions::controller();
    loop {
        let before = kube
            .get(&resource.name(), target.namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        let mut after = (*before).clone();
        change(&mut after);
        rules::prepare_update(resource, &before, &mut after, part);
        rules::count_generation(resource, &before, &mut after, part);
        managed::updated(&before, &mut after, &Manager::of(target, &options, part));
        match store(kube, resource, &before, after) {
            Ok(object) => return Ok(object),
            Err(Clash::Missing | Clash::Exists) => return Err(Status::not_found(resource, name)),
            Err(Clash::Changed) => {}
        }
    }
}

/// What a request makes of an object.
pub struct Changed {
    /// The object as the request wants it.
    pub object: Value,
    /// Whether the request named the version that it changes, so that a newer one is a conflict.
    pub exact: bool,
    /// Whether the managed fields in `object` are final (server-side apply).
    pub applied: bool,
}

/// Changes an object as a request does: with defaults, admission, validation and webhooks.
///
/// # Errors
/// As the API server answers.
pub async fn change(
    kube: &Kube,
    target: Target<'_>,
    part: Part,
    options: &WriteOptions,
    mut make: impl FnMut(&Value) -> Result<Changed, Status>,
) -> Result<Arc<Value>, Status> {
    let (resource, name) = (target.resource, target.name);
    loop {
        let before = kube
            .get(&resource.name(), target.namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        let Changed {
            object: mut after,
            exact,
            applied,
        } = make(&before)?;
        check_version(resource, &before, &after)?;
        let mut causes = validate::fixed(&before, &after, part);
        rules::prepare_update(resource, &before, &mut after, part);
        rules::prepare_request(resource, &before, &mut after);
        if part != Part::Status {
            rules::default(resource, &mut after);
            after = admission::admit_update(kube, target, &before, after, options).await?;
        }
        rules::count_generation_of_request(resource, &before, &mut after, part);
        causes.extend(validate::update(resource, &before, &after, part));
        if !causes.is_empty() {
            return Err(Status::invalid(
                &resource.group,
                &resource.kind,
                name,
                &causes,
            ));
        }
        if part != Part::Status {
            admission::validate_update(kube, target, &before, &after, options).await?;
        }
        if !applied {
            managed::updated(&before, &mut after, &Manager::of(target, options, part));
        }
        if options.dry_run {
            after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            return Ok(Arc::new(after));
        }
        match store(kube, resource, &before, after) {
            Ok(object) => return Ok(after_write(kube, resource, object)),
            Err(Clash::Missing | Clash::Exists) => return Err(Status::not_found(resource, name)),
            Err(Clash::Changed) if exact => return Err(Status::modified(resource, name)),
            Err(Clash::Changed) => {}
        }
    }
}

/// A version that a request carries must be the one that is stored.
fn check_version(resource: &Resource, before: &Value, after: &Value) -> Result<(), Status> {
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(uid) = after["metadata"]["uid"].as_str()
        && !uid.is_empty()
        && before["metadata"]["uid"] != uid
    {
        return Err(Status::conflict(
            resource,
            name,
            &format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                resource.plural,
                storage_path(before),
                before["metadata"]["uid"].as_str().unwrap_or_default()
            ),
        ));
    }
    match after["metadata"]["resourceVersion"].as_str() {
        None | Some("") => Ok(()),
        Some(version) => {
            if version.parse::<u64>().is_err() {
                return Err(Status::internal(format!(
                    "strconv.ParseUint: parsing \"{version}\": invalid syntax"
                )));
            }
            if before["metadata"]["resourceVersion"] == version {
                Ok(())
            } else {
                Err(Status::modified(resource, name))
            }
        }
    }
}

fn storage_path(object: &Value) -> String {
    let (namespace, name) = key_of(object);
    if namespace.is_empty() {
        name
    } else {
        format!("{namespace}/{name}")
    }
}

/// Writes the new state of an object: not at all when nothing changed, and as its removal when it was
/// only held by what it has now lost.
///
/// # Errors
/// Another write came first.
pub fn store(
    kube: &Kube,
    resource: &Resource,
    before: &Arc<Value>,
    mut after: Value,
) -> Result<Arc<Value>, Clash> {
    after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    let key = key_of(before);
    if finished(&after) {
        let gone = kube.store().remove(&resource.name(), &key, before, after)?;
        if !resource.built_in {
            crd::removed(kube, resource);
        }
        return Ok(gone);
    }
    if managed::same(before, &after) {
        return Ok(Arc::clone(before));
    }
    kube.store().replace(&resource.name(), key, before, after)
}

/// Whether an object is being deleted and nothing holds it any more.
pub fn finished(object: &Value) -> bool {
    let meta = &object["metadata"];
    let held = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    meta["deletionTimestamp"].is_string()
        && meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held(&meta["finalizers"])
        && !(object["kind"] == "Namespace" && held(&object["spec"]["finalizers"]))
}

/// Namespace and name of an object.
pub fn key_of(object: &Value) -> (String, String) {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

/// The metadata, made if it is not there.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    match &mut object["metadata"] {
        Value::Object(meta) => meta,
        _ => unreachable!("just made an object"),
    }
}

/// The wall clock as the API writes it: UTC, whole seconds.
pub fn now() -> Value {
    in_seconds(0)
}

/// The wall clock some seconds from now.
pub fn in_seconds(seconds: i64) -> Value {
    let at = Timestamp::now().as_second() + seconds;
    Timestamp::from_second(at)
        .map(|t| t.to_string())
        .unwrap_or_default()
        .into()
}
