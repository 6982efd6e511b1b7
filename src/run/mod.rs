//! One execution: steps, gates, waivers, approvals, modes; who may mutate what.
//!
//! A [`Session`] is given everything: connected clusters, what the person allowed, where the
//! account goes. It ties the engine, the host's words and the account of what happens together,
//! runs a script in that, and turns the end into an outcome and an exit code. It resolves no names,
//! opens no connections and shows nothing.

mod account;
mod approvals;
mod door;
mod outcome;
mod port;
mod session;
mod steps;
mod traffic;
mod waivers;

pub use account::{Account, Listener};
pub use approvals::{Approvals, Ask};
pub use outcome::{Ended, conclude, failure_record};
pub use session::{Opening, Session, Stage, abandon};
pub use traffic::TrafficSource;
pub use waivers::Waivers;

#[cfg(test)]
mod tests;
