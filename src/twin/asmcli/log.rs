//! `asmcli`'s log lines: on stderr, and in `logs.txt` once there is an output directory.

use std::io::Write;

use crate::effect::files::AppendFile;

/// Where lines go.
pub(super) struct Log<'a> {
    stderr: &'a mut (dyn Write + Send),
    file: Option<AppendFile>,
}

/// The tool has printed its `[ERROR]` line and ends with exit code 2.
#[derive(Debug)]
pub(super) struct Fatal;

impl<'a> Log<'a> {
    pub(super) fn new(stderr: &'a mut (dyn Write + Send)) -> Log<'a> {
        Log { stderr, file: None }
    }

    /// Copies all later lines to a file.
    pub(super) fn also_to(&mut self, file: AppendFile) {
        self.file = Some(file);
    }

    pub(super) fn info(&mut self, text: &str) {
        // A log that cannot be written must not stop an installation half-way.
        let _ = writeln!(self.stderr, "asmcli: {text}");
        if let Some(file) = &mut self.file {
            let _ = file.line(&format!("asmcli: {text}"));
        }
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.info(&format!("[WARNING]: {text}"));
    }

    pub(super) fn error(&mut self, text: &str) {
        self.info(&format!("[ERROR]: {text}"));
    }

    pub(super) fn fatal_with_usage(&mut self, text: &str) -> Fatal {
        self.error(text);
        self.plain(&super::usage());
        Fatal
    }

    pub(super) fn fatal(&mut self, text: &str) -> Fatal {
        self.error(text);
        Fatal
    }

    /// Text as it is, without the prefix.
    pub(super) fn plain(&mut self, text: &str) {
        let _ = write!(self.stderr, "{text}");
    }
}
