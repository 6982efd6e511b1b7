//! The daily verbs: what they say of a mesh, with which exit code; and that they say what is so.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Program, Ran, ServedTwin, rootshift};

/// Half of phase 1, safe as it is.
const HALF: &str = "
title: half of phase 1
speed: 100
revisions:
  - {name: both, ca: citadel, options: [ca-migration-citadel]}
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: both
    workloads: [{name: api, kind: Deployment, replicas: 1}, {name: audit, kind: DaemonSet}]
gateways:
  - {name: istio-ingressgateway}
";

/// What the broken order leaves: one namespace is signed for by Mesh CA, the other trusts the old root alone.
const STRAIGHT: &str = "
title: pay went straight to Mesh CA
speed: 100
revisions:
  - {name: straight, ca: mesh_ca, options: [ca-migration-meshca]}
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}, {name: cart, kind: StatefulSet, replicas: 2}]
  pay:
    injection: straight
    workloads: [{name: api, kind: Deployment, replicas: 1}, {name: audit, kind: DaemonSet}]
gateways:
  - {name: istio-ingressgateway}
";

/// All roots right, and the new trust domain known to nobody.
const NO_ALIASES: &str = "
title: two revisions with all roots, and no aliases
speed: 100
aliases: false
revisions:
  - {name: both, ca: citadel, options: [ca-migration-citadel]}
  - {name: signs, ca: mesh_ca, options: [ca-migration-meshca]}
namespaces:
  shop:
    injection: both
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: signs
    workloads: [{name: api, kind: Deployment, replicas: 1}]
";

fn on(mesh: &str, command: &str) -> Program {
    rootshift(command)
        .args("--twin=mesh.yaml")
        .file("mesh.yaml", mesh)
}

/// Code on a mesh, and what it gives.
fn eval(mesh: &str, flags: &str, code: &str) -> Value {
    let ran = on(mesh, "eval -o json").args(flags).arg(code).run().code(0);
    ran.document()["summary"].clone()
}

fn kinds(exceptions: &Value) -> Vec<(String, String)> {
    let text = |e: &Value, key: &str| e[key].as_str().unwrap().to_owned();
    let all = exceptions.as_array().unwrap().iter();
    all.map(|e| (text(e, "kind"), text(e, "severity")))
        .collect()
}

/// Standard output with what differs from run to run replaced: names of pods, times.
fn plain(ran: &Ran) -> String {
    let replaced = |word: &str| {
        let bare = word.trim_matches(|c| "(),".contains(c));
        if bare.len() == 20 && bare.ends_with('Z') {
            word.replace(bare, "TIME")
        } else if bare.contains('.') && bare.contains('-') && !bare.contains('/') {
            word.replace(bare, "POD")
        } else {
            word.to_owned()
        }
    };
    let lines = ran.stdout.lines().map(|line| {
        let words: Vec<String> = line.split(' ').map(replaced).collect();
        format!("{}\n", words.join(" "))
    });
    lines.collect()
}

#[test]
fn check_says_of_a_healthy_mesh_that_nothing_is_wrong_and_how_much_it_looked_at() {
    let ran = rootshift("check --twin").run().code(0);
    assert_eq!(
        plain(&ran),
        "nothing is unsafe, unknown or odd\n\
         \n\
         cluster         gke_twin-project_us-central1-a_twin\n\
         checked         12 proxies\n\
         unknown         0 proxies and pods\n\
         skipped         2 pods: no proxy, and none is asked for\n\
         revisions       default 12\n\
         signed by       CITADEL 12\n\
         trust domains   cluster.local 12\n\
         trust           CITADEL 12\n\
         expiry          ok 12\n\
         pairs           40 of 40 can talk\n\
         first to end    certificate of POD, in 23 h (TIME)\n\
         \x20               root CITADEL, in 9 years (TIME)\n"
    );
}

#[test]
fn check_tells_programs_the_same_in_documented_keys() {
    let document = on(HALF, "check -o json").run().code(0).document();
    let summary = document["summary"].as_object().unwrap();
    let keys: Vec<&str> = summary.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "account",
            "behind",
            "counts",
            "exceptions",
            "expires",
            "namespaces",
            "pairs",
            "revisions",
            "roots"
        ]
    );
    assert_eq!(summary["account"]["checked"], 5);
    assert_eq!(summary["counts"]["revisions"]["both"], 2);
    assert_eq!(
        kinds(&summary["exceptions"]),
        [("spare-root".to_owned(), "note".to_owned())]
    );
}

#[test]
fn check_names_the_pairs_that_cannot_talk_and_a_proxy_that_cannot_be_read() {
    let ran = on(STRAIGHT, "check").run().code(3);
    ran.stdout_has("unsafe: pairs of workloads cannot talk (10)\n")
        .stdout_has("  - pay/api → shop/cart: the server refuses: it does not trust MESHCA, which signs for pay/api\n")
        .stdout_has("  - and 5 more, which -o json holds\n")
        .stdout_has("  next: ask for one of them: rootshift why istio-system/istio-ingressgateway pay/api\n")
        .stdout_has("pairs           8 of 18 can talk\n")
        .stderr_has("error: unsafe or unknown: no-trust (10)\n");

    let unreadable = format!("{HALF}faults:\n  admin: [{{pods: pay/api, mode: refuse}}]\n");
    let ran = on(&unreadable, "check").run().code(3);
    assert!(
        !ran.stdout.contains("no certificate needs"),
        "what the unread one needs is not known: {}",
        ran.stdout
    );
    ran.stdout_has("unknown: proxies and pods cannot be judged (1)\n  - api-")
        .stdout_has("unknown         1 proxy or pod\n")
        .stderr_has("error: unsafe or unknown: unknown (1)\n");
}

#[test]
fn a_mesh_without_a_proxy_is_no_healthy_mesh() {
    let ran = on("title: nothing\nspeed: 100\n", "check").run().code(3);
    ran.stdout_has("unsafe: no proxy was found in any namespace (1)\n")
        .stdout_has("checked         0 proxies\n");
    on("title: nothing\nspeed: 100\n", "check --all")
        .run()
        .code(3);
}

/// Each kind of exception on a mesh that has it and, beside it, on the one that has not.
#[test]
fn each_kind_of_exception_is_named_where_it_is_and_only_there() {
    const NAMES: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: odd, labels: LABELS}}";
    let namespace =
        |labels: &str| format!("{HALF}objects: [{}]\n", NAMES.replace("LABELS", labels));
    let webhook = format!(
        "{HALF}objects:\n  - apiVersion: admissionregistration.k8s.io/v1\n    kind: MutatingWebhookConfiguration\n    \
         metadata: {{name: left-over, labels: {{istio.io/rev: old}}}}\n    webhooks:\n      \
         - {{name: old.istio.io, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Ignore, \
         namespaceSelector: {{matchLabels: {{istio.io/rev: both}}}}, \
         clientConfig: {{service: {{name: istiod-old, namespace: istio-system, path: /inject}}}}, \
         rules: [{{apiGroups: [''], apiVersions: [v1], resources: [pods], operations: [CREATE]}}]}}\n"
    );
    let code = |before: &str| {
        format!(
            "{before}; mesh::connect(#{{ settle: 1, read_timeout: 5 }}).inventory(#{{}}).exceptions"
        )
    };
    let none = code("()");
    for (kind, severity, mesh, code) in [
        (
            "both-labels",
            "unsafe",
            namespace("{istio-injection: enabled, istio.io/rev: both}"),
            none.clone(),
        ),
        (
            "no-injector",
            "unsafe",
            namespace("{istio.io/rev: nosuch}"),
            none.clone(),
        ),
        ("two-injectors", "unsafe", webhook, none.clone()),
        (
            "istiod-not-ready",
            "unsafe",
            HALF.to_owned(),
            code(
                r#"cluster::patch("deployment", "istio-system", "istiod-both", #{ spec: #{ replicas: 0 } }); time::sleep(2.0)"#,
            ),
        ),
        // One that was restarted without the CA secret makes a root of its own; the other has the old one in memory.
        (
            "istiods-apart",
            "unsafe",
            HALF.to_owned(),
            code(
                r#"mesh::connect().record_start();
                   cluster::delete("secret", "istio-system", "istio-ca-secret");
                   workload::restart("Deployment", "istio-system", "istiod-both");
                   workload::wait("Deployment", "istio-system", "istiod-both", #{ timeout: 60 });
                   let refused = ();
                   try { mesh::connect().check_healthy(); } catch (e) { refused = e; }
                   assert(refused != () && refused.evidence.some(|line| line.starts_with("istiods have different roots: istiod-both has ")), `${refused}`)"#,
            ),
        ),
        (
            "no-sidecar",
            "unknown",
            HALF.to_owned(),
            code(
                r#"let pod = #{ apiVersion: "v1", kind: "Pod", metadata: #{ name: "early", namespace: "late" }, spec: #{ containers: [#{ name: "app", image: "app" }] } };
                   cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "late" } });
                   cluster::create(pod); time::sleep(1.0);
                   cluster::label("namespace", "late", #{ "istio-injection": "enabled" })"#,
            ),
        ),
        (
            "behind",
            "warning",
            HALF.to_owned(),
            code(
                r#"cluster::label("namespace", "shop", #{ "istio.io/rev": "both", "istio-injection": () })"#,
            ),
        ),
    ] {
        let found = kinds(&eval(
            &mesh,
            "--waive RS102 --waive RS101 --waive RS103 --waive RS201 --waive RS202 --waive RS203 --waive RS204",
            &code,
        ));
        assert!(
            found.contains(&(kind.to_owned(), severity.to_owned())),
            "{kind}: {found:?}"
        );
    }
    let without = kinds(&eval(HALF, "", &none));
    assert_eq!(without, [("spare-root".to_owned(), "note".to_owned())]);
}

/// Every ordered pair, as `why` answers it, and as real handshakes end.
fn why_and_handshakes(mesh: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let code = r#"
        let m = mesh::connect();
        let names = [];
        for p in m.proxies() {
            let name = `${p.workload.namespace}/${p.workload.name}`;
            if !names.contains(name) { names.push(name); }
        }
        let refused = [];
        for a in names { for b in names {
            let d = m.why(a, b).states[0].directions[0];
            if d.answer == "no" { refused.push(`${a} → ${b}`); }
        } }
        refused
    "#;
    let ran = on(mesh, "eval -o jsonl").arg(code).run();
    let finished = ran.finished();
    let said = finished["summary"].as_array().unwrap().iter();
    let pairs = finished["handshakes"]["pairs"].as_array().unwrap().iter();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let failed = pairs
        .filter(|p| p["failed"].as_u64() > Some(0))
        .map(|p| format!("{} → {}", text(&p["client"]), text(&p["server"])));
    (said.map(text).collect(), failed.collect())
}

#[test]
fn why_refuses_just_the_pairs_whose_handshakes_fail() {
    for (mesh, how_many) in [(STRAIGHT, 10), (NO_ALIASES, 2), (HALF, 0)] {
        let (said, failed) = why_and_handshakes(mesh);
        assert_eq!(said, failed);
        assert_eq!(said.len(), how_many, "{said:?}");
    }
}

#[test]
fn why_shows_the_path_the_side_that_refuses_and_the_next_command() {
    let ran = on(STRAIGHT, "why shop/web pay/api").run().code(3);
    ran.stdout_has("shop/web: 2 proxies of revision default\npay/api: 1 proxy of revision straight\n\nnow\n")
        .stdout_has("  shop/web → pay/api: no, the client refuses\n    the server shows spiffe://twin-project.svc.id.goog/ns/pay/sa/api → ")
        .stdout_has(" → MESHCA, which the other does not trust: it has CITADEL\n")
        .stdout_has("    next: give shop/web the root that signs for pay/api: rootshift run citadel-to-meshca --set through=distribute --context ")
        .stdout_has("  pay/api → shop/web: no, the server refuses\n    the client shows spiffe://twin-project")
        .stdout_has("\npay/api moved to `default`\n  shop/web → pay/api: yes\n  pay/api → shop/web: yes\n")
        .stderr_has("error: they cannot talk now, or it is unknown: shop/web → pay/api, pay/api → shop/web\n");

    on(NO_ALIASES, "why shop/web pay/api")
        .run()
        .code(3)
        .stdout_has("no, the client refuses: the name `spiffe://twin-project.svc.id.goog/ns/pay/sa/api` is not among those it accepts")
        .stdout_has("have the revision of shop/web list `twin-project.svc.id.goog` in meshConfig.trustDomainAliases");

    let ran = on(HALF, "why shop/web istio-system/istio-ingressgateway")
        .run()
        .code(0);
    ran.stdout_has(
        "  shop/web → istio-system/istio-ingressgateway: a gateway is no server in the mesh\n",
    )
    .stdout_has(
        "    the client shows spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway",
    );
}

#[test]
fn why_foresees_that_a_move_would_break_a_pair() {
    let mesh = STRAIGHT.replace("injection: straight", "injection: enabled");
    let ran = on(&mesh, "why shop/web pay/api").run().code(0);
    ran.stdout_has("\nshop/web moved to `straight`\n  shop/web → pay/api: no, the server refuses")
        .stdout_has("    next: not before every proxy has what it needs: give pay/api the root that signs for shop/web: ")
        .stdout_has("\nshop/web and pay/api moved to `straight`\n  shop/web → pay/api: yes\n");
}

#[test]
fn why_of_a_name_that_nobody_has_suggests_one() {
    for (name, message, hint) in [
        (
            "shop/wbe",
            "no workload and no pod with a proxy is named `shop/wbe`",
            "did you mean `shop/web`?",
        ),
        (
            "api",
            "no workload and no pod with a proxy is named `api`",
            "did you mean `pay/api`?",
        ),
        (
            "legacy/batch",
            "`legacy/batch` has no proxy",
            "it is outside of the mesh",
        ),
    ] {
        rootshift(&format!("why {name} shop/web --twin"))
            .run()
            .code(2)
            .stderr_has(message)
            .stderr_has(hint);
    }
    let two = rootshift("why shop/web").run().code(2);
    two.stderr_has("<B>");
}

#[test]
fn status_tells_where_the_migration_is_and_what_is_next() {
    rootshift("status --twin")
        .run()
        .code(0)
        .stdout_has("migration       not begun: ")
        .stdout_has("next            rootshift run citadel-to-meshca --context gke_twin-project_us-central1-a_twin\n")
        .stdout_has("half-done       nothing\nsafe to leave   yes, until CITADEL ends in 9 years (");

    let ran = on(HALF, "status").run().code(0);
    ran.stdout_has("migration       phase 1: 1 of 2 namespaces and 0 of 1 gateway pod are on a revision that gives both roots\n")
        .stdout_has(" --set revision_1=both\n")
        .stdout_has("half-done       nothing\nsafe to leave   yes, ");

    let all = HALF.replace("injection: enabled", "injection: both");
    let ran = on(&all, "status").run().code(0);
    ran.stdout_has("migration       phase 1: 2 of 2 namespaces and 0 of 1 gateway pod are");

    let ran = on(STRAIGHT, "status").run().code(3);
    ran.stdout_has("migration       phase 2: 1 of 2 namespaces and 0 of 1 gateway pod are on a revision that signs with Mesh CA\n")
        .stdout_has("  - phase 1 was skipped or not ended: not every proxy trusts both roots\n")
        .stdout_has("safe to leave   no\n  - pairs of workloads cannot talk (10): ")
        .stderr_has("error: it is not safe to leave it so\n");
}

/// Everybody can talk, and the next pod that is made anew by itself cannot.
#[test]
fn status_names_what_somebody_began_by_hand_and_whether_it_holds_if_a_pod_goes() {
    let scenario = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let two = "  - {name: both, ca: citadel, options: [ca-migration-citadel]}\n";
    let mesh = STRAIGHT
        .replace("injection: straight", "injection: enabled")
        .replace("revisions:\n", &format!("revisions:\n{two}"));
    std::fs::write(scenario.path(), mesh).unwrap();
    let twin = ServedTwin::start(scenario.path().to_str().unwrap());
    let flags = format!("{} --ca MESHCA={}", twin.flags(), twin.mesh_ca.display());
    let label = |revision: &str, more: &str| {
        rootshift(&format!("eval {flags} --yes {more}"))
            .arg(format!(
                r#"cluster::label("namespace", "pay", #{{ "istio.io/rev": "{revision}", "istio-injection": () }}); ()"#
            ))
            .run()
            .code(0);
    };
    let run = |verb: &str| rootshift(&format!("{verb} {flags}")).run();

    label("both", "");
    run("status")
        .code(0)
        .stdout_has("  - pay/api: its namespace asks for both, its pods are of default: not restarted (rollout restart)\n")
        .stdout_has("safe to leave   yes, ");

    label("straight", "--waive RS101=test");
    // As it is, everybody can talk.
    run("check")
        .code(0)
        .stdout_has("pairs           18 of 18 can talk\n");
    run("status")
        .code(3)
        .stdout_has(
            "safe to leave   no\n  - if pods are made anew now (a node goes, somebody restarts): ",
        )
        .stderr_has("hint: rootshift check names everything; going on, or back, ends it\n");
}

#[test]
fn status_says_of_a_migration_that_ended_that_it_is_done_and_what_it_left() {
    let ran = rootshift("run ./whole.rhai --twin=mesh.yaml -o json")
        .file(
            "whole.rhai",
            r#"
//! Migrate, and tell the position at each stage.
//! mutates: true
import "mesh/canary" as canary;
import "mesh/gateways" as gateways;
import "mesh/install" as install;
import "mesh/progress" as progress;

fn main(p) {
    let m = mesh::connect();
    let p = #{ namespaces: [], output_dir: "", fleet_id: "twin-project", timeout: 120, ready_delay: 0, overlays: [],
               ca_cert: "", ca_key: "", root_cert: "", cert_chain: "" };
    let told = [where(m)];
    m.record_start();
    install::revision(m, p, "r1", "citadel");
    told.push(where(m));
    canary::move_namespaces(m, p, "r1", ["r1"]);
    gateways::add(m, p, "r1", ["r1"]);
    told.push(where(m));
    gateways::remove_old(m, p, ["r1"]);
    install::remove_old(m, p, "r1", ["default"]);
    told.push(where(m));
    install::revision(m, p, "r2", "mesh_ca");
    told.push(where(m));
    canary::move_namespaces(m, p, "r2", ["r2"]);
    gateways::upgrade(m, p, "r2");
    told.push(where(m));
    install::remove_old(m, p, "r2", ["r1"]);
    told.push(where(m));
    told
}

fn where(m) {
    let found = m.inventory();
    let traces = m.traces();
    let roles = progress::roles_of(found, traces);
    let at = progress::position(found, roles, m.ca_secrets("CITADEL"), []);
    let half = progress::half_done(found, roles, traces, m.ca_secrets("CITADEL"), [], at.phase);
    [at.phase, at.done, half.len()]
}
"#
            .trim_start(),
        )
        .file("mesh.yaml", HALF.replace("injection: both", "injection: enabled").replace("revisions:\n  - {name: both, ca: citadel, options: [ca-migration-citadel]}\n", ""))
        .run()
        .code(0);
    let told = ran.document()["summary"].clone();
    assert_eq!(
        told,
        serde_json::json!([
            ["not begun", 0, 0],
            ["phase 1", 0, 0],
            // The old gateway beside the new one; the old istiod has it for a user.
            ["phase 1", 2, 1],
            ["between", 2, 0],
            ["phase 2", 0, 0],
            // The istiod of phase 1 without users.
            ["phase 2", 2, 1],
            ["between", 2, 0],
        ])
    );
}

#[test]
fn the_inventory_says_how_each_proxy_will_be_moved() {
    const MESH: &str = "
title: every way in which pods come to be made anew
speed: 100
namespaces:
  shop:
    injection: enabled
    workloads:
      - {name: web, kind: Deployment, replicas: 1}
      - {name: db, kind: StatefulSet, replicas: 1, update_strategy: OnDelete}
      - {name: cart, kind: StatefulSet, replicas: 2}
objects:
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: all-of-them, namespace: shop},
     spec: {maxUnavailable: 0, selector: {matchLabels: {app: cart}}}}
  - {apiVersion: v1, kind: Pod, metadata: {name: lone, namespace: shop}, spec: {containers: [{name: app, image: app}]}}
  - {apiVersion: batch/v1, kind: Job, metadata: {name: once, namespace: shop},
     spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: app}]}}}}
gateways:
  - {name: istio-ingressgateway}
";
    let ran = on(MESH, "check --all -o json").run().code(0);
    let proxies = ran.document()["summary"]["proxies"].clone();
    let moves: BTreeSet<String> = proxies
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            format!(
                "{}: {}",
                p["owner"].as_str().unwrap(),
                p["moves"].as_str().unwrap()
            )
        })
        .collect();
    let moves: Vec<&str> = moves.iter().map(String::as_str).collect();
    assert_eq!(
        moves,
        [
            "Deployment istio-system/istio-ingressgateway: gateway: beside, then in place",
            "Deployment shop/web: rollout restart",
            "Job shop/once: by hand: its Job runs on to its end; or make the Job again",
            "Pod shop/lone: by hand: bare pod, delete it and make it again",
            "StatefulSet shop/cart: held: `poddisruptionbudget.policy/shop/all-of-them`: it allows 0 pods to be away \
             now, and the restart takes 1 away (one after the other); a rollout does not ask it",
            "StatefulSet shop/db: evict one by one (OnDelete)",
        ]
    );
}

#[test]
fn each_gate_is_explained_without_a_cluster() {
    let ran = rootshift("explain rs101").run().code(0).stderr("");
    ran.stdout_has("RS101: every pair of workloads can handshake during and after this step\n\nWhat it looks at\n  Before a namespace is relabelled")
        .stdout_has("\nWhy it matters\n")
        .stdout_has("\nWhat to do\n")
        .stdout_has("\nWhat a waiver means\n")
        .stdout_has("\nA waiver is --waive RS101=REASON; it is recorded, and shown to the end.\n");
    let list = rootshift("explain").run().code(0).stdout;
    let codes: Vec<&str> = list.lines().filter_map(|l| l.get(..5)).collect();
    for gate in rootshift::mesh::gate::ALL {
        assert!(codes.contains(&gate.code), "{list}");
        let text = rootshift(&format!("explain {} -o json", gate.code))
            .run()
            .code(0)
            .document();
        assert_eq!(text["title"], gate.title);
    }
    rootshift("explain refused")
        .run()
        .code(0)
        .stdout_has("refused: exit code 3\n\n  A gate or a check said no");
    rootshift("explain RS110")
        .run()
        .code(2)
        .stderr_has("error: nothing has the code `RS110`\nhint: did you mean `RS1");
}

#[test]
fn the_verbs_look_at_every_cluster_that_was_given() {
    let scenario = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(scenario.path(), CLUSTERS).unwrap();
    let twin = ServedTwin::start(scenario.path().to_str().unwrap());
    let contexts = twin.contexts();
    let ask = |verb: &str| {
        let ca = twin.mesh_ca.display();
        rootshift(&format!("{verb} {} --ca MESHCA={ca}", twin.flags())).run()
    };
    for (verb, what) in [
        ("check", "checked"),
        ("check --all", "checked"),
        ("status", "safe to leave"),
    ] {
        let ran = ask(verb).code(0);
        for context in &contexts {
            let line = format!("cluster         {context}\n");
            assert!(ran.stdout.contains(&line), "{}", ran.stdout);
        }
        assert_eq!(ran.stdout.matches(what).count(), 2, "{}", ran.stdout);
    }
    let east = format!("shop/web@{}", contexts[1]);
    ask(&format!("why shop/web {east}"))
        .code(0)
        .stdout_has(&format!("  shop/web → {east}: yes\n"))
        .stdout_has(&format!("  {east} → shop/web: yes\n"));

    // What is wrong in one of them is wrong of all, and is said of that one.
    rootshift(&format!("run both-labels.rhai --yes {}", twin.flags()))
        .file("both-labels.rhai", BOTH_LABELS.trim_start())
        .run()
        .code(0);
    let ran = ask("check -o json").code(3);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let message = document["failure"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(&format!("{}: unsafe or unknown", contexts[1])),
        "{message}"
    );
    let clusters = document["summary"]["clusters"].as_object().unwrap();
    assert_eq!(clusters.len(), 2, "{document}");
    let count = |context: &str| clusters[context]["exceptions"].as_array().unwrap().len();
    assert_eq!(
        (count(&contexts[0]), count(&contexts[1])),
        (0, 1),
        "{document}"
    );
}

const CLUSTERS: &str = "
title: two clusters of one mesh
speed: 100
old_ca: plugged
namespaces:
  shop: {injection: enabled, workloads: [{name: web}]}
clusters:
  east:
    namespaces:
      shop: {injection: enabled, workloads: [{name: web}]}
";

const BOTH_LABELS: &str = r#"
//! Two injection labels in the second cluster.
//! mutates: true
fn main(p) {
    cluster::on(cluster::contexts()[1], || cluster::label("namespace", "shop", #{ "istio.io/rev": "default" }));
}
"#;

#[test]
fn the_verbs_are_in_the_help_and_take_the_flags_of_run() {
    let help = rootshift("--help").run().code(0).stdout;
    for verb in ["check", "explain", "status", "why"] {
        assert!(
            help.lines().any(|l| l.trim_start().starts_with(verb)),
            "{help}"
        );
    }
    for verb in ["check", "status", "why a/b c/d"] {
        rootshift(verb)
            .args("--set nosuch=1")
            .run()
            .code(2)
            .stderr_has("has no parameter `nosuch`");
        rootshift(verb)
            .args("--context nosuch --kubeconfig none")
            .run()
            .code(4);
    }
}
