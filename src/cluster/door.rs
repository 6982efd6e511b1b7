//! The one door that every mutation of a connection passes: who may ask, and who is told.
//!
//! Guards hang here and not on the words of a script, so that a rule is about the effect: the
//! same relabelling is reviewed whichever word, script or program asks for it. The door also
//! keeps what every mutation has in common in one place: the review, the lost answer, the report.
//! It knows no rule itself.

use std::fmt;
use std::sync::{Arc, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use super::error::Subject;
use super::{Cluster, ClusterError, Kind, Object, merge, object};

/// What a mutation does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A new object.
    Create,
    /// The end of an object.
    Delete,
    /// A command in a container of a pod, which may change anything.
    Exec,
    /// A JSON merge patch (RFC 7396) of an object.
    Patch,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verb {
    /// The API verb: `create`, `delete`, `patch`; `exec`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Exec => "exec",
            Self::Patch => "patch",
        }
    }
}

/// A change that is about to be sent. Changes that change nothing never become one.
#[derive(Clone)]
pub struct Mutation {
    /// Create, delete, patch or exec.
    pub verb: Verb,
    /// Of which kind the object is.
    pub kind: Kind,
    /// Where; none for cluster-wide objects.
    pub namespace: Option<String>,
    /// Which; empty for a creation with `generateName`.
    pub name: String,
    /// The object as it was read just before; none for a creation.
    pub before: Option<Object>,
    /// The object to create, the merge patch, or `{command, container}`.
    pub body: Option<Value>,
    /// The word behind it, where there is one: `label`, `annotate`, `restart`, `apply`.
    pub why: Option<&'static str>,
}

impl Mutation {
    /// The object as it will be: none after a deletion.
    pub fn after(&self) -> Option<Value> {
        match (self.verb, &self.before, &self.body) {
            (Verb::Delete, ..) => None,
            (Verb::Exec, before, _) => before.as_ref().map(Object::to_value),
            (Verb::Patch, Some(before), Some(patch)) => {
                let mut after = before.to_value();
                merge::merge(&mut after, patch);
                Some(after)
            }
            (_, _, body) => body.clone(),
        }
    }

    /// The body as a journal may hold it: a Secret's values read `‹redacted›`.
    pub fn shown(&self) -> Option<Value> {
        let body = self.body.as_ref()?;
        Some(if self.kind.plural() == "secrets" {
            object::redacted(body)
        } else {
            body.clone()
        })
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

    /// Told of a change that was asked for and is so already: nothing was reviewed or sent.
    fn unchanged(&self, _cluster: &Cluster, _mutation: &Mutation, _written: &Written) {}
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
    /// It is gone, or going if that was not to be waited for.
    Deleted,
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
    /// The line that kubectl would print: `namespace/shop labeled`.
    pub summary: String,
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

    /// Sends a mutation: the only caller of the functions that do.
    pub(super) async fn mutate(&self, mutation: Mutation) -> Result<Written, ClusterError> {
        let sent = self.send_mutation(&mutation);
        self.admit(&mutation, sent, Written::clone).await
    }

    /// Lets `work`, which is what a mutation does, begin when the policy permits it; `told` is how its result is told.
    pub(super) async fn admit<T>(
        &self,
        mutation: &Mutation,
        work: impl Future<Output = Result<T, ClusterError>>,
        told: impl Fn(&T) -> Written,
    ) -> Result<T, ClusterError> {
        let Some(policy) = self.policy() else {
            return work.await;
        };
        let mut report = Report {
            cluster: self,
            mutation,
            policy: policy.as_ref(),
            told: false,
        };
        let result = match policy.review(self, mutation).await {
            Ok(()) => work.await,
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
            }));
        }
    }
}
