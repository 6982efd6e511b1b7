//! Words of `data`.
