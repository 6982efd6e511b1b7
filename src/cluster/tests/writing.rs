//! Changes: what is sent, what is not, and what becomes of those whose answer is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::server::{Fate, Server, status};

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const SHOP: &str = "/api/v1/namespaces/shop";
const MAP: &str = "/api/v1/namespaces/shop/configmaps/a";

async fn kind(cluster: &Cluster, name: &str) -> Kind {
    cluster.kind(name).await.unwrap()
}

fn labels(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned)))
        .collect()
}

#[tokio::test]
async fn labels_are_read_first_and_only_differences_are_sent() {
    let server = Server::start().await;
    server.put(
        SHOP,
        json!({"metadata": {"labels": {"a": "1", "istio-injection": "enabled"}}}),
    );
    let cluster = server.connect().await;
    let ns = kind(&cluster, "ns").await;
    let wanted = labels(&[
        ("a", Some("1")),
        ("istio.io/rev", Some("r1")),
        ("istio-injection", None),
        ("x", None),
    ]);
    let done = cluster.label(&ns, None, "shop", &wanted).await.unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Changed, "namespace/shop labeled")
    );
    assert_eq!(
        server.bodies("PATCH"),
        [
            json!({"metadata": {"uid": "uid-101", "labels": {"istio.io/rev": "r1", "istio-injection": null}}})
        ]
    );
    assert_eq!(done.object.unwrap().label("istio.io/rev"), Some("r1"));

    let again = cluster.label(&ns, None, "shop", &wanted).await.unwrap();
    assert_eq!(
        (again.outcome, again.summary.as_str()),
        (Outcome::Unchanged, "namespace/shop not labeled")
    );
    let off = cluster
        .label(&ns, None, "shop", &labels(&[("a", None)]))
        .await
        .unwrap();
    assert_eq!(off.summary, "namespace/shop unlabeled");
    let note = cluster
        .annotate(&ns, None, "shop", &labels(&[("n", Some("1"))]))
        .await
        .unwrap();
    assert_eq!(note.summary, "namespace/shop annotated");
    let get = format!("GET {SHOP}");
    let patch = format!("PATCH {SHOP}");
    assert_eq!(
        server.log(),
        [&get, &patch, &get, &get, &patch, &get, &patch].map(String::as_str)
    );
}

#[tokio::test]
async fn a_patch_that_the_server_finds_void_is_unchanged_too() {
    let server = Server::planned(|seen| {
        if seen.method == "PATCH" {
            return Fate::Instead(
                200,
                json!({"metadata": {"name": "a", "uid": "uid-101", "resourceVersion": "101"}}),
            );
        }
        Fate::Answer
    })
    .await;
    server.put(MAP, json!({"data": {"x": "1"}}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let done = cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": 1}}))
        .await
        .unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Unchanged, "configmap/a patched (no change)")
    );
}

#[tokio::test]
async fn objects_are_completed_and_contradictions_are_refused() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let done = cluster
        .create(&cm, Some("shop"), json!({"metadata": {"name": "a"}}))
        .await
        .unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Created, "configmap/a created")
    );
    assert_eq!(
        server.bodies("POST"),
        [
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}})
        ]
    );
    let error = cluster
        .create(&cm, Some("shop"), json!({"metadata": {"name": "a"}}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`configmap/a` in namespace `shop` exists already"
    );
    for (ns, object, message) in [
        (
            Some("pay"),
            json!({"metadata": {"name": "b", "namespace": "shop"}}),
            "namespace `pay` was asked for, but the object says `shop`",
        ),
        (
            Some("shop"),
            json!({"kind": "Secret", "metadata": {"name": "b"}}),
            "`kind` is `ConfigMap` for v1/ConfigMap, but the object says \"Secret\"",
        ),
        (
            None,
            json!({"metadata": {"name": "b"}}),
            "`configmaps` live in namespaces, but none was given",
        ),
        (None, json!([]), "an object must be a map, not a list"),
    ] {
        let error = cluster.create(&cm, ns, object).await.unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.kind(), "script");
    }
    assert_eq!(server.bodies("POST").len(), 2);
}

#[tokio::test]
async fn apply_creates_then_merges_then_does_nothing() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "of another cluster"}, "data": {"x": "1"}, "status": {}});
    let done = cluster.apply(map.clone()).await.unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Created, "configmap/a created")
    );
    let error = cluster.apply(map.clone()).await.unwrap_err();
    assert!(matches!(error, ClusterError::Conflict { .. }), "{error}");
    map["metadata"].as_object_mut().unwrap().remove("uid");
    let done = cluster.apply(map.clone()).await.unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Unchanged, "configmap/a unchanged")
    );
    map["data"]["y"] = json!("2");
    let done = cluster.apply(map).await.unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (Outcome::Changed, "configmap/a configured")
    );
    let sent = server.sent("PATCH");
    let query = "fieldManager=rootshift";
    let asked: Vec<bool> = sent
        .iter()
        .map(|s| {
            assert!(s.target.contains(query), "{}", s.target);
            assert_eq!(s.headers["content-type"], "application/apply-patch+yaml");
            s.target.contains("dryRun=All")
        })
        .collect();
    assert_eq!(
        asked,
        [true, false, true, true, false],
        "each is asked for first, and what changes nothing is not sent"
    );
    let last = &sent[4].body;
    assert_eq!(last["data"], json!({"x": "1", "y": "2"}));
    assert!(last["metadata"]["resourceVersion"].is_string(), "{last}");
    assert_eq!(last["metadata"]["uid"], json!(null));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    cluster.apply(secret.clone()).await.unwrap();
    assert_eq!(
        cluster.apply(secret).await.unwrap().outcome,
        Outcome::Unchanged
    );
    let error = cluster
        .apply(json!({"kind": "ConfigMap"}))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "an object to apply needs `apiVersion`");
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_is_not_repeated() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::LoseAnswer]);
    let done = cluster
        .create(&cm, Some("shop"), json!({"metadata": {"name": "a"}}))
        .await
        .unwrap();
    assert_eq!(done.outcome, Outcome::Created);
    assert_eq!(server.bodies("POST").len(), 1);

    server.remove(MAP);
    server.fates([Fate::LoseRequest]);
    let done = cluster
        .create(&cm, Some("shop"), json!({"metadata": {"name": "a"}}))
        .await
        .unwrap();
    assert_eq!(done.outcome, Outcome::Created);
    assert_eq!(server.bodies("POST").len(), 3, "lost, read, sent again");
}

#[tokio::test]
async fn a_creation_in_doubt_that_finds_another_object_does_not_claim_it() {
    let server = Server::start().await;
    server.put(MAP, json!({"data": {"of": "somebody else"}}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::LoseRequest]);
    let error = cluster
        .create(
            &cm,
            Some("shop"),
            json!({"metadata": {"name": "a"}, "data": {"x": "1"}}),
        )
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`configmap/a` in namespace `shop` exists already"
    );
}

#[tokio::test]
async fn a_creation_in_doubt_does_not_claim_an_equal_object_that_is_older() {
    let server = Server::start().await;
    server.put(
        MAP,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1"},
        "metadata": {"managedFields": [{"manager": "rootshift", "operation": "Update"}]}}),
    );
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let internal = status(500, "InternalError", "webhook is down", "a");
    for fate in [Fate::LoseRequest, Fate::Instead(500, internal)] {
        server.fates([fate]);
        let error = cluster
            .create(&cm, Some("shop"), object.clone())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`configmap/a` in namespace `shop` exists already"
        );
    }
}

#[tokio::test]
async fn a_creation_in_doubt_claims_only_what_it_can_have_made() {
    let equal = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1"},
        "metadata": {"name": "a", "namespace": "shop", "uid": "u",
            "managedFields": [{"manager": "kubectl-create", "operation": "Update"}]}});
    let forbidden = status(403, "Forbidden", "configmaps \"a\" is forbidden", "a");
    for (first, said) in [
        (
            Fate::Instead(404, super::server::not_found("configmaps", "a")),
            "but it was not made by this creation",
        ),
        (
            Fate::Instead(403, forbidden),
            "whether it was there before is not known, since it could not be read then",
        ),
    ] {
        let mut equal = equal.clone();
        if said.starts_with("whether") {
            equal["metadata"]["managedFields"][0]["manager"] = json!("rootshift");
        }
        let reads = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::planned(move |seen| {
            if seen.method != "GET" || seen.path() != MAP {
                return Fate::Answer;
            }
            match reads.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => first.clone(),
                _ => Fate::Instead(200, equal.clone()),
            }
        })
        .await;
        let cluster = server.connect().await;
        let cm = kind(&cluster, "cm").await;
        server.fates([Fate::LoseRequest]);
        let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
        let error = cluster.create(&cm, Some("shop"), object).await.unwrap_err();
        assert!(error.to_string().ends_with(said), "{error}");
    }
}

#[tokio::test]
async fn what_was_read_is_not_created_again() {
    let server = Server::start().await;
    server.put(MAP, json!({"data": {"x": "1"}}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let read = cluster.get_existing(&cm, Some("shop"), "a").await.unwrap();
    let error = cluster
        .create(&cm, None, read.to_value())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "script");
    assert_eq!(
        error.to_string(),
        "an object to create must not have `metadata.resourceVersion` (it has `101`): remove it, or use \
         `cluster::replace` or `cluster::apply` for an object that is there"
    );
    assert!(server.bodies("POST").is_empty());
}

#[tokio::test]
async fn a_creation_in_doubt_is_not_one_of_an_older_object_that_is_going_away() {
    let server = Server::start().await;
    let going =
        json!({"data": {"x": "1"}, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    server.put(MAP, going);
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::LoseRequest]);
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let error = cluster.create(&cm, Some("shop"), object).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::OutcomeUnknown { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_done() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    // The first attempt may still be on its way, and be what fills the quota.
    let refused = Fate::Instead(403, status(403, "Forbidden", "exceeded quota", "a"));
    server.fates([Fate::LoseRequest, refused]);
    let object = json!({"metadata": {"name": "a"}, "data": {"x": "1"}});
    let create = || cluster.create(&cm, Some("shop"), object.clone());
    let error = create().await.unwrap_err().to_string();
    assert!(
        error.contains("exceeded quota")
            && error.contains(
                "an earlier request of it, whose answer was lost, may still be carried out"
            ),
        "{error}"
    );
    // A refusal alone says that nothing was done.
    let refused = Fate::Instead(403, status(403, "Forbidden", "exceeded quota", "a"));
    server.fates([refused]);
    let error = create().await.unwrap_err();
    assert!(matches!(error, ClusterError::Denied { .. }), "{error}");
}

#[tokio::test]
async fn a_creation_without_a_name_is_never_sent_twice() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::LoseAnswer]);
    let error = cluster
        .create(
            &cm,
            Some("shop"),
            json!({"metadata": {"generateName": "a-"}}),
        )
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it may have been created under a name that the server chose"),
        "{error}"
    );
    assert_eq!(server.bodies("POST").len(), 1);
}

#[tokio::test]
async fn a_patch_whose_answer_is_lost_is_read_back() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    for fate in [
        Fate::LoseAnswer,
        Fate::LoseRequest,
        Fate::Text(502, "", "bad gateway"),
    ] {
        let sent = usize::from(!matches!(fate, Fate::LoseAnswer)) + 1;
        let before = server.bodies("PATCH").len();
        server.fates([fate]);
        let value = before.to_string();
        let done = cluster
            .patch(&cm, Some("shop"), "a", json!({"data": {"x": value}}))
            .await
            .unwrap();
        assert_eq!(done.outcome, Outcome::Changed);
        assert_eq!(done.object.unwrap().text("/data/x"), value);
        assert_eq!(server.bodies("PATCH").len(), before + sent);
    }
}

#[tokio::test]
async fn an_answer_that_stays_lost_ends_with_what_is_known() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([
        Fate::LoseRequest,
        Fate::LoseRequest,
        Fate::LoseRequest,
        Fate::LoseRequest,
    ]);
    let error = cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": "1"}}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch of `configmap/a` in namespace `shop`: the answer was lost (connection closed before message completed); \
         after 4 attempts it had not been done when last read, but the last request may still be carried out"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("run again: what is done already is not repeated")
    );
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::Late(Duration::from_millis(400))]);
    cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": "1"}}))
        .await
        .unwrap();
    assert_eq!(server.bodies("PATCH").len(), 1);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_an_invalid_object_is_not() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    server.fates([Fate::Text(429, "retry-after: 0\r\n", "busy")]);
    cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": "1"}}))
        .await
        .unwrap();
    assert_eq!(server.log().len(), 3, "read, sent, sent again");
    server.fates([Fate::Instead(
        422,
        status(422, "Invalid", "\" \" is invalid: patch", "a"),
    )]);
    let error = cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": 2}}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch of `configmap/a` in namespace `shop` is invalid: \" \" is invalid: patch"
    );
    let quota = "configmaps \"a\" is forbidden: exceeded quota: small";
    server.fates([Fate::Instead(403, status(403, "Forbidden", quota, "a"))]);
    let error = cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": "3"}}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("patch of `configmap/a` in namespace `shop` was not admitted: {quota}")
    );
}

#[tokio::test]
async fn deletions_are_bound_to_what_was_read_and_wait_until_it_is_gone() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let options = DeleteOptions::default();
    server.fates([Fate::LoseAnswer]);
    let done = cluster
        .delete(&cm, Some("shop"), "a", &options)
        .await
        .unwrap();
    assert_eq!(
        (done.outcome, done.summary.as_str()),
        (
            Outcome::Deleted,
            "configmap \"a\" deleted from shop namespace"
        )
    );
    assert_eq!(
        server.bodies("DELETE"),
        [
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": "uid-101"}})
        ]
    );
    let error = cluster
        .delete(&cm, Some("shop"), "a", &options)
        .await
        .unwrap_err();
    assert!(error.is_not_found());
    let fine = DeleteOptions {
        ignore_missing: true,
        ..options.clone()
    };
    let done = cluster.delete(&cm, Some("shop"), "a", &fine).await.unwrap();
    assert_eq!(done.outcome, Outcome::Absent);
    server.put(MAP, json!({}));
    let other = DeleteOptions {
        uid: Some("older".into()),
        ..fine
    };
    assert_eq!(
        cluster
            .delete(&cm, Some("shop"), "a", &other)
            .await
            .unwrap()
            .outcome,
        Outcome::Absent
    );
    assert!(server.at(MAP).is_some(), "another one of that name stays");
}

#[tokio::test]
async fn a_deletion_that_is_held_names_who_holds_it() {
    let server = Server::start().await;
    server.put(
        MAP,
        json!({"metadata": {"finalizers": ["example.com/keep"]}}),
    );
    let cluster = server.connect().await;
    let cm = kind(&cluster, "cm").await;
    let options = DeleteOptions {
        wait: Some(Duration::from_millis(300)),
        ..DeleteOptions::default()
    };
    let error = cluster
        .delete(&cm, Some("shop"), "a", &options)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`configmap/a` in namespace `shop` is still there 300ms after its deletion, held by finalizers `example.com/keep`"
    );
    // What is being deleted already is not deleted again.
    cluster
        .delete(&cm, Some("shop"), "a", &options)
        .await
        .unwrap_err();
    assert_eq!(server.bodies("DELETE").len(), 1);
}

#[tokio::test]
async fn each_restart_is_another() {
    let server = Server::start().await;
    server.put(WEB, json!({"spec": {"template": {}}}));
    let cluster = server.connect().await;
    let deploy = kind(&cluster, "deploy").await;
    let mut times = Vec::new();
    for _ in 0..3 {
        let done = cluster.restart(&deploy, Some("shop"), "web").await.unwrap();
        assert_eq!(
            (done.outcome, done.summary.as_str()),
            (Outcome::Changed, "deployment.apps/web restarted")
        );
        let at = "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
        times.push(done.object.unwrap().text(at).to_owned());
    }
    let mut sorted = times.clone();
    sorted.dedup();
    assert_eq!(sorted.len(), 3, "{times:?}");
    assert!(times[0].ends_with('Z') && times[0].len() == 20, "{times:?}");

    server.put(WEB, json!({"spec": {"paused": true}}));
    let error = cluster
        .restart(&deploy, Some("shop"), "web")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`deployment.apps/web` in namespace `shop` is paused and cannot be restarted: resume it first"
    );
    let error = cluster
        .restart(&kind(&cluster, "cm").await, Some("shop"), "a")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`configmaps` have no rollouts: only Deployments, StatefulSets and DaemonSets do"
    );
}
