//! `check-root-cert` on meshes that Google's check calls all green, and on proxies that cannot be read.

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
    for (mode, reason) in [
        ("refuse", "refused"),
        ("hang", "no complete answer within 1s"),
        ("truncate", "cut short"),
    ] {
        let faulty = format!(
            "{}faults:\n  admin: [{{pods: b/cart, mode: {mode}}}]\n",
            mesh("classic", "a", "b")
        );
        let ran = rootshift(
            "run check-root-cert --twin=mesh.yaml --set expect=CITADEL --set read_timeout=1",
        )
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
