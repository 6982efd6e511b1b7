//! `cert::served` against a server that is not ours: `openssl s_server`.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::openssl;
use crate::support::rootshift;

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pki/keys");

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(more: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", &address])
            .args(["-cert", &format!("{KEYS}/p256-sec1.crt")])
            .args(["-key", &format!("{KEYS}/p256-sec1.key")])
            .args(more)
            // It ends with its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ACCEPT")));
        // What it goes on to say is read, so that it never waits.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address }
    }

    fn served(&self, options: &str) -> Value {
        let script = format!("cert::served(\"{}\", #{{ {options} }})", self.address);
        let ran = rootshift("eval -o jsonl").arg(script).run().code(0);
        ran.finished()["summary"].clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn what_a_server_presents_is_shown_and_not_trusted() {
    if !openssl::available() {
        return;
    }
    let server = Server::start(&[]);
    let shown = server.served("");
    let (_, print) = openssl::openssl(
        &[
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            &format!("{KEYS}/p256-sec1.crt"),
        ],
        "",
    );
    let print = print.trim().rsplit('=').next().unwrap();
    let print = print.replace(':', "").to_lowercase();
    assert_eq!(shown["chain"][0]["sha256"], print);
    assert_eq!(shown["protocol"], "TLSv1.3");
    assert_eq!(
        (&shown["refused"], &shown["accepted"]),
        (&Value::Null, &Value::Null)
    );
    let judged = server.served("bundle: [], server_name: \"istiod.istio-system.svc\"");
    assert_eq!(judged["accepted"]["ok"], false);

    let server = Server::start(&["-tls1_2"]);
    assert_eq!(server.served("")["protocol"], "TLSv1.2");
}

#[test]
fn a_server_that_wants_another_certificate_says_so() {
    if !openssl::available() {
        return;
    }
    let server = Server::start(&["-Verify", "1", "-verify_return_error"]);
    let refused = |options: &str| {
        server.served(options)["refused"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let why = refused("");
    assert!(why.contains("CertificateRequired"), "{why}");
    let why = refused(&format!(
        "chain: cert::certs(fs::read(\"{KEYS}/p384-pkcs8.crt\")), key: cert::read_key(\"{KEYS}/p384-pkcs8.key\")"
    ));
    assert!(why.contains("alert"), "{why}");
}

#[test]
fn who_does_not_speak_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talker = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    let ran = rootshift("eval")
        .arg(format!("cert::served(\"{address}\", #{{}})"))
        .run()
        .code(4);
    assert!(ran.stderr.contains(&address.to_string()), "{}", ran.stderr);
    talker.join().unwrap();
}
