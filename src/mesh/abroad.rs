//! What belongs to the mesh and is not in this cluster: other clusters, and workloads without a pod.
//!
//! A mesh over several clusters has one trust. Those that a run was given are surveyed like the first, and their proxies
//! stand in every matrix and before every gate that is about the mesh; those that it was not given are named, since
//! nobody looked at them. How istiod knows another cluster: a Secret with the label `istio/multiCluster=true`, whose
//! keys are names of clusters and whose values are kubeconfigs (istio/istio `pkg/kube/multicluster/secretcontroller.go`).

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::Value;

use super::read::{ProxyReading, Source};
use super::survey::{Proxy, Survey, SurveyOptions, Unjudged};
use super::{MeshError, names, pods};
use crate::cluster::{Cluster, ClusterError, Selector};
use crate::pki::{NamedCa, decode_base64};

/// How many workloads without a pod are named.
const NAMED: usize = 5;

/// Adds to a survey what the clusters besides its own have, and what nobody can see.
///
/// # Errors
/// When this cluster cannot tell which others there are, except for lack of rights: that is unseen. One of the others that cannot be
/// read is no error, but unknown.
pub(super) async fn add(
    survey: &mut Survey,
    cluster: &Cluster,
    others: &[Cluster],
    cas: &[NamedCa],
    options: &SurveyOptions,
) -> Result<(), MeshError> {
    let others_of_it = others
        .iter()
        .filter(|other| other.server() != cluster.server());
    // Each has an API server of its own, and the reader waits for the slowest, not for all.
    let read =
        others_of_it.map(async |other| (other.context(), of_other(other, cas, options).await));
    for (at, found) in join_all(read).await {
        match found {
            Ok(found) => {
                survey.dumps.extend(found.dumps);
                let unseen = found.unseen.into_iter();
                survey
                    .unseen
                    .extend(unseen.map(|line| format!("{line} (cluster `{at}`)")));
                let proxies = found.proxies.into_iter().chain(found.machines);
                survey
                    .abroad
                    .extend(proxies.map(|proxy| named_after(proxy, at)));
                let unjudged = found.unjudged.into_iter();
                survey.unjudged.extend(unjudged.map(|pod| Unjudged {
                    namespace: format!("{}@{at}", pod.namespace),
                    ..pod
                }));
            }
            Err(error) => survey
                .unseen
                .push(format!("cluster `{at}` cannot be read: {error}")),
        }
    }
    let seen: Vec<&str> = others
        .iter()
        .chain([cluster])
        .map(Cluster::server)
        .collect();
    survey.unseen.extend(clusters(cluster, &seen).await?);
    machines(survey, cluster, cas, options).await?;
    tell_apart(survey, cas);
    Ok(())
}

/// One dump is of one proxy. Pods of two clusters may have one name and one address (StatefulSets, networks of the same
/// range), and where the clusters go by one name as well, which of them it is of cannot be told: neither is judged by it.
fn tell_apart(survey: &mut Survey, cas: &[NamedCa]) {
    let mut stands_for: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for proxy in survey.all() {
        if let Source::Dump(taken) = &proxy.reading.source {
            let pod = proxy.pod();
            let of_file = stands_for.entry(taken.file.clone()).or_default();
            of_file.push(format!("{}.{}", pod.name, pod.namespace));
        }
    }
    stands_for.retain(|_, proxies| proxies.len() > 1);
    let taken_at = survey.taken_at;
    let here = survey.proxies.iter_mut().chain(&mut survey.machines);
    for proxy in here.chain(&mut survey.abroad) {
        let Source::Dump(taken) = &proxy.reading.source else {
            continue;
        };
        let Some(all) = stands_for.get(&taken.file) else {
            continue;
        };
        let reason = format!(
            "its dump {} is not used: it may be of any of {}",
            taken.file,
            all.join(", ")
        );
        let reading = ProxyReading {
            source: Source::Nobody,
            secrets: Err(reason.clone()),
            matchers: Err(reason),
            pod: proxy.reading.pod.clone(),
        };
        *proxy = Proxy::of(reading, cas, taken_at);
    }
}

async fn of_other(
    other: &Cluster,
    cas: &[NamedCa],
    options: &SurveyOptions,
) -> Result<Survey, MeshError> {
    let mut found = Survey::take(other, cas, options).await?;
    machines(&mut found, other, cas, options).await?;
    Ok(found)
}

/// A proxy of another cluster, told by it: `web-1.shop@east`, of workload `shop/web@east`.
fn named_after(mut proxy: Proxy, cluster: &str) -> Proxy {
    let pod = &mut proxy.reading.pod;
    pod.namespace = format!("{}@{cluster}", pod.namespace);
    pod.workload.name = format!("{}@{cluster}", pod.workload.name);
    proxy
}

/// Clusters that istiod reads and this run does not.
async fn clusters(cluster: &Cluster, seen: &[&str]) -> Result<Vec<String>, MeshError> {
    let kind = cluster.kind("secrets").await?;
    let remote = Selector::labels("istio/multiCluster=true");
    let found = match cluster
        .list(&kind, Some(names::ISTIO_SYSTEM), &remote)
        .await
    {
        Err(why @ ClusterError::Forbidden(_)) => {
            return Ok(vec![format!(
                "whether other clusters are part of the mesh is not known: {why}"
            )]);
        }
        found => found?,
    };
    let mut unseen = Vec::new();
    for secret in &found {
        for (name, kubeconfig) in secret.value()["data"].as_object().into_iter().flatten() {
            let server = server(kubeconfig);
            if !server
                .as_deref()
                .is_some_and(|server| seen.contains(&server))
            {
                unseen.push(format!(
                    "cluster `{name}` is part of the mesh (secret {}/{}, API server {}) and was not looked at",
                    names::ISTIO_SYSTEM,
                    secret.name(),
                    server.as_deref().unwrap_or("unknown")
                ));
            }
        }
    }
    Ok(unseen)
}

/// The API server of a kubeconfig, as it stands in a Secret.
fn server(kubeconfig: &Value) -> Option<String> {
    let bytes = decode_base64(kubeconfig.as_str()?)?;
    let config: Value = serde_saphyr::from_str(std::str::from_utf8(&bytes).ok()?).ok()?;
    let server = config["clusters"][0]["cluster"]["server"].as_str()?;
    Some(server.trim_end_matches('/').to_owned())
}

/// Virtual machines and other workloads that have no pod: judged by their dumps, or else unseen.
async fn machines(
    survey: &mut Survey,
    cluster: &Cluster,
    cas: &[NamedCa],
    options: &SurveyOptions,
) -> Result<(), MeshError> {
    let kind = match cluster.kind("workloadentries.networking.istio.io").await {
        Err(ClusterError::UnknownKind { .. }) => return Ok(()),
        kind => kind?,
    };
    let found = match cluster.list(&kind, None, &Selector::default()).await {
        Err(why @ ClusterError::Forbidden(_)) => {
            survey.unseen.push(format!(
                "whether workloads without a pod are part of the mesh is not known: {why}"
            ));
            return Ok(());
        }
        found => found?,
    };
    let mut unseen = Vec::new();
    let mut look = options.dumps.look(cluster, &options.read.certs);
    for entry in &found {
        let machine = pods::machine(entry);
        let why = match look.of_machine(&machine).await {
            Some(Ok(reading)) => {
                let proxy = Proxy::of(reading, cas, survey.taken_at);
                survey.machines.push(proxy);
                continue;
            }
            Some(Err(reason)) => format!("; {reason}"),
            None => String::new(),
        };
        unseen.push(format!(
            "WorkloadEntry {} is a workload without a pod, whose proxy was not looked at{why}",
            machine.workload
        ));
    }
    survey.dumps.extend(look.end());
    let more = unseen.len().saturating_sub(NAMED);
    unseen.truncate(NAMED);
    if more > 0 {
        unseen.push(format!("and {more} more WorkloadEntries"));
    }
    survey.unseen.extend(unseen);
    Ok(())
}
