//! The mesh on a cluster without controllers: pods are put there by hand, so that each rule is seen
//! by itself. The whole, with kubelet and HTTP, is tested in `tests/integration/twin.rs`.

use serde_json::{Value, json};

use super::*;
use crate::twin::asmcli::package::{self, PackageParams, Request};
use crate::twin::controllers::PodLifecycle;
use crate::twin::kube::ServiceRef;
use manifests::{KindInfo, RevisionSpec, shared_objects, suffixed};

const FLEET: &str = "f";

/// A cluster with a mesh, driven by hand.
struct Lab {
    kube: Kube,
    mesh: Mesh,
    params: PackageParams,
    pods: std::cell::Cell<u32>,
}

impl Lab {
    async fn new() -> Lab {
        Lab::with(PackageParams {
            native_sidecars: false,
            aliases: true,
            ca_server: true,
            replicas: 1,
        })
        .await
    }

    /// Speed 1000: the kubelet's lag takes 30 to 90 ms.
    async fn with(params: PackageParams) -> Lab {
        Lab::at(1000.0, params).await
    }

    async fn at(speed: f64, params: PackageParams) -> Lab {
        let kube = Kube::new(1);
        let mesh = Mesh::new(kube.clone(), SimClock::new(speed), 1, Vec::new()).unwrap();
        let lab = Lab {
            kube,
            mesh,
            params,
            pods: std::cell::Cell::new(0),
        };
        for namespace in ["istio-system", "shop", "pay"] {
            lab.create(
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await;
        }
        for object in shared_objects() {
            lab.create(object).await;
        }
        for (namespace, name) in [("shop", "web"), ("shop", "cart"), ("pay", "api")] {
            lab.create(json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": name, "namespace": namespace}}))
                .await;
        }
        for (namespace, name) in [("shop", "web"), ("pay", "api")] {
            lab.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]}})).await;
        }
        lab
    }

    async fn create(&self, object: Value) {
        let info = KindInfo::of(&object).unwrap();
        let namespace = if info.namespaced {
            meta(&object, "namespace").to_owned()
        } else {
            String::new()
        };
        self.kube
            .create(&info.resource(), &namespace, object.clone())
            .await
            .unwrap_or_else(|e| panic!("{object}: {e:?}"));
    }

    /// Installs a revision and starts its istiod; the pod's name.
    async fn install(&self, revision: &str, ca: &str, options: &[&str]) -> String {
        let request = Request {
            revision: revision.to_owned(),
            ca: ca.to_owned(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            fleet: FLEET.to_owned(),
            project: FLEET.to_owned(),
            mesh_ca_root: self.mesh.mesh_ca_root(),
            ..Request::default()
        };
        let operator = package::operator(&self.params, &request).unwrap();
        let spec: RevisionSpec = package::revision(revision, &self.params, &operator);
        for object in spec
            .objects()
            .into_iter()
            .filter(|o| o["kind"] != "IstioOperator")
        {
            self.create(object).await;
        }
        self.start_istiod(revision).await
    }

    async fn start_istiod(&self, revision: &str) -> String {
        let deployment = self
            .kube
            .get(
                "deployments.apps",
                "istio-system",
                &suffixed("istiod", revision),
            )
            .unwrap();
        self.run(
            "istio-system",
            &suffixed("istiod", revision),
            deployment["spec"]["template"].clone(),
        )
        .await
        .unwrap()
    }

    /// Asks the revision's webhook for a pod of `app` and runs what comes back.
    async fn inject(&self, revision: &str, namespace: &str, app: &str) -> Result<String, String> {
        let pod = json!({
            "metadata": {"labels": {"app": app}, "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{app}-1"), "controller": true}]},
            "spec": {"serviceAccountName": app, "containers": [{"name": "app", "image": "app"}]},
        });
        let service = ServiceRef {
            namespace: "istio-system".to_owned(),
            name: suffixed("istiod", revision),
            path: "/inject".to_owned(),
            port: 443,
        };
        let review = json!({"request": {"namespace": namespace, "object": pod}});
        let injected = self
            .mesh
            .webhooks()
            .call(&service, &review)
            .await?
            .patch
            .expect("injected");
        self.run(
            namespace,
            app,
            json!({"metadata": injected["metadata"], "spec": injected["spec"]}),
        )
        .await
    }

    /// What scheduler and kubelet do.
    async fn run(&self, namespace: &str, name: &str, template: Value) -> Result<String, String> {
        self.pods.set(self.pods.get() + 1);
        let name = format!("{name}-{}", self.pods.get());
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["namespace"] = json!(namespace);
        if let Some(meta) = pod["metadata"].as_object_mut() {
            meta.remove("ownerReferences");
        }
        let pod = self
            .kube
            .create("pods", namespace, pod)
            .await
            .map_err(|e| format!("{e:?}"))?;
        self.mesh.started(&pod).await;
        self.mesh
            .ready(&pod)
            .await
            .map_err(|reason| format!("{name}: {reason}"))?;
        self.kube
            .update_status("pods", namespace, &name, |pod| {
                pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
            })
            .map_err(|e| format!("{e:?}"))?;
        self.mesh.live_set_changed().await;
        Ok(name)
    }

    async fn stop(&self, namespace: &str, name: &str) {
        let pod = self.kube.get("pods", namespace, name).unwrap();
        self.kube.remove("pods", namespace, name).unwrap();
        self.mesh.stopped(&pod).await;
        self.mesh.live_set_changed().await;
    }

    fn proxy<T>(&self, namespace: &str, name: &str, read: impl Fn(&Proxy) -> T) -> T {
        let pod = self.kube.get("pods", namespace, name).unwrap();
        read(&self.mesh.state().proxies[meta(&pod, "uid")])
    }

    /// `SIGNER trusts ROOTS`, by the names that roots get in order of appearance.
    fn standing(&self, namespace: &str, name: &str) -> String {
        let roots = self.mesh.state().roots.clone();
        self.proxy(namespace, name, |proxy| class(&roots, proxy))
            .split(", accepts")
            .next()
            .unwrap()
            .to_owned()
    }

    /// Failures of each ordered pair of workloads since the last call.
    async fn failures(&self) -> Vec<String> {
        let figures = self.mesh.prober().checkpoint("").await;
        assert!(figures.made > 0);
        let failed = figures.pairs.iter().filter(|pair| pair.count.failed > 0);
        failed
            .map(|pair| format!("{}>{}", pair.client, pair.server))
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.mesh.stop();
    }
}

#[tokio::test]
async fn a_citadel_proxy_presents_its_leaf_and_the_root_and_trusts_it() {
    let lab = Lab::new().await;
    lab.install("default", "citadel", &[]).await;
    let web = lab.inject("default", "shop", "web").await.unwrap();
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL"
    );
    lab.proxy("shop", &web, |proxy| {
        let (chain, _) = crate::pki::certs_from_pem(&proxy.chain.as_ref().unwrap().pem);
        assert_eq!(chain.len(), 2);
        assert_eq!(chain[0].uris(), ["spiffe://cluster.local/ns/shop/sa/web"]);
        assert_eq!(chain[1].subject(), "O=cluster.local");
    });
    let map = lab
        .kube
        .get("configmaps", "shop", "istio-ca-root-cert")
        .unwrap();
    assert!(
        map["data"]["root-cert.pem"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
}

#[tokio::test]
async fn both_roots_need_three_settings_at_once() {
    let lab = Lab::new().await;
    lab.install("both", "citadel", &["ca-migration-citadel"])
        .await;
    let web = lab.inject("both", "shop", "web").await.unwrap();
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL+MESHCA"
    );

    // The same without the agent's switch, then without istiod's: one root and no error.
    lab.install("no-agent", "citadel", &["ca-migration-citadel"])
        .await;
    lab.kube
        .update("configmaps", "istio-system", "istio-no-agent", |map| {
            let mesh = map["data"]["mesh"]
                .as_str()
                .unwrap()
                .replace("PROXY_CONFIG_XDS_AGENT", "SOMETHING_ELSE");
            map["data"]["mesh"] = json!(mesh);
        })
        .unwrap();
    lab.mesh.settle().await;
    let web = lab.inject("no-agent", "shop", "web").await.unwrap();
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL"
    );

    let istiod = lab
        .install("no-multiroot", "citadel", &["ca-migration-citadel"])
        .await;
    lab.stop("istio-system", &istiod).await;
    lab.kube
        .update(
            "deployments.apps",
            "istio-system",
            "istiod-no-multiroot",
            |deployment| {
                let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
                    .as_array_mut()
                    .unwrap();
                env.retain(|variable| variable["name"] != "ISTIO_MULTIROOT_MESH");
            },
        )
        .unwrap();
    lab.start_istiod("no-multiroot").await;
    let web = lab.inject("no-multiroot", "shop", "web").await.unwrap();
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL"
    );
}

#[tokio::test]
async fn the_documented_order_has_no_failure_and_keeps_all_proxies_connected() {
    let lab = Lab::new().await;
    lab.install("default", "citadel", &[]).await;
    let mut web = lab.inject("default", "shop", "web").await.unwrap();
    let mut api = lab.inject("default", "pay", "api").await.unwrap();
    for (revision, ca, option) in [
        ("r1", "citadel", "ca-migration-citadel"),
        ("r2", "mesh_ca", "ca-migration-meshca"),
    ] {
        lab.install(revision, ca, &[option]).await;
        let next = lab.inject(revision, "shop", "web").await.unwrap();
        lab.stop("shop", &std::mem::replace(&mut web, next)).await;
        let next = lab.inject(revision, "pay", "api").await.unwrap();
        lab.stop("pay", &std::mem::replace(&mut api, next)).await;
        assert_eq!(lab.failures().await, Vec::<String>::new(), "{revision}");
    }
    assert_eq!(
        lab.standing("shop", &web),
        "signed by MESHCA as f.svc.id.goog, trusts CITADEL+MESHCA"
    );
    assert!(lab.proxy("pay", &api, |proxy| proxy.connected.is_some()));
}

#[tokio::test]
async fn skipping_the_distribution_of_roots_fails_exactly_between_moved_and_unmoved() {
    let lab = Lab::new().await;
    lab.install("default", "citadel", &[]).await;
    lab.inject("default", "shop", "web").await.unwrap();
    lab.inject("default", "shop", "cart").await.unwrap();
    assert_eq!(lab.failures().await, Vec::<String>::new(), "the control");
    // Mesh CA's revision without Citadel's multi-root: its proxies trust the new root alone.
    lab.install("r2", "mesh_ca", &[]).await;
    lab.inject("r2", "pay", "api").await.unwrap();
    assert_eq!(
        lab.failures().await,
        [
            "pay/api>shop/cart",
            "pay/api>shop/web",
            "shop/cart>pay/api",
            "shop/web>pay/api"
        ]
    );
    let figures = lab.mesh.prober().total();
    let reasons: BTreeSet<&str> = figures
        .pairs
        .iter()
        .flat_map(|p| p.count.reasons.keys())
        .map(String::as_str)
        .collect();
    assert_eq!(
        reasons,
        BTreeSet::from(["client refused: unknown issuer"]),
        "the client judges first in TLS 1.3"
    );
}

#[tokio::test]
async fn with_both_roots_on_one_side_only_the_other_side_refuses() {
    let lab = Lab::new().await;
    lab.install("default", "citadel", &[]).await;
    lab.inject("default", "shop", "web").await.unwrap();
    lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    lab.inject("r2", "pay", "api").await.unwrap();
    assert_eq!(
        lab.failures().await,
        ["pay/api>shop/web", "shop/web>pay/api"]
    );
    let figures = lab.mesh.prober().total();
    let reasons = |client: &str| {
        figures
            .pairs
            .iter()
            .find(|p| p.client == client)
            .unwrap()
            .count
            .reasons
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(reasons("shop/web"), ["client refused: unknown issuer"]);
    assert_eq!(reasons("pay/api"), ["server refused: unknown issuer"]);
}

#[tokio::test]
async fn without_aliases_names_are_refused_though_all_roots_are_right() {
    let lab = Lab::with(PackageParams {
        native_sidecars: false,
        aliases: false,
        ca_server: true,
        replicas: 1,
    })
    .await;
    lab.install("r1", "citadel", &["ca-migration-citadel"])
        .await;
    let web = lab.inject("r1", "shop", "web").await.unwrap();
    lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    let api = lab.inject("r2", "pay", "api").await.unwrap();
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL+MESHCA"
    );
    assert_eq!(
        lab.standing("pay", &api),
        "signed by MESHCA as f.svc.id.goog, trusts CITADEL+MESHCA"
    );
    assert_eq!(
        lab.failures().await,
        ["pay/api>shop/web", "shop/web>pay/api"]
    );
    let figures = lab.mesh.prober().total();
    assert!(
        figures.pairs.iter().all(|p| p
            .count
            .reasons
            .contains_key("client refused: SAN not accepted")),
        "{figures:?}"
    );
}

#[tokio::test]
async fn deleted_secrets_do_nothing_until_istiod_restarts_and_then_a_third_root_arrives_with_the_lag()
 {
    let lab = Lab::new().await;
    let r2 = lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    let web = lab.inject("r2", "shop", "web").await.unwrap();
    let api = lab.inject("r2", "pay", "api").await.unwrap();
    lab.kube
        .remove("secrets", "istio-system", "istio-ca-secret")
        .unwrap();
    lab.mesh.settle().await;
    assert_eq!(
        lab.standing("shop", &web),
        "signed by MESHCA as f.svc.id.goog, trusts CITADEL+MESHCA"
    );

    lab.start_istiod("r2").await;
    lab.stop("istio-system", &r2).await;
    assert!(
        lab.kube
            .get("secrets", "istio-system", "istio-ca-secret")
            .is_some()
    );
    // istiod has another root now, and the running proxies' mounts do not have it yet.
    assert!(lab.proxy("shop", &web, |proxy| proxy.connected.is_none()));
    assert_eq!(
        lab.standing("shop", &web),
        "signed by MESHCA as f.svc.id.goog, trusts CITADEL+MESHCA"
    );
    tokio::time::timeout(Duration::from_secs(5), async {
        while lab.proxy("shop", &web, |p| p.connected.is_none())
            || lab.proxy("pay", &api, |p| p.connected.is_none())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the mounts are refreshed");
    for (namespace, name) in [("shop", &web), ("pay", &api)] {
        assert_eq!(
            lab.standing(namespace, name),
            "signed by MESHCA as f.svc.id.goog, trusts CITADEL-2+MESHCA"
        );
    }
    assert_eq!(
        lab.failures().await,
        Vec::<String>::new(),
        "all sign with Mesh CA: the old root was not needed any more"
    );
}

#[tokio::test]
async fn secrets_deleted_too_early_break_the_traffic() {
    // Slow enough that the running pods' mounts are still old when the new pod is there.
    let lab = Lab::at(
        20.0,
        PackageParams {
            native_sidecars: false,
            aliases: true,
            ca_server: true,
            replicas: 1,
        },
    )
    .await;
    let r1 = lab
        .install("r1", "citadel", &["ca-migration-citadel"])
        .await;
    lab.inject("r1", "shop", "web").await.unwrap();
    lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    lab.inject("r2", "pay", "api").await.unwrap();
    assert_eq!(lab.failures().await, Vec::<String>::new(), "the control");
    lab.kube
        .remove("secrets", "istio-system", "istio-ca-secret")
        .unwrap();
    lab.start_istiod("r1").await;
    lab.stop("istio-system", &r1).await;
    // A new pod gets the new root at once: nobody else trusts it, and it does not trust them.
    let cart = lab.inject("r1", "shop", "cart").await.unwrap();
    assert_eq!(
        lab.standing("shop", &cart),
        "signed by CITADEL-2 as cluster.local, trusts CITADEL-2+MESHCA"
    );
    assert_eq!(
        lab.failures().await,
        [
            "pay/api>shop/cart",
            "shop/cart>pay/api",
            "shop/cart>shop/web",
            "shop/web>shop/cart"
        ]
    );
}

#[tokio::test]
async fn a_root_that_another_revision_spreads_cuts_proxies_off_and_the_traffic_goes_on() {
    let lab = Lab::new().await;
    let r1 = lab
        .install("r1", "citadel", &["ca-migration-citadel"])
        .await;
    lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    let web = lab.inject("r2", "shop", "web").await.unwrap();
    lab.inject("r2", "pay", "api").await.unwrap();
    lab.kube
        .remove("secrets", "istio-system", "istio-ca-secret")
        .unwrap();
    lab.start_istiod("r1").await;
    lab.stop("istio-system", &r1).await;
    assert!(
        lab.proxy("shop", &web, |p| p.connected.is_some()),
        "until the mount is refreshed"
    );
    tokio::time::timeout(Duration::from_secs(5), async {
        while lab.proxy("shop", &web, |p| p.connected.is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("its istiod has the old root still");
    assert!(lab.proxy("shop", &web, |p| p.trouble.contains("unknown authority")));
    assert_eq!(
        lab.standing("shop", &web),
        "signed by MESHCA as f.svc.id.goog, trusts CITADEL+MESHCA"
    );
    assert_eq!(lab.failures().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_change_of_anchors_makes_a_citadel_proxy_ask_for_a_new_certificate_at_once() {
    let lab = Lab::new().await;
    lab.install("r1", "citadel", &["ca-migration-citadel"])
        .await;
    let web = lab.inject("r1", "shop", "web").await.unwrap();
    let leaf = |lab: &Lab| lab.proxy("shop", &web, |p| p.chain.as_ref().unwrap().pem.clone());
    let before = leaf(&lab);
    lab.mesh.settle().await;
    assert_eq!(leaf(&lab), before, "the control");
    let other = MeshCa::new().unwrap().root().pem();
    lab.kube
        .update("configmaps", "istio-system", "istio-r1", |map| {
            let mut mesh: Value =
                serde_saphyr::from_str(map["data"]["mesh"].as_str().unwrap()).unwrap();
            mesh["caCertificates"] = json!([{"pem": other}]);
            map["data"]["mesh"] = json!(mesh.to_string());
        })
        .unwrap();
    lab.mesh.settle().await;
    assert_ne!(leaf(&lab), before);
    assert_eq!(
        lab.standing("shop", &web),
        "signed by CITADEL as cluster.local, trusts CITADEL+CITADEL-2"
    );
}

#[tokio::test]
async fn without_its_ca_server_istiod_is_ready_and_its_webhook_fails() {
    let lab = Lab::with(PackageParams {
        native_sidecars: false,
        aliases: true,
        ca_server: false,
        replicas: 1,
    })
    .await;
    lab.install("default", "citadel", &[]).await;
    lab.install("r2", "mesh_ca", &["ca-migration-meshca"]).await;
    assert_eq!(
        lab.inject("r2", "shop", "web").await.unwrap_err(),
        "remote error: tls: internal error"
    );
    assert!(
        lab.inject("default", "shop", "web").await.is_ok(),
        "the control"
    );
}

#[tokio::test]
async fn without_istiod_nothing_new_starts_and_old_proxies_serve_on() {
    let lab = Lab::new().await;
    let istiod = lab.install("default", "citadel", &[]).await;
    let web = lab.inject("default", "shop", "web").await.unwrap();
    lab.inject("default", "pay", "api").await.unwrap();
    lab.stop("istio-system", &istiod).await;
    assert_eq!(
        lab.inject("default", "shop", "web").await.unwrap_err(),
        "connect: connection refused"
    );
    assert!(lab.proxy("shop", &web, |p| p.connected.is_none()));
    assert_eq!(lab.failures().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_dump_and_the_prober_read_one_and_the_same_secret() {
    let lab = Lab::new().await;
    lab.install("both", "citadel", &["ca-migration-citadel"])
        .await;
    let web = lab.inject("both", "shop", "web").await.unwrap();
    let uid = meta(&lab.kube.get("pods", "shop", &web).unwrap(), "uid").to_owned();
    let dump = lab
        .mesh
        .admin_answer(&uid, "/config_dump", Some("mask=dynamic_active_secrets"));
    let dump: Value = serde_json::from_str(&dump.body).unwrap();
    let roots = dump["configs"][0]["dynamic_active_secrets"][1]["secret"]["validation_context"]["trusted_ca"]["inline_bytes"].as_str().unwrap();
    let roots = String::from_utf8(
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, roots).unwrap(),
    )
    .unwrap();
    let (bundle, issues) = crate::pki::Bundle::from_pem(&roots);
    assert!(issues.is_empty());
    assert_eq!(
        bundle.sha256(),
        lab.proxy("shop", &web, |p| p.held.as_ref().unwrap().bundle.sha256())
    );
    let texts: Vec<&str> = roots
        .split("-----END CERTIFICATE-----")
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect();
    assert!(texts.is_sorted() && texts.len() == 2, "sorted as text");
}
