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
use routes::Routes;
use scenario::AdminFault;
use server::{FaultPlan, Server, ServerOptions};
use start::{Core, failed};

/// Name of the only context of a twin's kubeconfig.
pub const CONTEXT: &str = "gke_twin-project_us-central1-a_twin";

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
    /// Before the core, so that no request meets a cluster that is being taken down.
    server: Server,
    core: Core,
    faults: Arc<FaultPlan>,
    kubeconfig: PathBuf,
    /// Holds the kubeconfig when no other place was named.
    _private: Option<TempDir>,
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
        let mut core = Core::new(&scenario)?;
        // Only calls over HTTP meet the faults: the start does not.
        let faults = Arc::new(FaultPlan::new(scenario.faults.api.clone()));
        let server = Server::start(ServerOptions {
            kube: core.kube.clone(),
            containers: core.containers.clone(),
            users: Vec::new(),
            extra: Some(Arc::new(Routes {
                prober: core.mesh.prober(),
                mesh_ca_root: core.mesh.mesh_ca_root(),
                package: PackageParams::from(&scenario),
            })),
            faults: Arc::clone(&faults),
        })
        .await
        .map_err(|e| failed("serve", e))?;
        let text = server.kubeconfig();
        core.run(cluster_ca(&text));
        core.populate(&scenario).await?;
        let (kubeconfig, private) = write_kubeconfig(&text, options.kubeconfig_out)
            .map_err(|e| failed("write its kubeconfig", e))?;
        Ok(Twin {
            scenario,
            server,
            core,
            faults,
            kubeconfig,
            _private: private,
        })
    }

    /// The kubeconfig file.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig's text; it holds the twin's bearer token.
    pub fn kubeconfig_text(&self) -> String {
        self.server.kubeconfig()
    }

    /// Name of the kubeconfig's only context.
    pub fn context(&self) -> &'static str {
        CONTEXT
    }

    /// CAs by name with their roots as PEM: `MESHCA`, the twin's throw-away one. Citadel's root is
    /// not here: it is found on the cluster.
    pub fn named_cas(&self) -> Vec<(String, String)> {
        vec![("MESHCA".to_owned(), self.core.mesh.mesh_ca_root())]
    }

    /// The traffic between the proxies.
    pub fn traffic(&self) -> Arc<Prober> {
        self.core.mesh.prober()
    }

    /// The scenario's parameters for stock scripts.
    pub fn scenario_params(&self) -> serde_json::Map<String, serde_json::Value> {
        self.scenario.params.clone().into_iter().collect()
    }

    /// The seed: a run with the same one makes the same choices.
    pub fn seed(&self) -> u64 {
        self.scenario.seed
    }

    /// Faults of API calls; more can be added while it runs.
    pub fn api_faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Makes admin ports misbehave from now on, in place of the faults there were.
    pub fn set_admin_faults(&self, faults: Vec<AdminFault>) {
        self.core.mesh.set_admin_faults(faults);
    }

    /// Ends all tasks and waits for them.
    pub async fn stop(self) {
        let Twin {
            server, mut core, ..
        } = self;
        server.stop().await;
        core.stop().await;
    }
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
