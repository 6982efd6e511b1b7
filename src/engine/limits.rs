//! How much a script may use.

use std::time::Duration;

/// The bounds of one evaluation; all of them are set explicitly because Rhai's own defaults differ
/// between debug and release builds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wall-clock time for the whole evaluation; none: as long as it takes.
    pub wall: Option<Duration>,
    /// Nested script calls. 96 levels of the heaviest kind need about 10 MiB of stack in a debug build.
    pub call_depth: usize,
    /// Nesting of expressions, at the top level and inside functions.
    pub expression_depth: usize,
    /// Bytes of one string.
    pub string_size: usize,
    /// Elements of one array.
    pub array_size: usize,
    /// Entries of one map.
    pub map_size: usize,
    /// Modules imported by one evaluation.
    pub modules: usize,
    /// Stack of the thread that evaluates a script, bytes.
    pub script_stack: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            wall: None,
            call_depth: 96,
            expression_depth: 128,
            string_size: 16 << 20,
            array_size: 200_000,
            map_size: 50_000,
            modules: 200,
            script_stack: 64 << 20,
        }
    }
}
