//! A real control plane and a real mesh on this machine (`tests/lab`), one at a time.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::MutexGuard;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Program, say, skip, turn};

/// No command on it may take longer: pods start and end at the pace of real ones.
const LIMIT: Duration = Duration::from_secs(600);

/// A lab that is up; it is taken down when this is dropped.
pub struct Lab {
    name: String,
    /// None for one that stands beside another.
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What the applications counted.
#[derive(Clone, Debug)]
pub(super) struct Counts(pub(super) Value);

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab")
}

/// Where the lab's programs and state are: `lib.sh` says so too.
fn out() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join("lab")
}

/// Why there can be no lab here.
fn lacking() -> Option<&'static str> {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout == b"0\n");
    if !cfg!(target_os = "linux") {
        Some("the lab needs Linux")
    } else if !root {
        Some("the lab needs root")
    } else if !out().join("built").exists() {
        Some("the lab is not built (tests/lab/lab build; needs Go and python3)")
    } else {
        None
    }
}

impl Lab {
    /// One that is not up yet; `None`, and a visible line, where there can be no lab.
    #[track_caller]
    pub fn none() -> Option<Lab> {
        if let Some(reason) = lacking() {
            skip(reason);
            return None;
        }
        // Two cores carry one mesh.
        Some(Lab {
            name: "test".to_owned(),
            _turn: Some(turn()),
        })
    }

    /// Another one, in the same turn.
    pub(super) fn beside(&self) -> Lab {
        Lab {
            name: format!("{}-2", self.name),
            _turn: None,
        }
    }

    /// Starts the control plane and the mesh; `options` are those of `lab mesh`.
    #[track_caller]
    pub(super) fn mesh(options: &str) -> Option<Lab> {
        let lab = Lab::none()?;
        say(lab.script(&["up"]).trim_end());
        let words: Vec<&str> = std::iter::once("mesh")
            .chain(options.split_whitespace())
            .collect();
        say(lab.script(&words).trim_end());
        Some(lab)
    }

    /// `tests/lab/lab ARGS`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(home().join("lab"));
        command
            .args(args)
            .env("LAB_NAME", &self.name)
            .env("CARGO_TARGET_DIR", out().parent().unwrap());
        command
    }

    /// One of the lab's own commands, which must succeed; what it printed.
    #[track_caller]
    pub fn script(&self, args: &[&str]) -> String {
        said(args, self.command(args).output().unwrap())
    }

    /// Runs a command inside.
    pub(super) fn exec(&self, args: &[&str]) -> Output {
        let args: Vec<&str> = std::iter::once("exec")
            .chain(args.iter().copied())
            .collect();
        self.command(&args).output().unwrap()
    }

    /// What is typed before a program's arguments to run it inside.
    pub(super) fn inside(&self, program: &str) -> Vec<String> {
        let name = format!("LAB_NAME={}", self.name);
        let lab = home().join("lab").display().to_string();
        ["env", &name, &lab, "exec", program]
            .map(str::to_owned)
            .into()
    }

    /// `kubectl ARGS`, which must succeed; what it printed.
    #[track_caller]
    pub(super) fn kubectl(&self, args: &str) -> String {
        let args: Vec<&str> = std::iter::once("kubectl")
            .chain(args.split_whitespace())
            .collect();
        said(&args, self.exec(&args))
    }

    /// `kubectl get ARGS -o json`.
    #[track_caller]
    pub(super) fn get(&self, args: &str) -> Value {
        serde_json::from_str(&self.kubectl(&format!("get {args} -o json"))).unwrap()
    }

    /// `rootshift ARGS`, inside, with the names of both CAs' roots.
    pub(super) fn rootshift(&self, args: &str) -> Program {
        let lab = home().join("lab");
        Program::new(args.split_whitespace())
            .limit(LIMIT)
            .through([lab.to_str().unwrap(), "exec"])
            .env("LAB_NAME", &self.name)
            .env(
                "CARGO_TARGET_DIR",
                out().parent().unwrap().to_str().unwrap(),
            )
            .arg("--ca")
            .arg(format!(
                "MESHCA={}",
                self.file("pki/meshroot.crt").display()
            ))
    }

    /// `rootshift run ARGS` that may change everything.
    pub(super) fn run(&self, args: &str) -> Program {
        let context = self.context();
        self.rootshift(&format!("run {args} -o jsonl --context {context} --yes"))
    }

    /// `asmcli ARGS` on this lab, which must succeed.
    #[track_caller]
    pub(super) fn asmcli(&self, args: &str) {
        let scratch = tempfile::tempdir().unwrap();
        let (kubeconfig, context) = (self.file("kubeconfig"), self.context());
        let command = format!(
            "echo y | asmcli {args} --kubeconfig {} --context {context} --output_dir {}/out",
            kubeconfig.display(),
            scratch.path().display()
        );
        let args = ["bash", "-c", &command];
        said(&args, self.exec(&args));
    }

    /// Restarts every workload of a namespace that a rollout restarts, all at once, but no istiod.
    #[track_caller]
    pub(super) fn restart(&self, namespace: &str) {
        let kinds = "deployments,statefulsets,daemonsets";
        let objects = self.kubectl(&format!("get {kinds} -n {namespace} -o name"));
        let objects: Vec<&str> = objects.lines().filter(|o| !o.contains("/istiod")).collect();
        self.kubectl(&format!(
            "rollout restart {} -n {namespace}",
            objects.join(" ")
        ));
        for object in objects {
            self.kubectl(&format!(
                "rollout status {object} -n {namespace} --timeout=90s"
            ));
        }
    }

    /// What `LAB_NAME` is for it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The name of the lab's context, which is the mesh's name.
    pub(super) fn context(&self) -> String {
        format!("gke_lab-project_us-central1-a_{}", self.name)
    }

    /// A file of the lab's state.
    pub fn file(&self, name: &str) -> PathBuf {
        out().join("run").join(&self.name).join(name)
    }

    /// What the applications have counted since the mesh was installed.
    #[track_caller]
    pub(super) fn counts(&self) -> Counts {
        Counts(serde_json::from_str(&self.script(&["counts", "--json"])).unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A panic here would hide the one that it comes from.
        if let Ok(output) = self.command(&["down"]).output()
            && !output.status.success()
        {
            say(&format!(
                "lab down: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
}

#[track_caller]
fn said(args: &[&str], output: Output) -> String {
    assert!(
        output.status.success(),
        "{args:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
