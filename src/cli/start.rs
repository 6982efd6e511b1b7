//! What `run`, `eval` and `repl` have in common: from a place to an open session.

use std::{io, path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{args::SessionArgs, place::Place};
use crate::{
    effect::{
        clock::{Clock as _, SystemClock},
        files, terminal,
    },
    engine::{Cancel, Diagnostic, Engine, Failure, Limits, Modules},
    host::{
        HostWords,
        guard::MeshGuard,
        world::{World, WorldParts},
    },
    journal::{Event, Journal, Level, Mode, run_id},
    mesh::survey::SurveyOptions,
    run::{Account, Approvals, Ask, Ended, Listener, Opening, Session, Stage, Waivers, abandon},
    script::Header,
};

/// What is run, and how.
pub(super) struct What {
    pub(super) script: String,
    pub(super) title: Option<String>,
    pub(super) mode: Mode,
    pub(super) params: Value,
    /// Folder of the script, for its imports.
    pub(super) folder: Option<PathBuf>,
}

/// The account of a new run, kept where the command line says.
pub(super) fn account(args: &SessionArgs, listener: Box<dyn Listener>) -> Result<Account, u8> {
    let id = run_id(SystemClock.now(), random());
    match journal(args, &id) {
        Ok(journal) => Ok(Account::new(id, Arc::new(SystemClock), journal, listener)),
        Err(failure) => Err(refuse(&Diagnostic::new(failure), listener)),
    }
}

/// Shows why a run cannot begin, and gives the exit code. Nothing happened, so no journal is kept.
pub(super) fn refuse(diagnostic: &Diagnostic, listener: Box<dyn Listener>) -> u8 {
    let id = run_id(SystemClock.now(), random());
    let account = Account::new(id, Arc::new(SystemClock), None, listener);
    abandon(&account, diagnostic).exit_code
}

fn journal(args: &SessionArgs, id: &str) -> Result<Option<Journal>, Failure> {
    let file = match &args.journal {
        Some(file) if file.as_os_str() == "none" => return Ok(None),
        Some(file) => file.clone(),
        None => {
            let state = files::state_dir().ok_or_else(|| {
                Failure::environment("there is no home directory to keep the journal in")
                    .hint("give a place with `--journal FILE`, or `--journal none`")
            })?;
            state.join("runs").join(format!("{id}.jsonl"))
        }
    };
    let journal = Journal::open(&file).map_err(|e| {
        Failure::environment(format!("the journal cannot be kept: {e}"))
            .hint("give another place with `--journal FILE`, or `--journal none`")
    })?;
    Ok(Some(journal))
}

/// Opens the place of the run with this id, unless somebody stops it before.
pub(super) fn place(
    args: &SessionArgs,
    needed: bool,
    run: &str,
    cancel: &Cancel,
    runtime: &Runtime,
) -> Result<Place, Failure> {
    runtime.block_on(async {
        tokio::select! {
            place = Place::open(args, needed, run) => place,
            () = cancel.cancelled() => Err(Failure::interrupted("interrupted before anything was done")),
        }
    })
}

/// Opens a session in a place.
pub(super) fn session(
    args: &SessionArgs,
    what: What,
    place: &Place,
    account: Account,
    cancel: Cancel,
    runtime: &Runtime,
) -> Result<Session, Ended> {
    let opening = Opening {
        script: what.script,
        title: what.title,
        mode: what.mode,
        targets: place.targets.clone(),
        params: what.params,
        clusters: place.clusters.clone(),
        approvals: approvals(args),
        waivers: Waivers::new(args.waive.iter().cloned()),
        traffic: place.traffic(),
        account,
        modules: Modules::new(what.folder),
        limits: Limits::default(),
        cancel,
        runtime: runtime.handle().clone(),
    };
    let clusters = place.clusters.clone();
    let cautions: Vec<String> = clusters
        .iter()
        .flat_map(|c| c.cautions().to_vec())
        .collect();
    let no_cluster = place.no_cluster.clone();
    let cas = place.cas.clone();
    let dumps = place.dumps.clone();
    let path_prefix = place.twin.as_ref().map(|t| t.programs.path().to_owned());
    let session = Session::open(opening, |port, bridge| {
        let world = World::new(WorldParts {
            clusters: clusters.clone(),
            no_cluster,
            cas: cas.clone(),
            dumps: dumps.clone(),
            bridge,
            port,
            path_prefix,
            clock: Arc::new(SystemClock),
        });

        let guard = MeshGuard::new(
            world.gatekeeper().clone(),
            clusters,
            cas,
            SurveyOptions {
                dumps,
                ..SurveyOptions::default()
            },
        );
        Stage {
            world,
            words: Box::new(HostWords),
            guard: Some(Arc::new(guard)),
        }
    })?;
    for text in cautions {
        session.emit(Event::Note {
            level: Level::Warn,
            text,
        });
    }
    Ok(session)
}

/// Compiles with the words but without a world, so that what is wrong with a text is said before a
/// cluster is touched.
pub(super) fn compile(
    source: &str,
    text: &str,
    folder: Option<PathBuf>,
    header: Option<&Header>,
) -> Result<(), Diagnostic> {
    let engine =
        Engine::without_world(&HostWords, Modules::new(folder)).map_err(Diagnostic::new)?;
    let program = engine.compile(source, text)?;
    let Some(header) = header else {
        return Ok(());
    };
    let declared: Vec<&str> = header.params.iter().map(|p| p.name.as_str()).collect();
    engine.check_params(&program, &declared)
}

/// That a run which may change real clusters has somebody to confirm it.
pub(super) fn allowed(name: &str, mode: Mode, args: &SessionArgs) -> Result<(), Diagnostic> {
    if mode == Mode::ReadOnly || approvals(args).can_confirm() {
        return Ok(());
    }
    let failure = Failure::usage(format!(
        "`{name}` may change the cluster, and nobody is here to confirm it"
    ));
    Err(Diagnostic::new(
        failure.hint("`--yes` answers confirmations"),
    ))
}

/// Evaluates one program and ends the session; gives the exit code.
pub(super) async fn evaluate(session: Session, source: &str, text: &str, params: Value) -> u8 {
    let result = match session.engine().compile(source, text) {
        Ok(program) => session.run(program, params).await,
        Err(diagnostic) => Err(diagnostic),
    };
    session.close(result).await.exit_code
}

/// What was allowed on the command line, and the person at the terminal.
pub(super) fn approvals(args: &SessionArgs) -> Approvals {
    Approvals {
        yes: args.yes,
        names: args.confirm.clone(),
        rehearsal: args.dry_run,
        twin: args.twin.is_some(),
        person: terminal::interactive().then(|| Box::new(Terminal) as Box<dyn Ask>),
    }
}

/// The person at the terminal.
struct Terminal;

impl Ask for Terminal {
    fn ask<'a>(&'a self, question: &'a str) -> BoxFuture<'a, io::Result<Option<String>>> {
        Box::pin(terminal::ask(question))
    }
}

/// Tells runs of the same second apart.
fn random() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let state = std::collections::hash_map::RandomState::new();
    let [a, b, c, d, ..] = state.build_hasher().finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
