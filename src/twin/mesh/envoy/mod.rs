//! The admin endpoint of a proxy, as Envoy answers it.
//!
//! A function of what the proxy holds: the secrets and the configuration that its agent and its
//! istiod gave it. The prober reads the same values, so a dump cannot say one thing and the traffic
//! another. Shapes follow a full dump of a real sidecar (Envoy 1.40 under Istio master) and the
//! masked ones beside it: section order, snake case, the secrets' fields, `[redacted]` for keys, no
//! line end after the last certificate of `ROOTCA`. Sections are as complete as certificates and
//! their checking need; routes are empty and Envoy's list of extensions is left out.

mod listeners;
mod render;
mod sections;
pub(super) mod stats;
pub(super) mod traffic;

pub(super) use render::Shown;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::pki::Cert;
use render::pretty;
use stats::TlsCounters;
use traffic::{Gauges, Passed};

/// The last configuration that istiod pushed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Pushed {
    /// Trust domains whose clients the inbound listener accepts.
    pub(super) accepted: Vec<String>,
    /// Trust domains under which a server is expected.
    pub(super) expected: Vec<String>,
    /// Outbound clusters by service.
    pub(super) clusters: BTreeMap<ServiceKey, Cluster>,
    /// Those as a dump shows them.
    pub(super) shown: Shown,
}

/// Namespace and name of a Service.
pub(super) type ServiceKey = (String, String);

/// An outbound cluster.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Cluster {
    /// Ports of the Service.
    pub(super) ports: Vec<u16>,
    /// Names that the server's certificate must bear one of; empty accepts any.
    pub(super) names: Vec<String>,
}

/// A certificate chain or a bundle, as Envoy holds it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// PEM text, byte for byte.
    pub(super) pem: String,
    /// When Envoy got it.
    pub(super) updated: Timestamp,
    /// Counts the updates of this proxy's secrets.
    pub(super) version: u64,
}

/// All that an admin endpoint answers from.
pub(super) struct Envoy<'a> {
    pub(super) pod: &'a Value,
    pub(super) gateway: bool,
    pub(super) proxy_config: &'a Map<String, Value>,
    /// Secret `default`.
    pub(super) chain: Option<&'a Held>,
    /// Secret `ROOTCA`.
    pub(super) roots: Option<&'a Held>,
    pub(super) pushed: Option<(&'a Pushed, Timestamp)>,
    /// When the pod's Envoy started.
    pub(super) started: Timestamp,
    pub(super) counters: &'a TlsCounters,
    pub(super) passed: &'a Passed,
    /// As of the last flush.
    pub(super) gauges: Gauges,
    /// Whether its health check is to fail, which is how it drains.
    pub(super) draining: bool,
}

/// Status and body of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Envoy<'_> {
    /// Answers a GET of `path` with an optional query.
    pub(super) fn answer(&self, path: &str, query: Option<&str>) -> Answer {
        match path {
            "/config_dump" => self.config_dump(query.unwrap_or_default()),
            "/certs" => Answer::json(&self.certs()),
            "/stats" => stats::answer(self, query.unwrap_or_default()),
            "/clusters" => traffic::clusters(self, query.unwrap_or_default()),
            "/healthcheck/fail" | "/healthcheck/ok" => {
                Answer::text(405, "Method GET not allowed, POST required.\n")
            }
            "/ready" => match self.state() {
                "LIVE" => Answer::text(200, "LIVE\n"),
                state => Answer::text(503, &format!("{state}\n")),
            },
            "/server_info" => traffic::server_info(self),
            "/" => Answer::text(200, "envoy admin\n"),
            _ => Answer::text(
                404,
                "invalid path. admin commands are:\n  /certs: print certs on machine\n  /clusters: upstream cluster status\n  /config_dump: dump current Envoy configs (experimental)\n  /healthcheck/fail (POST): cause the server to fail health checks\n  /healthcheck/ok (POST): cause the server to pass health checks\n  /ready: print server state, return 200 if LIVE, otherwise return 503\n  /server_info: print server version/status information\n  /stats: print server stats\n",
            ),
        }
    }

    /// Of this moment.
    fn state(&self) -> &'static str {
        traffic::state(self.draining, self.pushed.is_some()).0
    }

    fn config_dump(&self, query: &str) -> Answer {
        let mut mask: Option<Vec<String>> = None;
        for (key, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            match key {
                "mask" => {
                    let value = value.replace("%2C", ",").replace("%2c", ",");
                    mask = Some(value.split(',').map(str::to_owned).collect());
                }
                // Envoy has these; nothing that reads a mesh's certificates asks for them.
                "resource" | "name_regex" | "include_eds" => {
                    return Answer::text(
                        501,
                        &format!("the twin's Envoy does not know the query `{key}`\n"),
                    );
                }
                _ => {}
            }
        }
        let wanted = |field: &str| {
            mask.as_ref()
                .is_none_or(|mask| mask.iter().any(|m| m == field))
        };
        let mut sections = sections::with(self, wanted);
        if mask.is_some() {
            for section in &mut sections {
                section.retain(|key, _| key == "@type" || wanted(key));
            }
            sections.retain(|section| section.len() > 1);
        }
        // Envoy leaves an empty repeated field out.
        if sections.is_empty() {
            return Answer::json(&json!({}));
        }
        Answer::of_json(render::document(&sections))
    }

    /// One CA per TLS context, the first of the bundle, whatever else is in it.
    fn certs(&self) -> Value {
        let (Some(chain), Some(roots)) = (self.chain, self.roots) else {
            return json!({"certificates": []});
        };
        let details = |pem: &str, all: bool| -> Vec<Value> {
            let (certs, _) = crate::pki::certs_from_pem(pem);
            let shown = if all { certs.len() } else { 1 };
            certs.iter().take(shown).map(certificate).collect()
        };
        json!({"certificates": [{"ca_cert": details(&roots.pem, false), "cert_chain": details(&chain.pem, true)}]})
    }
}

impl Answer {
    fn json(value: &Value) -> Answer {
        Answer::of_json(pretty(value) + "\n")
    }

    fn of_json(body: String) -> Answer {
        Answer {
            status: 200,
            content_type: "application/json",
            body,
        }
    }

    /// What a POST that is carried out is answered with.
    pub(super) fn ok() -> Answer {
        Answer::text(200, "OK\n")
    }

    /// The container has just ended.
    pub(super) fn gone() -> Answer {
        Answer::text(503, "draining\n")
    }

    fn text(status: u16, body: &str) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=UTF-8",
            body: body.to_owned(),
        }
    }
}

/// Names that a server in a cluster may bear: each account under each trust domain, sorted as
/// istiod sends them.
pub(super) fn server_names(accounts: &[(String, String)], domains: &[String]) -> Vec<String> {
    let mut names: Vec<String> = accounts
        .iter()
        .flat_map(|(namespace, account)| {
            domains
                .iter()
                .map(move |domain| format!("spiffe://{domain}/ns/{namespace}/sa/{account}"))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

fn certificate(cert: &Cert) -> Value {
    let names: Vec<Value> = cert
        .uris()
        .iter()
        .map(|uri| json!({"uri": uri}))
        .chain(cert.dns_names().iter().map(|dns| json!({"dns": dns})))
        .collect();
    let days = (cert.not_after() - Timestamp::now()).get_seconds().max(0) / 86_400;
    json!({
        "path": "\u{3c}inline\u{3e}",
        "serial_number": cert.serial(),
        "subject_alt_names": names,
        "days_until_expiration": days.to_string(),
        "valid_from": cert.not_before().to_string(),
        "expiration_time": cert.not_after().to_string(),
    })
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// As Envoy prints times: milliseconds.
fn stamp(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests;
