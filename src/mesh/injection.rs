//! Which revision would inject a pod: Istio's webhooks, evaluated.
//!
//! The rule is what the API server does, not a reading of labels: a MutatingWebhookConfiguration
//! matches by its namespace selector and object selector. So tags, deactivated webhooks, both
//! labels at once and a revision whose webhook was left behind all come out as they would.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MeshError, names};
use crate::cluster::{Cluster, Selector};

/// The labels of one object.
pub type Labels = BTreeMap<String, String>;

/// One injecting webhook.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The configuration that holds it.
    pub configuration: String,
    /// The revision that it injects (label of the configuration).
    pub revision: String,
    /// The tag by which that revision is asked for, where the configuration is a tag's.
    pub tag: Option<String>,
    /// Namespace and name of the Service behind it.
    pub service: Option<(String, String)>,
    /// The bundle by which the API server verifies it: the root that the revision's istiod has.
    pub ca_bundle: Option<String>,
    namespace_selector: Value,
    object_selector: Value,
}

/// All injecting webhooks of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Injection {
    webhooks: Vec<Webhook>,
}

/// What would inject a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injector {
    /// No webhook matches: the pod starts without a proxy.
    Nobody,
    /// The revision of the webhook that matches.
    Revision(String),
    /// Webhooks of different revisions match.
    Several(Vec<String>),
}

impl Injection {
    /// Reads the cluster's webhooks; those that inject are recognised by their path `/inject`.
    pub async fn read(cluster: &Cluster) -> Result<Self, MeshError> {
        let kind = cluster
            .kind("mutatingwebhookconfigurations.admissionregistration.k8s.io")
            .await?;
        let configurations = cluster.list(&kind, None, &Selector::default()).await?;
        Ok(Self {
            webhooks: configurations
                .iter()
                .flat_map(|found| webhooks(found.name(), found.value()))
                .collect(),
        })
    }

    /// With one configuration made, changed or gone.
    pub fn with(&self, configuration: &str, after: Option<&Value>) -> Self {
        let mut all = self.webhooks.clone();
        all.retain(|webhook| webhook.configuration != configuration);
        all.extend(
            after
                .into_iter()
                .flat_map(|value| webhooks(configuration, value)),
        );
        Self { webhooks: all }
    }

    /// What would inject a pod with these labels into a namespace with those.
    pub fn injector(
        &self,
        namespace: &str,
        namespace_labels: &Labels,
        pod_labels: &Labels,
    ) -> Injector {
        if names::IGNORED.contains(&namespace) {
            return Injector::Nobody;
        }
        let matching = self.matching(namespace_labels, pod_labels);
        let mut revisions: Vec<String> = matching.map(|w| w.revision.clone()).collect();
        revisions.sort();
        revisions.dedup();
        match revisions.len() {
            0 => Injector::Nobody,
            1 => Injector::Revision(revisions.remove(0)),
            _ => Injector::Several(revisions),
        }
    }

    /// Whether a pod with these labels, in a namespace with those, is injected by way of a tag.
    pub fn is_asked_by(
        &self,
        tag: &str,
        namespace: &str,
        namespace_labels: &Labels,
        pod_labels: &Labels,
    ) -> bool {
        !names::IGNORED.contains(&namespace)
            && self
                .matching(namespace_labels, pod_labels)
                .any(|w| w.tag.as_deref() == Some(tag))
    }

    fn matching<'a>(
        &'a self,
        namespace_labels: &'a Labels,
        pod_labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Webhook> {
        self.webhooks.iter().filter(|w| {
            selects(&w.namespace_selector, namespace_labels)
                && selects(&w.object_selector, pod_labels)
        })
    }

    /// The tags, each with the revision that it leads to.
    pub fn tags(&self) -> BTreeMap<&str, &str> {
        let all = self.webhooks.iter();
        all.filter_map(|w| Some((w.tag.as_deref()?, w.revision.as_str())))
            .collect()
    }

    /// Webhooks that inject this revision.
    pub fn of_revision<'a>(&'a self, revision: &'a str) -> impl Iterator<Item = &'a Webhook> {
        self.webhooks.iter().filter(move |w| w.revision == revision)
    }

    /// The revisions that some webhook injects.
    pub fn revisions(&self) -> Vec<String> {
        let mut all: Vec<_> = self.webhooks.iter().map(|w| w.revision.clone()).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn webhooks(name: &str, configuration: &Value) -> Vec<Webhook> {
    let revision = configuration["metadata"]["labels"][names::REV].as_str();
    let Some(revision) = revision.map(str::to_owned) else {
        return Vec::new();
    };
    let tag = configuration["metadata"]["labels"][names::TAG].as_str();
    let tag = tag.map(str::to_owned);
    let list = configuration["webhooks"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.into_iter()
        .filter(|w| {
            let path = w
                .pointer("/clientConfig/service/path")
                .or_else(|| w.pointer("/clientConfig/url"));
            path.and_then(Value::as_str)
                .is_some_and(|p| p.contains("/inject"))
        })
        .map(|w| Webhook {
            configuration: name.to_owned(),
            revision: revision.clone(),
            tag: tag.clone(),
            service: w.pointer("/clientConfig/service").and_then(|s| {
                Some((
                    s["namespace"].as_str()?.to_owned(),
                    s["name"].as_str()?.to_owned(),
                ))
            }),
            ca_bundle: w
                .pointer("/clientConfig/caBundle")
                .and_then(Value::as_str)
                .map(str::to_owned),
            namespace_selector: w["namespaceSelector"].clone(),
            object_selector: w["objectSelector"].clone(),
        })
        .collect()
}

/// Kubernetes' LabelSelector; an absent or empty one selects everything.
pub fn selects(selector: &Value, labels: &Labels) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    if !equal
        .into_iter()
        .all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str())
    {
        return false;
    }
    selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|e| {
            let value = labels.get(e["key"].as_str().unwrap_or_default());
            let listed = || {
                e["values"].as_array().is_some_and(|values| {
                    values
                        .iter()
                        .any(|v| v.as_str() == value.map(String::as_str))
                })
            };
            match e["operator"].as_str() {
                Some("In") => value.is_some() && listed(),
                Some("NotIn") => value.is_none() || !listed(),
                Some("Exists") => value.is_some(),
                Some("DoesNotExist") => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn default_and_r1() -> Injection {
        let hook = |rev: &str, namespace: Value, object: Value| Webhook {
            configuration: format!("istio-sidecar-injector-{rev}"),
            revision: rev.into(),
            tag: None,
            service: None,
            ca_bundle: None,
            namespace_selector: namespace,
            object_selector: object,
        };
        let not_false = json!({"matchExpressions":[{"key":"sidecar.istio.io/inject","operator":"NotIn","values":["false"]}]});
        let rev = |r: &str| {
            json!({"matchExpressions":[{"key":"istio.io/rev","operator":"In","values":[r]},
                                       {"key":"istio-injection","operator":"DoesNotExist"}]})
        };
        let enabled = json!({"matchExpressions":[{"key":"istio-injection","operator":"In","values":["enabled"]}]});
        let absent = json!({"matchExpressions":[{"key":"istio.io/rev","operator":"DoesNotExist"},
                                                {"key":"istio-injection","operator":"DoesNotExist"}]});
        let pod = |r: &str| {
            json!({"matchExpressions":[{"key":"sidecar.istio.io/inject","operator":"NotIn","values":["false"]},
                                       {"key":"istio.io/rev","operator":"In","values":[r]}]})
        };
        Injection {
            webhooks: vec![
                hook("default", rev("default"), not_false.clone()),
                hook("default", enabled, not_false.clone()),
                hook("r1", rev("r1"), not_false),
                hook("r1", absent, pod("r1")),
            ],
        }
    }

    #[test]
    fn the_truth_table_of_namespace_and_pod_labels() {
        let injection = default_and_r1();
        let ask = |ns: &[(&str, &str)], pod: &[(&str, &str)]| {
            injection.injector("shop", &labels(ns), &labels(pod))
        };
        let rev = |r: &str| Injector::Revision(r.into());
        assert_eq!(ask(&[("istio.io/rev", "r1")], &[]), rev("r1"));
        // On a labelled namespace the pod's own revision is ignored.
        assert_eq!(
            ask(&[("istio.io/rev", "r1")], &[("istio.io/rev", "default")]),
            rev("r1")
        );
        assert_eq!(ask(&[("istio-injection", "enabled")], &[]), rev("default"));
        // Both labels: the older one wins, and the revision asked for does not inject.
        assert_eq!(
            ask(
                &[("istio-injection", "enabled"), ("istio.io/rev", "r1")],
                &[]
            ),
            rev("default")
        );
        assert_eq!(
            ask(
                &[("istio-injection", "disabled"), ("istio.io/rev", "r1")],
                &[]
            ),
            Injector::Nobody
        );
        assert_eq!(ask(&[], &[("istio.io/rev", "r1")]), rev("r1"));
        assert_eq!(ask(&[], &[]), Injector::Nobody);
        assert_eq!(ask(&[("istio.io/rev", "nosuch")], &[]), Injector::Nobody);
        assert_eq!(
            ask(
                &[("istio.io/rev", "r1")],
                &[("sidecar.istio.io/inject", "false")]
            ),
            Injector::Nobody
        );
        assert_eq!(
            injection.injector(
                "kube-system",
                &labels(&[("istio.io/rev", "r1")]),
                &labels(&[])
            ),
            Injector::Nobody
        );
    }

    #[test]
    fn who_asks_by_a_tag_is_told_from_who_asks_by_the_name_of_the_revision() {
        let mut injection = default_and_r1();
        injection.webhooks.push(Webhook {
            configuration: "istio-revision-tag-prod".into(),
            revision: "r1".into(),
            tag: Some("prod".into()),
            service: None,
            ca_bundle: None,
            namespace_selector: json!({"matchExpressions":[{"key":"istio.io/rev","operator":"In","values":["prod"]},
                                                           {"key":"istio-injection","operator":"DoesNotExist"}]}),
            object_selector: json!({"matchExpressions":[{"key":"sidecar.istio.io/inject","operator":"NotIn","values":["false"]}]}),
        });
        assert_eq!(injection.tags(), [("prod", "r1")].into());
        let ask = |namespace: &str, of: &[(&str, &str)], pod: &[(&str, &str)]| {
            injection.is_asked_by("prod", namespace, &labels(of), &labels(pod))
        };
        assert!(ask("shop", &[("istio.io/rev", "prod")], &[]));
        assert!(!ask("shop", &[("istio.io/rev", "r1")], &[]));
        assert!(!ask("kube-system", &[("istio.io/rev", "prod")], &[]));
        let both = [("istio.io/rev", "prod"), ("istio-injection", "enabled")];
        assert!(!ask("shop", &both, &[]));
        let declines = [("sidecar.istio.io/inject", "false")];
        assert!(!ask("shop", &[("istio.io/rev", "prod")], &declines));
    }

    /// `istioctl tag set default` leaves the old injector in place, with a selector that nothing matches.
    #[test]
    fn a_webhook_that_was_deactivated_injects_nobody() {
        let mut injection = default_and_r1();
        let enabled = labels(&[("istio-injection", "enabled")]);
        let ask = |injection: &Injection| injection.injector("shop", &enabled, &Labels::new());
        assert_eq!(ask(&injection), Injector::Revision("default".into()));
        for hook in injection
            .webhooks
            .iter_mut()
            .filter(|w| w.revision == "default")
        {
            hook.namespace_selector["matchLabels"] = json!({"istio.io/deactivated": "never-match"});
        }
        assert_eq!(ask(&injection), Injector::Nobody);
    }
}
