//! Pods that are not what they look like.

use serde_json::{Value, json};

use super::*;

fn pod(change: impl FnOnce(&mut Value)) -> PodClass {
    let mut pod = json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "1", "labels": {"app": "web"}, "annotations": {}},
        "spec": {"containers": [
            {"name": "app"},
            {"name": "istio-proxy", "args": ["proxy", "sidecar"], "env": []},
        ]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    change(&mut pod);
    classify(&Object::new(pod))
}

fn unjudgeable(class: PodClass) -> String {
    match class {
        PodClass::Unjudgeable(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ztunnel_whose_container_is_called_istio_proxy_is_no_sidecar() {
    let class = pod(|pod| pod["metadata"]["labels"]["app"] = json!("ztunnel"));
    assert!(unjudgeable(class).contains("ambient meshes cannot hold two roots"));
    let redirected = pod(|pod| {
        pod["spec"]["containers"] = json!([{"name": "app"}]);
        pod["metadata"]["annotations"]["ambient.istio.io/redirection"] = json!("enabled");
    });
    assert!(unjudgeable(redirected).contains("its trust lives in ztunnel"));
}

#[test]
fn a_proxy_without_an_envoy_cannot_be_asked() {
    let class = pod(|pod| {
        pod["spec"]["containers"][1]["env"] = json!([{"name": "DISABLE_ENVOY", "value": "true"}]);
    });
    assert!(unjudgeable(class).contains("no Envoy to ask"));
}

#[test]
fn what_has_ended_is_skipped_and_said_to_be() {
    for phase in ["Succeeded", "Failed"] {
        let class = pod(|pod| pod["status"]["phase"] = json!(phase));
        assert_eq!(class, PodClass::Skipped("ended"), "{phase}");
    }
    let going = pod(|pod| pod["metadata"]["deletionTimestamp"] = json!("2026-11-23T05:00:00Z"));
    assert_eq!(going, PodClass::Leaving);
    let starting = pod(|pod| pod["status"]["phase"] = json!("Pending"));
    assert!(matches!(starting, PodClass::Starting(_, reason) if reason == "is Pending"));
}

/// The injector leaves such a pod alone, also where its namespace is labelled.
#[test]
fn a_pod_on_the_nodes_network_is_outside() {
    let class = pod(|pod| {
        pod["spec"]["hostNetwork"] = json!(true);
        pod["spec"]["containers"] = json!([{"name": "app"}]);
    });
    assert_eq!(class, PodClass::Outside);
    let template = json!({"metadata": {}, "spec": {"hostNetwork": true}});
    let why = crate::mesh::templates::declines(&template).unwrap();
    assert!(why.contains("hostNetwork"), "{why}");
}

/// An init container that ends is none that serves.
#[test]
fn only_an_init_container_that_keeps_running_is_a_native_sidecar() {
    let with = |policy: Value| {
        pod(|pod| {
            pod["spec"]["containers"] = json!([{"name": "app"}]);
            let proxy = json!({"name": "istio-proxy", "args": ["proxy", "sidecar"], "restartPolicy": policy});
            pod["spec"]["initContainers"] = json!([proxy]);
        })
    };
    assert!(
        matches!(with(json!("Always")), PodClass::Proxy(proxy) if proxy.kind == ProxyKind::NativeSidecar)
    );
    assert_eq!(with(Value::Null), PodClass::Outside);
}
