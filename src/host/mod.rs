//! The words of the script language, one file per script module; the only place that knows Rhai
//! and the world.
//!
//! A file `x.rs` has `pub(super) fn register(engine: &mut rhai::Engine)`, which registers the
//! module `x` from an `#[export_module]`. Every word has a doc comment: one sentence; `- name:` for
//! each parameter, with units; what it throws; and an example that asserts its value. Help, the
//! reference and completion are derived from that, and a test runs the examples on a twin.

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

#[cfg(test)]
mod tests;

use crate::engine::Words;
use crate::engine::kit;

/// All words of this program.
///
/// The engine's tag is a [`world::World`]; without one (for documentation) the words can be listed
/// but not called.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostWords;

impl Words for HostWords {
    fn register(&self, engine: &mut rhai::Engine) {
        ask::register(engine);
        cert::register(engine);
        cluster::register(engine);
        data::register(engine);
        flow::register(engine);
        fs::register(engine);
        http::register(engine);
        log::register(engine);
        mesh::register(engine);
        shell::register(engine);
        time::register(engine);
        workload::register(engine);
    }

    fn json_form(&self) -> kit::JsonForm {
        json_form
    }
}

/// The JSON of values that only these words know.
fn json_form(value: &rhai::Dynamic) -> Option<serde_json::Value> {
    cert::json_form(value)
}
