//! The two strategies: RollingUpdate and Recreate.

use serde_json::Value;

use super::super::manager::Outcome;
use super::super::objects::{controller_uid, int, namespace, uid};
use super::super::pods::is_finished;
use super::super::replicaset::replicas;
use super::{Rollout, available};

impl Rollout<'_> {
    /// One step of a rolling update: up, else down, else done.
    pub(super) async fn roll(mut self) -> Result<Outcome, String> {
        self.sync_new(true).await?;
        if !self.grow().await? && !self.shrink().await? && self.is_complete() {
            self.clean_up();
        }
        Ok(self.write_rollout_status())
    }

    /// Scales the new ReplicaSet up as far as the surge allows. True if it did.
    async fn grow(&mut self) -> Result<bool, String> {
        let Some(new) = self.new.clone() else {
            return Ok(false);
        };
        let size = replicas(&new);
        let target = if size > self.wanted() {
            self.wanted()
        } else {
            self.new_size(size)
        };
        if target == size {
            return Ok(false);
        }
        self.resize(&new, target).await?;
        Ok(true)
    }

    /// Scales old ReplicaSets down as far as availability allows: unhealthy pods first. True if it did.
    async fn shrink(&mut self) -> Result<bool, String> {
        let least = self.wanted() - self.max_unavailable();
        let present: i64 = self.all().map(replicas).sum();
        let starting = self
            .new
            .as_ref()
            .map_or(0, |rs| replicas(rs) - available(rs));
        let most = present - least - starting;
        if most <= 0 || self.old.iter().all(|rs| replicas(rs) == 0) {
            return Ok(false);
        }
        let mut gone = 0;
        for rs in self.old.clone() {
            let unhealthy = replicas(&rs) - available(&rs);
            let drop = unhealthy.min(most - gone);
            if drop > 0 {
                self.resize(&rs, replicas(&rs) - drop).await?;
                gone += drop;
            }
        }
        let serving: i64 = self.all().map(staying).sum();
        let mut spare = serving - least;
        for rs in self.old.clone() {
            let drop = replicas(&rs).min(spare);
            if drop > 0 {
                self.resize(&rs, replicas(&rs) - drop).await?;
                spare -= drop;
                gone += drop;
            }
        }
        Ok(gone > 0)
    }

    /// One step of a recreation: the old pods go, all of them, before a new one comes.
    pub(super) async fn recreate(mut self) -> Result<Outcome, String> {
        self.sync_new(false).await?;
        let mut shrunk = false;
        for rs in self.old.clone() {
            if replicas(&rs) > 0 {
                self.resize(&rs, 0).await?;
                shrunk = true;
            }
        }
        if shrunk || self.old_pods_run() {
            return Ok(self.write_rollout_status());
        }
        if self.new.is_none() {
            self.sync_new(true).await?;
        }
        if let Some(new) = self.new.clone()
            && replicas(&new) != self.wanted()
        {
            self.resize(&new, self.wanted()).await?;
        }
        if self.is_complete() {
            self.clean_up();
        }
        Ok(self.write_rollout_status())
    }

    /// Whether a pod of an old ReplicaSet is still there, if only to stop.
    fn old_pods_run(&self) -> bool {
        if self.old.iter().any(|rs| int(rs, "/status/replicas") > 0) {
            return true;
        }
        let is_old = |pod: &Value| self.old.iter().any(|rs| uid(rs) == controller_uid(pod));
        self.ctx
            .kube
            .list("pods", Some(namespace(&self.deployment)))
            .iter()
            .any(|pod| is_old(pod) && !is_finished(pod))
    }
}

/// The available pods that a ReplicaSet keeps: one that was just scaled down may still count those that it gives up.
pub fn staying(rs: &Value) -> i64 {
    available(rs).min(replicas(rs))
}
