//! Who owns an object, and who would put a change of it back.
//!
//! Two witnesses: `managedFields`, by which the API server records who set which field, and the marks
//! that tools leave on what they manage (labels and annotations of Argo CD, Flux, Helm, Config Sync and
//! Kustomize). Neither is a proof of what will happen, so each answer has its evidence and how sure it is.
//!
//! A room of its own because it is about any object and reads `managedFields`, which
//! [`super::Object`] drops.

mod fields;
mod marks;
mod watch;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, ClusterError, Kind, Object, Selector, merge};
use fields::{changed_paths, leaves, owns, shown};
use marks::{Mark, Tool, declared};

/// Somebody who set fields of an object, as `managedFields` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Its name: `argocd-controller`, `kubectl-client-side-apply`.
    pub name: String,
    /// The tool that goes by that name, if it is known: `Argo CD`.
    pub tool: Option<&'static str>,
    /// `Apply` or `Update`.
    pub operation: String,
    /// The subresource through which it was set: `status`, `scale`.
    pub subresource: Option<String>,
    /// When it did last (RFC 3339).
    pub time: Option<String>,
    /// The fields: `metadata.labels["app"]`, `spec.replicas`.
    pub fields: Vec<String>,
}

/// A tool that has left its mark on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `Argo CD`, `Config Sync`, `Flux`, `Helm`, `Kustomize`.
    pub tool: &'static str,
    /// How sure it is.
    pub confidence: Confidence,
    /// What it manages the object as: an application, a release, a file.
    pub source: Option<String>,
    /// The labels, annotations and managers that say so.
    pub evidence: Vec<String>,
}

/// Who would put a change back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The tool, or the manager's name where it is none that is known.
    pub by: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// What it manages the object as, if that is known.
    pub source: Option<String>,
    /// The changed fields that it owns; empty where it owns the object and none of them.
    pub fields: Vec<String>,
    /// When it would.
    pub when: &'static str,
    /// What says so.
    pub evidence: Vec<String>,
}

/// How sure something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// It may be so.
    Possible,
    /// It is so unless it was switched off.
    Likely,
    /// The tool does nothing else.
    Certain,
}

impl Confidence {
    /// `possible`, `likely`, `certain`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// What became of a change that was watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted {
    /// The fields that were put back; empty if the change still holds.
    pub fields: Vec<String>,
    /// The manager that has them now, or that changed the object last.
    pub manager: Option<String>,
    /// The tool that goes by that name, if it is known.
    pub tool: Option<&'static str>,
    /// How long it held.
    pub after: Duration,
}

impl Cluster {
    /// Who set which fields of an object, and which tools have left their mark on it.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], and those of the server.
    pub async fn owners(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(Vec<Manager>, Vec<Owner>), ClusterError> {
        let object = self.existing_with_managers(kind, namespace, name).await?;
        Ok((managers(&object), owners(&object)))
    }

    /// Who would put a change back, the surest first. What the change leaves as it is does not count.
    ///
    /// # Errors
    /// [`ClusterError::NotFound`], and those of the server.
    pub async fn reverts(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        change: &Value,
    ) -> Result<Vec<Revert>, ClusterError> {
        let object = self.existing_with_managers(kind, namespace, name).await?;
        let mut found = reverts(&object, change);
        let replicas = ["spec", "replicas"].map(str::to_owned);
        let scales = changed_paths(&object, change)
            .iter()
            .any(|path| path[..] == replicas);
        if scales && !found.iter().any(|r| r.by == AUTOSCALER) {
            let autoscaler = self.autoscaler_of(kind, namespace, name).await;
            found.extend(autoscaler.map(|hpa| by_autoscaler(&hpa)));
            found.sort_by_key(|revert| std::cmp::Reverse(revert.confidence));
        }
        Ok(found)
    }

    /// The HorizontalPodAutoscaler of an object. It leaves its mark in `managedFields` only once it has scaled.
    async fn autoscaler_of(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Object> {
        // Where they cannot be read, what is known from the object has to do.
        let autoscalers = self
            .kind("horizontalpodautoscalers.autoscaling")
            .await
            .ok()?;
        let all = self
            .list(&autoscalers, namespace, &Selector::all())
            .await
            .ok()?;
        all.into_iter().find(|hpa| {
            hpa.text("/spec/scaleTargetRef/kind") == kind.kind()
                && hpa.text("/spec/scaleTargetRef/name") == name
        })
    }

    /// As [`Cluster::with_managers`], of an object that must be there.
    async fn existing_with_managers(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, ClusterError> {
        self.with_managers(kind, namespace, name)
            .await?
            .ok_or_else(|| ClusterError::NotFound {
                subject: kind.subject(namespace, Some(name)),
            })
    }
}

/// The change as a patch for the repository that the object comes from: its kind, its name, and the
/// change, as `kustomize` takes patches.
pub fn git_patch(kind: &Kind, namespace: Option<&str>, name: &str, change: &Value) -> Value {
    let mut patch = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind(), "metadata": {"name": name},
    });
    if let Some(namespace) = namespace {
        patch["metadata"]["namespace"] = namespace.into();
    }
    // `null` stays: it takes a field away.
    overlay(&mut patch, change);
    patch
}

fn overlay(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                overlay(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn entries(object: &Value) -> &[Value] {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn managers(object: &Value) -> Vec<Manager> {
    let optional =
        |entry: &Value, key: &str| Some(text(entry, key).to_owned()).filter(|t| !t.is_empty());
    entries(object)
        .iter()
        .map(|entry| Manager {
            name: text(entry, "manager").to_owned(),
            tool: Tool::of_manager(text(entry, "manager")).map(Tool::name),
            operation: text(entry, "operation").to_owned(),
            subresource: optional(entry, "subresource"),
            time: optional(entry, "time"),
            fields: leaves(&entry["fieldsV1"]),
        })
        .collect()
}

fn owners(object: &Value) -> Vec<Owner> {
    let mut found: Vec<Owner> = Vec::new();
    let mut add = |tool: Tool, confidence: Confidence, source: Option<String>, evidence: String| {
        let known = found.iter_mut().find(|o| o.tool == tool.name());
        match known {
            Some(owner) => {
                owner.confidence = owner.confidence.max(confidence);
                owner.source = owner.source.take().or(source);
                owner.evidence.push(evidence);
            }
            None => found.push(Owner {
                tool: tool.name(),
                confidence,
                source,
                evidence: vec![evidence],
            }),
        }
    };
    for Mark {
        tool,
        confidence,
        source,
        evidence,
    } in marks::of(object)
    {
        add(tool, confidence, source, evidence);
    }
    for entry in entries(object) {
        let manager = text(entry, "manager");
        // A person with kubectl owns no object.
        if let Some(tool) = Tool::of_manager(manager).filter(|t| *t != Tool::Kubectl) {
            let evidence = format!("manager `{manager}` ({})", text(entry, "operation"));
            add(tool, Confidence::Certain, None, evidence);
        }
    }
    found.sort_by_key(|owner| (std::cmp::Reverse(owner.confidence), owner.tool));
    found
}

/// Who scales, and when.
const AUTOSCALER: &str = "HorizontalPodAutoscaler";
const SCALES: &str = "within a minute, if its metrics ask for it";

fn by_autoscaler(hpa: &Object) -> Revert {
    let bounds = ["/spec/minReplicas", "/spec/maxReplicas"].map(|at| hpa.int(at).unwrap_or(1));
    Revert {
        by: AUTOSCALER.to_owned(),
        confidence: Confidence::Likely,
        source: Some(hpa.name().to_owned()),
        fields: vec!["spec.replicas".to_owned()],
        when: SCALES,
        evidence: vec![format!(
            "`{}` scales it between {} and {}",
            hpa.name(),
            bounds[0],
            bounds[1]
        )],
    }
}

fn reverts(object: &Value, change: &Value) -> Vec<Revert> {
    let changed = changed_paths(object, change);
    if changed.is_empty() {
        return Vec::new();
    }
    let marks = marks::of(object);
    let source_of = |tool: Tool| {
        let mut own = marks.iter().filter(|m| m.tool == tool);
        own.find_map(|m| m.source.clone())
    };
    let mut found: Vec<Revert> = Vec::new();
    let mut add =
        |by: &str, sure: Confidence, source, fields: Vec<String>, when, evidence: String| {
            let Some(known) = found.iter_mut().find(|r| r.by == by) else {
                found.push(Revert {
                    by: by.to_owned(),
                    confidence: sure,
                    source,
                    fields,
                    when,
                    evidence: vec![evidence],
                });
                return;
            };
            if sure > known.confidence {
                (known.confidence, known.when) = (sure, when);
            }
            known.fields.extend(fields);
            known.fields.sort();
            known.fields.dedup();
            known.evidence.push(evidence);
        };
    for entry in entries(object) {
        let manager = text(entry, "manager");
        let own: Vec<String> = changed
            .iter()
            .filter(|path| owns(&entry["fieldsV1"], path))
            .map(|path| shown(path))
            .collect();
        let scales = marks::is_autoscaler(entry);
        if own.is_empty() || (marks::is_harmless(manager) && !scales) {
            continue;
        }
        let operation = text(entry, "operation");
        let evidence = format!("manager `{manager}` ({operation}) owns {}", own.join(", "));
        if scales {
            add(AUTOSCALER, Confidence::Likely, None, own, SCALES, evidence);
        } else if let Some(tool) = Tool::of_manager(manager) {
            let (sure, when) = tool.puts_back();
            add(tool.name(), sure, source_of(tool), own, when, evidence);
        } else {
            let (sure, when) = if operation == "Apply" {
                (
                    Confidence::Likely,
                    "when it applies again, as controllers do all the time",
                )
            } else {
                (Confidence::Possible, "if it sets these fields again")
            };
            add(manager, sure, None, own, when, evidence);
        }
    }
    for (tool, what, paths) in declared(object) {
        let own: Vec<String> = changed
            .iter()
            .filter(|path| paths(path))
            .map(|path| shown(path))
            .collect();
        if !own.is_empty() {
            let (sure, when) = tool.puts_back();
            let evidence = format!("{what} declares {}", own.join(", "));
            add(tool.name(), sure, source_of(tool), own, when, evidence);
        }
    }
    for mark in &marks {
        let sure = Confidence::Possible;
        let when = mark.tool.puts_back().1;
        add(
            mark.tool.name(),
            sure,
            mark.source.clone(),
            Vec::new(),
            when,
            mark.evidence.clone(),
        );
    }
    found.sort_by_key(|r| (std::cmp::Reverse(r.confidence), r.by.clone()));
    found
}

/// The paths of a change that do not hold in an object.
fn lost(object: &Value, change: &Value) -> Vec<Vec<String>> {
    if merge::changes_nothing(object, change) {
        return Vec::new();
    }
    changed_paths(object, change)
}

#[cfg(test)]
mod tests;
