//! The stock scripts, unchanged, move a real mesh from one CA to another, with real requests between
//! all of its workloads all the time.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::judge::{Judge, Verdicts, by_the_tool, settle, words_read_what_istioctl_reads};
use super::rig::{Counts, Lab};
use crate::support::{Ran, say};

/// How many verdicts were compared.
#[derive(Default)]
struct Compared {
    moments: usize,
    proxies: usize,
}

/// Runs a script, and after each innermost step that changed something, or ran a program, holds it still and
/// compares the two verdicts on every proxy.
fn run_and_compare(lab: &Lab, judge: &Judge, script: &str, compared: &mut Compared) -> Ran {
    let mut running = lab.run(script).start();
    let mut events = Vec::new();
    let mut changed = false;
    loop {
        let line = running.line();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        events.push(line);
        match event["event"].as_str() {
            Some("process") => changed = true,
            Some("mutation") if event["phase"] == "sent" => changed = true,
            Some("step_finished") if changed => {
                changed = false;
                running.signal("STOP");
                compare(lab, judge, event["name"].as_str().unwrap(), compared);
                running.signal("CONT");
            }
            Some("finished") => break,
            _ => {}
        }
    }
    let mut ran = running.end();
    ran.stdout = events.join("\n");
    ran
}

fn compare(lab: &Lab, judge: &Judge, moment: &str, compared: &mut Compared) {
    settle(lab);
    let begun = Instant::now();
    let ours = loop {
        let (theirs, ours) = (judge.by_openssl(lab), by_the_tool(lab));
        if ours == theirs {
            break ours;
        }
        // A mesh that took a new bundle in between has no one answer; one that did not has just one.
        assert_ne!(
            judge.by_openssl(lab),
            theirs,
            "after `{moment}`, the tool: {ours:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "after `{moment}`: never at rest"
        );
    };
    assert!(!ours.is_empty(), "after `{moment}`: no proxy at all");
    compared.moments += 1;
    compared.proxies += ours.len();
    say(&format!(
        "  {:3} verdicts equal after {moment}: {}",
        ours.len(),
        shown(&ours)
    ));
}

fn shown(verdicts: &Verdicts) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for verdict in verdicts.values() {
        let trusts: Vec<&str> = verdict
            .trusts
            .iter()
            .map(|t| if t.len() == 64 { &t[..8] } else { t.as_str() })
            .collect();
        let kind = format!(
            "{} as {} trusting {}",
            verdict.signer,
            verdict.trust_domain,
            trusts.join("+")
        );
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    kinds.join(", ")
}

/// The pods that a refused gate named.
fn named(ran: &Ran, code: &str) -> Vec<String> {
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["code"] == code && e["verdict"] == "refused")
        .unwrap_or_else(|| panic!("no refused {code} in {}", ran.stdout));
    let evidence = gate["evidence"].as_array().unwrap().iter();
    evidence
        .filter_map(|line| line.as_str()?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// What no rollout restarts, as `POD.NAMESPACE`.
fn unmanaged(lab: &Lab) -> Vec<String> {
    let name = |pods: &str, namespace: &str| {
        let all = lab.get(&format!("pods -n {namespace} {pods}"));
        let names = all["items"].as_array().unwrap().iter();
        names
            .map(|p| format!("{}.{namespace}", p["metadata"]["name"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    [name("-l app=lone", "pay"), name("-l app=batch", "shop")].concat()
}

/// The migration's restarts without a change of CA: what fails then is not the CA's.
fn restart_everything(lab: &Lab) {
    for namespace in ["shop", "pay", "istio-system"] {
        lab.restart(namespace);
    }
    lab.script(&["recreate"]);
    settle(lab);
}

fn between(before: &Counts, after: &Counts, what: &str) -> u64 {
    let count = |counts: &Counts| counts.0[what].as_u64().unwrap();
    count(after) - count(before)
}

#[test]
fn the_stock_scripts_move_a_real_mesh_without_a_failed_handshake() {
    let Some(lab) = Lab::mesh("") else { return };
    let judge = Judge::new(&lab);
    let mut compared = Compared::default();
    compare(&lab, &judge, "the start", &mut compared);
    words_read_what_istioctl_reads(&lab);

    let start = lab.counts();
    restart_everything(&lab);
    restart_everything(&lab);
    let restarted = lab.counts();

    // Phase 1: the bare pod and the Job are named, and it goes on once they are made anew.
    let stock = "citadel-to-meshca --set watch=1 --set backup_dir= --set new_root=accept --set through=retire";
    let stock = &format!("{stock} --confirm {}", lab.context());
    for (code, phase) in [("RS301", "distribute"), ("RS302", "sign")] {
        settle(&lab);
        let mut left = unmanaged(&lab);
        left.sort();
        let refused = run_and_compare(&lab, &judge, stock, &mut compared).code(3);
        assert_eq!(refused.finished()["failure"]["code"], code, "{phase}");
        let mut events = refused.events().into_iter();
        let drained = events.any(|e| e["phase"] == "sent" && e["why"] == "drain");
        assert_eq!(drained, phase == "distribute", "{phase}: the old gateway");
        let mut named = named(&refused, code);
        named.sort();
        assert_eq!(named, left, "{phase}: just what no rollout restarts");
        lab.script(&["recreate"]);
    }
    let done = run_and_compare(&lab, &judge, stock, &mut compared).code(0);
    assert_eq!(done.finished()["outcome"], "done");
    compare(&lab, &judge, "the end", &mut compared);
    let end = lab.counts();

    let count = |what| between(&restarted, &end, what);
    let control = between(&start, &restarted, "other");
    let failed = end.0["failures"].as_array().unwrap();
    for failure in &failed[failed.len().saturating_sub(20)..] {
        say(&format!("  {failure}"));
    }
    say(&format!(
        "requests {} ok, {} failed for trust, {} failed otherwise ({control} by the same restarts without a change of CA); \
         verdicts of {} proxies at {} moments, all equal",
        count("ok"),
        count("trust"),
        count("other"),
        compared.proxies,
        compared.moments
    ));
    assert_eq!(between(&start, &end, "trust"), 0, "{}", end.0["reasons"]);
    assert_eq!(count("other"), 0, "{}", end.0["reasons"]);
    for pair in end.0["pairs"].as_array().unwrap() {
        assert!(pair["ok"].as_u64() > Some(100), "hardly asked: {pair}");
    }
    let known_as = end.0["known_as"].as_object().unwrap();
    assert!(
        known_as.contains_key("cluster.local") && known_as.contains_key("lab-project.svc.id.goog"),
        "both identities were seen by servers: {known_as:?}"
    );
}
