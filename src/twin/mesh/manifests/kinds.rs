//! The kinds that a control plane and its applications consist of, and where the API serves them.

use serde_json::Value;

/// One row of the API's discovery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KindInfo {
    /// Kind, as in manifests.
    pub kind: &'static str,
    /// `GROUP/VERSION`, or `v1`.
    pub api_version: &'static str,
    /// Plural, as in paths.
    pub plural: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
}

const KINDS: &[KindInfo] = &[
    info(
        "ClusterRole",
        "rbac.authorization.k8s.io/v1",
        "clusterroles",
        false,
    ),
    info(
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1",
        "clusterrolebindings",
        false,
    ),
    info("ConfigMap", "v1", "configmaps", true),
    info(
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        false,
    ),
    info("DaemonSet", "apps/v1", "daemonsets", true),
    info("Deployment", "apps/v1", "deployments", true),
    info(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        "horizontalpodautoscalers",
        true,
    ),
    info(
        "IstioOperator",
        "install.istio.io/v1alpha1",
        "istiooperators",
        true,
    ),
    info(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
        false,
    ),
    info("Namespace", "v1", "namespaces", false),
    info(
        "PodDisruptionBudget",
        "policy/v1",
        "poddisruptionbudgets",
        true,
    ),
    info("Role", "rbac.authorization.k8s.io/v1", "roles", true),
    info(
        "RoleBinding",
        "rbac.authorization.k8s.io/v1",
        "rolebindings",
        true,
    ),
    info("Secret", "v1", "secrets", true),
    info("Service", "v1", "services", true),
    info("ServiceAccount", "v1", "serviceaccounts", true),
    info("StatefulSet", "apps/v1", "statefulsets", true),
    info(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        false,
    ),
];

const fn info(
    kind: &'static str,
    api_version: &'static str,
    plural: &'static str,
    namespaced: bool,
) -> KindInfo {
    KindInfo {
        kind,
        api_version,
        plural,
        namespaced,
    }
}

impl KindInfo {
    /// The row for a manifest's `kind`.
    pub fn of(manifest: &Value) -> Option<&'static KindInfo> {
        let kind = manifest["kind"].as_str()?;
        KINDS.iter().find(|row| row.kind == kind)
    }

    /// The name of the resource in the twin's store: `PLURAL` or `PLURAL.GROUP`.
    pub fn resource(&self) -> String {
        match self.api_version.split_once('/') {
            None => self.plural.to_owned(),
            Some((group, _)) => format!("{}.{group}", self.plural),
        }
    }

    /// Path of the collection that a manifest of this kind is created in.
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        let api = self.api_version;
        if self.namespaced {
            format!("/{root}/{api}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("/{root}/{api}/{}", self.plural)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_and_store_names_follow_the_group() {
        let deployment = KindInfo::of(&json!({"kind": "Deployment"})).unwrap();
        assert_eq!(deployment.resource(), "deployments.apps");
        assert_eq!(
            deployment.collection("a"),
            "/apis/apps/v1/namespaces/a/deployments"
        );
        let namespace = KindInfo::of(&json!({"kind": "Namespace"})).unwrap();
        assert_eq!(
            (
                namespace.resource().as_str(),
                namespace.collection("").as_str()
            ),
            ("namespaces", "/api/v1/namespaces")
        );
    }
}
