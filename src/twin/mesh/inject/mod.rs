//! The sidecar injector: what a revision's webhook makes of a pod.
//!
//! A function of the pod and of the revision's ConfigMaps, as the real one is; which webhook is
//! asked was decided before, by the API server and the selectors. The result has the shape of pods
//! that the real injector made (classic, native, gateway); fields that no proxy, no controller and
//! no reader of pods looks at are kept too, so that tools see what they see in production. Templates
//! are not evaluated: there are the two shapes `sidecar` and `gateway` and no others.

mod containers;

use serde_json::{Map, Value, json};

use super::config::{MeshConfig, container, ensure_map, merge, text_at};

/// Namespaces that are never injected (Istio, `pkg/kube/inject`, `IgnoredNamespaces`).
const IGNORED: &[&str] = &[
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

/// A revision's injector.
#[derive(Clone, Debug)]
pub(super) struct Injector {
    pub(super) revision: String,
    pub(super) mesh: MeshConfig,
    /// `values` of the injector's ConfigMap.
    pub(super) values: Value,
    /// Image of the proxy.
    pub(super) image: String,
    /// Whether pods get native sidecars unless they say otherwise.
    pub(super) native: bool,
}

/// The shapes that a pod can be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Classic,
    Gateway,
    Native,
}

/// All that the shapes need of one pod.
struct Context<'a> {
    injector: &'a Injector,
    namespace: &'a str,
    pod: &'a Value,
    proxy_config: Map<String, Value>,
    shape: Shape,
}

impl Injector {
    /// The pod as the webhook leaves it; nothing when it is not to be injected.
    ///
    /// # Errors
    /// An annotation that cannot be read: the webhook answers with an error.
    pub(super) fn inject(&self, namespace: &str, pod: &Value) -> Result<Option<Value>, String> {
        if !wanted(namespace, pod) {
            return Ok(None);
        }
        let proxy_config =
            self.mesh
                .proxy_config(text_at(pod, "annotations", "proxy.istio.io/config"))?;
        let context = Context {
            injector: self,
            namespace,
            pod,
            proxy_config,
            shape: self.shape(pod)?,
        };
        Ok(Some(context.injected()))
    }

    /// Where a proxy of this revision gets its configuration from.
    fn discovery(&self, proxy_config: &Map<String, Value>) -> String {
        proxy_config
            .get("discoveryAddress")
            .and_then(Value::as_str)
            .map_or_else(
                || {
                    format!(
                        "{}.istio-system.svc:15012",
                        super::manifests::suffixed("istiod", &self.revision)
                    )
                },
                str::to_owned,
            )
    }

    fn shape(&self, pod: &Value) -> Result<Shape, String> {
        match text_at(pod, "annotations", "inject.istio.io/templates") {
            Some("gateway") => Ok(Shape::Gateway),
            None | Some("sidecar") => {
                let native = match text_at(pod, "annotations", "sidecar.istio.io/nativeSidecar") {
                    Some("true") => true,
                    Some("false") => false,
                    _ => self.native,
                };
                Ok(if native {
                    Shape::Native
                } else {
                    Shape::Classic
                })
            }
            Some(other) => Err(format!(
                "requested template \"{other}\" not found; have gateway,sidecar"
            )),
        }
    }
}

impl Context<'_> {
    fn injected(&self) -> Value {
        let mut pod = self.pod.clone();
        self.metadata(&mut pod);
        let proxy = containers::proxy(self);
        match self.shape {
            Shape::Gateway => Self::put_gateway(&mut pod, proxy),
            Shape::Classic => {
                list(&mut pod, "initContainers").push(containers::init(self));
                list(&mut pod, "containers").push(proxy);
            }
            Shape::Native => {
                list(&mut pod, "initContainers").splice(0..0, [containers::init(self), proxy]);
            }
        }
        list(&mut pod, "volumes").splice(0..0, containers::volumes());
        pod
    }

    fn metadata(&self, pod: &mut Value) {
        let workload = containers::owner(self.pod, self.namespace).1;
        let label = |key: &str| text_at(self.pod, "labels", key).map(str::to_owned);
        let name = label("service.istio.io/canonical-name")
            .or_else(|| label("app.kubernetes.io/name"))
            .or_else(|| label("app"))
            .unwrap_or(workload);
        let revision = label("service.istio.io/canonical-revision")
            .or_else(|| label("app.kubernetes.io/version"))
            .or_else(|| label("version"))
            .unwrap_or_else(|| "latest".to_owned());
        let labels = ensure_map(&mut pod["metadata"]["labels"]);
        labels.insert(
            "service.istio.io/canonical-name".to_owned(),
            json!(name.chars().take(63).collect::<String>()),
        );
        labels.insert(
            "service.istio.io/canonical-revision".to_owned(),
            json!(revision),
        );
        if self.shape != Shape::Gateway {
            labels.insert("security.istio.io/tlsMode".to_owned(), json!("istio"));
        }
        let overrides = self.overrides();
        let status = self.status();
        let first = first_container(self.pod);
        let annotations = ensure_map(&mut pod["metadata"]["annotations"]);
        annotations.insert("istio.io/rev".to_owned(), json!(self.injector.revision));
        for (key, value) in [
            ("path", "/stats/prometheus"),
            ("port", "15020"),
            ("scrape", "true"),
        ] {
            annotations.insert(format!("prometheus.io/{key}"), json!(value));
        }
        if self.shape == Shape::Gateway {
            annotations
                .extend(overrides.map(|text| ("proxy.istio.io/overrides".to_owned(), json!(text))));
        } else {
            for key in [
                "kubectl.kubernetes.io/default-container",
                "kubectl.kubernetes.io/default-logs-container",
            ] {
                annotations.entry(key).or_insert_with(|| json!(first));
            }
        }
        annotations.insert("sidecar.istio.io/status".to_owned(), json!(status));
    }

    /// The user's own fields of the proxy container, which a second injection must find again.
    fn overrides(&self) -> Option<String> {
        let mut own = container(self.pod, "istio-proxy")?.clone();
        own.as_object_mut()?.remove("image");
        Some(json!({"containers": [own]}).to_string())
    }

    /// Field order as the real annotation has it, which text tools rely on.
    fn status(&self) -> String {
        let (init, main) = match self.shape {
            Shape::Classic => (r#"["istio-init"]"#, r#"["istio-proxy"]"#),
            Shape::Gateway => ("null", r#"["istio-proxy"]"#),
            Shape::Native => (r#"["istio-init","istio-proxy"]"#, "null"),
        };
        let volumes = json!(
            containers::volumes()
                .iter()
                .map(|v| v["name"].clone())
                .collect::<Vec<_>>()
        );
        format!(
            r#"{{"initContainers":{init},"containers":{main},"volumes":{volumes},"imagePullSecrets":null,"revision":"{}"}}"#,
            self.injector.revision
        )
    }

    /// The gateway's pod has the container already: the template lies below the user's fields.
    fn put_gateway(pod: &mut Value, proxy: Value) {
        let all = list(pod, "containers");
        match all.iter_mut().find(|c| c["name"] == "istio-proxy") {
            Some(own) => {
                let mut merged = proxy;
                let mut user = own.clone();
                if let Some(user) = user.as_object_mut() {
                    if user.get("image").is_some_and(|image| image == "auto") {
                        user.remove("image");
                    }
                    for field in ["ports", "env", "volumeMounts"] {
                        if let (Some(Value::Array(more)), Some(base)) =
                            (user.remove(field), merged[field].as_array_mut())
                        {
                            base.extend(more);
                        }
                    }
                }
                merge(&mut merged, &user);
                *own = merged;
            }
            None => all.push(proxy),
        }
        if pod["spec"]["securityContext"]
            .as_object()
            .is_none_or(Map::is_empty)
        {
            pod["spec"]["securityContext"] =
                json!({"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]});
        }
    }
}

/// The webhook's own last check (`injectRequired`), after the selectors have matched.
fn wanted(namespace: &str, pod: &Value) -> bool {
    let off = |map| matches!(text_at(pod, map, "sidecar.istio.io/inject"), Some("false"));
    let host_network = pod["spec"]["hostNetwork"].as_bool().unwrap_or(false);
    let injected_before = text_at(pod, "annotations", "sidecar.istio.io/status").is_some();
    let labelled = text_at(pod, "labels", "sidecar.istio.io/inject").is_some();
    !(host_network
        || injected_before
        || IGNORED.contains(&namespace)
        || off("labels")
        || (!labelled && off("annotations")))
}

fn first_container(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["name"]
        .as_str()
        .unwrap_or_default()
}

fn list<'a>(pod: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let field = ensure_map(&mut pod["spec"])
        .entry(name)
        .or_insert(Value::Null);
    if !field.is_array() {
        *field = json!([]);
    }
    match field {
        Value::Array(list) => list,
        _ => unreachable!("made a list above"),
    }
}

#[cfg(test)]
mod tests;
