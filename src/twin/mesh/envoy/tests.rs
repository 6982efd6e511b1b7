use super::*;

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
    };
    let answer = envoy.answer("/config_dump", query);
    assert_eq!(answer.status, 200);
    serde_json::from_str(&answer.body).unwrap()
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
