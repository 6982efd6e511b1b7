//! `ensure … always`, `step`, cancellation and deadlines.

use super::{Setup, run};
use crate::engine::{FailureKind, Limits};
use serde_json::json;
use std::time::{Duration, Instant};

const ALWAYS: &str = r#" always { note("cleaning"); request("cleanup", 20); note("clean"); }"#;

/// What `block`, in a function in a loop, leaves in the log.
fn ensure(block: &str) -> super::Ended {
    run(&format!(
        r#"
        fn work() {{
            for n in 0..3 {{
                ensure {{ note(`n ${{n}}`); {block}; note("through"); }}{ALWAYS}
                note("after");
                return "end";
            }}
            "broke"
        }}
        fn main() {{ work() }}
        "#
    ))
}

const CLEANED: [&str; 3] = ["cleaning", "called cleanup", "clean"];

#[test]
fn cleanup_runs_when_nothing_happens() {
    let ended = ensure("");
    assert_eq!(ended.value(), "end");
    assert_eq!(
        ended.log,
        [&["n 0", "through"][..], &CLEANED, &["after"]].concat()
    );
}

#[test]
fn cleanup_runs_after_a_throw_which_goes_on() {
    let ended = ensure(r#"throw "broken""#);
    assert_eq!(ended.failure().message, "broken");
    assert_eq!(ended.log, [&["n 0"][..], &CLEANED].concat());
}

#[test]
fn cleanup_runs_after_return_break_and_continue() {
    let ended = ensure(r#"return "early""#);
    assert_eq!(ended.value(), "early");
    assert_eq!(ended.log, [&["n 0"][..], &CLEANED].concat());
    let ended = ensure("break");
    assert_eq!(ended.value(), "broke");
    assert_eq!(ended.log, [&["n 0"][..], &CLEANED].concat());
    let ended = ensure("if n < 1 { continue }");
    assert_eq!(ended.value(), "end");
    assert_eq!(
        ended.log,
        [
            &["n 0"][..],
            &CLEANED,
            &["n 1", "through"],
            &CLEANED,
            &["after"]
        ]
        .concat()
    );
}

#[test]
fn cleanup_still_calls_the_cluster_after_a_cancel() {
    for stop in ["cancel_now()", "ask_to_stop()"] {
        let ended = ensure(stop);
        assert_eq!(ended.failure().kind, FailureKind::Interrupted);
        assert_eq!(ended.failure().message, "interrupted by a request to stop");
        assert_eq!(ended.log, [&["n 0"][..], &CLEANED].concat(), "{stop}");
    }
}

#[test]
fn cleanup_still_calls_the_cluster_when_a_call_was_interrupted() {
    let begun = Instant::now();
    let ended = Setup {
        cancel_after: Some(Duration::from_millis(500)),
        ..Setup::default()
    }
    .run(&format!(r#"ensure {{ request("long", 60000) }} {ALWAYS}"#));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(ended.failure().kind, FailureKind::Interrupted);
    assert_eq!(ended.log, CLEANED);
}

#[test]
fn cleanup_is_bounded_by_its_grace_in_calls_and_in_loops() {
    for endless in [
        r#"request("endless", 60000)"#,
        "loop { }",
        "loop { try { request(\"x\", 5000) } catch { } }",
    ] {
        let begun = Instant::now();
        let ended = run(&format!(
            "ensure {{ cancel_now(); 1 }} always {{ {endless} }}"
        ));
        assert!(begun.elapsed() < Duration::from_secs(5), "{endless}");
        let failure = ended.failure();
        assert_eq!(failure.kind, FailureKind::Interrupted);
        assert_eq!(failure.message, "interrupted by a request to stop");
        assert_eq!(
            failure.evidence,
            [
                "the cleanup failed too: the cleanup was stopped: it went on for more than 400ms after a request to stop"
            ]
        );
    }
}

#[test]
fn a_mask_ends_with_its_block_and_nests() {
    let ended = run(r#"
        ensure { cancel_now() } always {
            ensure { note("inner") } always { note("innermost") }
            request("still masked", 1);
        }
        note("not reached");
    "#);
    assert_eq!(ended.log, ["inner", "innermost", "called still masked"]);
    assert_eq!(ended.failure().kind, FailureKind::Interrupted);
}

#[test]
fn a_failure_cannot_be_hidden_by_its_cleanup() {
    let ended = run(r#"fn f() { ensure { throw "first" } always { return 1 } } fn main() { f() }"#);
    assert_eq!(ended.failure().message, "first");
    let ended = run(r#"ensure { throw "first" } always { throw "second" }"#);
    assert_eq!(ended.failure().message, "first");
    assert_eq!(ended.failure().evidence, ["the cleanup failed too: second"]);
    let ended = run(r#"ensure { 1 } always { throw "second" }"#);
    assert_eq!(ended.failure().message, "second");
}

#[test]
fn ensure_gives_its_blocks_value_and_sees_the_variables_around_it() {
    let ended = run("let n = 1; let v = ensure { n += 1; n * 10 } always { n += 1; 99 }; [n, v]");
    assert_eq!(ended.value(), &json!([3, 20]));
}

#[test]
fn steps_nest_give_values_and_are_seen_from_begin_to_end() {
    let ended = run(r#"
        fn move_one(ns) { step `move ${ns}` { if ns == "b" { return "skipped" } ns.len() } }
        fn main(p) {
            let total = step "all" { let out = []; for ns in ["aa", "b"] { out.push(move_one(ns)); } out };
            [total, p.n]
        }
    "#);
    assert_eq!(ended.value(), &json!([[2, "skipped"], 7]));
    assert_eq!(
        ended.log,
        [
            "begin all",
            "begin move aa",
            "end move aa",
            "begin move b",
            "end move b",
            "end all"
        ]
    );
}

#[test]
fn a_step_that_fails_says_so_and_its_failure_goes_on() {
    let ended = run(r#"step "outer" { step "inner" { refuse() } }"#);
    assert_eq!(
        ended.log,
        [
            "begin outer",
            "begin inner",
            "end inner: 2 proxies lack a root",
            "end outer: 2 proxies lack a root"
        ]
    );
    assert_eq!(ended.failure().code.as_deref(), Some("roots-missing"));
}

#[test]
fn whoever_watches_steps_can_refuse_one_before_and_after() {
    let ended = run(r#"step "refuse window" { note("not reached") }"#);
    assert_eq!(ended.log, ["begin refuse window"]);
    assert_eq!(ended.failure().code.as_deref(), Some("window"));
    let ended = run(r#"step "unsafe" { note("done") } note("not reached");"#);
    assert_eq!(ended.log, ["begin unsafe", "done", "end unsafe"]);
    assert_eq!(ended.failure().code.as_deref(), Some("traffic"));
    assert_eq!(ended.error().place().as_deref(), Some("test.rhai:1:6"));
}

#[test]
fn a_request_lets_the_call_in_flight_finish_and_a_stop_does_not() {
    // Asked for from another thread while the call is in flight.
    let cancel = crate::engine::Cancel::new();
    let asker = cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        asker.ask();
    });
    let ended = Setup {
        cancel,
        ..Setup::default()
    }
    .run(r#"request("finishes", 1500); note("not reached")"#);
    thread.join().unwrap();
    assert_eq!(ended.log, ["called finishes"]);
    assert_eq!(ended.failure().kind, FailureKind::Interrupted);
}

#[test]
fn an_interruption_cannot_be_caught() {
    let ended = run(r#"loop { try { cancel_now(); } catch (e) { note("caught"); } }"#);
    assert_eq!(ended.failure().kind, FailureKind::Interrupted);
    assert!(ended.log.is_empty());
}

#[test]
fn the_deadline_ends_loops_and_calls() {
    for endless in ["loop { }", r#"request("endless", 60000)"#] {
        let begun = Instant::now();
        let ended = Setup {
            limits: Limits {
                wall: Some(Duration::from_millis(200)),
                ..Limits::default()
            },
            ..Setup::default()
        }
        .run(endless);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(
            ended.failure().message,
            "interrupted by the deadline of 200ms"
        );
    }
}

#[test]
fn endless_recursion_is_an_error_and_not_a_crash() {
    for text in [
        "fn f(n) { f(n + 1) } fn main() { f(0) }",
        "fn f(n) { for x in [1] { try { let g = || f(n + 1); g.call(); } catch (e) { throw; } } } fn main() { f(0) }",
        "fn f(n) { step `s ${n}` { ensure { f(n + 1) } always { 1 } } } fn main() { f(0) }",
    ] {
        let ended = run(text);
        assert_eq!(
            ended.failure().message,
            "calls are nested too deeply",
            "{text}"
        );
    }
}

#[test]
fn a_panic_in_a_word_is_a_bug_and_not_a_crash() {
    let ended = run("panics()");
    assert_eq!(ended.failure().kind, FailureKind::Bug);
    assert_eq!(ended.failure().message, "panic: on purpose");
}
