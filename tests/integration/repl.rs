//! `rootshift repl` with lines from a pipe: what survives from line to line, and how it ends.

use crate::support::rootshift;

#[test]
fn names_survive_from_line_to_line_and_values_are_printed() {
    rootshift("repl")
        .file("lib.rhai", "fn twice(n) { n * 2 }\n")
        .stdin(
            "import \"lib\" as lib;\n\
             const TWO = 2; let n = 20;\n\
             fn answer(n) {\n  lib::twice(n) + global::TWO\n}\n\
             answer(n)\n\
             let f = |x| x + n; n = 1; f.call(1)\n\
             #{ namespaces: [\"shop\", \"mail\"], ready: true }\n\
             ()\n\
             print(\"printed\")\n",
        )
        .run()
        .stdout("42\n2\n#{ namespaces: [\"shop\", \"mail\"], ready: true }\nprinted\n")
        .code(0);
}

#[test]
fn the_first_failure_from_a_pipe_ends_the_session_with_its_code() {
    rootshift("repl")
        .stdin("let a = 1;\nfn f() {\n  throw \"no\"\n}\nf();\nprint(\"never\")\n")
        .run()
        .stdout("")
        .stderr_has(
            "\
error: no
 --> session:3:3
  |
3 |   throw \"no\"
  |   ^^^^^
  called from session:5:1: f();
",
        )
        .code(1);
}

#[test]
fn what_is_still_open_at_the_end_is_an_error() {
    rootshift("repl")
        .stdin("fn f() {\n  1\n")
        .run()
        .stdout("")
        .stderr_has("error: ")
        .code(1);
}

#[test]
fn help_shows_the_words_and_their_documentation() {
    rootshift("repl")
        .stdin("help time\nhelp step\nhelp clutser\n")
        .run()
        .stdout_has("time::now()\n    The time now, in UTC, as RFC 3339 text with milliseconds\n")
        .stdout_has("step NAME { … }\n\nDoes a block as a named unit of work")
        .code(0);
}

#[test]
fn a_word_that_needs_a_cluster_says_why_there_is_none() {
    rootshift("repl --journal none")
        .stdin("1 + 1\ncluster::get(\"pod\", \"shop\", \"cart\")\n")
        .run()
        .stdout("2\n")
        .stderr_has("there is no kubeconfig at `[DIR]/.kube/config`")
        .stderr_has("cluster::get(\"pod\", \"shop\", \"cart\")\n")
        .code(4);
}
