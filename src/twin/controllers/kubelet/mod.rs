//! The kubelet: one worker for each pod of the node, from its first status to its removal.

mod fault;
mod state;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use super::context::Ctx;
use super::manager::describe_panic;
use super::objects::{name, namespace, text, uid, version};
use super::snapshot::Snapshot;
use worker::Worker;

/// Who says events about containers.
pub const NAME: &str = "kubelet";

/// The address of the node.
pub const NODE_IP: &str = "10.128.0.2";

/// Pod addresses: `10.8.0.2` and on, 250 of each 256.
const PER_NET: u32 = 250;
const NETS: u32 = 256 * 4;

/// What a worker sees of its pod: nothing when it is gone.
pub type Sight = Option<Arc<Value>>;

/// Starts a worker for each pod that is assigned to the node, and tells it of changes.
pub struct Kubelet {
    ctx: Arc<Ctx>,
    workers: HashMap<String, watch::Sender<Sight>>,
    tasks: JoinSet<String>,
    labels: HashMap<Id, String>,
    addresses: u32,
}

impl Kubelet {
    pub fn new(ctx: Arc<Ctx>) -> Kubelet {
        Kubelet {
            ctx,
            workers: HashMap::new(),
            tasks: JoinSet::new(),
            labels: HashMap::new(),
            addresses: 0,
        }
    }

    /// Tells the workers what became of their pods.
    pub fn observe(&mut self, world: &Snapshot) {
        let mut present = HashSet::new();
        for pod in world.list("pods") {
            if text(pod, "/spec/nodeName") != self.ctx.node {
                continue;
            }
            present.insert(uid(pod));
            match self.workers.get(uid(pod)) {
                Some(worker) => {
                    worker.send_if_modified(|sight| {
                        let newer = sight
                            .as_ref()
                            .is_some_and(|old| version(pod) > version(old));
                        if newer {
                            *sight = Some(Arc::clone(pod));
                        }
                        newer
                    });
                }
                None => self.start(pod),
            }
        }
        for (uid, worker) in &self.workers {
            if !present.contains(uid.as_str()) {
                worker.send_if_modified(|sight| sight.take().is_some());
            }
        }
    }

    /// Waits until a worker panics; workers that end are forgotten.
    pub async fn failed(&mut self) -> String {
        loop {
            match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, uid))) => {
                    self.labels.remove(&id);
                    self.workers.remove(&uid);
                }
                Some(Err(error)) => {
                    let label = self.labels.remove(&error.id()).unwrap_or_default();
                    return describe_panic(&label, error);
                }
            }
        }
    }

    fn start(&mut self, pod: &Arc<Value>) {
        let (sender, sight) = watch::channel(Some(Arc::clone(pod)));
        let worker = Worker::new(Arc::clone(&self.ctx), pod, self.next_address(), sight);
        let own = uid(pod).to_owned();
        self.workers.insert(own.clone(), sender);
        let handle = self.tasks.spawn(async move {
            worker.run().await;
            own
        });
        let label = format!("kubelet of pod `{}/{}`", namespace(pod), name(pod));
        self.labels.insert(handle.id(), label);
    }

    fn next_address(&mut self) -> String {
        let at = self.addresses % (PER_NET * NETS);
        self.addresses += 1;
        let net = at / PER_NET;
        format!("10.{}.{}.{}", 8 + net / 256, net % 256, 2 + at % PER_NET)
    }
}
