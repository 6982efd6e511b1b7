//! Reading proxies: their dumps through port-forward, many at a time, each bounded.
//!
//! One port-forward and up to three requests a proxy. What cannot be read is a reading that says why; it
//! is never left out.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;

use super::dump::{self, Reading, Secrets};
use super::dumps::Taken;
use super::matchers::{self, Matchers};
use super::names;
use super::pods::ProxyPod;
use crate::cluster::{Cluster, ClusterError, Forward, Limits};
use crate::pki::CertCache;

/// What one proxy said.
#[derive(Debug, Clone)]
pub struct ProxyReading {
    /// Whose it is.
    pub pod: ProxyPod,
    /// Who told it.
    pub source: Source,
    /// Its certificates.
    pub secrets: Reading<Secrets>,
    /// Whom it accepts.
    pub matchers: Reading<Matchers>,
}

/// Who told what a proxy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A dump that somebody saved, since the proxy could not be asked.
    Dump(Taken),
    /// The proxy itself.
    Itself,
    /// Nobody: it could not be asked.
    Nobody,
}

/// What is asked of proxies. Each costs the proxy itself: Envoy 1.40 writes down its secrets in a millisecond, and all of
/// its listeners and clusters in twenty (15 small services; it grows with the mesh).
///
/// What was not asked is a reading that says so, which every verdict takes for unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// Nothing: their pods are enough.
    Nothing,
    /// Their certificates: whom they trust, and what they show.
    Certificates,
    /// And whom they accept by name.
    #[default]
    Everything,
}

/// How proxies are read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// What they are asked.
    pub ask: Ask,
    /// How many at the same time.
    pub concurrency: usize,
    /// Bounds of one port-forward.
    pub limits: Limits,
    /// Attempts, with a pause that doubles from 100 ms between them.
    pub attempts: u32,
    /// What was parsed already; shared by all readings with these options.
    pub certs: Arc<CertCache>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            ask: Ask::default(),
            concurrency: 16,
            limits: Limits::default(),
            attempts: 3,
            certs: Arc::default(),
        }
    }
}

/// Why the secrets of some proxies say nothing.
pub(super) const FILE_MOUNTED: &str =
    "its certificates are mounted as files: Envoy's secrets do not tell them";

/// What a reading says of what was not asked.
const NOT_ASKED: &str = "it was not asked";

/// Reads all of these proxies; one result for each, in their order.
pub async fn read_all(
    cluster: &Cluster,
    pods: Vec<ProxyPod>,
    options: &ReadOptions,
) -> Vec<ProxyReading> {
    if options.ask == Ask::Nothing {
        return pods.into_iter().map(not_asked).collect();
    }
    futures::stream::iter(pods.into_iter().map(|pod| read_one(cluster, pod, options)))
        .buffered(options.concurrency.max(1))
        .collect()
        .await
}

fn not_asked(pod: ProxyPod) -> ProxyReading {
    ProxyReading {
        pod,
        source: Source::Nobody,
        secrets: Err(NOT_ASKED.into()),
        matchers: Err(NOT_ASKED.into()),
    }
}

async fn read_one(cluster: &Cluster, pod: ProxyPod, options: &ReadOptions) -> ProxyReading {
    match patiently(options, || attempt_one(cluster, &pod, options)).await {
        Ok((secrets, matchers)) => ProxyReading {
            pod,
            source: Source::Itself,
            secrets,
            matchers,
        },
        Err(error) => {
            let reason = unreadable(&pod, &error);
            ProxyReading {
                pod,
                source: Source::Nobody,
                secrets: Err(reason.clone()),
                matchers: Err(reason),
            }
        }
    }
}

/// Tries as often as the options say, as long as trying again may help.
pub(super) async fn patiently<T, F>(
    options: &ReadOptions,
    attempt: impl Fn() -> F,
) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let mut pause = Duration::from_millis(100);
    let mut tried = 1;
    loop {
        match attempt().await {
            Err(error) if tried < options.attempts && error.retryable() => {}
            result => return result,
        }
        tried += 1;
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Why a proxy could not be asked.
pub(super) fn unreadable(pod: &ProxyPod, error: &ClusterError) -> String {
    format!("its admin port {} cannot be read: {error}", pod.admin_port)
}

async fn attempt_one(
    cluster: &Cluster,
    pod: &ProxyPod,
    options: &ReadOptions,
) -> Result<(Reading<Secrets>, Reading<Matchers>), ClusterError> {
    let mut forward = cluster
        .forward(&pod.namespace, &pod.name, pod.admin_port, &options.limits)
        .await?;
    let mut secrets = fetch(&mut forward, names::SECRETS_MASKED)
        .await?
        .and_then(|d| dump::secrets_with(&d, &options.certs));
    let everything = options.ask == Ask::Everything;
    let mut matchers = if everything {
        let listeners = fetch(&mut forward, names::LISTENERS_MASKED).await?;
        let clusters = fetch(&mut forward, names::CLUSTERS_MASKED).await?;
        listeners.and_then(|l| matchers::matchers(&[&l, &clusters?]))
    } else {
        Err(NOT_ASKED.into())
    };
    if secrets.is_err() || (everything && matchers.is_err()) {
        // An Envoy that does not know the mask, or has nothing under it, answers 400 or leaves the
        // section out.
        if let Ok(whole) = fetch(&mut forward, names::PLAIN_DUMP).await? {
            if secrets.is_err() {
                secrets = dump::secrets_with(&whole, &options.certs);
            }
            if everything && matchers.is_err() {
                matchers = matchers::matchers(&[&whole]);
            }
        }
    }
    if pod.file_mounted {
        secrets = Err(FILE_MOUNTED.into());
    }
    Ok((secrets, matchers))
}

/// Asks the admin endpoint for a document in JSON.
pub(super) async fn fetch(
    forward: &mut Forward,
    path: &str,
) -> Result<Reading<Value>, ClusterError> {
    let answer = forward.get(path).await?;
    if answer.status != 200 {
        return Ok(Err(format!(
            "GET {path} on its admin port answered {}",
            answer.status
        )));
    }
    Ok(serde_json::from_slice(&answer.body).map_err(|e| format!("its answer is not JSON: {e}")))
}
