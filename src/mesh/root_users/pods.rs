//! Applications that mount the old root, or certificates that their proxy writes out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::User;
use crate::cluster::{Cluster, Selector};
use crate::mesh::gate::View;
use crate::mesh::pods::{self, Workload};
use crate::mesh::{MeshError, names, templates};

/// Containers that Istio makes; what they mount, istiod keeps up to date.
const ISTIOS: [&str; 4] = [
    names::PROXY_CONTAINER,
    "istio-init",
    "istio-validation",
    "discovery",
];
/// Annotation with further mounts of the proxy, as JSON.
const USER_MOUNTS: &str = "sidecar.istio.io/userVolumeMount";
/// The directory into which an agent writes the certificates of its proxy (Istio's `pilot-agent`).
const OUTPUT_CERTS: &str = "OUTPUT_CERTS";

/// By their templates, also where they have no pod now.
pub(super) async fn of_templates(cluster: &Cluster, view: &View) -> Result<Vec<User>, MeshError> {
    let all = templates::all(cluster, None).await?;
    let users = all.iter().flat_map(|t| users(&t.workload, &t.pod, view));
    Ok(users.collect())
}

/// By the pods that are, in which the injected proxy shows what it writes.
pub(super) async fn of_pods(cluster: &Cluster, view: &View) -> Result<Vec<User>, MeshError> {
    let kind = cluster.kind("pods").await?;
    let all = cluster.list(&kind, None, &Selector::default()).await?;
    let live = all.iter().filter(|pod| {
        let phase = pod.text("/status/phase");
        !["Succeeded", "Failed"].contains(&phase)
    });
    let users = live.flat_map(|pod| users(&pods::workload_of(pod), pod.value(), view));
    Ok(users.collect())
}

fn users(workload: &Workload, pod: &Value, view: &View) -> Vec<User> {
    let user = |how: String, way_out: &'static str| User {
        kind: workload.kind.clone(),
        namespace: workload.namespace.clone(),
        name: workload.name.clone(),
        how,
        way_out,
    };
    let root = roots(pod).into_iter().map(|how| {
        user(
            how,
            "have it read the new root as well, or call through its proxy; or say with --waive that it does not need it",
        )
    });
    let default = view.revisions.iter().find_map(|r| r.output_certs.clone());
    let written = written(pod, default).into_iter().map(|how| {
        user(
            how,
            "see that whoever it calls, or is called by, trusts the new CA; then say so with --waive",
        )
    });
    root.chain(written).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The containers of the application.
fn own(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let all = lists.into_iter().flat_map(|list| items(&pod["spec"][list]));
    all.filter(|c| !ISTIOS.contains(&c["name"].as_str().unwrap_or_default()))
}

fn is_root(reference: &Value) -> bool {
    reference["name"] == names::ROOT_CONFIG_MAP
}

/// How the application reads the root by which agents verify istiod.
fn roots(pod: &Value) -> Vec<String> {
    let holds = |volume: &&Value| {
        is_root(&volume["configMap"])
            || items(&volume["projected"]["sources"]).any(|s| is_root(&s["configMap"]))
    };
    let volumes: Vec<&Value> = items(&pod["spec"]["volumes"])
        .filter(holds)
        .map(|volume| &volume["name"])
        .collect();
    let mut found = Vec::new();
    for container in own(pod) {
        let name = container["name"].as_str().unwrap_or_default();
        let mut mounts = items(&container["volumeMounts"]);
        if let Some(mount) = mounts.find(|mount| volumes.contains(&&mount["name"])) {
            let path = mount["mountPath"].as_str().unwrap_or_default();
            found.push(format!(
                "container `{name}` mounts ConfigMap {} at `{path}`",
                names::ROOT_CONFIG_MAP
            ));
        }
        let in_env = items(&container["env"]).any(|e| is_root(&e["valueFrom"]["configMapKeyRef"]))
            || items(&container["envFrom"]).any(|e| is_root(&e["configMapRef"]));
        if in_env {
            found.push(format!(
                "container `{name}` has ConfigMap {} in its environment",
                names::ROOT_CONFIG_MAP
            ));
        }
    }
    found
}

/// Who reads the certificates that the proxy writes out. `default` is the directory of the mesh configuration.
fn written(pod: &Value, default: Option<String>) -> Vec<String> {
    let annotation = |key: &str| pod["metadata"]["annotations"][key].as_str();
    let lists = ["containers", "initContainers"];
    let mut all = lists.into_iter().flat_map(|list| items(&pod["spec"][list]));
    let proxy = all.find(|c| c["name"] == names::PROXY_CONTAINER);
    let config = annotation(names::PROXY_CONFIG)
        .and_then(|text| serde_saphyr::from_str::<Value>(text).ok())
        .unwrap_or_default();
    let directory = proxy
        .and_then(|proxy| pods::env(proxy, OUTPUT_CERTS))
        .or_else(|| {
            let given = config["proxyMetadata"][OUTPUT_CERTS].as_str();
            given.map(str::to_owned)
        })
        .or(default);
    let Some(directory) = directory else {
        return Vec::new();
    };
    let mounts = match proxy {
        Some(proxy) => proxy["volumeMounts"].clone(),
        None => annotation(USER_MOUNTS)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default(),
    };
    let volumes: BTreeSet<&str> = items(&mounts)
        .filter(|mount| {
            let path = mount["mountPath"].as_str();
            path.is_some_and(|path| directory.starts_with(path.trim_end_matches('/')))
        })
        .filter_map(|mount| mount["name"].as_str())
        .collect();
    let reads = |container: &&Value| {
        let mut mounts = items(&container["volumeMounts"]).filter_map(|m| m["name"].as_str());
        mounts.any(|name| volumes.contains(name))
    };
    own(pod)
        .filter(reads)
        .map(|container| {
            format!(
                "container `{}` reads the certificates that its proxy writes to `{directory}` ({OUTPUT_CERTS})",
                container["name"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_root_is_found_in_volumes_projections_and_environments_of_the_application_only() {
        let map = json!({"name": "istio-ca-root-cert"});
        let pod = |container: &str, volume: &Value, more: &Value| {
            let mut container =
                json!({"name": container, "volumeMounts": [{"name": "v", "mountPath": "/ca"}]});
            for (key, value) in more.as_object().unwrap() {
                container[key] = value.clone();
            }
            let mut volume = volume.clone();
            volume["name"] = "v".into();
            json!({"spec": {"volumes": [volume], "containers": [container]}})
        };
        let (none, nothing) = (json!({"emptyDir": {}}), json!({}));
        for (name, volume, more, found) in [
            ("app", json!({"configMap": map}), nothing.clone(), 1),
            (
                "app",
                json!({"projected": {"sources": [{"configMap": map}]}}),
                nothing.clone(),
                1,
            ),
            (
                "app",
                none.clone(),
                json!({"env": [{"name": "CA", "valueFrom": {"configMapKeyRef": map}}]}),
                1,
            ),
            (
                "app",
                none.clone(),
                json!({"envFrom": [{"configMapRef": map}]}),
                1,
            ),
            ("app", none, nothing.clone(), 0),
            ("istio-proxy", json!({"configMap": map}), nothing.clone(), 0),
            ("app", json!({"configMap": {"name": "other"}}), nothing, 0),
        ] {
            assert_eq!(
                roots(&pod(name, &volume, &more)).len(),
                found,
                "{name} {volume} {more}"
            );
        }
    }

    #[test]
    fn certificates_that_a_proxy_writes_are_used_by_whoever_mounts_their_volume() {
        let app = |volume: &str| json!({"name": "app", "volumeMounts": [{"name": volume, "mountPath": "/certs"}]});
        let proxy = json!({"name": "istio-proxy", "env": [{"name": "OUTPUT_CERTS", "value": "/etc/certs/x"}],
            "volumeMounts": [{"name": "certs", "mountPath": "/etc/certs/"}]});
        let live = |volume: &str| json!({"spec": {"containers": [app(volume), proxy]}});
        assert_eq!(written(&live("certs"), None).len(), 1);
        assert!(written(&live("data"), None).is_empty());
        let template = |annotations: &Value| json!({"metadata": {"annotations": annotations}, "spec": {"containers": [app("certs")]}});
        let mounts = "[{\"name\": \"certs\", \"mountPath\": \"/etc/certs\"}]";
        let both = json!({"sidecar.istio.io/userVolumeMount": mounts, "proxy.istio.io/config": "proxyMetadata: {OUTPUT_CERTS: /etc/certs}"});
        assert_eq!(written(&template(&both), None).len(), 1);
        let one = json!({"sidecar.istio.io/userVolumeMount": mounts});
        assert!(written(&template(&one), None).is_empty());
        assert_eq!(written(&template(&one), Some("/etc/certs".into())).len(), 1);
    }
}
