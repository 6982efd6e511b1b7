//! Words of `http`.
