//! What has to be foreseen of other labels of a namespace: who would inject its pods under those that it is to have, or
//! had.

use std::collections::BTreeSet;

use rhai::plugin::*;
use rhai::{Array, ImmutableString, Map};

use super::{Mesh, refused, shape};
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::mesh::effect::Effect;
use crate::mesh::injection::{Injector, Labels};
use crate::mesh::read::Ask;
use crate::mesh::survey::Survey;
use crate::mesh::{forecast, gate, templates};

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "back", words);
}

/// Injection under other labels.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// The revisions that would inject the pods of a namespace if its labels were changed: those of the webhooks that
    /// would match the pods that are there, or, where there are none, a new pod without labels.
    ///
    /// - `namespace`: its name.
    /// - `labels`: what would change, a map of texts, or `()` to remove, as `cluster::label` takes it.
    ///
    /// Throws `script` if a label is neither a text nor `()`, `cluster` if there is no such namespace.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.injected_by("shop", #{ "istio-injection": (), "istio.io/rev": "default" }) == ["default"], "the same");
    /// assert(m.injected_by("shop", #{ "istio-injection": () }).is_empty(), "nobody");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn injected_by(mesh: &mut Mesh, namespace: &str, labels: Map) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        let survey = &view.survey;
        let after = super::changed(survey, namespace, labels)?;
        let templates = mesh.wait(templates::all(&mesh.cluster, Some(namespace)))?;
        let moved = forecast::namespace(survey, &templates, namespace, &after);
        let new = survey.injection.injector(namespace, &after, &Labels::new());
        let injectors = match moved.as_slice() {
            [] => vec![new],
            some => some.iter().map(|m| m.injector(survey)).collect(),
        };
        let mut revisions = BTreeSet::new();
        for injector in injectors {
            match injector {
                Injector::Nobody => {}
                Injector::Revision(revision) => _ = revisions.insert(revision),
                Injector::Several(all) => revisions.extend(all),
            }
        }
        Ok(revisions.into_iter().map(Dynamic::from).collect())
    }

    /// The workloads of a namespace that are not injected now and would be if its labels were changed: a label of the
    /// namespace speaks to all of its pods, also where some have asked for a proxy themselves and the others have not.
    /// `#{kind, namespace, name}` each; what declines (`sidecar.istio.io/inject: "false"`) is not among them.
    ///
    /// - `namespace`: its name.
    /// - `labels`: what would change, a map of texts, or `()` to remove, as `cluster::label` takes it.
    ///
    /// Throws `script` if a label is neither a text nor `()`, `cluster` if there is no such namespace.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// assert(m.would_join("shop", #{ "istio.io/rev": "default" }).is_empty(), "they are injected already");
    /// let joins = m.would_join("legacy", #{ "istio-injection": "enabled" }).map(|w| w.name);
    /// assert(joins == ["batch"], joins.to_string());
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn would_join(mesh: &mut Mesh, namespace: &str, labels: Map) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        let survey = &view.survey;
        let after = super::changed(survey, namespace, labels)?;
        let templates = mesh.wait(templates::all(&mesh.cluster, Some(namespace)))?;
        let moved = forecast::namespace(survey, &templates, namespace, &after);
        let joins =
            |m: &&forecast::Moved| !m.was_injected && m.injector(survey) != Injector::Nobody;
        let joining = moved.iter().filter(joins).map(|m| &m.workload);
        Ok(joining.map(|w| shape::workload(w).into()).collect())
    }

    /// Asks of a change of a namespace's labels, before anything else is done, what gate RS102 will ask when it is
    /// made: whether new pods come up with a proxy of an installed revision.
    ///
    /// - `namespace`: its name.
    /// - `labels`: what would change, a map of texts, or `()` to remove, as `cluster::label` takes it.
    ///
    /// Throws `refused` with the evidence, and what `injected_by` throws.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// m.foresee_injection("shop", #{ "istio-injection": (), "istio.io/rev": "default" });
    /// let refusal = ();
    /// try { m.foresee_injection("shop", #{ "istio-injection": () }); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS102", "they would start without a proxy");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn foresee_injection(mesh: &mut Mesh, namespace: &str, labels: Map) -> Reply<()> {
        let view = mesh.look(Ask::Nothing)?;
        let survey = &view.survey;
        let effect = Effect::NamespaceLabels {
            after: super::changed(survey, namespace, labels)?,
            namespace: namespace.to_owned(),
        };
        let mut findings = mesh.wait(gate::review(
            &mesh.cluster,
            mesh.world.clusters(),
            mesh.world.cas(),
            &effect,
            &mesh.options,
        ))?;
        findings.retain(|finding| finding.gate == gate::INJECTION);
        let settled = mesh.world.gatekeeper().settle(&findings);
        settled.map_err(|refusal| kit::fail(refused(&refusal)))
    }
}

fn changed(survey: &Survey, namespace: &str, labels: Map) -> Reply<Labels> {
    let Some(now) = survey.namespaces.get(namespace) else {
        let message = format!("there is no namespace `{namespace}`");
        return Err(kit::fail(Failure::new(FailureKind::Cluster, message)));
    };
    let mut after = now.clone();
    for (key, value) in labels {
        if value.is_unit() {
            after.remove(key.as_str());
        } else if let Some(text) = value.clone().try_cast::<ImmutableString>() {
            after.insert(key.to_string(), text.to_string());
        } else {
            let message = format!(
                "label `{key}` is a text or `()`, but is a {}",
                value.type_name()
            );
            return Err(kit::fail(Failure::script(message)));
        }
    }
    Ok(after)
}
