//! A mesh over several clusters: what was not looked at refuses, and what was looked at is judged with the rest.

use crate::support::{Program, Ran, ServedTwin, rootshift};

const MESH: &str = "
title: one cluster of a mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}]
";

/// A cluster that istiod reads endpoints of.
const REMOTE: &str = r#"
objects:
  - apiVersion: v1
    kind: Secret
    metadata: {name: istio-remote-secret-east, namespace: istio-system, labels: {istio/multiCluster: "true"}}
    stringData:
      east: |
        apiVersion: v1
        kind: Config
        clusters: [{name: east, cluster: {server: "SERVER"}}]
"#;

/// Virtual machines, and the kind that they are.
const MACHINES: &str = "
objects:
  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: workloadentries.networking.istio.io}
    spec:
      group: networking.istio.io
      scope: Namespaced
      names: {plural: workloadentries, singular: workloadentry, kind: WorkloadEntry, shortNames: [we]}
      versions:
        - name: v1
          served: true
          storage: true
          schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  - apiVersion: networking.istio.io/v1
    kind: WorkloadEntry
    metadata: {name: vm-1, namespace: shop}
    spec: {address: 10.1.2.3, serviceAccount: vm}
";

fn on(mesh: &str, what: &str) -> Program {
    rootshift(&format!("run {what} --twin=mesh.yaml -o jsonl"))
        .file("mesh.yaml", format!("{MESH}{mesh}"))
        .file("words.rhai", WORDS.trim_start())
}

const WORDS: &str = r#"
//! A restart, and a move.
//! mutates: true
fn main(p) {
    workload::restart("Deployment", "shop", "web");
    workload::wait("Deployment", "shop", "web", #{ timeout: 60 });
    print("restarted");
    let t = mesh::connect().target();
    let ended = shell::run(["asmcli", "install", "--kubeconfig", t.kubeconfig, "--context", t.context, "--fleet_id", "twin-project",
        "--enable_all", "--ca", "mesh_ca", "--option", "ca-migration-meshca", "--revision_name", "r1", "--output_dir", fs::temp_dir()], #{ stdin: "y\n" });
    assert(ended.code == 0, ended.stderr);
    cluster::label("namespace", "shop", #{ "istio.io/rev": "r1", "istio-injection": () });
    print("moved");
}
"#;

/// The evidence of the first refusal by a gate.
#[track_caller]
fn refused_by(ran: &Ran, code: &str) -> String {
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["code"] == code && e["verdict"] == "refused")
        .unwrap_or_else(|| panic!("no {code} in {}", ran.stdout));
    gate["evidence"].to_string()
}

fn said(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let texts = events.iter().filter(|e| e["event"] == "output");
    texts
        .filter_map(|e| e["text"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_cluster_that_was_not_given_is_named_and_refuses() {
    let remote = REMOTE.replace("SERVER", "https://10.9.9.9");
    let check = || on(&remote, "check-root-cert --set expect=CITADEL");
    let ran = check().run().code(3);
    let evidence = refused_by(&ran, "RS104");
    assert!(
        evidence.contains("cluster `east` is part of the mesh"),
        "{evidence}"
    );
    assert!(
        evidence.contains("API server https://10.9.9.9"),
        "{evidence}"
    );
    // By name, and by no other.
    check().args("--waive RS104:east=looked-at").run().code(0);
    check().args("--waive RS104:west=looked-at").run().code(3);

    let ran = on(&remote, "citadel-to-meshca").run().code(3);
    refused_by(&ran, "RS104");
    let events = ran.events();
    assert!(
        events.iter().all(|e| e["event"] != "mutation"),
        "nothing was changed"
    );

    // What stays as it is for the rest of the mesh may be restarted; what gets another certificate may not.
    let ran = on(&remote, "words.rhai").run().code(3);
    assert_eq!(said(&ran), ["restarted"]);
    refused_by(&ran, "RS104");
}

#[test]
fn workloads_without_a_pod_are_named_and_refuse() {
    let ran = on(MACHINES, "check-root-cert --set expect=CITADEL")
        .run()
        .code(3);
    let evidence = refused_by(&ran, "RS104");
    assert!(evidence.contains("WorkloadEntry shop/vm-1"), "{evidence}");
    on("", "check-root-cert --set expect=CITADEL").run().code(0);
}

/// Two clusters, each with a CA of its own, which no mesh should be: the proxies of the one stand in the matrix of the other.
#[test]
fn the_proxies_of_every_cluster_that_was_given_are_judged() {
    let twin = |name: &str| {
        let scenario = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(scenario.path(), MESH).unwrap();
        let twin = ServedTwin::start(scenario.path().to_str().unwrap());
        let text = std::fs::read_to_string(&twin.kubeconfig).unwrap();
        let text = text.replace("gke_twin-project_us-central1-a_twin", name);
        let text = text.replace("twin-admin", &format!("{name}-admin"));
        std::fs::write(&twin.kubeconfig, text).unwrap();
        twin
    };
    let (west, east) = (twin("west"), twin("east"));
    let both = format!(
        "{}:{}",
        west.kubeconfig.display(),
        east.kubeconfig.display()
    );
    let check = |contexts: &str| {
        rootshift(&format!(
            "run check-root-cert --set expect=CITADEL -o jsonl --ca MESHCA={} {contexts}",
            west.mesh_ca.display()
        ))
        .env("KUBECONFIG", both.clone())
        .run()
    };
    check("--context west").code(0);
    check("--context east").code(0);
    let ran = check("--context west --context east").code(3);
    let evidence = refused_by(&ran, "RS301");
    assert!(
        evidence.contains(".shop@east (shop/web@east) lacks CITADEL"),
        "{evidence}"
    );
    assert!(
        !evidence.contains("shop/web) lacks"),
        "those of west have it: {evidence}"
    );
    // The procedure waits for it before anything is changed.
    let ran = rootshift(&format!(
        "run citadel-to-meshca --yes -o jsonl --ca MESHCA={} --context west --context east",
        west.mesh_ca.display()
    ))
    .env("KUBECONFIG", both.clone())
    .run()
    .code(3);
    let evidence = refused_by(&ran, "RS305");
    assert!(
        evidence.contains("shop/web → shop/web@east: the client refuses"),
        "{evidence}"
    );
    assert!(ran.events().iter().all(|e| e["event"] != "mutation"));
    // One that cannot be read is unknown.
    drop(east);
    let ran = check("--context west --context east");
    assert_ne!(ran.code, 0);
    assert!(
        format!("{}{}", ran.stdout, ran.stderr).contains("east"),
        "{ran:?}"
    );
}
