//! Which values stop matching, for whom, and what keeps each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::cited::{self, Form};
use super::objects::{self, Named, Objects};
use super::pattern::{self, Paths, Rule};
use super::{Change, Impact, Keep, quoted};
use crate::cluster::Cluster;
use crate::mesh::MeshError;
use crate::mesh::gate::View;
use crate::mesh::injection::Injection;
use crate::mesh::revision::{self, Revision};

/// How one istiod reads what names peers.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    revision: String,
    /// Its trust domains, its own first.
    domains: Vec<String>,
    /// Whether proxies are of it already.
    in_use: bool,
}

impl Reader {
    fn of(revision: &Revision, in_use: bool) -> Self {
        let own = std::iter::once(&revision.trust_domain);
        Self {
            revision: revision.name.clone(),
            domains: own.chain(&revision.aliases).cloned().collect(),
            in_use,
        }
    }
}

/// The revisions whose proxies judge peers while a change is under way.
pub(super) fn readers(view: &View, change: &Change) -> Vec<Reader> {
    let in_use = view.survey.revisions_in_use();
    let new = change
        .revisions
        .iter()
        .filter(|name| !in_use.contains(name));
    let new = new.filter_map(|name| Some(Reader::of(view.revision(name)?, false)));
    let now = in_use.iter().map(|name| match view.revision(name) {
        Some(revision) => Reader::of(revision, true),
        // Its proxies go on with what they were told, which nothing changes any more.
        None => Reader {
            revision: name.clone(),
            domains: change.from.iter().cloned().collect(),
            in_use: true,
        },
    });
    now.chain(new).collect()
}

/// Those of another cluster: all that it has.
pub(super) async fn readers_of(cluster: &Cluster) -> Result<Vec<Reader>, MeshError> {
    let injection = Injection::read(cluster).await?;
    let revisions = revision::read_all(cluster, &injection).await?;
    Ok(revisions.iter().map(|r| Reader::of(r, true)).collect())
}

/// Trust domains whose peers a value does not match any more, each with the revisions that read it so.
type Lost = BTreeMap<String, BTreeSet<String>>;

/// Judges the objects of one cluster.
pub(super) struct Judge<'a> {
    view: &'a View,
    change: &'a Change,
    readers: &'a [Reader],
    objects: &'a Objects,
}

/// A list of values, as it stands.
struct List<'a> {
    rule: Rule,
    values: &'a [String],
    beside: &'a [String],
    negative: bool,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        view: &'a View,
        change: &'a Change,
        readers: &'a [Reader],
        objects: &'a Objects,
    ) -> Self {
        Self {
            view,
            change,
            readers,
            objects,
        }
    }

    /// Everything that stops matching.
    pub(super) fn all(&self) -> Vec<Impact> {
        let objects = self.objects.all.iter();
        objects.flat_map(|named| self.object(named)).collect()
    }

    fn object(&self, named: &Named) -> Vec<Impact> {
        let object = named.object.value();
        let places = cited::of(named.object.kind(), object);
        let texts: Vec<String> = places
            .iter()
            .filter_map(|place| match &place.form {
                Form::Text(text) => Some(pattern::plain(text)),
                Form::List { .. } => None,
            })
            .collect();
        let mut found = Vec::new();
        for place in &places {
            match &place.form {
                Form::Text(text) => {
                    let stops = self.text_is_lost(text, &texts);
                    found.extend(stops.then(|| self.text(named, &place.pointer, text)));
                }
                Form::List {
                    rule,
                    values,
                    beside,
                    negative,
                } => {
                    let list = List {
                        rule: *rule,
                        values,
                        beside,
                        negative: *negative,
                    };
                    found.extend(self.list(named, &place.pointer, &list));
                }
            }
        }
        found
    }

    fn list(&self, named: &Named, pointer: &str, list: &List) -> Vec<Impact> {
        let values = list.values.iter().enumerate();
        let inside = values.filter(|(_, value)| !self.is_outside(named, list.rule, value));
        inside
            .filter_map(|(at, value)| {
                let missing = self.lost(list, value, self.readers, &[]);
                (!missing.is_empty()).then(|| Impact {
                    effect: self.effect(named, list, &missing),
                    keep: self.keep(named, pointer, list, value, &missing),
                    ..self.impact(named, &format!("{pointer}/{at}"), value)
                })
            })
            .collect()
    }

    fn impact(&self, named: &Named, pointer: &str, value: &str) -> Impact {
        let namespace = named.object.namespace().unwrap_or_default();
        Impact {
            kind: named.object.kind().to_owned(),
            namespace: format!("{namespace}{}", self.objects.at),
            name: named.object.name().to_owned(),
            field: cited::field(pointer),
            value: value.to_owned(),
            effect: String::new(),
            keep: Keep::ByHand,
        }
    }

    /// A server that is no part of the mesh keeps its name; one that is called like an account of this mesh may be part.
    fn is_outside(&self, named: &Named, rule: Rule, value: &str) -> bool {
        let object = named.object.value();
        let outside = match named.object.kind() {
            "ServiceEntry" => objects::is_external(object),
            "DestinationRule" => object["spec"]["host"]
                .as_str()
                .is_some_and(|host| self.objects.is_outside(host)),
            _ => false,
        };
        let of_mesh = |namespace: &str| self.view.survey.namespaces.contains_key(namespace);
        let certificate = matches!(rule, Rule::Exact | Rule::Aliases);
        outside && certificate && !pattern::namespace(value).is_some_and(of_mesh)
    }

    /// Who is matched now, and is not under the new trust domain; or, where the new proxies judge, under the old one.
    fn lost(&self, list: &List, value: &str, readers: &[Reader], more: &[String]) -> Lost {
        let change = self.change;
        let alone = [value.to_owned()];
        let now: Vec<Paths> = self
            .readers
            .iter()
            .filter(|reader| reader.in_use)
            .flat_map(|reader| {
                let of = |from: &String| pattern::paths(list.rule, &alone, &reader.domains, from);
                change.from.iter().flat_map(of)
            })
            .collect();
        let values = [list.values, list.beside, more].concat();
        let mut missing = Lost::new();
        for reader in readers {
            let stay = change.from.iter().filter(|_| !reader.in_use);
            for domain in stay.chain([&change.to]) {
                let then = pattern::paths(list.rule, &values, &reader.domains, domain);
                let kept = |paths: &Paths| then.iter().any(|other| other.covers(paths));
                if !now.iter().all(kept) {
                    let revisions = missing.entry(domain.clone()).or_default();
                    revisions.insert(reader.revision.clone());
                }
            }
        }
        missing
    }

    fn effect(&self, named: &Named, list: &List, missing: &Lost) -> String {
        let domains: BTreeSet<String> = missing.keys().cloned().collect();
        let from = quoted(&domains);
        let revisions: BTreeSet<String> = missing.values().flatten().cloned().collect();
        let all = self.readers.iter().all(|r| revisions.contains(&r.revision));
        let at = if all || list.rule == Rule::Exact {
            String::new()
        } else {
            format!(" (by proxies of revision {})", quoted(&revisions))
        };
        let object = named.object.value();
        let what = match named.object.kind() {
            "AuthorizationPolicy" => policy(&object["spec"]["action"], list.negative, &from),
            "Gateway" => format!("the gateway refuses clients of {from}"),
            _ => format!("clients refuse servers of {from}"),
        };
        format!("{what}{at}")
    }

    fn keep(&self, named: &Named, pointer: &str, list: &List, value: &str, missing: &Lost) -> Keep {
        let change = self.change;
        let patch = || {
            let new = pattern::renamed(list.rule, value, &change.from, &change.to)?;
            let left = self.lost(list, value, self.readers, std::slice::from_ref(&new));
            left.is_empty()
                .then(|| Keep::Patch(command(named, &format!("{pointer}/-"), &new)))
        };
        let aliases = || {
            let mut readers = self.readers.to_vec();
            for reader in &mut readers {
                let lacks = missing
                    .iter()
                    .filter(|(_, by)| by.contains(&reader.revision));
                reader
                    .domains
                    .extend(lacks.map(|(domain, _)| domain.clone()));
            }
            let left = self.lost(list, value, &readers, &[]);
            left.is_empty().then(|| Keep::Aliases(missing.clone()))
        };
        let keep = match list.rule {
            Rule::Principals | Rule::Domains => aliases().or_else(patch),
            Rule::Exact | Rule::Aliases => patch(),
        };
        keep.unwrap_or(Keep::ByHand)
    }

    /// A text that names the old trust domain, and nowhere beside it the new one.
    fn text_is_lost(&self, text: &str, beside: &[String]) -> bool {
        let (change, plain) = (self.change, pattern::plain(text));
        change.from.iter().any(|from| {
            let twin = plain.replace(from.as_str(), &change.to);
            pattern::names(text, from)
                && !pattern::names(text, &change.to)
                && !beside.contains(&twin)
        })
    }

    fn text(&self, named: &Named, pointer: &str, text: &str) -> Impact {
        let (from, to) = (quoted(&self.change.from), &self.change.to);
        let line = text.lines().find(|line| {
            let mut from = self.change.from.iter();
            from.any(|from| pattern::names(line, from))
        });
        Impact {
            effect: format!("what it says of peers of {from} it does not say of those of `{to}`"),
            ..self.impact(named, pointer, line.unwrap_or(text).trim())
        }
    }
}

/// What it means when a policy does not match.
fn policy(action: &Value, negative: bool, from: &str) -> String {
    match (action.as_str().unwrap_or("ALLOW"), negative) {
        ("DENY", false) => format!("requests from {from} are denied no longer"),
        ("DENY", true) => format!("requests from {from} are denied that are excepted now"),
        ("AUDIT", false) => format!("requests from {from} are audited no longer"),
        ("AUDIT", true) => format!("requests from {from} are audited that are excepted now"),
        ("CUSTOM", false) => {
            format!("requests from {from} pass without the external authorizer's verdict")
        }
        ("CUSTOM", true) => {
            format!("the external authorizer judges requests from {from} that are excepted now")
        }
        (_, false) => format!("requests from {from} are refused that are allowed now"),
        (_, true) => format!("requests from {from} are allowed that are excepted now"),
    }
}

/// The command that adds a value.
fn command(named: &Named, pointer: &str, value: &str) -> String {
    let patch = json!([{"op": "add", "path": pointer, "value": value}]);
    format!(
        "kubectl patch {} -n {} {} --type=json -p '{patch}'",
        named.resource,
        named.object.namespace().unwrap_or_default(),
        named.object.name(),
    )
}
