//! Proxies that cannot be asked, judged by dumps that somebody saved, and machines: what may stand for them, and what not.

use serde_json::Value;

use crate::support::{Program, Ran, rootshift};

/// Nobody may forward a port to the pods of `pay`.
const MESH: &str = r#"
title: one namespace without the right to port-forward
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 1}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}]
faults:
  api:
  - {resource: pods/portforward, namespace: pay, times: 1000000, effect: {status: {code: 403, message: 'pods "x" is forbidden: User "jane" cannot create resource "pods/portforward" in API group "" in the namespace "pay"'}}}
"#;

/// What the scripts here have in common. A dump is what an SRE saves: `kubectl exec POD -c istio-proxy -- pilot-agent request
/// GET config_dump`.
const WORDS: &str = r#"
fn ask(what) {
    try {
        mesh::connect(#{ settle: 5 }).check_trusts(["CITADEL"]);
        print(`${what}: passed`);
    } catch (e) { print(`${what}: ${e.code} ${e.evidence}`); }
}

fn pod(namespace, app) {
    cluster::list("pods", #{ namespace: namespace, labels: `app=${app}` }).filter(|p| p.metadata.deletionTimestamp == ())[0].metadata.name
}

fn dump(namespace, name) {
    let said = cluster::exec(namespace, name, ["pilot-agent", "request", "GET", "config_dump"], #{ container: "istio-proxy", check: true });
    said.stdout
}

/// The dump with something changed in the section of that kind.
fn changed(dump, kind, change) {
    let all = data::parse_json(dump);
    for i in 0..all.configs.len() {
        if all.configs[i]["@type"].ends_with(kind) {
            let section = all.configs[i];
            all.configs[i] = change.call(section);
        }
    }
    data::to_json(all)
}
"#;

fn run(mesh: &str, script: &str) -> Program {
    rootshift("run words.rhai --twin=mesh.yaml -o jsonl --dump dumps")
        .file("mesh.yaml", format!("{MESH}{mesh}"))
        .file("dumps/pay/.here", "")
        .file(
            "words.rhai",
            format!("//! Save dumps, and ask.\n//! mutates: true\n{WORDS}{script}"),
        )
}

/// What was printed by that name.
#[track_caller]
fn said(ran: &Ran, what: &str) -> String {
    let prefix = format!("{what}: ");
    let events = ran.events();
    let mut texts = events.iter().filter(|e| e["event"] == "output");
    let line = texts.find_map(|e| e["text"].as_str()?.strip_prefix(&prefix).map(str::to_owned));
    line.unwrap_or_else(|| panic!("nothing of {what} in {}", ran.stdout))
}

fn notes(events: &[Value]) -> Vec<&str> {
    let notes = events.iter().filter(|e| e["event"] == "note");
    notes.filter_map(|e| e["text"].as_str()).collect()
}

#[test]
fn a_pod_that_may_not_be_asked_is_judged_by_its_own_dump_and_by_no_other() {
    let ran = run(
        "",
        r#"
fn main(p) {
    let name = pod("pay", "api");
    let file = `dumps/${name}.pay.json`;
    ask("none");
    try { workload::restart("Deployment", "pay", "api"); } catch (e) { print(`restart: ${e.code}`); }
    let true_one = dump("pay", name);
    fs::write(file, true_one);
    // Who can be asked is asked, whatever was saved.
    fs::write(`dumps/${pod("shop", "web")}.shop.json`, "{}");
    ask("its own");
    print(`inventory: ${mesh::connect().inventory().exceptions.filter(|e| e.kind == "from-dump")[0].items}`);

    fs::write(file, dump("shop", pod("shop", "web")));
    ask("another's");
    fs::write(file, changed(true_one, "BootstrapConfigDump", |s| { s.last_updated = "2026-01-01T00:00:00Z"; s }));
    ask("an earlier start's");
    let expired = cert::sample("leaf-expired");
    fs::write(file, changed(true_one, "SecretsConfigDump", |s| {
        for i in 0..s.dynamic_active_secrets.len() {
            if s.dynamic_active_secrets[i].name == "default" {
                s.dynamic_active_secrets[i].secret.tls_certificate.certificate_chain = #{ inline_string: expired.chain[0].pem };
            }
        }
        s
    }));
    ask("expired");
    fs::write(file, true_one.sub_string(0, 1000));
    ask("broken");
    fs::write(file, true_one);
    fs::write(`dumps/pay/${name}.json`, true_one);
    ask("twice");
    fs::write(`dumps/pay/${name}.json`, "{}");
    ask("once more its own");

    // istiod may tell it other roots now. Kubernetes' times are whole seconds.
    sleep(1.1);
    workload::restart("Deployment", "istio-system", "istiod");
    workload::wait("Deployment", "istio-system", "istiod", #{ timeout: 60 });
    ask("stale");
    let seen = data::parse_json(true_one).configs;
    wait_until("what the new istiod tells", || data::parse_json(dump("pay", name)).configs != seen);
    fs::write(file, dump("pay", name));
    ask("saved again");

    workload::restart("Deployment", "pay", "api");
    workload::wait("Deployment", "pay", "api", #{ timeout: 60 });
    ask("a new pod");
}
"#,
    )
    .run()
    .code(0);
    let unknown = |what: &str, reason: &str| {
        let said = said(&ran, what);
        assert!(said.starts_with("RS103 "), "{what}: {said}");
        assert!(
            said.contains("may not") && said.contains(reason),
            "{what}: {said}"
        );
    };
    unknown("none", "unknown");
    assert_eq!(said(&ran, "restart"), "RS103");
    assert_eq!(said(&ran, "its own"), "passed");
    assert!(said(&ran, "inventory").contains("(pay/api): from a dump, at most 0 min old"));
    unknown("another's", "it is of `web-");
    unknown("an earlier start's", "was started again at");
    unknown("expired", "its certificate expired at");
    unknown("broken", "it is not JSON");
    unknown("twice", "several dumps are of it");
    assert_eq!(said(&ran, "once more its own"), "passed");
    unknown("stale", "istiod-");
    assert_eq!(said(&ran, "saved again"), "passed");
    unknown("a new pod", "cannot be read");

    let events = ran.events();
    let passed = events
        .iter()
        .find(|e| e["event"] == "gate" && e["verdict"] == "passed")
        .unwrap();
    let evidence = passed["evidence"].to_string();
    assert!(
        evidence.contains("1 of 2 proxies are judged by dumps"),
        "{evidence}"
    );
    let notes = notes(&events);
    let strange = notes.iter().filter(|n| n.contains("no running proxy"));
    assert_eq!(strange.count(), 1, "the replaced pod's, once: {notes:?}");
    let spare = notes
        .iter()
        .filter(|n| n.contains("was asked itself: dumps/web-"));
    assert_eq!(spare.count(), 1, "{notes:?}");
    let beside = notes.iter().filter(|n| n.contains("no bootstrap section"));
    assert_eq!(
        beside.count(),
        1,
        "the one that was not the proxy's: {notes:?}"
    );
}

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
    spec: {address: 10.1.2.3, serviceAccount: web}
";

#[test]
fn a_machine_whose_dump_is_there_counts_as_a_proxy() {
    let ran = run(
        MACHINES,
        r#"
fn main(p) {
    let own = dump("pay", pod("pay", "api"));
    fs::write(`dumps/${pod("pay", "api")}.pay.json`, own);
    ask("none");
    // An agent on a machine calls itself after its host.
    let of_web = dump("shop", pod("shop", "web"));
    let at = |address| changed(of_web, "BootstrapConfigDump", |s| {
        s.bootstrap.node.id = `sidecar~${address}~host-7.shop~shop.svc.cluster.local`;
        s.bootstrap.node.metadata.INSTANCE_IPS = address;
        s
    });
    fs::write("dumps/vm-1.shop.json", at.call("10.1.2.4"));
    ask("another's");
    fs::write("dumps/vm-1.shop.json", at.call("10.1.2.3"));
    ask("its own");
    let m = mesh::connect();
    let found = m.inventory();
    print(`inventory: ${found.account.checked} ${found.counts.kinds} ${found.counts.signers}`);
    let machine = found.proxies.find(|x| x.kind == "machine");
    print(`machine: ${machine.owner} ${machine.trusts} ${machine.unknown}`);
    // It blocks like any other what it does not trust.
    try { m.check_trusts(["MESHCA"]); } catch (e) { print(`lacks: ${e.code} ${e.evidence}`); }
}
"#,
    )
    .run()
    .code(0);
    let none = said(&ran, "none");
    assert!(
        none.starts_with("RS104 ") && none.contains("WorkloadEntry shop/vm-1"),
        "{none}"
    );
    let another = said(&ran, "another's");
    assert!(another.starts_with("RS104 "), "{another}");
    assert!(
        another.contains("it is of a proxy at 10.1.2.4, and this one is at 10.1.2.3"),
        "{another}"
    );
    assert_eq!(said(&ran, "its own"), "passed");
    let counts = said(&ran, "inventory");
    assert!(
        counts.starts_with("3 ") && counts.contains(r#""machine": 1"#),
        "{counts}"
    );
    assert!(counts.contains(r#""CITADEL": 3"#), "{counts}");
    let machine = said(&ran, "machine");
    assert!(
        machine.starts_with(r#"WorkloadEntry shop/vm-1 ["CITADEL"]"#),
        "{machine}"
    );
    let lacks = said(&ran, "lacks");
    assert!(
        lacks.contains("vm-1.shop (shop/vm-1) lacks MESHCA"),
        "{lacks}"
    );
}

/// Two clusters of one mesh, whose StatefulSets have a pod of one name; nobody may forward a port to it.
const TWO: &str = r#"
title: two clusters without the right to port-forward
speed: 100
old_ca: plugged
fleet_id: twin-project
namespaces:
  pay:
    injection: enabled
    workloads: [{name: ledger, kind: StatefulSet}]
clusters:
  east:
    namespaces:
      MORE
      pay:
        injection: enabled
        workloads: [{name: ledger, kind: StatefulSet}]
faults:
  api:
  - {resource: pods/portforward, namespace: pay, times: 1000000, effect: {status: {code: 403, message: 'pods "x" is forbidden: User "jane" cannot create resource "pods/portforward" in API group "" in the namespace "pay"'}}}
"#;

#[test]
fn one_dump_does_not_stand_for_the_pods_of_two_clusters() {
    let run = |more: &str| {
        let script = r#"
fn address() { cluster::get("pod", "pay", "ledger-0").status.podIP }
fn started() { mesh::connect().proxies().find(|x| x.pod == "ledger-0").started }

fn main(p) {
    let first = cluster::contexts()[0];
    let east = cluster::contexts()[1];
    let alike = cluster::on(east, || address()) == address();
    print(`addresses: ${if alike { "one" } else { "two" }}`);
    // An Envoy that started before a pod's container is not the pod's: they start in one second or in two.
    let of = if alike && cluster::on(east, || started()) > started() { east } else { first };
    fs::write("dumps/ledger-0.pay.json", cluster::on(of, || dump("pay", "ledger-0")));
    ask("of one");
    fs::write("dumps/pay/ledger-0.json", cluster::on(east, || dump("pay", "ledger-0")));
    ask("of each");
}
"#;
        rootshift("run words.rhai --twin=mesh.yaml -o jsonl --dump dumps")
            .file("mesh.yaml", TWO.trim_start().replace("MORE", more))
            .file("dumps/pay/.here", "")
            .file(
                "words.rhai",
                format!("//! Save dumps, and ask.\n//! mutates: true\n{WORDS}{script}"),
            )
            .run()
            .code(0)
    };
    let judge = |ran: &Ran, addresses: &str| {
        let (one, each) = (said(ran, "of one"), said(ran, "of each"));
        let refused = |why: &str, said: &str| {
            assert!(said.starts_with("RS103 ") && said.contains(why), "{said}");
        };
        if addresses == "one" {
            refused("it may be of any of ledger-0.pay, ledger-0.pay@", &one);
            refused("several dumps are of it", &each);
        } else {
            // Each has its own.
            refused("it is of a proxy at ", &one);
            assert!(one.contains("ledger-0.pay@"), "{one}");
            assert_eq!(each, "passed");
        }
    };
    let alike = run("");
    assert_eq!(said(&alike, "addresses"), "one");
    judge(&alike, "one");
    // Which of two pods has the next address is nobody's to say.
    let apart = run("a: {workloads: [{name: first, kind: StatefulSet}]}");
    judge(&apart, &said(&apart, "addresses"));
}

#[test]
fn a_directory_that_cannot_be_read_is_said_before_anything_is_done() {
    rootshift("check --twin --dump missing")
        .run()
        .stdout("")
        .stderr("error: `--dump`: missing: cannot list: no such file or directory\n")
        .code(2);
}
