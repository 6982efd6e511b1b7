//! Writing: create, update, delete, with what happens to every object whatever its kind.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Kube;
use super::registry::Resource;
use super::rules;
use super::status::Status;
use super::store::Clash;

/// Who writes; webhooks are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

impl Actor {
    /// The twin's own controllers.
    pub fn controller() -> Actor {
        Actor {
            user: "system:kube-controller-manager".to_owned(),
            groups: vec!["system:authenticated".to_owned()],
        }
    }
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// It waits for them.
    Foreground,
    /// They stay.
    Orphan,
}

/// Which part of an object a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where that is a subresource.
    Main,
    /// The status alone.
    Status,
}

/// What a deletion asks for.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// `gracePeriodSeconds`.
    pub grace: Option<i64>,
    /// `propagationPolicy`.
    pub propagation: Option<Propagation>,
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub version: Option<String>,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// What a deletion did.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone.
    Gone(Arc<Value>),
    /// It is being deleted.
    Marked(Arc<Value>),
}

/// Creates an object.
pub async fn create(
    kube: &Kube,
    resource: &Resource,
    namespace: &str,
    mut object: Value,
    _actor: &Actor,
) -> Result<Arc<Value>, Status> {
    std::future::ready(()).await;
    let name = prepare_metadata(kube, resource, namespace, &mut object)?;
    rules::default(resource, &mut object);
    rules::prepare_create(resource, &mut object);
    let key = (namespace.to_owned(), name.clone());
    kube.store()
        .insert(&resource.name(), key, object)
        .map_err(|_| Status::already_exists(resource, &name))
}

fn prepare_metadata(
    kube: &Kube,
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<String, Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized"));
    }
    object["apiVersion"] = resource.storage_api_version().into();
    object["kind"] = resource.kind.clone().into();
    let meta = metadata(object);
    let text = |meta: &Map<String, Value>, key: &str| {
        meta.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (mut name, prefix) = (text(meta, "name"), text(meta, "generateName"));
    if name.is_empty() && !prefix.is_empty() {
        name = format!("{prefix}{}", kube.random().suffix(5));
        meta.insert("name".to_owned(), name.clone().into());
    }
    if resource.namespaced {
        meta.insert("namespace".to_owned(), namespace.into());
    } else {
        meta.remove("namespace");
    }
    for gone in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        meta.remove(gone);
    }
    meta.insert("uid".to_owned(), kube.random().uid().into());
    meta.insert("creationTimestamp".to_owned(), now());
    Ok(name)
}

/// Reads, modifies and writes, until no other write came between.
pub fn update(
    kube: &Kube,
    resource: &Resource,
    namespace: &str,
    name: &str,
    part: Part,
    mut change: impl FnMut(&mut Value),
) -> Result<Arc<Value>, Status> {
    loop {
        let before = kube
            .get(&resource.name(), namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        let mut after = (*before).clone();
        change(&mut after);
        rules::prepare_update(resource, &before, &mut after, part);
        match store(kube, resource, &before, after) {
            Ok(object) => return Ok(object),
            Err(Clash::Missing | Clash::Exists) => return Err(Status::not_found(resource, name)),
            Err(Clash::Changed) => {}
        }
    }
}

/// Writes the new state of an object: not at all when nothing changed, and as its removal when it was
/// only held by what it has now lost.
pub fn store(
    kube: &Kube,
    resource: &Resource,
    before: &Arc<Value>,
    mut after: Value,
) -> Result<Arc<Value>, Clash> {
    after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    if after == **before && !finished(&after) {
        return Ok(Arc::clone(before));
    }
    let key = key_of(before);
    if finished(&after) {
        return kube.store().remove(&resource.name(), &key, before, after);
    }
    kube.store().replace(&resource.name(), key, before, after)
}

/// Whether an object is being deleted and nothing holds it any more.
fn finished(object: &Value) -> bool {
    let meta = &object["metadata"];
    let held = |list: &Value| list.as_array().is_some_and(|l| !l.is_empty());
    meta["deletionTimestamp"].is_string()
        && meta["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !held(&meta["finalizers"])
        && !(object["kind"] == "Namespace" && held(&object["spec"]["finalizers"]))
}

/// Deletes an object, or marks it when something holds it.
pub fn delete(
    kube: &Kube,
    resource: &Resource,
    namespace: &str,
    name: &str,
    wish: &Deletion,
) -> Result<Deleted, Status> {
    loop {
        let before = kube
            .get(&resource.name(), namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        let after = marked(resource, &before, wish);
        let gone = finished(&after);
        if wish.dry_run {
            return Ok(outcome(gone, Arc::new(after)));
        }
        match store(kube, resource, &before, after) {
            Ok(object) => return Ok(outcome(gone, object)),
            Err(Clash::Missing | Clash::Exists) => return Err(Status::not_found(resource, name)),
            Err(Clash::Changed) => {}
        }
    }
}

fn outcome(gone: bool, object: Arc<Value>) -> Deleted {
    if gone {
        Deleted::Gone(object)
    } else {
        Deleted::Marked(object)
    }
}

/// The object with the marks of its deletion.
fn marked(resource: &Resource, before: &Value, wish: &Deletion) -> Value {
    let mut after = before.clone();
    let grace = grace(resource, before, wish.grace);
    let namespace = before["kind"] == "Namespace";
    let meta = metadata(&mut after);
    let known = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    if meta.contains_key("deletionTimestamp") {
        if grace < known.unwrap_or(0) {
            meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
            meta.insert("deletionTimestamp".to_owned(), after_seconds(grace));
        }
    } else {
        meta.insert("deletionTimestamp".to_owned(), after_seconds(grace));
        if !namespace {
            meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        }
        if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
            meta.insert("generation".to_owned(), (generation + 1).into());
        }
    }
    set_propagation(meta, wish.propagation);
    if namespace {
        after["status"]["phase"] = "Terminating".into();
    }
    after
}

fn set_propagation(meta: &mut Map<String, Value>, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<Value> = meta
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    finalizers.retain(|f| f != "foregroundDeletion" && f != "orphan");
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push("foregroundDeletion".into()),
        Propagation::Orphan => finalizers.push("orphan".into()),
    }
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// Only a pod that runs somewhere has time to stop.
fn grace(resource: &Resource, object: &Value, wish: Option<i64>) -> i64 {
    if resource.name() != "pods" {
        return 0;
    }
    let done = matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    let scheduled = object["spec"]["nodeName"]
        .as_str()
        .is_some_and(|n| !n.is_empty());
    if done || !scheduled {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    wish.or(own).unwrap_or(30).max(0)
}

fn key_of(object: &Value) -> (String, String) {
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
    after_seconds(0)
}

fn after_seconds(seconds: i64) -> Value {
    let at = Timestamp::now().as_second() + seconds;
    Timestamp::from_second(at)
        .map(|t| t.to_string())
        .unwrap_or_default()
        .into()
}
