//! Who signs for whom, and which roots reach whom.

use super::*;
use crate::twin::scenario;

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
    // An agent connects first and takes the roots after that, and the test may look in between.
    lab.mesh.settle().await;
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

#[tokio::test]
async fn the_gauges_of_a_server_are_of_the_last_flush_and_what_it_says_of_its_state_is_of_now() {
    let lab = Lab::new().await;
    lab.install("default", "citadel", &[]).await;
    let web = lab.inject("default", "shop", "web").await.unwrap();
    let uid = meta(&lab.kube.get("pods", "shop", &web).unwrap(), "uid").to_owned();
    let told = |path: &str| lab.mesh.admin_answer(&uid, path, None).body;
    let counted = |state: u64, connections: u64| {
        format!("server.state: {state}\nserver.total_connections: {connections}\n")
    };
    let hold = |connections: &str| {
        let note = json!({scenario::HELD_CONNECTIONS: connections});
        let set = |pod: &mut Value| pod["metadata"]["annotations"] = note.clone();
        lab.kube.update("pods", "shop", &web, set).unwrap();
    };
    hold("2");
    assert_eq!(told("/stats"), counted(0, 0), "none yet");
    lab.mesh.flush();
    assert_eq!(told("/stats"), counted(0, 2));
    hold("3");
    lab.mesh.drain(&uid, true);
    assert!(told("/server_info").contains("DRAINING"));
    assert_eq!(told("/stats"), counted(0, 2), "as old as its state");
    lab.mesh.flush();
    assert_eq!(told("/stats"), counted(1, 3));
}
