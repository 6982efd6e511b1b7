//! When a saved dump may stand for a proxy that cannot be asked.
//!
//! The newest change that a dump holds is the only time in it that can be trusted: it was taken then or later. When its
//! file was written is no evidence of freshness, since a copy is new; it is evidence of age.

use std::collections::HashMap;
use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};

use super::saved::{Saved, Service};
use crate::cluster::{Cluster, ClusterError, Selector};
use crate::mesh::dump::Reading;
use crate::mesh::pods::{ProxyKind, ProxyPod};
use crate::mesh::{names, revision};
use crate::pki::Cert;

/// How much clocks may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How old a file may be: with Istio's lifetime of a day a proxy has renewed its certificate by then, and where
/// certificates live longer, nobody has looked for a day.
const MOST: SignedDuration = SignedDuration::from_hours(24);

/// Whether the dump is of this very proxy: this pod, and this start of its container.
///
/// # Errors
/// Why it is not, or may not be.
pub(super) fn is_of(saved: &Saved, pod: &ProxyPod) -> Result<(), String> {
    let machine = pod.kind == ProxyKind::Machine;
    // What a machine calls itself is not in its WorkloadEntry: its address is.
    if saved.namespace != pod.namespace || (!machine && saved.name != pod.name) {
        return Err(format!("it is of `{}.{}`", saved.name, saved.namespace));
    }
    // Pods of different networks may have one address.
    if let (Some(told), Some(own)) = (&saved.cluster, &pod.cluster)
        && told != own
    {
        return Err(format!(
            "it is of a proxy of cluster `{told}`, and this one is of `{own}`"
        ));
    }
    if !saved.is_at(&pod.addresses) {
        return Err(format!(
            "it is of a proxy at {}, and this one is at {}",
            saved.addresses[0],
            pod.addresses
                .first()
                .map_or("an address that is not known", String::as_str)
        ));
    }
    match pod.started {
        _ if machine => Ok(()),
        None => Err("since when the proxy's container runs is not known".into()),
        Some(started) if saved.started < started => Err(format!(
            "its Envoy started at {:.0}, and the proxy's container was started again at {started:.0}",
            saved.started
        )),
        Some(_) => Ok(()),
    }
}

/// Whether it may still say what the proxy holds, as far as the dump and its file tell. `written`: when the file was.
///
/// # Errors
/// Why it may not.
pub(super) fn is_current(
    saved: &Saved,
    written: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), String> {
    let changed = saved.changed;
    let written = written.ok_or("when its file was written is not known")?;
    if changed > now + SKEW {
        return Err(format!(
            "it holds a change of {changed:.0}, which is to come"
        ));
    }
    if changed > written + SKEW {
        return Err(format!(
            "its file was written at {written:.0}, before a change that it holds, of {changed:.0}: one of the clocks is wrong"
        ));
    }
    if now.duration_since(written) > MOST {
        return Err(format!(
            "its file was written at {written:.0}, {} ago",
            span(now.duration_since(written))
        ));
    }
    let chains = saved.secrets.chains.as_ref().map_err(Clone::clone)?;
    chains
        .iter()
        .filter_map(|chain| chain.first())
        .try_for_each(|leaf| is_held(leaf, now))
}

/// Whether the proxy still has this certificate: agents renew it at half of its lifetime (`SECRET_GRACE_PERIOD_RATIO`).
fn is_held(leaf: &Cert, now: Timestamp) -> Result<(), String> {
    let (from, until) = (leaf.not_before(), leaf.not_after());
    let due = from + until.duration_since(from) / 2;
    if now > until {
        Err(format!("its certificate expired at {until:.0}"))
    } else if from > now + SKEW {
        Err(format!("its certificate is valid from {from:.0} on"))
    } else if now > due {
        Err(format!(
            "its certificate was due to be renewed at {due:.0}: the proxy has another one by now"
        ))
    } else {
        Ok(())
    }
}

/// Whether nothing of the control plane has changed since that the proxy would be told. Kubernetes' times are whole
/// seconds, rounded down: of what happened in the same second nothing is said.
///
/// # Errors
/// What has changed, or why that is not known.
pub(super) fn is_last_word(saved: &Saved, told: &Reading<Told>) -> Result<(), String> {
    match told {
        Err(reason) => Err(format!(
            "whether it was told anything since is not known: {reason}"
        )),
        Ok(told) if saved.changed < told.at => Err(format!(
            "nothing in it is newer than {:.0}, and {} at {:.0}: the proxy may have been told other roots and names since",
            saved.changed, told.what, told.at
        )),
        Ok(_) => Ok(()),
    }
}

/// The last change of what an istiod tells its proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Timestamp,
    /// A sentence about it, without the time.
    pub(super) what: String,
}

/// The istiods of one cluster, by their Services; each is looked at once.
pub(super) struct ControlPlanes<'a> {
    cluster: &'a Cluster,
    known: HashMap<Service, Reading<Told>>,
}

impl<'a> ControlPlanes<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            known: HashMap::new(),
        }
    }

    /// The last change of what the istiod that the dump names tells.
    pub(super) async fn told(&mut self, saved: &Saved) -> Reading<Told> {
        let service = saved
            .discovery
            .clone()
            .ok_or("the dump names no istiod (PROXY_CONFIG.discoveryAddress)")?;
        if let Some(known) = self.known.get(&service) {
            return known.clone();
        }
        let told = match last_change(self.cluster, &service).await {
            Ok(told) => told,
            Err(error) => Err(error.to_string()),
        };
        self.known.insert(service, told.clone());
        told
    }
}

/// What an istiod tells comes of its mesh configuration, and of the CA that it has loaded when it started; who is behind
/// its Service is the Service's to say.
async fn last_change(
    cluster: &Cluster,
    (name, namespace): &Service,
) -> Result<Reading<Told>, ClusterError> {
    let at = Some(namespace.as_str());
    let services = cluster.kind("services").await?;
    let pods = cluster.kind("pods").await?;
    let maps = cluster.kind("configmaps").await?;
    let Some(service) = cluster.get(&services, at, name).await? else {
        return Ok(Err(format!("there is no Service {namespace}/{name}")));
    };
    let labels = service.value()["spec"]["selector"].as_object();
    let selector: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    if selector.is_empty() {
        return Ok(Err(format!(
            "Service {namespace}/{name} does not say which pods are behind it"
        )));
    }
    let mut changes = Vec::new();
    let mut add = |at: Option<Timestamp>, what: &dyn Display| {
        changes.extend(at.map(|at| Told {
            at,
            what: what.to_string(),
        }));
    };
    add(
        cluster.last_written(&services, at, name).await?,
        &format!("Service {namespace}/{name} was changed"),
    );
    let selector = Selector::labels(selector.join(","));
    let mut runs = false;
    for pod in cluster.list(&pods, at, &selector).await? {
        for status in pod.items("/status/containerStatuses") {
            let started = status["state"]["running"]["startedAt"].as_str();
            let started = started.and_then(|time| time.parse().ok());
            runs |= started.is_some();
            add(started, &format!("{} was started", pod.name()));
        }
        let revision = pod.label(names::REV).unwrap_or("default");
        let map = revision::with_revision("istio", revision);
        add(
            cluster.last_written(&maps, at, &map).await?,
            &format!("ConfigMap {namespace}/{map} was changed"),
        );
    }
    if !runs {
        return Ok(Err(format!(
            "no istiod runs behind Service {namespace}/{name}"
        )));
    }
    let last = changes.into_iter().max_by_key(|told| told.at);
    Ok(last.ok_or_else(|| format!("Service {namespace}/{name} has no time")))
}

/// `3 h`, `2 days`.
pub(super) fn span(duration: SignedDuration) -> String {
    let minutes = duration.as_mins().max(0);
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    }
}
