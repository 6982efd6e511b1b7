//! How many requests are under way at the same time, and the pauses between attempts.
//!
//! One limiter for all clones of a connection: a server that says 429 to one call is busy for all. It
//! narrows at once and widens slowly (additive increase, multiplicative decrease), so that a large
//! mesh is read fast by a server that can, and a server that cannot is not kept from recovering. Every
//! pause ends when somebody wants the run to stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Cluster;

/// Tells a connection that the run which uses it wants to stop. A request on its way is finished or
/// dropped by whoever waits for it; what the connection does between requests (a pause before the
/// next attempt, a wait for its turn) it ends itself.
pub trait Stop: Send + Sync {
    /// Resolves when the caller, on the thread that calls this, is to stop.
    fn stopped(&self) -> BoxFuture<'static, ()>;
}

/// Somebody wants to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// How many requests may be under way while the server does not complain.
const MOST: usize = 32;
/// A swarm of 429s narrows once.
const NARROW_ONCE: Duration = Duration::from_secs(1);
/// The longest that a `Retry-After` holds all requests back.
const LONGEST: Duration = Duration::from_secs(10);

/// Who may send, and when.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    under_way: usize,
    limit: usize,
    /// Answers since the limit was last changed.
    fine: usize,
    not_before: Option<Instant>,
    narrowed: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            under_way: 0,
            limit: MOST,
            fine: 0,
            not_before: None,
            narrowed: None,
        }
    }
}

/// The right to have one request under way.
pub(super) struct Turn<'a>(&'a Limiter);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
        self.0.changed.notify_waiters();
    }
}

impl Limiter {
    /// Waits for the right to send.
    pub(super) async fn turn(&self) -> Turn<'_> {
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = self.changed.notified();
            let held = {
                let mut state = self.state();
                let now = Instant::now();
                let held = state.not_before.filter(|at| *at > now);
                if held.is_none() && state.under_way < state.limit {
                    state.under_way += 1;
                    return Turn(self);
                }
                held
            };
            match held {
                Some(at) => tokio::time::sleep_until(at).await,
                None => changed.await,
            }
        }
    }

    /// The server is busy: half as many at a time, and none before what it asks for.
    pub(super) fn narrow(&self, retry_after: Option<Duration>) {
        let mut state = self.state();
        let now = Instant::now();
        if state.narrowed.is_none_or(|at| now - at >= NARROW_ONCE) {
            state.limit = (state.limit / 2).max(1);
            state.narrowed = Some(now);
            tracing::debug!(limit = state.limit, "the API server is busy: asking less");
        }
        state.fine = 0;
        if let Some(after) = retry_after {
            let until = now + after.min(LONGEST);
            state.not_before = state.not_before.max(Some(until));
        }
    }

    /// The server answered: after as many answers as may be under way, one more may be.
    pub(super) fn widen(&self) {
        let mut state = self.state();
        if state.limit >= MOST {
            return;
        }
        state.fine += 1;
        if state.fine >= state.limit {
            state.fine = 0;
            state.limit += 1;
            drop(state);
            self.changed.notify_waiters();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Sets who says that calls are to be given up between their attempts; it replaces the one
    /// before. All clones of the connection share it.
    pub fn set_stop(&self, stop: Arc<dyn Stop>) {
        *self
            .shared
            .stop
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(stop);
    }

    /// Does nothing for so long, unless somebody wants to stop.
    pub(super) async fn rest(&self, time: Duration) -> Result<(), Stopped> {
        self.unless_stopped(tokio::time::sleep(time)).await
    }

    /// The right to send, unless somebody wants to stop.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, Stopped> {
        self.unless_stopped(self.shared.limiter.turn()).await
    }

    async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        let stop = self.shared.stop.read();
        let stop = stop.unwrap_or_else(PoisonError::into_inner).clone();
        let Some(stop) = stop else {
            return Ok(wait.await);
        };
        tokio::select! {
            biased;
            done = wait => Ok(done),
            () = stop.stopped() => Err(Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_server_is_asked_less_and_slowly_more_again() {
        let limiter = Limiter::default();
        limiter.narrow(None);
        limiter.narrow(None);
        assert_eq!(limiter.state().limit, MOST / 2, "a swarm narrows once");
        for _ in 0..10 {
            // A second later.
            limiter.state().narrowed = None;
            limiter.narrow(None);
        }
        assert_eq!(limiter.state().limit, 1, "never none");
        for answers in 1..=4 {
            for _ in 0..answers {
                limiter.widen();
            }
            assert_eq!(limiter.state().limit, answers + 1);
        }
        for _ in 0..10_000 {
            limiter.widen();
        }
        assert_eq!(limiter.state().limit, MOST);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_under_way_and_none_before_its_time() {
        let limiter = Limiter::default();
        limiter.state().limit = 1;
        let first = limiter.turn().await;
        let soon = Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, limiter.turn()).await.is_err());
        drop(first);
        drop(tokio::time::timeout(soon, limiter.turn()).await.unwrap());
        limiter.narrow(Some(Duration::from_millis(60)));
        let begun = Instant::now();
        drop(limiter.turn().await);
        assert!(begun.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn who_waits_is_let_in_when_another_has_done() {
        let limiter = Arc::new(Limiter::default());
        limiter.state().limit = 2;
        let mut tasks = Vec::new();
        for _ in 0..50 {
            let limiter = Arc::clone(&limiter);
            tasks.push(tokio::spawn(async move {
                let _turn = limiter.turn().await;
                assert!(limiter.state().under_way <= 2);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(limiter.state().under_way, 0);
    }
}
