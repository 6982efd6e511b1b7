//! Meshes as sites have them, each forwards, back to both roots, forwards, back to the start, and forwards to the end:
//! nothing fails for trust on the way, and back is back, to the last label.

use serde_json::{Value, json};

use crate::convergence::{Mesh, sent};
use crate::support::Ran;
use crate::undo::{FIRST, SECOND};

/// What is done with a mesh, one after the other.
enum Step {
    /// Onwards with these parameters; it comes to its end.
    Forward(&'static str),
    /// Somebody's own change.
    Script(String),
    /// Onwards, and refused by this gate with this in its hint.
    Refused(&'static str, &'static str),
    /// Back to both roots everywhere.
    ToDistribute,
    /// Back to the start.
    ToStart,
}

/// All that has to be so again when the mesh is back at its start: [`Mesh::place`], whose pods have a proxy, and what
/// the templates of all workloads ask for.
fn shape(mesh: &Mesh) -> Vec<String> {
    let mut lines = mesh.ask(
        r#"
//! Pods and templates in lines.
//! mutates: false
fn main(p) {
    for pod in cluster::list("pods") {
        let labels = pod.metadata.labels;
        let has_proxy = pod.metadata.annotations["sidecar.istio.io/status"] != ();
        print(`pod of ${pod.metadata.namespace}/${labels.app} has a proxy: ${has_proxy}`);
    }
    for kind in ["deployment", "statefulset", "daemonset"] {
        for w in cluster::list(kind) { print(`${kind} ${w.metadata.namespace}/${w.metadata.name} ${w.metadata.labels} ${w.spec.template.metadata.labels}`); }
    }
    for hook in cluster::list("mutatingwebhookconfiguration") { print(`${hook.metadata.name} ${hook.metadata.labels["istio.io/rev"]} ${hook.webhooks[0].clientConfig.service}`); }
}
"#,
    );
    lines.sort();
    [mesh.place(), lines].concat()
}

/// Handshakes until now: made, and failed for trust.
pub(crate) fn handshakes(mesh: &Mesh) -> (u64, u64) {
    let lines = mesh.ask(
        r#"
//! The prober's figures.
//! mutates: false
fn main(p) { let t = cluster::raw("/twin/traffic"); print(t.made); print(t.failed); }
"#,
    );
    (lines[0].parse().unwrap(), lines[1].parse().unwrap())
}

/// All proxies are of the last revision and Mesh CA's.
#[track_caller]
fn assert_at_the_end(mesh: &Mesh) {
    let proxies = mesh.proxies();
    assert!(proxies.len() >= 3, "{proxies:?}");
    for proxy in proxies {
        assert!(proxy.contains(&format!(" {SECOND} MESHCA ")), "{proxy}");
    }
}

/// Service `istiod`, by which the API server finds who validates, leads to the revision that is left.
#[track_caller]
fn assert_validated(mesh: &Mesh) {
    let place = mesh.place();
    let service = place
        .iter()
        .find(|line| line.starts_with("service istiod {"));
    assert!(
        service.is_some_and(|line| line.contains(SECOND)),
        "{place:?}"
    );
}

/// Takes a mesh through these steps, and after the last of them through the same command again, which changes nothing.
fn walk(mesh: &Mesh, steps: &[Step]) {
    let start = shape(mesh);
    let mut made = 0;
    let mut last = None;
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Forward(set) => {
                mesh.forward(set).code(0);
                assert_at_the_end(mesh);
                last = Some(set);
            }
            Step::Refused(gate, hint) => {
                let failure = mesh.forward("finalise=never").code(3).finished()["failure"].clone();
                assert_eq!(failure["code"], *gate, "{failure}");
                let said = failure["hint"].as_str().unwrap();
                assert!(said.contains(hint), "{failure}");
            }
            Step::Script(text) => {
                let program = mesh.run("own.rhai").file("own.rhai", text.trim_start());
                program.run().code(0);
            }
            Step::ToDistribute => {
                mesh.undo("to=distribute").code(0);
                last = None;
                mesh.assert_at_distribute(&["default", "asm-1162"]);
            }
            Step::ToStart => {
                mesh.undo("to=start").code(0);
                last = None;
                assert_eq!(shape(mesh), start);
            }
        }
        let now = handshakes(mesh);
        assert!(
            now.0 > made,
            "nothing was probed during step {index}: {now:?}"
        );
        assert_eq!(now.1, 0, "failed for trust by step {index}");
        made = now.0;
    }
    let Some(last) = last else { return };
    if last.starts_with(RETIRE) {
        assert_validated(mesh);
    }
    assert_eq!(sent(&mesh.forward(last).code(0)), Vec::<String>::new());
}

const NEVER: &str = "finalise=never";
const RETIRE: &str = "through=retire new_root=accept backup_dir=";

/// Forwards, half back, forwards, back, forwards to the end.
fn whole() -> Vec<Step> {
    vec![
        Step::Forward(NEVER),
        Step::ToDistribute,
        Step::Forward(NEVER),
        Step::ToStart,
        Step::Forward(RETIRE),
    ]
}

/// A scenario of the program's own, at a speed for tests.
fn bundled(yaml: &str) -> Mesh {
    Mesh::start(&format!("speed: 100\n{}", yaml.replace("speed: 20\n", "")))
}

#[test]
fn from_istio_without_a_revision() {
    let mesh = bundled(include_str!("../../src/twin/scenario/default.yaml"));
    walk(&mesh, &whole());
}

/// Its gateway lists secrets of its own before those of the mesh, as Envoy's hash map may have it: whoever takes them
/// by position reads a CA for a leaf.
#[test]
fn from_a_revision_with_a_name_and_a_plugged_in_ca() {
    let mesh = bundled(include_str!("../../src/twin/scenario/named-revision.yaml"));
    walk(&mesh, &whole());
}

#[test]
fn with_native_sidecars() {
    let mesh = bundled(include_str!("../../src/twin/scenario/native.yaml"));
    walk(&mesh, &whole());
}

#[test]
fn with_sets_that_roll_and_sets_that_wait_for_an_eviction() {
    let mesh = bundled(include_str!("../../src/twin/scenario/stateful.yaml"));
    walk(&mesh, &whole());
}

/// What a tag led to is gone in the end: it leads to what took its place, or no pod that asks for it would start.
#[test]
fn with_every_way_to_ask_for_a_proxy() {
    let mesh = bundled(include_str!("../../src/twin/scenario/mixed-labels.yaml"));
    walk(&mesh, &whole());
    let lines = shape(&mesh);
    let tag = lines
        .iter()
        .find(|line| line.starts_with("istio-revision-tag-prod "));
    let tag = tag.unwrap();
    assert!(tag.contains(&format!("prod {SECOND} ")), "{tag}");
    assert!(tag.contains(&format!("\"istiod-{SECOND}\"")), "{tag}");
    mesh.run("new.rhai")
        .file("new.rhai", BY_TAG.trim_start())
        .run()
        .code(0);
    let proxies = mesh.proxies();
    let new = proxies.iter().find(|line| line.starts_with("new/web "));
    assert!(
        new.unwrap().contains(&format!(" {SECOND} MESHCA ")),
        "{proxies:?}"
    );
    assert_eq!(mesh.failed_handshakes(), 0);
}

const BY_TAG: &str = r#"
//! A namespace that asks for the tag, after the revision that it led to is gone.
//! mutates: true
fn main(p) {
    cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "new", labels: #{ "istio.io/rev": "prod" } } });
    let labels = #{ app: "web" };
    cluster::create(#{ apiVersion: "apps/v1", kind: "Deployment", metadata: #{ name: "web", namespace: "new" },
        spec: #{ selector: #{ matchLabels: labels }, template: #{ metadata: #{ labels: labels }, spec: #{ containers: [#{ name: "app", image: "registry.example/web:1.0" }] } } } });
    workload::wait("Deployment", "new", "web", #{ timeout: 120 });
}
"#;

const BY_TAGS: &str = "
title: namespaces that ask by a tag, by the tag `default`, and by the revision itself
speed: 100
fleet_id: twin-project
revisions:
  - {name: asm-1162, ca: citadel, tags: [prod]}
namespaces:
  old:
    injection: enabled
    workloads: [{name: web}]
  pay:
    injection: prod
    workloads: [{name: ledger, kind: StatefulSet}]
  rev:
    injection: asm-1162
    workloads: [{name: api}]
  shop:
    injection: prod
    workloads: [{name: web, replicas: 2}]
gateways:
  - {name: istio-ingressgateway, revision: asm-1162}
";

/// `istioctl tag set default --revision asm-1162`, which puts the injector of the revision without a name to rest.
const SET_DEFAULT: &str = r#"
//! Set the tag `default`.
//! mutates: true
fn main(p) {
    let own = cluster::get("mutatingwebhookconfiguration", "istio-sidecar-injector-asm-1162").to_map();
    let old = cluster::get("mutatingwebhookconfiguration", "istio-sidecar-injector").to_map();
    let hooks = old.webhooks;
    for i in 0..hooks.len() {
        hooks[i].clientConfig = own.webhooks[0].clientConfig;
        old.webhooks[i].namespaceSelector.matchLabels = #{ "istio.io/deactivated": "never-match" };
    }
    cluster::create(#{ apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration",
        metadata: #{ name: "istio-revision-tag-default", labels: #{ "istio.io/rev": "asm-1162", "istio.io/tag": "default" } }, webhooks: hooks });
    cluster::patch("mutatingwebhookconfiguration", "istio-sidecar-injector", #{ webhooks: old.webhooks });
    workload::restart("Deployment", "old", "web");
    workload::wait("Deployment", "old", "web", #{ timeout: 120 });
}
"#;

/// Who asks by a tag keeps the label; each tag is moved for all of its namespaces, and leads back with them.
#[test]
fn with_tags_that_are_moved_instead_of_labels() {
    let mesh = Mesh::start(BY_TAGS);
    let own = mesh.run("own.rhai").args("--waive RS102=test");
    own.file("own.rhai", SET_DEFAULT.trim_start()).run().code(0);
    walk(
        &mesh,
        &[
            Step::Forward("finalise=never move_by=tag"),
            Step::ToDistribute,
            Step::Forward("finalise=never move_by=tag"),
            Step::ToStart,
            Step::Forward("through=retire new_root=accept backup_dir= move_by=tag"),
        ],
    );
    let place = mesh.place();
    for line in [
        "namespace old enabled  ",
        "namespace pay  prod ",
        "namespace shop  prod ",
    ] {
        assert!(place.iter().any(|l| l.starts_with(line)), "{place:?}");
    }
    let labelled = format!("namespace rev  {SECOND} ");
    assert!(place.iter().any(|l| l.starts_with(&labelled)), "{place:?}");
    let tags: Vec<_> = shape(&mesh)
        .into_iter()
        .filter(|line| line.starts_with("istio-revision-tag-"))
        .collect();
    let moved = |line: &String| line.contains(&format!(" {SECOND} "));
    assert!(tags.len() == 2 && tags.iter().all(moved), "{tags:?}");
}

/// The aliases of one revision's mesh configuration, with one more of each of these.
fn aliases(config_map: &str, domains: &str) -> Step {
    Step::Script(format!(
        r#"
//! Names that proxies accept beside those of their own trust domain.
//! mutates: true
fn main(p) {{
    let config = data::parse_yaml(cluster::get("configmap", "istio-system", "{config_map}").data.mesh);
    let aliases = config.trustDomainAliases ?? [];
    config.trustDomainAliases = aliases + {domains};
    cluster::patch("configmap", "istio-system", "{config_map}", #{{ data: #{{ mesh: data::to_yaml(config) }} }});
}}
"#
    ))
}

/// asmcli sets the trust domain of revisions that Citadel signs for to `cluster.local`: identities change in phase 1
/// already. It is refused until both sides know each other's names, and each time that the revision is installed anew.
#[test]
fn from_a_trust_domain_of_the_sites_own() {
    let mesh = bundled(include_str!(
        "../../src/twin/scenario/own-trust-domain.yaml"
    ));
    let refused = || Step::Refused("RS101", "meshConfig.trustDomainAliases");
    let of_first = || aliases(&format!("istio-{FIRST}"), r#"["corp.example"]"#);
    walk(
        &mesh,
        &[
            refused(),
            Step::ToStart,
            aliases("istio", r#"["cluster.local", "twin-project.svc.id.goog"]"#),
            refused(),
            of_first(),
            Step::Forward(NEVER),
            Step::ToDistribute,
            Step::Forward(NEVER),
            Step::ToStart,
            refused(),
            of_first(),
            Step::Forward(RETIRE),
        ],
    );
}

/// Who has not asked for a proxy is not brought into the mesh by the label that moves the others.
#[test]
fn pods_that_never_asked_for_a_proxy_are_not_brought_in_by_the_label_of_their_namespace() {
    let mesh = Mesh::start(
        "
title: one workload asks for a proxy itself, its neighbour has none
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web}]
  side:
    workloads: [{name: asks, labels: {sidecar.istio.io/inject: 'true'}}, {name: plain}]
gateways:
  - {name: istio-ingressgateway}
",
    );
    let refused = mesh.forward(NEVER).code(3);
    let failure = &refused.finished()["failure"];
    assert_eq!(
        failure["evidence"],
        json!(["Deployment side/plain has no proxy and would be given one"]),
        "{failure}"
    );
    let touched = |ran: &Ran| {
        let sent = sent(ran);
        sent.into_iter().find(|s| s.contains("namespace/"))
    };
    assert_eq!(touched(&refused), None, "no namespace is touched");
    // It declines, as the hint says, and then it is never asked.
    let decline = r#"
//! mutates: true
fn main(p) {
    cluster::patch("deployment", "side", "plain", #{ spec: #{ template: #{ metadata: #{ labels: #{ "sidecar.istio.io/inject": "false" } } } } });
    workload::wait("Deployment", "side", "plain", #{ timeout: 120 });
}
"#;
    let decline = format!("//! Decline.\n{}", decline.trim_start());
    mesh.run("own.rhai").file("own.rhai", decline).run().code(0);
    mesh.undo("to=start").code(0);
    walk(&mesh, &[Step::Forward(NEVER), Step::ToStart]);
}

const BUDGET: &str = "
title: a budget that allows nothing
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: cart, kind: StatefulSet, replicas: 2, labels: {tier: state}}, {name: web}]
gateways:
  - {name: istio-ingressgateway}
objects:
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: state, namespace: shop},
     spec: {maxUnavailable: 0, selector: {matchLabels: {tier: state}}}}
";

/// A pod of nobody in the mesh that is not ready uses up what the budget allows.
const SICK: &str = r#"
//! A budget of one, and a pod that uses it up.
//! mutates: true
fn main(p) {
    cluster::patch("pdb", "shop", "state", #{ spec: #{ maxUnavailable: 1 } });
    let labels = #{ app: "sick", tier: "state", "sidecar.istio.io/inject": "false" };
    cluster::create(#{ apiVersion: "apps/v1", kind: "ReplicaSet", metadata: #{ name: "sick", namespace: "shop" }, spec: #{ replicas: 1,
        selector: #{ matchLabels: #{ app: "sick" } },
        template: #{ metadata: #{ labels: labels, annotations: #{ "twin.rootshift.dev/fault": "not-ready" } },
            spec: #{ containers: [#{ name: "main", image: "registry.example/sick:1.0" }] } } } });
    wait_until("the budget is used up", #{ every: 0.1, timeout: 60 }, || {
        let status = cluster::get("pdb", "shop", "state")?.status;
        status?.expectedPods == 3 && status?.disruptionsAllowed == 0
    });
}
"#;

const WELL: &str = r#"
//! The pod that is not ready goes.
//! mutates: true
fn main(p) { cluster::delete("replicaset", "shop", "sick"); }
"#;

/// A rollout asks no budget; the waves do, say what they wait for, and go on when it gives room.
#[test]
fn a_budget_is_waited_for_and_the_move_goes_on_when_it_gives_room() {
    let mesh = Mesh::start(BUDGET);
    let own = |text: &str| {
        mesh.run("own.rhai")
            .file("own.rhai", text.trim_start())
            .run()
            .code(0)
    };
    let never = mesh.forward(NEVER).code(4);
    let failure = &never.finished()["failure"];
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("allows 0 even when all 2 pods are healthy"),
        "{failure}"
    );
    let restarted = sent(&never);
    assert!(
        !restarted.iter().any(|s| s.contains("cart")),
        "{restarted:?}"
    );

    own(SICK);
    let mut running = mesh
        .run("citadel-to-meshca")
        .args("--set fleet_id=twin-project --set ready_delay=0 --set finalise=never")
        .start();
    let mut before = Vec::new();
    let waits = loop {
        let line = running.line();
        if line.contains("waiting: ") {
            break line;
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_ne!(event["event"], "finished", "{line}");
        before.push(line);
    };
    assert!(
        waits.contains("poddisruptionbudget.policy/shop/state"),
        "{waits}"
    );
    assert!(waits.contains("allows 0 now"), "{waits}");
    assert!(
        !before
            .iter()
            .any(|line| line.contains("statefulset.apps/cart restarted")),
        "{before:?}"
    );
    own(WELL);
    running.end().code(0);
    assert_at_the_end(&mesh);
    assert_eq!(mesh.failed_handshakes(), 0);
}
