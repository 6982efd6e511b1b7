//! Words that do not exist are found before anything runs.

use super::{Setup, TestWords, run};
use crate::engine::{Engine, Modules};

#[test]
fn an_unknown_word_at_the_end_is_found_before_the_beginning_runs() {
    for (text, message, hint) in [
        (
            "if false { cluster::lable(\"a\") }",
            "there is no word `cluster::lable`",
            Some("did you mean `cluster::label`?"),
        ),
        (
            "fn never() { let x = 1; reqest(\"x\", 1) }",
            "there is no word `reqest`",
            Some("did you mean `request`?"),
        ),
        (
            "fn f(a, b) { 1 } if false { f(1) }",
            "`f` does not take 1 argument",
            Some("`f` takes 2 arguments"),
        ),
        (
            "step \"x\" { if false { zzzzz() } }",
            "there is no word `zzzzz`",
            None,
        ),
        (
            "let f = |x| { missing(x) };",
            "there is no word `missing`",
            None,
        ),
        (
            "let l = [1, `${missing(1)}`];",
            "there is no word `missing`",
            None,
        ),
        (
            "if false { cluster::label(1, 2, 3) }",
            "`cluster::label` does not take 3 arguments",
            Some("`cluster::label` takes (kind: string)"),
        ),
    ] {
        let ended = run(&format!("note(\"began\"); {text}"));
        let failure = ended.failure();
        assert_eq!(
            (failure.message.as_str(), failure.hint.as_deref()),
            (message, hint),
            "{text}"
        );
        assert!(ended.log.is_empty(), "{text}");
        assert!(ended.error().place().is_some());
    }
}

#[test]
fn what_may_be_right_is_not_reported() {
    for text in [
        "fn f() { 1 } fn g() { f() + global::X } const X = 1; g()",
        "let o = #{ go_on: |x| x + 1 }; o.go_on(1)",
        "let f = |x| x + 1; f.call(1); call(f, 1)",
        "let s = \"a\"; s.len(); s.to_upper(); [1, 2].map(|x| x * 2).filter(|x| x > 2); range(0, 3); 1",
        "print(type_of(1)); is_def_fn(\"f\", 0)",
        "fn len2(s) { s.len() } \"abc\".len() + len2(\"a\")",
        "if 1 + 1 == 2 && !(3 in [1, 2]) { exit(1) }",
        "let a = [1]; a += 2; a[0] -= 1; a.push(-a[0]); a.len()",
        "switch 1 { 1 => min(1, 2), _ => max(1, 2) }",
    ] {
        if let Err(error) = run(text).result {
            panic!("{text}\n{}", error.render(false));
        }
    }
}

#[test]
fn functions_of_imported_modules_are_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("gates.rhai"),
        "fn every(mesh, names) { inner(mesh) } private fn inner(m) { m }",
    )
    .unwrap();
    std::fs::write(dir.path().join("broken.rhai"), "fn f() {\n  clsuter_x()\n}").unwrap();
    let run = |text: &str| {
        Setup {
            modules: Modules::new(Some(dir.path().to_owned())),
            ..Setup::default()
        }
        .run(text)
    };
    let ended = run("import \"gates\" as gates; gates::every(1, 2)");
    assert_eq!(ended.value(), 1);
    for (text, message, hint) in [
        (
            "gates::evry(1, 2)",
            "there is no function `gates::evry`",
            Some("did you mean `gates::every`?"),
        ),
        (
            "gates::inner(1)",
            "there is no function `gates::inner`",
            None,
        ),
        (
            "gates::every(1)",
            "`gates::every` does not take 1 argument",
            Some("`gates::every` takes 2 arguments"),
        ),
    ] {
        let ended = run(&format!("import \"gates\" as gates; if false {{ {text} }}"));
        let failure = ended.failure();
        assert_eq!(
            (failure.message.as_str(), failure.hint.as_deref()),
            (message, hint),
            "{text}"
        );
    }
    let ended = run("import \"broken\" as b; b::f()");
    assert_eq!(ended.failure().message, "there is no word `clsuter_x`");
    assert!(ended.error().place().unwrap().ends_with("broken.rhai:2:3"));
}

#[test]
fn a_parameter_that_is_not_declared_is_found_before_main_runs() {
    let engine = Engine::without_world(&TestWords, Modules::new(None)).unwrap();
    let check = |text: &str| {
        let program = engine.compile("test.rhai", text).unwrap();
        engine.check_params(&program, &["namespaces", "revision_1"])
    };
    for text in [
        "fn main(p) { p.namespaces.len() + p.revision_1[0] }",
        "fn main() { 1 }",
        "fn other(p) { p.anything } fn main(params) { let p = #{}; other(p) + p.what + params.revision_1 }",
        "fn main(p) { for p in [#{ pod: 1 }] { p.pod } p.revision_1 }",
        "fn main(p) { let all = p.revision_1; let p = #{ pod: 1 }; p.pod }",
        "fn main(p) { p.keys(); p[\"x\"]; p?.namespaces }",
        "fn main(p) { p.namespaces.some(|p| p.pod == 1) }",
    ] {
        check(text).unwrap();
    }
    for text in [
        "fn main(p) { step \"x\" { for ns in p.namespcaes { ns } } }",
        "fn main(p) { `${p.namespcaes.len()}` }",
        "fn main(p) { if p.namespcaes[0] == 1 { 2 } }",
        "fn main(p) { note(p?.namespcaes ?? \"\") }",
    ] {
        let error = check(text).unwrap_err();
        assert_eq!(
            error.failure.message,
            "the script declares no parameter `namespcaes`"
        );
        assert_eq!(
            error.failure.hint.as_deref(),
            Some("did you mean `namespaces`?")
        );
        assert_eq!(error.frames[0].column, text.find("namespcaes").unwrap() + 1);
    }
}
