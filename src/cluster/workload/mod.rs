//! Workloads: what they are, how they restart and what would go wrong, one after the other and undone.
//!
//! A room of its own because these rules are those of `kubectl` and of Kubernetes' controllers about
//! pods and their owners, and not of the API: everything here is made of [`super::Cluster`]'s calls.
//!
//! | file | what |
//! |---|---|
//! | `view` | every workload with its pods, and who owns a pod |
//! | `waves` | restarting many, a bounded part at a time, within the PodDisruptionBudgets |
//! | `undo` | history, going back, pausing |
//! | `findings`, `surroundings`, `room`, `ports` | what would go wrong in a restart |
//! | `load` | what a restart needs for a moment |
//! | `selector`, `quantity`, `share` | label selectors, amounts, `25%` |

mod findings;
mod load;
mod ports;
mod quantity;
mod room;
mod selector;
mod share;
mod surroundings;
mod undo;
mod view;
mod waves;

pub use findings::{Finding, Severity};
pub use load::Load;
pub use share::Share;
pub use undo::Revision;
pub use view::{PodCounts, Restart, Workload};
pub use waves::{
    Bounds, Clearance, Disruption, Member, Next, clearance, next_wave, restart_change,
};

pub(super) use undo::is_paused;
pub(super) use waves::refuse_on_delete;

use super::Object;

/// Whether a pod is ready.
pub(super) fn is_ready(pod: &Object) -> bool {
    let conditions = pod.items("/status/conditions");
    conditions
        .iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Whether a pod has ended for good.
pub(super) fn is_finished(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Failed" | "Succeeded")
}

/// The object that controls another, as its `ownerReferences` name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Who controls an object: the owner reference with `controller: true`.
pub(super) fn controller_of(object: &Object) -> Option<Reference> {
    let owner = object
        .items("/metadata/ownerReferences")
        .iter()
        .find(|o| o["controller"] == true)?;
    let text = |key: &str| owner[key].as_str().unwrap_or("").to_owned();
    Some(Reference {
        api_version: text("apiVersion"),
        kind: text("kind"),
        name: text("name"),
        uid: text("uid"),
    })
}
