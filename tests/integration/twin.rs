//! The twin from outside: over HTTPS, with the project's own client and the `asmcli` stand-in. Each
//! claim that a migration rests on has its control here: the order that must not fail does not, and
//! the orders that must fail do, for exactly the pairs that they break.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rootshift::{
    cluster::{Cluster, ClusterError, Limits, Selector, Target},
    pki::{Bundle, certs_from_pem},
    twin::{Figures, Scenario, Twin, TwinOptions, asmcli},
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

const SMALL: &str = "
title: a small mesh
speed: 100
fleet_id: twin-project
namespaces:
  shop:
    injection: enabled
    workloads: [{name: web, kind: Deployment, replicas: 2}, {name: cart, kind: StatefulSet, replicas: 1}]
  pay:
    injection: enabled
    workloads: [{name: api, kind: Deployment, replicas: 1}, {name: audit, kind: DaemonSet}]
gateways:
  - {name: istio-ingressgateway}
";

/// A running twin and a connection to it.
struct Lab {
    twin: Twin,
    cluster: Cluster,
    dir: tempfile::TempDir,
}

impl Lab {
    async fn start(scenario: &str) -> Lab {
        let scenario = match Scenario::find(scenario) {
            Ok(scenario) => scenario,
            Err(_) => Scenario::parse("test", scenario).unwrap(),
        };
        let twin = Twin::start(scenario, TwinOptions::default()).await.unwrap();
        let target = Target {
            kubeconfig: Some(twin.kubeconfig_path().to_owned()),
            ..Target::default()
        };
        let cluster = Cluster::connect(&target).await.unwrap();
        Lab {
            twin,
            cluster,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Exit code and log of `asmcli ARGS --kubeconfig … --output_dir …`.
    async fn asmcli(&self, args: &str) -> (i32, String) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut words: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let kubeconfig = self.twin.kubeconfig_path().display().to_string();
        words.extend([
            "--kubeconfig".to_owned(),
            kubeconfig,
            "-D".to_owned(),
            "out".to_owned(),
        ]);
        let code = asmcli::main(asmcli::Invocation {
            args: words,
            directory: self.dir.path().to_owned(),
            kubeconfig: None,
            stdout: &mut stdout,
            stderr: &mut stderr,
        })
        .await;
        (code, String::from_utf8(stderr).unwrap())
    }

    async fn install(&self, revision: &str, ca: &str, option: &str) {
        let args = format!(
            "install --fleet_id twin-project --enable_all --ca {ca} --option {option} --revision_name {revision}"
        );
        let (code, log) = self.asmcli(&args).await;
        assert_eq!(code, 0, "{log}");
    }

    async fn label(&self, namespace: &str, revision: &str) {
        let kind = self.cluster.kind("namespace").await.unwrap();
        let labels = BTreeMap::from([
            ("istio.io/rev".to_owned(), Some(revision.to_owned())),
            ("istio-injection".to_owned(), None),
        ]);
        self.cluster
            .label(&kind, None, namespace, &labels)
            .await
            .unwrap();
    }

    /// Restarts all workloads of a namespace, one after the other.
    async fn restart(&self, namespace: &str) -> Result<(), ClusterError> {
        for kind in ["deployment", "statefulset", "daemonset"] {
            let kind = self.cluster.kind(kind).await?;
            for object in self
                .cluster
                .list(&kind, Some(namespace), &Selector::all())
                .await?
            {
                self.cluster
                    .restart(&kind, Some(namespace), object.name())
                    .await?;
                self.cluster
                    .wait_rollout(&kind, Some(namespace), object.name(), DEADLINE)
                    .await?;
            }
        }
        Ok(())
    }

    async fn move_namespace(&self, namespace: &str, revision: &str) {
        self.label(namespace, revision).await;
        self.restart(namespace).await.unwrap();
    }

    async fn move_gateway(&self, revision: &str) {
        let kind = self.cluster.kind("deployment").await.unwrap();
        let patch =
            json!({"spec": {"template": {"metadata": {"labels": {"istio.io/rev": revision}}}}});
        let (namespace, name) = (Some("istio-system"), "istio-ingressgateway");
        self.cluster
            .patch(&kind, namespace, name, patch)
            .await
            .unwrap();
        self.cluster
            .wait_rollout(&kind, namespace, name, DEADLINE)
            .await
            .unwrap();
    }

    async fn delete_ca_secret(&self) {
        let kind = self.cluster.kind("secret").await.unwrap();
        let options = rootshift::cluster::DeleteOptions::default();
        self.cluster
            .delete(&kind, Some("istio-system"), "istio-ca-secret", &options)
            .await
            .unwrap();
    }

    async fn figures(&self) -> Figures {
        self.twin.traffic().checkpoint("test").await
    }

    /// Ready pods of a namespace whose name starts so.
    async fn pods(&self, namespace: &str, prefix: &str) -> Vec<String> {
        let kind = self.cluster.kind("pod").await.unwrap();
        let pods = self
            .cluster
            .list(&kind, Some(namespace), &Selector::all())
            .await
            .unwrap();
        pods.iter()
            .filter(|pod| pod.name().starts_with(prefix) && !pod.is_deleting())
            .map(|pod| pod.name().to_owned())
            .collect()
    }

    /// The dump of a pod's proxy, through port-forward.
    async fn dump(&self, namespace: &str, pod: &str, query: &str) -> Value {
        let mut forward = self
            .cluster
            .forward(namespace, pod, 15000, &Limits::default())
            .await
            .unwrap();
        let body = forward
            .get_ok(&format!("/config_dump{query}"))
            .await
            .unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Certificates of secret `default` and roots of secret `ROOTCA`.
    async fn secrets(&self, namespace: &str, prefix: &str) -> (Vec<rootshift::pki::Cert>, Bundle) {
        let pod = self.pods(namespace, prefix).await.pop().unwrap();
        let dump = self
            .dump(
                namespace,
                &pod,
                "?mask=dynamic_active_secrets,dynamic_warming_secrets",
            )
            .await;
        let secrets = dump["configs"][0]["dynamic_active_secrets"]
            .as_array()
            .unwrap();
        let text = |name: &str, path: &str| {
            let secret = secrets.iter().find(|s| s["name"] == name).unwrap();
            let bytes = secret["secret"].pointer(path).unwrap()["inline_bytes"]
                .as_str()
                .unwrap();
            String::from_utf8(base64(bytes)).unwrap()
        };
        let (chain, _) = certs_from_pem(&text("default", "/tls_certificate/certificate_chain"));
        let (roots, issues) = Bundle::from_pem(&text("ROOTCA", "/validation_context/trusted_ca"));
        assert!(issues.is_empty(), "{issues:?}");
        (chain, roots)
    }

    /// Subjects of the roots that a proxy trusts.
    async fn trusts(&self, namespace: &str, prefix: &str) -> Vec<String> {
        let (_, roots) = self.secrets(namespace, prefix).await;
        let mut names: Vec<String> = roots
            .certs()
            .map(|root| {
                if root.sha256() == self.mesh_ca().sha256() {
                    "MESHCA".to_owned()
                } else {
                    root.subject()
                }
            })
            .collect();
        names.sort();
        names
    }

    fn mesh_ca(&self) -> rootshift::pki::Cert {
        rootshift::pki::Cert::from_pem(&self.twin.named_cas()[0].1).unwrap()
    }
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

fn failed_pairs(figures: &Figures) -> BTreeSet<String> {
    let failed = figures.pairs.iter().filter(|pair| pair.count.failed > 0);
    failed
        .map(|pair| format!("{} > {}", pair.client, pair.server))
        .collect()
}

fn reasons(figures: &Figures) -> BTreeSet<String> {
    figures
        .pairs
        .iter()
        .flat_map(|pair| pair.count.reasons.keys().cloned())
        .collect()
}

/// Ordered pairs between two sets of workloads; the gateway only calls.
fn between(left: &[&str], right: &[&str]) -> BTreeSet<String> {
    let pairs = left
        .iter()
        .flat_map(|a| right.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
    pairs
        .filter(|(_, server)| !server.contains("gateway"))
        .map(|(client, server)| format!("{client} > {server}"))
        .collect()
}

const SHOP: &[&str] = &["shop/web", "shop/cart"];
const PAY: &[&str] = &["pay/api", "pay/audit"];
const GATEWAY: &str = "istio-system/istio-ingressgateway";

#[tokio::test(flavor = "multi_thread")]
async fn the_default_scenario_starts_soon_with_all_talking_to_all() {
    let begun = Instant::now();
    let lab = Lab::start("default").await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let figures = lab.figures().await;
    assert_eq!((figures.failed, figures.unreachable), (0, 0), "{figures:?}");
    // Six injected workloads and a gateway that only calls; the two DaemonSets have one pod each.
    assert_eq!(figures.pairs.iter().filter(|p| p.alive).count(), 7 * 6 - 2);
    assert!(figures.least.unwrap().made >= 1);
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    let (chain, _) = lab.secrets("istio-system", "istio-ingressgateway").await;
    assert_eq!(
        chain[0].uris(),
        ["spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"]
    );
    assert!(
        figures
            .pairs
            .iter()
            .all(|p| !p.client.starts_with("legacy/") && !p.server.starts_with("legacy/"))
    );
    lab.twin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_order_moves_everything_without_one_failure() {
    let lab = Lab::start("default").await;
    let (before, _) = lab.secrets("shop", "web").await;
    let old_root = before.last().unwrap().clone();
    for (revision, ca, option) in [
        ("r1", "citadel", "ca-migration-citadel"),
        ("r2", "mesh_ca", "ca-migration-meshca"),
    ] {
        lab.install(revision, ca, option).await;
        for namespace in ["pay", "shop"] {
            lab.move_namespace(namespace, revision).await;
            assert_eq!(
                failed_pairs(&lab.figures().await),
                BTreeSet::new(),
                "{revision} {namespace}"
            );
        }
        lab.move_gateway(revision).await;
        assert_eq!(
            lab.trusts("shop", "web").await,
            ["MESHCA", "O=cluster.local"]
        );
    }
    let (chain, _) = lab.secrets("pay", "ledger").await;
    assert_eq!(chain.len(), 3, "leaf, intermediate, root");
    assert_eq!(chain[2].sha256(), lab.mesh_ca().sha256());
    assert_eq!(
        chain[0].uris(),
        ["spiffe://twin-project.svc.id.goog/ns/pay/sa/ledger"]
    );

    // Phase 3: the old root goes, and a new one of the same name comes, after the kubelet's lag.
    lab.delete_ca_secret().await;
    lab.restart("istio-system").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, roots) = lab.secrets("shop", "web").await;
        if !roots.contains(&old_root) {
            break;
        }
        assert!(Instant::now() < deadline, "the old root is still trusted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        lab.trusts("shop", "web").await,
        ["MESHCA", "O=cluster.local"],
        "by name nothing has changed"
    );
    let total = lab.twin.traffic().total();
    assert_eq!(
        (total.failed, total.unreachable),
        (0, 0),
        "{:?}",
        failed_pairs(&total)
    );
    assert!(total.made > 2_000, "{}", total.made);
    lab.twin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skipping_phase_1_fails_exactly_between_moved_and_unmoved() {
    let lab = Lab::start(SMALL).await;
    lab.install("straight", "mesh_ca", "ca-migration-meshca")
        .await;
    lab.figures().await;
    lab.move_namespace("pay", "straight").await;
    let during = lab.figures().await;
    let settled = lab.figures().await;
    let mut expected = between(PAY, SHOP);
    expected.extend(PAY.iter().map(|server| format!("{GATEWAY} > {server}")));
    assert_eq!(failed_pairs(&settled), expected);
    // On the way the two workloads of the namespace were apart too, and a workload from itself.
    assert!(failed_pairs(&during).is_superset(&expected));
    assert_eq!(
        reasons(&settled),
        BTreeSet::from([
            "client refused: unknown issuer".to_owned(),
            "server refused: unknown issuer".to_owned()
        ])
    );
    assert_eq!(settled.unreachable, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_aliases_the_new_trust_domain_is_refused_with_all_roots_right() {
    let lab = Lab::start(&format!("{SMALL}aliases: false\n")).await;
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    for namespace in ["pay", "shop"] {
        lab.move_namespace(namespace, "r1").await;
    }
    lab.move_gateway("r1").await;
    assert_eq!(
        failed_pairs(&lab.figures().await),
        BTreeSet::new(),
        "phase 1 is safe"
    );
    lab.install("r2", "mesh_ca", "ca-migration-meshca").await;
    lab.move_namespace("pay", "r2").await;
    lab.figures().await;
    let settled = lab.figures().await;
    for (namespace, workload) in [("pay", "api"), ("shop", "web")] {
        assert_eq!(
            lab.trusts(namespace, workload).await,
            ["MESHCA", "O=cluster.local"]
        );
    }
    let mut expected = between(PAY, SHOP);
    expected.extend(PAY.iter().map(|server| format!("{GATEWAY} > {server}")));
    assert_eq!(failed_pairs(&settled), expected);
    assert_eq!(
        reasons(&settled),
        BTreeSet::from(["client refused: SAN not accepted".to_owned()])
    );

    // The proxies' own configuration told it beforehand.
    let pod = lab.pods("shop", "web").await.pop().unwrap();
    let dump = lab.dump("shop", &pod, "").await.to_string();
    assert!(dump.contains(r#"{"prefix":"spiffe://cluster.local/"}"#));
    assert!(dump.contains(r#"{"exact":"spiffe://cluster.local/ns/pay/sa/api"}"#));
    assert!(!dump.contains("spiffe://twin-project.svc.id.goog"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_root_reaches_running_proxies_only_after_the_kubelets_lag() {
    // 30 to 90 simulated seconds are 3 to 9 real ones.
    let lab = Lab::start(&SMALL.replace("speed: 100", "speed: 10")).await;
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    lab.move_namespace("shop", "r1").await;
    lab.move_namespace("pay", "r1").await;
    let (_, before) = lab.secrets("shop", "cart").await;
    lab.delete_ca_secret().await;
    lab.figures().await;
    assert_eq!(
        lab.secrets("shop", "cart").await.1,
        before,
        "deleting alone does nothing"
    );

    // Both: while one with the old root in memory holds the lock, the ConfigMaps keep that root.
    let kind = lab.cluster.kind("deployment").await.unwrap();
    for (namespace, name) in [
        ("istio-system", "istiod"),
        ("istio-system", "istiod-r1"),
        ("pay", "api"),
    ] {
        lab.cluster
            .restart(&kind, Some(namespace), name)
            .await
            .unwrap();
        lab.cluster
            .wait_rollout(&kind, Some(namespace), name, DEADLINE)
            .await
            .unwrap();
    }
    let (_, new) = lab.secrets("pay", "api").await;
    let (_, still) = lab.secrets("shop", "cart").await;
    assert_ne!(new, before, "a new pod has the new root at once");
    assert_eq!(still, before, "a running one does not");
    let broken = failed_pairs(&lab.figures().await);
    assert!(
        broken.contains("pay/api > shop/cart") && broken.contains("shop/cart > pay/api"),
        "{broken:?}"
    );

    let deadline = Instant::now() + Duration::from_secs(20);
    while lab.secrets("shop", "cart").await.1 == before {
        assert!(Instant::now() < deadline, "the new root does not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_istiod_a_namespace_gets_no_pods_and_keeps_those_it_has() {
    let lab = Lab::start(SMALL).await;
    let kind = lab.cluster.kind("deployment").await.unwrap();
    let patch = json!({"spec": {"replicas": 0}});
    lab.cluster
        .patch(&kind, Some("istio-system"), "istiod", patch)
        .await
        .unwrap();
    lab.cluster
        .wait_rollout(&kind, Some("istio-system"), "istiod", DEADLINE)
        .await
        .unwrap();
    let pods = lab.pods("shop", "web").await;
    lab.cluster
        .restart(&kind, Some("shop"), "web")
        .await
        .unwrap();
    let waited = lab
        .cluster
        .wait_rollout(&kind, Some("shop"), "web", Duration::from_secs(3))
        .await;
    let error = waited.unwrap_err().to_string();
    assert!(
        error.contains("failed calling webhook") && error.contains("connection refused"),
        "{error}"
    );
    assert_eq!(lab.pods("shop", "web").await, pods);
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ca_server_the_new_revision_cannot_inject_and_old_pods_serve_on() {
    let lab = Lab::start("no-ca-server").await;
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    lab.move_namespace("pay", "r1").await;
    lab.install("r2", "mesh_ca", "ca-migration-meshca").await;
    lab.label("pay", "r2").await;
    let kind = lab.cluster.kind("deployment").await.unwrap();
    lab.cluster
        .restart(&kind, Some("pay"), "api")
        .await
        .unwrap();
    let waited = lab
        .cluster
        .wait_rollout(&kind, Some("pay"), "api", Duration::from_secs(3))
        .await;
    let error = waited.unwrap_err().to_string();
    assert!(
        error.contains("rev.namespace.sidecar-injector.istio.io") && error.contains("remote error"),
        "{error}"
    );
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn native_sidecars_are_init_containers_whose_admin_port_answers() {
    let lab = Lab::start("native").await;
    let kind = lab.cluster.kind("pod").await.unwrap();
    let name = lab.pods("shop", "web").await.pop().unwrap();
    let pod = lab
        .cluster
        .get(&kind, Some("shop"), &name)
        .await
        .unwrap()
        .unwrap();
    let names = |list: &str| -> Vec<String> {
        pod.items(list)
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/spec/containers"), ["app"]);
    assert_eq!(names("/spec/initContainers"), ["istio-init", "istio-proxy"]);
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    lab.move_namespace("shop", "r1").await;
    assert_eq!(
        lab.trusts("shop", "web").await,
        ["MESHCA", "O=cluster.local"]
    );
    let name = lab.pods("shop", "web").await.pop().unwrap();
    let pod = lab
        .cluster
        .get(&kind, Some("shop"), &name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        pod.items("/spec/initContainers").len(),
        2,
        "the package knows what the mesh does"
    );
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_mesh_with_both_roots_is_what_the_false_green_scenario_has() {
    let lab = Lab::start("false-green").await;
    assert_eq!(
        lab.trusts("pay", "api").await,
        ["MESHCA", "O=cluster.local"]
    );
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugged_ca_presents_its_intermediate_and_keeps_its_root_in_phase_3() {
    let lab = Lab::start("plugged-ca").await;
    let (chain, roots) = lab.secrets("shop", "web").await;
    assert_eq!(chain.len(), 3);
    assert_eq!(chain[2].subject(), "CN=Example Root CA,O=Example");
    assert!(roots.contains(&chain[2]) && roots.len() == 1);
    let kind = lab.cluster.kind("secret").await.unwrap();
    assert!(
        lab.cluster
            .get(&kind, Some("istio-system"), "istio-ca-secret")
            .await
            .unwrap()
            .is_none()
    );
    for file in [
        "ca-cert.pem",
        "ca-key.pem",
        "root-cert.pem",
        "cert-chain.pem",
    ] {
        std::fs::write(
            lab.dir.path().join(file),
            RSA_FILES.iter().find(|(name, _)| *name == file).unwrap().1,
        )
        .unwrap();
    }
    let (code, log) = lab
        .asmcli("install --ca citadel --enable_all -r r1 --ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem")
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains(
            "[ERROR]: Custom certificates already exist in the cluster. Please remove the"
        ),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_ports_misbehave_as_the_scenario_says() {
    let faults = "faults:\n  admin:\n  - {pods: shop/web, mode: refuse}\n  - {pods: shop/cart, mode: hang}\n  - {pods: pay/api, mode: truncate}\n";
    let lab = Lab::start(&format!("{SMALL}{faults}")).await;
    let limits = Limits {
        total: Duration::from_secs(1),
        ..Limits::default()
    };
    for (namespace, workload) in [("shop", "web"), ("shop", "cart"), ("pay", "api")] {
        let pod = lab.pods(namespace, workload).await.pop().unwrap();
        let read = async {
            let mut forward = lab.cluster.forward(namespace, &pod, 15000, &limits).await?;
            forward.get_ok("/config_dump").await
        };
        assert!(read.await.is_err(), "{namespace}/{workload}");
    }
    assert_eq!(
        lab.trusts("pay", "audit").await,
        ["O=cluster.local"],
        "the control"
    );
    assert_eq!(
        failed_pairs(&lab.figures().await),
        BTreeSet::new(),
        "the traffic has no such fault"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asmcli_leaves_a_package_and_a_revision_as_istio_installs_it() {
    let lab = Lab::start(SMALL).await;
    let args = "install --fleet_id twin-project --enable_all --ca citadel --option ca-migration-citadel --revision_name r1";
    for _ in 0..2 {
        let (code, log) = lab.asmcli(args).await;
        assert_eq!(code, 0, "also a second time: {log}");
        assert!(
            log.lines().all(|line| line.starts_with("asmcli: ")),
            "{log}"
        );
        assert!(
            log.ends_with("asmcli: Successfully installed ASM.\n"),
            "{log}"
        );
    }
    let out = lab.dir.path().join("out");
    let service: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(out.join("asm/istio/istiod-service.yaml")).unwrap(),
    )
    .unwrap();
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "istiod", "istio.io/rev": "r1"})
    );
    assert!(
        out.join("logs.txt").exists()
            && out.join("r1-manifest-raw.yaml").exists()
            && !out.join("istioctl").exists()
    );
    for (kind, namespace, name) in [
        ("deployment", Some("istio-system"), "istiod-r1"),
        ("service", Some("istio-system"), "istiod-r1"),
        ("hpa", Some("istio-system"), "istiod-r1"),
        ("serviceaccount", Some("istio-system"), "istiod-r1"),
        ("configmap", Some("istio-system"), "istio-r1"),
        (
            "configmap",
            Some("istio-system"),
            "istio-sidecar-injector-r1",
        ),
        ("configmap", Some("shop"), "istio-ca-root-cert"),
        (
            "mutatingwebhookconfiguration",
            None,
            "istio-sidecar-injector-r1",
        ),
        (
            "validatingwebhookconfiguration",
            None,
            "istio-validator-r1-istio-system",
        ),
        ("istiooperator", Some("istio-system"), "installed-state-r1"),
    ] {
        let kind = lab.cluster.kind(kind).await.unwrap();
        assert!(
            lab.cluster
                .get(&kind, namespace, name)
                .await
                .unwrap()
                .is_some(),
            "{name}"
        );
    }
    let kind = lab
        .cluster
        .kind("mutatingwebhookconfiguration")
        .await
        .unwrap();
    let hook = lab
        .cluster
        .get(&kind, None, "istio-sidecar-injector-r1")
        .await
        .unwrap()
        .unwrap();
    let bundle = base64(hook.text("/webhooks/0/clientConfig/caBundle"));
    assert!(
        bundle.starts_with(b"-----BEGIN CERTIFICATE-----"),
        "istiod has filled it in"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asmcli_makes_cacerts_of_base_names_and_stops_where_the_api_refuses() {
    let lab = Lab::start(SMALL).await;
    for (file, text) in RSA_FILES {
        std::fs::write(lab.dir.path().join(file), text).unwrap();
    }
    std::fs::copy(
        lab.dir.path().join("ca-cert.pem"),
        lab.dir.path().join("my-ca.crt"),
    )
    .unwrap();
    let flags = "install --ca citadel --enable_all --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem";
    let wrong_key = flags.replace("cert-chain.pem", "root-cert.pem");
    let (code, log) = lab
        .asmcli(&format!("{wrong_key} -r r1 --ca_cert root-cert.pem"))
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains("[ERROR]: Keyfile does not match the given certificate."),
        "{log}"
    );

    let (code, log) = lab
        .asmcli(&format!("{flags} -r r1 --ca_cert my-ca.crt"))
        .await;
    assert_eq!(code, 0, "{log}");
    let kind = lab.cluster.kind("secret").await.unwrap();
    let secret = lab
        .cluster
        .get(&kind, Some("istio-system"), "cacerts")
        .await
        .unwrap()
        .unwrap();
    let keys: Vec<&String> = secret
        .at("/data")
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(
        keys,
        ["ca-key.pem", "cert-chain.pem", "my-ca.crt", "root-cert.pem"],
        "no rename, no check"
    );

    // RFC 1123 lets 60 characters pass; istiod's Service does not.
    let name = "r".repeat(60);
    let (code, log) = lab
        .asmcli(&format!("install --ca citadel --enable_all -r {name}"))
        .await;
    assert_eq!(code, 2);
    assert!(
        log.contains(&format!("[ERROR]: Service istiod-{name}: "))
            && log.contains("must be no more than 63"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_the_new_root_are_served_beside_the_api() {
    let lab = Lab::start(SMALL).await;
    lab.figures().await;
    let traffic = lab.cluster.raw("/twin/traffic").await.unwrap();
    assert!(
        traffic["made"].as_u64().unwrap() > 0 && traffic["failed"] == 0,
        "{traffic}"
    );
    assert!(traffic["pairs"][0]["client"].is_string());
}

/// An RSA root with an intermediate, made for this test and used for nothing else.
const RSA_FILES: [(&str, &str); 4] = [
    ("ca-cert.pem", include_str!("twin/ca-cert.pem")),
    ("ca-key.pem", include_str!("twin/ca-key.pem")),
    ("root-cert.pem", include_str!("twin/root-cert.pem")),
    ("cert-chain.pem", include_str!("twin/cert-chain.pem")),
];
