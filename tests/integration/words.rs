//! Every word of the language is documented, and every example in that documentation holds on a twin.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rootshift::{
    cluster::{Cluster, Target},
    effect::clock::SystemClock,
    engine::{
        Bridge, Cancel, Diagnostic, Engine, Failure, Limits, Modules, Silent, StepObserver, WordDoc,
    },
    host::{
        HostWords,
        world::{RunPort, World, WorldParts},
    },
    journal::Event,
    pki::{Bundle, NamedCa},
    twin::{Scenario, Twin, TwinOptions},
};
use serde_json::Value;
use tokio::runtime::Runtime;

/// What Rhai calls to make texts of values; not words.
const HOOKS: [&str; 2] = ["to_string", "to_debug"];
/// How long an example may take.
const EXAMPLE: Duration = Duration::from_secs(120);

#[test]
fn every_word_says_what_it_does_takes_and_throws_with_an_example() {
    let mut faults = Vec::new();
    let words = words();
    for word in &words {
        let mut fault = |what: String| faults.push(format!("`{}` {what}", word.signature()));
        if word.doc.is_empty() {
            fault("has no documentation".to_owned());
            continue;
        }
        let summary = word.summary();
        if !summary.starts_with(char::is_uppercase) || summary.len() < 10 {
            fault(format!("does not begin with a sentence: {summary:?}"));
        }
        for (index, param) in word.params.iter().enumerate() {
            // What a module's words are asked of needs no explanation: `mesh` in `mesh::proxies(mesh)`.
            if index == 0 && word.module.as_ref() == Some(&param.name) {
                continue;
            }
            let quoted = format!("`{}`", param.name);
            let explains = |line: &str| {
                line.starts_with("- ")
                    && line
                        .split_once(": ")
                        .is_some_and(|(names, _)| names.contains(&quoted))
            };
            if !word.doc.lines().any(explains) {
                fault(format!("does not explain `{}`", param.name));
            }
        }
        if word.examples().is_empty() {
            fault("has no example".to_owned());
        }
        for example in word.examples() {
            if !example.contains("assert(") {
                fault("has an example that asserts nothing".to_owned());
            }
        }
    }
    assert!(words.len() > 50, "only {} words", words.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn all_modules_are_there_and_no_word_has_a_reserved_name() {
    let mut modules = BTreeMap::<Option<String>, usize>::new();
    for word in words() {
        *modules.entry(word.module.clone()).or_default() += 1;
        let reserved = [
            "module", "package", "thread", "spawn", "sync", "with", "call", "this",
        ];
        assert!(
            !reserved.contains(&word.name.as_str()),
            "`{}` is reserved",
            word.path()
        );
    }
    let names: Vec<String> = modules.into_keys().flatten().collect();
    for wanted in [
        "ask", "cert", "cluster", "data", "fs", "http", "log", "mesh", "shell", "time", "workload",
    ] {
        assert!(
            names.iter().any(|name| name == wanted),
            "no module `{wanted}`"
        );
    }
}

#[test]
fn every_example_holds_on_a_twin() {
    let runtime = runtime();
    let twin = runtime
        .block_on(Twin::start(
            Scenario::find("default").unwrap(),
            TwinOptions::default(),
        ))
        .unwrap();
    let target = Target {
        kubeconfig: Some(twin.kubeconfig_path().to_owned()),
        context: Some(twin.context().to_owned()),
        ..Target::default()
    };
    let cluster = runtime.block_on(Cluster::connect(&target)).unwrap();
    let cas: Vec<NamedCa> = twin
        .named_cas()
        .into_iter()
        .map(|(name, pem)| NamedCa {
            name,
            roots: Bundle::from_pem(&pem).0,
        })
        .collect();
    let mut faults = Vec::new();
    let mut held = 0;
    for word in words() {
        for example in word.examples() {
            match on_cluster(&runtime, &cluster, &cas, &example, EXAMPLE) {
                Ok(_) => held += 1,
                Err(error) => faults.push(format!("{}\n{}", word.signature(), error.render(false))),
            }
        }
    }
    runtime.block_on(twin.stop());
    assert!(faults.is_empty(), "{held} held\n\n{}", faults.join("\n"));
}

/// A runtime whose threads go on while a script's waits.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Runs code whose words act on `cluster`, where every question is answered with yes.
pub fn on_cluster(
    runtime: &Runtime,
    cluster: &Cluster,
    cas: &[NamedCa],
    code: &str,
    limit: Duration,
) -> Result<Value, Diagnostic> {
    let cancel = Cancel::new();
    let world = World::new(WorldParts {
        clusters: vec![cluster.clone()],
        no_cluster: None,
        cas: cas.to_vec(),
        dumps: Arc::default(),
        bridge: Bridge::new(runtime.handle().clone(), cancel.clone()),
        port: Arc::new(Twinlike),
        path_prefix: None,
        clock: Arc::new(SystemClock),
    });
    let observer: Arc<dyn StepObserver> = Arc::new(Silent);
    let limits = Limits {
        wall: Some(limit),
        ..Limits::default()
    };
    let modules = Modules::new(None);
    let engine = Engine::new(&HostWords, world.into(), limits, cancel, &observer, modules);
    let engine = Arc::new(engine.unwrap());
    let program = engine.compile("example", code)?;
    runtime.block_on(engine.run(program, Value::Null))
}

/// All words that are this program's own.
fn words() -> Vec<WordDoc> {
    let engine = Engine::without_world(&HostWords, Modules::new(None)).unwrap();
    let mut words = engine.metadata();
    words.retain(|word| !HOOKS.contains(&word.name.as_str()));
    words
}

/// A run on a twin: every question is answered with yes.
struct Twinlike;

impl RunPort for Twinlike {
    fn emit(&self, _event: Event) {}

    fn confirm(&self, _question: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn confirm_name(&self, _what: &str, _name: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn waived(&self, _code: &str, _evidence: &[String]) -> Option<String> {
        None
    }

    fn output(&self, _text: &str) {}

    fn interactive(&self) -> bool {
        false
    }
}
