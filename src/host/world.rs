//! Words of `world`.
