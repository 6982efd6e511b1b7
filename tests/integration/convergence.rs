//! Level-triggered: run again, the stock script does nothing; killed anywhere and run again, it ends
//! where it would have ended.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, ServedTwin, rootshift};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: enabled
    workloads: [{name: ledger, kind: StatefulSet, replicas: 1}, {name: audit, kind: DaemonSet}]
gateways:
  - {name: istio-ingressgateway}
";

const STAYING: &str = "
title: a small mesh with pods that stay until somebody deletes them
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads:
      - {name: db, kind: StatefulSet, replicas: 2, update_strategy: OnDelete}
      - {name: web, kind: Deployment, replicas: 2}
";

/// A twin in another process, and a directory with `asmcli` for the commands against it.
pub(crate) struct Mesh {
    pub(crate) twin: ServedTwin,
    pub(crate) bin: tempfile::TempDir,
}

impl Mesh {
    pub(crate) fn start(mesh: &str) -> Self {
        let scenario = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(scenario.path(), mesh).unwrap();
        let twin = ServedTwin::start(scenario.path().to_str().unwrap());
        let bin = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rootshift"), bin.path().join("asmcli"))
            .unwrap();
        Self { twin, bin }
    }

    /// `rootshift run SCRIPT` on it, with `asmcli` at hand.
    pub(crate) fn run(&self, script: &str) -> crate::support::Program {
        self.run_on(script, &self.twin.contexts())
    }

    /// The same on some of its clusters.
    pub(crate) fn run_on(&self, script: &str, contexts: &[String]) -> crate::support::Program {
        let mut flags = String::new();
        for context in contexts {
            write!(flags, " --context {context} --confirm {context}").unwrap();
        }
        rootshift(&format!(
            "run {script} --kubeconfig {}{flags} --ca MESHCA={} --yes -o jsonl",
            self.twin.kubeconfig.display(),
            self.twin.mesh_ca.display(),
        ))
        .env(
            "PATH",
            format!(
                "{}:{}",
                self.bin.path().display(),
                std::env::var("PATH").unwrap()
            ),
        )
    }

    fn command(&self, output_dir: &Path) -> crate::support::Program {
        self.run("citadel-to-meshca").args(&format!(
            "--set watch=0 --set through=retire --set new_root=accept --set fleet_id=twin-project --set backup_dir= \
             --set output_dir={}",
            output_dir.display(),
        ))
    }

    /// What a script that only reads prints.
    pub(crate) fn ask(&self, script: &str) -> Vec<String> {
        let flags = format!(
            "{} --ca MESHCA={}",
            self.twin.flags(),
            self.twin.mesh_ca.display()
        );
        let ran = rootshift(&format!("run ask.rhai {flags}"))
            .file("ask.rhai", script.trim_start())
            .run()
            .code(0);
        ran.stdout.lines().map(str::to_owned).collect()
    }

    pub(crate) fn failed_handshakes(&self) -> u64 {
        let lines = self.ask(
            r#"
//! The prober's figures.
//! mutates: false
fn main(p) { print(cluster::raw("/twin/traffic").failed); }
"#,
        );
        lines[0].parse().unwrap()
    }

    /// What is in the mesh in the end, without what differs from run to run.
    fn state(&self) -> Vec<String> {
        let mut lines = self.ask(
            r#"
//! The mesh in lines.
//! mutates: false
fn main(p) {
    let m = mesh::connect();
    for p in m.proxies() { print(`${p.workload.kind} ${p.workload.namespace}/${p.workload.name} ${p.revision} ${p.signer} ${p.trusts}`); }
    for kind in ["deployment", "service", "mutatingwebhookconfiguration"] {
        for o in cluster::list(kind) { print(`${kind} ${o.metadata.namespace ?? ""}/${o.metadata.name}`); }
    }
    print(`CA secret ${cluster::get("secret", "istio-system", "istio-ca-secret") != ()}`);
    print(`service istiod ${cluster::get("service", "istio-system", "istiod").spec.selector["istio.io/rev"]}`);
}
"#,
        );
        lines.sort();
        lines
    }
}

/// What a run changed.
pub(crate) fn sent(ran: &Ran) -> Vec<String> {
    ran.events()
        .iter()
        .filter(|e| {
            e["event"] == "mutation"
                && e["phase"] == "sent"
                && e["outcome"] != "unchanged"
                && e["outcome"] != "absent"
        })
        .map(|e| e["summary"].to_string())
        .collect()
}

#[test]
fn a_second_run_changes_nothing_and_a_run_killed_after_any_step_is_finished_by_the_next() {
    let mesh = Mesh::start(MESH);
    let work = tempfile::tempdir().unwrap();
    let first = mesh.command(work.path()).run().code(0);
    assert!(!sent(&first).is_empty());
    let steps = first
        .events()
        .iter()
        .filter(|e| e["event"] == "step_finished")
        .count();
    let wanted = mesh.state();

    let second = mesh.command(work.path()).run().code(0);
    assert_eq!(sent(&second), Vec::<String>::new());
    assert_eq!(mesh.state(), wanted);
    assert_eq!(mesh.failed_handshakes(), 0);
    drop(mesh);

    // The same migration, killed after each of its steps, and each time gone on with.
    let mesh = Mesh::start(MESH);
    let mut killed: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let mut running = mesh.command(work.path()).start();
        let mut phase = String::new();
        let last = loop {
            let line = running.line();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let name = event["name"].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("step_started") if event["depth"] == 0 => phase = name,
                Some("step_finished") if killed.insert((phase.clone(), name)) => {
                    running.signal("KILL");
                    break None;
                }
                None | Some("finished") => break Some(event),
                Some(_) => {}
            }
        };
        if let Some(last) = last {
            assert_eq!(last["outcome"], "done", "{last}");
            running.end().code(0);
            break;
        }
        assert!(killed.len() <= 2 * steps, "it gets further each time");
    }
    let killed = killed.len();
    println!("killed {killed} times, of {steps} steps");
    assert!(
        killed * 10 > steps * 8,
        "it was killed after nearly every step"
    );
    assert_eq!(mesh.state(), wanted);
    assert_eq!(mesh.failed_handshakes(), 0);
}

#[test]
fn a_run_stopped_between_two_evictions_is_finished_by_the_next() {
    let mesh = Mesh::start(STAYING);
    let work = tempfile::tempdir().unwrap();
    let command = || mesh.command(work.path()).args("--set through=distribute");
    let mut running = command().start();
    loop {
        let line = running.line();
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["kind"] == "pod" && event["phase"] == "sent" {
            assert_eq!(event["summary"], "pod/db-1 evicted");
            break;
        }
    }
    running.signal("INT");
    let stopped = running.end().code(130);
    assert_eq!(sent(&stopped), Vec::<String>::new(), "nothing more");
    let finished = stopped.finished();
    let evidence = finished["failure"]["evidence"].to_string();
    assert!(
        evidence.contains("failed: statefulset.apps/shop/db"),
        "{finished}"
    );

    let next = command().run().code(0);
    assert_eq!(next.finished()["outcome"], "done");
    assert!(sent(&next).contains(&"\"pod/db-0 evicted\"".to_owned()));
    assert_eq!(mesh.failed_handshakes(), 0);
    let moved = mesh.state();
    let moved = moved
        .iter()
        .filter(|l| l.starts_with("StatefulSet shop/db"));
    assert!(moved.clone().count() == 2 && moved.clone().all(|l| l.contains("distribute-root")));
}

/// A revision may have the name of phase 1's and not do what that is for.
#[test]
fn a_first_revision_that_gives_no_proxy_both_roots_is_not_the_end_of_phase_1() {
    let mesh = Mesh::start(MESH);
    let work = tempfile::tempdir().unwrap();
    let command = || mesh.command(work.path()).args("--set through=distribute");
    command().run().code(0);
    let script = r#"
//! Take the second root away.
//! mutates: true
fn main(p) {
    let name = "istio-asm-1233-2-distribute-root";
    let config = data::parse_yaml(cluster::get("configmap", "istio-system", name).data.mesh);
    config.remove("caCertificates");
    cluster::patch("configmap", "istio-system", name, #{ data: #{ mesh: data::to_yaml(config) } });
    wait_until("the root is gone", || mesh::connect().proxies().all(|proxy| proxy.trusts == ["CITADEL"]));
}
"#;
    rootshift(&format!(
        "run drop.rhai {} --ca MESHCA={} --yes",
        mesh.twin.flags(),
        mesh.twin.mesh_ca.display()
    ))
    .file("drop.rhai", script.trim_start())
    .run()
    .code(0);
    let refused = command().run().code(3);
    let failure = &refused.finished()["failure"];
    assert_eq!(failure["code"], "RS301", "{failure}");
    assert_eq!(sent(&refused), Vec::<String>::new());
}
