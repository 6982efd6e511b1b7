//! The containers and volumes that injection adds, as Istio's templates write them.

use serde_json::{Map, Value, json};

use super::{Context, Shape};
use crate::twin::mesh::config::meta;
use crate::twin::mesh::proxy::DISCOVERY;

/// `istio-proxy`.
pub(super) fn proxy(context: &Context<'_>) -> Value {
    let gateway = context.shape == Shape::Gateway;
    let mut container = json!({
        "name": "istio-proxy",
        "image": context.injector.image,
        "args": [
            "proxy", if gateway { "router" } else { "sidecar" },
            "--domain", "$(POD_NAMESPACE).svc.cluster.local",
            "--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error", "--log_output_level=default:info",
        ],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "env": environment(context),
        "readinessProbe": {
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "failureThreshold": 4, "periodSeconds": 15, "timeoutSeconds": 3,
        },
        "securityContext": {"runAsGroup": 1337, "runAsUser": 1337},
        "volumeMounts": mounts(context),
    });
    // Istio's default is 0, which is not stored.
    let delay = &context.injector.values["global"]["proxy"]["readinessInitialDelaySeconds"];
    if delay.as_u64().is_some_and(|seconds| seconds > 0) {
        container["readinessProbe"]["initialDelaySeconds"] = delay.clone();
    }
    if !gateway {
        container["resources"] = resources();
        container["securityContext"] = json!({
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "privileged": false,
            "readOnlyRootFilesystem": true, "runAsGroup": 1337, "runAsNonRoot": true, "runAsUser": 1337,
        });
        container["startupProbe"] = json!({
            "httpGet": {"path": "/healthz/ready", "port": 15021},
            "failureThreshold": 600, "periodSeconds": 1, "timeoutSeconds": 3,
        });
    }
    if context.shape == Shape::Native {
        container["restartPolicy"] = json!("Always");
        container["lifecycle"] = json!({"preStop": {"exec": {"command":
            ["pilot-agent", "request", "--debug-port=15020", "POST", "drain"]}}});
    }
    container
}

/// `istio-init`.
pub(super) fn init(context: &Context<'_>) -> Value {
    let mut container = json!({
        "name": "istio-init",
        "image": context.injector.image,
        "args": ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*",
            "-x", "", "-b", "*", "-d", "15090,15021,15020", "--log_output_level=default:info"],
        "resources": resources(),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": false, "readOnlyRootFilesystem": false,
            "runAsGroup": 0, "runAsNonRoot": false, "runAsUser": 0,
        },
    });
    let metadata = proxy_metadata(context);
    if !metadata.is_empty() {
        container["env"] = json!(metadata);
    }
    if let Some(token) = api_token_mount(context.pod) {
        container["volumeMounts"] = json!([token]);
    }
    container
}

/// The volumes of a proxy. The certificate of istiod's CA comes from `istio-ca-root-cert`.
pub(super) fn volumes() -> Vec<Value> {
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": format!("metadata.{field}")}});
    vec![
        json!({"name": "workload-socket", "emptyDir": {}}),
        json!({"name": "credential-socket", "emptyDir": {}}),
        json!({"name": "workload-certs", "emptyDir": {}}),
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": {}}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [field("labels", "labels"), field("annotations", "annotations")]}}),
        json!({"name": "istio-token", "projected": {"sources": [{"serviceAccountToken":
            {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
    ]
}

/// Kind (plural) and name of the workload that owns a pod: a ReplicaSet stands for its Deployment.
pub(super) fn owner(pod: &Value, namespace: &str) -> (String, String) {
    let owner = pod["metadata"]["ownerReferences"]
        .as_array()
        .and_then(|all| all.iter().find(|o| o["controller"] == true).or(all.first()));
    let (Some(kind), Some(name)) = (
        owner.and_then(|o| o["kind"].as_str()),
        owner.and_then(|o| o["name"].as_str()),
    ) else {
        let name = meta(pod, "name");
        let name = if name.is_empty() {
            meta(pod, "generateName").trim_end_matches('-')
        } else {
            name
        };
        return (
            format!("kubernetes://apis/v1/namespaces/{namespace}/pods/{name}"),
            name.to_owned(),
        );
    };
    let (plural, name) = match kind {
        "ReplicaSet" => (
            "deployments".to_owned(),
            name.rsplit_once('-')
                .map_or(name, |(deployment, _)| deployment),
        ),
        _ => (format!("{}s", kind.to_lowercase()), name),
    };
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    (
        format!("kubernetes://apis/{group}/namespaces/{namespace}/{plural}/{name}"),
        name.to_owned(),
    )
}

fn environment(context: &Context<'_>) -> Vec<Value> {
    let injector = context.injector;
    let global = &injector.values["global"];
    let or = |value: &Value, other: &str| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .unwrap_or(other)
            .to_owned()
    };
    let discovery = injector.discovery(&context.proxy_config);
    let (owner, workload) = owner(context.pod, context.namespace);
    let app = context.pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten();
    let names = app
        .clone()
        .filter(|c| c["name"] != "istio-proxy")
        .filter_map(|c| c["name"].as_str());
    let plain = |name: &str, value: &str| json!({"name": name, "value": value});
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let limit = |name: &str, resource: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": "1"}}});
    let mut env = vec![
        plain("PILOT_CERT_PROVIDER", "istiod"),
        plain("CA_ADDR", &or(&global["caAddress"], &discovery)),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        limit("ISTIO_CPU_LIMIT", "limits.cpu"),
        plain("PROXY_CONFIG", &proxy_config(&context.proxy_config)),
        plain("ISTIO_META_POD_PORTS", &ports(app)),
        plain(
            "ISTIO_META_APP_CONTAINERS",
            &names.collect::<Vec<_>>().join(","),
        ),
        limit("GOMEMLIMIT", "limits.memory"),
        limit("GOMAXPROCS", "limits.cpu"),
        plain(
            "ISTIO_META_CLUSTER_ID",
            &or(&global["multiCluster"]["clusterName"], "Kubernetes"),
        ),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        plain("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
        plain("ISTIO_META_WORKLOAD_NAME", &workload),
        plain("ISTIO_META_OWNER", &owner),
        plain(
            "ISTIO_META_MESH_ID",
            &or(&global["meshID"], &injector.mesh.trust_domain),
        ),
        plain("TRUST_DOMAIN", &injector.mesh.trust_domain),
    ];
    env.extend(proxy_metadata(context));
    env
}

fn proxy_metadata(context: &Context<'_>) -> Vec<Value> {
    context
        .proxy_config
        .get("proxyMetadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| json!({"name": name, "value": value.as_str().map_or_else(|| value.to_string(), str::to_owned)}))
        .collect()
}

/// One line of JSON with a line end, without what equals the agent's own defaults.
fn proxy_config(config: &Map<String, Value>) -> String {
    let mut shown = config.clone();
    if shown
        .get("discoveryAddress")
        .is_some_and(|a| a == DISCOVERY)
    {
        shown.remove("discoveryAddress");
    }
    format!("{}\n", Value::Object(shown))
}

fn ports<'a>(containers: impl Iterator<Item = &'a Value>) -> String {
    let lines: Vec<String> = containers
        .filter_map(|c| c["ports"].as_array())
        .flatten()
        .map(|port| format!("    {port}"))
        .collect();
    if lines.is_empty() {
        "[\n]".to_owned()
    } else {
        format!("[\n{}\n]", lines.join(",\n"))
    }
}

fn mounts(context: &Context<'_>) -> Vec<Value> {
    let mut mounts: Vec<Value> = [
        ("/var/run/secrets/workload-spiffe-uds", "workload-socket"),
        ("/var/run/secrets/credential-uds", "credential-socket"),
        (
            "/var/run/secrets/workload-spiffe-credentials",
            "workload-certs",
        ),
        ("/var/run/secrets/istio", "istiod-ca-cert"),
        ("/var/lib/istio/data", "istio-data"),
        ("/etc/istio/proxy", "istio-envoy"),
        ("/var/run/secrets/tokens", "istio-token"),
        ("/etc/istio/pod", "istio-podinfo"),
    ]
    .into_iter()
    .map(|(path, name)| json!({"mountPath": path, "name": name}))
    .collect();
    if context.shape != Shape::Gateway {
        mounts.extend(api_token_mount(context.pod));
    }
    mounts
}

/// The mount of the API token, if the ServiceAccount admission has put one into the application.
fn api_token_mount(pod: &Value) -> Option<Value> {
    pod["spec"]["containers"]
        .as_array()?
        .iter()
        .filter_map(|c| c["volumeMounts"].as_array())
        .flatten()
        .find(|m| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
        .cloned()
}

fn resources() -> Value {
    json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "10m", "memory": "64Mi"}})
}
