//! The one integration binary: each module asks the program, or a room, for what it promises.

mod architecture;
mod bad_input;
mod check_root_cert;
mod cluster;
mod convergence;
mod kubectl;
mod migration;
mod negative;
mod order;
mod pki;
mod real_dumps;
mod support;
mod twin;
mod words;
