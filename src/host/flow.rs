//! Words without a module: checks, waiting, repetition, many at once.
//!
//! They take closures, and are native for that reason: a closure given to a function of a *script*
//! module resolves its names in that module.

use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use rhai::plugin::*;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_global_module(rhai::exported_module!(words).into());
}

#[export_module]
mod words {
    use rhai::FnPtr;

    /// Throws unless a condition holds.
    ///
    /// - `condition`: what must be true.
    /// - `message`: what is said otherwise; any value, shown as text.
    ///
    /// Throws `script`.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2, "arithmetic");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn assert(condition: bool, message: Dynamic) -> Reply<()> {
        if condition {
            return Ok(());
        }
        Err(kit::fail(Failure::script(format!(
            "assertion failed: {message}"
        ))))
    }

    /// The closure with the names of the place where it is written, so that it can be stored,
    /// returned, or given to a function of another script.
    ///
    /// - `f`: a closure. It gets no `this`.
    ///
    /// ```rhai
    /// let double = bind(|n| n * 2);
    /// assert(double.call(21) == 42, "bound");
    /// ```
    #[rhai_fn(return_raw)]
    pub fn bind(ctx: NativeCallContext, f: FnPtr) -> Reply<FnPtr> {
        kit::bind(&ctx, f)
    }
}
