//! What runs in a pod, and how that reads as its status: phase, conditions, container statuses.
//!
//! Fields and wording of kubelet 1.34. Native sidecars (init containers with `restartPolicy: Always`) count
//! among what must be ready.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::naming::{fnv64, mix};
use super::super::objects::{array, condition, object_at, text, uid};
use super::NODE_IP;

/// The name of the container that carries a mesh's proxy.
pub const PROXY: &str = "istio-proxy";

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub role: Role,
    /// Whether something must answer before it counts as started.
    pub startup_probe: bool,
    /// Seconds from its start to its first readiness probe.
    readiness_delay: u64,
    pub run: Run,
    pub ready: bool,
    pub started: bool,
    pub restarts: i64,
    last: Value,
}

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// One of the pod's purpose.
    Main,
    /// An init container with `restartPolicy: Always`: goes on beside the others.
    Sidecar,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// Not yet, for a reason; with a message or without.
    Waiting(&'static str, String),
    /// Since that time.
    Running(String),
    /// It ended.
    Ended {
        code: i64,
        reason: &'static str,
        from: String,
        to: String,
    },
}

/// The containers of a pod and what is known of it.
#[derive(Debug)]
pub struct PodState {
    pub containers: Vec<Container>,
    /// The phase, once it is final.
    pub end: Option<&'static str>,
    address: String,
    started_at: String,
    sandbox: bool,
}

impl PodState {
    /// A pod that has just come to the node.
    pub fn new(pod: &Value, address: String, now: &str) -> PodState {
        let inits = array(pod, "/spec/initContainers");
        let reason = if inits.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let mains = array(pod, "/spec/containers");
        let all = inits
            .iter()
            .map(|c| (c, true))
            .chain(mains.iter().map(|c| (c, false)));
        let containers = all
            .map(|(spec, init)| Container {
                name: text(spec, "/name").to_owned(),
                image: text(spec, "/image").to_owned(),
                role: match (init, spec["restartPolicy"] == "Always") {
                    (false, _) => Role::Main,
                    (true, false) => Role::Init,
                    (true, true) => Role::Sidecar,
                },
                startup_probe: spec["startupProbe"].is_object(),
                readiness_delay: spec["readinessProbe"]["initialDelaySeconds"]
                    .as_u64()
                    .unwrap_or(0),
                run: Run::Waiting(reason, String::new()),
                ready: false,
                started: false,
                restarts: 0,
                last: json!({}),
            })
            .collect();
        PodState {
            containers,
            end: None,
            address,
            started_at: now.to_owned(),
            sandbox: false,
        }
    }

    /// How long after its start the pod can be ready: when the first readiness probes of all its containers
    /// were due, and not before `least`.
    pub fn settles_in(&self, least: Duration) -> Duration {
        let delays = self.containers.iter().map(|c| c.readiness_delay);
        delays.map(Duration::from_secs).fold(least, Ord::max)
    }

    /// The pod's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Starts a container.
    pub fn start(&mut self, index: usize, now: &str) {
        self.sandbox = true;
        let container = &mut self.containers[index];
        container.run = Run::Running(now.to_owned());
        container.started = !container.startup_probe;
    }

    /// Ends a container that runs.
    pub fn finish(&mut self, index: usize, code: i64, now: &str) {
        let container = &mut self.containers[index];
        if let Run::Running(from) = &container.run {
            container.run = Run::Ended {
                code,
                reason: if code == 0 { "Completed" } else { "Error" },
                from: from.clone(),
                to: now.to_owned(),
            };
        }
        container.ready = code == 0 && container.role == Role::Init;
        container.started = false;
    }

    /// The main containers of which the pod has another image by now.
    pub fn outdated(&self, pod: &Value) -> Vec<(usize, String)> {
        let specs = array(pod, "/spec/containers");
        let image = |c: &Container| {
            let spec = specs.iter().find(|s| s["name"] == c.name.as_str())?;
            (text(spec, "/image") != c.image).then(|| text(spec, "/image").to_owned())
        };
        let mains = self
            .containers
            .iter()
            .enumerate()
            .filter(|(_, c)| c.role == Role::Main);
        mains.filter_map(|(i, c)| Some((i, image(c)?))).collect()
    }

    /// Ends a container that runs, to be started with another image.
    pub fn replace(&mut self, index: usize, image: String, now: &str) {
        self.finish(index, 0, now);
        let container = &mut self.containers[index];
        container.last = run_json(&container.run);
        container.restarts += 1;
        container.image = image;
    }

    /// Puts a container that ended on hold until it is started again.
    pub fn back_off(&mut self, index: usize, reason: &'static str, message: &str) {
        let container = &mut self.containers[index];
        if matches!(container.run, Run::Ended { .. }) {
            container.last = run_json(&container.run);
            container.restarts += 1;
        }
        container.run = Run::Waiting(reason, message.to_owned());
    }

    /// Ends everything that runs.
    pub fn finish_all(&mut self, code: i64, now: &str) {
        for index in 0..self.containers.len() {
            self.finish(index, code, now);
        }
        for container in &mut self.containers {
            container.ready = container.ready && container.role == Role::Init;
        }
    }

    /// Indices of the main containers.
    pub fn mains(&self) -> Vec<usize> {
        let all = self.containers.iter().enumerate();
        all.filter(|(_, c)| c.role == Role::Main)
            .map(|(i, _)| i)
            .collect()
    }

    /// Sets readiness of all that runs and counts; `but` names one container that is not ready.
    pub fn set_ready(&mut self, ready: bool, but: Option<&str>) {
        for container in &mut self.containers {
            if container.role == Role::Init {
                continue;
            }
            let is_running = matches!(container.run, Run::Running(_));
            container.ready = ready && is_running && but != Some(container.name.as_str());
            if container.ready {
                container.started = true;
            }
        }
    }

    /// Writes the whole status.
    pub fn render(&self, pod: &mut Value, now: &str) {
        let own = uid(pod).to_owned();
        let phase = self.phase();
        let conditions = self.conditions(pod, phase, now);
        let status = object_at(pod, "status");
        status.insert("phase".to_owned(), phase.into());
        status.insert("conditions".to_owned(), conditions.into());
        status.insert("hostIP".to_owned(), NODE_IP.into());
        status.insert("hostIPs".to_owned(), json!([{"ip": NODE_IP}]));
        status.insert("startTime".to_owned(), self.started_at.clone().into());
        if self.sandbox {
            status.insert("podIP".to_owned(), self.address.clone().into());
            status.insert("podIPs".to_owned(), json!([{"ip": self.address}]));
        }
        let statuses = |init: bool| -> Vec<Value> {
            let some = self
                .containers
                .iter()
                .filter(|c| (c.role != Role::Main) == init);
            some.map(|c| c.render(&own)).collect()
        };
        status.insert("containerStatuses".to_owned(), statuses(false).into());
        if self.containers.iter().any(|c| c.role != Role::Main) {
            status.insert("initContainerStatuses".to_owned(), statuses(true).into());
        }
        status
            .entry("qosClass")
            .or_insert_with(|| "BestEffort".into());
    }

    fn phase(&self) -> &'static str {
        if let Some(end) = self.end {
            return end;
        }
        let is_up = |c: &Container| {
            c.role == Role::Main && (!matches!(c.run, Run::Waiting(..)) || c.restarts > 0)
        };
        if self.containers.iter().any(is_up) {
            "Running"
        } else {
            "Pending"
        }
    }

    /// Names of the containers that must be ready and are not.
    pub fn unready(&self) -> Vec<&str> {
        let counts = |c: &&Container| c.role != Role::Init && !c.ready;
        let some = self.containers.iter().filter(counts);
        some.map(|c| c.name.as_str()).collect()
    }

    /// Names of the init containers that have not done their part.
    fn incomplete(&self) -> Vec<&str> {
        let lacks = |c: &&Container| match &c.run {
            _ if c.role == Role::Main => false,
            _ if c.role == Role::Sidecar => !c.started && self.end.is_none(),
            Run::Ended { code, .. } => *code != 0,
            _ => true,
        };
        let some = self.containers.iter().filter(lacks);
        some.map(|c| c.name.as_str()).collect()
    }

    fn conditions(&self, pod: &Value, phase: &str, now: &str) -> Vec<Value> {
        let ended = self.end.is_some();
        let (unready, incomplete) = (self.unready(), self.incomplete());
        let listed = |what: &str, names: &[&str]| {
            format!("containers with {what} status: [{}]", names.join(" "))
        };
        let ready = if ended {
            Some((
                if phase == "Failed" {
                    "PodFailed"
                } else {
                    "PodCompleted"
                },
                String::new(),
            ))
        } else if unready.is_empty() {
            None
        } else {
            Some(("ContainersNotReady", listed("unready", &unready)))
        };
        let initialized = (!incomplete.is_empty()).then(|| {
            (
                "ContainersNotInitialized",
                listed("incomplete", &incomplete),
            )
        });
        let sandbox = (!self.sandbox || ended).then(|| ("", String::new()));
        let mut list: Vec<Value> = [
            ("PodReadyToStartContainers", sandbox),
            ("Initialized", initialized),
            ("Ready", ready.clone()),
            ("ContainersReady", ready),
        ]
        .into_iter()
        .map(|(kind, lack)| entry(pod, kind, lack, now))
        .collect();
        let own = |c: &&Value| !list.iter().any(|l| l["type"] == c["type"]);
        let others: Vec<Value> = array(pod, "/status/conditions")
            .iter()
            .filter(own)
            .cloned()
            .collect();
        list.extend(others);
        list
    }
}

/// A condition that is True unless something lacks; the time of its last change is kept.
fn entry(pod: &Value, kind: &str, lack: Option<(&str, String)>, now: &str) -> Value {
    let status = if lack.is_none() { "True" } else { "False" };
    let since = match condition(pod, kind) {
        Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
        _ => now.into(),
    };
    let mut entry = json!({
        "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since,
    });
    if let Some((reason, message)) = lack {
        for (key, text) in [("reason", reason), ("message", message.as_str())] {
            if !text.is_empty() {
                entry[key] = text.into();
            }
        }
    }
    entry
}

impl Container {
    fn render(&self, pod: &str) -> Value {
        let mut status = Map::new();
        status.insert("name".to_owned(), self.name.clone().into());
        status.insert("image".to_owned(), self.image.clone().into());
        status.insert("ready".to_owned(), self.ready.into());
        status.insert("started".to_owned(), self.started.into());
        status.insert("restartCount".to_owned(), self.restarts.into());
        status.insert("lastState".to_owned(), self.last.clone());
        status.insert("state".to_owned(), run_json(&self.run));
        if matches!(self.run, Run::Waiting(..)) && self.restarts == 0 {
            status.insert("imageID".to_owned(), "".into());
        } else {
            let image = hex(&self.image);
            let id = hex(&format!("{pod} {} {}", self.name, self.restarts));
            status.insert("imageID".to_owned(), format!("sha256:{image}").into());
            status.insert(
                "containerID".to_owned(),
                format!("containerd://{id}").into(),
            );
        }
        Value::Object(status)
    }
}

fn run_json(run: &Run) -> Value {
    match run {
        Run::Waiting(reason, message) if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        Run::Waiting(reason, message) => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Run::Running(since) => json!({"running": {"startedAt": since}}),
        Run::Ended {
            code,
            reason,
            from,
            to,
        } => {
            json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": from, "finishedAt": to}})
        }
    }
}

/// 64 hexadecimal digits that follow from a text.
fn hex(text: &str) -> String {
    let mut number = fnv64(text);
    let parts: Vec<String> = (0..4)
        .map(|_| {
            number = mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
            format!("{number:016x}")
        })
        .collect();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native() -> Value {
        json!({"metadata": {"uid": "u"}, "spec": {
            "initContainers": [
                {"name": "istio-init", "image": "proxy:1"},
                {"name": PROXY, "image": "proxy:1", "restartPolicy": "Always", "startupProbe": {}},
            ],
            "containers": [{"name": "app", "image": "app:1"}],
        }})
    }

    fn is(pod: &Value, kind: &str) -> bool {
        condition(pod, kind).is_some_and(|c| c["status"] == "True")
    }

    #[test]
    fn a_native_sidecar_counts_among_what_must_be_ready() {
        let mut pod = native();
        let mut state = PodState::new(&pod, "10.8.0.2".to_owned(), "t0");
        state.render(&mut pod, "t0");
        assert_eq!(pod["status"]["phase"], "Pending");
        let message = &condition(&pod, "Initialized").unwrap()["message"];
        assert_eq!(
            message,
            "containers with incomplete status: [istio-init istio-proxy]"
        );
        state.start(0, "t1");
        state.finish(0, 0, "t1");
        state.start(1, "t1");
        state.render(&mut pod, "t1");
        assert!(!is(&pod, "Initialized"));
        state.containers[1].started = true;
        state.start(2, "t2");
        state.set_ready(true, Some(PROXY));
        state.render(&mut pod, "t2");
        assert!(is(&pod, "Initialized") && !is(&pod, "Ready"));
        let message = &condition(&pod, "Ready").unwrap()["message"];
        assert_eq!(message, "containers with unready status: [istio-proxy]");
        state.set_ready(true, None);
        state.render(&mut pod, "t3");
        assert!(is(&pod, "Ready") && is(&pod, "ContainersReady"));
        let inits = &pod["status"]["initContainerStatuses"];
        assert_eq!(
            (&inits[0]["ready"], &inits[1]["ready"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(inits[1]["started"], true);
        assert_eq!(pod["status"]["podIP"], "10.8.0.2");
    }

    #[test]
    fn a_pod_that_ran_to_its_end_is_not_ready() {
        let mut pod = native();
        let mut state = PodState::new(&pod, "10.8.0.2".to_owned(), "t0");
        state.start(0, "t1");
        state.finish(0, 0, "t1");
        for index in [1, 2] {
            state.start(index, "t1");
        }
        state.set_ready(true, None);
        state.finish_all(0, "t2");
        state.end = Some("Succeeded");
        state.render(&mut pod, "t2");
        assert_eq!(pod["status"]["phase"], "Succeeded");
        assert_eq!(condition(&pod, "Ready").unwrap()["reason"], "PodCompleted");
        assert_eq!(
            pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
            0
        );
        assert!(is(&pod, "Initialized"));
    }
}
