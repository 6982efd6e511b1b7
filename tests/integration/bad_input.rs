//! Bad input: the exact words and the exit code. Each names the thing, the place and the way out.

use crate::support::{Program, ServedTwin, rootshift};

/// A script that reads nothing and changes nothing.
const READER: &str = "\
//! Count to a number.
//! param count: int = 3   How far.
//! param names: array = []   Whom to greet.
//! mutates: false

fn main(p) { p.count }
";

/// A kubeconfig whose server is a port that nobody listens on.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: me, user: {token: x}}]
contexts: [{name: lab, context: {cluster: lab, user: me}}, {name: lab-2, context: {cluster: lab, user: me}}]
current-context: lab
";

fn reader(args: &str) -> Program {
    rootshift("run ./reader.rhai")
        .args(args)
        .file("reader.rhai", READER)
}

fn eval(code: &str) -> Program {
    Program::new(["eval", code])
}

#[test]
fn an_unknown_script_is_named_with_the_nearest() {
    rootshift("run check-rot-cert")
        .run()
        .stdout("")
        .stderr(
            "error: there is no script `check-rot-cert`\nhint: did you mean `check-root-cert`?\n",
        )
        .code(2);
}

#[test]
fn a_file_given_without_its_folder_is_told_how_to_be_named() {
    rootshift("run mine")
        .file("mine", "1")
        .run()
        .stderr(
            "error: there is no script `mine`\nhint: for the file of that name, write `./mine`\n",
        )
        .code(2);
}

#[test]
fn a_missing_file_is_named() {
    rootshift("run ./nothing.rhai")
        .run()
        .stderr("error: ./nothing.rhai: cannot read: no such file or directory\n")
        .code(2);
}

#[test]
fn an_unknown_parameter_is_named_with_the_nearest() {
    reader("--set cuont=1")
        .run()
        .stdout("")
        .stderr(
            "error: `reader` has no parameter `cuont` (given by `--set`)\n\
             hint: did you mean `count`?\n",
        )
        .code(2);
}

#[test]
fn a_parameter_of_another_type_is_refused() {
    reader("--set count=many")
        .run()
        .stderr("error: parameter `count` is int, not `many` (given by `--set`)\n")
        .code(2);
}

#[test]
fn a_parameter_file_that_is_no_map_is_refused() {
    reader("--params p.yaml")
        .file("p.yaml", "- 1\n")
        .run()
        .stderr(
            "error: `p.yaml` does not hold parameters: it is not a map of names to values\n\
             hint: like `namespaces: [shop, mail]`\n",
        )
        .code(2);
}

#[test]
fn a_set_without_a_value_is_refused() {
    reader("--set count")
        .run()
        .stderr("error: `--set count` is not of the form NAME=VALUE\n")
        .code(2);
}

#[test]
fn an_unknown_header_key_is_pointed_at() {
    rootshift("run ./s.rhai")
        .file("s.rhai", "//! A title.\n//! mutate: false\nfn main() { 1 }\n")
        .run()
        .stderr(
            "error: unknown header key `mutate`\n --> ./s.rhai:2:5\n  |\n2 | //! mutate: false\n  |     ^^^^^^\nhint: did you mean `mutates`?\n",
        )
        .code(2);
}

#[test]
fn a_syntax_error_is_pointed_at() {
    rootshift("run ./s.rhai")
        .file("s.rhai", "//! A title.\nfn main() {\n  let x = ;\n}\n")
        .run()
        .stdout("")
        .stderr(
            "error: unexpected `;`\n --> ./s.rhai:3:11\n  |\n3 |   let x = ;\n  |           ^\n",
        )
        .code(1);
}

#[test]
fn an_unknown_word_is_named_with_the_nearest() {
    eval("time::nwo()")
        .run()
        .stdout("")
        .stderr(
            "error: there is no word `time::nwo`\n --> eval:1:7\n  |\n1 | time::nwo()\n  |       ^^^\n\
             hint: did you mean `time::now`?\n",
        )
        .code(1);
}

#[test]
fn an_unknown_module_is_pointed_at() {
    eval("tiem::now()")
        .run()
        .stderr(
            "error: there is no module `tiem`\n --> eval:1:1\n  |\n1 | tiem::now()\n  | ^^^^\n\
             hint: did you mean `time`?\n",
        )
        .code(1);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_the_place() {
    rootshift("run ./s.rhai")
        .file("s.rhai", b"//! A title.\nlet a = \"\xff\";\n")
        .run()
        .stderr("error: ./s.rhai: not UTF-8 text: byte 0xff at line 2, byte 10 of the line\n")
        .code(2);
}

#[test]
fn a_twin_excludes_a_context() {
    rootshift("eval 1 --twin --context prod")
        .run()
        .stdout("")
        .stderr(
            "error: the argument '--twin[=<SCENARIO>]' cannot be used with '--context <NAME>'\n\n\
             Usage: rootshift eval --twin[=<SCENARIO>] <CODE>\n\n\
             For more information, try '--help'.\n",
        )
        .code(2);
}

#[test]
fn an_unknown_scenario_is_named() {
    rootshift("eval 1 --twin=defualt")
        .run()
        .stdout("")
        .stderr(
            "error: no scenario `defualt`: neither a file nor one of `default`, `native`, `no-aliases`, \
             `false-green`, `no-ca-server`, `plugged-ca`, `three-clusters`, `named-revision`, \
             `mixed-labels`, `stateful`, `own-trust-domain`\n",
        )
        .code(2);
}

#[test]
fn a_ca_file_that_is_not_there_is_named() {
    rootshift("eval 1 --ca MESHCA=none.pem")
        .run()
        .stderr("error: `--ca MESHCA=…`: none.pem: cannot read: no such file or directory\n")
        .code(2);
}

#[test]
fn a_ca_file_without_a_certificate_is_refused() {
    rootshift("eval 1 --ca MESHCA=empty.pem")
        .file("empty.pem", "nothing\n")
        .run()
        .stderr(
            "error: `--ca MESHCA=…`: empty.pem: the text has no PEM block\n\
             hint: a root certificate in PEM begins with `-----BEGIN CERTIFICATE-----`\n",
        )
        .code(2);
}

#[test]
fn a_ca_without_a_name_is_refused() {
    rootshift("eval 1 --ca file.pem")
        .run()
        .stderr(
            "error: invalid value 'file.pem' for '--ca <NAME=FILE>': expected NAME=VALUE\n\n\
             For more information, try '--help'.\n",
        )
        .code(2);
}

#[test]
fn an_unknown_format_is_refused_with_those_there_are() {
    rootshift("eval 1 -o xml")
        .run()
        .stderr(
            "error: invalid value 'xml' for '--output <FORMAT>'\n  \
             [possible values: text, json, jsonl]\n\n\
             For more information, try '--help'.\n",
        )
        .code(2);
}

#[test]
fn a_kubeconfig_without_the_context_says_which_it_has() {
    reader("--kubeconfig k --context prod")
        .file("k", KUBECONFIG)
        .run()
        .stdout("")
        .stderr(
            "error: kubeconfig `k` has no context `prod`; it has `lab`, `lab-2`\n\
             hint: give one of them with --context\n",
        )
        .code(2);
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named_with_its_address() {
    reader("--kubeconfig k --context lab")
        .file("k", KUBECONFIG)
        .run()
        .stdout("")
        .stderr(
            "error: the API server of context `lab` cannot be reached at http://127.0.0.1:1: connection refused\n\
             hint: is http://127.0.0.1:1 the right address, and up?\n",
        )
        .code(4);
}

#[test]
fn code_that_needs_a_cluster_says_why_there_is_none() {
    eval("cluster::context()")
        .run()
        .stdout("")
        .stderr(
            "error: there is no kubeconfig at `[DIR]/.kube/config`, and this is not inside a cluster\n \
             --> eval:1:10\n  |\n1 | cluster::context()\n  |          ^^^^^^^\n\
             hint: give a file with --kubeconfig, or try it on the twin with --twin\n",
        )
        .code(4);
}

#[test]
fn a_word_that_fails_is_pointed_at_also_in_a_function_and_after_cleanup() {
    rootshift("run ./s.rhai")
        .file(
            "s.rhai",
            "//! Read.\n//! mutates: false\nfn main(p) {\n  let x = time::now();\n  ensure { fs::read(\"/nope\") } always { time::now(); }\n}\n",
        )
        .run()
        .stderr(
            "error: /nope: cannot read: no such file or directory\n \
             --> ./s.rhai:5:16\n  |\n5 |   ensure { fs::read(\"/nope\") } always { time::now(); }\n  |                ^^^^\n",
        )
        .code(4);
}

#[test]
fn a_mutating_script_must_be_told_the_cluster() {
    rootshift("run citadel-to-meshca")
        .run()
        .stdout("")
        .stderr(
            "error: `citadel-to-meshca` changes the cluster and was not told which\n\
             hint: name it with `--context NAME`, or try it with `--twin`\n",
        )
        .code(2);
}

#[test]
fn a_mutating_script_needs_somebody_to_confirm_it() {
    rootshift("run citadel-to-meshca --kubeconfig k --context lab")
        .file("k", KUBECONFIG)
        .run()
        .stdout("")
        .stderr(
            "error: `citadel-to-meshca` may change the cluster, and nobody is here to confirm it\n\
             hint: `--yes` answers confirmations\n",
        )
        .code(2);
}

#[test]
fn a_journal_that_cannot_be_kept_stops_the_run() {
    reader("--journal reader.rhai/j")
        .run()
        .stderr(
            "error: the journal cannot be kept: reader.rhai: cannot create: file exists\n\
             hint: give another place with `--journal FILE`, or `--journal none`\n",
        )
        .code(4);
}

#[test]
fn a_program_that_reads_events_is_told_of_bad_input_too() {
    let ran = rootshift("run nope -o jsonl").run().code(2);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "failed");
    assert_eq!(finished["exit_code"], 2);
    assert_eq!(finished["failure"]["kind"], "usage");
    ran.stderr_has("error: there is no script `nope`\nhint: known: `check`, `check-root-cert`, ");
}

#[test]
fn what_the_twin_forbids_names_who_what_and_where() {
    let twin = ServedTwin::start("default");
    let admin = std::fs::read_to_string(&twin.kubeconfig).unwrap();
    let line = admin
        .lines()
        .find(|l| l.trim_start().starts_with("token:"))
        .unwrap();
    let indent = &line[..line.len() - line.trim_start().len()];
    let auditor = admin.replacen(line, &format!("{indent}as: auditor\n{line}"), 1);
    let context = "gke_twin-project_us-central1-a_twin";
    rootshift(&format!("eval --kubeconfig k --context {context}"))
        .file("k", auditor)
        .arg("cluster::list(\"pod\", #{ namespace: \"shop\" })")
        .run()
        .stdout("")
        .stderr(
            "error: user `auditor` may not list `pods` in namespace `shop`\n \
             --> eval:1:10\n  |\n1 | cluster::list(\"pod\", #{ namespace: \"shop\" })\n  |          ^^^^\n\
             hint: grant the verb `list` on `pods` in namespace `shop`\n",
        )
        .code(4);
}

#[test]
fn a_revision_name_that_is_no_label_is_refused_before_anything_is_done() {
    let refused = |name: &str, rule: &str| {
        let ran = rootshift("run citadel-to-meshca --twin -o json")
            .arg("--set")
            .arg(format!("revision_1={name}"))
            .run()
            .code(2);
        let document = ran.document();
        assert_eq!(document["mutations"], serde_json::json!([]));
        let failure = &document["failure"];
        assert_eq!(
            failure["message"],
            format!("parameter `revision_1`: `{name}` is not a revision name, which {rule}")
        );
        let shown = ran.stderr;
        assert!(shown.contains("--> stdlib/mesh/canary.rhai:"), "{shown}");
        assert!(
            shown.contains("\n  called from scripts/citadel-to-meshca.rhai:"),
            "{shown}"
        );
        assert!(
            shown.ends_with(
                "\nhint: a DNS-1035 label such as `asm-1233-2`; `istiod-` and the name together are \
                 the name of a Service\n"
            ),
            "{shown}"
        );
    };
    refused("Asm-1", "starts with a lower-case letter");
    refused("asm_1", "has only lower-case letters, digits and `-`");
    refused("asm-1-", "ends with a letter or a digit");
    let long = format!("a{}", "b".repeat(56));
    refused(&long, "has at most 56 characters, and this has 57");
}
