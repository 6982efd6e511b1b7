//! The order that must not fail, and those that must.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{DEADLINE, GATEWAY, Lab, PAY, SHOP, SMALL, between, failed_pairs, reasons};

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
