//! The one door: who is asked, who is told, and that nothing goes round it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::super::*;
use super::server::Server;

const SHOP: &str = "/api/v1/namespaces/shop";
const MAP: &str = "/api/v1/namespaces/shop/configmaps/a";

fn labels(key: &str, value: &str) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(key.to_owned(), Some(value.to_owned()))])
}

/// Puts another object in the place of the one that is reviewed.
struct Replace(Arc<super::server::Shared>);
impl Policy for Replace {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        _: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        let mut objects = self.0.objects.lock().unwrap();
        objects.get_mut(MAP).unwrap()["metadata"]["uid"] = json!("another");
        Box::pin(async { Ok(()) })
    }
    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

#[tokio::test]
async fn a_patch_never_hits_a_successor_of_the_same_name() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let cm = cluster.kind("cm").await.unwrap();
    let shared = Arc::clone(&server.shared);
    cluster.set_policy(Arc::new(Replace(shared)));
    let error = cluster
        .patch(&cm, Some("shop"), "a", json!({"data": {"x": "1"}}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch of `configmap/a` in namespace `shop` conflicts with another change: another object of that name has taken its place"
    );
    assert_eq!(server.at(MAP).unwrap()["data"], Value::Null);
}

/// Writes down what it is asked and told, and refuses what it is to refuse.
#[derive(Default)]
struct Recorder {
    refuse: Mutex<bool>,
    slow: Mutex<bool>,
    told: Mutex<Vec<String>>,
}

impl Recorder {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Policy for Recorder {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        m: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        let after = m.after().map(|a| a["data"].to_string());
        self.told
            .lock()
            .unwrap()
            .push(format!("asked {m:?} {:?} {after:?}", m.why));
        let (refuse, slow) = (*self.refuse.lock().unwrap(), *self.slow.lock().unwrap());
        Box::pin(async move {
            if slow {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            if refuse {
                return Err(PolicyError::Refused(Refusal {
                    code: "roots-missing".into(),
                    title: "2 proxies lack a root".into(),
                    evidence: vec!["cart-1 lacks MESHCA".into()],
                    hint: "--waive roots-missing".into(),
                }));
            }
            Ok(())
        })
    }

    fn done(&self, _: &Cluster, m: &Mutation, result: &Result<Written, ClusterError>) {
        let said = match result {
            Ok(written) => written.summary.clone(),
            Err(error) => error.to_string(),
        };
        self.told
            .lock()
            .unwrap()
            .push(format!("told {m:?}: {said}"));
    }

    fn unchanged(&self, _: &Cluster, _: &Mutation, written: &Written) {
        self.told
            .lock()
            .unwrap()
            .push(format!("unchanged: {}", written.summary));
    }

    fn warned(&self, _: &Cluster, text: &str) {
        self.told.lock().unwrap().push(format!("warned: {text}"));
    }
}

#[tokio::test]
async fn a_warning_of_the_server_is_told_once() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    let policy = Arc::new(Recorder::default());
    cluster.set_policy(policy.clone());
    let cm = cluster.kind("cm").await.unwrap();
    let head = "warning: 299 - \"v1beta1 is deprecated\"\r\nwarning: 299 - \"unknown field \\\"x\\\"\"\r\n";
    for _ in 0..2 {
        let answer = r#"{"metadata": {"name": "a", "uid": "u", "resourceVersion": "999"}}"#;
        server.fates([super::server::Fate::Text(200, head, answer)]);
        let patch = json!({"data": {"x": "1"}});
        cluster.patch(&cm, Some("shop"), "a", patch).await.unwrap();
    }
    let warned: Vec<String> = policy.take();
    let warned = warned.iter().filter_map(|t| t.strip_prefix("warned: "));
    assert_eq!(
        warned.collect::<Vec<_>>(),
        ["v1beta1 is deprecated", "unknown field \"x\""]
    );
}

#[tokio::test]
async fn every_change_of_every_verb_passes_the_one_door() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let policy = Arc::new(Recorder::default());
    cluster.clone().set_policy(policy.clone());
    let cm = cluster.kind("cm").await.unwrap();
    let ns = Some("shop");
    cluster
        .create(
            &cm,
            ns,
            json!({"metadata": {"name": "a"}, "data": {"x": "1"}}),
        )
        .await
        .unwrap();
    cluster
        .patch(&cm, ns, "a", json!({"data": {"x": "2"}}))
        .await
        .unwrap();
    cluster
        .patch(&cm, ns, "a", json!({"data": {"x": "2"}}))
        .await
        .unwrap();
    cluster
        .label(&cm, ns, "a", &labels("l", "1"))
        .await
        .unwrap();
    cluster
        .delete(&cm, ns, "a", &DeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(
        policy.take(),
        [
            r#"asked create configmap/shop/a None Some("{\"x\":\"1\"}")"#,
            "told create configmap/shop/a: configmap/a created",
            r#"asked patch configmap/shop/a None Some("{\"x\":\"2\"}")"#,
            "told patch configmap/shop/a: configmap/a patched",
            "unchanged: configmap/a patched (no change)",
            r#"asked patch configmap/shop/a Some("label") Some("{\"x\":\"2\"}")"#,
            "told patch configmap/shop/a: configmap/a labeled",
            "asked delete configmap/shop/a None None",
            "told delete configmap/shop/a: configmap \"a\" deleted from shop namespace",
        ]
    );
}

#[tokio::test]
async fn what_is_refused_is_not_sent_and_says_why() {
    let server = Server::start().await;
    server.put(SHOP, json!({}));
    let cluster = server.connect().await;
    let policy = Arc::new(Recorder::default());
    *policy.refuse.lock().unwrap() = true;
    cluster.set_policy(policy.clone());
    let ns = cluster.kind("ns").await.unwrap();
    let error = cluster
        .label(&ns, None, "shop", &labels("istio.io/rev", "r2"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused by gate `roots-missing`: 2 proxies lack a root"
    );
    assert_eq!(
        (error.kind(), error.code()),
        ("refused", Some("roots-missing"))
    );
    assert_eq!(error.hint().as_deref(), Some("--waive roots-missing"));
    assert_eq!(error.evidence(), ["cart-1 lacks MESHCA"]);
    assert_eq!(server.log(), [format!("GET {SHOP}")]);
    assert_eq!(policy.take().len(), 2, "asked and told");
}

/// As a run that may only read.
struct ReadOnly;

impl Policy for ReadOnly {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        _: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        // Lets it pass all the same: what was not foreseen must not be sent even then.
        Box::pin(async { Ok(()) })
    }

    fn refuses_all(&self) -> bool {
        true
    }

    fn done(&self, _: &Cluster, _: &Mutation, _: &Result<Written, ClusterError>) {}
}

#[tokio::test]
async fn a_change_that_nobody_foresaw_is_neither_rehearsed_nor_sent() {
    let server = Server::start().await;
    server.put(MAP, json!({}));
    let cluster = server.connect().await;
    cluster.set_policy(Arc::new(ReadOnly));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let error = cluster.apply(map).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "patch of `configmap/a` in namespace `shop` was not judged for what it comes to, and is not sent"
    );
    assert_eq!(server.log(), [format!("GET {MAP}")]);
}

#[tokio::test]
async fn an_abandoned_change_is_told_as_interrupted() {
    let server = Server::start().await;
    server.put(SHOP, json!({}));
    let cluster = server.connect().await;
    let policy = Arc::new(Recorder::default());
    *policy.slow.lock().unwrap() = true;
    cluster.set_policy(policy.clone());
    let ns = cluster.kind("ns").await.unwrap();
    let wanted = labels("a", "1");
    let call = cluster.label(&ns, None, "shop", &wanted);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), call)
            .await
            .is_err()
    );
    assert_eq!(
        policy.take()[1],
        "told patch namespace/shop: patch of `namespace/shop` was interrupted; no attempt of it was carried out",
        "it was given up while it was reviewed"
    );
}

#[test]
fn a_journal_gets_no_key_material() {
    let secrets = super::super::kind::tests::kind("", "v1", "Secret", "secrets", &[], true);
    let mutation = Mutation {
        verb: Verb::Patch,
        kind: secrets,
        namespace: Some("istio-system".into()),
        name: "cacerts".into(),
        before: None,
        body: Some(json!({"data": {"ca-key.pem": "c2VjcmV0", "gone": null}})),
        form: PatchForm::Merge,
        foreseen: None,
        applied: None,
        takes_over: false,
        why: None,
        dry_run: false,
    };
    assert_eq!(
        mutation.shown(),
        Some(json!({"data": {"ca-key.pem": "‹redacted›", "gone": null}}))
    );
    assert!(!format!("{mutation:?}").contains("c2VjcmV0"));
}
