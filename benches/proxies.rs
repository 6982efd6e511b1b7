//! What it costs to read 1,000 proxies of a twin, beside plain GETs of the same bytes, in one run.
//!
//! `cargo bench --bench proxies`, or `cargo bench --bench proxies -- 200` for fewer. Read is what a check does: pods, namespaces
//! and webhooks are listed, each proxy is asked over a port-forward of its own, for its secrets alone (who trusts whom, who
//! signed) or for its listeners and clusters as well (who accepts whom), and judged. The peer asks for the same paths over
//! the same port-forwards, as many at the same time, and looks at nothing. Once with the twin in this process, as `--twin`
//! has it, and once with a twin that another process serves, whose CPU time is told apart. Each way in turn; the medians
//! are shown, per proxy. The twin's prober goes on meanwhile: what a twin takes while nobody asks is shown last.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use rootshift::cluster::{Cluster, Limits, Target};
use rootshift::mesh::names::{CLUSTERS_MASKED, LISTENERS_MASKED, SECRETS_MASKED};
use rootshift::mesh::pods::ProxyPod;
use rootshift::mesh::read::Ask;
use rootshift::mesh::survey::{Survey, SurveyOptions};
use rootshift::twin::{Scenario, Twin, TwinOptions};
use tokio::runtime::Runtime;

const PROXIES: usize = 1000;
/// Deployments of a namespace, each with a Service, and pods of each.
const SIZE: (usize, usize) = (5, 20);
const ROUNDS: usize = 5;
/// What is asked, and by which paths.
const ASKED: [(&str, Ask, &[&str]); 2] = [
    ("certificates", Ask::Certificates, &[SECRETS_MASKED]),
    (
        "everything",
        Ask::Everything,
        &[SECRETS_MASKED, LISTENERS_MASKED, CLUSTERS_MASKED],
    ),
];

fn main() {
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let asked = std::env::args().find_map(|arg| arg.parse::<usize>().ok());
    let namespaces = asked.unwrap_or(PROXIES).div_ceil(SIZE.0 * SIZE.1);
    let mesh = mesh(namespaces);
    println!(
        "{} proxies, {} Services; medians of {ROUNDS} rounds, milliseconds per proxy",
        namespaces * SIZE.0 * SIZE.1,
        namespaces * SIZE.0
    );

    let scenario = Scenario::parse("bench", &mesh).unwrap();
    let twin = runtime
        .block_on(Twin::start(scenario, TwinOptions::default()))
        .unwrap();
    println!("\ntwin in this process");
    compare(&runtime, twin.kubeconfig_path(), None);
    runtime.block_on(twin.stop());

    let (mut server, kubeconfig) = serve(home.path(), &mesh);
    println!("\ntwin in another process");
    compare(&runtime, &kubeconfig, Some(server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
}

/// What something took, in seconds: by the clock, of this process's CPU, of the server's.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    own: f64,
    server: f64,
}

/// Measures all ways with one twin; `server` is its process, if it is another.
fn compare(runtime: &Runtime, kubeconfig: &Path, server: Option<u32>) {
    let target = Target {
        kubeconfig: Some(kubeconfig.to_owned()),
        ..Target::default()
    };
    let cluster = runtime.block_on(Cluster::connect(&target)).unwrap();
    let pods = runtime.block_on(read(&cluster, Ask::default()));
    for (what, ask, paths) in ASKED {
        let mut costs: [Vec<Cost>; 2] = Default::default();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            costs[0].push(measure(server, || {
                bytes = runtime.block_on(get(&cluster, &pods, paths));
            }));
            costs[1].push(measure(server, || {
                assert_eq!(runtime.block_on(read(&cluster, ask)).len(), pods.len());
            }));
        }
        let [floor, ours] = costs.map(|costs| median(&costs, pods.len()));
        println!("{what}, {} kB each", bytes / pods.len() / 1024);
        show("plain GETs", floor, floor, server.is_some());
        show("read and judge", ours, floor, server.is_some());
    }
    let idle = measure(server, || std::thread::sleep(Duration::from_secs(2)));
    let of_one = |cpu: f64| cpu / idle.wall * 100.0;
    let who = if server.is_some() {
        idle.server
    } else {
        idle.own
    };
    println!("{:>26.0} % of a processor while nobody asks", of_one(who));
}

/// Reads and judges all proxies; those that there are.
async fn read(cluster: &Cluster, ask: Ask) -> Vec<ProxyPod> {
    let mut options = SurveyOptions::default();
    options.read.ask = ask;
    let survey = Survey::take(cluster, &[], &options).await.unwrap();
    assert_eq!(survey.unknowns(), [""; 0]);
    let proxies = survey.proxies.iter();
    proxies.map(|proxy| proxy.pod().clone()).collect()
}

/// Asks all proxies for the same; the bytes that came.
async fn get(cluster: &Cluster, pods: &[ProxyPod], paths: &[&str]) -> usize {
    let all = pods.iter().map(|pod| async move {
        let limits = Limits::default();
        let forward = cluster.forward(&pod.namespace, &pod.name, pod.admin_port, &limits);
        let mut forward = forward.await.unwrap();
        let mut bytes = 0;
        for path in paths {
            bytes += forward.get_ok(path).await.unwrap().len();
        }
        bytes
    });
    let at_once = SurveyOptions::default().read.concurrency;
    let each: Vec<usize> = futures::stream::iter(all).buffered(at_once).collect().await;
    each.iter().sum()
}

fn measure(server: Option<u32>, work: impl FnOnce()) -> Cost {
    let cpu = || {
        (
            cpu("self"),
            server.map_or(0.0, |id| self::cpu(&id.to_string())),
        )
    };
    let (begun, before) = (Instant::now(), cpu());
    work();
    let after = cpu();
    Cost {
        wall: begun.elapsed().as_secs_f64(),
        own: after.0 - before.0,
        server: after.1 - before.1,
    }
}

/// User and system time of a process, in seconds (`proc(5)`, fields 14 and 15).
fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks = fields.skip(11).take(2).map(|f| f.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

/// The medians, in milliseconds per proxy.
fn median(costs: &[Cost], proxies: usize) -> Cost {
    let median = |of: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2] * 1000.0 / proxies as f64
    };
    Cost {
        wall: median(|c| c.wall),
        own: median(|c| c.own),
        server: median(|c| c.server),
    }
}

fn show(what: &str, cost: Cost, floor: Cost, is_apart: bool) {
    let twin = if is_apart {
        format!(", the twin's {:5.2}", cost.server)
    } else {
        " with the twin's".to_owned()
    };
    println!(
        "{what:16} wall {:5.2} ({:4.2} x)  CPU {:5.2} ({:4.2} x){twin}",
        cost.wall,
        cost.wall / floor.wall,
        cost.own,
        cost.own / floor.own
    );
}

fn mesh(namespaces: usize) -> String {
    let mut yaml = "title: many proxies\nspeed: 100\nnamespaces:\n".to_owned();
    for namespace in 0..namespaces {
        write!(
            yaml,
            "  team-{namespace}: {{injection: enabled, workloads: ["
        )
        .unwrap();
        for app in 0..SIZE.0 {
            let replicas = SIZE.1;
            write!(
                yaml,
                "{{name: app-{app}, kind: Deployment, replicas: {replicas}}},"
            )
            .unwrap();
        }
        yaml += "]}\n";
    }
    yaml
}

/// Serves a twin from another process; that one, and its kubeconfig.
fn serve(home: &Path, mesh: &str) -> (Child, std::path::PathBuf) {
    let (scenario, kubeconfig) = (home.join("mesh.yaml"), home.join("config"));
    std::fs::write(&scenario, mesh).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rootshift"))
        .args(["twin", "serve", "--kubeconfig-out"])
        .arg(&kubeconfig)
        .arg(&scenario)
        .env("HOME", home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines
        .map_while(Result::ok)
        .any(|line| line.starts_with("ready:"));
    assert!(ready, "the twin ended");
    (child, kubeconfig)
}
