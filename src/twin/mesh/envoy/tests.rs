use super::*;
use crate::pki::{HandshakeFailure, Refusal, Side};

const ROOT: &str = include_str!("../../../pki/meshca-root.pem");

fn held() -> Held {
    Held {
        pem: ROOT.to_owned(),
        updated: "2026-11-23T03:42:24.054Z".parse().unwrap(),
        version: 3,
    }
}

fn pushed() -> Pushed {
    let key = ("pay".to_owned(), "api".to_owned());
    let names = server_names(
        &[("pay".to_owned(), "api".to_owned())],
        &["cluster.local".to_owned(), "f.svc.id.goog".to_owned()],
    );
    Pushed {
        accepted: vec!["cluster.local".to_owned(), "f.svc.id.goog".to_owned()],
        expected: vec!["cluster.local".to_owned(), "f.svc.id.goog".to_owned()],
        clusters: BTreeMap::from([(
            key,
            Cluster {
                ports: vec![8080],
                names,
            },
        )]),
        shown: Shown::default(),
    }
}

fn answer(gateway: bool, with_secrets: bool, query: Option<&str>) -> Value {
    let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "labels": {}, "annotations": {}}, "spec": {"serviceAccountName": "web"}, "status": {"podIP": "10.0.0.1"}});
    let (held, pushed) = (held(), pushed());
    let envoy = Envoy {
        pod: &pod,
        gateway,
        proxy_config: &Map::new(),
        chain: with_secrets.then_some(&held),
        roots: with_secrets.then_some(&held),
        pushed: Some((&pushed, held.updated)),
        started: held.updated,
        counters: &TlsCounters::default(),
        passed: &Passed::default(),
        gauges: Gauges::default(),
        draining: false,
    };
    let answer = envoy.answer("/config_dump", query);
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_gateway_lists_its_credentials_before_the_meshs_secrets() {
    let annotations = json!({"twin.rootshift.dev/credentials": "shop-tls"});
    let metadata = json!({"name": "gw-1", "namespace": "istio-system", "labels": {}, "annotations": annotations});
    let pod = json!({"metadata": metadata, "spec": {}, "status": {}});
    let (held, pushed) = (held(), pushed());
    let names = |gateway: bool| {
        let envoy = Envoy {
            pod: &pod,
            gateway,
            proxy_config: &Map::new(),
            chain: Some(&held),
            roots: Some(&held),
            pushed: Some((&pushed, held.updated)),
            started: held.updated,
            counters: &TlsCounters::default(),
            passed: &Passed::default(),
            gauges: Gauges::default(),
            draining: false,
        };
        let answer = envoy.answer("/config_dump", Some("mask=dynamic_active_secrets"));
        let dump: Value = serde_json::from_str(&answer.body).unwrap();
        let secrets = dump["configs"][0]["dynamic_active_secrets"]
            .as_array()
            .unwrap()
            .clone();
        secrets
            .iter()
            .map(|s| s["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(true),
        [
            "kubernetes://shop-tls",
            "kubernetes://shop-tls-cacert",
            "default",
            "ROOTCA"
        ]
    );
    assert_eq!(names(false), ["default", "ROOTCA"]);
}

fn types(dump: &Value) -> Vec<&str> {
    dump["configs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["@type"].as_str().unwrap().rsplit('.').next().unwrap())
        .collect()
}

#[test]
fn a_plain_dump_has_envoys_sections_in_envoys_order() {
    assert_eq!(
        types(&answer(false, true, None)),
        [
            "BootstrapConfigDump",
            "ClustersConfigDump",
            "ListenersConfigDump",
            "ScopedRoutesConfigDump",
            "RoutesConfigDump",
            "SecretsConfigDump"
        ]
    );
}

#[test]
fn a_mask_keeps_the_sections_that_have_its_fields() {
    let dump = answer(
        false,
        true,
        Some("mask=dynamic_active_secrets,dynamic_warming_secrets"),
    );
    assert_eq!(types(&dump), ["SecretsConfigDump"]);
    let names: Vec<_> = dump["configs"][0]["dynamic_active_secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].clone())
        .collect();
    assert_eq!(names, ["default", "ROOTCA"]);
    assert_eq!(answer(false, true, Some("mask=nothing")), json!({}));
}

#[test]
fn who_got_the_same_push_shows_the_same_clusters_but_for_when_it_got_them() {
    let pod = json!({"metadata": {"name": "web-1", "namespace": "shop"}});
    let (held, mut pushed) = (held(), pushed());
    let shown = |pushed: &Pushed, at: &str, query: Option<&str>| {
        let envoy = Envoy {
            pod: &pod,
            gateway: false,
            proxy_config: &Map::new(),
            chain: Some(&held),
            roots: Some(&held),
            pushed: Some((pushed, at.parse().unwrap())),
            started: held.updated,
            counters: &TlsCounters::default(),
            passed: &Passed::default(),
            gauges: Gauges::default(),
            draining: false,
        };
        envoy.answer("/config_dump", query).body
    };
    let (first, then) = ("2026-11-23T03:50:00.000Z", "2026-11-23T04:00:00.000Z");
    for query in [None, Some("mask=dynamic_active_clusters")] {
        let text = shown(&pushed, first, query);
        let dump: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text, Answer::json(&dump).body, "as all of Envoy's answers");
        let section = dump["configs"].as_array().unwrap().iter();
        let clusters = section.filter(|s| s["@type"].as_str().unwrap().contains("Clusters"));
        let made = sections::dynamic_clusters(&pushed, first);
        let all: Vec<&Value> = clusters.map(|s| &s["dynamic_active_clusters"]).collect();
        assert_eq!(all, [&json!(made)]);
        let later = shown(&pushed, then, query);
        assert_eq!(text.replace(first, then), later);
    }
    // What is pushed next is another push, with a text of its own.
    pushed = Pushed {
        clusters: BTreeMap::new(),
        shown: Shown::default(),
        ..pushed
    };
    assert!(!shown(&pushed, first, None).contains("api.pay"));
}

#[test]
fn keys_are_redacted_and_the_bundle_ends_without_a_line_end() {
    let dump = answer(false, true, Some("mask=dynamic_active_secrets"));
    let secrets = &dump["configs"][0]["dynamic_active_secrets"];
    assert_eq!(
        secrets[0]["secret"]["tls_certificate"]["private_key"]["inline_bytes"],
        "W3JlZGFjdGVkXQ=="
    );
    assert_eq!(secrets[0]["last_updated"], "2026-11-23T03:42:24.054Z");
    assert_eq!(secrets[0]["version_info"], "2026-11-23T03:42:24Z/3");
    let roots = secrets[1]["secret"]["validation_context"]["trusted_ca"]["inline_bytes"]
        .as_str()
        .unwrap();
    assert_eq!(STANDARD.decode(roots).unwrap(), ROOT.trim_end().as_bytes());
}

#[test]
fn without_a_certificate_both_secrets_are_warming() {
    let dump = answer(
        false,
        false,
        Some("mask=dynamic_active_secrets,dynamic_warming_secrets"),
    );
    let section = &dump["configs"][0];
    assert!(section.get("dynamic_active_secrets").is_none());
    assert_eq!(
        section["dynamic_warming_secrets"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn inbound_lists_prefixes_with_the_slash_and_outbound_exact_names() {
    let dump = answer(false, true, None);
    let inbound =
        &dump["configs"][2]["dynamic_listeners"][1]["active_state"]["listener"]["filter_chains"][2];
    let context = &inbound["transport_socket"]["typed_config"]["common_tls_context"]["combined_validation_context"];
    assert_eq!(
        context["default_validation_context"]["match_subject_alt_names"],
        json!([{"prefix": "spiffe://cluster.local/"}, {"prefix": "spiffe://f.svc.id.goog/"}])
    );
    let cluster = &dump["configs"][1]["dynamic_active_clusters"][3]["cluster"];
    assert_eq!(cluster["name"], "outbound|8080||api.pay.svc.cluster.local");
    let context = &cluster["transport_socket_matches"][0]["transport_socket"]["typed_config"]["common_tls_context"]
        ["combined_validation_context"];
    assert_eq!(
        context["default_validation_context"]["match_subject_alt_names"],
        json!([{"exact": "spiffe://cluster.local/ns/pay/sa/api"}, {"exact": "spiffe://f.svc.id.goog/ns/pay/sa/api"}])
    );
}

#[test]
fn a_gateway_has_no_inbound_listener() {
    let listeners = &answer(true, true, None)["configs"][2]["dynamic_listeners"];
    assert_eq!(listeners, &json!([]));
}

#[test]
fn certs_shows_one_root_however_many_there_are() {
    let pod = json!({"metadata": {}});
    let held = Held {
        pem: format!("{ROOT}{ROOT}"),
        ..held()
    };
    let envoy = Envoy {
        pod: &pod,
        gateway: false,
        proxy_config: &Map::new(),
        chain: Some(&held),
        roots: Some(&held),
        pushed: None,
        started: held.updated,
        counters: &TlsCounters::default(),
        passed: &Passed::default(),
        gauges: Gauges::default(),
        draining: false,
    };
    let body: Value = serde_json::from_str(&envoy.answer("/certs", None).body).unwrap();
    assert_eq!(
        body["certificates"][0]["ca_cert"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        body["certificates"][0]["cert_chain"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(envoy.answer("/ready", None).status, 503);
    assert_eq!(envoy.answer("/nowhere", None).status, 404);
}

/// What `/stats` shows of a client that was refused and refused, with this proxy configuration and these annotations.
fn stats(config: &Value, annotations: &Value, query: &str) -> Answer {
    let pod =
        json!({"metadata": {"name": "web-1", "namespace": "shop", "annotations": annotations}});
    let (held, pushed) = (held(), pushed());
    let counters = TlsCounters::default();
    let failure = |side| HandshakeFailure {
        side,
        cause: Refusal::UnknownIssuer,
        detail: String::new(),
    };
    let scope = stats::outbound(&("pay".to_owned(), "api".to_owned()), 8080);
    let other = TlsCounters::default();
    stats::count(&failure(Side::Client), &counters, &scope, &other);
    stats::count(&failure(Side::Server), &other, &scope, &counters);
    stats::count(&failure(Side::Client), &other, &scope, &counters);
    let envoy = Envoy {
        pod: &pod,
        gateway: false,
        proxy_config: config.as_object().unwrap(),
        chain: Some(&held),
        roots: Some(&held),
        pushed: Some((&pushed, held.updated)),
        started: held.updated,
        counters: &counters,
        passed: &Passed::default(),
        gauges: Gauges::default(),
        draining: false,
    };
    envoy.answer("/stats", Some(query))
}

#[test]
fn counters_of_tls_are_kept_only_where_the_bootstrap_includes_them_and_then_zeros_are_shown() {
    let none = json!({});
    let shown = |config: &Value, notes: &Value, query: &str| stats(config, notes, query).body;
    assert_eq!(shown(&none, &none, "filter=ssl"), "");
    assert_eq!(
        shown(&none, &none, ""),
        "server.state: 0\nserver.total_connections: 0\n",
        "always"
    );
    let of = |regex: &str| json!({"proxyStatsMatcher": {"inclusionRegexps": [regex]}});
    assert_eq!(
        shown(
            &of(r"listener\..*\.ssl\.(fail_verify_(error|san)|connection_error)"),
            &none,
            "filter=ssl"
        ),
        "listener.0.0.0.0_15006.ssl.connection_error: 1\nlistener.0.0.0.0_15006.ssl.fail_verify_error: 1\nlistener.0.0.0.0_15006.ssl.fail_verify_san: 0\n"
    );
    // A regular expression has to match all of a name, the query's filter any part of it.
    assert_eq!(shown(&of("fail_verify_error"), &none, "filter=ssl"), "");
    assert_eq!(
        shown(&of(".*"), &none, "filter=outbound%5C%7C.*_error&usedonly"),
        "cluster.outbound|8080||api.pay.svc.cluster.local.ssl.fail_verify_error: 1\n"
    );
    let suffix = json!({"sidecar.istio.io/statsInclusionSuffixes": "fail_verify_san,x"});
    assert_eq!(
        shown(&none, &suffix, "filter=ssl&format=json"),
        "{\n \"stats\": [\n  {\n   \"name\": \"cluster.outbound|8080||api.pay.svc.cluster.local.ssl.fail_verify_san\",\n   \"value\": 0\n  },\n  {\n   \"name\": \"listener.0.0.0.0_15006.ssl.fail_verify_san\",\n   \"value\": 0\n  }\n ]\n}\n"
    );
    assert_eq!(stats(&none, &none, "filter=%28").status, 400);
    assert_eq!(stats(&none, &none, "type=All").status, 501);
}

/// An Envoy that has passed on two requests and has three connections.
fn busy(draining: bool, path: &str, query: Option<&str>) -> Answer {
    let pod = json!({"metadata": {"name": "gw-1", "namespace": "istio-system"}});
    let (held, pushed, passed) = (held(), pushed(), Passed::default());
    for _ in 0..2 {
        passed.count("outbound|8080||api.pay.svc.cluster.local", "10.0.0.2");
    }
    let envoy = Envoy {
        pod: &pod,
        gateway: true,
        proxy_config: &Map::new(),
        chain: Some(&held),
        roots: Some(&held),
        pushed: Some((&pushed, held.updated)),
        started: held.updated,
        counters: &TlsCounters::default(),
        passed: &passed,
        gauges: Gauges {
            state: 0,
            connections: 3,
        },
        draining,
    };
    envoy.answer(path, query)
}

#[test]
fn an_envoy_tells_what_it_passed_on_and_whether_it_drains_as_a_real_one_does() {
    let read = |path: &str, query: &str| -> Value {
        serde_json::from_str(&busy(true, path, Some(query)).body).unwrap()
    };
    let clusters = read("/clusters", "format=json");
    let api = &clusters["cluster_statuses"][0];
    assert_eq!(api["name"], "outbound|8080||api.pay.svc.cluster.local");
    let requests = json!({"name": "rq_total", "value": "2"});
    assert_eq!(api["host_statuses"][0]["stats"][0], requests);
    assert_eq!(
        read("/stats", "format=json&filter=%5Eserver%5C.")["stats"],
        json!([
            {"name": "server.state", "value": 0},
            {"name": "server.total_connections", "value": 3},
        ]),
        "of the last flush, when it did not drain"
    );
    let ready = |draining| busy(draining, "/ready", None);
    assert_eq!((ready(false).status, ready(true).status), (200, 503));
    assert_eq!(ready(true).body, "DRAINING\n");
    assert_eq!(read("/server_info", ""), json!({"state": "DRAINING"}));
    let get = busy(false, "/healthcheck/fail", None);
    assert_eq!(get.status, 405, "only POST does it");
}
