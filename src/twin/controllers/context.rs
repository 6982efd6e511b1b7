//! What every reconciler works with: the cluster, the clock, the mesh, and the few things that cannot
//! be read from objects because timestamps in them are whole seconds of the wall clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Options;
use super::events::Events;
use super::lifecycle::PodLifecycle;
use super::naming::Names;
use super::objects::uid;
use super::pods::is_ready;
use crate::twin::clock::SimClock;
use crate::twin::kube::Kube;
use crate::twin::process::Containers;

/// Shared by all reconcilers.
pub struct Ctx {
    pub kube: Kube,
    pub clock: SimClock,
    pub mesh: Arc<dyn PodLifecycle>,
    pub names: Names,
    pub events: Events,
    /// What runs in the pods.
    pub containers: Containers,
    /// Name of the only node.
    pub node: String,
    /// Since when pods are ready, by UID.
    ready: Mutex<HashMap<String, Instant>>,
    /// When rollouts last made progress, by UID of the Deployment.
    progress: Mutex<HashMap<String, Instant>>,
}

impl Ctx {
    pub fn new(kube: Kube, clock: SimClock, mesh: Arc<dyn PodLifecycle>, options: &Options) -> Ctx {
        let made = || Containers::new(kube.clone(), clock);
        let containers = options.containers.clone().unwrap_or_else(made);
        Ctx {
            containers,
            kube,
            clock,
            mesh,
            names: Names::new(options.seed),
            events: Events::default(),
            node: options.node.clone(),
            ready: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    /// The wall clock as the API writes it: UTC, whole seconds.
    pub fn now(&self) -> String {
        let now = self.clock.now();
        jiff::Timestamp::from_second(now.as_second())
            .unwrap_or(now)
            .to_string()
    }

    /// The simulated time since an instant.
    pub fn simulated_since(&self, then: Instant) -> Duration {
        then.elapsed().mul_f64(self.clock.speed())
    }

    pub fn set_ready_since_now(&self, pod: &str) {
        locked(&self.ready).insert(pod.to_owned(), Instant::now());
    }

    pub fn forget_ready(&self, pod: &str) {
        locked(&self.ready).remove(pod);
    }

    /// For how long (simulated) a pod has been ready; zero if it is not.
    pub fn ready_for(&self, pod: &Value) -> Duration {
        let since = locked(&self.ready).get(uid(pod)).copied();
        match since {
            Some(since) if is_ready(pod) => self.simulated_since(since),
            _ => Duration::ZERO,
        }
    }

    /// Whether a pod has been ready for `min_ready` simulated seconds.
    pub fn is_available(&self, pod: &Value, min_ready: i64) -> bool {
        is_ready(pod) && self.ready_for(pod) >= seconds(min_ready)
    }

    /// How many pods are available, and after what time the next one of the ready ones will be.
    pub fn available<T: AsRef<Value>>(
        &self,
        pods: &[T],
        min_ready: i64,
    ) -> (i64, Option<Duration>) {
        let mut count = 0;
        let mut next: Option<Duration> = None;
        for pod in pods.iter().map(AsRef::as_ref).filter(|p| is_ready(p)) {
            if self.is_available(pod, min_ready) {
                count += 1;
            } else {
                let left = seconds(min_ready).saturating_sub(self.ready_for(pod));
                next = Some(next.map_or(left, |n| n.min(left)));
            }
        }
        (count, next)
    }

    pub fn set_progress_now(&self, deployment: &str) {
        locked(&self.progress).insert(deployment.to_owned(), Instant::now());
    }

    /// When a rollout last made progress. One that nobody has seen making any starts now.
    pub fn progress_since(&self, deployment: &str) -> Instant {
        *locked(&self.progress)
            .entry(deployment.to_owned())
            .or_insert_with(Instant::now)
    }

    /// Forgets what is gone from the cluster.
    pub fn forget_all_but(&self, known: impl Fn(&str) -> bool) {
        locked(&self.ready).retain(|uid, _| known(uid));
        locked(&self.progress).retain(|uid, _| known(uid));
    }
}

/// A number of seconds from an object; negative ones count as none.
pub fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

/// The value of a mutex, also when a holder of it panicked: the panic itself is what gets reported.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
