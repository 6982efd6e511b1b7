//! Evictions: the end of a pod that honours its disruption budgets (`kubectl drain` does it so).

use std::time::{Duration, Instant};

use serde_json::json;

use super::door::{Mutation, Outcome, Verb, Written};
use super::error::NOT_DONE;
use super::write::meant;
use super::{Cluster, ClusterError, send};

/// How often a budget is asked whether it allows an eviction now. `kubectl drain` asks every 5 s;
/// a question costs no more than a read.
const ASK: Duration = Duration::from_secs(1);

/// How to evict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvictOptions {
    /// A pod that is not there is no error.
    pub ignore_missing: bool,
    /// Evict this one only, and no other of the same name.
    pub uid: Option<String>,
    /// Seconds that the pod gets to end; `None`: those it has itself.
    pub grace: Option<u32>,
    /// How long to wait for the budget to allow it; none: not at all.
    pub patience: Duration,
    /// Wait until it is gone, at most so long; `None`: do not wait.
    pub wait: Option<Duration>,
}

impl Default for EvictOptions {
    /// A missing pod is an error; a budget is not waited for; the end is, up to five minutes.
    fn default() -> Self {
        Self {
            ignore_missing: false,
            uid: None,
            grace: None,
            patience: Duration::ZERO,
            wait: Some(Duration::from_secs(300)),
        }
    }
}

impl Cluster {
    /// Evicts a pod, if its disruption budgets allow it, and waits until it is gone. A budget that does
    /// not allow it yet is asked again, by dry runs, for as long as `patience` says. The eviction holds
    /// for the pod that was read (UID), not for one that takes its place.
    ///
    /// # Errors
    /// [`ClusterError::EvictionBlocked`] with the budget and what it allows;
    /// [`ClusterError::NotFound`] unless ignored; [`ClusterError::Conflict`] if another one of that name is
    /// there; [`ClusterError::StillThere`];
    /// [`ClusterError::Refused`]; and those of the server.
    pub async fn evict(
        &self,
        namespace: &str,
        name: &str,
        options: &EvictOptions,
    ) -> Result<Written, ClusterError> {
        let pods = self.kind("v1/pods").await?;
        let here = Some(namespace);
        let found = self.get(&pods, here, name).await?;
        let uid = options.uid.as_deref();
        let nothing = self.mutation(Verb::Evict, &pods, here, name);
        let Some(before) = meant(&nothing, found, uid, options.ignore_missing)? else {
            let written = nothing.written(Outcome::Absent, None);
            return Ok(self.skip(&nothing, written));
        };
        let (uid, going) = (before.uid().to_owned(), before.is_deleting());
        let mut body = json!({});
        if let Some(grace) = options.grace {
            body["gracePeriodSeconds"] = grace.into();
        }
        let eviction = Mutation {
            before: Some(before),
            body: Some(body),
            ..self.mutation(Verb::Evict, &pods, here, name)
        };
        let mut written = if going {
            let mut written = eviction.written(Outcome::Deleting, None);
            written.outcome = self.gone_yet(&eviction).await;
            written
        } else {
            self.evict_when_allowed(eviction, options.patience).await?
        };
        if let (Some(limit), Outcome::Deleting) = (options.wait, written.outcome) {
            self.wait_gone(&pods, here, name, &uid, limit).await?;
            written.outcome = Outcome::Deleted;
        }
        Ok(written)
    }

    async fn evict_when_allowed(
        &self,
        eviction: Mutation,
        patience: Duration,
    ) -> Result<Written, ClusterError> {
        let start = Instant::now();
        let mut result = self.mutate(eviction.clone()).await;
        loop {
            let blocked = match result {
                Err(error @ ClusterError::EvictionBlocked { .. }) => error,
                result => return result,
            };
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() || self.is_dry_run() {
                return Err(self.with_what_is_allowed(&eviction, blocked).await);
            }
            if self.rest(ASK.min(left)).await.is_err() {
                return Err(ClusterError::Interrupted {
                    operation: Verb::Evict.as_str(),
                    subject: eviction.subject(),
                    known: NOT_DONE,
                });
            }
            // Asked by a dry run, which is no attempt: one is made when it may succeed.
            let probe = send::call(&eviction, true)?;
            result = match self.read(&probe).await {
                Err(error @ ClusterError::EvictionBlocked { .. }) => Err(error),
                // Also where it went by itself meanwhile: the attempt finds that out.
                _ => self.mutate(eviction.clone()).await,
            };
        }
    }

    /// The refusal of a budget, with what the budget allows now, if it may be read: fewer may than
    /// may evict.
    async fn with_what_is_allowed(
        &self,
        eviction: &Mutation,
        mut blocked: ClusterError,
    ) -> ClusterError {
        if let ClusterError::EvictionBlocked {
            budget: Some(budget),
            allowed,
            ..
        } = &mut blocked
            && let Ok(kind) = self.kind("poddisruptionbudgets.policy").await
            && let Ok(Some(read)) = self.get(&kind, eviction.namespace.as_deref(), budget).await
        {
            *allowed = Some(read.int("/status/disruptionsAllowed").unwrap_or(0));
        }
        blocked
    }
}
