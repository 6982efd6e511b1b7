//! What the words act on: clusters, authorities, the run; and how a word reaches it.
//!
//! A [`World`] is the engine's tag. It is assembled by whoever starts a run, from parts that are
//! given in full: there is no global behind it, so two runs in one process do not meet.

use super::guard::Gatekeeper;
use crate::cluster::{Cluster, ClusterError};
use crate::effect::clock::Clock;
use crate::engine::kit::{self, Reply};
use crate::engine::{Bridge, Failure, FailureKind};
use crate::journal::Event;
use crate::mesh::dumps::Dumps;
use crate::pki::NamedCa;
use jiff::Timestamp;
use rhai::{Dynamic, NativeCallContext};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Everything that words act on; clones share it.
#[derive(Clone)]
pub struct World(Arc<Inner>, Focus);

/// Which of the connections words mean.
type Focus = usize;

impl From<World> for Dynamic {
    /// The world as the engine's tag.
    fn from(world: World) -> Dynamic {
        Dynamic::from(world)
    }
}

/// What a [`World`] is made of.
pub struct WorldParts {
    /// The connections; the first is the one that words mean, unless they are told another.
    pub clusters: Vec<Cluster>,
    /// Why there is none, if somebody tried.
    pub no_cluster: Option<Failure>,
    /// CAs that were named on the command line, or by the twin.
    pub cas: Vec<NamedCa>,
    /// Dumps for proxies that cannot be asked.
    pub dumps: Arc<Dumps>,
    /// How words wait.
    pub bridge: Bridge,
    /// What the run offers its words.
    pub port: Arc<dyn RunPort>,
    /// First on the `PATH` of child processes.
    pub path_prefix: Option<PathBuf>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

struct Inner {
    gatekeeper: Arc<Gatekeeper>,
    parts: WorldParts,
    processes: AtomicU64,
    temp_dirs: Mutex<Vec<TempDir>>,
}

/// What a run offers its words; implemented by `run/`, and by the REPL's session.
pub trait RunPort: Send + Sync {
    /// Records an event.
    fn emit(&self, event: Event);

    /// Asks whether to go on.
    ///
    /// # Errors
    /// `usage` when nobody can be asked.
    fn confirm(&self, question: &str) -> Result<bool, Failure>;

    /// Asks for `name` to be typed, for what cannot be taken back. `what` says what will happen.
    ///
    /// # Errors
    /// `usage` when nobody can be asked.
    fn confirm_name(&self, what: &str, name: &str) -> Result<bool, Failure>;

    /// The reason with which gate `code` was waived, if it was, for all of the evidence; using a waiver is recorded.
    fn waived(&self, code: &str, evidence: &[String]) -> Option<String>;

    /// A line of the script's own results.
    fn output(&self, text: &str);

    /// Whether everything is rehearsed only, so that nothing outside may be changed.
    fn is_dry_run(&self) -> bool {
        false
    }

    /// Whether a person is there to answer.
    fn interactive(&self) -> bool;
}

impl World {
    /// Puts the parts together.
    pub fn new(parts: WorldParts) -> World {
        let inner = Inner {
            gatekeeper: Arc::new(Gatekeeper::new(parts.port.clone())),
            parts,
            processes: AtomicU64::new(0),
            temp_dirs: Mutex::default(),
        };
        World(Arc::new(inner), 0)
    }

    /// The same world, in which words mean the connection to `context`.
    ///
    /// # Errors
    /// `usage` when the run was not given that context.
    pub fn on(&self, context: &str) -> Reply<World> {
        self.cluster()?;
        let clusters = self.clusters();
        let at = clusters.iter().position(|c| c.context() == context);
        at.map(|at| World(self.0.clone(), at)).ok_or_else(|| {
            let given: Vec<String> = clusters
                .iter()
                .map(|c| format!("`{}`", c.context()))
                .collect();
            kit::fail(
                Failure::usage(format!(
                    "this run was not given context `{context}`, only {}",
                    given.join(", ")
                ))
                .hint("give each context that a script uses with --context"),
            )
        })
    }

    /// The same world once for each cluster, in which words mean that one: in the order of the command line, a cluster
    /// that was given twice once.
    ///
    /// # Errors
    /// As [`World::cluster`].
    pub fn each(&self) -> Reply<Vec<World>> {
        self.cluster()?;
        let mut servers = Vec::new();
        let mut worlds = Vec::new();
        for (at, cluster) in self.clusters().iter().enumerate() {
            if !servers.contains(&cluster.server()) {
                servers.push(cluster.server());
                worlds.push(World(self.0.clone(), at));
            }
        }
        Ok(worlds)
    }

    /// The world that the calling script acts on.
    ///
    /// # Errors
    /// A `bug` when the engine was built without one.
    pub fn of(ctx: &NativeCallContext) -> Reply<World> {
        kit::context(ctx)
    }

    /// Waits for a call: what the script's thread does while the cluster works.
    ///
    /// # Errors
    /// As [`Bridge::wait`].
    pub fn wait<T, E: Into<Failure>>(&self, call: impl Future<Output = Result<T, E>>) -> Reply<T> {
        self.bridge().wait(call)
    }

    /// Does nothing for `duration`.
    ///
    /// # Errors
    /// `interrupted`.
    pub fn pause(&self, duration: Duration) -> Reply<()> {
        self.bridge().pause(duration)
    }

    /// How words wait.
    pub fn bridge(&self) -> &Bridge {
        &self.0.parts.bridge
    }

    /// What the run offers.
    pub fn port(&self) -> &dyn RunPort {
        self.0.parts.port.as_ref()
    }

    /// The same, to be kept.
    pub fn shared_port(&self) -> Arc<dyn RunPort> {
        self.0.parts.port.clone()
    }

    /// The cluster that words mean.
    ///
    /// # Errors
    /// `usage` when the run was told none; or why it could not be reached.
    pub fn cluster(&self) -> Reply<Cluster> {
        let parts = &self.0.parts;
        if let Some(cluster) = parts.clusters.get(self.1) {
            return Ok(cluster.clone());
        }
        Err(kit::fail(parts.no_cluster.clone().unwrap_or_else(|| {
            Failure::usage("this needs a cluster, and the run was told none")
                .hint("name one with --context CONTEXT, or try it with --twin")
        })))
    }

    /// The connections of the run.
    pub fn clusters(&self) -> &[Cluster] {
        &self.0.parts.clusters
    }

    /// CAs that were named on the command line, or by the twin.
    pub fn cas(&self) -> &[NamedCa] {
        &self.0.parts.cas
    }

    /// Dumps for proxies that cannot be asked.
    pub fn dumps(&self) -> &Arc<Dumps> {
        &self.0.parts.dumps
    }

    /// Who decides what a gate's findings do.
    pub fn gatekeeper(&self) -> &Arc<Gatekeeper> {
        &self.0.gatekeeper
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    /// First on the `PATH` of child processes.
    pub fn path_prefix(&self) -> Option<&Path> {
        self.0.parts.path_prefix.as_deref()
    }

    /// A new folder that is gone when this world is.
    ///
    /// # Errors
    /// `environment` when it cannot be made.
    pub fn temp_dir(&self) -> Result<String, Failure> {
        let made = tempfile::Builder::new().prefix("rootshift-").tempdir();
        let dir = made.map_err(|error| {
            Failure::environment(format!("cannot make a temporary folder: {error}"))
        })?;
        let path = dir.path().display().to_string();
        self.0
            .temp_dirs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(dir);
        Ok(path)
    }

    /// The folder of [`World::temp_dir`] that holds `path` stays when this world ends.
    pub fn keep_temp_dir(&self, path: &Path) {
        let mut dirs = self
            .0
            .temp_dirs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for dir in dirs.iter_mut().filter(|dir| path.starts_with(dir.path())) {
            dir.disable_cleanup(true);
        }
    }

    /// How often the run did what may have changed a cluster: mutations that were let through, and child processes.
    pub fn acts(&self) -> u64 {
        let mutations = self.clusters().iter().map(Cluster::acts).sum::<u64>();
        mutations + self.0.processes.load(Ordering::SeqCst)
    }

    /// A number for the next child process of this run, from 1.
    pub fn next_process(&self) -> u64 {
        self.0.processes.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Failure {
        let kind = match error.kind() {
            "environment" => FailureKind::Environment,
            "interrupted" => FailureKind::Interrupted,
            "refused" => FailureKind::Refused,
            "script" => FailureKind::Script,
            "usage" => FailureKind::Usage,
            _ => FailureKind::Cluster,
        };
        Failure {
            code: error.code().map(str::to_owned),
            resource: error.resource(),
            retryable: error.retryable(),
            hint: error.hint(),
            evidence: error.evidence(),
            ..Failure::new(kind, error.to_string())
        }
    }
}
