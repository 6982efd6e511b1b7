//! The loop that runs the reconcilers: level-triggered, one at a time for each object, woken by news.
//!
//! A pass looks at the cluster once and starts a reconciler for each object of which something has
//! changed since its last one began, unless that one still runs. So a reconciler that waits (for a webhook, for the mesh)
//! holds up its own object only, and each sees the outcome of its previous run. A panic in any of
//! them ends the loop and is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::context::Ctx;
use super::kubelet::Kubelet;
use super::objects::uid;
use super::snapshot::Snapshot;

/// What a reconciler is run for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn of(object: &serde_json::Value) -> Key {
        Key {
            namespace: super::objects::namespace(object).to_owned(),
            name: super::objects::name(object).to_owned(),
        }
    }
}

/// How a reconciliation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All is as it should be, or waits for a change.
    Done,
    /// To be looked at again after a simulated time, even if nothing news.
    Again(Duration),
    /// It could not do its work; tried again, with growing pauses.
    Failed(String),
}

impl Outcome {
    /// `Again` if there is a time, else `Done`.
    pub fn after(time: Option<Duration>) -> Outcome {
        time.map_or(Outcome::Done, Outcome::Again)
    }
}

/// One kind of reconciler.
pub trait Controller: Send + Sync {
    /// For messages.
    fn name(&self) -> &'static str;
    /// The keys that exist, each with a fingerprint of all that its reconciliation depends on.
    fn work(&self, world: &Snapshot, ctx: &Ctx) -> Vec<(Key, u64)>;
    /// Makes things so. Reads afresh; the object may be gone.
    fn reconcile(&self, ctx: Arc<Ctx>, key: Key) -> BoxFuture<'static, Outcome>;
}

/// First pause after a failure (simulated); doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// No retry comes sooner in real time, whatever the speed: a fast twin must not spin.
const SHORTEST_REAL_PAUSE: Duration = Duration::from_millis(5);

type Slot = (usize, Key);
type Ended = (Slot, Outcome);

/// What is known of one key between runs.
#[derive(Debug, Default)]
struct State {
    seen: Option<u64>,
    running: bool,
    due: Option<Instant>,
    failures: u32,
}

pub struct Manager {
    ctx: Arc<Ctx>,
    controllers: Vec<Box<dyn Controller>>,
    kubelet: Kubelet,
    states: HashMap<Slot, State>,
    tasks: JoinSet<Ended>,
    labels: HashMap<Id, String>,
}

impl Manager {
    pub fn new(ctx: Arc<Ctx>, controllers: Vec<Box<dyn Controller>>) -> Manager {
        Manager {
            kubelet: Kubelet::new(Arc::clone(&ctx)),
            ctx,
            controllers,
            states: HashMap::new(),
            tasks: JoinSet::new(),
            labels: HashMap::new(),
        }
    }

    /// Runs until told to stop, or until a reconciler panics: then `failure` says which and why.
    pub async fn run(mut self, stop: CancellationToken, failure: watch::Sender<Option<String>>) {
        let mut news = self.ctx.kube.changes();
        loop {
            if let Err(panic) = self.reap() {
                tracing::error!("{panic}");
                failure.send_replace(Some(panic));
                return;
            }
            news.borrow_and_update();
            let next = self.pass();
            let alarm = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
                ended = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    if let Some(ended) = ended && let Err(panic) = self.ended(ended) {
                        tracing::error!("{panic}");
                        failure.send_replace(Some(panic));
                        return;
                    }
                }
                panic = self.kubelet.failed() => {
                    tracing::error!("{panic}");
                    failure.send_replace(Some(panic));
                    return;
                }
                () = alarm => {}
            }
        }
    }

    /// Starts what has to be started; says when the next retry is due.
    fn pass(&mut self) -> Option<Instant> {
        let world = Snapshot::take(&self.ctx.kube);
        self.kubelet.observe(&world);
        let now = Instant::now();
        let mut alive: HashMap<Slot, u64> = HashMap::new();
        for (index, controller) in self.controllers.iter().enumerate() {
            for (key, print) in controller.work(&world, &self.ctx) {
                alive.insert((index, key), print);
            }
        }
        if self.states.len() > alive.len() {
            let known: std::collections::HashSet<&str> = ["pods", "deployments.apps", "jobs.batch"]
                .iter()
                .flat_map(|r| world.list(r))
                .map(|o| uid(o))
                .collect();
            self.ctx.forget_all_but(|uid| known.contains(uid));
        }
        self.states
            .retain(|slot, state| state.running || alive.contains_key(slot));
        let mut next: Option<Instant> = None;
        for (slot, print) in alive {
            let state = self.states.entry(slot.clone()).or_default();
            if state.running {
                continue;
            }
            // A failure waits for its pause even if things change: that is what the pause is for.
            let due = state.due.is_some_and(|due| due <= now);
            let changed = state.seen != Some(print) && state.failures == 0;
            if changed || due || (state.seen != Some(print) && state.due.is_none()) {
                state.seen = Some(print);
                state.running = true;
                state.due = None;
                self.start(slot);
            } else if let Some(due) = state.due {
                next = Some(next.map_or(due, |n| n.min(due)));
            }
        }
        next
    }

    fn start(&mut self, slot: Slot) {
        let controller = &self.controllers[slot.0];
        let label = format!(
            "controller `{}` of `{}/{}`",
            controller.name(),
            slot.1.namespace,
            slot.1.name
        );
        let work = controller.reconcile(Arc::clone(&self.ctx), slot.1.clone());
        let handle = self.tasks.spawn(async move { (slot, work.await) });
        self.labels.insert(handle.id(), label);
    }

    fn reap(&mut self) -> Result<(), String> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended)?;
        }
        Ok(())
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> Result<(), String> {
        let (id, (slot, outcome)) = match ended {
            Ok(done) => done,
            Err(error) => {
                let label = self.labels.remove(&error.id()).unwrap_or_default();
                return Err(describe_panic(&label, error));
            }
        };
        let label = self.labels.remove(&id).unwrap_or_default();
        let Some(state) = self.states.get_mut(&slot) else {
            return Ok(());
        };
        state.running = false;
        state.due = match outcome {
            Outcome::Done => {
                state.failures = 0;
                None
            }
            Outcome::Again(after) => {
                state.failures = 0;
                Some(Instant::now() + self.ctx.clock.real(after).max(SHORTEST_REAL_PAUSE))
            }
            Outcome::Failed(reason) => {
                tracing::debug!("{label} failed: {reason}");
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(state.failures)).min(LONGEST_PAUSE);
                state.failures = (state.failures + 1).min(16);
                Some(Instant::now() + self.ctx.clock.real(pause).max(SHORTEST_REAL_PAUSE))
            }
        };
        Ok(())
    }
}

/// What a panicking task said.
pub fn describe_panic(label: &str, error: JoinError) -> String {
    if error.is_cancelled() {
        return format!("{label} was cancelled");
    }
    let payload = error.into_panic();
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    format!("{label} panicked: {text}")
}
