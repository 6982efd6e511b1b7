//! `rootshift` moves a service mesh from one certificate authority to another without downtime.
//!
//! The rooms, in the order in which data flows:
//!
//! ```text
//! a script → is run by an engine → whose words come from the host → which acts on a cluster
//! and on certificates → each act is journalled → and reported
//! ```
//!
//! Imports point one way only; `tests/integration/architecture.rs` keeps that true.

#[cfg(feature = "cli")]
pub mod cli;
pub mod cluster;
pub mod effect;
pub mod engine;
pub mod host;
pub mod journal;
pub mod mesh;
pub mod pki;
pub mod report;
pub mod run;
pub mod script;
#[cfg(feature = "twin")]
pub mod twin;
