//! Which cluster, and every way not to get to it.

use std::path::Path;

use serde_json::json;

use super::super::{Cluster, ClusterError, Target};
use super::server::{Fate, Server};

fn target(path: &Path, context: Option<&str>) -> Target {
    Target {
        kubeconfig: Some(path.to_owned()),
        context: context.map(str::to_owned),
        ..Target::default()
    }
}

async fn error(target: &Target) -> ClusterError {
    Cluster::connect(target).await.unwrap_err()
}

fn told(error: &ClusterError) -> (String, Option<String>, &'static str) {
    (error.to_string(), error.hint(), error.kind())
}

#[tokio::test]
async fn a_connection_knows_where_it_leads_and_says_who_it_is() {
    let server = Server::start().await;
    let cluster = server.try_connect().await.unwrap();
    assert_eq!(cluster.context(), "test");
    assert_eq!(cluster.server(), server.url);
    assert_eq!(cluster.default_namespace(), "shop");
    assert_eq!(
        cluster.kubeconfig_path(),
        server.target().kubeconfig.as_deref()
    );
    assert_eq!(cluster.version().await.unwrap().git_version, "v1.34.4");
    let seen = server.shared.seen.lock().unwrap().clone();
    assert_eq!(
        seen[0].headers["user-agent"],
        concat!("rootshift/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(seen[0].headers["authorization"], "Bearer secret-token");
    assert!(!format!("{cluster:?}").contains("secret"));
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let path = Path::new("/nonexistent/kubeconfig");
    let error = error(&target(path, None)).await;
    assert_eq!(
        told(&error),
        (
            "there is no kubeconfig at `/nonexistent/kubeconfig`, and this is not inside a cluster"
                .into(),
            Some("give a file with --kubeconfig, or try it on the twin with --twin".into()),
            "environment"
        )
    );
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_named_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    std::fs::write(&path, "clusters: [").unwrap();
    let error = error(&target(&path, None)).await;
    assert!(
        error
            .to_string()
            .starts_with(&format!("kubeconfig `{}` cannot be used: ", path.display())),
        "{error}"
    );
}

#[tokio::test]
async fn an_unknown_context_lists_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let config = json!({"contexts": [
        {"name": "gke_prod", "context": {"cluster": "a"}},
        {"name": "gke_test", "context": {"cluster": "gone"}},
    ]});
    std::fs::write(&path, config.to_string()).unwrap();
    let shown = path.display();
    let error_of = async |context| told(&error(&target(&path, context)).await);
    assert_eq!(
        error_of(Some("gke_prdo")).await,
        (
            format!(
                "kubeconfig `{shown}` has no context `gke_prdo`; it has `gke_prod`, `gke_test`"
            ),
            Some("did you mean `gke_prod`?".into()),
            "usage"
        )
    );
    assert_eq!(
        error_of(None).await,
        (
            format!("kubeconfig `{shown}` has no current context; it has `gke_prod`, `gke_test`"),
            Some("give one of them with --context".into()),
            "usage"
        )
    );
    let (message, ..) = error_of(Some("gke_test")).await;
    assert!(
        message.starts_with(&format!(
            "kubeconfig `{shown}` cannot be used: context `gke_test`: "
        )) && message.contains("gone"),
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_the_reason() {
    let server = Server::start().await;
    let mut target = server.target();
    // A port on which nobody listens any more.
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let path = target.kubeconfig.take().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let address = format!("http://{closed}");
    std::fs::write(&path, text.replace(&server.url, &address)).unwrap();
    target.kubeconfig = Some(path);
    let error = error(&target).await;
    assert_eq!(
        told(&error),
        (
            format!(
                "the API server of context `test` cannot be reached at {address}: connection refused"
            ),
            Some(format!("is {address} the right address, and up?")),
            "environment"
        )
    );
    assert!(error.retryable());
}

#[tokio::test]
async fn credentials_that_the_server_does_not_take_are_an_error_of_their_own() {
    let server = Server::planned(|_| {
        Fate::Instead(
            401,
            super::server::status(401, "Unauthorized", "Unauthorized", ""),
        )
    })
    .await;
    let error = server.try_connect().await.unwrap_err();
    assert_eq!(
        told(&error),
        (
            format!(
                "the API server of context `test` does not accept the credentials (401): {}",
                server.url
            ),
            Some("log in again, or give another context with --context".into()),
            "cluster"
        )
    );
}

#[tokio::test]
async fn a_server_that_hides_its_version_is_good_enough() {
    let server = Server::planned(|seen| match seen.path() {
        "/version" => Fate::Text(403, "", "no"),
        _ => Fate::Answer,
    })
    .await;
    assert!(server.try_connect().await.is_ok());
}
