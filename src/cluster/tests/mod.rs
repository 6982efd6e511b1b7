//! The room against a server that loses answers, refuses, forgets and hangs.

mod connecting;
mod door;
mod forwarding;
mod pods;
mod reading;
mod running;
mod server;
mod waiting;
mod watching;
mod writing;
