//! An embedded cluster with a mesh inside, for the default run, rehearsals and tests.
//!
//! The seam is HTTP: what uses the twin is given a kubeconfig and nothing else, and speaks to it as
//! to any cluster. Inside, [`kube`] holds the objects and their rules, [`server`] speaks HTTP,
//! [`controllers`] make objects come true, [`process`] is what runs in containers and [`mesh`] is istiod, the agents and the proxies; [`asmcli`]
//! installs revisions from another process; a [`scenario`] says what there is at the start. Time is the
//! wall clock's; durations are divided by a speed ([`clock`]).
//!
//! What it does was held against the real thing, and is again in every run of CI:
//!
//! | of the twin | against |
//! |---|---|
//! | API server, controllers, errors, tables | kube-apiserver 1.34.4 and its controllers, by `tests/kdiff`: what differs is listed there with its reason |
//! | logs, exec and port-forward | kubectl 1.37.1 (`tests/integration/kubectl`), and one contract for the twin and the lab |
//! | `asmcli`: flags, refusals, what an installation leaves | the lab's, which installs real revisions: one contract for both (`tests/integration/asmcli.rs`) |
//! | `istioctl install`: what the stock script's overlays make | `istioctl manifest generate` of Istio 1.31 (`tests/integration/installer.rs`) |
//! | dumps: shape, chain order, sorted bundles, names of secrets | Envoy 1.40 under Istio 1.31 (`tests/fixtures`), which the same verdicts are asked of |
//! | injection by labels, native and classic sidecars, gateways | pods as the real injector made them (`tests/fixtures/real`) |
//! | which settings make a second root reach a proxy; a third root after the secrets are gone; an istiod without its CA server that is Ready and cannot inject; names without aliases | seen on the lab, each a test there (`tests/integration/lab`) |
//! | who refuses whom | requests on the lab: the pairs that fail are those that the same gate names on both |
//! | a new root is told to the namespaces late, and reaches running proxies later | on the lab 1 to 13 s after istiod's restart, by its leader's lock; then the kubelet's lag |
//!
//! Not modelled, though real: connections that stay open through a change (the prober makes new ones only);
//! a pod of a Mesh CA revision that is Ready a moment before it has the old root (seen for 1.5 s on a busy machine;
//! the stock scripts install revisions whose proxies wait, `ready_delay`);
//! the revision tag `default`, which `istioctl install` gives to the first revision that is installed where there
//! is none; Mesh CA being down.

pub mod asmcli;
pub mod clock;
pub mod controllers;
pub mod kube;
pub mod mesh;
pub mod process;
mod routes;
pub mod scenario;
pub mod server;
mod start;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

pub use mesh::{Figures, Prober};
pub use scenario::Scenario;

use crate::effect::files;
use asmcli::package::PackageParams;
use mesh::operators_root;
use routes::Routes;
use scenario::{AdminFault, OldCa};
use server::{FaultPlan, Server, ServerOptions};
use start::{Core, context_of, failed};

/// What the caller of [`Twin::start`] may choose over the scenario.
#[derive(Clone, Debug, Default)]
pub struct TwinOptions {
    /// Simulated seconds per real second instead of the scenario's.
    pub speed: Option<f64>,
    /// Seed instead of the scenario's.
    pub seed: Option<u64>,
    /// Where the kubeconfig is written, readable by the owner only; a private temporary file unless given.
    pub kubeconfig_out: Option<PathBuf>,
}

/// Why a twin does not start.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// The scenario cannot be used.
    #[error("{0}")]
    Scenario(#[from] scenario::ScenarioError),
    /// A step of the start failed.
    #[error("the twin cannot {step}: {reason}")]
    Start {
        /// What was being done.
        step: String,
        /// Why it failed.
        reason: String,
    },
}

/// A running twin; dropping it ends all its tasks.
pub struct Twin {
    scenario: Scenario,
    /// The first cluster first; there is one at least.
    clusters: Vec<Served>,
    faults: Arc<FaultPlan>,
    kubeconfig: PathBuf,
    /// Holds the kubeconfig when no other place was named.
    _private: Option<TempDir>,
}

/// One of its clusters.
struct Served {
    context: String,
    scenario: Scenario,
    /// Before the core, so that no request meets a cluster that is being taken down.
    server: Server,
    core: Core,
}

impl Twin {
    /// Starts a twin and returns when all that the scenario has is Ready.
    ///
    /// # Errors
    /// The machine gives no port or file, or the scenario does not become Ready.
    pub async fn start(scenario: Scenario, options: TwinOptions) -> Result<Twin, TwinError> {
        let mut scenario = scenario;
        scenario.speed = options.speed.unwrap_or(scenario.speed);
        scenario.seed = options.seed.unwrap_or(scenario.seed);
        // Only calls over HTTP meet the faults: the start does not.
        let faults = Arc::new(FaultPlan::new(scenario.faults.api.clone()));
        let mut clusters: Vec<Served> = Vec::new();
        for (name, alone) in scenario.each_cluster() {
            let first = clusters.first().map(|served| &served.core.mesh);
            let core = Core::new(&name, &alone, first)?;
            let served = Served::start(&name, alone, core, &faults).await?;
            clusters.push(served);
        }
        populate(&clusters).await?;
        let text = kubeconfig_of(&clusters);
        let (kubeconfig, private) = write_kubeconfig(&text, options.kubeconfig_out)
            .map_err(|e| failed("write its kubeconfig", e))?;
        Ok(Twin {
            scenario,
            clusters,
            faults,
            kubeconfig,
            _private: private,
        })
    }

    /// The kubeconfig file.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig's text; it holds the twin's bearer tokens.
    pub fn kubeconfig_text(&self) -> String {
        kubeconfig_of(&self.clusters)
    }

    /// Names of the kubeconfig's contexts, one for each cluster; the first is the current one.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.clusters.iter().map(|served| served.context.as_str())
    }

    /// The first context.
    pub fn context(&self) -> &str {
        self.contexts().next().unwrap_or_default()
    }

    /// CAs by name with their roots as PEM: `MESHCA`, the twin's throw-away one. Citadel's root is
    /// not here: it is found on the cluster.
    pub fn named_cas(&self) -> Vec<(String, String)> {
        vec![("MESHCA".to_owned(), self.mesh().mesh_ca_root())]
    }

    /// What the clusters have in common can be asked of any.
    fn mesh(&self) -> &mesh::Mesh {
        &self.clusters[0].core.mesh
    }

    /// The traffic between the proxies.
    pub fn traffic(&self) -> Arc<Prober> {
        self.mesh().prober()
    }

    /// The scenario's parameters for stock scripts. Unless it says otherwise nobody waits for certificates to be refused
    /// (`watch`): by the time that a pod is shown as Ready the prober has tried every pair that it is part of.
    pub fn scenario_params(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut params = serde_json::Map::from_iter([("watch".to_owned(), 0.into())]);
        params.extend(self.scenario.params.clone());
        params
    }

    /// The seed: a run with the same one makes the same choices.
    pub fn seed(&self) -> u64 {
        self.scenario.seed
    }

    /// Faults of API calls; more can be added while it runs.
    pub fn api_faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Makes admin ports of the first cluster misbehave from now on, in place of the faults there were.
    pub fn set_admin_faults(&self, faults: Vec<AdminFault>) {
        self.mesh().set_admin_faults(faults);
    }

    /// Ends all tasks and waits for them.
    pub async fn stop(self) {
        for Served {
            server, mut core, ..
        } in self.clusters
        {
            server.stop().await;
            core.stop().await;
        }
    }
}

impl Served {
    /// Serves a cluster with nothing in it, and lets its controllers run.
    async fn start(
        name: &str,
        scenario: Scenario,
        mut core: Core,
        faults: &Arc<FaultPlan>,
    ) -> Result<Served, TwinError> {
        let context = context_of(name);
        let server = Server::start(ServerOptions {
            kube: core.kube.clone(),
            containers: core.containers.clone(),
            users: Vec::new(),
            extra: Some(Arc::new(Routes {
                prober: core.mesh.prober(),
                mesh_ca_root: core.mesh.mesh_ca_root(),
                package: PackageParams::from(&scenario),
            })),
            faults: Arc::clone(faults),
            context: context.clone(),
        })
        .await
        .map_err(|e| failed("serve", e))?;
        core.run(cluster_ca(&server.kubeconfig()));
        Ok(Served {
            context,
            scenario,
            server,
            core,
        })
    }

    /// As `istioctl create-remote-secret` makes it: by which other clusters' istiods read this one.
    fn remote_secret(&self) -> serde_json::Value {
        let name = self.core.name();
        serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": format!("istio-remote-secret-{name}"), "namespace": mesh::manifests::ISTIO_SYSTEM,
                "labels": {"istio/multiCluster": "true"}, "annotations": {"networking.istio.io/cluster": name},
            },
            "data": {name: STANDARD.encode(self.server.kubeconfig())},
        })
    }
}

/// Creates what each cluster has, below one old root where that is an operator's.
async fn populate(clusters: &[Served]) -> Result<(), TwinError> {
    let plugged = clusters
        .iter()
        .any(|served| served.scenario.old_ca == OldCa::Plugged);
    let root = plugged
        .then(|| operators_root(jiff::Timestamp::now()))
        .transpose()
        .map_err(|e| failed("mint the old CA", e))?;
    for served in clusters {
        let others = clusters
            .iter()
            .filter(|other| other.context != served.context);
        let remotes = others.map(Served::remote_secret).collect();
        served
            .core
            .populate(&served.scenario, root.as_ref(), remotes)
            .await?;
    }
    // Each istiod learns what the clusters after its own have.
    for served in clusters {
        served.core.mesh.settle().await;
    }
    Ok(())
}

/// The kubeconfigs of all in one; the first cluster's context is the current one.
fn kubeconfig_of(clusters: &[Served]) -> String {
    let read = |served: &Served| -> serde_json::Value {
        serde_saphyr::from_str(&served.server.kubeconfig()).unwrap_or_default()
    };
    let mut all = clusters.first().map(read).unwrap_or_default();
    for config in clusters.iter().skip(1).map(read) {
        for list in ["clusters", "users", "contexts"] {
            let (Some(to), Some(from)) = (all[list].as_array_mut(), config[list].as_array()) else {
                continue;
            };
            to.extend(from.iter().cloned());
        }
    }
    serde_saphyr::to_string(&all).unwrap_or_default()
}

/// The API server's CA, from its kubeconfig.
fn cluster_ca(kubeconfig: &str) -> String {
    let config: serde_json::Value = serde_saphyr::from_str(kubeconfig).unwrap_or_default();
    config
        .pointer("/clusters/0/cluster/certificate-authority-data")
        .and_then(|data| STANDARD.decode(data.as_str()?).ok())
        .and_then(|pem| String::from_utf8(pem).ok())
        .unwrap_or_default()
}

fn write_kubeconfig(
    text: &str,
    place: Option<PathBuf>,
) -> Result<(PathBuf, Option<TempDir>), files::FileError> {
    let private = match place {
        Some(_) => None,
        None => Some(files::temporary_dir("twin-")?),
    };
    let inside = private.as_ref().map(|dir| dir.path().join("kubeconfig"));
    let path = place.or(inside).unwrap_or_default();
    files::write_private(&path, text)?;
    Ok((path, private))
}
