//! A script that has been compiled.

use rhai::AST;

/// A compiled script; runs on the engine that compiled it.
#[derive(Clone)]
pub struct Program {
    pub(super) name: String,
    pub(super) ast: AST,
}

impl Program {
    /// The name that errors show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many parameters its `main` takes, if it has one.
    pub fn main_parameters(&self) -> Option<usize> {
        self.ast
            .iter_functions()
            .filter(|function| function.name == "main")
            .map(|function| function.params.len())
            .min()
    }
}
