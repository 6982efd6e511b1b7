//! The validating webhook outlives the control plane that it was made for.

use crate::support::{Program, Ran, rootshift};

/// Istio's own kind, and the validator that calls Service `istiod`, as `istioctl install` makes them.
const MESH: &str = r#"
title: a small mesh whose configuration is validated
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web}]
objects:
  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: virtualservices.networking.istio.io}
    spec:
      group: networking.istio.io
      scope: Namespaced
      names: {plural: virtualservices, singular: virtualservice, kind: VirtualService, shortNames: [vs]}
      versions:
        - name: v1
          served: true
          storage: true
          schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
  - apiVersion: admissionregistration.k8s.io/v1
    kind: ValidatingWebhookConfiguration
    metadata: {name: istiod-default-validator, labels: {app: istiod, istio.io/rev: default}}
    webhooks:
      - name: validation.istio.io
        admissionReviewVersions: [v1]
        clientConfig: {service: {name: istiod, namespace: istio-system, path: /validate, port: 443}}
        failurePolicy: Ignore
        objectSelector: {matchExpressions: [{key: istio.io/rev, operator: DoesNotExist}]}
        rules:
          - {apiGroups: [networking.istio.io], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: ["*"], scope: "*"}
        sideEffects: None
"#;

fn on(what: &str) -> Program {
    rootshift(&format!("run {what} --twin=mesh.yaml -o jsonl")).file("mesh.yaml", MESH)
}

fn gates(ran: &Ran, verdict: &str) -> Vec<String> {
    let events = ran.events();
    let gates = events
        .iter()
        .filter(|e| e["event"] == "gate" && e["code"] == "RS306" && e["verdict"] == verdict);
    gates.map(|e| e["evidence"].to_string()).collect()
}

/// What finalising by hand forgets: the Service goes with the old control plane.
const BY_HAND: &str = r#"
//! Is what istiod refuses refused, before and after its Service is gone?
//! mutates: true
//! param lets_pass: bool   Whether the webhook lets pass what it cannot ask for.
fn main(p) {
    mesh::connect().check_validation();
    if p.lets_pass {
        // istiod sets the policy of those that have its label.
        let change = #{ metadata: #{ labels: #{ "istio.io/rev": () } } };
        let hook = cluster::get("validatingwebhookconfiguration", "istiod-default-validator").to_map().webhooks[0];
        hook.failurePolicy = "Ignore";
        change.webhooks = [hook];
        cluster::patch("validatingwebhookconfiguration", "istiod-default-validator", change);
    }
    cluster::delete("service", "istio-system", "istiod");
    mesh::connect().check_validation();
}
"#;

#[test]
fn a_migration_leaves_a_validator_that_answers() {
    let ran = on("citadel-to-meshca --set fleet_id=twin-project --set ready_delay=0")
        .run()
        .code(0);
    // At the end of each phase.
    assert_eq!(gates(&ran, "passed").len(), 2);
}

#[test]
fn a_validator_that_leads_nowhere_is_told_whether_it_lets_pass_or_refuses_all() {
    for (lets_pass, says) in [
        (true, "let an invalid VirtualService pass"),
        (false, "does not answer"),
    ] {
        let flags = format!("--waive RS204=test --set lets_pass={lets_pass}");
        let ran = on(&format!("by-hand.rhai {flags}"))
            .file("by-hand.rhai", BY_HAND.trim_start())
            .run()
            .code(3);
        assert_eq!(gates(&ran, "passed").len(), 1);
        let refused = gates(&ran, "refused");
        assert_eq!(refused.len(), 1, "{lets_pass}");
        assert!(
            refused[0].contains("webhook validation.istio.io (Service istio-system/istiod)"),
            "{refused:?}"
        );
        let of = "for objects without a revision";
        let line = refused[0].split("\",\"").find(|line| line.contains(of));
        assert!(line.is_some_and(|line| line.contains(says)), "{refused:?}");
    }
}

#[test]
fn an_istiod_of_a_version_that_loses_roots_is_not_fit_for_two() {
    let script = r#"
//! An istiod that gives its proxies one of several roots.
//! mutates: true
fn main(p) {
    let image = [#{ op: "replace", path: "/spec/template/spec/containers/0/image", value: "istio/pilot:1.25.1" }];
    cluster::patch("deployment", "istio-system", "istiod", image, #{ type: "json" });
    workload::wait("Deployment", "istio-system", "istiod", #{ timeout: 60 });
    mesh::connect().check_revision("default", "CITADEL", ["CITADEL"]);
    mesh::connect().check_revision("default", "CITADEL", ["CITADEL", "MESHCA"]);
}
"#;
    let ran = on("old.rhai")
        .file("old.rhai", script.trim_start())
        .run()
        .code(3);
    let failure = &ran.finished()["failure"];
    assert_eq!(failure["code"], "RS304", "{failure}");
    assert!(
        failure["evidence"]
            .to_string()
            .contains("istiod is Istio 1.25.1, which gives proxies one of several roots"),
        "{failure}"
    );
}
