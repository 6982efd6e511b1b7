//! The listeners: the inbound one holds the names of the clients that are let in.

use serde_json::{Value, json};

use super::sections::tls_context;
use super::{Envoy, Pushed, stamp};

/// The listeners' section. A gateway has no inbound listener for the mesh: it only calls.
pub(super) fn section(envoy: &Envoy<'_>) -> Value {
    let started = stamp(envoy.started);
    let fixed: Vec<Value> = [("0.0.0.0_15090", 15090), ("0.0.0.0_15021", 15021)]
        .iter()
        .map(|(name, port)| json!({"listener": listener(name, *port), "last_updated": started}))
        .collect();
    let mut section = json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
        "static_listeners": fixed,
    });
    if let Some((pushed, updated)) = envoy.pushed {
        let active = |name: &str, listener: Value| {
            json!({
                "name": name,
                "active_state": {"listener": listener, "last_updated": stamp(updated)},
            })
        };
        let mut dynamic = Vec::new();
        if !envoy.gateway {
            dynamic.push(active(
                "virtualOutbound",
                listener("virtualOutbound", 15001),
            ));
            dynamic.push(active("virtualInbound", inbound(pushed)));
        }
        section["version_info"] = json!(format!("{}/1", stamp(updated)));
        section["dynamic_listeners"] = json!(dynamic);
    }
    section
}

fn listener(name: &str, port: u16) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
    })
}

fn inbound(pushed: &Pushed) -> Value {
    let prefixes: Vec<Value> = pushed
        .accepted
        .iter()
        .map(|domain| json!({"prefix": format!("spiffe://{domain}/")}))
        .collect();
    let chain = |name: &str, matching: Value, filter: &str| {
        json!({
            "filter_chain_match": matching,
            "filters": [{"name": filter}],
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": tls_context(prefixes.clone(), &json!(["h2", "http/1.1"])),
                    "require_client_certificate": true,
                },
            },
            "name": name,
        })
    };
    let mut body = listener("virtualInbound", 15006);
    body["filter_chains"] = json!([
        {"filter_chain_match": {"destination_port": 15006}, "filters": [{"name": "envoy.filters.network.tcp_proxy"}], "name": "virtualInbound-blackhole"},
        chain(
            "virtualInbound-catchall-http",
            json!({"transport_protocol": "tls", "application_protocols": ["istio-http/1.0", "istio-http/1.1", "istio-h2"]}),
            "envoy.filters.network.http_connection_manager",
        ),
        chain("virtualInbound", json!({"transport_protocol": "tls"}), "envoy.filters.network.tcp_proxy"),
    ]);
    body["traffic_direction"] = json!("INBOUND");
    body
}
