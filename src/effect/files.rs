//! Files: whole texts, private files, an append-only file that can be made durable, and the
//! places where a user's files belong.
//!
//! Errors name the path and say what was wrong with it, so that callers pass them on unchanged.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{path}: cannot {action}: {reason}", path = path.display())]
    Io {
        /// What was tried: `read`, `create`, `append to`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's words, without its error number.
        reason: String,
    },
    /// Longer than what the caller reads.
    #[error("{path}: longer than {limit} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How much is read.
        limit: usize,
    },
    /// The file is not UTF-8 text.
    #[error("{path}: not UTF-8 text: byte 0x{byte:02x} at line {line}, byte {column} of the line", path = path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first offending byte.
        byte: u8,
        /// Line of that byte, from 1.
        line: usize,
        /// Offset of that byte in its line, from 1.
        column: usize,
    },
}

/// Reads a whole text file.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let bytes = fs::read(path).map_err(|e| io_error("read", path, &e))?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let bytes = e.as_bytes();
        let before = &bytes[..at];
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        FileError::NotUtf8 {
            path: path.to_owned(),
            byte: bytes[at],
            line: before.split(|b| *b == b'\n').count(),
            column: at - line_start + 1,
        }
    })
}

/// Reads a whole file of at most `limit` bytes.
pub fn read_bytes(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let failed = |e: io::Error| io_error("read", path, &e);
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let at_most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(at_most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(FileError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// What a directory holds.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The directory's path with the name.
    pub path: PathBuf,
    /// Whether it is a directory itself; links are followed.
    pub is_dir: bool,
    /// When it was written last, where the system tells.
    pub written: Option<std::time::SystemTime>,
    /// How long it is, in bytes.
    pub length: u64,
}

/// What is in a directory, by name. What a link leads to is told, if anything.
pub fn list(dir: &Path) -> Result<Vec<Entry>, FileError> {
    let failed = |e: io::Error| io_error("list", dir, &e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let metadata = fs::metadata(&path).ok();
        entries.push(Entry {
            is_dir: metadata.as_ref().is_some_and(fs::Metadata::is_dir),
            written: metadata.as_ref().and_then(|m| m.modified().ok()),
            length: metadata.as_ref().map_or(0, fs::Metadata::len),
            path,
        });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// The permission bits of a file; `None` where the system has none.
pub fn mode(path: &Path) -> Result<Option<u32>, FileError> {
    let metadata = fs::metadata(path).map_err(|e| io_error("read", path, &e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        Ok(Some(metadata.permissions().mode() & 0o7777))
    }
    #[cfg(not(unix))]
    {
        drop(metadata);
        Ok(None)
    }
}

/// Writes a whole file with mode 0600, replacing what was there; for kubeconfigs and keys.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    private(&mut options);
    let mut file = options
        .open(path)
        .map_err(|e| io_error("create", path, &e))?;
    file.write_all(text.as_bytes())
        .map_err(|e| io_error("write", path, &e))
}

/// Creates a directory and its parents.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|e| io_error("create", path, &e))
}

/// A new directory that only this user can read, removed when the value is dropped.
pub fn temporary_dir(prefix: &str) -> Result<tempfile::TempDir, FileError> {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(|e| io_error("create", &std::env::temp_dir().join(prefix), &e))
}

/// Makes the program `target` available as `dir/name`: a symbolic link where there are any, else a copy.
pub fn link_program(target: &Path, dir: &Path, name: &str) -> Result<PathBuf, FileError> {
    let link = dir.join(name);
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(target, &link);
    #[cfg(not(unix))]
    let made = fs::copy(target, &link).map(drop);
    made.map_err(|e| io_error("create", &link, &e))?;
    Ok(link)
}

/// A file that only grows. Lines are written whole; [`AppendFile::sync`] makes them durable.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
}

impl AppendFile {
    /// Creates the file (mode 0600, with its directory), or opens it to append.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            create_dir(dir)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        private(&mut options);
        let file = options
            .open(path)
            .map_err(|e| io_error("create", path, &e))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Appends one line in one write.
    pub fn line(&mut self, line: &str) -> Result<(), FileError> {
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .map_err(|e| io_error("append to", &self.path, &e))
    }

    /// Waits until everything written so far is on the disk.
    pub fn sync(&mut self) -> Result<(), FileError> {
        // A pipe or a character device (`/dev/null`, a process substitution) has nothing to sync.
        match self.file.sync_data() {
            Err(e) if e.kind() != io::ErrorKind::InvalidInput => {
                Err(io_error("sync", &self.path, &e))
            }
            _ => Ok(()),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where this user's state belongs: `$XDG_STATE_HOME/rootshift` or the platform's equivalent.
/// `None` when there is no home directory.
#[cfg(feature = "cli")]
pub fn state_dir() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(
        strategy
            .state_dir()
            .unwrap_or_else(|| strategy.data_dir())
            .join("rootshift"),
    )
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

fn io_error(action: &'static str, path: &Path, error: &io::Error) -> FileError {
    FileError::Io {
        action,
        path: path.to_owned(),
        reason: reason(error),
    }
}

/// The operating system's words in lower case and without `(os error N)`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_utf8_is_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.rhai");
        fs::write(&path, b"let a = 1;\nlet b = \"\xff\";\n").unwrap();
        let error = read_text(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{}: not UTF-8 text: byte 0xff at line 2, byte 10 of the line",
                path.display()
            )
        );
    }

    #[test]
    fn a_missing_file_is_named_in_plain_words() {
        let error = read_text(Path::new("/nonexistent/x")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent/x: cannot read: no such file or directory"
        );
    }

    #[test]
    fn appended_lines_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/j.jsonl");
        AppendFile::open(&path).unwrap().line("1").unwrap();
        let mut again = AppendFile::open(&path).unwrap();
        again.line("2").unwrap();
        again.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
    }
}
