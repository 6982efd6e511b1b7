//! What goes where: results, progress, events, the journal, exit codes.

use serde_json::json;

use crate::support::{Program, rootshift};

const STEPS: &str = r#"//! Greet in steps.
//! param whom: string = "all"   Whom.
//! mutates: false
fn main(p) {
    step "outer" {
        step `greet ${p.whom}` { print(`hello ${p.whom}`); }
        log::warn("it is late");
    }
    #{ greeted: [p.whom], by_name: [#{ name: p.whom, times: 1 }] }
}
"#;

fn steps(args: &str) -> Program {
    rootshift("run ./steps.rhai")
        .args(args)
        .file("steps.rhai", STEPS)
}

/// Times differ from run to run: they read `N.N s` here.
fn without_times(text: &str) -> String {
    let mut clean = String::new();
    for word in text.split_inclusive(' ') {
        let number = word.trim_end();
        let is_time = number.contains('.') && number.parse::<f64>().is_ok();
        clean.push_str(if is_time { "N.N " } else { word });
    }
    clean
}

#[test]
fn results_go_to_standard_output_and_progress_to_standard_error() {
    let ran = steps("--set whom=you").run().code(0);
    assert_eq!(
        ran.stdout,
        "hello you\ngreeted  you\nby name\n  NAME  TIMES\n  you   1\n"
    );
    assert_eq!(
        without_times(&ran.stderr),
        "step outer\n\
         \x20 step greet you\n\
         \x20 done greet you, N.N s\n\
         \x20 warning: it is late\n\
         done outer, N.N s\n"
    );
}

#[test]
fn a_failure_in_a_step_points_at_the_line_and_ends_the_steps() {
    let ran = rootshift("run ./bad.rhai")
        .file(
            "bad.rhai",
            "//! Fail.\n//! mutates: false\nfn main(p) {\n  step \"break\" { throw \"it is broken\"; }\n}\n",
        )
        .run()
        .code(1);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        without_times(&ran.stderr),
        "step break\n\
         failed break, N.N s\n\
         error: it is broken\n \
         --> ./bad.rhai:4:18\n  |\n4 |   step \"break\" { throw \"it is broken\"; }\n  |                  ^^^^^\n"
    );
}

#[test]
fn each_line_of_jsonl_is_an_event_and_the_journal_holds_the_same() {
    let ran = steps("-o jsonl --journal kept.jsonl")
        .run()
        .code(0)
        .stderr("");
    assert_eq!(ran.file("kept.jsonl"), ran.stdout);
    let kinds: Vec<String> = ran
        .events()
        .iter()
        .map(|e| e["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "started",
            "step_started",
            "step_started",
            "output",
            "step_finished",
            "note",
            "step_finished",
            "finished"
        ]
    );
    let started = &ran.events()[0];
    assert_eq!(started["schema"], 1);
    assert_eq!(started["script"], "steps");
    assert_eq!(started["mode"], "read_only");
    assert_eq!(started["params"], json!({"whom": "all"}));
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(
        finished["summary"],
        json!({"greeted": ["all"], "by_name": [{"name": "all", "times": 1}]})
    );
}

#[test]
fn json_is_one_document_at_the_end() {
    let document = steps("-o json").run().code(0).stderr("").document();
    assert_eq!(document["outcome"], "done");
    assert_eq!(document["output"], json!(["hello all"]));
    let names: Vec<_> = document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["depth"].as_u64().unwrap()))
        .collect();
    assert_eq!(names, [("greet all", 1), ("outer", 0)]);
    assert_eq!(document["notes"][0]["text"], "it is late");
}

#[test]
fn a_journal_is_kept_in_the_state_directory_unless_told_otherwise() {
    let ran = steps("").run().code(0);
    let runs: Vec<_> = std::fs::read_dir(ran.dir().join(".local/state/rootshift/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(runs.len(), 1);
    let journal = std::fs::read_to_string(&runs[0]).unwrap();
    assert!(
        journal
            .lines()
            .last()
            .unwrap()
            .starts_with("{\"event\":\"finished\",")
    );

    let ran = steps("--journal none").run().code(0);
    assert!(!ran.dir().join(".local").exists());
}

#[test]
fn parameters_come_from_the_line_then_the_file_then_the_header() {
    let whom = |args: &str| {
        let ran = steps(args)
            .file("p.yaml", "whom: file\n")
            .args("-o jsonl")
            .run()
            .code(0);
        ran.events()[0]["params"]["whom"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(whom(""), "all");
    assert_eq!(whom("--params p.yaml"), "file");
    assert_eq!(whom("--params p.yaml --set whom=line"), "line");
}

#[test]
fn a_private_key_that_a_script_prints_is_not_shown() {
    let code = r#"print("-----BEGIN PRIVATE KEY-----\nMIIBVQ\n-----END PRIVATE KEY-----");"#;
    Program::new(["eval", code])
        .run()
        .stdout("‹redacted›\n")
        .code(0);
}

#[test]
fn the_bundled_scripts_are_listed_and_shown() {
    let list = rootshift("scripts").run().code(0).stderr("");
    assert!(
        list.stdout
            .contains("check-root-cert      Print which roots"),
        "{}",
        list.stdout
    );
    rootshift("scripts list").run().stdout(&list.stdout).code(0);
    let shown = rootshift("scripts show check-root-cert").run().code(0);
    assert_eq!(
        shown.stdout.trim_end(),
        include_str!("../../scripts/check-root-cert.rhai").trim_end()
    );
}

#[test]
fn code_on_the_twin_prints_its_value_alone() {
    rootshift("eval --twin")
        .arg("cluster::context()")
        .run()
        .stdout("gke_twin-project_us-central1-a_twin\n")
        .code(0);
}

#[test]
fn a_script_that_says_it_reads_cannot_change_anything() {
    let ran = rootshift("run ./sly.rhai --twin")
        .file(
            "sly.rhai",
            "//! Look around.\n//! mutates: false\nfn main(p) {\n  cluster::label(\"namespace\", \"shop\", #{ a: \"b\" });\n}\n",
        )
        .run()
        .code(3);
    assert_eq!(ran.stdout, "");
    let shown: Vec<&str> = ran.stderr.lines().skip(3).collect();
    assert_eq!(
        shown,
        [
            "refused label namespace/shop: this run may only read (read-only)",
            "error[read-only]: refused by gate `read-only`: this run may only read",
            " --> ./sly.rhai:4:12",
            "  |",
            "4 |   cluster::label(\"namespace\", \"shop\", #{ a: \"b\" });",
            "  |            ^^^^^",
            "hint: a script that says `mutates: false` in its header only reads; code without a header \
             changes a cluster only when told which, with `--context NAME --yes`",
        ]
    );
}

#[test]
fn a_script_that_says_it_reads_cannot_execute_anything() {
    let code = "//! Look around.\n//! mutates: false\nfn main(p) {\n  \
                let pod = cluster::list(\"pods\", #{ namespace: \"legacy\" })[0].metadata.name;\n  \
                print(cluster::logs(\"legacy\", pod));\n  cluster::exec(\"legacy\", pod, [\"true\"]);\n}\n";
    let ran = rootshift("run ./sly.rhai --twin")
        .file("sly.rhai", code)
        .run()
        .code(3);
    assert!(
        ran.stderr.contains("refused exec pod/batch-"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("this run may only read"),
        "{}",
        ran.stderr
    );
}

#[test]
fn each_mutation_is_announced_before_it_is_sent_and_told_after() {
    let ran = rootshift("eval --twin -o jsonl --journal kept.jsonl")
        .arg("cluster::label(\"namespace\", \"legacy\", #{ a: \"b\" }); cluster::label(\"namespace\", \"legacy\", #{ a: \"b\" }); ()")
        .run()
        .code(0);
    let told: Vec<_> = ran
        .events()
        .into_iter()
        .filter(|e| e["event"] == "mutation")
        .map(|mut e| {
            let fields = e.as_object_mut().unwrap();
            fields.retain(|k, _| {
                !["at", "run", "event", "context", "kind", "verb", "why"].contains(&k.as_str())
            });
            e
        })
        .collect();
    assert_eq!(
        told,
        [
            json!({"mutation": 1, "name": "legacy", "phase": "intended", "change": {"metadata": {"labels": {"a": "b"}}}}),
            json!({"mutation": 1, "name": "legacy", "phase": "sent", "outcome": "changed", "summary": "namespace/legacy labeled"}),
            json!({"mutation": 2, "name": "legacy", "phase": "unchanged", "summary": "namespace/legacy not labeled"}),
        ]
    );
    assert_eq!(ran.finished()["mutation_counts"]["changed"], 1);
    assert_eq!(ran.file("kept.jsonl"), ran.stdout);
}
