//! What runs in a mesh: proxies, revisions, CAs, verdicts, the trust matrix and the gates.
//!
//! ```text
//! pods → which are proxies → what each of them holds (dump) → what that means (verdict)
//!      → who can talk to whom, now and after a step (matrix) → may this step be taken (gate)
//! ```
//!
//! Separate from `cluster/` because it knows Istio, and from `host/` because it knows no script.
//! It never mutates anything but its own record ([`record`]), and whether a proxy drains ([`traffic`]); what mutates is
//! guarded by [`gate`].
//!
//! A verdict is yes, no, or unknown with a reason, and unknown is never treated as yes.

mod abroad;
mod admission;
pub mod ca;
pub mod ca_secrets;
pub mod dump;
pub mod dumps;
pub mod effect;
pub mod exceptions;
pub mod forecast;
pub mod gate;
pub mod gate_text;
pub mod identity;
pub mod injection;
pub mod inventory;
pub mod matchers;
pub mod matrix;
pub mod names;
mod network;
pub mod pods;
pub mod read;
pub mod record;
mod rehearsal;
pub mod revision;
pub mod root_users;
pub mod survey;
pub mod templates;
pub mod tls_stats;
pub mod traffic;
pub mod trust_domains;
mod validation;
pub mod verdict;
pub mod why;

use crate::cluster::ClusterError;

/// Why the mesh could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MeshError {
    /// Two places that must agree about the running CA do not.
    #[error("the sources of the CITADEL root do not agree: {0}")]
    CaDisagrees(String),
    /// The API server refused or could not be reached.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No place tells which root the running control plane has.
    #[error("no root of the running istiod found: looked at {0}")]
    NoCa(String),
    /// An object of the mesh cannot be understood.
    #[error("{object}: {reason}")]
    Unreadable {
        /// Kind and name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl MeshError {
    /// The next step for the person who reads the error.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::CaDisagrees(_) | Self::NoCa(_) => Some(
                "name the root that signs today: --ca CITADEL=FILE (PEM); where the cluster knows it, leave --ca CITADEL away".into(),
            ),
            Self::Cluster(error) => error.hint(),
            Self::Unreadable { .. } => None,
        }
    }
}
