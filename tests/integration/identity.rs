//! What people wrote about identities, when Mesh CA changes the trust domain: each form is refused once, with what keeps
//! it, and each is kept by the alias or the second value.

use std::fmt::Write as _;

use crate::support::{Program, Ran, rootshift};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 1}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}]
";

const KINDS: &[(&str, &str, &str)] = &[
    (
        "AuthorizationPolicy",
        "authorizationpolicies",
        "security.istio.io",
    ),
    ("DestinationRule", "destinationrules", "networking.istio.io"),
    ("EnvoyFilter", "envoyfilters", "networking.istio.io"),
    ("Gateway", "gateways", "networking.istio.io"),
    ("ServiceEntry", "serviceentries", "networking.istio.io"),
];

/// Both roots everywhere, the revision of Mesh CA installed, then one namespace moved.
const MOVE: &str = r#"
//! Up to the first namespace that Mesh CA signs for.
//! mutates: true
import "mesh/install" as install;

fn install(revision, ca) {
    install::revision(mesh::connect(), #{ fleet_id: "twin-project", overlays: [], ready_delay: 0, output_dir: "", ca_cert: "", ca_key: "", root_cert: "", cert_chain: "" }, revision, ca);
}

fn move_to(namespace, revision) {
    cluster::label("namespace", namespace, #{ "istio.io/rev": revision, "istio-injection": () });
    for w in workload::list(namespace) {
        workload::restart(w.kind, namespace, w.name);
        workload::wait(w.kind, namespace, w.name, #{ timeout: 120 });
    }
}

fn main(p) {
    install("r1", "citadel");
    for ns in ["pay", "shop"] { move_to(ns, "r1"); }
    install("r2", "mesh_ca");
    let m = mesh::connect();
    try { print(`impact ${m.identity_impact("r2").map(|i| `${i.namespace}/${i.name} ${i.field} ${i.patch}`)}`); } catch (e) { print(`impact ${e.code} ${e.evidence}`); }
    for e in m.inventory().exceptions { print(`${e.severity} ${e.kind} ${e.items}`); }
    move_to("pay", "r2");
    print("moved");
    for e in mesh::connect().inventory().exceptions { print(`then ${e.severity} ${e.kind}`); }
}
"#;

/// A mesh in which these kinds are served, and these objects are.
fn on(more: &str, objects: &[(&str, &str, &str)]) -> Program {
    let mut scenario = format!("{MESH}{more}objects:\n");
    for (kind, plural, group) in KINDS {
        let singular = kind.to_lowercase();
        write!(
            scenario,
            "  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {{name: {plural}.{group}}}
    spec:
      group: {group}
      scope: Namespaced
      names: {{plural: {plural}, singular: {singular}, kind: {kind}}}
      versions:
        - name: v1
          served: true
          storage: true
          schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
        )
        .unwrap();
    }
    for (kind, name, spec) in objects {
        let group = KINDS.iter().find(|(k, ..)| k == kind).unwrap().2;
        writeln!(
            scenario,
            "  - {{apiVersion: {group}/v1, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
        )
        .unwrap();
    }
    rootshift("run move.rhai --twin=mesh.yaml -o jsonl")
        .file("mesh.yaml", scenario)
        .file("move.rhai", MOVE.trim_start())
}

/// Each names peers of `cluster.local` in a form that nothing translates.
const LOST: &[(&str, &str, &str)] = &[
    (
        "AuthorizationPolicy",
        "some",
        "{rules: [{from: [{source: {principals: ['cluster.local/ns/pay/*', '*/sa/web']}}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "deny",
        "{action: DENY, rules: [{when: [{key: source.principal, values: ['cluster.local/*']}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "except",
        "{action: DENY, rules: [{from: [{source: {notPrincipals: ['cluster.local/ns/pay/*']}}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "header",
        "{action: DENY, rules: [{when: [{key: 'request.headers[x-forwarded-client-cert]', values: ['*URI=spiffe://cluster.local/ns/pay/*']}]}]}",
    ),
    (
        "DestinationRule",
        "web",
        "{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web']}}}",
    ),
    (
        "DestinationRule",
        "port",
        "{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web']}}]}}",
    ),
    (
        "DestinationRule",
        "subset",
        "{host: web, subsets: [{name: v1, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web']}}}]}",
    ),
    (
        "ServiceEntry",
        "internal",
        "{hosts: [web.internal], location: MESH_INTERNAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web']}",
    ),
    (
        "Gateway",
        "egress",
        "{servers: [{tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/pay/sa/api']}}]}",
    ),
    (
        "EnvoyFilter",
        "lua",
        "{configPatches: [{patch: {value: {inlineCode: 'if id == \"spiffe://cluster.local/ns/pay/sa/api\" then return end'}}}]}",
    ),
];

/// Each names the same peers, and goes on to match them.
const KEPT: &[(&str, &str, &str)] = &[
    (
        "AuthorizationPolicy",
        "five-parts",
        "{rules: [{from: [{source: {principals: ['cluster.local/ns/pay/sa/api', 'cluster.local/ns/shop/sa/*']}}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "both",
        "{action: DENY, rules: [{from: [{source: {notPrincipals: ['cluster.local/*', 'twin-project.svc.id.goog/*']}}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "two-sources",
        "{rules: [{from: [{source: {principals: ['cluster.local/*']}}, {source: {principals: ['twin-project.svc.id.goog/*']}}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "anybody",
        "{rules: [{from: [{source: {principals: ['*'], namespaces: [pay]}}], when: [{key: connection.sni, values: [outbound_.80_._.web.shop.svc.cluster.local]}]}]}",
    ),
    (
        "AuthorizationPolicy",
        "foreign",
        "{rules: [{from: [{source: {principals: ['other.example/ns/a/sa/b']}}]}]}",
    ),
    (
        "DestinationRule",
        "two",
        "{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://twin-project.svc.id.goog/ns/shop/sa/web']}}}",
    ),
    (
        "DestinationRule",
        "plain",
        "{host: web, trafficPolicy: {tls: {mode: DISABLE, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web']}}}",
    ),
    (
        "DestinationRule",
        "outside",
        "{host: api.example.com, trafficPolicy: {tls: {mode: MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/elsewhere/sa/api']}}}",
    ),
    (
        "ServiceEntry",
        "outside",
        "{hosts: ['*.example.com'], subjectAltNames: ['spiffe://cluster.local/ns/elsewhere/sa/api']}",
    ),
    (
        "ServiceEntry",
        "two",
        "{hosts: [web.internal], location: MESH_INTERNAL, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web', 'spiffe://twin-project.svc.id.goog/ns/shop/sa/web']}",
    ),
    (
        "Gateway",
        "two",
        "{servers: [{tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/pay/sa/api', 'spiffe://twin-project.svc.id.goog/ns/pay/sa/api']}}]}",
    ),
    (
        "EnvoyFilter",
        "two",
        "{configPatches: [{patch: {value: {exact: 'spiffe://cluster.local/ns/pay/sa/api'}}}, {patch: {value: {exact: 'spiffe://twin-project.svc.id.goog/ns/pay/sa/api'}}}, {match: {cluster: {service: web.shop.svc.cluster.local}}}]}",
    ),
];

fn said(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let texts = events.iter().filter(|e| e["event"] == "output");
    texts
        .filter_map(|e| e["text"].as_str().map(str::to_owned))
        .collect()
}

/// What the gate found, where it gave this verdict.
fn found(ran: &Ran, verdict: &str) -> Vec<String> {
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["code"] == "RS105" && e["verdict"] == verdict)
        .unwrap_or_else(|| panic!("no {verdict} RS105 in {}", ran.stdout));
    let lines = gate["evidence"].as_array().unwrap();
    lines
        .iter()
        .map(|l| l.as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert!(
        lines
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {lines:#?}"
    );
}

#[test]
fn what_names_peers_literally_is_refused_with_what_keeps_it_and_nothing_else_is() {
    let all = [LOST, KEPT].concat();
    let ran = on("", &all).run().code(3);
    assert_eq!(ran.finished()["failure"]["code"], "RS105");
    let said = said(&ran);
    assert!(!said.contains(&"moved".to_owned()), "{said:?}");
    let lines = found(&ran, "refused");
    assert_eq!(
        lines[0],
        "the trust domain changes from `cluster.local` to `twin-project.svc.id.goog`"
    );
    for (kind, name, _) in LOST {
        has(&lines, &[&format!("{kind} shop/{name}: spec.")]);
    }
    assert_eq!(lines.len(), LOST.len() + 1, "{lines:#?}");
    for parts in [
        &[
            "shop/some: spec.rules[0].from[0].source.principals[0] `cluster.local/ns/pay/*`",
            "are refused that are allowed now",
            "kubectl patch authorizationpolicies.security.istio.io -n shop some --type=json -p '[{\"op\":\"add\",\"path\":\"/spec/rules/0/from/0/source/principals/-\",\"value\":\"twin-project.svc.id.goog/ns/pay/*\"}]'",
        ][..],
        &[
            "shop/deny: spec.rules[0].when[0].values[0]",
            "requests from `twin-project.svc.id.goog` are denied no longer",
        ],
        &["shop/except", "are denied that are excepted now"],
        &["shop/header", "by hand"],
        &[
            "shop/port: spec.trafficPolicy.portLevelSettings[0].tls.subjectAltNames[0]",
            "clients refuse servers of `twin-project.svc.id.goog`",
            "spiffe://twin-project.svc.id.goog/ns/shop/sa/web",
        ],
        &["shop/subset: spec.subsets[0].trafficPolicy.tls.subjectAltNames[0]"],
        // The alias of the old revision serves its own proxies; the new one adds the old name, not its own.
        &[
            "shop/internal",
            "clients refuse servers",
            "(by proxies of revision `r2`)",
        ],
        &["shop/egress", "the gateway refuses clients"],
        &[
            "shop/lua: spec.configPatches[0].patch.value.inlineCode",
            "by hand",
        ],
    ] {
        has(&lines, parts);
    }
    has(
        &said,
        &[
            "impact",
            "shop/web spec.trafficPolicy.tls.subjectAltNames[0] kubectl patch",
        ],
    );
    has(&said, &["warning identity-ahead", "shop/lua"]);
}

#[test]
fn what_matches_the_new_names_as_well_lets_the_namespace_move() {
    let ran = on("", KEPT).run().code(0);
    let said = said(&ran);
    has(&said, &["moved"]);
    has(&said, &["impact []"]);
    assert!(
        !said.iter().any(|line| line.contains("identity")),
        "{said:#?}"
    );
    assert_eq!(ran.finished()["handshakes"]["failed"], 0);
}

#[test]
fn what_nobody_needs_is_waived_by_its_name_and_no_other_with_it() {
    let two = &LOST[4..6];
    let ran = on("", two).args("--waive RS105:shop/web=old").run().code(3);
    assert_eq!(found(&ran, "refused").len(), 3);
    let ran = on("", two)
        .args("--waive RS105:shop/web=old --waive RS105:shop/port=older")
        .run()
        .code(0);
    found(&ran, "waived");
    let said = said(&ran);
    has(&said, &["moved"]);
    has(&said, &["then unsafe identity"]);
}

#[test]
fn without_an_alias_principals_of_every_form_are_named_with_the_alias_that_keeps_them() {
    let ran = on("aliases: false\n", &KEPT[..1])
        .args("--waive RS101=test")
        .run()
        .code(3);
    let lines = found(&ran, "refused");
    has(
        &lines,
        &[
            "shop/five-parts",
            "add `twin-project.svc.id.goog` to meshConfig.trustDomainAliases of revision `r1`",
            "add `cluster.local` to meshConfig.trustDomainAliases of revision `r2`",
        ],
    );
}

#[test]
fn kinds_that_may_not_be_listed_are_unknown_and_refuse() {
    let faults = "faults:\n  api: [{verb: list, resource: authorizationpolicies.security.istio.io, times: 100000, effect: {status: {code: 403, message: \
        'authorizationpolicies.security.istio.io is forbidden: User \"jane\" cannot list resource \"authorizationpolicies\" in API group \"security.istio.io\" at the cluster scope'}}}]\n";
    let ran = on(faults, &[]).run().code(3);
    let lines = found(&ran, "refused");
    has(
        &lines,
        &["authorizationpolicies.security.istio.io: whom they name is not known"],
    );
    let said = said(&ran);
    has(&said, &["impact RS105"]);
    has(&said, &["unknown identity-unknown"]);
    on(faults, &[])
        .args("--waive RS105:authorizationpolicies.security.istio.io=none")
        .run()
        .code(0);
}
