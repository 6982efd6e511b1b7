//! `ask::…`: questions to the person who runs the script.

use super::world::World;
use crate::engine::kit::{self, Reply};
use rhai::plugin::*;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("ask", rhai::exported_module!(words).into());
}

/// Questions to the person who runs the script.
#[export_module]
mod words {
    /// Whether the person says yes; `--yes` and a twin say yes for them.
    ///
    /// - `question`: what is asked, without `[y/N]`.
    ///
    /// Throws `usage` when nobody can be asked.
    ///
    /// ```rhai
    /// assert(ask::confirm("move the namespace `shop`?"), "on a twin the answer is yes");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn confirm(ctx: NativeCallContext, question: &str) -> Reply<bool> {
        World::of(&ctx)?.port().confirm(question).map_err(kit::fail)
    }

    /// Whether the person typed a name, for what cannot be taken back; `--yes` does not answer it,
    /// `--confirm NAME` and a twin do.
    ///
    /// - `what`: what will happen.
    /// - `name`: what has to be typed, such as the name of the mesh.
    ///
    /// Throws `usage` when nobody can be asked.
    ///
    /// ```rhai
    /// assert(ask::confirm_name("the old root is removed", "shop-mesh"), "on a twin the answer is yes");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn confirm_name(ctx: NativeCallContext, what: &str, name: &str) -> Reply<bool> {
        let world = World::of(&ctx)?;
        world.port().confirm_name(what, name).map_err(kit::fail)
    }
}
