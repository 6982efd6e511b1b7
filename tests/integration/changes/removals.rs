//! What takes a control plane, or pods, away without naming them: seen as what it does.

use std::sync::Mutex;
use std::time::Duration;

use rootshift::cluster::*;
use rootshift::mesh::effect::{self, Effect};

use super::*;
use crate::words::{on_cluster, runtime};

/// Keeps what each change does to the mesh, and refuses it.
#[derive(Default)]
struct Sees(Mutex<Vec<Option<Effect>>>);

impl Policy for Sees {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        self.0.lock().unwrap().push(effect::of(mutation));
        Box::pin(async {
            Err(PolicyError::Failed(ClusterError::BadRequest {
                message: "seen".into(),
            }))
        })
    }

    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

/// The effect of what `change` does.
async fn effect_of(
    place: &Place,
    change: impl Future<Output = Result<Written, ClusterError>>,
) -> Option<Effect> {
    let policy = Arc::new(Sees::default());
    place.cluster.set_policy(policy.clone());
    let result = change.await;
    assert!(
        matches!(result, Err(ClusterError::BadRequest { .. })),
        "{result:?}"
    );
    let mut seen = policy.0.lock().unwrap();
    seen.pop().expect("it was asked about")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_does_not_go_by_another_name() {
    let place = Place::new().await;
    let istiod = json!({"app": "istiod", "istio.io/rev": "r1"});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "istiod-r1", "namespace": "istio-system", "labels": istiod},
        "spec": {"selector": istiod, "ports": [{"port": 15012}]}});
    let webhook = json!({"name": "rev.namespace.sidecar-injector.istio.io", "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/inject"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]});
    let webhooks = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "injector-r1", "labels": {"app": "sidecar-injector", "istio.io/rev": "r1"}},
        "webhooks": [webhook]});
    for object in [service, webhooks] {
        place.make(object).await;
    }
    let cluster = place.cluster.clone();
    let [ns, services, configurations] = [
        cluster.kind("ns").await.unwrap(),
        cluster.kind("service").await.unwrap(),
        cluster.kind("mutatingwebhookconfiguration").await.unwrap(),
    ];

    let how = DeleteOptions::default();
    let gone = effect_of(&place, cluster.delete(&ns, None, "istio-system", &how)).await;
    assert!(
        matches!(gone, Some(Effect::ControlPlaneRemoval)),
        "{gone:?}"
    );
    let gone = effect_of(&place, cluster.delete(&ns, None, "shop", &how)).await;
    assert!(gone.is_none(), "another namespace: {gone:?}");

    let system = Some("istio-system");
    let patch = |patch| cluster.patch(&services, system, "istiod-r1", patch);
    let elsewhere = effect_of(
        &place,
        patch(json!({"spec": {"selector": {"app": "nobody"}}})),
    )
    .await;
    assert!(
        matches!(&elsewhere, Some(Effect::IstiodRemoval { revision, .. }) if revision == "r1"),
        "{elsewhere:?}"
    );
    let label = effect_of(&place, patch(json!({"metadata": {"labels": {"a": "b"}}}))).await;
    assert!(label.is_none(), "{label:?}");

    let patch = |patch| cluster.patch(&configurations, None, "injector-r1", patch);
    let none = effect_of(&place, patch(json!({"webhooks": []}))).await;
    assert!(
        matches!(&none, Some(Effect::IstiodRemoval { .. })),
        "{none:?}"
    );
    let mut blind = webhook.clone();
    blind["namespaceSelector"] = json!({"matchLabels": {"nobody": "has"}});
    let blind = effect_of(&place, patch(json!({"webhooks": [blind]}))).await;
    assert!(
        matches!(&blind, Some(Effect::Injectors { .. })),
        "{blind:?}"
    );
    // As the server has it, with its defaults.
    let stored = cluster
        .get_existing(&configurations, None, "injector-r1")
        .await
        .unwrap();
    let mut renewed = stored.at("/webhooks/0").unwrap().clone();
    renewed["clientConfig"]["caBundle"] = json!("LS0tLS1CRUdJTg==");
    let renewed = effect_of(&place, patch(json!({"webhooks": [renewed]}))).await;
    assert!(
        renewed.is_none(),
        "istiod renews its bundle itself: {renewed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_that_is_deleted_under_its_deployment_is_seen_as_its_pods() {
    let place = Place::new().await;
    let set = |name: &str, owned: bool, replicas: i64| {
        let mut set = deployment("shop", name);
        set["kind"] = json!("ReplicaSet");
        set["spec"]["replicas"] = replicas.into();
        set["metadata"]["labels"]["pod-template-hash"] = json!("5d");
        if owned {
            set["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment",
                "name": "web", "uid": "00000000-0000-0000-0000-000000000001", "controller": true}]);
        }
        set
    };
    for object in [
        set("web-5d", true, 2),
        set("web-4c", true, 0),
        set("lone", false, 2),
    ] {
        place.make(object).await;
    }
    let cluster = place.cluster.clone();
    let kind = cluster.kind("rs").await.unwrap();
    let how = DeleteOptions::default();
    let live = effect_of(&place, cluster.delete(&kind, Some("shop"), "web-5d", &how)).await;
    let Some(Effect::Pods { workload, .. }) = live else {
        panic!("{live:?}");
    };
    assert_eq!(
        (workload.kind.as_str(), workload.name.as_str()),
        ("Deployment", "web")
    );
    for harmless in ["web-4c", "lone"] {
        let effect = effect_of(&place, cluster.delete(&kind, Some("shop"), harmless, &how)).await;
        assert!(effect.is_none(), "{harmless}: {effect:?}");
    }
}

/// A deletion of many waits for each; who is taken out of the selection meanwhile stays.
#[test]
fn a_deletion_of_many_takes_only_those_that_match_when_their_turn_comes() {
    let runtime = runtime();
    let place = runtime.block_on(Place::new());
    let cluster = place.cluster.clone();
    runtime.block_on(async {
        let mut first = map("a", "0");
        first["metadata"]["finalizers"] = json!(["example.com/hold"]);
        place.make(first).await;
        place.make(map("b", "0")).await;
        place.make(map("c", "0")).await;
    });
    let somebody = runtime.spawn(async move {
        let (maps, shop) = (cluster.kind("cm").await.unwrap(), Some("shop"));
        while !cluster
            .get_existing(&maps, shop, "a")
            .await
            .unwrap()
            .is_deleting()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let other = json!({"metadata": {"labels": {"l": "1"}}});
        cluster.patch(&maps, shop, "b", other).await.unwrap();
        let free = json!({"metadata": {"finalizers": null}});
        cluster.patch(&maps, shop, "a", free).await.unwrap();
    });
    let code = r#"
        let done = cluster::delete_all("cm", #{ namespace: "shop", labels: "l=0" });
        #{ deleted: done.len(), left: cluster::names("cm", #{ namespace: "shop" }) }
    "#;
    let told = on_cluster(&runtime, &place.cluster, &[], code, Duration::from_secs(60));
    let told = told.unwrap_or_else(|e| panic!("{}", e.render(false)));
    runtime.block_on(somebody).unwrap();
    assert_eq!(told["deleted"], 2, "{told}");
    let left = told["left"].to_string();
    assert!(left.contains("\"b\"") && !left.contains("\"c\""), "{left}");
}
