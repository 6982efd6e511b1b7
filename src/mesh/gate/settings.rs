//! Gates before the settings of a control plane change: what live proxies are told at once, and what new ones will be.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Finding, HANDSHAKES, View, judged, made};
use crate::cluster::Cluster;
use crate::mesh::forecast::{self, Moved};
use crate::mesh::injection::{Injector, Labels};
use crate::mesh::matrix::{self, Matrix};
use crate::mesh::revision::Revision;
use crate::mesh::{MeshError, templates};

/// Judges another mesh configuration, other values of the injector, or another environment of istiod.
///
/// A pair that cannot talk today is no reason against a change that leaves it so: that may be what mends it.
///
/// # Errors
/// When templates cannot be listed. What is not understood is a finding.
pub(super) async fn change(
    cluster: &Cluster,
    view: &View,
    name: &str,
    change: impl Fn(&Revision) -> Result<Revision, MeshError>,
) -> Result<Vec<Finding>, MeshError> {
    let Some(old) = view.revision(name) else {
        return Ok(Vec::new());
    };
    let new = match change(old) {
        Ok(new) => new,
        Err(error) => {
            return Ok(vec![Finding::new(
                HANDSHAKES,
                vec![format!(
                    "what proxies of revision `{name}` would be told is not known: {error}"
                )],
                "write settings that istiod can read",
            )]);
        }
    };
    if new.is_alike(old) {
        return Ok(Vec::new());
    }
    let survey = &view.survey;
    let live = survey
        .proxies
        .iter()
        // Those of this cluster come first in both.
        .zip(matrix::members(survey))
        .filter(|(proxy, _)| proxy.pod().revision.as_deref().unwrap_or("default") == name);
    let mut next: Vec<_> = live
        .map(|(_, member)| forecast::told(member, old, &new, &view.cas))
        .collect();
    let all = templates::all(cluster, None).await?;
    let moved = survey
        .namespaces
        .iter()
        .flat_map(|(namespace, labels)| forecast::namespace(survey, &all, namespace, labels));
    let wanted = Injector::Revision(name.to_owned());
    let to_come = moved.filter(|m| m.injector(survey) == wanted);
    next.extend(to_come.map(|m| forecast::member(survey, &new, &view.cas, &m)));
    if next.is_empty() {
        return Ok(Vec::new());
    }
    let now = Timestamp::now();
    let today = failing_today(view, now);
    let matrix = Matrix::next(survey, next, &view.cas, now);
    let mut findings: Vec<Finding> = judged(survey, false);
    findings.extend(made::handshakes(&matrix, |f| {
        !today.contains(&(f.client.clone(), f.server.clone()))
    }));
    Ok(findings)
}

fn failing_today(view: &View, now: Timestamp) -> BTreeSet<(String, String)> {
    let today = Matrix::now(&view.survey, &view.cas, now).failing;
    today.into_iter().map(|f| (f.client, f.server)).collect()
}

/// Judges a webhook configuration of injectors, or of a tag: the pods that another revision, or nobody, would inject.
///
/// # Errors
/// When templates cannot be listed.
pub(super) async fn injectors(
    cluster: &Cluster,
    others: &[Cluster],
    mut view: View,
    configuration: &str,
    after: Option<&Value>,
) -> Result<Vec<Finding>, MeshError> {
    let all = templates::all(cluster, None).await?;
    let before = view.survey.clone();
    view.survey.injection = before.injection.with(configuration, after);
    let none = Labels::new();
    let moved: Vec<Moved> = before
        .namespaces
        .iter()
        .flat_map(|(namespace, labels)| forecast::namespace(&before, &all, namespace, labels))
        .filter(|m| m.injector(&before) != m.injector(&view.survey))
        .collect();
    // A namespace that is empty now is meant to have its pods injected all the same.
    let lost = before.namespaces.iter().filter(|(name, labels)| {
        let was = before.injection.injector(name, labels, &none);
        let is = view.survey.injection.injector(name, labels, &none);
        was != Injector::Nobody && was != is && !matches!(is, Injector::Revision(_))
    });
    let lost: Vec<String> = lost
        .map(|(name, _)| format!("namespace {name} would have no injector, or several"))
        .collect();
    let mut findings = Vec::new();
    if moved.is_empty() && lost.is_empty() {
        return Ok(findings);
    }
    if !lost.is_empty() {
        findings.push(Finding::new(
            super::INJECTION,
            lost,
            "move these namespaces to another revision first",
        ));
    }
    findings.extend(made::judge(&view, &moved, false));
    findings.extend(made::identity(cluster, others, &view, &before, &moved).await?);
    Ok(findings)
}
