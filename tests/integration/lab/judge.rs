//! Two verdicts on every proxy: the tool's, and one that shares no code with it, made of what
//! `istioctl proxy-config secret` prints and what OpenSSL says of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::rig::Lab;

/// What is said of one proxy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Verdict {
    /// Names of the CAs whose root it trusts; a root without a name by its SHA-256.
    pub(super) trusts: BTreeSet<String>,
    /// Name of the CA whose root its certificate leads to.
    pub(super) signer: String,
    pub(super) trust_domain: String,
}

/// Verdicts by `POD.NAMESPACE`.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

/// The roots that have names, as files.
pub(super) struct Judge {
    roots: BTreeMap<&'static str, PathBuf>,
    scratch: tempfile::TempDir,
    /// What OpenSSL said of a chain and a bundle before: it would say so again.
    said: RefCell<BTreeMap<(String, String), Verdict>>,
}

impl Judge {
    /// Takes the root that Citadel has now, and Mesh CA's.
    pub(super) fn new(lab: &Lab) -> Judge {
        let scratch = tempfile::tempdir().unwrap();
        let secrets = lab.get("secrets -n istio-system");
        let held = |name: &str, key: &str| {
            let secrets = secrets["items"].as_array().unwrap();
            let secret = secrets.iter().find(|s| s["metadata"]["name"] == name)?;
            STANDARD.decode(secret["data"][key].as_str()?).ok()
        };
        let citadel = held("cacerts", "root-cert.pem")
            .or_else(|| held("istio-ca-secret", "ca-cert.pem"))
            .expect("a secret with Citadel's root");
        let file = scratch.path().join("citadel.pem");
        std::fs::write(&file, citadel).unwrap();
        Judge {
            roots: [("CITADEL", file), ("MESHCA", lab.file("pki/meshroot.crt"))].into(),
            scratch,
            said: RefCell::default(),
        }
    }

    /// SHA-256 of each named root.
    pub(super) fn fingerprints(&self) -> BTreeMap<String, &'static str> {
        self.roots
            .iter()
            .map(|(name, file)| (fingerprint(file), *name))
            .collect()
    }

    /// The verdicts that istioctl and OpenSSL give.
    pub(super) fn by_openssl(&self, lab: &Lab) -> Verdicts {
        let names = self.fingerprints();
        proxies(lab)
            .into_iter()
            .map(|(namespace, pod)| {
                let dump = secrets(lab, &namespace, &pod);
                let verdict = self.verdict(&dump, &names);
                (format!("{pod}.{namespace}"), verdict)
            })
            .collect()
    }

    fn verdict(&self, dump: &Value, names: &BTreeMap<String, &'static str>) -> Verdict {
        let roots = "/secret/validationContext/trustedCa/inlineBytes";
        let chain = "/secret/tlsCertificate/certificateChain/inlineBytes";
        let (chain, roots) = (pem(dump, "default", chain), pem(dump, "ROOTCA", roots));
        let key = (chain, roots);
        if let Some(known) = self.said.borrow().get(&key) {
            return known.clone();
        }
        let verdict = self.ask_openssl(&key.0, &key.1, names);
        self.said.borrow_mut().insert(key, verdict.clone());
        verdict
    }

    fn ask_openssl(
        &self,
        chain: &str,
        roots: &str,
        names: &BTreeMap<String, &'static str>,
    ) -> Verdict {
        let trusts = certificates(roots)
            .map(|one| {
                let fingerprint = fingerprint(&self.write("root.pem", one));
                names
                    .get(&fingerprint)
                    .map_or(fingerprint, |name| (*name).to_owned())
            })
            .collect();
        let leaf = self.write("leaf.pem", certificates(chain).next().unwrap());
        let others: String = certificates(chain).skip(1).collect();
        let others = self.write("chain.pem", &others);
        let signers: Vec<&str> = self
            .roots
            .iter()
            .filter(|(_, root)| {
                let verified =
                    openssl(&["verify", "-no-CApath", "-no-CAstore", "-CAfile"], &[root])
                        .arg("-untrusted")
                        .arg(&others)
                        .arg(&leaf)
                        .output()
                        .unwrap();
                verified.status.success()
            })
            .map(|(name, _)| *name)
            .collect();
        let names = text(
            openssl(
                &["x509", "-noout", "-ext", "subjectAltName", "-in"],
                &[&leaf],
            )
            .output(),
        );
        let domain = names
            .split("URI:spiffe://")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        Verdict {
            trusts,
            signer: signers.join(" and "),
            trust_domain: domain.unwrap_or_default().to_owned(),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.scratch.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// The verdicts that the tool gives.
pub(super) fn by_the_tool(lab: &Lab) -> Verdicts {
    let ran = lab
        .rootshift("eval mesh::connect().proxies() -o jsonl")
        .run()
        .code(0);
    let finished = ran.finished();
    let set = |v: &Value| -> Vec<String> {
        let items = v.as_array().unwrap().iter();
        items.map(|i| i.as_str().unwrap().to_owned()).collect()
    };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let proxies = finished["summary"].as_array().unwrap();
    proxies
        .iter()
        .map(|p| {
            assert_eq!(p["unknown"], Value::Null, "{p}");
            let verdict = Verdict {
                trusts: set(&p["trusts"])
                    .into_iter()
                    .chain(set(&p["other_roots"]))
                    .collect(),
                signer: text(&p["signer"]),
                trust_domain: text(&p["trust_domain"]),
            };
            (
                format!("{}.{}", text(&p["pod"]), text(&p["namespace"])),
                verdict,
            )
        })
        .collect()
}

/// Waits until no pod is starting or going away, so that both verdicts are about the same pods.
pub(super) fn settle(lab: &Lab) {
    let begun = Instant::now();
    loop {
        let pods = lab.get("pods -A");
        let moving: Vec<&Value> = pods["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| !p["metadata"]["deletionTimestamp"].is_null() || !is_ready(p))
            .map(|p| &p["metadata"]["name"])
            .collect();
        if moving.is_empty() {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "still moving after 60 s: {moving:?}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

/// Every pod with a proxy, sidecar or gateway, classic or native, as namespace and name.
/// What the script words read of every live Envoy, held against istioctl's and OpenSSL's: the fingerprints of
/// its own chain, and of what it trusts.
pub(super) fn words_read_what_istioctl_reads(lab: &Lab) {
    const SCRIPT: &str = "let m = mesh::connect(); let all = #{}; for p in m.proxies() { \
        let held = m.secrets(p.namespace, p.pod); let prints = |list| list.map(|c| c.sha256); \
        all[`${p.pod}.${p.namespace}`] = #{ chain: prints.call(held.chains[0]), roots: prints.call(held.bundles[0].bundle.certs), \
        accepted: cert::accepts(held.bundles[0].bundle, held.chains[0]).ok } } all";
    let ran = lab.rootshift("eval -o jsonl").arg(SCRIPT).run().code(0);
    let said = ran.finished()["summary"].clone();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("one.pem");
    let mut known = BTreeMap::new();
    let mut prints = |text: &str| -> Vec<String> {
        certificates(text)
            .map(|one| {
                let known = known.entry(one.to_owned());
                let print = known.or_insert_with(|| {
                    std::fs::write(&file, one).unwrap();
                    fingerprint(&file)
                });
                print.clone()
            })
            .collect()
    };
    let pods = proxies(lab);
    assert_eq!(said.as_object().unwrap().len(), pods.len());
    for (namespace, pod) in pods {
        let dump = secrets(lab, &namespace, &pod);
        let said = &said[format!("{pod}.{namespace}")];
        let chain = "/secret/tlsCertificate/certificateChain/inlineBytes";
        let roots = "/secret/validationContext/trustedCa/inlineBytes";
        let (chain, roots) = (pem(&dump, "default", chain), pem(&dump, "ROOTCA", roots));
        assert_eq!(said["chain"], serde_json::json!(prints(&chain)), "{pod}");
        assert_eq!(said["roots"], serde_json::json!(prints(&roots)), "{pod}");
        assert_eq!(said["accepted"], true, "{pod}");
    }
}

fn pem(dump: &Value, secret: &str, pointer: &str) -> String {
    let all = dump["dynamicActiveSecrets"].as_array().unwrap();
    let found = all.iter().find(|s| s["name"] == secret).unwrap();
    let text = found.pointer(pointer).and_then(Value::as_str).unwrap();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

pub(super) fn proxies(lab: &Lab) -> Vec<(String, String)> {
    let pods = lab.get("pods -A");
    let has_proxy = |pod: &Value| {
        ["containers", "initContainers"].iter().any(|list| {
            let all = pod["spec"][list].as_array();
            all.is_some_and(|all| all.iter().any(|c| c["name"] == "istio-proxy"))
        })
    };
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| has_proxy(p))
        .map(|p| {
            (
                text(&p["metadata"]["namespace"]),
                text(&p["metadata"]["name"]),
            )
        })
        .collect()
}

fn secrets(lab: &Lab, namespace: &str, pod: &str) -> Value {
    let args = [
        "istioctl",
        "proxy-config",
        "secret",
        pod,
        "-n",
        namespace,
        "-o",
        "json",
    ];
    let output = lab.exec(&args);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The PEM blocks of a text, one by one; the last may lack its end of line.
fn certificates(pem: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    pem.split_inclusive(END)
        .filter(|block| block.ends_with(END))
}

fn fingerprint(file: &Path) -> String {
    let said = text(
        openssl(
            &["x509", "-noout", "-fingerprint", "-sha256", "-in"],
            &[file],
        )
        .output(),
    );
    let (_, hex) = said.trim().split_once('=').unwrap();
    hex.replace(':', "").to_lowercase()
}

fn openssl(args: &[&str], files: &[&Path]) -> Command {
    let mut command = Command::new("openssl");
    command.args(args).args(files);
    command
}

fn text(output: std::io::Result<Output>) -> String {
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
