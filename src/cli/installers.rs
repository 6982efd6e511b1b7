//! The program under its other names: the twin's stand-ins for `asmcli` and `istioctl`.

use std::{env, ffi::OsString, io, process::ExitCode};

use super::runtime;
use crate::{
    effect::files::{self, FileError},
    twin::asmcli::{self, Invocation},
};

/// The names by which the program is a stand-in for an installer.
pub const INSTALLERS: [&str; 2] = ["asmcli", "istioctl"];

/// Runs the stand-in of this name with these arguments, the first of which is its own name.
pub fn installer(name: &str, args: Vec<OsString>) -> ExitCode {
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
        Ok(runtime) if name == "istioctl" => runtime.block_on(asmcli::istioctl(invocation)),
        Ok(runtime) => runtime.block_on(asmcli::main(invocation)),
        Err(failure) => return ExitCode::from(super::show::failure(&failure)),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// A directory in which this program has the installers' names, for the `PATH` of children.
pub(super) fn directory() -> Result<tempfile::TempDir, FileError> {
    let dir = files::temporary_dir("rootshift-")?;
    let program = env::current_exe().unwrap_or_else(|_| "rootshift".into());
    for name in INSTALLERS {
        files::link_program(&program, dir.path(), name)?;
    }
    Ok(dir)
}
