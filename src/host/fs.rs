//! `fs::…`: text files on this machine.

use super::world::World;
use crate::effect::files;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use rhai::plugin::*;
use std::path::Path;

/// Makes the words known to `engine`.
pub(super) fn register(engine: &mut rhai::Engine) {
    engine.register_static_module("fs", rhai::exported_module!(words).into());
}

/// Text files on this machine.
#[export_module]
mod words {
    /// Whether there is a file or folder.
    ///
    /// - `path`: relative to the working directory.
    ///
    /// ```rhai
    /// assert(!fs::exists("/no/such/file"), "there is none");
    /// ```
    #[rhai_fn(volatile)]
    pub fn exists(path: &str) -> bool {
        Path::new(path).exists()
    }

    /// The text of a file.
    ///
    /// - `path`: relative to the working directory.
    ///
    /// Throws `environment` if it cannot be read or is not UTF-8.
    ///
    /// ```rhai
    /// let file = fs::temp_dir() + "/note.txt";
    /// fs::write(file, "kept");
    /// assert(fs::read(file) == "kept", "what was written");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn read(ctx: NativeCallContext, path: &str) -> Reply<String> {
        kit::called(&ctx);
        files::read_text(Path::new(path)).map_err(super::failed)
    }

    /// The path of a new, empty folder that only this user can read; it is gone after the run.
    ///
    /// Throws `environment` if it cannot be made.
    ///
    /// ```rhai
    /// let dir = fs::temp_dir();
    /// assert(fs::exists(dir) && dir != fs::temp_dir(), "a new one each time");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn temp_dir(ctx: NativeCallContext) -> Reply<String> {
        World::of(&ctx)?.temp_dir().map_err(kit::fail)
    }

    /// Leaves a folder of `temp_dir` where it is after the run: evidence of what failed.
    ///
    /// - `path`: the folder, or something in it; anything else stays anyway.
    ///
    /// ```rhai
    /// let dir = fs::temp_dir();
    /// fs::keep(`${dir}/logs.txt`);
    /// assert(fs::exists(dir), "and so it is when the run has ended");
    /// shell::run(["rm", "-r", dir]);
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn keep(ctx: NativeCallContext, path: &str) -> Reply<()> {
        World::of(&ctx)?.keep_temp_dir(Path::new(path));
        Ok(())
    }

    /// Writes a file that only this user can read, in place of what was there.
    ///
    /// - `path`: relative to the working directory; its folder must exist.
    /// - `text`: the whole content.
    ///
    /// Throws `environment` if it cannot be written.
    ///
    /// ```rhai
    /// let file = fs::temp_dir() + "/a.yaml";
    /// fs::write(file, "a: 1\n");
    /// fs::write(file, "a: 2\n");
    /// assert(data::parse_yaml(fs::read(file)).a == 2, "the second text");
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn write(ctx: NativeCallContext, path: &str, text: &str) -> Reply<()> {
        kit::called(&ctx);
        files::write_private(Path::new(path), text).map_err(super::failed)
    }
}

fn failed(error: files::FileError) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::environment(error.to_string()))
}
