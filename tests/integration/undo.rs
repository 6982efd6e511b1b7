//! The way back: from wherever a migration is to each point behind it, and forward again.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::convergence::{Mesh, sent};
use crate::support::Ran;

/// Every way to be injected: by either label, and by the pods themselves.
const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  pay:
    injection: default
    workloads: [{name: ledger, kind: StatefulSet}]
  shop:
    injection: enabled
    workloads: [{name: web, replicas: 2}]
  side:
    workloads: [{name: opted, labels: {sidecar.istio.io/inject: 'true'}}]
gateways:
  - {name: istio-ingressgateway}
";

/// As little as has everything that goes back; without its record, nobody would know how `side` was injected.
const SMALL: &str = "
title: a smaller mesh
speed: 100
fleet_id: twin-project
namespaces:
  side:
    workloads: [{name: opted, labels: {sidecar.istio.io/inject: 'true'}}]
gateways:
  - {name: istio-ingressgateway}
";

pub(crate) const FIRST: &str = "asm-1233-2-distribute-root";
pub(crate) const SECOND: &str = "asm-1233-2-meshca-ca-migration";

impl Mesh {
    /// Without a time in which failures may come to light: the twin makes its handshakes before a change is over.
    pub(crate) fn forward(&self, set: &str) -> Ran {
        self.run("citadel-to-meshca")
            .args("--set fleet_id=twin-project --set ready_delay=0 --set watch=0")
            .args(&sets(set))
            .run()
    }

    pub(crate) fn undo(&self, set: &str) -> Ran {
        self.run("undo")
            .args("--set fleet_id=twin-project --set ready_delay=0")
            .args(&sets(set))
            .run()
    }

    /// All that a way back has to put back, in lines.
    pub(crate) fn place(&self) -> Vec<String> {
        let mut lines = self.ask(
            r#"
//! The mesh in lines.
//! mutates: false
fn main(p) {
    for proxy in mesh::connect().proxies() { print(`${proxy.workload.namespace}/${proxy.workload.name} ${proxy.revision} ${proxy.signer} ${proxy.trusts}`); }
    for ns in cluster::list("namespaces") {
        let labels = ns.metadata.labels;
        print(`namespace ${ns.metadata.name} ${labels["istio-injection"]} ${labels["istio.io/rev"]} ${ns.metadata.annotations}`);
    }
    for d in cluster::list("deployments", #{ namespace: "istio-system" }) { print(`deployment ${d.metadata.name} ${d.metadata.labels} ${d.spec.selector} ${d.spec.template.metadata}`); }
    for s in cluster::list("services", #{ namespace: "istio-system" }) { print(`service ${s.metadata.name} ${s.spec.selector}`); }
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration", "hpa", "istiooperator"] {
        for o in cluster::list(kind) { print(`${kind} ${o.metadata.name}`); }
    }
    print(`record of the start ${cluster::get("configmap", "istio-system", "rootshift") != ()}`);
}
"#,
        );
        lines.sort();
        lines
    }

    /// The lines of all proxies.
    pub(crate) fn proxies(&self) -> Vec<String> {
        let lines = self.place().into_iter();
        lines
            .filter(|line| line.contains(" trusts ") || line.contains("[\""))
            .collect()
    }

    /// Nothing of the second revision is left, everything is signed by Citadel and trusts both, and Service `istiod` leads
    /// to one of these or to the first revision.
    #[track_caller]
    pub(crate) fn assert_at_distribute(&self, also: &[&str]) {
        let place = self.place();
        let left: Vec<_> = place.iter().filter(|line| line.contains(SECOND)).collect();
        assert!(left.is_empty(), "{left:?}");
        let proxies = self.proxies();
        assert!(proxies.len() >= 3, "{place:?}");
        for proxy in proxies {
            let both = r#"CITADEL ["CITADEL", "MESHCA"]"#;
            assert!(proxy.contains(&format!(" {FIRST} {both}")), "{proxy}");
        }
        let service = place
            .iter()
            .find(|line| line.starts_with("service istiod {"));
        let service = service.expect("a Service `istiod`");
        let leads = |to: &&str| {
            service.contains(&format!("\"{to}\"")) || *to == "default" && service.contains("pilot")
        };
        assert!(also.iter().chain([&FIRST]).any(leads), "{service}");
    }
}

fn sets(set: &str) -> String {
    let words: Vec<String> = set
        .split_whitespace()
        .map(|s| format!("--set {s}"))
        .collect();
    words.join(" ")
}

#[track_caller]
fn failure(ran: &Ran) -> Value {
    assert_eq!(sent(ran), Vec::<String>::new(), "nothing is touched");
    ran.finished()["failure"].clone()
}

#[test]
fn from_anywhere_in_phase_1_it_goes_back_to_the_start() {
    let mesh = Mesh::start(MESH);
    let start = mesh.place();
    // One wave, and all of it with the old control plane and the old gateways still there.
    for stop in ["namespaces=pay", ""] {
        mesh.forward(&format!("through=distribute finalise=never {stop}"))
            .code(0);
        assert_ne!(mesh.place(), start);
        let back = mesh.undo("to=start").code(0);
        assert!(!sent(&back).is_empty());
        assert_eq!(mesh.place(), start, "{stop}");
        assert_eq!(sent(&mesh.undo("to=start").code(0)), Vec::<String>::new());
        assert_eq!(mesh.failed_handshakes(), 0, "{stop}");
    }
}

#[test]
fn from_anywhere_in_phase_2_it_goes_back_to_either_point_and_forward_again_to_the_end() {
    let mesh = Mesh::start(MESH);
    let start = mesh.place();
    mesh.forward("through=distribute finalise=never").code(0);
    // One wave of phase 2: its end is not reached while the others are signed by Citadel.
    let wave = mesh.forward("finalise=never namespaces=pay").code(3);
    assert_eq!(wave.finished()["failure"]["code"], "RS302");
    let part = mesh.undo("to=distribute namespaces=pay").code(0);
    assert!(part.stdout.contains("labeled"));
    assert!(
        mesh.proxies()
            .iter()
            .all(|proxy| proxy.contains(" CITADEL [")),
        "{:?}",
        mesh.proxies()
    );
    for to in ["distribute", "start"] {
        mesh.forward("finalise=never").code(0);
        assert!(
            mesh.proxies()
                .iter()
                .all(|proxy| proxy.contains(&format!(" {SECOND} MESHCA ")))
        );
        mesh.undo(&format!("to={to}")).code(0);
        if to == "start" {
            assert_eq!(mesh.place(), start);
        } else {
            mesh.assert_at_distribute(&["default"]);
        }
        assert_eq!(
            sent(&mesh.undo(&format!("to={to}")).code(0)),
            Vec::<String>::new()
        );
        assert_eq!(mesh.failed_handshakes(), 0, "{to}");
    }
    mesh.forward("through=retire new_root=accept backup_dir=")
        .code(0);
    assert_eq!(mesh.failed_handshakes(), 0);
    for to in ["distribute", "start"] {
        let refused = failure(&mesh.undo(&format!("to={to}")).code(3));
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with("there is no way back: the old CA is retired"),
            "{refused}"
        );
    }
}

/// Whose control plane and gateway finalising removes, and who installs it again.
const LABELLED: &str = "
title: a small mesh of a revision with a name
speed: 100
fleet_id: twin-project
revisions: [{name: asm-115, ca: citadel}]
namespaces:
  shop:
    injection: asm-115
    workloads: [{name: web}]
  pay:
    injection: asm-115
    workloads: [{name: api}]
gateways:
  - {name: istio-ingressgateway, revision: asm-115}
";

const REINSTALL: &str = r#"
//! Install the old revision again, as it was.
//! mutates: true
fn main(p) {
    let t = mesh::connect().target();
    let ended = shell::run(["asmcli", "install", "--kubeconfig", t.kubeconfig, "--context", t.context, "--fleet_id", "twin-project",
        "--enable_all", "--ca", "citadel", "--revision_name", "asm-115", "--output_dir", fs::temp_dir()], #{ stdin: "y\n" });
    assert(ended.code == 0, ended.stderr);
}
"#;

#[test]
fn after_finalising_the_start_is_refused_until_its_control_plane_is_installed_again() {
    let mesh = Mesh::start(LABELLED);
    let start = mesh.place();
    mesh.forward("finalise=never").code(0);
    // Finalised by running it again, which moves nothing.
    let finalised = sent(&mesh.forward("").code(0));
    assert!(
        !finalised
            .iter()
            .any(|s| s.contains("restarted") || s.contains("labeled")),
        "{finalised:?}"
    );
    let refused = failure(&mesh.undo("to=start").code(3));
    assert_eq!(
        refused["evidence"],
        serde_json::json!([
            "missing: deployment istio-system/istiod-asm-115: the control plane of revision asm-115",
            "missing: mutatingwebhookconfiguration of revision asm-115: its injector",
        ])
    );
    let hint = refused["hint"].as_str().unwrap();
    assert!(
        hint.contains("--set to=distribute is still possible"),
        "{hint}"
    );

    // The first revision is gone too, and made anew with the CA that is in use.
    mesh.undo("to=distribute").code(0);
    mesh.assert_at_distribute(&[]);
    assert_eq!(
        sent(&mesh.undo("to=distribute").code(0)),
        Vec::<String>::new()
    );
    let refused = failure(&mesh.undo("to=start").code(3));
    let hint = refused["hint"].as_str().unwrap();
    assert!(
        hint.starts_with("where the mesh is now it can stay"),
        "{hint}"
    );

    mesh.run("again.rhai")
        .file("again.rhai", REINSTALL.trim_start())
        .run()
        .code(0);
    mesh.undo("to=start").code(0);
    let place = mesh.place();
    let differ = |line: &&String| !line.starts_with("service istiod ");
    assert_eq!(
        place.iter().filter(differ).collect::<Vec<_>>(),
        start.iter().filter(differ).collect::<Vec<_>>()
    );
    assert_eq!(mesh.failed_handshakes(), 0);
}

#[test]
fn a_way_back_that_was_killed_after_any_step_is_finished_by_the_next() {
    let mesh = Mesh::start(SMALL);
    let start = mesh.place();
    mesh.forward("finalise=never").code(0);
    let mut killed: BTreeSet<(String, String)> = BTreeSet::new();
    loop {
        let mut running = mesh.run("undo").args("--set to=start").start();
        let mut phase = String::new();
        let last = loop {
            let line = running.line();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            let name = event["name"].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("step_started") if event["depth"] == 0 => phase = name,
                Some("step_finished") if killed.insert((phase.clone(), name)) => {
                    running.signal("KILL");
                    break None;
                }
                // In the middle of a namespace: labelled, and nothing of it restarted.
                Some("mutation") if event["kind"] == "namespace" && event["phase"] == "sent" => {
                    let summary = event["summary"].as_str().unwrap_or_default().to_owned();
                    if killed.insert((phase.clone(), summary)) {
                        running.signal("KILL");
                        break None;
                    }
                }
                None | Some("finished") => break Some(event),
                Some(_) => {}
            }
        };
        if let Some(last) = last {
            assert_eq!(last["outcome"], "done", "{last}");
            running.end().code(0);
            break;
        }
        assert!(killed.len() < 60, "it gets further each time: {killed:?}");
    }
    assert!(killed.len() >= 12, "{killed:?}");
    assert_eq!(mesh.place(), start);
    assert_eq!(mesh.failed_handshakes(), 0);
}

#[test]
fn one_wave_goes_back_by_itself_unless_it_would_not_trust_the_rest() {
    let mesh = Mesh::start(MESH);
    mesh.forward("finalise=never").code(0);
    let refused = failure(&mesh.undo("to=start namespaces=pay").code(3));
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("pay would not trust the rest of the mesh"),
        "{refused}"
    );

    mesh.undo("to=distribute namespaces=shop,pay").code(0);
    let place = mesh.place();
    let of = |line: &str| place.iter().any(|l| l.starts_with(line));
    assert!(
        of(&format!("pay/ledger {FIRST} CITADEL")) && of(&format!("shop/web {FIRST} CITADEL")),
        "{place:?}"
    );
    assert!(
        of(&format!("side/opted {SECOND} MESHCA")),
        "the rest stays: {place:?}"
    );
    assert!(
        of(&format!(
            "istio-system/istio-ingressgateway-{FIRST} {SECOND} MESHCA"
        )),
        "gateways too"
    );
    assert!(
        of(&format!("deployment istiod-{SECOND} ")),
        "and the revision"
    );

    let again = mesh.undo("to=distribute namespaces=pay").code(0);
    assert_eq!(sent(&again), Vec::<String>::new());
    assert!(again.stdout.contains("nothing of pay is beyond distribute"));

    mesh.undo("to=distribute").code(0);
    mesh.undo("to=start namespaces=pay").code(0);
    let place = mesh.place();
    assert!(
        place.contains(&"namespace pay  default #{}".to_owned()),
        "{place:?}"
    );
    assert!(
        place
            .iter()
            .any(|l| l.starts_with(&format!("namespace shop  {FIRST} "))),
        "{place:?}"
    );
    assert!(
        place
            .iter()
            .any(|l| l.starts_with(&format!("deployment istiod-{FIRST} "))),
        "{place:?}"
    );
    assert_eq!(mesh.failed_handshakes(), 0);
}

/// Nobody knows how it was: it is asked for.
#[test]
fn what_was_begun_by_hand_goes_back_where_the_operator_says() {
    let by_hand = format!(
        "{MESH}revisions: [{{name: {FIRST}, ca: citadel, options: [ca-migration-citadel]}}]\n"
    )
    .replace("injection: enabled", &format!("injection: {FIRST}"))
    .replace(
        "{name: istio-ingressgateway}",
        &format!("{{name: istio-ingressgateway, revision: {FIRST}}}"),
    );
    let mesh = Mesh::start(&by_hand);
    let refused = failure(&mesh.undo("to=start").code(2));
    assert_eq!(
        refused["message"],
        "how shop was injected at the start is not recorded (annotation `rootshift.dev/previous-injection`); nothing was touched"
    );
    assert!(
        refused["hint"]
            .as_str()
            .unwrap()
            .contains("--set old_revision=default"),
        "{refused}"
    );
    // A gateway that was not made here is not deleted either: it goes back in place.
    let back = mesh.undo("to=start old_revision=default").code(0);
    assert!(
        back.stdout
            .contains("was not made by this migration: it stays, of revision default")
    );
    let place = mesh.place();
    assert!(
        place.contains(&"namespace shop enabled  #{}".to_owned()),
        "{place:?}"
    );
    assert!(!place.iter().any(|line| line.contains(FIRST)), "{place:?}");
    assert_eq!(mesh.failed_handshakes(), 0);
}

/// The order is the guards' too: what forgets the new root while others show it is refused, and waived it is an outage.
const ROOTS_FIRST: &str = r#"
//! Straight from Mesh CA to the old root alone.
//! mutates: true
fn main(p) {
    cluster::label("namespace", "pay", #{ "istio.io/rev": "default" });
    workload::restart("StatefulSet", "pay", "ledger");
    workload::wait("StatefulSet", "pay", "ledger", #{ timeout: 120 });
    let begun = time::now();
    while time::since(begun) < 60.0 && cluster::raw("/twin/traffic").failed == 0 { time::sleep(0.2); }
}
"#;

#[test]
fn roots_first_is_refused_and_waived_breaks_handshakes() {
    let mesh = Mesh::start(MESH);
    mesh.forward("finalise=never").code(0);
    let run = |flags: &str| {
        mesh.run("roots.rhai")
            .file("roots.rhai", ROOTS_FIRST.trim_start())
            .args(flags)
            .run()
    };
    let refused = failure(&run("").code(3));
    assert_eq!(refused["code"], "RS101", "{refused}");

    // The same of the stock script without its first half, and without its own check as well.
    let first_half = "let signs_again = cluster::each(|| back::needs_signer(mesh::connect(), p, ways[cluster::context()])).some(|yes| yes);";
    let check = "cluster::each(|| back::check_signer(mesh::connect(), ways[cluster::context()]));";
    let whole = include_str!("../../scripts/undo.rhai");
    let half = whole.replace(first_half, "let signs_again = false;");
    let unchecked = half.replace(check, "");
    assert!(whole != half && half != unchecked);
    for (script, code) in [(half, "RS302"), (unchecked, "RS101")] {
        let refused = mesh
            .run("variant.rhai")
            .file("variant.rhai", script)
            .args("--set to=start")
            .run()
            .code(3);
        assert_eq!(refused.finished()["failure"]["code"], code);
    }
    assert_eq!(mesh.failed_handshakes(), 0);

    run("--waive RS101=test").code(0);
    assert!(mesh.failed_handshakes() > 0);
}
