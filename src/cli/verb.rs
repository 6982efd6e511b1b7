//! The daily verbs: each is a bundled script under a short name, run as `rootshift run` runs it.
//!
//! A verb is its arguments in [`super::args`], and here which script they mean and which parameters.

use super::args::{CheckArgs, RunArgs, StatusArgs, UndoArgs, VerbArgs, WhyArgs};

impl From<&CheckArgs> for RunArgs {
    fn from(args: &CheckArgs) -> Self {
        let script = if args.all { "inventory" } else { "check" };
        run(script, &args.verb, [])
    }
}

impl From<&StatusArgs> for RunArgs {
    fn from(args: &StatusArgs) -> Self {
        run("status", &args.verb, [])
    }
}

impl From<&UndoArgs> for RunArgs {
    fn from(args: &UndoArgs) -> Self {
        run("undo", &args.verb, [("to", &args.to)])
    }
}

impl From<&WhyArgs> for RunArgs {
    fn from(args: &WhyArgs) -> Self {
        run("why", &args.verb, [("a", &args.a), ("b", &args.b)])
    }
}

/// `rootshift run SCRIPT` with these parameters, below those of `--set`.
fn run<const N: usize>(script: &str, verb: &VerbArgs, params: [(&str, &String); N]) -> RunArgs {
    let own = params.iter().map(|(name, value)| format!("{name}={value}"));
    RunArgs {
        script: script.to_owned(),
        set: own.chain(verb.set.iter().cloned()).collect(),
        params: None,
        session: verb.session.clone(),
        output: verb.output.clone(),
    }
}
