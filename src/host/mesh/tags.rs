//! Revision tags: which there are, who asks for a proxy by them, and whether pods come up when one has been pointed
//! elsewhere.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{Mesh, refused};
use crate::engine::kit::{self, Reply};
use crate::mesh::injection::Labels;
use crate::mesh::read::Ask;
use crate::mesh::survey::Survey;
use crate::mesh::templates::Template;
use crate::mesh::{forecast, gate, templates};

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "tags", words);
}

/// Tags.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// The revision tags (`istioctl tag list`), by name: `#{name, revision, namespaces, pods_of}` each.
    ///
    /// `revision` is what it leads to, `namespaces` are those that are labelled with it (for the tag `default` also those
    /// with `istio-injection=enabled`), and `pods_of` those of which only pods ask for it, by their own label.
    ///
    /// ```rhai
    /// assert(mesh::connect().tags().is_empty(), "here namespaces ask for the revision itself");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn tags(mesh: &mut Mesh) -> Reply<Array> {
        let view = mesh.look(Ask::Nothing)?;
        let survey = &view.survey;
        let tags = survey.injection.tags();
        if tags.is_empty() {
            return Ok(Array::new());
        }
        let templates = mesh.wait(templates::all(&mesh.cluster, None))?;
        let tags = tags.into_iter();
        Ok(tags
            .map(|(tag, revision)| super::tag(survey, &templates, tag, revision).into())
            .collect())
    }

    /// Asks gate RS102 of every workload of these namespaces, by a dry run of a pod of each, as labels and webhooks are
    /// now: whether it comes up with a proxy, and as its revision makes it.
    ///
    /// - `namespaces`: their names.
    ///
    /// Throws `refused` with a line for each workload whose pods would not.
    ///
    /// ```rhai
    /// mesh::connect().rehearse(["pay", "shop"]);
    /// assert(true, "new pods come up");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn rehearse(mesh: &mut Mesh, namespaces: Array) -> Reply<()> {
        let names = super::super::texts("namespaces", &namespaces)?;
        let mut view = mesh.read(Ask::Everything)?;
        let findings = mesh.wait(async {
            view.ask_injectors(&mesh.cluster).await;
            gate::rehearsed(&mesh.cluster, &view, &names).await
        })?;
        let settled = mesh.world.gatekeeper().settle(&findings);
        settled.map_err(|refusal| kit::fail(super::refused(&refusal)))
    }
}

fn tag(survey: &Survey, templates: &[Template], tag: &str, revision: &str) -> Map {
    let none = Labels::new();
    let asks = |namespace: &str, of: &Labels, pod: &Labels| {
        survey.injection.is_asked_by(tag, namespace, of, pod)
    };
    let (mut namespaces, mut pods_of) = (Array::new(), Array::new());
    for (name, labels) in &survey.namespaces {
        let by_pods = || {
            let all = forecast::namespace(survey, templates, name, labels);
            all.iter().any(|m| asks(name, labels, &m.labels()))
        };
        if asks(name, labels, &none) {
            namespaces.push(name.clone().into());
        } else if by_pods() {
            pods_of.push(name.clone().into());
        }
    }
    [
        ("name".into(), tag.to_owned().into()),
        ("revision".into(), revision.to_owned().into()),
        ("namespaces".into(), namespaces.into()),
        ("pods_of".into(), pods_of.into()),
    ]
    .into_iter()
    .collect()
}
