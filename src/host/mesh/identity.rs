//! What people wrote about identities, and what of it a change of the trust domain leaves without effect.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::Mesh;
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind, did_you_mean};
use crate::mesh::gate::IDENTITY;
use crate::mesh::identity::{self, Change, Impact, Keep};
use crate::mesh::read::Ask;

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "identity", words);
}

/// The impact of another trust domain.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// What would no longer match peers if all moved to this revision: policies, rules and filters that name them by
    /// a trust domain that they have now. Empty where the revision changes no trust domain.
    ///
    /// - `revision`: its name.
    ///
    /// Answers maps of `kind`, `namespace`, `name`, `field` (as `spec.rules[0].from[0].source.principals[0]`), `value`,
    /// `effect` (what happens), and `patch`: what keeps it, a kubectl command or the alias to add, or `()` where
    /// it is by hand. Throws `cluster` if there is no such revision, `refused` if a kind may not be listed.
    ///
    /// ```rhai
    /// assert(mesh::connect().identity_impact("default").is_empty(), "they are of it already");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn identity_impact(mesh: &mut Mesh, revision: &str) -> Reply<Array> {
        let view = mesh.look(Ask::Certificates)?;
        let Some(found) = view.revision(revision) else {
            let known = view.revisions.iter().map(|r| r.name.as_str());
            let mut failure = Failure::new(
                FailureKind::Cluster,
                format!("there is no revision `{revision}`"),
            );
            failure.hint = did_you_mean(revision, known);
            return Err(kit::fail(failure));
        };
        let Some(change) = Change::moving_to(&view, found) else {
            return Ok(Array::new());
        };
        let others = mesh.world.clusters();
        let found = mesh.wait(identity::find(&mesh.cluster, others, &view, &change))?;
        if found.unknown.is_empty() {
            return Ok(found.impacts.iter().map(super::impact).collect());
        }
        let message = "not known what names peers by their identity";
        let mut failure = Failure::refused(IDENTITY.code, message);
        failure.evidence = found.unknown;
        Err(kit::fail(failure.hint("allow `list` on these kinds")))
    }
}

fn impact(impact: &Impact) -> Dynamic {
    let patch = match &impact.keep {
        Keep::ByHand => Dynamic::UNIT,
        keep => keep.to_string().into(),
    };
    Map::from([
        ("kind".into(), impact.kind.clone().into()),
        ("namespace".into(), impact.namespace.clone().into()),
        ("name".into(), impact.name.clone().into()),
        ("field".into(), impact.field.clone().into()),
        ("value".into(), impact.value.clone().into()),
        ("effect".into(), impact.effect.clone().into()),
        ("patch".into(), patch),
    ])
    .into()
}
