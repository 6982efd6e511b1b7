//! Every use of Rhai's volatile API, so that the next version of Rhai is one file's problem.
//!
//! Rhai marks these as deprecated to say "may change". The regression tests in `tests.rs` encode
//! what the rest of the engine relies on.

use super::kit::Reply;
use rhai::{
    AST, ASTNode, Dynamic, Engine, EvalContext, Expr, Expression, FnPtr, NativeCallContext,
    ParseError, Position, Stmt,
};

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
        // The names are those of the place where it was written; the world is the caller's.
        if let Some(tag) = ctx.tag() {
            store.global.tag = tag.clone();
        }
        let inner = store.create_context(ctx.engine());
        let args: Vec<Dynamic> = args.iter_mut().map(|arg| std::mem::take(*arg)).collect();
        f.call_raw(&inner, None, args)
    })
}

/// Calls `f` with another tag, which everything that it calls sees too.
#[allow(deprecated)]
pub(super) fn call_with_tag(ctx: &NativeCallContext, tag: Dynamic, f: &FnPtr) -> Reply<Dynamic> {
    let mut store = ctx.store_data();
    store.global.tag = tag;
    store.global.level = ctx.call_level();
    let inner = store.create_context(ctx.engine());
    f.call_within_context(&inner, ())
}

/// A call as it is written, method calls excluded.
pub(super) struct Call {
    /// The modules before the name, outermost first.
    pub modules: Vec<String>,
    /// The name.
    pub name: String,
    /// How many arguments.
    pub args: usize,
    /// Where.
    pub position: Position,
}

/// Every call in `ast`, function bodies included; operators and closures themselves are left out.
pub(super) fn calls(ast: &AST) -> Vec<Call> {
    let mut calls = Vec::new();
    ast.walk(&mut |path| {
        let call = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, position))) => Some((call, position)),
            Some(ASTNode::Stmt(Stmt::FnCall(call, position))) => Some((call, position)),
            _ => None,
        };
        if let Some((call, position)) = call
            && call.op_token.is_none()
        {
            calls.push(Call {
                modules: call
                    .namespace
                    .path
                    .iter()
                    .map(|part| part.name.to_string())
                    .collect(),
                name: call.name.to_string(),
                args: call.args.len(),
                position: *position,
            });
        }
        true
    });
    calls
}

/// An `import "path" as alias`; the path is none if it is not a literal.
pub(super) struct Import {
    /// What is imported.
    pub path: Option<String>,
    /// Under which name.
    pub alias: String,
    /// Whether it is at the top level.
    pub top: bool,
}

/// Every import in `ast`.
pub(super) fn imports(ast: &AST) -> Vec<Import> {
    let mut imports = Vec::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
            let (expr, alias) = &**import;
            imports.push(Import {
                path: match expr {
                    Expr::StringConstant(text, _) => Some(text.to_string()),
                    _ => None,
                },
                alias: alias.name.to_string(),
                top: path.len() == 1,
            });
        }
        true
    });
    imports
}

/// The constants that `ast` declares at its top level.
pub(super) fn constants(ast: &AST) -> Vec<String> {
    ast.statements()
        .iter()
        .filter_map(|statement| match statement {
            Stmt::Var(var, options, _) if options.intersects(rhai::ASTFlags::CONSTANT) => {
                Some(var.0.name.to_string())
            }
            _ => None,
        })
        .collect()
}

/// Every `variable.property` that is written in the function `name` of `ast`, closures in it left
/// out: `(property, where)`. Where another variable takes the name, it is that one's.
pub(super) fn properties(ast: &AST, name: &str, variable: &str) -> Vec<(String, Position)> {
    // `clone_functions_only_filtered` keeps everything (rhai 1.27), closures too.
    let mut function = ast.clone_functions_only();
    function.retain_functions(|_, _, found, _| found == name);
    let mut properties = Vec::new();
    let mut renamed = false;
    function.walk(&mut |path| {
        renamed |= matches!(path.last(), Some(ASTNode::Stmt(Stmt::Var(var, ..))) if var.0.name == variable);
        let loops = |node: &ASTNode| {
            matches!(node, ASTNode::Stmt(Stmt::For(x, ..)) if x.0.name == variable
                || x.1.as_ref().is_some_and(|counter| counter.name == variable))
        };
        if renamed || path.iter().any(loops) {
            return true;
        }
        if let Some(ASTNode::Expr(Expr::Dot(pair, ..))) = path.last()
            && let Expr::Variable(found, ..) = &pair.lhs
            && found.1 == variable
        {
            // `a.b.c` is `a.(b.c)`.
            let first = match &pair.rhs {
                Expr::Dot(rest, ..) | Expr::Index(rest, ..) => &rest.lhs,
                other => other,
            };
            if let Expr::Property(property, position) = first {
                properties.push((property.2.to_string(), *position));
            }
        }
        true
    });
    properties
}
