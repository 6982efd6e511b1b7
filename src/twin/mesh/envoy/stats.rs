//! TLS counters and those of the server, as Envoy keeps and shows them.
//!
//! The prober's handshakes count: the side that refuses by its reason, and a server that a client refuses with
//! `connection_error`, as seen on Envoy 1.40. A client of TLS 1.3 that is refused counts nothing. Only counters that
//! Istio's bootstrap includes are kept, and those are shown from the start, at 0.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{Answer, Envoy, ServiceKey};
use crate::pki::{HandshakeFailure, Refusal, Side};
use crate::twin::mesh::config::text_at;
use crate::twin::server::decode;

/// Scope of the inbound listener (`virtualInbound`).
const INBOUND: &str = "listener.0.0.0.0_15006";
const NAMES: [&str; 8] = [
    "connection_error",
    "fail_verify_cert_hash",
    "fail_verify_error",
    "fail_verify_no_cert",
    "fail_verify_san",
    "handshake",
    "no_certificate",
    "session_reused",
];

/// What one Envoy has counted since it started, by name. Cloning shares.
#[derive(Clone, Debug, Default)]
pub(in crate::twin::mesh) struct TlsCounters(Arc<Mutex<BTreeMap<String, u64>>>);

impl TlsCounters {
    fn add(&self, scope: &str, name: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(format!("{scope}.ssl.{name}")).or_default() += 1;
    }

    fn get(&self, name: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(name).copied().unwrap_or(0)
    }
}

/// Counts a handshake that failed; `scope` is the client's cluster.
pub(in crate::twin::mesh) fn count(
    failure: &HandshakeFailure,
    client: &TlsCounters,
    scope: &str,
    server: &TlsCounters,
) {
    let why = match failure.cause {
        Refusal::NoCertificate => "fail_verify_no_cert",
        Refusal::SanMismatch { .. } => "fail_verify_san",
        _ => "fail_verify_error",
    };
    match failure.side {
        Side::Client => {
            client.add(scope, why);
            server.add(INBOUND, "connection_error");
        }
        Side::Server => server.add(INBOUND, why),
    }
}

/// Scope of an outbound cluster.
pub(in crate::twin::mesh) fn outbound((namespace, name): &ServiceKey, port: u16) -> String {
    format!("cluster.outbound|{port}||{name}.{namespace}.svc.cluster.local")
}

/// Answers `/stats`.
pub(super) fn answer(envoy: &Envoy<'_>, query: &str) -> Answer {
    let (mut as_json, mut used_only, mut filter) = (false, false, None);
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=').unwrap_or((part, "")) {
            ("format", "json") => as_json = true,
            ("format", "text") => {}
            ("usedonly", _) => used_only = true,
            ("filter", text) => match Regex::new(&decode(text)) {
                Ok(regex) => filter = Some(regex),
                Err(_) => return Answer::text(400, "Invalid re2 regex\n"),
            },
            (other, _) => {
                return Answer::text(
                    501,
                    &format!("the twin's Envoy does not know the query `{other}`\n"),
                );
            }
        }
    }
    let kept = included(envoy);
    let matches = |name: &str| filter.as_ref().is_none_or(|regex| regex.is_match(name));
    let shown: Vec<(String, u64)> = names(envoy)
        .filter(|name| kept.iter().any(|regex| regex.is_match(name)))
        .filter(|name| matches(name))
        .map(|name| {
            let value = envoy.counters.get(&name);
            (name, value)
        })
        .chain(server(envoy).filter(|(name, _)| matches(name)))
        .filter(|(_, value)| !used_only || *value > 0)
        .collect();
    if as_json {
        let stats: Vec<Value> = shown
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        return Answer::json(&json!({"stats": stats}));
    }
    let lines: Vec<String> = shown
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    Answer::text(200, &lines.concat())
}

/// What the bootstrap always includes, as far as the twin counts it.
fn server(envoy: &Envoy<'_>) -> impl Iterator<Item = (String, u64)> + use<> {
    [
        ("server.state".to_owned(), envoy.gauges.state),
        (
            "server.total_connections".to_owned(),
            envoy.gauges.connections,
        ),
    ]
    .into_iter()
}

/// Every TLS counter that this Envoy could keep, sorted.
fn names<'a>(envoy: &'a Envoy<'_>) -> impl Iterator<Item = String> + use<'a> {
    let clusters = envoy.pushed.into_iter().flat_map(|(pushed, _)| {
        pushed.clusters.iter().flat_map(|(service, cluster)| {
            cluster.ports.iter().map(|port| outbound(service, *port))
        })
    });
    let serves = (!envoy.gateway && envoy.pushed.is_some()).then(|| INBOUND.to_owned());
    clusters
        .chain(serves)
        .flat_map(|scope| NAMES.map(|name| format!("{scope}.ssl.{name}")))
}

/// What the bootstrap includes, for each way of saying so the pod's annotation or else the proxy configuration's
/// `proxyStatsMatcher` (istio/istio `pkg/bootstrap/config.go`).
fn included(envoy: &Envoy<'_>) -> Vec<Regex> {
    let mut all = Vec::new();
    for (field, annotation, shape) in [
        ("inclusionPrefixes", "statsInclusionPrefixes", ("^", "")),
        ("inclusionRegexps", "statsInclusionRegexps", ("^(?:", ")$")),
        ("inclusionSuffixes", "statsInclusionSuffixes", ("", "$")),
    ] {
        let own = text_at(
            envoy.pod,
            "annotations",
            &format!("sidecar.istio.io/{annotation}"),
        );
        let patterns: Vec<String> = match own {
            Some(text) => text.split(',').map(str::to_owned).collect(),
            None => configured(envoy.proxy_config, field),
        };
        for pattern in patterns {
            let pattern = if field == "inclusionRegexps" {
                pattern
            } else {
                regex::escape(&pattern)
            };
            all.extend(Regex::new(&format!("{}{pattern}{}", shape.0, shape.1)));
        }
    }
    all
}

fn configured(config: &Map<String, Value>, field: &str) -> Vec<String> {
    let list = config.get("proxyStatsMatcher").map(|m| &m[field]);
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}
