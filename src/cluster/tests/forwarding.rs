//! Ports of pods: good answers, and each way not to answer.

use std::time::Duration;

use super::super::{ClusterError, Forward, ForwardError, Limits};
use super::pods::Pod;
use super::server::Server;

async fn open(pod: Pod, limits: &Limits) -> (Server, Result<Forward, ClusterError>) {
    let server = Server::start().await;
    *server.shared.pod.lock().unwrap() = Some(pod);
    let cluster = server.connect().await;
    let forward = cluster.forward("shop", "web-1", 15000, limits).await;
    (server, forward)
}

fn short() -> Limits {
    Limits {
        connect: Duration::from_millis(300),
        total: Duration::from_millis(600),
        body: 1000,
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\n\r\n{body}").into_bytes()
}

/// What becomes of one request to a pod that behaves like this.
async fn asked(pod: Pod) -> ClusterError {
    let (_server, forward) = open(pod, &short()).await;
    match forward {
        Err(error) => error,
        Ok(mut forward) => forward.get_ok("/certs").await.unwrap_err(),
    }
}

fn cause(error: &ClusterError) -> ForwardError {
    match error {
        ClusterError::Forward { cause, .. } => cause.clone(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn several_requests_share_one_forward() {
    let pod = Pod::Answers(vec![
        answer(
            "200 OK\r\ncontent-type: application/json\r\ncontent-length: 11",
            "{\"first\":1}",
        ),
        answer("404 Not Found\r\ncontent-length: 4", "nope"),
        answer(
            "200 OK\r\ntransfer-encoding: chunked",
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        answer("200 OK\r\ncontent-length: 0", ""),
    ]);
    let (server, forward) = open(pod, &Limits::default()).await;
    let mut forward = forward.unwrap();
    let first = forward.get("/config_dump?resource=x&mask=y").await.unwrap();
    assert_eq!(
        (first.status, first.content_type.as_str()),
        (200, "application/json")
    );
    assert_eq!(&first.body[..], b"{\"first\":1}");
    let second = forward.get("/nothing").await.unwrap();
    assert_eq!((second.status, &second.body[..]), (404, &b"nope"[..]));
    assert_eq!(&forward.get_ok("/chunked").await.unwrap()[..], b"abcde");
    assert_eq!(forward.get_ok("/empty").await.unwrap().len(), 0);
    let seen = server.shared.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].headers["user-agent"].starts_with("rootshift/"));
    assert_eq!(
        seen[0].target,
        "/api/v1/namespaces/shop/pods/web-1/portforward?&ports=15000"
    );
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_not_known_to_be_whole() {
    let open_end = answer("200 OK", "half of");
    let error = asked(Pod::Answers(vec![open_end])).await;
    let expected = None;
    assert_eq!(cause(&error), ForwardError::Truncated { expected, got: 7 });
}

#[tokio::test]
async fn a_port_on_which_nobody_listens_refuses() {
    let error = asked(Pod::Refuses).await;
    assert_eq!(cause(&error), ForwardError::PortRefused);
    assert_eq!(
        error.to_string(),
        "pod `web-1` in namespace `shop`, port 15000: connection refused"
    );
    assert_eq!(error.resource().as_deref(), Some("pod/shop/web-1"));
}

#[tokio::test]
async fn a_port_that_hangs_is_given_up_in_time() {
    let error = asked(Pod::Hangs).await;
    assert_eq!(
        cause(&error),
        ForwardError::Hangs(Duration::from_millis(600))
    );
    assert!(
        error
            .to_string()
            .ends_with("no complete answer within 600ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_forward_that_is_not_set_up_in_time_is_another_thing() {
    let error = asked(Pod::Slow(Duration::from_secs(5))).await;
    assert_eq!(
        cause(&error),
        ForwardError::ConnectTimeout(Duration::from_millis(300))
    );
}

#[tokio::test]
async fn a_connection_that_is_closed_before_an_answer_says_so() {
    let error = asked(Pod::Closes).await;
    assert_eq!(cause(&error), ForwardError::Closed);
}

#[tokio::test]
async fn another_status_than_200_is_told() {
    let error = asked(Pod::Answers(vec![answer(
        "404 Not Found\r\ncontent-length: 0",
        "",
    )]))
    .await;
    assert_eq!(cause(&error), ForwardError::Status(404));
    assert!(
        error.to_string().ends_with("HTTP 404 instead of 200"),
        "{error}"
    );
    assert!(!error.retryable());
}

#[tokio::test]
async fn bodies_that_are_cut_short_are_errors_with_both_figures() {
    let pod = Pod::Answers(vec![answer("200 OK\r\ncontent-length: 500", "only this")]);
    let error = asked(pod).await;
    assert_eq!(
        cause(&error),
        ForwardError::Truncated {
            expected: Some(500),
            got: 9
        }
    );
    assert!(
        error
            .to_string()
            .ends_with("the body was cut short: 9 of 500 bytes"),
        "{error}"
    );
    let pod = Pod::Answers(vec![answer(
        "200 OK\r\ntransfer-encoding: chunked",
        "9\r\nonly this\r\n",
    )]);
    let error = asked(pod).await;
    assert_eq!(
        cause(&error),
        ForwardError::Truncated {
            expected: None,
            got: 9
        }
    );
    assert!(
        error
            .to_string()
            .ends_with("the body was cut short after 9 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let long = "x".repeat(1001);
    let pod = Pod::Answers(vec![answer("200 OK\r\ncontent-length: 1001", &long)]);
    assert_eq!(
        cause(&asked(pod).await),
        ForwardError::TooLarge { limit: 1000 }
    );
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let pod = Pod::Answers(vec![b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()]);
    let cause = cause(&asked(pod).await);
    assert!(matches!(cause, ForwardError::NotHttp(_)), "{cause}");
}

#[tokio::test]
async fn a_pod_that_is_missing_is_told() {
    let server = Server::start().await;
    let cluster = server.connect().await;
    let error = cluster
        .forward("shop", "web-1", 15000, &short())
        .await
        .err()
        .unwrap();
    assert_eq!(cause(&error), ForwardError::PodMissing);
    assert_eq!(
        error.to_string(),
        "pod `web-1` in namespace `shop`, port 15000: the pod does not exist"
    );
}
