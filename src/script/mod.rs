//! Where scripts come from: the bundled ones, files; their headers and parameters.
//!
//! A script is text with a header. This room finds it, reads the header and turns what a person
//! typed into typed parameters; it evaluates nothing.

mod error;
mod header;
mod kind;
mod params;

pub use error::{HeaderError, ParamError, ScriptError};
pub use header::{Header, Param};
pub use kind::Kind;
pub use params::{Given, resolve};

use crate::effect::files;
use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};

const BUNDLED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scripts");

/// A script that was found and whose header is in order.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its short name: the bundled name, or the file's stem.
    pub name: String,
    /// What errors call it: `scripts/NAME.rhai` for a bundled one, else the path as given.
    pub source: String,
    /// Where it is, if it is a file.
    pub path: Option<PathBuf>,
    /// Its text.
    pub text: String,
    /// What its leading `//!` lines say.
    pub header: Header,
}

impl Script {
    /// The bundled script of that name, or the file at that path. What contains a `/` or ends in
    /// `.rhai` is a path.
    ///
    /// # Errors
    /// Unknown name, with a suggestion; unreadable file; a file that is not UTF-8; a bad header.
    pub fn find(wanted: &str) -> Result<Script, ScriptError> {
        let is_rhai = Path::new(wanted)
            .extension()
            .is_some_and(|extension| extension == "rhai");
        if wanted.contains('/') || is_rhai {
            return Script::read(Path::new(wanted));
        }
        let Some(text) = bundled_text(wanted) else {
            return Err(ScriptError::Unknown {
                name: wanted.to_owned(),
                known: Script::names(),
                is_file: Path::new(wanted).is_file(),
            });
        };
        Script::from_text(
            wanted,
            format!("scripts/{wanted}.rhai"),
            None,
            text.to_owned(),
        )
    }

    /// The script in a file.
    ///
    /// # Errors
    /// As [`Script::find`].
    pub fn read(path: &Path) -> Result<Script, ScriptError> {
        let text = files::read_text(path)?;
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        Script::from_text(
            &name,
            path.display().to_string(),
            Some(path.to_owned()),
            text,
        )
    }

    /// A script whose text is at hand, such as the argument of `eval`. `source` is what errors call it.
    ///
    /// # Errors
    /// A bad header.
    pub fn from_text(
        name: &str,
        source: String,
        path: Option<PathBuf>,
        text: String,
    ) -> Result<Script, ScriptError> {
        // Some editors begin a file with a byte order mark.
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        match Header::parse(&text) {
            Ok(header) => Ok(Script {
                name: name.to_owned(),
                source,
                path,
                text,
                header,
            }),
            Err(error) => Err(ScriptError::Header {
                source_name: source,
                text,
                error,
            }),
        }
    }

    /// The names of the bundled scripts, sorted.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = BUNDLED
            .files()
            .filter_map(|file| file.path().to_str()?.strip_suffix(".rhai"))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// The folder that its imports are looked up in, after the embedded library.
    pub fn folder(&self) -> Option<PathBuf> {
        let parent = self.path.as_ref()?.parent()?;
        Some(if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_owned()
        })
    }
}

fn bundled_text(name: &str) -> Option<&'static str> {
    const FILES: &Dir<'static> = &BUNDLED;
    FILES.get_file(format!("{name}.rhai"))?.contents_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_an_error_and_a_path_is_read() {
        let error = Script::find("no-such-script").unwrap_err();
        assert_eq!(error.to_string(), "there is no script `no-such-script`");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.rhai");
        std::fs::write(&path, "//! My own.\nfn main() { 1 }\n").unwrap();
        let script = Script::find(path.to_str().unwrap()).unwrap();
        assert_eq!(script.name, "mine");
        assert_eq!(script.header.title, "My own");
        assert_eq!(script.folder().as_deref(), Some(dir.path()));
    }

    #[test]
    fn a_file_that_is_not_utf8_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latin.rhai");
        std::fs::write(&path, b"//! Title.\nlet x = \"\xe4\";\n").unwrap();
        let error = Script::find(path.to_str().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("latin.rhai: not UTF-8 text: byte 0xe4 at line 2, byte 10 of the line"),
            "{text}"
        );
    }

    #[test]
    fn every_bundled_script_has_a_header_with_a_title() {
        for name in Script::names() {
            let script = Script::find(&name).unwrap();
            assert!(!script.header.title.is_empty(), "{name} has no title");
        }
    }
}
