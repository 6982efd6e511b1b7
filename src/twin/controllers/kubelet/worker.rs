//! The life of one pod on the node.
//!
//! Times are simulated: [`START`] from the first status until the containers run, [`SETTLE`] until they are
//! ready, at most [`STOP`] to stop. The mesh is told through [`super::super::PodLifecycle`], in order. Containers
//! whose program the twin runs ([`crate::twin::process`]) end when it does, and are started again as the pod's restart
//! policy says: at once after the first end, then after growing pauses.

mod ends;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::context::{Ctx, seconds};
use super::super::endpoints;
use super::super::events::Event;
use super::super::objects::{array, controller, deleting, name, namespace, text, uid};
use super::super::pods::is_finished;
use super::fault::{self, Fault};
use super::state::{PROXY, PodState, Role, Run};
use super::{NAME, Sight};
use crate::twin::process::Exit;

/// Images and containers (init containers included).
const START: Duration = Duration::from_secs(1);
/// From running to the first readiness probe that can succeed, unless a container's probe waits longer; pause between probes; run time of a Job's pod.
const SETTLE: Duration = Duration::from_secs(1);
/// How long containers take to stop, if their grace period is not shorter.
const STOP: Duration = Duration::from_millis(1500);
/// First pause before a crashed container is started again; doubles up to [`LONGEST_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);
/// Probes are no more frequent than this in real time, whatever the speed.
const SHORTEST_REAL_PROBE: Duration = Duration::from_millis(50);

/// The pod is being deleted, is gone, or has ended: what was under way is given up.
struct Leaving;

/// What a pod meets while it lives.
enum Happening {
    /// Its object changed.
    Sight,
    /// A container ended by itself.
    Exit(Exit),
    /// A container is to be started again.
    Again,
}

pub struct Worker {
    ctx: Arc<Ctx>,
    /// The newest known state of the pod.
    pod: Arc<Value>,
    sight: watch::Receiver<Sight>,
    state: PodState,
    /// The mesh was told that it started.
    told: bool,
    /// The pod is in the ready set.
    ready: bool,
    exits: (mpsc::UnboundedSender<Exit>, mpsc::UnboundedReceiver<Exit>),
    /// The number of the last run of each container.
    runs: HashMap<usize, u64>,
    /// When containers that ended are to be started again.
    again: HashMap<usize, Instant>,
    /// How often containers have ended.
    ends: HashMap<usize, u32>,
    /// The code of an init container that has just ended.
    init_code: Option<u8>,
    /// Its containers end because it is asked for by annotation, and not by themselves.
    crashing: bool,
}

impl Worker {
    pub fn new(
        ctx: Arc<Ctx>,
        pod: &Arc<Value>,
        address: String,
        sight: watch::Receiver<Sight>,
    ) -> Worker {
        let state = PodState::new(pod, address, &ctx.now());
        Worker {
            ctx,
            pod: Arc::clone(pod),
            sight,
            state,
            told: false,
            ready: false,
            exits: mpsc::unbounded_channel(),
            runs: HashMap::new(),
            again: HashMap::new(),
            ends: HashMap::new(),
            init_code: None,
            crashing: false,
        }
    }

    /// Runs until the pod is gone from the cluster.
    pub async fn run(mut self) {
        if !is_finished(&self.pod) {
            // Both ways out of life end below.
            let _: Result<(), Leaving> = self.live().await;
        }
        self.wait_until_leaving().await;
        self.wind_down().await;
        self.ctx.containers.forget(uid(&self.pod));
        while self.sight.borrow_and_update().is_some() && self.sight.changed().await.is_ok() {}
        self.ctx.forget_ready(uid(&self.pod));
    }

    async fn live(&mut self) -> Result<(), Leaving> {
        self.check()?;
        self.write();
        if fault::of(&self.pod) == Some(Fault::Image) {
            return self.fail_to_pull().await;
        }
        self.run_inits().await?;
        self.pause(self.slice()).await?;
        for index in self.state.mains() {
            self.start(index).await;
        }
        self.write();
        self.tell_started().await;
        if fault::of(&self.pod) == Some(Fault::Crash) {
            return self.crash().await;
        }
        self.pause(self.state.settles_in(SETTLE)).await?;
        loop {
            self.until_all_run().await?;
            self.become_ready().await?;
            if self.is_of_a_job() {
                self.complete().await?;
            }
            self.serve().await?;
        }
    }

    fn all_run(&self) -> bool {
        let mut mains = self.state.mains().into_iter();
        mains.all(|i| matches!(self.state.containers[i].run, Run::Running(_)))
    }

    /// Waits while a main container has ended or is about to be started again.
    async fn until_all_run(&mut self) -> Result<(), Leaving> {
        while !self.all_run() {
            let outdated = self.state.outdated(&self.pod);
            if !outdated.is_empty() {
                self.replace(outdated).await?;
                continue;
            }
            self.next().await?;
        }
        Ok(())
    }

    /// Init containers, one after the other; a sidecar with a startup probe must answer before the next starts.
    async fn run_inits(&mut self) -> Result<(), Leaving> {
        let slice = self.slice();
        for index in 0..self.state.containers.len() {
            if self.state.containers[index].role == Role::Main {
                continue;
            }
            self.pause(slice).await?;
            self.start(index).await;
            let container = &self.state.containers[index];
            if container.role == Role::Init {
                self.end_init(index).await?;
                continue;
            }
            let probed = container.startup_probe;
            let proxy = container.name == PROXY;
            self.write();
            if proxy {
                self.tell_started().await;
            }
            if probed {
                self.wait_for_mesh(PROXY).await?;
            }
            let container = &mut self.state.containers[index];
            (container.started, container.ready) = (true, true);
            self.write();
        }
        Ok(())
    }

    /// The part of [`START`] that each init container takes, and what comes after them.
    fn slice(&self) -> Duration {
        let inits = self
            .state
            .containers
            .iter()
            .filter(|c| c.role != Role::Main)
            .count();
        START / u32::try_from(inits + 1).unwrap_or(1)
    }

    async fn start(&mut self, index: usize) {
        let now = self.ctx.now();
        self.state.start(index, &now);
        let container = &self.state.containers[index];
        let (image, name) = (container.image.clone(), container.name.clone());
        let mut pod = (*self.pod).clone();
        pod["status"]["podIP"] = json!(self.state.address());
        let run = self
            .ctx
            .containers
            .start(&Arc::new(pod), &name, self.exits.0.clone());
        self.runs.insert(index, run);
        let pulled = format!("Container image \"{image}\" already present on machine");
        self.say(Event::normal(NAME, "Pulled", &pulled)).await;
        self.say(Event::normal(
            NAME,
            "Created",
            &format!("Created container: {name}"),
        ))
        .await;
        self.say(Event::normal(
            NAME,
            "Started",
            &format!("Started container {name}"),
        ))
        .await;
    }

    /// Asks the mesh until it says that the pod is ready. Meanwhile `unready` is shown not to be.
    async fn wait_for_mesh(&mut self, unready: &str) -> Result<(), Leaving> {
        loop {
            self.check()?;
            let answer = match fault::of(&self.pod) {
                Some(Fault::NotReady) => Err("it is asked for by annotation".to_owned()),
                _ => self.ctx.mesh.ready(&self.pod).await,
            };
            let Err(reason) = answer else {
                return self.check();
            };
            if self.all_run() {
                let is_there = self.state.containers.iter().any(|c| c.name == unready);
                self.state.set_ready(is_there, Some(unready));
                self.write();
            }
            let message = format!("Readiness probe failed: {reason}");
            self.say(Event::warning(NAME, "Unhealthy", &message)).await;
            let pause = self.ctx.clock.real(SETTLE).max(SHORTEST_REAL_PROBE);
            self.pause_real(pause).await?;
        }
    }

    async fn become_ready(&mut self) -> Result<(), Leaving> {
        self.wait_for_mesh(PROXY).await?;
        if !self.all_run() {
            return Ok(());
        }
        self.state.set_ready(true, None);
        self.ctx
            .containers
            .agent_says(uid(&self.pod), "Envoy proxy is ready");
        self.ctx.set_ready_since_now(uid(&self.pod));
        self.write();
        self.ready = true;
        self.ctx.mesh.live_set_changed().await;
        self.check()
    }

    /// Serves until the pod is to be not ready: by annotation, because a container gets another image, or has ended.
    async fn serve(&mut self) -> Result<(), Leaving> {
        while self.ready {
            let outdated = self.state.outdated(&self.pod);
            if !outdated.is_empty() {
                return self.replace(outdated).await;
            }
            if fault::of(&self.pod) == Some(Fault::NotReady) {
                self.leave_ready_set(false).await;
                return Ok(());
            }
            self.next().await?;
        }
        Ok(())
    }

    async fn replace(&mut self, outdated: Vec<(usize, String)>) -> Result<(), Leaving> {
        self.leave_ready_set(false).await;
        for (index, image) in outdated {
            let name = &self.state.containers[index].name;
            let message = format!("Container {name} definition changed, will be restarted");
            self.say(Event::normal(NAME, "Killing", &message)).await;
            self.state.replace(index, image, &self.ctx.now());
            self.again.remove(&index);
            self.start(index).await;
        }
        self.write();
        self.pause(self.state.settles_in(SETTLE)).await
    }

    /// Image faults: the containers wait for ever.
    async fn fail_to_pull(&mut self) -> Result<(), Leaving> {
        for index in 0..self.state.containers.len() {
            let image = self.state.containers[index].image.clone();
            let first = format!("failed to pull and unpack image \"{image}\": not found");
            self.say(Event::warning(
                NAME,
                "Failed",
                &format!("Failed to pull image \"{image}\": {first}"),
            ))
            .await;
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {first}");
            self.state.back_off(index, "ImagePullBackOff", &message);
            if self.state.containers[index].role != Role::Main {
                break;
            }
        }
        self.write();
        self.wait_until_leaving().await;
        Err(Leaving)
    }

    /// Stops the pod: out of the ready set first, then its containers, then the object.
    async fn wind_down(&mut self) {
        let gone = self.sight.borrow().is_none();
        if self.ready {
            self.ready = false;
            self.ctx.forget_ready(uid(&self.pod));
            endpoints::withdraw(&self.ctx, &self.pod);
            self.ctx.mesh.live_set_changed().await;
        }
        if !gone {
            let running: Vec<String> = self
                .state
                .containers
                .iter()
                .filter(|c| matches!(c.run, Run::Running(_)))
                .map(|c| c.name.clone())
                .collect();
            for container in &running {
                let message = format!("Stopping container {container}");
                self.say(Event::normal(NAME, "Killing", &message)).await;
            }
            if !running.is_empty() {
                self.stop_containers().await;
            }
        }
        self.tell_stopped().await;
        self.remove();
    }

    /// Waits for the containers to stop; less if the grace period is, or becomes, shorter.
    async fn stop_containers(&mut self) {
        let begun = tokio::time::Instant::now();
        loop {
            let sight = self.sight.borrow_and_update().clone();
            let Some(pod) = sight else { break };
            let grace = &pod["metadata"]["deletionGracePeriodSeconds"];
            let whole = STOP.min(seconds(grace.as_i64().unwrap_or(0)));
            self.pod = pod;
            let left = whole.saturating_sub(self.ctx.simulated_since(begun));
            if left.is_zero() {
                break;
            }
            tokio::select! {
                () = self.ctx.clock.sleep(left) => {}
                changed = self.sight.changed() => if changed.is_err() { break },
            }
        }
        // Told before it is shown: what waits for a finished pod may take it to be gone for the mesh too.
        self.tell_stopped().await;
        let now = self.ctx.now();
        self.stop_all(&now);
        self.state.end = Some("Succeeded");
        self.write();
    }

    /// Removes the object, unless another has its name by now.
    fn remove(&self) {
        let (space, own) = (namespace(&self.pod), name(&self.pod));
        let present = self.ctx.kube.get("pods", space, own);
        if present.is_some_and(|p| uid(&p) == uid(&self.pod) && deleting(&p)) {
            // Gone meanwhile: as good.
            let _ = self.ctx.kube.remove("pods", space, own);
        }
    }

    /// Shows that the pod is not ready and waits until the mesh has seen it.
    async fn leave_ready_set(&mut self, ended: bool) {
        if !ended {
            self.state.set_ready(false, None);
        }
        self.ctx.forget_ready(uid(&self.pod));
        self.write();
        if std::mem::take(&mut self.ready) {
            endpoints::withdraw(&self.ctx, &self.pod);
            self.ctx.mesh.live_set_changed().await;
        }
    }

    async fn tell_started(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.ctx.mesh.started(&self.pod).await;
        }
    }

    async fn tell_stopped(&mut self) {
        if std::mem::take(&mut self.told) {
            self.ctx.mesh.stopped(&self.pod).await;
            // Never told again that it started: a pod lives once.
        }
    }

    fn is_of_a_job(&self) -> bool {
        controller(&self.pod).is_some_and(|c| c["kind"] == "Job")
            && text(&self.pod, "/spec/restartPolicy") != "Always"
            && !array(&self.pod, "/spec/containers").is_empty()
    }

    /// Writes the status of what runs.
    fn write(&mut self) {
        let now = self.ctx.now();
        let (pod, state) = (&self.pod, &self.state);
        let written = self
            .ctx
            .kube
            .update_status("pods", namespace(pod), name(pod), |o| {
                if uid(o) == uid(pod) {
                    state.render(o, &now);
                }
            });
        if let Ok(written) = written
            && uid(&written) == uid(&self.pod)
        {
            self.pod = written;
        }
    }

    async fn say(&self, event: Event<'_>) {
        self.ctx.event(&self.pod, event).await;
    }

    /// Fails if the pod is to go.
    fn check(&mut self) -> Result<(), Leaving> {
        let sight = self.sight.borrow_and_update().clone();
        self.take(sight)
    }

    fn take(&mut self, sight: Sight) -> Result<(), Leaving> {
        let pod = sight.ok_or(Leaving)?;
        let left = deleting(&pod);
        if super::super::objects::version(&pod) > super::super::objects::version(&self.pod) {
            self.pod = pod;
        }
        if left { Err(Leaving) } else { Ok(()) }
    }

    /// Waits for something to happen, and does what follows from it.
    async fn next(&mut self) -> Result<(), Leaving> {
        let happening = self.happening().await?;
        self.meet(happening).await?;
        self.check()
    }

    /// Waits for something to happen; nothing is lost when the future is dropped.
    async fn happening(&mut self) -> Result<Happening, Leaving> {
        let again = self.again.values().min().copied();
        let due = async {
            match again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.sight.changed() => {
                changed.map_err(|_| Leaving)?;
                Ok(Happening::Sight)
            }
            Some(exit) = self.exits.1.recv() => Ok(Happening::Exit(exit)),
            () = due => Ok(Happening::Again),
        }
    }

    async fn meet(&mut self, happening: Happening) -> Result<(), Leaving> {
        match happening {
            Happening::Sight => Ok(()),
            Happening::Exit(exit) => {
                let all = self.state.containers.iter();
                let index = all.into_iter().position(|c| c.name == exit.container);
                let Some(index) = index.filter(|i| self.runs.get(i) == Some(&exit.run)) else {
                    return Ok(());
                };
                if self.crashing {
                    return Ok(());
                }
                if self.state.containers[index].role == Role::Init {
                    self.init_code = Some(exit.code);
                    return Ok(());
                }
                self.ended(index, exit.code).await
            }
            Happening::Again => {
                let now = Instant::now();
                let due: Vec<usize> = self
                    .again
                    .iter()
                    .filter(|(_, at)| **at <= now)
                    .map(|(index, _)| *index)
                    .collect();
                for index in due {
                    self.again.remove(&index);
                    self.start(index).await;
                }
                self.write();
                Ok(())
            }
        }
    }

    /// Waits for a simulated time, unless the pod is to go.
    async fn pause(&mut self, simulated: Duration) -> Result<(), Leaving> {
        let real = self.ctx.clock.real(simulated);
        self.pause_real(real).await
    }

    async fn pause_real(&mut self, real: Duration) -> Result<(), Leaving> {
        let until = tokio::time::Instant::now() + real;
        loop {
            self.check()?;
            let happening = tokio::select! {
                () = tokio::time::sleep_until(until) => return self.check(),
                happening = self.happening() => happening?,
            };
            self.meet(happening).await?;
        }
    }

    async fn wait_until_leaving(&mut self) {
        while self.check().is_ok() {
            if self.sight.changed().await.is_err() {
                return;
            }
        }
    }
}
