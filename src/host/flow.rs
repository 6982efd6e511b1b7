//! Words without a module: checks, repetition, waiting, many at once.
//!
//! They take closures, and are native for that reason: a closure given to a function of a *script*
//! module resolves its names in that module.

use super::time::duration;
use super::world::World;
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use rhai::plugin::*;
use rhai::{Array, EvalAltResult, FnPtr, ImmutableString, Map};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_global_module(rhai::exported_module!(words).into());
}

#[export_module]
mod words {
    /// Throws unless a condition holds.
    ///
    /// - `condition`: what must be true.
    /// - `message`: what is said otherwise; any value, shown as text.
    ///
    /// Throws `script`.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2, "arithmetic");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn assert(condition: bool, message: Dynamic) -> Reply<()> {
        if condition {
            return Ok(());
        }
        let failure = Failure::script(format!("assertion failed: {}", kit::text(&message)));
        Err(kit::fail(failure))
    }

    /// The closure with the names of the place where it is written, so that it can be stored,
    /// returned, or given to a function of another script.
    ///
    /// - `f`: a closure. It gets no `this`.
    ///
    /// ```rhai
    /// let double = bind(|n| n * 2);
    /// assert(double.call(21) == 42, "bound");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bind(ctx: NativeCallContext, f: FnPtr) -> Reply<FnPtr> {
        kit::bind(&ctx, f)
    }

    /// Calls a closure for each value, one after the other, and gives what it gave.
    ///
    /// - `list`: the values.
    /// - `f`: takes one value.
    ///
    /// Throws what the closure throws first; later values are then not begun.
    ///
    /// ```rhai
    /// assert(each(["a", "bb"], |text| text.len()) == [1, 2], "in order");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn each(ctx: NativeCallContext, list: Array, f: FnPtr) -> Reply<Array> {
        list.into_iter()
            .map(|item| f.call_within_context(&ctx, (item,)))
            .collect()
    }

    /// The texts of an array in one text.
    ///
    /// - `list`: any values; they are shown as text.
    /// - `separator`: what stands between two of them.
    ///
    /// ```rhai
    /// assert(["shop", "mail"].join(", ") == "shop, mail", "joined");
    /// ```
    pub fn join(list: Array, separator: &str) -> String {
        let texts: Vec<String> = list.iter().map(kit::text).collect();
        texts.join(separator)
    }

    /// Calls a closure for each value, eight at a time, and gives what it gave, in the order of the
    /// values.
    ///
    /// Captured variables are copied for each worker: assignments to them do not come back.
    ///
    /// - `list`: the values.
    /// - `f`: takes one value.
    ///
    /// Throws what the closure throws first, with the other failures as evidence; values that were
    /// not begun by then are left out.
    ///
    /// ```rhai
    /// assert(parallel_map([1, 2, 3], |n| n * n) == [1, 4, 9], "squares");
    /// ```
    #[rhai_fn(name = "parallel_map", return_raw)]
    pub fn parallel_map(ctx: NativeCallContext, list: Array, f: FnPtr) -> Reply<Array> {
        super::parallel(&ctx, list, &super::Parallel::default(), &f)
    }

    /// As `parallel_map(list, f)`, with options.
    ///
    /// - `list`: the values.
    /// - `options`: `workers`, how many at a time (8, at most 32); `collect`, whether failures are
    ///   collected instead of thrown: all values are then begun, and each gives
    ///   `#{item, ok, value}` or `#{item, ok, error}`.
    /// - `f`: takes one value.
    ///
    /// Throws what the closure throws first, unless `collect`.
    ///
    /// ```rhai
    /// let done = parallel_map([1, 0], #{ collect: true }, |n| 10 / n);
    /// assert(done[0].value == 10 && !done[1].ok, "one failed");
    /// ```
    #[rhai_fn(name = "parallel_map", return_raw)]
    pub fn parallel_map_with(
        ctx: NativeCallContext,
        list: Array,
        options: Map,
        f: FnPtr,
    ) -> Reply<Array> {
        let options = kit::options("parallel_map", options, &["workers", "collect"])?;
        super::parallel(&ctx, list, &options, &f)
    }

    /// Calls a closure until it does not throw: three times, a second apart.
    ///
    /// - `f`: takes nothing.
    ///
    /// Throws what the closure threw last. Refusals, wrong usage and mistakes in the script are
    /// thrown at once.
    ///
    /// ```rhai
    /// assert(retry(|| 42) == 42, "at once");
    /// ```
    #[rhai_fn(name = "retry", return_raw)]
    pub fn retry(ctx: NativeCallContext, f: FnPtr) -> Reply<Dynamic> {
        super::again(&ctx, &super::Retry::default(), &f)
    }

    /// As `retry(f)`, with options.
    ///
    /// - `options`: `times`, how often at most (3); `wait`, seconds before the second time (1);
    ///   `factor`, by which the wait grows each time (1).
    /// - `f`: takes nothing.
    ///
    /// Throws as `retry(f)`.
    ///
    /// ```rhai
    /// let tries = [];
    /// let got = retry(#{ times: 5, wait: 0.01 }, || {
    ///     tries.push(1);
    ///     if tries.len() < 3 { throw "not yet" }
    ///     "yes"
    /// });
    /// assert(got == "yes" && tries.len() == 3, "the third time");
    /// ```
    #[rhai_fn(name = "retry", return_raw)]
    pub fn retry_with(ctx: NativeCallContext, options: Map, f: FnPtr) -> Reply<Dynamic> {
        let options = kit::options("retry", options, &["times", "wait", "factor"])?;
        super::again(&ctx, &options, &f)
    }

    /// Calls a closure every second until it gives something, for a minute at most, and gives that. Nothing is
    /// `false`, `()`, and what is empty: an array (of objects that are not there yet), a map, a text.
    ///
    /// - `what`: what is waited for, for messages.
    /// - `f`: takes nothing.
    ///
    /// Throws `environment` (retryable) when the time is up, and what the closure throws.
    ///
    /// ```rhai
    /// assert(wait_until("the answer", || 42) == 42, "at once");
    /// let looks = 0;
    /// let found = wait_until("a name", || { looks += 1; if looks == 1 { [] } else { ["web"] } });
    /// assert(found == ["web"] && looks == 2, found);
    /// ```
    #[rhai_fn(name = "wait_until", return_raw)]
    pub fn wait_until(ctx: NativeCallContext, what: ImmutableString, f: FnPtr) -> Reply<Dynamic> {
        super::until(&ctx, &what, &super::Wait::default(), &f)
    }

    /// As `wait_until(what, f)`, with options.
    ///
    /// - `what`: what is waited for, for messages.
    /// - `options`: `timeout`, seconds (60); `every`, seconds between two calls (1).
    /// - `f`: takes nothing.
    ///
    /// Throws as `wait_until(what, f)`.
    ///
    /// ```rhai
    /// let n = 0;
    /// let got = wait_until("the third look", #{ timeout: 5, every: 0.01 }, || { n += 1; n >= 3 });
    /// assert(got && n == 3, `${n} looks`);
    /// ```
    #[rhai_fn(name = "wait_until", return_raw)]
    pub fn wait_until_with(
        ctx: NativeCallContext,
        what: ImmutableString,
        options: Map,
        f: FnPtr,
    ) -> Reply<Dynamic> {
        let options = kit::options("wait_until", options, &["timeout", "every"])?;
        super::until(&ctx, &what, &options, &f)
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Parallel {
    workers: usize,
    collect: bool,
}

impl Default for Parallel {
    fn default() -> Parallel {
        Parallel {
            workers: 8,
            collect: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Retry {
    times: u32,
    wait: f64,
    factor: f64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            times: 3,
            wait: 1.0,
            factor: 1.0,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Wait {
    timeout: f64,
    every: f64,
}

impl Default for Wait {
    fn default() -> Wait {
        Wait {
            timeout: 60.0,
            every: 1.0,
        }
    }
}

fn parallel(ctx: &NativeCallContext, list: Array, options: &Parallel, f: &FnPtr) -> Reply<Array> {
    let world = World::of(ctx)?;
    let cancel = world.bridge().cancel();
    let workers = options.workers.clamp(1, 32);
    let total = list.len();
    let items = list.clone();
    let results = kit::parallel(ctx, cancel, list, workers, !options.collect, f);
    if let Some(why) = cancel.interruption(crate::engine::Patience::Yield) {
        return Err(kit::fail(why));
    }
    if options.collect {
        return Ok(items
            .into_iter()
            .zip(results)
            .map(|(item, result)| collected(item, result))
            .collect());
    }
    let mut values = Array::with_capacity(total);
    let mut failures = Vec::new();
    let mut skipped = 0;
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Some(Ok(value)) => values.push(value),
            Some(Err(failure)) => failures.push((index, failure)),
            None => skipped += 1,
        }
    }
    // Workers that were asked to stop because of another's failure are not its cause.
    let first = failures
        .iter()
        .position(|(_, failure)| failure.kind != FailureKind::Interrupted)
        .unwrap_or(0);
    if failures.is_empty() {
        return Ok(values);
    }
    let (_, mut failure) = failures.remove(first);
    for (index, other) in failures {
        let item = kit::text(&items[index]);
        failure.evidence.push(format!("`{item}` too: {other}"));
    }
    if skipped > 0 {
        failure
            .evidence
            .push(format!("{skipped} of {total} were not begun"));
    }
    Err(kit::fail(failure))
}

fn collected(item: Dynamic, result: kit::Item) -> Dynamic {
    let mut map = Map::new();
    map.insert("item".into(), item);
    match result {
        Some(Ok(value)) => {
            map.insert("ok".into(), true.into());
            map.insert("value".into(), value);
        }
        Some(Err(failure)) => {
            map.insert("ok".into(), false.into());
            map.insert("error".into(), kit::thrown(&failure));
        }
        None => {
            map.insert("ok".into(), false.into());
            map.insert("error".into(), Dynamic::UNIT);
        }
    }
    map.into()
}

fn again(ctx: &NativeCallContext, options: &Retry, f: &FnPtr) -> Reply<Dynamic> {
    let world = World::of(ctx)?;
    let mut wait = duration("`wait`", &options.wait.into())?;
    for _ in 1..options.times {
        match f.call_within_context(ctx, ()) {
            Err(error) if is_worth_another_try(&error) => {}
            done => return done,
        }
        world.pause(wait)?;
        wait = Duration::try_from_secs_f64(wait.as_secs_f64() * options.factor).unwrap_or(wait);
    }
    f.call_within_context(ctx, ())
}

/// Whether an error may go away by itself: what a script threw, or what the world did. A misspelt
/// word stays misspelt, and who asks a gate again should do so in words.
fn is_worth_another_try(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => is_worth_another_try(inner),
        EvalAltResult::ErrorRuntime(..) => {
            let failure = kit::failure_of(error);
            failure.retryable
                || matches!(
                    failure.kind,
                    FailureKind::Cluster | FailureKind::Environment | FailureKind::Script
                )
        }
        _ => false,
    }
}

/// What is waited on: no answer yet.
fn is_nothing(value: &Dynamic) -> bool {
    value.is_unit()
        || matches!(value.as_bool(), Ok(false))
        || value
            .read_lock::<Array>()
            .is_some_and(|array| array.is_empty())
        || value.read_lock::<Map>().is_some_and(|map| map.is_empty())
        || value
            .read_lock::<ImmutableString>()
            .is_some_and(|text| text.is_empty())
}

fn until(ctx: &NativeCallContext, what: &str, options: &Wait, f: &FnPtr) -> Reply<Dynamic> {
    let world = World::of(ctx)?;
    let timeout = duration("`timeout`", &options.timeout.into())?;
    let every = duration("`every`", &options.every.into())?;
    let begun = Instant::now();
    loop {
        let value: Dynamic = f.call_within_context(ctx, ())?;
        if !is_nothing(&value) {
            return Ok(value);
        }
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(kit::fail(
                Failure::environment(format!("waited {} s in vain for {what}", options.timeout))
                    .retryable(),
            ));
        }
        world.pause(every.min(left))?;
    }
}
