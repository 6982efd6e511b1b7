//! Watching a change after it was written: whether it holds, and who put it back.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::wait::Bell;
use super::super::{Cluster, ClusterError, Kind};
use super::fields::{owns, shown};
use super::marks::Tool;
use super::{Reverted, entries, lost, text};

impl Cluster {
    /// Watches whether a change still holds, for so long; ends when it does not.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`] when the object goes, and those of the server.
    pub async fn watch_revert(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        change: &Value,
        within: Duration,
    ) -> Result<Reverted, ClusterError> {
        let start = Instant::now();
        let first = self.existing_with_managers(kind, namespace, name).await?;
        let mut now = first.clone();
        let mut bell = Bell::new(self, kind, namespace, name);
        loop {
            let fields = lost(&now, change);
            if !fields.is_empty() {
                let manager = culprit(&first, &now, &fields);
                return Ok(Reverted {
                    tool: manager
                        .as_deref()
                        .and_then(Tool::of_manager)
                        .map(Tool::name),
                    manager,
                    fields: fields.iter().map(|path| shown(path)).collect(),
                    after: start.elapsed(),
                });
            }
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Reverted {
                    fields: Vec::new(),
                    manager: None,
                    tool: None,
                    after: start.elapsed(),
                });
            }
            let version = now["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or("")
                .to_owned();
            bell.rings(&version, Duration::from_secs(1).min(left)).await;
            match self.existing_with_managers(kind, namespace, name).await {
                Ok(object) => now = object,
                // A server that is away for a while does not end the watch.
                Err(error) if error.retryable() && start.elapsed() < within => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Who put fields back: a manager that has one of them now and has not before; else one whose entry is
/// new or has changed, the last first; else one that has one of them.
pub(super) fn culprit(before: &Value, now: &Value, fields: &[Vec<String>]) -> Option<String> {
    let is_new = |entry: &&Value| !entries(before).contains(entry);
    let has = |entry: &&Value| fields.iter().any(|path| owns(&entry["fieldsV1"], path));
    let all = entries(now);
    let of = |entry: &Value| text(entry, "manager").to_owned();
    all.iter()
        .filter(|e| is_new(e) && has(e))
        .max_by_key(|e| text(e, "time").to_owned())
        .or_else(|| {
            all.iter()
                .filter(|e| is_new(e))
                .max_by_key(|e| text(e, "time").to_owned())
        })
        .or_else(|| all.iter().find(|e| has(e)))
        .map(of)
}
