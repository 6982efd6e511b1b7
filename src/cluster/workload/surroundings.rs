//! What a restart is judged by besides the workload itself: read once for many workloads.

use super::super::{Cluster, ClusterError, Kind, Object, Selector};
use super::findings::{Finding, findings};
use super::waves::Member;

/// Objects, or why they could not be read.
pub(super) type Known = Result<Vec<Object>, String>;

/// What is around the workloads of a namespace.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) autoscalers: Known,
    pub(super) budgets: Known,
    pub(super) claims: Known,
    pub(super) nodes: Known,
    /// The pods of all namespaces: what the nodes have room for.
    pub(super) pods: Known,
    pub(super) quotas: Known,
}

impl Cluster {
    /// What would go wrong in a restart of one workload, before anything is done.
    ///
    /// What cannot be read is a finding of its own, whose severity is unknown.
    ///
    /// # Errors
    /// The workload does not exist, is of a kind that has no rollouts, or cannot be read.
    pub async fn restart_findings(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Vec<Finding>, ClusterError> {
        super::super::rollout::rolls_out(kind)?;
        let object = self.get_existing(kind, Some(namespace), name).await?;
        let member = Member {
            kind: kind.clone(),
            object,
        };
        let around = self.surroundings(namespace).await;
        Ok(findings(&member, &around))
    }

    /// What would go wrong in a restart of each Deployment, StatefulSet and DaemonSet of a namespace.
    ///
    /// # Errors
    /// There is no such namespace; they cannot be read.
    pub async fn restart_findings_in(&self, namespace: &str) -> Result<Vec<Finding>, ClusterError> {
        let members = self.members_in(namespace).await?;
        let around = self.surroundings(namespace).await;
        Ok(members.iter().flat_map(|m| findings(m, &around)).collect())
    }

    /// Each Deployment, StatefulSet and DaemonSet of a namespace, in this order.
    ///
    /// # Errors
    /// There is no such namespace; they cannot be read.
    pub(super) async fn members_in(&self, namespace: &str) -> Result<Vec<Member>, ClusterError> {
        let mut members = Vec::new();
        for name in ["deployments.apps", "statefulsets.apps", "daemonsets.apps"] {
            let kind = self.kind(name).await?;
            let objects = self.list(&kind, Some(namespace), &Selector::all()).await?;
            members.extend(objects.into_iter().map(|object| Member {
                kind: kind.clone(),
                object,
            }));
        }
        if members.is_empty() {
            self.namespace_exists(namespace).await?;
        }
        Ok(members)
    }

    /// Nothing in a namespace that is not there is not nothing: most likely its name is misspelt. Who may not read
    /// namespaces cannot know.
    pub(super) async fn namespace_exists(&self, name: &str) -> Result<(), ClusterError> {
        let kind = self.kind("v1/Namespace").await?;
        match self.get_existing(&kind, None, name).await {
            Err(ClusterError::Forbidden(_)) => Ok(()),
            found => found.map(drop),
        }
    }

    async fn surroundings(&self, namespace: &str) -> Surroundings {
        let namespace = Some(namespace);
        Surroundings {
            autoscalers: self
                .known("horizontalpodautoscalers.autoscaling", namespace)
                .await,
            budgets: self.known("poddisruptionbudgets.policy", namespace).await,
            claims: self.known("persistentvolumeclaims", namespace).await,
            nodes: self.known("nodes", None).await,
            pods: self.known("v1/Pod", None).await,
            quotas: self.known("resourcequotas", namespace).await,
        }
    }

    async fn known(&self, kind: &str, namespace: Option<&str>) -> Known {
        let read = async {
            let kind = self.kind(kind).await?;
            self.list(&kind, namespace, &Selector::all()).await
        };
        read.await.map_err(|error| error.to_string())
    }
}
