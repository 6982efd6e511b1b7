//! The twin against the recorded answers of a real API server: the cases of `tests/kdiff`, run by
//! its own script with kubectl, curl and jq, and compared with their goldens.
//!
//! What differs must be what `tests/kdiff/differs.txt` lists, no more and no less. It needs the kubectl of
//! the recording ([`super::kubectl`]), jq, curl and python3; without them it says so and is skipped.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    kubectl,
    support::{ServedTwin, say, skip, turn},
};

/// How many cases run at the same time: as many as CI has cores.
const JOBS: &str = "2";

#[test]
fn the_twin_answers_as_a_real_api_server_does() {
    let Some(kubectl) = kubectl::kubectl() else {
        return skip(&format!(
            "no kubectl {} (ROOTSHIFT_KUBECTL or PATH)",
            kubectl::VERSION
        ));
    };
    if let Some(tool) = ["bash", "curl", "jq", "python3"].iter().find(|t| !runs(t)) {
        return skip(&format!("no {tool}"));
    }
    // Some cases give the server a few seconds only.
    let _turn = turn();
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kdiff");
    let out = tempfile::tempdir().unwrap();
    let twin = ServedTwin::start(home.join("scenario.yaml").to_str().unwrap());
    without_mesh(&kubectl, &twin.kubeconfig);
    let started = Instant::now();
    let ran = Command::new(home.join("run.sh"))
        .arg(&twin.kubeconfig)
        .arg(out.path())
        .env("KUBECTL", &kubectl)
        .env("JOBS", JOBS)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    let listed = listed(&home.join("differs.txt"));
    let (mut same, mut different) = (0, Vec::new());
    for golden in goldens(&home) {
        let name = golden.file_stem().unwrap().to_str().unwrap().to_owned();
        let answer = out.path().join(golden.file_name().unwrap());
        if fs::read(&answer).ok() == fs::read(&golden).ok() {
            same += 1;
        } else {
            different.push((name, golden, answer));
        }
    }
    let total = same + different.len();
    say(&format!(
        "{same} same, {} different of {total} in {:.0} s",
        different.len(),
        started.elapsed().as_secs_f64()
    ));
    let unlisted: Vec<String> = different
        .iter()
        .filter(|(name, _, _)| !listed.contains_key(name))
        .map(|(name, golden, answer)| format!("{name}:\n{}", diff(golden, answer)))
        .collect();
    let agree: Vec<&String> = listed
        .keys()
        .filter(|name| !different.iter().any(|(differs, _, _)| differs == *name))
        .collect();
    assert!(total > 0, "no goldens in {}", home.display());
    assert!(
        unlisted.is_empty(),
        "{} of {total} differ and are not in differs.txt:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    assert!(
        agree.is_empty(),
        "in differs.txt, but the same by now: {agree:?}"
    );
}

/// The recorded cluster had no mesh: no injection, and no ConfigMap of istiod's in every namespace.
fn without_mesh(kubectl: &Path, kubeconfig: &Path) {
    let hooks = "mutatingwebhookconfigurations,validatingwebhookconfigurations";
    for args in [
        format!("delete {hooks} --all"),
        "-n istio-system delete deployments --all".to_owned(),
        "-n istio-system wait --for=delete pods --all --timeout=30s".to_owned(),
    ] {
        let status = Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args.split_whitespace())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "kubectl {args}");
    }
}

fn runs(tool: &str) -> bool {
    Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Names and reasons of the cases that are known to differ: `NAME: REASON`, `#` begins a remark.
fn listed(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, reason) = line.split_once(": ").expect("a line `NAME: REASON`");
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}

fn goldens(home: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(home.join("golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

fn diff(golden: &Path, answer: &Path) -> String {
    let said = Command::new("diff")
        .args(["-U2", "--label", "golden", "--label", "twin"])
        .args([golden, answer])
        .output();
    said.map_or_else(
        |e| e.to_string(),
        |out| String::from_utf8_lossy(&out.stdout).into_owned(),
    )
}
