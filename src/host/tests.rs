//! The words that need no cluster: their documentation, their examples, their behaviour under
//! failure and interruption. Those that need one are tested on the twin.

use super::HostWords;
use super::world::{RunPort, World, WorldParts};
use crate::effect::clock::SystemClock;
use crate::engine::{
    Bridge, Cancel, Diagnostic, Engine, Failure, FailureKind, Limits, Modules, Silent, StepObserver,
};
use crate::journal::{ChildEvent, Event};
use rhai::Dynamic;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Port {
    events: Mutex<Vec<Event>>,
}

impl RunPort for Port {
    fn emit(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn confirm(&self, _question: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn confirm_name(&self, _what: &str, _name: &str) -> Result<bool, Failure> {
        Ok(true)
    }

    fn waived(&self, _code: &str, _evidence: &[String]) -> Option<String> {
        None
    }

    fn output(&self, text: &str) {
        self.emit(Event::Output {
            text: text.to_owned(),
        });
    }

    fn interactive(&self) -> bool {
        false
    }
}

#[derive(Default)]
pub(super) struct Setup {
    cancel: Cancel,
    cancel_after: Option<Duration>,
    ask_after: Option<Duration>,
    path_prefix: Option<PathBuf>,
}

impl Setup {
    pub(super) fn run(self, text: &str) -> (Result<Value, Diagnostic>, Vec<Event>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let port = Arc::new(Port::default());
        let world = World::new(WorldParts {
            clusters: Vec::new(),
            no_cluster: None,
            cas: Vec::new(),
            dumps: Arc::default(),
            bridge: Bridge::new(runtime.handle().clone(), self.cancel.clone()),
            port: port.clone(),
            path_prefix: self.path_prefix,
            clock: Arc::new(SystemClock),
        });
        let observer: Arc<dyn StepObserver> = Arc::new(Silent);
        let engine = Engine::new(
            &HostWords,
            Dynamic::from(world),
            Limits::default(),
            self.cancel.clone(),
            &observer,
            Modules::new(None),
        );
        let engine = Arc::new(engine.unwrap());
        let result = runtime.block_on(async {
            let cancel = self.cancel.clone();
            if let Some(after) = self.cancel_after {
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    cancel.cancel();
                });
            } else if let Some(after) = self.ask_after {
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    cancel.ask();
                });
            }
            match engine.compile("test.rhai", text) {
                Ok(program) => engine.run(program, Value::Null).await,
                Err(error) => Err(error),
            }
        });
        let events = port.events.lock().unwrap().clone();
        (result, events)
    }
}

pub(super) fn run(text: &str) -> Result<Value, Failure> {
    Setup::default().run(text).0.map_err(|error| error.failure)
}

pub(super) fn messages(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event {
            Event::Note { level, text } => format!("{level:?}: {text}"),
            Event::Output { text } => text.clone(),
            Event::Process { process, what } => match what {
                ChildEvent::Started { argv } => format!("{process} started {}", argv.join(" ")),
                ChildEvent::Line { stream, text } => format!("{process} {stream}: {text}"),
                ChildEvent::Ended { code, .. } => format!("{process} ended {code}"),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn examples_of_words_that_need_no_cluster_hold() {
    let observer: Arc<dyn StepObserver> = Arc::new(Silent);
    let engine = Engine::new(
        &HostWords,
        Dynamic::UNIT,
        Limits::default(),
        Cancel::new(),
        &observer,
        Modules::new(None),
    );
    let mut seen = 0;
    for word in engine.unwrap().metadata() {
        let here = ["ask", "cert", "data", "fs", "http", "log", "shell", "time"];
        let is_here = match &word.module {
            Some(module) => here.contains(&module.as_str()),
            None => !word.doc.is_empty() && !word.doc.contains("cluster::"),
        };
        if !is_here {
            continue;
        }
        seen += 1;
        let examples = word.examples();
        assert!(
            !examples.is_empty(),
            "`{}` has no example",
            word.signature()
        );
        for example in examples {
            assert!(
                example.contains("assert("),
                "`{}` asserts nothing",
                word.signature()
            );
            if example.contains("mesh::") {
                continue;
            }
            if let (Err(error), _) = Setup::default().run(&example) {
                panic!(
                    "the example of `{}`:\n{}",
                    word.signature(),
                    error.render(false)
                );
            }
        }
    }
    assert!(seen > 20, "only {seen} words");
}

#[test]
fn what_a_script_says_is_told_to_the_run() {
    let (result, events) = Setup::default()
        .run("print(`two ${1 + 1}`); log::info(\"a\"); log::warn(\"b\"); debug(\"c\");");
    result.unwrap();
    assert_eq!(
        messages(&events),
        ["two 2", "Info: a", "Warn: b", "Info: test.rhai:1:56: \"c\""]
    );
}

#[test]
fn a_programs_lines_are_told_as_they_come() {
    let (result, events) =
        Setup::default().run("shell::run([\"sh\", \"-c\", \"echo one; echo two >&2; exit 4\"])");
    assert_eq!(
        result.unwrap(),
        json!({"code": 4, "stdout": "one\n", "stderr": "two\n"})
    );
    let mut told = messages(&events);
    told[1..3].sort();
    assert_eq!(
        told,
        [
            "1 started sh -c echo one; echo two >&2; exit 4",
            "1 stderr: two",
            "1 stdout: one",
            "1 ended 4"
        ]
    );
}

#[test]
fn a_program_that_cannot_be_started_is_the_machines_fault() {
    let failure = run("shell::run([\"no-such-program\", \"-x\"])").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Environment);
    assert_eq!(
        failure.message,
        "`no-such-program`: cannot start: no such file or directory"
    );
    assert_eq!(
        failure.hint.as_deref(),
        Some("is `no-such-program` installed, and on the PATH?")
    );
    assert_eq!(run("shell::run([])").unwrap_err().kind, FailureKind::Script);
}

#[test]
fn the_folder_of_the_world_is_first_on_the_path_of_programs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("asmcli");
    std::fs::write(&path, "#!/bin/sh\necho stand-in; command -v asmcli\n").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let setup = Setup {
        path_prefix: Some(dir.path().to_owned()),
        ..Setup::default()
    };
    let (result, _) = setup.run("shell::run([\"asmcli\", \"--help\"]).stdout");
    assert_eq!(
        result.unwrap(),
        json!(format!("stand-in\n{}\n", path.display()))
    );
}

#[test]
fn a_program_is_killed_when_the_run_is_stopped_and_when_its_time_is_up() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let begun = Instant::now();
    let setup = Setup {
        cancel_after: Some(Duration::from_secs(1)),
        ..Setup::default()
    };
    let command = format!("echo $$ > {}; exec sleep 60", pid_file.display());
    let (result, _) = setup.run(&format!("shell::run([\"sh\", \"-c\", `{command}`])"));
    assert_eq!(result.unwrap_err().failure.kind, FailureKind::Interrupted);
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    while !gone() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
    let failure = run("shell::run([\"sleep\", \"60\"], #{ timeout: 0.2 })").unwrap_err();
    assert_eq!(
        failure.message,
        "`sleep`: killed after 0.2s, its time limit"
    );
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn pauses_end_when_somebody_asks_to_stop() {
    for text in [
        "sleep(60)",
        "sleep(60.5)",
        "time::sleep(60)",
        "loop { try { sleep(60) } catch { } }",
        "wait_until(\"never\", || false)",
        "retry(#{ wait: 60 }, || throw \"no\")",
        "parallel_map([1, 2, 3], |n| sleep(60))",
    ] {
        let begun = Instant::now();
        let setup = Setup {
            ask_after: Some(Duration::from_millis(500)),
            ..Setup::default()
        };
        let (result, _) = setup.run(text);
        let failure = result.expect_err(text).failure;
        assert_eq!(
            failure.message, "interrupted by a request to stop",
            "{text}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{text}");
    }
}

#[test]
fn many_at_once_take_the_time_of_one_and_keep_their_order() {
    let begun = Instant::now();
    let values = run(
        "let offset = 10; parallel_map([1,2,3,4,5,6,7,8], |n| { time::sleep(0.2); offset += n; offset })",
    );
    // Each worker has a copy of `offset` that only its own values change.
    let first = values.unwrap();
    assert_eq!(first.as_array().unwrap().len(), 8);
    assert!(first[0].as_i64().unwrap() >= 11);
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    let nested = run("parallel_map([1, 2], |a| parallel_map([10, 20], |b| a * b))");
    assert_eq!(nested.unwrap(), json!([[10, 20], [20, 40]]));
}

#[test]
fn a_handle_that_many_workers_wait_on_is_not_a_lock() {
    let text = "let dir = fs::temp_dir(); parallel_map([1,2,3,4,5,6,7,8], |n| { time::sleep(0.12); dir.len() > 0 }).len()";
    assert_eq!(run(text).unwrap(), json!(8));
}

#[test]
fn the_first_failure_of_many_stops_the_rest_and_names_the_others() {
    let begun = Instant::now();
    let failure = run(
        "parallel_map([1, 2, 3, 4], #{ workers: 2 }, |n| { sleep(if n == 1 { 0.2 } else { 30.0 }); throw \"broken\" })",
    )
    .unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(failure.message, "broken");
    assert_eq!(
        failure.evidence,
        [
            "in line 1 of test.rhai",
            "`2` too: interrupted by the failure of another worker",
            "2 of 4 were not begun"
        ]
    );
    let all =
        run("parallel_map([1, 2], #{ collect: true }, |n| { if n == 1 { throw \"broken\" } n })");
    let all = all.unwrap();
    assert_eq!(all[0]["error"]["message"], "broken");
    assert_eq!(all[1], json!({"item": 2, "ok": true, "value": 2}));
}

#[test]
fn many_at_once_inside_a_cleanup_are_masked_as_it_is() {
    let cancel = Cancel::with_grace(Duration::from_secs(10));
    let stopper = cancel.clone();
    let setup = Setup {
        cancel,
        cancel_after: Some(Duration::from_millis(700)),
        ..Setup::default()
    };
    let (result, events) = setup.run(
        "ensure { sleep(60) } always { print(parallel_map([1, 2], |n| { time::sleep(0.05); n })) }",
    );
    assert_eq!(result.unwrap_err().failure.kind, FailureKind::Interrupted);
    assert!(stopper.is_cancelled());
    assert_eq!(messages(&events), ["[1, 2]"]);
}

#[test]
fn only_what_may_go_away_is_tried_again() {
    for (text, tries) in [
        ("throw \"no\"", 3),
        ("throw #{ kind: \"cluster\", message: \"no\" }", 3),
        ("throw #{ kind: \"refused\", message: \"no\" }", 1),
        (
            "throw #{ kind: \"refused\", message: \"no\", retryable: true }",
            3,
        ),
        ("n.no_such_word()", 1),
    ] {
        let script = format!(
            "let n = 0; try {{ retry(#{{ wait: 0 }}, || {{ n += 1; {text} }}) }} catch {{ }} n"
        );
        assert_eq!(run(&script).unwrap(), json!(tries), "{text}");
    }
}

#[test]
fn waiting_in_vain_says_for_what() {
    let failure = run("wait_until(\"pods of `shop`\", #{ timeout: 0.1, every: 0.02 }, || ())");
    let failure = failure.unwrap_err();
    assert_eq!(failure.message, "waited 0.1 s in vain for pods of `shop`");
    assert!(failure.retryable);
}

#[test]
fn options_that_do_not_exist_are_refused() {
    let failure = run("shell::run([\"true\"], #{ timeot: 1 })").unwrap_err();
    assert_eq!(failure.message, "`shell::run` has no option `timeot`");
    assert_eq!(failure.hint.as_deref(), Some("did you mean `timeout`?"));
}

#[test]
fn certificates_in_scripts_are_judged_by_signature() {
    use crate::pki::SpiffeId;
    use crate::pki::mint::{Authority, CaSpec, LeafSpec};
    use secrecy::ExposeSecret;

    let now = jiff::Timestamp::now();
    let ca = || Authority::self_signed(&CaSpec::istio("cluster.local", now)).unwrap();
    let (old, new) = (ca(), ca());
    let id = SpiffeId::new("cluster.local", "shop", "front");
    let (leaf, key) = new.issue(&LeafSpec::workload(&id, now)).unwrap();
    let script = format!(
        "let leaf = `{}`; let old = `{}`; let fresh = `{}`; let key = `{}`;",
        leaf.pem(),
        old.cert().pem(),
        new.cert().pem(),
        key.pem().expose_secret(),
    );
    let body = r#"
        assert(cert::accepts([old, fresh], leaf).ok, "one of the two");
        assert(cert::accepts(fresh, [leaf, old, fresh]).path.len == 2, "leaf and root");
        let answer = cert::accepts(old, leaf);
        assert(!answer.ok && answer.reason.contains("was not signed by that CA's key"), answer.reason);
        let signer = cert::signer([leaf, old, fresh], #{ OLD: old, NEW: fresh });
        assert(signer.ca == "NEW" && signer.verdict == "by", signer.reason);
        assert(cert::signer([leaf, fresh], #{ OLD: old }).verdict == "foreign", "another root of that name");
        assert(cert::signer(leaf, #{ OLD: old }).verdict == "broken", "the name, not the key");
        let trust = cert::trusts(old + fresh, fresh);
        assert(trust.trusted && trust.verdict == "yes", trust.reason);
        assert(cert::trusts(old, fresh).verdict == "no", "the name is not the CA");
        assert(cert::key_matches(key, leaf) && !cert::key_matches(key, fresh), "the leaf's key");
        assert(cert::parse(leaf).spiffe_id == "spiffe://cluster.local/ns/shop/sa/front", "its name");
        let seconds = cert::expires_in(leaf);
        assert(seconds > 86000.0 && seconds < 86401.0, `${seconds}`);
        assert(cert::same(old + fresh, cert::bundle([fresh, old])), "sets");
    "#;
    run(&(script + body)).unwrap();

    let error = |text: &str| run(text).unwrap_err();
    let failure = error("cert::parse([cert::mesh_ca_root(), cert::mesh_ca_root().pem])");
    assert_eq!(
        failure.message,
        "`cert::parse` takes one certificate, not 2"
    );
    let failure = error("cert::bundle([1])");
    assert_eq!(
        failure.message,
        "`cert::bundle` takes certificates, not i64"
    );
    let failure = error("cert::same(cert::mesh_ca_root(), \"nothing\")");
    assert_eq!(
        failure.message,
        "`cert::same`: PEM block 1: the text has no PEM block"
    );
    assert!(failure.hint.unwrap().contains("`cert::read`"));
}

#[test]
fn recursion_through_workers_ends_in_an_error_and_not_in_a_crash() {
    let failure =
        run("fn f(n) { parallel_map([n], |x| f(x + 1)) } fn main() { f(0) }").unwrap_err();
    assert_eq!(failure.message, "calls are nested too deeply");
    let failure = run("fn f(n) { for x in [1] { try { let g = || f(n + 1); g.call() } catch (e) { throw } } } fn main() { parallel_map([1], |x| f(x)) }").unwrap_err();
    assert_eq!(failure.message, "calls are nested too deeply");
}

#[test]
fn every_script_and_module_that_comes_with_the_program_knows_only_words_that_exist() {
    let engine = Engine::without_world(&HostWords, Modules::new(None)).unwrap();
    let mut texts = Vec::new();
    for module in Modules::new(None).embedded() {
        texts.push((module.clone(), format!("import {module:?} as m;")));
    }
    for dir in ["scripts", "stdlib"] {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path
                    .extension()
                    .is_some_and(|extension| extension == "rhai")
                {
                    let text = std::fs::read_to_string(&path).unwrap();
                    texts.push((path.display().to_string(), text));
                }
            }
        }
    }
    for (name, text) in texts {
        if let Err(error) = engine.compile(&name, &text) {
            panic!("{}", error.render(false));
        }
    }
}
