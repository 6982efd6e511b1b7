//! The objects that every cluster has: namespaces, the roles that bindings name.

use serde_json::{Value, json};

use super::super::kube::{Kube, Status};

const GROUP: &str = "rbac.authorization.k8s.io";

const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

/// Makes what is not there yet.
///
/// # Errors
/// The cluster refuses an object.
pub async fn run(kube: &Kube) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(kube, "namespaces", "", json!({"metadata": {"name": name}})).await?;
    }
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    });
    ensure(kube, "services", "default", service).await?;
    let roles = format!("clusterroles.{GROUP}");
    let bindings = format!("clusterrolebindings.{GROUP}");
    for (name, rules) in roles_of_every_cluster() {
        let mut role = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "rules": rules,
        });
        if let Some(target) = aggregated_to(name) {
            role["metadata"]["labels"][aggregation(target)] = "true".into();
        }
        if matches!(name, "admin" | "edit" | "view") {
            let selected = json!({"matchLabels": {aggregation(name): "true"}});
            role["aggregationRule"] = json!({"clusterRoleSelectors": [selected]});
        }
        ensure(kube, &roles, "", role).await?;
    }
    for (name, group) in [
        ("cluster-admin", "system:masters"),
        ("system:basic-user", "system:authenticated"),
        ("system:discovery", "system:authenticated"),
        ("system:public-info-viewer", "system:authenticated"),
        (
            "system:service-account-issuer-discovery",
            "system:serviceaccounts",
        ),
    ] {
        let mut subjects = vec![json!({"apiGroup": GROUP, "kind": "Group", "name": group})];
        if name == "system:public-info-viewer" {
            subjects.push(
                json!({"apiGroup": GROUP, "kind": "Group", "name": "system:unauthenticated"}),
            );
        }
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            "subjects": subjects,
        });
        ensure(kube, &bindings, "", binding).await?;
    }
    Ok(())
}

/// The label by which a role is part of an aggregated one.
fn aggregation(target: &str) -> String {
    format!("{GROUP}/aggregate-to-{target}")
}

/// Of which aggregated role a role is a part.
fn aggregated_to(name: &str) -> Option<&str> {
    match name {
        "view" => Some("edit"),
        "edit" => Some("admin"),
        part => part.strip_prefix("system:aggregate-to-"),
    }
}

async fn ensure(kube: &Kube, resource: &str, namespace: &str, object: Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if kube.get(resource, namespace, name).is_some() {
        return Ok(());
    }
    kube.create(resource, namespace, object).await.map(|_| ())
}

/// The user-facing roles and those of discovery. The former are cut to the resources that are served.
fn roles_of_every_cluster() -> Vec<(&'static str, Value)> {
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "deletecollection", "patch", "update"];
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let core = [
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "persistentvolumeclaims/status",
        "pods",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "serviceaccounts",
        "services",
        "services/status",
        "bindings",
        "events",
        "limitranges",
        "namespaces/status",
        "pods/log",
        "pods/status",
        "replicationcontrollers/status",
        "resourcequotas",
        "resourcequotas/status",
        "namespaces",
    ];
    let apps = [
        "controllerrevisions",
        "daemonsets",
        "daemonsets/status",
        "deployments",
        "deployments/scale",
        "deployments/status",
        "replicasets",
        "replicasets/scale",
        "replicasets/status",
        "statefulsets",
        "statefulsets/scale",
        "statefulsets/status",
    ];
    let others = [
        ("discovery.k8s.io", vec!["endpointslices"]),
        (
            "autoscaling",
            vec![
                "horizontalpodautoscalers",
                "horizontalpodautoscalers/status",
            ],
        ),
        (
            "batch",
            vec!["cronjobs", "cronjobs/status", "jobs", "jobs/status"],
        ),
        (
            "policy",
            vec!["poddisruptionbudgets", "poddisruptionbudgets/status"],
        ),
        (
            "networking.k8s.io",
            vec!["ingresses", "ingresses/status", "networkpolicies"],
        ),
    ];
    let mut view = vec![rule("", &core, &read), rule("apps", &apps, &read)];
    view.extend(
        others
            .iter()
            .map(|(group, resources)| rule(group, resources, &read)),
    );
    let mut edit = vec![rule(
        "",
        &[
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "secrets",
            "services/proxy",
        ],
        &read,
    )];
    edit.push(rule("", &["serviceaccounts"], &["impersonate"]));
    edit.push(rule(
        "",
        &[
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
        &write,
    ));
    edit.push(rule(
        "",
        &["pods/eviction", "serviceaccounts/token"],
        &["create"],
    ));
    edit.push(rule(
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
        &write,
    ));
    for (group, resources) in [
        ("autoscaling", vec!["horizontalpodautoscalers"]),
        ("batch", vec!["cronjobs", "jobs"]),
        ("policy", vec!["poddisruptionbudgets"]),
        ("networking.k8s.io", vec!["ingresses", "networkpolicies"]),
    ] {
        edit.push(rule(group, &resources, &write));
    }
    edit.push(rule("coordination.k8s.io", &["leases"], &["*"]));
    let admin = vec![
        rule(GROUP, &["rolebindings", "roles"], &["*"]),
        rule(
            "authorization.k8s.io",
            &["localsubjectaccessreviews"],
            &["create"],
        ),
    ];
    // The aggregated roles are whole from the start.
    let (whole_edit, whole_admin) = (
        [edit.clone(), view.clone()].concat(),
        [admin.clone(), edit.clone(), view.clone()].concat(),
    );
    vec![
        (
            "cluster-admin",
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        ("admin", whole_admin.into()),
        ("edit", whole_edit.into()),
        ("view", view.clone().into()),
        ("system:aggregate-to-admin", admin.into()),
        ("system:aggregate-to-edit", edit.into()),
        ("system:aggregate-to-view", view.into()),
        (
            "system:basic-user",
            json!([
                rule(
                    "authorization.k8s.io",
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                    &["create"]
                ),
                rule(
                    "authentication.k8s.io",
                    &["selfsubjectreviews"],
                    &["create"]
                ),
            ]),
        ),
        (
            "system:discovery",
            json!([{"verbs": ["get"], "nonResourceURLs": [
                "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
                "/readyz", "/version", "/version/",
            ]}]),
        ),
        (
            "system:service-account-issuer-discovery",
            json!([{"verbs": ["get"], "nonResourceURLs": [
                "/.well-known/openid-configuration", "/.well-known/openid-configuration/",
                "/openid/v1/jwks", "/openid/v1/jwks/",
            ]}]),
        ),
        (
            "system:public-info-viewer",
            json!([{"verbs": ["get"], "nonResourceURLs": [
                "/healthz", "/livez", "/readyz", "/version", "/version/",
            ]}]),
        ),
    ]
}
