//! Orders and settings that break the traffic, and those that look as if they did.

use super::*;

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
