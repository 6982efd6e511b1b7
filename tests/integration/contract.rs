//! What the cluster words promise, asked of the twin and of a real API server by one and the same code.
//!
//! A behaviour is a function of a script in `contract/`: `fn NAME(t)` under a doc comment that says what holds.
//! `t` is `#{ ns, image, port }`: a namespace of its own, which is gone afterwards with all that is in it; an image
//! whose container serves HTTP at `port` and writes lines to its log. What is cluster-wide, a behaviour names after
//! `t.ns` and takes away itself, under `ensure`.
//!
//! The real one is the lab's control plane with its node, or the cluster of `$ROOTSHIFT_TEST_KUBECONFIG` (its current
//! context; `$ROOTSHIFT_TEST_IMAGE` and `$ROOTSHIFT_TEST_PORT` for what its nodes can pull).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rootshift::cluster::{Cluster, DeleteOptions, Target};
use rootshift::twin::{Scenario, Twin, TwinOptions};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::lab::Lab;
use crate::support::say;
use crate::words::{on_cluster, runtime};

/// How long one behaviour may take: rollouts of a few pods, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// How many are asked at the same time.
const AT_ONCE: usize = 6;
/// How many there are at least; fewer would mean that files were not found.
const AT_LEAST: usize = 169;

/// One promise.
#[derive(Clone)]
struct Behaviour {
    file: PathBuf,
    name: String,
    code: Arc<str>,
}

/// All functions `NAME(t)` of the scripts.
fn behaviours() -> Vec<Behaviour> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/contract");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rhai"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let code: Arc<str> = std::fs::read_to_string(&file).unwrap().into();
        let mut said = false;
        for line in code.lines() {
            let name = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.split_once("(t)"));
            if let Some((name, _)) = name {
                assert!(said, "{}: `{name}` does not say what holds", file.display());
                found.push(Behaviour {
                    file: file.clone(),
                    name: name.to_owned(),
                    code: Arc::clone(&code),
                });
            }
            said = line.starts_with("///");
        }
    }
    found
}

/// Where behaviours are asked.
struct Ground {
    cluster: Cluster,
    image: String,
    port: u16,
}

impl Ground {
    fn at(runtime: &Runtime, target: &Target, image: &str, port: u16) -> Ground {
        Ground {
            cluster: runtime.block_on(Cluster::connect(target)).unwrap(),
            image: image.to_owned(),
            port,
        }
    }
}

/// Asks for one of them, in a namespace of its own.
fn ask(runtime: &Runtime, ground: &Ground, behaviour: &Behaviour) -> Result<(), String> {
    let ns = format!("ct-{}", behaviour.name.replace('_', "-"));
    let ns = ns[..ns.len().min(50)].trim_end_matches('-');
    let cluster = &ground.cluster;
    let failed = |what: &str, why: &dyn std::fmt::Display| {
        let file = behaviour.file.file_name().unwrap().to_string_lossy();
        format!("{file}, {}: {what}{why}", behaviour.name)
    };
    let namespaces = runtime
        .block_on(cluster.kind("namespaces"))
        .map_err(|e| failed("", &e))?;
    let gone = DeleteOptions {
        ignore_missing: true,
        ..DeleteOptions::default()
    };
    // Of a run that was cut off.
    runtime
        .block_on(cluster.delete(&namespaces, None, ns, &gone))
        .map_err(|e| failed("before it: ", &e))?;
    runtime
        .block_on(cluster.create(&namespaces, None, json!({"metadata": {"name": ns}})))
        .map_err(|e| failed("its namespace: ", &e))?;
    let t = json!({"ns": ns, "image": ground.image, "port": ground.port});
    let literal = format!("data::parse_json({:?})", t.to_string());
    let code = format!("{}\n{}({literal});\n", behaviour.code, behaviour.name);
    let outcome = on_cluster(runtime, cluster, &[], &code, LIMIT);
    let cleared = runtime.block_on(cluster.delete(&namespaces, None, ns, &gone));
    outcome.map_err(|e| failed("", &format_args!("\n{}", e.render(false))))?;
    cleared.map_err(|e| failed("after it: ", &e)).map(|_| ())
}

/// Asks for all of them; what does not hold is told at once, and again at the end. `$ROOTSHIFT_TEST_ONLY`: those whose name has this.
fn ask_all(runtime: &Runtime, ground: &Ground, place: &str) {
    let only = std::env::var("ROOTSHIFT_TEST_ONLY").unwrap_or_default();
    let mut todo: VecDeque<Behaviour> = behaviours().into();
    assert!(todo.len() >= AT_LEAST, "only {} behaviours", todo.len());
    todo.retain(|behaviour| behaviour.name.contains(&only));
    let count = todo.len();
    let (todo, faults) = (Mutex::new(todo), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(next) = todo.lock().unwrap().pop_front() else {
                        break;
                    };
                    if let Err(fault) = ask(runtime, ground, &next) {
                        say(&fault);
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    let held = count - faults.len();
    say(&format!(
        "{held} of {count} behaviours hold on {place} ({:.0} s)",
        begun.elapsed().as_secs_f64()
    ));
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn the_words_keep_their_promises_on_the_twin() {
    let runtime = runtime();
    let twin = runtime
        .block_on(Twin::start(
            Scenario::find("default").unwrap(),
            TwinOptions::default(),
        ))
        .unwrap();
    let target = Target {
        kubeconfig: Some(twin.kubeconfig_path().to_owned()),
        ..Target::default()
    };
    let ground = Ground::at(&runtime, &target, "lab/http", 8080);
    ask_all(&runtime, &ground, "the twin");
    runtime.block_on(twin.stop());
}

#[test]
fn the_words_keep_their_promises_on_a_real_api_server() {
    let runtime = runtime();
    if let Some(kubeconfig) = std::env::var_os("ROOTSHIFT_TEST_KUBECONFIG") {
        let set = |name: &str, or: &str| std::env::var(name).unwrap_or_else(|_| or.to_owned());
        let target = Target {
            kubeconfig: Some(kubeconfig.into()),
            ..Target::default()
        };
        // Kubernetes' own test server.
        let image = set(
            "ROOTSHIFT_TEST_IMAGE",
            "registry.k8s.io/e2e-test-images/agnhost:2.53",
        );
        let port = set("ROOTSHIFT_TEST_PORT", "8080").parse().unwrap();
        let ground = Ground::at(&runtime, &target, &image, port);
        return ask_all(&runtime, &ground, ground.cluster.server());
    }
    // The lab has a network of its own: this very test is run inside of it.
    let Some(lab) = Lab::none() else { return };
    say(lab.script(&["up"]).trim_end());
    let this = std::env::current_exe().unwrap();
    let test = "contract::the_words_keep_their_promises_on_a_real_api_server";
    let output = lab
        .command(&[
            "exec",
            this.to_str().unwrap(),
            "--exact",
            test,
            "--nocapture",
        ])
        .env("ROOTSHIFT_TEST_KUBECONFIG", lab.file("kubeconfig"))
        .env("ROOTSHIFT_TEST_IMAGE", "lab/http")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let count = said
        .lines()
        .find(|line| line.contains("behaviours hold on"));
    say(count.unwrap_or("no behaviour was asked for"));
    assert!(output.status.success() && count.is_some(), "{said}");
}
