//! What `asmcli` promises, asked of both that there are: the twin's stand-in, and the bash program that
//! installs into the lab. One table of refusals, which need no cluster; one contract of what an
//! installation leaves. Where the two differ, Google's own decides (asmcli 1.28.2-asm.4).

mod refusals;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use refusals::REFUSALS;

use crate::support::{ServedTwin, skip};

/// One of the two programs.
pub struct Asmcli {
    /// How it speaks of itself.
    pub whose: &'static str,
    /// What is typed before its arguments.
    pub program: Vec<String>,
    /// Put first on its `PATH`, if it needs something there.
    pub path: Option<PathBuf>,
}

/// A cluster that one of them may install into.
pub struct Place {
    pub asmcli: Asmcli,
    /// What is typed before `eval CODE`.
    pub rootshift: Vec<String>,
    pub kubeconfig: PathBuf,
    pub context: String,
    /// PEM file of Mesh CA's root.
    pub mesh_ca: PathBuf,
    /// Whether there is an `istioctl` to leave behind.
    pub istioctl: bool,
}

/// How it ended.
struct Said {
    code: i32,
    stdout: String,
    log: String,
}

impl Said {
    /// It ended with this code, and its log with these lines.
    #[track_caller]
    fn ended(&self, code: i32, last: &str) {
        assert_eq!(self.code, code, "{}", self.log);
        assert!(self.log.ends_with(last), "{}", self.log);
    }
}

impl Asmcli {
    fn run(&self, directory: &Path, arguments: &[String], stdin: &str) -> Said {
        let mut command = Command::new(&self.program[0]);
        if let Some(first) = &self.path {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let parts = std::iter::once(first.clone()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(parts).unwrap());
        }
        let mut child = command
            .args(&self.program[1..])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without having asked.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        let ended = child.wait_with_output().unwrap();
        let directory = directory.display().to_string();
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&directory, "[DIR]")
        };
        Said {
            code: ended.status.code().unwrap(),
            stdout: text(ended.stdout),
            log: text(ended.stderr),
        }
    }
}

const CONTEXT: &str = "gke_lab-project_us-central1-a_lab";

const KUBECONFIG: &str = "
current-context: gke_lab-project_us-central1-a_lab
contexts:
- {name: gke_lab-project_us-central1-a_lab, context: {cluster: gke_lab-project_us-central1-a_lab, user: u}}
- {name: kind-kind, context: {cluster: kind-kind, user: u}}
clusters:
- {name: gke_lab-project_us-central1-a_lab, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: ''}}
- {name: kind-kind, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: ''}}
users:
- {name: u, user: {token: t}}
";

/// Asks for everything that is refused without a cluster, and for what is only printed.
fn refuses(asmcli: &Asmcli) {
    let directory = directory();
    for case in REFUSALS {
        let said = asmcli.run(directory.path(), &words(case.line), "");
        let shown = format!("{} `asmcli {}`:\n{}", asmcli.whose, case.line, said.log);
        assert_eq!(said.code, 2, "{shown}");
        let mut lines = said.log.lines();
        let mut last = "";
        for wanted in case.log {
            let wanted = wanted.replace("WHOSE", asmcli.whose);
            last = lines
                .find(|line| **line == wanted)
                .unwrap_or_else(|| panic!("no line {wanted:?}, or not there; {shown}"));
        }
        if last.starts_with("asmcli: ") {
            let more = lines.find(|line| line.starts_with("asmcli: "));
            assert_eq!(more, None, "after {last:?}; {shown}");
        }
    }
    for (line, stdout) in [
        ("--version", "1.23.3-asm.2+config1\n"),
        ("install K --version", "1.23.3-asm.2+config1\n"),
        (
            "--help",
            "asmcli 1.23.3-asm.2+config1\nusage: asmcli [SUBCOMMAND]",
        ),
        (
            "install -h",
            "asmcli 1.23.3-asm.2+config1\nusage: asmcli [SUBCOMMAND]",
        ),
    ] {
        let said = asmcli.run(directory.path(), &words(line), "");
        assert_eq!((said.code, said.log.as_str()), (0, ""), "{line}");
        assert!(said.stdout.starts_with(stdout), "{line}: {}", said.stdout);
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace()
        .flat_map(|word| match word {
            "K" => vec!["--kubeconfig", "k", "--context", CONTEXT],
            word => vec![word],
        })
        .map(str::to_owned)
        .collect()
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut files: Vec<(&str, &str)> = ["a", "b", "c", "d"].map(|name| (name, "")).to_vec();
    files.extend([
        ("k", KUBECONFIG),
        ("ca-cert.pem", include_str!("twin/ca-cert.pem")),
        ("ca-key.pem", include_str!("twin/ca-key.pem")),
        ("root-cert.pem", include_str!("twin/root-cert.pem")),
        ("cert-chain.pem", include_str!("twin/cert-chain.pem")),
        ("ec.crt", include_str!("../data/pki/keys/p256-sec1.crt")),
        ("ec.key", include_str!("../data/pki/keys/p256-sec1.key")),
        ("other.crt", include_str!("../data/pki/keys/rsa-pkcs8.crt")),
    ]);
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

impl Place {
    /// Runs a command line in a directory against the place's cluster.
    fn run(&self, directory: &Path, line: &str, stdin: &str) -> Said {
        let mut arguments = words(line);
        arguments.extend([
            "--kubeconfig".to_owned(),
            self.kubeconfig.display().to_string(),
            "--context".to_owned(),
            self.context.clone(),
        ]);
        self.asmcli.run(directory, &arguments, stdin)
    }

    /// Objects of the cluster by kind, namespace (or none) and name; null where there is none.
    fn objects<const N: usize>(&self, wanted: [(&str, &str, &str); N]) -> [Value; N] {
        let words = wanted.map(|(kind, namespace, name)| match namespace {
            "" => format!("cluster::get(\"{kind}\", \"{name}\")"),
            _ => format!("cluster::get(\"{kind}\", \"{namespace}\", \"{name}\")"),
        });
        let ended = Command::new(&self.rootshift[0])
            .args(&self.rootshift[1..])
            .arg("eval")
            .arg(format!("data::to_json([{}])", words.join(", ")))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--context", &self.context])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{errors}");
        let list: Vec<Value> = serde_json::from_slice(&ended.stdout).unwrap();
        list.try_into().unwrap()
    }

    fn project(&self) -> &str {
        self.context.split('_').nth(1).unwrap()
    }

    /// The trust domain of Mesh CA.
    fn trust_domain(&self) -> String {
        format!("{}.svc.id.goog", self.project())
    }
}

/// What an installation left of a revision on the cluster.
struct Revision {
    istiod: Value,
    mesh: Value,
}

impl Revision {
    /// A variable of its istiod.
    fn variable(&self, name: &str) -> Option<&str> {
        let list = &self.istiod["spec"]["template"]["spec"]["containers"][0]["env"];
        let found = list.as_array().unwrap().iter().find(|v| v["name"] == name);
        found.map(|v| v["value"].as_str().unwrap_or_default())
    }
}

const PHASE_1: &str = "install --enable_all --ca citadel --option ca-migration-citadel --revision_name contract-1 -D one";
const PHASE_2: &str = "apply -e -c mesh_ca -o ca-migration-meshca -r contract-2 --working_dir two";

/// Installs the revisions `contract-1` (phase 1), `contract-2` (phase 2) and `contract-3` (straight to
/// Mesh CA) and leaves them there; moves nothing to them.
pub fn contract(place: &Place) {
    let directory = directory();
    let dir = directory.path();
    refuses_what_the_cluster_says(place, dir);
    installs_phase_1(place, dir);
    installs_phase_2(place, dir);
    installs_the_mistake(place, dir);
    place.run(dir, "validate -D three", "y\n").ended(
        0,
        "asmcli: Successfully validated all requirements to install ASM.\n",
    );
    let line = "install --enable_namespace_creation --only_enable -D three";
    place.run(dir, line, "").ended(
        0,
        "asmcli: Successfully performed specified --enable actions.\n",
    );
}

fn refuses_what_the_cluster_says(place: &Place, dir: &Path) {
    let [gateway, cacerts] = place.objects([
        ("service", "istio-system", "istio-ingressgateway"),
        ("secret", "istio-system", "cacerts"),
    ]);
    if gateway != Value::Null {
        let apply = PHASE_1.replace("install", "apply");
        for (line, answer) in [(PHASE_1, ""), (PHASE_1, "n\n"), (&apply, "\n")] {
            let last = "asmcli: [ERROR]: Stopping installation at user request.\n";
            place.run(dir, line, answer).ended(2, last);
        }
    }
    if cacerts != Value::Null {
        let files = "--ca_cert ca-cert.pem --ca_key ca-key.pem --root_cert root-cert.pem --cert_chain cert-chain.pem";
        place.run(dir, &format!("{PHASE_1} {files}"), "y\n").ended(
            2,
            "asmcli: [ERROR]: Custom certificates already exist in the cluster. Please remove the\n\
             asmcli: [ERROR]: 'cacerts' secret from the 'istio-system' namespace and try again.\n\
             asmcli: [ERROR]: If you want to keep the same custom certificates, re-run the script\n\
             asmcli: [ERROR]: without any of the custom certificate flags.\n",
        );
    }
}

/// With an overlay of two documents, and a second time.
fn installs_phase_1(place: &Place, dir: &Path) {
    let overlay = |spec: &str| {
        format!(
            "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {{meshConfig: {spec}}}\n"
        )
    };
    let overlays = [
        overlay("{trustDomain: other, accessLogFile: /dev/null}"),
        overlay("{accessLogFile: /dev/stdout}"),
    ];
    fs::write(dir.join("overlay.yaml"), overlays.join("---\n")).unwrap();
    for _ in 0..2 {
        let said = place.run(dir, &format!("{PHASE_1} --co overlay.yaml"), "y\n");
        said.ended(0, "asmcli: Successfully installed ASM.\n");
        let own = said.log.lines().all(|line| line.starts_with("asmcli: "));
        assert!(own, "{}", said.log);
    }
    leaves_files(place, &dir.join("one"), "contract-1");
    let revision = leaves_a_revision(place, "contract-1");
    let mesh = &revision.mesh;
    assert_eq!(
        mesh["trustDomain"], "cluster.local",
        "whatever overlays say"
    );
    assert_eq!(mesh["accessLogFile"], "/dev/stdout", "the later one counts");
    assert_eq!(mesh["trustDomainAliases"], json!([place.trust_domain()]));
    let root = fs::read_to_string(&place.mesh_ca).unwrap();
    let given = mesh["caCertificates"][0]["pem"].as_str().unwrap();
    assert_eq!(given.trim(), root.trim());
    let config = &mesh["defaultConfig"];
    assert_eq!(config["proxyMetadata"]["PROXY_CONFIG_XDS_AGENT"], "true");
    assert_eq!(config["proxyMetadata"]["CA_PROVIDER"], "Citadel");
    let address = "istiod-contract-1.istio-system.svc:15012";
    assert_eq!(config["discoveryAddress"], address);
    assert_eq!(revision.variable("ISTIO_MULTIROOT_MESH"), Some("true"));
    let audiences = format!("istio-ca,{}", place.trust_domain());
    assert_eq!(revision.variable("TOKEN_AUDIENCES"), Some(&*audiences));
}

fn installs_phase_2(place: &Place, dir: &Path) {
    let said = place.run(dir, PHASE_2, "y\n");
    said.ended(0, "asmcli: Successfully installed ASM.\n");
    let revision = leaves_a_revision(place, "contract-2");
    let mesh = &revision.mesh;
    assert_eq!(mesh["trustDomain"], place.trust_domain());
    assert_eq!(mesh["trustDomainAliases"], json!(["cluster.local"]));
    assert!(mesh.get("caCertificates").is_none(), "{mesh}");
    let metadata = &mesh["defaultConfig"]["proxyMetadata"];
    assert_eq!(metadata["PROXY_CONFIG_XDS_AGENT"], "true");
    assert_eq!(revision.variable("ISTIO_MULTIROOT_MESH"), Some("true"));
    assert_eq!(revision.variable("ENABLE_CA_SERVER"), None);
}

/// Straight to Mesh CA, which is the default, without the roots.
fn installs_the_mistake(place: &Place, dir: &Path) {
    let said = place.run(dir, "install -e -r contract-3 -D three", "yes\n");
    said.ended(0, "asmcli: Successfully installed ASM.\n");
    let revision = leaves_a_revision(place, "contract-3");
    let mesh = &revision.mesh;
    assert_eq!(mesh["trustDomain"], place.trust_domain());
    assert!(mesh.get("caCertificates").is_none(), "{mesh}");
    assert_eq!(revision.variable("ISTIO_MULTIROOT_MESH"), None);
}

fn leaves_a_revision(place: &Place, revision: &str) -> Revision {
    let name = format!("istiod-{revision}");
    let injector = format!("istio-sidecar-injector-{revision}");
    let validator = format!("istio-validator-{revision}-istio-system");
    let [
        istiod,
        service,
        account,
        mesh,
        values,
        hook,
        validator,
        namespace,
    ] = place.objects([
        ("deployment", "istio-system", &name),
        ("service", "istio-system", &name),
        ("serviceaccount", "istio-system", &name),
        ("configmap", "istio-system", &format!("istio-{revision}")),
        ("configmap", "istio-system", &injector),
        ("mutatingwebhookconfiguration", "", &injector),
        ("validatingwebhookconfiguration", "", &validator),
        ("namespace", "", "istio-system"),
    ]);
    for object in [&account, &values, &validator] {
        assert_ne!(*object, Value::Null, "{revision}");
    }
    assert_eq!(istiod["metadata"]["labels"]["istio.io/rev"], *revision);
    let wanted = istiod["spec"]["replicas"].as_u64().unwrap_or(1);
    let status = &istiod["status"];
    let ready = status["readyReplicas"].as_u64();
    assert_eq!(ready, Some(wanted), "it has waited: {status}");
    let own = json!({"app": "istiod", "istio.io/rev": revision});
    let pod = &istiod["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pod["app"], own["app"]);
    assert_eq!(pod["istio.io/rev"], own["istio.io/rev"]);
    assert_eq!(service["spec"]["selector"], own);
    assert_eq!(hook["metadata"]["labels"]["istio.io/rev"], *revision);
    let client = &hook["webhooks"][0]["clientConfig"];
    assert_eq!(client["service"]["name"], *name);
    let bundle = client["caBundle"].as_str().unwrap_or_default();
    assert!(bundle.starts_with("LS0t"), "istiod has not filled it in");
    let network = &namespace["metadata"]["labels"]["topology.istio.io/network"];
    assert_eq!(*network, format!("{}-default", place.project()));
    let mesh = mesh["data"]["mesh"].as_str().unwrap();
    Revision {
        istiod,
        mesh: serde_saphyr::from_str(mesh).unwrap(),
    }
}

fn leaves_files(place: &Place, output: &Path, revision: &str) {
    let text = |name: &str| {
        fs::read_to_string(output.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let yaml = |name: &str| -> Value { serde_saphyr::from_str(&text(name)).unwrap() };
    let service = yaml("asm/istio/istiod-service.yaml");
    assert_eq!(service["metadata"]["name"], "istiod");
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "istiod", "istio.io/rev": revision})
    );
    for option in ["ca-migration-citadel", "ca-migration-meshca", "citadel-ca"] {
        assert_eq!(
            yaml(&format!("asm/istio/options/{option}.yaml"))["kind"],
            "IstioOperator"
        );
    }
    assert_eq!(
        yaml("asm/istio/istio-operator.yaml")["kind"],
        "IstioOperator"
    );
    assert_eq!(text(".asm_version"), "1.23.3-asm.2+config1\n");
    assert!(text("logs.txt").contains("asmcli: Successfully installed ASM.\n"));
    let raw = yaml(&format!("{revision}-manifest-raw.yaml"));
    assert_eq!(raw["spec"]["meshConfig"]["trustDomain"], "cluster.local");
    assert_eq!(
        raw["spec"]["values"]["pilot"]["env"]["ISTIO_MULTIROOT_MESH"],
        true
    );
    assert!(
        text(&format!("{revision}-manifest-expanded.yaml")).contains(&format!("istiod-{revision}"))
    );
    assert_eq!(output.join("istioctl").exists(), place.istioctl);
}

/// The stand-in, as a program, in a directory that must stay.
fn twins(directory: &Path) -> Asmcli {
    let program = directory.join("asmcli");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rootshift"), &program).unwrap();
    Asmcli {
        whose: "the twin's",
        program: vec![program.display().to_string()],
        path: None,
    }
}

fn lab() -> String {
    format!("{}/tests/lab", env!("CARGO_MANIFEST_DIR"))
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[test]
fn the_twins_asmcli_refuses_what_asmcli_refuses() {
    let directory = tempfile::tempdir().unwrap();
    refuses(&twins(directory.path()));
}

#[test]
fn the_labs_asmcli_refuses_what_asmcli_refuses() {
    if let Some(program) = ["bash", "openssl"].into_iter().find(|p| !has(p)) {
        return skip(&format!("no {program} on the PATH for the lab's asmcli"));
    }
    // A refusal needs to see that these are there, not to ask them.
    let programs = tempfile::tempdir().unwrap();
    for program in ["istioctl", "kubectl"] {
        std::os::unix::fs::symlink("/bin/true", programs.path().join(program)).unwrap();
    }
    refuses(&Asmcli {
        whose: "the lab's",
        program: vec!["bash".to_owned(), format!("{}/asmcli", lab())],
        path: Some(programs.path().to_owned()),
    });
}

#[test]
fn the_twins_asmcli_installs_what_asmcli_installs() {
    for scenario in ["default", "plugged-ca"] {
        let directory = tempfile::tempdir().unwrap();
        let twin = ServedTwin::start(scenario);
        let flags = twin.flags();
        contract(&Place {
            asmcli: twins(directory.path()),
            rootshift: vec![env!("CARGO_BIN_EXE_rootshift").to_owned()],
            kubeconfig: twin.kubeconfig.clone(),
            context: flags.split_whitespace().last().unwrap().to_owned(),
            mesh_ca: twin.mesh_ca.clone(),
            istioctl: false,
        });
    }
}
