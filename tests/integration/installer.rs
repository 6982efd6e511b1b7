//! What an installer is given, what it changed, and what it leaves when it fails.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::{Ran, rootshift, skip};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment}]
gateways:
  - {name: istio-ingressgateway}
params: {through: distribute, fleet_id: twin-project, ready_delay: 0, timeout: 30}
";

/// What the twin cannot act out.
const CNI: &str = "kind: IstioOperator\nspec: {components: {cni: {enabled: true}}}\n";

fn run(flags: &str) -> Ran {
    rootshift(&format!(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl {flags}"
    ))
    .file("mesh.yaml", MESH)
    .file("cni.yaml", CNI)
    .run()
}

/// The command lines of the programs that were started.
fn started(ran: &Ran) -> Vec<String> {
    let argv = |event: &Value| {
        let argv = event["argv"].as_array()?;
        Some(
            argv.iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    ran.events().iter().filter_map(argv).collect()
}

#[test]
fn what_contradicts_the_migration_is_refused_before_anything_is_started_or_changed() {
    for (flags, said) in [
        ("--managed", "`--managed` cannot be meant"),
        ("--frob", "`--frob` is no flag of asmcli"),
        ("--root_cert,c", "is what the migration itself passes"),
        ("-r,9ASM", "is what the migration itself passes"),
    ] {
        let ran = run(&format!("--set asmcli_args={flags}")).code(2);
        let failure = ran.finished()["failure"].to_string();
        assert!(failure.contains(said), "{flags}: {failure}");
        assert!(started(&ran).is_empty(), "{flags}");
        let changed = ran.events().iter().any(|e| e["event"] == "mutation");
        assert!(!changed, "{flags}");
    }
}

#[test]
fn the_sites_flags_reach_asmcli_and_what_it_changed_is_told() {
    let ran = run("--set asmcli_args=--enable_namespace_creation,--network-id,net").code(0);
    let started = started(&ran);
    assert_eq!(started[0], "asmcli --version");
    assert!(
        started[1].contains("--enable_namespace_creation --network_id net"),
        "{started:?}"
    );
    assert!(!started[1].contains("--enable_all"), "{started:?}");
    let told = ran.stdout.as_str();
    for line in [
        // Namespace istio-system, and what all revisions share: it is labelled with the one that was installed last.
        "asmcli created 17 objects, changed 3, deleted 0",
        "metadata.labels['istio.io/rev']: default → asm-1233-2-distribute-root",
        "  + deployment istio-system/istiod-asm-1233-2-distribute-root",
        "metadata.labels['topology.istio.io/network']: nothing → net",
    ] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
}

#[test]
fn when_an_installer_fails_its_log_is_left_and_said() {
    for (flags, why) in [
        (
            "asmcli_args=--option,nowhere",
            "asmcli: [ERROR]: Couldn't find yaml file nowhere.",
        ),
        (
            "overlays=cni.yaml --set installer=istioctl",
            "Error: the twin's installer cannot act out spec.components.cni",
        ),
    ] {
        fails_with(&run(&format!("--set {flags}")).code(4), why);
    }
}

/// The error says why, and names a file that has it and is there after the run.
fn fails_with(ran: &Ran, why: &str) {
    let failure = ran.finished()["failure"].clone();
    let evidence = failure["evidence"][0].as_str().unwrap();
    assert!(evidence.starts_with(why), "{failure}");
    let hint = failure["hint"].as_str().unwrap();
    let log = hint
        .strip_prefix("its log is ")
        .and_then(|rest| rest.split_once(';'))
        .map(|(log, _)| Path::new(log))
        .unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains(why), "{text}");
    std::fs::remove_dir_all(log.parent().unwrap()).unwrap();
}

#[test]
fn istioctl_installs_what_asmclis_options_mean() {
    let ran = run("--set installer=istioctl --set through=sign").code(0);
    let installs: Vec<String> = started(&ran)
        .into_iter()
        .filter(|argv| argv.contains("install"))
        .collect();
    assert_eq!(installs.len(), 2, "{installs:?}");
    for (install, revision) in installs.iter().zip([
        "asm-1233-2-distribute-root",
        "asm-1233-2-meshca-ca-migration",
    ]) {
        let wanted = format!("--revision {revision} --skip-confirmation --filename ");
        assert!(
            install.starts_with("istioctl install ") && install.contains(&wanted),
            "{install}"
        );
    }
    let finished = ran.finished();
    assert_eq!(finished["outcome"], "done");
    assert_eq!(finished["handshakes"]["failed"], 0);
    assert_eq!(finished["summary"]["signed_by"]["MESHCA"], 2, "{finished}");
}

const OVERLAYS: &str = r#"
//! The overlays of both phases.
import "mesh/istioctl" as istioctl;
fn main(p) {
    let m = mesh::connect();
    #{ citadel: fs::read(istioctl::overlay(m, "f", "citadel")), mesh_ca: fs::read(istioctl::overlay(m, "f", "mesh_ca")) }
}
"#;

#[test]
fn the_real_istioctl_makes_of_the_overlays_what_the_phases_need() {
    let istioctl = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab/bin/istioctl");
    if !istioctl.is_file() {
        skip("the lab's istioctl is not built (tests/lab/lab build)");
        return;
    }
    let ran = rootshift("run overlays.rhai --twin -o json")
        .file("overlays.rhai", OVERLAYS)
        .run()
        .code(0);
    let overlays = ran.document()["summary"].clone();
    for (phase, wanted) in [
        (
            "citadel",
            [
                "trustDomain: cluster.local\n",
                "trustDomainAliases:\n    - f.svc.id.goog\n",
                "caCertificates:\n    - pem: |\n        -----BEGIN CERTIFICATE-----\n",
                "\"caAddress\": \"\"",
            ],
        ),
        (
            "mesh_ca",
            [
                "trustDomain: f.svc.id.goog\n",
                "trustDomainAliases:\n    - cluster.local\n",
                "CA_PROVIDER: GoogleCA\n",
                "\"caAddress\": \"meshca.googleapis.com:443\"",
            ],
        ),
    ] {
        let file = ran.dir().join(format!("{phase}.yaml"));
        std::fs::write(&file, overlays[phase].as_str().unwrap()).unwrap();
        let made = Command::new(&istioctl)
            .args(["manifest", "generate", "--revision", "r", "--filename"])
            .arg(&file)
            .output()
            .unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        let errors = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{phase}: {errors}");
        let both = [
            "- name: ISTIO_MULTIROOT_MESH\n          value: \"true\"",
            "- name: TOKEN_AUDIENCES\n          value: istio-ca,f.svc.id.goog",
            "PROXY_CONFIG_XDS_AGENT: \"true\"",
            "name: istiod-r\n",
        ];
        for part in both.iter().chain(&wanted) {
            assert!(text.contains(part), "{phase}: no {part:?}");
        }
        assert!(
            !text.contains("name: istio-ingressgateway"),
            "{phase}: no gateway"
        );
    }
}
