//! Where figures about traffic come from.
//!
//! A run does not know what makes handshakes beside it: the twin's prober does, on a real mesh
//! nothing does yet. Whoever starts the run plugs the source in.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::journal::TrafficFigures;

/// Something that makes mutual TLS handshakes while a run goes on, and counts them.
pub trait TrafficSource: Send + Sync {
    /// Makes sure that every ordered pair of live classes has been tried since the last
    /// checkpoint, then reads the counters (from the start of the source). `label` names the moment.
    fn checkpoint<'a>(&'a self, label: &'a str) -> BoxFuture<'a, TrafficFigures>;

    /// Reads the counters as they are.
    fn total(&self) -> TrafficFigures;
}

/// How long a checkpoint may take; a mesh in an outage is slow to probe.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counters after a checkpoint, or as they are if it takes too long.
pub(super) async fn swept(traffic: &dyn TrafficSource, label: &str) -> TrafficFigures {
    let checkpoint = tokio::time::timeout(PATIENCE, traffic.checkpoint(label));
    checkpoint.await.unwrap_or_else(|_| traffic.total())
}
