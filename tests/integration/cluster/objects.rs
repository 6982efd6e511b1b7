//! Objects: read, changed, refused, lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rootshift::cluster::*;
use rootshift::twin::server::{Effect, Fault};
use serde_json::{Value, json};

use super::*;

fn said(written: &Written) -> (Outcome, &str) {
    (written.outcome, written.summary.as_str())
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"x": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_created_changed_and_deleted_as_kubectl_says_it() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let (cm, at) = (kind(&cluster, "cm").await, Some(ns.as_str()));
    let done = cluster.create(&cm, at, map("a", "1")).await.unwrap();
    assert_eq!(said(&done), (Outcome::Created, "configmap/a created"));
    let error = cluster.create(&cm, at, map("a", "1")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`configmap/a` in namespace `{ns}` exists already")
    );
    let done = cluster
        .patch(&cm, at, "a", json!({"data": {"x": "2"}}))
        .await
        .unwrap();
    assert_eq!(said(&done), (Outcome::Changed, "configmap/a patched"));
    let done = cluster
        .patch(&cm, at, "a", json!({"data": {"x": "2"}}))
        .await
        .unwrap();
    assert_eq!(
        said(&done),
        (Outcome::Unchanged, "configmap/a patched (no change)")
    );
    let labels = BTreeMap::from([("l".to_owned(), Some("1".to_owned()))]);
    let done = cluster.label(&cm, at, "a", &labels).await.unwrap();
    assert_eq!(said(&done), (Outcome::Changed, "configmap/a labeled"));
    assert_eq!(done.object.unwrap().label("l"), Some("1"));
    let off = BTreeMap::from([("l".to_owned(), None)]);
    let done = cluster.label(&cm, at, "a", &off).await.unwrap();
    assert_eq!(said(&done), (Outcome::Changed, "configmap/a unlabeled"));
    let done = cluster.annotate(&cm, at, "a", &labels).await.unwrap();
    assert_eq!(said(&done), (Outcome::Changed, "configmap/a annotated"));
    let error = cluster
        .patch(&cm, at, "a", json!({"data": {"x": 2}}))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
    let error = cluster
        .label(
            &cm,
            at,
            "a",
            &BTreeMap::from([("l".to_owned(), Some("not a label!".to_owned()))]),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
    let read = cluster.get_existing(&cm, at, "a").await.unwrap();
    assert_eq!((read.kind(), read.api_version()), ("ConfigMap", "v1"));
    assert_eq!(read.at("/metadata/managedFields"), None);
    let done = cluster
        .delete(&cm, at, "a", &DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(
        said(&done),
        (
            Outcome::Deleted,
            format!("configmap \"a\" deleted from {ns} namespace").as_str()
        )
    );
    assert_eq!(cluster.get(&cm, at, "a").await.unwrap(), None);
    let gone = remove(&cluster, &ns).await;
    assert_eq!(gone.summary, format!("namespace \"{ns}\" deleted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_missing_has_nothing_in_it() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let cm = kind(&cluster, "cm").await;
    assert_eq!(cluster.get(&cm, Some("nowhere"), "a").await.unwrap(), None);
    assert_eq!(
        cluster
            .list(&cm, Some("nowhere"), &Selector::all())
            .await
            .unwrap(),
        []
    );
    let error = cluster
        .create(&cm, Some("nowhere"), map("a", "1"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "`namespace/nowhere` does not exist");
    assert!(error.is_not_found());
    let error = cluster
        .raw("/apis/no.such.group/v1/things")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/apis/no.such.group/v1/things` does not exist"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_go_by_kubectls_names_also_those_installed_later() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    for (name, resource) in [
        ("deploy", "deployments.apps"),
        ("Deployment", "deployments.apps"),
        ("apps/v1/Deployment", "deployments.apps"),
        ("sts", "statefulsets.apps"),
        ("ds", "daemonsets.apps"),
        ("po", "pods"),
        ("sa", "serviceaccounts"),
        ("svc", "services"),
        ("hpa", "horizontalpodautoscalers.autoscaling"),
        ("pdb", "poddisruptionbudgets.policy"),
        (
            "mutatingwebhookconfigurations",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        ),
        ("crd", "customresourcedefinitions.apiextensions.k8s.io"),
        ("clusterrole", "clusterroles.rbac.authorization.k8s.io"),
        ("ev", "events"),
    ] {
        assert_eq!(kind(&cluster, name).await.resource(), resource, "{name}");
    }
    let error = cluster.kind("deploymnt").await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("did you mean `deployment`?"));

    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rockets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Rocket", "plural": "rockets", "singular": "rocket", "shortNames": ["rk"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    assert_eq!(
        cluster.apply(crd.clone()).await.unwrap().outcome,
        Outcome::Created
    );
    let start = Instant::now();
    let rocket = loop {
        match cluster.kind("rk").await {
            Ok(kind) => break kind,
            Err(e) if start.elapsed() < Duration::from_secs(20) => {
                assert!(matches!(e, ClusterError::UnknownKind { .. }), "{e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(e) => panic!("{e}"),
        }
    };
    assert_eq!(
        cluster.apply(crd).await.unwrap().summary,
        "customresourcedefinition.apiextensions.k8s.io/rockets.example.com unchanged"
    );
    let ns = namespace(&cluster).await;
    let object = json!({"metadata": {"name": "a"}, "spec": {"stages": 2}});
    let done = cluster.create(&rocket, Some(&ns), object).await.unwrap();
    assert_eq!(done.summary, "rocket.example.com/a created");
    remove(&cluster, &ns).await;
    let crds = kind(&cluster, "crd").await;
    cluster
        .delete(
            &crds,
            None,
            "rockets.example.com",
            &DeleteOptions::default(),
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_longer_than_a_page_are_complete_and_selectors_select() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let (cm, at) = (kind(&cluster, "cm").await, Some(ns.as_str()));
    for tens in 0..52 {
        let ten = (0..10).map(|n| {
            let parity = if n % 2 == 0 { "even" } else { "odd" };
            let object = json!({"metadata": {"name": format!("m-{tens}-{n}"), "labels": {"parity": parity, "n": n.to_string()}}});
            cluster.create(&cm, at, object)
        });
        for result in join_all(ten).await {
            result.unwrap();
        }
    }
    let all = cluster
        .list(&cm, at, &Selector::labels("parity"))
        .await
        .unwrap();
    assert_eq!(all.len(), 520);
    assert!(all.iter().all(|o| o.kind() == "ConfigMap"));
    let count = async |labels: &str| {
        cluster
            .list(&cm, at, &Selector::labels(labels))
            .await
            .unwrap()
            .len()
    };
    assert_eq!(count("parity=even").await, 260);
    assert_eq!(count("parity!=even,n in (1,3)").await, 104);
    assert_eq!(count("!n,parity").await, 0);
    let one = Selector {
        fields: Some("metadata.name=m-3-3".into()),
        labels: None,
    };
    assert_eq!(cluster.list(&cm, at, &one).await.unwrap().len(), 1);
    let error = cluster
        .list(&cm, at, &Selector::labels("a=b=c"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
    remove(&cluster, &ns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_object_and_a_terminating_namespace_are_told() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let (cm, at) = (kind(&cluster, "cm").await, Some(ns.as_str()));
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/keep"]}});
    cluster.create(&cm, at, held).await.unwrap();
    let brief = DeleteOptions {
        wait: Some(Duration::from_millis(500)),
        ..DeleteOptions::default()
    };
    let error = cluster.delete(&cm, at, "held", &brief).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`configmap/held` in namespace `{ns}` is still there 500ms after its deletion, held by finalizers `example.com/keep`"
        )
    );
    let namespaces = kind(&cluster, "ns").await;
    let error = cluster
        .delete(&namespaces, None, &ns, &brief)
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::StillThere { .. }), "{error}");
    let error = cluster.create(&cm, at, map("late", "1")).await.unwrap_err();
    assert!(matches!(error, ClusterError::Denied { .. }), "{error}");
    assert!(
        error.to_string().contains("because it is being terminated"),
        "{error}"
    );
    let free = json!({"metadata": {"finalizers": null}});
    cluster.patch(&cm, at, "held", free).await.unwrap();
    // It goes by itself now, and may be gone already.
    let patient = DeleteOptions {
        ignore_missing: true,
        ..DeleteOptions::default()
    };
    cluster
        .delete(&namespaces, None, &ns, &patient)
        .await
        .unwrap();
    assert_eq!(cluster.get(&namespaces, None, &ns).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_again_what_the_server_completed_changes_nothing() {
    let place = Place::new().await;
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let objects = [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "idle", "namespace": ns},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "idle"}},
                "template": {"metadata": {"labels": {"app": "idle"}},
                    "spec": {"containers": [{"name": "main", "image": "none", "ports": [{"containerPort": 80}]}]}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "idle", "namespace": ns},
            "spec": {"selector": {"app": "idle"}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ns},
            "stringData": {"k": "v"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": ns, "labels": {}}}),
    ];
    for object in objects {
        let first = cluster.apply(object.clone()).await.unwrap();
        assert_eq!(first.outcome, Outcome::Created, "{}", first.summary);
        let again = cluster.apply(object).await.unwrap();
        assert_eq!(again.outcome, Outcome::Unchanged, "{}", again.summary);
        // What was read from the server can be applied as it is.
        // Whoever applies what the server completed is its owner from then on, and changes nothing else.
        let mut read = first.object.unwrap().to_value();
        // A controller may have written the status since.
        let metadata = read["metadata"].as_object_mut().unwrap();
        metadata.remove("resourceVersion");
        let saved = cluster.apply(read.clone()).await.unwrap();
        assert_eq!(saved.diff, "", "{}", saved.summary);
        let saved = cluster.apply(read).await.unwrap();
        assert_eq!(saved.outcome, Outcome::Unchanged, "{}", saved.summary);
    }
    let deploy = kind(&cluster, "deploy").await;
    for _ in 0..2 {
        let done = cluster.restart(&deploy, Some(&ns), "idle").await.unwrap();
        assert_eq!(
            said(&done),
            (Outcome::Changed, "deployment.apps/idle restarted")
        );
    }
    let done = cluster
        .wait_rollout(&deploy, Some(&ns), "idle", Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(done.message, "deployment \"idle\" successfully rolled out");
    let error = cluster
        .wait_rollout(&deploy, Some(&ns), "nobody", Duration::from_secs(20))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`deployment.apps/nobody` in namespace `{ns}` does not exist")
    );
    remove(&cluster, &ns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_what_and_where() {
    let place = Place::new().await;
    let admin = place.connect().await;
    let jane = place.as_user(json!({"as": "jane"})).await.unwrap();
    let ns = namespace(&admin).await;
    let at = Some(ns.as_str());
    let (deploy, secrets, namespaces) = (
        kind(&jane, "deploy").await,
        kind(&jane, "secrets").await,
        kind(&jane, "ns").await,
    );
    let error = jane.list(&secrets, at, &Selector::all()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("user `jane` may not list `secrets` in namespace `{ns}`")
    );
    assert_eq!(
        error.hint(),
        Some(format!(
            "grant the verb `list` on `secrets` in namespace `{ns}`"
        ))
    );
    let error = jane.get(&deploy, at, "web").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("user `jane` may not get `deployments.apps` `web` in namespace `{ns}`")
    );
    let error = jane
        .list(&namespaces, None, &Selector::all())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "user `jane` may not list `namespaces` in the whole cluster"
    );
    let error = jane
        .forward(&ns, "web-1", 15000, &Limits::default())
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("user `jane` may not get `pods/portforward` `web-1` in namespace `{ns}`")
    );
    assert!(!jane.can("list", "secrets", at).await.unwrap());
    assert!(admin.can("list", "secrets", at).await.unwrap());
    remove(&admin, &ns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_wrong_are_told_at_once() {
    let place = Place::new().await;
    let change = json!({"token": "wrong", "client-certificate": null, "client-key": null,
        "client-certificate-data": null, "client-key-data": null});
    let error = place.as_user(change).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::Unauthorized { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_whose_answers_are_lost_are_made_once() {
    let place = Place::new().await;
    if place.twin.is_none() {
        return;
    }
    let cluster = place.connect().await;
    let ns = namespace(&cluster).await;
    let (cm, at) = (kind(&cluster, "cm").await, Some(ns.as_str()));
    let fails = |verb: &str, effect: Effect| {
        place.faults.clear();
        place.faults.add(Fault {
            verb: Some(verb.to_owned()),
            resource: Some("configmaps".to_owned()),
            namespace: Some(ns.clone()),
            name: None,
            nth: 1,
            times: 1,
            effect,
        });
    };
    let busy = Effect::Status {
        code: 503,
        message: "the server is starting".to_owned(),
        retry_after: None,
    };
    for (round, effect) in [Effect::DropBefore, Effect::DropAfter, busy]
        .into_iter()
        .enumerate()
    {
        fails("create", effect.clone());
        let done = cluster.create(&cm, at, map("a", "0")).await.unwrap();
        assert_eq!(done.outcome, Outcome::Created);
        let created = done.object.unwrap();
        fails("patch", effect.clone());
        let value = round.to_string();
        let change = json!({"data": {"y": value}});
        let done = cluster.patch(&cm, at, "a", change).await.unwrap();
        assert_eq!(done.outcome, Outcome::Changed);
        let changed = done.object.unwrap();
        assert_eq!(
            (changed.uid(), changed.text("/data/y")),
            (created.uid(), value.as_str())
        );
        fails("get", effect.clone());
        assert!(cluster.get(&cm, at, "a").await.unwrap().is_some());
        fails("list", effect.clone());
        cluster.list(&cm, at, &Selector::all()).await.unwrap();
        fails("delete", effect);
        let done = cluster
            .delete(&cm, at, "a", &DeleteOptions::default())
            .await
            .unwrap();
        assert_eq!(done.outcome, Outcome::Deleted);
        assert_eq!(cluster.get(&cm, at, "a").await.unwrap(), None);
    }
}
