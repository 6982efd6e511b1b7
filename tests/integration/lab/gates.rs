//! Each gate refuses on a real mesh what it is there for. RS104 has two clusters (`clusters`), RS203 an istiod whose secret is
//! gone (`negative`).

use serde_json::Value;

use super::judge::settle;
use super::rig::Lab;
use crate::support::say;

const FIRST: &str = "asm-1233-2-distribute-root";
const SECOND: &str = "asm-1233-2-meshca-ca-migration";

/// What is there for them to find. None of it disturbs what runs.
const FAULTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: both, labels: {istio.io/rev: default, istio-injection: enabled}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: inside-only, namespace: pay}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{port: 53, protocol: UDP}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: from-shop, namespace: pay}
spec:
  rules: [{from: [{source: {principals: ["cluster.local/ns/shop/*"]}}]}, {}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader, namespace: legacy}
spec:
  replicas: 0
  selector: {matchLabels: {app: reader}}
  template:
    metadata: {labels: {app: reader}}
    spec:
      containers: [{name: app, image: app, volumeMounts: [{name: roots, mountPath: /roots}]}]
      volumes: [{name: roots, configMap: {name: istio-ca-root-cert}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: istio-validator-nowhere, labels: {app: istiod, istio: istiod}}
webhooks:
  - name: rev.validation.istio.io
    clientConfig: {service: {name: nowhere, namespace: istio-system, path: /validate}}
    rules: [{apiGroups: [networking.istio.io], apiVersions: ["*"], operations: [CREATE], resources: [virtualservices]}]
    sideEffects: None
    admissionReviewVersions: [v1]
    failurePolicy: Fail
    objectSelector: {matchLabels: {istio.io/rev: nowhere}}
"#;

/// Asks each for what it refuses, and answers with the refusals by what was asked for.
const ASK: &str = r#"//! Ask each gate for what it refuses.
//! mutates: true
//! param first: string
//! param second: string
fn main(p) {
    let m = mesh::connect(#{ read_timeout: 2, settle: 2 });
    let acts = #{
        RS101: || cluster::label("namespace", "pay", #{ "istio.io/rev": p.second, "istio-injection": () }),
        RS102: || cluster::label("namespace", "shop", #{ "istio.io/rev": "nowhere", "istio-injection": () }),
        RS105: || cluster::label("namespace", "pay", #{ "istio.io/rev": p.second, "istio-injection": () }),
        RS201: || cluster::delete("secret", "istio-system", "istio-ca-secret"),
        RS202: || cluster::delete("secret", "istio-system", "istio-ca-secret"),
        RS204: || cluster::delete("deployment", "istio-system", "istiod"),
        RS205: || cluster::delete("secret", "istio-system", "istio-ca-secret"),
        RS301: || m.check_trusts(["CITADEL", "MESHCA"]),
        RS302: || m.check_signed_by("MESHCA"),
        RS303: || m.check_root_gone("CITADEL"),
        RS304: || m.check_revision("default", "CITADEL", ["CITADEL", "MESHCA"]),
        RS305: || m.check_healthy(),
        RS306: || m.check_validation(),
        RS307: || m.check_network(p.first),
        RS308: || m.check_trust_domains(["elsewhere"]),
    };
    let refusals = #{};
    for code in acts.keys() {
        let act = acts[code];
        try { act.call(); refusals[code] = #{ code: "none", evidence: [] }; } catch (e) { refusals[code] = #{ code: e.code ?? e.message, evidence: e.evidence ?? [] }; }
    }
    refusals
}
"#;

/// What the evidence of each is about.
const NAMED: &[(&str, &str)] = &[
    ("RS101", "shop/web → pay/api"),
    ("RS102", "nowhere"),
    ("RS105", "pay/from-shop"),
    ("RS201", "has a certificate signed by CITADEL"),
    ("RS202", "istiod runs its CA server"),
    ("RS204", "is a proxy of revision `default`"),
    ("RS205", "legacy/reader"),
    ("RS301", "lacks MESHCA"),
    ("RS302", "is signed by CITADEL"),
    ("RS303", "still trusts"),
    ("RS304", "MESHCA"),
    ("RS305", "namespace both has both"),
    ("RS306", "Service istio-system/nowhere"),
    ("RS307", "pay/inside-only"),
    ("RS308", "does not accept spiffe://elsewhere/"),
];

#[test]
fn each_gate_refuses_on_a_real_mesh_what_it_is_there_for() {
    let Some(lab) = Lab::mesh("--apps managed") else {
        return;
    };
    for (ca, option, name) in [
        ("citadel", "ca-migration-citadel", FIRST),
        ("mesh_ca", "ca-migration-meshca", SECOND),
    ] {
        lab.asmcli(&format!(
            "install --enable_all --ca {ca} --option {option} --revision_name {name}"
        ));
    }
    let faults = lab.file("faults.yaml");
    std::fs::write(&faults, FAULTS).unwrap();
    lab.kubectl(&format!("apply -f {}", faults.display()));
    settle(&lab);

    let before = lab.counts();
    let ask = |script: &str| {
        let args = format!("ask.rhai --set first={FIRST} --set second={SECOND}");
        lab.run(&args).file("ask.rhai", script).run().code(0)
    };
    let asked = ask(ASK);
    let refusals = &asked.finished()["summary"];
    for (code, evidence) in NAMED {
        refused(&refusals[code], code, evidence);
    }
    for (label, namespace) in [("istio.io/rev", "pay"), ("istio.io/rev", "shop")] {
        let labels = &lab.get(&format!("namespace {namespace}"))["metadata"]["labels"];
        assert!(labels.get(label).is_none(), "{labels}");
    }
    lab.kubectl("get secret -n istio-system istio-ca-secret");
    lab.kubectl("get deployment -n istio-system istiod");
    let after = lab.counts();
    assert_eq!(after.0["trust"], before.0["trust"], "nothing was changed");
    say(&format!(
        "{} gates refused what they are there for",
        NAMED.len()
    ));
}

/// That a gate refused, by itself or beside another, and names this.
#[track_caller]
fn refused(refusal: &Value, code: &str, evidence: &str) {
    let lines: Vec<&str> = refusal["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let beside = format!("also {code}: ");
    assert!(
        refusal["code"] == code || lines.iter().any(|line| line.starts_with(&beside)),
        "{code}: {refusal}"
    );
    assert!(
        lines.iter().any(|line| line.contains(evidence)),
        "{code} does not name `{evidence}`: {refusal}"
    );
}
