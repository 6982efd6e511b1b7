//! Every use of Rhai's volatile API, so that the next version of Rhai is one file's problem.
//!
//! Rhai marks these as deprecated to say "may change". The regression tests in `tests.rs` encode
//! what the rest of the engine relies on.

use super::kit::Reply;
use rhai::{Dynamic, Engine, EvalContext, Expression, FnPtr, NativeCallContext, ParseError};

/// A part of custom syntax: an expression or a block.
pub(super) type Block<'a> = Expression<'a>;

/// Registers custom syntax that neither adds nor removes variables.
pub(super) fn block_syntax(
    engine: &mut Engine,
    symbols: &[&str],
    evaluate: impl Fn(&mut EvalContext, &[Block]) -> Reply<Dynamic> + Send + Sync + 'static,
) -> Result<(), ParseError> {
    engine.register_custom_syntax(symbols, false, evaluate)?;
    Ok(())
}

/// Evaluates a part of custom syntax in the scope around it.
pub(super) fn eval(ctx: &mut EvalContext, part: &Block) -> Reply<Dynamic> {
    ctx.eval_expression_tree(part)
}

/// `f` with the environment of the place where it was written, so that it can be stored or returned.
///
/// Rhai resolves the names inside a closure where it is *called*; a bound one resolves them where it
/// was bound.
#[allow(deprecated)]
pub(super) fn bind(ctx: &NativeCallContext, f: FnPtr) -> Reply<FnPtr> {
    let store = ctx.store_data();
    FnPtr::from_fn("bound", move |ctx, args| {
        let mut store = store.clone();
        // Without this, recursion through a bound closure escapes the limit of call levels.
        store.global.level = ctx.call_level() + 1;
        let inner = store.create_context(ctx.engine());
        let args: Vec<Dynamic> = args.iter_mut().map(|arg| std::mem::take(*arg)).collect();
        f.call_raw(&inner, None, args)
    })
}
