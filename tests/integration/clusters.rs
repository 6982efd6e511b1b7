//! A mesh over several clusters: what was not looked at refuses, and what was looked at is judged with the rest.

use crate::convergence::Mesh;
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
pub(crate) fn refused_by(ran: &Ran, code: &str) -> String {
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

/// One mesh of two clusters, with something in each that the other one has not.
const TWO: &str = "
title: two clusters of one mesh
speed: 100
old_ca: plugged
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web}]
gateways:
  - {name: istio-ingressgateway}
clusters:
  east:
    namespaces:
      shop:
        injection: enabled
        workloads: [{name: web}]
      pay:
        injection: default
        workloads: [{name: ledger, kind: StatefulSet}]
";

const FIRST: &str = "asm-1233-2-distribute-root";
const SECOND: &str = "asm-1233-2-meshca-ca-migration";

/// All clusters in lines.
const PLACE: &str = r#"
//! The mesh in lines.
//! mutates: false
fn main(p) {
    cluster::each(|| {
        let at = cluster::context();
        for proxy in mesh::connect().proxies() { print(`${at} ${proxy.workload.namespace}/${proxy.workload.name} ${proxy.revision} ${proxy.signer} ${proxy.trusts}`); }
        // asmcli labels its own namespace.
        for ns in cluster::list("namespaces").filter(|ns| ns.metadata.name != "istio-system") { print(`${at} namespace ${ns.metadata.name} ${ns.metadata.labels} ${ns.metadata.annotations}`); }
        for kind in ["deployment", "service", "secret", "mutatingwebhookconfiguration"] {
            for o in cluster::list(kind) { print(`${at} ${kind} ${o.metadata.namespace ?? ""}/${o.metadata.name}`); }
        }
    });
}
"#;

impl Mesh {
    fn everywhere(&self) -> Vec<String> {
        let mut lines = self.ask(PLACE);
        lines.sort();
        lines
    }

    fn of_all(&self, script: &str, set: &str) -> Ran {
        let forward = script == "citadel-to-meshca";
        self.run(script)
            .args("--set fleet_id=twin-project --set ready_delay=0")
            .args(if forward { "--set watch=0" } else { "" })
            .args(set)
            .run()
    }
}

/// What a run changed, each with the step in which it did.
fn changed(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let mutations = events.iter().filter(|e| e["event"] == "mutation");
    mutations.map(ToString::to_string).collect()
}

#[test]
fn no_cluster_enters_phase_2_before_all_have_ended_phase_1() {
    let mesh = Mesh::start(TWO);
    let ran = mesh
        .of_all("citadel-to-meshca", "--set hold=pay/ledger")
        .code(3);
    let evidence = refused_by(&ran, "RS301");
    assert!(
        evidence.contains("(pay/ledger@gke_twin-project_us-central1-a_east) lacks MESHCA"),
        "{evidence}"
    );
    let changed = changed(&ran);
    let of = |context: &str, what: &str| {
        let has = |line: &&String| line.contains(context) && line.contains(what);
        changed.iter().filter(has).count()
    };
    assert!(of("", SECOND) == 0, "{changed:#?}");
    let place = mesh.everywhere();
    for context in mesh.twin.contexts() {
        let moved = format!("{context} shop/web {FIRST} CITADEL [\"CITADEL\", \"MESHCA\"]");
        assert!(place.contains(&moved), "{place:#?}");
    }

    // Of one of them alone the other one is said to be missing; waived, its workloads are cut off.
    let alone = |set: &str| {
        mesh.run_on("citadel-to-meshca", &mesh.twin.contexts()[..1])
            .args("--set fleet_id=twin-project --set ready_delay=0")
            .args(set)
            .run()
    };
    let ran = alone("").code(3);
    let evidence = refused_by(&ran, "RS104");
    assert!(evidence.contains("cluster `east`"), "{evidence}");
    assert_eq!(mesh.failed_handshakes(), 0);
    alone("--waive RS104=test").code(0);
    assert!(
        mesh.failed_handshakes() > 0,
        "the barrier keeps from something"
    );
}

#[test]
fn several_clusters_go_forwards_back_and_forwards_again() {
    let mesh = Mesh::start(TWO);
    let start = mesh.everywhere();
    let both = |revision: &str, signer: &str, trusts: &str| {
        let place = mesh.everywhere();
        let proxies: Vec<_> = place.iter().filter(|line| line.contains("[\"")).collect();
        assert_eq!(proxies.len(), 4, "{place:#?}");
        for proxy in proxies {
            let end = format!(" {revision} {signer} {trusts}");
            assert!(proxy.ends_with(&end), "{proxy} is not of{end}");
        }
    };
    let roots = "[\"CITADEL\", \"MESHCA\"]";
    mesh.of_all("citadel-to-meshca", "--set finalise=never")
        .code(0);
    both(SECOND, "MESHCA", roots);
    mesh.of_all("undo", "--set to=distribute").code(0);
    both(FIRST, "CITADEL", roots);
    mesh.of_all("undo", "--set to=start").code(0);
    assert_eq!(mesh.everywhere(), start);
    let ran = mesh
        .of_all(
            "citadel-to-meshca",
            "--set through=retire --set new_root=accept --set backup_dir=",
        )
        .code(0);
    let result = &ran.finished()["summary"];
    assert_eq!(result["proxies"]["judged"], 4, "{result}");
    assert_eq!(result["signed_by"]["MESHCA"], 4, "{result}");
    let place = mesh.everywhere();
    assert!(
        !place.iter().any(|line| line.contains("\"CITADEL\"")),
        "{place:#?}"
    );
    assert_eq!(mesh.failed_handshakes(), 0);
    // Nothing is left to do.
    let again = mesh.of_all(
        "citadel-to-meshca",
        "--set through=retire --set new_root=accept --set backup_dir=",
    );
    assert!(
        changed(&again.code(0))
            .iter()
            .all(|m| m.contains("unchanged"))
    );
}

#[test]
fn a_namespace_that_no_cluster_has_is_refused_before_anything_is_done() {
    let mesh = Mesh::start(TWO);
    for script in ["citadel-to-meshca", "undo --set to=start"] {
        let ran = mesh.of_all(script, "--set namespaces=shop,pya").code(2);
        assert!(
            ran.stdout.contains("there is no namespace `pya`"),
            "{ran:?}"
        );
        assert!(changed(&ran).is_empty());
    }
}
