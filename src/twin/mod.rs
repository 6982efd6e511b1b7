//! An embedded cluster with a mesh inside, for the default run, rehearsals and tests.

pub mod asmcli;
pub mod clock;
pub mod controllers;
pub mod kube;
pub mod mesh;
pub mod scenario;
pub mod server;
