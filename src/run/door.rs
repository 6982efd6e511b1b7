//! The journalling half of the door that every mutation passes.
//!
//! In front of the guard: the mode, and whether the account can be kept. Behind it: the intent, on
//! the disk before the request is sent, and the result.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use serde_json::Value;

use super::Account;
use crate::{
    cluster::{
        Cluster, ClusterError, Mutation, Outcome, Policy, PolicyError, Refusal, Verb, Written,
    },
    journal::{Event, Level, Mode, MutationEvent, MutationTarget},
};

/// The code of a mutation that is refused because of the run's mode.
const READ_ONLY: &str = "read-only";

/// Watches the mutations of one connection.
pub(super) struct Door {
    account: Arc<Account>,
    mode: Mode,
    guard: Option<Arc<dyn Policy>>,
    numbers: Arc<AtomicU64>,
    /// Mutations that were let through and have no result yet.
    open: Mutex<Vec<(u64, MutationTarget)>>,
}

impl Door {
    /// `numbers` is shared by all connections of a run.
    pub(super) fn new(
        account: Arc<Account>,
        mode: Mode,
        guard: Option<Arc<dyn Policy>>,
        numbers: Arc<AtomicU64>,
    ) -> Self {
        Self {
            account,
            mode,
            guard,
            numbers,
            open: Mutex::default(),
        }
    }

    fn emit(&self, mutation: u64, target: MutationTarget, what: MutationEvent) {
        self.account.emit(Event::Mutation {
            mutation,
            target,
            what,
        });
    }

    async fn reviewed(&self, cluster: &Cluster, mutation: &Mutation) -> Result<(), PolicyError> {
        if self.mode == Mode::ReadOnly {
            return Err(PolicyError::Refused(Refusal {
                code: READ_ONLY.to_owned(),
                title: "this run may only read".to_owned(),
                evidence: Vec::new(),
                hint: "a script that says `mutates: false` in its header only reads; code without a header changes a \
                       cluster only when told which, with `--context NAME --yes`"
                    .to_owned(),
            }));
        }
        self.writable()?;
        if let Some(guard) = &self.guard {
            guard.review(cluster, mutation).await?;
        }
        Ok(())
    }

    /// That the account of this run can be kept.
    fn writable(&self) -> Result<(), PolicyError> {
        self.account.kept().map_err(|failure| {
            PolicyError::Refused(Refusal {
                code: "journal".to_owned(),
                title: failure.message,
                evidence: Vec::new(),
                hint: failure.hint.unwrap_or_default(),
            })
        })
    }

    /// The number of the review that ends with this.
    fn close(&self, target: &MutationTarget) -> Option<u64> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let at = open.iter().position(|(_, t)| t == target)?;
        Some(open.remove(at).0)
    }
}

impl Policy for Door {
    fn review<'a>(
        &'a self,
        cluster: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        Box::pin(async move {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
            let target = target(cluster, mutation);
            self.open
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, target.clone()));
            self.reviewed(cluster, mutation).await?;
            let change = match mutation.verb {
                Verb::Exec | Verb::Patch | Verb::Post | Verb::Replace | Verb::Scale => {
                    mutation.shown().unwrap_or_default()
                }
                Verb::Create | Verb::Delete | Verb::Evict => Value::Null,
            };
            self.emit(number, target, MutationEvent::Intended { change });
            // The intent itself may have been what could not be written.
            self.writable()
        })
    }

    fn refuses_all(&self) -> bool {
        self.mode == Mode::ReadOnly
    }

    fn done(&self, cluster: &Cluster, mutation: &Mutation, result: &Result<Written, ClusterError>) {
        if let Some(guard) = &self.guard {
            guard.done(cluster, mutation, result);
        }
        let target = target(cluster, mutation);
        let Some(number) = self.close(&target) else {
            return;
        };
        let what = match result {
            Ok(written) => MutationEvent::Sent {
                outcome: outcome(written.outcome).to_owned(),
                summary: written.summary.clone(),
            },
            Err(ClusterError::Refused(refusal)) => MutationEvent::Refused {
                code: refusal.code.clone(),
                error: refusal.title.clone(),
            },
            Err(error) => MutationEvent::Failed {
                error: error.to_string(),
            },
        };
        self.emit(number, target, what);
    }

    fn unchanged(&self, cluster: &Cluster, mutation: &Mutation, written: &Written) {
        if let Some(guard) = &self.guard {
            guard.unchanged(cluster, mutation, written);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let summary = written.summary.clone();
        let what = MutationEvent::Unchanged { summary };
        self.emit(number, target(cluster, mutation), what);
    }

    fn warned(&self, cluster: &Cluster, text: &str) {
        self.account.emit(Event::Note {
            level: Level::Warn,
            text: format!("the API server of `{}` warns: {text}", cluster.context()),
        });
    }
}

fn target(cluster: &Cluster, mutation: &Mutation) -> MutationTarget {
    MutationTarget {
        context: cluster.context().to_owned(),
        verb: mutation.verb.as_str().to_owned(),
        kind: mutation.subject().resource().to_owned(),
        namespace: mutation.namespace.clone(),
        name: mutation.name.clone(),
        why: mutation.why.map(str::to_owned),
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Absent => "absent",
        Outcome::Changed => "changed",
        Outcome::Created => "created",
        Outcome::Deleted => "deleted",
        Outcome::Deleting => "deleting",
        Outcome::Executed => "executed",
        Outcome::Unchanged => "unchanged",
    }
}
