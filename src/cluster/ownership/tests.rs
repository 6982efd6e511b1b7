//! Who owns what, by the objects as the tools leave them.

use super::*;

fn entry(manager: &str, operation: &str, time: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn namespace(labels: Value, annotations: Value, managers: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
        "labels": labels, "annotations": annotations, "managedFields": managers}})
}

fn labels(names: &[&str]) -> Value {
    let mut set = json!({".": {}});
    for name in names {
        set[format!("f:{name}")] = json!({});
    }
    json!({"f:metadata": {"f:labels": set}})
}

fn told(object: &Value, change: Value) -> Vec<String> {
    reverts(object, &change)
        .iter()
        .map(|r| {
            format!(
                "{} {} [{}]",
                r.by,
                r.confidence.as_str(),
                r.fields.join(" ")
            )
        })
        .collect()
}

const T: &str = "2026-01-01T00:00:00Z";

#[test]
fn fields_are_shown_as_a_script_writes_them() {
    let set = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:app": {}}},
        "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"main\"}": {".": {}, "f:image": {}}},
            "f:finalizers": {"v:\"x\"": {}}},
    });
    assert_eq!(
        leaves(&set),
        [
            "metadata.labels.app",
            "metadata.labels[\"app.kubernetes.io/name\"]",
            "spec.containers[name=main].image",
            "spec.finalizers[\"x\"]",
            "spec.replicas",
        ]
    );
    let path = |parts: &[&str]| -> Vec<String> { parts.iter().map(|p| (*p).to_owned()).collect() };
    assert!(owns(&set, &path(&["spec", "replicas"])));
    assert!(owns(&set, &path(&["spec"])));
    assert!(owns(&set, &path(&["metadata", "labels", "app"])));
    assert!(!owns(&set, &path(&["metadata", "labels", "other"])));
    assert!(!owns(&set, &path(&["status"])));
    // An atomic map is owned with all that is in it.
    let atomic = json!({"f:spec": {"f:selector": {}}});
    assert!(owns(
        &atomic,
        &path(&["spec", "selector", "matchLabels", "app"])
    ));
    assert!(!owns(&json!({}), &path(&["spec"])));
    let emptied = json!({"f:metadata": {"f:annotations": {}}});
    assert!(!owns(&emptied, &path(&["metadata", "annotations", "note"])));
}

#[test]
fn the_tool_that_owns_the_field_would_put_it_back() {
    let change = json!({"metadata": {"labels": {"istio.io/rev": "new"}}});
    for (manager, operation, expected) in [
        ("argocd-controller", "Apply", "Argo CD likely"),
        ("argocd-controller", "Update", "Argo CD likely"),
        ("kustomize-controller", "Apply", "Flux certain"),
        ("helm-controller", "Update", "Flux possible"),
        ("configsync.gke.io", "Apply", "Config Sync certain"),
        ("root-sync", "Apply", "Config Sync certain"),
        ("helm", "Update", "Helm possible"),
        (
            "kubectl-client-side-apply",
            "Update",
            "kubectl apply possible",
        ),
        ("fleet-agent", "Apply", "fleet-agent likely"),
        ("fleet-agent", "Update", "fleet-agent possible"),
    ] {
        let own = [entry(manager, operation, T, labels(&["istio.io/rev"]))];
        let object = namespace(json!({"istio.io/rev": "old"}), json!({}), &own);
        let expected = format!("{expected} [metadata.labels[\"istio.io/rev\"]]");
        assert_eq!(told(&object, change.clone()), [expected], "{manager}");
        // Another label of the same object is nobody's.
        let other = json!({"metadata": {"labels": {"tier": "x"}}});
        assert_eq!(told(&object, other), [""; 0], "{manager}");
        // What is so already cannot be put back.
        let same = json!({"metadata": {"labels": {"istio.io/rev": "old"}}});
        assert_eq!(told(&object, same), [""; 0], "{manager}");
    }
    let own = [
        entry("rootshift", "Update", T, labels(&["istio.io/rev"])),
        entry(
            "kube-controller-manager",
            "Update",
            T,
            labels(&["istio.io/rev"]),
        ),
    ];
    let object = namespace(json!({"istio.io/rev": "old"}), json!({}), &own);
    assert_eq!(told(&object, change), [""; 0]);
}

#[test]
fn marks_tell_the_tool_and_its_source() {
    let shown = |labels: Value, annotations: Value| -> Vec<String> {
        owners(&namespace(labels, annotations, &[]))
            .iter()
            .map(|o| {
                format!(
                    "{} {} {}",
                    o.tool,
                    o.confidence.as_str(),
                    o.source.as_deref().unwrap_or("-")
                )
            })
            .collect()
    };
    let none = || json!({});
    for (labels, annotations, expected) in [
        (
            none(),
            json!({"argocd.argoproj.io/tracking-id": "web:/Namespace:shop/shop"}),
            "Argo CD certain application web",
        ),
        (
            json!({"app.kubernetes.io/instance": "web"}),
            none(),
            "Argo CD possible application web",
        ),
        (
            json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}),
            none(),
            "Flux certain Kustomization flux-system/apps",
        ),
        (
            json!({"helm.toolkit.fluxcd.io/name": "web"}),
            none(),
            "Flux certain HelmRelease web",
        ),
        (
            json!({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "web"}),
            none(),
            "Helm likely release web",
        ),
        (
            none(),
            json!({"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}),
            "Helm certain release shop/web",
        ),
        (
            none(),
            json!({"configmanagement.gke.io/managed": "enabled", "configmanagement.gke.io/source-path": "ns/shop.yaml"}),
            "Config Sync certain ns/shop.yaml",
        ),
        (
            none(),
            json!({"configsync.gke.io/resource-id": "_namespace_shop"}),
            "Config Sync certain -",
        ),
        (
            json!({"app.kubernetes.io/managed-by": "kustomize-v5.0.0"}),
            none(),
            "Kustomize likely -",
        ),
        (
            none(),
            json!({"config.kubernetes.io/origin": "path: base/ns.yaml\n"}),
            "Kustomize certain path: base/ns.yaml",
        ),
    ] {
        assert_eq!(shown(labels, annotations), [expected]);
    }
    assert_eq!(
        shown(
            json!({"app": "web"}),
            json!({"configmanagement.gke.io/managed": "disabled"})
        ),
        [""; 0]
    );
}

#[test]
fn a_mark_without_the_field_is_only_possible() {
    let annotations = json!({"argocd.argoproj.io/tracking-id": "web:/Namespace:shop/shop"});
    let own = [entry("argocd-controller", "Apply", T, labels(&["team"]))];
    let object = namespace(json!({"team": "a"}), annotations, &own);
    let change = json!({"metadata": {"labels": {"istio.io/rev": "new"}}});
    assert_eq!(told(&object, change), ["Argo CD possible []"]);
    let found = reverts(&object, &json!({"metadata": {"labels": {"team": null}}}));
    assert_eq!(found[0].confidence, Confidence::Likely);
    assert_eq!(found[0].source.as_deref(), Some("application web"));
}

#[test]
fn what_was_applied_tells_the_fields_where_managers_do_not() {
    let applied = json!({"metadata": {"labels": {"team": "a"}}}).to_string();
    let key = "kubectl.kubernetes.io/last-applied-configuration";
    let change = json!({"metadata": {"labels": {"team": "b"}}});
    let person = namespace(json!({"team": "a"}), json!({key: applied}), &[]);
    assert_eq!(
        told(&person, change.clone()),
        ["kubectl apply possible [metadata.labels.team]"]
    );
    let argo = json!({key: applied, "argocd.argoproj.io/tracking-id": "web:x"});
    let argo = namespace(json!({"team": "a"}), argo, &[]);
    assert_eq!(
        told(&argo, change.clone()),
        ["Argo CD likely [metadata.labels.team]"]
    );
    let declared = labels(&["team"]).to_string();
    let sync = namespace(
        json!({"team": "a"}),
        json!({"configsync.gke.io/declared-fields": declared}),
        &[],
    );
    assert_eq!(
        told(&sync, change),
        ["Config Sync certain [metadata.labels.team]"]
    );
}

#[test]
fn a_label_that_is_only_maybe_argos_does_not_make_what_was_applied_argos() {
    let applied = json!({"metadata": {"labels": {"team": "a"}}}).to_string();
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
    let labels_now = json!({"team": "a", "app.kubernetes.io/instance": "web"});
    let change = json!({"metadata": {"labels": {"team": "b"}}});
    let person = namespace(labels_now.clone(), annotations.clone(), &[]);
    let told_of = told(&person, change.clone());
    assert!(
        told_of.contains(&"kubectl apply possible [metadata.labels.team]".to_owned())
            && told_of.contains(&"Argo CD possible []".to_owned()),
        "{told_of:?}"
    );
    let status = [entry("argocd-controller", "Update", T, labels(&["other"]))];
    let argo = namespace(labels_now, annotations, &status);
    assert_eq!(
        told(&argo, change),
        ["Argo CD likely [metadata.labels.team]"]
    );
}

#[test]
fn flux_puts_back_a_releases_fields_only_where_it_detects_drift() {
    let change = json!({"metadata": {"labels": {"rev": "new"}}});
    let mark = json!({"rev": "old", "helm.toolkit.fluxcd.io/name": "web"});
    let own = [entry("helm-controller", "Update", T, labels(&["rev"]))];
    let found = reverts(&namespace(mark, json!({}), &own), &change);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].confidence, Confidence::Possible);
    assert_eq!(found[0].source.as_deref(), Some("HelmRelease web"));
    assert!(
        found[0].when.contains("driftDetection"),
        "{}",
        found[0].when
    );
}

#[test]
fn an_autoscaler_puts_replicas_back_and_other_controllers_do_not() {
    let scaled = |subresource: Value| {
        let mut own = entry(
            "kube-controller-manager",
            "Update",
            T,
            json!({"f:spec": {"f:replicas": {}}}),
        );
        own["subresource"] = subresource;
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3},
            "metadata": {"name": "web", "managedFields": [own]}})
    };
    let change = json!({"spec": {"replicas": 5}});
    assert_eq!(
        told(&scaled(json!("scale")), change.clone()),
        ["HorizontalPodAutoscaler likely [spec.replicas]"]
    );
    assert_eq!(told(&scaled(json!("status")), change), [""; 0]);
    let other = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(told(&scaled(json!("scale")), other), [""; 0]);
}

#[test]
fn the_one_who_put_a_change_back_is_found() {
    let ours = |time| entry("rootshift", "Update", time, labels(&["rev"]));
    let before = namespace(
        json!({"rev": "new"}),
        json!({}),
        &[
            entry("argocd-controller", "Apply", T, labels(&["team"])),
            ours("2026-01-01T00:00:05Z"),
        ],
    );
    let change = json!({"metadata": {"labels": {"rev": "new"}}});
    assert!(lost(&before, &change).is_empty());
    let put_back = namespace(
        json!({"rev": "old"}),
        json!({}),
        &[entry(
            "argocd-controller",
            "Apply",
            "2026-01-01T00:00:09Z",
            labels(&["rev", "team"]),
        )],
    );
    let fields = lost(&put_back, &change);
    assert_eq!(
        watch::culprit(&before, &put_back, &fields).as_deref(),
        Some("argocd-controller")
    );
    // Taken away, nobody has it; whose entry changed did it.
    let taken = namespace(
        json!({}),
        json!({}),
        &[
            entry("argocd-controller", "Apply", T, labels(&["team"])),
            entry("kubectl", "Update", "2026-01-01T00:00:09Z", labels(&["x"])),
        ],
    );
    let fields = lost(&taken, &change);
    assert_eq!(
        watch::culprit(&before, &taken, &fields).as_deref(),
        Some("kubectl")
    );
}

#[test]
fn a_patch_for_git_names_the_object_and_keeps_removals() {
    let kind = super::super::kind::tests::kind("", "v1", "Namespace", "namespaces", &[], false);
    let change = json!({"metadata": {"labels": {"istio-injection": null, "istio.io/rev": "new"}}});
    assert_eq!(
        git_patch(&kind, None, "shop", &change),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
            "labels": {"istio-injection": null, "istio.io/rev": "new"}}})
    );
}
