//! A running istiod: one pod of a revision, with the CA that it holds in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::ca::Citadel;
use super::config::{MeshConfig, container, environment, meta, text_at};
use super::envoy::{Cluster, Pushed, Shown, server_names};
use super::inject::Injector;
use super::manifests::{ISTIO_SYSTEM, suffixed};
use super::world::{Accounts, Ports};
use crate::pki::Cert;
use crate::twin::kube::Kube;

/// One istiod.
pub(super) struct Istiod {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) revision: String,
    /// Order of starting: of several, clients meet the newest first.
    pub(super) started: u64,
    /// `None` with `ENABLE_CA_SERVER=false`: then it has no serving certificate either.
    pub(super) citadel: Option<Citadel>,
    pub(super) mesh: MeshConfig,
    /// What it pushes to its proxies beside certificates.
    pub(super) pushed: Arc<Pushed>,
    multiroot: bool,
    native: NativeSidecars,
    values: Value,
    image: String,
}

/// `ENABLE_NATIVE_SIDECARS`: off up to Istio 1.26; `auto` asks the nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NativeSidecars {
    Auto,
    Off,
    On,
}

impl Istiod {
    /// Whether a pod is an istiod.
    pub(super) fn is(pod: &Value) -> bool {
        text_at(pod, "labels", "app") == Some("istiod") && container(pod, "discovery").is_some()
    }

    /// Starts one.
    ///
    /// # Errors
    /// Its CA's keys are there and cannot be used: the container ends, the pod is never Ready.
    pub(super) async fn start(kube: &Kube, pod: &Value, started: u64) -> Result<Istiod, String> {
        let discovery = container(pod, "discovery").unwrap_or(&Value::Null);
        let env: BTreeMap<&str, &str> = environment(discovery).collect();
        let on = |name: &str| {
            env.get(name)
                .is_some_and(|v| v.eq_ignore_ascii_case("true"))
        };
        let revision = env.get("REVISION").copied().unwrap_or("default").to_owned();
        let mesh = mesh_config(kube, &revision).unwrap_or_default();
        let ca_server = env
            .get("ENABLE_CA_SERVER")
            .is_none_or(|v| !v.eq_ignore_ascii_case("false"));
        let citadel = if ca_server {
            Some(Citadel::load(kube, &mesh.trust_domain).await?)
        } else {
            None
        };
        let image = discovery["image"]
            .as_str()
            .unwrap_or_default()
            .replace("/pilot:", "/proxyv2:");
        let mut istiod = Istiod {
            uid: meta(pod, "uid").to_owned(),
            name: meta(pod, "name").to_owned(),
            revision,
            started,
            citadel,
            mesh,
            pushed: Arc::new(Pushed {
                accepted: Vec::new(),
                expected: Vec::new(),
                clusters: BTreeMap::new(),
                shown: Shown::default(),
            }),
            multiroot: on("ISTIO_MULTIROOT_MESH"),
            native: match env
                .get("ENABLE_NATIVE_SIDECARS")
                .map(|v| v.to_ascii_lowercase())
                .as_deref()
            {
                Some("true") => NativeSidecars::On,
                Some("auto") => NativeSidecars::Auto,
                _ => NativeSidecars::Off,
            },
            values: Value::Null,
            image,
        };
        istiod.reload(kube);
        Ok(istiod)
    }

    /// Reads the revision's ConfigMaps again; one that is gone or broken leaves what was there.
    pub(super) fn reload(&mut self, kube: &Kube) {
        if let Some(mesh) = mesh_config(kube, &self.revision) {
            self.mesh = mesh;
        }
        let name = suffixed("istio-sidecar-injector", &self.revision);
        if let Some(map) = kube.get("configmaps", ISTIO_SYSTEM, &name)
            && let Some(values) = map["data"]["values"]
                .as_str()
                .and_then(|v| serde_json::from_str(v).ok())
        {
            self.values = values;
        }
    }

    /// Works out anew what it pushes.
    pub(super) fn push(&mut self, ports: &Ports, accounts: &Accounts) {
        let expected = self.mesh.expected_domains();
        let clusters = ports
            .iter()
            .map(|(service, ports)| {
                let behind: Vec<_> = accounts
                    .get(service)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect();
                let names = server_names(&behind, &expected);
                let ports = ports.clone();
                (service.clone(), Cluster { ports, names })
            })
            .collect();
        let pushed = Pushed {
            accepted: self.mesh.accepted_domains(),
            expected,
            clusters,
            shown: Shown::default(),
        };
        if *self.pushed != pushed {
            self.pushed = Arc::new(pushed);
        }
    }

    /// The trust anchors that it sends to agents that ask for them: its own roots and those of
    /// `caCertificates`. Nothing without `ISTIO_MULTIROOT_MESH`.
    pub(super) fn anchors(&self) -> Option<Vec<String>> {
        if !self.multiroot {
            return None;
        }
        let own = self.roots().iter().map(|root| root.pem().trim().to_owned());
        let mut anchors: Vec<String> = own
            .chain(self.mesh.ca_certificates.iter().cloned())
            .collect();
        anchors.sort();
        anchors.dedup();
        Some(anchors)
    }

    /// The roots of its CA; empty without a CA server.
    pub(super) fn roots(&self) -> &[Cert] {
        self.citadel.as_ref().map_or(&[], Citadel::roots)
    }

    /// Opens a TLS connection to it, trusting the certificates of a file.
    ///
    /// # Errors
    /// As Go's TLS client words it.
    pub(super) fn connect(&self, trusted: &[Cert]) -> Result<(), String> {
        let Some(citadel) = &self.citadel else {
            return Err("remote error: tls: internal error".to_owned());
        };
        if citadel.roots().iter().any(|root| trusted.contains(root)) {
            return Ok(());
        }
        Err(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
                .to_owned(),
        )
    }

    /// Its injector.
    pub(super) fn injector(&self, kube: &Kube) -> Injector {
        Injector {
            revision: self.revision.clone(),
            mesh: self.mesh.clone(),
            values: self.values.clone(),
            image: self.image.clone(),
            native: match self.native {
                NativeSidecars::On => true,
                NativeSidecars::Off => false,
                NativeSidecars::Auto => nodes_know_native_sidecars(kube),
            },
        }
    }
}

fn mesh_config(kube: &Kube, revision: &str) -> Option<MeshConfig> {
    let map = kube.get("configmaps", ISTIO_SYSTEM, &suffixed("istio", revision))?;
    MeshConfig::parse(map["data"]["mesh"].as_str()?).ok()
}

/// Istio 1.27 and later: every kubelet is of 1.33 or later.
fn nodes_know_native_sidecars(kube: &Kube) -> bool {
    let minor = |node: &Value| {
        let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str()?;
        version.split('.').nth(1)?.parse::<u32>().ok()
    };
    let nodes = kube.list("nodes", None);
    !nodes.is_empty()
        && nodes
            .iter()
            .all(|node| minor(node).is_some_and(|m| m >= 33))
}
