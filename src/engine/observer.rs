//! The two seams through which the engine is told about the world: its words, and who watches steps.

use super::Failure;
use super::kit::JsonForm;

/// Where the words of the language come from; the engine knows none of them.
pub trait Words: Send + Sync {
    /// Registers all words. The engine's tag is set already (`kit::world`).
    fn register(&self, engine: &mut rhai::Engine);

    /// How values of types that the words add are written as JSON.
    fn json_form(&self) -> JsonForm {
        |_| None
    }
}

/// Who is told about `step NAME { … }`.
pub trait StepObserver: Send + Sync {
    /// A step begins.
    ///
    /// # Errors
    /// A failure here is thrown at the step, whose block is then not evaluated and which has no end.
    fn begin(&self, name: &str) -> Result<(), Failure>;

    /// The step that began last on this thread has ended; `result` is how its block ended.
    ///
    /// # Errors
    /// A failure here is thrown at the step unless its block has failed already.
    fn end(&self, name: &str, result: Result<(), &Failure>) -> Result<(), Failure>;
}

/// An observer that does not look, for evaluation outside of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl StepObserver for Silent {
    fn begin(&self, _name: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&self, _name: &str, _result: Result<(), &Failure>) -> Result<(), Failure> {
        Ok(())
    }
}
