//! The real things of which inputs are made: certificates, chains, keys and dumps of `tests/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::Timestamp;
use rootshift::pki::{Bundle, Cert, NamedCa, certs_from_pem};
use serde_json::Value;

/// Within the validity of all the chains.
pub fn now() -> Timestamp {
    "2026-11-23T20:00:00Z".parse().unwrap()
}

/// The texts in the folders of `tests/data/pki`, by folder and file.
pub static PEM: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let folder = tests().join("data/pki");
    ["algorithms", "keys", "lab", "odd"]
        .into_iter()
        .flat_map(|name| files(&folder.join(name), ""))
        .collect()
});

/// Those with certificates, and those with keys.
pub static CERT_TEXTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let texts = PEM.iter().filter(|(name, _)| !is_key(name));
    texts.map(|(_, text)| text.as_str()).collect()
});
pub static KEY_TEXTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let texts = PEM.iter().filter(|(name, _)| is_key(name));
    texts.map(|(_, text)| text.as_str()).collect()
});

/// Every certificate of them.
pub static CERTS: LazyLock<Vec<Cert>> = LazyLock::new(|| {
    let certs = CERT_TEXTS.iter().flat_map(|text| certs_from_pem(text).0);
    certs.collect()
});

/// A proxy's chain and bundle, and the CAs that are asked for.
pub struct Scene {
    pub name: String,
    pub chain: Vec<Cert>,
    pub bundle: Bundle,
    pub cas: Vec<NamedCa>,
}

/// What real proxies had, and a chain for each algorithm; all of them valid.
pub static SCENES: LazyLock<Vec<Scene>> = LazyLock::new(|| {
    let certs = |name: &str| certs_from_pem(&PEM[name]).0;
    let lab_cas = [
        ("CITADEL", "lab/citadel-root.pem"),
        ("MESHCA", "lab/meshca-root.pem"),
    ];
    let lab_cas = lab_cas.map(|(name, file)| NamedCa::new(name, Bundle::from_certs(certs(file))));
    let proxies = [
        "pay-sleep-citadel-distribute",
        "pay-sleep-meshca-distribute",
        "pay-sleep-meshca-only",
    ];
    let proxies = proxies.into_iter().map(|proxy| Scene {
        name: proxy.to_owned(),
        chain: certs(&format!("lab/{proxy}.default.pem")),
        bundle: Bundle::from_certs(certs(&format!("lab/{proxy}.ROOTCA.pem"))),
        cas: lab_cas.to_vec(),
    });
    let algorithms = [
        "ed25519",
        "p256-sha256",
        "p256-sha384",
        "p384-sha256",
        "p384-sha384",
        "rsa-pss-sha256",
        "rsa-sha256",
    ];
    let algorithms = algorithms.into_iter().map(|algorithm| {
        let mut certs = certs(&format!("algorithms/{algorithm}.pem"));
        let root = Bundle::from_certs(certs.pop());
        Scene {
            name: algorithm.to_owned(),
            chain: certs,
            bundle: root.clone(),
            cas: vec![NamedCa::new("CITADEL", root)],
        }
    });
    proxies.chain(algorithms).collect()
});

/// The dumps of real proxies: those of the secrets alone first, the whole one last.
pub static DUMPS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let folder = tests().join("fixtures");
    let folders = ["lab/plug-in", "lab/self-signed", "real"];
    let mut texts: Vec<String> = folders
        .into_iter()
        .flat_map(|name| files(&folder.join(name), "json"))
        .filter(|(name, _)| !name.ends_with("verdicts.json"))
        .map(|(_, text)| text)
        .collect();
    texts.sort_by_key(String::len);
    let dumps = texts.iter().map(|text| serde_json::from_str(text).unwrap());
    dumps.collect()
});

fn is_key(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "key")
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The files of a folder whose name ends so, by folder and file.
fn files(folder: &Path, end: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(end))
        .map(|path| {
            let name = path.strip_prefix(folder.parent().unwrap()).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            (name.to_string_lossy().into_owned(), text)
        })
        .collect();
    files.sort();
    files
}
