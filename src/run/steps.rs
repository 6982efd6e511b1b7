//! Steps: numbered, nested, timed, and each with the traffic that ran during it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use super::{Account, TrafficSource, failure_record, traffic};
use crate::{
    effect::clock::Stopwatch,
    engine::{Bridge, Failure, FailureKind, Patience, StepObserver},
    journal::{Event, StepResult, TrafficFigures},
};

/// Watches the steps of one run.
pub(super) struct Steps {
    account: Arc<Account>,
    traffic: Option<Arc<dyn TrafficSource>>,
    bridge: Bridge,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    count: u64,
    /// Open steps by thread, outermost first: workers of `parallel_map` have steps of their own.
    open: HashMap<ThreadId, Vec<Open>>,
}

struct Open {
    step: u64,
    started: Stopwatch,
    /// The counters of the traffic when it began.
    before: TrafficFigures,
}

impl Steps {
    pub(super) fn new(
        account: Arc<Account>,
        traffic: Option<Arc<dyn TrafficSource>>,
        bridge: Bridge,
    ) -> Self {
        Self {
            account,
            traffic,
            bridge,
            state: Mutex::default(),
        }
    }

    /// The counters after every live pair has been tried; as they are if there is no time for that.
    fn checkpoint(&self, label: &str) -> Option<TrafficFigures> {
        let traffic = self.traffic.as_ref()?;
        let swept = async { Ok::<_, Failure>(traffic::swept(traffic.as_ref(), label).await) };
        let figures = self.bridge.wait(swept);
        Some(figures.unwrap_or_else(|_| traffic.total()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StepObserver for Steps {
    fn begin(&self, name: &str) -> Result<(), Failure> {
        if let Some(why) = self.bridge.cancel().interruption(Patience::Yield) {
            return Err(why);
        }
        self.account.kept()?;
        let before = self.traffic.as_ref().map(|t| t.total()).unwrap_or_default();
        let mut state = self.state();
        state.count += 1;
        let step = state.count;
        let open = state.open.entry(thread::current().id()).or_default();
        let (depth, parent) = (open.len(), open.last().map(|p| p.step));
        open.push(Open {
            step,
            started: Stopwatch::start(),
            before,
        });
        drop(state);
        self.account.emit(Event::StepStarted {
            step,
            parent,
            name: name.to_owned(),
            depth,
        });
        Ok(())
    }

    fn end(&self, name: &str, result: Result<(), &Failure>) -> Result<(), Failure> {
        let now = self.checkpoint(name);
        let mut state = self.state();
        let id = thread::current().id();
        let Some(stack) = state.open.get_mut(&id) else {
            return Err(Failure::bug(format!("step `{name}` ends but never began")));
        };
        let open = stack.pop();
        let depth = stack.len();
        if stack.is_empty() {
            state.open.remove(&id);
        }
        drop(state);
        let Some(open) = open else {
            return Err(Failure::bug(format!("step `{name}` ends but never began")));
        };
        self.account.emit(Event::StepFinished {
            step: open.step,
            name: name.to_owned(),
            depth,
            result: match result {
                Ok(()) => StepResult::Done,
                Err(failure) => match failure.kind {
                    FailureKind::Interrupted => StepResult::Interrupted,
                    FailureKind::Refused => StepResult::Refused,
                    _ => StepResult::Failed,
                },
            },
            seconds: open.started.seconds(),
            handshakes: now.map(|now| now.since(&open.before)),
            failure: result.err().map(failure_record),
        });
        Ok(())
    }
}
