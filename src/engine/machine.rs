//! [`Engine`]: Rhai, set up, and the two ways to evaluate with it.

use super::calls::{Calls, Tag};
use super::cancel::Cancel;
use super::diagnostic::Diagnostic;
use super::docs::{self, WordDoc};
use super::kit::{self, Reply};
use super::modules::{Modules, Resolver};
use super::observer::{Silent, StepObserver, Words};
use super::program::Program;
use super::sources::Sources;
use super::{Failure, Limits, check, explain, suggest, syntax, volatile};
use rhai::{AST, CallFnOptions, Dynamic, EvalAltResult, Map, OptimizationLevel, Scope};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use tokio::sync::oneshot;

/// An evaluator with its words, limits and token. One per run or session; it takes under a
/// millisecond to build.
pub struct Engine {
    pub(super) rhai: rhai::Engine,
    pub(super) sources: Sources,
    pub(super) limits: Limits,
    pub(super) cancel: Cancel,
    pub(super) calls: Calls,
    modules: Modules,
    words: OnceLock<Vec<WordDoc>>,
    pub(super) json_form: kit::JsonForm,
}

impl Engine {
    /// An engine that knows `words`, whose every word can reach `tag`.
    ///
    /// # Errors
    /// A `bug` when the words cannot be registered.
    pub fn new(
        words: &dyn Words,
        tag: Dynamic,
        limits: Limits,
        cancel: Cancel,
        observer: &Arc<dyn StepObserver>,
        modules: Modules,
    ) -> Result<Engine, Failure> {
        let sources = Sources::default();
        let mut rhai = rhai::Engine::new();
        // Rhai's optimiser deletes statements that it cannot evaluate, undefined variables included.
        rhai.set_optimization_level(OptimizationLevel::None);
        // The interner is one lock that sleeps 10 ms when it is contended.
        rhai.set_max_strings_interned(0);
        rhai.set_strict_variables(true);
        rhai.set_max_call_levels(limits.call_depth);
        rhai.set_max_expr_depths(limits.expression_depth, limits.expression_depth);
        rhai.set_max_string_size(limits.string_size);
        rhai.set_max_array_size(limits.array_size);
        rhai.set_max_map_size(limits.map_size);
        rhai.set_max_modules(limits.modules);
        rhai.disable_symbol("eval");
        let calls = Calls::default();
        rhai.set_default_tag(Dynamic::from(Tag {
            world: tag,
            calls: calls.clone(),
        }));
        rhai.set_module_resolver(Resolver::new(modules.clone(), sources.clone()));
        let token = cancel.clone();
        let running = calls.clone();
        rhai.on_progress(move |operations| {
            running.clear();
            token.tick(operations).map(Dynamic::from)
        });
        kit::register_view(&mut rhai);
        syntax::register(&mut rhai, &cancel, &calls, observer)
            .map_err(|error| Failure::bug(format!("custom syntax: {error}")))?;
        words.register(&mut rhai);
        Ok(Engine {
            rhai,
            sources,
            limits,
            calls,
            cancel,
            modules,
            words: OnceLock::new(),
            json_form: words.json_form(),
        })
    }

    /// An engine for documentation and for checking texts: its words can be listed and compiled
    /// with, but not called.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn without_world(words: &dyn Words, modules: Modules) -> Result<Engine, Failure> {
        let observer: Arc<dyn StepObserver> = Arc::new(Silent);
        let (limits, cancel) = (Limits::default(), Cancel::new());
        Engine::new(words, Dynamic::UNIT, limits, cancel, &observer, modules)
    }

    /// Compiles `text`, which errors call `name`.
    ///
    /// # Errors
    /// Syntax errors, unknown variables and modules.
    pub fn compile(&self, name: &str, text: &str) -> Result<Program, Diagnostic> {
        self.sources.insert(name, text);
        let mut scope = Scope::new();
        scope.push_constant("p", Map::new());
        let mut ast = self
            .rhai
            .compile_with_scope(&scope, without_shebang(text).as_ref())
            .map_err(|error| {
                let error = EvalAltResult::ErrorParsing(*error.0, error.1);
                self.diagnose(&error, name, &[])
            })?;
        ast.set_source(name);
        self.check(&ast, name, text, &BTreeMap::new(), &mut BTreeSet::new())?;
        Ok(Program {
            name: name.to_owned(),
            ast,
        })
    }

    /// Evaluates `program` on a thread of its own: calls its `main(p)`, or `main()`, if it has one,
    /// else evaluates it from top to bottom with `p` as a constant.
    ///
    /// Dropping the future stops the script.
    ///
    /// # Errors
    /// What the script threw, a refusal, an interruption, or a result without a JSON form. In the
    /// result the values of Secrets are hidden.
    pub async fn run(
        self: &Arc<Self>,
        program: Program,
        params: Value,
    ) -> Result<Value, Diagnostic> {
        let engine = self.clone();
        self.on_thread(move || {
            let result = engine.calls.placed(engine.evaluate(&program, &params));
            let value = result.and_then(|value| kit::to_shown_json(&value, engine.json_form));
            value.map_err(|error| engine.diagnose(&error, program.name(), &[]))
        })
        .await
    }

    /// That `main(p)` of `program` asks its parameter only for `known` names: a misspelt one would
    /// be `()` and not an error.
    ///
    /// # Errors
    /// The first name that is not known, with a suggestion.
    pub fn check_params(&self, program: &Program, known: &[&str]) -> Result<(), Diagnostic> {
        let main = program.ast.iter_functions().find(|f| f.name == "main");
        let Some(variable) = main.and_then(|main| main.params.first().copied()) else {
            return Ok(());
        };
        let asked = volatile::properties(&program.ast, "main", variable);
        let Some((name, at)) = asked
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        else {
            return Ok(());
        };
        let mut failure = Failure::script(format!("the script declares no parameter `{name}`"));
        failure.hint = suggest::did_you_mean(name, known.iter().copied())
            .or_else(|| Some(format!("declare it: `//! param {name}: string`")));
        let text = self.sources.get(&program.name).unwrap_or_default();
        Err(Diagnostic::at(
            failure,
            &program.name,
            &text,
            at.line().unwrap_or(1),
            at.position().unwrap_or(1),
        ))
    }

    /// All words and forms, Rhai's own library excluded.
    pub fn metadata(&self) -> Vec<WordDoc> {
        let mut words = docs::words(&self.rhai, false);
        words.extend(syntax::docs());
        words
    }

    /// The token that stops this engine's evaluations.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Finds calls that cannot succeed, in `ast` and in the modules that it imports. `seen`: the
    /// modules that were checked already.
    pub(super) fn check(
        &self,
        ast: &AST,
        name: &str,
        text: &str,
        earlier: &BTreeMap<String, BTreeSet<usize>>,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), Diagnostic> {
        let mut imported = BTreeMap::new();
        for import in volatile::imports(ast) {
            let functions = match &import.path {
                Some(path) => self.functions_of(path, seen)?,
                None => None,
            };
            let known = imported
                .entry(import.alias)
                .or_insert_with(|| functions.clone());
            // One alias for two modules: which one is meant is known at run time only.
            if *known != functions {
                *known = None;
            }
        }
        let mut functions = check::functions(ast, false);
        for (name, arities) in earlier {
            functions.entry(name.clone()).or_default().extend(arities);
        }
        let known = check::Known {
            words: self.all_words(),
            functions,
            declared: explain::declared(text).into_iter().collect(),
            imported,
        };
        let Some(unknown) = check::unknown_call(ast, &known) else {
            return Ok(());
        };
        let at = unknown.call.position;
        Err(Diagnostic::at(
            unknown.failure,
            name,
            text,
            at.line().unwrap_or(1),
            at.position().unwrap_or(1),
        ))
    }

    /// The public functions of a module that can be imported; none if it cannot be had or compiled,
    /// which `import` itself will say.
    fn functions_of(
        &self,
        path: &str,
        seen: &mut BTreeSet<String>,
    ) -> Result<Option<BTreeMap<String, BTreeSet<usize>>>, Diagnostic> {
        let Ok(Some((name, text))) = self.modules.text(path) else {
            return Ok(None);
        };
        let Ok(ast) = self.rhai.compile(&text) else {
            return Ok(None);
        };
        if seen.insert(name.clone()) {
            self.check(&ast, &name, &text, &BTreeMap::new(), seen)?;
        }
        Ok(Some(check::functions(&ast, true)))
    }

    fn evaluate(&self, program: &Program, params: &Value) -> Reply<Dynamic> {
        if let Some(wall) = self.limits.wall {
            self.cancel.expire_in(wall);
        }
        let params = kit::to_dynamic(params);
        let mut scope = Scope::new();
        scope.push_constant_dynamic("p", params.clone());
        let Some(taken) = program.main_parameters() else {
            return self.rhai.eval_ast_with_scope(&mut scope, &program.ast);
        };
        let args: Vec<Dynamic> = [params].into_iter().take(taken).collect();
        self.rhai
            .call_fn_with_options(CallFnOptions::new(), &mut scope, &program.ast, "main", args)
    }

    /// Does `work` on a thread with the stack that scripts need, and catches its panics.
    pub(super) async fn on_thread<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T, Diagnostic> + Send + 'static,
    ) -> Result<T, Diagnostic> {
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("script".to_owned())
            .stack_size(self.limits.script_stack)
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                    Err(Diagnostic::new(Failure::bug(format!(
                        "panic: {}",
                        panic_text(panic.as_ref())
                    ))))
                });
                let _ = done.send(result);
            });
        if let Err(error) = thread {
            return Err(Diagnostic::new(Failure::environment(format!(
                "cannot start the script's thread: {error}"
            ))));
        }
        let dropped = StopOnDrop(Some(self.cancel.clone()));
        let result = result.await;
        dropped.disarm();
        result.unwrap_or_else(|_| {
            Err(Diagnostic::new(Failure::bug(
                "the script's thread vanished",
            )))
        })
    }

    /// `error` with its place and, for unknown names, a suggestion. `own`: names that `main` knows
    /// without declaring them.
    pub(super) fn diagnose(&self, error: &EvalAltResult, main: &str, own: &[String]) -> Diagnostic {
        let mut diagnostic = Diagnostic::of(kit::failure_of(error), error, main, &self.sources);
        if diagnostic.failure.hint.is_none() {
            let text = diagnostic
                .frames
                .first()
                .and_then(|frame| frame.text.clone());
            let mut names = explain::declared(text.as_deref().unwrap_or_default());
            names.extend_from_slice(own);
            explain::with_words(
                &mut diagnostic.failure,
                leaf(error),
                self.all_words(),
                &names,
                &self.modules.names(),
            );
        }
        diagnostic
    }

    /// All words and Rhai's own library; kept, since collecting them takes some milliseconds.
    fn all_words(&self) -> &[WordDoc] {
        self.words.get_or_init(|| docs::words(&self.rhai, true))
    }
}

/// `text` with a first line `#!…` made a comment of the same length.
fn without_shebang(text: &str) -> Cow<'_, str> {
    match text.strip_prefix("#!") {
        Some(rest) => Cow::Owned(format!("//{rest}")),
        None => Cow::Borrowed(text),
    }
}

fn leaf(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _)
        | EvalAltResult::ErrorInModule(_, inner, _) => leaf(inner),
        leaf => leaf,
    }
}

/// The message of a caught panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Stops the script when nobody waits for it any more.
struct StopOnDrop(Option<Cancel>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = self.0.take() {
            cancel.cancel();
        }
    }
}
