//! A stand-in for Google's `asmcli`: its flags and refusals, installing into the twin.
//!
//! The program itself, when it is called under the name `asmcli`. A script starts it as it would
//! start the real one; it checks its flags in the real one's order with the real one's words
//! (asmcli 1.28.2-asm.4, `lib/validate.sh`, `components/ca/citadel.sh`), talks to nothing but the API
//! server of the kubeconfig, and ends with the real one's exit codes (0, or 2 for any `fatal`). It
//! also repeats what is bad there: a revision name may be longer than istiod's Service allows, any
//! one of the four certificate flags selects a custom CA, base names of files become keys of the
//! secret, and with a gateway in `istio-system` it asks on standard input whether to go on. Google Cloud itself
//! is not there: what would be done to it is left out and said. No `istioctl` is put into the output directory,
//! since there is no real one to put. Called under that name, the program is a stand-in for it ([`istioctl()`]).

mod args;
mod certificates;
mod client;
mod install;
mod istioctl;
mod kubeconfig;
mod log;
pub(in crate::twin) mod package;

use std::io::{BufRead, Write};
use std::path::PathBuf;

use args::{Command, Usage};
pub use istioctl::istioctl;
use log::{Fatal, Log};

/// What a process gets from the outside, so that nothing here reads the environment.
pub struct Invocation<'a> {
    /// Arguments without the program's name.
    pub args: Vec<String>,
    /// Directory that relative paths start from.
    pub directory: PathBuf,
    /// Where answers come from.
    pub stdin: &'a mut (dyn BufRead + Send),
    /// Where results go.
    pub stdout: &'a mut (dyn Write + Send),
    /// Where log lines go.
    pub stderr: &'a mut (dyn Write + Send),
}

/// Runs one command; the exit code is 0 or, as the real tool's `fatal`, 2.
pub async fn main(invocation: Invocation<'_>) -> i32 {
    let Invocation {
        args,
        directory,
        stdin,
        stdout,
        stderr,
    } = invocation;
    let mut log = Log::new(stderr);
    let (command, mut args) = match args::parse(&args) {
        Ok(parsed) => parsed,
        Err(Usage::Fatal(text)) => {
            log.error(&text);
            return 2;
        }
        Err(Usage::WithUsage(text)) => {
            if !text.is_empty() {
                log.error(&text);
            }
            log.plain(&usage());
            return 2;
        }
    };
    for line in &args.said {
        log.info(line);
    }
    let done = match command {
        Command::Version => writeln!(stdout, "{}", version()).map_err(|_| Fatal),
        Command::Help => write!(stdout, "{}", usage()).map_err(|_| Fatal),
        Command::Install => install::run(&args, &directory, stdin, &mut log).await,
        Command::Validate => {
            args.only.insert("validate");
            install::run(&args, &directory, stdin, &mut log).await
        }
    };
    match done {
        Ok(()) => 0,
        Err(Fatal) => 2,
    }
}

fn version() -> String {
    format!("{}+config1", package::VERSION)
}

fn usage() -> String {
    format!(
        "asmcli {}
usage: asmcli [SUBCOMMAND] [OPTION]...

Set up, validate, and install ASM in a Google Cloud environment.
This is the stand-in of a rehearsal cluster: it installs there and nowhere else.

SUBCOMMANDS:
  install
  validate

OPTIONS:
  --kc|--kubeconfig      <KUBECONFIG_FILE>
  --ctx|--context        <CONTEXT>
  --fleet_id             <FLEET ID>
  -c|--ca                <CA>
  -o|--option            <FILE NAME>
  -D|--output_dir        <DIR PATH>
  --co|--custom_overlay  <FILE NAME>
  --ca_cert              <FILE PATH>
  --ca_key               <FILE PATH>
  --root_cert            <FILE PATH>
  --cert_chain           <FILE PATH>
  -r|--revision_name     <REVISION NAME>
  --platform             <PLATFORM>

FLAGS:
  -e|--enable_all
     --enable_namespace_creation
  -v|--verbose
  -h|--help
  --version
",
        version()
    )
}
