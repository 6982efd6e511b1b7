//! The webhook configurations of a revision: who is injected by whom is written in their selectors.
//!
//! The selectors are those of Istio's chart (`templates/mutatingwebhook.yaml`) as installed; the
//! CA bundle is empty until the revision's own istiod fills it in.

use serde_json::{Value, json};

use super::{DEFAULT_REVISION, ISTIO_SYSTEM, RevisionSpec, suffixed};

/// The injector: two webhooks for a revision, four for the default one.
pub(super) fn injector(spec: &RevisionSpec) -> Value {
    let mut labels = spec.labels();
    labels.insert("app".to_owned(), json!("sidecar-injector"));
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": suffixed("istio-sidecar-injector", &spec.revision), "labels": labels},
        "webhooks": asked_for_by(spec, &spec.revision),
    })
}

/// A tag: another name by which the revision is asked for (`revision-tags-mwc.yaml`, `istioctl tag set`). The tag
/// `default` takes the old labels as well.
pub(super) fn tag(spec: &RevisionSpec, tag: &str) -> Value {
    let labels =
        json!({"app": "sidecar-injector", "istio.io/rev": spec.revision, "istio.io/tag": tag});
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": format!("istio-revision-tag-{tag}"), "labels": labels},
        "webhooks": asked_for_by(spec, tag),
    })
}

/// The webhooks of a revision for what asks for `name`.
fn asked_for_by(spec: &RevisionSpec, name: &str) -> Vec<Value> {
    let not_off =
        json!({"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]});
    let absent = |key: &str| json!({"key": key, "operator": "DoesNotExist"});
    let one_of = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    let mut webhooks = vec![
        injecting(
            spec,
            "rev.namespace.sidecar-injector.istio.io",
            &json!([one_of("istio.io/rev", name), absent("istio-injection")]),
            &json!([not_off]),
        ),
        injecting(
            spec,
            "rev.object.sidecar-injector.istio.io",
            &json!([absent("istio.io/rev"), absent("istio-injection")]),
            &json!([not_off, one_of("istio.io/rev", name)]),
        ),
    ];
    if name == DEFAULT_REVISION {
        webhooks.push(injecting(
            spec,
            "namespace.sidecar-injector.istio.io",
            &json!([one_of("istio-injection", "enabled")]),
            &json!([not_off]),
        ));
        webhooks.push(injecting(
            spec,
            "object.sidecar-injector.istio.io",
            &json!([absent("istio-injection"), absent("istio.io/rev")]),
            &json!([
                one_of("sidecar.istio.io/inject", "true"),
                absent("istio.io/rev")
            ]),
        ));
    }
    webhooks
}

/// The validator of Istio's own resources for this revision.
pub(super) fn validator(spec: &RevisionSpec) -> Value {
    let mut labels = spec.labels();
    labels.remove("install.operator.istio.io/owning-resource");
    labels.remove("operator.istio.io/component");
    labels.insert("app".to_owned(), json!("istiod"));
    labels.insert("istio".to_owned(), json!("istiod"));
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": format!("{}-{ISTIO_SYSTEM}", suffixed("istio-validator", &spec.revision)), "labels": labels},
        "webhooks": [{
            "name": "rev.validation.istio.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": spec.istiod(), "namespace": ISTIO_SYSTEM, "path": "/validate", "port": 443}},
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {"matchExpressions": [{"key": "istio.io/rev", "operator": "In", "values": [spec.revision]}]},
            "rules": [{
                "apiGroups": ["security.istio.io", "networking.istio.io", "telemetry.istio.io", "extensions.istio.io"],
                "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"], "scope": "*",
            }],
            "sideEffects": "None",
            "timeoutSeconds": 10,
        }],
    })
}

fn injecting(spec: &RevisionSpec, name: &str, namespaces: &Value, objects: &Value) -> Value {
    json!({
        "name": name,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": spec.istiod(), "namespace": ISTIO_SYSTEM, "path": "/inject", "port": 443}},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": namespaces},
        "objectSelector": {"matchExpressions": objects},
        "reinvocationPolicy": "Never",
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "*"}],
        "sideEffects": "None",
        "timeoutSeconds": 10,
    })
}
