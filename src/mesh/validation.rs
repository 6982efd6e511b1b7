//! Whether istiod still validates Istio's own resources: the API server is asked to take one that istiod refuses.
//!
//! The validating webhook calls a Service, `istiod` for what no revision is named on. When the old control plane goes, that
//! Service goes with it or is left without a pod, and nobody notices: what should be refused is then taken, or nothing can be
//! changed any more. Only a call tells which (the procedure's "the webhook uses the new control plane", put to the test).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::injection::{Labels, selects};
use super::names;
use crate::cluster::{Cluster, ClusterError, Selector};

/// Group and kind of what is tried.
const GROUP: &str = "networking.istio.io";
const KIND: &str = "virtualservices.networking.istio.io";

/// What is wrong with the validation of a cluster, a line each; none where nobody validates: nothing was lost.
///
/// Asks once for each webhook that is responsible: for objects without a revision, and for those of each revision.
///
/// # Errors
/// The webhooks cannot be listed, or the kinds of the cluster are not known.
pub async fn faults(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    let kind = match cluster.kind(KIND).await {
        Err(ClusterError::UnknownKind { .. }) => return Ok(Vec::new()),
        kind => kind?,
    };
    let namespaces = cluster.kind("namespaces").await?;
    let system = cluster.get(&namespaces, None, names::ISTIO_SYSTEM).await?;
    let system = system
        .map(|namespace| labels_of(namespace.value()))
        .unwrap_or_default();
    let hooks = cluster
        .kind("validatingwebhookconfigurations.admissionregistration.k8s.io")
        .await?;
    let found = cluster.list(&hooks, None, &Selector::default()).await?;
    let hooks: Vec<&Value> = found
        .iter()
        .filter_map(|configuration| configuration.value()["webhooks"].as_array())
        .flatten()
        .filter(|hook| is_for_istio(hook) && selects(&hook["namespaceSelector"], &system))
        .collect();
    let mut lines = Vec::new();
    for labels in objects(&hooks) {
        let Some(hook) = hooks
            .iter()
            .find(|hook| selects(&hook["objectSelector"], &labels))
        else {
            continue;
        };
        let of = labels.get(names::REV).map_or_else(
            || "objects without a revision".to_owned(),
            |revision| format!("objects of revision `{revision}`"),
        );
        let by = format!(
            "webhook {} (Service {}/{})",
            hook["name"].as_str().unwrap_or_default(),
            hook["clientConfig"]["service"]["namespace"]
                .as_str()
                .unwrap_or_default(),
            hook["clientConfig"]["service"]["name"]
                .as_str()
                .unwrap_or_default(),
        );
        let tried = cluster
            .dry_run_create(&kind, Some(names::ISTIO_SYSTEM), invalid(&labels))
            .await;
        match tried {
            Err(why) if denied_by(&hooks, &why.to_string()) => {}
            Err(why) => lines.push(format!("{by} does not answer for {of}: {why}")),
            Ok(_) => lines.push(format!(
                "{by} let an invalid VirtualService pass for {of}: nobody validates these"
            )),
        }
    }
    Ok(lines)
}

/// Whether it was one of these that refused, by the API server's words; what somebody else refuses tells nothing.
fn denied_by(hooks: &[&Value], message: &str) -> bool {
    let names = hooks.iter().filter_map(|hook| hook["name"].as_str());
    names
        .map(|name| format!("admission webhook \"{name}\" denied the request"))
        .any(|words| message.contains(&words))
}

fn labels_of(object: &Value) -> Labels {
    let labels = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    labels
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Whether a webhook is asked about what is tried here.
fn is_for_istio(hook: &Value) -> bool {
    let has = |rule: &Value, field: &str, wanted: &str| {
        let all = rule[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str)
            .any(|v| v == "*" || v == wanted)
    };
    let rules = hook["rules"].as_array().into_iter().flatten();
    rules.into_iter().any(|rule| {
        has(rule, "apiGroups", GROUP)
            && has(rule, "resources", "virtualservices")
            && has(rule, "operations", "CREATE")
    })
}

/// The labels of what to try: none, and each revision that a webhook selects by.
fn objects(hooks: &[&Value]) -> BTreeSet<Labels> {
    let mut all = BTreeSet::from([Labels::new()]);
    let expressions = hooks
        .iter()
        .filter_map(|hook| hook["objectSelector"]["matchExpressions"].as_array())
        .flatten()
        .filter(|e| e["key"] == names::REV && e["operator"] == "In");
    let one_of = expressions.filter_map(|e| e["values"].as_array()).flatten();
    let just = hooks
        .iter()
        .map(|hook| &hook["objectSelector"]["matchLabels"][names::REV]);
    for revision in one_of.chain(just).filter_map(Value::as_str) {
        all.insert(Labels::from([(names::REV.to_owned(), revision.to_owned())]));
    }
    all
}

/// Good for the schema, and refused by every istiod: the host `*` needs a gateway
/// (istio/istio `pkg/config/validation/validation.go`, `ValidateVirtualService`).
fn invalid(labels: &Labels) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "VirtualService",
        "metadata": {"name": "rootshift-dry-run", "namespace": names::ISTIO_SYSTEM, "labels": labels},
        "spec": {"hosts": ["*"], "http": [{"route": [{"destination": {"host": "nobody.invalid"}}]}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_that_a_webhook_selects_by_is_tried_and_nobody_s() {
        let hook = |values: &[&str]| json!({"objectSelector": {"matchExpressions": [{"key": "istio.io/rev", "operator": "In", "values": values}]}});
        let (one, two) = (hook(&["a"]), hook(&["a", "b"]));
        let three = json!({"objectSelector": {"matchLabels": {"istio.io/rev": "c"}}});
        let tried = objects(&[&one, &two, &three, &json!({})]);
        let revisions: Vec<Option<&str>> = tried
            .iter()
            .map(|labels| labels.get("istio.io/rev").map(String::as_str))
            .collect();
        assert_eq!(revisions, [None, Some("a"), Some("b"), Some("c")]);
    }

    #[test]
    fn only_istiod_s_own_refusal_counts() {
        let hook = json!({"name": "validation.istio.io"});
        let says = |text: &str| denied_by(&[&hook], text);
        assert!(says(
            "is invalid: admission webhook \"validation.istio.io\" denied the request: wildcard"
        ));
        assert!(!says("admission webhook \"policy\" denied the request: no"));
        assert!(!says(
            "failed calling webhook \"validation.istio.io\": no endpoints"
        ));
    }

    #[test]
    fn only_webhooks_that_are_asked_about_new_virtual_services_count() {
        let rule = |group: &str, resource: &str, operation: &str| json!({"rules": [{"apiGroups": [group], "resources": [resource], "operations": [operation]}]});
        assert!(is_for_istio(&rule("networking.istio.io", "*", "CREATE")));
        assert!(is_for_istio(&rule("*", "virtualservices", "*")));
        for other in [
            rule("security.istio.io", "*", "CREATE"),
            rule("networking.istio.io", "gateways", "CREATE"),
            rule("networking.istio.io", "*", "UPDATE"),
        ] {
            assert!(!is_for_istio(&other), "{other}");
        }
    }
}
