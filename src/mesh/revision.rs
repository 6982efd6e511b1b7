//! A revision of the control plane: what its istiod is, and what it would give a new proxy.
//!
//! Everything is read from the cluster: the Deployment's environment, the revision's mesh
//! ConfigMap, its injector values, its webhook's CA bundle. Which of these settings make a second
//! root reach a proxy was found on a real mesh: `caCertificates` alone does nothing; it takes
//! `ISTIO_MULTIROOT_MESH=true` on istiod and `PROXY_CONFIG_XDS_AGENT=true` on the proxy.

use base64::Engine as _;
use serde_json::Value;

use super::dump::Reading;
use super::injection::Injection;
use super::{MeshError, names, pods};
use crate::cluster::{Cluster, Selector};
use crate::pki::{Bundle, certs_from_pem};

/// Who signs the workload certificates of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaEndpoint {
    /// The revision's own istiod.
    Istiod,
    /// Google's Mesh CA (`CA_PROVIDER=GoogleCA` or its host name).
    MeshCa,
    /// Another provider or server, by its name and address: nobody knows whose CA that is.
    Other(String),
}

impl CaEndpoint {
    /// By `CA_PROVIDER` and `CA_ADDR`, each empty where it is not given.
    pub fn of(provider: &str, address: &str) -> Self {
        let host = address.split(':').next().unwrap_or_default();
        match provider {
            "GoogleCA" => Self::MeshCa,
            "" | "Citadel" if host.is_empty() || host.starts_with("istiod") => Self::Istiod,
            "" | "Citadel" if names::MESHCA_HOSTS.contains(&host) => Self::MeshCa,
            "" | "Citadel" => Self::Other(address.to_owned()),
            _ if address.is_empty() => Self::Other(provider.to_owned()),
            _ => Self::Other(format!("{provider} at {address}")),
        }
    }

    /// As people read it.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Istiod => "istiod",
            Self::MeshCa => names::MESHCA,
            Self::Other(address) => address,
        }
    }
}

/// One revision, as installed.
#[derive(Debug, Clone)]
// Settings of Istio that are on or off.
#[allow(clippy::struct_excessive_bools)]
pub struct Revision {
    /// Its name; `default` for the one without.
    pub name: String,
    /// How many of its istiod pods are Ready.
    pub ready: usize,
    /// How many istiod replicas it wants.
    pub wanted: usize,
    /// `meshConfig.trustDomain`.
    pub trust_domain: String,
    /// `meshConfig.trustDomainAliases`.
    pub aliases: Vec<String>,
    /// `meshConfig.caCertificates[].pem`.
    pub ca_certificates: Bundle,
    /// What `meshConfig.caCertificates` holds for peers of other meshes, a line each.
    pub federated: Vec<String>,
    /// `OUTPUT_CERTS` for its proxies: the directory into which each writes its certificates.
    pub output_certs: Option<String>,
    /// `ISTIO_MULTIROOT_MESH` on istiod.
    pub multi_root: bool,
    /// `PROXY_CONFIG_XDS_AGENT` for its proxies.
    pub xds_agent: bool,
    /// `ENABLE_CA_SERVER` on istiod (default true).
    pub ca_server: bool,
    /// Whether its webhook makes a proxy, else why not, or why that is unknown: as long as nobody asked
    /// ([`super::gate::View::ask_injectors`]).
    pub injects: Reading<()>,
    /// Who signs for its proxies.
    pub signer: CaEndpoint,
    /// The root that its istiod has in memory: what it wrote into its own webhook.
    pub root: Reading<Bundle>,
    /// Whether a pod's own annotation says who signs for it: then other proxies of the revision tell nothing about it.
    pub own_ca: bool,
    /// What it was read from.
    sources: Sources,
}

impl Revision {
    /// Whether a second root reaches its proxies at all.
    pub fn distributes(&self) -> bool {
        self.multi_root && self.xds_agent
    }

    /// Why its proxies get one of several roots only, where its version is known for it: 1.24.4 and 1.25.1 took the last
    /// certificate of a bundle for all of it (istio/istio#55793, mended by #55835).
    pub fn loses_roots(&self) -> Option<String> {
        let containers =
            self.sources.deployment["spec"]["template"]["spec"]["containers"].as_array()?;
        let image = containers
            .iter()
            .find(|container| container["name"] == "discovery")?["image"]
            .as_str()?;
        let version = loses_roots(image)?;
        Some(format!(
            "{} is Istio {version}, which gives proxies one of several roots (istio/istio#55793): take the next patch release",
            self.istiod()
        ))
    }

    /// The name of its Deployment, Service, HPA and PDB.
    pub fn istiod(&self) -> String {
        istiod_name(&self.name)
    }
}

/// Where istiods that sign have different roots: which has which. Namespaces are given the root of one of them, whichever
/// has the lock (ConfigMap `istio-ca-root-cert`), so that proxies of the others lose their istiod, while mutual TLS goes on
/// (istio/istio#39739: revisions are expected to have one root).
pub fn roots_apart(revisions: &[Revision]) -> Option<String> {
    let signing = revisions.iter().filter(|r| r.ca_server && r.ready > 0);
    let roots: Vec<(&Revision, &Bundle)> = signing
        .filter_map(|r| Some((r, r.root.as_ref().ok()?)))
        .collect();
    let (_, first) = roots.first()?;
    if roots.iter().all(|(_, root)| root.shares_key(first)) {
        return None;
    }
    let each: Vec<String> = roots
        .iter()
        .map(|(revision, root)| {
            let all: Vec<String> = root.certs().map(|c| c.sha256().short()).collect();
            format!("{} has {}", revision.istiod(), all.join(", "))
        })
        .collect();
    Some(each.join("; "))
}

/// The version of an istiod's image, if it is one of those that lose roots. A digest tells no version.
fn loses_roots(image: &str) -> Option<&'static str> {
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let tag = tag.split('@').next()?;
    // `1.25.1-distroless`, `1.25.1-asm.2`: variants of one version.
    let version = tag.split('-').next()?;
    ["1.24.4", "1.25.1"].into_iter().find(|bad| *bad == version)
}

/// `istiod` for the default revision, `istiod-REV` for the others.
pub fn istiod_name(revision: &str) -> String {
    with_revision("istiod", revision)
}

/// Istio's naming of a revision's objects: the bare name belongs to `default`.
pub fn with_revision(base: &str, revision: &str) -> String {
    if revision == "default" || revision.is_empty() {
        base.to_owned()
    } else {
        format!("{base}-{revision}")
    }
}

/// The objects that a revision is read from.
#[derive(Debug, Clone)]
pub struct Sources {
    deployment: Value,
    mesh: Option<Value>,
    values: Option<Value>,
}

impl Revision {
    /// The revision with another istiod Deployment.
    ///
    /// # Errors
    /// [`MeshError::Unreadable`] when one of its objects is not understood.
    pub fn with_deployment(&self, deployment: &Value) -> Result<Self, MeshError> {
        let deployment = deployment.clone();
        self.from(Sources {
            deployment,
            ..self.sources.clone()
        })
    }

    /// The revision with another ConfigMap: that with the key `mesh`, or that with the key `values`.
    ///
    /// # Errors
    /// [`MeshError::Unreadable`] when it is not understood.
    pub fn with_settings(&self, key: &str, map: Option<&Value>) -> Result<Self, MeshError> {
        let mut sources = self.sources.clone();
        let place = if key == "mesh" {
            &mut sources.mesh
        } else {
            &mut sources.values
        };
        *place = map.cloned();
        self.from(sources)
    }

    fn from(&self, sources: Sources) -> Result<Self, MeshError> {
        let mut made = revision(&self.name, sources, self.ready, self.root.clone())?;
        made.injects.clone_from(&self.injects);
        Ok(made)
    }

    /// Whether both give their proxies the same trust and the same certificates.
    pub fn is_alike(&self, other: &Self) -> bool {
        let parts = |r: &Self| {
            (
                (
                    r.trust_domain.clone(),
                    r.aliases.clone(),
                    r.ca_certificates.clone(),
                ),
                (r.multi_root, r.xds_agent, r.ca_server, r.signer.clone()),
            )
        };
        parts(self) == parts(other)
    }
}

/// Reads every revision that has an istiod Deployment.
pub async fn read_all(
    cluster: &Cluster,
    injection: &Injection,
) -> Result<Vec<Revision>, MeshError> {
    let deployments = cluster.kind("deployments.apps").await?;
    let config_maps = cluster.kind("configmaps").await?;
    let pods = cluster.kind("pods").await?;
    let istiod = Selector::labels("app=istiod");
    let namespace = Some(names::ISTIO_SYSTEM);
    let (found, running) = futures::try_join!(
        cluster.list(&deployments, namespace, &istiod),
        cluster.list(&pods, namespace, &istiod)
    )?;
    let mut out = Vec::new();
    for deployment in &found {
        let name = deployment
            .labels()
            .get(names::REV)
            .cloned()
            .unwrap_or_else(|| "default".into());
        let (mesh_name, values_name) = (
            with_revision("istio", &name),
            with_revision("istio-sidecar-injector", &name),
        );
        let (mesh, values) = futures::try_join!(
            cluster.get(&config_maps, namespace, &mesh_name),
            cluster.get(&config_maps, namespace, &values_name)
        )?;
        let ready = running
            .iter()
            .filter(|p| p.labels().get(names::REV).map_or("default", String::as_str) == name)
            .filter(|p| {
                p.value().pointer("/metadata/deletionTimestamp").is_none()
                    && pods::is_ready(p.value())
            })
            .count();
        let sources = Sources {
            deployment: deployment.value().clone(),
            mesh: mesh.map(|map| map.value().clone()),
            values: values.map(|map| map.value().clone()),
        };
        let root = istiod_root(&name, injection);
        out.push(revision(&name, sources, ready, root)?);
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn parse(map: Option<&Value>, name: &str, key: &str) -> Result<Value, MeshError> {
    let Some(text) = map.and_then(|map| map["data"][key].as_str()) else {
        return Ok(Value::Null);
    };
    serde_saphyr::from_str(text).map_err(|e| MeshError::Unreadable {
        object: format!("ConfigMap {}/{name}, key `{key}`", names::ISTIO_SYSTEM),
        reason: e.to_string(),
    })
}

fn revision(
    name: &str,
    sources: Sources,
    ready: usize,
    root: Reading<Bundle>,
) -> Result<Revision, MeshError> {
    let mesh = parse(sources.mesh.as_ref(), &with_revision("istio", name), "mesh")?;
    let values_name = with_revision("istio-sidecar-injector", name);
    let values = parse(sources.values.as_ref(), &values_name, "values")?;
    let deployment = &sources.deployment;
    let env = |key: &str| istiod_env(deployment, key);
    let metadata = &mesh["defaultConfig"]["proxyMetadata"];
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let certificates = mesh["caCertificates"].as_array().into_iter().flatten();
    let pem: Vec<_> = certificates
        .filter_map(|c| c["pem"].as_str())
        .flat_map(|p| certs_from_pem(p).0)
        .collect();
    let provider = text(&metadata["CA_PROVIDER"])
        .or_else(|| text(&values["global"]["caName"]))
        .unwrap_or_default();
    let address = text(&metadata["CA_ADDR"])
        .or_else(|| text(&values["global"]["caAddress"]))
        .or_else(|| text(&mesh["defaultConfig"]["caAddress"]))
        .unwrap_or_default();
    Ok(Revision {
        name: name.to_owned(),
        ready,
        wanted: deployment["spec"]["replicas"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1),
        trust_domain: text(&mesh["trustDomain"]).unwrap_or_else(|| "cluster.local".into()),
        aliases: mesh["trustDomainAliases"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(text)
            .collect(),
        ca_certificates: Bundle::from_certs(pem),
        federated: federated(&mesh),
        output_certs: text(&metadata["OUTPUT_CERTS"]),
        multi_root: env("ISTIO_MULTIROOT_MESH").as_deref() == Some("true"),
        xds_agent: metadata["PROXY_CONFIG_XDS_AGENT"].as_str() == Some("true"),
        ca_server: env("ENABLE_CA_SERVER").as_deref() != Some("false"),
        injects: Err(format!("the injector of revision `{name}` was not asked")),
        signer: CaEndpoint::of(&provider, &address),
        root,
        own_ca: false,
        sources,
    })
}

/// Roots that are fetched from a SPIFFE bundle endpoint, or taken for trust domains that are not the mesh's own.
fn federated(mesh: &Value) -> Vec<String> {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let mut own = texts(&mesh["trustDomainAliases"]);
    own.push(
        mesh["trustDomain"]
            .as_str()
            .unwrap_or("cluster.local")
            .to_owned(),
    );
    let certificates = mesh["caCertificates"].as_array().into_iter().flatten();
    certificates
        .enumerate()
        .filter_map(|(at, entry)| {
            let entry_is = format!("meshConfig.caCertificates[{at}] is");
            if let Some(url) = entry["spiffeBundleUrl"].as_str() {
                return Some(format!(
                    "{entry_is} fetched from `{url}`, another mesh's roots"
                ));
            }
            let mut domains = texts(&entry["trustDomains"]);
            domains.retain(|domain| !own.contains(domain));
            (!domains.is_empty()).then(|| {
                format!(
                    "{entry_is} for peers of another mesh, `{}`",
                    domains.join("`, `")
                )
            })
        })
        .collect()
}

fn istiod_env(deployment: &Value, key: &str) -> Option<String> {
    let containers = deployment
        .pointer("/spec/template/spec/containers")?
        .as_array()?;
    containers
        .iter()
        .flat_map(|c| c["env"].as_array().into_iter().flatten())
        .find(|e| e["name"] == key)
        .and_then(|e| e["value"].as_str().map(str::to_owned))
}

/// istiod writes the root of its own serving certificate into the webhooks of its own revision, and
/// only there: the one place that tells two revisions apart.
fn istiod_root(name: &str, injection: &Injection) -> Reading<Bundle> {
    let mut bundles = injection
        .of_revision(name)
        .filter_map(|w| w.ca_bundle.clone())
        .filter(|b| !b.is_empty());
    let Some(encoded) = bundles.next() else {
        return Err(format!(
            "no webhook of revision `{name}` carries its istiod's root"
        ));
    };
    let text = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| format!("the caBundle in the webhook of revision `{name}` is not PEM"))?;
    let (certs, _) = certs_from_pem(&text);
    if certs.is_empty() {
        return Err(format!(
            "the caBundle in the webhook of revision `{name}` holds no certificate"
        ));
    }
    Ok(Bundle::from_certs(certs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_lose_roots_are_told_by_the_image() {
        for image in [
            "docker.io/istio/pilot:1.25.1",
            "gcr.io/gke-release/asm/pilot:1.24.4-asm.1",
            "registry:5000/pilot:1.25.1-distroless@sha256:00",
        ] {
            assert!(loses_roots(image).is_some(), "{image}");
        }
        for image in [
            "istio/pilot:1.25.10",
            "istio/pilot:1.25.2",
            "istio/pilot@sha256:00",
            "pilot",
            "",
        ] {
            assert_eq!(loses_roots(image), None, "{image}");
        }
    }
}
