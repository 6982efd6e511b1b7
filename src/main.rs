//! The `rootshift` program, and the stand-in for `asmcli` when it is called by that name.

use std::{path::Path, process::ExitCode};

use rootshift::cli;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let called = args
        .first()
        .and_then(|program| Path::new(program).file_stem());
    if called.is_some_and(|name| name == cli::ASMCLI) {
        cli::asmcli(args)
    } else {
        cli::main(args)
    }
}
