//! Reading: kinds, objects, lists, retries.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::super::{ClusterError, FieldPath, Filter, Object, Query, Selector};
use super::server::{Fate, Server, status};

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

#[tokio::test]
async fn kinds_are_discovered_once_and_again_when_a_name_is_new() {
    for server in [Server::start().await, Server::old().await] {
        let cluster = server.connect().await;
        assert_eq!(
            cluster.kind("deploy").await.unwrap().resource(),
            "deployments.apps"
        );
        assert!(!cluster.kind("ns").await.unwrap().is_namespaced());
        assert_eq!(server.shared.seen.lock().unwrap().len(), 0, "known already");
        let error = cluster.kind("rockets").await.unwrap_err();
        assert_eq!(error.to_string(), "the API server knows no kind `rockets`");
        assert!(server.shared.seen.lock().unwrap().len() >= 2, "asked again");
    }
}

#[tokio::test]
async fn a_group_that_is_down_hides_no_other_and_is_mentioned() {
    let server = Server::old().await;
    let cluster = server.connect().await;
    let error = cluster.kind("zzz").await.unwrap_err();
    assert_eq!(
        error.hint().as_deref(),
        Some("it may be in `down/v1`, which could not be read")
    );
}

#[tokio::test]
async fn a_kind_of_a_group_that_is_down_is_not_said_to_be_missing() {
    let server = Server::old().await;
    let cluster = server.connect().await;
    assert!(cluster.has_kind("deployments.apps").await.unwrap());
    assert!(!cluster.has_kind("rockets.example.com").await.unwrap());
    for name in ["rockets", "rockets.down", "down/v1/Rocket"] {
        let error = cluster.has_kind(name).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the kinds of `down/v1` cannot be read just now",
            "{name}"
        );
        assert!(error.retryable());
    }
    assert!(cluster.kinds().await.is_err());
}

#[tokio::test]
async fn items_of_a_list_have_their_kind_and_a_slim_list_no_more_than_metadata() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/shop/pods/a";
    server.put(
        path,
        json!({"spec": {"nodeName": "n1", "containers": [{"name": "main"}]}}),
    );
    let cluster = server.connect().await;
    let pods = cluster.kind("pods").await.unwrap();
    let filtered = |filter: &str| Query {
        filter: Filter::parse(filter).unwrap(),
        ..Query::within("shop")
    };
    let found = cluster.select(&pods, &filtered(".kind=Pod")).await.unwrap();
    assert_eq!(found.len(), 1);
    let by = FieldPath::parse(".kind").unwrap();
    let counts = cluster
        .count(&pods, &Query::within("shop"), Some(&by))
        .await
        .unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [("Pod".to_owned(), 1)]
    );
    let forgot = filtered(".spec.containers.name!=main");
    let error = cluster.select(&pods, &forgot).await.unwrap_err();
    assert!(error.to_string().contains("write `[*].name`"), "{error}");
    let slim = Query {
        slim: true,
        ..Query::within("shop")
    };
    let columns = [(
        "node".to_owned(),
        FieldPath::parse(".spec.nodeName").unwrap(),
    )];
    let error = cluster.columns(&pods, &slim, &columns).await.unwrap_err();
    assert!(error.to_string().contains("in a slim list"), "{error}");
}

#[tokio::test]
async fn an_object_a_namespace_and_a_kind_that_are_missing_are_three_things() {
    let server = Server::planned(|seen| match seen.path() {
        "/api/v1/namespaces/gone/pods/a" => {
            Fate::Instead(404, super::server::not_found("namespaces", "gone"))
        }
        "/api/v1/namespaces/shop/configmaps/a" => {
            let mut answer = status(
                404,
                "NotFound",
                "the server could not find the requested resource",
                "",
            );
            answer["details"] = json!({});
            Fate::Instead(404, answer)
        }
        "/api/v1/namespaces/shop/secrets/a" => Fate::Text(404, "", "404 page not found\n"),
        _ => Fate::Answer,
    })
    .await;
    let cluster = server.connect().await;
    let kind = async |name: &str| cluster.kind(name).await.unwrap();
    let (pods, maps, secrets) = (kind("pods").await, kind("cm").await, kind("secrets").await);
    assert_eq!(cluster.get(&pods, Some("shop"), "a").await.unwrap(), None);
    assert_eq!(cluster.get(&pods, Some("gone"), "a").await.unwrap(), None);
    for kind in [&maps, &secrets] {
        let error = cluster.get(kind, Some("shop"), "a").await.unwrap_err();
        assert!(matches!(error, ClusterError::UnknownKind { .. }), "{error}");
    }
    let error = cluster
        .get_existing(&pods, Some("shop"), "a")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`pod/a` in namespace `shop` does not exist"
    );
    assert_eq!(error.resource().as_deref(), Some("pod/shop/a"));
}

#[tokio::test]
async fn reads_are_repeated_on_lost_connections_and_busy_servers() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::planned(|seen| match (seen.path(), seen.path() == WEB) {
        (_, true) => match ASKED.fetch_add(1, Ordering::SeqCst) {
            0 => Fate::LoseRequest,
            1 => Fate::Text(503, "", "upstream connect error"),
            2 => Fate::Text(429, "retry-after: 0\r\n", "busy"),
            _ => Fate::Answer,
        },
        _ => Fate::Answer,
    })
    .await;
    server.put(WEB, json!({"spec": {"replicas": 3}}));
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let web = cluster
        .get(&deploy, Some("shop"), "web")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(web.int("/spec/replicas"), Some(3));
    assert_eq!((web.kind(), web.api_version()), ("Deployment", "apps/v1"));
    assert_eq!(ASKED.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_read_that_goes_on_failing_says_so_with_the_servers_words() {
    let server = Server::planned(|seen| match seen.path() {
        WEB => Fate::Text(503, "", "upstream connect error"),
        _ => Fate::Answer,
    })
    .await;
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let error = cluster.get(&deploy, Some("shop"), "web").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "get of `deployment.apps/web` in namespace `shop` failed: upstream connect error (HTTP 503)"
    );
    assert_eq!(server.log().len(), 5);
    assert!(error.retryable());
}

#[tokio::test]
async fn what_may_not_be_read_is_named_and_not_tried_again() {
    let server = Server::planned(|seen| match seen.path() {
        "/api/v1/namespaces/istio-system/secrets/cacerts" => {
            let message = "secrets \"cacerts\" is forbidden: User \"jane\" cannot get resource \"secrets\" in API group \"\" in the namespace \"istio-system\"";
            Fate::Instead(403, status(403, "Forbidden", message, "cacerts"))
        }
        _ => Fate::Answer,
    })
    .await;
    let cluster = server.connect().await;
    let secrets = cluster.kind("secrets").await.unwrap();
    let error = cluster
        .get(&secrets, Some("istio-system"), "cacerts")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "user `jane` may not get `secrets` `cacerts` in namespace `istio-system`"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("grant the verb `get` on `secrets` in namespace `istio-system`")
    );
    assert_eq!((error.kind(), error.retryable()), ("cluster", false));
    assert_eq!(server.log().len(), 1);
}

#[tokio::test]
async fn lists_are_read_in_pages_and_anew_when_the_server_forgot() {
    static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);
    let server = Server::planned(|seen| {
        if seen.path() != "/api/v1/pods" {
            return Fate::Answer;
        }
        let page = |names: [&str; 2], next: &str| {
            let items: Vec<_> = names
                .iter()
                .map(|n| json!({"metadata": {"name": n}}))
                .collect();
            Fate::Instead(200, json!({"metadata": {"continue": next}, "items": items}))
        };
        assert!(seen.target.contains("limit=500"), "{}", seen.target);
        assert!(
            seen.target.contains("&labelSelector=app%3Dweb"),
            "{}",
            seen.target
        );
        if !seen.target.contains("&continue=") {
            return page(["a", "b"], "to/ken=");
        }
        assert!(
            seen.target.ends_with("&continue=to%2Fken%3D"),
            "{}",
            seen.target
        );
        if FORGOTTEN.fetch_add(1, Ordering::SeqCst) == 0 {
            return Fate::Instead(410, status(410, "Expired", "too old", ""));
        }
        page(["c", "d"], "")
    })
    .await;
    let cluster = server.connect().await;
    let pods = cluster.kind("pods").await.unwrap();
    let found = cluster
        .list(&pods, None, &Selector::labels("app=web"))
        .await
        .unwrap();
    let names: Vec<&str> = found.iter().map(Object::name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!((found[0].kind(), found[0].api_version()), ("Pod", "v1"));
    assert_eq!(server.log().len(), 4);
}

#[tokio::test]
async fn access_is_asked_for_resource_group_and_subresource() {
    let server = Server::planned(|seen| {
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        if seen.path() != path {
            return Fate::Answer;
        }
        let asked = &seen.body["spec"]["resourceAttributes"];
        let allowed = *asked
            == json!({"verb": "create", "resource": "pods", "group": "", "subresource": "portforward", "namespace": "shop", "name": ""});
        Fate::Instead(201, json!({"status": {"allowed": allowed}}))
    })
    .await;
    let cluster = server.connect().await;
    assert!(
        cluster
            .can("create", "pods/portforward", Some("shop"))
            .await
            .unwrap()
    );
    assert!(
        !cluster
            .can("delete", "deployments.apps", None)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_not_taken_for_one() {
    let server = Server::planned(|seen| match seen.path() {
        WEB => Fate::Text(200, "", "<html>Please log in</html>"),
        _ => Fate::Answer,
    })
    .await;
    let cluster = server.connect().await;
    let deploy = cluster.kind("deploy").await.unwrap();
    let error = cluster.get(&deploy, Some("shop"), "web").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "get of `deployment.apps/web` in namespace `shop`: the API server's answer cannot be read: \
         26 bytes that are no JSON: expected value at line 1 column 1"
    );
}
