//! Broken orders, on scripts that use only plain words: the guard is on the effect. Each is refused;
//! waived, it is an outage that is counted, for just the pairs that the refusal had named.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rootshift::pki::mint::{Authority, CaSpec};
use serde_json::Value;

use crate::support::{Program, Ran, rootshift};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}, {name: cart, kind: StatefulSet, replicas: 2}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}, {name: audit, kind: DaemonSet}]
gateways:
  - {name: istio-ingressgateway}
";

/// Straight to a revision that Mesh CA signs for.
const STRAIGHT: &str = r#"
//! Relabel a namespace to a Mesh CA revision.
//! mutates: true
fn main(p) {
    let t = mesh::connect().target();
    let ended = shell::run(["asmcli", "install", "--kubeconfig", t.kubeconfig, "--context", t.context, "--fleet_id", "twin-project",
        "--enable_all", "--ca", "mesh_ca", "--option", "ca-migration-meshca", "--revision_name", "straight", "--output_dir", fs::temp_dir()], #{ stdin: "y\n" });
    assert(ended.code == 0, ended.stderr);
    cluster::label("namespace", "pay", #{ "istio.io/rev": "straight", "istio-injection": () });
    for w in workload::list("pay") {
        workload::restart(w.kind, "pay", w.name);
        workload::wait(w.kind, "pay", w.name, #{ timeout: 120 });
    }
}
"#;

fn on_mesh(name: &str, script: &str, mesh: &str) -> Program {
    rootshift(&format!("run {name} --twin=mesh.yaml -o jsonl"))
        .file(name, script.trim_start())
        .file("mesh.yaml", mesh)
}

/// The pairs that the first answer of a gate named, as `CLIENT → SERVER`.
fn named_pairs(ran: &Ran, code: &str, verdict: &str) -> BTreeSet<String> {
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["code"] == code && e["verdict"] == verdict)
        .unwrap_or_else(|| panic!("no {verdict} {code} in {}", ran.stdout));
    let evidence = gate["evidence"].as_array().unwrap();
    evidence
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|line| line.split_once(": ").map(|(pair, _)| pair))
        .filter(|pair| pair.contains(" → "))
        .map(str::to_owned)
        .collect()
}

/// The pairs of workloads that real handshakes failed between.
fn failed_pairs(ran: &Ran) -> BTreeSet<String> {
    let finished = ran.finished();
    let pairs = finished["handshakes"]["pairs"].as_array().unwrap();
    pairs
        .iter()
        .filter(|p| p["failed"].as_u64() > Some(0))
        .map(|p| {
            format!(
                "{} → {}",
                p["client"].as_str().unwrap(),
                p["server"].as_str().unwrap()
            )
        })
        .collect()
}

fn failed(ran: &Ran) -> u64 {
    ran.finished()["handshakes"]["failed"].as_u64().unwrap()
}

#[test]
fn straight_to_mesh_ca_is_refused_and_waived_breaks_just_the_pairs_that_were_named() {
    let refused = on_mesh("straight.rhai", STRAIGHT, MESH).run().code(3);
    assert_eq!(refused.finished()["outcome"], "refused");
    assert_eq!(failed(&refused), 0, "nothing was moved");
    let named = named_pairs(&refused, "RS101", "refused");
    assert!(
        named.contains("shop/web → pay/api") && named.contains("pay/api → shop/web"),
        "{named:?}"
    );
    assert!(
        named.contains("istio-system/istio-ingressgateway → pay/api"),
        "{named:?}"
    );
    assert!(!named.contains("shop/web → shop/cart"), "{named:?}");

    let waived = on_mesh("straight.rhai", STRAIGHT, MESH)
        .args("--waive RS101=test")
        .run()
        .code(3);
    assert_eq!(waived.finished()["outcome"], "failed");
    assert!(failed(&waived) > 0);
    assert_eq!(named_pairs(&waived, "RS101", "waived"), named);
    assert_eq!(failed_pairs(&waived), named);
}

/// A tag leads straight to a revision that Mesh CA signs for.
const TAG: &str = r#"
//! Point a tag at a Mesh CA revision.
//! mutates: true
import "mesh/tags" as tags;
fn main(p) {
    tags::move_to("prod", "straight");
    workload::restart("Deployment", "pay", "api");
    workload::wait("Deployment", "pay", "api", #{ timeout: 120 });
}
"#;

#[test]
fn a_tag_that_is_pointed_straight_at_mesh_ca_is_refused_and_waived_it_is_an_outage() {
    let mesh = "
title: a tag
speed: 100
fleet_id: twin-project
revisions:
  - {name: old, ca: citadel, tags: [prod]}
  - {name: straight, ca: mesh_ca, options: [ca-migration-meshca]}
namespaces:
  pay:
    injection: prod
    workloads: [{name: api}]
  shop:
    injection: old
    workloads: [{name: web}]
";
    let refused = on_mesh("tag.rhai", TAG, mesh).run().code(3);
    assert_eq!(refused.finished()["outcome"], "refused");
    assert_eq!(failed(&refused), 0, "it leads where it led");
    let named = named_pairs(&refused, "RS101", "refused");
    assert!(named.contains("shop/web → pay/api"), "{named:?}");
    let waived = on_mesh("tag.rhai", TAG, mesh).args("--waive RS101=test");
    let waived = waived.run().code(3);
    assert!(failed(&waived) > 0);
    assert_eq!(failed_pairs(&waived), named);
}

/// (e) All roots right, and the new trust domain known to nobody.
#[test]
fn a_trust_domain_without_aliases_is_refused_before_phase_2_and_waived_breaks_what_was_named() {
    let mesh = format!("{MESH}aliases: false\nparams: {{through: sign, fleet_id: twin-project}}\n");
    let stock = |flags: &str| {
        rootshift(&format!(
            "run citadel-to-meshca --twin=mesh.yaml -o jsonl --set probe=never {flags}"
        ))
        .file("mesh.yaml", &mesh)
    };
    let refused = stock("").run().code(3);
    assert_eq!(refused.finished()["outcome"], "refused");
    assert_eq!(failed(&refused), 0);
    let named = named_pairs(&refused, "RS101", "refused");
    assert!(!named.is_empty());
    let events = refused.events();
    let started: Vec<&str> = events
        .iter()
        .filter(|e| e["event"] == "step_started")
        .filter_map(|e| e["name"].as_str())
        .collect();
    assert!(
        started.iter().any(|s| s.starts_with("phase 2")),
        "phase 1 is safe: {started:?}"
    );

    // The tripwire would stop it at the first workload.
    let waived = stock("--waive RS101=test --set tripwire=off").run().code(3);
    assert_eq!(waived.finished()["outcome"], "failed");
    let broken = failed_pairs(&waived);
    assert!(
        named.is_subset(&broken),
        "named {named:?}, broken {broken:?}"
    );
    let all_named: BTreeSet<String> = waived
        .events()
        .iter()
        .filter(|e| e["event"] == "gate" && e["code"] == "RS101")
        .flat_map(|e| e["evidence"].as_array().cloned().unwrap_or_default())
        .filter_map(|l| {
            l.as_str()
                .and_then(|l| l.split_once(": "))
                .map(|(pair, _)| pair.to_owned())
        })
        .filter(|pair| pair.contains(" → "))
        .collect();
    assert_eq!(broken, all_named);
}

/// (b) The CA secrets go while a namespace still depends on them.
const TOO_EARLY: &str = r#"
//! Delete the CA secrets with one namespace on the Mesh CA revision.
//! mutates: true
import "mesh/canary" as canary;
import "mesh/gateways" as gateways;
import "mesh/install" as install;

fn main(p) {
    let m = mesh::connect();
    let p = #{ namespaces: [], output_dir: "", fleet_id: "twin-project", timeout: 120, ready_delay: 0, overlays: [],
               ca_cert: "", ca_key: "", root_cert: "", cert_chain: "" };
    m.record_start();
    install::revision(m, p, "r1", "citadel");
    canary::move_namespaces(m, p, "r1", ["r1"]);
    gateways::add(m, p, "r1", ["r1"]);
    gateways::remove_old(m, p, ["r1"]);
    install::revision(m, p, "r2", "mesh_ca");
    canary::move_namespace(m, p, "pay", "r2", ["r2"]);
    step "delete" {
        cluster::delete("secret", "istio-system", "cacerts", #{ ignore_missing: true });
        cluster::delete("secret", "istio-system", "istio-ca-secret");
    }
    step "restart istiod" {
        for name in ["istiod", "istiod-r1", "istiod-r2"] {
            workload::restart("Deployment", "istio-system", name);
            workload::wait("Deployment", "istio-system", name, #{ timeout: 120 });
        }
    }
    step "restart a workload" {
        workload::restart("Deployment", "shop", "web");
        workload::wait("Deployment", "shop", "web", #{ timeout: 120 });
    }
}
"#;

fn last_step(ran: &Ran) -> String {
    let events = ran.events();
    let last = events
        .iter()
        .rfind(|e| e["event"] == "step_started")
        .unwrap();
    last["name"].as_str().unwrap().to_owned()
}

#[test]
fn ca_secrets_that_are_still_needed_stay_and_waived_the_damage_is_counted() {
    let run = |flags: &str| {
        on_mesh("early.rhai", TOO_EARLY, MESH)
            .args(flags)
            .run()
            .code(3)
    };

    let refused = run("");
    assert_eq!(refused.finished()["outcome"], "refused");
    assert_eq!(
        (failed(&refused), last_step(&refused).as_str()),
        (0, "delete")
    );
    assert_eq!(refused.finished()["failure"]["code"], "RS201");

    let restart = run("--waive RS201=test --waive RS202=test");
    assert_eq!(
        (failed(&restart), last_step(&restart).as_str()),
        (0, "restart istiod")
    );
    assert_eq!(restart.finished()["failure"]["code"], "RS203");

    // Slow enough for the running pods' copies of the root to be old still: later the mesh has healed.
    let slow = MESH.replace("speed: 100", "speed: 5");
    let workload = on_mesh("early.rhai", TOO_EARLY, &slow)
        .args("--waive RS201=test --waive RS202=test --waive RS203=test")
        .run()
        .code(3);
    assert_eq!(last_step(&workload), "restart a workload");
    assert!(!named_pairs(&workload, "RS101", "refused").is_empty());

    let waived = run("--waive RS201=test --waive RS202=test --waive RS203=test --waive RS101=test");
    assert_eq!(waived.finished()["outcome"], "failed");
    assert!(failed(&waived) > 0);
}

/// What serves a revision in use is not removed.
#[test]
fn istiod_of_a_revision_in_use_is_not_removed() {
    let script = r#"
//! Remove what serves the mesh.
//! mutates: true
fn main(p) {
    cluster::delete("deployment", "istio-system", "istiod");
}
"#;
    let ran = on_mesh("remove.rhai", script, MESH).run().code(3);
    assert_eq!(ran.finished()["failure"]["code"], "RS204");
}

/// A revision that does not exist would leave the namespace without proxies, silently.
#[test]
fn a_namespace_is_not_labelled_for_a_revision_that_is_not_there() {
    let script = r#"
//! Relabel to nothing.
//! mutates: true
fn main(p) {
    cluster::label("namespace", "shop", #{ "istio.io/rev": "nosuch", "istio-injection": () });
}
"#;
    let ran = on_mesh("label.rhai", script, MESH).run().code(3);
    assert_eq!(ran.finished()["failure"]["code"], "RS102");
}

/// An unreadable proxy stops whatever would change the mesh.
#[test]
fn nothing_is_restarted_while_one_proxy_is_unreadable() {
    let script = r#"
//! Restart.
//! mutates: true
fn main(p) {
    workload::restart("Deployment", "shop", "web");
}
"#;
    let mesh = format!("{MESH}faults:\n  admin: [{{pods: pay/api, mode: refuse}}]\n");
    let ran = on_mesh("restart.rhai", script, &mesh).run().code(3);
    assert_eq!(ran.finished()["failure"]["code"], "RS103");
}

/// Who may write the CA's secrets and not read them cannot know which root istiod will find.
#[test]
fn a_ca_secret_is_not_written_where_none_may_be_read() {
    let script = r#"
//! Plug in another CA, from next to nothing, and restart istiod.
//! mutates: true
fn main(p) {
    let attempts = [
        || cluster::create(#{ apiVersion: "v1", kind: "Secret", metadata: #{ name: "cacerts", namespace: "istio-system" },
            stringData: #{ "ca-cert.pem": "a", "ca-key.pem": "b", "root-cert.pem": "c", "cert-chain.pem": "d" } }),
        || workload::restart("Deployment", "istio-system", "istiod"),
    ];
    for attempt in attempts {
        try { attempt.call(); throw "it was done"; } catch (e) { print(`${e.code} ${e.evidence}`); }
    }
}
"#;
    let mesh = format!(
        "{MESH}faults:\n  api: [{{verb: get, resource: secrets, namespace: istio-system, times: 100000, \
         effect: {{status: {{code: 403, message: 'secrets \"cacerts\" is forbidden: User \"jane\" cannot get resource \"secrets\" in API group \"\" in the namespace \"istio-system\"'}}}}}}]\n"
    );
    let ran = on_mesh("plug-in.rhai", script, &mesh).run().code(0);
    for code in ["RS201", "RS203"] {
        let events = ran.events();
        let gate = events
            .iter()
            .find(|e| e["event"] == "gate" && e["code"] == code);
        let gate = gate.unwrap_or_else(|| panic!("no {code} in {}", ran.stdout));
        assert_eq!(gate["verdict"], "refused");
        let evidence = gate["evidence"].to_string();
        assert!(
            evidence.contains("is not known") && evidence.contains("may not get"),
            "{evidence}"
        );
    }
}

/// (f) An istiod that is Ready and cannot inject: a dry run shows it before a namespace points to it.
#[test]
fn an_istiod_without_its_ca_server_is_refused_before_anything_is_moved() {
    let refused = rootshift("run citadel-to-meshca --twin=no-ca-server -o jsonl")
        .run()
        .code(3);
    let failure = &refused.finished()["failure"];
    assert_eq!(failure["code"], "RS304", "{failure}");
    let evidence = failure["evidence"].to_string();
    assert!(
        evidence.contains("a dry run of a pod") && evidence.contains("failed calling webhook"),
        "{evidence}"
    );
    assert_eq!(failed(&refused), 0);
    let pointed = refused.events().iter().any(|e| {
        e["event"] == "mutation"
            && e["kind"] == "namespace"
            && e["change"].to_string().contains("meshca")
    });
    assert!(!pointed, "no namespace points to it");
}

#[test]
fn what_takes_the_ca_or_its_control_plane_away_in_other_words_is_refused() {
    for (code, says) in [
        (
            r#"cluster::patch("secret", "istio-system", "istio-ca-secret", #{ data: #{ "ca-cert.pem": "" } })"#,
            "secret istio-ca-secret would hold no `ca-cert.pem`",
        ),
        (
            r#"cluster::delete("namespace", "istio-system")"#,
            "namespace istio-system serves revision `default`",
        ),
        (
            r#"cluster::patch("mutatingwebhookconfiguration", "istio-sidecar-injector", #{ webhooks: [] })"#,
            "serves revision `default`",
        ),
    ] {
        rootshift("eval --twin")
            .arg(code)
            .run()
            .code(3)
            .stderr_has(says);
    }
}

/// Pods that have not started will, under whatever labels the namespace has by then.
#[test]
fn a_namespace_whose_pods_all_wait_for_a_node_is_not_relabelled() {
    let script = r#"
//! Relabel a namespace of which no pod runs.
//! mutates: true
fn main(p) {
    let labels = #{ app: "late" };
    cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "late", labels: #{ "istio-injection": "enabled" } } });
    cluster::create(#{ apiVersion: "apps/v1", kind: "Deployment", metadata: #{ name: "late", namespace: "late" },
        spec: #{ replicas: 1, selector: #{ matchLabels: labels }, template: #{ metadata: #{ labels: labels },
            spec: #{ nodeSelector: #{ pool: "coming" }, containers: [#{ name: "app", image: "app" }] } } } });
    time::sleep(1.0);
    cluster::label("namespace", "late", #{ "istio-injection": () });
}
"#;
    let ran = on_mesh("late.rhai", script, MESH).run().code(3);
    let failure = ran.finished()["failure"].clone();
    let evidence = failure["evidence"].to_string();
    assert_eq!(failure["code"], "RS102", "{failure}");
    assert!(
        evidence.contains("late/late would start without a proxy"),
        "{failure}"
    );
    assert!(
        evidence.contains("also RS103") && evidence.contains(".late unknown"),
        "{failure}"
    );
}

/// Who signs is not guessed: neither the one other CA that has a name, nor istiod where no address is given.
#[test]
fn a_ca_that_is_neither_istiod_nor_mesh_ca_is_not_taken_for_one_of_them() {
    let script = r#"
//! A revision with one CA after the other.
//! mutates: true
fn main(p) {
    for ca in [
        ["GoogleCAS", "projects/p/locations/l/caPools/pool", "MESHCA"],
        ["GkeWorkloadCertificate", "", "CITADEL"],
        ["Citadel", "cert-manager-istio-csr.cert-manager.svc:443", "MESHCA"],
        ["GoogleCA", "meshca.googleapis.com:443", "MESHCA"],
        ["GoogleCA", "", "MESHCA"],
        ["Citadel", "meshca.meshca.svc:15012", "MESHCA"],
    ] {
        let name = "istio-straight";
        let config = data::parse_yaml(cluster::get("configmap", "istio-system", name).data.mesh);
        config.defaultConfig.proxyMetadata.CA_PROVIDER = ca[0];
        config.defaultConfig.proxyMetadata.CA_ADDR = ca[1];
        cluster::patch("configmap", "istio-system", name, #{ data: #{ mesh: data::to_yaml(config) } });
        let verdict = "passes";
        try { mesh::connect().check_revision("straight", ca[2], [ca[2]]); } catch (e) { verdict = `${e.code} ${e.evidence}`; }
        print(`${ca[0]} at ${ca[1]}: ${verdict}`);
        if ca[0] != "GoogleCAS" { continue; }
        try { cluster::label("namespace", "pay", #{ "istio.io/rev": "straight", "istio-injection": () }); } catch (e) { print(`move: ${e.code}`); }
    }
}
"#;
    let mesh = format!(
        "{MESH}revisions: [{{name: straight, ca: mesh_ca, options: [ca-migration-meshca]}}]\n"
    );
    let ran = on_mesh("cas.rhai", script, &mesh).run().code(0);
    let events = ran.events();
    let said: Vec<&str> = events
        .iter()
        .filter(|e| e["event"] == "output")
        .filter_map(|e| e["text"].as_str())
        .collect();
    assert_eq!(said.len(), 7, "{said:?}");
    let refused = |line: usize, by: &str| {
        assert!(
            said[line].contains("RS304") && said[line].contains(by),
            "{said:?}"
        );
    };
    refused(0, "GoogleCAS");
    assert_eq!(said[1], "move: RS101");
    refused(2, "GkeWorkloadCertificate");
    refused(3, "cert-manager-istio-csr.cert-manager.svc:443");
    for line in [4, 5, 6] {
        assert!(said[line].ends_with("passes"), "{said:?}");
    }
}

/// Naming a root does not make it the one that signs.
#[test]
fn a_named_citadel_that_the_cluster_does_not_know_is_refused() {
    let stranger =
        Authority::self_signed(&CaSpec::istio("cluster.local", Timestamp::now())).unwrap();
    let run = |script: &str| {
        rootshift("eval --twin --ca CITADEL=stranger.pem")
            .arg(script)
            .file("stranger.pem", stranger.cert().pem())
            .run()
    };
    let refused = run(r#"mesh::connect().check_root_gone("CITADEL")"#);
    assert_ne!(refused.code, 0);
    refused
        .stderr_has("--ca CITADEL has")
        .stderr_has("secret istio-system/istio-ca-secret has")
        .stderr_has("leave --ca CITADEL away");

    let recorded = run(
        r#"cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "rootshift", namespace: "istio-system" },
            data: #{ "root-at-start.pem": cluster::get("configmap", "istio-system", "istio-ca-root-cert").data["root-cert.pem"] } });
           mesh::connect().check_root_gone("CITADEL")"#,
    );
    assert_ne!(recorded.code, 0);
    recorded.stderr_has("the record of the start (ConfigMap istio-system/rootshift) has");
}
