//! No form of a change goes round a gate: whatever form it has, a policy sees what will be.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rootshift::cluster::*;
use rootshift::mesh::effect::{self, Effect};

use super::*;

/// Refuses everything, and keeps what it was shown.
#[derive(Default)]
struct Refuses(Mutex<Vec<Seen>>);

/// The verb, what will be, and what that does to the mesh.
type Seen = (Verb, Option<Value>, Option<Effect>);

/// A value of a Secret that is written here, in base64; no journal may hold it.
const KEY: &str = "bmV3";

impl Policy for Refuses {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        let seen = (mutation.verb, mutation.after(), effect::of(mutation));
        self.0.lock().unwrap().push(seen);
        let journalled = mutation.shown().unwrap_or_default();
        assert!(!journalled.to_string().contains(KEY), "{journalled}");
        let says = mutation.verb == Verb::Evict || journalled != json!({});
        assert!(says, "{mutation:?} shows nothing");
        Box::pin(async {
            Err(PolicyError::Refused(Refusal {
                code: "no".into(),
                title: "no".into(),
                evidence: Vec::new(),
                hint: String::new(),
            }))
        })
    }

    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

/// A change in every form that there is for it.
struct Forms {
    kind: &'static str,
    namespace: Option<&'static str>,
    name: &'static str,
    merge: Value,
    json: Value,
    /// As applied: with `apiVersion`, `kind` and name.
    whole: Value,
}

async fn all_forms(place: &Place, forms: Forms) -> Vec<Effect> {
    let cluster = &place.cluster;
    let kind = cluster.kind(forms.kind).await.unwrap();
    let (at, name) = (forms.namespace, forms.name);
    let mut replaced = cluster
        .get_existing(&kind, at, name)
        .await
        .unwrap()
        .to_value();
    merge(&mut replaced, &forms.merge);
    let policy = Arc::new(Refuses::default());
    cluster.set_policy(policy.clone());
    let before = place.changes();
    let force = ApplyOptions {
        force: true,
        ..ApplyOptions::default()
    };
    let results = [
        cluster.patch(&kind, at, name, forms.merge.clone()).await,
        cluster
            .patch_as(&kind, at, name, PatchForm::Json, forms.json.clone())
            .await,
        cluster
            .patch_as(&kind, at, name, PatchForm::Strategic, forms.merge.clone())
            .await,
        cluster.apply_with(forms.whole.clone(), &force).await,
        cluster.replace(replaced).await,
    ];
    for (form, result) in ["merge", "json", "strategic", "apply", "replace"]
        .iter()
        .zip(results)
    {
        assert!(
            matches!(result, Err(ClusterError::Refused(_))),
            "{name}, {form}: {result:?}"
        );
    }
    assert_eq!(place.changes(), before, "{name}: nothing was changed");
    let seen = std::mem::take(&mut *policy.0.lock().unwrap());
    assert_eq!(seen.len(), 5, "{name}: each was asked about once");
    seen.into_iter()
        .enumerate()
        .map(|(form, (_, after, effect))| {
            assert!(after.is_some(), "{name}, form {form}");
            effect.unwrap_or_else(|| panic!("{name}, form {form}: no effect was seen in {after:?}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaces_revision_is_seen_in_every_form() {
    let place = Place::new().await;
    let labels = json!({"istio.io/rev": "r2"});
    let effects = all_forms(
        &place,
        Forms {
            kind: "ns",
            namespace: None,
            name: "shop",
            merge: json!({"metadata": {"labels": labels}}),
            json: json!([{"op": "add", "path": "/metadata/labels/istio.io~1rev", "value": "r2"}]),
            whole: json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "shop", "labels": labels}}),
        },
    )
    .await;
    for effect in effects {
        let Effect::NamespaceLabels { namespace, after } = effect else {
            panic!("{effect:?}");
        };
        assert_eq!(namespace, "shop");
        assert_eq!(after.get("istio.io/rev").map(String::as_str), Some("r2"));
    }
    // A JSON patch can take a way to the label that names it nowhere.
    let labels = json!({"kubernetes.io/metadata.name": "shop", "istio.io/rev": "r3"});
    let roundabout = json!([
        {"op": "add", "path": "/metadata/annotations", "value": labels},
        {"op": "move", "from": "/metadata/annotations", "path": "/metadata/labels"},
    ]);
    let policy = Arc::new(Refuses::default());
    place.cluster.set_policy(policy.clone());
    let kind = place.cluster.kind("ns").await.unwrap();
    place
        .cluster
        .patch_as(&kind, None, "shop", PatchForm::Json, roundabout)
        .await
        .unwrap_err();
    let seen = policy.0.lock().unwrap();
    assert!(
        matches!(&seen[0].2, Some(Effect::NamespaceLabels { after, .. }) if after["istio.io/rev"] == "r3"),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn istiods_removal_is_seen_in_every_form_and_by_a_scale() {
    let place = Place::new().await;
    let mut istiod = deployment("istio-system", "istiod");
    place.make(istiod.clone()).await;
    istiod["spec"]["replicas"] = json!(0);
    let effects = all_forms(
        &place,
        Forms {
            kind: "deploy",
            namespace: Some("istio-system"),
            name: "istiod",
            merge: json!({"spec": {"replicas": 0}}),
            json: json!([{"op": "replace", "path": "/spec/replicas", "value": 0}]),
            whole: istiod,
        },
    )
    .await;
    for effect in effects {
        assert!(matches!(effect, Effect::IstiodRemoval { .. }), "{effect:?}");
    }
    let policy = Arc::new(Refuses::default());
    place.cluster.set_policy(policy.clone());
    let kind = place.cluster.kind("deploy").await.unwrap();
    let at = Some("istio-system");
    let scaled = place.cluster.scale(&kind, at, "istiod", 0, None).await;
    assert!(
        matches!(scaled, Err(ClusterError::Refused(_))),
        "{scaled:?}"
    );
    let seen = policy.0.lock().unwrap();
    assert!(
        matches!(&seen[0].2, Some(Effect::IstiodRemoval { .. })),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_template_of_istiod_is_seen_in_every_form() {
    let place = Place::new().await;
    let mut istiod = deployment("istio-system", "istiod");
    place.make(istiod.clone()).await;
    let template = |note: &str| json!({"metadata": {"annotations": {"note": note}}});
    istiod["spec"]["template"]["metadata"]["annotations"] = json!({"note": "1"});
    let effects = all_forms(
        &place,
        Forms {
            kind: "deploy",
            namespace: Some("istio-system"),
            name: "istiod",
            merge: json!({"spec": {"template": template("1")}}),
            json: json!([{"op": "add", "path": "/spec/template/metadata/annotations", "value": {"note": "1"}}]),
            whole: istiod,
        },
    )
    .await;
    for effect in effects {
        assert!(matches!(effect, Effect::IstiodRestart { .. }), "{effect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_secret_is_seen_in_every_form() {
    let place = Place::new().await;
    let secret = |value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "cacerts", "namespace": "istio-system"}, "data": {"ca-cert.pem": value}})
    };
    place.make(secret("b2xk")).await;
    let effects = all_forms(
        &place,
        Forms {
            kind: "secret",
            namespace: Some("istio-system"),
            name: "cacerts",
            merge: json!({"data": {"ca-cert.pem": KEY}}),
            json: json!([{"op": "replace", "path": "/data/ca-cert.pem", "value": KEY}]),
            whole: secret(KEY),
        },
    )
    .await;
    for effect in effects {
        let Effect::CaSecret { after, .. } = effect else {
            panic!("{effect:?}");
        };
        assert_eq!(after["data"]["ca-cert.pem"], KEY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_of_istiod_is_seen_as_its_restart() {
    let place = Place::new().await;
    let labels = json!({"app": "istiod", "istio.io/rev": "r1"});
    place.make(pod("istio-system", "istiod-1", &labels)).await;
    let policy = Arc::new(Refuses::default());
    place.cluster.set_policy(policy.clone());
    let evicted = place
        .cluster
        .evict("istio-system", "istiod-1", &EvictOptions::default())
        .await;
    assert!(
        matches!(evicted, Err(ClusterError::Refused(_))),
        "{evicted:?}"
    );
    let seen = policy.0.lock().unwrap();
    assert!(
        matches!(
            &seen[0],
            (Verb::Evict, None, Some(Effect::IstiodRestart { .. }))
        ),
        "{seen:?}"
    );
}

/// Lets everything pass, after it has changed the object that is reviewed, once.
struct Meanwhile {
    kube: Kube,
    done: Mutex<Vec<Option<Value>>>,
}

impl Policy for Meanwhile {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        mutation: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        let mut done = self.done.lock().unwrap();
        if done.is_empty() {
            self.kube
                .update("configmaps", "shop", "a", |o| {
                    o["data"]["y"] = json!("theirs");
                })
                .unwrap();
        }
        done.push(mutation.after().map(|a| a["data"].clone()));
        Box::pin(async { Ok(()) })
    }

    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reviewed_before_another_change_is_reviewed_anew() {
    for form in ["json", "strategic", "apply"] {
        let place = Place::new().await;
        place.make(map("a", "0")).await;
        let policy = Arc::new(Meanwhile {
            kube: place.kube.clone(),
            done: Mutex::default(),
        });
        place.cluster.set_policy(policy.clone());
        let kind = place.cluster.kind("cm").await.unwrap();
        let at = Some("shop");
        let patch = json!({"data": {"x": "1"}});
        let operations = json!([{"op": "replace", "path": "/data/x", "value": "1"}]);
        let done = match form {
            "json" => {
                let cluster = &place.cluster;
                cluster
                    .patch_as(&kind, at, "a", PatchForm::Json, operations)
                    .await
            }
            "strategic" => {
                let cluster = &place.cluster;
                cluster
                    .patch_as(&kind, at, "a", PatchForm::Strategic, patch)
                    .await
            }
            _ => place.cluster.apply(map("a", "1")).await,
        };
        let object = done.unwrap().object.unwrap();
        assert_eq!(
            object.value()["data"],
            json!({"x": "1", "y": "theirs"}),
            "{form}"
        );
        let reviewed = policy.done.lock().unwrap().clone();
        assert_eq!(
            reviewed,
            [
                Some(json!({"x": "1"})),
                Some(json!({"x": "1", "y": "theirs"}))
            ],
            "{form}: reviewed for what it was, and for what it became"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_not_to_be_overwritten_is_kept_also_when_it_comes_just_now() {
    struct Labels(Kube);
    impl Policy for Labels {
        fn review<'a>(
            &'a self,
            _: &'a Cluster,
            _: &'a Mutation,
        ) -> BoxFuture<'a, Result<(), PolicyError>> {
            let change = |o: &mut Value| o["metadata"]["labels"]["new"] = json!("theirs");
            self.0.update("configmaps", "shop", "a", change).unwrap();
            Box::pin(async { Ok(()) })
        }
        fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
    }
    let place = Place::new().await;
    place.make(map("a", "0")).await;
    place
        .cluster
        .set_policy(Arc::new(Labels(place.kube.clone())));
    let kind = place.cluster.kind("cm").await.unwrap();
    let wanted = BTreeMap::from([("new".to_owned(), Some("ours".to_owned()))]);
    let error = place
        .cluster
        .label_new(&kind, Some("shop"), "a", &wanted)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`configmap/a` in namespace `shop`: label `new` is `theirs` already, and `overwrite` is false"
    );
}
