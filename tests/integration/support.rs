//! Runs the program: a command in; exact standard output, standard error and exit code out.
//!
//! Every command has a directory of its own, which is its home too, and an environment with nothing
//! in it but `PATH`. In what it writes, the directory's path reads `[DIR]`.

#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// No command may say nothing for longer. How long it takes in all depends on what else the machine does; one
/// that hangs is silent.
const LIMIT: Duration = Duration::from_secs(180);

/// A command to be run.
pub struct Program {
    through: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Option<String>,
    limit: Duration,
    dir: TempDir,
}

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
    pub elapsed: Duration,
    dir: TempDir,
}

/// `rootshift ARGS`; the arguments are given as one would type them, without quotes.
pub fn rootshift(args: &str) -> Program {
    Program::new(args.split_whitespace())
}

impl Program {
    /// `rootshift` with these arguments.
    pub fn new<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            through: Vec::new(),
            args: args.into_iter().map(str::to_owned).collect(),
            env: Vec::new(),
            stdin: None,
            limit: LIMIT,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// One more argument, which may hold spaces.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments, as one would type them.
    pub fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    /// A file in the command's directory.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// A command that the program is run by: it is that one's last arguments.
    pub fn through<'a>(mut self, command: impl IntoIterator<Item = &'a str>) -> Self {
        self.through = command.into_iter().map(str::to_owned).collect();
        self
    }

    /// Standard input; without it there is none.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// How long it may say nothing.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it without waiting; for commands that go on until they are stopped.
    pub fn start(self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(text) = &self.stdin {
            // The program may end before it has read everything.
            stdin.write_all(text.as_bytes()).ok();
        }
        drop(stdin);
        let heard = Arc::new(Mutex::new(Instant::now()));
        let stdout = lines(child.stdout.take().unwrap(), Arc::clone(&heard));
        let stderr = lines(child.stderr.take().unwrap(), Arc::clone(&heard));
        Running {
            child,
            heard,
            stdout,
            stderr,
            dir: self.dir,
        }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ran {
        let started = Instant::now();
        let limit = self.limit;
        let shown = format!("{:?}", self.args);
        let mut running = self.start();
        let status = loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                break status;
            }
            if running.silent_for() > limit {
                running.child.kill().unwrap();
                running.child.wait().unwrap();
                let (stdout, stderr) = (running.rest_of_stdout(), running.rest_of_stderr());
                panic!(
                    "{shown} said nothing for {limit:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
                );
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (running.rest_of_stdout(), running.rest_of_stderr());
        let dir = running.into_dir();
        Ran {
            stdout,
            stderr,
            code: exit_code(status),
            elapsed: started.elapsed(),
            dir,
        }
    }

    fn command(&self) -> Command {
        let through = self.through.iter().map(String::as_str);
        let mut words = through
            .chain([env!("CARGO_BIN_EXE_rootshift")])
            .chain(self.args.iter().map(String::as_str));
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("RUST_BACKTRACE", "0")
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Ran {
    /// It ended with this exit code; what it wrote is shown otherwise.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.shown());
        self
    }

    /// Standard output is exactly this.
    #[track_caller]
    pub fn stdout(self, text: &str) -> Self {
        assert_eq!(
            self.stdout,
            text,
            "standard output differs; {}",
            self.shown()
        );
        self
    }

    /// Standard error is exactly this.
    #[track_caller]
    pub fn stderr(self, text: &str) -> Self {
        assert_eq!(
            self.stderr,
            text,
            "standard error differs; {}",
            self.shown()
        );
        self
    }

    /// Standard error holds this.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "no {text:?} in it; {}",
            self.shown()
        );
        self
    }

    /// Standard output holds this.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "no {text:?} in it; {}",
            self.shown()
        );
        self
    }

    /// The events of `-o jsonl`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|e| panic!("not a JSON line: {e}: {line}; {}", self.shown()))
            })
            .collect()
    }

    /// The last event of `-o jsonl`, which must be `finished`.
    #[track_caller]
    pub fn finished(&self) -> Value {
        let last = self.events().pop().unwrap_or_default();
        assert_eq!(last["event"], "finished", "{}", self.shown());
        last
    }

    /// The document of `-o json`.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}; {}", self.shown()))
    }

    /// The command's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The text of a file in the command's directory.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn shown(&self) -> String {
        format!(
            "exit code {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.code, self.stdout, self.stderr
        )
    }
}

/// A program that goes on; it is killed when this is dropped.
pub struct Running {
    child: Child,
    /// When it wrote a line last.
    heard: Arc<Mutex<Instant>>,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    dir: TempDir,
}

impl Running {
    /// The next line of standard output; panics after the limit or at its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => self.plain(line.trim_end()),
            Err(e) => {
                let ended = self.child.wait().map(exit_code);
                panic!("no line: {e}; {ended:?}; stderr: {}", self.rest_of_stderr());
            }
        }
    }

    /// The next line of standard error.
    #[track_caller]
    pub fn error_line(&mut self) -> String {
        let line = self
            .stderr
            .recv_timeout(LIMIT)
            .expect("no line on standard error");
        self.plain(line.trim_end())
    }

    /// The program's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name (`INT`, `KILL`).
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end and gives what it had still to say.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let silent = self.silent_for().min(started.elapsed());
            assert!(silent < LIMIT, "it does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (self.rest_of_stdout(), self.rest_of_stderr());
        let dir = self.into_dir();
        Ran {
            stdout,
            stderr,
            code: exit_code(status),
            elapsed: started.elapsed(),
            dir,
        }
    }

    fn silent_for(&self) -> Duration {
        self.heard.lock().unwrap().elapsed()
    }

    fn rest_of_stdout(&mut self) -> String {
        let text: String = self.stdout.iter().collect();
        self.plain(&text)
    }

    fn rest_of_stderr(&mut self) -> String {
        let text: String = self.stderr.iter().collect();
        self.plain(&text)
    }

    fn plain(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "[DIR]")
    }

    /// Its directory, when it has ended.
    fn into_dir(mut self) -> TempDir {
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A twin in a process of its own.
pub struct ServedTwin {
    pub kubeconfig: PathBuf,
    pub mesh_ca: PathBuf,
    pub running: Running,
}

impl ServedTwin {
    /// Serves a scenario, and waits until it is ready.
    pub fn start(scenario: &str) -> Self {
        let program = Program::new([
            "twin",
            "serve",
            scenario,
            "--kubeconfig-out",
            "kubeconfig",
            "--ca-out",
            "meshca.pem",
        ]);
        let (kubeconfig, mesh_ca) = (
            program.dir().join("kubeconfig"),
            program.dir().join("meshca.pem"),
        );
        let mut running = program.start();
        while !running.line().starts_with("ready") {}
        Self {
            kubeconfig,
            mesh_ca,
            running,
        }
    }

    /// Its contexts, the current one first.
    pub fn contexts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let contexts = config["contexts"].as_array().unwrap().iter();
        contexts
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// `--kubeconfig F --context C`, with each of its contexts, for a command against it.
    pub fn flags(&self) -> String {
        let contexts = self.contexts().join(" --context ");
        format!(
            "--kubeconfig {} --context {contexts}",
            self.kubeconfig.display()
        )
    }
}

/// Waits until no other test that starts many processes runs, and keeps the next one waiting.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // One that failed has ended what it started all the same.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a test that lacks something may be skipped: not where the whole suite has to run.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("ROOTSHIFT_NO_SKIP").is_none(),
        "this test may not be skipped: {reason}"
    );
    say(&format!("skipped: {reason}"));
}

/// Writes a line that is seen although the test passes: the test runner captures only what the macros print.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

fn lines(stream: impl Read + Send + 'static, heard: Arc<Mutex<Instant>>) -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while stream.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).into_owned();
            bytes.clear();
            *heard.lock().unwrap() = Instant::now();
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal;
    }
    status.code().unwrap_or(-1)
}
