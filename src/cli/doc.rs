//! `rootshift doc`: the reference of the script language.

use super::{args::DocArgs, repl::help, show};
use crate::engine::{Engine, Modules, kubectl_table, reference};
use crate::host::HostWords;

/// Prints it; gives the exit code.
pub(super) fn doc(args: &DocArgs) -> u8 {
    let engine = match Engine::without_world(&HostWords, Modules::new(None)) {
        Ok(engine) => engine,
        Err(failure) => return show::failure(&failure),
    };
    let words = engine.metadata();
    let text = match args.topic.as_deref() {
        None => reference(&words),
        Some("kubectl") => kubectl_table(&words),
        Some(topic) => match help::about(&words, topic) {
            Ok(text) => text,
            Err(failure) => return show::failure(&failure),
        },
    };
    show::result(text.trim_end());
    0
}
