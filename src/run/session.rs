//! One session: an engine with a world around it, from its first record to its last.
//!
//! `rootshift run` and `eval` evaluate one program in a session, the REPL many.

use std::sync::{Arc, atomic::AtomicU64};

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    Account, Approvals, Ended, TrafficSource, Waivers, conclude, door::Door, port::Port,
    steps::Steps, traffic::swept,
};
use crate::{
    cluster::{Cluster, Policy, Stop},
    effect::clock::Stopwatch,
    engine::{
        Bridge, Cancel, Diagnostic, Engine, Failure, Limits, Modules, Program, StepObserver, Words,
    },
    host::world::{RunPort, World},
    journal::{Event, Level, Mode, SCHEMA, TargetRecord, TrafficFigures},
};

/// What a session is given.
pub struct Opening {
    /// The script's name or path, as it is shown.
    pub script: String,
    /// Its title.
    pub title: Option<String>,
    /// Whether anything may be changed.
    pub mode: Mode,
    /// The clusters, as they are shown.
    pub targets: Vec<TargetRecord>,
    /// The parameters, resolved.
    pub params: Value,
    /// The connections, whose every mutation the session reviews.
    pub clusters: Vec<Cluster>,
    /// What was allowed, and who can be asked.
    pub approvals: Approvals,
    /// The gates that may pass.
    pub waivers: Waivers,
    /// Who makes handshakes, if anybody does.
    pub traffic: Option<Arc<dyn TrafficSource>>,
    /// Where the account goes.
    pub account: Account,
    /// What can be imported.
    pub modules: Modules,
    /// How much the script may use.
    pub limits: Limits,
    /// What stops it.
    pub cancel: Cancel,
    /// Where its calls run: a multi-threaded runtime.
    pub runtime: Handle,
}

/// What the words act on, made for one session.
pub struct Stage {
    /// The world.
    pub world: World,
    /// The words.
    pub words: Box<dyn Words>,
    /// Who reviews mutations, after the session's own rules.
    pub guard: Option<Arc<dyn Policy>>,
}

/// An open session.
pub struct Session {
    engine: Arc<Engine>,
    bridge: Bridge,
    port: Arc<Port>,
    mode: Mode,
    traffic: Option<Arc<dyn TrafficSource>>,
    started: Stopwatch,
}

impl Session {
    /// Opens a session and records that. `stage` makes the world from what the session offers.
    ///
    /// Must not be called on a thread of the runtime, because it may have to ask a person.
    ///
    /// # Errors
    /// `usage`: it would mutate a real cluster, and nobody is there to say yes. `refused`: somebody is,
    /// and said no. The session is over then, and recorded as such.
    pub fn open(
        opening: Opening,
        stage: impl FnOnce(Arc<dyn RunPort>, Bridge) -> Stage,
    ) -> Result<Self, Ended> {
        let started = Stopwatch::start();
        let account = Arc::new(opening.account);
        let waivers = Arc::new(opening.waivers);
        let bridge = Bridge::new(opening.runtime, opening.cancel.clone());
        let rehearsal = opening.mode == Mode::DryRun || opening.approvals.rehearsal;
        let port = Arc::new(Port {
            account: account.clone(),
            approvals: Arc::new(opening.approvals),
            waivers: waivers.clone(),
            bridge: bridge.clone(),
            rehearsal,
        });
        let questions = questions(opening.mode, &opening.targets, &port.approvals);
        account.emit(Event::Started {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            script: opening.script,
            title: opening.title,
            mode: opening.mode,
            targets: opening.targets,
            params: opening.params,
            waivers: waivers.records(),
            journal: account.journal_path(),
        });
        let open = || {
            account.kept()?;
            for question in questions {
                if !port.confirm(&question)? {
                    return Err(Failure::refused("not-confirmed", "it was not confirmed"));
                }
            }
            let stage = stage(port.clone(), bridge.clone());
            let numbers = Arc::new(AtomicU64::new(0));
            for cluster in &opening.clusters {
                let (account, guard) = (account.clone(), stage.guard.clone());
                let door = Door::new(account, opening.mode, guard, numbers.clone());
                cluster.set_policy(Arc::new(door));
                cluster.set_dry_run(opening.mode == Mode::DryRun);
                cluster.set_stop(Arc::new(Asked(bridge.clone())));
            }
            let steps: Arc<dyn StepObserver> = Arc::new(Steps::new(
                account.clone(),
                opening.traffic.clone(),
                bridge.clone(),
            ));
            Engine::new(
                stage.words.as_ref(),
                stage.world.into(),
                opening.limits,
                opening.cancel,
                &steps,
                opening.modules,
            )
        };
        match open() {
            Ok(engine) => Ok(Self {
                engine: Arc::new(engine),
                bridge,
                port,
                mode: opening.mode,
                traffic: opening.traffic,
                started,
            }),
            Err(failure) => Err(finish(&port, started, None, &Err(Diagnostic::new(failure)))),
        }
    }

    /// The engine, for those who evaluate more than one program.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// How to wait for something with this session's cancellation.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Whether this session may change anything.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Records an event.
    pub fn emit(&self, event: Event) {
        self.port.account.emit(event);
    }

    /// Evaluates a program.
    ///
    /// # Errors
    /// What the script failed with.
    pub async fn run(&self, program: Program, params: Value) -> Result<Value, Diagnostic> {
        self.engine.run(program, params).await
    }

    /// Ends the session: reads the traffic for the last time, judges, and records the end.
    pub async fn close(self, result: Result<Value, Diagnostic>) -> Ended {
        let figures = match &self.traffic {
            // After a failure nobody waits for another sweep.
            Some(traffic) if result.is_ok() => Some(swept(traffic.as_ref(), "the end").await),
            Some(traffic) => Some(traffic.total()),
            None => None,
        };
        for waiver in self.port.waivers.records() {
            if waiver.used == 0 {
                self.emit(Event::Note {
                    level: Level::Warn,
                    text: format!(
                        "waiver `{}` was not used: no gate of that name refused",
                        waiver.code
                    ),
                });
            }
        }
        finish(&self.port, self.started, figures, &result)
    }
}

/// Ends what a connection does between its requests once somebody has asked to stop.
struct Asked(Bridge);

impl Stop for Asked {
    fn stopped(&self) -> BoxFuture<'static, ()> {
        self.0.asked().map(|_| ()).boxed()
    }
}

/// Records the end of a run that could not begin, so that who reads the records always sees one.
pub fn abandon(account: &Account, why: &Diagnostic) -> Ended {
    let ended = conclude(&Err(why.clone()), 0);
    account.emit(finished(
        account,
        &Waivers::default(),
        0.0,
        None,
        Value::Null,
        &ended,
    ));
    ended
}

fn finish(
    port: &Port,
    started: Stopwatch,
    figures: Option<TrafficFigures>,
    result: &Result<Value, Diagnostic>,
) -> Ended {
    let ended = conclude(result, figures.as_ref().map_or(0, |f| f.failed));
    let summary = match result {
        Ok(value) => value.clone(),
        Err(diagnostic) => diagnostic.failure.result.clone().unwrap_or_default(),
    };
    let seconds = started.seconds();
    port.account.emit(finished(
        &port.account,
        &port.waivers,
        seconds,
        figures,
        summary,
        &ended,
    ));
    ended
}

fn finished(
    account: &Account,
    waivers: &Waivers,
    seconds: f64,
    handshakes: Option<TrafficFigures>,
    summary: Value,
    ended: &Ended,
) -> Event {
    Event::Finished {
        outcome: ended.outcome,
        exit_code: ended.exit_code,
        seconds,
        handshakes,
        mutation_counts: account.counts(),
        waivers: waivers.records(),
        summary,
        failure: ended.failure.clone(),
    }
}

/// What has to be allowed before anything is done: to change each real cluster.
fn questions(mode: Mode, targets: &[TargetRecord], approvals: &Approvals) -> Vec<String> {
    if mode != Mode::Mutating || approvals.twin {
        return Vec::new();
    }
    targets
        .iter()
        .map(|t| format!("Change cluster `{}` at {}?", t.context, t.server))
        .collect()
}
