//! The controllers, the scheduler and the kubelet of the twin: what makes objects come true.
//!
//! They act on [`Kube`] as the real ones act on an API server: level-triggered, each object on its own, through the
//! same admission. Apart from the server because they would run against any; apart from the mesh because they know
//! nothing of it but [`PodLifecycle`]. Durations are simulated ([`SimClock`]); the order of events and the
//! limits of rollouts hold at any speed.

mod aggregation;
mod autoscaler;
mod context;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod events;
mod garbage;
mod history;
mod job;
mod kubelet;
mod lifecycle;
mod manager;
mod namespaces;
mod naming;
mod node;
mod objects;
mod ownership;
mod pods;
mod quota;
mod replicaset;
mod scheduler;
mod snapshot;
mod statefulset;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use disruption::allow_eviction;
pub use lifecycle::{NoMesh, PodLifecycle};
pub use pods::in_ready_set;

use super::clock::SimClock;
use super::kube::Kube;
use super::process::Containers;
use context::Ctx;
use manager::{Controller, Manager};

/// What the controllers are told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// From which made-up names follow.
    pub seed: u64,
    /// Name of the only node, which is created.
    pub node: String,
    /// The API server's CA as PEM: every namespace gets it in `kube-root-ca.crt`.
    pub cluster_ca: String,
    /// Where containers run, to be shared with the API server; a place of their own unless given.
    pub containers: Option<Containers>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 1,
            node: "twin-node-1".to_owned(),
            cluster_ca: String::new(),
            containers: None,
        }
    }
}

/// The running controllers; dropping it ends them.
pub struct Controllers {
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
    failure: watch::Receiver<Option<String>>,
}

impl Controllers {
    /// Starts all controllers on a cluster. Must be called within a Tokio runtime.
    pub fn start(
        kube: Kube,
        clock: SimClock,
        mesh: Arc<dyn PodLifecycle>,
        options: &Options,
    ) -> Controllers {
        let ctx = Arc::new(Ctx::new(kube, clock, mesh, options));
        let controllers: Vec<Box<dyn Controller>> = vec![
            Box::new(aggregation::Aggregation),
            Box::new(autoscaler::Autoscalers),
            Box::new(daemonset::DaemonSets),
            Box::new(deployment::Deployments),
            Box::new(disruption::Budgets),
            Box::new(endpoints::Endpoints),
            Box::new(garbage::Garbage),
            Box::new(job::Jobs),
            Box::new(namespaces::Namespaces {
                cluster_ca: options.cluster_ca.as_str().into(),
            }),
            Box::new(quota::Quotas),
            Box::new(replicaset::ReplicaSets),
            Box::new(scheduler::Scheduler),
            Box::new(statefulset::StatefulSets),
        ];
        let stop = CancellationToken::new();
        let (failed, failure) = watch::channel(None);
        let told = stop.clone();
        let task = tokio::spawn(async move {
            node::ensure(&ctx).await;
            let manager = Manager::new(ctx, controllers);
            let loop_task = tokio::spawn(manager.run(told, failed.clone()));
            if let Err(error) = loop_task.await {
                let panic = manager::describe_panic("the controllers' loop", error);
                tracing::error!("{panic}");
                failed.send_replace(Some(panic));
            }
        });
        Controllers {
            task: Some(task),
            stop,
            failure,
        }
    }

    /// Which controller panicked and what it said, if one did. All have ended then.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Waits until a controller panics. Never returns if none does before they are stopped.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|f| f.clone()) {
            Ok(Some(failure)) => failure,
            _ => std::future::pending().await,
        }
    }

    /// Ends all controllers and waits for them.
    ///
    /// # Errors
    /// One of them had panicked: which and why.
    pub async fn stop(mut self) -> Result<(), String> {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            return Err(manager::describe_panic(
                "the start of the controllers",
                error,
            ));
        }
        self.failure().map_or(Ok(()), Err)
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
