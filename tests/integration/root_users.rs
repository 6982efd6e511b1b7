//! Who uses the old root beside the proxies: each is named before the CA secrets go, and nobody else is.

use crate::support::{Program, Ran, rootshift};

const MESH: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 1}]
";

/// Objects that use the root, or not; then what the gate says of the secret's deletion.
const SCRIPT: &str = r#"
//! Users of the old root, and the deletion that they stand against.
//! mutates: true
//! param users: bool = true   Whether there are any.

fn deployment(name, annotations, volume, mounts, env) {
    let proxied = #{ name: "app", image: "app", volumeMounts: mounts, env: env };
    cluster::create(#{ apiVersion: "apps/v1", kind: "Deployment", metadata: #{ name: name, namespace: "tools" }, spec: #{
        replicas: 0, selector: #{ matchLabels: #{ app: name } },
        template: #{ metadata: #{ labels: #{ app: name }, annotations: annotations }, spec: #{ volumes: [volume], containers: [proxied] } } } });
}

fn webhook(name, service, ca) {
    cluster::create(#{ apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: #{ name: name },
        webhooks: [#{ name: `${name}.example.com`, sideEffects: "None", admissionReviewVersions: ["v1"], failurePolicy: "Ignore",
            clientConfig: #{ caBundle: ca, service: #{ namespace: if service == "istiod" { "istio-system" } else { "tools" }, name: service, path: "/v" } },
            rules: [#{ operations: ["CREATE"], apiGroups: ["example.com"], apiVersions: ["v1"], resources: ["widgets"] }] }] });
}

fn main(p) {
    let m = mesh::connect();
    let pem = cluster::get("configmap", "istio-system", "istio-ca-root-cert").data["root-cert.pem"];
    let ca = cluster::get("mutatingwebhookconfiguration", "istio-sidecar-injector").webhooks[0].clientConfig.caBundle;
    cluster::create(#{ apiVersion: "v1", kind: "Namespace", metadata: #{ name: "tools" } });
    let at = |volume| [#{ name: volume, mountPath: "/etc/certs" }];
    let map = #{ name: "istio-ca-root-cert" };
    let writes = #{ "sidecar.istio.io/userVolumeMount": "[{\"name\": \"v\", \"mountPath\": \"/etc/certs\"}]", "proxy.istio.io/config": "proxyMetadata: {OUTPUT_CERTS: /etc/certs}" };
    if p.users {
        deployment("mounts", #{}, #{ name: "v", configMap: map }, at.call("v"), []);
        deployment("projects", #{}, #{ name: "v", projected: #{ sources: [#{ configMap: map }] } }, at.call("v"), []);
        deployment("reads", #{}, #{ name: "v", emptyDir: #{} }, at.call("v"), [#{ name: "CA", valueFrom: #{ configMapKeyRef: #{ name: "istio-ca-root-cert", key: "root-cert.pem" } } }]);
        deployment("shows", writes, #{ name: "v", emptyDir: #{} }, at.call("v"), []);
        webhook("guard", "guard", ca);
        cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "bundle", namespace: "tools" }, data: #{ "ca.crt": "\n" + pem } });
        cluster::create(#{ apiVersion: "v1", kind: "Secret", metadata: #{ name: "client", namespace: "tools" }, stringData: #{ "ca.crt": pem } });
        let mesh = data::parse_yaml(cluster::get("configmap", "istio-system", "istio").data.mesh);
        mesh.caCertificates = [#{ pem: pem, trustDomains: ["other.example"] }];
        cluster::patch("configmap", "istio-system", "istio", #{ data: #{ mesh: data::to_yaml(mesh) } });
    }
    deployment("aside", #{}, #{ name: "v", emptyDir: #{} }, at.call("v"), []);
    deployment("unmounted", #{}, #{ name: "w", configMap: map }, [], []);
    webhook("own", "istiod", ca);
    cluster::create(#{ apiVersion: "v1", kind: "ConfigMap", metadata: #{ name: "other", namespace: "tools" }, data: #{ "ca.crt": "none" } });
    try { for u in m.root_users() { print(`user ${u.namespace}/${u.name}: ${u.how}`); } } catch (e) { print(`${e.code} ${e.evidence}`); }
    m.foresee_deletion("istio-ca-secret");
    print("foreseen");
}
"#;

const USERS: &[(&str, &str)] = &[
    (
        "Deployment tools/mounts",
        "container `app` mounts ConfigMap istio-ca-root-cert at `/etc/certs`",
    ),
    (
        "Deployment tools/projects",
        "container `app` mounts ConfigMap istio-ca-root-cert",
    ),
    ("Deployment tools/reads", "in its environment"),
    (
        "Deployment tools/shows",
        "reads the certificates that its proxy writes to `/etc/certs`",
    ),
    ("ValidatingWebhookConfiguration guard", "its caBundle has"),
    (
        "ConfigMap tools/bundle",
        "its key `ca.crt` holds the old root",
    ),
    ("Secret tools/client", "its key `ca.crt` holds the old root"),
    (
        "ConfigMap istio-system/istio",
        "meshConfig.caCertificates[0] is for peers of another mesh, `other.example`",
    ),
];

fn on(more: &str) -> Program {
    rootshift("run users.rhai --twin=mesh.yaml -o jsonl --waive RS201=test --waive RS202=test")
        .file("mesh.yaml", format!("{MESH}{more}"))
        .file("users.rhai", SCRIPT.trim_start())
}

fn found(ran: &Ran, verdict: &str) -> Vec<String> {
    let events = ran.events();
    let gate = events
        .iter()
        .find(|e| e["event"] == "gate" && e["code"] == "RS205" && e["verdict"] == verdict)
        .unwrap_or_else(|| panic!("no {verdict} RS205 in {}", ran.stdout));
    let lines = gate["evidence"].as_array().unwrap();
    lines
        .iter()
        .map(|l| l.as_str().unwrap().to_owned())
        .collect()
}

fn said(ran: &Ran) -> Vec<String> {
    let events = ran.events();
    let texts = events.iter().filter(|e| e["event"] == "output");
    texts
        .filter_map(|e| e["text"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn every_user_of_the_old_root_is_named_before_its_secret_goes_and_nobody_else() {
    let ran = on("").run().code(3);
    let lines = found(&ran, "refused");
    for (name, how) in USERS {
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(&format!("{name}: ")) && line.contains(how)),
            "no {name} in {lines:#?}"
        );
    }
    assert_eq!(lines.len(), USERS.len(), "{lines:#?}");
    let shows = |line: &String| line.contains("BEGIN") || line.contains("MII");
    assert!(!lines.iter().any(shows), "{lines:#?}");
    let said = said(&ran);
    assert_eq!(said.len(), USERS.len(), "{said:#?}");
    assert!(
        said.contains(&"user tools/client: its key `ca.crt` holds the old root".to_owned()),
        "{said:#?}"
    );
    // Told of each by name, and of no other with it.
    let waive = |names: &[&str]| {
        let flags: Vec<String> = names
            .iter()
            .map(|name| format!("--waive RS205:{name}=seen"))
            .collect();
        on("").args(&flags.join(" ")).run()
    };
    let names: Vec<&str> = USERS
        .iter()
        .map(|(name, _)| name.rsplit(' ').next().unwrap())
        .collect();
    found(&waive(&names[1..]).code(3), "refused");
    found(&waive(&names).code(0), "waived");
}

#[test]
fn a_root_that_only_proxies_use_stands_against_nothing() {
    let ran = on("").args("--set users=false").run().code(0);
    assert_eq!(said(&ran), ["foreseen"]);
    assert!(
        ran.events().iter().all(|e| e["code"] != "RS205"),
        "{}",
        ran.stdout
    );
}

#[test]
fn secrets_that_may_not_be_listed_are_unknown_and_refuse() {
    let faults = "faults:\n  api: [{verb: list, resource: secrets, times: 100000, effect: {status: {code: 403, message: \
        'secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API group \"\" at the cluster scope'}}}]\n";
    let ran = on(faults)
        .args("--set users=false --waive RS104=test")
        .run()
        .code(3);
    let lines = found(&ran, "refused");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].starts_with("secrets: whether they use the old root is not known"),
        "{lines:#?}"
    );
    assert!(said(&ran)[0].starts_with("RS205"), "{:?}", said(&ran));
}
