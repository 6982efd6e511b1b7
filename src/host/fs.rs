//! Words of `fs`.
