//! One execution: steps, gates, waivers, approvals, modes; who may mutate what.
//!
//! A run is given everything: a script's text, its parameters, connected clusters, what the person
//! allowed. It ties the engine, the host's words and the account of what happens together, and
//! turns the end into an outcome. It resolves no names, opens no connections and shows nothing.

mod traffic;

pub use traffic::TrafficSource;
