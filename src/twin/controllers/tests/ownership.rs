use super::super::objects::controller_uid;
use super::*;

async fn web(world: &World) {
    world
        .create(
            "deployments.apps",
            deployment("web", 2, &json!(1), &json!(0)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
}

fn nothing_left(kube: &Kube) -> bool {
    ["deployments.apps", "replicasets.apps", "pods"]
        .iter()
        .all(|r| kube.list(r, None).is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn background_deletion_takes_the_dependents_after() {
    let world = World::new(500.0).await;
    web(&world).await;
    world.delete("deployments.apps", "web", Propagation::Background);
    assert!(world.kube.get("deployments.apps", "shop", "web").is_none());
    world.until("all is gone", nothing_left).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_deletion_takes_the_dependents_first() {
    let world = World::new(100.0).await;
    web(&world).await;
    world.delete("deployments.apps", "web", Propagation::Foreground);
    assert!(world.kube.get("deployments.apps", "shop", "web").is_some());
    world
        .until("the Deployment is gone", |k| {
            k.get("deployments.apps", "shop", "web").is_none()
        })
        .await;
    assert!(world.kube.list("replicasets.apps", None).is_empty());
    world.until("all is gone", nothing_left).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_stay_and_are_adopted() {
    let world = World::new(500.0).await;
    web(&world).await;
    let before: Vec<String> = world.pods().iter().map(|p| uid(p).to_owned()).collect();
    world.delete("deployments.apps", "web", Propagation::Orphan);
    world
        .until("the ReplicaSet is an orphan", |k| {
            k.list("deployments.apps", None).is_empty()
                && k.list("replicasets.apps", None)
                    .iter()
                    .all(|rs| controller_uid(rs).is_empty())
        })
        .await;
    assert_eq!(world.kube.list("replicasets.apps", None).len(), 1);
    web(&world).await;
    let owner = uid(&world.get("deployments.apps", "web")).to_owned();
    assert_eq!(
        controller_uid(&world.kube.list("replicasets.apps", None)[0]),
        owner
    );
    let after: Vec<String> = world.pods().iter().map(|p| uid(p).to_owned()).collect();
    assert_eq!(after, before, "the pods are the same ones");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreground_deletion_waits_for_a_child_that_something_holds() {
    let world = World::new(500.0).await;
    let parent = world
        .create("configmaps", json!({"metadata": {"name": "parent"}}))
        .await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": uid(&parent), "blockOwnerDeletion": true}]);
    let child = json!({"metadata": {"name": "child", "finalizers": ["example.io/hold"], "ownerReferences": owner}});
    world.create("configmaps", child).await;
    world.delete("configmaps", "parent", Propagation::Foreground);
    world
        .until("the child is going", |k| {
            deleting(&k.get("configmaps", "shop", "child").unwrap())
        })
        .await;
    assert!(world.kube.get("configmaps", "shop", "parent").is_some());
    world
        .kube
        .update("configmaps", "shop", "child", |c| {
            c["metadata"]["finalizers"] = json!([]);
        })
        .unwrap();
    world
        .until("both are gone", |k| {
            k.get("configmaps", "shop", "parent").is_none()
                && k.get("configmaps", "shop", "child").is_none()
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_goes_when_it_is_empty_and_says_what_it_waits_for() {
    let world = World::new(200.0).await;
    web(&world).await;
    world
        .create(
            "configmaps",
            json!({"metadata": {"name": "held", "finalizers": ["example.io/hold"]}}),
        )
        .await;
    world
        .kube
        .delete("namespaces", "", "shop", Propagation::Background)
        .unwrap();
    let message = |k: &Kube, kind: &str| {
        let ns = k.get("namespaces", "", "shop").unwrap();
        super::super::objects::condition(&ns, kind)
            .map_or("", |c| text(c, "/message"))
            .to_owned()
    };
    world
        .until("it says what it waits for", |k| {
            message(k, "NamespaceContentRemaining")
                == "Some resources are remaining: configmaps. has 1 resource instances"
        })
        .await;
    assert_eq!(
        message(&world.kube, "NamespaceFinalizersRemaining"),
        "Some content in the namespace has finalizers remaining: example.io/hold in 1 resource instances"
    );
    world
        .kube
        .update("configmaps", "shop", "held", |c| {
            c["metadata"]["finalizers"] = json!([]);
        })
        .unwrap();
    world
        .until("it is gone", |k| k.get("namespaces", "", "shop").is_none())
        .await;
    world.end().await;
}
