//! What scripts get of certificates: values, texts, errors; and of keys: nothing.

use secrecy::ExposeSecret as _;

use super::super::tests::{Setup, messages, run};
use crate::engine::FailureKind;
use crate::pki::mint::{Authority, CaSpec};
use jiff::Timestamp;

#[test]
fn a_key_is_shown_nowhere() {
    let now = Timestamp::now();
    let ca = Authority::self_signed(&CaSpec::istio("cluster.local", now)).unwrap();
    let pem = ca.key_pem();
    let pem = pem.expose_secret();
    // A line from its middle: whatever shows the key shows that.
    let secret = pem.lines().nth(1).unwrap();
    let script = format!("const PEM = `{pem}`;\n")
        + r#"
        let key = cert::key(PEM);
        print(key);
        print([key, #{ key: key }]);
        print(`${key}`);
        log::info(key.to_string());
        print(PEM);
        assert(data::to_json(#{ key: key }) == `{"key":"‹redacted›"}`, "as JSON");
        try { assert(false, key) } catch (e) { print(e.message) }
        try { cert::parse(PEM) } catch (e) { print(e.message) }
        try { cert::key(PEM + PEM) } catch (e) { print(e.message) }
        try { cert::key_matches(PEM.sub_string(0, 80), cert::mesh_ca_root()) } catch (e) { print(e.message) }
        try { cert::handshake(#{ chain: [], key: key, bundle: [] }, #{}) } catch (e) { print(e.message) }
        try { throw #{ kind: "script", message: "no", evidence: [key] } } catch (e) { print(e) }
        #{ key: key, all: [key] }
    "#;
    let (result, events) = Setup::default().run(&script);
    let result = result.unwrap();
    assert_eq!(result["key"], "‹redacted›");
    assert_eq!(result["all"][0], "‹redacted›");
    let shown: Vec<String> = messages(&events)
        .iter()
        .map(|line| crate::journal::redact(line).into_owned())
        .collect();
    assert!(shown.len() >= 10, "{shown:#?}");
    for line in &shown {
        assert!(!line.contains(secret), "{line}");
    }
    assert_eq!(shown[0], "‹redacted›");
    assert!(shown[1].contains("‹redacted›"), "{}", shown[1]);
    // The script's own text in a diagnostic is the one thing that the words cannot change.
    let error = run(&format!("cert::key(`{pem}{pem}`)")).unwrap_err();
    assert!(!error.message.contains(secret), "{}", error.message);
}

#[test]
fn a_certificate_is_shown_in_lines_and_a_bundle_in_one_for_each() {
    let (_, events) = Setup::default().run(
        "
        let root = cert::mesh_ca_root();
        print(root);
        print(cert::bundle(root));
        print([root]);
        ",
    );
    let shown = messages(&events);
    let lines: Vec<&str> = shown[0].lines().collect();
    assert_eq!(lines.len(), 7, "{}", shown[0]);
    assert!(lines[0].starts_with("root       CN=istio_v1_cloud_workload_root-signer-0"));
    assert_eq!(lines[1], "issuer     itself");
    let valid = "valid      2018-04-25T21:11:33Z to 2118-04-25T22:11:33Z (100y 24d), expires in ";
    assert!(lines[2].starts_with(valid), "{}", lines[2]);
    assert_eq!(
        lines[3],
        "key        RSA 4096, signed with RSA with SHA-256"
    );
    assert_eq!(
        lines[4],
        "usage      CA; keyCertSign, cRLSign; serverAuth, clientAuth"
    );
    assert_eq!(lines[5], "serial     116db900f6bb4bd4a3fcd8fa57a1b141");
    assert!(
        shown[1].starts_with("614849a4  root      CN=istio_v1"),
        "{}",
        shown[1]
    );
    assert!(shown[2].starts_with("[614849a4  root "), "{}", shown[2]);
}

#[test]
fn fields_are_those_of_the_certificate() {
    run(r#"
        let root = cert::mesh_ca_root();
        assert(type_of(root) == "Cert" && type_of(cert::bundle(root)) == "Bundle", type_of(root));
        assert(root.serial_decimal == "23166588608060281254234313869957902657", root.serial_decimal);
        assert(root.ski == "3f56cbb28e044300499c663c89efbeb5f49b3d8a", root.ski);
        assert(root.key_usages == ["keyCertSign", "cRLSign"], root.key_usages);
        assert(root.extended_key_usages == ["serverAuth", "clientAuth"], root.extended_key_usages);
        assert(root.subject_parts.len == 6 && root.subject_parts[5].kind == "CN", root.subject_parts);
        assert(root.self_issued && root.self_signed && root.path_len == (), root);
        assert(root.expires_in > 0.0 && root.uris == [] && root.spiffe_id == (), root);
        let a = cert::sample(["no-san", "leaf-no-key-usage"]);
        assert(a.chain[0].key_usages == () && a.chain[0].aki == a.chain[1].ski, a.chain[0]);
        let all = cert::bundle(a.chain);
        assert(all.len == 2 && all.not_after == a.chain[0].not_after && all.sha256.len == 64, all);
        assert((all - a.trusted).certs == [a.chain[0]] && (all & a.trusted) == a.trusted, all);
        assert(cert::diff(a.trusted, all).added.certs == [a.chain[0]], "the leaf is new");
        for c in all.certs { assert(c in all, c); }
    "#)
    .unwrap();
    let error = run("cert::mesh_ca_root().sbject").unwrap_err();
    assert!(error.message.contains("sbject"), "{}", error.message);
}

#[test]
fn plug_in_files_are_read_with_their_names_and_modes() {
    let now = Timestamp::now();
    let root = Authority::self_signed(&CaSpec::istio("cluster.local", now)).unwrap();
    let spec = CaSpec::new([("O", "cluster.local"), ("CN", "plug-in")], now);
    let sub = root.intermediate(&spec).unwrap();
    let script = format!(
        "let sub = `{}`; let root = `{}`; let key = `{}`;",
        sub.cert().pem(),
        root.cert().pem(),
        sub.key_pem().expose_secret()
    ) + r#"
        let dir = fs::temp_dir();
        let ca = #{ ca_cert: `${dir}/ca-cert.pem`, ca_key: `${dir}/ca-key.pem`,
            root_cert: `${dir}/root-cert.pem`, cert_chain: `${dir}/cert-chain.pem`, root_in_use: root };
        fs::write(ca.ca_cert, sub); fs::write(ca.ca_key, key);
        fs::write(ca.root_cert, root); fs::write(ca.cert_chain, sub + root);
        let found = cert::check_plugin_ca(ca);
        assert(found.ok && found.findings == [], found);

        shell::run(["chmod", "644", ca.ca_key]);
        let found = cert::check_plugin_ca(ca);
        assert(!found.ok && found.findings[0].code == "key_permissions", found);
        assert(found.findings[0].message.contains("0644"), found);

        shell::run(["chmod", "600", ca.ca_key]);
        shell::run(["mv", ca.ca_cert, `${dir}/tls.crt`]);
        ca.ca_cert = `${dir}/tls.crt`;
        let found = cert::check_plugin_ca(ca);
        assert(found.findings.map(|f| f.code) == ["file_name"], found);

        ca.ca_cert = sub;
        ca.horizon = 100 * 365 * 86400;
        let found = cert::check_plugin_ca(ca);
        assert(found.findings.map(|f| f.code) == ["expires_soon", "expires_soon"], found);
        ca.remove("root_in_use"); ca.remove("horizon");
        let found = cert::check_plugin_ca(ca);
        assert(!found.ok && found.findings[0].severity == "unknown", found);
    "#;
    run(&script).unwrap();
    let error = run(r#"cert::check_plugin_ca(#{ ca_crt: "" })"#).unwrap_err();
    assert_eq!(error.message, "`cert::check_plugin_ca` knows no `ca_crt`");
    assert_eq!(error.hint.as_deref(), Some("did you mean `ca_cert`?"));
    let error = run(
        r#"cert::check_plugin_ca(#{ ca_cert: "/no/such", ca_key: "", root_cert: "", cert_chain: "" })"#,
    )
    .unwrap_err();
    assert_eq!(error.kind, FailureKind::Environment);
    assert!(error.message.contains("/no/such"), "{}", error.message);
}

#[test]
fn what_a_handshake_lacks_is_named() {
    for (text, message) in [
        (
            "let a = cert::sample(); a.remove(\"key\"); cert::handshake(a, a)",
            "the client of `cert::handshake` lacks `key`",
        ),
        (
            "let a = cert::sample(); cert::handshake(a, #{ chain: [] })",
            "the server of `cert::handshake` has no certificate in `chain`",
        ),
        (
            "let a = cert::sample(); a.bundel = []; cert::handshake(a, a)",
            "the client of `cert::handshake` has no `bundel`",
        ),
        (
            "cert::sample(\"leaf-exipred\")",
            "`cert::sample` knows no defect `leaf-exipred`",
        ),
        (
            "cert::accepts([], [], #{ usage: \"peer\" })",
            "option `usage` of `cert::accepts`: `peer` is none",
        ),
        (
            "cert::served(\"localhost\", #{})",
            "`cert::served`: `localhost` is not HOST:PORT",
        ),
        (
            "cert::trusts([], [], #{ at: \"tomorrow\" })",
            "`cert::trusts`: `tomorrow` is not an RFC 3339 time",
        ),
    ] {
        assert_eq!(run(text).unwrap_err().message, message);
    }
    let error = run("cert::served(\"127.0.0.1:1\", #{ timeout: 2 })").unwrap_err();
    assert!(
        error.retryable && error.message.starts_with("127.0.0.1:1: "),
        "{error}"
    );
}
