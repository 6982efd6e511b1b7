//! Words of `cert`.
