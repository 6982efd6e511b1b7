//! The algorithm of Google's `migrate_ca check-root-cert`, written down again to see what it says.
//!
//! It asks for the roots of a proxy once for each serial number that `istioctl proxy-config secret` prints
//! in the row ROOTCA, and that is the serial of the first certificate of the bundle only: a bundle with
//! another root behind the same first one is never looked at. It sees sidecars in `containers` only.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::rig::Lab;

/// What it prints in brackets, by `POD.NAMESPACE`.
pub(super) fn check_root_cert(lab: &Lab) -> BTreeMap<String, String> {
    let mut by_serial: BTreeMap<String, String> = BTreeMap::new();
    let mut said = BTreeMap::new();
    let names = |of: &str| -> Vec<String> {
        let all = lab.kubectl(&format!("get {of} -o name"));
        let names = all.lines().filter_map(|l| l.split_once('/'));
        names.map(|(_, name)| name.to_owned()).collect()
    };
    for namespace in names("namespaces") {
        if ["kube-system", "kube-public", "kube-node-lease"].contains(&namespace.as_str()) {
            continue;
        }
        for pod in names(&format!("pods -n {namespace}")) {
            let containers = lab.kubectl(&format!(
                "get pod {pod} -n {namespace} -o jsonpath={{.spec.containers[*].name}}"
            ));
            if !containers.contains("istio-proxy") {
                continue;
            }
            let name = format!("{pod}.{namespace}");
            let table = istioctl(lab, &name, &[]);
            let row = table
                .lines()
                .find(|l| l.starts_with("ROOTCA"))
                .unwrap_or_default();
            // NAME, TYPE, STATUS, VALID CERT, SERIAL NUMBER
            let serial = row.split_whitespace().nth(4).unwrap_or_default().to_owned();
            let roots = by_serial
                .entry(serial)
                .or_insert_with(|| roots_of(&istioctl(lab, &name, &["-o", "json"])));
            said.insert(name, roots.clone());
        }
    }
    said
}

fn istioctl(lab: &Lab, pod: &str, more: &[&str]) -> String {
    let args: Vec<&str> = ["istioctl", "proxy-config", "secret", pod]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    String::from_utf8(lab.exec(&args).stdout).unwrap()
}

/// The secret at index 0 if it is called ROOTCA, else the one at index 1, judged by the text of its subjects.
fn roots_of(dump: &str) -> String {
    const MESHCA: &str = "istio_v1_cloud_workload_root-signer";
    let dump: Value = serde_json::from_str(dump).unwrap();
    let secrets = &dump["dynamicActiveSecrets"];
    let index = usize::from(secrets[0]["name"] != "ROOTCA");
    let encoded =
        secrets[index]["secret"]["validationContext"]["trustedCa"]["inlineBytes"].as_str();
    let pem = String::from_utf8(STANDARD.decode(encoded.unwrap_or_default()).unwrap()).unwrap();
    let subjects: Vec<String> = pem
        .split_inclusive("-----END CERTIFICATE-----")
        .filter(|block| block.contains("BEGIN"))
        .map(subject)
        .collect();
    let citadel = subjects
        .iter()
        .any(|s| !s.contains(MESHCA))
        .then_some("CITADEL");
    let meshca = subjects
        .iter()
        .any(|s| s.contains(MESHCA))
        .then_some("MESHCA");
    citadel
        .into_iter()
        .chain(meshca)
        .collect::<Vec<_>>()
        .join(" ")
}

fn subject(pem: &str) -> String {
    use std::io::Write as _;
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-subject"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl
        .stdin
        .take()
        .unwrap()
        .write_all(pem.as_bytes())
        .unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
