//! Commands and logs of a pod: each way to end, and each way not to know the end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::super::*;
use super::pods::{Pod, Runs};
use super::server::{Fate, Server, status};

const POD: &str = "/api/v1/namespaces/shop/pods/web-1";

fn pod(state: Value) -> Value {
    json!({
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": state}]},
    })
}

fn end(status: Value) -> Vec<u8> {
    [&[3], status.to_string().as_bytes()].concat()
}

fn code(code: u8) -> Vec<u8> {
    end(
        json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "command terminated",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
    )
}

async fn started(runs: Option<Runs>) -> (Server, Cluster) {
    let server = Server::start().await;
    server.put(POD, pod(json!({"running": {}})));
    *server.shared.pod.lock().unwrap() = runs.map(Pod::Runs);
    let cluster = server.connect().await;
    (server, cluster)
}

async fn exec(cluster: &Cluster, options: &ExecOptions) -> Result<ExecOutput, ClusterError> {
    let command = ["sh", "-c", "a & b"].map(str::to_owned);
    cluster.exec("shop", "web-1", &command, options).await
}

fn runs(frames: &[&[u8]]) -> Runs {
    Runs {
        frames: frames.iter().map(|f| f.to_vec()).collect(),
        ..Runs::default()
    }
}

fn cause(result: Result<ExecOutput, ClusterError>) -> ExecError {
    match result.unwrap_err() {
        ClusterError::Exec { cause, .. } => cause,
        other => panic!("{other}"),
    }
}

/// The connections for commands so far.
fn connections(server: &Server) -> Vec<String> {
    let seen = server.shared.seen.lock().unwrap();
    seen.iter()
        .filter(|s| s.path().ends_with("/exec"))
        .map(|s| s.target.clone())
        .collect()
}

#[tokio::test]
async fn outputs_come_apart_and_the_code_is_the_commands() {
    let frames: [&[u8]; 5] = [b"\x01", b"\x01on", b"\x02err\n", b"\x01e\n", &code(3)];
    let (server, cluster) = started(Some(runs(&frames))).await;
    let output = exec(&cluster, &ExecOptions::default()).await.unwrap();
    let wanted = ExecOutput {
        code: 3,
        stdout: b"one\n".to_vec(),
        stderr: b"err\n".to_vec(),
        truncated: false,
    };
    assert_eq!(output, wanted);
    assert_eq!(
        connections(&server),
        [format!(
            "{POD}/exec?container=app&stdout=true&stderr=true&command=sh&command=-c&command=a%20%26%20b"
        )]
    );
}

#[tokio::test]
async fn input_is_sent_and_ended() {
    let mut pod = runs(&[&end(json!({"status": "Success"}))]);
    pod.reads = true;
    let (_server, cluster) = started(Some(pod.clone())).await;
    let long = "x".repeat(100_000);
    let options = ExecOptions {
        stdin: Some(long.clone().into_bytes()),
        ..ExecOptions::default()
    };
    let output = exec(&cluster, &options).await.unwrap();
    assert_eq!(output.stdout, long.as_bytes());
    // A server that cannot be told of the end: not waited for.
    pod.v4 = true;
    let (_server, cluster) = started(Some(pod)).await;
    assert_eq!(cause(exec(&cluster, &options).await), ExecError::NoStdin);
}

#[tokio::test]
async fn the_old_protocol_serves_without_input() {
    let mut pod = runs(&[b"\x01out", &end(json!({"status": "Success"}))]);
    pod.v4 = true;
    let (_server, cluster) = started(Some(pod)).await;
    let output = exec(&cluster, &ExecOptions::default()).await.unwrap();
    assert_eq!((output.code, &output.stdout[..]), (0, &b"out"[..]));
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_end_and_nothing_is_sent_again() {
    // In the middle of its output; and before the answer to the request.
    for pod in [
        Pod::Runs(runs(&[b"\x01half"])),
        Pod::Slow(Duration::from_millis(1)),
    ] {
        let (server, cluster) = started(None).await;
        *server.shared.pod.lock().unwrap() = Some(pod);
        let error = exec(&cluster, &ExecOptions::default()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("what it has done is not known"), "{text}");
        assert!(!error.retryable());
        assert_eq!(connections(&server).len(), 1);
    }
}

#[tokio::test]
async fn a_command_that_does_not_end_is_given_up() {
    let mut pod = runs(&[b"\x01begun"]);
    pod.hold = true;
    let (_server, cluster) = started(Some(pod)).await;
    let options = ExecOptions {
        timeout: Duration::from_millis(300),
        ..ExecOptions::default()
    };
    let cause = cause(exec(&cluster, &options).await);
    assert_eq!(cause, ExecError::Timeout(Duration::from_millis(300)));
}

#[tokio::test]
async fn a_program_that_is_missing_or_may_not_run_has_a_shells_code() {
    let runc = "Internal error occurred: error executing command in container: failed to exec in container: failed to \
                start exec \"1\": OCI runtime exec failed: exec failed: unable to start container process: exec: ";
    for (words, wanted) in [
        ("\"nmap\": executable file not found in $PATH: unknown", 127),
        ("\"/x\": stat /x: no such file or directory: unknown", 127),
        ("\"/etc\": permission denied: unknown", 126),
    ] {
        let message = format!("{runc}{words}");
        let last = end(
            json!({"status": "Failure", "reason": "InternalError", "code": 500, "message": message}),
        );
        let (_server, cluster) = started(Some(runs(&[&last]))).await;
        let output = exec(&cluster, &ExecOptions::default()).await.unwrap();
        assert_eq!(output.code, wanted);
        assert_eq!(output.stderr, format!("{message}\n").as_bytes());
    }
    // What only sounds like it is none.
    let last =
        end(json!({"status": "Failure", "code": 500, "message": "no such file or directory"}));
    let (_server, cluster) = started(Some(runs(&[&last]))).await;
    let cause = cause(exec(&cluster, &ExecOptions::default()).await);
    assert_eq!(
        cause,
        ExecError::Failed("no such file or directory".to_owned())
    );
}

#[tokio::test]
async fn a_code_is_an_error_where_it_is_checked() {
    let (_server, cluster) = started(Some(runs(&[b"\x02a\nlast\n\n", &code(127)]))).await;
    let options = ExecOptions {
        check: true,
        ..ExecOptions::default()
    };
    let error = exec(&cluster, &options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "exec in container `app` of pod `web-1` in namespace `shop`: `sh -c a & b` ended with code 127: last"
    );
    assert!(error.hint().unwrap().contains("no such program"));
}

#[tokio::test]
async fn output_beyond_the_limit_is_thrown_away() {
    let (_server, cluster) = started(Some(runs(&[b"\x01123", b"\x01456", &code(1)]))).await;
    let options = ExecOptions {
        max_output: 4,
        ..ExecOptions::default()
    };
    let output = exec(&cluster, &options).await.unwrap();
    assert_eq!((&output.stdout[..], output.truncated), (&b"1234"[..], true));
    assert_eq!(output.code, 1, "its end is read all the same");
}

#[tokio::test]
async fn nothing_is_sent_to_a_container_that_does_not_run() {
    let (server, cluster) = started(Some(runs(&[]))).await;
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    server.put(POD, pod(waiting));
    let error = exec(&cluster, &ExecOptions::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "pod `web-1` in namespace `shop`: container `app` is not running (waiting: CrashLoopBackOff)"
    );
    assert!(connections(&server).is_empty());
}

#[derive(Default)]
struct Judge {
    refuses: bool,
    told: Mutex<Vec<String>>,
}

impl Policy for Judge {
    fn review<'a>(
        &'a self,
        _: &'a Cluster,
        m: &'a Mutation,
    ) -> BoxFuture<'a, Result<(), PolicyError>> {
        let asked = format!("{m:?} {}", m.body.as_ref().unwrap());
        self.told.lock().unwrap().push(asked);
        Box::pin(async {
            if self.refuses {
                return Err(PolicyError::Refused(Refusal {
                    code: "read-only".to_owned(),
                    title: "no".to_owned(),
                    evidence: Vec::new(),
                    hint: String::new(),
                }));
            }
            Ok(())
        })
    }

    fn done(&self, _: &Cluster, _: &Mutation, result: &Result<Written, ClusterError>) {
        let told = match result {
            Ok(written) => format!("{:?} {}", written.outcome, written.summary),
            Err(error) => error.to_string(),
        };
        self.told.lock().unwrap().push(told);
    }
}

#[tokio::test]
async fn a_command_passes_the_one_door() {
    let (server, cluster) = started(Some(runs(&[&code(3)]))).await;
    let judge = Arc::new(Judge::default());
    cluster.set_policy(Arc::clone(&judge) as Arc<dyn Policy>);
    exec(&cluster, &ExecOptions::default()).await.unwrap();
    assert_eq!(
        *judge.told.lock().unwrap(),
        [
            "exec pod/shop/web-1 {\"command\":[\"sh\",\"-c\",\"a & b\"],\"container\":\"app\"}",
            "Executed pod/web-1 executed sh -c a & b in app (exit code 3)",
        ]
    );
    cluster.set_policy(Arc::new(Judge {
        refuses: true,
        ..Judge::default()
    }));
    let error = exec(&cluster, &ExecOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert_eq!(connections(&server).len(), 1, "the first one only");
}

async fn logs(fate: Fate, options: &LogOptions) -> (Server, Result<String, ClusterError>) {
    let server = Server::planned(move |seen| {
        if seen.path().ends_with("/log") {
            return fate.clone();
        }
        Fate::Answer
    })
    .await;
    server.put(POD, pod(json!({"running": {}})));
    let cluster = server.connect().await;
    let result = cluster.logs("shop", "web-1", options).await;
    (server, result)
}

#[tokio::test]
async fn a_log_is_asked_for_as_it_is_wanted() {
    let options = LogOptions {
        previous: true,
        tail: Some(5),
        since: Some(Duration::from_millis(1500)),
        timestamps: true,
        limit_bytes: Some(100),
        ..LogOptions::default()
    };
    let (server, text) = logs(Fate::Text(200, "", "one\ntwo"), &options).await;
    assert_eq!(text.unwrap(), "one\ntwo");
    let seen = server.shared.seen.lock().unwrap();
    assert_eq!(
        seen.last().unwrap().target,
        format!(
            "{POD}/log?container=app&previous=true&timestamps=true&tailLines=5&sinceSeconds=2&limitBytes=100"
        )
    );
}

#[tokio::test]
async fn what_the_kubelet_says_of_a_log_is_told_by_its_meaning() {
    let refusal = |message| Fate::Instead(400, status(400, "BadRequest", message, ""));
    for (message, wanted) in [
        (
            "previous terminated container \"app\" in pod \"web-1\" not found",
            "container `app` has not run before",
        ),
        (
            "container \"app\" in pod \"web-1\" is waiting to start: ContainerCreating",
            "container `app` is not running (waiting: ContainerCreating)",
        ),
    ] {
        let (server, result) = logs(refusal(message), &LogOptions::default()).await;
        let error = result.unwrap_err().to_string();
        assert_eq!(error, format!("pod `web-1` in namespace `shop`: {wanted}"));
        assert_eq!(server.log().len(), 2, "asked for once");
    }
}

#[tokio::test]
async fn a_log_longer_than_allowed_is_an_error_and_not_a_part() {
    let options = LogOptions {
        limit_bytes: Some(3),
        ..LogOptions::default()
    };
    let (_server, result) = logs(Fate::Text(200, "", "four"), &options).await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the log of pod `web-1` in namespace `shop` has more than 3 bytes"
    );
}

#[tokio::test]
async fn a_followed_log_ends_with_its_last_line_whole_or_not() {
    let server = Server::planned(|seen| {
        if seen.path().ends_with("/log") {
            return Fate::Text(200, "", "one\n\nhalf");
        }
        Fate::Answer
    })
    .await;
    server.put(POD, pod(json!({"running": {}})));
    let cluster = server.connect().await;
    let options = LogOptions::default();
    let mut stream = cluster
        .follow_logs("shop", "web-1", &options)
        .await
        .unwrap();
    let mut lines = Vec::new();
    while let Some(line) = stream.next().await.unwrap() {
        lines.push(line);
    }
    assert_eq!(
        (lines, stream.lines()),
        (vec!["one".to_owned(), String::new(), "half".to_owned()], 3)
    );
}
