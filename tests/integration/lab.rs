//! The same binary and the same scripts on a real control plane and a real mesh (`tests/lab`).
//!
//! Each test prints what it counted. Without root, Go or Linux they are skipped.

mod back;
mod clusters;
mod gates;
mod google;
mod inside;
mod install;
mod itself;
mod judge;
mod migration;
mod negative;
mod rig;

pub use rig::Lab;
