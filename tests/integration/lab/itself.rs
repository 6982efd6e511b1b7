//! The lab as a neighbour: what it leaves behind, and whether two of them can live on one machine.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use super::rig::Lab;
use crate::support::say;

/// What the machine has that a lab could have changed.
fn machine() -> String {
    let of = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let links = of("ip", &["-brief", "link"]);
    let rules: String = of("iptables-save", &[])
        .lines()
        .filter(|line| line.starts_with("-A"))
        .collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    format!("{links}\n{rules}\n{mounts}")
}

/// The namespaces that some process is in.
fn namespaces() -> BTreeSet<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .flat_map(|process| ["net", "mnt", "pid"].map(|kind| process.path().join("ns").join(kind)))
        .filter_map(|link| std::fs::read_link(link).ok())
        .map(|link| link.display().to_string())
        .collect()
}

/// Waits until nothing is left in the namespaces that were not there before.
fn assert_left_nothing(before: &BTreeSet<String>, inside: &BTreeSet<String>, machine_before: &str) {
    let made: BTreeSet<&String> = inside.difference(before).collect();
    assert!(made.len() >= 3, "it has namespaces of its own: {made:?}");
    let begun = Instant::now();
    loop {
        let now = namespaces();
        let left: Vec<_> = made.iter().filter(|ns| now.contains(**ns)).collect();
        if left.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "left: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(machine(), machine_before);
}

#[test]
fn a_lab_leaves_nothing_behind_however_it_ends_and_two_can_be_up_at_once() {
    let Some(lab) = Lab::none() else { return };
    let (namespaces_before, machine_before) = (namespaces(), machine());

    // Taken down, with a pod and a command inside.
    let begun = Instant::now();
    lab.script(&["up"]);
    say(&format!(
        "control plane up in {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    lab.script(&["mesh", "--apps", "none"]);
    let mut command = lab.command(&["exec", "sleep", "600"]).spawn().unwrap();
    let inside = namespaces();
    assert_eq!(
        machine(),
        machine_before,
        "nothing of it is seen from outside"
    );
    let begun = Instant::now();
    lab.script(&["down"]);
    say(&format!("down in {:.1} s", begun.elapsed().as_secs_f64()));
    assert!(
        !command.wait().unwrap().success(),
        "the command was ended too"
    );
    assert_left_nothing(&namespaces_before, &inside, &machine_before);

    // Its first process killed: no command is needed then.
    lab.script(&["up"]);
    let inside = namespaces();
    let first = std::fs::read_to_string(lab.file("pid")).unwrap();
    let killed = Command::new("kill").args(["-KILL", first.trim()]).status();
    assert!(killed.unwrap().success());
    assert_left_nothing(&namespaces_before, &inside, &machine_before);

    // Killed while it starts.
    let mut starting = lab.command(&["up"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let inside = namespaces();
    starting.kill().unwrap();
    starting.wait().unwrap();
    lab.script(&["down"]);
    assert_left_nothing(&namespaces_before, &inside, &machine_before);

    // Two at once: each has its own node at the same address, and one does not end with the other.
    let other = lab.beside();
    lab.script(&["up"]);
    other.script(&["up"]);
    lab.kubectl("create namespace only-here");
    let sees = |lab: &Lab| {
        lab.kubectl("get namespaces -o name")
            .contains("namespace/only-here")
    };
    assert!(sees(&lab) && !sees(&other));
    let inside = namespaces();
    lab.script(&["down"]);
    assert!(other.kubectl("get nodes").contains("lab-node"));
    other.script(&["down"]);
    assert_left_nothing(&namespaces_before, &inside, &machine_before);
}
