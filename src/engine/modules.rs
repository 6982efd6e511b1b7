//! What `import` finds: the embedded library first, then files beside the script.
//!
//! The embedded library cannot be shadowed: a file beside the script with the name of an embedded
//! module is never read, so that a stock script means the same everywhere.

use super::Failure;
use super::kit;
use super::sources::Sources;
use crate::effect::files;
use include_dir::{Dir, include_dir};
use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

const LIBRARY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/stdlib");

/// Where modules come from.
#[derive(Clone, Debug)]
pub struct Modules {
    library: Dir<'static>,
    beside: Option<PathBuf>,
}

impl Modules {
    /// The embedded library, then `beside` (the folder of the script), if there is one.
    pub fn new(beside: Option<PathBuf>) -> Modules {
        Modules {
            library: LIBRARY,
            beside,
        }
    }

    /// Another library in place of the embedded one, for an embedder's own.
    pub fn with_library(mut self, library: Dir<'static>) -> Modules {
        self.library = library;
        self
    }

    /// The names that `import` accepts from the embedded library.
    pub fn embedded(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.library, &mut names);
        names.sort();
        names
    }

    /// All names that `import` accepts: the embedded ones and the files beside the script.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.embedded();
        let beside = self
            .beside
            .as_ref()
            .and_then(|dir| std::fs::read_dir(dir).ok());
        for entry in beside.into_iter().flatten().flatten() {
            if let Some(name) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.strip_suffix(".rhai"))
            {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The text of `path` and the name that errors show, or none if there is no such module.
    pub(super) fn text(&self, path: &str) -> Result<Option<(String, String)>, Failure> {
        let file = format!("{}.rhai", path.strip_suffix(".rhai").unwrap_or(path));
        if let Some(found) = self.library.get_file(&file) {
            let text = found.contents_utf8().unwrap_or_default();
            return Ok(Some((format!("stdlib/{file}"), text.to_owned())));
        }
        let Some(beside) = &self.beside else {
            return Ok(None);
        };
        let file = beside.join(&file);
        if !file.exists() {
            return Ok(None);
        }
        let text =
            files::read_text(&file).map_err(|error| Failure::environment(error.to_string()))?;
        Ok(Some((file.display().to_string(), text)))
    }
}

fn collect(dir: &Dir<'static>, names: &mut Vec<String>) {
    for file in dir.files() {
        if let Some(name) = file
            .path()
            .to_str()
            .and_then(|path| path.strip_suffix(".rhai"))
            && !name.ends_with("_test")
        {
            names.push(name.to_owned());
        }
    }
    for sub in dir.dirs() {
        collect(sub, names);
    }
}

/// Rhai's view of [`Modules`], with a cache and a guard against circles.
pub(super) struct Resolver {
    modules: Modules,
    sources: Sources,
    loaded: Mutex<HashMap<String, Shared<Module>>>,
    loading: Mutex<Vec<(std::thread::ThreadId, String)>>,
}

impl Resolver {
    pub(super) fn new(modules: Modules, sources: Sources) -> Resolver {
        Resolver {
            modules,
            sources,
            loaded: Mutex::default(),
            loading: Mutex::default(),
        }
    }

    fn load(&self, engine: &Engine, path: &str) -> kit::Reply<Option<Shared<Module>>> {
        let Some((name, text)) = self.modules.text(path).map_err(kit::fail)? else {
            return Ok(None);
        };
        self.sources.insert(&name, &text);
        let mut ast = engine.compile(&text).map_err(|error| {
            let inner = EvalAltResult::ErrorParsing(*error.0, error.1);
            // A frame of its own, so that the diagnostic shows the module's text.
            Box::new(EvalAltResult::ErrorInFunctionCall(
                String::new(),
                name.clone(),
                Box::new(inner),
                Position::NONE,
            ))
        })?;
        ast.set_source(name.as_str());
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(|error| {
            Box::new(EvalAltResult::ErrorInFunctionCall(
                String::new(),
                name.clone(),
                error,
                Position::NONE,
            ))
        })?;
        Ok(Some(module.into()))
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        _source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        if let Some(module) = lock(&self.loaded).get(path) {
            return Ok(module.clone());
        }
        let in_module = |inner| {
            Box::new(EvalAltResult::ErrorInModule(
                path.to_owned(),
                inner,
                position,
            ))
        };
        let me = std::thread::current().id();
        {
            let mut loading = lock(&self.loading);
            let mine: Vec<&str> = loading
                .iter()
                .filter(|(thread, _)| *thread == me)
                .map(|(_, path)| path.as_str())
                .collect();
            if mine.contains(&path) {
                let chain = [&mine[..], &[path]].concat().join("` → `");
                let failure = Failure::script(format!("modules import each other: `{chain}`"));
                return Err(in_module(kit::fail(failure)));
            }
            loading.push((me, path.to_owned()));
        }
        let module = self.load(engine, path);
        lock(&self.loading).retain(|(thread, loading)| *thread != me || loading != path);
        match module.map_err(in_module)? {
            Some(module) => {
                lock(&self.loaded).insert(path.to_owned(), module.clone());
                Ok(module)
            }
            None => Err(Box::new(EvalAltResult::ErrorModuleNotFound(
                path.to_owned(),
                position,
            ))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
