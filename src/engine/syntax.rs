//! `step NAME { … }` and `ensure { … } always { … }`.
//!
//! Custom syntax instead of words that take closures: a block sees the variables around it without
//! capturing them (captured variables are locks under threads), and `return` and `break` inside
//! leave the function or loop that is written around it.

use super::calls::{Calls, leaf_mut};
use super::cancel::Cancel;
use super::docs::WordDoc;
use super::kit;
use super::observer::StepObserver;
use super::volatile::{self, Block};
use super::{Failure, FailureKind};
use rhai::{Dynamic, Engine, EvalAltResult, EvalContext, ParseError};
use std::sync::Arc;

/// Teaches `engine` both forms.
pub(super) fn register(
    engine: &mut Engine,
    cancel: &Cancel,
    calls: &Calls,
    observer: &Arc<dyn StepObserver>,
) -> Result<(), ParseError> {
    let (observer, running) = (observer.clone(), calls.clone());
    volatile::block_syntax(engine, &["step", "$expr$", "$block$"], move |ctx, parts| {
        step(ctx, parts, observer.as_ref(), &running)
    })?;
    let (cancel, running) = (cancel.clone(), calls.clone());
    volatile::block_syntax(
        engine,
        &["ensure", "$block$", "always", "$block$"],
        move |ctx, parts| ensure(ctx, parts, &cancel, &running),
    )
}

/// The documentation of both forms; Rhai has none for custom syntax.
pub(super) fn docs() -> [WordDoc; 2] {
    let form = |name: &str, form, doc: &str| WordDoc {
        module: None,
        name: name.to_owned(),
        params: Vec::new(),
        returns: String::new(),
        doc: doc.to_owned(),
        form: Some(form),
    };
    [
        form("ensure", "ensure { … } always { … }", ENSURE),
        form("step", "step NAME { … }", STEP),
    ]
}

const ENSURE: &str = "\
Does the first block and then, whatever happens in it, the second.

It happens after a throw, `return`, `break`, and when the run is stopped: requests to stop and the
deadline then wait until the second block is done, for a minute at most. What the first block threw
goes on; if the second throws too, that becomes evidence. It gives the value of the first block.

```rhai
let order = [];
let value = ensure { order.push(1); \"done\" } always { order.push(2) };
assert(value == \"done\" && order == [1, 2], order);
```";

const STEP: &str = "\
Does a block as a named unit of work, which is shown, timed and recorded; steps may be nested.

The name is a text, such as `\"distribute both roots\"`. It gives the value of the block; `return` and
`break` in it leave the function or loop around it. What the block throws goes on.

```rhai
let moved = step \"move shop\" { 1 + 1 };
assert(moved == 2, moved);
```";

fn step(
    ctx: &mut EvalContext,
    parts: &[Block],
    observer: &dyn StepObserver,
    calls: &Calls,
) -> kit::Reply<Dynamic> {
    let [name, block] = parts else {
        return Err(kit::fail(Failure::bug("`step` takes a name and a block")));
    };
    let position = name.position();
    let name = volatile::eval(ctx, name)?;
    let Ok(name) = name.into_string() else {
        let failure = Failure::script("the name of a step is a string");
        return Err(kit::fail_at(failure, position));
    };
    observer
        .begin(&name)
        .map_err(|failure| kit::fail_at(failure, position))?;
    let result = calls.placed(volatile::eval(ctx, block));
    let failure = match &result {
        Err(error) if !is_flow(error) => Some(kit::failure_of(error)),
        _ => None,
    };
    let ended = observer.end(&name, failure.as_ref().map_or(Ok(()), Err));
    match (failure, ended) {
        (None, Err(failure)) => Err(kit::fail_at(failure, position)),
        _ => result,
    }
}

fn ensure(
    ctx: &mut EvalContext,
    parts: &[Block],
    cancel: &Cancel,
    calls: &Calls,
) -> kit::Reply<Dynamic> {
    let [block, always] = parts else {
        return Err(kit::fail(Failure::bug("`ensure` takes two blocks")));
    };
    let result = calls.placed(volatile::eval(ctx, block));
    let cleanup = {
        let _masked = cancel.mask();
        calls.placed(volatile::eval(ctx, always))
    };
    match (result, cleanup) {
        (result, Ok(_)) => result,
        // What failed first is what went wrong; a cleanup cannot hide it, not even with `return`.
        (Err(first), Err(second)) if !is_flow(&first) => Err(if is_flow(&second) {
            first
        } else {
            with_cleanup(first, &kit::failure_of(&second))
        }),
        (_, Err(second)) => Err(second),
    }
}

/// `return`, `break`, `continue` and `exit` travel as errors and are none.
fn is_flow(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::LoopBreak(..) | EvalAltResult::Return(..) | EvalAltResult::Exit(..) => true,
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => is_flow(inner),
        _ => false,
    }
}

/// `error` with the failure of its cleanup as evidence.
fn with_cleanup(mut error: Box<EvalAltResult>, cleanup: &Failure) -> Box<EvalAltResult> {
    let mut failure = kit::failure_of(&error);
    failure
        .evidence
        .push(format!("the cleanup failed too: {}", cleanup.message));
    let leaf = leaf_mut(&mut error);
    let position = leaf.position();
    *leaf = if failure.kind == FailureKind::Interrupted {
        EvalAltResult::ErrorTerminated(Dynamic::from(failure), position)
    } else {
        EvalAltResult::ErrorRuntime(kit::failure_map(&failure).into(), position)
    };
    error
}
