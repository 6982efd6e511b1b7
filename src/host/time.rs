//! Words of `time`.
