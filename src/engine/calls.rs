//! Where the native word that is running was called.
//!
//! Rhai fills in the place of an error that a native function throws only if it was called
//! without a module name; `fs::read(…)` and all other words of modules would fail without a line. So
//! every word that asks for its context leaves its place here, the next operation of the script
//! on the same thread clears it, and an error without a place that arrives in between is that word's.

use super::kit::Reply;
use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// The running words of one engine, by thread; clones share them.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// False as long as there is nothing to clear: the fast path of every script operation.
    any: AtomicBool,
    places: Mutex<HashMap<ThreadId, Position>>,
}

/// The engine's tag: what words reach, and where they leave their place.
#[derive(Clone)]
pub(super) struct Tag {
    pub(super) world: Dynamic,
    pub(super) calls: Calls,
}

impl Calls {
    /// A word is running.
    pub(super) fn note(&self, ctx: &NativeCallContext) {
        self.places()
            .insert(thread::current().id(), ctx.call_position());
        self.0.any.store(true, Ordering::Release);
    }

    /// The script goes on: no word is running on this thread.
    pub(super) fn clear(&self) {
        if self.0.any.load(Ordering::Acquire) {
            let mut places = self.places();
            places.remove(&thread::current().id());
            self.0.any.store(!places.is_empty(), Ordering::Release);
        }
    }

    /// The result, whose error has the running word's place if it had none.
    pub(super) fn placed<T>(&self, result: Reply<T>) -> Reply<T> {
        result.map_err(|mut error| {
            let leaf = leaf_mut(&mut error);
            if leaf.position().is_none()
                && let Some(place) = self.places().remove(&thread::current().id())
            {
                leaf.set_position(place);
            }
            error
        })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<ThreadId, Position>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was thrown, below the calls that it passed.
pub(super) fn leaf_mut(error: &mut EvalAltResult) -> &mut EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
        | EvalAltResult::ErrorInModule(_, inner, _) => leaf_mut(inner),
        leaf => leaf,
    }
}
