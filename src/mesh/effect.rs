//! What a mutation of a Kubernetes object does to the mesh.
//!
//! A gate guards the effect, whichever word or script causes it: a relabelled namespace and a
//! patched pod template are the same thing to the pods that come out.

use base64::Engine as _;
use serde_json::Value;

use super::injection::Labels;
use super::names;
use super::pods::{self, Workload};
use crate::cluster::Mutation;

/// An effect that a gate guards.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A secret that istiod loads its CA from is written.
    CaSecret {
        /// `cacerts` or `istio-ca-secret`.
        name: String,
        /// What it will hold.
        after: Value,
    },
    /// Secrets that istiod loads its CA from are deleted.
    CaSecretRemoval {
        /// `cacerts`, `istio-ca-secret`, or both.
        names: Vec<String>,
    },
    /// Everything that a control plane has goes: its namespace is deleted.
    ControlPlaneRemoval,
    /// istiod of a revision is, in part or whole, taken away: its Deployment, Service or webhook is deleted,
    /// or leads elsewhere.
    IstiodRemoval {
        /// The revision.
        revision: String,
        /// Kind and name of what goes.
        what: String,
    },
    /// istiod of a revision starts anew, and loads its CA again.
    IstiodRestart {
        /// The revision.
        revision: String,
    },
    /// The labels by which a namespace is injected change: whatever is made there from now on.
    NamespaceLabels {
        /// The namespace.
        namespace: String,
        /// Its labels afterwards.
        after: Labels,
    },
    /// Pods of one workload are made, or made anew.
    Pods {
        /// Whose.
        workload: Workload,
        /// Their labels.
        labels: Labels,
        /// The service account they run as.
        service_account: String,
    },
}

/// The effect of a mutation, if it has one on the mesh. No reading, no network: called for each.
pub fn of(mutation: &Mutation) -> Option<Effect> {
    let before = mutation.before.as_ref().map(crate::cluster::Object::value);
    let after = mutation.after();
    let after = after.as_ref();
    let in_system = mutation.namespace.as_deref() == Some(names::ISTIO_SYSTEM);
    match mutation.kind.resource().as_str() {
        "namespaces" => namespace(mutation, before, after),
        "secrets"
            if in_system
                && [names::CACERTS, names::CA_SECRET].contains(&mutation.name.as_str()) =>
        {
            ca_secret(&mutation.name, before, after)
        }
        "deployments.apps" | "statefulsets.apps" | "daemonsets.apps" | "replicasets.apps" => {
            controller(mutation, before, after)
        }
        "pods" => pod(mutation, before, after),
        "services" if in_system && leads(before) != leads(after) => removal(mutation, before),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io"
            if injects(before) != injects(after) =>
        {
            removal(mutation, before)
        }
        _ => None,
    }
}

fn ca_secret(name: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    let Some(after) = after else {
        return before.map(|_| Effect::CaSecretRemoval {
            names: vec![name.to_owned()],
        });
    };
    let after = stored(after);
    let unchanged = before.is_some_and(|before| before["data"] == after["data"]);
    (!unchanged).then(|| Effect::CaSecret {
        name: name.to_owned(),
        after,
    })
}

/// A Secret as the API server keeps it: what was given as text is in its data.
fn stored(secret: &Value) -> Value {
    let mut stored = secret.clone();
    let texts = secret["stringData"].as_object();
    for (key, text) in texts.into_iter().flatten() {
        let text = text.as_str().unwrap_or_default();
        stored["data"][key] = base64::engine::general_purpose::STANDARD
            .encode(text)
            .into();
    }
    stored
}

/// Where a Service leads: `None` is nowhere.
fn leads(service: Option<&Value>) -> Option<(&Value, &Value)> {
    service.map(|s| (&s["spec"]["selector"], &s["spec"]["ports"]))
}

/// Whom the webhooks of a configuration ask about which objects. Their `caBundle` is istiod's own business.
fn injects(configuration: Option<&Value>) -> Option<Vec<Vec<&Value>>> {
    const PARTS: [&str; 6] = [
        "/name",
        "/clientConfig/service",
        "/clientConfig/url",
        "/namespaceSelector",
        "/objectSelector",
        "/rules",
    ];
    let webhooks = configuration?["webhooks"].as_array();
    let parts = |webhook| PARTS.map(|part| Value::pointer(webhook, part).unwrap_or(&Value::Null));
    Some(
        webhooks
            .into_iter()
            .flatten()
            .map(|webhook| parts(webhook).to_vec())
            .collect(),
    )
}

fn namespace(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    if mutation.name == names::ISTIO_SYSTEM && after.is_none() {
        return Some(Effect::ControlPlaneRemoval);
    }
    let chosen = |v: Option<&Value>| {
        let labels = v
            .map(|v| labels(&v["metadata"]["labels"]))
            .unwrap_or_default();
        (
            labels.get(names::REV).cloned(),
            labels.get(names::INJECTION).cloned(),
            labels,
        )
    };
    let (was, is) = (chosen(before), chosen(after));
    ((&was.0, &was.1) != (&is.0, &is.1) && after.is_some()).then(|| Effect::NamespaceLabels {
        namespace: mutation.name.clone(),
        after: is.2,
    })
}

fn controller(
    mutation: &Mutation,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Option<Effect> {
    if let Some(revision) = istiod_revision(before.or(after)) {
        let what = format!("{} {}", mutation.kind.kind(), mutation.name);
        let gone = after.is_none_or(|a| a["spec"]["replicas"] == 0);
        let template = |v: Option<&Value>| v.map(|v| v["spec"]["template"].clone());
        return if before.is_none() {
            None
        } else if gone {
            Some(Effect::IstiodRemoval { revision, what })
        } else {
            (template(before) != template(after)).then_some(Effect::IstiodRestart { revision })
        };
    }
    let Some(after) = after else {
        return remade(mutation);
    };
    let template = &after["spec"]["template"];
    if before.is_some_and(|b| {
        b["spec"]["template"] == *template && b["spec"]["replicas"] == after["spec"]["replicas"]
    }) {
        return None;
    }
    Some(Effect::Pods {
        workload: workload(mutation, mutation.kind.kind()),
        labels: labels(&template["metadata"]["labels"]),
        service_account: pods::service_account(template),
    })
}

/// The pods of a ReplicaSet that is deleted under its Deployment: that one makes all of them anew. Any other
/// controller goes with its pods.
fn remade(mutation: &Mutation) -> Option<Effect> {
    let object = mutation.before.as_ref()?;
    let spec = &object.value()["spec"];
    let owner = object.controller();
    (mutation.kind.kind() == "ReplicaSet" && owner.is_some() && spec["replicas"] != 0).then(|| {
        Effect::Pods {
            workload: pods::workload_of(object),
            labels: labels(&spec["template"]["metadata"]["labels"]),
            service_account: pods::service_account(&spec["template"]),
        }
    })
}

fn pod(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    match (before, after) {
        (Some(before), None) => {
            if let Some(revision) = istiod_revision(Some(before)) {
                return Some(Effect::IstiodRestart { revision });
            }
            // Its controller makes it anew; a bare pod is simply gone.
            let object = mutation.before.as_ref()?;
            let workload = pods::workload_of(object);
            (workload.kind != "Pod").then(|| Effect::Pods {
                workload,
                labels: labels(&before["metadata"]["labels"]),
                service_account: pods::service_account(before),
            })
        }
        (None, Some(after)) => Some(Effect::Pods {
            workload: workload(mutation, "Pod"),
            labels: labels(&after["metadata"]["labels"]),
            service_account: pods::service_account(after),
        }),
        _ => None,
    }
}

fn removal(mutation: &Mutation, before: Option<&Value>) -> Option<Effect> {
    let labels = labels(&before?["metadata"]["labels"]);
    let is_istiod = labels
        .get("app")
        .is_some_and(|a| a == "istiod" || a == "sidecar-injector");
    let revision = labels
        .get(names::REV)
        .cloned()
        .unwrap_or_else(|| "default".into());
    (is_istiod && !labels.contains_key(names::TAG)).then(|| Effect::IstiodRemoval {
        revision,
        what: format!("{} {}", mutation.kind.kind(), mutation.name),
    })
}

/// The revision of an istiod's Deployment, ReplicaSet or pod; `None` for anything else.
fn istiod_revision(object: Option<&Value>) -> Option<String> {
    let labels = labels(&object?["metadata"]["labels"]);
    (labels.get("app").map(String::as_str) == Some("istiod")).then(|| {
        labels
            .get(names::REV)
            .cloned()
            .unwrap_or_else(|| "default".into())
    })
}

fn workload(mutation: &Mutation, kind: &str) -> Workload {
    Workload {
        kind: kind.to_owned(),
        namespace: mutation.namespace.clone().unwrap_or_default(),
        name: mutation.name.clone(),
    }
}

fn labels(value: &Value) -> Labels {
    value
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}
