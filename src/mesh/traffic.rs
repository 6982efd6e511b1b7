//! What proxies have passed on, and what is open to them: whether a gateway has traffic, and whether one is drained.
//!
//! From Envoy's admin endpoint. Its counters by endpoint (`/clusters`) are kept whatever `proxyStatsMatcher` says, and so are
//! those of the server, which Istio's bootstrap always includes. Seen on Envoy 1.40 under Istio master:
//! - `rq_total` of an endpoint counts requests that had a connection to it, so that TLS with it was made; of TCP, connections.
//!   It goes with the endpoint: after all pods behind a proxy were replaced it is 0 again.
//! - `server.total_connections` is of connections from outside to all listeners; not those of the admin port. It is
//!   up to 5 s old, and of the same moment as `server.state`: where that says that the proxy is draining, so is the count.
//! - `POST /healthcheck/fail` drains: HTTP/1.1 is answered with `Connection: close`, HTTP/2 with GOAWAY, and whoever comes anew is
//!   served. `POST /healthcheck/ok` ends that. The agent's readiness probe does not see it, as it remembers that its Envoy
//!   has been ready: the pod stays behind its Services, and has to be taken away from them otherwise.
//!
//! Envoy does not tell how old a connection is.

use futures::StreamExt as _;
use serde_json::Value;

use super::dump::Reading;
use super::pods::{self, PodClass, ProxyPod, Workload};
use super::read::{self, ReadOptions};
use super::{MeshError, names, tls_stats};
use crate::cluster::{Cluster, Post, Written};

/// `server.state` of an Envoy that drains (`envoy.admin.v3.ServerInfo.State`).
const DRAINING: u64 = 1;

/// What one proxy has done, and what is open to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that it has passed on to endpoints that are still there.
    pub requests: u64,
    /// Connections that are open to it.
    pub connections: u64,
    /// Whether it was draining when these were counted.
    pub draining: bool,
}

/// The traffic of one pod's proxy.
#[derive(Debug, Clone)]
pub struct PodTraffic {
    /// Whose.
    pub pod: ProxyPod,
    /// What it said, or why it is not known.
    pub traffic: Reading<Traffic>,
}

/// Asks every running proxy of a cluster, or those of one workload.
///
/// # Errors
/// When pods cannot be listed. A proxy that cannot be asked is no error but unknown.
pub async fn take(
    cluster: &Cluster,
    of: Option<&Workload>,
    options: &ReadOptions,
) -> Result<Vec<PodTraffic>, MeshError> {
    let namespace = of.map(|workload| workload.namespace.as_str());
    let mut running = tls_stats::running(cluster, namespace).await?;
    running.retain(|pod| of.is_none_or(|workload| pod.workload == *workload));
    Ok(
        futures::stream::iter(running.into_iter().map(|pod| ask(cluster, pod, options)))
            .buffered(options.concurrency.max(1))
            .collect()
            .await,
    )
}

/// Has a pod's proxy drain, or serve again; what is so already is not asked for.
///
/// # Errors
/// When the pod is not there, has no proxy, or cannot be asked, and when that is refused.
pub async fn set_draining(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    on: bool,
    options: &ReadOptions,
) -> Result<Written, MeshError> {
    let kind = cluster.kind("v1/pods").await?;
    let pod = cluster.get_existing(&kind, Some(namespace), name).await?;
    let port = match pods::classify(&pod) {
        PodClass::Proxy(proxy) | PodClass::Starting(proxy, _) => proxy.admin_port,
        _ => {
            return Err(MeshError::Unreadable {
                object: format!("pod {namespace}/{name}"),
                reason: "it has no proxy that runs".to_owned(),
            });
        }
    };
    let (path, why, made) = if on {
        (names::DRAIN, "drain", "drained")
    } else {
        (names::UNDRAIN, "undrain", "undrained")
    };
    let request = Post {
        pod: &pod,
        port,
        path,
        why,
        made,
    };
    let limits = &options.limits;
    let state = read::patiently(options, || async {
        let mut forward = cluster.forward(namespace, name, port, limits).await?;
        read::fetch(&mut forward, names::SERVER_INFO).await
    })
    .await?;
    let is_so = state.is_ok_and(|info| (info["state"] == "DRAINING") == on);
    Ok(if is_so {
        cluster.need_not_post(request).await?
    } else {
        cluster.post(request, limits).await?
    })
}

async fn ask(cluster: &Cluster, pod: ProxyPod, options: &ReadOptions) -> PodTraffic {
    let answers = read::patiently(options, || async {
        let mut forward = cluster
            .forward(&pod.namespace, &pod.name, pod.admin_port, &options.limits)
            .await?;
        let clusters = read::fetch(&mut forward, names::ENDPOINTS).await?;
        let server = read::fetch(&mut forward, names::SERVER_STATS).await?;
        Ok((clusters, server))
    })
    .await;
    let traffic = match answers {
        Ok((clusters, server)) => clusters.and_then(|clusters| traffic(&clusters, &server?)),
        Err(error) => Err(read::unreadable(&pod, &error)),
    };
    PodTraffic { pod, traffic }
}

/// Reads the answers to [`names::ENDPOINTS`] and [`names::SERVER_STATS`].
///
/// # Errors
/// Why they do not tell.
pub fn traffic(clusters: &Value, server: &Value) -> Reading<Traffic> {
    let counter = |name: &str| {
        let all = server["stats"].as_array().into_iter().flatten();
        let mut found = all.filter(|stat| stat["name"] == name);
        found
            .next()
            .and_then(|stat| stat["value"].as_u64())
            .ok_or_else(|| format!("its Envoy does not tell `{name}`"))
    };
    Ok(Traffic {
        requests: requests(clusters)?,
        connections: counter("server.total_connections")?,
        draining: counter("server.state")? == DRAINING,
    })
}

/// Requests to endpoints of the mesh: those of Envoy's own clusters, for its configuration, its secrets and the agent, are not.
fn requests(clusters: &Value) -> Reading<u64> {
    let clusters = clusters["cluster_statuses"]
        .as_array()
        .ok_or("its answer holds no clusters")?;
    let mut total: u64 = 0;
    for cluster in clusters {
        let name = cluster["name"].as_str().unwrap_or_default();
        if !is_of_mesh(name) {
            continue;
        }
        let hosts = cluster["host_statuses"].as_array().into_iter().flatten();
        for stat in hosts.flat_map(|host| host["stats"].as_array().into_iter().flatten()) {
            if stat["name"] != "rq_total" {
                continue;
            }
            // 64-bit numbers are texts in protobuf's JSON, and 0 is left out.
            let count = match &stat["value"] {
                Value::Null => Some(0),
                Value::String(text) => text.parse().ok(),
                number => number.as_u64(),
            };
            let count = count.ok_or_else(|| format!("`rq_total` of {name} is no number"))?;
            total = total.saturating_add(count);
        }
    }
    Ok(total)
}

/// istiod's names of clusters (istio/istio `pilot/pkg/model`, `BuildSubsetKey`, `BuildDNSSrvSubsetKey`), and what has none.
fn is_of_mesh(cluster: &str) -> bool {
    ["outbound|", "outbound_.", "inbound|"]
        .iter()
        .any(|start| cluster.starts_with(start))
        || ["PassthroughCluster", "InboundPassthroughCluster"].contains(&cluster)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an ingress gateway of the lab said.
    const CLUSTERS: &str = include_str!("../../tests/fixtures/lab/gateway-clusters.json");

    fn clusters() -> Value {
        serde_json::from_str(CLUSTERS).unwrap()
    }

    fn server(state: u64, connections: u64) -> Value {
        json!({"stats": [
            {"name": "server.state", "value": state},
            {"name": "server.total_connections", "value": connections},
        ]})
    }

    #[test]
    fn requests_to_the_mesh_count_and_those_of_the_proxy_itself_do_not() {
        let found = traffic(&clusters(), &server(0, 8)).unwrap();
        // 15 to pay/lone, 10 and 6 to the two of shop/cart; not 2 to the agent, 2 for secrets, 1 for configuration.
        assert_eq!(found.requests, 31);
        assert_eq!((found.connections, found.draining), (8, false));
        assert!(traffic(&clusters(), &server(1, 0)).unwrap().draining);
    }

    #[test]
    fn only_its_own_business_is_no_traffic() {
        let mut all = clusters();
        let list = all["cluster_statuses"].as_array_mut().unwrap();
        list.retain(|cluster| !cluster["name"].as_str().unwrap().contains("outbound|"));
        assert_eq!(list.len(), 4);
        assert_eq!(traffic(&all, &server(0, 0)).unwrap().requests, 0);
    }

    #[test]
    fn what_is_not_told_is_unknown_and_not_0() {
        let reason = |clusters: &Value, server: &Value| traffic(clusters, server).unwrap_err();
        assert!(reason(&json!({}), &server(0, 0)).contains("no clusters"));
        assert!(reason(&clusters(), &json!({"stats": []})).contains("server.total_connections"));
        let mut odd = clusters();
        for cluster in odd["cluster_statuses"].as_array_mut().unwrap() {
            for stat in cluster["host_statuses"][0]["stats"].as_array_mut().unwrap() {
                stat["value"] = json!("many");
            }
        }
        assert!(reason(&odd, &server(0, 0)).contains("is no number"));
    }
}
