//! Watches that are ended, forgotten, cut or refused, and go on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Cluster, ClusterError, Condition, Object, Query, Selector, Since, Watch};
use super::server::{Fate, Server, status};

/// A server that answers lists and watches of ConfigMaps with these, in order, and then with nothing;
/// and what it was asked.
async fn server(answers: Vec<Fate>) -> (Cluster, Arc<Mutex<Vec<String>>>, Server) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    let answers = Mutex::new(VecDeque::from(answers));
    let server = Server::planned(move |seen| {
        if !seen.path().ends_with("/configmaps") {
            return Fate::Answer;
        }
        let query = seen.target.split_once('?').unwrap().1;
        let kept = query
            .split('&')
            .filter(|p| p.starts_with("watch") || p.starts_with("resourceV"));
        notes
            .lock()
            .unwrap()
            .push(kept.collect::<Vec<_>>().join("&"));
        let next = answers.lock().unwrap().pop_front();
        next.unwrap_or(Fate::Text(200, "", ""))
    })
    .await;
    (server.connect().await, asked, server)
}

fn map(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
        "resourceVersion": version.to_string()}})
}

fn list(version: u64, items: &[Value]) -> Fate {
    let metadata = json!({"resourceVersion": version.to_string()});
    Fate::Instead(
        200,
        json!({"kind": "ConfigMapList", "metadata": metadata, "items": items}),
    )
}

/// An answer with these events, which then ends.
fn events(events: &[(&str, Value)]) -> Fate {
    let lines: Vec<String> = events
        .iter()
        .map(|(kind, object)| format!("{}\n", json!({"type": kind, "object": object})))
        .collect();
    Fate::Text(200, "", Box::leak(lines.concat().into_boxed_str()))
}

fn too_old() -> Value {
    status(410, "Expired", "too old resource version: 5 (9)", "")
}

async fn watch(cluster: &Cluster, since: Since) -> Watch {
    let kind = cluster.kind("cm").await.unwrap();
    cluster.watch(&kind, Query::within("shop"), since)
}

/// What comes until nothing more comes for a moment.
async fn told(watch: &mut Watch, moment: Duration) -> Result<Vec<String>, ClusterError> {
    let deadline = Instant::now() + moment;
    let mut told = Vec::new();
    while let Some(event) = watch.next(deadline).await? {
        let object = event.object;
        told.push(format!(
            "{} {}@{}",
            event.change,
            object.name(),
            object.resource_version()
        ));
    }
    Ok(told)
}

const MOMENT: Duration = Duration::from_millis(1800);

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let (cluster, asked, _server) = server(vec![
        list(10, &[map("a", 7)]),
        events(&[("MODIFIED", map("a", 11)), ("BOOKMARK", map("", 15))]),
        Fate::LoseRequest,
        events(&[("DELETED", map("a", 16))]),
    ])
    .await;
    let mut watch = watch(&cluster, Since::Existing).await;
    let told = told(&mut watch, MOMENT).await.unwrap();
    assert_eq!(told, ["ADDED a@7", "MODIFIED a@11", "DELETED a@16"]);
    let asked = asked.lock().unwrap().clone();
    let from = |version: u64| format!("watch=true&resourceVersion={version}");
    assert_eq!(asked[..4], [String::new(), from(10), from(15), from(15)]);
    assert_eq!(asked[4], from(16));
}

#[tokio::test]
async fn what_changed_while_a_watch_was_forgotten_is_told_once() {
    let (cluster, _, _server) = server(vec![
        list(10, &[map("a", 7), map("b", 8), map("c", 9)]),
        events(&[("ERROR", too_old())]),
        list(20, &[map("a", 7), map("b", 12), map("d", 15)]),
        events(&[("MODIFIED", map("d", 21))]),
    ])
    .await;
    let mut watch = watch(&cluster, Since::Existing).await;
    let told = told(&mut watch, MOMENT).await.unwrap();
    assert_eq!(
        told,
        [
            "ADDED a@7",
            "ADDED b@8",
            "ADDED c@9",
            "DELETED c@9",
            "MODIFIED b@12",
            "ADDED d@15",
            "MODIFIED d@21",
        ]
    );
}

#[tokio::test]
async fn a_version_that_the_server_has_forgotten_is_said_to_be() {
    let gone = Fate::Instead(410, too_old());
    let (cluster, _, _server) = server(vec![gone, list(20, &[map("b", 8)])]).await;
    let mut watch = watch(&cluster, Since::Version("5".into())).await;
    let error = told(&mut watch, MOMENT).await.unwrap_err();
    let end = "the API server has forgotten what came after version `5`";
    assert!(error.to_string().ends_with(end), "{error}");
    assert!(error.hint().is_some() && !error.retryable());
}

#[tokio::test]
async fn from_now_on_nothing_old_is_told() {
    let (cluster, asked, server) = server(vec![
        list(10, &[map("a", 7)]),
        events(&[("MODIFIED", map("a", 11)), ("MODIFIED", map("a", 11))]),
    ])
    .await;
    let mut watch = watch(&cluster, Since::Now).await;
    assert_eq!(told(&mut watch, MOMENT).await.unwrap(), ["MODIFIED a@11"]);
    assert!(asked.lock().unwrap()[1].ends_with("=10"));
    // What is only remembered is not transferred whole.
    let seen = server.shared.seen.lock().unwrap();
    let lists = seen.iter().find(|s| s.path().ends_with("/configmaps"));
    assert!(lists.unwrap().headers["accept"].contains("PartialObjectMetadataList"));
}

#[tokio::test]
async fn a_server_that_is_away_at_the_end_is_not_taken_for_a_quiet_one() {
    let busy = || Fate::Instead(503, status(503, "ServiceUnavailable", "busy", ""));
    let mut answers = vec![list(10, &[])];
    answers.extend((0..50).map(|_| busy()));
    let (cluster, _, _server) = server(answers).await;
    let mut watch = watch(&cluster, Since::Existing).await;
    let error = told(&mut watch, MOMENT).await.unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    assert!(error.retryable());
}

#[tokio::test]
async fn what_may_not_be_watched_is_said_at_once() {
    let message = r#"configmaps is forbidden: User "u" cannot watch resource "configmaps" in API group "" in the namespace "shop""#;
    let forbidden = Fate::Instead(403, status(403, "Forbidden", message, ""));
    let (cluster, _, _server) = server(vec![list(10, &[]), forbidden]).await;
    let mut watch = watch(&cluster, Since::Existing).await;
    let begun = Instant::now();
    let error = told(&mut watch, Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(error, ClusterError::Forbidden(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

fn marked() -> Query {
    Query {
        selector: Selector {
            labels: Some("app=web".into()),
            fields: None,
        },
        ..Query::within("shop")
    }
}

/// Waits for all maps of the application; and what was asked.
async fn wait_all(
    answers: Vec<Fate>,
    condition: &str,
) -> (Result<Vec<Object>, ClusterError>, Vec<String>) {
    let (cluster, _, server) = server(answers).await;
    let kind = cluster.kind("cm").await.unwrap();
    let condition = Condition::parse(condition).unwrap();
    let result = cluster
        .wait_for_all(&kind, &marked(), &condition, MOMENT)
        .await;
    let asked = server.shared.seen.lock().unwrap();
    let targets = asked.iter().map(|seen| seen.target.clone()).collect();
    (result, targets)
}

#[tokio::test]
async fn what_stops_to_match_is_not_gone() {
    // With the selector, the server would tell the change of `a` as DELETED.
    let answers = vec![
        list(10, &[map("a", 7), map("b", 8)]),
        events(&[("MODIFIED", map("a", 11)), ("DELETED", map("b", 12))]),
    ];
    let (result, asked) = wait_all(answers, "delete").await;
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("1 of 1 are not, such as `configmap/shop/a`"),
        "{error}"
    );
    let selects: Vec<bool> = asked.iter().map(|t| t.contains("Selector")).collect();
    assert!(selects[0] && !selects[1], "{asked:?}");
}

#[tokio::test]
async fn what_is_deleted_while_a_watch_was_forgotten_is_gone_for_a_wait_too() {
    let gap = || Fate::Instead(410, too_old());
    let first = || list(10, &[map("a", 7), map("b", 8)]);
    let (result, _) = wait_all(vec![first(), gap(), list(20, &[])], "delete").await;
    assert_eq!(result.unwrap().len(), 0);
    let (result, _) = wait_all(
        vec![first(), gap(), list(20, &[map("b", 8)])],
        ".data.ready=yes",
    )
    .await;
    let error = result.unwrap_err();
    assert!(matches!(error, ClusterError::WaitInVain { .. }), "{error}");
    assert!(error.to_string().ends_with("it was deleted"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_no_wait() {
    let silent = || Fate::Late(Duration::from_secs(20));
    let begun = Instant::now();
    let (result, _) = wait_all(vec![silent(), silent()], "delete").await;
    let error = result.unwrap_err();
    assert!(matches!(error, ClusterError::Timeout { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
