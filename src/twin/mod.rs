//! An embedded cluster with a mesh inside, for the default run, rehearsals and tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod asmcli;
pub mod clock;
pub mod controllers;
pub mod kube;
pub mod mesh;
pub mod scenario;
pub mod server;

pub use mesh::{Figures, Prober};
pub use scenario::Scenario;

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
    kubeconfig: PathBuf,
    kubeconfig_text: String,
    cas: Vec<(String, String)>,
    prober: Arc<Prober>,
}

impl Twin {
    /// Starts a twin and returns when all that the scenario has is Ready.
    ///
    /// # Errors
    /// The machine gives no port or file, or the scenario does not become Ready.
    pub async fn start(scenario: Scenario, options: TwinOptions) -> Result<Twin, TwinError> {
        std::future::ready(()).await;
        let _ = (scenario, options);
        Err(TwinError::Start {
            step: "start".to_owned(),
            reason: "its rooms are being built".to_owned(),
        })
    }

    /// The kubeconfig file.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig's text; it holds the twin's bearer token.
    pub fn kubeconfig_text(&self) -> &str {
        &self.kubeconfig_text
    }

    /// Name of the kubeconfig's only context.
    pub fn context(&self) -> &'static str {
        CONTEXT
    }

    /// CAs by name with their roots as PEM: `MESHCA`, the twin's throw-away one. Citadel's root is
    /// not here: it is found on the cluster.
    pub fn named_cas(&self) -> Vec<(String, String)> {
        self.cas.clone()
    }

    /// The traffic between the proxies.
    pub fn traffic(&self) -> Arc<Prober> {
        Arc::clone(&self.prober)
    }

    /// The scenario's parameters for stock scripts.
    pub fn scenario_params(&self) -> serde_json::Map<String, serde_json::Value> {
        self.scenario.params.clone().into_iter().collect()
    }

    /// Name of the seed's value, for reports: a run with the same seed makes the same choices.
    pub fn seed(&self) -> u64 {
        self.scenario.seed
    }

    /// Ends all tasks and waits for them.
    pub async fn stop(self) {
        std::future::ready(()).await;
    }
}
