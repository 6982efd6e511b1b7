//! What an object is waited for, in the notation of `kubectl wait --for`, and whether it is so.
//!
//! What can never become so is told apart from what is not so yet: a wait that cannot end well should
//! not last. It sends nothing.

use std::fmt;

use serde_json::Value;

use super::error::nearest;
use super::path::{FieldPath, REDACTED, scalar};
use super::{ClusterError, Kind, Object};

/// A state of an object that can be waited for.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    goal: Goal,
}

#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// A condition of `status.conditions`, and its status.
    Condition { kind: String, status: String },
    /// It is there.
    Create,
    /// It is gone.
    Delete,
    /// What a path leads to; anything at all, if no value is given.
    Path {
        path: FieldPath,
        value: Option<String>,
    },
}

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is so.
    Met,
    /// It cannot become so; why.
    Never(String),
    /// It is not so; what is instead.
    NotYet(String),
}

impl Condition {
    /// Reads `condition=Ready`, `condition=Available=false`, `jsonpath={.status.phase}=Running`,
    /// `.status.phase=Running`, `jsonpath={.status.loadBalancer.ingress}`, `delete` or `create`.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`]: it is none of these.
    pub fn parse(text: &str) -> Result<Self, ClusterError> {
        let wrong = |reason: String| ClusterError::BadRequest {
            message: format!("`{text}` cannot be waited for: {reason}"),
        };
        let trimmed = text.trim();
        let lower = trimmed.to_lowercase();
        let goal = if lower == "delete" {
            Goal::Delete
        } else if lower == "create" {
            Goal::Create
        } else if let Some(rest) = trimmed.strip_prefix("condition=") {
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
            if kind.is_empty() || status.is_empty() {
                return Err(wrong(
                    "write `condition=NAME` or `condition=NAME=STATUS`".into(),
                ));
            }
            if !["true", "false", "unknown"].contains(&status.to_lowercase().as_str()) {
                return Err(wrong(format!(
                    "the status of a condition is `True`, `False` or `Unknown`, not `{status}`"
                )));
            }
            Goal::Condition {
                kind: kind.to_owned(),
                status: status.to_owned(),
            }
        } else {
            let path = trimmed.strip_prefix("jsonpath=").unwrap_or(trimmed);
            if !path.starts_with(['.', '{', '$', '\'']) {
                return Err(wrong(
                    "write `condition=NAME`, `condition=NAME=STATUS`, `.path.to.field=VALUE`, `delete` or `create`"
                        .into(),
                ));
            }
            // The quotes that a shell needs, and kubectl takes too.
            let path = match path.strip_prefix('\'').and_then(|p| p.split_once("}'")) {
                Some((path, rest)) => format!("{path}}}{rest}"),
                None => path.to_owned(),
            };
            let (path, rest) = FieldPath::parse_first(&path).map_err(|e| wrong(e.to_string()))?;
            let value = match rest.trim_start() {
                "" => None,
                rest => {
                    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='));
                    let value = value.map(|v| v.trim().trim_matches(['"', '\'']));
                    let value = value.filter(|v| !v.is_empty());
                    Some(value.map(str::to_owned).ok_or_else(|| {
                        wrong(format!(
                            "`={{value}}` is expected behind the path, not `{rest}`"
                        ))
                    })?)
                }
            };
            Goal::Path { path, value }
        };
        Ok(Self {
            text: trimmed.to_owned(),
            goal,
        })
    }

    pub(super) fn goal(&self) -> &Goal {
        &self.goal
    }

    /// How an object that is there stands to it.
    ///
    /// # Errors
    /// [`ClusterError::BadRequest`]: the path leads to what cannot be compared.
    pub(super) fn standing(&self, kind: &Kind, object: &Object) -> Result<Standing, ClusterError> {
        Ok(match &self.goal {
            Goal::Create => Standing::Met,
            Goal::Delete if object.is_deleting() => {
                Standing::NotYet(match object.finalizers().as_slice() {
                    [] => "it is being deleted".to_owned(),
                    held => format!(
                        "it is being deleted, held by finalizers `{}`",
                        held.join("`, `")
                    ),
                })
            }
            Goal::Delete => Standing::NotYet("nobody has deleted it".to_owned()),
            Goal::Condition { kind: name, status } => of_condition(kind, object, name, status),
            Goal::Path { path, value } => of_path(kind, object, path, value.as_deref())?,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn of_condition(kind: &Kind, object: &Object, name: &str, wanted: &str) -> Standing {
    let all = object.items("/status/conditions");
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or("").to_owned();
    let named = |wanted: &str| {
        all.iter()
            .find(|c| text(c, "type").eq_ignore_ascii_case(wanted))
    };
    let is = |wanted: &str| named(wanted).is_some_and(|c| text(c, "status") == "True");
    let found = named(name);
    // As kubectl decides it: what a controller said of an older object says nothing of this one.
    let observed = found
        .and_then(|c| c["observedGeneration"].as_i64())
        .or_else(|| object.int("/status/observedGeneration"));
    let stale = observed.filter(|seen| *seen < object.generation());
    let so = found.is_some_and(|c| text(c, "status").eq_ignore_ascii_case(wanted));
    let wants_true = wanted.eq_ignore_ascii_case("True");
    // It stays ready until its containers have ended, but it will serve nobody.
    let serves = ["Ready", "ContainersReady"];
    if kind.resource() == "pods"
        && wants_true
        && object.is_deleting()
        && serves.iter().any(|c| name.eq_ignore_ascii_case(c))
    {
        return Standing::Never("the pod is being deleted".to_owned());
    }
    if so && stale.is_none() {
        return Standing::Met;
    }
    if let Some(reason) = hopeless(kind, object, name, wants_true, &is) {
        return Standing::Never(reason);
    }
    let Some(found) = found else {
        return match unknown(kind, object, name) {
            Some(reason) => Standing::Never(reason),
            None => Standing::NotYet(format!("it has no condition `{name}` yet")),
        };
    };
    let mut last = format!("`{}` is {}", text(found, "type"), text(found, "status"));
    let (reason, message) = (text(found, "reason"), text(found, "message"));
    let why: Vec<String> = [reason, message]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect();
    if !why.is_empty() {
        last = format!("{last} ({})", why.join(": "));
    }
    if let Some(stale) = stale.filter(|_| so) {
        let now = object.generation();
        last = format!("{last}, but that is said of generation {stale} and not yet of {now}");
    }
    Standing::NotYet(last)
}

/// The generation that a controller has seen last, if it is not the present one.
fn behind(object: &Object) -> Option<i64> {
    let seen = object.int("/status/observedGeneration");
    seen.filter(|seen| *seen < object.generation())
}

/// Why a condition that is not so will not become so any more.
fn hopeless(
    kind: &Kind,
    object: &Object,
    name: &str,
    wants_true: bool,
    is: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let named = |other: &str| name.eq_ignore_ascii_case(other);
    match kind.resource().as_str() {
        "jobs.batch" if wants_true => {
            let message = |of: &str| {
                let conditions = object.items("/status/conditions");
                let found = conditions.iter().find(|c| c["type"] == of);
                let text = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or("");
                format!("({}: {})", text("reason"), text("message"))
            };
            if named("Complete") && is("Failed") {
                return Some(format!("the job has failed {}", message("Failed")));
            }
            (named("Failed") && is("Complete")).then(|| "the job is complete".to_owned())
        }
        "pods" if wants_true => {
            let phase = object.text("/status/phase");
            let ended = matches!(phase, "Succeeded" | "Failed");
            let starts = ["Ready", "ContainersReady"].iter().any(|c| named(c));
            (ended && starts).then(|| format!("the pod has ended ({phase})"))
        }
        _ => None,
    }
}

/// The conditions that objects of a built-in kind can have; none where others may add some.
fn conditions(resource: &str) -> Option<&'static [&'static str]> {
    Some(match resource {
        "pods" => &[
            "ContainersReady",
            "DisruptionTarget",
            "Initialized",
            "PodReadyToStartContainers",
            "PodResizeInProgress",
            "PodResizePending",
            "PodScheduled",
            "Ready",
        ],
        "deployments.apps" => &["Available", "Progressing", "ReplicaFailure"],
        "replicasets.apps" | "replicationcontrollers" => &["ReplicaFailure"],
        "jobs.batch" => &[
            "Complete",
            "Failed",
            "FailureTarget",
            "SuccessCriteriaMet",
            "Suspended",
        ],
        "horizontalpodautoscalers.autoscaling" => {
            &["AbleToScale", "ScalingActive", "ScalingLimited"]
        }
        "poddisruptionbudgets.policy" => &["DisruptionAllowed"],
        // Their types have no conditions, or nothing of Kubernetes sets any.
        "configmaps"
        | "controllerrevisions.apps"
        | "cronjobs.batch"
        | "clusterrolebindings.rbac.authorization.k8s.io"
        | "clusterroles.rbac.authorization.k8s.io"
        | "daemonsets.apps"
        | "endpoints"
        | "endpointslices.discovery.k8s.io"
        | "events"
        | "events.events.k8s.io"
        | "leases.coordination.k8s.io"
        | "limitranges"
        | "mutatingwebhookconfigurations.admissionregistration.k8s.io"
        | "priorityclasses.scheduling.k8s.io"
        | "resourcequotas"
        | "rolebindings.rbac.authorization.k8s.io"
        | "roles.rbac.authorization.k8s.io"
        | "secrets"
        | "serviceaccounts"
        | "statefulsets.apps"
        | "storageclasses.storage.k8s.io"
        | "validatingwebhookconfigurations.admissionregistration.k8s.io" => &[],
        _ => return None,
    })
}

/// Why objects of this kind never have a condition, where that is known.
fn unknown(kind: &Kind, object: &Object, name: &str) -> Option<String> {
    let resource = kind.resource();
    let known = conditions(&resource)?;
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let gates = object.items("/spec/readinessGates");
    if known.iter().any(|k| is(k))
        || gates
            .iter()
            .any(|g| g["conditionType"].as_str().is_some_and(is))
    {
        return None;
    }
    if known.is_empty() {
        return Some(format!("`{resource}` have no conditions"));
    }
    let all: Vec<String> = known.iter().map(|k| (*k).to_owned()).collect();
    let near = nearest(name, &all).map(|n| format!("; did you mean `{n}`?"));
    Some(format!(
        "`{resource}` have no condition `{name}`, only `{}`{}",
        known.join("`, `"),
        near.unwrap_or_default()
    ))
}

/// The phases of a pod, in the order in which it can go through them.
const PHASES: [&str; 4] = ["Pending", "Running", "Succeeded", "Failed"];

fn of_path(
    kind: &Kind,
    object: &Object,
    path: &FieldPath,
    wanted: Option<&str>,
) -> Result<Standing, ClusterError> {
    let values = path.values_of(object.value())?;
    // As for conditions: what a controller said of an older object says nothing of this one.
    let is_status = path.leading_fields().next() == Some("status")
        && !path.is(&["status", "observedGeneration"]);
    let met = |last: String| match behind(object).filter(|_| is_status) {
        None => Standing::Met,
        Some(stale) => Standing::NotYet(format!(
            "{last}, but that is said of generation {stale} and not yet of {}",
            object.generation()
        )),
    };
    let values: Vec<&Value> = values.into_iter().filter(|v| !v.is_null()).collect();
    let Some(wanted) = wanted else {
        return Ok(if values.is_empty() {
            Standing::NotYet(format!("`{path}` is not there"))
        } else {
            met(format!("`{path}` is there"))
        });
    };
    if values.len() > 1 {
        return Err(ClusterError::BadRequest {
            message: format!(
                "`{path}` leads to {} values in {object}; one is waited for",
                values.len()
            ),
        });
    }
    let found = match values.first() {
        None => None,
        Some(value) => Some(scalar(value).ok_or_else(|| ClusterError::BadRequest {
            message: format!(
                "`{path}` leads to a map or a list in {object}; a single value is waited for"
            ),
        })?),
    };
    if found.as_deref() == Some(wanted) {
        return Ok(met(format!("`{path}` is `{wanted}`")));
    }
    if kind.resource() == "secrets" && path.is_confidential() {
        return Ok(not_yet(path, found.is_some().then_some(REDACTED)));
    }
    if kind.resource() == "pods" && path.is(&["status", "phase"]) {
        let at = |phase: &str| PHASES.iter().position(|p| *p == phase);
        let Some(goal) = at(wanted) else {
            if wanted == "Unknown" {
                return Ok(not_yet(path, found.as_deref()));
            }
            let phases = PHASES.map(str::to_owned);
            let near = nearest(wanted, &phases).map(|n| format!("; did you mean `{n}`?"));
            return Ok(Standing::Never(format!(
                "a pod has no phase `{wanted}`{}",
                near.unwrap_or_default()
            )));
        };
        let ended = matches!(found.as_deref(), Some("Succeeded" | "Failed"));
        if ended || found.as_deref().and_then(at).is_some_and(|now| now > goal) {
            return Ok(Standing::Never(format!(
                "the pod is past it: it is {}",
                found.unwrap_or_default()
            )));
        }
    }
    Ok(not_yet(path, found.as_deref()))
}

fn not_yet(path: &FieldPath, found: Option<&str>) -> Standing {
    Standing::NotYet(match found {
        Some(found) => format!("`{path}` is `{found}`"),
        None => format!("`{path}` is not there"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::kind::tests::kind;
    use super::*;
    use serde_json::json;

    fn standing(resource: &str, condition: &str, object: Value) -> Standing {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let kind = kind(group, "v1", "K", plural, &[], true);
        let condition = Condition::parse(condition).unwrap_or_else(|e| panic!("{e}"));
        condition.standing(&kind, &Object::new(object)).unwrap()
    }

    fn never(resource: &str, condition: &str, object: Value) -> String {
        match standing(resource, condition, object) {
            Standing::Never(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn not_yet(resource: &str, condition: &str, object: Value) -> String {
        match standing(resource, condition, object) {
            Standing::NotYet(last) => last,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_condition_counts_for_the_generation_that_it_was_said_of() {
        let object = |generation: i64, observed: i64, status: &str| {
            json!({"metadata": {"generation": generation}, "status": {"observedGeneration": observed,
                "conditions": [{"type": "Available", "status": status, "reason": "R", "message": "m"}]}})
        };
        let deploy = "deployments.apps";
        let available = "condition=Available";
        assert_eq!(
            standing(deploy, available, object(2, 2, "True")),
            Standing::Met
        );
        assert_eq!(
            not_yet(deploy, available, object(3, 2, "True")),
            "`Available` is True (R: m), but that is said of generation 2 and not yet of 3"
        );
        assert_eq!(
            not_yet(deploy, available, object(2, 2, "False")),
            "`Available` is False (R: m)"
        );
        let negated = "condition=available=false";
        assert_eq!(
            standing(deploy, negated, object(2, 2, "False")),
            Standing::Met
        );
        assert_eq!(
            not_yet(deploy, "condition=Progressing", object(2, 2, "True")),
            "it has no condition `Progressing` yet"
        );
    }

    #[test]
    fn a_status_counts_for_the_generation_that_it_was_said_of() {
        let object = |observed: i64| {
            json!({"metadata": {"generation": 3},
                "status": {"observedGeneration": observed, "updatedReplicas": 3}})
        };
        let deploy = "deployments.apps";
        for (condition, last) in [
            (
                ".status.updatedReplicas=3",
                "`.status.updatedReplicas` is `3`",
            ),
            (
                ".status.updatedReplicas",
                "`.status.updatedReplicas` is there",
            ),
        ] {
            assert_eq!(standing(deploy, condition, object(3)), Standing::Met);
            assert_eq!(
                not_yet(deploy, condition, object(2)),
                format!("{last}, but that is said of generation 2 and not yet of 3")
            );
        }
        let seen = ".status.observedGeneration=2";
        assert_eq!(standing(deploy, seen, object(2)), Standing::Met);
        assert_eq!(
            standing(deploy, ".metadata.generation=3", object(2)),
            Standing::Met
        );
    }

    #[test]
    fn a_pod_that_is_being_deleted_is_not_waited_for_to_be_ready() {
        let pod = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(
            never("pods", "condition=ready", pod.clone()),
            "the pod is being deleted"
        );
        assert!(not_yet("pods", "condition=Ready=False", pod).contains("is True"));
    }

    #[test]
    fn what_a_secret_holds_is_not_told() {
        let secret = json!({"kind": "Secret", "type": "Opaque", "data": {"password": "aHVudGVy"}});
        assert_eq!(
            not_yet("secrets", ".data.password=b3RoZXI=", secret.clone()),
            "`.data.password` is `‹redacted›`"
        );
        assert_eq!(not_yet("secrets", ".type=x", secret), "`.type` is `Opaque`");
    }

    #[test]
    fn what_can_never_come_is_known() {
        let job = |kind: &str| {
            json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit"}]}})
        };
        assert_eq!(
            never("jobs.batch", "condition=Complete", job("Failed")),
            "the job has failed (BackoffLimitExceeded: Job has reached the specified backoff limit)"
        );
        assert_eq!(
            never("jobs.batch", "condition=Failed", job("Complete")),
            "the job is complete"
        );
        // Whether a job has not failed is a question like any other.
        let open = "condition=Failed=false";
        assert!(not_yet("jobs.batch", open, job("Complete")).contains("no condition `Failed`"));
        let pod = |phase: &str| json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": "False"}]}});
        assert_eq!(
            never("pods", "condition=Ready", pod("Failed")),
            "the pod has ended (Failed)"
        );
        assert_eq!(
            standing("pods", "condition=Ready=False", pod("Failed")),
            Standing::Met
        );
        assert_eq!(
            never("pods", ".status.phase=Pending", pod("Running")),
            "the pod is past it: it is Running"
        );
        assert_eq!(
            never("pods", ".status.phase=Running", pod("Succeeded")),
            "the pod is past it: it is Succeeded"
        );
        assert_eq!(
            never("pods", ".status.phase=Failed", pod("Succeeded")),
            "the pod is past it: it is Succeeded"
        );
        assert_eq!(
            not_yet("pods", ".status.phase=Succeeded", pod("Running")),
            "`.status.phase` is `Running`"
        );
        assert_eq!(
            never("statefulsets.apps", "condition=Available", json!({})),
            "`statefulsets.apps` have no conditions"
        );
        let gated = json!({"spec": {"readinessGates": [{"conditionType": "example.com/lb"}]}});
        assert!(not_yet("pods", "condition=example.com/lb", gated).contains("no condition"));
        // Of custom resources nobody knows.
        assert!(not_yet("widgets.example.com", "condition=Shiny", json!({})).contains("yet"));
    }

    #[test]
    fn a_path_leads_to_one_value() {
        let object = json!({"metadata": {"name": "a"}, "kind": "K", "spec": {"n": 3, "list": ["x", "y"], "map": {}, "no": null}});
        let widget = "widgets.example.com";
        for met in [
            ".spec.n=3",
            "jsonpath={.spec.n}=3",
            "jsonpath='{.spec.n}'=3",
            "{.spec.n}==3",
            ".spec.list[0]=\"x\"",
            ".spec.map",
        ] {
            assert_eq!(
                standing(widget, met, object.clone()),
                Standing::Met,
                "{met}"
            );
        }
        assert_eq!(
            not_yet(widget, ".spec.no", object.clone()),
            "`.spec.no` is not there"
        );
        let kind = kind("example.com", "v1", "K", "widgets", &[], true);
        for (text, reason) in [
            (
                ".spec.list[*]=x",
                "`.spec.list[*]` leads to 2 values in K a; one is waited for",
            ),
            (
                ".spec.map=x",
                "`.spec.map` leads to a map or a list in K a; a single value is waited for",
            ),
        ] {
            let condition = Condition::parse(text).unwrap();
            let error = condition.standing(&kind, &Object::new(object.clone()));
            assert_eq!(error.unwrap_err().to_string(), reason);
        }
    }
}
