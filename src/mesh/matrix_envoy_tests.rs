//! A sample of the random meshes, put to two bare Envoys: one is every client, the other every server. The matrix and
//! they give the same answers.
//!
//! `tests/integration/pki/envoy` puts single certificates to them, and which side refuses; this is about the verdict on a pair
//! of workloads, of which only this crate's inside knows.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use secrecy::ExposeSecret as _;

use super::random_tests::{DOMAINS, NAMES, Spec, World, spec};
use super::*;

const MESHES: usize = 120;
/// Envoy starts in one second, and in some on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The one that is named, or the lab's.
fn program() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let named = std::env::var_os("ROOTSHIFT_ENVOY").map(PathBuf::from);
    let program = named.unwrap_or_else(|| target.join("lab/bin/envoy"));
    if program.exists() {
        return Some(program);
    }
    assert!(
        std::env::var_os("ROOTSHIFT_NO_SKIP").is_none(),
        "this test may not be skipped: there is no Envoy"
    );
    // What the macros print is only seen of a test that fails.
    let line = "skipped: there is no Envoy (tests/lab/lab build, or name one in ROOTSHIFT_ENVOY)\n";
    std::io::stderr().write_all(line.as_bytes()).ok();
    None
}

/// One that ends with the test.
struct Envoy {
    child: Child,
    admin: PathBuf,
    log: PathBuf,
}

impl Envoy {
    fn start(
        program: &Path,
        dir: &Path,
        name: &str,
        listeners: &[Value],
        clusters: &[Value],
    ) -> Self {
        let config = dir.join(format!("{name}.json"));
        let admin = dir.join(format!("{name}.admin"));
        let resources = json!({ "listeners": listeners, "clusters": clusters });
        let address = json!({ "address": pipe(&admin) });
        let text = json!({ "admin": address, "static_resources": resources }).to_string();
        std::fs::write(&config, text).unwrap();
        let log = dir.join(format!("{name}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .args([
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "-l",
                "warning",
                "-c",
            ])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, admin, log }
    }

    /// How many peers it refused for their certificates.
    fn refused(&self) -> u64 {
        // It comes in chunks, whose lengths stand between the lines.
        let (_, text) = self.get(&self.admin, "/stats?filter=ssl.fail_verify");
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum()
    }

    /// Connects to one of its sockets, when there is one.
    fn connect(&self, path: &Path) -> UnixStream {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return stream,
                Err(error) if begun.elapsed() > START => {
                    let log = std::fs::read_to_string(&self.log).unwrap();
                    panic!("{}: {error}\n{log}", path.display())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// The status and the body of a request.
    fn get(&self, socket: &Path, path: &str) -> (String, String) {
        let mut stream = self.connect(socket);
        let request = format!("GET {path} HTTP/1.1\r\nhost: peer\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A proxy that presents one certificate, and where its files are.
struct Party<'a> {
    spec: &'a Spec,
    name: usize,
    /// `chain`, `key` and `bundle`.
    files: [PathBuf; 3],
}

impl Party<'_> {
    /// What Envoy presents, and whom it accepts: URIs that match one of these.
    fn tls(&self, names: &[Value]) -> Value {
        let [chain, key, bundle] = &self.files;
        let names: Vec<Value> = names
            .iter()
            .map(|matcher| json!({ "san_type": "URI", "matcher": matcher }))
            .collect();
        let mut validation = json!({ "trusted_ca": { "filename": bundle } });
        if !names.is_empty() {
            validation["match_typed_subject_alt_names"] = names.into();
        }
        json!({
            "tls_certificates": [{ "certificate_chain": { "filename": chain }, "private_key": { "filename": key } }],
            "validation_context": validation,
        })
    }

    fn as_server(&self) -> Value {
        let prefix = |d: &usize| json!({ "prefix": format!("spiffe://{}/", DOMAINS[*d]) });
        let names: Vec<Value> = if self.spec.any_name {
            Vec::new()
        } else {
            self.spec.accepts.iter().map(prefix).collect()
        };
        typed(
            "transport_sockets.tls.v3.DownstreamTlsContext",
            json!({ "require_client_certificate": true, "common_tls_context": self.tls(&names) }),
        )
    }

    fn as_client_of(&self, server: usize) -> Value {
        let exact = |d: &usize| json!({ "exact": format!("spiffe://{}/ns/shop/sa/w{server}", DOMAINS[*d]) });
        let names: Vec<Value> = self.spec.accepts.iter().map(exact).collect();
        typed(
            "transport_sockets.tls.v3.UpstreamTlsContext",
            json!({ "common_tls_context": self.tls(&names) }),
        )
    }
}

fn typed(name: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.{name}").into();
    config
}

fn tls(context: Value) -> Value {
    json!({ "name": "tls", "typed_config": context })
}

fn pipe(path: &Path) -> Value {
    json!({ "pipe": { "path": path } })
}

/// An HTTP listener on a socket, with this route for everything.
fn listener(path: &Path, mut route: Value, chain: Value) -> Value {
    route["match"] = json!({ "prefix": "/" });
    let router = json!({ "name": "router", "typed_config": typed("filters.http.router.v3.Router", json!({})) });
    let manager = json!({
        "stat_prefix": "all",
        "http_filters": [router],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        manager,
    );
    let mut chain = chain;
    chain["filters"] = json!([{ "name": "http", "typed_config": manager }]);
    json!({ "name": path, "address": pipe(path), "filter_chains": [chain] })
}

fn meshes() -> Vec<Vec<Spec>> {
    let config = Config::default();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let mesh = proptest::collection::vec(spec(), 2..=NAMES);
    (0..MESHES)
        .map(|_| mesh.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[test]
fn two_envoys_answer_as_the_matrix_does() {
    let Some(program) = program() else { return };
    let world = World::new();
    let meshes = meshes();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Whoever may be presented: by mesh, proxy and signer.
    let mut parties = BTreeMap::new();
    for (m, specs) in meshes.iter().enumerate() {
        for (name, spec) in specs.iter().enumerate() {
            for signer in World::signers_of(spec) {
                let stem = format!("{m}-{name}-{signer}");
                let chain = world.chain(spec, name, signer);
                let texts = [
                    chain.iter().map(crate::pki::Cert::pem).collect(),
                    world.issued[&(signer, spec.domain, name)]
                        .1
                        .pem()
                        .expose_secret()
                        .to_owned(),
                    world.bundle(&spec.trusts).pem(),
                ];
                let files =
                    ["chain", "key", "bundle"].map(|part| dir.join(format!("{stem}.{part}.pem")));
                for (file, text) in files.iter().zip(&texts) {
                    std::fs::write(file, text).unwrap();
                }
                parties.insert((m, name, signer), Party { spec, name, files });
            }
        }
    }
    let server = |key: &(usize, usize, usize)| dir.join(format!("s{}-{}-{}", key.0, key.1, key.2));
    let pair = |c: &(usize, usize, usize), s: &(usize, usize, usize)| {
        dir.join(format!("c{}-{}-{}-{}-{}", c.0, c.1, c.2, s.1, s.2))
    };
    let answer =
        json!({ "direct_response": { "status": 200, "body": { "inline_string": "met" } } });
    let listens: Vec<Value> = parties
        .iter()
        .map(|(key, party)| {
            let chain = json!({ "transport_socket": tls(party.as_server()) });
            listener(&server(key), answer.clone(), chain)
        })
        .collect();
    let mut connects = Vec::new();
    let mut clusters = Vec::new();
    for (c, client) in &parties {
        for (s, peer) in &parties {
            if c.0 != s.0 || c.1 == s.1 {
                continue;
            }
            let path = pair(c, s);
            let route = json!({ "route": { "cluster": path } });
            connects.push(listener(&path, route, json!({})));
            clusters.push(json!({
                "name": path,
                "connect_timeout": "20s",
                "transport_socket": tls(client.as_client_of(peer.name)),
                "load_assignment": { "cluster_name": path, "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": pipe(&server(s)) } },
                ] }] },
            }));
        }
    }
    let servers = Envoy::start(&program, dir, "servers", &listens, &[]);
    let clients = Envoy::start(&program, dir, "clients", &connects, &clusters);
    for key in parties.keys() {
        servers.connect(&server(key));
    }

    let mut counts = [0; 3];
    let mut refused = 0;
    for (m, specs) in meshes.iter().enumerate() {
        let members: Vec<Member> = specs
            .iter()
            .enumerate()
            .map(|(name, spec)| world.member(spec, name))
            .collect();
        let matrix = Matrix::of(&members, &world.named(), world.now, |_, _| true);
        for (c, client) in specs.iter().enumerate() {
            for (s, peer) in specs.iter().enumerate().filter(|(s, _)| *s != c) {
                let mut refusals = Vec::new();
                for from in World::signers_of(client) {
                    for to in World::signers_of(peer) {
                        let path = pair(&(m, c, from), &(m, s, to));
                        match clients.get(&path, "/") {
                            (status, body) if status == "200" => assert_eq!(body, "met"),
                            (_, body) => refusals.push(body),
                        }
                    }
                }
                refused += refusals.len() as u64;
                let pair = (&members[c].workload, &members[s].workload);
                let said = matrix
                    .failing
                    .iter()
                    .find(|f| (&f.client, &f.server) == pair);
                match said.map(|f| &f.talk) {
                    None => {
                        assert!(
                            refusals.is_empty(),
                            "false safe: {client:?} → {peer:?}: {refusals:?}"
                        );
                        counts[0] += 1;
                    }
                    Some(Talk::Unknown(_)) => counts[1] += 1,
                    Some(talk) => {
                        assert!(
                            !refusals.is_empty(),
                            "{talk:?}, and they meet: {client:?} → {peer:?}"
                        );
                        counts[2] += 1;
                    }
                }
            }
        }
    }
    // All of it was refused for certificates, by one side or the other.
    assert_eq!(clients.refused() + servers.refused(), refused);
    let [yes, unknown, no] = counts;
    assert!(yes > 40 && no > 300, "{yes} {unknown} {no}");
}
