//! What breaks a real mesh is refused beforehand; waived, real requests fail, between the pairs that the
//! refusal had named.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::google::check_root_cert;
use super::judge::settle;
use super::rig::{Counts, Lab};
use crate::support::{Ran, say};

/// Seconds after which a new proxy says that it is ready: the stock script's `ready_delay`.
const READY_DELAY: f64 = 5.0;

/// Straight to Mesh CA: no revision with both roots before, none after.
const STRAIGHT: &str = r#"//! Move namespace pay to a revision that only Mesh CA signs for and that only its root is trusted in.
//! mutates: true
fn main(p) {
    let t = mesh::connect().target();
    let ended = shell::run(["asmcli", "install", "--kubeconfig", t.kubeconfig, "--context", t.context, "--enable_all",
        "--ca", "mesh_ca", "--revision_name", "meshca-only", "--output_dir", fs::temp_dir()], #{ stdin: "y\n" });
    assert(ended.code == 0, ended.stderr);
    cluster::label("namespace", "pay", #{ "istio.io/rev": "meshca-only", "istio-injection": () });
    for w in workload::list("pay") {
        if ["Deployment", "StatefulSet", "DaemonSet"].contains(w.kind) {
            workload::restart(w.kind, "pay", w.name);
            workload::wait(w.kind, "pay", w.name, #{ timeout: 120 });
        }
    }
}
"#;

/// The CA's secret deleted while it still signs, and istiod restarted.
const TOO_EARLY: &str = r#"//! Delete the CA secret, restart istiod.
//! mutates: true
fn main(p) {
    cluster::delete("secret", "istio-system", "istio-ca-secret", #{ ignore_missing: true });
    workload::restart("Deployment", "istio-system", "istiod");
    workload::wait("Deployment", "istio-system", "istiod", #{ timeout: 120 });
}
"#;

/// What any day's deployment does then.
const RESTART: &str = r#"//! Restart one Deployment.
//! mutates: true
fn main(p) {
    workload::restart("Deployment", "shop", "web");
    workload::wait("Deployment", "shop", "web", #{ timeout: 120 });
}
"#;

/// The pairs of workloads that gates named, whatever the answer.
fn named_pairs(ran: &Ran, code: &str) -> BTreeSet<(String, String)> {
    ran.events()
        .iter()
        .filter(|e| e["event"] == "gate" && e["code"] == code)
        .flat_map(|e| e["evidence"].as_array().cloned().unwrap_or_default())
        .filter_map(|line| {
            let (pair, _) = line.as_str()?.split_once(": ")?;
            let (client, server) = pair.split_once(" → ")?;
            Some((made_by(client), made_by(server)))
        })
        // No workload asks itself.
        .filter(|(client, server)| client != server)
        .collect()
}

/// The pairs between which requests failed for trust.
fn failed_pairs(before: &Counts, after: &Counts) -> BTreeSet<(String, String)> {
    let trust = |counts: &Counts| -> Vec<(String, String, u64)> {
        let pairs = counts.0["pairs"].as_array().unwrap().iter();
        pairs
            .map(|p| {
                let text = |key: &str| p[key].as_str().unwrap().to_owned();
                // Who is outside comes in by the gateway, which is the client then.
                let from = match text("from").as_str() {
                    "legacy/visitor" => "istio-system/istio-ingressgateway".to_owned(),
                    other => other.to_owned(),
                };
                (from, text("to"), p["trust"].as_u64().unwrap())
            })
            .collect()
    };
    let sum = |all: &[(String, String, u64)], pair: &(String, String)| -> u64 {
        let of_pair = all
            .iter()
            .filter(|(from, to, _)| (from, to) == (&pair.0, &pair.1));
        of_pair.map(|(_, _, n)| n).sum()
    };
    let (before, after) = (trust(before), trust(after));
    after
        .iter()
        .map(|(from, to, _)| (from.clone(), to.clone()))
        .filter(|pair| sum(&after, pair) > sum(&before, pair))
        .collect()
}

/// A workload by its application: Job `batch-2` and Pod `lone-2` are the second makings of two.
fn made_by(workload: &str) -> String {
    match workload.rsplit_once('-') {
        Some((name, number)) if number.parse::<u32>().is_ok() => name.to_owned(),
        _ => workload.to_owned(),
    }
}

fn trust_failures(counts: &Counts) -> u64 {
    counts.0["trust"].as_u64().unwrap()
}

fn pods(lab: &Lab) -> BTreeSet<String> {
    let pods = lab.get("pods -A");
    let uids = pods["items"].as_array().unwrap().iter();
    uids.map(|p| p["metadata"]["uid"].as_str().unwrap().to_owned())
        .collect()
}

/// Time for some requests over every pair.
fn let_requests_flow() {
    std::thread::sleep(Duration::from_secs(4));
}

#[test]
fn straight_to_mesh_ca_is_refused_and_waived_breaks_just_the_pairs_that_were_named() {
    let Some(lab) = Lab::mesh("") else { return };
    an_envoy_that_cannot_be_asked_is_unknown(&lab);

    let start = lab.counts();
    let refused = lab
        .run("straight.rhai")
        .file("straight.rhai", STRAIGHT)
        .run()
        .code(3);
    assert_eq!(refused.finished()["failure"]["code"], "RS101");
    let foreseen = named_pairs(&refused, "RS101");
    let_requests_flow();
    assert_eq!(
        trust_failures(&lab.counts()),
        trust_failures(&start),
        "nothing was moved"
    );

    let waived = lab
        .run("straight.rhai --waive RS101=test")
        .file("straight.rhai", STRAIGHT)
        .run();
    // The bare pod is of that namespace too: whoever makes it anew moves it.
    lab.script(&["recreate"]);
    settle(&lab);
    let_requests_flow();
    let end = lab.counts();
    let (named, failed) = (named_pairs(&waived, "RS101"), failed_pairs(&start, &end));
    say(&format!(
        "waived: {} of {} requests failed for trust, between {} pairs; {} were named",
        trust_failures(&end) - trust_failures(&start),
        end.0["requests"],
        failed.len(),
        named.len()
    ));
    assert!(
        foreseen.is_subset(&named),
        "the first refusal named {foreseen:?}"
    );
    assert_eq!(named, failed);
    assert_eq!(waived.finished()["waivers"][0]["code"], "RS101");
}

/// The admin port of one Envoy takes no connection, and nothing says that it does not.
fn an_envoy_that_cannot_be_asked_is_unknown(lab: &Lab) {
    let rule = |what: &str| {
        let rule = "INPUT -p tcp --dport 15000 -j DROP";
        let words: Vec<&str> = ["in-pod", "shop", "cart-0", "iptables", what]
            .into_iter()
            .chain(rule.split_whitespace())
            .collect();
        lab.script(&words);
    };
    let check = "run check-root-cert --set expect=CITADEL --set read_timeout=2 --set settle=5";
    lab.rootshift(check).run().code(0);
    rule("-I");
    let cut = lab.rootshift(check).run().code(3);
    let line = cut.stdout.lines().find(|l| l.starts_with("cart-0.shop "));
    assert!(
        line.unwrap_or_default()
            .starts_with("cart-0.shop unknown: "),
        "{}",
        cut.stdout
    );
    assert_eq!(
        cut.stdout.matches(" unknown: ").count(),
        1,
        "{}",
        cut.stdout
    );
    rule("-D");
    lab.rootshift(check).run().code(0);
}

#[test]
fn ca_secrets_deleted_too_early_are_refused_and_waived_the_failure_is_seen() {
    let Some(lab) = Lab::mesh("--apps managed") else {
        return;
    };
    let start = lab.counts();
    let run = |script: &str, waivers: &str| {
        lab.run(&format!("script.rhai {waivers}"))
            .file("script.rhai", script)
            .run()
    };
    let refused = |script: &str, waivers: &str, code: &str| {
        let ran = run(script, waivers).code(3);
        let failure = &ran.finished()["failure"];
        assert_eq!(failure["code"], code, "{failure}");
        ran
    };
    refused(TOO_EARLY, "", "RS201");
    lab.kubectl("get secret -n istio-system istio-ca-secret");
    // RS202 foresees the new root, which phase 3 has to accept as well.
    refused(TOO_EARLY, "--waive RS201=test --waive RS202=test", "RS203");
    let_requests_flow();
    assert_eq!(trust_failures(&lab.counts()), trust_failures(&start));
    run(
        TOO_EARLY,
        "--waive RS201=test --waive RS202=test --waive RS203=test",
    )
    .code(0);

    // Until the new istiod has told its root to the namespaces, which one it is cannot be known.
    root_is_told(&lab);
    let named = named_pairs(&refused(RESTART, "", "RS101"), "RS101");
    assert_eq!(trust_failures(&lab.counts()), trust_failures(&start));
    run(RESTART, "--waive RS101=test").code(0);
    // Proxies learn of new endpoints when their agent trusts the new istiod, which is not at once.
    let begun = Instant::now();
    let mut failed = BTreeSet::new();
    let mut end = start.clone();
    while !failed.is_superset(&named) && begun.elapsed() < Duration::from_secs(90) {
        let_requests_flow();
        end = lab.counts();
        failed = failed_pairs(&start, &end);
    }
    say(&format!(
        "the CA's secret deleted too early, waived: {} pairs failed within {:.0} s, as named",
        failed.len(),
        begun.elapsed().as_secs_f64()
    ));
    assert!(!failed.is_empty());
    assert_eq!(named, failed, "{}", end.0);
}

/// Waits until ConfigMap istio-ca-root-cert has the root that the new CA secret has.
fn root_is_told(lab: &Lab) {
    let begun = Instant::now();
    loop {
        let told = lab.get("configmap -n istio-system istio-ca-root-cert");
        let secret = lab.get("secret -n istio-system istio-ca-secret");
        let held = STANDARD
            .decode(secret["data"]["ca-cert.pem"].as_str().unwrap())
            .unwrap();
        let told = told["data"]["root-cert.pem"].as_str().unwrap();
        if told.trim() == String::from_utf8_lossy(&held).trim() {
            say(&format!(
                "the new root was told after {:.1} s",
                begun.elapsed().as_secs_f64()
            ));
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "never told");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_lost_trust_domain_and_an_istiod_that_cannot_inject_are_refused_before_anything_is_restarted() {
    let Some(lab) = Lab::mesh("--apps managed --aliases off") else {
        return;
    };
    // The probe would be refused first, and its pairs named.
    let stock = |more: &str| lab.run(&format!("citadel-to-meshca --set probe=never {more}"));
    stock("--set through=distribute").run().code(0);
    settle(&lab);
    let (moved, start) = (pods(&lab), lab.counts());
    let apps = |all: &BTreeSet<String>| all.intersection(&moved).count();

    // Both roots are everywhere, and the new trust domain is known to nobody.
    let refused = stock("").run().code(3);
    assert_eq!(refused.finished()["failure"]["code"], "RS101");
    let named = named_pairs(&refused, "RS101");
    assert!(
        named.contains(&("shop/web".to_owned(), "pay/api".to_owned())),
        "{named:?}"
    );
    assert_eq!(apps(&pods(&lab)), moved.len(), "no pod was restarted");

    // An istiod that is Ready and has no serving certificate.
    let settings = lab.file("settings");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text
        .replace("ALIASES=off", "ALIASES=on")
        .replace("CA_SERVER=on", "CA_SERVER=off");
    std::fs::write(&settings, text).unwrap();
    let refused = stock("--set revision_2=no-ca-server").run().code(3);
    assert_eq!(refused.finished()["failure"]["code"], "RS304");
    let evidence = refused.finished()["failure"]["evidence"].to_string();
    assert!(
        evidence.contains("dry run") && evidence.contains("failed calling webhook"),
        "{evidence}"
    );
    let deployment = lab.get("deployment -n istio-system istiod-no-ca-server");
    assert_eq!(
        deployment["status"]["readyReplicas"], 1,
        "as if all were well"
    );
    assert_eq!(apps(&pods(&lab)), moved.len(), "no pod was restarted");
    let_requests_flow();
    assert_eq!(trust_failures(&lab.counts()), trust_failures(&start));
}

#[test]
fn google_s_check_is_green_in_the_mixed_state_and_ours_is_not_and_from_there_the_stock_script_goes_on()
 {
    let Some(lab) = Lab::mesh("--apps managed --sidecars classic --ca plug-in") else {
        return;
    };
    // Its check reads the gateway's certificate for its roots, so keep to what it can read.
    let gateway = lab.get("deployment -n istio-system istio-ingressgateway");
    lab.kubectl("delete deployment -n istio-system istio-ingressgateway");
    let install = "install --enable_all --ca citadel --option ca-migration-citadel --revision_name asm-1233-2-distribute-root";
    lab.asmcli(install);
    lab.kubectl(
        "label namespace pay istio.io/rev=asm-1233-2-distribute-root istio-injection- --overwrite",
    );
    lab.restart("pay");
    settle(&lab);

    let green = check_root_cert(&lab);
    say(&format!(
        "Google's check: {} pods, all `trusts [CITADEL MESHCA]`",
        green.len()
    ));
    for (pod, roots) in &green {
        assert_eq!(roots, "CITADEL MESHCA", "{pod}");
    }
    let ours = lab.rootshift("run check-root-cert -o jsonl").run().code(3);
    let lines: Vec<String> = ours.finished()["failure"]["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    let lacking: BTreeSet<&str> = lines
        .iter()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let shop: BTreeSet<&str> = green
        .keys()
        .map(String::as_str)
        .filter(|p| {
            p.split_once('.')
                .is_some_and(|(_, namespace)| namespace == "shop")
        })
        .collect();
    assert_eq!(lacking, shop, "just the pods that were not moved");

    // Begun by hand, gone on with by the stock script: classic sidecars, a plugged-in CA.
    let file = lab.file("gateway.json");
    std::fs::write(&file, renewed(gateway).to_string()).unwrap();
    lab.kubectl(&format!("apply -f {}", file.display()));
    settle(&lab);
    let start = lab.counts();
    let done = lab.run("citadel-to-meshca").run().code(0);
    assert_eq!(done.finished()["outcome"], "done");
    let_requests_flow();
    let end = lab.counts();
    // A classic sidecar does not hold its application back while it has one of the two roots only.
    let (early, late): (Vec<&Value>, Vec<&Value>) = failures(&start, &end)
        .into_iter()
        .partition(|f| f["age"].as_f64().unwrap() < READY_DELAY);
    say(&format!(
        "classic sidecars: {} requests, {} failed for trust, {} failed otherwise; {} of them by an application of less than {READY_DELAY} s",
        end.0["requests"].as_u64().unwrap() - start.0["requests"].as_u64().unwrap(),
        trust_failures(&end) - trust_failures(&start),
        end.0["other"].as_u64().unwrap() - start.0["other"].as_u64().unwrap(),
        early.len(),
    ));
    for failure in early.iter().chain(&late) {
        say(&format!("  {failure}"));
    }
    let trust = |f: &&&Value| f["kind"] == "trust";
    assert_eq!(late.iter().filter(trust).count(), 0, "{late:?}");
}

/// The failures after `before`, one by one. Only so many of the last are listed: all of these have to be.
fn failures<'a>(before: &Counts, after: &'a Counts) -> Vec<&'a Value> {
    let at = |failure: &Value| failure["at"].as_f64().unwrap();
    let all = |counts: &'a Counts| counts.0["failures"].as_array().unwrap();
    let happened =
        |counts: &Counts| counts.0["trust"].as_u64().unwrap() + counts.0["other"].as_u64().unwrap();
    let known = before.0["failures"]
        .as_array()
        .unwrap()
        .last()
        .map_or(0.0, at);
    let new: Vec<&Value> = all(after).iter().filter(|f| at(f) > known).collect();
    assert_eq!(
        new.len() as u64,
        happened(after) - happened(before),
        "more than are listed"
    );
    new
}

/// An object as it is applied again.
fn renewed(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        metadata.remove(key);
    }
    object["status"] = Value::Null;
    object
}
