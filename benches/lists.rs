//! What it costs to list and group 10,000 pods, and to start at all, beside kubectl in the same run.
//!
//! `cargo bench --bench lists`; `kubectl` is on the PATH or is named by `$ROOTSHIFT_KUBECTL`. The pods are
//! those of the twin, with their sidecars, under new names; a server of a few lines gives them out in the
//! pages that are asked for, so that what is measured is the client. For each command: the wall time and the
//! peak of memory (`VmHWM`) of its process, the medians of several rounds.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rootshift::cluster::{Cluster, Query, Target};
use rootshift::twin::{Scenario, Twin, TwinOptions};
use serde_json::{Value, json};

const PODS: usize = 10_000;
const NODES: usize = 200;
const ROUNDS: usize = 3;

fn main() {
    let kubectl = std::env::var("ROOTSHIFT_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let pods = Arc::new(pods());
    let bytes: usize = pods.iter().map(String::len).sum();
    println!(
        "{PODS} pods of {} bytes, {} MB in all; the medians of {ROUNDS} rounds\n",
        bytes / PODS,
        bytes >> 20
    );
    let address = serve(pods);
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = home.path().join("config");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();

    let ours = |code: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootshift"));
        command.args(["eval", "--journal", "none", "--kubeconfig"]);
        command.arg(&kubeconfig).arg(code);
        command
    };
    let theirs = |args: &[&str]| {
        let mut command = Command::new(&kubectl);
        command.arg("--kubeconfig").arg(&kubeconfig).args(args);
        command
    };
    let json = measure(home.path(), || theirs(&["get", "pods", "-A", "-o", "json"]));
    let raw = measure(home.path(), || theirs(&["get", "--raw", "/api/v1/pods"]));
    let mut rows = vec![
        ("kubectl get pods -A -o json", json),
        ("kubectl get --raw /api/v1/pods", raw),
    ];
    for code in [
        r#"cluster::count("pods", #{ by: ".spec.nodeName" }).len()"#,
        r#"cluster::list("pods", #{ where: ".spec.nodeName=node-7", columns: #{ name: ".metadata.name" } }).len()"#,
        r#"cluster::list("pods", #{ columns: #{ name: ".metadata.name", node: ".spec.nodeName" } }).len()"#,
    ] {
        rows.push((code, measure(home.path(), || ours(code))));
    }
    println!("   wall    peak   × json's memory   × raw's time");
    for (what, cost) in &rows {
        println!(
            "{:>6.2} s {:>5.0} MB {:>12.2} {:>14.2}      {what}",
            cost.wall,
            cost.peak,
            cost.peak / json.peak,
            cost.wall / raw.wall
        );
    }

    let version = measure(home.path(), || theirs(&["version", "--client"]));
    let one = measure(home.path(), || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootshift"));
        command.args(["eval", "--journal", "none", "1"]);
        command
    });
    println!(
        "\nstart-up: {:>6.1} ms  kubectl version --client",
        version.wall * 1e3
    );
    println!(
        "          {:>6.1} ms  rootshift eval 1 ({:.2} × kubectl's)",
        one.wall * 1e3,
        one.wall / version.wall
    );
}

/// The cost of one process.
#[derive(Clone, Copy)]
struct Cost {
    /// Seconds.
    wall: f64,
    /// MB.
    peak: f64,
}

/// The medians of several rounds, after one that fills caches.
fn measure(home: &Path, command: impl Fn() -> Command) -> Cost {
    let rounds: Vec<Cost> = (0..=ROUNDS).map(|_| once(home, &mut command())).collect();
    let median = |of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = rounds[1..].iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Cost {
        wall: median(|c| c.wall),
        peak: median(|c| c.peak),
    }
}

fn once(home: &Path, command: &mut Command) -> Cost {
    let begun = Instant::now();
    let mut child = command
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0.0) / 1024.0);
        thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{command:?}: {ended}");
    Cost {
        wall: begun.elapsed().as_secs_f64(),
        peak,
    }
}

/// 10,000 pods as JSON, made from one of the twin's.
fn pods() -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pod = runtime.block_on(async {
        let scenario = Scenario::find("default").unwrap();
        let twin = Twin::start(scenario, TwinOptions::default()).await.unwrap();
        let target = Target {
            kubeconfig: Some(twin.kubeconfig_path().to_owned()),
            ..Target::default()
        };
        let cluster = Cluster::connect(&target).await.unwrap();
        let kind = cluster.kind("pods").await.unwrap();
        let pods = cluster.select(&kind, &Query::within("shop")).await.unwrap();
        let name = pods[0].name();
        // As the server has it, with its managed fields.
        let path = format!("/api/v1/namespaces/shop/pods/{name}");
        let pod = cluster.raw(&path).await.unwrap();
        twin.stop().await;
        pod
    });
    (0..PODS).map(|number| renamed(&pod, number)).collect()
}

fn renamed(pod: &Value, number: usize) -> String {
    let mut pod = pod.clone();
    for key in ["apiVersion", "kind"] {
        pod.as_object_mut().unwrap().remove(key);
    }
    let metadata = &mut pod["metadata"];
    metadata["name"] = json!(format!("web-{number:05}"));
    metadata["uid"] = json!(format!("00000000-0000-0000-0000-{number:012}"));
    metadata["resourceVersion"] = json!((1000 + number).to_string());
    pod["spec"]["nodeName"] = json!(format!("node-{}", number % NODES));
    pod.to_string()
}

/// Serves the pods, and what a client asks before.
fn serve(pods: Arc<Vec<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pods = Arc::clone(&pods);
            thread::spawn(move || serve_one(&stream, &pods));
        }
    });
    address
}

fn serve_one(stream: &TcpStream, pods: &[String]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            if line.trim().is_empty() {
                break;
            }
        }
        let body = answer(first.split(' ').nth(1)?, pods);
        let mut out = stream;
        let code = if body.is_empty() {
            "404 Not Found"
        } else {
            "200 OK"
        };
        write!(
            out,
            "HTTP/1.1 {code}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .ok()?;
        out.write_all(body.as_bytes()).ok()?;
    }
}

fn answer(target: &str, pods: &[String]) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = |key: &str| {
        query
            .split('&')
            .find_map(|p| p.strip_prefix(key)?.strip_prefix('='))
    };
    match path {
        "/version" => json!({"gitVersion": "v1.34.4"}).to_string(),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}).to_string(),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}).to_string(),
        "/api/v1" => json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
             "verbs": ["get", "list", "watch"]},
        ]})
        .to_string(),
        "/api/v1/pods" => {
            let from: usize = asked("continue").map_or(0, |at| at.parse().unwrap());
            let limit: usize = asked("limit").map_or(PODS, |n| n.parse().unwrap());
            let to = pods.len().min(from + limit.max(1));
            let next = if to < pods.len() { to.to_string() } else { String::new() };
            let mut page = format!(
                r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"99999","continue":"{next}"}},"items":["#
            );
            for (at, pod) in pods[from..to].iter().enumerate() {
                let _ = write!(page, "{}{pod}", if at == 0 { "" } else { "," });
            }
            page.push_str("]}");
            page
        }
        _ => String::new(),
    }
}
