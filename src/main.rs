//! The `rootshift` program, and the stand-in for `asmcli` or `istioctl` when it is called by that name.

use std::{path::Path, process::ExitCode};

use rootshift::cli;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let called = args
        .first()
        .and_then(|program| Path::new(program).file_stem());
    let installer = cli::INSTALLERS
        .into_iter()
        .find(|name| called.is_some_and(|called| called == *name));
    match installer {
        Some(name) => cli::installer(name, args),
        None => cli::main(args),
    }
}
