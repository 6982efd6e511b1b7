//! The command line: flags, their documentation and their shapes; no behaviour.
//!
//! The doc comments here are what `--help` shows.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::mesh::gate;

/// Move a service mesh from one certificate authority to another without downtime.
#[derive(Debug, Parser)]
#[command(
    name = "rootshift",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Exit codes: 0 done; 1 script error; 2 usage; 3 refused or unsafe; 4 cluster or environment; 130 interrupted.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on standard error: -v for connections and what is tried again, -vv for every request.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check this mesh, now: what is not as it should be, and counts.
    Check(CheckArgs),
    /// Print the reference of the script language, or what is said of a word or a module.
    Doc(DocArgs),
    /// Evaluate code and print its value.
    Eval(EvalArgs),
    /// Say what a gate's code means: what it looks at, why, what to do; needs no cluster.
    Explain(ExplainArgs),
    /// Talk to the engine line by line.
    Repl(ReplArgs),
    /// Run a script.
    Run(RunArgs),
    /// List or show the bundled scripts.
    Scripts(ScriptsArgs),
    /// Say where the migration is, what is next, and whether it is safe to leave it so.
    Status(StatusArgs),
    /// A cluster with a mesh inside, on this machine.
    Twin(TwinArgs),
    /// Go back from wherever the migration is, the safe way round.
    Undo(UndoArgs),
    /// Say whether two workloads can talk, now and after the next step, and why not.
    Why(WhyArgs),
}

/// What every daily verb takes.
#[derive(Debug, Clone, Default, Args)]
pub struct VerbArgs {
    /// Give a parameter of its script a value (`rootshift scripts show VERB`).
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Where, and what is allowed.
    #[command(flatten)]
    pub session: SessionArgs,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `rootshift check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Show every proxy, with its owner and how it will be moved, and not the exceptions alone.
    #[arg(long)]
    pub all: bool,
    /// What every verb takes.
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `rootshift explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A gate's code, such as RS101, or the kind of a failure, such as refused; without it, all are listed.
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `rootshift status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What every verb takes.
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `rootshift undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The point to go back to: `distribute` (both roots everywhere, signed by Citadel) or `start`.
    #[arg(long, value_name = "POINT")]
    pub to: String,
    /// What every verb takes.
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `rootshift why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Who connects: NAMESPACE/WORKLOAD, NAMESPACE/POD, or POD.NAMESPACE as checks print it.
    #[arg(value_name = "A")]
    pub a: String,
    /// Who is connected to, likewise; the way back is told too.
    #[arg(value_name = "B")]
    pub b: String,
    /// What every verb takes.
    #[command(flatten)]
    pub verb: VerbArgs,
}

/// `rootshift doc`.
#[derive(Debug, Args)]
pub struct DocArgs {
    /// A word, a module, or `kubectl` for the words that do what a kubectl command does; without it,
    /// everything, as Markdown.
    #[arg(value_name = "WORD|MODULE|kubectl")]
    pub topic: Option<String>,
}

/// `rootshift run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A bundled script's name (`rootshift scripts`), or a file.
    #[arg(value_name = "SCRIPT|NAME")]
    pub script: String,
    /// Give a parameter its value; arrays are comma-separated or JSON.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take parameters from a YAML file; --set goes first.
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Where, and what is allowed.
    #[command(flatten)]
    pub session: SessionArgs,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `rootshift eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The code; its last value is printed.
    pub code: String,
    /// Where, and what is allowed.
    #[command(flatten)]
    pub session: SessionArgs,
    /// How it is shown.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `rootshift repl`.
#[derive(Debug, Args)]
pub struct ReplArgs {
    /// Where, and what is allowed.
    #[command(flatten)]
    pub session: SessionArgs,
}

/// `rootshift scripts`.
#[derive(Debug, Args)]
pub struct ScriptsArgs {
    /// What to do with them; without it, list.
    #[command(subcommand)]
    pub command: Option<ScriptsCommand>,
}

/// What to do with the bundled scripts.
#[derive(Debug, Subcommand)]
pub enum ScriptsCommand {
    /// List the bundled scripts.
    List,
    /// Print a script.
    Show {
        /// A bundled script's name, or a file.
        #[arg(value_name = "SCRIPT|NAME")]
        script: String,
    },
}

/// `rootshift twin`.
#[derive(Debug, Args)]
pub struct TwinArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: TwinCommand,
}

/// What to do with a twin.
#[derive(Debug, Subcommand)]
pub enum TwinCommand {
    /// Serve a twin on a loopback port until Ctrl-C.
    Serve(ServeArgs),
}

/// `rootshift twin serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A scenario's name, or a YAML file.
    #[arg(value_name = "SCENARIO", default_value = DEFAULT_SCENARIO)]
    pub scenario: String,
    /// Write the kubeconfig here; without it, to a temporary file.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig_out: Option<PathBuf>,
    /// Write the root of the twin's Mesh CA here, as PEM.
    #[arg(long, value_name = "FILE")]
    pub ca_out: Option<PathBuf>,
    /// Use this seed and not the scenario's.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Where a script runs, and what is allowed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where, and what is allowed")]
pub struct SessionArgs {
    /// A context of the kubeconfig. What mutates must be told; what only reads may use the current one. Of
    /// several, words mean the first, and `cluster::on` the others.
    #[arg(long, value_name = "NAME")]
    pub context: Vec<String>,
    /// The kubeconfig; else $KUBECONFIG, else ~/.kube/config, else the cluster around this process.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Act as this user, for whom RBAC then decides (`kubectl --as`).
    #[arg(long = "as", value_name = "USER")]
    pub act_as: Option<String>,
    /// Act as a member of this group too (`kubectl --as-group`).
    #[arg(long, value_name = "GROUP", requires = "act_as")]
    pub as_group: Vec<String>,
    /// Run on a twin, a cluster with a mesh inside this process: a scenario's name, or a YAML file.
    #[arg(
        long,
        value_name = "SCENARIO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DEFAULT_SCENARIO,
        conflicts_with_all = ["context", "kubeconfig"]
    )]
    pub twin: Option<String>,
    /// Use this seed for the twin and not the scenario's.
    #[arg(long, value_name = "N", requires = "twin")]
    pub seed: Option<u64>,
    /// Name a root certificate (PEM); it is known by its fingerprint.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub ca: Vec<(String, String)>,
    /// Judge proxies that cannot be asked by the dumps in this directory (NAMESPACE/POD.json or POD.NAMESPACE.json, each
    /// the whole of GET /config_dump; of a WorkloadEntry by its name); those that can be asked are asked.
    #[arg(long, value_name = "DIR")]
    pub dump: Vec<PathBuf>,
    /// Let one gate pass, or only what it says of one pod or workload (`RS301:shop/web`); recorded, and shown to the end.
    #[arg(long, value_name = "CODE[:NAME][=REASON]", value_parser = waiver)]
    pub waive: Vec<(String, Option<String>)>,
    /// Answer confirmations with yes; --twin and --dry-run imply it.
    #[arg(long)]
    pub yes: bool,
    /// Rehearse: the API server judges every change and stores none (dryRun=All); other programs are
    /// not started.
    #[arg(long)]
    pub dry_run: bool,
    /// Allow the point of no return of the mesh with this name.
    #[arg(long, value_name = "NAME")]
    pub confirm: Vec<String>,
    /// Keep the journal here, or nowhere (`none`); else in the user's state directory.
    #[arg(long, value_name = "FILE|none")]
    pub journal: Option<PathBuf>,
}

/// How a run is shown.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Plain text, one JSON document at the end, or one JSON event a line.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Format,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Results on standard output, progress on standard error.
    #[default]
    Text,
    /// One document at the end.
    Json,
    /// One event a line, the last `finished`.
    Jsonl,
}

/// The scenario of `--twin` without a name.
pub const DEFAULT_SCENARIO: &str = "default";

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

fn waiver(text: &str) -> Result<(String, Option<String>), String> {
    let (key, reason) = match text.split_once('=') {
        Some((key, reason)) => (key, Some(reason.to_owned())),
        None => (text, None),
    };
    let (code, name) = key
        .split_once(':')
        .map_or((key, None), |(code, name)| (code, Some(name)));
    if !gate::ALL.iter().any(|gate| gate.code == code) {
        let all: Vec<&str> = gate::ALL.iter().map(|gate| gate.code).collect();
        return Err(format!(
            "no gate has the code `{code}`; there are {}",
            all.join(", ")
        ));
    }
    if name == Some("") {
        return Err("expected a name after the colon: CODE:NAME".to_owned());
    }
    Ok((key.to_owned(), reason))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_twin_may_be_named_or_not() {
        let scenario = |args: &[&str]| match Cli::try_parse_from(args).unwrap().command {
            Command::Run(run) => (run.script, run.session.twin),
            _ => panic!("not run"),
        };
        assert_eq!(
            scenario(&["rootshift", "run", "--twin", "x"]),
            ("x".to_owned(), Some("default".to_owned()))
        );
        assert_eq!(
            scenario(&["rootshift", "run", "x", "--twin=native"]),
            ("x".to_owned(), Some("native".to_owned()))
        );
    }

    #[test]
    fn groups_to_act_as_need_a_user() {
        let parse = |args: &[&str]| {
            Cli::try_parse_from(args).map(|cli| match cli.command {
                Command::Eval(eval) => (eval.session.act_as, eval.session.as_group),
                _ => panic!("not eval"),
            })
        };
        let both = [
            "rootshift",
            "eval",
            "1",
            "--as",
            "jane",
            "--as-group",
            "dev",
            "--as-group",
            "ops",
        ];
        assert_eq!(
            parse(&both).unwrap(),
            (
                Some("jane".to_owned()),
                vec!["dev".to_owned(), "ops".to_owned()]
            )
        );
        assert!(parse(&["rootshift", "eval", "1", "--as-group", "dev"]).is_err());
    }

    #[test]
    fn a_waiver_may_carry_a_reason() {
        let some = |key: &str, reason: Option<&str>| (key.to_owned(), reason.map(str::to_owned));
        assert_eq!(waiver("RS101=a=b"), Ok(some("RS101", Some("a=b"))));
        assert_eq!(waiver("RS101"), Ok(some("RS101", None)));
        assert_eq!(
            waiver("RS101:shop/web=old"),
            Ok(some("RS101:shop/web", Some("old")))
        );
        assert!(waiver("RS101:").is_err());
        assert!(waiver("RS999=x").unwrap_err().contains("there are RS101, "));
    }
}
