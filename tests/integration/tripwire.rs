//! The tripwire: certificates that the proxies themselves refuse stop a move where the gates were waived.

use serde_json::Value;

use crate::support::{Ran, rootshift};

/// All roots right, and the new trust domain known to nobody: phase 2 breaks trust, and only its gate stands before it.
const MESH: &str = "
title: a small mesh without aliases
speed: 100
fleet_id: twin-project
aliases: false
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}, {name: cart, kind: StatefulSet}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment}, {name: ledger, kind: StatefulSet}]
gateways:
  - {name: istio-ingressgateway}
params: {through: sign, fleet_id: twin-project, ready_delay: 0, probe: never}
";
const SECOND: &str = "asm-1233-2-meshca-ca-migration";

fn waived(flags: &str) -> Ran {
    rootshift(&format!(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl --waive RS101=test {flags}"
    ))
    .file("mesh.yaml", MESH)
    .run()
}

/// Notes of phase 2 and what is within, as they were told; and the workloads that it restarted.
fn phase_2(ran: &Ran) -> (Vec<String>, Vec<String>) {
    let events = ran.events();
    let begun = |e: &Value| {
        e["event"] == "step_started"
            && e["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("phase 2"))
    };
    let after = || events.iter().skip_while(|e| !begun(e));
    let notes = after().filter(|e| e["event"] == "note");
    let restarts = after()
        .filter(|e| e["event"] == "mutation" && e["why"] == "restart" && e["outcome"] == "changed");
    let name = |e: &Value| {
        let text = |key: &str| e[key].as_str().unwrap().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    };
    (
        notes
            .map(|e| e["text"].as_str().unwrap().to_owned())
            .collect(),
        restarts.map(name).collect(),
    )
}

fn strings(value: &Value) -> Vec<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_move_that_breaks_trust_stops_after_its_first_workload() {
    let ran = waived("--set max_csr_per_second=4").code(3);
    let finished = ran.finished();
    let (notes, restarted) = phase_2(&ran);
    assert_eq!(restarted, ["pay/api"], "the rest stays");
    // What was said before it began.
    for said in [
        "classic sidecars start beside their application (pay/api, pay/ledger, shop/cart, shop/web)",
        "when roots change, in phase 3, all 6 proxies ask for certificates at once, and the CA gives 4.0 a second",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(said)), "{notes:?}");
    }
    assert!(
        finished["handshakes"]["failed"].as_u64() > Some(0),
        "it is an outage"
    );
    assert!(
        !notes.iter().any(|note| note.starts_with("not watched")),
        "{notes:?}"
    );

    let failure = &finished["failure"];
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.starts_with("deployment.apps/pay/api restarted: proxies refuse certificates ("),
        "{failure}"
    );
    assert!(
        failure["hint"]
            .as_str()
            .unwrap()
            .starts_with("take it back: rootshift undo --to distribute --set namespaces=pay;"),
        "{failure}"
    );
    let evidence = strings(&failure["evidence"]);
    let both = |pod: &str, what: &str| {
        assert!(
            evidence
                .iter()
                .any(|line| line.starts_with(pod) && line.contains(what)),
            "{pod} {what}: {evidence:?}"
        );
    };
    // Those that were there, each on its own: what the new pod refuses itself may be of its start.
    let api = "refused the certificate of the server api.pay.svc.cluster.local:8080: it bears no name that is accepted here";
    both("web-", api);
    both("cart-0.shop ", api);
    both("ledger-0.pay ", api);
    both("istio-ingressgateway-", api);
    assert_eq!(failure["kind"], "refused");
    both("restarted: deployment.apps/pay/api", "");
    both("not begun: statefulset.apps/pay/ledger", "");
}

/// The control: what the tripwire stops goes on without it.
#[test]
fn without_the_tripwire_the_rest_is_restarted_too_and_a_warning_stops_nothing() {
    for (flags, warned) in [("--set tripwire=off", false), ("--set tripwire=warn", true)] {
        let ran = waived(flags).code(3);
        assert_eq!(ran.finished()["outcome"], "failed", "{flags}");
        let (notes, restarted) = phase_2(&ran);
        assert_eq!(
            restarted,
            ["pay/api", "pay/ledger", "shop/web", "shop/cart"],
            "{flags}"
        );
        let said = notes
            .iter()
            .any(|note| note.contains("proxies refuse certificates"));
        assert_eq!(said, warned, "{flags}: {notes:?}");
    }
}

/// Phase 3 while a namespace is signed for by the old CA, which its gates would not let happen.
const TOO_EARLY: &str = r#"
//! Retire the old CA while a namespace is signed for by it.
//! mutates: true
//! param tripwire: string = "stop"   As of the stock script.
import "mesh/canary" as canary;
import "mesh/gateways" as gateways;
import "mesh/install" as install;
import "mesh/retire" as retire;

fn main(given) {
    let m = mesh::connect();
    let p = #{ tripwire: given.tripwire, watch: 1, timeout: 60, namespaces: [], output_dir: "", fleet_id: "twin-project", ready_delay: 0,
               overlays: [], ca_cert: "", ca_key: "", root_cert: "", cert_chain: "", revision_1: "r1", revision_2: "r2",
               new_root: "accept", backup_dir: "" };
    let unwatched = p + #{ tripwire: "off" };
    m.record_start();
    install::revision(m, p, "r1", "citadel");
    canary::move_namespaces(m, unwatched, "r1", ["r1"]);
    gateways::upgrade(m, unwatched, "r1");
    install::revision(m, p, "r2", "mesh_ca");
    canary::move_namespaces(m, unwatched + #{ namespaces: ["shop"] }, "r2", ["r2"]);
    // The control waits so long in vain for the old root to go.
    retire::old_ca(p + #{ timeout: 10 });
}
"#;

#[test]
fn the_end_of_the_old_ca_stops_where_proxies_still_need_it() {
    let retired = |tripwire: &str| {
        let waived = "--waive RS302=test --waive RS201=test --waive RS203=test";
        let ran = rootshift(&format!(
            "run early.rhai --twin=mesh.yaml -o jsonl {waived} --set tripwire={tripwire}"
        ))
        .file("early.rhai", TOO_EARLY.trim_start())
        .file("mesh.yaml", MESH.replace("aliases: false\n", ""))
        .run()
        .code(3);
        let events = ran.events();
        let last = events.iter().rfind(|e| e["event"] == "step_started");
        let last = last.unwrap()["name"].as_str().unwrap().to_owned();
        (ran.finished()["failure"].clone(), last)
    };
    let (failure, last) = retired("stop");
    assert_eq!(last, "restart istiod", "the gateways stay as they are");
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.starts_with("istiod restarted: proxies refuse certificates ("),
        "{failure}"
    );
    let evidence = strings(&failure["evidence"]);
    let refused = "refused the certificate of the server api.pay.svc.cluster.local:8080: it hangs from no root that is trusted here";
    assert!(
        evidence
            .iter()
            .any(|line| line.starts_with("web-") && line.contains(refused)),
        "{evidence:?}"
    );
    // The control: whatever else stands in its way then, the next step is begun.
    let (failure, last) = retired("off");
    assert_ne!(last, "restart istiod");
    assert!(
        !failure["message"].to_string().contains("proxies refuse"),
        "{failure}"
    );
}

/// Revisions that nobody told to count are silent: that is said, and is not taken for none.
#[test]
fn proxies_that_do_not_count_are_named_as_not_watched() {
    let ran = waived("--set through=distribute").code(0);
    let events = ran.events();
    let mut notes = events
        .iter()
        .filter(|e| e["event"] == "note" && e["level"] == "warn");
    let said = notes.find_map(|e| e["text"].as_str().filter(|t| t.starts_with("not watched")));
    let said = said.unwrap_or_else(|| panic!("nothing said in {}", ran.stdout));
    assert!(
        said.starts_with(
            "not watched: 6 of 6 proxies do not tell whether they refuse certificates ("
        ) && said.contains("its Envoy keeps no count of certificates of servers and clients"),
        "{said}"
    );
}

/// The counters are the injected proxy's own: a pod whose annotation chooses others is silent.
#[test]
fn a_pod_that_chooses_its_own_counters_is_silent() {
    let mesh = MESH.replace(
        "{name: ledger, kind: StatefulSet}",
        "{name: ledger, kind: StatefulSet, annotations: {sidecar.istio.io/statsInclusionRegexps: 'http.*'}}",
    );
    let ran = rootshift(&format!(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl --waive RS101=test --set revision_2={SECOND}"
    ))
    .file("mesh.yaml", &mesh)
    .run()
    .code(3);
    let (notes, restarted) = phase_2(&ran);
    let said = notes.iter().find(|note| note.starts_with("not watched"));
    assert!(
        said.is_some_and(|note| note.starts_with("not watched: 1 of 6 proxies")),
        "{notes:?}"
    );
    assert_eq!(restarted, ["pay/api"], "the others still tell");
}
