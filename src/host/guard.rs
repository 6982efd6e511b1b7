//! Words of `guard`.
