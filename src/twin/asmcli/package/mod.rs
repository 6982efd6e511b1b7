//! The package that `asmcli` installs from: `IstioOperator` overlays, and how they are merged.
//!
//! Separate from the command because the scenario installs revisions from it too. The overlays set
//! what Google's do, by the same keys; the Mesh CA root in `ca-migration-citadel` is the twin's
//! throw-away one. What a package of another version would hold ([`PackageParams`]) comes from the
//! twin, as the real tool downloads the package of its own version.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::twin::mesh::config::merge;
use crate::twin::mesh::manifests::{RevisionSpec, suffixed};
use crate::twin::scenario::{Scenario, Sidecars};

const BASE: &str = include_str!("istio-operator.yaml");
const PROFILE: &str = include_str!("istio-profile.yaml");
const OPTIONS: &[(&str, &str)] = &[
    (
        "ca-migration-citadel",
        include_str!("options/ca-migration-citadel.yaml"),
    ),
    (
        "ca-migration-meshca",
        include_str!("options/ca-migration-meshca.yaml"),
    ),
    ("citadel-ca", include_str!("options/citadel-ca.yaml")),
];

/// The version that the package installs.
pub(in crate::twin) const VERSION: &str = "1.23.3-asm.2";

/// In which ways packages differ.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::twin) struct PackageParams {
    /// Whether injection makes native sidecars.
    pub(in crate::twin) native_sidecars: bool,
    /// Whether revisions list other trust domains as aliases.
    pub(in crate::twin) aliases: bool,
    /// Whether `ca-migration-meshca` leaves istiod's CA server on.
    pub(in crate::twin) ca_server: bool,
    /// Pods of istiod.
    pub(in crate::twin) replicas: u32,
}

/// What one installation was asked for.
#[derive(Clone, Debug, Default)]
pub(in crate::twin) struct Request {
    pub(in crate::twin) revision: String,
    /// `citadel` or `mesh_ca`.
    pub(in crate::twin) ca: String,
    pub(in crate::twin) options: Vec<String>,
    /// Custom overlays, whole documents, in the order given.
    pub(in crate::twin) overlays: Vec<Value>,
    pub(in crate::twin) project: String,
    pub(in crate::twin) location: String,
    pub(in crate::twin) cluster: String,
    pub(in crate::twin) fleet: String,
    /// PEM of the root that `ca-migration-citadel` distributes.
    pub(in crate::twin) mesh_ca_root: String,
}

impl From<&Scenario> for PackageParams {
    fn from(scenario: &Scenario) -> PackageParams {
        PackageParams {
            native_sidecars: scenario.sidecars == Sidecars::Native,
            aliases: scenario.aliases,
            ca_server: scenario.ca_server,
            replicas: scenario.istiod_replicas,
        }
    }
}

/// Whether `--option NAME` is in the package.
pub(in crate::twin) fn has_option(name: &str) -> bool {
    OPTIONS.iter().any(|(known, _)| *known == name)
}

/// The package's files, with the values of this request filled in: path below `asm/istio/`, text.
pub(in crate::twin) fn files(request: &Request) -> Vec<(String, String)> {
    let mut files = vec![("istio-operator.yaml".to_owned(), fill(BASE, request))];
    for (name, text) in OPTIONS {
        files.push((format!("options/{name}.yaml"), fill(text, request)));
    }
    files
}

/// The merged `IstioOperator`: base, CA, options, custom overlays, and with Citadel its overlay
/// again, so that no custom overlay can change the trust domain.
///
/// # Errors
/// An option that is not in the package, or a key that the twin cannot act out.
pub(in crate::twin) fn operator(
    params: &PackageParams,
    request: &Request,
) -> Result<Value, String> {
    let mut layers = Vec::new();
    let option = |name: &str| {
        let (_, text) = OPTIONS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("Couldn't find yaml file {name}."))?;
        let mut layer = read(text, request)?;
        if name == "ca-migration-meshca" && !params.ca_server {
            layer["spec"]["values"]["pilot"]["env"]["ENABLE_CA_SERVER"] = json!(false);
        }
        Ok::<Value, String>(layer)
    };
    let citadel = request.ca == "citadel";
    if citadel {
        layers.push(option("citadel-ca")?);
    }
    for name in &request.options {
        layers.push(option(name)?);
    }
    layers.extend(request.overlays.iter().cloned());
    if citadel {
        layers.push(option("citadel-ca")?);
    }
    let mut operator = read(BASE, request)?;
    operator["spec"]["meshConfig"]["defaultConfig"]["discoveryAddress"] = json!(format!(
        "{}.istio-system.svc:15012",
        suffixed("istiod", &request.revision)
    ));
    if params.native_sidecars {
        operator["spec"]["values"]["pilot"]["env"]["ENABLE_NATIVE_SIDECARS"] = json!(true);
    }
    if !citadel {
        // What the real tool computes for Mesh CA; an option's list replaces it.
        let (fleet, project) = (&request.fleet, &request.project);
        let mut aliases = vec![
            format!("{fleet}.svc.id.goog"),
            format!("{fleet}.hub.id.goog"),
        ];
        if fleet != project {
            aliases.push(format!("{project}.svc.id.goog"));
        }
        operator["spec"]["meshConfig"]["trustDomainAliases"] = json!(aliases);
    }
    for layer in &layers {
        check(layer)?;
        merge(&mut operator, layer);
    }
    if !params.aliases
        && let Some(mesh) = operator["spec"]["meshConfig"].as_object_mut()
    {
        mesh.remove("trustDomainAliases");
    }
    Ok(operator)
}

/// The merged `IstioOperator` of upstream's `istioctl install`: profile `minimal`, then overlays.
///
/// # Errors
/// A profile with gateways, or a key that the twin cannot act out.
pub(in crate::twin) fn upstream(
    params: &PackageParams,
    revision: &str,
    overlays: &[Value],
) -> Result<Value, String> {
    let request = Request {
        revision: revision.to_owned(),
        ..Request::default()
    };
    let mut operator = read(PROFILE, &request)?;
    for layer in overlays {
        check(layer)?;
        merge(&mut operator, layer);
    }
    let profile = operator["spec"]["profile"].as_str().unwrap_or("default");
    if !["empty", "minimal"].contains(&profile) {
        return Err(format!(
            "the twin's istioctl cannot act out profile {profile}: it has gateways"
        ));
    }
    let address = format!("{}.istio-system.svc:15012", suffixed("istiod", revision));
    operator["spec"]["meshConfig"]["defaultConfig"]["discoveryAddress"] = json!(address);
    if params.native_sidecars {
        operator["spec"]["values"]["pilot"]["env"]["ENABLE_NATIVE_SIDECARS"] = json!(true);
    }
    Ok(operator)
}

/// The revision that a merged `IstioOperator` describes.
pub(in crate::twin) fn revision(
    name: &str,
    params: &PackageParams,
    operator: &Value,
) -> RevisionSpec {
    let spec = &operator["spec"];
    let pilot = &spec["components"]["pilot"]["k8s"];
    let mut values = spec["values"].clone();
    for variable in pilot["env"].as_array().into_iter().flatten() {
        if let Some(key) = variable["name"].as_str() {
            values["pilot"]["env"][key] = variable["value"].clone();
        }
    }
    let replicas = pilot["replicaCount"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok());
    RevisionSpec {
        revision: name.to_owned(),
        tag: spec["tag"].as_str().unwrap_or(VERSION).to_owned(),
        hub: spec["hub"].as_str().unwrap_or_default().to_owned(),
        replicas: replicas.unwrap_or(params.replicas).max(1),
        mesh_config: spec["meshConfig"].clone(),
        values,
    }
}

/// An overlay may say only what a revision of the twin can be.
fn check(layer: &Value) -> Result<(), String> {
    let unknown = |path: &str, keys: &[&str]| -> Result<(), String> {
        let at = layer.pointer(path).and_then(Value::as_object);
        match at
            .into_iter()
            .flatten()
            .find(|(key, _)| !keys.contains(&key.as_str()))
        {
            Some((key, _)) => Err(format!(
                "the twin's installer cannot act out {}.{key}: it installs istiod, its mesh configuration and its values",
                path.trim_start_matches('/').replace('/', ".")
            )),
            None => Ok(()),
        }
    };
    unknown(
        "/spec",
        &[
            "profile",
            "hub",
            "tag",
            "revision",
            "meshConfig",
            "values",
            "components",
        ],
    )?;
    unknown("/spec/components", &["base", "pilot"])?;
    unknown("/spec/components/pilot", &["enabled", "k8s"])?;
    unknown(
        "/spec/components/pilot/k8s",
        &["env", "replicaCount", "resources", "hpaSpec"],
    )
}

fn read(text: &str, request: &Request) -> Result<Value, String> {
    serde_saphyr::from_str(&fill(text, request)).map_err(|e| e.to_string())
}

/// The upper-case words of the package; the root becomes a quoted YAML string.
fn fill(text: &str, request: &Request) -> String {
    let idp = format!(
        "https://container.googleapis.com/v1/projects/{}/locations/{}/clusters/{}",
        request.project, request.location, request.cluster
    );
    text.replace("MESH_CA_ROOT", &json!(request.mesh_ca_root).to_string())
        .replace("ASM_TAG", VERSION)
        .replace("FLEET_ID", &request.fleet)
        .replace("PROJECT_NUMBER", "1")
        .replace("PROJECT_ID", &request.project)
        .replace("CLUSTER_LOCATION", &request.location)
        .replace("CLUSTER_NAME", &request.cluster)
        .replace("IDP_URL", &idp)
}

#[cfg(test)]
mod tests;
