//! The one place that blocks on a future.
//!
//! Rhai is synchronous, the clients are not. Every word that waits does it here, so that
//! cancellation and the deadline are honoured everywhere in the same way.

use super::cancel::{Cancel, Patience};
use super::kit::{self, Reply};
use super::{Failure, FailureKind};
use std::time::Duration;
use tokio::runtime::Handle;

/// Waits for futures on behalf of a script thread.
#[derive(Clone)]
pub struct Bridge {
    runtime: Handle,
    cancel: Cancel,
}

impl Bridge {
    /// A bridge to `runtime`, which must be a multi-threaded one: a single-threaded runtime makes no
    /// progress while another thread blocks on it.
    pub fn new(runtime: Handle, cancel: Cancel) -> Bridge {
        Bridge { runtime, cancel }
    }

    /// The token that interrupts the waits.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The runtime the futures run on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits for a call in flight. A request to stop lets it finish; a stop or the deadline drops it.
    ///
    /// # Errors
    /// What the call failed with; `interrupted` when it was not begun or was dropped.
    pub fn wait<T, E: Into<Failure>>(&self, call: impl Future<Output = Result<T, E>>) -> Reply<T> {
        self.block(Patience::Finish, call)?
            .map_err(|error| kit::fail(error.into()))
    }

    /// Waits for `duration`; every request to stop ends it.
    ///
    /// # Errors
    /// `interrupted`.
    pub fn pause(&self, duration: Duration) -> Reply<()> {
        // Made inside of the block: a timer needs the runtime around it.
        self.block(Patience::Yield, async move {
            tokio::time::sleep(duration).await;
        })
    }

    /// Waits for something that may be given up between its calls, such as a condition that is
    /// watched for: every request to stop ends it.
    ///
    /// # Errors
    /// As [`Bridge::wait`].
    pub fn watch<T, E: Into<Failure>>(&self, call: impl Future<Output = Result<T, E>>) -> Reply<T> {
        self.block(Patience::Yield, call)?
            .map_err(|error| kit::fail(error.into()))
    }

    /// Resolves when somebody asks the calling thread to stop, also where a call in flight would be
    /// finished first: for the pauses that such a call makes by itself.
    pub fn asked(&self) -> impl Future<Output = Failure> + Send + use<> {
        self.cancel.interrupted(Patience::Yield)
    }

    fn block<T>(&self, patience: Patience, call: impl Future<Output = T>) -> Reply<T> {
        // A call is begun only when nobody has asked to stop, and finished when somebody asks later.
        if let Some(why) = self.cancel.interruption(Patience::Yield) {
            return Err(kit::fail(why));
        }
        if Handle::try_current().is_ok() {
            return Err(kit::fail(Failure::new(
                FailureKind::Bug,
                "a script word was called on a thread of the async runtime",
            )));
        }
        let interrupted = self.cancel.interrupted(patience);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                result = call => Ok(result),
                why = interrupted => Err(kit::fail(why)),
            }
        })
    }
}
