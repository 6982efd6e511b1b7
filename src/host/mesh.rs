//! Words of `mesh`.
