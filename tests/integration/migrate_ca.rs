//! The three checks of Google's `migrate_ca`, on meshes that its own call all green, and on proxies that cannot be read.

use crate::support::rootshift;

/// A mesh of two small namespaces; what is appended makes it special.
const MESH: &str = "
title: a small mesh
speed: 200
sidecars: SIDECARS
revisions:
  - {name: both-roots, ca: citadel, options: [ca-migration-citadel]}
namespaces:
  NEW:
    injection: both-roots
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  OLD:
    injection: enabled
    workloads: [{name: cart, kind: StatefulSet, replicas: 1}, {name: agent, kind: DaemonSet}]
";

fn mesh(sidecars: &str, new: &str, old: &str) -> String {
    MESH.replace("SIDECARS", sidecars)
        .replace("NEW", new)
        .replace("OLD", old)
}

/// Google's tool remembers its verdict by the serial of the first root that istioctl prints. With one
/// namespace moved and one not, whichever comes first by name decides what it says of the other.
#[test]
fn half_a_mesh_with_both_roots_is_told_apart_in_either_order_of_names() {
    for (new, old) in [("alpha", "zulu"), ("zulu", "alpha")] {
        for sidecars in ["classic", "native"] {
            let ran = rootshift("run check-root-cert --twin=mesh.yaml")
                .file("mesh.yaml", mesh(sidecars, new, old))
                .run()
                .code(3);
            let lines: Vec<&str> = ran.stdout.lines().collect();
            let pods = |ns: &str| -> Vec<&str> {
                lines
                    .iter()
                    .filter(|l| l.contains(&format!(".{ns} ")))
                    .copied()
                    .collect()
            };
            assert_eq!(pods(new).len(), 2, "{}", ran.stdout);
            assert_eq!(pods(old).len(), 2, "{}", ran.stdout);
            assert!(
                pods(new)
                    .iter()
                    .all(|l| l.ends_with(" trusts [CITADEL MESHCA]")),
                "{}",
                ran.stdout
            );
            assert!(
                pods(old).iter().all(|l| l.ends_with(" trusts [CITADEL]")),
                "{}",
                ran.stdout
            );
            let first = lines[0];
            assert_eq!(
                first,
                format!("Namespace: {}", new.min(old)),
                "{}",
                ran.stdout
            );
            ran.stderr_has("RS301")
                .stderr_has(&format!("cart-0.{old}"))
                .stderr_has("lacks MESHCA");
        }
    }
}

#[test]
fn a_mesh_that_trusts_what_is_expected_passes() {
    rootshift("run check-root-cert --twin=mesh.yaml --set expect=CITADEL")
        .file("mesh.yaml", mesh("native", "a", "b"))
        .run()
        .code(0);
}

#[test]
fn a_proxy_that_cannot_be_read_is_unknown_by_name_and_reason() {
    for (check, mode, reason) in [
        ("check-root-cert --set expect=CITADEL", "refuse", "refused"),
        (
            "check-root-cert --set expect=CITADEL",
            "hang",
            "no complete answer within 1s",
        ),
        (
            "check-root-cert --set expect=CITADEL",
            "truncate",
            "cut short",
        ),
        (
            "check-workload-cert --set expect=CITADEL",
            "refuse",
            "refused",
        ),
        ("check-trustdomain", "refuse", "refused"),
    ] {
        let faulty = format!(
            "{}faults:\n  admin: [{{pods: b/cart, mode: {mode}}}]\n",
            mesh("classic", "a", "b")
        );
        let ran = rootshift(&format!(
            "run {check} --twin=mesh.yaml --set read_timeout=1"
        ))
        .file("mesh.yaml", faulty)
        .run()
        .code(3);
        let line = ran
            .stdout
            .lines()
            .find(|l| l.starts_with("cart-0.b "))
            .expect("a line for it");
        assert!(line.starts_with("cart-0.b unknown: "), "{mode}: {line}");
        assert!(line.contains(reason), "{mode}: {line}");
        ran.stderr_has("RS103").stderr_has("cart-0.b unknown");
    }
}

#[test]
fn a_mesh_without_a_proxy_is_not_all_green() {
    rootshift("run check-root-cert --twin=mesh.yaml")
        .file(
            "mesh.yaml",
            "
title: nothing is injected
speed: 200
namespaces:
  legacy:
    workloads: [{name: batch, kind: Deployment, replicas: 1}]
",
        )
        .run()
        .code(3)
        .stderr_has("RS103")
        .stderr_has("no proxy was found in any namespace");
}

/// One namespace went straight to Mesh CA: Google's third check says yes to it, and the second says CITADEL of whatever it
/// does not know.
#[test]
fn who_signed_and_which_names_are_accepted_is_told_of_each_proxy() {
    let straight = mesh("classic", "moved", "old").replace(
        "{name: both-roots, ca: citadel, options: [ca-migration-citadel]}",
        "{name: both-roots, ca: mesh_ca}",
    );
    let run = |check: &str| {
        rootshift(&format!("run {check} --twin=mesh.yaml"))
            .file("mesh.yaml", &straight)
            .run()
            .code(3)
    };
    let says = |stdout: &str, namespace: &str, text: &str| {
        let of_it = format!(".{namespace} ");
        let mut lines = stdout.lines().filter(|line| line.contains(&of_it));
        assert!(lines.clone().count() == 2, "{stdout}");
        assert!(lines.all(|line| line.ends_with(text)), "{stdout}");
    };

    let ran = run("check-workload-cert");
    let issued = |ca: &str| format!(" is using the mTLS certificate issued by [{ca}]");
    says(&ran.stdout, "moved", &issued("MESHCA"));
    says(&ran.stdout, "old", &issued("CITADEL"));
    ran.stderr_has("RS302")
        .stderr_has("cart-0.old (old/cart) is signed by CITADEL");

    let ran = run("check-trustdomain");
    let trusts = |domains: &str| format!(" trusts trust domains for [{domains}]");
    says(&ran.stdout, "moved", &trusts("twin-project.svc.id.goog"));
    says(&ran.stdout, "old", &trusts("cluster.local"));
    ran.stderr_has("RS308")
        .stderr_has("cart-0.old (old/cart) does not accept spiffe://twin-project.svc.id.goog/ns/");
}

#[test]
fn a_mesh_of_one_ca_passes_the_other_two_checks_as_well() {
    for check in [
        "check-workload-cert --set expect=CITADEL",
        "check-trustdomain",
        "check-trustdomain --set expect=cluster.local",
    ] {
        rootshift(&format!("run {check} --twin=mesh.yaml"))
            .file("mesh.yaml", mesh("native", "a", "b"))
            .run()
            .code(0);
    }
}
