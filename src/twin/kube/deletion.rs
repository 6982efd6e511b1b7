//! Deleting: preconditions, grace, finalizers, and what becomes of dependents.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Kube;
use super::crd;
use super::ops::{Target, finished, in_seconds, metadata, store};
use super::registry::Resource;
use super::status::Status;
use super::store::Clash;

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

/// Deletes an object, or marks it when something holds it.
///
/// # Errors
/// There is no such object, it may not be deleted, or a precondition does not hold.
pub fn delete(kube: &Kube, target: Target<'_>, wish: &Deletion) -> Result<Deleted, Status> {
    let (resource, name) = (target.resource, target.name);
    if resource.name() == "namespaces" && PERMANENT.contains(&name) {
        return Err(Status::forbidden(
            resource,
            name,
            "this namespace may not be deleted",
        ));
    }
    loop {
        let before = kube
            .get(&resource.name(), target.namespace, name)
            .ok_or_else(|| Status::not_found(resource, name))?;
        check(resource, name, &before, wish)?;
        let after = marked(resource, &before, wish);
        let gone = finished(&after);
        if gone && !before["metadata"]["deletionTimestamp"].is_string() && !graceful(resource) {
            match take(kube, target, &before, wish.dry_run) {
                Err(raced) if raced.code == 409 => continue,
                done => return done,
            }
        }
        if wish.dry_run {
            return Ok(outcome(gone, Arc::new(after)));
        }
        match store(kube, resource, &before, after) {
            Ok(object) => {
                if resource.kind == "CustomResourceDefinition" && resource.built_in && !gone {
                    crd::written(kube, &object);
                }
                return Ok(outcome(gone, object));
            }
            Err(Clash::Missing | Clash::Exists) => return Err(Status::not_found(resource, name)),
            Err(Clash::Changed) => {}
        }
    }
}

/// An object that nothing holds goes as it is, without marks.
fn take(
    kube: &Kube,
    target: Target<'_>,
    before: &Arc<Value>,
    dry: bool,
) -> Result<Deleted, Status> {
    let (resource, name) = (target.resource, target.name);
    if dry {
        return Ok(Deleted::Gone(Arc::clone(before)));
    }
    let key = (target.namespace.to_owned(), name.to_owned());
    let gone = kube
        .store()
        .remove(&resource.name(), &key, before, (**before).clone())
        .map_err(|clash| match clash {
            Clash::Changed => Status::modified(resource, name),
            Clash::Exists | Clash::Missing => Status::not_found(resource, name),
        })?;
    if !resource.built_in {
        crd::removed(kube, resource);
    }
    Ok(Deleted::Gone(gone))
}

const PERMANENT: &[&str] = &["default", "kube-public", "kube-system"];

fn outcome(gone: bool, object: Arc<Value>) -> Deleted {
    if gone {
        Deleted::Gone(object)
    } else {
        Deleted::Marked(object)
    }
}

/// Unlike other conflicts, these name the kind, not the resource.
fn check(resource: &Resource, name: &str, before: &Value, wish: &Deletion) -> Result<(), Status> {
    let differs = |wish: &Option<String>, field: &str| {
        let is = before["metadata"][field].as_str().unwrap_or_default();
        wish.as_deref()
            .filter(|w| *w != is)
            .map(|w| (w.to_owned(), is.to_owned()))
    };
    let why = if let Some((wish, is)) = differs(&wish.uid, "uid") {
        format!(
            "the UID in the precondition ({wish}) does not match the UID in record ({is}). \
             The object might have been deleted and then recreated"
        )
    } else if let Some((wish, is)) = differs(&wish.version, "resourceVersion") {
        format!(
            "the ResourceVersion in the precondition ({wish}) does not match the ResourceVersion in record ({is}). \
             The object might have been modified"
        )
    } else {
        return Ok(());
    };
    let spoken = Resource {
        plural: resource.kind.clone(),
        ..resource.clone()
    };
    Err(Status::conflict(&spoken, name, &why))
}

/// The object with the marks of its deletion.
fn marked(resource: &Resource, before: &Value, wish: &Deletion) -> Value {
    let mut after = before.clone();
    let grace = grace(resource, before, wish.grace);
    let namespace = resource.name() == "namespaces";
    let meta = metadata(&mut after);
    let marked = meta.contains_key("deletionTimestamp");
    let held = meta
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    if !marked || grace < held.unwrap_or(0) {
        meta.insert("deletionTimestamp".to_owned(), in_seconds(grace));
        if !namespace {
            meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        }
    }
    if !marked && let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
        meta.insert("generation".to_owned(), (generation + 1).into());
    }
    if let Some(propagation) = wish.propagation.or(default_propagation(resource)) {
        set_propagation(meta, propagation);
    }
    if resource.kind == "CustomResourceDefinition" && resource.built_in {
        crd::hold(meta);
    }
    if namespace {
        after["status"]["phase"] = "Terminating".into();
    }
    after
}

/// Jobs keep their pods when nothing is said, for compatibility.
fn default_propagation(resource: &Resource) -> Option<Propagation> {
    (resource.name() == "jobs.batch").then_some(Propagation::Orphan)
}

/// Only pods stop; everything else is gone at once.
fn graceful(resource: &Resource) -> bool {
    resource.name() == "pods"
}

fn set_propagation(meta: &mut Map<String, Value>, propagation: Propagation) {
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
    if !graceful(resource) {
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
    // A negative wish means one second.
    let wish = wish.map(|w| if w < 0 { 1 } else { w });
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    wish.or(own).unwrap_or(30)
}
