//! What was found about Rhai 1.27 and is relied on, so that the next version can be judged by these.

use super::{bare, leaf, run};
use rhai::{Dynamic, EvalAltResult, FnPtr, Module, Scope};
use serde_json::json;
use std::time::{Duration, Instant};

/// 1. A closure resolves names where it is called, not where it was written …
#[test]
fn closures_resolve_names_in_the_module_that_calls_them() {
    let mut engine = bare();
    let ast = engine
        .compile("fn helper() { \"module\" } fn call_it(f) { f.call() } fn make() { |x| x + 1 }")
        .unwrap();
    let module = Module::eval_ast_as_new(Scope::new(), &ast, &engine).unwrap();
    engine.register_static_module("lib", module.into());
    let wrong: String = engine
        .eval("fn helper() { \"script\" } lib::call_it(|| helper())")
        .unwrap();
    assert_eq!(
        wrong, "module",
        "Rhai resolves lexically again: `bind` may be given up"
    );
    let error = engine.eval::<i64>("lib::make().call(1)").unwrap_err();
    assert!(
        matches!(leaf(&error), EvalAltResult::ErrorFunctionNotFound(..)),
        "{error}"
    );
}

/// … which `bind` mends, without a way around the limit of call levels.
#[test]
fn bound_closures_resolve_names_where_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("lib.rhai"),
        "fn helper() { \"module\" } fn call_it(f) { f.call() } fn make() { bind(|x| x + helper()) }",
    )
    .unwrap();
    let run = |text: &str| {
        super::Setup {
            modules: crate::engine::Modules::new(Some(dir.path().to_owned())),
            ..super::Setup::default()
        }
        .run(text)
    };
    let ended = run(r#"
        import "lib" as lib;
        fn helper() { "script" }
        fn main() { [lib::call_it(bind(|| helper())), lib::make().call("x ")] }
    "#);
    assert_eq!(ended.value(), &json!(["script", "x module"]));
    let ended = run("fn f(n) { let g = bind(|| f(n + 1)); g.call() } fn main() { f(0) }");
    assert_eq!(ended.failure().message, "calls are nested too deeply");
}

/// 2. A captured variable is a lock: a worker that holds it makes the others fail.
#[test]
fn captured_variables_are_flattened_before_they_go_to_workers() {
    let engine = bare();
    let f: FnPtr = engine
        .eval("let kept = [1]; let f = || kept; kept.push(2); f")
        .unwrap();
    assert!(f.curry()[0].is_shared(), "captures are copies again");
    let flat: Vec<Dynamic> = f.curry().iter().map(Dynamic::flatten_clone).collect();
    assert!(!flat[0].is_shared());
}

/// 3. What `on_progress` and a word end cannot be caught by the script.
#[test]
fn termination_passes_through_try_and_catch() {
    let mut engine = bare();
    engine.register_fn("stop", || -> Result<(), Box<EvalAltResult>> {
        Err(EvalAltResult::ErrorTerminated(1.into(), rhai::Position::NONE).into())
    });
    let error = engine
        .eval::<i64>("fn f() { try { stop(); } catch { } 1 } try { f() } catch { } 2")
        .unwrap_err();
    assert!(
        matches!(leaf(&error), EvalAltResult::ErrorTerminated(..)),
        "{error}"
    );
}

/// 4. `try` is a statement and not an expression, and only a bare `throw` keeps where the error was.
#[test]
fn try_is_no_expression_and_a_bare_throw_keeps_the_place() {
    let ended = run("let x = try { 1 } catch { 2 }; x");
    assert_eq!(ended.failure().message, "unexpected `try`");
    let place = |again: &str| {
        run(&format!("fn f() {{\n  refuse();\n}}\nfn main() {{\n  try {{ f() }} catch (e) {{\n    {again} }} }}"))
            .error()
            .place()
            .unwrap()
    };
    assert_eq!(place("throw;"), "test.rhai:2:3");
    assert_eq!(place("throw e;"), "test.rhai:6:5");
}

/// 5. The optimiser deletes statements that should have failed.
#[test]
fn nothing_is_optimised_away() {
    let ended = run(r#"try { import "nope" as n; } catch (e) { return "caught" } "lost""#);
    assert_eq!(ended.value(), "caught");
    let ended = run("let x = 1; undefined_one; x");
    assert_eq!(
        ended.failure().message,
        "there is no variable `undefined_one`"
    );
}

/// 6. The interner is a global lock with sleeps in it: two threads must not slow each other down.
#[test]
fn strings_are_not_interned() {
    let mut engine = bare();
    engine.set_max_strings_interned(0);
    let engine = std::sync::Arc::new(engine);
    let work = |engine: &rhai::Engine| {
        let text = "let a = []; for i in 0..4000 { a.push(`key ${i}`); } a.len()";
        let begun = Instant::now();
        assert_eq!(engine.eval::<i64>(text).unwrap(), 4000);
        begun.elapsed()
    };
    let alone = work(&engine);
    let together = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| work(&engine))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .max()
            .unwrap()
    });
    assert!(
        together < alone * 20 + Duration::from_secs(2),
        "{alone:?} {together:?}"
    );
}

#[test]
fn eval_is_off_and_limits_do_not_depend_on_the_build() {
    let ended = run("eval(\"1\")");
    assert_eq!(ended.failure().kind, crate::engine::FailureKind::Script);
    let ended = run("fn f(n) { if n == 0 { 0 } else { f(n - 1) } } fn main() { f(90) }");
    assert_eq!(ended.value(), &json!(0));
}

#[test]
fn deep_expressions_are_an_error_on_the_smallest_stack() {
    let text = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let ended = thread.spawn(move || run(&text)).unwrap().join().unwrap();
    assert_eq!(
        ended.failure().message,
        "expression exceeds maximum complexity"
    );
}

#[test]
fn a_script_may_begin_with_the_name_of_its_interpreter() {
    let ended = run("#!/usr/bin/env -S rootshift run\n//! Title.\nfn main() { 5 }");
    assert_eq!(ended.value(), &json!(5));
}
