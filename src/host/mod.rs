//! The words of the script language, one file per script module; the only place that knows Rhai
//! and the world.

pub mod ask;
pub mod cert;
pub mod cluster;
pub mod data;
pub mod flow;
pub mod fs;
pub mod guard;
pub mod http;
pub mod log;
pub mod mesh;
pub mod shell;
pub mod time;
pub mod workload;
pub mod world;
