//! The `openssl` command line as a judge: its verification is the nearest relative of Envoy's.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use rootshift::pki::{Bundle, Cert, Usage};

use crate::support;

/// Whether there is one to ask; if not, that is said, and a failure where nothing may be skipped.
#[track_caller]
pub fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let version = Command::new("openssl").arg("version").output();
        version.is_ok_and(|output| output.status.success())
    });
    if !*found {
        support::skip("there is no openssl on the PATH");
    }
    *found
}

/// Whether it succeeded, and what it wrote.
pub fn openssl(args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + String::from_utf8_lossy(&output.stderr).as_ref();
    (output.status.success(), text)
}

/// `openssl verify` of a chain, its own certificate first, with Envoy's flags.
pub fn verifies(dir: &Path, chain: &[Cert], anchors: &Bundle, usage: Usage) -> (bool, String) {
    let file = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pem = |certs: &[Cert]| certs.iter().map(Cert::pem).collect::<String>();
    let trusted = file("anchors.pem", anchors.pem());
    let presented = file("chain.pem", pem(&chain[1..]));
    let leaf = file("leaf.pem", chain[0].pem());
    let mut args = vec![
        "verify",
        "-partial_chain",
        "-no-CApath",
        "-no-CAstore",
        "-no-CAfile",
    ];
    // It takes an empty file for a mistake.
    if !anchors.is_empty() {
        args.extend(["-CAfile", &trusted]);
    }
    if chain.len() > 1 {
        args.extend(["-untrusted", &presented]);
    }
    let purpose = match usage {
        Usage::Server => "sslserver",
        Usage::Client | Usage::Workload => "sslclient",
    };
    args.extend(["-purpose", purpose, &leaf]);
    openssl(&args, "")
}
