//! Pod templates: what pods a workload makes, whether or not it has any now.
//!
//! Separate from [`super::pods`], which looks at pods that are: what is scaled to nothing, suspended or due at night has
//! none, and makes them by its template all the same.

use serde_json::Value;

use super::injection::Labels;
use super::pods::Workload;
use super::{MeshError, names};
use crate::cluster::{Cluster, ClusterError, Object, Selector};

/// The kinds that make pods and are asked for theirs; `rollouts` where somebody installed them.
const KINDS: [&str; 7] = [
    "cronjobs.batch",
    "daemonsets.apps",
    "deployments.apps",
    "jobs.batch",
    "replicasets.apps",
    "rollouts.argoproj.io",
    "statefulsets.apps",
];

/// One workload's template.
#[derive(Debug, Clone)]
pub struct Template {
    /// Whose it is.
    pub workload: Workload,
    /// `metadata` and `spec` of its pods.
    pub pod: Value,
}

/// The pod template in an object of any kind, if it makes pods.
pub fn of(object: &Value) -> Option<&Value> {
    let pointers = ["/spec/template", "/spec/jobTemplate/spec/template"];
    let mut found = pointers
        .into_iter()
        .filter_map(|pointer| object.pointer(pointer));
    found.find(|template| template["spec"]["containers"].is_array())
}

/// Labels or annotations as the API server has them.
pub fn texts(value: &Value) -> Labels {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Why the injector leaves such a pod alone although its webhook is asked (Istio's `injectRequired`).
pub fn declines(pod: &Value) -> Option<&'static str> {
    let metadata = &pod["metadata"];
    if pod["spec"]["hostNetwork"] == true {
        return Some("it uses the node's network (hostNetwork)");
    }
    let asked = metadata["labels"][names::INJECT].as_str();
    let asked = asked.or_else(|| metadata["annotations"][names::INJECT].as_str());
    (asked == Some("false")).then_some("it declines (sidecar.istio.io/inject: \"false\")")
}

/// The templates of one namespace, or of all.
///
/// # Errors
/// When a kind cannot be listed.
pub async fn all(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Template>, MeshError> {
    let lists = KINDS.map(|kind| list(cluster, kind, namespace));
    let lists = futures::future::try_join_all(lists).await?;
    let objects = lists.iter().flatten();
    Ok(objects.filter_map(template).collect())
}

async fn list(
    cluster: &Cluster,
    kind: &str,
    namespace: Option<&str>,
) -> Result<Vec<Object>, MeshError> {
    let kind = match cluster.kind(kind).await {
        Err(ClusterError::UnknownKind { .. }) => return Ok(Vec::new()),
        kind => kind?,
    };
    Ok(cluster.list(&kind, namespace, &Selector::default()).await?)
}

/// The template of one workload, of a kind that is known here.
///
/// # Errors
/// When it cannot be read.
pub async fn of_workload(
    cluster: &Cluster,
    workload: &Workload,
) -> Result<Option<Value>, MeshError> {
    let plural = format!("{}s.", workload.kind.to_lowercase());
    let Some(kind) = KINDS.into_iter().find(|kind| kind.starts_with(&plural)) else {
        return Ok(None);
    };
    let kind = match cluster.kind(kind).await {
        Err(ClusterError::UnknownKind { .. }) => return Ok(None),
        kind => kind?,
    };
    let found = cluster.get(&kind, Some(&workload.namespace), &workload.name);
    Ok(found.await?.and_then(|found| of(found.value()).cloned()))
}

/// A workload that makes pods by itself: not one that another makes, nor a Job that has ended.
fn template(object: &Object) -> Option<Template> {
    let value = object.value();
    let ended = |condition: &Value| {
        ["Complete", "Failed"]
            .map(Value::from)
            .contains(&condition["type"])
            && condition["status"] == "True"
    };
    let conditions = value["status"]["conditions"].as_array();
    if object.controller().is_some() || conditions.into_iter().flatten().any(ended) {
        return None;
    }
    Some(Template {
        workload: Workload {
            kind: value["kind"].as_str().unwrap_or_default().to_owned(),
            namespace: object.namespace().unwrap_or_default().to_owned(),
            name: object.name().to_owned(),
        },
        pod: of(value)?.clone(),
    })
}
