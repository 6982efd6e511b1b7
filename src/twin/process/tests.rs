//! The shell and the programs, and what containers make of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::twin::clock::SimClock;
use crate::twin::kube::Kube;

fn pod() -> Arc<Value> {
    Arc::new(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "n",
            "containers": [{
                "name": "app", "image": "lab/http",
                "env": [
                    {"name": "GREETING", "value": "hello  world"},
                    {"name": "TWICE", "value": "$(GREETING)!"},
                    {"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                ],
                "volumeMounts": [{"name": "conf", "mountPath": "/etc/conf"}],
            }],
            "volumes": [{"name": "conf", "configMap": {"name": "conf"}}],
        },
    }))
}

async fn cluster() -> Containers {
    let kube = Kube::new(1);
    let space = json!({"metadata": {"name": "shop"}});
    kube.create("namespaces", "", space).await.unwrap();
    let map = json!({"metadata": {"name": "conf"}, "data": {"a.txt": "one\n"}});
    kube.create("configmaps", "shop", map).await.unwrap();
    Containers::new(kube, SimClock::new(100.0))
}

/// Code, standard output and standard error of a command.
async fn run_with(argv: &[&str], stdin: Option<&str>) -> (Ended, String, String) {
    let containers = cluster().await;
    let (exits, _kept) = mpsc::unbounded_channel();
    containers.start(&pod(), "app", exits);
    let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
    if let Err(what) = containers.check("app", &argv) {
        return (Ended::Refused(what), String::new(), String::new());
    }
    let input = stdin.map(|text| {
        let (send, receive) = mpsc::channel(1);
        send.try_send(Bytes::copy_from_slice(text.as_bytes()))
            .unwrap();
        receive
    });
    let (output, mut written) = mpsc::channel::<(Channel, Bytes)>(1);
    let reading = tokio::spawn(async move {
        let mut texts = [String::new(), String::new()];
        while let Some((channel, bytes)) = written.recv().await {
            let text = &mut texts[usize::from(channel == Channel::Err)];
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        texts
    });
    let ended = containers.exec(&pod(), "app", &argv, input, output).await;
    let [out, err] = reading.await.unwrap();
    containers.end();
    (ended.unwrap(), out, err)
}

async fn sh(script: &str) -> (Ended, String, String) {
    run_with(&["sh", "-c", script], None).await
}

#[track_caller]
fn is(said: (Ended, String, String), code: u8, out: &str, err: &str) {
    assert_eq!(said, (Ended::Code(code), out.to_owned(), err.to_owned()));
}

#[tokio::test]
async fn the_shell_does_what_a_shell_does() {
    is(
        sh("echo a; echo b >&2; exit 3; echo never").await,
        3,
        "a\n",
        "b\n",
    );
    is(sh("false && echo a || echo b").await, 0, "b\n", "");
    is(sh("true; false; echo $?").await, 0, "1\n", "");
    is(
        sh("echo $GREETING; echo \"$GREETING\" '$GREETING'").await,
        0,
        "hello world\nhello  world $GREETING\n",
        "",
    );
    is(
        sh("echo $TWICE $OWN ${APP}").await,
        0,
        "hello world! web-1 web\n",
        "",
    );
    is(
        sh("x=1; for i in a b; do echo $i$x; done").await,
        0,
        "a1\nb1\n",
        "",
    );
    is(
        sh("if [ \"$APP\" = web ]; then echo yes; else echo no; fi").await,
        0,
        "yes\n",
        "",
    );
    is(
        sh("x=; until [ \"$x\" = 11 ]; do x=1$x; done; echo $x").await,
        0,
        "11\n",
        "",
    );
    is(sh("! true; echo $?").await, 0, "1\n", "");
    is(
        sh("echo a > /dev/null; echo b 2>/dev/null; echo c 1>&2").await,
        0,
        "b\n",
        "c\n",
    );
    is(
        sh("printf '%s-%d\\n' a 1 b 2; echo -n x # comment").await,
        0,
        "a-1\nb-2\nx",
        "",
    );
    is(
        sh("cat /etc/conf/a.txt /etc/conf/no").await,
        1,
        "one\n",
        "cat: /etc/conf/no: No such file or directory\n",
    );
    is(
        sh("sh -c 'exit 4'; echo $?; hostname").await,
        0,
        "4\nweb-1\n",
        "",
    );
    is(sh("X=1 printenv X; printenv X").await, 1, "1\n", "");
    is(
        sh("/nonexistent/x; echo $?").await,
        0,
        "127\n",
        "sh: 1: /nonexistent/x: not found\n",
    );
    is(run_with(&["cat"], Some("in")).await, 0, "in", "");
    is(run_with(&["seq", "3"], None).await, 0, "1\n2\n3\n", "");
}

#[tokio::test]
async fn what_is_not_modelled_is_refused_before_anything_is_done() {
    for script in [
        "echo a; nmap localhost",
        "echo a | cat",
        "echo a > /tmp/x",
        "echo $(date)",
        "echo `date`",
        "echo *",
        "echo a & echo b",
        "(echo a)",
        "echo 'a",
        "echo ${X:-y}",
        "echo $1",
        "if true; then nmap; fi",
        "sh -c 'nmap'",
        "case x in esac",
    ] {
        let (ended, out, _) = sh(script).await;
        assert!(matches!(ended, Ended::Refused(_)), "{script}: {ended:?}");
        assert_eq!(out, "", "{script}");
    }
    let refused = |argv: &'static [&str]| async move { run_with(argv, None).await.0 };
    for argv in [
        &["nmap"][..],
        &["bash", "-c", "true"],
        &["curl", "-s", "localhost:1/"],
        &["sh"],
    ] {
        assert!(matches!(refused(argv).await, Ended::Refused(_)), "{argv:?}");
    }
    // A file of an image shows only when it is read.
    let (ended, ..) = sh("cat /app/config").await;
    assert_eq!(
        ended,
        Ended::Refused(NotModelled("the file /app/config of an image".to_owned()))
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_not_started() {
    let (ended, ..) = run_with(&["/nonexistent/x"], None).await;
    let why = "exec: \"/nonexistent/x\": stat /nonexistent/x: no such file or directory";
    assert_eq!(ended, Ended::NoProgram(why.to_owned()));
}

#[tokio::test]
async fn a_container_ends_with_its_command_and_leaves_its_log() {
    let containers = cluster().await;
    let mut pod = (*pod()).clone();
    pod["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "echo out; sleep 1; printf end; exit 2"]);
    let pod = Arc::new(pod);
    let (exits, mut ends) = mpsc::unbounded_channel();
    let run = containers.start(&pod, "app", exits.clone());
    let exit = tokio::time::timeout(Duration::from_secs(5), ends.recv())
        .await
        .unwrap();
    assert_eq!(
        exit,
        Some(Exit {
            container: "app".to_owned(),
            run,
            code: 2
        })
    );
    let (lines, _, ended) = containers.run("u1", "app").unwrap().output.since(0);
    let texts: Vec<&[u8]> = lines.iter().map(|l| &l.bytes[..]).collect();
    assert_eq!((texts, ended), (vec![&b"out\n"[..], b"end"], true));
    // Nothing is executed in what has ended.
    let (output, _read) = mpsc::channel(1);
    let argv = ["true".to_owned()];
    assert!(
        containers
            .exec(&pod, "app", &argv, None, output)
            .await
            .is_err()
    );
    // The run before stays while the next one is there.
    assert!(containers.run_before("u1", "app").is_none());
    containers.start(&pod, "app", exits);
    let before = containers.run_before("u1", "app").unwrap();
    assert_eq!(before.output.since(0).0.len(), 2);
    containers.forget("u1");
    assert!(containers.run("u1", "app").is_none());
}

#[tokio::test]
async fn a_command_dies_with_its_container() {
    let containers = cluster().await;
    let (exits, _kept) = mpsc::unbounded_channel();
    containers.start(&pod(), "app", exits);
    let (output, _read) = mpsc::channel(1);
    let argv = ["sleep".to_owned(), "infinity".to_owned()];
    let own = pod();
    let running = containers.exec(&own, "app", &argv, None, output);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        containers.stop("u1", "app");
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! { ended = running => ended, () = stopping => unreachable!() };
    assert_eq!(ended.unwrap(), Ended::Code(137));
}

#[test]
fn a_log_keeps_whole_lines_and_the_newest_of_them() {
    let output = Output::default();
    output.write(Channel::Out, b"a");
    output.write(Channel::Err, b"x\n");
    assert_eq!(
        output.since(0).0.len(),
        1,
        "a line counts when it has ended"
    );
    output.write(Channel::Out, b"b\n");
    assert_eq!(output.since(1).0[0].bytes, "ab\n");
    let long = [vec![b'z'; 1 << 20], b"\n".to_vec()].concat();
    output.write(Channel::Out, &long);
    let (lines, next, _) = output.since(0);
    assert_eq!((lines.len(), next), (1, 3), "the oldest went");
}
