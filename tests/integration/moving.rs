//! Moving namespaces: what is not begun, and what is put back when it could not be.

use crate::convergence::{Mesh, sent};
use crate::support::Ran;

/// A policy that refuses every pod of the first new revision, as one that cannot be reached does.
const MESH: &str = "
title: a small mesh with a policy of its own
speed: 100
fleet_id: twin-project
namespaces:
  pay:
    injection: enabled
    workloads: [{name: api}]
  shop:
    injection: enabled
    workloads: [{name: web, replicas: 2}]
";

const POLICY: &str = r#"
objects:
  - apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingWebhookConfiguration
    metadata: {name: policy}
    webhooks:
      - name: policy.example.com
        admissionReviewVersions: [v1]
        clientConfig: {service: {name: policy, namespace: pay, path: /check, port: 443}}
        failurePolicy: Fail
        namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop, istio.io/rev: asm-1233-2-distribute-root}}
        rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: "*"}]
        sideEffects: None
"#;

fn migrate(mesh: &Mesh, set: &str) -> Ran {
    mesh.run("citadel-to-meshca")
        .args("--set fleet_id=twin-project --set ready_delay=0 --set through=distribute")
        .args(set)
        .run()
}

/// Each application namespace with its labels, and with the revisions of its pods.
fn place(mesh: &Mesh) -> Vec<String> {
    mesh.ask(
        r#"
//! The namespaces in lines.
//! mutates: false
fn main(p) {
    for ns in mesh::connect().namespaces() {
        let labels = cluster::get("namespace", ns.name).metadata.labels;
        print(`${ns.name} ${labels["istio-injection"]} ${labels["istio.io/rev"]} ${ns.revisions}`);
    }
}
"#,
    )
}

#[test]
fn labels_are_put_back_where_nothing_of_a_namespace_could_move() {
    let mesh = Mesh::start(&format!("{MESH}{POLICY}"));
    let ran = migrate(&mesh, "").code(3);
    let failure = ran.finished()["failure"].clone();
    assert_eq!(failure["code"], "RS102", "{failure}");
    assert!(
        failure["evidence"]
            .to_string()
            .contains("policy.example.com"),
        "{failure}"
    );
    assert!(
        ran.stdout
            .contains("nothing of it has moved, and its labels are as they were")
    );
    let place = place(&mesh);
    assert!(
        place.contains(&r#"shop enabled  ["default"]"#.to_owned()),
        "{place:?}"
    );
    // What was moved before stays moved.
    let moved = r#"pay  asm-1233-2-distribute-root ["asm-1233-2-distribute-root"]"#;
    assert!(place.contains(&moved.to_owned()), "{place:?}");
    assert_eq!(mesh.failed_handshakes(), 0);
}

/// Refuses every pod of `shop` from now on.
const NO_PODS: &str = r#"
//! A policy that cannot be reached.
//! mutates: true
fn main(p) {
    cluster::create(#{ apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: #{ name: "policy" },
        webhooks: [#{ name: "policy.example.com", admissionReviewVersions: ["v1"], failurePolicy: "Fail", sideEffects: "None",
            clientConfig: #{ service: #{ name: "policy", namespace: "pay", path: "/check", port: 443 } },
            namespaceSelector: #{ matchLabels: #{ "kubernetes.io/metadata.name": "shop" } },
            rules: [#{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"], scope: "*" }] }] });
}
"#;

/// A tag moves all that ask for it: it is put back as long as nothing has moved, also if another of them is refused.
#[test]
fn a_tag_is_put_back_where_one_that_asks_for_it_could_not_move() {
    let tagged = MESH.replace("enabled", "prod").replace(
        "namespaces:",
        "revisions: [{name: asm-1162, ca: citadel, tags: [prod]}]\nnamespaces:",
    );
    let mesh = Mesh::start(&tagged);
    let own = mesh.run("own.rhai").file("own.rhai", NO_PODS.trim_start());
    own.run().code(0);
    let ran = migrate(&mesh, "--set move_by=tag").code(3);
    let failure = ran.finished()["failure"].clone();
    assert_eq!(failure["code"], "RS102", "{failure}");
    let evidence = failure["evidence"].to_string();
    assert!(evidence.contains("policy.example.com"), "{failure}");
    let said = "tag prod: nothing that asks for it has moved, and it leads to asm-1162 as before";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
    let sent = sent(&ran).join("\n");
    assert!(!sent.contains("restarted"), "{sent}");
    let leads = mesh.ask(
        r#"
//! Where the tag leads, and what is noted on it.
//! mutates: false
fn main(p) {
    let tag = cluster::get("mutatingwebhookconfiguration", "istio-revision-tag-prod");
    print(`${tag.metadata.labels["istio.io/rev"]} ${tag.webhooks[0].clientConfig.service.name} ${tag.metadata.annotations}`);
}
"#,
    );
    assert_eq!(leads, ["asm-1162 istiod-asm-1162 #{}"]);
    assert_eq!(mesh.failed_handshakes(), 0);
}

#[test]
fn nothing_is_begun_that_will_not_end_in_the_window() {
    let mesh = Mesh::start(MESH);
    let soon = |seconds: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        format!("--set window_end={end} --set seconds_per_pod=400")
    };
    // Enough for one pod and not for three.
    let ran = migrate(&mesh, &soon(600)).code(3);
    let message = ran.finished()["failure"]["message"].to_string();
    assert!(
        message.contains("namespace `shop` takes about 805 s (2 pods), and until"),
        "{message}"
    );
    let labels: Vec<String> = sent(&ran)
        .into_iter()
        .filter(|m| m.contains("labeled"))
        .collect();
    assert!(labels.iter().all(|m| !m.contains("shop")), "{labels:?}");
    assert!(labels.iter().any(|m| m.contains("pay")), "{labels:?}");
    // In the next window it goes on, and what is done takes no time.
    migrate(&mesh, &soon(3600)).code(0);
    migrate(&mesh, &soon(1)).code(0);
    assert_eq!(mesh.failed_handshakes(), 0);
    let ran = migrate(&mesh, "--set window_end=tonight").code(2);
    assert!(
        ran.stdout
            .contains("parameter `window_end`: `tonight` is not a time"),
        "{}",
        ran.stdout
    );
}
