//! Verdicts as plain maps, for scripts and for the report.

use jiff::Timestamp;
use rhai::{Array, Dynamic, Map};

use crate::mesh::ca;
use crate::mesh::matrix::{Matrix, Talk, signer_name};
use crate::mesh::pods::Workload;
use crate::mesh::read::Source;
use crate::mesh::revision::Revision;
use crate::mesh::survey::{Proxy, Survey, Unjudged};
use crate::pki::NamedCa;

pub(super) fn proxy(proxy: &Proxy, cas: &[NamedCa], now: Timestamp) -> Map {
    let (pod, verdict) = (proxy.pod(), &proxy.verdict);
    let trusted = cas
        .iter()
        .filter(|ca| verdict.trusts(&ca.name))
        .map(|ca| ca.name.clone());
    let others = verdict.roots.iter().flatten().filter(|(fingerprint, _)| {
        !cas.iter()
            .any(|ca| ca.roots.certs().any(|c| c.sha256() == *fingerprint))
    });
    let mut map = Map::new();
    map.insert("namespace".into(), pod.namespace.clone().into());
    map.insert("pod".into(), pod.name.clone().into());
    map.insert("workload".into(), workload(&pod.workload).into());
    map.insert("kind".into(), pod.kind.as_str().into());
    map.insert(
        "revision".into(),
        pod.revision.clone().map_or(Dynamic::UNIT, Dynamic::from),
    );
    map.insert("ready".into(), pod.ready.into());
    map.insert("trusts".into(), list(trusted));
    map.insert(
        "other_roots".into(),
        list(others.map(|(fingerprint, _)| fingerprint.to_string())),
    );
    map.insert("signer".into(), signer_name(&verdict.signer).into());
    map.insert(
        "trust_domain".into(),
        verdict
            .identity
            .as_ref()
            .map_or(Dynamic::UNIT, |id| id.trust_domain.clone().into()),
    );
    map.insert("started".into(), time(pod.started));
    map.insert("issued".into(), time(verdict.not_before));
    map.insert("expires".into(), time(verdict.not_after));
    map.insert(
        "expiry".into(),
        verdict.expiry.map_or(Dynamic::UNIT, |e| e.as_str().into()),
    );
    map.insert(
        "dump".into(),
        match &proxy.reading.source {
            Source::Dump(taken) => taken.age(now).into(),
            Source::Itself | Source::Nobody => Dynamic::UNIT,
        },
    );
    map.insert(
        "unknown".into(),
        verdict.unknown().map_or(Dynamic::UNIT, Dynamic::from),
    );
    map
}

pub(super) fn time(time: Option<Timestamp>) -> Dynamic {
    time.map_or(Dynamic::UNIT, |t| super::super::time::text(t).into())
}

pub(super) fn unjudged(pod: &Unjudged) -> Map {
    [
        ("namespace".into(), pod.namespace.clone().into()),
        ("pod".into(), pod.pod.clone().into()),
        ("reason".into(), pod.reason.clone().into()),
    ]
    .into_iter()
    .collect()
}

pub(super) fn namespace<'a>(
    name: &str,
    injector: Dynamic,
    proxies: impl Iterator<Item = &'a Proxy>,
) -> Map {
    let mut revisions: Vec<String> = proxies
        .map(|p| p.pod().revision.clone().unwrap_or_else(|| "default".into()))
        .collect();
    revisions.sort();
    revisions.dedup();
    [
        ("name".into(), name.into()),
        ("revision".into(), injector),
        ("revisions".into(), list(revisions.into_iter())),
    ]
    .into_iter()
    .collect()
}

pub(super) fn revision(revision: &Revision, cas: &[NamedCa]) -> Map {
    let root = match &revision.root {
        Ok(roots) => list(roots.certs().map(|c| ca::name_of(c, cas))),
        Err(reason) => format!("unknown: {reason}").into(),
    };
    let mut map = Map::new();
    map.insert("name".into(), revision.name.clone().into());
    map.insert(
        "ready".into(),
        (revision.ready > 0 && revision.ready >= revision.wanted).into(),
    );
    map.insert("trust_domain".into(), revision.trust_domain.clone().into());
    map.insert("aliases".into(), list(revision.aliases.iter().cloned()));
    map.insert("signer".into(), revision.signer.as_text().into());
    map.insert("distributes".into(), revision.distributes().into());
    map.insert("ca_server".into(), revision.ca_server.into());
    map.insert("root".into(), root);
    map
}

pub(super) fn behind(survey: &Survey, namespace: &str, wanted: &[String]) -> Array {
    let mut out: Vec<(Workload, i64)> = Vec::new();
    let mut add = |workload: &Workload| match out.iter_mut().find(|(known, _)| known == workload) {
        Some((_, pods)) => *pods += 1,
        None => out.push((workload.clone(), 1)),
    };
    for proxy in survey.in_namespace(namespace) {
        let revision = proxy.pod().revision.as_deref().unwrap_or("default");
        if !wanted.iter().any(|w| w == revision) {
            add(&proxy.pod().workload);
        }
    }
    for pod in survey
        .lacking
        .iter()
        .filter(|l| l.workload.namespace == namespace)
    {
        add(&pod.workload);
    }
    out.sort();
    out.into_iter()
        .map(|(w, pods)| {
            let mut map = workload(&w);
            map.insert("pods".into(), pods.into());
            map.into()
        })
        .collect()
}

/// The matrix as the report shows it: `classes` is a table, a row for each class as the client.
pub(super) fn matrix(matrix: &Matrix) -> Map {
    let label =
        |index: usize| char::from(b'A' + u8::try_from(index.min(25)).unwrap_or(25)).to_string();
    let named = [
        "class",
        "signed by",
        "trust domain",
        "trusts",
        "accepts names",
    ];
    let columns = named.into_iter().map(str::to_owned);
    let servers = (0..matrix.classes.len()).map(|server| format!("to {}", label(server)));
    let rows: Array = matrix
        .classes
        .iter()
        .enumerate()
        .map(|(index, class)| {
            let of_class = [
                label(index),
                class.signer.clone(),
                class.trust_domain.clone(),
                class.roots.join(" "),
                class.accepts.join(" "),
            ];
            let workloads = class
                .workloads
                .iter()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ");
            let talks = matrix.cells[index]
                .iter()
                .map(|talk| word(talk.as_ref()).to_owned());
            list(of_class.into_iter().chain(talks).chain([workloads]))
        })
        .collect();
    let table: Map = [
        (
            "columns".into(),
            list(columns.chain(servers).chain(["workloads".to_owned()])),
        ),
        ("rows".into(), rows.into()),
    ]
    .into_iter()
    .collect();
    [
        ("classes".into(), table.into()),
        (
            "failing".into(),
            list(matrix.failing.iter().map(ToString::to_string)),
        ),
        (
            "pairs".into(),
            i64::try_from(matrix.pairs).unwrap_or(i64::MAX).into(),
        ),
    ]
    .into_iter()
    .collect()
}

fn word(talk: Option<&Talk>) -> &'static str {
    match talk {
        None => "-",
        Some(Talk::No { .. }) => "no",
        Some(Talk::Unknown(_)) => "unknown",
        Some(Talk::Yes) => "yes",
    }
}

pub(super) fn workload(workload: &Workload) -> Map {
    [
        ("kind".into(), workload.kind.clone().into()),
        ("namespace".into(), workload.namespace.clone().into()),
        ("name".into(), workload.name.clone().into()),
    ]
    .into_iter()
    .collect()
}

fn list(items: impl Iterator<Item = String>) -> Dynamic {
    items.map(Dynamic::from).collect::<Array>().into()
}
