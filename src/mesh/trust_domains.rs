//! Which trust domains each proxy accepts: of its clients by its listeners, of its servers by its clusters.
//!
//! What Google's `migrate_ca check-trustdomain` asks by the text `id.goog` in the clusters, and answers with a yes
//! always (its other branches cannot be reached), asked of every account of the mesh.

use std::collections::BTreeSet;

use super::gate::View;
use super::matchers::Accepts;
use super::survey::{Proxy, Survey};
use crate::pki::SpiffeId;

/// The trust domains in use or about to be: those that proxies show, and those that installed revisions give.
pub fn of_mesh(view: &View) -> BTreeSet<String> {
    let shown = identities(&view.survey).map(|id| id.trust_domain.clone());
    let given = view.revisions.iter().map(|r| r.trust_domain.clone());
    shown.chain(given).collect()
}

/// Whether a proxy accepts every workload that has a proxy, as its client and as its server, under this trust domain.
/// Of several that it does not accept, or of which that is not known, one is named.
pub fn accepts(survey: &Survey, proxy: &Proxy, domain: &str) -> Accepts {
    let matchers = match &proxy.reading.matchers {
        Ok(matchers) => matchers,
        Err(reason) => return Accepts::Unknown(reason.clone()),
    };
    let accounts: BTreeSet<(&str, &str)> = identities(survey)
        .map(|id| (id.namespace.as_str(), id.service_account.as_str()))
        .collect();
    let mut unknown = None;
    for (namespace, account) in accounts {
        let peer = SpiffeId::new(domain, namespace, account);
        for (side, answer) in [
            ("as its client", matchers.inbound.accepts(&peer)),
            ("as its server", matchers.outbound.accepts(&peer)),
        ] {
            match answer {
                Accepts::Yes => {}
                Accepts::No(accepted) => {
                    return Accepts::No(format!("{peer} {side}, where it accepts {accepted}"));
                }
                Accepts::Unknown(reason) => unknown = Some(reason),
            }
        }
    }
    unknown.map_or(Accepts::Yes, Accepts::Unknown)
}

fn identities(survey: &Survey) -> impl Iterator<Item = &SpiffeId> {
    survey
        .all()
        .filter_map(|proxy| proxy.verdict.identity.as_ref().ok())
}
