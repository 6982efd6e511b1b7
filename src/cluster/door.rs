//! The one door that every mutation of a connection passes: who may ask, and who is told.
//!
//! Guards hang here and not on the words of a script, so that a rule is about the effect: the
//! same relabelling is reviewed whichever word, script or program asks for it. The door also
//! keeps what every mutation has in common in one place: the review, the lost answer, the report.
//! It knows no rule itself.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use super::diff::stripped;
use super::error::{IN_DOUBT, NOT_DONE, Subject};
use super::{Cluster, ClusterError, Kind, Object, merge, object};

/// What a mutation does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A new object.
    Create,
    /// The end of an object.
    Delete,
    /// The end of a pod, if its disruption budgets allow it.
    Evict,
    /// A command in a container of a pod, which may change anything.
    Exec,
    /// A change of an object, in one of the [`PatchForm`]s.
    Patch,
    /// A request to a port of a pod, which may change what runs there.
    Post,
    /// A whole object in the place of the one that was read.
    Replace,
    /// Another number of replicas, by the subresource `scale`.
    Scale,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verb {
    /// As errors and journals name it: `create`, `delete`, `evict`, `exec`, `patch`, `post`, `replace`, `scale`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Evict => "evict",
            Self::Exec => "exec",
            Self::Patch => "patch",
            Self::Post => "post",
            Self::Replace => "replace",
            Self::Scale => "scale",
        }
    }
}

/// How a patch says what it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PatchForm {
    /// Server-side apply: the fields that `manager` wants, and owns from then on.
    Apply {
        /// Takes fields from other managers that own them.
        force: bool,
        /// Who owns the fields.
        manager: String,
    },
    /// A list of operations (RFC 6902).
    Json,
    /// A map that is merged (RFC 7396): lists are replaced, `null` removes.
    #[default]
    Merge,
    /// A map that is merged by the rules of a built-in kind: lists of named things are merged by name.
    Strategic,
}

/// A change that is about to be sent. Changes that change nothing never become one.
#[derive(Clone)]
pub struct Mutation {
    /// What is done.
    pub verb: Verb,
    /// Of which kind the object is.
    pub kind: Kind,
    /// Where; none for cluster-wide objects.
    pub namespace: Option<String>,
    /// Which; empty for a creation with `generateName`.
    pub name: String,
    /// The object as it was read just before; none for a creation.
    pub before: Option<Object>,
    /// What is sent: the object to create or to put, the patch, `{"spec": {"replicas": …}}`,
    /// `{command, container}`, `{port, path}`.
    pub body: Option<Value>,
    /// How `body` is meant, for a patch.
    pub form: PatchForm,
    /// What the server would make of it, by its own answer to a dry run; for a scaling, whose result is
    /// one number, it is computed. Everything but a merge patch has it.
    pub foreseen: Option<Value>,
    /// The fields that its manager has applied, for an apply: before it is foreseen those that it had, then
    /// those that it will have.
    pub applied: Option<Value>,
    /// It makes its manager the owner, for an apply, of other fields than before.
    pub takes_over: bool,
    /// The word behind it, where there is one: `label`, `annotate`, `restart`, `apply`, `drain`.
    pub why: Option<&'static str>,
    /// It is rehearsed: sent with `dryRun=All`, so that nothing is stored.
    pub dry_run: bool,
}

impl Mutation {
    /// The object as it will be: none after a deletion or an eviction.
    ///
    /// Exact for every form of a change, since gates judge by it: a merge patch and a scaling are bound
    /// to no version and computed; every other change is bound to the version that was read, and this is
    /// what the server answered to a dry run of it. What nobody foresaw is never sent.
    pub fn after(&self) -> Option<Value> {
        match (self.verb, &self.form, &self.before, &self.body) {
            (Verb::Delete | Verb::Evict, ..) => None,
            (Verb::Exec | Verb::Post, _, before, _) => before.as_ref().map(Object::to_value),
            _ if self.foreseen.is_some() => self.foreseen.clone(),
            (Verb::Patch, PatchForm::Merge, Some(before), Some(patch)) => {
                let mut after = before.to_value();
                merge::merge(&mut after, patch);
                Some(after)
            }
            (Verb::Create, _, _, body) => body.clone(),
            _ => None,
        }
    }

    /// The change as a merge patch that a journal may hold, whatever form it has: a Secret's values
    /// read `‹redacted›`. For a creation it is the object.
    pub fn shown(&self) -> Option<Value> {
        let shown = match (self.verb, &self.form, &self.before) {
            (Verb::Patch, PatchForm::Merge, _) | (Verb::Scale, ..) => self.body.clone()?,
            (Verb::Patch | Verb::Replace, _, Some(before)) => {
                merge::between(&stripped(before.value()), &stripped(&self.after()?))
            }
            _ => self.body.clone()?,
        };
        Some(if self.kind.plural() == "secrets" {
            object::redacted(&shown)
        } else {
            shown
        })
    }

    /// Whether what it comes to is neither computed nor told by the server.
    pub(super) fn is_unforeseen(&self) -> bool {
        let told = match self.verb {
            Verb::Create | Verb::Patch => self.form != PatchForm::Merge,
            Verb::Replace | Verb::Scale => true,
            Verb::Delete | Verb::Evict | Verb::Exec | Verb::Post => false,
        };
        told && self.foreseen.is_none()
    }

    /// Whether it can only hit the very version of the object that was read.
    pub(super) fn is_bound(&self) -> bool {
        let version = |body: &Value| body.pointer("/metadata/resourceVersion").is_some();
        self.before.is_some()
            && match (self.verb, &self.form) {
                (Verb::Replace, _) => true,
                (Verb::Patch, PatchForm::Merge) | (Verb::Scale, _) => {
                    self.body.as_ref().is_some_and(version)
                }
                (Verb::Patch, _) => true,
                _ => false,
            }
    }

    /// The object that it is about.
    pub fn subject(&self) -> Subject {
        self.kind.subject(
            self.namespace.as_deref(),
            Some(self.name.as_str()).filter(|n| !n.is_empty()),
        )
    }
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.verb, self.subject())
    }
}

/// Why a policy turned a mutation down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The gate's stable name, by which it can be waived.
    pub code: String,
    /// One sentence: what would go wrong.
    pub title: String,
    /// What that rests on, one finding a line.
    pub evidence: Vec<String>,
    /// What to do, and the exact line that would permit it.
    pub hint: String,
}

/// Why a review did not let a mutation pass.
#[derive(Debug, Clone)]
pub enum PolicyError {
    /// The policy could not decide: something it had to read could not be read.
    Failed(ClusterError),
    /// The policy decided against it.
    Refused(Refusal),
}

impl From<ClusterError> for PolicyError {
    fn from(error: ClusterError) -> Self {
        Self::Failed(error)
    }
}

/// Reviews each mutation of a connection before it is sent and is told its result.
pub trait Policy: Send + Sync {
    /// Asked before the mutation is sent. An error keeps it from being sent.
    fn review<'a>(
        &'a self,
        cluster: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>>;

    /// Told once for each review: what became of it. A refusal arrives as
    /// [`ClusterError::Refused`], an abandoned request as [`ClusterError::Interrupted`].
    fn done(&self, cluster: &Cluster, mutation: &Mutation, result: &Result<Written, ClusterError>);

    /// Whether every review ends with a refusal: then the server is not even asked what a change would
    /// come to, and [`Mutation::after`] is none where only it could tell.
    fn refuses_all(&self) -> bool {
        false
    }

    /// Told of a change that was asked for and is so already: nothing was reviewed or sent.
    fn unchanged(&self, _cluster: &Cluster, _mutation: &Mutation, _written: &Written) {}

    /// Told what the server warned of in answer to a change or its rehearsal, once for each text.
    fn warned(&self, _cluster: &Cluster, _text: &str) {}
}

/// What a mutating call did to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was not there, which was allowed.
    Absent,
    /// It is different now.
    Changed,
    /// It is new.
    Created,
    /// It is gone.
    Deleted,
    /// It is going: still there, or not known to be gone, and not to be waited for.
    Deleting,
    /// A command was executed; what it changed is not known.
    Executed,
    /// It was as wanted; nothing was sent.
    Unchanged,
}

/// The result of a mutating call.
#[derive(Debug, Clone)]
pub struct Written {
    /// What happened.
    pub outcome: Outcome,
    /// The object after it; none if it is gone.
    pub object: Option<Object>,
    /// The line that kubectl would print: `namespace/shop labeled`; at a dry run it ends with
    /// ` (server dry run)`.
    pub summary: String,
    /// What is different, as a unified diff of YAML; empty if nothing is. Without what the server
    /// keeps for itself; a Secret's values read `‹redacted›`.
    pub diff: String,
}

impl Cluster {
    /// Sets who is asked before, and told after, every mutation of this connection; it replaces
    /// the one before. All clones of the connection share it.
    pub fn set_policy(&self, policy: Arc<dyn Policy>) {
        *self
            .shared
            .policy
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(policy);
    }

    /// Whether no change will be let through.
    pub(super) fn is_read_only(&self) -> bool {
        self.policy().is_some_and(|policy| policy.refuses_all())
    }

    fn policy(&self) -> Option<Arc<dyn Policy>> {
        self.shared
            .policy
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reports a change that is not sent because it is so already.
    pub(super) fn skip(&self, mutation: &Mutation, written: Written) -> Written {
        if let Some(policy) = self.policy() {
            policy.unchanged(self, mutation, &written);
        }
        written
    }

    /// Reports a warning of the server, unless it was reported before.
    pub(super) fn warn(&self, text: String) {
        let Some(policy) = self.policy() else {
            return;
        };
        let warned = self.shared.warned.lock();
        let new = warned
            .unwrap_or_else(PoisonError::into_inner)
            .insert(text.clone());
        if new {
            policy.warned(self, &text);
        }
    }

    /// Makes every mutation from now on a rehearsal, or ends that: all are reviewed as ever, and sent
    /// with `dryRun=All`, so that the server judges them and stores nothing. All clones of the
    /// connection share it.
    pub fn set_dry_run(&self, on: bool) {
        self.shared.dry_run.store(on, Ordering::SeqCst);
    }

    /// How many mutations were let through: what was read at another number may not be so any more.
    pub fn acts(&self) -> u64 {
        self.shared.acts.load(Ordering::SeqCst)
    }

    /// Whether mutations are only rehearsed.
    pub fn is_dry_run(&self) -> bool {
        self.shared.dry_run.load(Ordering::SeqCst)
    }

    /// Whether a change of that object was rehearsed, so that waiting for its effect is vain.
    pub fn is_rehearsed(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> bool {
        let key = kind.subject(namespace, Some(name)).key();
        self.is_dry_run() && self.rehearsed().contains(&key)
    }

    fn rehearsed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let rehearsed = self.shared.rehearsed.lock();
        rehearsed.unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a mutation: the only caller of the functions that do.
    pub(super) async fn mutate(&self, mutation: Mutation) -> Result<Written, ClusterError> {
        let sent = self.send_mutation(&mutation);
        let result = self.admit(&mutation, sent, Written::clone).await;
        if mutation.dry_run && result.is_ok() {
            self.rehearsed().insert(mutation.subject().key());
        }
        result
    }

    /// Lets `work`, which is what a mutation does, begin when the policy permits it; `told` is how its result is told.
    pub(super) async fn admit<T>(
        &self,
        mutation: &Mutation,
        work: impl Future<Output = Result<T, ClusterError>>,
        told: impl Fn(&T) -> Written,
    ) -> Result<T, ClusterError> {
        let work = async {
            self.shared.acts.fetch_add(1, Ordering::SeqCst);
            work.await
        };
        let Some(policy) = self.policy() else {
            return work.await;
        };
        let mut report = Report {
            cluster: self,
            mutation,
            policy: policy.as_ref(),
            begun: false,
            told: false,
        };
        let result = match policy.review(self, mutation).await {
            Ok(()) => {
                report.begun = true;
                work.await
            }
            Err(PolicyError::Refused(refusal)) => Err(ClusterError::Refused(Box::new(refusal))),
            Err(PolicyError::Failed(error)) => Err(error),
        };
        report.tell(&result.as_ref().map(told).map_err(Clone::clone));
        result
    }
}

/// Tells the policy exactly once, also when the call is dropped in the middle.
struct Report<'a> {
    cluster: &'a Cluster,
    mutation: &'a Mutation,
    policy: &'a dyn Policy,
    /// The policy let it pass, so that something may have been sent.
    begun: bool,
    told: bool,
}

impl Report<'_> {
    fn tell(&mut self, result: &Result<Written, ClusterError>) {
        self.told = true;
        self.policy.done(self.cluster, self.mutation, result);
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Err(ClusterError::Interrupted {
                operation: self.mutation.verb.as_str(),
                subject: self.mutation.subject(),
                known: if self.begun { IN_DOUBT } else { NOT_DONE },
            }));
        }
    }
}
