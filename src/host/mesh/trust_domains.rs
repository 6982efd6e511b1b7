//! Which trust domains proxies accept.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::Mesh;
use crate::engine::kit::Reply;
use crate::mesh::gate;
use crate::mesh::gate::View;
use crate::mesh::matchers::Accepts;
use crate::mesh::survey::Proxy;
use crate::mesh::trust_domains;

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "trust_domains", words);
}

/// Trust domains.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// Which trust domains each proxy accepts, as the name of every workload of the mesh, when it is called and when it calls.
    ///
    /// - `domains`: those to ask of; empty: those that proxies show, and those that installed revisions give.
    ///
    /// Answers maps of `namespace`, `pod`, `accepts` (those of `domains`) and `unknown`: the reason why that cannot be told,
    /// or `()`.
    ///
    /// ```rhai
    /// for p in mesh::connect().accepted_trust_domains(["cluster.local", "elsewhere"]) {
    ///     assert(p.accepts == ["cluster.local"] && p.unknown == (), p);
    /// }
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn accepted_trust_domains(mesh: &mut Mesh, domains: Array) -> Reply<Array> {
        let domains = super::super::texts("domains", &domains)?;
        let view = mesh.view()?;
        let domains = super::asked(&view, domains);
        let proxies = view.survey.proxies.iter();
        Ok(proxies
            .map(|p| super::accepted(&view, p, &domains).into())
            .collect())
    }

    /// Check RS308: every proxy accepts these trust domains, as the name of every workload of the mesh.
    ///
    /// - `domains`: as for `accepted_trust_domains`.
    ///
    /// Throws `refused` with a line for each proxy that refuses one, or of which that is not known.
    ///
    /// ```rhai
    /// mesh::connect().check_trust_domains([]);
    /// let refusal = ();
    /// try { mesh::connect().check_trust_domains(["elsewhere"]); } catch (e) { refusal = e; }
    /// assert(refusal.code == "RS308", "nobody has heard of it");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn check_trust_domains(mesh: &mut Mesh, domains: Array) -> Reply<()> {
        let domains = super::super::texts("domains", &domains)?;
        let view = mesh.view()?;
        let domains = super::asked(&view, domains);
        let findings = gate::every_proxy_accepts(&view, &domains);
        mesh.ask(gate::TRUST_DOMAINS, &view, &findings)
    }
}

fn asked(view: &View, domains: Vec<String>) -> Vec<String> {
    if domains.is_empty() {
        trust_domains::of_mesh(view).into_iter().collect()
    } else {
        domains
    }
}

fn accepted(view: &View, proxy: &Proxy, domains: &[String]) -> Map {
    let mut accepts = Array::new();
    let mut unknown = Dynamic::UNIT;
    for domain in domains {
        match trust_domains::accepts(&view.survey, proxy, domain) {
            Accepts::Yes => accepts.push(domain.clone().into()),
            Accepts::No(_) => {}
            Accepts::Unknown(reason) => unknown = reason.into(),
        }
    }
    let pod = proxy.pod();
    Map::from([
        ("namespace".into(), pod.namespace.clone().into()),
        ("pod".into(), pod.name.clone().into()),
        ("accepts".into(), accepts.into()),
        ("unknown".into(), unknown),
    ])
}
