//! What an installer is given, what it changed, and what it leaves when it fails.

use std::path::Path;

use serde_json::Value;

use crate::support::{Ran, rootshift};

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

fn run(flags: &str) -> Ran {
    rootshift(&format!(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl {flags}"
    ))
    .file("mesh.yaml", MESH)
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
        "asmcli created 17 objects, changed 1, deleted 0",
        "  + deployment istio-system/istiod-asm-1233-2-distribute-root",
        "metadata.labels['topology.istio.io/network']: nothing → net",
    ] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
}

#[test]
fn when_asmcli_fails_its_log_is_left_and_said() {
    let ran = run("--set asmcli_args=--option,nowhere").code(4);
    let failure = ran.finished()["failure"].clone();
    let evidence = failure["evidence"].to_string();
    assert!(
        evidence.contains("Couldn't find yaml file nowhere."),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    let log = hint
        .strip_prefix("its log is ")
        .and_then(|rest| rest.split_once(';'))
        .map(|(log, _)| Path::new(log))
        .unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("asmcli: [ERROR]: "), "{text}");
    std::fs::remove_dir_all(log.parent().unwrap()).unwrap();
}
