//! A stand-in for Google's `asmcli`: its flags and refusals, installing into the twin.

use std::io::Write;
use std::path::PathBuf;

/// What a process gets from the outside, so that nothing here reads the environment.
pub struct Invocation<'a> {
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// Directory that relative paths start from.
    pub directory: PathBuf,
    /// The variable `KUBECONFIG`, if set.
    pub kubeconfig: Option<PathBuf>,
    /// Where results go.
    pub stdout: &'a mut (dyn Write + Send),
    /// Where log lines go.
    pub stderr: &'a mut (dyn Write + Send),
}

/// Runs one command; the exit code is 0 or, as the real tool's `fatal`, 2.
pub async fn main(invocation: Invocation<'_>) -> i32 {
    let _ = invocation.args;
    2
}
