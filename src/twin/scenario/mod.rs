//! What a twin starts as: a mesh, written down in YAML.
//!
//! A scenario says how big the mesh is, who signs in it and how it is configured when the twin
//! starts, which parameters a stock script gets on it, and which faults it has. It is data: all that
//! happens from it (pods, injection, certificates) is made by the twin's API server, its controllers
//! and its mesh, from objects that are created through that API (`objects.rs`). Unknown keys are errors.
//!
//! The scenarios in this folder are embedded; any other is a file.

mod objects;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::server::Fault;
use crate::effect;

pub(super) use objects::{CREDENTIALS, HELD_CONNECTIONS};
pub use objects::{application_objects, gateway_objects};

/// The scenario that `--twin` without a name means.
pub const DEFAULT: &str = "default";

/// Name of the cluster that the top of a scenario describes.
pub const FIRST_CLUSTER: &str = "twin";

const EMBEDDED: &[(&str, &str)] = &[
    ("default", include_str!("default.yaml")),
    ("native", include_str!("native.yaml")),
    ("no-aliases", include_str!("no-aliases.yaml")),
    ("false-green", include_str!("false-green.yaml")),
    ("no-ca-server", include_str!("no-ca-server.yaml")),
    ("plugged-ca", include_str!("plugged-ca.yaml")),
    ("three-clusters", include_str!("three-clusters.yaml")),
    ("named-revision", include_str!("named-revision.yaml")),
    ("mixed-labels", include_str!("mixed-labels.yaml")),
    ("stateful", include_str!("stateful.yaml")),
    ("own-trust-domain", include_str!("own-trust-domain.yaml")),
];

/// A mesh as it is when the twin starts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for people.
    pub title: String,
    /// Makes random choices (lags, serial choices) repeatable.
    #[serde(default = "one")]
    pub seed: u64,
    /// Simulated seconds per real second.
    #[serde(default = "default_speed")]
    pub speed: f64,
    /// How the sidecar is put into a pod.
    #[serde(default)]
    pub sidecars: Sidecars,
    /// Trust domain of the control plane that is there at the start.
    #[serde(default = "cluster_local")]
    pub trust_domain: String,
    /// Project of the fleet: Mesh CA's trust domain is `FLEET.svc.id.goog`.
    #[serde(default = "fleet")]
    pub fleet_id: String,
    /// Whether revisions list each other's trust domain as an alias; without it a change of the
    /// trust domain is an outage though all roots are right.
    #[serde(default = "yes")]
    pub aliases: bool,
    /// Whether istiod keeps its CA server in revisions that Mesh CA signs for. `false` is the
    /// package of ASM 1.10–1.23, `true` that of 1.24 and later.
    #[serde(default = "yes")]
    pub ca_server: bool,
    /// Where the CA of the control plane at the start has its key from.
    #[serde(default)]
    pub old_ca: OldCa,
    /// Pods of each istiod Deployment.
    #[serde(default = "one_pod")]
    pub istiod_replicas: u32,
    /// Revisions beside `default` that are installed at the start.
    #[serde(default)]
    pub revisions: Vec<InstalledRevision>,
    /// Application namespaces by name, created in this order of names.
    #[serde(default)]
    pub namespaces: BTreeMap<String, Namespace>,
    /// Ingress gateways, injected by label.
    #[serde(default)]
    pub gateways: Vec<Gateway>,
    /// Further clusters of the same mesh, by name: what each has; in all else they are as the first, whose name is
    /// `twin`. Each has an intermediate of its own below the operator's root, so `old_ca` is `plugged`, and
    /// each has the secrets by which its istiod would read the others.
    #[serde(default)]
    pub clusters: BTreeMap<String, Member>,
    /// Further objects, as manifests: created in this order after the applications, so that a CustomResourceDefinition
    /// comes before the objects of its kind.
    #[serde(default)]
    pub objects: Vec<Value>,
    /// What stock scripts get as parameters, below `--params` and above their own defaults.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Faults,
}

/// What a further cluster has, as in [`Scenario`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Revisions beside `default`.
    #[serde(default)]
    pub revisions: Vec<InstalledRevision>,
    /// Application namespaces.
    #[serde(default)]
    pub namespaces: BTreeMap<String, Namespace>,
    /// Ingress gateways.
    #[serde(default)]
    pub gateways: Vec<Gateway>,
    /// Further objects.
    #[serde(default)]
    pub objects: Vec<Value>,
}

/// Classic sidecars are containers; native ones are init containers that keep running.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Sidecars {
    /// In `spec.containers` (Istio up to 1.26).
    #[default]
    Classic,
    /// In `spec.initContainers` with `restartPolicy: Always` (Istio 1.27 and later).
    Native,
}

/// Origin of the first control plane's CA.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum OldCa {
    /// The secret `cacerts`: an intermediate below an operator's root.
    Plugged,
    /// istiod makes `istio-ca-secret` itself.
    #[default]
    SelfSigned,
}

/// A revision as `asmcli` would install it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledRevision {
    /// Name, and value of the label `istio.io/rev`.
    pub name: String,
    /// `citadel` or `mesh_ca`, as `asmcli --ca`.
    pub ca: String,
    /// As `asmcli --option`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Revision tags that lead to it, as `istioctl tag set` makes them.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// One application namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// `enabled` (label `istio-injection`), the name of a revision or of a tag (label `istio.io/rev`), or
    /// nothing: not injected.
    #[serde(default)]
    pub injection: Option<String>,
    /// What runs there.
    #[serde(default)]
    pub workloads: Vec<Workload>,
}

/// A workload and the Service in front of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Name of the workload and its Service.
    pub name: String,
    /// Which controller runs it.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// Pods; a DaemonSet has one per node.
    #[serde(default = "one_pod")]
    pub replicas: u32,
    /// Service account; the workload's name unless given.
    #[serde(default)]
    pub service_account: Option<String>,
    /// Port of the Service and the container.
    #[serde(default = "port")]
    pub port: u16,
    /// Labels of the pod template beside `app`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pod template.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// A StatefulSet's or DaemonSet's `updateStrategy.type`.
    #[serde(default)]
    pub update_strategy: Option<String>,
}

/// The controllers that a workload can have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum WorkloadKind {
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` Deployment.
    #[default]
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

/// An ingress gateway: a Deployment whose only container the injector fills in, and its Service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Name of Deployment, Service and service account.
    #[serde(default = "gateway_name")]
    pub name: String,
    /// Where it runs.
    #[serde(default = "istio_system")]
    pub namespace: String,
    /// Pods.
    #[serde(default = "one_pod")]
    pub replicas: u32,
    /// Value of the pod label `istio.io/rev`; `default` unless given.
    #[serde(default = "default_revision")]
    pub revision: String,
    /// What its `Gateway` resources name as `credentialName`: secrets for clients from outside that its Envoy lists
    /// beside those of the mesh.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// Connections of visitors to each pod that end only with it, as those of WebSockets may.
    #[serde(default)]
    pub held_connections: u32,
}

/// What goes wrong on a twin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Admin ports that misbehave.
    #[serde(default)]
    pub admin: Vec<AdminFault>,
    /// API calls that fail.
    #[serde(default)]
    pub api: Vec<Fault>,
}

/// A proxy's admin port that misbehaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminFault {
    /// `NAMESPACE/PREFIX`: all pods of the namespace whose name starts so.
    pub pods: String,
    /// How.
    pub mode: AdminMode,
}

/// How an admin port misbehaves.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum AdminMode {
    /// Accepts the connection and never answers.
    Hang,
    /// Refuses the connection.
    Refuse,
    /// Closes in the middle of the body.
    Truncate,
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] effect::files::FileError),
    /// Neither the name of an embedded scenario nor a file.
    #[error("no scenario `{name}`: neither a file nor one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The embedded ones.
        known: String,
    },
    /// The text is not a scenario.
    #[error("scenario `{name}`: {reason}")]
    Yaml {
        /// Name or path.
        name: String,
        /// What the parser or the check says.
        reason: String,
    },
}

impl Scenario {
    /// The embedded scenario or the file of that name.
    ///
    /// # Errors
    /// Unknown name, unreadable file, YAML that is not a scenario, values out of range.
    pub fn find(name_or_path: &str) -> Result<Scenario, ScenarioError> {
        if let Some((name, text)) = EMBEDDED.iter().find(|(name, _)| *name == name_or_path) {
            return Scenario::parse(name, text);
        }
        let path = Path::new(name_or_path);
        if !path.exists() {
            return Err(ScenarioError::Unknown {
                name: name_or_path.to_owned(),
                known: Scenario::embedded()
                    .map(|n| format!("`{n}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        Scenario::parse(name_or_path, &effect::files::read_text(path)?)
    }

    /// Reads a scenario; `name` is for errors.
    ///
    /// # Errors
    /// YAML that is not a scenario, or values out of range.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let invalid = |reason: String| ScenarioError::Yaml {
            name: name.to_owned(),
            reason,
        };
        let scenario: Scenario =
            serde_saphyr::from_str(text).map_err(|e| invalid(e.to_string()))?;
        if !(scenario.speed.is_finite() && scenario.speed > 0.0) {
            return Err(invalid(format!(
                "`speed` must be above 0, found {}",
                scenario.speed
            )));
        }
        if scenario.istiod_replicas == 0 {
            return Err(invalid("`istiod_replicas` must be at least 1".to_owned()));
        }
        if !scenario.clusters.is_empty() && scenario.old_ca == OldCa::SelfSigned {
            return Err(invalid(
                "`clusters` of one mesh need one root: `old_ca: plugged`".to_owned(),
            ));
        }
        if let Some(name) = scenario
            .clusters
            .keys()
            .find(|name| *name == FIRST_CLUSTER || !is_cluster_name(name))
        {
            return Err(invalid(format!(
                "`clusters`: `{name}` is no name for a further cluster: lower-case letters, digits and `-`, and not `{FIRST_CLUSTER}`"
            )));
        }
        Ok(scenario)
    }

    /// Names of the embedded scenarios.
    pub fn embedded() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, _)| *name)
    }

    /// Each cluster by name, the first one first, as a scenario of its own.
    pub fn each_cluster(&self) -> Vec<(String, Scenario)> {
        let alone = Scenario {
            clusters: BTreeMap::new(),
            ..self.clone()
        };
        let mut all = vec![(FIRST_CLUSTER.to_owned(), alone.clone())];
        for (name, member) in &self.clusters {
            let member = member.clone();
            let scenario = Scenario {
                // Other UIDs and names of pods than those of the clusters before.
                seed: self.seed.wrapping_add(all.len() as u64),
                revisions: member.revisions,
                namespaces: member.namespaces,
                gateways: member.gateways,
                objects: member.objects,
                ..alone.clone()
            };
            all.push((name.clone(), scenario));
        }
        all
    }

    /// Mesh CA's trust domain in this scenario.
    pub fn fleet_trust_domain(&self) -> String {
        format!("{}.svc.id.goog", self.fleet_id)
    }
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            title: "an empty mesh".to_owned(),
            seed: one(),
            speed: default_speed(),
            sidecars: Sidecars::default(),
            trust_domain: cluster_local(),
            fleet_id: fleet(),
            aliases: true,
            ca_server: true,
            old_ca: OldCa::default(),
            istiod_replicas: one_pod(),
            revisions: Vec::new(),
            namespaces: BTreeMap::new(),
            gateways: Vec::new(),
            clusters: BTreeMap::new(),
            objects: Vec::new(),
            params: BTreeMap::new(),
            faults: Faults::default(),
        }
    }
}

/// As GKE has it, roughly: what stands in a context's name and in a Secret's.
fn is_cluster_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= 40
        && name.chars().all(allowed)
}

fn one() -> u64 {
    1
}
fn one_pod() -> u32 {
    1
}
fn yes() -> bool {
    true
}
fn default_speed() -> f64 {
    20.0
}
fn port() -> u16 {
    8080
}
fn cluster_local() -> String {
    "cluster.local".to_owned()
}
fn fleet() -> String {
    "twin-project".to_owned()
}
fn gateway_name() -> String {
    "istio-ingressgateway".to_owned()
}
fn istio_system() -> String {
    "istio-system".to_owned()
}
fn default_revision() -> String {
    "default".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_scenario_parses() {
        for name in Scenario::embedded() {
            let scenario = Scenario::find(name).unwrap();
            assert!(!scenario.namespaces.is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = Scenario::parse("x", "title: t\nspede: 3\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("spede"), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = Scenario::find("nowhere").unwrap_err().to_string();
        assert!(error.starts_with("no scenario `nowhere`"), "{error}");
        assert!(error.contains("`default`"), "{error}");
    }

    #[test]
    fn further_clusters_need_one_root_and_names() {
        let wrong = |text: &str| {
            let found = Scenario::parse("x", &format!("title: t\n{text}"));
            found.unwrap_err().to_string()
        };
        let error = wrong("clusters: {east: {}}");
        assert!(
            error.contains("need one root: `old_ca: plugged`"),
            "{error}"
        );
        for name in ["twin", "East", "-a", "a-", "\"\""] {
            let error = wrong(&format!("old_ca: plugged\nclusters: {{{name}: {{}}}}"));
            assert!(
                error.contains("is no name for a further cluster"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_speed_of_zero_is_refused() {
        let error = Scenario::parse("x", "title: t\nspeed: 0\n")
            .unwrap_err()
            .to_string();
        assert_eq!(error, "scenario `x`: `speed` must be above 0, found 0");
    }
}
