//! The twin from outside: over HTTPS, with the project's own client and the `asmcli` stand-in. Each
//! claim that a migration rests on has its control here: the order that must not fail does not, and
//! the orders that must fail do, for exactly the pairs that they break.

mod installing;
mod orders;
mod parts;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
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
            stdin: &mut "y\n".as_bytes(),
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
