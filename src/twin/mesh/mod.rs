//! The mesh inside the twin.

pub mod figures;
pub mod manifests;
pub mod prober;

pub use figures::{Figures, Least, PairFigures};
pub use prober::Prober;
