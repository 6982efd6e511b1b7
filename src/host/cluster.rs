//! Words of `cluster`.
