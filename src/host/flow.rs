//! Words of `flow`.
