//! The configuration of one of the two Envoys, as istiod writes its TLS parts.
//!
//! Listeners and clusters come from one file each (LDS, CDS): what Envoy cannot load it refuses there
//! one by one, while in the bootstrap it would end. Certificates are static secrets of the bootstrap. SDS
//! files, which Istio's agent is nearer to, cost an inotify instance each, of which a user has 128; the
//! verdicts were the same with them.

use std::path::{Path, PathBuf};

use rootshift::pki::SanRules;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::pairs::{Pair, Party, pem};

/// `SupportedCiphers` in `pilot/pkg/security/authn/utils/utils.go`: for meshes without a setting of their own.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// Writes everything for the Envoy `me`, whose identities are those that `mine` takes of each pair, into
/// the directory `dir/me`; returns the bootstrap's path.
pub(super) fn write(
    dir: &Path,
    me: &str,
    peer: &str,
    pairs: &[Pair],
    mine: impl Fn(&Pair) -> &Party,
) -> PathBuf {
    let home = dir.join(me);
    std::fs::create_dir(&home).unwrap();
    let put = |name: &str, what: &Value| {
        let path = home.join(name);
        std::fs::write(&path, what.to_string()).unwrap();
        path
    };
    let resources = |kind: &str, all: Vec<Value>| {
        let typed = all.into_iter().map(|mut one| {
            one["@type"] = json!(format!("type.googleapis.com/envoy.config.{kind}"));
            one
        });
        json!({"resources": typed.collect::<Vec<_>>()})
    };
    let (mut listeners, mut clusters, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    for (number, pair) in pairs.iter().enumerate() {
        let (name, party) = (super::rig::name(number), mine(pair));
        let here = home.join(format!("{name}.sock"));
        let there = dir.join(peer).join(format!("{name}.sock"));
        listeners.push(listener(&home, &here, &name, &party.accepts));
        clusters.push(cluster(&there, &name, &party.accepts));
        secrets.extend(secrets_of(&name, party));
    }
    let files =
        |path: &Path| json!({"path_config_source": {"path": path}, "resource_api_version": "V3"});
    let lds = put("lds.json", &resources("listener.v3.Listener", listeners));
    let cds = put("cds.json", &resources("cluster.v3.Cluster", clusters));
    put(
        "envoy.json",
        &json!({
            "node": {"id": me, "cluster": "judge"},
            "admin": {"address": pipe(&home.join("admin.sock"))},
            "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": included()}}},
            "static_resources": {"listeners": [front(&home)], "secrets": secrets},
            "dynamic_resources": {"lds_config": files(&lds), "cds_config": files(&cds)},
        }),
    )
}

/// The counters that the stock script has new revisions keep: as it writes them for Istio, which puts them there.
fn included() -> Vec<Value> {
    let overlay = include_str!("../../../../stdlib/mesh/tripwire.rhai").lines();
    let quoted = overlay.filter_map(|line| line.trim().strip_prefix("- '")?.strip_suffix('\''));
    let patterns = quoted.map(|regex| json!({"safe_regex": {"regex": regex}}));
    patterns.collect()
}

fn secrets_of(name: &str, party: &Party) -> [Value; 2] {
    let text = |text: &str| json!({"inline_string": text});
    [
        json!({"name": format!("{name}-cert"), "tls_certificate": {
            "certificate_chain": text(&pem(&party.case.chain)),
            "private_key": text(party.case.key.pem().expose_secret()),
        }}),
        json!({"name": format!("{name}-ROOTCA"), "validation_context": {
            "trusted_ca": text(&pem(&party.trusts)),
        }}),
    ]
}

/// Istio writes the matchers without a type of name: a DNS name with the text of a URI matches too.
fn matchers(accepts: &SanRules) -> Value {
    let of = |kind: &str, texts: &Option<Vec<String>>| -> Vec<Value> {
        let texts = texts.iter().flatten();
        texts.map(|text| json!({kind: text})).collect()
    };
    let mut all = of("prefix", &accepts.prefixes);
    all.extend(of("exact", &accepts.exact));
    if all.is_empty() {
        json!({})
    } else {
        json!({"match_subject_alt_names": all})
    }
}

fn common_tls(name: &str, accepts: &SanRules, server: bool) -> Value {
    let mut params = json!({
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
    });
    if server {
        params["cipher_suites"] = json!(CIPHERS);
    }
    let alpn = if server {
        ["h2", "http/1.1"]
    } else {
        ["istio", "http/1.1"]
    };
    json!({
        "tls_params": params,
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": [{"name": format!("{name}-cert")}],
        "combined_validation_context": {
            "default_validation_context": matchers(accepts),
            "validation_context_sds_secret_config": {"name": format!("{name}-ROOTCA")},
        },
    })
}

fn tls(context: &str, mut config: Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}");
    config["@type"] = json!(kind);
    json!({"name": "envoy.transport_sockets.tls", "typed_config": config})
}

fn pipe(path: &Path) -> Value {
    json!({"pipe": {"path": path}})
}

/// The server side of a pair. It writes a line for each connection, refused ones too.
fn listener(home: &Path, socket: &Path, name: &str, accepts: &SanRules) -> Value {
    let log = json!({"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": home.join("server.log"),
        "log_format": {"json_format": {
            "pair": name, "refusal": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
        }},
    }});
    let context = json!({
        "common_tls_context": common_tls(name, accepts, true),
        "require_client_certificate": true,
        "disable_stateless_session_resumption": true,
        "disable_stateful_session_resumption": true,
    });
    let answer = json!({"direct_response": {"status": 200, "body": {"inline_string": name}}});
    json!({
        "name": name,
        "stat_prefix": "0.0.0.0_15006",
        "address": pipe(socket),
        "access_log": [log],
        "filter_chains": [{
            "transport_socket": tls("DownstreamTlsContext", context),
            "filters": [http("judge", answer, json!({}))],
        }],
    })
}

/// The client side of a pair: one connection for each request.
fn cluster(socket: &Path, name: &str, accepts: &SanRules) -> Value {
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let context =
        json!({"common_tls_context": common_tls(name, accepts, false), "max_session_keys": 0});
    json!({
        "name": name,
        "alt_stat_name": super::counters::stat_name(name),
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": pipe(socket)}},
        ]}]},
        "typed_extension_protocol_options": {options: {
            "@type": format!("type.googleapis.com/{options}"),
            "common_http_protocol_options": {"max_requests_per_connection": 1},
            "explicit_http_config": {"http_protocol_options": {}},
        }},
        "transport_socket": tls("UpstreamTlsContext", context),
    })
}

/// Where requests come in, in plain HTTP: the header `pair` names the cluster, and a refusal comes back as
/// the body.
fn front(home: &Path) -> Value {
    let route = json!({"route": {"cluster_header": "pair", "timeout": "10s"}});
    let refusal = json!({"local_reply_config": {"body_format": {"json_format": {
        "refusal": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    }}}});
    json!({
        "name": "front",
        "address": pipe(&home.join("front.sock")),
        "filter_chains": [{"filters": [http("front", route, refusal)]}],
    })
}

fn http(prefix: &str, mut route: Value, more: Value) -> Value {
    route["match"] = json!({"prefix": "/"});
    let mut config = more;
    config["@type"] = json!(
        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    );
    config["stat_prefix"] = json!(prefix);
    config["generate_request_id"] = json!(false);
    config["route_config"] = json!({"virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": [route]},
    ]});
    config["http_filters"] = json!([{"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }}]);
    json!({"name": "http", "typed_config": config})
}
