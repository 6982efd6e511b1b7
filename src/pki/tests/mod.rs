//! Tests of the room as a whole; small units are tested in their own files.

// Fixtures that fail are a broken test, wherever they are made.
#![allow(clippy::unwrap_used)]

mod algorithms;
mod bundles;
mod certs;
mod edges;
mod handshakes;
mod input;
mod keys;
mod minting;
mod paths;
mod pem;
mod plugin;
mod verdicts;

use jiff::{SignedDuration, Timestamp};

use super::mint::{Authority, CaSpec, LeafSpec};
use super::*;

/// A file of `tests/data/pki`.
macro_rules! data {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/pki/",
            $path
        ))
    };
}
use data;

/// Later than every fixture's begin, earlier than every fixture's end, within the lab's leaves.
fn now() -> Timestamp {
    "2026-11-23T20:00:00Z".parse().unwrap()
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn id() -> SpiffeId {
    SpiffeId::new("cluster.local", "shop", "front")
}

fn citadel() -> Authority {
    Authority::self_signed(&CaSpec::istio("cluster.local", now())).unwrap()
}

fn mesh_ca() -> Authority {
    Authority::self_signed(&CaSpec::mesh_ca(now())).unwrap()
}

fn issuing(root: &Authority) -> Authority {
    root.intermediate(&CaSpec::new([("O", "Google LLC"), ("CN", "issuing")], now()).path_len(0))
        .unwrap()
}

fn leaf(ca: &Authority) -> Cert {
    ca.issue(&LeafSpec::workload(&id(), now())).unwrap().0
}

fn bundle(certs: &[&Cert]) -> Bundle {
    certs.iter().map(|cert| (*cert).clone()).collect()
}

fn named(name: &str, roots: &[&Cert]) -> NamedCa {
    NamedCa::new(name, bundle(roots))
}

fn chain(text: &str) -> Vec<Cert> {
    let (certs, issues) = certs_from_pem(text);
    assert_eq!(issues, []);
    certs
}
