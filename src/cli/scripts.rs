//! `rootshift scripts`: what is bundled, and how it reads.

use super::{
    args::{ScriptsArgs, ScriptsCommand},
    show,
};
use crate::script::Script;

/// Lists or shows; gives the exit code.
pub(super) fn scripts(args: &ScriptsArgs) -> u8 {
    match &args.command {
        None | Some(ScriptsCommand::List) => list(),
        Some(ScriptsCommand::Show { script }) => match Script::find(script) {
            Ok(script) => {
                show::result(script.text.trim_end());
                0
            }
            Err(error) => show::diagnostic(&error.diagnostic()),
        },
    }
}

fn list() -> u8 {
    let names = Script::names();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for name in &names {
        match Script::find(name) {
            Ok(script) => show::result(&format!("{name:width$}  {}", script.header.title)),
            Err(error) => return show::diagnostic(&error.diagnostic()),
        }
    }
    0
}
