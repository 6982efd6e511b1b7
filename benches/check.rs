//! The cost of asking every proxy of a real mesh which roots it trusts, beside its peers, in one run.
//!
//! Needs a lab with a mesh in it: `tests/lab/lab up && tests/lab/lab mesh`, then `cargo bench --bench check`.
//! Wall time and CPU time of the processes that are started (not of the API server's and Envoy's side, which
//! all of them ask the same) are divided by the number of proxies. Each way is measured in turn,
//! several times; the medians are shown, and their ratio to the first.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

const ROUNDS: usize = 5;

/// For each pod of each namespace: is it one of the mesh's, the table of its secrets, and, for each serial
/// number that was not seen before, all of its secrets, decoded and shown: as Google's script has it.
const GOOGLES: &str = r#"
declare -A seen
for ns in $(kubectl get namespaces -o jsonpath='{.items[*].metadata.name}'); do
  case $ns in kube-system | kube-public | kube-node-lease) continue ;; esac
  for pod in $(kubectl get pods -n "$ns" -o jsonpath='{.items[*].metadata.name}'); do
    containers=$(kubectl get pod "$pod" -n "$ns" -o jsonpath='{.spec.containers[*].name} {.spec.initContainers[*].name}')
    [[ $containers == *istio-proxy* ]] || continue
    serial=$(istioctl proxy-config secret "$pod.$ns" | awk '/^ROOTCA/ { print $5 }')
    [ -z "${seen[$serial]:-}" ] || continue
    seen[$serial]=1
    istioctl proxy-config secret "$pod.$ns" -o json |
      jq -r '.dynamicActiveSecrets[] | select(.name == "ROOTCA").secret.validationContext.trustedCa.inlineBytes' |
      base64 -d | openssl x509 -noout -text >/dev/null
  done
done
"#;

/// Once for each proxy, without looking at what it says.
const ISTIOCTL: &str = r#"
for pod in $PROXIES; do istioctl proxy-config secret "$pod" -o json >/dev/null; done
"#;

const OURS: &str = r#"
"$ROOTSHIFT" run check-root-cert --set expect=CITADEL --ca "MESHCA=$LAB_RUN/pki/meshroot.crt" --journal none >/dev/null
"#;

struct Cost {
    wall: f64,
    cpu: f64,
}

fn inside(script: &str, proxies: &str) -> Command {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
    let mut command = Command::new(lab);
    command
        .args(["exec", "bash", "-c", script])
        .env("PROXIES", proxies)
        .env("ROOTSHIFT", env!("CARGO_BIN_EXE_rootshift"));
    command
}

/// User and system time of all children that have ended, in seconds (`proc(5)`, fields 16 and 17).
fn children() -> f64 {
    let stat = std::fs::read_to_string(PathBuf::from("/proc/self/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: f64 = fields
        .skip(13)
        .take(2)
        .map(|f| f.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}

fn measure(script: &str, proxies: &str) -> Cost {
    let (begun, before) = (Instant::now(), children());
    let status = inside(script, proxies)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{script}: {status}");
    Cost {
        wall: begun.elapsed().as_secs_f64(),
        cpu: children() - before,
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() -> ExitCode {
    let list = r#"kubectl get pods -A -o json | jq -r '.items[] | select([.spec.containers[], .spec.initContainers[]?] |
        any(.name == "istio-proxy")) | "\(.metadata.name).\(.metadata.namespace)"'"#;
    let output = inside(list, "").output().unwrap();
    let proxies = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let count = proxies.split_whitespace().count();
    if count == 0 {
        println!("no lab with a mesh is up: tests/lab/lab up && tests/lab/lab mesh");
        return ExitCode::SUCCESS;
    }
    let ways = [
        ("rootshift run check-root-cert", OURS),
        (
            "istioctl proxy-config secret, a process per proxy",
            ISTIOCTL,
        ),
        ("Google's way: kubectl and istioctl processes", GOOGLES),
    ];
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, script), costs) in ways.iter().zip(&mut costs) {
            costs.push(measure(script, &proxies));
        }
    }
    println!("{count} proxies, median of {ROUNDS} rounds, milliseconds per proxy");
    let per_proxy = |all: &[Cost], of: fn(&Cost) -> f64| {
        #[allow(clippy::cast_precision_loss)]
        let count = count as f64;
        median(all.iter().map(of).collect()) * 1000.0 / count
    };
    let ours = (
        per_proxy(&costs[0], |c| c.wall),
        per_proxy(&costs[0], |c| c.cpu),
    );
    for ((name, _), costs) in ways.iter().zip(&costs) {
        let (wall, cpu) = (per_proxy(costs, |c| c.wall), per_proxy(costs, |c| c.cpu));
        println!(
            "{name:52} wall {wall:6.1} ({:4.1} x)  CPU {cpu:6.1} ({:4.1} x)",
            wall / ours.0,
            cpu / ours.1
        );
    }
    ExitCode::SUCCESS
}
