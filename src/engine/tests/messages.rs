//! What people read when something is wrong.

use super::{Setup, run};
use crate::engine::Modules;

fn rendered(text: &str) -> String {
    run(text).error().render(false)
}

#[test]
fn an_unknown_word_is_explained_with_the_nearest_one() {
    assert_eq!(
        rendered("let ns = \"shop\";\ncluster::lable(ns);\n"),
        "\
error: there is no word `cluster::lable`
 --> test.rhai:2:10
  |
2 | cluster::lable(ns);
  |          ^^^^^
hint: did you mean `cluster::label`?
"
    );
}

#[test]
fn wrong_arguments_are_explained_with_what_the_word_takes() {
    let ended = run("cluster::get(1, \"x\")");
    let failure = ended.failure();
    assert_eq!(
        failure.message,
        "`cluster::get` does not take (int, string)"
    );
    assert_eq!(
        failure.hint.as_deref(),
        Some(
            "`cluster::get` takes (kind: string, name: string) or (kind: string, namespace: string, name: string)"
        )
    );
    let ended = run("cluster::label()");
    assert_eq!(
        ended.failure().message,
        "`cluster::label` cannot be called without arguments"
    );
}

#[test]
fn unknown_variables_and_modules_get_suggestions() {
    for (text, message, hint) in [
        (
            "let namespaces = [1]; namespcaes.len()",
            "there is no variable `namespcaes`",
            Some("did you mean `namespaces`?"),
        ),
        (
            "clutser::get(\"a\", \"b\")",
            "there is no module `clutser`",
            Some("did you mean `cluster`?"),
        ),
        (
            "let x = cluster;",
            "there is no variable `cluster`",
            Some("`cluster` is a module: `cluster::…`"),
        ),
        (
            "fn prepare() { 1 } preparre()",
            "there is no word `preparre`",
            Some("did you mean `prepare`?"),
        ),
        (
            "label(\"a\")",
            "there is no word `label`",
            Some("did you mean `cluster::label`?"),
        ),
        (
            "\"a\".to_uper()",
            "there is no word `to_uper`",
            Some("did you mean `to_upper`?"),
        ),
    ] {
        let ended = run(text);
        assert_eq!(
            (
                ended.failure().message.as_str(),
                ended.failure().hint.as_deref()
            ),
            (message, hint),
            "{text}"
        );
    }
}

#[test]
fn a_refusal_shows_code_evidence_and_hint_and_the_calls_that_led_there() {
    assert_eq!(
        rendered(
            "fn gate() {\n    refuse()\n}\nfn main() {\n    step \"one\" {\n        gate();\n    }\n}\n"
        ),
        "\
error[roots-missing]: 2 proxies lack a root
 --> test.rhai:2:5
  |
2 |     refuse()
  |     ^^^^^^
  called from test.rhai:6:9: gate();
  - cart-1.shop: no MESHCA
hint: move `shop` first
"
    );
}

#[test]
fn errors_in_modules_show_the_modules_text() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("good.rhai", "fn ask(x) {\n    x.missing.deeper\n}\n");
    write("bad.rhai", "let a = 1;\nlet = 2;\n");
    write("ring.rhai", "import \"gnir\" as g;\n");
    write("gnir.rhai", "import \"ring\" as r;\n");
    std::fs::write(dir.path().join("latin.rhai"), b"\xff").unwrap();
    let run = |text: &str| {
        Setup {
            modules: Modules::new(Some(dir.path().to_owned())),
            ..Setup::default()
        }
        .run(text)
    };
    let show = |text: &str| {
        run(text)
            .error()
            .render(false)
            .replace(dir.path().to_str().unwrap(), "DIR")
    };
    assert_eq!(
        show("import \"good\" as good;\ngood::ask(#{});\n"),
        "\
error: `.deeper` of nothing: what is left of it is `()`
 --> DIR/good.rhai:2:15
  |
2 |     x.missing.deeper
  |               ^^^^^^
  called from test.rhai:2:7: good::ask(#{});
hint: if it may be absent, write `?.deeper`
"
    );
    assert_eq!(
        show("import \"bad\" as bad;\n"),
        "\
error: expecting name of a variable
 --> DIR/bad.rhai:2:5
  |
2 | let = 2;
  |     ^
  called from test.rhai:1:8: import \"bad\" as bad;
"
    );
    assert!(
        show("import \"ring\" as r;")
            .starts_with("error: modules import each other: `ring` → `gnir` → `ring`\n")
    );
    assert!(show("import \"latin\" as l;").contains("not UTF-8 text"));
    assert_eq!(
        show("import \"goood\" as g;"),
        "\
error: there is no module `goood`
 --> test.rhai:1:8
  |
1 | import \"goood\" as g;
  |        ^
hint: did you mean `good`?
"
    );
}

#[test]
fn syntax_errors_point_at_the_place() {
    assert_eq!(
        rendered("let a = 1;\nlet b = (2 + ;\n"),
        "\
error: unexpected `;`
 --> test.rhai:2:14
  |
2 | let b = (2 + ;
  |              ^
"
    );
    assert_eq!(
        rendered("let o = #{};\no.match"),
        "\
error: `match` is a reserved word
 --> test.rhai:2:3
  |
2 | o.match
  |   ^^^^^
hint: take another name; for a field of an object, write `[\"match\"]`
"
    );
}

#[test]
fn a_script_catches_typed_values() {
    let ended = run(
        "try { refuse() } catch (e) { return [e.kind, e.code, e.message, e.retryable, e.evidence, e.resource] }",
    );
    assert_eq!(
        ended.value(),
        &serde_json::json!([
            "refused",
            "roots-missing",
            "2 proxies lack a root",
            false,
            ["cart-1.shop: no MESHCA"],
            null
        ])
    );
    let ended =
        run(r#"throw #{ kind: "refused", code: "mine", message: "not today", hint: "tomorrow" }"#);
    assert_eq!(ended.failure().kind, crate::engine::FailureKind::Refused);
    assert_eq!(ended.failure().hint.as_deref(), Some("tomorrow"));
}

#[test]
fn objects_are_read_in_place() {
    const POD: &str = r#"{"metadata":{"name":"a","annotations":null},"spec":{"containers":[{"name":"c","ports":[1,2]}],"a/b~c":{"x":1}}}"#;
    let eval = |expression: &str| {
        run(&format!("let o = pod(`{POD}`); {expression}"))
            .result
            .map_err(|error| {
                format!(
                    "{} | {}",
                    error.failure,
                    error.failure.hint.clone().unwrap_or_default()
                )
            })
    };
    for (expression, value) in [
        ("o.metadata.name", "\"a\""),
        ("o.kind", "null"),
        ("o.metadata.labels[\"istio.io/rev\"]", "null"),
        ("o.metadata.annotations.len()", "0"),
        ("o.spec.containers[0].name", "\"c\""),
        ("o.spec.containers[-1].ports", "[1,2]"),
        ("o.spec.containers.map(|c| c.name)", "[\"c\"]"),
        ("o.spec[\"a/b~c\"].x", "1"),
        ("o.status?.phase", "null"),
        ("o.status?.phase ?? \"none\"", "\"none\""),
        ("o.len()", "2"),
        ("o.keys()", "[\"metadata\",\"spec\"]"),
        ("o.contains(\"spec\")", "true"),
        ("\"status\" in o", "false"),
        ("o == pod(o.to_json())", "true"),
        ("o.metadata == #{name: \"a\", annotations: ()}", "true"),
        ("o.metadata != o.spec", "true"),
        (
            "let m = o.to_map(); m.metadata.name = \"b\"; [m.metadata.name, o.metadata.name]",
            "[\"b\",\"a\"]",
        ),
        (
            "let n = 0; for c in o.spec.containers { n += c.ports.len() } n",
            "2",
        ),
        ("o.spec.containers.len()", "1"),
        ("type_of(o)", "\"Object\""),
        ("o.metadata", "{\"annotations\":null,\"name\":\"a\"}"),
    ] {
        assert_eq!(eval(expression).unwrap().to_string(), value, "{expression}");
    }
    for (expression, error) in [
        (
            "o.status.phase",
            "`.phase` of nothing: what is left of it is `()` | if it may be absent, write `?.phase`",
        ),
        (
            "o.status[\"phase\"]",
            "an element of nothing: what is left of `[` is `()` | if it may be absent, write `?[`",
        ),
        ("o[0]", "an object has fields, not elements: [0] | "),
        (
            "o.kind = 1",
            "an object cannot be changed in place | `to_map()` gives a copy to edit",
        ),
        (
            "o.metadata.name = \"b\"",
            "an object cannot be changed in place | `to_map()` gives a copy to edit",
        ),
    ] {
        assert_eq!(eval(expression).unwrap_err(), error, "{expression}");
    }
}

#[test]
fn the_values_of_a_secret_are_not_shown_unless_asked_for() {
    for expression in [
        "s.to_string()",
        "`${s}`",
        "\"\" + s",
        "s.to_debug()",
        "s",
        "s.data",
        "`${s.data}`",
        "`${[s]}`",
        "`${#{ a: s }}`",
        "[s, #{ b: s.data }]",
        "throw s",
        "throw #{ message: s }",
        "throw #{ message: `${s}`, evidence: [s] }",
    ] {
        let ended = run(&format!("let s = secret(); {expression}"));
        let text = match &ended.result {
            Ok(value) => value.to_string(),
            Err(error) => error.render(false),
        };
        assert!(!text.contains("S0VZ"), "{expression}: {text}");
    }
    for expression in [
        "s.data[\"key.pem\"]",
        "s.to_json()",
        "s.to_map().data[\"key.pem\"]",
    ] {
        let ended = run(&format!("let s = secret(); {expression}"));
        assert!(ended.value().to_string().contains("S0VZ"), "{expression}");
    }
}
