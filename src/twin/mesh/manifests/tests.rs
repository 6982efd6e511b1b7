use super::*;

fn spec(revision: &str) -> RevisionSpec {
    RevisionSpec {
        revision: revision.to_owned(),
        tag: "1.23.3-asm.2".to_owned(),
        hub: "registry.example/asm".to_owned(),
        replicas: 1,
        mesh_config: json!({"trustDomain": "cluster.local", "caCertificates": [{"pem": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}]}),
        values: json!({"global": {"caAddress": ""}, "pilot": {"env": {"ISTIO_MULTIROOT_MESH": true}}}),
    }
}

fn named<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a str> {
    objects
        .iter()
        .filter(|o| o["kind"] == kind)
        .filter_map(|o| o["metadata"]["name"].as_str())
        .collect()
}

#[test]
fn names_follow_the_chart_for_the_default_and_for_a_named_revision() {
    let default = spec("default").objects();
    assert_eq!(
        named(&default, "ConfigMap"),
        ["istio", "istio-sidecar-injector", "values"]
    );
    assert_eq!(named(&default, "IstioOperator"), ["installed-state"]);
    assert_eq!(
        named(&default, "ValidatingWebhookConfiguration"),
        ["istio-validator-istio-system"]
    );
    let named_revision = spec("r1").objects();
    assert_eq!(named(&named_revision, "Deployment"), ["istiod-r1"]);
    assert_eq!(
        named(&named_revision, "MutatingWebhookConfiguration"),
        ["istio-sidecar-injector-r1"]
    );
    assert_eq!(
        named(&named_revision, "ValidatingWebhookConfiguration"),
        ["istio-validator-r1-istio-system"]
    );
    assert_eq!(
        named(&named_revision, "ClusterRole"),
        [
            "istio-reader-clusterrole-r1-istio-system",
            "istiod-clusterrole-r1-istio-system",
            "istiod-gateway-controller-r1-istio-system"
        ]
    );
}

#[test]
fn a_tag_is_another_name_for_a_revision() {
    let tag = spec("r1").revision_tag("prod");
    assert_eq!(tag["metadata"]["name"], "istio-revision-tag-prod");
    assert_eq!(tag["metadata"]["labels"]["istio.io/rev"], "r1");
    let hooks = tag["webhooks"].as_array().unwrap();
    assert_eq!(hooks.len(), 2);
    let wanted = &hooks[0]["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(wanted["values"], json!(["prod"]));
    assert_eq!(hooks[0]["clientConfig"]["service"]["name"], "istiod-r1");
    let default = spec("r1").revision_tag("default");
    assert_eq!(default["webhooks"].as_array().unwrap().len(), 4);
}

#[test]
fn only_the_default_revision_injects_by_the_old_labels() {
    let count = |revision| {
        let objects = spec(revision).objects();
        let hook = objects
            .iter()
            .find(|o| o["kind"] == "MutatingWebhookConfiguration")
            .unwrap();
        hook["webhooks"].as_array().unwrap().len()
    };
    assert_eq!((count("default"), count("r1")), (4, 2));
}

#[test]
fn the_mesh_configuration_survives_as_yaml() {
    let objects = spec("r1").objects();
    let text = objects
        .iter()
        .find(|o| o["metadata"]["name"] == "istio-r1")
        .unwrap()["data"]["mesh"]
        .as_str()
        .unwrap();
    let read: Value = serde_saphyr::from_str(text).unwrap();
    assert_eq!(read, spec("r1").mesh_config);
}

#[test]
fn switches_of_istiod_are_environment_variables_as_text() {
    let objects = spec("r1").objects();
    let deployment = objects.iter().find(|o| o["kind"] == "Deployment").unwrap();
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    assert!(env.contains(&json!({"name": "ISTIO_MULTIROOT_MESH", "value": "true"})));
}

#[test]
fn a_disruption_budget_comes_with_the_second_pod() {
    let mut two = spec("r1");
    assert!(named(&two.objects(), "PodDisruptionBudget").is_empty());
    two.replicas = 2;
    assert_eq!(named(&two.objects(), "PodDisruptionBudget"), ["istiod-r1"]);
}

#[test]
fn every_object_has_a_place_in_the_api() {
    for object in spec("r1").objects().iter().chain(&shared_objects("r1")) {
        assert!(KindInfo::of(object).is_some(), "{}", object["kind"]);
    }
}
