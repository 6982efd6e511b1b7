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
use crate::cluster::{Cluster, Object, Selector};
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

/// One revision, as installed.
#[derive(Debug, Clone)]
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
}

impl Revision {
    /// Whether a second root reaches its proxies at all.
    pub fn distributes(&self) -> bool {
        self.multi_root && self.xds_agent
    }

    /// The name of its Deployment, Service, HPA and PDB.
    pub fn istiod(&self) -> String {
        istiod_name(&self.name)
    }
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
        let mesh_name = with_revision("istio", &name);
        let values_name = with_revision("istio-sidecar-injector", &name);
        let (mesh, values) = futures::try_join!(
            cluster.get(&config_maps, namespace, &mesh_name),
            cluster.get(&config_maps, namespace, &values_name)
        )?;
        let mesh = parse(mesh.as_ref(), &mesh_name, "mesh")?;
        let values = parse(values.as_ref(), &values_name, "values")?;
        let ready = running
            .iter()
            .filter(|p| p.labels().get(names::REV).map_or("default", String::as_str) == name)
            .filter(|p| {
                p.value().pointer("/metadata/deletionTimestamp").is_none()
                    && pods::is_ready(p.value())
            })
            .count();
        out.push(revision(
            &name, deployment, &mesh, &values, ready, injection,
        ));
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn parse(object: Option<&Object>, name: &str, key: &str) -> Result<Value, MeshError> {
    let Some(text) = object.and_then(|o| o.value()["data"][key].as_str()) else {
        return Ok(Value::Null);
    };
    serde_saphyr::from_str(text).map_err(|e| MeshError::Unreadable {
        object: format!("ConfigMap {}/{name}, key `{key}`", names::ISTIO_SYSTEM),
        reason: e.to_string(),
    })
}

fn revision(
    name: &str,
    deployment: &Object,
    mesh: &Value,
    values: &Value,
    ready: usize,
    injection: &Injection,
) -> Revision {
    let env = |key: &str| istiod_env(deployment.value(), key);
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
    Revision {
        name: name.to_owned(),
        ready,
        wanted: deployment
            .int("/spec/replicas")
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
        multi_root: env("ISTIO_MULTIROOT_MESH").as_deref() == Some("true"),
        xds_agent: metadata["PROXY_CONFIG_XDS_AGENT"].as_str() == Some("true"),
        ca_server: env("ENABLE_CA_SERVER").as_deref() != Some("false"),
        injects: Err(format!("the injector of revision `{name}` was not asked")),
        signer: signer(&provider, &address),
        root: istiod_root(name, injection),
    }
}

fn signer(provider: &str, address: &str) -> CaEndpoint {
    let host = address.split(':').next().unwrap_or_default();
    match provider {
        "GoogleCA" => CaEndpoint::MeshCa,
        "" | "Citadel" if host.is_empty() || host.starts_with("istiod") => CaEndpoint::Istiod,
        "" | "Citadel" if names::MESHCA_HOSTS.contains(&host) => CaEndpoint::MeshCa,
        "" | "Citadel" => CaEndpoint::Other(address.to_owned()),
        _ if address.is_empty() => CaEndpoint::Other(provider.to_owned()),
        _ => CaEndpoint::Other(format!("{provider} at {address}")),
    }
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
