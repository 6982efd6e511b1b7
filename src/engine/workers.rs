//! One closure for many values, on several threads.
//!
//! Captured variables are locks under threads, and a lock held for 50 ms makes the other threads
//! fail; so every worker gets copies: assignments to captured variables do not leave a worker.

use super::cancel::Cancel;
use super::kit;
use super::machine::panic_text;
use super::{Failure, FailureKind};
use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Stack of a worker; call levels count from where the script was, so it is less than a script's.
const STACK: usize = 16 << 20;

/// What became of one value; none if it was not begun.
pub type Item = Option<Result<Dynamic, Failure>>;

/// Calls `f` for each of `items` on at most `workers` threads; results are in the order of `items`.
///
/// `stop`: the first failure keeps further items from being begun, and asks those in flight to
/// stop as `Cancel::ask` does.
pub fn parallel(
    ctx: &NativeCallContext,
    cancel: &Cancel,
    items: Vec<Dynamic>,
    workers: usize,
    stop: bool,
    f: &FnPtr,
) -> Vec<Item> {
    let count = items.len();
    let results: Vec<Mutex<Item>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let inherited = cancel.inherit();
    let work = || {
        inherited.run(|| {
            let f = with_copies(f);
            while !stopped.load(Ordering::Acquire) {
                let index = next.fetch_add(1, Ordering::AcqRel);
                let Some(item) = items.get(index) else { break };
                let result = call(ctx, &f, item.flatten_clone());
                let failed = result.is_err();
                *results[index]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(result);
                if failed && stop {
                    stopped.store(true, Ordering::Release);
                    inherited.ask_team();
                }
            }
        });
    };
    thread::scope(|scope| {
        for _ in 0..workers.clamp(1, count.max(1)) {
            let builder = thread::Builder::new()
                .name("worker".to_owned())
                .stack_size(STACK);
            if builder.spawn_scoped(scope, work).is_err() {
                // Without another thread the work is done by fewer, at least by this one.
                work();
            }
        }
    });
    results
        .into_iter()
        .map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

fn call(ctx: &NativeCallContext, f: &FnPtr, item: Dynamic) -> Result<Dynamic, Failure> {
    let called = catch_unwind(AssertUnwindSafe(|| {
        f.call_within_context::<Dynamic>(ctx, (item,))
    }));
    match called {
        Ok(Ok(value)) => Ok(value.flatten()),
        Ok(Err(error)) => Err(placed(kit::failure_of(&error), &error)),
        Err(panic) => Err(Failure::new(
            FailureKind::Bug,
            format!("panic: {}", panic_text(panic.as_ref())),
        )),
    }
}

/// `failure` with the place of `error`, which is lost when the failure is thrown again by the word
/// that started the workers.
fn placed(failure: Failure, error: &EvalAltResult) -> Failure {
    let (mut source, mut leaf) = ("", error);
    while let EvalAltResult::ErrorInFunctionCall(_, callee, inner, _) = leaf {
        if !callee.is_empty() {
            source = callee;
        }
        leaf = inner;
    }
    match (failure.kind, leaf.position().line()) {
        (FailureKind::Interrupted, _) | (_, None) => failure,
        (_, Some(line)) => failure.evidence(match source {
            "" => format!("in line {line}"),
            source => format!("in line {line} of {source}"),
        }),
    }
}

/// `f` with copies of what it captured.
fn with_copies(f: &FnPtr) -> FnPtr {
    let mut f = f.clone();
    let copies: Vec<Dynamic> = f.iter_curry().map(Dynamic::flatten_clone).collect();
    f.set_curry(copies);
    f
}
