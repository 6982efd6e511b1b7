//! What a person types; plugs the parts together.
//!
//! The only room that may name all others. It reads the command line and the environment, finds
//! scripts, connects to clusters or starts a twin, and hands all of it to a run. It holds no rule
//! about what may be done to a mesh.

pub mod args;
mod doc;
mod eval;
mod explain;
mod installers;
mod interrupt;
mod place;
mod repl;
mod run;
mod scripts;
mod show;
mod start;
mod twin;
mod verb;

use std::{ffi::OsString, io, process::ExitCode};

use clap::Parser as _;
use tokio::runtime::Runtime;

use crate::{
    effect::{files, terminal},
    engine::Failure,
};
use args::{Cli, Command, TwinCommand};

pub use installers::{INSTALLERS, installer};

/// Runs the program with these arguments, the first of which is its own name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version go to standard output and are no errors.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    trace(cli.verbose);
    let code = match runtime() {
        Ok(runtime) => dispatch(&cli.command, &runtime),
        Err(failure) => show::failure(&failure),
    };
    ExitCode::from(code)
}

fn dispatch(command: &Command, runtime: &Runtime) -> u8 {
    match command {
        Command::Check(args) => run::run(&args.into(), runtime),
        Command::Doc(args) => doc::doc(args),
        Command::Eval(args) => eval::eval(args, runtime),
        Command::Explain(args) => explain::explain(args),
        Command::Repl(args) => repl::repl(args, runtime),
        Command::Run(args) => run::run(args, runtime),
        Command::Scripts(args) => scripts::scripts(args),
        Command::Status(args) => run::run(&args.into(), runtime),
        Command::Twin(args) => match &args.command {
            TwinCommand::Serve(args) => twin::serve(args, runtime),
        },
        Command::Undo(args) => run::run(&args.into(), runtime),
        Command::Why(args) => run::run(&args.into(), runtime),
    }
}

/// A multi-threaded runtime: scripts wait on it from a thread of their own.
fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::environment(format!("cannot start threads: {}", files::reason(&e))))
}

/// Sends the library's own log to standard error.
fn trace(verbose: u8) {
    let filter = match verbose {
        0 => return,
        1 => "rootshift=debug",
        2 => "rootshift=trace,kube=debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal::stderr_colour())
        .init();
}
