//! The wall clock and a monotonic stopwatch.
//!
//! Certificates and journal records carry wall-clock times; durations are taken from the monotonic
//! clock, so that a clock set back in the middle of a run never gives a negative time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// Where the time comes from. One per run, so that a test can hold it still.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall-clock time.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Measures one duration on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start in seconds, rounded to a millisecond, as events carry it.
    pub fn seconds(&self) -> f64 {
        (self.0.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }
}
