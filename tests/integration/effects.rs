//! Changes that touch no pod and no namespace's label, and break trust all the same: each is refused by the gate that
//! stands before its effect, and the same change without the harm passes.

use serde_json::Value;

use crate::support::{Ran, rootshift};

const MESH: &str = "
title: a small mesh, one namespace of which has no pods
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}, {name: agent, kind: DaemonSet}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}]
  night:
    injection: enabled
    workloads: [{name: report, kind: Deployment, replicas: 0}]
  plain:
    workloads: [{name: tool, kind: Deployment, replicas: 0}]
";

/// A step of a script: its name, and what it does.
fn script(steps: &[(&str, &str)]) -> String {
    let steps: Vec<String> = steps
        .iter()
        .map(|(name, code)| {
            format!(
                "    try {{ {code}; print(\"{name}: done\"); }} catch (e) {{ print(`{name}: ${{e.code ?? e.kind}} ${{e.evidence}} ${{e.message}}`); }}\n"
            )
        })
        .collect();
    format!(
        r#"//! Try each of these.
//! mutates: true
import "mesh/install" as install;

fn install(revision, ca) {{
    let m = mesh::connect();
    install::revision(m, #{{ fleet_id: "twin-project", overlays: [], ready_delay: 0, output_dir: "", ca_cert: "", ca_key: "", root_cert: "", cert_chain: "" }}, revision, ca);
}}

fn move_to(namespace, revision) {{
    cluster::label("namespace", namespace, #{{ "istio.io/rev": revision, "istio-injection": () }});
    for w in workload::list(namespace) {{
        workload::restart(w.kind, namespace, w.name);
        workload::wait(w.kind, namespace, w.name, #{{ timeout: 120 }});
    }}
}}

fn mesh_config(revision) {{
    data::parse_yaml(cluster::get("configmap", "istio-system", `istio-${{revision}}`).data.mesh)
}}

fn set_mesh_config(revision, config) {{
    cluster::patch("configmap", "istio-system", `istio-${{revision}}`, #{{ data: #{{ mesh: data::to_yaml(config) }} }});
}}

fn annotate_pods(name, annotations) {{
    cluster::patch("deployment", "shop", name, #{{ spec: #{{ template: #{{ metadata: #{{ annotations: annotations }} }} }} }});
}}

fn main(p) {{
{}}}
"#,
        steps.concat()
    )
}

fn run(steps: &[(&str, &str)], flags: &str) -> Ran {
    rootshift("run try.rhai --twin=mesh.yaml -o jsonl")
        .args(flags)
        .file("try.rhai", script(steps))
        .file("mesh.yaml", MESH)
        .run()
}

fn said(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let texts = events.iter().filter(|e| e["event"] == "output");
    texts
        .filter_map(|e| e["text"].as_str().map(str::to_owned))
        .collect()
}

/// What a step came to.
#[track_caller]
fn verdict<'a>(said: &'a [String], step: &str) -> &'a str {
    let start = format!("{step}: ");
    said.iter()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap_or_else(|| panic!("no `{step}` in {said:#?}"))
}

/// Both roots everywhere, and one namespace that Mesh CA signs for already.
const HALF_WAY: &[(&str, &str)] = &[
    ("install r1", r#"install("r1", "citadel")"#),
    (
        "move to r1",
        r#"for ns in ["night", "pay", "shop"] { move_to(ns, "r1"); }"#,
    ),
    ("install r2", r#"install("r2", "mesh_ca")"#),
    ("move pay", r#"move_to("pay", "r2")"#),
];

#[test]
fn what_takes_a_root_or_a_name_from_proxies_is_refused_whatever_object_it_is_in() {
    let steps = [
        HALF_WAY,
        &[
            (
                "log format",
                r#"let c = mesh_config("r1"); c.accessLogFile = "/dev/stdout"; set_mesh_config("r1", c)"#,
            ),
            (
                "no second root",
                r#"let c = mesh_config("r1"); c.remove("caCertificates"); set_mesh_config("r1", c)"#,
            ),
            (
                "no alias",
                r#"let c = mesh_config("r1"); c.remove("trustDomainAliases"); set_mesh_config("r1", c)"#,
            ),
            (
                "no mesh config",
                r#"cluster::delete("configmap", "istio-system", "istio-r1")"#,
            ),
            (
                "not YAML",
                r#"cluster::patch("configmap", "istio-system", "istio-r1", #{ data: #{ mesh: "a: [" } })"#,
            ),
            (
                "no injector",
                r#"cluster::delete("configmap", "istio-system", "istio-sidecar-injector-r1")"#,
            ),
            (
                "one root per mesh",
                r#"cluster::patch("deployment", "istio-system", "istiod-r1", #{ spec: #{ template: #{ spec: #{ containers: [#{ name: "discovery", env: [#{ name: "ISTIO_MULTIROOT_MESH", value: "false" }] }] } } } }, #{ type: "strategic" })"#,
            ),
            (
                "own agent",
                r#"annotate_pods("web", #{ "proxy.istio.io/config": "proxyMetadata: {PROXY_CONFIG_XDS_AGENT: 'false'}" })"#,
            ),
            (
                "own CA",
                r#"annotate_pods("web", #{ "proxy.istio.io/config": "proxyMetadata: {CA_ADDR: 'ca.example.com:443'}" })"#,
            ),
            (
                "no sidecar",
                r#"annotate_pods("web", #{ "sidecar.istio.io/inject": "false" })"#,
            ),
            (
                "of the node",
                r#"cluster::patch("deployment", "shop", "web", #{ spec: #{ template: #{ spec: #{ hostNetwork: true } } } })"#,
            ),
            (
                "unknown template",
                r#"annotate_pods("web", #{ "inject.istio.io/templates": "mine" })"#,
            ),
            // The next ones judge a mesh in which nothing is about to start.
            (
                "a note",
                r#"annotate_pods("web", #{ note: "1" }); workload::wait("Deployment", "shop", "web", #{ timeout: 120 })"#,
            ),
            (
                "a job",
                r#"cluster::create(#{ apiVersion: "batch/v1", kind: "Job", metadata: #{ name: "once", namespace: "shop" }, spec: #{ template: #{ spec: #{ restartPolicy: "Never", containers: [#{ name: "main", image: "app" }] } } } })"#,
            ),
            (
                "a cron job with one root",
                r#"cluster::create(#{ apiVersion: "batch/v1", kind: "CronJob", metadata: #{ name: "nightly", namespace: "shop" }, spec: #{ schedule: "0 3 * * *", jobTemplate: #{ spec: #{ template: #{ metadata: #{ annotations: #{ "proxy.istio.io/config": "proxyMetadata: {PROXY_CONFIG_XDS_AGENT: 'false'}" } }, spec: #{ restartPolicy: "Never", containers: [#{ name: "main", image: "app" }] } } } } } })"#,
            ),
        ],
    ]
    .concat();
    let ran = run(&steps, "").code(0);
    let said = said(&ran);
    for passes in [
        "install r1",
        "move to r1",
        "install r2",
        "move pay",
        "log format",
        "a note",
        "a job",
    ] {
        assert_eq!(verdict(&said, passes), "done", "{said:#?}");
    }
    for (step, code, why) in [
        (
            "no second root",
            "RS101",
            "shop/web → pay/api: the client refuses",
        ),
        (
            "no alias",
            "RS101",
            "shop/web → pay/api: the client refuses: the name",
        ),
        ("no mesh config", "RS101", "shop/web → pay/api"),
        (
            "not YAML",
            "RS101",
            "ConfigMap istio-system/istio-r1, key `mesh`",
        ),
        (
            "no injector",
            "RS204",
            "ConfigMap istio-sidecar-injector-r1 serves revision `r1`",
        ),
        (
            "one root per mesh",
            "RS101",
            "shop/web → pay/api: the client refuses",
        ),
        (
            "own agent",
            "RS101",
            "shop/web → pay/api: the client refuses",
        ),
        (
            "own CA",
            "RS101",
            "`ca.example.com:443`: which CA that is is not known",
        ),
        (
            "no sidecar",
            "RS102",
            "it declines (sidecar.istio.io/inject",
        ),
        ("of the node", "RS102", "hostNetwork"),
        ("unknown template", "RS102", "requested template"),
        (
            "a cron job with one root",
            "RS101",
            "shop/nightly → pay/api: the client refuses",
        ),
    ] {
        let verdict = verdict(&said, step);
        assert!(
            verdict.starts_with(code) && verdict.contains(why),
            "{step}: {verdict}"
        );
    }
    let finished = ran.finished();
    assert_eq!(
        finished["handshakes"]["failed"],
        Value::from(0),
        "{finished}"
    );
}

/// What is waived happens: the gates name what breaks.
#[test]
fn a_root_that_is_taken_out_of_the_mesh_configuration_breaks_what_was_named() {
    let steps = [
        HALF_WAY,
        &[
            (
                "no second root",
                r#"let c = mesh_config("r1"); c.remove("caCertificates"); set_mesh_config("r1", c)"#,
            ),
            ("a moment", "time::sleep(3.0)"),
        ],
    ]
    .concat();
    let ran = run(&steps, "--waive RS101=test").code(3);
    let pairs = ran.finished()["handshakes"]["pairs"].clone();
    let failed: Vec<&Value> = pairs
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair["failed"].as_u64() > Some(0))
        .collect();
    assert!(!failed.is_empty(), "{pairs}");
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["verdict"] == "waived")
        .unwrap();
    let named = gate["evidence"].to_string();
    for pair in failed {
        let name = format!(
            "{} → {}",
            pair["client"].as_str().unwrap(),
            pair["server"].as_str().unwrap()
        );
        assert!(named.contains(&name), "{name} was not named: {named}");
    }
}

#[test]
fn namespaces_without_pods_and_tags_are_judged_by_the_templates_that_they_have() {
    let tag = |revision: &str| {
        format!(
            r#"cluster::apply(#{{ apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration",
                metadata: #{{ name: "istio-revision-tag-prod", labels: #{{ "istio.io/rev": "{revision}", "istio.io/tag": "prod", app: "sidecar-injector" }} }},
                webhooks: [#{{ name: "rev.namespace.sidecar-injector.istio.io", sideEffects: "None", admissionReviewVersions: ["v1"], failurePolicy: "Fail",
                    clientConfig: #{{ service: #{{ namespace: "istio-system", name: "istiod", path: "/inject", port: 443 }} }},
                    rules: [#{{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] }}],
                    namespaceSelector: #{{ matchLabels: #{{ "istio.io/rev": "prod" }} }} }}] }})"#
        )
    };
    let (good, bad) = (tag("default"), tag("nobody"));
    let steps = [
        (
            "to nobody",
            r#"cluster::label("namespace", "night", #{ "istio.io/rev": "nobody", "istio-injection": () })"#,
        ),
        (
            "out of the mesh",
            r#"cluster::label("namespace", "night", #{ "istio-injection": () })"#,
        ),
        ("a tag", good.as_str()),
        (
            "to the tag",
            r#"cluster::label("namespace", "night", #{ "istio.io/rev": "prod", "istio-injection": () })"#,
        ),
        ("the tag elsewhere", bad.as_str()),
        (
            "no tag",
            r#"cluster::delete("mutatingwebhookconfiguration", "istio-revision-tag-prod")"#,
        ),
        (
            "a plain namespace",
            r#"cluster::label("namespace", "plain", #{ "istio.io/rev": "prod" })"#,
        ),
    ];
    let ran = run(&steps, "").code(0);
    let said = said(&ran);
    for passes in ["a tag", "to the tag", "a plain namespace"] {
        assert_eq!(verdict(&said, passes), "done", "{said:#?}");
    }
    for (step, code, why) in [
        (
            "to nobody",
            "RS102",
            "night/report would start without a proxy",
        ),
        (
            "out of the mesh",
            "RS102",
            "night/report would start without a proxy",
        ),
        (
            "the tag elsewhere",
            "RS102",
            "the injector of revision `nobody` has no istiod",
        ),
        ("no tag", "RS102", "namespace night would have no injector"),
    ] {
        let verdict = verdict(&said, step);
        assert!(
            verdict.starts_with(code) && verdict.contains(why),
            "{step}: {verdict}"
        );
    }
}

/// A webhook says which revision it is by a label; what comes back from it is what counts.
#[test]
fn a_webhook_that_leads_to_another_istiod_is_found_by_the_dry_run_of_a_restart() {
    let steps = [
        &HALF_WAY[..3],
        &[
            (
                "lead r2 to r1",
                r#"let c = cluster::get("mutatingwebhookconfiguration", "istio-sidecar-injector-r2").to_map();
                   for i in 0..c.webhooks.len() { c.webhooks[i].clientConfig.service.name = "istiod-r1"; }
                   cluster::patch("mutatingwebhookconfiguration", "istio-sidecar-injector-r2", #{ webhooks: c.webhooks })"#,
            ),
            ("move pay", r#"move_to("pay", "r2")"#),
        ],
    ]
    .concat();
    let ran = run(&steps, "").code(0);
    let said = said(&ran);
    assert_eq!(verdict(&said, "lead r2 to r1"), "done", "{said:#?}");
    let moved = verdict(&said, "move pay");
    assert!(
        moved.starts_with("RS102") && moved.contains("revision `r1` injected it"),
        "{moved}"
    );
}

/// A pod that waits for a node is nobody's reason to keep its workload as it is: it comes up as it was injected, or not.
#[test]
fn a_rollout_that_hangs_may_be_undone() {
    let steps = [
        (
            "nowhere",
            r#"cluster::patch("deployment", "shop", "web", #{ spec: #{ template: #{ spec: #{ nodeSelector: #{ nowhere: "yes" } } } } })"#,
        ),
        (
            "it waits",
            r#"wait_until("a pod that waits", || cluster::list("pods", #{ namespace: "shop" }).some(|pod| pod.spec.nodeSelector != () && pod.status.phase == "Pending"))"#,
        ),
        ("undo", r#"workload::undo("Deployment", "shop", "web")"#),
        (
            "as before",
            r#"workload::wait("Deployment", "shop", "web", #{ timeout: 60 })"#,
        ),
    ];
    let ran = run(&steps, "").code(0);
    let said = said(&ran);
    for (step, _) in steps {
        assert_eq!(verdict(&said, step), "done", "{said:#?}");
    }
}
