//! A mesh of many workloads, in which the twin's sweeps go by class: forwards, back, forwards again.

use std::fmt::Write as _;

use crate::convergence::Mesh;
use crate::scenarios::handshakes;
use crate::support::say;
use crate::undo::SECOND;

/// Namespaces, and Deployments in each.
const SIZE: (usize, usize) = (5, 8);

/// `namespaces` times `each` Deployments with one pod, and a gateway.
fn mesh(namespaces: usize, each: usize) -> String {
    let mut yaml = "title: many Deployments\nspeed: 100\nfleet_id: twin-project\n\
                    gateways: [{name: istio-ingressgateway}]\nnamespaces:\n"
        .to_owned();
    for namespace in 0..namespaces {
        writeln!(
            yaml,
            "  team-{namespace}: {{injection: enabled, workloads: ["
        )
        .unwrap();
        for n in 0..each {
            writeln!(yaml, "    {{name: app-{n}, kind: Deployment}},").unwrap();
        }
        writeln!(yaml, "  ]}}").unwrap();
    }
    yaml
}

#[test]
fn many_deployments_go_forwards_back_and_forwards_again() {
    // As many as somebody asks for. Each restart reads the whole mesh: the time grows with the square.
    let size = std::env::var("ROOTSHIFT_TEST_DEPLOYMENTS")
        .map_or(SIZE, |n| (n.parse::<usize>().unwrap() / 10, 10));
    let mesh = Mesh::start(&mesh(size.0, size.1));
    let place = mesh.place();
    mesh.forward("finalise=never through=distribute").code(0);
    mesh.undo("to=start").code(0);
    assert_eq!(mesh.place(), place);
    mesh.forward("through=retire new_root=accept backup_dir=")
        .code(0);
    let proxies = mesh.proxies();
    assert_eq!(proxies.len(), size.0 * size.1 + 1);
    for proxy in proxies {
        assert!(proxy.contains(&format!(" {SECOND} MESHCA ")), "{proxy}");
    }
    let (made, failed) = handshakes(&mesh);
    say(&format!(
        "{} Deployments: {made} handshakes made, {failed} failed for trust",
        size.0 * size.1
    ));
    assert_eq!(failed, 0);
}
