//! Words of `ask`.
