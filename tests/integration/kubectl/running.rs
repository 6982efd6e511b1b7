//! What runs in pods, by the real kubectl: exec, logs, port-forward.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;

use super::*;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: talker, namespace: legacy}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: lab/http
    command: [sh, -c, 'seq 5; echo last >&2; sleep 100000']
  - name: other
    image: lab/http
---
apiVersion: v1
kind: Pod
metadata: {name: failing, namespace: legacy}
spec:
  containers:
  - name: main
    image: lab/http
    command: [sh, -c, 'echo try; exit 3']
";

impl Lab {
    /// Runs a command whose arguments have blanks, with something to read.
    fn run(&self, args: &[&str], stdin: &str) -> Said {
        let mut child = self.start(args);
        child
            .stdin
            .take()
            .unwrap()
            .write_all(stdin.as_bytes())
            .unwrap();
        let said = child.wait_with_output().unwrap();
        Said {
            out: String::from_utf8(said.stdout).unwrap(),
            err: String::from_utf8(said.stderr).unwrap(),
            code: said.status.code(),
        }
    }

    fn start(&self, args: &[&str]) -> Child {
        Command::new(&self.binary)
            .args(args)
            .env("KUBECONFIG", &self.twin.kubeconfig)
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn talker(&self) {
        std::fs::write(self.dir.path().join("pods.yaml"), POD).unwrap();
        self.ok("apply -f pods.yaml");
        self.ok("wait -n legacy pod/talker --for=condition=Ready --timeout=60s");
    }
}

#[track_caller]
fn is(said: &Said, code: i32, out: &str, err: &str) {
    let is = (said.code, said.out.as_str(), said.err.trim_end());
    assert_eq!(is, (Some(code), out, err));
}

#[test]
fn kubectl_exec_has_code_outputs_and_input() {
    let Some(lab) = lab() else { return };
    lab.talker();
    let exec = |command: &[&str], stdin: &str| {
        let front = ["exec", "-i", "-n", "legacy", "talker", "-c", "main", "--"];
        lab.run(&[&front, command].concat(), stdin)
    };
    is(&exec(&["echo", "a b"], ""), 0, "a b\n", "");
    is(
        &exec(&["sh", "-c", "echo out; echo err >&2; exit 3"], ""),
        3,
        "out\n",
        "err\ncommand terminated with exit code 3",
    );
    is(&exec(&["cat"], "two\nlines\n"), 0, "two\nlines\n", "");
    let missing = exec(&["/nonexistent/program"], "");
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.err.contains("no such file or directory"),
        "{missing:?}"
    );
    let unknown = exec(&["nmap"], "");
    assert_ne!(unknown.code, Some(0), "what is not modelled never succeeds");
    assert!(
        unknown
            .err
            .contains("the twin does not model the program nmap"),
        "{unknown:?}"
    );
    let defaulted = lab.run(&["exec", "-n", "legacy", "talker", "--", "hostname"], "");
    is(
        &defaulted,
        0,
        "talker\n",
        "Defaulted container \"main\" out of: main, other",
    );
    // The admin endpoint, from within the proxy's container.
    let web = lab.ok("get pod -n shop -l app=web -o jsonpath={.items[0].metadata.name}");
    let front = ["exec", "-n", "shop", &web, "-c", "istio-proxy", "--"];
    for command in [
        &["pilot-agent", "request", "GET", "certs"][..],
        &["curl", "-s", "localhost:15000/certs"],
    ] {
        let said = lab.run(&[&front, command].concat(), "");
        assert_eq!(said.code, Some(0), "{said:?}");
        let certs: Value = serde_json::from_str(&said.out).unwrap();
        assert!(certs["certificates"].is_array(), "{certs}");
    }
}

#[test]
fn kubectl_logs_in_each_way() {
    let Some(lab) = lab() else { return };
    lab.talker();
    let whole = "1\n2\n3\n4\n5\nlast\n";
    assert_eq!(lab.ok("logs -n legacy talker -c main"), whole);
    assert_eq!(
        lab.ok("logs -n legacy talker -c main --tail=2"),
        "5\nlast\n"
    );
    assert_eq!(lab.ok("logs -n legacy talker -c main --since=1h"), whole);
    assert_eq!(
        lab.ok("logs -n legacy talker -c main --limit-bytes=3"),
        "1\n2"
    );
    let timed = lab.ok("logs -n legacy talker -c main --timestamps --tail=1");
    let (time, rest) = timed.split_once(' ').unwrap();
    assert!(
        time.parse::<jiff::Timestamp>().is_ok() && rest == "last\n",
        "{timed}"
    );
    // kubectl keeps the containers in a map, so that their order is chance.
    let all = lab.ok("logs -n legacy talker --all-containers --prefix --tail=1");
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "[pod/talker/main] last",
            "[pod/talker/other] listening on :8080"
        ]
    );
    lab.fails(
        "logs -n legacy talker -c main --previous",
        "Error from server (BadRequest): previous terminated container \"main\" in pod \"talker\" not found",
    );
    // A follow ends when nobody wants it any more; until then it waits.
    let mut follow = lab.start(&["logs", "-f", "-n", "legacy", "talker", "-c", "main"]);
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.by_ref().take(6).last().unwrap().unwrap(), "last");
    assert!(follow.try_wait().unwrap().is_none(), "it waits for more");
    follow.kill().unwrap();
    follow.wait().unwrap();
    // What fails is started again, and says what it said before.
    let begun = std::time::Instant::now();
    let count = "get pod failing -n legacy -o jsonpath={.status.containerStatuses[0].restartCount}";
    while lab.ok(count).parse::<u32>().unwrap_or(0) < 2 {
        assert!(begun.elapsed().as_secs() < 60, "never started again");
    }
    assert_eq!(lab.ok("logs -n legacy failing --previous"), "try\n");
    let pod = lab.object("pod failing -n legacy");
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["reason"]),
        (&json!(3), &json!("Error"))
    );
}

#[test]
fn kubectl_port_forward_reaches_applications_and_proxies() {
    let Some(lab) = lab() else { return };
    let forward = |target: &str, port: u16| {
        let spec = format!(":{port}");
        let mut child = lab.start(&["port-forward", "-n", "legacy", target, &spec]);
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        let local = said
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|s| s.split(' ').next())
            .unwrap_or_else(|| {
                let mut err = String::new();
                child.kill().unwrap();
                let mut pipe = child.stderr.take().unwrap();
                pipe.read_to_string(&mut err).unwrap();
                panic!("{said}{err}")
            })
            .parse::<u16>()
            .unwrap();
        // kubectl goes on to write there.
        (child, out, local)
    };
    let get = |port: u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let timeout = Some(std::time::Duration::from_secs(20));
        stream.set_read_timeout(timeout).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Ok(_) => answer,
            // How kubectl ends a connection that the pod refused.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
            Err(error) => panic!("{error}"),
        }
    };
    let (mut child, _out, port) = forward("deploy/batch", 8080);
    // One after the other over the same forward.
    for _ in 0..3 {
        let answer = get(port);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("\"workload\":\"legacy/batch-"), "{answer}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody listens: the connection ends, and kubectl says why.
    let (mut child, _out, port) = forward("deploy/batch", 9);
    assert_eq!(get(port), "");
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("connection refused") {
        line.clear();
        assert!(err.read_line(&mut line).unwrap() > 0, "no reason");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
