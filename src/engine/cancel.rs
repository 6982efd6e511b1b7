//! The token that stops a script, and the mask under which its cleanup may still run.
//!
//! One `Cancel` belongs to one run. A first request lets the call in flight finish and stops before
//! the next one; a second stops at once. Neither can be swallowed by `try … catch`. While a thread is
//! masked (inside `always { … }`) requests and the deadline wait until the mask's grace is over.
//! Masks are per thread because `parallel_map` has workers that clean up by themselves.

use super::Failure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long cleanup may go on after a request to stop, unless said otherwise.
const GRACE: Duration = Duration::from_secs(60);

/// A cancellation token with a deadline and a mask; clones share one state.
#[derive(Clone)]
pub struct Cancel {
    inner: Arc<Inner>,
}

struct Inner {
    grace: Duration,
    /// False as long as nobody has asked for anything: the fast path of every script operation.
    raised: AtomicBool,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    asked: Option<Instant>,
    stopped: Option<Instant>,
    deadline: Option<(Instant, Duration)>,
    threads: HashMap<ThreadId, Local>,
}

#[derive(Clone, Default)]
struct Local {
    masks: usize,
    masked_since: Option<Instant>,
    /// In workers of `parallel_map`, one for each nesting: raised when a failure stops the team.
    teams: Vec<Team>,
}

type Team = Arc<Mutex<Option<Instant>>>;

/// Which requests interrupt a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A call in flight: finished when asked to stop, interrupted when stopped or past the deadline.
    Finish,
    /// A pause between calls: interrupted by every request.
    Yield,
}

impl Cancel {
    /// A token that nobody has raised, with the usual grace.
    pub fn new() -> Cancel {
        Cancel::with_grace(GRACE)
    }

    /// A token whose masked blocks may go on for `grace` after a request.
    pub fn with_grace(grace: Duration) -> Cancel {
        Cancel {
            inner: Arc::new(Inner {
                grace,
                raised: AtomicBool::new(false),
                state: Mutex::default(),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Asks to stop after the call in flight.
    pub fn ask(&self) {
        let mut state = self.state();
        state.asked.get_or_insert_with(Instant::now);
        drop(state);
        self.changed();
    }

    /// Stops now; cleanup in `always` still runs, bounded by the grace.
    pub fn cancel(&self) {
        let mut state = self.state();
        let now = Instant::now();
        state.asked.get_or_insert(now);
        state.stopped.get_or_insert(now);
        drop(state);
        self.changed();
    }

    /// Forgets all requests and the deadline, so that a session can evaluate its next line.
    pub fn reset(&self) {
        let mut state = self.state();
        state.asked = None;
        state.stopped = None;
        state.deadline = None;
        self.inner.raised.store(false, Ordering::Release);
    }

    /// Sets the deadline to `wall` from now.
    pub fn expire_in(&self, wall: Duration) {
        let mut state = self.state();
        state.deadline = Some((Instant::now() + wall, wall));
        drop(state);
        self.changed();
    }

    /// Whether anybody has asked to stop, masked or not.
    pub fn is_asked(&self) -> bool {
        self.state().asked.is_some()
    }

    /// Whether a stop was requested (not merely asked for), masked or not.
    pub fn is_cancelled(&self) -> bool {
        self.state().stopped.is_some()
    }

    /// Resolves when [`Cancel::cancel`] has been called.
    pub async fn cancelled(&self) {
        let mut changes = self.inner.changes.subscribe();
        while !self.is_cancelled() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Masks this thread until the guard is dropped; masks nest.
    pub fn mask(&self) -> MaskGuard {
        let mut state = self.state();
        let local = state.threads.entry(thread::current().id()).or_default();
        local.masks += 1;
        local.masked_since.get_or_insert_with(Instant::now);
        MaskGuard {
            cancel: self.clone(),
        }
    }

    /// Why this thread must stop now, if it must.
    pub fn interruption(&self, patience: Patience) -> Option<Failure> {
        let state = self.state();
        let local = state.threads.get(&thread::current().id());
        self.judge(&state, local, patience)
    }

    /// As [`Cancel::interruption`], cheap enough for every operation of a script: the clock is read
    /// only when `operations` is a multiple of 256 or somebody has asked for something.
    pub fn tick(&self, operations: u64) -> Option<Failure> {
        if !self.inner.raised.load(Ordering::Acquire) && !operations.is_multiple_of(256) {
            return None;
        }
        self.interruption(Patience::Yield)
    }

    /// What a worker thread takes over from this one: its mask, and whether it stops with its team.
    pub fn inherit(&self) -> Inherited {
        let state = self.state();
        let mut local = state
            .threads
            .get(&thread::current().id())
            .cloned()
            .unwrap_or_default();
        drop(state);
        local.teams.push(Team::default());
        Inherited {
            cancel: self.clone(),
            local,
        }
    }

    /// Resolves when `patience` is over for the thread that called this.
    pub(super) fn interrupted(
        &self,
        patience: Patience,
    ) -> impl Future<Output = Failure> + Send + use<> {
        let cancel = self.clone();
        let local = self.state().threads.get(&thread::current().id()).cloned();
        async move {
            let mut changes = cancel.inner.changes.subscribe();
            loop {
                let (verdict, next) = {
                    let state = cancel.state();
                    (
                        cancel.judge(&state, local.as_ref(), patience),
                        cancel.next_look(&state, local.as_ref()),
                    )
                };
                if let Some(failure) = verdict {
                    return failure;
                }
                let clock = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at.into()).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = changes.changed() => {}
                    () = clock => {}
                }
            }
        }
    }

    fn judge(&self, state: &State, local: Option<&Local>, patience: Patience) -> Option<Failure> {
        let (since, reason) = cause(state, local, patience)?;
        let Some(masked) = local.and_then(|local| local.masked_since) else {
            return Some(Failure::interrupted(format!("interrupted by {reason}")));
        };
        let grace = self.inner.grace;
        (masked.max(since).elapsed() >= grace).then(|| {
            Failure::interrupted(format!(
                "the cleanup was stopped: it went on for more than {} after {reason}",
                seconds(grace),
            ))
        })
    }

    /// When time alone may change the verdict.
    fn next_look(&self, state: &State, local: Option<&Local>) -> Option<Instant> {
        let deadline = state.deadline.map(|(at, _)| at);
        let Some(masked) = local.and_then(|local| local.masked_since) else {
            return deadline;
        };
        let since = [state.stopped, state.asked, deadline]
            .into_iter()
            .flatten()
            .min()?;
        Some(masked.max(since) + self.inner.grace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.inner.raised.store(true, Ordering::Release);
        self.inner.changes.send_modify(|n| *n += 1);
    }
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel::new()
    }
}

/// The first cause that ends `patience`, and since when it holds.
fn cause(state: &State, local: Option<&Local>, patience: Patience) -> Option<(Instant, String)> {
    if let Some(at) = state.stopped {
        return Some((at, "a request to stop".to_owned()));
    }
    if let Some((at, wall)) = state.deadline
        && at <= Instant::now()
    {
        return Some((at, format!("the deadline of {}", seconds(wall))));
    }
    if patience == Patience::Finish {
        return None;
    }
    if let Some(at) = state.asked {
        return Some((at, "a request to stop".to_owned()));
    }
    let at = local.and_then(Local::team_stopped)?;
    Some((at, "the failure of another worker".to_owned()))
}

fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

impl Local {
    fn team_stopped(&self) -> Option<Instant> {
        self.teams
            .iter()
            .find_map(|team| *team.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps its thread masked while it lives.
#[must_use]
pub struct MaskGuard {
    cancel: Cancel,
}

impl Drop for MaskGuard {
    fn drop(&mut self) {
        let mut state = self.cancel.state();
        let id = thread::current().id();
        if let Some(local) = state.threads.get_mut(&id) {
            local.masks -= 1;
            if local.masks == 0 {
                local.masked_since = None;
                if local.teams.is_empty() {
                    state.threads.remove(&id);
                }
            }
        }
    }
}

/// What the workers of one `parallel_map` share with the thread that started them.
#[derive(Clone)]
pub struct Inherited {
    cancel: Cancel,
    local: Local,
}

impl Inherited {
    /// Runs `work` on this thread under the inherited mask.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let id = thread::current().id();
        let before = self.cancel.state().threads.insert(id, self.local.clone());
        let result = work();
        let mut state = self.cancel.state();
        match before {
            Some(local) => state.threads.insert(id, local),
            None => state.threads.remove(&id),
        };
        result
    }

    /// Asks all workers that share this to stop, as [`Cancel::ask`] asks everybody.
    pub fn ask_team(&self) {
        if let Some(team) = self.local.teams.last() {
            team.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(Instant::now);
        }
        self.cancel.changed();
    }
}
