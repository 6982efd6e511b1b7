//! How containers end, and what follows: the pod's restart policy, pauses before the next start, the pod's own end.

use std::time::Duration;

use tokio::time::Instant;

use super::super::super::events::Event;
use super::super::super::objects::{self, namespace, text, uid};
use super::super::NAME;
use super::super::state::{PROXY, Role, Run};
use super::{BACK_OFF, LONGEST_BACK_OFF, Leaving, SETTLE, Worker};

impl Worker {
    /// Waits until an init container has done its part; one that fails is started again.
    pub(super) async fn end_init(&mut self, index: usize) -> Result<(), Leaving> {
        let mut pause = BACK_OFF;
        loop {
            let name = self.state.containers[index].name.clone();
            let mut code = 0;
            if self.ctx.containers.models(&self.pod, &name) {
                self.write();
                code = loop {
                    if let Some(code) = self.init_code.take() {
                        break code;
                    }
                    self.next().await?;
                };
            }
            let now = self.ctx.now();
            self.state.finish(index, i64::from(code), &now);
            self.ctx.containers.stop(uid(&self.pod), &name);
            if code == 0 {
                self.write();
                return Ok(());
            }
            if text(&self.pod, "/spec/restartPolicy") == "Never" {
                return self.end("Failed").await;
            }
            self.hold(index, pause).await;
            self.write();
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_BACK_OFF);
            self.start(index).await;
        }
    }

    /// Ends those containers of a Job's pod of whose programs nothing is known: they succeed. A classic sidecar keeps
    /// the pod running, as it does.
    pub(super) async fn complete(&mut self) -> Result<(), Leaving> {
        self.pause(SETTLE).await?;
        for index in self.state.mains() {
            let container = &self.state.containers[index];
            let (name, runs) = (&container.name, matches!(container.run, Run::Running(_)));
            if runs && name != PROXY && !self.ctx.containers.models(&self.pod, name) {
                self.ended(index, 0).await?;
            }
        }
        Ok(())
    }

    /// A container has ended: it is started again, or the pod may have ended with it.
    pub(super) async fn ended(&mut self, index: usize, code: u8) -> Result<(), Leaving> {
        let container = &self.state.containers[index];
        let (name, role, image) = (
            container.name.clone(),
            container.role,
            container.image.clone(),
        );
        let now = self.ctx.now();
        self.state.finish(index, i64::from(code), &now);
        self.ctx.containers.stop(uid(&self.pod), &name);
        let restarts = match text(&self.pod, "/spec/restartPolicy") {
            _ if role == Role::Sidecar => true,
            "Never" => false,
            "OnFailure" => code != 0,
            _ => true,
        };
        if restarts {
            let ends = self.ends.entry(index).or_default();
            *ends += 1;
            let ends = *ends;
            self.leave_ready_set(true).await;
            if ends == 1 {
                self.state.replace(index, image, &now);
                self.start(index).await;
                self.write();
                return Ok(());
            }
            let pause = BACK_OFF * 2_u32.saturating_pow((ends - 2).min(8));
            let pause = pause.min(LONGEST_BACK_OFF);
            self.hold(index, pause).await;
            self.write();
            let until = Instant::now() + self.ctx.clock.real(pause);
            self.again.insert(index, until);
            return Ok(());
        }
        let codes: Vec<i64> = self
            .state
            .mains()
            .into_iter()
            .filter_map(|i| match &self.state.containers[i].run {
                Run::Ended { code, .. } => Some(*code),
                _ => None,
            })
            .collect();
        if codes.len() < self.state.mains().len() {
            self.leave_ready_set(true).await;
            return Ok(());
        }
        let good = codes.iter().all(|code| *code == 0);
        self.end(if good { "Succeeded" } else { "Failed" }).await
    }

    /// Ends what still runs of a pod that is over.
    pub(super) async fn end(&mut self, phase: &'static str) -> Result<(), Leaving> {
        let now = self.ctx.now();
        self.stop_all(&now);
        self.state.end = Some(phase);
        self.leave_ready_set(true).await;
        self.tell_stopped().await;
        Err(Leaving)
    }

    pub(super) fn stop_all(&mut self, now: &str) {
        self.state.finish_all(0, now);
        for container in &self.state.containers {
            self.ctx.containers.stop(uid(&self.pod), &container.name);
        }
    }

    /// Shows that a container that ended is on hold, and why.
    pub(super) async fn hold(&mut self, index: usize, pause: Duration) {
        let name = self.state.containers[index].name.clone();
        let message = format!(
            "back-off {}s restarting failed container={name} pod={}_{}({})",
            pause.as_secs(),
            objects::name(&self.pod),
            namespace(&self.pod),
            uid(&self.pod)
        );
        self.state.back_off(index, "CrashLoopBackOff", &message);
        let said = format!("Back-off restarting failed container {name}");
        self.say(Event::warning(NAME, "BackOff", &said)).await;
    }

    /// Crash faults: the main containers end, and are started again after growing pauses.
    pub(super) async fn crash(&mut self) -> Result<(), Leaving> {
        let mut pause = BACK_OFF;
        self.crashing = true;
        loop {
            self.pause(SETTLE).await?;
            let now = self.ctx.now();
            for index in self.state.mains() {
                self.state.finish(index, 1, &now);
                let name = &self.state.containers[index].name;
                self.ctx.containers.stop(uid(&self.pod), name);
            }
            self.write();
            for index in self.state.mains() {
                self.hold(index, pause).await;
            }
            self.write();
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_BACK_OFF);
            for index in self.state.mains() {
                self.start(index).await;
            }
            self.write();
        }
    }
}
