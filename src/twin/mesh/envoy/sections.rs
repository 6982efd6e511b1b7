//! The sections of a configuration dump, in Envoy's order.

use serde_json::{Map, Value, json};

use super::render::{Field, Section};
use super::{Cluster, Envoy, Held, Pushed, ServiceKey, base64, listeners, stamp};
use crate::twin::mesh::config::{meta, text_at};
use crate::twin::mesh::proxy::DISCOVERY;
use crate::twin::scenario::CREDENTIALS;

/// Type of a secret of SDS.
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Bootstrap, clusters, listeners, scoped routes, routes, secrets: those with a field that is `wanted`, with
/// all of theirs. What nobody wants is not made: clusters grow with the mesh.
pub(super) fn with<'a>(envoy: &Envoy<'a>, wanted: impl Fn(&str) -> bool) -> Vec<Section<'a>> {
    type Make = for<'a> fn(&Envoy<'a>) -> Section<'a>;
    let all: [(&[&str], Make); 6] = [
        (&["bootstrap", "last_updated"], |envoy| {
            own(bootstrap(envoy))
        }),
        (
            &["version_info", "static_clusters", "dynamic_active_clusters"],
            clusters,
        ),
        (
            &["version_info", "static_listeners", "dynamic_listeners"],
            |envoy| own(listeners::section(envoy)),
        ),
        (&[], |_| {
            own(json!({"@type": "type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump"}))
        }),
        (&[], |_| {
            own(json!({"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump"}))
        }),
        (
            &["dynamic_active_secrets", "dynamic_warming_secrets"],
            |envoy| own(secrets(envoy)),
        ),
    ];
    let made = all
        .into_iter()
        .filter(|(fields, _)| fields.is_empty() || fields.iter().any(|f| wanted(f)));
    made.map(|(_, make)| make(envoy)).collect()
}

/// A section without anything that is shared.
fn own<'a>(section: Value) -> Section<'a> {
    let fields = match section {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields
        .into_iter()
        .map(|(name, value)| (name, Field::Own(value)))
        .collect()
}

/// The TLS settings that inbound and outbound share: secret `default`, secret `ROOTCA` and the names
/// that the peer's certificate must match.
pub(super) fn tls_context(matchers: Vec<Value>, alpn: &Value) -> Value {
    let source = json!({
        "api_config_source": {
            "api_type": "GRPC",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
            "set_node_on_first_message_only": true,
            "transport_api_version": "V3",
        },
        "initial_fetch_timeout": "0s",
        "resource_api_version": "V3",
    });
    let names = if matchers.is_empty() {
        json!({})
    } else {
        json!({"match_subject_alt_names": matchers})
    };
    json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": source}],
        "combined_validation_context": {
            "default_validation_context": names,
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": source},
        },
    })
}

fn bootstrap(envoy: &Envoy<'_>) -> Value {
    let pod = envoy.pod;
    let (name, namespace) = (meta(pod, "name"), meta(pod, "namespace"));
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    let role = if envoy.gateway { "router" } else { "sidecar" };
    let app = pod["metadata"]["labels"]["service.istio.io/canonical-name"]
        .as_str()
        .unwrap_or(name);
    // The agent puts what was given on top of Istio's defaults.
    let mut proxy_config = envoy.proxy_config.clone();
    proxy_config
        .entry("discoveryAddress")
        .or_insert_with(|| json!(DISCOVERY));
    json!({
        "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
        "bootstrap": {"node": {
            "id": format!("{role}~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{app}.{namespace}"),
            "metadata": {
                "PROXY_CONFIG": proxy_config,
                "LABELS": pod["metadata"]["labels"],
                "ANNOTATIONS": pod["metadata"]["annotations"],
                "NAMESPACE": namespace,
                "NAME": name,
                "INSTANCE_IPS": ip,
                "SERVICE_ACCOUNT": pod["spec"]["serviceAccountName"],
                "WORKLOAD_NAME": app,
                "INTERCEPTION_MODE": "REDIRECT",
            },
            "locality": {},
            "user_agent_name": "envoy",
        }},
        "last_updated": stamp(envoy.started),
    })
}

fn clusters<'a>(envoy: &Envoy<'a>) -> Section<'a> {
    let started = stamp(envoy.started);
    let fixed: Vec<Value> = ["agent", "prometheus_stats", "sds-grpc", "xds-grpc"]
        .iter()
        .map(|name| json!({
            "cluster": {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": "STATIC"},
            "last_updated": started,
        }))
        .collect();
    let mut section = own(json!({
        "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
        "static_clusters": fixed,
    }));
    if let Some((pushed, updated)) = envoy.pushed {
        let version = json!(format!("{}/1", stamp(updated)));
        section.insert("version_info".to_owned(), Field::Own(version));
        let active = Field::Clusters(pushed, updated);
        section.insert("dynamic_active_clusters".to_owned(), active);
    }
    section
}

/// The clusters of a push, which a proxy got at `updated`.
pub(super) fn dynamic_clusters(pushed: &Pushed, updated: &str) -> Vec<Value> {
    let cluster = |body: Value| json!({"cluster": body, "last_updated": updated});
    let plain = |name: &str, kind: &str| {
        cluster(
            json!({"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": name, "type": kind}),
        )
    };
    let mut all = vec![
        plain("BlackHoleCluster", "STATIC"),
        plain("InboundPassthroughCluster", "ORIGINAL_DST"),
        plain("PassthroughCluster", "ORIGINAL_DST"),
    ];
    for (service, outbound) in &pushed.clusters {
        all.extend(
            outbound
                .ports
                .iter()
                .map(|port| cluster(outbound_cluster(service, outbound, *port))),
        );
    }
    all
}

fn outbound_cluster((namespace, name): &ServiceKey, cluster: &Cluster, port: u16) -> Value {
    let host = format!("{name}.{namespace}.svc.cluster.local");
    let full = format!("outbound|{port}||{host}");
    let matchers = cluster
        .names
        .iter()
        .map(|name| json!({"exact": name}))
        .collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": full,
        "type": "EDS",
        "eds_cluster_config": {
            "eds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "service_name": full,
        },
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "metadata": {"filter_metadata": {"istio": {"services": [{"host": host, "namespace": namespace, "name": name}]}}},
        "transport_socket_matches": [
            {
                "name": "tlsMode-istio",
                "match": {"tlsMode": "istio"},
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        "common_tls_context": tls_context(matchers, &json!(["istio"])),
                        "sni": format!("outbound_.{port}_._.{host}"),
                    },
                },
            },
            {
                "name": "tlsMode-disabled",
                "match": {},
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                },
            },
        ],
    })
}

/// The secrets of a gateway for clients from outside, which istiod sends by the name `kubernetes://CREDENTIAL`, with
/// the CA of such clients beside it. What they hold is nobody's in the mesh: a CA as the certificate, and the other way
/// round, so that whoever takes secrets by their position, or by their type, is caught.
fn credentials(envoy: &Envoy<'_>) -> Vec<Value> {
    let names = text_at(envoy.pod, "annotations", CREDENTIALS).filter(|_| envoy.gateway);
    let (Some(names), Some(chain), Some(roots)) = (names, envoy.chain, envoy.roots) else {
        return Vec::new();
    };
    let entry = |name: String, held: &Held, content: Value| {
        let mut secret = json!({"@type": SECRET, "name": name});
        if let (Some(secret), Value::Object(content)) = (secret.as_object_mut(), content) {
            secret.extend(content);
        }
        json!({"name": name, "version_info": "1", "last_updated": stamp(held.updated), "secret": secret})
    };
    let of = |name: &str| {
        let name = format!("kubernetes://{name}");
        let certificate = json!({"tls_certificate": {
            "certificate_chain": {"inline_bytes": base64(&roots.pem)},
            "private_key": {"inline_bytes": base64("[redacted]")},
        }});
        let context =
            json!({"validation_context": {"trusted_ca": {"inline_bytes": base64(&chain.pem)}}});
        [
            entry(name.clone(), roots, certificate),
            entry(format!("{name}-cacert"), chain, context),
        ]
    };
    names.split(',').flat_map(of).collect()
}

/// Envoy prints certificates before validation contexts, and among several of either in the order of a hash map: here
/// those of other names come first. A secret that was asked for and has not come is warming.
fn secrets(envoy: &Envoy<'_>) -> Value {
    let mut active = credentials(envoy);
    let mut warming = Vec::new();
    let mut put =
        |name: &str, held: Option<&Held>, content: fn(&Held) -> (&'static str, Value)| match held {
            Some(held) => {
                let (field, value) = content(held);
                active.push(json!({
                    "name": name,
                    "version_info": format!("{}/{}", stamp_seconds(held), held.version),
                    "last_updated": stamp(held.updated),
                    "secret": {"@type": SECRET, "name": name, field: value},
                }));
            }
            None => warming.push(json!({
                "name": name,
                "version_info": "uninitialized",
                "last_updated": stamp(envoy.started),
                "secret": {"@type": SECRET, "name": name},
            })),
        };
    put("default", envoy.chain, |held| {
        (
            "tls_certificate",
            json!({
                "certificate_chain": {"inline_bytes": base64(&held.pem)},
                "private_key": {"inline_bytes": base64("[redacted]")},
            }),
        )
    });
    put("ROOTCA", envoy.roots, |held| {
        (
            "validation_context",
            json!({"trusted_ca": {"inline_bytes": base64(held.pem.trim_end())}}),
        )
    });
    let mut section = json!({"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"});
    if !active.is_empty() {
        section["dynamic_active_secrets"] = json!(active);
    }
    if !warming.is_empty() {
        section["dynamic_warming_secrets"] = json!(warming);
    }
    section
}

fn stamp_seconds(held: &Held) -> String {
    format!("{:.0}", held.updated)
}
