//! The mesh inside the twin.

pub(in crate::twin) mod config;
mod envoy;
pub mod figures;
mod inject;
pub mod manifests;
pub mod prober;

pub use figures::{Figures, Least, PairFigures};
pub use prober::Prober;
