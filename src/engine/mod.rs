//! Evaluates Rhai; knows no Kubernetes and no certificates.
//!
//! The engine gives a script its options, its limits, a thread with a big stack, cancellation that
//! cannot be swallowed, modules to import, `step` and `ensure … always`, and errors that point at
//! the line. What a script can *say* comes from elsewhere: whoever builds an [`Engine`] hands it
//! [`Words`], and the words are made with [`kit`].
//!
//! It is separate so that the language can be tested without a cluster, and so that everything
//! which may break with the next version of Rhai is in one file (`volatile.rs`).

mod bridge;
mod calls;
mod cancel;
mod check;
mod diagnostic;
mod docs;
mod explain;
mod failure;
pub mod kit;
mod limits;
mod machine;
mod modules;
mod observer;
mod position;
mod pretty;
mod program;
mod reference;
mod session;
mod sources;
pub(crate) mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod volatile;
mod workers;

pub use bridge::Bridge;
pub use cancel::{Cancel, Inherited, MaskGuard, Patience};
pub use diagnostic::{Diagnostic, Frame};
pub use docs::{ParamDoc, WordDoc};
pub use failure::{Failure, FailureKind};
pub use limits::Limits;
pub use machine::Engine;
pub use modules::Modules;
pub use observer::{Silent, StepObserver, Words};
pub use program::Program;
pub use reference::{kubectl_table, reference};
pub use session::{Session, Shown};
pub use suggest::{did_you_mean, nearest};
