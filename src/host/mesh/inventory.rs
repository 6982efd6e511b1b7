//! The whole mesh in one answer, of one moment: proxies and how each is moved, counts, exceptions.

use std::collections::BTreeMap;

use rhai::plugin::*;
use rhai::{Array, Map};
use serde::Deserialize;

use super::super::time;
use super::{Mesh, shape};
use crate::engine::kit::{self, Reply};
use crate::mesh::exceptions::{self, Exception, Held};
use crate::mesh::gate::View;
use crate::mesh::injection::{Injector, Labels};
use crate::mesh::inventory::{self, Owner};
use crate::mesh::matrix::{Matrix, Talk};
use crate::mesh::pods::Workload;
use crate::mesh::root_users;
use crate::mesh::survey::Proxy;

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "inventory", words);
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Options {
    foresee: bool,
    moves: bool,
    proxies: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            foresee: false,
            moves: false,
            proxies: true,
        }
    }
}

/// The inventory.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// Every proxy of the mesh, whatever its owner, with counts and with what is not as it should be, all of
    /// one moment.
    ///
    /// Answers `#{proxies, account, counts, exceptions, pairs, namespaces, revisions, roots, expires, behind,
    /// made_anew}`. `proxies`: as `m.proxies()`, and machines (`WorkloadEntry`) of which there is a dump (`--dump`),
    /// each with `owner` (the topmost controller) and `moves` (how a migration gives it a new proxy: `rollout restart`,
    /// `evict one by one (OnDelete)`, `made anew by its CronJob …`, `by hand: …`, `gateway: beside, then in place`, `held: …`). `account`: `#{checked, unknown,
    /// skipped, outside}`, numbers of proxies that were judged and of those and pods that could not be, pods
    /// skipped by reason, and the workloads without a proxy. `counts`: proxies by `revisions`, `signers`,
    /// `trust_domains`, `roots`, `expiry` and `kinds`. `exceptions`: `#{kind, severity, title, count, items,
    /// next}` each, the worst first, `items` at most 1000 of `count`; `severity` is `unsafe`, `unknown`, `warning` or `note`. `pairs`: `#{judged,
    /// failing, unknown}`. `namespaces` and `revisions`: as the words of these names. `roots`: `#{name, fingerprint,
    /// proxies, needed, expires}` each. `expires`: `#{leaf, intermediate, root}`, the first of each to end, as
    /// `#{name, at}` or `()`. `behind`: workloads that are not of the revision that their namespace asks for,
    /// `#{workload, asked, revisions}` each. `made_anew`: `()`, see the options.
    ///
    /// ```rhai
    /// let all = mesh::connect().inventory();
    /// assert(all.account.checked == all.proxies.len() && all.account.unknown == 0, all.account);
    /// assert(all.proxies.find(|p| p.workload.name == "web").moves == "rollout restart", "a Deployment");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn inventory(mesh: &mut Mesh) -> Reply<Map> {
        super::take(
            mesh,
            &super::Options {
                moves: true,
                ..super::Options::default()
            },
        )
    }

    /// As `inventory()`, with options.
    ///
    /// - `options`: `moves`: whether `owner` and `moves` are wanted, which takes the right to list workloads
    ///   (default `false`); `proxies`: whether `proxies` is to hold them (default `true`); `foresee`: whether `made_anew` is to hold what would fail if pods were made anew
    ///   now, as the labels are, a line each (default `false`).
    ///
    /// Answers as `inventory()`. Throws `script` for an unknown option.
    ///
    /// ```rhai
    /// let all = mesh::connect().inventory(#{ foresee: true });
    /// assert(all.made_anew.is_empty() && all.exceptions.is_empty(), all.exceptions);
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile, name = "inventory")]
    pub fn inventory_with(mesh: &mut Mesh, options: Map) -> Reply<Map> {
        let options: super::Options =
            kit::options("mesh::inventory", options, &["foresee", "moves", "proxies"])?;
        super::take(mesh, &options)
    }
}

fn take(mesh: &Mesh, options: &Options) -> Reply<Map> {
    let view = mesh.view()?;
    let owners = if options.moves {
        mesh.wait(inventory::owners(&mesh.cluster, &view.survey))?
    } else {
        BTreeMap::new()
    };
    let matrix = Matrix::now(&view.survey, &view.cas, view.survey.taken_at);
    let unknown = matrix
        .failing
        .iter()
        .filter(|f| matches!(f.talk, Talk::Unknown(_)))
        .count();
    let made_anew = if options.foresee {
        let templates = mesh.wait(crate::mesh::templates::all(&mesh.cluster, None))?;
        list(
            inventory::if_made_anew(&view, &templates, &matrix)
                .into_iter()
                .take(exceptions::MOST),
        )
    } else {
        Dynamic::UNIT
    };
    let proxies: Array = view
        .survey
        .here()
        .filter(|_| options.proxies)
        .map(|p| proxy(p, &view, &owners).into())
        .collect();
    let ahead = mesh.wait(crate::mesh::identity::ahead(&mesh.cluster, &view))?;
    let users = if root_users::are_next(&view) {
        mesh.wait(root_users::find(&mesh.cluster, &view))?.lines()
    } else {
        Vec::new()
    };
    let found = exceptions::of(&view, &matrix, &ahead, &users);
    let revisions: Array = view
        .revisions
        .iter()
        .map(|r| shape::revision(r, &view.cas).into())
        .collect();
    let roots = exceptions::trusted_roots(&view);
    let behind: Array = exceptions::behind(&view)
        .into_iter()
        .map(|(workload, (asked, are))| {
            let are = are.into_iter().map(|r| r.trim_matches('`').to_owned());
            map([
                ("workload", shape::workload(&workload).into()),
                ("asked", asked.into()),
                ("revisions", list(are)),
            ])
            .into()
        })
        .collect();
    let expires = map([
        ("leaf", first_leaf(&view)),
        (
            "intermediate",
            first(exceptions::intermediates(&view).values()),
        ),
        ("root", first(roots.values().filter(|r| r.needed))),
    ]);
    Ok(map([
        ("proxies", proxies.into()),
        ("account", account(&view).into()),
        ("counts", counts(&view).into()),
        (
            "exceptions",
            found.iter().map(exception).collect::<Array>().into(),
        ),
        (
            "pairs",
            map([
                ("judged", number(matrix.pairs)),
                ("failing", number(matrix.failing.len() - unknown)),
                ("unknown", number(unknown)),
            ])
            .into(),
        ),
        ("namespaces", namespaces(&view).into()),
        ("revisions", revisions.into()),
        ("roots", roots.values().map(held).collect::<Array>().into()),
        ("expires", expires.into()),
        ("behind", behind.into()),
        ("made_anew", made_anew),
    ]))
}

fn proxy(proxy: &Proxy, view: &View, owners: &BTreeMap<Workload, Owner>) -> Map {
    let mut map = shape::proxy(proxy, &view.cas, view.survey.taken_at);
    let owner = owners.get(&proxy.pod().workload);
    let text = |value: Option<String>| value.map_or(Dynamic::UNIT, Dynamic::from);
    map.insert("owner".into(), text(owner.map(|o| o.name.clone())));
    map.insert("moves".into(), text(owner.map(|o| o.moves.to_string())));
    map
}

fn account(view: &View) -> Map {
    let survey = &view.survey;
    let unknown = survey
        .here()
        .filter(|p| p.verdict.unknown().is_some())
        .count();
    let mut outside: Vec<String> = survey
        .outside
        .iter()
        .map(|o| o.workload.to_string())
        .collect();
    outside.sort();
    outside.dedup();
    map([
        ("checked", number(survey.here().count() - unknown)),
        ("unknown", number(unknown + survey.unjudged.len())),
        ("skipped", tally(inventory::skipped(survey))),
        ("outside", list(outside)),
    ])
}

fn counts(view: &View) -> Map {
    let mut by: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for kind in [
        "revisions",
        "signers",
        "trust_domains",
        "roots",
        "expiry",
        "kinds",
    ] {
        by.insert(kind, BTreeMap::new());
    }
    let mut add = |kind: &'static str, value: String| {
        *by.entry(kind).or_default().entry(value).or_default() += 1;
    };
    for proxy in view.survey.here() {
        let (pod, verdict) = (proxy.pod(), &proxy.verdict);
        add(
            "revisions",
            pod.revision.clone().unwrap_or_else(|| "default".into()),
        );
        add("kinds", pod.kind.as_str().to_owned());
        add("signers", crate::mesh::matrix::signer_name(&verdict.signer));
        let domain = verdict.identity.as_ref().map(|id| id.trust_domain.clone());
        add(
            "trust_domains",
            domain.unwrap_or_else(|_| "unknown".to_owned()),
        );
        let roots = match &verdict.roots {
            Err(_) => "unknown".to_owned(),
            Ok(roots) => {
                let mut names: Vec<&str> = roots.iter().map(|(_, name)| name.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                names.join(" ")
            }
        };
        add("roots", roots);
        add(
            "expiry",
            verdict.expiry.map_or("unknown", |e| e.as_str()).to_owned(),
        );
    }
    by.into_iter()
        .map(|(kind, counts)| (kind.into(), tally(counts)))
        .collect()
}

fn exception(exception: &Exception) -> Dynamic {
    map([
        ("kind", exception.kind.into()),
        ("severity", exception.severity.as_str().into()),
        ("title", exception.title.into()),
        ("count", number(exception.count)),
        ("items", list(exception.items.iter().cloned())),
        ("next", exception.next.clone().into()),
    ])
    .into()
}

fn namespaces(view: &View) -> Array {
    let none = Labels::new();
    let names = view.survey.meshed_namespaces().into_iter();
    names
        .map(|name| {
            let labels = view.survey.namespaces.get(&name).unwrap_or(&none);
            let injector = match view.survey.injection.injector(&name, labels, &none) {
                Injector::Revision(revision) => Dynamic::from(revision),
                Injector::Nobody | Injector::Several(_) => Dynamic::UNIT,
            };
            shape::namespace(&name, injector, view.survey.in_namespace(&name)).into()
        })
        .collect()
}

fn held(held: &Held) -> Dynamic {
    map([
        ("name", held.name.clone().into()),
        ("fingerprint", held.cert.sha256().to_string().into()),
        ("proxies", number(held.proxies)),
        ("needed", held.needed.into()),
        ("expires", time::text(held.cert.not_after()).into()),
    ])
    .into()
}

/// The first of these to end.
fn first<'a>(of: impl Iterator<Item = &'a Held>) -> Dynamic {
    of.min_by_key(|held| held.cert.not_after())
        .map_or(Dynamic::UNIT, |held| end(&held.name, held.cert.not_after()))
}

fn first_leaf(view: &View) -> Dynamic {
    view.survey
        .proxies
        .iter()
        .filter_map(|p| Some((p.verdict.not_after?, p.pod())))
        .min_by_key(|(end, _)| *end)
        .map_or(Dynamic::UNIT, |(at, pod)| {
            end(&format!("{}.{}", pod.name, pod.namespace), at)
        })
}

fn end(name: &str, at: jiff::Timestamp) -> Dynamic {
    map([("name", name.into()), ("at", time::text(at).into())]).into()
}

fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Map {
    entries
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect()
}

fn tally(counts: BTreeMap<String, usize>) -> Dynamic {
    counts
        .into_iter()
        .map(|(name, count)| (name.into(), number(count)))
        .collect::<Map>()
        .into()
}

fn number(count: usize) -> Dynamic {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn list(items: impl IntoIterator<Item = String>) -> Dynamic {
    items
        .into_iter()
        .map(Dynamic::from)
        .collect::<Array>()
        .into()
}
