//! Forwards, back from the middle of each phase, forwards again, and retired: both use cases, with real requests all the time.

use std::collections::BTreeMap;

use super::judge::settle;
use super::rig::Lab;
use crate::support::{Ran, say};

const FIRST: &str = "asm-1233-2-distribute-root";
const SECOND: &str = "asm-1233-2-meshca-ca-migration";

/// Few requests fail in a second, if any does: the tripwire need not look longer.
const FORWARDS: &str = "citadel-to-meshca --set watch=1";

/// How each namespace is injected, by both labels.
fn injection(lab: &Lab) -> BTreeMap<String, (Option<String>, Option<String>)> {
    let all = lab.get("namespaces");
    let of = |namespace: &serde_json::Value| {
        let labels = &namespace["metadata"]["labels"];
        let label = |name: &str| labels[name].as_str().map(str::to_owned);
        let name = namespace["metadata"]["name"].as_str().unwrap().to_owned();
        (name, (label("istio-injection"), label("istio.io/rev")))
    };
    all["items"].as_array().unwrap().iter().map(of).collect()
}

/// Revisions of the proxies of the applications, and of the gateways.
fn revisions(lab: &Lab) -> Vec<String> {
    let mut all = Vec::new();
    for namespace in ["shop", "pay", "istio-system"] {
        let pods = lab.get(&format!(
            "pods -n {namespace} -l security.istio.io/tlsMode=istio"
        ));
        for pod in pods["items"].as_array().unwrap() {
            let revision = pod["metadata"]["annotations"]["istio.io/rev"]
                .as_str()
                .or(pod["metadata"]["labels"]["istio.io/rev"].as_str());
            all.push(revision.unwrap_or("none").to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

fn undo(lab: &Lab, to: &str) {
    lab.run(&format!("undo --set to={to}")).run().code(0);
}

fn there_and_back(lab: &Lab, old: &str) {
    let injected = injection(lab);
    assert_eq!(revisions(lab), [old]);
    let counted = lab.counts();

    // The middle of phase 1: `pay` is moved, and so is `shop`, whose test fails; the gateway is not.
    let stopped = stopped_in_shop(lab, FIRST, "");
    assert_eq!(stopped.finished()["failure"]["code"].as_str(), None);
    assert!(revisions(lab).contains(&FIRST.to_owned()));
    undo(lab, "start");
    assert_eq!(
        (revisions(lab), injection(lab)),
        (vec![old.to_owned()], injected)
    );

    // The middle of phase 2.
    stopped_in_shop(lab, SECOND, "--set finalise=never");
    assert!(revisions(lab).contains(&SECOND.to_owned()));
    undo(lab, "distribute");
    assert_eq!(revisions(lab), [FIRST]);

    // To the end, from there.
    let retired = "--set through=retire --set new_root=accept --set backup_dir=";
    let confirmed = format!("{FORWARDS} {retired} --confirm {}", lab.context());
    lab.run(&confirmed).run().code(0);
    assert_eq!(revisions(lab), [SECOND]);
    settle(lab);

    let count = |what: &str| {
        let of = |counts: &super::rig::Counts| counts.0[what].as_u64().unwrap();
        of(&lab.counts()) - of(&counted)
    };
    say(&format!(
        "from `{old}`: requests {} ok, {} failed for trust, {} failed otherwise",
        count("ok"),
        count("trust"),
        count("other")
    ));
    // What is not trust's is counted where there is a control (`migration`): here a visitor may meet the one pod of a gateway
    // that has just ended, before kube-proxy knows ("connection refused", seen once on a busy machine).
    assert_eq!(count("trust"), 0, "{}", lab.counts().0["reasons"]);
    assert!(count("ok") > 1000);
}

/// The stock script, stopped by the site's test when namespace `shop` has come to this revision.
fn stopped_in_shop(lab: &Lab, revision: &str, set: &str) -> Ran {
    let ran = lab
        .run(&format!("{FORWARDS} {set}"))
        .arg("--set")
        .arg(format!(
            "test=[ \"$NAMESPACE $REVISION\" != \"shop {revision}\" ]"
        ))
        .run()
        .code(3);
    let message = ran.finished()["failure"]["message"].to_string();
    assert!(
        message.contains("the test of namespace `shop`"),
        "{message}"
    );
    ran
}

#[test]
fn from_the_unlabelled_revision_there_and_back() {
    let Some(lab) = Lab::mesh("--apps few") else {
        return;
    };
    there_and_back(&lab, "default");
}

#[test]
fn from_a_named_revision_with_a_plug_in_ca_there_and_back() {
    let Some(lab) = Lab::mesh("--apps few --revision asm-1162 --ca plug-in") else {
        return;
    };
    there_and_back(&lab, "asm-1162");
}
