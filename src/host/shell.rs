//! Words of `shell`.
