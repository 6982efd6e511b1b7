//! `log::…`: what a script says about its progress. Its results it prints with `print`.

use super::world::World;
use crate::engine::kit::{self, Reply};
use crate::journal::{Event, Level};
use rhai::plugin::*;

/// Makes the words known to `engine`; `print` becomes the run's output, `debug` a note.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("log", rhai::exported_module!(words).into());
    let Some(world) = kit::world::<World>(engine) else {
        return;
    };
    let port = world.shared_port();
    engine.on_print(move |text| port.output(text));
    let port = world.shared_port();
    engine.on_debug(move |text, source, position| {
        let place = match (source, position.line(), position.position()) {
            (Some(source), Some(line), Some(column)) => format!("{source}:{line}:{column}: "),
            _ => String::new(),
        };
        port.emit(note(Level::Info, format!("{place}{text}")));
    });
}

/// What a script says about its progress.
#[export_module]
mod words {
    /// Says something worth knowing; it goes to the progress and the journal, not to the results.
    ///
    /// - `text`: one line.
    ///
    /// ```rhai
    /// assert(log::info("two namespaces to move") == (), "it gives nothing");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn info(ctx: NativeCallContext, text: &str) -> Reply<()> {
        super::say(&ctx, Level::Info, text)
    }

    /// Says something that somebody should look at.
    ///
    /// - `text`: one line.
    ///
    /// ```rhai
    /// assert(log::warn("one pod restarts often") == (), "it gives nothing");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn warn(ctx: NativeCallContext, text: &str) -> Reply<()> {
        super::say(&ctx, Level::Warn, text)
    }
}

fn say(ctx: &NativeCallContext, level: Level, text: &str) -> Reply<()> {
    World::of(ctx)?.port().emit(note(level, text.to_owned()));
    Ok(())
}

fn note(level: Level, text: String) -> Event {
    Event::Note { level, text }
}
