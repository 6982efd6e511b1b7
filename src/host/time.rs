//! `time::…`: the clock and pauses.
//!
//! Times are RFC 3339 text in UTC, as certificates and Kubernetes objects show them; durations are
//! seconds. Text compares correctly with `<` because all times have the same form.

use super::world::World;
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use jiff::{Timestamp, Unit};
use rhai::plugin::*;
use std::time::Duration;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("time", rhai::exported_module!(words).into());
    // In place of Rhai's own, which blocks the thread and hears no Ctrl-C.
    engine.register_global_module(rhai::exported_module!(global).into());
}

#[export_module]
mod global {
    /// Does nothing for a while, as `time::sleep` does.
    ///
    /// - `seconds`: how long, a whole number.
    ///
    /// Throws `script` if it is negative.
    ///
    /// ```rhai
    /// assert(sleep(0) == (), "it gives nothing");
    /// ```
    #[rhai_fn(name = "sleep", return_raw, volatile)]
    pub fn sleep(ctx: NativeCallContext, seconds: i64) -> Reply<()> {
        super::words::sleep(ctx, seconds.into())
    }

    /// Does nothing for a while, as `time::sleep` does.
    ///
    /// - `seconds`: how long.
    ///
    /// Throws `script` if it is negative.
    ///
    /// ```rhai
    /// assert(sleep(0.01) == (), "it gives nothing");
    /// ```
    #[rhai_fn(name = "sleep", return_raw, volatile)]
    pub fn sleep_float(ctx: NativeCallContext, seconds: f64) -> Reply<()> {
        super::words::sleep(ctx, seconds.into())
    }
}

/// Times are RFC 3339 text in UTC, durations are seconds.
#[export_module]
mod words {
    /// The time now, in UTC, as RFC 3339 text with milliseconds.
    ///
    /// ```rhai
    /// let begun = time::now();
    /// assert(begun.ends_with("Z") && begun.contains("T"), begun);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn now(ctx: NativeCallContext) -> Reply<String> {
        Ok(super::text(World::of(&ctx)?.now()))
    }

    /// The seconds that have passed since a time; negative if it is still to come.
    ///
    /// - `time`: RFC 3339 text, such as `time::now()` or a certificate's `not_before`.
    ///
    /// Throws `script` if the text is not a time.
    ///
    /// ```rhai
    /// assert(time::since("2020-01-01T00:00:00Z") > 0, "2020 is over");
    /// assert(time::since("9000-01-01T00:00:00Z") < 0, "9000 is to come");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn since(ctx: NativeCallContext, time: &str) -> Reply<f64> {
        let then = super::parse("time::since", time)?;
        Ok((World::of(&ctx)?.now() - then)
            .total(Unit::Second)
            .unwrap_or_default())
    }

    /// Does nothing for a while; a request to stop ends it.
    ///
    /// - `seconds`: how long, a whole number or a float.
    ///
    /// Throws `script` if it is negative or not a number.
    ///
    /// ```rhai
    /// let begun = time::now();
    /// time::sleep(0.05);
    /// assert(time::since(begun) >= 0.04, "it waited");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn sleep(ctx: NativeCallContext, seconds: Dynamic) -> Reply<()> {
        let seconds = super::duration("the time to sleep", &seconds)?;
        World::of(&ctx)?.pause(seconds)
    }
}

/// `time` as all words write it.
pub(super) fn text(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Seconds from a script, as a duration.
///
/// # Errors
/// `script` for what is not a number, negative, or beyond all reason; `what` names it.
pub(super) fn duration(what: &str, seconds: &Dynamic) -> Reply<Duration> {
    reasonable(what, kit::number(what, seconds)?)
}

/// Seconds, of a thousand years at most: an `Instant` cannot be moved by all that a `Duration` can hold.
pub(super) fn reasonable(what: &str, seconds: f64) -> Reply<Duration> {
    const MOST: f64 = 1000.0 * 366.0 * 86_400.0;
    let found = Duration::try_from_secs_f64(seconds).ok();
    found.filter(|_| seconds <= MOST).ok_or_else(|| {
        kit::fail(Failure::script(format!(
            "{what} is a number of seconds, at most a thousand years, not {seconds}"
        )))
    })
}

/// The time that a script gives to `word`.
pub(super) fn parse(word: &str, time: &str) -> Reply<Timestamp> {
    time.parse().map_err(|_| {
        kit::fail(
            Failure::new(
                FailureKind::Script,
                format!("`{word}`: `{time}` is not an RFC 3339 time"),
            )
            .hint("like `2026-11-22T10:00:00Z`"),
        )
    })
}
