//! Real certificates as the words show them: Mesh CA's root, the dump of Istio's own tests, dumps of real proxies.

use crate::support::{Program, rootshift};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/proxy-secrets.rhai");
const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/real");

fn shown(dump: &str, at: &str) -> String {
    let ran = Program::new(["run", EXAMPLE])
        .arg("--set")
        .arg(format!("dump={REAL}/{dump}"))
        .arg("--set")
        .arg(format!("at={at}"))
        .run()
        .code(0);
    ran.stdout
}

/// What does not change from day to day.
fn lasting(text: &str) -> Vec<String> {
    let cut = |line: &str| {
        let end = line
            .find(", EXPIRED ")
            .or_else(|| line.find(", expires in "));
        let end = end
            .or_else(|| line.find("  expires in "))
            .unwrap_or(line.len());
        line[..end].to_owned()
    };
    text.lines().map(cut).collect()
}

#[test]
fn the_dump_of_istios_own_tests() {
    assert_eq!(
        lasting(&shown(
            "istio-2023-config_dump.json",
            "2023-05-15T12:00:00Z"
        )),
        [
            "workload   spiffe://cluster.local/ns/ambient/sa/namespace-istio-waypoint",
            "issuer     O=cluster.local",
            "valid      2023-05-15T01:30:52Z to 2023-05-16T01:32:52Z (1d)",
            "key        RSA 2048, signed with RSA with SHA-256",
            "usage      not a CA; digitalSignature, keyEncipherment; serverAuth, clientAuth",
            "serial     6fbee254c22900615cb1f74e3d2f1713",
            "sha256     4dbe456bbd83bd4432aebc2d1d84e2d804ec29c314dab4353df93f5266c0c154",
            "",
            "Its own bundle accepts it.",
            "It trusts",
            "44aa7838  root      O=cluster.local",
        ]
    );
    let today = shown("istio-2023-config_dump.json", "");
    assert!(today.contains("EXPIRED"), "{today}");
    assert!(
        today.contains("Its own bundle does not accept it: "),
        "{today}"
    );
}

#[test]
fn a_proxy_between_two_cas() {
    let text = shown("pay-sleep-meshca-distribute.json", "2026-11-23T20:00:00Z");
    for line in [
        "issuer     CN=lab mesh issuing ca,O=Lab Mesh CA",
        "Its own bundle accepts it.",
        "root      O=cluster.local",
        "root      CN=istio_v1_cloud_workload_root-signer-lab,O=Lab Mesh CA",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn mesh_cas_root() {
    let ran = rootshift("eval")
        .arg("print(cert::mesh_ca_root())")
        .run()
        .code(0);
    let readme = include_str!("../../../README.md");
    for line in lasting(&ran.stdout) {
        assert!(readme.contains(&line), "not in the README: {line}");
    }
}
