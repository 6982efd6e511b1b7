//! What survives from line to line, and what a prompt shows.

use super::{Bench, TestWords};
use crate::engine::{Bridge, Cancel, Engine, FailureKind, Limits, Modules, Session, StepObserver};
use rhai::Dynamic;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

struct Prompt {
    session: Session,
    runtime: Runtime,
}

impl Prompt {
    fn new(modules: Modules) -> Prompt {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let cancel = Cancel::with_grace(Duration::from_millis(400));
        let bench = Bench {
            bridge: Bridge::new(runtime.handle().clone(), cancel.clone()),
            log: Arc::default(),
        };
        let observer: Arc<dyn StepObserver> = Arc::new(bench.clone());
        let engine = Engine::new(
            &TestWords,
            Dynamic::from(bench),
            Limits::default(),
            cancel,
            &observer,
            modules,
        );
        Prompt {
            session: Session::new(Arc::new(engine.unwrap())),
            runtime,
        }
    }

    fn try_line(&self, line: &str) -> Result<Option<String>, String> {
        match self.runtime.block_on(self.session.eval(line)) {
            Ok(shown) => Ok(shown.text),
            Err(error) => Err(error.render(false)),
        }
    }

    fn line(&self, line: &str) -> String {
        match self.try_line(line) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => panic!("{line}\n{error}"),
        }
    }
}

fn prompt() -> Prompt {
    Prompt::new(Modules::new(None))
}

#[test]
fn everything_that_is_named_survives() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("lib.rhai"),
        "note(\"loaded\"); fn twice(x) { x * 2 } export const SEVEN = 7;",
    )
    .unwrap();
    let prompt = Prompt::new(Modules::new(Some(dir.path().to_owned())));
    assert_eq!(prompt.line("let a = 20; const K = a + 1;"), "");
    assert_eq!(prompt.line("import \"lib\";"), "");
    assert_eq!(prompt.line("import \"lib\" as lib;"), "");
    assert_eq!(
        prompt.line("fn add(x) { lib::twice(x) + global::K + lib::SEVEN }"),
        ""
    );
    assert_eq!(prompt.line("a += 1; add(a)"), "70");
    assert_eq!(prompt.line("let f = |x| x + a; f.call(1)"), "22");
    assert_eq!(prompt.line("a = 100; f.call(1)"), "101");
    assert_eq!(prompt.line("fn outer(x) { add(x) * 10 } outer(1)"), "300");
    assert_eq!(prompt.line("fn add(x) { x } outer(1)"), "10");
    assert_eq!(prompt.line("K"), "21");
    assert_eq!(prompt.line("let a = \"again\"; a"), "\"again\"");
    assert_eq!(
        prompt.session.names(),
        ["K", "a", "add", "f", "lib", "outer"]
    );
}

#[test]
fn a_failure_keeps_the_session() {
    let prompt = prompt();
    prompt.line(
        "let a = 1; fn f() { a_typo_free_word() } fn a_typo_free_word() { throw \"inside\" }",
    );
    assert_eq!(
        prompt.try_line("a = 2;\n  f()").unwrap_err(),
        "\
error: inside
 --> session:1:64
  |
1 | let a = 1; fn f() { a_typo_free_word() } fn a_typo_free_word() { throw \"inside\" }
  |                                                                  ^^^^^
  called from session:1:21: let a = 1; fn f() { a_typo_free_word() } fn a_typo_free_word() { throw \"inside\" }
  called from session:3:3: f()
"
        .replace(":64", ":66")
    );
    assert_eq!(prompt.line("a"), "2");
    assert!(
        prompt
            .try_line("let b = ;")
            .unwrap_err()
            .contains("session:5:9")
    );
    assert_eq!(
        prompt.try_line("aa + 1").unwrap_err(),
        "\
error: there is no variable `aa`
 --> session:6:1
  |
6 | aa + 1
  | ^^
hint: did you mean `a`?
"
    );
    assert!(
        prompt
            .try_line("cluster::lable(a)")
            .unwrap_err()
            .contains("did you mean `cluster::label`?")
    );
    assert_eq!(prompt.line("a + 1"), "3");
}

#[test]
fn an_interruption_ends_the_line_and_keeps_the_session() {
    let prompt = prompt();
    prompt.line("let a = 1;");
    let cancel = prompt.session.engine().cancel().clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        cancel.cancel();
    });
    let error = prompt
        .runtime
        .block_on(
            prompt
                .session
                .eval("a = 2; loop { try { request(\"x\", 60000) } catch { } }"),
        )
        .unwrap_err();
    stopper.join().unwrap();
    assert_eq!(error.failure.kind, FailureKind::Interrupted);
    assert_eq!(prompt.line("request(\"y\", 1); a"), "2");
}

#[test]
fn the_beginning_of_something_is_recognised() {
    let prompt = prompt();
    prompt.line("let a = 1;");
    for input in [
        "fn f(x) {",
        "let b = [1,",
        "let b = [1",
        "let m = #{ a: 1,",
        "step \"x\" {",
        "step \"x\" {\n  a += 1;",
        "ensure { 1 }",
        "a +",
        "f(1,",
        "print(`two",
        "if a == 1 {",
        "try { a }",
        "[1, 2].map(|x| {",
    ] {
        assert!(prompt.session.is_incomplete(input), "{input}");
    }
    for input in [
        "let b = 1;",
        "a",
        "a)",
        "let = 1",
        "\"open",
        "unknown_name",
        "if a == 1 { 2 }",
        "",
    ] {
        assert!(!prompt.session.is_incomplete(input), "{input}");
    }
}

#[test]
fn values_are_shown_readably() {
    let prompt = prompt();
    assert_eq!(prompt.try_line("()").unwrap(), None);
    assert_eq!(prompt.try_line("let x = 1;").unwrap(), None);
    assert_eq!(prompt.line("\"a\""), "\"a\"");
    assert_eq!(
        prompt.line("#{ a: [1, ()], \"b c\": 'x' }"),
        "#{ a: [1, ()], \"b c\": 'x' }"
    );
    assert_eq!(
        prompt.line("pod(`{\"kind\":\"Pod\",\"spec\":{\"count\":2}}`)"),
        "kind: Pod\nspec:\n  count: 2"
    );
    assert_eq!(prompt.line("|x| x").split('$').next(), Some("Fn(anon"));
}
