//! Ctrl-C in three stages: once asks to stop after the current call, twice stops now (cleanup still
//! runs, bounded), thrice ends the program. SIGTERM counts as the second.

use tokio::{runtime::Runtime, task::JoinHandle};

use super::show;
use crate::engine::Cancel;

/// The exit code of an interrupted program.
const INTERRUPTED: i32 = 130;

/// Listens until it is dropped.
pub(super) struct Interrupts(JoinHandle<()>);

impl Interrupts {
    /// Passes signals on to `cancel`.
    pub(super) fn listen(runtime: &Runtime, cancel: Cancel) -> Self {
        Self(runtime.spawn(async move {
            let mut stage = 0;
            loop {
                let terminate = wait().await;
                stage = if terminate { stage.max(1) } else { stage } + 1;
                match stage {
                    1 => {
                        show::notice("stopping after the current call; Ctrl-C again stops now");
                        cancel.ask();
                    }
                    2 => {
                        show::notice(
                            "stopping now; cleanup still runs, Ctrl-C again ends the program",
                        );
                        cancel.cancel();
                    }
                    _ => std::process::exit(INTERRUPTED),
                }
            }
        }))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for Ctrl-C or SIGTERM, whichever comes; whether it was the latter.
pub(super) async fn wait() -> bool {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            return tokio::select! {
                _ = tokio::signal::ctrl_c() => false,
                _ = terminate.recv() => true,
            };
        }
    }
    tokio::signal::ctrl_c().await.ok();
    false
}
