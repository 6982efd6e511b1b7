//! The objects that one revision of the control plane consists of.
//!
//! Separate because two places install revisions: the scenario (the mesh that is there at the
//! start) and the `asmcli` stand-in. Names, labels and selectors are those of Istio's charts
//! (`istio-control/istio-discovery`), as a real installation of three revisions left them on a
//! cluster; the two webhooks' selectors are copied from there too. Nothing here acts: the objects
//! work because the twin's API server dispatches to webhooks and its mesh reads them.

mod kinds;
mod webhooks;

use serde_json::{Map, Value, json};

pub use kinds::KindInfo;

/// Namespace of the control plane.
pub const ISTIO_SYSTEM: &str = "istio-system";
/// Name of the revision without a name.
pub const DEFAULT_REVISION: &str = "default";

/// What a revision is installed from: an `IstioOperator`'s merged specification.
#[derive(Clone, Debug)]
pub struct RevisionSpec {
    /// Name; `default` is the one whose objects have no suffix.
    pub revision: String,
    /// Version of Istio, the image tag.
    pub tag: String,
    /// Image registry and folder.
    pub hub: String,
    /// Pods of istiod; more than one brings a PodDisruptionBudget.
    pub replicas: u32,
    /// `spec.meshConfig`.
    pub mesh_config: Value,
    /// `spec.values`: `global.caAddress`, `global.meshID`, `pilot.env`, ….
    pub values: Value,
}

impl RevisionSpec {
    /// Name of Deployment, Service, HPA, PDB and service account.
    pub fn istiod(&self) -> String {
        suffixed("istiod", &self.revision)
    }

    /// The revision's objects in the order in which they can be created. The namespace and the
    /// `IstioOperator` definition are not among them (`operator_definition`).
    pub fn objects(&self) -> Vec<Value> {
        let mut objects = self.access();
        objects.extend(self.config_maps());
        objects.push(self.service());
        objects.push(self.deployment());
        objects.push(self.autoscaler());
        objects.extend((self.replicas > 1).then(|| self.disruption_budget()));
        objects.push(webhooks::injector(self));
        objects.push(webhooks::validator(self));
        objects.push(self.installed_state());
        objects
    }

    /// A revision tag that leads to it.
    pub fn revision_tag(&self, tag: &str) -> Value {
        webhooks::tag(self, tag)
    }

    /// `-f asm/istio/istiod-service.yaml`: the Service `istiod` that the default validator calls,
    /// pointed to this revision.
    pub fn validation_service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "istiod", "namespace": ISTIO_SYSTEM,
                "labels": {"istio.io/rev": self.revision, "app": "istiod", "istio": "pilot", "release": "istio"},
            },
            "spec": {"ports": service_ports(), "selector": {"app": "istiod", "istio.io/rev": self.revision}},
        })
    }

    fn labels(&self) -> Map<String, Value> {
        let mut labels = chart_labels("istiod", "istiod-1.0.0");
        for (key, value) in [
            ("install.operator.istio.io/owning-resource", "unknown"),
            ("istio.io/rev", &self.revision),
            ("operator.istio.io/component", "Pilot"),
        ] {
            labels.insert(key.to_owned(), json!(value));
        }
        labels
    }

    fn istiod_labels(&self) -> Map<String, Value> {
        let mut labels = self.labels();
        labels.insert("app".to_owned(), json!("istiod"));
        labels.insert("istio".to_owned(), json!("pilot"));
        labels
    }

    fn is_default(&self) -> bool {
        self.revision == DEFAULT_REVISION
    }

    fn access(&self) -> Vec<Value> {
        let mut labels = chart_labels("istiod", "istiod-1.0.0");
        labels.insert("app".to_owned(), json!("istiod"));
        let mut reader = chart_labels("istio-reader", "istiod-1.0.0");
        reader.insert("app".to_owned(), json!("istio-reader"));
        let istiod = self.istiod();
        let subject =
            json!([{"kind": "ServiceAccount", "name": istiod, "namespace": ISTIO_SYSTEM}]);
        let everything =
            json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]);
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": istiod, "namespace": ISTIO_SYSTEM, "labels": labels}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": istiod, "namespace": ISTIO_SYSTEM, "labels": labels},
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "get", "watch", "list", "update", "delete"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update", "patch", "create"]},
            ]}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": istiod, "namespace": ISTIO_SYSTEM, "labels": labels},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": istiod}, "subjects": subject}),
        ];
        for (role, labels) in [
            ("istio-reader-clusterrole", &reader),
            ("istiod-clusterrole", &labels),
            ("istiod-gateway-controller", &labels),
        ] {
            let name = format!("{}-{ISTIO_SYSTEM}", suffixed(role, &self.revision));
            objects.push(
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name, "labels": labels}, "rules": everything}),
            );
            objects.push(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": name, "labels": labels},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}, "subjects": subject}));
        }
        objects
    }

    fn config_maps(&self) -> Vec<Value> {
        let config_map = |name: &str, data: Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": suffixed(name, &self.revision), "namespace": ISTIO_SYSTEM, "labels": self.labels()},
                "data": data})
        };
        let injector_values = json!({
            "gateways": self.values["gateways"],
            "global": self.values["global"],
            "istio_cni": {"enabled": false},
            "revision": if self.is_default() { "" } else { &self.revision },
            "sidecarInjectorWebhook": {"defaultTemplates": [], "rewriteAppHTTPProbe": true},
        });
        vec![
            config_map(
                "istio",
                json!({"mesh": yaml(&self.mesh_config), "meshNetworks": "networks: {}"}),
            ),
            config_map(
                "istio-sidecar-injector",
                json!({
                    "config": "defaultTemplates: [sidecar]\npolicy: enabled\nalwaysInjectSelector:\n  []\nneverInjectSelector:\n  []\ninjectedAnnotations: {}\n",
                    "values": pretty(&injector_values),
                }),
            ),
            config_map(
                "values",
                json!({"merged-values": pretty(&self.values), "original-values": pretty(&self.values)}),
            ),
        ]
    }

    fn service(&self) -> Value {
        let selector = if self.is_default() {
            json!({"app": "istiod", "istio": "pilot"})
        } else {
            json!({"app": "istiod", "istio.io/rev": self.revision})
        };
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.istiod(), "namespace": ISTIO_SYSTEM, "labels": self.istiod_labels()},
            "spec": {"ports": service_ports(), "selector": selector},
        })
    }

    fn deployment(&self) -> Value {
        let selector = if self.is_default() {
            json!({"istio": "pilot"})
        } else {
            json!({"app": "istiod", "istio.io/rev": self.revision})
        };
        let mut pod_labels = self.istiod_labels();
        pod_labels.insert(
            "istio".to_owned(),
            json!(if self.is_default() { "pilot" } else { "istiod" }),
        );
        pod_labels.insert("istio.io/dataplane-mode".to_owned(), json!("none"));
        pod_labels.insert("sidecar.istio.io/inject".to_owned(), json!("false"));
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.istiod(), "namespace": ISTIO_SYSTEM, "labels": self.istiod_labels()},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": selector},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
                "template": {
                    "metadata": {
                        "annotations": {"prometheus.io/port": "15014", "prometheus.io/scrape": "true", "sidecar.istio.io/inject": "false"},
                        "labels": pod_labels,
                    },
                    "spec": self.istiod_pod(),
                },
            },
        })
    }

    fn istiod_pod(&self) -> Value {
        let mut env = vec![
            json!({"name": "REVISION", "value": self.revision}),
            json!({"name": "PILOT_CERT_PROVIDER", "value": "istiod"}),
            json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
            json!({"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}}),
            json!({"name": "SERVICE_ACCOUNT", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.serviceAccountName"}}}),
            json!({"name": "KUBECONFIG", "value": "/var/run/secrets/remote/config"}),
        ];
        for (name, value) in self.values["pilot"]["env"]
            .as_object()
            .into_iter()
            .flatten()
        {
            env.push(json!({"name": name, "value": text(value)}));
        }
        env.push(json!({"name": "PILOT_ENABLE_ANALYSIS", "value": "false"}));
        env.push(json!({"name": "CLUSTER_ID", "value": "Kubernetes"}));
        json!({
            "serviceAccountName": self.istiod(),
            "containers": [{
                "name": "discovery",
                "image": format!("{}/pilot:{}", self.hub, self.tag),
                "args": ["discovery", "--monitoringAddr=:15014", "--log_output_level=default:info", "--domain", "cluster.local", "--keepaliveMaxServerConnectionAge", "30m"],
                "ports": [
                    {"containerPort": 8080, "name": "http-debug", "protocol": "TCP"},
                    {"containerPort": 15010, "name": "grpc-xds", "protocol": "TCP"},
                    {"containerPort": 15012, "name": "tls-xds", "protocol": "TCP"},
                    {"containerPort": 15017, "name": "https-webhooks", "protocol": "TCP"},
                    {"containerPort": 15014, "name": "http-monitoring", "protocol": "TCP"},
                ],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "initialDelaySeconds": 1, "periodSeconds": 3, "timeoutSeconds": 5},
                "env": env,
                "resources": {"requests": {"cpu": "500m", "memory": "2048Mi"}},
                "volumeMounts": [
                    {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
                    {"name": "cacerts", "mountPath": "/etc/cacerts", "readOnly": true},
                ],
            }],
            "volumes": [
                {"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}},
                {"name": "cacerts", "secret": {"secretName": "cacerts", "optional": true}},
            ],
        })
    }

    fn autoscaler(&self) -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.istiod(), "namespace": ISTIO_SYSTEM, "labels": self.istiod_labels()},
            "spec": {
                "minReplicas": self.replicas, "maxReplicas": 5,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.istiod()},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        })
    }

    fn disruption_budget(&self) -> Value {
        let selector = if self.is_default() {
            json!({"app": "istiod", "istio": "pilot"})
        } else {
            json!({"app": "istiod", "istio.io/rev": self.revision})
        };
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": self.istiod(), "namespace": ISTIO_SYSTEM, "labels": self.istiod_labels()},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": selector}},
        })
    }

    /// istioctl up to 1.20 left it; asmcli's documentation deletes it still.
    fn installed_state(&self) -> Value {
        json!({
            "apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator",
            "metadata": {
                "name": suffixed("installed-state", &self.revision), "namespace": ISTIO_SYSTEM,
                "annotations": {"install.istio.io/ignoreReconcile": "true"},
            },
            "spec": {
                "revision": if self.is_default() { "" } else { &self.revision },
                "hub": self.hub, "tag": self.tag,
                "meshConfig": self.mesh_config, "values": self.values,
            },
        })
    }
}

/// The definition of `IstioOperator`, and the service account that all revisions share: labelled with the one that was
/// installed last (seen on Istio 1.31).
pub fn shared_objects(revision: &str) -> Vec<Value> {
    let mut reader = chart_labels("istio-reader", "base-1.0.0");
    reader.insert("app".to_owned(), json!("istio-reader"));
    reader.insert("istio.io/rev".to_owned(), json!(revision));
    vec![
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "istiooperators.install.istio.io", "labels": {"release": "istio", "istio.io/rev": revision}},
            "spec": {
                "group": "install.istio.io",
                "scope": "Namespaced",
                "names": {"kind": "IstioOperator", "listKind": "IstioOperatorList", "plural": "istiooperators",
                    "singular": "istiooperator", "shortNames": ["iop", "io"]},
                "versions": [{
                    "name": "v1alpha1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Revision", "type": "string", "jsonPath": ".spec.revision", "description": "Istio control plane revision"},
                        {"name": "Status", "type": "string", "jsonPath": ".status.status", "description": "IOP current state"},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                }],
            },
        }),
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "istio-reader-service-account", "namespace": ISTIO_SYSTEM, "labels": reader}}),
    ]
}

/// `NAME` for the default revision, else `NAME-REVISION`.
pub fn suffixed(name: &str, revision: &str) -> String {
    if revision == DEFAULT_REVISION {
        name.to_owned()
    } else {
        format!("{name}-{revision}")
    }
}

fn chart_labels(name: &str, chart: &str) -> Map<String, Value> {
    [
        ("app.kubernetes.io/instance", "istio"),
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/name", name),
        ("app.kubernetes.io/part-of", "istio"),
        ("app.kubernetes.io/version", "1.0.0"),
        ("helm.sh/chart", chart),
        ("release", "istio"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), json!(value)))
    .collect()
}

fn service_ports() -> Value {
    json!([
        {"name": "grpc-xds", "port": 15010, "protocol": "TCP"},
        {"name": "https-dns", "port": 15012, "protocol": "TCP"},
        {"name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP"},
        {"name": "http-monitoring", "port": 15014, "protocol": "TCP"},
    ])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that serde_json made can always be written as YAML and as JSON.
fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests;
