//! The stock script, whole: what the README promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Ran, rootshift};

fn names(events: &[Value], event: &str) -> Vec<String> {
    events
        .iter()
        .filter(|e| e["event"] == event)
        .filter_map(|e| e["name"].as_str().map(str::to_owned))
        .collect()
}

/// Every ordered pair that was live when the step ended had at least one handshake in it.
fn assert_every_pair_was_probed(ran: &Ran) {
    for event in ran
        .events()
        .iter()
        .filter(|e| e["event"] == "step_finished")
    {
        let pairs = event["handshakes"]["pairs"].as_array().unwrap();
        let live: Vec<_> = pairs.iter().filter(|p| p["live"] == true).collect();
        assert!(!live.is_empty(), "{event}");
        for pair in live {
            assert!(pair["made"].as_u64() > Some(0), "{}: {pair}", event["name"]);
        }
    }
}

#[test]
fn the_default_twin_is_migrated_and_the_old_ca_retired_without_a_failed_handshake() {
    let ran = rootshift("run citadel-to-meshca --twin -o jsonl")
        .run()
        .code(0);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(
        ran.stdout
            .lines()
            .last()
            .unwrap()
            .find("{\"event\":\"finished\",\"outcome\":\"done\""),
        Some(0)
    );
    let handshakes = &finished["handshakes"];
    assert!(handshakes["made"].as_u64() >= Some(10_000), "{handshakes}");
    assert_eq!(handshakes["failed"], 0, "{handshakes}");
    assert!(
        handshakes["least"]["made"].as_u64() > Some(0),
        "{handshakes}"
    );
    assert_every_pair_was_probed(&ran);

    let summary = &finished["summary"];
    assert_eq!(summary["failing_pairs"], Value::Array(Vec::new()));
    let signers: Vec<&String> = summary["signed_by"].as_object().unwrap().keys().collect();
    assert_eq!(signers, ["MESHCA"], "{summary}");
    let roots: Vec<&String> = summary["trusts"].as_object().unwrap().keys().collect();
    assert!(
        roots.iter().all(|r| r.starts_with("MESHCA a new root ")),
        "the third root is named: {roots:?}"
    );

    let events = ran.events();
    let steps: BTreeSet<String> = names(&events, "step_started").into_iter().collect();
    for wanted in [
        "phase 1: distribute both roots",
        "phase 2: sign with Mesh CA",
        "phase 3: retire the old CA",
    ] {
        assert!(steps.contains(wanted), "{steps:?}");
    }
    let gates: BTreeSet<&str> = events
        .iter()
        .filter(|e| e["event"] == "gate")
        .filter_map(|e| e["code"].as_str())
        .collect();
    for code in ["RS301", "RS302", "RS303", "RS304", "RS305"] {
        assert!(gates.contains(code), "{gates:?}");
    }
}

#[test]
fn by_default_it_stops_before_the_old_ca_is_retired() {
    let ran = rootshift("run citadel-to-meshca --twin -o jsonl --set through=sign")
        .run()
        .code(0);
    let steps = names(&ran.events(), "step_started");
    assert!(!steps.iter().any(|s| s.starts_with("phase 3")), "{steps:?}");
    let roots: Vec<String> = ran.finished()["summary"]["trusts"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(roots, ["CITADEL MESHCA"]);
}

#[test]
fn a_new_root_that_istiod_would_make_is_foreseen_and_refused() {
    let ran = rootshift("run citadel-to-meshca --twin -o jsonl --set new_root=refuse")
        .run()
        .code(3);
    assert_eq!(ran.finished()["outcome"], "refused");
    assert_eq!(ran.finished()["failure"]["code"], "RS202");
    let deleted = ran
        .events()
        .iter()
        .any(|e| e["event"] == "mutation" && e["kind"] == "secret" && e["phase"] == "sent");
    assert!(!deleted, "no secret was touched");
}

#[test]
fn native_sidecars_are_migrated_too() {
    let ran = rootshift("run citadel-to-meshca --twin=native -o jsonl")
        .run()
        .code(0);
    let finished = ran.finished();
    assert_eq!(
        (
            finished["outcome"].as_str(),
            finished["handshakes"]["failed"].as_u64()
        ),
        (Some("done"), Some(0))
    );
}

/// What the stock script did to gateways and the Services in front of them, in its order.
fn done_to_gateways(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = ran.events();
    let sent = events.iter().filter(|e| {
        e["event"] == "mutation"
            && e["phase"] == "sent"
            && text(&e["name"]).starts_with("istio-ingressgateway")
    });
    sent.map(|e| format!("{} {}", text(&e["verb"]), text(&e["kind"])))
        .collect()
}

/// What the stock script did to pods and workloads of applications, as kubectl says it, in its order.
fn moves(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let sent = events.iter().filter(|e| {
        e["event"] == "mutation"
            && e["phase"] == "sent"
            && e["namespace"] == "shop"
            && [
                "daemonset.apps",
                "deployment.apps",
                "pod",
                "statefulset.apps",
            ]
            .iter()
            .any(|kind| e["kind"] == *kind)
    });
    sent.map(|e| e["summary"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pods_that_only_an_eviction_replaces_are_moved_one_after_the_other() {
    const MESH: &str = "
title: a mesh with pods that stay until somebody deletes them
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads:
      - {name: db, kind: StatefulSet, replicas: 2, update_strategy: OnDelete}
      - {name: web, kind: Deployment, replicas: 2}
objects:
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: db, namespace: shop},
     spec: {maxUnavailable: 1, selector: {matchLabels: {app: db}}}}
gateways:
  - {name: istio-ingressgateway}
params: {through: sign, fleet_id: twin-project}
";
    let ran = rootshift("run citadel-to-meshca --twin=mesh.yaml -o jsonl")
        .file("mesh.yaml", MESH)
        .run()
        .code(0);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(finished["handshakes"]["failed"], 0, "{finished}");
    assert_every_pair_was_probed(&ran);
    let once = [
        "deployment.apps/web restarted",
        "statefulset.apps/db restarted",
        "pod/db-1 evicted",
        "pod/db-0 evicted",
    ];
    assert_eq!(moves(&ran), [once, once].concat(), "once for each phase");
    assert_eq!(
        done_to_gateways(&ran),
        [
            "create deployment.apps",
            "patch service",
            "post pod",
            "delete deployment.apps",
            "patch service",
            "patch deployment.apps",
        ],
        "nobody is sent to the old one any more, then who is there is asked to go; it goes last"
    );
    let signers: Vec<&String> = finished["summary"]["signed_by"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(signers, ["MESHCA"], "{finished}");
}

#[test]
fn a_gateway_that_somebody_stays_connected_to_is_taken_back_and_serves() {
    const MESH: &str = "
title: a mesh whose gateway has a visitor that does not leave
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads:
      - {name: web, kind: Deployment}
gateways:
  - {name: istio-ingressgateway, held_connections: 1}
params: {through: distribute, fleet_id: twin-project}
";
    let ran = rootshift("run citadel-to-meshca --twin=mesh.yaml -o jsonl --set gateway_drain=1")
        .file("mesh.yaml", MESH)
        .run()
        .code(3);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "refused");
    let failure = finished["failure"].to_string();
    assert!(
        failure.contains("is not drained in 1 s") && failure.contains("connections open: 1"),
        "{failure}"
    );
    assert_eq!(
        done_to_gateways(&ran),
        [
            "create deployment.apps",
            "patch service",
            "post pod",
            "post pod",
            "patch service"
        ],
        "drained, undrained, and the Service leads to both again"
    );
    assert_eq!(finished["handshakes"]["failed"], 0, "{finished}");
}

#[test]
fn a_budget_that_allows_nothing_stops_the_move_before_its_workload_is_touched() {
    const MESH: &str = "
title: a mesh with pods that none may be missing of
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads:
      - {name: cart, kind: StatefulSet, replicas: 2}
      - {name: web, kind: Deployment, replicas: 2}
objects:
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: all-of-them, namespace: shop},
     spec: {maxUnavailable: 0, selector: {matchLabels: {app: cart}}}}
params: {through: sign, fleet_id: twin-project}
";
    let ran = rootshift("run citadel-to-meshca --twin=mesh.yaml -o jsonl")
        .file("mesh.yaml", MESH)
        .run()
        .code(4);
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "failed");
    assert_eq!(finished["handshakes"]["failed"], 0, "{finished}");
    let failure = &finished["failure"];
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains(
            "`poddisruptionbudget.policy/shop/all-of-them` allows 0 even when all 2 pods are healthy"
        ),
        "{failure}"
    );
    assert_eq!(failure["resource"], "statefulset.apps/shop/cart");
    assert_eq!(
        failure["evidence"],
        serde_json::json!([
            "restarted: deployment.apps/shop/web",
            "failed: statefulset.apps/shop/cart"
        ])
    );
    assert_eq!(moves(&ran), ["deployment.apps/web restarted"]);
}

const SMALL: &str = "
title: two namespaces
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment}, {name: cart, kind: StatefulSet}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment}]
";

fn small(flags: &[&str]) -> Ran {
    let mut program = rootshift(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl --set ready_delay=0 --set through=distribute",
    )
    .file("mesh.yaml", SMALL);
    for flag in flags {
        program = program.arg("--set").arg(*flag);
    }
    program.run()
}

/// Deployments and StatefulSets that were restarted.
fn restarted(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let sent = events
        .iter()
        .filter(|e| e["event"] == "mutation" && e["why"] == "restart" && e["outcome"] == "changed");
    sent.map(|e| {
        format!(
            "{}/{}",
            e["namespace"].as_str().unwrap(),
            e["name"].as_str().unwrap()
        )
    })
    .collect()
}

#[test]
fn a_test_of_the_site_that_fails_stops_the_migration_at_its_namespace() {
    let ran = small(&["test=echo \"$NAMESPACE on $REVISION\"; test \"$NAMESPACE\" = pay"]).code(3);
    let failure = ran.finished()["failure"].clone();
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "the test of namespace `shop` on revision `asm-1233-2-distribute-root` ended with 1"
        ),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(
        hint.contains("rootshift undo --to start --set namespaces=shop"),
        "{failure}"
    );
    let said = ran.stdout.contains("pay on asm-1233-2-distribute-root");
    assert!(
        said,
        "it is told which namespace and revision: {}",
        ran.stdout
    );
    assert_eq!(ran.finished()["handshakes"]["failed"], 0);
    small(&["test=true", "soak=1"]).code(0);
}

#[test]
fn what_is_held_is_not_restarted_and_keeps_the_gate_closed() {
    for (held, moved) in [
        ("shop", vec!["pay/api"]),
        ("shop/web", vec!["pay/api", "shop/cart"]),
    ] {
        let ran = small(&[&format!("hold={held}")]).code(3);
        assert_eq!(restarted(&ran), moved);
        let failure = ran.finished()["failure"].clone();
        assert_eq!(failure["code"], "RS301", "{failure}");
        let evidence = failure["evidence"].to_string();
        assert!(evidence.contains("(shop/web) lacks MESHCA"), "{failure}");
        assert_eq!(
            evidence.contains("(shop/cart)"),
            held == "shop",
            "{failure}"
        );
    }
}
