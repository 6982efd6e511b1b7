//! The one integration binary: each module asks the program, or a room, for what it promises.

// A test that cannot go on panics; clippy exempts `#[test]` functions only, not what they call.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod architecture;
mod asmcli;
mod bad_input;
mod ca_secrets;
mod changes;
mod cluster;
mod clusters;
mod contract;
mod convergence;
mod dumps;
mod effects;
mod fuzz;
mod hazards;
mod identity;
mod installer;
mod interrupt;
mod kdiff;
mod kubectl;
mod lab;
mod large;
mod migrate_ca;
mod migration;
mod moving;
mod negative;
mod order;
mod output;
mod pki;
mod probe;
mod readme;
mod real_dumps;
mod repl;
mod root_users;
mod scenarios;
mod stdlib;
mod support;
mod tripwire;
mod twin;
mod undo;
mod validation;
mod verbs;
mod words;
