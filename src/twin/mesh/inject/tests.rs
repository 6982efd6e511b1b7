//! Against `injected-pod-*.yaml`, pods that the real injector made; what is compared there is
//! written out here.

use super::*;

fn injector(native: bool, mesh: &str) -> Injector {
    Injector {
        revision: "r1".to_owned(),
        mesh: MeshConfig::parse(mesh).unwrap(),
        values: json!({"global": {"caAddress": ""}}),
        image: "registry.example/asm/proxyv2:1".to_owned(),
        native,
    }
}

const MESH: &str = "trustDomain: cluster.local
defaultConfig:
  discoveryAddress: istiod-r1.istio-system.svc:15012
  proxyMetadata: {PROXY_CONFIG_XDS_AGENT: \"true\"}
";

fn pod() -> Value {
    json!({
        "metadata": {
            "generateName": "sleep-647dc7c684-",
            "labels": {"app": "sleep", "pod-template-hash": "647dc7c684"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "sleep-647dc7c684", "controller": true}],
        },
        "spec": {"serviceAccountName": "sleep", "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": 8080}]}]},
    })
}

fn env(pod: &Value) -> std::collections::BTreeMap<String, String> {
    super::super::config::environment(container(pod, "istio-proxy").unwrap())
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let all = pod["spec"][list].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|c| c["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_classic_sidecar_is_the_last_container_after_an_init_container() {
    let pod = injector(false, MESH)
        .inject("shop", &pod())
        .unwrap()
        .unwrap();
    assert_eq!(names(&pod, "containers"), ["app", "istio-proxy"]);
    assert_eq!(names(&pod, "initContainers"), ["istio-init"]);
    assert_eq!(
        pod["metadata"]["annotations"]["sidecar.istio.io/status"],
        r#"{"initContainers":["istio-init"],"containers":["istio-proxy"],"volumes":["workload-socket","credential-socket","workload-certs","istio-envoy","istio-data","istio-podinfo","istio-token","istiod-ca-cert"],"imagePullSecrets":null,"revision":"r1"}"#
    );
    assert_eq!(pod["metadata"]["annotations"]["istio.io/rev"], "r1");
    assert!(pod["metadata"]["labels"].get("istio.io/rev").is_none());
    assert_eq!(
        pod["metadata"]["labels"]["security.istio.io/tlsMode"],
        "istio"
    );
    assert_eq!(
        pod["metadata"]["labels"]["service.istio.io/canonical-name"],
        "sleep"
    );
}

#[test]
fn a_native_sidecar_is_the_second_init_container_and_keeps_running() {
    let pod = injector(true, MESH)
        .inject("shop", &pod())
        .unwrap()
        .unwrap();
    assert_eq!(names(&pod, "containers"), ["app"]);
    assert_eq!(names(&pod, "initContainers"), ["istio-init", "istio-proxy"]);
    assert_eq!(pod["spec"]["initContainers"][1]["restartPolicy"], "Always");
    let mut off = super::tests::pod();
    off["metadata"]["annotations"] = json!({"sidecar.istio.io/nativeSidecar": "false"});
    let off = injector(true, MESH).inject("shop", &off).unwrap().unwrap();
    assert_eq!(names(&off, "containers"), ["app", "istio-proxy"]);
}

#[test]
fn the_environment_is_the_revisions() {
    let env = env(&injector(false, MESH)
        .inject("shop", &pod())
        .unwrap()
        .unwrap());
    assert_eq!(env["CA_ADDR"], "istiod-r1.istio-system.svc:15012");
    assert_eq!(env["PROXY_CONFIG_XDS_AGENT"], "true");
    assert_eq!(env["TRUST_DOMAIN"], "cluster.local");
    assert_eq!(env["ISTIO_META_WORKLOAD_NAME"], "sleep");
    assert_eq!(
        env["ISTIO_META_OWNER"],
        "kubernetes://apis/apps/v1/namespaces/shop/deployments/sleep"
    );
    assert_eq!(
        env["ISTIO_META_POD_PORTS"],
        "[\n    {\"containerPort\":8080}\n]"
    );
    assert_eq!(
        env["PROXY_CONFIG"],
        "{\"discoveryAddress\":\"istiod-r1.istio-system.svc:15012\",\"proxyMetadata\":{\"PROXY_CONFIG_XDS_AGENT\":\"true\"}}\n"
    );
}

#[test]
fn a_ca_address_in_the_values_is_where_the_agent_sends_its_request() {
    let mut injector = injector(
        false,
        "trustDomain: f.svc.id.goog\ndefaultConfig: {proxyMetadata: {CA_PROVIDER: GoogleCA}}\n",
    );
    injector.values = json!({"global": {"caAddress": "meshca.googleapis.com:443"}});
    let env = env(&injector.inject("shop", &pod()).unwrap().unwrap());
    assert_eq!(
        (env["CA_ADDR"].as_str(), env["CA_PROVIDER"].as_str()),
        ("meshca.googleapis.com:443", "GoogleCA")
    );
    assert_eq!(env["TRUST_DOMAIN"], "f.svc.id.goog");
}

#[test]
fn a_proxy_waits_before_it_is_ready_if_the_values_say_so() {
    let delay = |values: Value| {
        let mut injector = injector(true, MESH);
        injector.values = values;
        let pod = injector.inject("shop", &pod()).unwrap().unwrap();
        container(&pod, "istio-proxy").unwrap()["readinessProbe"]["initialDelaySeconds"].clone()
    };
    let values = json!({"global": {"proxy": {"readinessInitialDelaySeconds": 5}}});
    assert_eq!(delay(values), 5);
    assert_eq!(delay(json!({"global": {}})), Value::Null);
}

#[test]
fn a_gateways_container_is_filled_in_and_keeps_the_users_fields() {
    let mut gateway = pod();
    gateway["metadata"]["annotations"] = json!({"inject.istio.io/templates": "gateway"});
    gateway["spec"]["containers"] =
        json!([{"name": "istio-proxy", "image": "auto", "ports": [{"containerPort": 8080}]}]);
    let pod = injector(true, MESH)
        .inject("istio-system", &gateway)
        .unwrap()
        .unwrap();
    assert_eq!(names(&pod, "containers"), ["istio-proxy"]);
    assert!(names(&pod, "initContainers").is_empty());
    let proxy = &pod["spec"]["containers"][0];
    assert_eq!(proxy["image"], "registry.example/asm/proxyv2:1");
    assert_eq!(proxy["args"][1], "router");
    assert_eq!(proxy["ports"].as_array().unwrap().len(), 2);
    assert!(
        pod["metadata"]["labels"]
            .get("security.istio.io/tlsMode")
            .is_none()
    );
    let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"]
        .as_str()
        .unwrap();
    assert!(
        status.starts_with(r#"{"initContainers":null,"containers":["istio-proxy"]"#),
        "{status}"
    );
    assert!(pod["metadata"]["annotations"]["proxy.istio.io/overrides"].is_string());
}

#[test]
fn what_must_not_be_injected_is_left_alone() {
    let injector = injector(false, MESH);
    let mut host = pod();
    host["spec"]["hostNetwork"] = json!(true);
    assert!(injector.inject("shop", &host).unwrap().is_none());
    let mut off = pod();
    off["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    assert!(injector.inject("shop", &off).unwrap().is_none());
    assert!(injector.inject("kube-system", &pod()).unwrap().is_none());
    assert!(
        injector.inject("shop", &pod()).unwrap().is_some(),
        "the control"
    );
}

#[test]
fn an_unknown_template_is_an_error() {
    let mut odd = pod();
    odd["metadata"]["annotations"] = json!({"inject.istio.io/templates": "spire"});
    let error = injector(false, MESH).inject("shop", &odd).unwrap_err();
    assert_eq!(
        error,
        "requested template \"spire\" not found; have gateway,sidecar"
    );
}
