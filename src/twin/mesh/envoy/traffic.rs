//! Requests, connections and draining, as Envoy counts and does them.
//!
//! The prober's handshakes are the requests: one that is made is passed on to its endpoint. Counters of endpoints are always
//! kept, and are of the moment, as is what `/server_info` and `/ready` say. The gauges of the server are of the last flush
//! (envoyproxy/envoy `source/server/server.cc`, `updateServerStats`), and 0 before the first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Envoy};

/// Requests that one Envoy has passed on since it started, by cluster and endpoint. Cloning shares.
#[derive(Clone, Debug, Default)]
pub(in crate::twin::mesh) struct Passed(Arc<Mutex<BTreeMap<(String, String), u64>>>);

impl Passed {
    /// Counts a request to an endpoint of a cluster.
    pub(in crate::twin::mesh) fn count(&self, cluster: &str, endpoint: &str) {
        let key = (cluster.to_owned(), endpoint.to_owned());
        *self.held().entry(key).or_default() += 1;
    }

    /// Whether there was any.
    pub(in crate::twin::mesh) fn any(&self) -> bool {
        !self.held().is_empty()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<(String, String), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often an Envoy brings its server's gauges up to date (`stats_flush_interval`, which Istio leaves as it is).
pub(in crate::twin::mesh) const FLUSH: Duration = Duration::from_secs(5);

/// Gauges of the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::twin::mesh) struct Gauges {
    /// `server.state`.
    pub(in crate::twin::mesh) state: u64,
    /// `server.total_connections`: those that are open to it.
    pub(in crate::twin::mesh) connections: u64,
}

/// The state of a server, as `/server_info` names it and `server.state` counts it.
pub(in crate::twin::mesh) fn state(draining: bool, has_config: bool) -> (&'static str, u64) {
    match (draining, has_config) {
        (true, _) => ("DRAINING", 1),
        (false, true) => ("LIVE", 0),
        (false, false) => ("PRE_INITIALIZING", 2),
    }
}

/// Answers `/clusters`, which is asked for JSON: the endpoints to which anything was passed on, and Envoy's own.
pub(super) fn clusters(envoy: &Envoy<'_>, query: &str) -> Answer {
    if query != "format=json" {
        return Answer::text(
            501,
            "the twin's Envoy shows its clusters as format=json only\n",
        );
    }
    let mut clusters: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for ((cluster, address), count) in envoy.passed.held().iter() {
        let address = json!({"socket_address": {"address": address, "port_value": 8080}});
        let hosts = clusters.entry(cluster.clone()).or_default();
        hosts.push(host(&address, *count));
    }
    let own = json!({"pipe": {"path": "./etc/istio/proxy/XDS"}});
    clusters.insert("xds-grpc".to_owned(), vec![host(&own, 1)]);
    let statuses: Vec<Value> = clusters
        .into_iter()
        .map(|(name, hosts)| json!({"name": name, "host_statuses": hosts}))
        .collect();
    Answer::json(&json!({"cluster_statuses": statuses}))
}

/// As protobuf's JSON has it: numbers of 64 bits are texts.
fn host(address: &Value, requests: u64) -> Value {
    json!({"address": address, "stats": [{"value": requests.to_string(), "name": "rq_total"}]})
}

/// Answers `/server_info`.
pub(super) fn server_info(envoy: &Envoy<'_>) -> Answer {
    Answer::json(&json!({"state": envoy.state()}))
}
