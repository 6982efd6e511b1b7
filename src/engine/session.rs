//! Lines that build on each other: what a prompt evaluates with.
//!
//! Variables, constants, functions, imports and closures survive from line to line. Rhai knows only
//! whole scripts, so each line is compiled as the last line of a growing transcript, in which
//! the earlier lines are blank: every position in every function that was ever typed stays true, and
//! errors show the right text. Imports and constants are written again above each line, because
//! functions see them only then; modules are loaded once, and constants keep their values.

use super::check;
use super::diagnostic::Diagnostic;
use super::kit;
use super::machine::Engine;
use super::pretty::pretty;
use super::volatile;
use rhai::{AST, Dynamic, EvalAltResult, LexError, ParseErrorType, Scope};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What errors call the transcript.
const NAME: &str = "session";

/// Rhai counts lines in 16 bits; long before that a new transcript is begun.
const LAST_LINE: usize = 50_000;

/// A session of one engine.
pub struct Session {
    engine: Arc<Engine>,
    state: Arc<Mutex<State>>,
}

/// A value as the prompt shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// As people read it; none for `()`.
    pub text: Option<String>,
    /// As JSON, if it has that form; the values of Secrets are hidden.
    pub json: Option<Value>,
}

#[derive(Default)]
struct State {
    scope: Scope<'static>,
    functions: Option<AST>,
    /// Alias → path.
    imports: BTreeMap<String, String>,
    constants: BTreeSet<String>,
    /// All lines so far, each ended. Imports and constants are written where the first one was.
    transcript: String,
}

impl Session {
    /// A session without names of its own.
    pub fn new(engine: Arc<Engine>) -> Session {
        Session {
            engine,
            state: Arc::default(),
        }
    }

    /// The engine that evaluates.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Gives a variable a value, as `let` does.
    pub fn set(&self, name: &str, value: &Value) {
        let mut state = self.state();
        let _ = state.scope.remove::<Dynamic>(name);
        state.scope.push_dynamic(name, kit::to_dynamic(value));
    }

    /// Evaluates what was typed. What was defined before a failure stays defined.
    ///
    /// # Errors
    /// Syntax, unknown words, what was thrown, an interruption.
    pub async fn eval(&self, input: &str) -> Result<Shown, Diagnostic> {
        self.engine.cancel().reset();
        let (engine, state) = (self.engine.clone(), self.state.clone());
        let input = input.to_owned();
        self.engine
            .on_thread(move || {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                state.eval(&engine, &input)
            })
            .await
    }

    /// Whether `input` is the beginning of something: an open bracket, block or text.
    pub fn is_incomplete(&self, input: &str) -> bool {
        let state = self.state();
        let (padded, _) = state.padded(input);
        match self.engine.rhai.compile_with_scope(&state.scope, &padded) {
            Ok(_) => false,
            Err(error) => {
                let at = error.position();
                let lines = padded.split('\n').count();
                let width = padded
                    .rsplit('\n')
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .chars()
                    .count();
                let at_end = at.line().is_none_or(|line| {
                    line > lines || line == lines && at.position().unwrap_or(1) > width
                });
                match &*error.0 {
                    ParseErrorType::UnexpectedEOF => true,
                    ParseErrorType::BadInput(LexError::UnterminatedString) => {
                        padded.matches('`').count() % 2 == 1
                    }
                    ParseErrorType::MissingToken(..)
                    | ParseErrorType::MissingSymbol(_)
                    | ParseErrorType::ExprExpected(_) => at_end,
                    _ => false,
                }
            }
        }
    }

    /// The names that may begin an expression: variables, functions, imported modules.
    pub fn names(&self) -> Vec<String> {
        let state = self.state();
        let mut names: BTreeSet<String> = state
            .scope
            .iter()
            .map(|(name, _, _)| name.to_owned())
            .collect();
        names.extend(state.imports.keys().cloned());
        if let Some(functions) = &state.functions {
            names.extend(check::functions(functions, false).into_keys());
        }
        names.retain(|name| !name.contains('$'));
        names.into_iter().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn eval(&mut self, engine: &Engine, input: &str) -> Result<Shown, Diagnostic> {
        if self.transcript.matches('\n').count() + input.matches('\n').count() > LAST_LINE {
            self.transcript.clear();
        }
        let (padded, transcript) = self.padded(input);
        self.transcript = transcript;
        engine.sources.insert(NAME, &self.transcript);
        let ast = engine
            .rhai
            .compile_with_scope(&self.scope, &padded)
            .map_err(|error| {
                let error = EvalAltResult::ErrorParsing(*error.0, error.1);
                engine.diagnose(&error, NAME, &self.own_names())
            })?;
        let earlier = self
            .functions
            .as_ref()
            .map(|functions| check::functions(functions, false))
            .unwrap_or_default();
        let mut declared = padded.clone();
        for name in self.own_names() {
            let _ = write!(declared, "\nlet {name}");
        }
        self.check(engine, &ast, &declared, &earlier)?;
        let functions = ast.clone_functions_only();
        let mut whole = match &self.functions {
            Some(earlier) => earlier.merge(&ast),
            None => ast.clone(),
        };
        whole.set_source(NAME);
        match &mut self.functions {
            Some(earlier) => {
                earlier.combine(functions);
            }
            None => self.functions = Some(functions),
        }
        let result = engine
            .rhai
            .eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        let result = engine.calls.placed(result);
        self.remember(&ast);
        let value = result.map_err(|error| engine.diagnose(&error, NAME, &self.own_names()))?;
        Ok(Shown {
            text: (!value.is_unit())
                .then(|| pretty(&value, &|value, whole| display(engine, value, whole))),
            json: kit::to_shown_json(&value, engine.json_form).ok(),
        })
    }

    /// `input` where it stands in the transcript, with everything before it blank but for imports
    /// and constants; and the transcript with it.
    fn padded(&self, input: &str) -> (String, String) {
        let mut transcript = self.transcript.clone();
        let above = !self.imports.is_empty() || !self.constants.is_empty();
        if transcript.is_empty() && above {
            transcript.push('\n');
        }
        let mut text = String::new();
        for (alias, path) in &self.imports {
            let _ = write!(text, "import {path:?} as {alias}; ");
        }
        for name in &self.constants {
            let _ = write!(text, "const {name} = {name}; ");
        }
        text.push_str(&"\n".repeat(transcript.matches('\n').count()));
        text.push_str(input);
        transcript.push_str(input);
        transcript.push('\n');
        (text, transcript)
    }

    fn check(
        &self,
        engine: &Engine,
        ast: &AST,
        declared: &str,
        earlier: &BTreeMap<String, BTreeSet<usize>>,
    ) -> Result<(), Diagnostic> {
        let checked = engine.check(ast, NAME, declared, earlier, &mut BTreeSet::new());
        checked.map_err(|mut diagnostic| {
            // Shown with the transcript and not with the text that was made for the compiler.
            for frame in diagnostic
                .frames
                .iter_mut()
                .filter(|frame| frame.source == NAME)
            {
                frame.text = Some(Arc::from(self.transcript.as_str()));
            }
            diagnostic
        })
    }

    /// Keeps what later lines need, and drops what they cannot see.
    fn remember(&mut self, ast: &AST) {
        for import in volatile::imports(ast) {
            if let (Some(path), true, false) = (import.path, import.top, import.alias.is_empty()) {
                self.imports.insert(import.alias, path);
            }
        }
        for name in volatile::constants(ast) {
            self.constants.insert(name);
        }
        let names: Vec<&str> = self.scope.iter().map(|(name, _, _)| name).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        if distinct.len() < names.len() {
            self.scope = self.scope.clone_visible();
        }
        // A constant that a variable has replaced, or that was never reached, is none any more.
        self.constants
            .retain(|name| self.scope.is_constant(name).unwrap_or(false));
    }

    fn own_names(&self) -> Vec<String> {
        self.scope
            .iter()
            .map(|(name, _, _)| name.to_owned())
            .collect()
    }
}

/// A value of a type that only its words know, by its own `to_string`; inside of another value by its
/// `to_debug`, which is short.
fn display(engine: &Engine, value: &Dynamic, whole: bool) -> String {
    let mut scope = Scope::new();
    scope.push_dynamic("value", value.clone());
    let word = if whole { "to_string" } else { "to_debug" };
    engine
        .rhai
        .eval_with_scope::<String>(&mut scope, &format!("value.{word}()"))
        .unwrap_or_else(|_| value.to_string())
}
