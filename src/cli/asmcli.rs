//! The program under its other name: the twin's stand-in for `asmcli`.

use std::{env, ffi::OsString, io, process::ExitCode};

use super::runtime;
use crate::{
    effect::files::{self, FileError},
    twin::asmcli::{Invocation, main},
};

/// The name by which the program is the stand-in.
pub const ASMCLI: &str = "asmcli";

/// Runs the stand-in with these arguments, the first of which is its own name.
pub fn asmcli(args: Vec<OsString>) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let mut stdin = io::BufReader::new(io::stdin());
    let invocation = Invocation {
        args: args
            .into_iter()
            .skip(1)
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect(),
        directory: env::current_dir().unwrap_or_default(),
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let code = match runtime() {
        Ok(runtime) => runtime.block_on(main(invocation)),
        Err(failure) => return ExitCode::from(super::show::failure(&failure)),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A directory in which this program is `asmcli`, for the `PATH` of children.
pub(super) fn directory() -> Result<tempfile::TempDir, FileError> {
    let dir = files::temporary_dir("rootshift-")?;
    let program = env::current_exe().unwrap_or_else(|_| "rootshift".into());
    files::link_program(&program, dir.path(), ASMCLI)?;
    Ok(dir)
}
