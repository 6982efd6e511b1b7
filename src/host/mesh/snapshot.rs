//! One reading of the mesh for several questions.
//!
//! A verdict has an age, so a snapshot answers for a short time only, and not after the run has done anything. What
//! rests on it before a change is judged again when the change is sent, as ever.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rhai::plugin::*;

use super::Mesh;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::host::world::World;
use crate::mesh::gate::View;
use crate::mesh::read::Ask;

/// How long a snapshot answers.
const LIFE: Duration = Duration::from_secs(60);

/// What was read, and when.
#[derive(Clone)]
pub(super) struct Snapshot {
    view: Arc<View>,
    at: Timestamp,
    acts: u64,
}

impl Snapshot {
    /// What it holds, where that is enough and not too old.
    pub(super) fn answer(&self, world: &World, ask: Ask) -> Reply<Arc<View>> {
        let age = world.now().duration_since(self.at).unsigned_abs();
        match fault(ask, world.acts() != self.acts, age) {
            None => Ok(self.view.clone()),
            Some((message, hint)) => Err(kit::fail(Failure::script(message).hint(hint))),
        }
    }
}

/// Why a snapshot does not answer, and what to do.
fn fault(ask: Ask, has_acted: bool, age: Duration) -> Option<(String, &'static str)> {
    let message = if ask == Ask::Everything {
        let message = "a snapshot holds no more than certificates, not whom proxies accept";
        return Some((message.into(), "ask the mesh itself: `mesh::connect()`"));
    } else if has_acted {
        "the snapshot is of before the last change".into()
    } else if age > LIFE {
        format!(
            "the snapshot is {} s old, and answers for {} s",
            age.as_secs(),
            LIFE.as_secs()
        )
    } else {
        return None;
    };
    Some((message, "take it anew: `m.snapshot()`"))
}

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "snapshot", words);
}

/// Snapshots.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// The mesh as it is now, read once for several questions about pods, revisions and certificates: `proxies`,
    /// `unjudged`, `namespaces`, `revisions`, `check_trusts` and their like. It answers for a minute, and until the run
    /// changes something or starts a process.
    ///
    /// What is asked about pairs (`matrix`, `check_healthy`, `inventory`) it does not hold: that throws `script`, and so does
    /// a question that comes too late.
    ///
    /// ```rhai
    /// let now = mesh::connect().snapshot();
    /// assert(now.proxies().len() > 0 && now.unjudged().is_empty(), "of one moment");
    /// cluster::label("namespace", "legacy", #{ tier: "back" });
    /// let late = ();
    /// try { now.proxies(); } catch (e) { late = e; }
    /// assert(late.message.contains("before the last change"), "it says no more");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn snapshot(mesh: &mut Mesh) -> Reply<Mesh> {
        let acts = mesh.world.acts();
        let view = Arc::new(mesh.read(Ask::Certificates)?);
        let at = mesh.world.now();
        let snapshot = Some(Snapshot { view, at, acts });
        Ok(Mesh {
            snapshot,
            ..mesh.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_it_holds_for_a_minute_and_until_something_is_done() {
        let young = Duration::from_secs(60);
        let says = |ask, acted, age| fault(ask, acted, age).map(|(message, _)| message);
        for ask in [Ask::Nothing, Ask::Certificates] {
            assert_eq!(says(ask, false, young), None);
            let acted = says(ask, true, young).unwrap();
            assert!(acted.contains("before the last change"), "{acted}");
            let old = says(ask, false, Duration::from_secs(61)).unwrap();
            assert!(old.contains("61 s old"), "{old}");
        }
        let pairs = says(Ask::Everything, false, Duration::ZERO).unwrap();
        assert!(pairs.contains("not whom proxies accept"), "{pairs}");
    }
}
