//! The mesh at one moment: every pod accounted for, every proxy read and judged.
//!
//! A survey is taken until it stands still: pods that are starting or going away are asked again,
//! and what appeared or was replaced while proxies were being read is read too. What does not
//! settle in time stays in the survey as undecided, and blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::dumps::{Dumps, Fates};
use super::injection::{Injection, Injector, Labels};
use super::pods::{self, PodClass, ProxyPod, Workload};
use super::read::{self, Ask, ProxyReading, ReadOptions, Source};
use super::verdict::Verdict;
use super::{MeshError, names};
use crate::cluster::{Cluster, Object, Selector};
use crate::pki::NamedCa;

/// How a survey is taken.
#[derive(Debug, Clone)]
pub struct SurveyOptions {
    /// How proxies are read.
    pub read: ReadOptions,
    /// How long pods that start or go away are waited for.
    pub settle: Duration,
    /// Dumps for what cannot be asked.
    pub dumps: Arc<Dumps>,
    /// A workload whose pods are about to be made anew: those that have not come up are not waited for.
    pub replaced: Option<Workload>,
}

impl Default for SurveyOptions {
    fn default() -> Self {
        Self {
            read: ReadOptions::default(),
            settle: Duration::from_secs(30),
            dumps: Arc::default(),
            replaced: None,
        }
    }
}

/// One proxy with what it said and what that means.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// What it said.
    pub reading: ProxyReading,
    /// What that means.
    pub verdict: Verdict,
}

impl Proxy {
    /// Judges what it said.
    pub(super) fn of(reading: ProxyReading, cas: &[NamedCa], now: Timestamp) -> Self {
        Self {
            verdict: Verdict::of(&reading, cas, now),
            reading,
        }
    }

    /// The pod.
    pub fn pod(&self) -> &ProxyPod {
        &self.reading.pod
    }
}

/// A pod that could not be judged, by `NAMESPACE`, name, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unjudged {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Why not.
    pub reason: String,
}

/// A pod without a proxy.
#[derive(Debug, Clone)]
pub struct Outside {
    /// What made it.
    pub workload: Workload,
    /// The service account it runs as.
    pub service_account: String,
    /// Its labels.
    pub labels: Labels,
}

/// The mesh at one moment.
#[derive(Debug, Clone)]
pub struct Survey {
    /// When the last proxy had been read.
    pub taken_at: Timestamp,
    /// Every proxy of the cluster that is in a pod, by namespace and name.
    pub proxies: Vec<Proxy>,
    /// Proxies of the cluster without a pod, of which a dump was saved.
    pub machines: Vec<Proxy>,
    /// Those of the mesh's other clusters that were looked at, told by their cluster: `web-1.shop@east`.
    pub abroad: Vec<Proxy>,
    /// What belongs to the mesh and was not looked at, a line each.
    pub unseen: Vec<String>,
    /// What became of the dumps.
    pub dumps: Fates,
    /// Ended pods.
    pub skipped: Vec<Unjudged>,
    /// Pods that count and cannot be judged: starting, going away, unsupported, lacking a proxy.
    pub unjudged: Vec<Unjudged>,
    /// Pods with a proxy that have not come up; each is also in `unjudged`.
    pub starting: Vec<ProxyPod>,
    /// Pods that lack the proxy that they should have; each is also in `unjudged`.
    pub lacking: Vec<Outside>,
    /// Pods outside of the mesh.
    pub outside: Vec<Outside>,
    /// The labels of every namespace.
    pub namespaces: BTreeMap<String, Labels>,
    /// Who would inject what.
    pub injection: Injection,
}

impl Survey {
    /// Takes one.
    ///
    /// # Errors
    /// When pods, namespaces or webhooks cannot be listed. A proxy that cannot be read is no error
    /// but a verdict of unknown.
    pub async fn take(
        cluster: &Cluster,
        cas: &[NamedCa],
        options: &SurveyOptions,
    ) -> Result<Self, MeshError> {
        let deadline = tokio::time::Instant::now() + options.settle;
        let mut known: BTreeMap<(String, u64), ProxyReading> = BTreeMap::new();
        loop {
            let listing = Listing::take(cluster, options.replaced.clone()).await?;
            let missing: Vec<ProxyPod> = listing
                .proxies
                .iter()
                .filter(|p| !known.contains_key(&p.incarnation()))
                .cloned()
                .collect();
            let nothing_new = missing.is_empty() || options.read.ask == Ask::Nothing;
            let in_time = tokio::time::Instant::now() < deadline;
            let mut starting = 0;
            for reading in read::read_all(cluster, missing, &options.read).await {
                // A proxy that is still starting has no certificate yet: asked again while there is time.
                let asked = options.read.ask != Ask::Nothing;
                if asked && reading.secrets.is_err() && !reading.pod.ready && in_time {
                    starting += 1;
                } else {
                    known.insert(reading.pod.incarnation(), reading);
                }
            }
            // What was listed before anything was read may be gone or replaced by now: only a list
            // without news ends the survey.
            if nothing_new && (listing.undecided == 0 || !in_time) {
                let mut readings = listing.readings(&mut known);
                let mut look = options.dumps.look(cluster, &options.read.certs);
                if options.read.ask != Ask::Nothing {
                    look.stand_in(&mut readings).await;
                }
                return Ok(listing.into_survey(readings, look.end(), cas));
            }
            if nothing_new || starting > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Every proxy of the mesh, in whichever cluster.
    pub fn all(&self) -> impl Iterator<Item = &Proxy> {
        self.here().chain(&self.abroad)
    }

    /// Every proxy of the cluster, with a pod or without.
    pub fn here(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().chain(&self.machines)
    }

    /// What rests on dumps that somebody saved, in a line; `None`: nothing does.
    pub fn rests_on_dumps(&self) -> Option<String> {
        let taken = || {
            self.all().filter_map(|proxy| match &proxy.reading.source {
                Source::Dump(taken) => Some((taken.changed, proxy.pod(), taken)),
                Source::Itself | Source::Nobody => None,
            })
        };
        let (_, pod, oldest) = taken().min_by_key(|(changed, ..)| *changed)?;
        Some(format!(
            "{} of {} proxies are judged by dumps that were saved; the oldest: {}.{}, {}",
            taken().count(),
            self.all().count(),
            pod.name,
            pod.namespace,
            oldest.age(self.taken_at)
        ))
    }

    /// The proxies of one namespace.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Proxy> {
        self.proxies
            .iter()
            .filter(move |p| p.pod().namespace == namespace)
    }

    /// Everything that keeps a verdict about the whole mesh from being given, as lines.
    pub fn unknowns(&self) -> Vec<String> {
        let proxies = self.all().filter_map(|p| {
            let pod = p.pod();
            p.verdict
                .unknown()
                .map(|reason| format!("{}.{} unknown: {reason}", pod.name, pod.namespace))
        });
        let pods = self
            .unjudged
            .iter()
            .map(|u| format!("{}.{} unknown: {}", u.pod, u.namespace, u.reason));
        proxies.chain(pods).collect()
    }

    /// The revisions that proxies are of or that namespaces ask for.
    pub fn revisions_in_use(&self) -> Vec<String> {
        let of_proxies = self
            .proxies
            .iter()
            .map(|p| p.pod().revision.clone().unwrap_or_else(|| "default".into()));
        let none = Labels::new();
        let asked = self.namespaces.iter().filter_map(|(name, labels)| {
            match self.injection.injector(name, labels, &none) {
                Injector::Revision(revision) => Some(revision),
                Injector::Nobody | Injector::Several(_) => None,
            }
        });
        let all: BTreeSet<String> = of_proxies.chain(asked).collect();
        all.into_iter().collect()
    }

    /// Namespaces that have a proxy or whose labels ask for injection.
    pub fn meshed_namespaces(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = self
            .proxies
            .iter()
            .map(|p| p.pod().namespace.clone())
            .collect();
        let none = Labels::new();
        all.extend(
            self.namespaces
                .iter()
                .filter(|(name, labels)| {
                    self.injection.injector(name, labels, &none) != Injector::Nobody
                })
                .map(|(name, _)| name.clone()),
        );
        all
    }
}

/// One listing of pods and namespaces, classified.
struct Listing {
    proxies: Vec<ProxyPod>,
    starting: Vec<ProxyPod>,
    skipped: Vec<Unjudged>,
    unjudged: Vec<Unjudged>,
    undecided: usize,
    lacking: Vec<Outside>,
    outside: Vec<Outside>,
    namespaces: BTreeMap<String, Labels>,
    injection: Injection,
    replaced: Option<Workload>,
}

impl Listing {
    async fn take(cluster: &Cluster, replaced: Option<Workload>) -> Result<Self, MeshError> {
        let (pod_kind, namespace_kind) = (
            cluster.kind("pods").await?,
            cluster.kind("namespaces").await?,
        );
        let everything = Selector::default();
        let (pod_list, namespace_list) = futures::try_join!(
            cluster.list(&pod_kind, None, &everything),
            cluster.list(&namespace_kind, None, &everything)
        )?;
        let injection = Injection::read(cluster).await?;
        let namespaces: BTreeMap<String, Labels> = namespace_list
            .iter()
            .map(|n| (n.name().to_owned(), n.labels()))
            .collect();
        let mut out = Self {
            proxies: Vec::new(),
            starting: Vec::new(),
            skipped: Vec::new(),
            unjudged: Vec::new(),
            undecided: 0,
            lacking: Vec::new(),
            outside: Vec::new(),
            namespaces,
            injection,
            replaced,
        };
        for pod in &pod_list {
            out.add(pod);
        }
        out.proxies
            .sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        out.unjudged.sort();
        Ok(out)
    }

    fn add(&mut self, pod: &Object) {
        let unjudged = |reason: String| Unjudged {
            namespace: pod.namespace().unwrap_or_default().to_owned(),
            pod: pod.name().to_owned(),
            reason,
        };
        match pods::classify(pod) {
            PodClass::Outside => {
                let outside = Outside {
                    workload: pods::workload_of(pod),
                    service_account: pods::service_account(pod.value()),
                    labels: pod.labels(),
                };
                match self.lacks_proxy(pod) {
                    Some(reason) => {
                        self.lacking.push(outside);
                        self.unjudged.push(unjudged(reason));
                    }
                    None => self.outside.push(outside),
                }
            }
            PodClass::Proxy(proxy) => self.proxies.push(*proxy),
            PodClass::Skipped(reason) => self.skipped.push(unjudged(reason.to_owned())),
            PodClass::Leaving => {
                self.undecided += 1;
                self.unjudged.push(unjudged("is going away".to_owned()));
            }
            PodClass::Starting(proxy, reason) => {
                if self.replaced.as_ref() != Some(&proxy.workload) {
                    self.undecided += 1;
                }
                self.starting.push(*proxy);
                self.unjudged.push(unjudged(reason));
            }
            PodClass::Unjudgeable(reason) => self.unjudged.push(unjudged(reason)),
        }
    }

    /// A pod that a webhook would inject and that has no proxy: made before the label was set, or
    /// while the webhook was down. Its traffic is plain text, and a strict peer refuses it.
    fn lacks_proxy(&self, pod: &Object) -> Option<String> {
        let value = pod.value();
        let flag = |pointer: &str| {
            value.pointer(pointer).and_then(serde_json::Value::as_bool) == Some(true)
        };
        let ended = matches!(
            value
                .pointer("/status/phase")
                .and_then(serde_json::Value::as_str),
            Some("Succeeded" | "Failed")
        );
        let declined = pod
            .annotations()
            .get(names::INJECT)
            .is_some_and(|v| v == "false");
        if ended
            || declined
            || flag("/spec/hostNetwork")
            || value.pointer("/metadata/deletionTimestamp").is_some()
        {
            return None;
        }
        let namespace = pod.namespace()?;
        let labels = self.namespaces.get(namespace)?;
        match self.injection.injector(namespace, labels, &pod.labels()) {
            Injector::Nobody => None,
            Injector::Revision(revision) => Some(format!(
                "should have a sidecar of revision `{revision}` and has none"
            )),
            Injector::Several(revisions) => Some(format!(
                "should have a sidecar, of one of {}, and has none",
                revisions.join(", ")
            )),
        }
    }

    /// What is known of the proxies that are listed.
    fn readings(&self, known: &mut BTreeMap<(String, u64), ProxyReading>) -> Vec<ProxyReading> {
        let listed = self.proxies.iter();
        listed
            .filter_map(|pod| {
                let mut reading = known.remove(&pod.incarnation())?;
                // Which dump is of a pod is asked of the pod as it is now.
                if reading.source == Source::Nobody {
                    reading.pod = pod.clone();
                }
                Some(reading)
            })
            .collect()
    }

    fn into_survey(self, readings: Vec<ProxyReading>, dumps: Fates, cas: &[NamedCa]) -> Survey {
        let now = Timestamp::now();
        let proxies = readings
            .into_iter()
            .map(|reading| Proxy::of(reading, cas, now))
            .collect();
        Survey {
            taken_at: now,
            proxies,
            machines: Vec::new(),
            abroad: Vec::new(),
            unseen: Vec::new(),
            dumps,
            skipped: self.skipped,
            unjudged: self.unjudged,
            starting: self.starting,
            lacking: self.lacking,
            outside: self.outside,
            namespaces: self.namespaces,
            injection: self.injection,
        }
    }
}
