//! Who uses the old root beside the proxies.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::Mesh;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::mesh::gate::ROOT_USERS;
use crate::mesh::read::Ask;
use crate::mesh::root_users::{self, User};

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "root_users", words);
}

/// Users of the old root.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// Who trusts or shows the old root (CITADEL's) beside the proxies: applications that mount it or their proxy's
    /// certificates, webhooks and API servers that are verified by it, copies of it, other meshes.
    ///
    /// Answers maps of `kind`, `namespace`, `name`, `how`, and `way_out`: what to do before it is retired. Throws
    /// `refused` if a kind may not be listed.
    ///
    /// ```rhai
    /// assert(mesh::connect().root_users().is_empty(), "nobody but proxies");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn root_users(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Certificates)?;
        let found = mesh.wait(root_users::find(&mesh.cluster, &view))?;
        if found.unknown.is_empty() {
            return Ok(found.users.iter().map(super::user).collect());
        }
        let message = "not known who uses the old root";
        let mut failure = Failure::refused(ROOT_USERS.code, message);
        failure.evidence = found.unknown;
        Err(kit::fail(failure.hint("allow `list` on these kinds")))
    }
}

fn user(user: &User) -> Dynamic {
    Map::from([
        ("kind".into(), user.kind.clone().into()),
        ("namespace".into(), user.namespace.clone().into()),
        ("name".into(), user.name.clone().into()),
        ("how".into(), user.how.clone().into()),
        ("way_out".into(), user.way_out.into()),
    ])
    .into()
}
