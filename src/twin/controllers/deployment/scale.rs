//! Sizes of ReplicaSets: scaling one, and scaling all in proportion while a rollout is under way.

use serde_json::Value;

use super::super::events::Event;
use super::super::objects::{annotation, int, name, namespace, uid};
use super::super::replicaset::replicas;
use super::revision::{DESIRED, MAX};
use super::{NAME, REPLICASETS, Rollout, available};

/// The pods that a ReplicaSet is asked for, or still has although it is asked for fewer.
pub fn occupied(rs: &Value) -> i64 {
    replicas(rs).max(int(rs, "/status/replicas"))
}

fn noted(rs: &Value, key: &str) -> Option<i64> {
    annotation(rs, key)?.parse().ok()
}

impl Rollout<'_> {
    /// Whether the Deployment was scaled since its ReplicaSets were last sized.
    pub(super) fn is_scaling(&self) -> bool {
        self.all()
            .filter(|rs| replicas(rs) > 0)
            .filter_map(|rs| noted(rs, DESIRED))
            .any(|desired| desired != self.wanted())
    }

    /// `NewRSNewReplicas`: the size that the new ReplicaSet may have now, given its size.
    pub(super) fn new_size(&self, size: i64) -> i64 {
        if !self.is_rolling() {
            return self.wanted();
        }
        let most = self.wanted() + self.max_surge();
        let present: i64 = self.all().map(occupied).sum();
        if present >= most {
            return size;
        }
        size + (most - present).min(self.wanted() - size)
    }

    /// Scales in proportion (`scale` of sync.go), outside of the steps of a rollout.
    pub(super) async fn scale(&mut self) -> Result<(), String> {
        let active = self.all().filter(|rs| replicas(rs) > 0).count();
        if active <= 1 {
            let latest = || self.new.as_ref().or_else(|| self.old.last());
            let only = self.all().find(|rs| replicas(rs) > 0).or_else(latest);
            return match only.cloned() {
                Some(rs) => self.resize(&rs, self.wanted()).await,
                None => Ok(()),
            };
        }
        if self.new.as_ref().is_some_and(|rs| self.is_saturated(rs)) {
            let old: Vec<Value> = self
                .old
                .iter()
                .filter(|r| replicas(r) > 0)
                .cloned()
                .collect();
            for rs in old {
                self.resize(&rs, 0).await?;
            }
            return Ok(());
        }
        if !self.is_rolling() {
            return Ok(());
        }
        for (rs, size) in self.proportions() {
            self.resize(&rs, size).await?;
        }
        Ok(())
    }

    fn is_saturated(&self, rs: &Value) -> bool {
        replicas(rs) == self.wanted()
            && noted(rs, DESIRED) == Some(self.wanted())
            && available(rs) == self.wanted()
    }

    /// The size that each active ReplicaSet should have, the largest first.
    fn proportions(&self) -> Vec<(Value, i64)> {
        let mut sets: Vec<Value> = self.all().filter(|r| replicas(r) > 0).cloned().collect();
        let allowed = if self.wanted() > 0 {
            self.wanted() + self.max_surge()
        } else {
            0
        };
        let to_add = allowed - sets.iter().map(replicas).sum::<i64>();
        // Old ones stand first: equals keep that order when shrinking, and turn it when growing.
        if to_add > 0 {
            sets.reverse();
        }
        sets.sort_by_key(|rs| std::cmp::Reverse(replicas(rs)));
        let mut added = 0;
        let mut sized = Vec::new();
        for rs in sets {
            let share = if to_add == 0 || to_add == added {
                0
            } else if to_add > 0 {
                self.fraction(&rs).min(to_add - added)
            } else {
                self.fraction(&rs).max(to_add - added)
            };
            added += share;
            let size = replicas(&rs) + share;
            sized.push((rs, size));
        }
        if let Some((_, size)) = sized.first_mut() {
            *size = (*size + to_add - added).max(0);
        }
        sized
    }

    /// By how much a ReplicaSet would change if it kept its part of the whole.
    fn fraction(&self, rs: &Value) -> i64 {
        let size = replicas(rs);
        if self.wanted() == 0 {
            return -size;
        }
        let most = self.wanted() + self.max_surge();
        let before = noted(rs, MAX)
            .filter(|m| *m > 0)
            .unwrap_or_else(|| int(&self.deployment, "/status/replicas"));
        if before == 0 {
            return 0;
        }
        // Rounded to the nearest, halves away from zero.
        (2 * size * most + before).div_euclid(2 * before) - size
    }

    /// Gives a ReplicaSet a size, notes what it was measured by, and says so.
    pub(super) async fn resize(&mut self, rs: &Value, size: i64) -> Result<(), String> {
        let before = replicas(rs);
        let written = self
            .ctx
            .kube
            .update(REPLICASETS, namespace(rs), name(rs), |o| {
                if uid(o) == uid(rs) {
                    self.note_sizes(o);
                    o["spec"]["replicas"] = size.into();
                }
            })
            .map_err(|status| status.message)?;
        if let Some(kept) = self
            .old
            .iter_mut()
            .chain(&mut self.new)
            .find(|known| uid(known) == uid(rs))
        {
            *kept = (*written).clone();
        }
        if before != size {
            let way = if before < size { "up" } else { "down" };
            let message = format!(
                "Scaled {way} replica set {} from {before} to {size}",
                name(rs)
            );
            self.say(Event::normal(NAME, "ScalingReplicaSet", &message))
                .await;
        }
        Ok(())
    }
}
