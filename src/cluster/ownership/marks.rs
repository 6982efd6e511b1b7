//! The tools that manage objects, by the names and marks that they leave.
//!
//! | tool | field managers | marks |
//! |---|---|---|
//! | Argo CD | `argocd-controller`, `argocd-application-controller` | `argocd.argoproj.io/tracking-id`, `argocd.argoproj.io/instance`; label `app.kubernetes.io/instance` (also Helm's) |
//! | Config Sync | `configsync.gke.io`, `configsync`, `root-sync`, `root-reconciler` | `configmanagement.gke.io/managed: enabled`, `configsync.gke.io/…` |
//! | Flux | `kustomize-controller`, `helm-controller` | `kustomize.toolkit.fluxcd.io/name`, `helm.toolkit.fluxcd.io/name` and `…/namespace` |
//! | Helm | `helm` | `meta.helm.sh/release-name`, `app.kubernetes.io/managed-by: Helm` |
//! | Kustomize | | `config.kubernetes.io/origin`, `app.kubernetes.io/managed-by: kustomize-…` |

use serde_json::Value;

use super::fields::owns;
use super::{Confidence, entries, text};

/// A tool that manages objects, or kubectl in somebody's hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    ArgoCd,
    ConfigSync,
    /// Its `kustomize-controller`, which corrects drift.
    Flux,
    /// Its `helm-controller`, which corrects drift only where it is told to.
    FluxHelm,
    Helm,
    Kubectl,
    Kustomize,
}

/// A sign of a tool on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) tool: Tool,
    pub(super) confidence: Confidence,
    pub(super) source: Option<String>,
    pub(super) evidence: String,
}

/// Where kubectl, and Argo CD by default, keep what they applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where Config Sync keeps which fields are declared.
const DECLARED_FIELDS: &str = "configsync.gke.io/declared-fields";

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ArgoCd => "Argo CD",
            Self::ConfigSync => "Config Sync",
            Self::Flux | Self::FluxHelm => "Flux",
            Self::Helm => "Helm",
            Self::Kubectl => "kubectl apply",
            Self::Kustomize => "Kustomize",
        }
    }

    /// The tool that sets fields under a name.
    pub(super) fn of_manager(manager: &str) -> Option<Self> {
        match manager {
            "configsync.gke.io" | "configsync" | "root-sync" | "root-reconciler"
            | "configmanagement" => Some(Self::ConfigSync),
            "helm-controller" => Some(Self::FluxHelm),
            "kustomize-controller" => Some(Self::Flux),
            "helm" => Some(Self::Helm),
            _ if manager.starts_with("argocd") => Some(Self::ArgoCd),
            _ if manager.starts_with("kubectl") => Some(Self::Kubectl),
            _ => None,
        }
    }

    /// How surely, and when, it puts back a field that it declares.
    pub(super) fn puts_back(self) -> (Confidence, &'static str) {
        match self {
            Self::ArgoCd => (
                Confidence::Likely,
                "within seconds if self-heal is on, else with the next sync",
            ),
            Self::ConfigSync => (Confidence::Certain, "within seconds: it corrects drift"),
            Self::Flux => (
                Confidence::Certain,
                "with its next reconciliation, minutes at most",
            ),
            // `spec.driftDetection.mode` of a HelmRelease is `disabled` by default.
            Self::FluxHelm => (
                Confidence::Possible,
                "with its next reconciliation if the HelmRelease has driftDetection enabled, else with its next upgrade",
            ),
            Self::Helm => (Confidence::Possible, "with the next upgrade of the release"),
            Self::Kubectl => (Confidence::Possible, "when somebody applies the file again"),
            Self::Kustomize => (
                Confidence::Possible,
                "when somebody applies the build again",
            ),
        }
    }
}

/// Managers that put nothing back: ourselves, and Kubernetes' own where they set what they compute.
pub(super) fn is_harmless(manager: &str) -> bool {
    manager.starts_with("rootshift")
        || matches!(
            manager,
            "kube-apiserver" | "kube-controller-manager" | "kube-scheduler" | "kubelet"
        )
}

/// Whether an entry of `managedFields` is a HorizontalPodAutoscaler's: it scales through the
/// subresource, under the name of the program that it runs in.
pub(super) fn is_autoscaler(entry: &Value) -> bool {
    entry["manager"] == "kube-controller-manager" && entry["subresource"] == "scale"
}

/// All marks on an object, in the order of the table.
pub(super) fn of(object: &Value) -> Vec<Mark> {
    let metadata = &object["metadata"];
    let get = |map: &str, key: &str| metadata[map][key].as_str().map(str::to_owned);
    let (label, annotation) = (
        |key: &str| get("labels", key),
        |key: &str| get("annotations", key),
    );
    let mut found = Vec::new();
    let mut mark = |tool, confidence, source: Option<String>, evidence: String| {
        found.push(Mark {
            tool,
            confidence,
            source,
            evidence,
        });
    };
    let certain = Confidence::Certain;
    let tracking = annotation("argocd.argoproj.io/tracking-id");
    if let Some(id) = &tracking {
        let application = id.split(':').next().unwrap_or(id);
        let source = Some(format!("application {application}"));
        mark(
            Tool::ArgoCd,
            certain,
            source,
            format!("annotation argocd.argoproj.io/tracking-id: {id}"),
        );
    }
    for (what, found) in [
        ("label", label("argocd.argoproj.io/instance")),
        ("annotation", annotation("argocd.argoproj.io/instance")),
    ] {
        if let Some(name) = found {
            let source = Some(format!("application {name}"));
            mark(
                Tool::ArgoCd,
                certain,
                source,
                format!("{what} argocd.argoproj.io/instance: {name}"),
            );
        }
    }
    let helm_release = annotation("meta.helm.sh/release-name");
    if let Some(name) = label("app.kubernetes.io/instance")
        && tracking.is_none()
        && helm_release.is_none()
        && label("helm.toolkit.fluxcd.io/name").is_none()
        && label("app.kubernetes.io/managed-by").as_deref() != Some("Helm")
    {
        // Argo CD's default mark before version 3, but a common label of charts too.
        let source = Some(format!("application {name}"));
        let evidence = format!("label app.kubernetes.io/instance: {name}");
        mark(Tool::ArgoCd, Confidence::Possible, source, evidence);
    }
    if let Some(managed) = annotation("configmanagement.gke.io/managed")
        && managed == "enabled"
    {
        let source = annotation("configmanagement.gke.io/source-path")
            .or_else(|| annotation("configsync.gke.io/source-path"));
        mark(
            Tool::ConfigSync,
            certain,
            source,
            "annotation configmanagement.gke.io/managed: enabled".to_owned(),
        );
    }
    for key in [
        "configsync.gke.io/manager",
        "configsync.gke.io/resource-id",
        "configsync.gke.io/git-context",
    ] {
        if let Some(value) = annotation(key) {
            mark(
                Tool::ConfigSync,
                certain,
                None,
                format!("annotation {key}: {value}"),
            );
        }
    }
    for (tool, kind, domain) in [
        (Tool::Flux, "Kustomization", "kustomize.toolkit.fluxcd.io"),
        (Tool::FluxHelm, "HelmRelease", "helm.toolkit.fluxcd.io"),
    ] {
        if let Some(name) = label(&format!("{domain}/name")) {
            let namespace = label(&format!("{domain}/namespace"));
            let full = namespace.map_or_else(|| name.clone(), |ns| format!("{ns}/{name}"));
            let source = Some(format!("{kind} {full}"));
            mark(
                tool,
                certain,
                source,
                format!("label {domain}/name: {name}"),
            );
        }
    }
    if let Some(name) = helm_release {
        let namespace = annotation("meta.helm.sh/release-namespace");
        let full = namespace.map_or_else(|| name.clone(), |ns| format!("{ns}/{name}"));
        let source = Some(format!("release {full}"));
        mark(
            Tool::Helm,
            certain,
            source,
            format!("annotation meta.helm.sh/release-name: {name}"),
        );
    }
    if let Some(by) = label("app.kubernetes.io/managed-by") {
        let evidence = format!("label app.kubernetes.io/managed-by: {by}");
        if by == "Helm" {
            let source = label("app.kubernetes.io/instance").map(|name| format!("release {name}"));
            mark(Tool::Helm, Confidence::Likely, source, evidence);
        } else if by.starts_with("kustomize") {
            mark(Tool::Kustomize, Confidence::Likely, None, evidence);
        }
    }
    if let Some(origin) = annotation("config.kubernetes.io/origin") {
        let source = Some(
            origin
                .replace('\n', ", ")
                .trim_end_matches([',', ' '])
                .to_owned(),
        );
        mark(
            Tool::Kustomize,
            certain,
            source,
            "annotation config.kubernetes.io/origin".to_owned(),
        );
    }
    found
}

/// Which fields a record on the object itself declares.
pub(super) type Declares = Box<dyn Fn(&[String]) -> bool>;

/// What is recorded on an object of fields that a tool declares: the tool, where it is recorded, the fields.
pub(super) fn declared(object: &Value) -> Vec<(Tool, String, Declares)> {
    let annotation = |key: &str| -> Option<Value> {
        let text = object["metadata"]["annotations"][key].as_str()?;
        serde_json::from_str(text).ok()
    };
    let mut found: Vec<(Tool, String, Declares)> = Vec::new();
    if let Some(applied) = annotation(LAST_APPLIED) {
        // The label app.kubernetes.io/instance alone is as often a chart's.
        let is_argo = of(object)
            .iter()
            .any(|m| m.tool == Tool::ArgoCd && m.confidence > Confidence::Possible)
            || entries(object)
                .iter()
                .any(|entry| Tool::of_manager(text(entry, "manager")) == Some(Tool::ArgoCd));
        let tool = if is_argo { Tool::ArgoCd } else { Tool::Kubectl };
        let declares = move |path: &[String]| {
            let mut at = &applied;
            path.iter().all(|part| {
                at = &at[part.as_str()];
                !at.is_null()
            })
        };
        found.push((
            tool,
            format!("annotation {LAST_APPLIED}"),
            Box::new(declares),
        ));
    }
    if let Some(set) = annotation(DECLARED_FIELDS) {
        let declares = move |path: &[String]| owns(&set, path);
        let what = format!("annotation {DECLARED_FIELDS}");
        found.push((Tool::ConfigSync, what, Box::new(declares)));
    }
    found
}
