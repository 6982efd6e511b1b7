//! `workload::…`: what has pods, how it restarts, and what would go wrong.
//!
//! The words only translate; the rules are those of [`crate::cluster::workload`].

mod act;
mod look;
mod wave_run;
mod waves;

use crate::cluster::{Blocked, Rollout};
use crate::journal::{Event, Level};
use rhai::{Dynamic, Map};

use super::world::RunPort;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    let mut module = rhai::Module::new();
    module.set_doc("/// What has pods: how it is, how it restarts, what would go wrong.");
    act::add_to(&mut module);
    look::add_to(&mut module);
    waves::add_to(&mut module);
    engine.register_static_module("workload", module.into());
}

/// `rollout_status` as scripts see it.
fn status(rollout: &Rollout) -> Map {
    let text = |text: &str| -> Dynamic { text.to_owned().into() };
    let blocked = rollout.blocked.as_ref().map_or(Dynamic::UNIT, |b| {
        let mut map = Map::new();
        map.insert("reason".into(), text(&b.reason));
        map.insert("object".into(), text(&b.object));
        map.insert("detail".into(), text(&b.detail));
        map.into()
    });
    let mut map = Map::new();
    map.insert("done".into(), rollout.done.into());
    map.insert("message".into(), text(&rollout.message));
    map.insert("blocked".into(), blocked);
    map.insert(
        "note".into(),
        rollout.note.as_deref().map_or(Dynamic::UNIT, text),
    );
    map
}

/// Tells what stands in the way of a rollout, each once: progress is no news.
fn teller<'a>(
    port: &'a dyn RunPort,
    namespace: &'a str,
    name: &'a str,
) -> impl FnMut(&Rollout) + 'a {
    let mut told: Option<Blocked> = None;
    move |rollout: &Rollout| {
        if let Some(blocked) = &rollout.blocked
            && told.as_ref().map(|b| &b.reason) != Some(&blocked.reason)
        {
            port.emit(Event::Note {
                level: Level::Warn,
                text: format!("rollout of `{name}` in namespace `{namespace}`: {blocked}"),
            });
            told = Some(blocked.clone());
        }
    }
}
