//! One pod of the revision that signs with Mesh CA comes up, or nothing is moved to it.

use serde_json::Value;

use crate::support::{Ran, rootshift};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment}]
gateways:
  - {name: istio-ingressgateway}
params: {through: sign, fleet_id: twin-project, ready_delay: 0, timeout: 8}
";

/// A revision whose agents have nobody to sign for them: no gate can know that of an address.
const NOBODY: &str = "apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  meshConfig: {defaultConfig: {proxyMetadata: {CA_PROVIDER: Citadel}}}
  values: {global: {caAddress: 'nowhere.example:443'}}
";

fn run(flags: &str) -> Ran {
    rootshift(&format!(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl {flags}"
    ))
    .file("mesh.yaml", MESH)
    .file("nobody.yaml", NOBODY)
    .run()
}

/// What was done to objects of this kind once the second revision was there, as `NAME CHANGE`.
fn changes(ran: &Ran, kind: &str) -> Vec<String> {
    let events = ran.events();
    let begun = |e: &Value| {
        let name = e["name"].as_str().unwrap_or_default();
        e["event"] == "step_finished" && name.starts_with("install revision asm-1233-2-meshca")
    };
    let after = events.iter().skip_while(|e| !begun(e));
    let done =
        after.filter(|e| e["event"] == "mutation" && e["kind"] == kind && e["outcome"].is_string());
    done.map(|e| {
        let text = |key: &str| e[key].as_str().unwrap_or_default();
        format!("{} {}", text("name"), text("outcome"))
    })
    .collect()
}

#[test]
fn a_probe_comes_and_goes_before_anything_is_moved() {
    let ran = run("").code(0);
    let probe = "rootshift-probe-asm-1233-2-meshca-ca-migration";
    let pods = changes(&ran, "pod");
    assert_eq!(pods.len(), 2, "{pods:?}");
    assert!(pods.iter().all(|pod| pod.starts_with(probe)), "{pods:?}");
    assert_eq!(
        changes(&ran, "namespace").len(),
        1,
        "and then shop is moved"
    );
    assert_eq!(ran.finished()["handshakes"]["failed"], 0);
}

/// The gates are waived, as somebody would who trusts the installation.
#[test]
fn a_probe_that_nobody_signs_for_keeps_everything_where_it_is_and_without_it_a_namespace_is_moved()
{
    let waived = "--set overlays=nobody.yaml --waive RS304=test --waive RS101=test --waive RS102=test --waive RS103=test";
    let refused = run(waived).code(3);
    let failure = &refused.finished()["failure"];
    assert!(
        failure["message"].as_str().unwrap().starts_with(
            "a probe of revision `asm-1233-2-meshca-ca-migration` did not become what its proxies have to be"
        ),
        "{failure}"
    );
    let evidence = failure["evidence"].to_string();
    assert!(evidence.contains("it is not ready: "), "{evidence}");
    assert!(
        changes(&refused, "namespace").is_empty(),
        "nothing was moved"
    );
    assert_eq!(changes(&refused, "pod").len(), 2, "made and deleted");

    let moved = run(&format!("{waived} --set probe=never"));
    assert_eq!(changes(&moved, "namespace").len(), 1, "{}", moved.stdout);
    assert_ne!(moved.finished()["outcome"], "done");
}

/// What Citadel's proxies need of a network, and no more.
const POLICY: &str = "objects:
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: inside, namespace: shop}
    spec:
      podSelector: {}
      policyTypes: [Egress]
      egress: [{to: [{namespaceSelector: {}}]}]
";

/// In the first phase it hinders nobody.
#[test]
fn a_network_policy_without_a_way_to_mesh_ca_keeps_phase_2_from_moving_anything() {
    let run = |flags: &str| {
        rootshift(&format!(
            "run citadel-to-meshca --twin=mesh.yaml -o jsonl --set probe=never {flags}"
        ))
        .file("mesh.yaml", format!("{}{POLICY}", MESH.trim_start()))
        .run()
    };
    let refused = run("").code(3);
    let failure = &refused.finished()["failure"];
    assert_eq!(failure["code"], "RS307", "{failure}");
    assert_eq!(
        failure["evidence"],
        serde_json::json!([
            "Deployment shop/web has no way to Mesh CA, TCP 443: closed by NetworkPolicy shop/inside"
        ]),
    );
    assert!(changes(&refused, "namespace").is_empty());
    let waived = run("--waive RS307=the-network-enforces-none").code(0);
    assert_eq!(changes(&waived, "namespace").len(), 1);
}
