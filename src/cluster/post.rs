//! Requests to a port of a pod that change what runs there, over a port-forward.
//!
//! Nobody foresees what they do, so they pass the one door as every mutation does, and are never sent twice.

use serde_json::json;

use super::door::{Mutation, Outcome, Verb, Written};
use super::{Cluster, ClusterError, Limits, Object};

/// A request to a port of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// The pod, as it was read.
    pub pod: &'a Object,
    /// Which port.
    pub port: u16,
    /// What is asked for.
    pub path: &'a str,
    /// The word behind it.
    pub why: &'static str,
    /// What it makes of the pod, for the line that tells it: `drained`.
    pub made: &'a str,
}

impl Cluster {
    /// POSTs, with nothing in it. A rehearsal is reviewed and not sent.
    ///
    /// # Errors
    /// Those of [`Cluster::forward`]; [`ClusterError::Forward`] also for an answer other than 200;
    /// [`ClusterError::Refused`].
    pub async fn post(&self, post: Post<'_>, limits: &Limits) -> Result<Written, ClusterError> {
        let mutation = self.posting(post).await?;
        let namespace = post.pod.namespace().unwrap_or_default();
        let work = async {
            if mutation.dry_run {
                return Ok(());
            }
            let mut forward = self
                .forward(namespace, post.pod.name(), post.port, limits)
                .await?;
            let answer = forward.post(post.path).await?;
            match answer.status {
                200 => Ok(()),
                _ => Err(forward.status(&answer)),
            }
        };
        let told = |(): &()| told(&mutation, Outcome::Changed, post.made);
        self.admit(&mutation, work, told).await.map(|()| told(&()))
    }

    /// Reports a request that is not sent, since what it asks for is so already.
    ///
    /// # Errors
    /// Those of a server that cannot be reached.
    pub async fn need_not_post(&self, post: Post<'_>) -> Result<Written, ClusterError> {
        let mutation = self.posting(post).await?;
        let written = told(&mutation, Outcome::Unchanged, post.made);
        Ok(self.skip(&mutation, written))
    }

    async fn posting(&self, post: Post<'_>) -> Result<Mutation, ClusterError> {
        let kind = self.kind("v1/pods").await?;
        Ok(Mutation {
            before: Some(post.pod.clone()),
            body: Some(json!({"port": post.port, "path": post.path})),
            why: Some(post.why),
            ..self.mutation(Verb::Post, &kind, post.pod.namespace(), post.pod.name())
        })
    }
}

fn told(mutation: &Mutation, outcome: Outcome, made: &str) -> Written {
    let note = match outcome {
        Outcome::Unchanged => " (no change)",
        _ if mutation.dry_run => " (dry run: not asked)",
        _ => "",
    };
    Written {
        outcome,
        object: None,
        summary: format!("pod/{} {made}{note}", mutation.name),
        diff: String::new(),
    }
}
