//! The verbs that change something by what is known of the object: create, merge patch, label,
//! annotate, delete, restart.
//!
//! Each reads first and sends nothing if nothing would change. What is to be sent goes through
//! [`Cluster::mutate`], the one door.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use http::Method;
use jiff::{RoundMode, Timestamp, TimestampRound, ToSpan as _, Unit};
use serde_json::{Map, Value, json};

use super::call::Call;
use super::door::{Mutation, Outcome, PatchForm, Verb, Written};
use super::patch::as_given;
use super::{Cluster, ClusterError, Kind, Object, merge, object};

/// The annotation of a pod template by which `kubectl rollout restart` restarts.
pub(super) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What happens to what a deleted object owns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// It is deleted after the object (kubectl's default).
    #[default]
    Background,
    /// It is deleted before the object.
    Foreground,
    /// It stays.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOptions {
    /// An object that is not there is no error.
    pub ignore_missing: bool,
    /// Seconds that a pod gets to end; `None`: those it has itself.
    pub grace: Option<u32>,
    /// What happens to what it owns.
    pub propagation: Propagation,
    /// Delete this one only, and no other of the same name.
    pub uid: Option<String>,
    /// Wait until it is gone, at most so long; `None`: do not wait.
    pub wait: Option<Duration>,
}

impl Default for DeleteOptions {
    /// A missing object is an error; waits up to five minutes.
    fn default() -> Self {
        Self {
            ignore_missing: false,
            grace: None,
            propagation: Propagation::default(),
            uid: None,
            wait: Some(Duration::from_secs(300)),
        }
    }
}

impl Cluster {
    /// Creates an object. Its `apiVersion`, `kind` and namespace may be left out of it.
    ///
    /// # Errors
    /// [`ClusterError::AlreadyExists`]; [`ClusterError::BadRequest`] if it contradicts `kind` or
    /// `namespace`, or has a `metadata.resourceVersion`; [`ClusterError::Refused`]; and those of the
    /// server.
    pub async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<Written, ClusterError> {
        let (namespace, body) = complete(kind, namespace, object)?;
        without_version(&body)?;
        let name = text(&body, "/metadata/name").to_owned();
        self.mutate(Mutation {
            body: Some(body),
            ..self.mutation(Verb::Create, kind, namespace.as_deref(), &name)
        })
        .await
    }

    /// What the server would make of an object that is to be created: defaulted, seen by every
    /// admission webhook, and not stored. Changes nothing, so no policy is asked.
    ///
    /// # Errors
    /// Those of the server: what a real creation would be refused with, or a webhook that does not
    /// take dry runs.
    pub async fn dry_run_create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        object: Value,
    ) -> Result<Object, ClusterError> {
        let (namespace, body) = complete(kind, namespace, object)?;
        without_version(&body)?;
        let subject = kind.subject(namespace.as_deref(), None);
        let path = kind.path(namespace.as_deref(), None)?;
        let path = format!("{path}?fieldValidation=Strict&dryRun=All");
        let call = Call::send("dry-run create", subject, Method::POST, path, &body);
        Ok(kind.object(self.read(&call).await?))
    }

    /// Applies a JSON merge patch (RFC 7396): maps are merged, lists replaced, `null` removes.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] if it names another UID or version than is there; [`ClusterError::NotFound`], [`ClusterError::Refused`], and those of the server.
    pub async fn patch(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        patch: Value,
    ) -> Result<Written, ClusterError> {
        if !patch.is_object() {
            return Err(ClusterError::BadRequest {
                message: format!("a patch must be a map, not {}", object::shape(&patch)),
            });
        }
        let before = self.get_existing(kind, namespace, name).await?;
        as_given("patch", kind, &before, &patch)?;
        let patch = secret_strings(kind, patch);
        self.patch_read(kind, before, patch, None).await
    }

    /// Sets labels (`Some`) and removes them (`None`), overwriting as `kubectl label --overwrite`.
    ///
    /// # Errors
    /// As for [`Self::patch`].
    pub async fn label(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.set_metadata(kind, namespace, name, &LABELS, labels, true)
            .await
    }

    /// As [`Self::label`], but a label that has another value already is an error (`kubectl label`
    /// without `--overwrite`), also if it gets it just now.
    ///
    /// # Errors
    /// [`ClusterError::Taken`]; and as for [`Self::patch`].
    pub async fn label_new(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.set_metadata(kind, namespace, name, &LABELS, labels, false)
            .await
    }

    /// Sets annotations (`Some`) and removes them (`None`), overwriting.
    ///
    /// # Errors
    /// As for [`Self::patch`].
    pub async fn annotate(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.set_metadata(kind, namespace, name, &ANNOTATIONS, annotations, true)
            .await
    }

    /// As [`Self::annotate`], but an annotation that has another value already is an error.
    ///
    /// # Errors
    /// [`ClusterError::Taken`]; and as for [`Self::patch`].
    pub async fn annotate_new(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        annotations: &BTreeMap<String, Option<String>>,
    ) -> Result<Written, ClusterError> {
        self.set_metadata(kind, namespace, name, &ANNOTATIONS, annotations, false)
            .await
    }

    /// Deletes one object and waits until it is gone. What is being deleted already is waited for
    /// only. The deletion holds for the object that was read (UID), not for one that takes its
    /// place. What is still there and was not to be waited for is [`Outcome::Deleting`].
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] unless ignored, [`ClusterError::Conflict`] if another one of that name is
    /// there, [`ClusterError::StillThere`], [`ClusterError::Refused`], and those of the server.
    pub async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Written, ClusterError> {
        let found = self.get(kind, namespace, name).await?;
        let uid = options.uid.as_deref();
        let mutation = self.mutation(Verb::Delete, kind, namespace, name);
        let Some(before) = meant(&mutation, found, uid, options.ignore_missing)? else {
            let written = mutation.written(Outcome::Absent, None);
            return Ok(self.skip(&mutation, written));
        };
        let uid = before.uid().to_owned();
        let going = before.is_deleting();
        let policy = match options.propagation {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        };
        let mut body = json!({"propagationPolicy": policy});
        if let Some(grace) = options.grace {
            body["gracePeriodSeconds"] = grace.into();
        }
        let deletion = Mutation {
            before: Some(before),
            body: Some(body),
            ..self.mutation(Verb::Delete, kind, namespace, name)
        };
        let mut written = if going {
            let mut written = deletion.written(Outcome::Deleting, None);
            written.outcome = self.gone_yet(&deletion).await;
            written
        } else {
            self.mutate(deletion).await?
        };
        if let (Some(limit), Outcome::Deleting) = (options.wait, written.outcome) {
            self.wait_gone(kind, namespace, name, &uid, limit).await?;
            written.outcome = Outcome::Deleted;
        }
        Ok(written)
    }

    /// Restarts a Deployment, StatefulSet or DaemonSet as `kubectl rollout restart` does: by an
    /// annotation on its pod template, different at each call, so that each call restarts.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for a paused Deployment, for the strategy `OnDelete`, under which
    /// nothing would restart, and for other kinds; and as for [`Self::patch`].
    pub async fn restart(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Written, ClusterError> {
        super::rollout::rolls_out(kind)?;
        let before = self.get_existing(kind, namespace, name).await?;
        not_paused(kind, &before)?;
        super::workload::refuse_on_delete(kind, &before)?;
        let last = before
            .at("/spec/template/metadata/annotations")
            .and_then(|a| a.get(RESTARTED_AT)?.as_str()?.parse().ok());
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {
            RESTARTED_AT: restart_time(Timestamp::now(), last).to_string(),
        }}}}});
        self.patch_read(kind, before, patch, Some("restart")).await
    }

    async fn set_metadata(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        place: &Metadata,
        wanted: &BTreeMap<String, Option<String>>,
        overwrite: bool,
    ) -> Result<Written, ClusterError> {
        self.anew_while_stale(async || {
            let before = self.get_existing(kind, namespace, name).await?;
            let now = before.at(&format!("/metadata/{}", place.field));
            let current = |key: &str| now.and_then(|n| n.get(key)?.as_str());
            let changes: Map<String, Value> = wanted
                .iter()
                .filter(|(key, value)| current(key) != value.as_deref())
                .map(|(key, value)| (key.clone(), json!(value)))
                .collect();
            let mut patch = json!({});
            if !changes.is_empty() {
                if !overwrite {
                    let taken = |key: &&String| current(key).is_some() && wanted[*key].is_some();
                    if let Some(key) = changes.keys().find(taken) {
                        return Err(ClusterError::Taken {
                            subject: kind.subject(namespace, Some(name)),
                            field: place.one,
                            key: key.clone(),
                            value: current(key).unwrap_or_default().to_owned(),
                        });
                    }
                    let version = before.resource_version();
                    patch["metadata"]["resourceVersion"] = version.into();
                }
                patch["metadata"][place.field] = changes.into();
            }
            self.patch_read(kind, before, patch, Some(place.why)).await
        })
        .await
    }

    /// A change without anything in it yet.
    pub(super) fn mutation(
        &self,
        verb: Verb,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Mutation {
        Mutation {
            verb,
            kind: kind.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            before: None,
            body: None,
            form: PatchForm::default(),
            foreseen: None,
            applied: None,
            takes_over: false,
            why: None,
            dry_run: self.is_dry_run(),
        }
    }

    /// Patches an object that was just read, unless that changes nothing.
    pub(super) async fn patch_read(
        &self,
        kind: &Kind,
        before: Object,
        patch: Value,
        why: Option<&'static str>,
    ) -> Result<Written, ClusterError> {
        let namespace = before.namespace().map(str::to_owned);
        let nothing = merge::changes_nothing(before.value(), &patch);
        let change = Mutation {
            body: Some(patch),
            why,
            before: Some(before.clone()),
            ..self.mutation(Verb::Patch, kind, namespace.as_deref(), before.name())
        };
        if nothing {
            let written = change.written(Outcome::Unchanged, Some(before));
            return Ok(self.skip(&change, written));
        }
        self.mutate(change).await
    }
}

/// The object that is to go, if it is there: of all that have its name, the one with this UID. None may be
/// `missing`.
pub(super) fn meant(
    mutation: &Mutation,
    found: Option<Object>,
    uid: Option<&str>,
    missing: bool,
) -> Result<Option<Object>, ClusterError> {
    match (found, uid) {
        (Some(found), uid) if uid.is_none_or(|uid| uid == found.uid()) => Ok(Some(found)),
        _ if missing => Ok(None),
        (Some(found), Some(uid)) => Err(ClusterError::Conflict {
            operation: mutation.verb.as_str(),
            subject: mutation.subject(),
            message: format!(
                "another one of that name is there (uid `{}`), and not the one with uid `{uid}`",
                found.uid()
            ),
        }),
        _ => Err(ClusterError::NotFound {
            subject: mutation.subject(),
        }),
    }
}

/// Refuses the restart of a paused Deployment.
pub(super) fn not_paused(kind: &Kind, object: &Object) -> Result<(), ClusterError> {
    if !super::workload::is_paused(object) {
        return Ok(());
    }
    Err(ClusterError::BadRequest {
        message: format!(
            "{} is paused and cannot be restarted: resume it first",
            kind.subject(object.namespace(), Some(object.name()))
        ),
    })
}

/// A part of an object's metadata that people set key by key.
struct Metadata {
    field: &'static str,
    one: &'static str,
    why: &'static str,
}

const LABELS: Metadata = Metadata {
    field: "labels",
    one: "label",
    why: "label",
};

const ANNOTATIONS: Metadata = Metadata {
    field: "annotations",
    one: "annotation",
    why: "annotate",
};

/// Now, in whole seconds as kubectl writes it, but later than the restart before. Never a time to come, unless the
/// restart before has one: who asks what was restarted since now must not be told of what was before.
fn restart_time(now: Timestamp, last: Option<Timestamp>) -> Timestamp {
    let second = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    let second = now.round(second).unwrap_or(now);
    match last {
        Some(last) if last >= now => last.checked_add(1.second()).unwrap_or(now),
        Some(last) if last >= second => now,
        _ => second,
    }
}

/// Fills in `apiVersion`, `kind` and namespace, and checks those that are given.
pub(super) fn complete(
    kind: &Kind,
    namespace: Option<&str>,
    mut object: Value,
) -> Result<(Option<String>, Value), ClusterError> {
    let Value::Object(map) = &mut object else {
        return Err(ClusterError::BadRequest {
            message: format!("an object must be a map, not {}", object::shape(&object)),
        });
    };
    for (field, is) in [
        ("apiVersion", kind.api_version()),
        ("kind", kind.kind().to_owned()),
    ] {
        let given = map.entry(field).or_insert_with(|| is.clone().into());
        if given.as_str() != Some(&is) {
            return Err(ClusterError::BadRequest {
                message: format!("`{field}` is `{is}` for {kind:?}, but the object says {given}"),
            });
        }
    }
    let inside = text(&object, "/metadata/namespace").to_owned();
    if let Some(outside) = namespace
        && !inside.is_empty()
        && outside != inside
    {
        return Err(ClusterError::BadRequest {
            message: format!("namespace `{outside}` was asked for, but the object says `{inside}`"),
        });
    }
    let namespace = namespace
        .map(str::to_owned)
        .or_else(|| Some(inside).filter(|i| !i.is_empty()));
    match (&namespace, kind.is_namespaced()) {
        (Some(ns), true) => merge::merge(&mut object, &json!({"metadata": {"namespace": ns}})),
        (Some(_), false) => {
            // Checks that the kind takes one, and says that it does not.
            kind.path(namespace.as_deref(), None)?;
        }
        (None, true) => {
            return Err(ClusterError::Namespace {
                message: format!(
                    "`{}` live in namespaces, but none was given",
                    kind.resource()
                ),
            });
        }
        (None, false) => {}
    }
    Ok((namespace, secret_strings(kind, object)))
}

/// That an object to create is not one that was read: the server would answer with an error of its own.
fn without_version(object: &Value) -> Result<(), ClusterError> {
    let version = text(object, "/metadata/resourceVersion");
    if version.is_empty() {
        return Ok(());
    }
    Err(ClusterError::BadRequest {
        message: format!(
            "an object to create must not have `metadata.resourceVersion` (it has `{version}`): remove it, or use \
             `cluster::replace` or `cluster::apply` for an object that is there"
        ),
    })
}

/// A Secret's `stringData` as the `data` that the server makes of it, so that it can be compared.
fn secret_strings(kind: &Kind, mut object: Value) -> Value {
    if kind.plural() != "secrets" || !kind.group().is_empty() {
        return object;
    }
    let Some(Value::Object(strings)) = object
        .as_object_mut()
        .and_then(|map| map.remove("stringData"))
    else {
        return object;
    };
    let data: Map<String, Value> = strings
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(s) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(s);
                (key, encoded.into())
            }
            other => (key, other),
        })
        .collect();
    merge::merge(&mut object, &json!({ "data": data }));
    object
}

/// Without what the server alone sets: a saved object can be applied again.
pub(super) fn without_server_fields(mut object: Value) -> Value {
    if let Value::Object(map) = &mut object {
        map.remove("status");
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for field in [
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
    }
    object
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_has_a_time_after_the_last_and_not_to_come() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-01T00:00:05.7Z");
        for (last, wanted) in [
            // kubectl cuts the second off.
            (None, "2026-01-01T00:00:05Z"),
            (Some("2026-01-01T00:00:04Z"), "2026-01-01T00:00:05Z"),
            (Some("2026-01-01T00:00:05Z"), "2026-01-01T00:00:05.7Z"),
            (Some("2026-01-01T00:00:05.3Z"), "2026-01-01T00:00:05.7Z"),
            (Some("2026-01-01T00:00:05.7Z"), "2026-01-01T00:00:06.7Z"),
            (Some("2026-01-01T00:01:00Z"), "2026-01-01T00:01:01Z"),
        ] {
            assert_eq!(restart_time(now, last.map(at)), at(wanted), "{last:?}");
        }
    }
}
