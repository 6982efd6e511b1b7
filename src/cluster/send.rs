//! Sending a mutation, and finding out what became of it when the answer is lost.
//!
//! A request whose answer did not come may have been carried out, may be carried out later, or
//! never. So nothing is repeated blindly: the object is read first. What is wanted is there: done.
//! It is not: sent again, which is harmless for what is bound to a UID and says a state (a merge patch,
//! a scaling, a deletion, an eviction), for what is bound to the version that was read (every other
//! patch, a replacement), and for a creation under a fixed name. Where reading cannot tell, the error
//! says so.

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, Failure, pause};
use super::diff::{stripped, unified};
use super::door::{Mutation, Outcome, PatchForm, Verb, Written};
use super::error::{IN_DOUBT, NOT_DONE};
use super::patch::{FIELD_MANAGER, applied};
use super::{Cluster, ClusterError, Object, merge};

/// How often a mutation is sent.
const ATTEMPTS: u32 = 4;

/// What was under the name of an object before its creation was sent.
enum Earlier {
    Nothing,
    /// An object with this UID.
    Object(String),
    /// It may not be read.
    Unknown,
}

/// What reading the object back tells about a mutation whose answer was lost.
enum Settled {
    Done(Written),
    NotDone,
}

impl Cluster {
    /// Sends a reviewed mutation. [`Cluster::mutate`] is its only caller.
    pub(super) async fn send_mutation(&self, mutation: &Mutation) -> Result<Written, ClusterError> {
        if mutation.is_unforeseen() {
            return Err(ClusterError::BadRequest {
                message: format!(
                    "{} of {} was not judged for what it comes to, and is not sent",
                    mutation.verb,
                    mutation.subject()
                ),
            });
        }
        let call = call(mutation, mutation.dry_run)?;
        if mutation.dry_run {
            // It stores nothing, so it may be repeated like a read. One whose result the server had to
            // foresee was sent like this already; that of a scaling was computed.
            let answer = match &mutation.foreseen {
                Some(foreseen) if mutation.verb != Verb::Scale => foreseen.clone(),
                _ => self.read(&call).await?,
            };
            return Ok(mutation.answered(answer));
        }
        let earlier = self.earlier(mutation).await?;
        let mut attempt = 0;
        // Whether an earlier attempt may have been carried out; whether the answer to one was lost, so that
        // it may still be.
        let (mut in_doubt, mut lost) = (false, false);
        loop {
            let failure = match self.once(&call).await {
                Ok(answer) => return Ok(self.ended(mutation, answer).await),
                Err(Failure::Stopped) => return Err(stopped(&call, in_doubt)),
                Err(failure) => failure,
            };
            attempt += 1;
            tracing::debug!(
                ?mutation,
                ?failure,
                attempt,
                "a mutation was not answered as wished"
            );
            let going = matches!(mutation.verb, Verb::Delete | Verb::Evict);
            let read_back = match &failure {
                Failure::Connect(_) => false,
                Failure::Status(s) if s.is_missing_object() && going => {
                    return Ok(mutation.written(Outcome::Deleted, None));
                }
                // Refused, perhaps only because an attempt whose answer was lost has been carried out.
                Failure::Status(s)
                    if s.is_final() || (s.code < 500 && ![409, 429].contains(&s.code)) =>
                {
                    if in_doubt
                        && let Settled::Done(written) =
                            self.settle(mutation, &call, &failure, &earlier).await?
                    {
                        return Ok(written);
                    }
                    return Err(self.given_up(&call, failure, lost));
                }
                Failure::Status(s) if s.code == 429 => false,
                Failure::Status(s) if s.code == 409 => {
                    // Our own first attempt, whose answer was lost, or a write in between. What is
                    // bound to a version will not be taken again.
                    if !in_doubt && (mutation.verb == Verb::Create || mutation.is_bound()) {
                        return Err(self.error(&call, failure));
                    }
                    true
                }
                _ => {
                    in_doubt = true;
                    lost |= !matches!(failure, Failure::Status(_));
                    true
                }
            };
            if read_back {
                match self.settle(mutation, &call, &failure, &earlier).await? {
                    Settled::Done(written) => return Ok(written),
                    Settled::NotDone => {}
                }
            }
            if attempt >= ATTEMPTS {
                return Err(self.given_up(&call, failure, lost));
            }
            if self.rest(pause(attempt, &failure)).await.is_err() {
                return Err(stopped(&call, in_doubt));
            }
        }
    }

    /// The result of a mutation that the server answered; of an end, whether it has come yet.
    async fn ended(&self, mutation: &Mutation, answer: Value) -> Written {
        // A success without an object is the answer to a deletion that was carried out at once.
        let at_once = mutation.verb == Verb::Delete && answer["kind"] == "Status";
        let going = matches!(mutation.verb, Verb::Delete | Verb::Evict) && !at_once;
        let mut written = mutation.answered(answer);
        if going {
            written.outcome = self.gone_yet(mutation).await;
        }
        written
    }

    /// Whether the object of a deletion is gone.
    pub(super) async fn gone_yet(&self, mutation: &Mutation) -> Outcome {
        let uid = mutation.before.as_ref().map_or("", Object::uid);
        let namespace = mutation.namespace.as_deref();
        match self.get(&mutation.kind, namespace, &mutation.name).await {
            Ok(now) if now.as_ref().is_none_or(|now| now.uid() != uid) => Outcome::Deleted,
            _ => Outcome::Deleting,
        }
    }

    /// Looks what is there before a creation, so that an older object that is equal is not taken for ours
    /// afterwards. An apply has looked already.
    async fn earlier(&self, mutation: &Mutation) -> Result<Earlier, ClusterError> {
        if mutation.verb != Verb::Create || mutation.name.is_empty() || mutation.is_apply() {
            return Ok(Earlier::Nothing);
        }
        let namespace = mutation.namespace.as_deref();
        match self.get(&mutation.kind, namespace, &mutation.name).await {
            Ok(None) => Ok(Earlier::Nothing),
            Ok(Some(object)) => Ok(Earlier::Object(object.uid().to_owned())),
            Err(error @ ClusterError::Interrupted { .. }) => Err(error),
            Err(error) if error.retryable() => Err(error),
            // Who may create may not be allowed to read; some kinds cannot be read at all.
            Err(_) => Ok(Earlier::Unknown),
        }
    }

    /// Reads the object of a mutation in doubt.
    async fn settle(
        &self,
        mutation: &Mutation,
        call: &Call,
        failure: &Failure,
        earlier: &Earlier,
    ) -> Result<Settled, ClusterError> {
        let unknown = |known: String| ClusterError::OutcomeUnknown {
            operation: call.operation,
            subject: call.subject.clone(),
            reason: reason(failure),
            known,
        };
        if mutation.name.is_empty() {
            return Err(unknown(
                "it may have been created under a name that the server chose".into(),
            ));
        }
        let namespace = mutation.namespace.as_deref();
        let now = self
            .with_managers(&mutation.kind, namespace, &mutation.name)
            .await
            .map_err(|e| unknown(format!("it could not be read back: {e}")))?;
        let ours = now.as_ref().is_some_and(|now| mutation.made(now));
        // Equal fields are not all that an apply wants.
        let owned = match (&mutation.form, &now) {
            (PatchForm::Apply { manager, .. }, Some(now)) => {
                applied(now, manager) == mutation.applied.as_ref()
            }
            _ => true,
        };
        let now = now.map(|now| mutation.kind.object(now));
        let same = |now: &Object| {
            let before = mutation.before.as_ref();
            before.is_none_or(|before| before.uid() == now.uid())
        };
        let conflict = |message: &str| ClusterError::Conflict {
            operation: call.operation,
            subject: call.subject.clone(),
            message: message.to_owned(),
        };
        let body = mutation.body.as_ref().unwrap_or(&Value::Null);
        let older = |now: &Object| matches!(earlier, Earlier::Object(uid) if uid == now.uid());
        match (mutation.verb, now) {
            (Verb::Create, None) => Ok(Settled::NotDone),
            (Verb::Create, Some(now)) if older(&now) && !now.is_deleting() => {
                Err(ClusterError::AlreadyExists {
                    subject: call.subject.clone(),
                })
            }
            // What is going away is an older one of that name.
            (Verb::Create, Some(now))
                if !now.is_deleting() && merge::difference(now.value(), body).is_none() =>
            {
                match earlier {
                    _ if !ours => Err(unknown(
                        "an object of that name is there and as it was to be created, but it was not made by \
                         this creation"
                            .into(),
                    )),
                    Earlier::Unknown => Err(unknown(
                        "an object of that name is there and as it was to be created; whether it was there \
                         before is not known, since it could not be read then"
                            .into(),
                    )),
                    _ => Ok(Settled::Done(mutation.written(Outcome::Created, Some(now)))),
                }
            }
            (Verb::Create, Some(_)) if mutation.is_apply() => {
                // Applied to what is there now, it may do something else than what was reviewed.
                Err(conflict("an object of that name has come into being"))
            }
            (Verb::Create, Some(_)) => Err(unknown(
                "an object of that name is there, but it is not as it was to be created".into(),
            )),
            (Verb::Patch | Verb::Replace | Verb::Scale, None) => Err(ClusterError::NotFound {
                subject: call.subject.clone(),
            }),
            (Verb::Patch | Verb::Replace | Verb::Scale, Some(now)) if !same(&now) => {
                Err(conflict("another object of that name has taken its place"))
            }
            (Verb::Patch | Verb::Replace | Verb::Scale, Some(now)) => {
                if mutation.is_as_wanted(&now) && owned {
                    return Ok(Settled::Done(mutation.written(Outcome::Changed, Some(now))));
                }
                let version = mutation
                    .before
                    .as_ref()
                    .map_or("", Object::resource_version);
                if !mutation.is_bound() || now.resource_version() == version {
                    return Ok(Settled::NotDone);
                }
                if mutation.form == PatchForm::Json && mutation.verb == Verb::Patch {
                    // Operations on lists are not the same twice.
                    return Err(unknown(format!(
                        "the object was changed since (version {version}, now {}), and it is not as this \
                         change alone would have left it",
                        now.resource_version()
                    )));
                }
                Err(conflict("the object was changed since it was read"))
            }
            (Verb::Delete | Verb::Evict, Some(now)) if same(&now) => {
                if !now.is_deleting() {
                    return Ok(Settled::NotDone);
                }
                let written = mutation.written(Outcome::Deleting, None);
                Ok(Settled::Done(written))
            }
            (Verb::Delete | Verb::Evict, _) => {
                Ok(Settled::Done(mutation.written(Outcome::Deleted, None)))
            }
            (Verb::Exec | Verb::Post, _) => Err(unknown("commands are not sent again".into())),
        }
    }

    /// The end of a mutation that failed; `lost`: an answer to it was lost.
    fn given_up(&self, call: &Call, failure: Failure, lost: bool) -> ClusterError {
        if !lost {
            return self.error(call, failure);
        }
        let known = match failure {
            Failure::Garbled(_) | Failure::Lost(_) | Failure::Timeout => format!(
                "after {ATTEMPTS} attempts it had not been done when last read, but the last request may still \
                 be carried out"
            ),
            _ => "an earlier request of it, whose answer was lost, may still be carried out"
                .to_owned(),
        };
        ClusterError::OutcomeUnknown {
            operation: call.operation,
            subject: call.subject.clone(),
            reason: reason(&failure),
            known,
        }
    }
}

impl Mutation {
    fn is_apply(&self) -> bool {
        matches!(self.form, PatchForm::Apply { .. })
    }

    /// Whether an object, read with its managers, has been written in the way that this change writes.
    fn made(&self, object: &Value) -> bool {
        let (manager, operation) = match &self.form {
            PatchForm::Apply { manager, .. } => (manager.as_str(), "Apply"),
            _ => (FIELD_MANAGER, "Update"),
        };
        let managers = object.pointer("/metadata/managedFields");
        managers.and_then(Value::as_array).is_some_and(|all| {
            all.iter()
                .any(|m| m["manager"] == manager && m["operation"] == operation)
        })
    }

    /// Whether all that it changes is who owns the fields.
    fn only_takes_over(&self) -> bool {
        let same = |before: &Object| {
            let foreseen = self.foreseen.as_ref();
            foreseen.is_some_and(|after| stripped(after) == stripped(before.value()))
        };
        self.takes_over && self.before.as_ref().is_some_and(same)
    }

    /// Whether an object is as this change would leave it.
    fn is_as_wanted(&self, now: &Object) -> bool {
        let says_a_state = self.verb == Verb::Patch && self.form == PatchForm::Merge;
        let wanted = match (says_a_state, &self.before, self.after()) {
            (true, ..) => self.body.as_ref().map(stripped),
            (false, Some(before), Some(after)) => {
                Some(merge::between(&stripped(before.value()), &stripped(&after)))
            }
            (false, ..) => None,
        };
        wanted.is_some_and(|wanted| merge::changes_nothing(now.value(), &wanted))
    }

    /// The result of a mutation that the server answered.
    fn answered(&self, answer: Value) -> Written {
        match self.verb {
            Verb::Delete | Verb::Evict => self.written(Outcome::Deleted, None),
            Verb::Exec | Verb::Post => self.written(Outcome::Executed, None),
            Verb::Create => self.written(Outcome::Created, Some(self.kind.object(answer))),
            Verb::Scale => {
                // The answer is a Scale; the object is what was foreseen of it.
                let now = self.after().map(|after| self.kind.object(after));
                self.written(Outcome::Changed, now)
            }
            Verb::Patch | Verb::Replace => {
                let now = self.kind.object(answer);
                let before = self.before.as_ref();
                // The server found nothing to change: what was asked for is what it defaults to.
                let same = before.is_some_and(|b| {
                    if self.dry_run {
                        // A rehearsal makes no new version.
                        return !self.takes_over && stripped(b.value()) == stripped(now.value());
                    }
                    let version = b.resource_version();
                    !version.is_empty() && version == now.resource_version()
                });
                let outcome = if same {
                    Outcome::Unchanged
                } else {
                    Outcome::Changed
                };
                self.written(outcome, Some(now))
            }
        }
    }

    /// A result with kubectl's line for it.
    pub(super) fn written(&self, outcome: Outcome, object: Option<Object>) -> Written {
        let printed = self.kind.printed();
        let name = object.as_ref().map_or(self.name.as_str(), Object::name);
        let mut summary = match outcome {
            Outcome::Absent => format!("{printed} {name:?} not found"),
            Outcome::Deleted | Outcome::Deleting if self.verb == Verb::Evict => {
                format!("{printed}/{name} evicted")
            }
            Outcome::Deleted | Outcome::Deleting => match &self.namespace {
                Some(ns) => format!("{printed} {name:?} deleted from {ns} namespace"),
                None => format!("{printed} {name:?} deleted"),
            },
            Outcome::Created => format!("{printed}/{name} created"),
            Outcome::Executed => format!("{printed}/{name} executed"),
            Outcome::Changed if self.only_takes_over() => {
                format!("{printed}/{name} configured (only who owns its fields)")
            }
            Outcome::Changed => format!("{printed}/{name} {}", self.participle()),
            Outcome::Unchanged => {
                let said = match self.why {
                    Some("apply") => "unchanged".to_owned(),
                    Some("label") => "not labeled".to_owned(),
                    Some("annotate") => "not annotated".to_owned(),
                    Some("pause") => "already paused".to_owned(),
                    Some("resume") => "not paused".to_owned(),
                    Some("undo") => "skipped rollback (it has that template already)".to_owned(),
                    _ => format!("{} (no change)", self.participle()),
                };
                format!("{printed}/{name} {said}")
            }
        };
        if self.dry_run {
            summary.push_str(" (server dry run)");
        }
        let before = self.before.as_ref();
        let diff = match outcome {
            Outcome::Absent | Outcome::Executed | Outcome::Unchanged => String::new(),
            Outcome::Created => unified(&self.kind, None, object.as_ref()),
            Outcome::Changed | Outcome::Deleted | Outcome::Deleting => {
                unified(&self.kind, before, object.as_ref())
            }
        };
        Written {
            outcome,
            object,
            summary,
            diff,
        }
    }

    /// What kubectl says was done to an object that is still there.
    fn participle(&self) -> &'static str {
        match self.why {
            _ if self.verb == Verb::Replace => "replaced",
            _ if self.verb == Verb::Scale => "scaled",
            Some("annotate") => "annotated",
            Some("apply") => "configured",
            Some("label") => {
                let labels = self
                    .body
                    .as_ref()
                    .and_then(|b| b.pointer("/metadata/labels")?.as_object());
                if labels.is_some_and(|l| l.values().all(Value::is_null)) {
                    "unlabeled"
                } else {
                    "labeled"
                }
            }
            Some("pause") => "paused",
            Some("restart") => "restarted",
            Some("resume") => "resumed",
            Some("undo") => "rolled back",
            _ => "patched",
        }
    }
}

/// The request of a mutation; with `dry_run` one that stores nothing.
pub(super) fn call(mutation: &Mutation, dry_run: bool) -> Result<Call, ClusterError> {
    let namespace = mutation.namespace.as_deref();
    let uid = mutation.before.as_ref().map_or("", Object::uid);
    let mut body = mutation.body.clone().unwrap_or_else(|| json!({}));
    let operation = mutation.verb.as_str();
    let subject = mutation.subject();
    let one = || mutation.kind.path(namespace, Some(&mutation.name));
    let manager = match &mutation.form {
        PatchForm::Apply { manager, .. } => manager,
        _ => FIELD_MANAGER,
    };
    let written = |path: String| {
        let dry_run = if dry_run { "&dryRun=All" } else { "" };
        let manager = super::read::encode(manager);
        let force = match &mutation.form {
            PatchForm::Apply { force: true, .. } => "&force=true",
            _ => "",
        };
        // A field that the kind does not have is an error, and not dropped: a script reads no warnings.
        format!("{path}?fieldManager={manager}&fieldValidation=Strict{force}{dry_run}")
    };
    let patching = |body: &Value, path: String| Call {
        content_type: Some(match mutation.form {
            PatchForm::Apply { .. } => "application/apply-patch+yaml",
            PatchForm::Json => "application/json-patch+json",
            PatchForm::Merge => "application/merge-patch+json",
            PatchForm::Strategic => "application/strategic-merge-patch+json",
        }),
        ..Call::send(operation, subject.clone(), Method::PATCH, path, body)
    };
    // What was reviewed is what is changed, and not a successor of the same name.
    let bind = |body: &mut Value| {
        if !uid.is_empty() {
            merge::merge(body, &json!({"metadata": {"uid": uid}}));
        }
    };
    Ok(match mutation.verb {
        Verb::Exec | Verb::Post => {
            return Err(ClusterError::BadRequest {
                message: "a command goes over a connection of its own".to_owned(),
            });
        }
        Verb::Create if matches!(mutation.form, PatchForm::Apply { .. }) => {
            patching(&body, written(one()?))
        }
        Verb::Create => {
            let path = written(mutation.kind.path(namespace, None)?);
            Call::send(operation, subject, Method::POST, path, &body)
        }
        Verb::Patch => {
            if mutation.form == PatchForm::Merge {
                bind(&mut body);
            }
            patching(&body, written(one()?))
        }
        Verb::Replace => Call::send(operation, subject, Method::PUT, written(one()?), &body),
        Verb::Scale => {
            bind(&mut body);
            patching(&body, written(format!("{}/scale", one()?)))
        }
        Verb::Delete | Verb::Evict => {
            merge::merge(
                &mut body,
                &json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
            );
            if !uid.is_empty() {
                merge::merge(&mut body, &json!({"preconditions": {"uid": uid}}));
            }
            if dry_run {
                // Parameters beside a body are not read.
                merge::merge(&mut body, &json!({"dryRun": ["All"]}));
            }
            if mutation.verb == Verb::Delete {
                Call::send(operation, subject, Method::DELETE, one()?, &body)
            } else {
                let eviction = json!({
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": mutation.name, "namespace": namespace},
                    "deleteOptions": body,
                });
                let query = if dry_run { "?dryRun=All" } else { "" };
                let path = format!("{}/eviction{query}", one()?);
                Call::send(operation, subject, Method::POST, path, &eviction)
            }
        }
    })
}

fn stopped(call: &Call, in_doubt: bool) -> ClusterError {
    ClusterError::Interrupted {
        operation: call.operation,
        subject: call.subject.clone(),
        known: if in_doubt { IN_DOUBT } else { NOT_DONE },
    }
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Connect(reason) | Failure::Lost(reason) => {
            format!("the answer was lost ({reason})")
        }
        Failure::Garbled(reason) => format!("the answer was unreadable ({reason})"),
        Failure::Status(s) => format!("the server answered HTTP {} ({})", s.code, s.message),
        Failure::Stopped => "it was interrupted".to_owned(),
        Failure::Timeout => "no answer came in time".to_owned(),
    }
}
