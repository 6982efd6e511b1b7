//! Can these two talk, and why not: one pair of workloads, both directions, now and after a step.
//!
//! The answers are those of [`super::matrix`], by the same code; here they come with the certificates
//! that each side is shown, the root that ends them, and what to do.

use std::collections::BTreeSet;

use super::ca;
use super::forecast::{self, Moved};
use super::gate::View;
use super::injection::Labels;
use super::matrix::{self, Credential, Member, Side, Talk};
use super::names;
use super::pods::{ProxyKind, ProxyPod};
use super::survey::Proxy;
use crate::pki::{self, Cert, PathError};

/// One of the two, as it is now.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `NAMESPACE/NAME` of the workload, or of the pod where one was named.
    pub name: String,
    /// How many proxies are meant.
    pub proxies: usize,
    /// The revisions that they are of.
    pub revisions: BTreeSet<String>,
    pods: Vec<ProxyPod>,
    members: Vec<Member>,
}

/// One direction in one state.
#[derive(Debug, Clone)]
pub struct Direction {
    /// Who connects.
    pub client: String,
    /// Who is connected to.
    pub server: String,
    /// Whether they can; `None`: this one is no server, nobody in the mesh connects to it.
    pub talk: Option<Talk>,
    /// The path from the server's certificate to what the client trusts, or why there is none.
    pub server_shows: String,
    /// The path from the client's certificate to what the server trusts, or why there is none.
    pub client_shows: String,
    /// What to do, where they cannot talk.
    pub next: Option<String>,
}

/// Both directions in one state of the mesh.
#[derive(Debug, Clone)]
pub struct State {
    /// `now`, or who is moved where.
    pub name: String,
    /// From the first to the second, and back.
    pub directions: [Direction; 2],
}

/// The whole answer.
#[derive(Debug, Clone)]
pub struct Why {
    /// The two that were asked about.
    pub ends: [Endpoint; 2],
    /// Now first, then what moves to the other installed revisions would make of it.
    pub states: Vec<State>,
}

/// Why a name means nobody with a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nobody {
    /// It is there and has no proxy.
    Outside(String),
    /// It is there and cannot be judged; why.
    Unjudged(String, String),
    /// It is not there; the names that are.
    Unknown(String, Vec<String>),
}

/// Asks about two workloads or pods, each `NAMESPACE/NAME`, or `POD.NAMESPACE` as a check prints it.
///
/// # Errors
/// When one of them means nobody with a proxy.
pub fn ask(view: &View, context: &str, a: &str, b: &str) -> Result<Why, Nobody> {
    let ends = [find(view, a)?, find(view, b)?];
    let mut states = vec![state(
        view,
        context,
        "now",
        [&ends[0].members, &ends[1].members],
        [&ends[0].name, &ends[1].name],
    )];
    for revision in &view.revisions {
        let moved: Vec<Option<Vec<Member>>> = ends
            .iter()
            .map(|end| {
                let other = end.revisions.iter().any(|r| *r != revision.name);
                other.then(|| made(view, end, &revision.name))
            })
            .collect();
        let of = |end: usize, new: bool| match (&moved[end], new) {
            (Some(made), true) => made,
            _ => &ends[end].members,
        };
        let same = ends[0].name == ends[1].name;
        for (first, second) in [(true, false), (false, true), (true, true)] {
            let asked = (!first || moved[0].is_some()) && (!second || moved[1].is_some());
            // Of a workload with itself, what counts is its old pods beside its new ones.
            if !asked || (same && (first || !second)) {
                continue;
            }
            let who: Vec<&str> = [first, second]
                .iter()
                .zip(&ends)
                .filter(|(moves, _)| **moves)
                .map(|(_, end)| end.name.as_str())
                .collect();
            states.push(state(
                view,
                context,
                &format!("{} moved to `{}`", who.join(" and "), revision.name),
                [of(0, first), of(1, second)],
                [&ends[0].name, &ends[1].name],
            ));
        }
    }
    Ok(Why { ends, states })
}

fn find(view: &View, wanted: &str) -> Result<Endpoint, Nobody> {
    let (namespace, name) = match wanted.split_once('/') {
        Some(parts) => parts,
        None => match wanted.rsplit_once('.') {
            Some((pod, namespace)) => (namespace, pod),
            None => ("", wanted),
        },
    };
    let full = format!("{namespace}/{name}");
    let all = matrix::members(&view.survey);
    let take = |is: &dyn Fn(&ProxyPod) -> bool| -> (Vec<ProxyPod>, Vec<Member>) {
        let found = view.survey.all().zip(&all);
        found
            .filter(|(proxy, _)| is(proxy.pod()))
            .map(|(proxy, member)| (proxy.pod().clone(), member.clone()))
            .unzip()
    };
    let (mut pods, mut members) = take(&|pod| pod.workload.to_string() == full);
    if pods.is_empty() {
        (pods, members) = take(&|pod| pod.namespace == namespace && pod.name == name);
    }
    if !pods.is_empty() {
        let revisions = pods.iter().map(|p| p.revision.clone());
        return Ok(Endpoint {
            name: full,
            proxies: pods.len(),
            revisions: revisions
                .map(|r| r.unwrap_or_else(|| "default".into()))
                .collect(),
            pods,
            members,
        });
    }
    let survey = &view.survey;
    if let Some(pod) = survey
        .unjudged
        .iter()
        .find(|u| u.namespace == namespace && (u.pod == name || u.pod.starts_with(name)))
    {
        return Err(Nobody::Unjudged(full, pod.reason.clone()));
    }
    if survey
        .outside
        .iter()
        .any(|o| o.workload.to_string() == full)
    {
        return Err(Nobody::Outside(full));
    }
    let known: BTreeSet<String> = survey.all().map(|p| p.pod().workload.to_string()).collect();
    Err(Nobody::Unknown(wanted.into(), known.into_iter().collect()))
}

/// The proxies that one side would have on another revision; of another cluster none, whose revisions are its own.
fn made(view: &View, end: &Endpoint, name: &str) -> Vec<Member> {
    let is_here = |proxy: &Proxy| proxy.pod().uid == end.pods[0].uid;
    if !view.survey.proxies.iter().any(is_here) {
        return Vec::new();
    }
    let Some(revision) = view.revision(name) else {
        return Vec::new();
    };
    let labels = Labels::from([(names::REV.to_owned(), name.to_owned())]);
    end.pods
        .iter()
        .take(1)
        .map(|pod| {
            let moved = Moved {
                workload: pod.workload.clone(),
                namespace_labels: labels.clone(),
                pod: forecast::like(&pod.labels, &pod.service_account),
                has_twin: true,
                gateway: pod.kind == ProxyKind::Gateway,
                was_injected: true,
            };
            forecast::member(&view.survey, revision, &view.cas, &moved)
        })
        .collect()
}

fn state(
    view: &View,
    context: &str,
    name: &str,
    members: [&[Member]; 2],
    names: [&str; 2],
) -> State {
    let same = names[0] == names[1] && name == "now";
    let direction = |client: usize, server: usize| {
        let now = view.survey.taken_at;
        let who = |end: usize| names[end].to_owned();
        let Some((from, to, talk)) = matrix::worst(members[client], members[server], same, now)
        else {
            return Direction {
                client: who(client),
                server: who(server),
                talk: None,
                server_shows: String::new(),
                client_shows: String::new(),
                next: None,
            };
        };
        let next = match &talk {
            Talk::Yes => None,
            Talk::Unknown(_) => Some(format!(
                "what is not known is named by rootshift check --context {context}"
            )),
            Talk::No {
                side: Side::Client, ..
            } => Some(next(view, context, from, to, pki::Usage::Server, name)),
            Talk::No {
                side: Side::Server, ..
            } => Some(next(view, context, to, from, pki::Usage::Client, name)),
        };
        Direction {
            client: who(client),
            server: who(server),
            server_shows: shown(view, from, to, pki::Usage::Server),
            client_shows: shown(view, to, from, pki::Usage::Client),
            talk: Some(talk),
            next,
        }
    };
    State {
        name: name.to_owned(),
        directions: [direction(0, 1), direction(1, 0)],
    }
}

/// The path of what one side shows, as the other builds it: `LEAF → … → ROOT`.
fn shown(view: &View, judge: &Member, judged: &Member, usage: pki::Usage) -> String {
    let who = match &judged.identity {
        Ok(id) => id.to_string(),
        Err(reason) => return format!("unknown: {reason}"),
    };
    match &judged.credential {
        Err(reason) => format!("unknown: {reason}"),
        Ok(Credential::SignedBy(ca)) => match trust_of(judge, judged) {
            Err(reason) => format!("{who} → {}, {reason}", ca.name),
            Ok(bundle) => match pki::trusts(&bundle, ca, view.survey.taken_at) {
                trust if trust.is_yes() => format!("{who} → {} (to come)", ca.name),
                trust => format!("{who} → {} (to come): {trust}", ca.name),
            },
        },
        Ok(Credential::Chains(chains)) => {
            let Some(chain) = chains.first() else {
                return "it shows no certificate".into();
            };
            let bundle = match trust_of(judge, judged) {
                Ok(bundle) => bundle,
                Err(reason) => return format!("{who}, {reason}"),
            };
            let shows = arrows(&who, chain.get(1..).unwrap_or_default(), view);
            match pki::accepts(&bundle, chain, usage, view.survey.taken_at) {
                Ok(path) => arrows(&who, path.certs().get(1..).unwrap_or_default(), view),
                Err(PathError::UnknownIssuer { .. } | PathError::BadSignature { .. }) => {
                    let trusts = bundle.certs().map(|c| ca::name_of(c, &view.cas));
                    let trusts: Vec<String> = trusts.collect();
                    format!(
                        "{shows}, which the other does not trust: it has {}",
                        trusts.join(", ")
                    )
                }
                Err(error) => format!("{shows}: {error}"),
            }
        }
    }
}

/// `LEAF → INTERMEDIATE → ROOT`.
fn arrows(leaf: &str, above: &[Cert], view: &View) -> String {
    let above = above.iter().map(|c| ca::name_of(c, &view.cas));
    let all: Vec<String> = std::iter::once(leaf.to_owned()).chain(above).collect();
    all.join(" → ")
}

fn trust_of(judge: &Member, judged: &Member) -> Result<pki::Bundle, String> {
    let domain = judged.identity.as_ref().map(|id| id.trust_domain.clone());
    let domain = domain.unwrap_or_default();
    let stores = judge
        .trust
        .as_ref()
        .map_err(|reason| format!("what the other trusts is unknown: {reason}"))?;
    let first = stores.first().and_then(|store| store.for_peer(&domain));
    first
        .cloned()
        .ok_or_else(|| format!("for whose trust domain `{domain}` the other has no bundle"))
}

/// What to do where `judge` refuses `judged`.
fn next(
    view: &View,
    context: &str,
    judge: &Member,
    judged: &Member,
    usage: pki::Usage,
    state: &str,
) -> String {
    let distribute =
        format!("rootshift run citadel-to-meshca --set through=distribute --context {context}");
    let foreseen = if state == "now" {
        ""
    } else {
        "not before every proxy has what it needs: "
    };
    let restart = |workload: &str| {
        let (namespace, name) = workload.split_once('/').unwrap_or(("", workload));
        format!(
            "rootshift eval 'workload::restart_in_waves(workload::list(\"{namespace}\").filter(|w| w.name == \"{name}\"))' --context {context} --yes"
        )
    };
    let now = view.survey.taken_at;
    let error = match (&judged.credential, trust_of(judge, judged)) {
        (Ok(Credential::Chains(chains)), Ok(bundle)) => chains
            .iter()
            .find_map(|chain| pki::accepts(&bundle, chain, usage, now).err()),
        (Ok(Credential::SignedBy(ca)), Ok(bundle)) => (!pki::trusts(&bundle, ca, now).is_yes())
            .then(|| PathError::UnknownIssuer {
                cert: judged.workload.clone(),
                issuer: ca.name.clone(),
            }),
        _ => None,
    };
    match error {
        Some(PathError::Expired { .. } | PathError::NotYetValid { .. }) => format!(
            "renew what {} shows: {}",
            judged.workload,
            restart(&judged.workload)
        ),
        Some(_) => format!(
            "{foreseen}give {} the root that signs for {}: {distribute}",
            judge.workload, judged.workload
        ),
        None => {
            let domain = judged.identity.as_ref().map(|id| id.trust_domain.clone());
            format!(
                "{foreseen}have the revision of {} list `{}` in meshConfig.trustDomainAliases, then restart it: {}",
                judge.workload,
                domain.unwrap_or_default(),
                restart(&judge.workload)
            )
        }
    }
}
