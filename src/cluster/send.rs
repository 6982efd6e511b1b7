//! Sending a mutation, and finding out what became of it when the answer is lost.
//!
//! A request whose answer did not come may have been carried out, may be carried out later, or
//! never. So nothing is repeated blindly: the object is read first. What is wanted is there: done.
//! It is not: sent again, which is harmless for a merge patch bound to a UID, for a deletion bound
//! to a UID, and for a creation under a fixed name. Where reading cannot tell, the error says so.

use http::Method;
use serde_json::{Value, json};

use super::call::{Call, Failure, pause};
use super::door::{Mutation, Outcome, Verb, Written};
use super::{Cluster, ClusterError, Object, merge};

/// How often a mutation is sent.
const ATTEMPTS: u32 = 4;

/// What reading the object back tells about a mutation whose answer was lost.
enum Settled {
    Done(Written),
    NotDone,
}

impl Cluster {
    /// Sends a reviewed mutation. [`Cluster::mutate`] is its only caller.
    pub(super) async fn send_mutation(&self, mutation: &Mutation) -> Result<Written, ClusterError> {
        let call = call(mutation)?;
        let mut attempt = 0;
        // Whether an earlier attempt may have been carried out.
        let mut in_doubt = false;
        loop {
            let failure = match self.once(&call).await {
                Ok(answer) => return Ok(mutation.answered(answer)),
                Err(failure) => failure,
            };
            attempt += 1;
            tracing::debug!(
                ?mutation,
                ?failure,
                attempt,
                "a mutation was not answered as wished"
            );
            let read_back = match &failure {
                Failure::Connect(_) => false,
                Failure::Status(s) if s.code == 429 => false,
                Failure::Status(s) if s.is_missing_object() && mutation.verb == Verb::Delete => {
                    return Ok(mutation.written(Outcome::Deleted, None));
                }
                Failure::Status(s) if s.code == 409 => {
                    // Our own first attempt, whose answer was lost, or a write in between.
                    in_doubt || mutation.verb != Verb::Create
                }
                Failure::Status(s) if s.code < 500 => return Err(self.error(&call, failure)),
                Failure::Status(_) | Failure::Garbled(_) | Failure::Lost(_) | Failure::Timeout => {
                    in_doubt = true;
                    true
                }
            };
            if matches!(&failure, Failure::Status(s) if s.code == 409) && !read_back {
                return Err(self.error(&call, failure));
            }
            if read_back {
                match self.settle(mutation, &call, &failure).await? {
                    Settled::Done(written) => return Ok(written),
                    Settled::NotDone => {}
                }
            }
            if attempt >= ATTEMPTS {
                return Err(self.given_up(&call, failure, in_doubt));
            }
            tokio::time::sleep(pause(attempt, &failure)).await;
        }
    }

    /// Reads the object of a mutation in doubt.
    async fn settle(
        &self,
        mutation: &Mutation,
        call: &Call,
        failure: &Failure,
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
            .get(&mutation.kind, namespace, &mutation.name)
            .await
            .map_err(|e| unknown(format!("it could not be read back: {e}")))?;
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
        match (mutation.verb, now) {
            (Verb::Create, None) => Ok(Settled::NotDone),
            (Verb::Create, Some(now)) if merge::difference(now.value(), body).is_none() => {
                Ok(Settled::Done(mutation.written(Outcome::Created, Some(now))))
            }
            (Verb::Create, Some(_)) => Err(unknown(
                "an object of that name is there, but it is not as it was to be created".into(),
            )),
            (Verb::Patch, None) => Err(ClusterError::NotFound {
                subject: call.subject.clone(),
            }),
            (Verb::Patch, Some(now)) if !same(&now) => {
                Err(conflict("another object of that name has taken its place"))
            }
            (Verb::Patch, Some(now)) if merge::changes_nothing(now.value(), body) => {
                Ok(Settled::Done(mutation.written(Outcome::Changed, Some(now))))
            }
            (Verb::Patch, Some(_)) => Ok(Settled::NotDone),
            (Verb::Delete, Some(now)) if same(&now) && !now.is_deleting() => Ok(Settled::NotDone),
            (Verb::Exec, _) => Err(unknown("commands are not sent again".into())),
            (Verb::Delete, _) => Ok(Settled::Done(mutation.written(Outcome::Deleted, None))),
        }
    }

    fn given_up(&self, call: &Call, failure: Failure, in_doubt: bool) -> ClusterError {
        match failure {
            Failure::Garbled(_) | Failure::Lost(_) | Failure::Timeout if in_doubt => {
                ClusterError::OutcomeUnknown {
                    operation: call.operation,
                    subject: call.subject.clone(),
                    reason: reason(&failure),
                    known: format!(
                        "after {ATTEMPTS} attempts it had not been done when last read, but the last \
                     request may still be carried out"
                    ),
                }
            }
            failure => self.error(call, failure),
        }
    }
}

impl Mutation {
    /// The result of a mutation that the server answered.
    fn answered(&self, answer: Value) -> Written {
        match self.verb {
            Verb::Delete => self.written(Outcome::Deleted, None),
            Verb::Exec => self.written(Outcome::Executed, None),
            Verb::Create => self.written(Outcome::Created, Some(self.kind.object(answer))),
            Verb::Patch => {
                let now = self.kind.object(answer);
                let before = self.before.as_ref();
                // The server found nothing to change: what was asked for is what it defaults to.
                let same = before.is_some_and(|b| {
                    !b.resource_version().is_empty()
                        && b.resource_version() == now.resource_version()
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
        let summary = match outcome {
            Outcome::Absent => format!("{printed} {name:?} not found"),
            Outcome::Deleted if self.why == Some("evict") => format!("{printed}/{name} evicted"),
            Outcome::Deleted => match &self.namespace {
                Some(ns) => format!("{printed} {name:?} deleted from {ns} namespace"),
                None => format!("{printed} {name:?} deleted"),
            },
            Outcome::Created => format!("{printed}/{name} created"),
            Outcome::Executed => format!("{printed}/{name} executed"),
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
        Written {
            outcome,
            object,
            summary,
        }
    }

    /// What kubectl says was done by a patch.
    fn participle(&self) -> &'static str {
        match self.why {
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

fn call(mutation: &Mutation) -> Result<Call, ClusterError> {
    let namespace = mutation.namespace.as_deref();
    let uid = mutation.before.as_ref().map_or("", Object::uid);
    let body = mutation.body.clone().unwrap_or_else(|| json!({}));
    let operation = mutation.verb.as_str();
    let subject = mutation.subject();
    let one = || mutation.kind.path(namespace, Some(&mutation.name));
    Ok(match mutation.verb {
        Verb::Exec => {
            return Err(ClusterError::BadRequest {
                message: "a command goes over a connection of its own".to_owned(),
            });
        }
        Verb::Create => {
            let path = mutation.kind.path(namespace, None)?;
            Call::send(operation, subject, Method::POST, path, &body)
        }
        Verb::Patch => {
            let mut body = body;
            if !uid.is_empty() {
                // What was reviewed is what is changed, and not a successor of the same name.
                merge::merge(&mut body, &json!({"metadata": {"uid": uid}}));
            }
            Call {
                content_type: Some("application/merge-patch+json"),
                ..Call::send(operation, subject, Method::PATCH, one()?, &body)
            }
        }
        Verb::Delete if mutation.why == Some("evict") => super::workload::eviction(mutation)?,
        Verb::Delete => {
            let mut body = body;
            merge::merge(
                &mut body,
                &json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
            );
            if !uid.is_empty() {
                merge::merge(&mut body, &json!({"preconditions": {"uid": uid}}));
            }
            Call::send(operation, subject, Method::DELETE, one()?, &body)
        }
    })
}

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Connect(reason) | Failure::Lost(reason) => {
            format!("the answer was lost ({reason})")
        }
        Failure::Garbled(reason) => format!("the answer was unreadable ({reason})"),
        Failure::Status(s) => format!("the server answered HTTP {} ({})", s.code, s.message),
        Failure::Timeout => "no answer came in time".to_owned(),
    }
}
