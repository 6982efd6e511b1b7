//! Which container of a pod is meant, and whether it runs.

use serde_json::Value;

use super::{Cluster, ClusterError, Kind, Object};

/// The annotation by which a pod says which of its containers is meant when none is named.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";

/// What is wrong with a container that was to be asked, or with the choice of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerError {
    /// None was named, and the pod does not say which of several is meant.
    Choose {
        /// Those there are.
        known: Vec<String>,
    },
    /// The pod has no container of that name.
    Missing {
        /// The name.
        wanted: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// It has not started, or is not running; why.
    NotRunning {
        /// Which.
        container: String,
        /// `waiting: CrashLoopBackOff`, `terminated: Completed`, or the node's words.
        state: String,
    },
    /// There was no run before the present one.
    NoPrevious {
        /// Which.
        container: String,
    },
}

impl std::fmt::Display for ContainerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Choose { known } => {
                write!(f, "it has several containers: {}", quoted(known))
            }
            Self::Missing { wanted, known } => {
                write!(
                    f,
                    "it has no container `{wanted}`; it has {}",
                    quoted(known)
                )
            }
            Self::NotRunning { container, state } => {
                write!(f, "container `{container}` is not running ({state})")
            }
            Self::NoPrevious { container } => {
                write!(f, "container `{container}` has not run before")
            }
        }
    }
}

impl ContainerError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Choose { known } => {
                let first = known.first()?;
                Some(format!("name one of them: `container: \"{first}\"`"))
            }
            Self::Missing { wanted, known } => {
                super::error::nearest(wanted, known).map(|n| format!("did you mean `{n}`?"))
            }
            Self::NotRunning { .. } => {
                Some("its last run may say why: logs with `previous: true`".to_owned())
            }
            Self::NoPrevious { .. } => None,
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    names.join(", ")
}

/// A container of a pod that was read.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) pod: Object,
    pub(super) kind: Kind,
}

impl Cluster {
    /// Reads a pod and finds the container that is meant: the named one; without a name the one that the annotation
    /// `kubectl.kubernetes.io/default-container` names; without that the only one, init containers apart. kubectl would
    /// take the first of several, which is a guess.
    pub(super) async fn container(
        &self,
        namespace: &str,
        pod: &str,
        wanted: Option<&str>,
    ) -> Result<Container, ClusterError> {
        let kind = self.kind("pods").await?;
        let object = self.get_existing(&kind, Some(namespace), pod).await?;
        let name = choose(&object, wanted).map_err(|cause| ClusterError::Container {
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            cause,
        })?;
        Ok(Container {
            name,
            pod: object,
            kind,
        })
    }
}

fn names(pod: &Object, list: &str) -> Vec<String> {
    let all = pod.at(&format!("/spec/{list}")).and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .map(str::to_owned)
        .collect()
}

fn choose(pod: &Object, wanted: Option<&str>) -> Result<String, ContainerError> {
    let mains = names(pod, "containers");
    let mut known = mains.clone();
    known.extend(names(pod, "initContainers"));
    known.extend(names(pod, "ephemeralContainers"));
    if let Some(wanted) = wanted {
        if known.iter().any(|k| k == wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(ContainerError::Missing {
            wanted: wanted.to_owned(),
            known,
        });
    }
    let annotations = pod.at("/metadata/annotations");
    let default = annotations.and_then(|a| a.get(DEFAULT)?.as_str());
    if let Some(default) = default.filter(|d| known.iter().any(|k| k == d)) {
        return Ok(default.to_owned());
    }
    match mains.as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(ContainerError::Choose { known: mains }),
    }
}

impl Container {
    /// What the pod's status says of it.
    fn status(&self) -> Option<&Value> {
        let statuses = [
            "containerStatuses",
            "initContainerStatuses",
            "ephemeralContainerStatuses",
        ];
        statuses
            .iter()
            .filter_map(|list| self.pod.at(&format!("/status/{list}"))?.as_array())
            .flatten()
            .find(|c| c["name"] == self.name.as_str())
    }

    /// What tells its present run from others; none if it does not run.
    pub(super) fn run(&self) -> Option<String> {
        let status = self.status()?;
        let id = status["containerID"].as_str().unwrap_or_default();
        let run = format!("{} {id} {}", self.pod.uid(), status["restartCount"]);
        self.runs().is_ok().then_some(run)
    }

    /// That it runs, as the pod's status has it.
    ///
    /// # Errors
    /// What it does instead.
    pub(super) fn runs(&self) -> Result<(), ContainerError> {
        let state = match self.status().map(|s| &s["state"]) {
            Some(state) if state["running"].is_object() => return Ok(()),
            Some(state) => ["waiting", "terminated"]
                .iter()
                .find_map(|kind| {
                    let reason = state.get(kind)?["reason"].as_str().unwrap_or_default();
                    Some(format!("{kind}: {reason}"))
                })
                .unwrap_or_else(|| "waiting".to_owned()),
            None => {
                let phase = self.pod.at("/status/phase").and_then(Value::as_str);
                format!("the pod is {}", phase.unwrap_or("not started"))
            }
        };
        Err(ContainerError::NotRunning {
            container: self.name.clone(),
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotation: Option<&str>, containers: &[&str]) -> Object {
        let containers: Vec<Value> = containers.iter().map(|n| json!({"name": n})).collect();
        Object::new(json!({
            "metadata": {"name": "p", "annotations": annotation.map(|a| json!({DEFAULT: a}))},
            "spec": {"containers": containers, "initContainers": [{"name": "setup"}]},
        }))
    }

    #[test]
    fn a_container_is_chosen_only_where_there_is_no_doubt() {
        let two = pod(None, &["app", "istio-proxy"]);
        let error = choose(&two, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has several containers: `app`, `istio-proxy`"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some("name one of them: `container: \"app\"`")
        );
        assert_eq!(choose(&two, Some("setup")).unwrap(), "setup");
        assert_eq!(choose(&pod(None, &["app"]), None).unwrap(), "app");
        let said = pod(Some("app"), &["istio-proxy", "app"]);
        assert_eq!(choose(&said, None).unwrap(), "app");
        // An annotation that names nothing chooses nothing.
        assert!(choose(&pod(Some("gone"), &["a", "b"]), None).is_err());
        let error = choose(&two, Some("ap")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has no container `ap`; it has `app`, `istio-proxy`, `setup`"
        );
        assert_eq!(error.hint().as_deref(), Some("did you mean `app`?"));
    }
}
