//! What proxies say themselves of certificates that they refused: Envoy's TLS counters.
//!
//! Separate from [`super::dump`], which tells what a proxy holds and so what it would do; this tells what it did.
//! What grew since a watch began is what counts ([`Watch`]); counters begin anew with the proxy.
//!
//! Which counters (Envoy's documentation, "TLS statistics" of listeners and of clusters; which one counts was seen on
//! Envoy 1.40, and `tests/integration/tripwire.rs` asks it again):
//! - `ssl.fail_verify_error` and `ssl.fail_verify_san`, and `ssl.fail_verify_cert_hash` where somebody pins: a peer
//!   presented a certificate, and this proxy refused it: no root that it trusts, out of date, or no name that it accepts.
//!   Below `listener.` the proxy is the server, below `cluster.outbound|…` the client. Always a failure of trust.
//! - `ssl.connection_error` and `ssl.fail_verify_no_cert`: not by themselves. A server counts the former when a client
//!   refuses it, and also when a scanner hangs up; the latter when a client shows nothing, as no proxy does. Told
//!   beside the others as unclear.
//! - a gateway's listeners serve the world, whose certificates are not the mesh's: unclear as well.
//!
//! With TLS 1.3 only the side that refuses counts, so both sides have to be asked. Istio's bootstrap keeps none of these
//! counters unless `proxyStatsMatcher` asks for them (istio/istio `pkg/bootstrap/config.go`): a proxy without them is
//! silent, which is not the same as none. Envoy shows a counter that it keeps from the start, at 0.
//!
//! Not seen: what a proxy refused between the last reading and its end, and what a new classic sidecar refused as the
//! client before [`Watch::admit`]: its application starts beside it, and calls others while the agent has the root of its
//! own CA only (seen on Istio master of 2026: half a second to two seconds). What it goes on to refuse is seen.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use serde_json::Value;

use super::dump::Reading;
use super::pods::{self, PodClass, ProxyKind, ProxyPod};
use super::read::{self, ReadOptions};
use super::{MeshError, names};
use crate::cluster::{Cluster, Selector};

/// How often pods are listed again for those that appeared while others were read.
const ROUNDS: usize = 5;

/// The counters of one proxy that are not 0, by Envoy's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Certificates that it refused.
    pub refused: BTreeMap<String, u64>,
    /// What may have other reasons.
    pub unclear: BTreeMap<String, u64>,
}

/// The counters of all proxies at one moment.
#[derive(Debug, Clone)]
pub struct TlsReading(Vec<ProxyStats>);

/// What had been counted when somebody began to watch.
#[derive(Debug, Clone, Default)]
pub struct Watch(BTreeMap<(String, u64), Reading<Counters>>);

#[derive(Debug, Clone)]
struct ProxyStats {
    pod: ProxyPod,
    counters: Reading<Counters>,
}

/// A counter that has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose proxy counted.
    pub pod: ProxyPod,
    /// Envoy's name of the counter.
    pub counter: String,
    /// By how much it grew.
    pub count: u64,
    /// What it had been before.
    pub earlier: u64,
}

/// A proxy of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Whose it is.
    pub pod: ProxyPod,
    /// Why.
    pub reason: String,
}

/// What is new since an earlier reading, or since each proxy started.
#[derive(Debug, Clone, Default)]
pub struct News {
    /// Certificates that were refused, by proxy and counter.
    pub refused: Vec<Refusal>,
    /// What may have other reasons.
    pub unclear: Vec<Refusal>,
    /// Proxies that tell nothing.
    pub silent: Vec<Silent>,
    /// Of these, those that told before.
    pub lost: Vec<Silent>,
    /// How many proxies told.
    pub watched: usize,
}

impl TlsReading {
    /// Asks every running proxy of these clusters; those of others than the first are named after their cluster.
    ///
    /// # Errors
    /// When pods cannot be listed. A proxy that cannot be read is no error but silent.
    pub async fn take(
        cluster: &Cluster,
        others: &[Cluster],
        options: &ReadOptions,
    ) -> Result<Self, MeshError> {
        let mut all = take_one(cluster, options).await?;
        for other in others.iter().filter(|o| o.server() != cluster.server()) {
            let at = other.context();
            let found = take_one(other, options).await?.into_iter();
            all.extend(found.map(|mut stats| {
                stats.pod.namespace = format!("{}@{at}", stats.pod.namespace);
                stats
            }));
        }
        Ok(Self(all))
    }
}

impl Watch {
    /// Begins: what this reading holds is old.
    pub fn begin(reading: TlsReading) -> Self {
        let each = reading.0.into_iter();
        Self(each.map(|s| (s.pod.incarnation(), s.counters)).collect())
    }

    /// Takes as old what classic sidecars that are new have refused as clients until this reading, in which they are
    /// ready. What they refused as servers stays new: nobody calls a pod that is not ready.
    pub fn admit(&mut self, reading: &TlsReading) {
        for stats in &reading.0 {
            let Ok(counters) = &stats.counters else {
                continue;
            };
            if stats.pod.kind != ProxyKind::Sidecar || !stats.pod.ready {
                continue;
            }
            let early = |counts: &BTreeMap<String, u64>| {
                let own = counts.iter().filter(|(name, _)| is_client(name));
                own.map(|(name, count)| (name.clone(), *count)).collect()
            };
            self.0.entry(stats.pod.incarnation()).or_insert_with(|| {
                Ok(Counters {
                    refused: early(&counters.refused),
                    unclear: early(&counters.unclear),
                })
            });
        }
    }

    /// What is new in a reading; of proxies that were not there or told nothing when the watch began, all since they
    /// started. A counter that is lower than before began anew. A watch that never began has all.
    pub fn news(&self, reading: &TlsReading) -> News {
        let mut news = News::default();
        for stats in &reading.0 {
            let earlier = self
                .0
                .get(&stats.pod.incarnation())
                .map(|counters| counters.as_ref());
            match &stats.counters {
                Ok(counters) => {
                    news.watched += 1;
                    let earlier = earlier.and_then(Result::ok);
                    let grown = |now, before| grown(&stats.pod, now, before);
                    news.refused
                        .extend(grown(&counters.refused, earlier.map(|c| &c.refused)));
                    news.unclear
                        .extend(grown(&counters.unclear, earlier.map(|c| &c.unclear)));
                }
                Err(reason) => {
                    let silent = Silent {
                        pod: stats.pod.clone(),
                        reason: reason.clone(),
                    };
                    if earlier.is_some_and(|counters| counters.is_ok()) {
                        news.lost.push(silent.clone());
                    }
                    news.silent.push(silent);
                }
            }
        }
        news
    }
}

impl Refusal {
    /// Whether the proxy was the client: then the counter names the server.
    pub fn server(&self) -> Option<String> {
        let (scope, _) = split(&self.counter)?;
        // `cluster.outbound|PORT|SUBSET|HOST`
        let mut parts = scope.strip_prefix("cluster.outbound|")?.splitn(3, '|');
        let (port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!("{host}:{port}"))
    }

    /// What was counted, in one line.
    pub fn line(&self) -> String {
        let whose = match self.server() {
            Some(server) => format!("the server {server}"),
            None => "a client".to_owned(),
        };
        let refused = |why: &str| format!("refused the certificate of {whose}: {why}");
        let what = match split(&self.counter).map(|(_, name)| name) {
            Some("fail_verify_error") => {
                refused("it hangs from no root that is trusted here, or is out of date")
            }
            Some("fail_verify_san") => refused("it bears no name that is accepted here"),
            Some("fail_verify_cert_hash") => refused("it is not the one that is pinned"),
            Some("fail_verify_no_cert") => format!("refused {whose}, which showed no certificate"),
            _ => format!("had a connection with {whose} that failed in TLS"),
        };
        let earlier = match self.earlier {
            0 => String::new(),
            earlier => format!(", {earlier} before"),
        };
        let (pod, namespace) = (&self.pod.name, &self.pod.namespace);
        let (count, counter) = (self.count, &self.counter);
        format!("{pod}.{namespace} {what} ({count} more{earlier}; {counter})")
    }
}

/// Whether a counter is of what a proxy calls.
fn is_client(counter: &str) -> bool {
    counter.starts_with("cluster.outbound")
}

/// Scope and name of a TLS counter: `cluster.outbound|80||a.b.svc.cluster.local` and `fail_verify_error`.
fn split(counter: &str) -> Option<(&str, &str)> {
    counter.rsplit_once(".ssl.")
}

fn grown(
    pod: &ProxyPod,
    now: &BTreeMap<String, u64>,
    before: Option<&BTreeMap<String, u64>>,
) -> Vec<Refusal> {
    let had = |name: &str| {
        before
            .and_then(|counters| counters.get(name))
            .copied()
            .unwrap_or(0)
    };
    now.iter()
        .filter_map(|(counter, now)| {
            let earlier = had(counter);
            let (count, earlier) = match now.checked_sub(earlier) {
                Some(count) => (count, earlier),
                None => (*now, 0),
            };
            (count > 0).then(|| Refusal {
                pod: pod.clone(),
                counter: counter.clone(),
                count,
                earlier,
            })
        })
        .collect()
}

/// Reads the answer to [`names::TLS_STATS`] of a proxy of this kind.
///
/// # Errors
/// Why it does not tell what it refuses.
pub fn counters(kind: ProxyKind, answer: &Value) -> Reading<Counters> {
    let stats = answer["stats"]
        .as_array()
        .ok_or("its answer holds no counters")?;
    let mut found = Counters::default();
    // Whether it counts both reasons, as the server and as the client.
    let (mut serving, mut calling) = ([false; 2], [false; 2]);
    for stat in stats {
        let Some(name) = stat["name"].as_str() else {
            continue;
        };
        let Some((scope, counter)) = split(name) else {
            continue;
        };
        let is_client = is_client(scope);
        if !is_client && !scope.starts_with("listener.") {
            continue;
        }
        let is_trust = match counter {
            "fail_verify_error" | "fail_verify_san" => {
                let side = if is_client {
                    &mut calling
                } else {
                    &mut serving
                };
                side[usize::from(counter == "fail_verify_san")] = true;
                true
            }
            "fail_verify_cert_hash" => true,
            "connection_error" | "fail_verify_no_cert" => false,
            _ => continue,
        };
        let value = stat["value"]
            .as_u64()
            .ok_or_else(|| format!("its counter `{name}` is no number"))?;
        if value > 0 {
            let is_world = kind == ProxyKind::Gateway && !is_client;
            let counters = if is_trust && !is_world {
                &mut found.refused
            } else {
                &mut found.unclear
            };
            counters.insert(name.to_owned(), value);
        }
    }
    let serves = !matches!(kind, ProxyKind::Gateway | ProxyKind::Waypoint);
    let lacks = [
        ("servers", calling == [true; 2]),
        ("clients", !serves || serving == [true; 2]),
    ];
    let lacks: Vec<&str> = lacks
        .iter()
        .filter_map(|(whose, counted)| (!counted).then_some(*whose))
        .collect();
    if lacks.is_empty() {
        return Ok(found);
    }
    Err(format!(
        "its Envoy keeps no count of certificates of {} that it refuses (proxyStatsMatcher)",
        lacks.join(" and ")
    ))
}

/// The running proxies of a cluster, or of one namespace.
pub(super) async fn running(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<ProxyPod>, MeshError> {
    let kind = cluster.kind("pods").await?;
    let pods = cluster.list(&kind, namespace, &Selector::default()).await?;
    let mut proxies: Vec<ProxyPod> = pods
        .iter()
        .filter_map(|pod| match pods::classify(pod) {
            PodClass::Proxy(proxy) => Some(*proxy),
            _ => None,
        })
        .collect();
    proxies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(proxies)
}

async fn take_one(cluster: &Cluster, options: &ReadOptions) -> Result<Vec<ProxyStats>, MeshError> {
    let mut known: BTreeMap<(String, u64), ProxyStats> = BTreeMap::new();
    let mut listed = running(cluster, None).await?;
    for _ in 0..ROUNDS {
        let missing: Vec<ProxyPod> = listed
            .iter()
            .filter(|pod| !known.contains_key(&pod.incarnation()))
            .cloned()
            .collect();
        if missing.is_empty() {
            break;
        }
        let read: Vec<ProxyStats> =
            futures::stream::iter(missing.into_iter().map(|pod| ask(cluster, pod, options)))
                .buffered(options.concurrency.max(1))
                .collect()
                .await;
        known.extend(read.into_iter().map(|s| (s.pod.incarnation(), s)));
        listed = running(cluster, None).await?;
    }
    // One that ended meanwhile is not silent, and what it told counts still.
    let there: BTreeSet<(String, u64)> = listed.iter().map(ProxyPod::incarnation).collect();
    known.retain(|key, stats| stats.counters.is_ok() || there.contains(key));
    for pod in &listed {
        known
            .entry(pod.incarnation())
            .or_insert_with(|| ProxyStats {
                pod: pod.clone(),
                counters: Err("it appeared while others were read".to_owned()),
            });
    }
    let mut all: Vec<ProxyStats> = known.into_values().collect();
    all.sort_by(|a, b| (&a.pod.namespace, &a.pod.name).cmp(&(&b.pod.namespace, &b.pod.name)));
    Ok(all)
}

async fn ask(cluster: &Cluster, pod: ProxyPod, options: &ReadOptions) -> ProxyStats {
    let answer = read::patiently(options, || async {
        let mut forward = cluster
            .forward(&pod.namespace, &pod.name, pod.admin_port, &options.limits)
            .await?;
        read::fetch(&mut forward, names::TLS_STATS).await
    })
    .await;
    let counters = match answer {
        Ok(answer) => answer.and_then(|value| counters(pod.kind, &value)),
        Err(error) => Err(read::unreadable(&pod, &error)),
    };
    ProxyStats { pod, counters }
}

#[cfg(test)]
#[path = "tls_stats_tests.rs"]
mod tests;
