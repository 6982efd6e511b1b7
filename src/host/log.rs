//! Words of `log`.
