//! An installer's log lines: on stderr, and in `logs.txt` once `asmcli` has an output directory.

use std::io::Write;

use crate::effect::files::AppendFile;

/// Where lines go, and what each begins with.
pub(super) struct Log<'a> {
    prefix: &'static str,
    error: &'static str,
    stderr: &'a mut (dyn Write + Send),
    file: Option<AppendFile>,
}

/// The tool has printed its `[ERROR]` line and ends with exit code 2.
#[derive(Debug)]
pub(super) struct Fatal;

impl<'a> Log<'a> {
    pub(super) fn new(stderr: &'a mut (dyn Write + Send)) -> Log<'a> {
        Log {
            prefix: "asmcli: ",
            error: "[ERROR]: ",
            stderr,
            file: None,
        }
    }

    /// As `istioctl` writes: no name before a line.
    pub(super) fn of_istioctl(stderr: &'a mut (dyn Write + Send)) -> Log<'a> {
        Log {
            prefix: "",
            error: "Error: ",
            ..Log::new(stderr)
        }
    }

    /// Copies all later lines to a file.
    pub(super) fn also_to(&mut self, file: AppendFile) {
        self.file = Some(file);
    }

    pub(super) fn info(&mut self, text: &str) {
        // A log that cannot be written must not stop an installation half-way.
        let line = format!("{}{text}", self.prefix);
        let _ = writeln!(self.stderr, "{line}");
        if let Some(file) = &mut self.file {
            let _ = file.line(&line);
        }
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.info(&format!("[WARNING]: {text}"));
    }

    pub(super) fn error(&mut self, text: &str) {
        self.info(&format!("{}{text}", self.error));
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
