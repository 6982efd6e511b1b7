//! The table of built-in resources, as kube-apiserver 1.34 serves them, as far as the twin needs.

use super::registry::{ALL_VERBS, Resource, Version};

struct Row {
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    in_all: bool,
    subresources: &'static [&'static str],
}

/// A row: group, versions (preferred first), plural, kind, short names, flags (`n`amespaced, part of
/// the category `a`ll), subresources.
const fn row(
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    flags: &'static str,
    subresources: &'static [&'static str],
) -> Row {
    let bytes = flags.as_bytes();
    let mut namespaced = false;
    let mut in_all = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'n' => namespaced = true,
            b'a' => in_all = true,
            _ => {}
        }
        at += 1;
    }
    Row {
        group,
        versions,
        plural,
        kind,
        short,
        namespaced,
        in_all,
        subresources,
    }
}

const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];
const POD: &[&str] = &[
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "log",
    "portforward",
    "proxy",
    "resize",
    "status",
];

const RBAC: &str = "rbac.authorization.k8s.io";
const NET: &str = "networking.k8s.io";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("", &["v1"], "configmaps", "ConfigMap", &["cm"], "n", &[]),
    row("", &["v1"], "endpoints", "Endpoints", &["ep"], "n", &[]),
    row("", &["v1"], "events", "Event", &["ev"], "n", &[]),
    row("", &["v1"], "limitranges", "LimitRange", &["limits"], "n", &[]),
    row("", &["v1"], "namespaces", "Namespace", &["ns"], "", &["finalize", "status"]),
    row("", &["v1"], "nodes", "Node", &["no"], "", &["proxy", "status"]),
    row("", &["v1"], "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"], "n", STATUS),
    row("", &["v1"], "persistentvolumes", "PersistentVolume", &["pv"], "", STATUS),
    row("", &["v1"], "pods", "Pod", &["po"], "na", POD),
    row("", &["v1"], "podtemplates", "PodTemplate", &[], "n", &[]),
    row("", &["v1"], "replicationcontrollers", "ReplicationController", &["rc"], "na", SCALE),
    row("", &["v1"], "resourcequotas", "ResourceQuota", &["quota"], "n", STATUS),
    row("", &["v1"], "secrets", "Secret", &[], "n", &[]),
    row("", &["v1"], "serviceaccounts", "ServiceAccount", &["sa"], "n", &["token"]),
    row("", &["v1"], "services", "Service", &["svc"], "na", &["proxy", "status"]),
    row("admissionregistration.k8s.io", &["v1"], "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", &[], "", &[]),
    row("admissionregistration.k8s.io", &["v1"], "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", &[], "", &[]),
    row("apiextensions.k8s.io", &["v1"], "customresourcedefinitions", "CustomResourceDefinition", &["crd", "crds"], "", STATUS),
    row("apiregistration.k8s.io", &["v1"], "apiservices", "APIService", &[], "", STATUS),
    row("apps", &["v1"], "controllerrevisions", "ControllerRevision", &[], "n", &[]),
    row("apps", &["v1"], "daemonsets", "DaemonSet", &["ds"], "na", STATUS),
    row("apps", &["v1"], "deployments", "Deployment", &["deploy"], "na", SCALE),
    row("apps", &["v1"], "replicasets", "ReplicaSet", &["rs"], "na", SCALE),
    row("apps", &["v1"], "statefulsets", "StatefulSet", &["sts"], "na", SCALE),
    row("autoscaling", &["v2", "v1"], "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"], "na", STATUS),
    row("batch", &["v1"], "cronjobs", "CronJob", &["cj"], "na", STATUS),
    row("batch", &["v1"], "jobs", "Job", &[], "na", STATUS),
    row("coordination.k8s.io", &["v1"], "leases", "Lease", &[], "n", &[]),
    row("discovery.k8s.io", &["v1"], "endpointslices", "EndpointSlice", &[], "n", &[]),
    row("events.k8s.io", &["v1"], "events", "Event", &["ev"], "n", &[]),
    row(NET, &["v1"], "ingresses", "Ingress", &["ing"], "n", STATUS),
    row(NET, &["v1"], "networkpolicies", "NetworkPolicy", &["netpol"], "n", &[]),
    row("policy", &["v1"], "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"], "n", STATUS),
    row(RBAC, &["v1"], "clusterrolebindings", "ClusterRoleBinding", &[], "", &[]),
    row(RBAC, &["v1"], "clusterroles", "ClusterRole", &[], "", &[]),
    row(RBAC, &["v1"], "rolebindings", "RoleBinding", &[], "n", &[]),
    row(RBAC, &["v1"], "roles", "Role", &[], "n", &[]),
    row("scheduling.k8s.io", &["v1"], "priorityclasses", "PriorityClass", &["pc"], "", &[]),
];

/// Kinds that are only asked, never stored.
#[rustfmt::skip]
const REVIEWS: &[Row] = &[
    row("authentication.k8s.io", &["v1"], "selfsubjectreviews", "SelfSubjectReview", &[], "", &[]),
    row("authentication.k8s.io", &["v1"], "tokenreviews", "TokenReview", &[], "", &[]),
    row("authorization.k8s.io", &["v1"], "localsubjectaccessreviews", "LocalSubjectAccessReview", &[], "n", &[]),
    row("authorization.k8s.io", &["v1"], "selfsubjectaccessreviews", "SelfSubjectAccessReview", &[], "", &[]),
    row("authorization.k8s.io", &["v1"], "selfsubjectrulesreviews", "SelfSubjectRulesReview", &[], "", &[]),
    row("authorization.k8s.io", &["v1"], "subjectaccessreviews", "SubjectAccessReview", &[], "", &[]),
];

/// All built-in resources.
pub fn resources() -> Vec<Resource> {
    let stored = ROWS.iter().map(|r| resource(r, verbs_of(r)));
    let asked = REVIEWS.iter().map(|r| resource(r, vec!["create"]));
    stored.chain(asked).collect()
}

/// The collection of namespaces, alone, cannot be deleted.
fn verbs_of(row: &Row) -> Vec<&'static str> {
    ALL_VERBS
        .iter()
        .copied()
        .filter(|v| row.kind != "Namespace" || *v != "deletecollection")
        .collect()
}

fn resource(row: &Row, verbs: Vec<&'static str>) -> Resource {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    Resource {
        group: row.group.to_owned(),
        plural: row.plural.to_owned(),
        singular: row.kind.to_lowercase(),
        kind: row.kind.to_owned(),
        list_kind: format!("{}List", row.kind),
        short: owned(row.short),
        categories: if row.in_all {
            owned(&["all"])
        } else {
            Vec::new()
        },
        namespaced: row.namespaced,
        versions: row
            .versions
            .iter()
            .map(|name| Version {
                name: (*name).to_owned(),
                subresources: owned(row.subresources),
                custom: None,
            })
            .collect(),
        built_in: true,
        verbs,
    }
}
