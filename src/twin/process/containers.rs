//! The running containers of the node: started and stopped by the kubelet, asked by the API server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::images::{self, Runs};
use super::machine::Machine;
use super::output::Output;
use super::shell::{Command, Ended, Sink, Streams};
use super::{Channel, NotModelled};
use crate::twin::clock::SimClock;
use crate::twin::kube::Kube;
use crate::twin::server::PodNetwork;

const BUFFER: usize = 64 * 1024;

/// The code of a program that met what the twin does not model, with a line in its log that says so.
const REFUSED: u8 = 125;
/// The code of a program that is not there.
const NOT_FOUND: u8 = 128;

/// All containers. A cheap handle: clones share it.
#[derive(Clone)]
pub struct Containers(Arc<Inner>);

struct Inner {
    kube: Kube,
    clock: SimClock,
    /// What else is behind ports of pods.
    beyond: Mutex<Option<Arc<dyn PodNetwork>>>,
    /// How many runs there were.
    count: AtomicU64,
    /// By UID of the pod and name of the container.
    runs: Mutex<HashMap<String, HashMap<String, Both>>>,
}

#[derive(Default)]
struct Both {
    now: Option<Arc<Run>>,
    before: Option<Arc<Run>>,
}

/// One run of a container, from its start to its end.
pub struct Run {
    /// What it has written.
    pub output: Arc<Output>,
    runs: Runs,
    machine: Arc<Machine>,
    task: Mutex<Option<AbortHandle>>,
}

/// A container ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which.
    pub container: String,
    /// Which of its runs, as [`Containers::start`] said.
    pub run: u64,
    /// Its code.
    pub code: u8,
}

impl std::fmt::Debug for Containers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Containers")
    }
}

impl Containers {
    /// No containers, on a cluster.
    pub fn new(kube: Kube, clock: SimClock) -> Containers {
        Containers(Arc::new(Inner {
            kube,
            clock,
            beyond: Mutex::default(),
            count: AtomicU64::new(0),
            runs: Mutex::default(),
        }))
    }

    /// Sets what is behind the ports of pods on which none of these containers listens.
    pub fn set_network(&self, network: Arc<dyn PodNetwork>) {
        *locked(&self.0.beyond) = Some(network);
    }

    pub(super) fn kube(&self) -> &Kube {
        &self.0.kube
    }

    pub(super) fn clock(&self) -> SimClock {
        self.0.clock
    }

    fn machine(&self, pod: &Arc<Value>, container: &str) -> Option<Machine> {
        let spec = ["initContainers", "containers"]
            .iter()
            .flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten())
            .find(|c| c["name"] == container)?;
        Some(Machine {
            pod: Arc::clone(pod),
            container: spec.clone(),
            containers: self.clone(),
        })
    }

    /// Whether a container's program is one that the twin runs, so that it ends when that does.
    pub fn models(&self, pod: &Arc<Value>, container: &str) -> bool {
        let machine = self.machine(pod, container);
        machine.is_some_and(|m| matches!(images::runs(&m), Runs::Command(_)))
    }

    /// Starts a container; when it ends by itself, `exits` is told. The run before it is kept. The number of this run.
    pub fn start(
        &self,
        pod: &Arc<Value>,
        container: &str,
        exits: mpsc::UnboundedSender<Exit>,
    ) -> u64 {
        let number = self.0.count.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(machine) = self.machine(pod, container).map(Arc::new) else {
            return number;
        };
        let run = Arc::new(Run {
            output: Arc::default(),
            runs: images::runs(&machine),
            machine,
            task: Mutex::default(),
        });
        {
            let mut all = self.runs();
            let both = all
                .entry(uid(pod).to_owned())
                .or_default()
                .entry(container.to_owned())
                .or_default();
            if let Some(last) = both.now.replace(Arc::clone(&run)) {
                last.stop();
                both.before = Some(last);
            }
        }
        match &run.runs {
            Runs::Http(port) => {
                let said = images::listens(*port);
                run.output.write(Channel::Out, said.as_bytes());
            }
            Runs::Proxy => {
                let said = images::agent_starts(&run.machine);
                run.output.write(Channel::Out, said.as_bytes());
            }
            Runs::Unknown(_) => {}
            Runs::Command(command) => {
                let (command, container) = (command.clone(), container.to_owned());
                let (machine, output) = (Arc::clone(&run.machine), Arc::clone(&run.output));
                let task = tokio::spawn(async move {
                    let code = to_its_end(&command, &machine, &output).await;
                    output.end();
                    // The kubelet may have gone on without it.
                    let run = number;
                    let _ = exits.send(Exit {
                        container,
                        run,
                        code,
                    });
                });
                *locked(&run.task) = Some(task.abort_handle());
            }
        }
        number
    }

    /// Writes a line to the log of a proxy.
    pub fn agent_says(&self, pod: &str, text: &str) {
        if let Some(run) = self.run(pod, super::machine::PROXY)
            && matches!(run.runs, Runs::Proxy)
        {
            let line = images::agent_line(text);
            run.output.write(Channel::Out, line.as_bytes());
        }
    }

    /// Ends a container, if it runs.
    pub fn stop(&self, pod: &str, container: &str) {
        if let Some(run) = self.run(pod, container) {
            run.stop();
        }
    }

    /// Ends all containers of a pod that is gone, and forgets their output.
    pub fn forget(&self, pod: &str) {
        let gone = self.runs().remove(pod);
        for both in gone.into_iter().flatten().map(|(_, both)| both) {
            if let Some(run) = both.now {
                run.stop();
            }
        }
    }

    /// Ends all containers, and lets go of what is beyond.
    pub fn end(&self) {
        let gone = std::mem::take(&mut *self.runs());
        for both in gone.into_values().flat_map(HashMap::into_values) {
            if let Some(run) = both.now {
                run.stop();
            }
        }
        *locked(&self.0.beyond) = None;
    }

    /// The last run of a container.
    pub fn run(&self, pod: &str, container: &str) -> Option<Arc<Run>> {
        self.runs().get(pod)?.get(container)?.now.clone()
    }

    /// The run before the last one.
    pub fn run_before(&self, pod: &str, container: &str) -> Option<Arc<Run>> {
        self.runs().get(pod)?.get(container)?.before.clone()
    }

    /// Checks a command that is to be executed in a container.
    ///
    /// # Errors
    /// What of it the twin does not model.
    pub fn check(&self, container: &str, argv: &[String]) -> Result<(), NotModelled> {
        Command::new(argv, container == super::machine::PROXY).map(|_| ())
    }

    /// Executes a command in a container to its end; dropping the future kills it.
    ///
    /// # Errors
    /// The container does not run.
    pub async fn exec(
        &self,
        pod: &Arc<Value>,
        container: &str,
        argv: &[String],
        input: Option<mpsc::Receiver<bytes::Bytes>>,
        output: mpsc::Sender<(Channel, bytes::Bytes)>,
    ) -> Result<Ended, NotRunning> {
        let run = self.run(uid(pod), container).filter(|run| run.is_alive());
        let run = run.ok_or(NotRunning)?;
        let command = match Command::new(argv, run.machine.is_proxy()) {
            Ok(command) => command,
            Err(what) => return Ok(Ended::Refused(what)),
        };
        let streams = Streams {
            input,
            output: Sink::Asker(output),
        };
        let end = run.until_end();
        tokio::select! {
            biased;
            ended = command.run(&run.machine, streams) => Ok(ended),
            // What runs in a container dies with it.
            () = end => Ok(Ended::Code(137)),
        }
    }

    /// A connection to a port of a pod.
    pub(super) async fn port(&self, pod: &Arc<Value>, port: u16) -> Result<DuplexStream, String> {
        self.connect(pod, port).await
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Both>>> {
        locked(&self.0.runs)
    }
}

/// The container does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRunning;

impl PodNetwork for Containers {
    fn connect<'a>(
        &'a self,
        pod: &'a Value,
        port: u16,
    ) -> BoxFuture<'a, Result<DuplexStream, String>> {
        Box::pin(async move {
            let own = {
                let all = self.runs();
                let mut some = all.get(uid(pod)).into_iter().flat_map(HashMap::values);
                some.find_map(|both| {
                    let run = both.now.as_ref()?;
                    let listens = matches!(run.runs, Runs::Http(p) if p == port) && run.is_alive();
                    listens.then(|| Arc::clone(run))
                })
            };
            if let Some(run) = own {
                let (near, far) = duplex(BUFFER);
                tokio::spawn(async move {
                    tokio::select! {
                        () = images::serve(Arc::clone(&run.machine), far) => {}
                        () = run.until_end() => {}
                    }
                });
                return Ok(near);
            }
            let beyond = locked(&self.0.beyond).clone();
            match beyond {
                Some(beyond) => beyond.connect(pod, port).await,
                None => Err("connect: connection refused".to_owned()),
            }
        })
    }
}

impl Run {
    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        !self.output.since(usize::MAX).2
    }

    /// What of its output is not known, if it is not.
    pub fn unknown(&self) -> Option<&NotModelled> {
        match &self.runs {
            Runs::Unknown(what) => Some(what),
            _ => None,
        }
    }

    fn stop(&self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
        self.output.end();
    }

    async fn until_end(&self) {
        let mut changes = self.output.changes();
        while self.is_alive() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn to_its_end(command: &Command, machine: &Machine, output: &Arc<Output>) -> u8 {
    let streams = Streams {
        input: None,
        output: Sink::Log(Arc::clone(output)),
    };
    match command.run(machine, streams).await {
        Ended::Code(code) => code,
        Ended::NoProgram(why) => {
            output.write(Channel::Err, format!("{why}\n").as_bytes());
            NOT_FOUND
        }
        Ended::Refused(NotModelled(what)) => {
            let said = format!("the twin does not model {what}\n");
            output.write(Channel::Err, said.as_bytes());
            REFUSED
        }
    }
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

/// The value of a mutex, also when a holder of it panicked.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
