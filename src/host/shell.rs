//! `shell::…`: other programs. There is no shell in it: arguments are passed as they are.

use super::time::duration;
use super::world::World;
use crate::effect::files::AppendFile;
use crate::effect::process::{Command, Ended, ProcessError, Stream};
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::journal::{ChildEvent, Event};
use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("shell", rhai::exported_module!(words).into());
}

/// Other programs.
#[export_module]
mod words {
    /// Runs a program to its end and gives `#{code, stdout, stderr}`; its lines go to the progress as
    /// they come.
    ///
    /// - `argv`: the program and its arguments, as texts; no shell reads them.
    ///
    /// Throws `environment` if it cannot be started, `refused` under `--dry-run`; a code other than 0 is
    /// not thrown.
    ///
    /// ```rhai
    /// let done = shell::run(["printf", "%s", "a  b"]);
    /// assert(done.code == 0 && done.stdout == "a  b", done);
    /// ```
    #[rhai_fn(name = "run", return_raw, volatile)]
    pub fn run(ctx: NativeCallContext, argv: Array) -> Reply<Map> {
        super::start(&ctx, &argv, super::Options::default())
    }

    /// As `run(argv)`, with options.
    ///
    /// - `argv`: the program and its arguments, as texts; no shell reads them.
    /// - `options`: `env`, a map of variables, where `()` removes one; `timeout`, seconds after which
    ///   it is killed; `cwd`, the folder it runs in; `stdin`, the text it reads (without: nothing); `log`, a
    ///   file that only this user can read, to which its lines are added as they come.
    ///
    /// Throws `environment` if it cannot be started, its time is up or there can be no such file, `refused` under
    /// `--dry-run`.
    ///
    /// ```rhai
    /// let done = shell::run(["sh", "-c", "echo $COLOUR; exit 3"], #{ env: #{ COLOUR: "red" }, timeout: 10 });
    /// assert(done.code == 3 && done.stdout == "red\n", done);
    /// let told = shell::run(["cat"], #{ stdin: "yes" });
    /// assert(told.stdout == "yes", told);
    /// let log = `${fs::temp_dir()}/log`;
    /// shell::run(["sh", "-c", "echo out; sleep 0.1; echo err >&2"], #{ log: log });
    /// assert(fs::read(log) == "out\nerr\n", fs::read(log));
    /// ```
    #[rhai_fn(name = "run", return_raw, volatile)]
    pub fn run_with(ctx: NativeCallContext, argv: Array, options: Map) -> Reply<Map> {
        super::start(&ctx, &argv, super::parse(options)?)
    }
}

#[derive(Default)]
struct Options {
    env: BTreeMap<String, Option<String>>,
    timeout: Option<std::time::Duration>,
    cwd: Option<PathBuf>,
    stdin: Option<String>,
    log: Option<PathBuf>,
}

fn parse(mut map: Map) -> Reply<Options> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Plain {
        timeout: Option<f64>,
        cwd: Option<PathBuf>,
        stdin: Option<String>,
        log: Option<PathBuf>,
    }
    // Taken out first, because `()` in it means something.
    let env = map.remove("env").unwrap_or(Dynamic::UNIT);
    let known = ["env", "timeout", "cwd", "stdin", "log"];
    let plain: Plain = kit::options("shell::run", map, &known)?;
    let mut options = Options {
        cwd: plain.cwd,
        stdin: plain.stdin,
        log: plain.log,
        ..Options::default()
    };
    if let Some(seconds) = plain.timeout {
        options.timeout = Some(duration("`timeout`", &seconds.into())?);
    }
    if !env.is_unit() {
        let Some(env) = env.try_cast::<Map>() else {
            return Err(kit::fail(Failure::script(
                "option `env` of `shell::run` is a map of names to texts",
            )));
        };
        for (name, value) in env {
            let value = (!value.is_unit()).then(|| value.to_string());
            options.env.insert(name.into(), value);
        }
    }
    Ok(options)
}

fn start(ctx: &NativeCallContext, argv: &Array, options: Options) -> Reply<Map> {
    let world = World::of(ctx)?;
    if world.port().is_dry_run() {
        let shown: Vec<String> = argv.iter().map(ToString::to_string).collect();
        return Err(kit::fail(
            Failure::new(
                FailureKind::Refused,
                format!(
                    "`{}` is not started: another program cannot be rehearsed",
                    shown.join(" ")
                ),
            )
            .hint("ask `cluster::is_dry_run()` and leave it out, or run without --dry-run"),
        ));
    }
    let command = Command {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: options.env,
        cwd: options.cwd,
        path_prefix: world.path_prefix().map(ToOwned::to_owned),
        stdin: options.stdin,
        timeout: options.timeout,
    };
    let log = options.log.as_deref().map(AppendFile::open).transpose();
    let mut log = log.map_err(|error| kit::fail(Failure::environment(error.to_string())))?;
    let process = world.next_process();
    let port = world.shared_port();
    let told = port.clone();
    let call = async move {
        told.emit(Event::Process {
            process,
            what: ChildEvent::Started {
                argv: command.argv.clone(),
            },
        });
        command
            .run(|stream, text| {
                if let Some(log) = &mut log {
                    // The journal has the line as well; what runs must not be stopped half-way for it.
                    log.line(text).ok();
                }
                told.emit(Event::Process {
                    process,
                    what: line(stream, text),
                });
            })
            .await
    };
    let ended = world.wait(call)?;
    port.emit(Event::Process {
        process,
        what: ChildEvent::Ended {
            code: ended.code,
            seconds: ended.elapsed.as_secs_f64(),
        },
    });
    Ok(result(ended))
}

fn line(stream: Stream, text: &str) -> ChildEvent {
    ChildEvent::Line {
        stream: match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
        .to_owned(),
        text: text.trim_end_matches(['\n', '\r']).to_owned(),
    }
}

fn result(ended: Ended) -> Map {
    [
        ("code", i64::from(ended.code).into()),
        ("stdout", ended.stdout.into()),
        ("stderr", ended.stderr.into()),
    ]
    .into_iter()
    .map(|(key, value): (&str, Dynamic)| (key.into(), value))
    .collect()
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Failure {
        let failure = Failure::environment(error.to_string());
        match error {
            ProcessError::Empty => Failure::script(failure.message),
            ProcessError::Start { program, .. } => {
                failure.hint(format!("is `{program}` installed, and on the PATH?"))
            }
            ProcessError::Output { .. } | ProcessError::TimedOut { .. } => failure,
        }
    }
}
