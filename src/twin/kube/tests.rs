use serde_json::json;

use super::*;

async fn cluster() -> Kube {
    let kube = Kube::new(1);
    let namespace = json!({"metadata": {"name": "shop"}});
    kube.create("namespaces", "", namespace).await.unwrap();
    kube
}

async fn deployment(kube: &Kube) -> Arc<Value> {
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "app:1"}]},
            },
        },
    });
    kube.create("deployments.apps", "shop", web).await.unwrap()
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_spec_only() {
    let kube = cluster().await;
    assert_eq!(deployment(&kube).await["metadata"]["generation"], 1);
    let labelled = kube
        .update("deployments.apps", "shop", "web", |o| {
            o["metadata"]["labels"] = json!({"x": "y"});
        })
        .unwrap();
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = kube
        .update("deployments.apps", "shop", "web", |o| {
            o["spec"]["replicas"] = 2.into();
            o["status"] = json!({"replicas": 9});
        })
        .unwrap();
    assert_eq!(scaled["metadata"]["generation"], 2);
    assert!(
        scaled
            .get("status")
            .is_none_or(|s| s.get("replicas").is_none())
    );
}

#[tokio::test]
async fn a_change_of_nothing_keeps_the_resource_version() {
    let kube = cluster().await;
    let before = deployment(&kube).await;
    let after = kube
        .update("deployments.apps", "shop", "web", |_| {})
        .unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn finalizers_hold_what_is_deleted_until_the_last_is_gone() {
    let kube = cluster().await;
    let held = json!({"metadata": {"name": "a", "finalizers": ["example.io/hold"]}});
    kube.create("configmaps", "shop", held).await.unwrap();
    kube.delete("configmaps", "shop", "a", Propagation::Background)
        .unwrap();
    assert!(
        kube.get("configmaps", "shop", "a").unwrap()["metadata"]["deletionTimestamp"].is_string()
    );
    kube.update("configmaps", "shop", "a", |o| {
        o["metadata"]["finalizers"] = json!([]);
    })
    .unwrap();
    assert!(kube.get("configmaps", "shop", "a").is_none());
}
