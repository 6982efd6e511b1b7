//! The secrets that istiod loads its CA from: judged as istiod reads them, all together, and before anything is done.

use jiff::Timestamp;
use rootshift::pki::mint::{Authority, CaSpec};
use secrecy::ExposeSecret as _;

use crate::support::{Program, Ran, ServedTwin, rootshift};

const PLUGGED: &str = "
title: a small mesh whose CA an operator has plugged in
old_ca: plugged
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}]
gateways:
  - {name: istio-ingressgateway}
";

/// A CA of the same name as istiod's own, and its key.
fn stranger() -> (String, String) {
    let ca = Authority::self_signed(&CaSpec::istio("cluster.local", Timestamp::now())).unwrap();
    (ca.cert().pem(), ca.key_pem().expose_secret().to_owned())
}

/// The mesh with a secret from before its CA was plugged in, which istiod does not load as long as there is the other.
fn with_dormant_secret() -> String {
    let (cert, key) = stranger();
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "istio.io/ca-root",
        "metadata": {"name": "istio-ca-secret", "namespace": "istio-system"},
        "stringData": {"ca-cert.pem": cert, "ca-key.pem": key, "root-cert.pem": cert, "cert-chain.pem": "", "key.pem": ""},
    });
    format!("{PLUGGED}objects: [{object}]\n")
}

fn outputs(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let texts = events.iter().filter(|e| e["event"] == "output");
    texts
        .filter_map(|e| e["text"].as_str().map(str::to_owned))
        .collect()
}

/// The CA secrets that were deleted, in the order.
fn deleted(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let sent = events
        .iter()
        .filter(|e| e["event"] == "mutation" && e["kind"] == "secret" && e["outcome"] == "deleted");
    sent.filter_map(|e| e["name"].as_str().map(str::to_owned))
        .collect()
}

/// Each way to break `cacerts`: it is written, istiod is restarted, and it is put back.
const WAYS: &str = r#"
//! Break the secret of the CA.
//! mutates: true
fn main(p) {
    mesh::connect().record_start();
    let cert = fs::read("c.pem");
    let key = fs::read("k.pem");
    let was = cluster::get("secret", "istio-system", "cacerts").data.to_map();
    let root = cluster::get("configmap", "istio-system", "istio-ca-root-cert").data["root-cert.pem"];
    let ways = [
        ["no key", #{ data: #{ "ca-key.pem": () } }],
        ["no chain", #{ data: #{ "cert-chain.pem": () } }],
        ["a TLS form beside", #{ stringData: #{ "tls.crt": cert, "tls.key": key, "ca.crt": cert } }],
        ["half a TLS form beside", #{ stringData: #{ "tls.crt": cert } }],
        ["another key", #{ stringData: #{ "ca-key.pem": key } }],
        ["another signer", #{ stringData: #{ "ca-cert.pem": cert, "ca-key.pem": key, "cert-chain.pem": cert } }],
        ["another signer with both roots", #{ stringData: #{ "ca-cert.pem": cert, "ca-key.pem": key, "cert-chain.pem": cert, "root-cert.pem": cert + root } }],
    ];
    for way in ways {
        let verdict = "written";
        try { cluster::patch("secret", "istio-system", "cacerts", way[1]); } catch (e) { verdict = `${e.code} ${e.evidence}`; }
        print(`write ${way[0]}: ${verdict}`);
        verdict = "restarted";
        try { workload::restart("Deployment", "istio-system", "istiod"); } catch (e) { verdict = `${e.code} ${e.evidence}`; }
        print(`restart ${way[0]}: ${verdict}`);
        let back = was;
        for key in ["tls.crt", "tls.key", "ca.crt"] { back[key] = (); }
        cluster::patch("secret", "istio-system", "cacerts", #{ data: back });
    }
    workload::restart("Deployment", "istio-system", "istiod");
    print("as it was: restarted");
}
"#;

fn broken(flags: &str) -> Vec<String> {
    let (cert, key) = stranger();
    let ran = rootshift("run ways.rhai --twin=mesh.yaml -o jsonl")
        .args(flags)
        .file("ways.rhai", WAYS.trim_start())
        .file("mesh.yaml", PLUGGED)
        .file("c.pem", cert)
        .file("k.pem", key)
        .run()
        .code(0);
    outputs(&ran)
}

#[test]
fn a_cacerts_that_istiod_would_not_load_or_sign_otherwise_with_is_not_written() {
    let said = broken("");
    for line in said.iter().filter(|line| line.starts_with("write ")) {
        assert!(line.contains(": RS201 "), "{said:#?}");
    }
    for line in said.iter().filter(|line| line.starts_with("restart ")) {
        assert!(line.ends_with(": restarted"), "{said:#?}");
    }
    assert_eq!(said.len(), 15, "{said:#?}");
}

#[test]
fn istiod_is_not_restarted_to_a_cacerts_that_it_would_not_load_or_sign_otherwise_with() {
    let said = broken("--waive RS201=test");
    for line in said.iter().filter(|line| line.starts_with("write ")) {
        assert!(line.ends_with(": written"), "{said:#?}");
    }
    for line in said.iter().filter(|line| line.starts_with("restart ")) {
        assert!(line.contains(": RS203 "), "{said:#?}");
    }
    assert_eq!(said.last().unwrap(), "as it was: restarted");
}

/// With no secret left, the running istiod still tells what it signs with.
#[test]
fn a_stranger_s_ca_is_not_written_where_the_secret_is_gone() {
    let (cert, key) = stranger();
    let script = r#"
//! Delete the secret of the CA, and plug in another.
//! mutates: true
fn main(p) {
    let cert = fs::read("c.pem");
    cluster::delete("secret", "istio-system", "cacerts");
    cluster::create(#{ apiVersion: "v1", kind: "Secret", metadata: #{ name: "cacerts", namespace: "istio-system" },
        stringData: #{ "ca-cert.pem": cert, "ca-key.pem": fs::read("k.pem"), "root-cert.pem": cert, "cert-chain.pem": cert } });
}
"#;
    let ran = rootshift(
        "run stranger.rhai --twin=mesh.yaml -o jsonl --waive RS201=test --waive RS202=test",
    )
    .file("stranger.rhai", script.trim_start())
    .file("mesh.yaml", PLUGGED)
    .file("c.pem", cert)
    .file("k.pem", key)
    .run()
    .code(0);
    let events = ran.events();
    let mut gates = events
        .iter()
        .filter(|e| e["event"] == "gate" && e["code"] == "RS201");
    let seen = gates.any(|g| {
        g["evidence"]
            .to_string()
            .contains("cacerts would hold a certificate that signs under another root")
    });
    assert!(seen, "{}", ran.stdout);
}

#[test]
fn the_last_of_two_ca_secrets_is_foreseen_before_the_first_is_deleted() {
    let ran = rootshift(
        "run citadel-to-meshca --twin=mesh.yaml -o jsonl --set watch=0 --set through=retire --set backup_dir=",
    )
    .file("mesh.yaml", with_dormant_secret())
    .run()
    .code(3);
    assert_eq!(ran.finished()["failure"]["code"], "RS202");
    assert_eq!(deleted(&ran), Vec::<String>::new());
}

#[test]
fn a_dormant_ca_secret_that_istiod_would_load_next_is_deleted_by_a_second_run() {
    let scenario = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(scenario.path(), with_dormant_secret()).unwrap();
    let twin = ServedTwin::start(scenario.path().to_str().unwrap());
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rootshift"), bin.path().join("asmcli")).unwrap();
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap()
    );
    let run = |what: &str| -> Program {
        rootshift(&format!(
            "run {what} {} --ca MESHCA={} --yes --confirm gke_twin-project_us-central1-a_twin -o jsonl",
            twin.flags(),
            twin.mesh_ca.display()
        ))
        .env("PATH", path.clone())
    };
    run("citadel-to-meshca --set watch=0 --set fleet_id=twin-project")
        .run()
        .code(0);
    // As a run that was stopped between the two leaves it.
    run("half.rhai")
        .file(
            "half.rhai",
            "//! Delete one of two.\n//! mutates: true\nfn main(p) { cluster::delete(\"secret\", \"istio-system\", \"cacerts\"); }\n",
        )
        .args("--waive RS202=test")
        .run()
        .code(0);
    let retire = || {
        run("retire-old-ca --set watch=0 --set backup_dir= --set new_root=accept")
            .run()
            .code(0)
    };
    let next = retire();
    assert_eq!(deleted(&next), ["istio-ca-secret"]);
    assert_eq!(
        deleted(&retire()),
        Vec::<String>::new(),
        "the new root stays"
    );
}

/// A copy of the CA's key in the clear is the CA: a site may have it encrypted on the way to the file.
#[cfg(unix)]
#[test]
fn copies_go_through_the_sites_filter_and_what_does_not_hide_them_is_not_written() {
    const COPY: &str = r#"
//! A copy through each filter.
//! mutates: false
fn main(p) {
    let m = mesh::connect();
    let plain = m.back_up_secret("cacerts", "plain");
    for filter in ["tr A-Za-z N-ZA-Mn-za-m", "cat", "true", "echo no key >&2; exit 3", "printf '\\377'"] {
        try { print(m.back_up_secret("cacerts", "copies", #{ filter: filter })); } catch (e) { print(`${e.kind}: ${e.message}`); }
    }
}
"#;
    let ran = rootshift("run copy.rhai --twin=mesh.yaml -o jsonl")
        .file("mesh.yaml", PLUGGED)
        .file("copy.rhai", COPY.trim_start())
        .run()
        .code(0);
    assert_eq!(
        outputs(&ran),
        [
            "copies/cacerts.yaml.filtered",
            "environment: backup of secret `cacerts`: `cat` left the secret in what it wrote",
            "environment: backup of secret `cacerts`: `true` wrote nothing",
            "environment: `echo no key >&2; exit 3`, through which the copies of secrets go, ended with 3: no key",
            "environment: backup of secret `cacerts`: `printf '\\377'` wrote something that is no text: have it write armour (age -a, gpg -a) or base64",
        ]
    );
    let turned: String = ran
        .file("copies/cacerts.yaml.filtered")
        .chars()
        .map(|c| match c {
            'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
            'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
            c => c,
        })
        .collect();
    assert_eq!(turned, ran.file("plain/cacerts.yaml"));
    let copies = std::fs::read_dir(ran.dir().join("copies")).unwrap();
    assert_eq!(copies.count(), 1);
}
