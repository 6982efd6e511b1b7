//! Child processes: an argument vector in, lines as they come, an exit status out.
//!
//! No shell is involved: arguments are passed as they are. A child gets no stdin but what the caller
//! gives as text, and runs with the environment of this process, changed by what the caller says. It
//! is the leader of a process group of its own: a Ctrl-C at the terminal is this program's to handle,
//! and when the future is dropped or its time is up, the child is killed with everything it started.
//! It does not log or journal: the caller is told each line.

use std::{
    collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::Child,
};

use super::{clock::Stopwatch, files};

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program and its arguments; the program is looked up in `path_prefix`, then in `PATH`.
    pub argv: Vec<String>,
    /// Changes to the environment; `None` removes a variable.
    pub env: BTreeMap<String, Option<String>>,
    /// Working directory; this process's own if absent.
    pub cwd: Option<PathBuf>,
    /// Directory put first on the child's `PATH`.
    pub path_prefix: Option<PathBuf>,
    /// What it reads from standard input; nothing if absent.
    pub stdin: Option<String>,
    /// After this long the child is killed.
    pub timeout: Option<Duration>,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Exit code; 128 + the signal's number if a signal ended it, as shells say it.
    pub code: i32,
    /// Everything it wrote to standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub elapsed: Duration,
}

/// A child that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The argument vector is empty.
    #[error("no program given: the argument vector is empty")]
    Empty,
    /// Its output could not be read.
    #[error("`{program}`: cannot read its output: {reason}")]
    Output {
        /// The program.
        program: String,
        /// The operating system's words.
        reason: String,
    },
    /// It could not be started.
    #[error("`{program}`: cannot start: {reason}")]
    Start {
        /// The program.
        program: String,
        /// The operating system's words.
        reason: String,
    },
    /// It ran longer than allowed and was killed.
    #[error("`{program}`: killed after {}s, its time limit", limit.as_secs_f64())]
    TimedOut {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
}

impl Command {
    /// Runs to the end; `line` hears every line at once, in the order of its stream.
    ///
    /// # Errors
    /// If it cannot be started, if its output cannot be read, or if its time is up. A non-zero exit
    /// code is not an error here.
    pub async fn run(
        &self,
        mut line: impl FnMut(Stream, &str) + Send,
    ) -> Result<Ended, ProcessError> {
        let program = self.argv.first().ok_or(ProcessError::Empty)?.clone();
        let started = Stopwatch::start();
        let mut child = self.start(&program)?;
        let mut group = Group::of(&child);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let stdin = child.stdin.take().zip(self.stdin.as_deref());
        let feed = async {
            if let Some((mut pipe, text)) = stdin {
                // It may end, or close its input, before it has read everything.
                pipe.write_all(text.as_bytes()).await.ok();
            }
        };
        let read = async {
            let mut out = Lines::new(out);
            let mut err = Lines::new(err);
            while !(out.ended && err.ended) {
                tokio::select! {
                  got = out.next(), if !out.ended => take(got, Stream::Stdout, &mut stdout, &mut line)?,
                  got = err.next(), if !err.ended => take(got, Stream::Stderr, &mut stderr, &mut line)?,
                }
            }
            child.wait().await
        };
        let work = async { tokio::join!(feed, read).1 };
        let limit = self.timeout.unwrap_or(Duration::MAX);
        let ended = tokio::time::timeout(limit, work).await;
        if matches!(ended, Ok(Ok(_))) {
            group.has_ended();
        }
        let status = match ended {
            Err(_) => return Err(ProcessError::TimedOut { program, limit }),
            Ok(Err(e)) => {
                return Err(ProcessError::Output {
                    program,
                    reason: files::reason(&e),
                });
            }
            Ok(Ok(status)) => status,
        };
        Ok(Ended {
            code: exit_code(status),
            stdout,
            stderr,
            elapsed: started.elapsed(),
        })
    }

    fn start(&self, program: &str) -> Result<Child, ProcessError> {
        let path = self.path();
        // Looked up here, because the standard library resolves a bare name against the parent's
        // `PATH` on some platforms.
        let found = self
            .path_prefix
            .as_ref()
            .map(|dir| dir.join(program))
            .filter(|p| !program.contains('/') && p.exists());
        let mut command = tokio::process::Command::new(
            found.map_or_else(|| OsString::from(program), PathBuf::into_os_string),
        );
        command
            .args(&self.argv[1..])
            .stdin(
                self.stdin
                    .as_ref()
                    .map_or_else(Stdio::null, |_| Stdio::piped()),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.spawn().map_err(|e| ProcessError::Start {
            program: program.to_owned(),
            reason: files::reason(&e),
        })
    }

    fn path(&self) -> Option<OsString> {
        let prefix = self.path_prefix.as_ref()?;
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let parts = std::iter::once(prefix.clone()).chain(std::env::split_paths(&inherited));
        std::env::join_paths(parts).ok()
    }
}

/// The process group of a running child; what is left of it is killed when this is dropped.
struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        #[cfg(not(unix))]
        let _ = child;
        Self {
            #[cfg(unix)]
            leader: child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(rustix::process::Pid::from_raw),
        }
    }

    /// The leader was waited for: its number may belong to another process from now on.
    fn has_ended(&mut self) {
        #[cfg(unix)]
        {
            self.leader = None;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader {
            // It may be gone already, which is what is wanted.
            rustix::process::kill_process_group(leader, rustix::process::Signal::KILL).ok();
        }
    }
}

/// One stream of a child, line by line.
struct Lines<R> {
    reader: Option<BufReader<R>>,
    ended: bool,
    /// Outlives a cancelled read, so that `select!` loses no bytes.
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: Option<R>) -> Self {
        Self {
            ended: reader.is_none(),
            reader: reader.map(BufReader::new),
            buffer: Vec::new(),
        }
    }

    async fn next(&mut self) -> io::Result<Option<String>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        reader.read_until(b'\n', &mut self.buffer).await?;
        if self.buffer.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        Ok(Some(text))
    }
}

fn take(
    got: io::Result<Option<String>>,
    stream: Stream,
    all: &mut String,
    line: &mut impl FnMut(Stream, &str),
) -> io::Result<()> {
    if let Some(text) = got? {
        line(stream, text.trim_end_matches(['\n', '\r']));
        all.push_str(&text);
    }
    Ok(())
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn command(argv: &[&str]) -> Command {
        Command {
            argv: argv.iter().map(ToString::to_string).collect(),
            ..Command::default()
        }
    }

    #[tokio::test]
    async fn lines_arrive_and_the_exit_code_is_told() {
        let mut seen = Vec::new();
        let ended = command(&["sh", "-c", "echo a; echo b >&2; printf c; exit 3"])
            .run(|stream, line| seen.push((stream, line.to_owned())))
            .await
            .unwrap();
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (3, "a\nc", "b\n")
        );
        seen.sort_by_key(|(_, line)| line.clone());
        assert_eq!(
            seen,
            [
                (Stream::Stdout, "a".into()),
                (Stream::Stderr, "b".into()),
                (Stream::Stdout, "c".into())
            ]
        );
    }

    #[tokio::test]
    async fn a_program_in_the_prefix_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        files::link_program(std::path::Path::new("/bin/echo"), dir.path(), "true").unwrap();
        let mut c = command(&["true", "hello"]);
        c.path_prefix = Some(dir.path().to_owned());
        assert_eq!(c.run(|_, _| ()).await.unwrap().stdout, "hello\n");
    }

    #[tokio::test]
    async fn a_child_reads_what_it_is_given_and_nothing_else() {
        let mut c = command(&["cat"]);
        assert_eq!(c.run(|_, _| ()).await.unwrap().stdout, "");
        c.stdin = Some("y\n".to_owned());
        assert_eq!(c.run(|_, _| ()).await.unwrap().stdout, "y\n");
        // More than a pipe holds, to one that does not read it.
        c.argv = vec!["true".to_owned()];
        c.stdin = Some("y".repeat(1 << 20));
        assert_eq!(c.run(|_, _| ()).await.unwrap().code, 0);
    }

    #[tokio::test]
    async fn a_child_that_takes_too_long_is_killed() {
        let mut c = command(&["sleep", "60"]);
        c.timeout = Some(Duration::from_millis(50));
        let error = c.run(|_, _| ()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sleep`: killed after 0.05s, its time limit"
        );
    }

    #[tokio::test]
    async fn what_a_killed_child_started_is_killed_too() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("alive");
        let script = format!("(sleep 0.3; touch {}) & wait", mark.display());
        let mut c = command(&["sh", "-c", &script]);
        c.timeout = Some(Duration::from_millis(50));
        c.run(|_, _| ()).await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!mark.exists());
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = command(&["no-such-program-here"])
            .run(|_, _| ())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`no-such-program-here`: cannot start: no such file or directory"
        );
    }
}
