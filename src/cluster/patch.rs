//! Changes whose result only the server can tell: JSON patches, strategic merge patches,
//! server-side apply, replacing.
//!
//! Each is asked for as a dry run first. The answer is what a [`super::Policy`] judges, what tells that
//! nothing would change, and what the diff shows. The real request is bound to the version of the
//! object that was read, so that nothing else than what was reviewed can come of it; if somebody is
//! faster, all of it begins anew, review included.

use std::time::Duration;

use serde_json::{Value, json};

use super::door::{Mutation, Outcome, PatchForm, Verb, Written};
use super::error::{NOT_DONE, Owner};
use super::write::{complete, text, without_server_fields};
use super::{Cluster, ClusterError, Kind, Object, diff, merge, object, send};

/// Who owns, for the API server, the fields that are written here.
pub const FIELD_MANAGER: &str = "rootshift";

/// How often a change is made anew because somebody else was faster (client-go's
/// `retry.DefaultRetry` has 5).
const STALE: u32 = 5;

/// How to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Takes fields that other managers own, instead of failing with who they are.
    pub force: bool,
    /// The owner of the fields.
    pub field_manager: String,
}

impl Default for ApplyOptions {
    /// Takes nothing from others; the owner is [`FIELD_MANAGER`].
    fn default() -> Self {
        Self {
            force: false,
            field_manager: FIELD_MANAGER.to_owned(),
        }
    }
}

impl Cluster {
    /// Changes an object by a JSON patch (RFC 6902, a list) or a strategic merge patch (a map).
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`] for a patch of the wrong shape, or for an apply, which
    /// [`Self::apply`] is for; and as for [`Self::patch`], which a merge patch goes to.
    pub async fn patch_as(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        form: PatchForm,
        patch: Value,
    ) -> Result<Written, ClusterError> {
        let bad = |message: String| Err(ClusterError::BadRequest { message });
        match form {
            PatchForm::Merge => return self.patch(kind, namespace, name, patch).await,
            PatchForm::Apply { .. } => return bad("an apply is no patch of its own".to_owned()),
            PatchForm::Json if !patch.is_array() => {
                return bad(format!(
                    "a JSON patch must be a list of operations, not {}",
                    object::shape(&patch)
                ));
            }
            PatchForm::Strategic if !patch.is_object() => {
                return bad(format!(
                    "a strategic merge patch must be a map, not {}",
                    object::shape(&patch)
                ));
            }
            PatchForm::Json | PatchForm::Strategic => {}
        }
        let pinned = is_pinned(&patch);
        self.anew_unless(pinned, async || {
            let before = self.get_existing(kind, namespace, name).await?;
            as_given("patch", kind, &before, &patch)?;
            let mut body = patch.clone();
            bind(&mut body, before.resource_version());
            let change = Mutation {
                body: Some(body),
                form: form.clone(),
                before: Some(before),
                ..self.mutation(Verb::Patch, kind, namespace, name)
            };
            self.foreseen(change).await
        })
        .await
    }

    /// Server-side apply with [`ApplyOptions::default`].
    ///
    /// # Errors
    /// As for [`Self::apply_with`].
    pub async fn apply(&self, object: Value) -> Result<Written, ClusterError> {
        self.apply_with(object, &ApplyOptions::default()).await
    }

    /// Server-side apply: creates the object, or sets the fields that it has and removes those that
    /// it had at the last apply of this manager. What it does not mention stays. Fields that the same
    /// manager wrote otherwise (by a patch, say) are no conflict. A namespaced object without a
    /// namespace is put into the context's. A UID or a version in it must be those of the object that is
    /// there; where none is, they are left out.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] for another UID or version than is there;
    /// [`ClusterError::ApplyConflict`] if others own what it would change;
    /// [`ClusterError::BadRequest`] without kind, `apiVersion` or name; [`ClusterError::Refused`]; and
    /// those of the server.
    pub async fn apply_with(
        &self,
        object: Value,
        options: &ApplyOptions,
    ) -> Result<Written, ClusterError> {
        let (kind, namespace, name) = self.address(&object, "apply").await?;
        let (namespace, given) = complete(&kind, namespace.as_deref(), object)?;
        let body = without_server_fields(given.clone());
        let form = |force| PatchForm::Apply {
            force,
            manager: options.field_manager.clone(),
        };
        self.anew_unless(is_pinned(&given), async || {
            let found = self
                .with_managers(&kind, namespace.as_deref(), &name)
                .await?;
            let had = found
                .as_ref()
                .and_then(|found| applied(found, &options.field_manager).cloned());
            let before = found.map(|found| kind.object(found));
            if let Some(before) = &before {
                as_given("apply", &kind, before, &given)?;
            }
            let mut body = body.clone();
            let verb = match &before {
                Some(before) => {
                    bind(&mut body, before.resource_version());
                    Verb::Patch
                }
                None => Verb::Create,
            };
            let mut change = Mutation {
                body: Some(body),
                form: form(options.force),
                before,
                why: Some("apply"),
                applied: had,
                ..self.mutation(verb, &kind, namespace.as_deref(), &name)
            };
            match self.foreseen(change.clone()).await {
                // What we wrote by a patch or a label is ours all the same. Bound to the version of
                // which that was said, force takes it from nobody else.
                Err(ClusterError::ApplyConflict { owners, .. })
                    if change.before.is_some() && all_own(&owners, &options.field_manager) =>
                {
                    change.form = form(true);
                    self.foreseen(change).await
                }
                result => result,
            }
        })
        .await
    }

    /// Puts a whole object in the place of the one that was read (`kubectl replace`). It must carry the
    /// `metadata.resourceVersion` that was read: what others have written since is not lost.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] if it was changed since; [`ClusterError::NotFound`];
    /// [`ClusterError::BadRequest`] without kind, `apiVersion`, name or version;
    /// [`ClusterError::Refused`]; and those of the server.
    pub async fn replace(&self, object: Value) -> Result<Written, ClusterError> {
        let (kind, namespace, name) = self.address(&object, "replace").await?;
        let (namespace, body) = complete(&kind, namespace.as_deref(), object)?;
        let version = text(&body, "/metadata/resourceVersion");
        if version.is_empty() {
            return Err(ClusterError::BadRequest {
                message:
                    "an object to replace needs the `metadata.resourceVersion` that was read: \
                          take it from `cluster::get`"
                        .to_owned(),
            });
        }
        let before = self
            .get_existing(&kind, namespace.as_deref(), &name)
            .await?;
        if before.resource_version() != version {
            return Err(ClusterError::Conflict {
                operation: Verb::Replace.as_str(),
                subject: kind.subject(namespace.as_deref(), Some(&name)),
                message: format!(
                    "version {version} was read, and it has version {} now",
                    before.resource_version()
                ),
            });
        }
        let change = Mutation {
            body: Some(body),
            before: Some(before),
            ..self.mutation(Verb::Replace, &kind, namespace.as_deref(), &name)
        };
        self.foreseen(change).await
    }

    /// Asks the server what would become of a change, and makes it unless that is nothing.
    async fn foreseen(&self, mut change: Mutation) -> Result<Written, ClusterError> {
        if self.is_read_only() {
            return self.mutate(change).await;
        }
        let call = send::call(&change, true)?;
        let after = self.read(&call).await?;
        // Who owns the fields is a part of what an apply wants.
        let will_have = match &change.form {
            PatchForm::Apply { manager, .. } => applied(&after, manager).cloned(),
            _ => None,
        };
        let as_owner = will_have == change.applied;
        let after = change.kind.object(after);
        let same = |before: &Object| {
            as_owner && diff::stripped(before.value()) == diff::stripped(after.value())
        };
        if change.before.as_ref().is_some_and(same) {
            let written = change.written(Outcome::Unchanged, change.before.clone());
            return Ok(self.skip(&change, written));
        }
        change.foreseen = Some(after.to_value());
        change.applied = will_have;
        change.takes_over = !as_owner;
        self.mutate(change).await
    }

    /// Makes a change once if it is pinned to what the caller has read, else as [`Self::anew_while_stale`].
    async fn anew_unless(
        &self,
        pinned: bool,
        change: impl AsyncFn() -> Result<Written, ClusterError>,
    ) -> Result<Written, ClusterError> {
        if pinned {
            change().await
        } else {
            self.anew_while_stale(change).await
        }
    }

    /// Makes a change from the reading on, again while somebody else is faster.
    pub(super) async fn anew_while_stale(
        &self,
        change: impl AsyncFn() -> Result<Written, ClusterError>,
    ) -> Result<Written, ClusterError> {
        let mut attempt = 0;
        loop {
            match change().await {
                Err(ClusterError::Conflict {
                    operation, subject, ..
                }) if attempt < STALE => {
                    attempt += 1;
                    let pause = Duration::from_millis(20) * (1 << attempt);
                    if self.rest(pause).await.is_err() {
                        return Err(ClusterError::Interrupted {
                            operation,
                            subject,
                            known: NOT_DONE,
                        });
                    }
                }
                result => return result,
            }
        }
    }

    /// Which object a manifest is about: its kind, namespace (the context's unless it says) and name.
    async fn address(
        &self,
        object: &Value,
        verb: &str,
    ) -> Result<(Kind, Option<String>, String), ClusterError> {
        for field in ["apiVersion", "kind", "metadata.name"] {
            if text(object, &format!("/{}", field.replace('.', "/"))).is_empty() {
                return Err(ClusterError::BadRequest {
                    message: format!("an object to {verb} needs `{field}`"),
                });
            }
        }
        let named = format!("{}/{}", text(object, "/apiVersion"), text(object, "/kind"));
        let kind = self.kind(&named).await?;
        let namespace = kind.is_namespaced().then(|| {
            let given = text(object, "/metadata/namespace");
            let given = Some(given).filter(|g| !g.is_empty());
            given.unwrap_or(self.default_namespace()).to_owned()
        });
        Ok((kind, namespace, text(object, "/metadata/name").to_owned()))
    }
}

/// Makes a patch fail with 409 unless the object still has this version.
fn bind(patch: &mut Value, version: &str) {
    match patch {
        Value::Array(operations) => operations.push(json!({
            "op": "add", "path": "/metadata/resourceVersion", "value": version,
        })),
        patch => merge::merge(patch, &json!({"metadata": {"resourceVersion": version}})),
    }
}

/// The UID or the version that a change says its object has.
fn given<'a>(patch: &'a Value, field: &str) -> Option<&'a str> {
    let at = format!("/metadata/{field}");
    let given = match patch {
        Value::Array(operations) => operations
            .iter()
            .rfind(|o| o["path"] == at && (o["op"] == "add" || o["op"] == "replace"))
            .and_then(|o| o.get("value")),
        patch => patch.pointer(&at),
    };
    given.and_then(Value::as_str).filter(|g| !g.is_empty())
}

/// The fields that a manager has applied, as `managedFields` has them (`fieldsV1`).
pub(super) fn applied<'a>(object: &'a Value, manager: &str) -> Option<&'a Value> {
    let managers = object.pointer("/metadata/managedFields")?.as_array()?;
    let own = managers.iter().find(|m| {
        m["manager"] == manager && m["operation"] == "Apply" && text(m, "/subresource").is_empty()
    })?;
    own.get("fieldsV1")
}

fn is_pinned(patch: &Value) -> bool {
    given(patch, "uid").is_some() || given(patch, "resourceVersion").is_some()
}

/// That an object is the one, and has the version, that a change of it names.
pub(super) fn as_given(
    operation: &'static str,
    kind: &Kind,
    object: &Object,
    patch: &Value,
) -> Result<(), ClusterError> {
    for (field, is) in [
        ("uid", object.uid()),
        ("resourceVersion", object.resource_version()),
    ] {
        if let Some(given) = given(patch, field).filter(|given| *given != is) {
            return Err(ClusterError::Conflict {
                operation,
                subject: kind.subject(object.namespace(), Some(object.name())),
                message: format!(
                    "`metadata.{field}` is given as `{given}`, and it is `{is}` (leave it out to change whatever is \
                     there)"
                ),
            });
        }
    }
    Ok(())
}

fn all_own(owners: &[Owner], manager: &str) -> bool {
    !owners.is_empty() && owners.iter().all(|o| o.manager == manager)
}
