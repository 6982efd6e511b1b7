//! What host words are made of: replies, failures, strict option maps, JSON both ways, objects read
//! in place.
//!
//! A word is a Rust function in an `#[export_module]` that takes a `NativeCallContext`, reaches the
//! world through [`context`], and answers a [`Reply`]. Parameters and results are only `i64`, `f64`,
//! `bool`, strings, `Array`, `Map`, `Dynamic`, `()`, [`View`] and types that a word registers:
//! Rhai takes every other type as opaque, and `usize == i64` is then silently false.

mod json;
mod options;
mod thrown;
mod view;

pub use json::{JsonForm, text, to_dynamic, to_json, to_json_with, to_shown_json};
pub use options::{number, options};
pub use thrown::{fail, fail_at, failure_of, failure_of_value, thrown};
pub use view::View;

pub use crate::engine::workers::{Item, parallel};

pub(super) use thrown::to_map as failure_map;
pub(super) use view::register as register_view;

use super::Failure;
use super::calls::Tag;
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};

/// What a word answers: a value, or what is thrown.
pub type Reply<T> = Result<T, Box<EvalAltResult>>;

/// The engine's tag as `T`: how a word reaches the world.
///
/// # Errors
/// A `bug` when the engine was built with another tag.
pub fn context<T: Clone + Send + Sync + 'static>(ctx: &NativeCallContext) -> Reply<T> {
    called(ctx);
    ctx.tag()
        .and_then(|tag| tag.clone().try_cast::<Tag>())
        .and_then(|tag| tag.world.try_cast::<T>())
        .ok_or_else(|| {
            fail(Failure::bug(format!(
                "`{}` was called in an engine without its world",
                ctx.fn_name()
            )))
        })
}

/// Leaves the place of the running word, so that its failure points at the line. [`context`] does it
/// too; this is for words of modules that need no context.
pub fn called(ctx: &NativeCallContext) {
    if let Some(tag) = ctx.tag().and_then(|tag| tag.clone().try_cast::<Tag>()) {
        tag.calls.note(ctx);
    }
}

/// The engine's tag as `T`, for what is registered with the words.
pub fn world<T: Clone + Send + Sync + 'static>(engine: &Engine) -> Option<T> {
    let tag = engine.default_tag().clone().try_cast::<Tag>()?;
    tag.world.try_cast::<T>()
}

/// Calls `f`, which takes nothing, in another world; all that it calls is in that world too.
///
/// # Errors
/// What `f` throws; a `bug` when the engine was built without a world.
pub fn call_in(ctx: &NativeCallContext, world: Dynamic, f: &FnPtr) -> Reply<Dynamic> {
    let tag = ctx.tag().and_then(|tag| tag.clone().try_cast::<Tag>());
    let Some(tag) = tag else {
        let missing = format!(
            "`{}` was called in an engine without its world",
            ctx.fn_name()
        );
        return Err(fail(Failure::bug(missing)));
    };
    let calls = tag.calls;
    super::volatile::call_with_tag(ctx, Dynamic::from(Tag { world, calls }), f)
}

/// `f` with the environment of the place where it was written: how a word keeps or returns a
/// closure.
///
/// Rhai resolves the names inside a closure where it is called; a bound one resolves them where it
/// was bound. It gets no `this`.
///
/// # Errors
/// None today; Rhai reserves the right.
pub fn bind(ctx: &NativeCallContext, f: FnPtr) -> Reply<FnPtr> {
    super::volatile::bind(ctx, f)
}
