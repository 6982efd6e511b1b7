//! What a mutation of a Kubernetes object does to the mesh.
//!
//! A gate guards the effect, whichever word or script causes it: a relabelled namespace and a
//! patched pod template are the same thing to the pods that come out.

use base64::Engine as _;
use serde_json::Value;

use super::injection::Labels;
use super::names;
use super::pods::{self, Workload};
use super::templates::{self, texts};
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
    /// Who injects which pods changes: a webhook or a revision tag is made, goes, or asks about others.
    Injectors {
        /// The MutatingWebhookConfiguration.
        configuration: String,
        /// What it will be; `None`: gone.
        after: Option<Value>,
    },
    /// istiod of a revision is, in part or whole, taken away: its Deployment, Service, webhook or injector's ConfigMap
    /// is deleted, or leads elsewhere.
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
        /// Its Deployment as it will be; `None`: as it is.
        after: Option<Value>,
    },
    /// What a revision's istiod tells its proxies changes: its mesh configuration, or its injector's values.
    MeshSettings {
        /// The revision.
        revision: String,
        /// The ConfigMap as it will be; `None`: gone.
        after: Option<Value>,
        /// Which of the two: `mesh` or `values`.
        key: &'static str,
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
        /// Their `metadata` and `spec`: those of the template, or of a pod that is.
        pod: Value,
        /// Whether that is a pod that is, in which what the injector added is already.
        made: bool,
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
        "pods" => pod(mutation, before, after),
        "services" if in_system && leads(before) != leads(after) => removal(mutation, before),
        "configmaps" if in_system => settings(mutation, before, after),
        "mutatingwebhookconfigurations.admissionregistration.k8s.io" => {
            injectors(mutation, before, after)
        }
        _ => controller(mutation, before, after),
    }
}

/// A revision's mesh configuration, or what its injector works with; told by their keys, since names may be anybody's.
fn settings(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    let (name, key) = [("istio-sidecar-injector", "values"), ("istio", "mesh")]
        .into_iter()
        .find(|(name, key)| {
            let has = |map: Option<&Value>| map.is_some_and(|map| map["data"][key].is_string());
            mutation.name.starts_with(name) && (has(before) || has(after))
        })?;
    let revision = match mutation.name.strip_prefix(name)? {
        "" => "default",
        rest => rest.strip_prefix('-')?,
    };
    let revision = revision.to_owned();
    let text = |map: Option<&Value>| {
        map.map(|map| (map["data"][key].clone(), map["data"]["config"].clone()))
    };
    if text(before) == text(after) {
        return None;
    }
    let what = format!("ConfigMap {}", mutation.name);
    let template = |map: Option<&Value>| map.is_some_and(|map| map["data"]["config"].is_string());
    if key == "values" && template(before) && !template(after) {
        return Some(Effect::IstiodRemoval { revision, what });
    }
    let after = after.cloned();
    Some(Effect::MeshSettings {
        revision,
        after,
        key,
    })
}

/// A revision's own webhook that goes, or leads to another Service, takes istiod away; any other change is one of
/// who injects what.
fn injectors(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    if injects(before) == injects(after) {
        return None;
    }
    let services = |configuration: Option<&Value>| {
        let webhooks = configuration.and_then(|c| c["webhooks"].as_array());
        let config = |w: &Value| {
            (
                w["clientConfig"]["service"].clone(),
                w["clientConfig"]["url"].clone(),
            )
        };
        webhooks
            .into_iter()
            .flatten()
            .map(config)
            .collect::<Vec<_>>()
    };
    let gone = before.is_some() && (after.is_none() || services(before) != services(after));
    if gone && let Some(removal) = removal(mutation, before) {
        return Some(removal);
    }
    Some(Effect::Injectors {
        configuration: mutation.name.clone(),
        after: after.cloned(),
    })
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
    let given = secret["stringData"].as_object();
    for (key, text) in given.into_iter().flatten() {
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

/// Whom the webhooks of a configuration ask about which objects, and for which revision. Their `caBundle` is istiod's
/// own business.
fn injects(configuration: Option<&Value>) -> Option<(&Value, Vec<Vec<&Value>>)> {
    const PARTS: [&str; 6] = [
        "/name",
        "/clientConfig/service",
        "/clientConfig/url",
        "/namespaceSelector",
        "/objectSelector",
        "/rules",
    ];
    let configuration = configuration?;
    let webhooks = configuration["webhooks"].as_array();
    let parts = |webhook| PARTS.map(|part| Value::pointer(webhook, part).unwrap_or(&Value::Null));
    let webhooks = webhooks.into_iter().flatten();
    Some((
        &configuration["metadata"]["labels"][names::REV],
        webhooks.map(|webhook| parts(webhook).to_vec()).collect(),
    ))
}

fn namespace(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    if mutation.name == names::ISTIO_SYSTEM && after.is_none() {
        return Some(Effect::ControlPlaneRemoval);
    }
    let chosen = |v: Option<&Value>| {
        let labels = v
            .map(|v| texts(&v["metadata"]["labels"]))
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

/// Anything that makes pods by a template: the kinds of Kubernetes, and those of others that are made alike.
fn controller(
    mutation: &Mutation,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Option<Effect> {
    before.or(after).and_then(templates::of)?;
    if let Some(revision) = istiod_revision(before.or(after)) {
        let what = format!("{} {}", mutation.kind.kind(), mutation.name);
        let gone = after.is_none_or(|a| a["spec"]["replicas"] == 0);
        let template = |v: Option<&Value>| v.map(|v| v["spec"]["template"].clone());
        return if before.is_none() {
            None
        } else if gone {
            Some(Effect::IstiodRemoval { revision, what })
        } else {
            (template(before) != template(after)).then(|| Effect::IstiodRestart {
                revision,
                after: after.cloned(),
            })
        };
    }
    let Some(after) = after else {
        return remade(mutation);
    };
    let pod = templates::of(after)?;
    if before.is_some_and(|b| {
        templates::of(b) == Some(pod) && b["spec"]["replicas"] == after["spec"]["replicas"]
    }) {
        return None;
    }
    Some(Effect::Pods {
        workload: workload(mutation, mutation.kind.kind()),
        pod: pod.clone(),
        made: false,
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
            pod: spec["template"].clone(),
            made: false,
        }
    })
}

fn pod(mutation: &Mutation, before: Option<&Value>, after: Option<&Value>) -> Option<Effect> {
    match (before, after) {
        (Some(before), None) => {
            if let Some(revision) = istiod_revision(Some(before)) {
                return Some(Effect::IstiodRestart {
                    revision,
                    after: None,
                });
            }
            // Its controller makes it anew; a bare pod is simply gone.
            let object = mutation.before.as_ref()?;
            let workload = pods::workload_of(object);
            (workload.kind != "Pod").then(|| Effect::Pods {
                workload,
                pod: before.clone(),
                made: true,
            })
        }
        (None, Some(after)) => Some(Effect::Pods {
            workload: workload(mutation, "Pod"),
            pod: after.clone(),
            made: false,
        }),
        _ => None,
    }
}

fn removal(mutation: &Mutation, before: Option<&Value>) -> Option<Effect> {
    let labels = texts(&before?["metadata"]["labels"]);
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
    let labels = texts(&object?["metadata"]["labels"]);
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
