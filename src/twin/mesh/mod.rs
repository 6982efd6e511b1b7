//! The mesh inside the twin: revisions of istiod, injection, agents, proxies and their traffic.
//!
//! It lives from the objects on the cluster and from what the kubelet tells it of pods, and from
//! nothing else: an istiod exists while its pod runs, a proxy is what the injector made of a pod. One
//! function, `Mesh::settle`, brings everything to where it should be after any change, one change of
//! a proxy at a time, with a sweep of the prober after each, so that every state in between is probed.
//!
//! # Calibrated against
//! Facts seen on a real mesh (Kubernetes 1.34, Istio master, Envoy 1.40), each held by a test:
//! - both roots reach a proxy only with `caCertificates`, `ISTIO_MULTIROOT_MESH` and
//!   `PROXY_CONFIG_XDS_AGENT` together; without one of the last two there is one root and no error;
//! - skipping the distribution of roots fails every handshake between moved and unmoved namespaces,
//!   client and server each refusing; trust domains without aliases fail with all roots right;
//! - CA secrets deleted and istiod restarted: a third root with the old name, in every proxy that
//!   takes anchors; istiod gone: old proxies serve on, no new one is made;
//! - `ENABLE_CA_SERVER=false`: istiod is Ready, has no serving certificate, its webhook fails;
//! - a proxy that drains stays ready and behind its Services; a gateway out of them keeps its visitors until it drains;
//! - dumps, injected pods, objects and webhooks of a revision: shapes as taken from there.
//!
//! From Istio's sources alone: PCDS and signing again, the load order of CA keys, the leader's
//! ConfigMaps, the kubelet's lag (30–90 s here). Certificates are ECDSA P-256 where Istio's are RSA.
//!
//! Not modelled: requests (only handshakes), open connections (but one visitor of each gateway, and those that a scenario
//! says), Istio's own configuration resources,
//! ambient, a CA's quota, hot reloading of `cacerts`, applications that start before their proxy.

mod ca;
pub(in crate::twin) mod config;
mod control;
mod envoy;
pub mod figures;
mod inject;
mod istiod;
mod lifecycle;
pub mod manifests;
mod network;
pub mod prober;
mod proxy;
mod webhook;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

pub use figures::{Figures, Least, PairFigures};
pub use prober::Prober;

use ca::MeshCa;
use envoy::{ServiceKey, traffic};
use istiod::Istiod;
use prober::Target;
use proxy::{Proxy, Reach, Standing};
use world::{Accounts, Ports, World};

use super::clock::SimClock;
use super::controllers::in_ready_set;
use super::kube::{Kube, Random};
use super::scenario::{AdminFault, AdminMode};
use crate::pki::Fingerprint;
use crate::pki::mint::MintError;
use config::meta;

pub(in crate::twin) use ca::{anchored, operators_cacerts, operators_root};

/// Time that the kubelet takes at least to bring a changed ConfigMap into a running pod, and how much
/// more it may be.
const MOUNT_LAG: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));
/// Real time between looks at what only the clock changes: certificates that are due.
const TICK: Duration = Duration::from_secs(5);

/// The mesh. A cheap handle: clones share it.
#[derive(Clone)]
pub struct Mesh(Arc<Inner>);

struct Inner {
    kube: Kube,
    clock: SimClock,
    random: Random,
    /// Name of the cluster, for a mesh that has joined another.
    at: Option<Arc<str>>,
    common: Arc<Common>,
    state: Mutex<State>,
    /// One settling at a time.
    turn: tokio::sync::Mutex<()>,
    faults: Mutex<Vec<AdminFault>>,
    tasks: Mutex<JoinSet<()>>,
}

/// Ports and service accounts by Service.
type Services = (Ports, Accounts);

/// What the clusters of one mesh have in common.
struct Common {
    mesh_ca: MeshCa,
    prober: Arc<Prober>,
    clusters: Mutex<Vec<Weak<Inner>>>,
    /// Names of the roots that were seen.
    roots: Mutex<Vec<(Fingerprint, String)>>,
    /// What istiods know of Services, by cluster.
    services: Mutex<BTreeMap<Option<Arc<str>>, Services>>,
}

impl Common {
    fn new() -> Result<Arc<Common>, MintError> {
        let mesh_ca = MeshCa::new()?;
        let roots = vec![(mesh_ca.root().sha256(), "MESHCA".to_owned())];
        Ok(Arc::new_cyclic(|weak: &Weak<Common>| {
            let weak = weak.clone();
            let source = move || weak.upgrade().map(|all| all.targets()).unwrap_or_default();
            Common {
                mesh_ca,
                prober: Arc::new(Prober::new(Arc::new(source))),
                clusters: Mutex::default(),
                roots: Mutex::new(roots),
                services: Mutex::default(),
            }
        }))
    }

    /// The live, ready proxies of all clusters.
    fn targets(&self) -> Vec<Target> {
        let clusters = held(&self.clusters).clone();
        let living = clusters.iter().filter_map(Weak::upgrade);
        living.flat_map(|inner| Mesh(inner).targets()).collect()
    }

    /// The Services of all clusters, as each istiod, which reads them all, sees them: those of one name are one. `own` are
    /// those of one cluster, as they are now.
    fn services(&self, at: Option<&Arc<str>>, own: (Ports, Accounts)) -> (Ports, Accounts) {
        let mut services = held(&self.services);
        services.insert(at.cloned(), own);
        let (mut ports, mut accounts) = (Ports::new(), Accounts::new());
        for (there, behind) in services.values() {
            for (service, there) in there {
                ports
                    .entry(service.clone())
                    .or_insert_with(|| there.clone());
            }
            for (service, behind) in behind {
                accounts
                    .entry(service.clone())
                    .or_default()
                    .extend(behind.iter().cloned());
            }
        }
        (ports, accounts)
    }
}

/// A panic elsewhere leaves what is behind a lock whole: each write is one.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct State {
    istiods: BTreeMap<String, Istiod>,
    /// Pods of istiods that did not start, and why.
    broken: BTreeMap<String, String>,
    proxies: BTreeMap<String, Proxy>,
    /// Pods that serve and are about to be shown as Ready.
    arriving: BTreeSet<String>,
    accounts: Accounts,
    /// Pod and revision of the istiod that writes the namespaces' root certificates.
    leader: Option<(String, String)>,
    starts: u64,
}

impl Mesh {
    /// A mesh on a cluster; it does nothing until it is told of pods.
    ///
    /// # Errors
    /// The new CA cannot be minted.
    pub(in crate::twin) fn new(
        kube: Kube,
        clock: SimClock,
        seed: u64,
        faults: Vec<AdminFault>,
    ) -> Result<Mesh, MintError> {
        Ok(Mesh::on(kube, clock, seed, faults, Common::new()?, None))
    }

    /// The mesh on one more cluster, whose name is `at`: one new CA, one traffic, over all of them.
    pub(in crate::twin) fn join(&self, kube: Kube, clock: SimClock, seed: u64, at: &str) -> Mesh {
        let common = Arc::clone(&self.0.common);
        Mesh::on(kube, clock, seed, Vec::new(), common, Some(at.into()))
    }

    fn on(
        kube: Kube,
        clock: SimClock,
        seed: u64,
        faults: Vec<AdminFault>,
        common: Arc<Common>,
        at: Option<Arc<str>>,
    ) -> Mesh {
        let inner = Arc::new(Inner {
            kube,
            clock,
            random: Random::new(seed),
            at,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            faults: Mutex::new(faults),
            tasks: Mutex::new(JoinSet::new()),
            common,
        });
        held(&inner.common.clusters).push(Arc::downgrade(&inner));
        Mesh(inner)
    }

    /// Begins to follow the cluster and to probe in the background. Must be called on a runtime.
    pub(in crate::twin) fn start(&self) {
        let mesh = self.clone();
        self.spawn(async move {
            let mut changes = mesh.0.kube.changes();
            loop {
                mesh.settle().await;
                // Either a write or the clock; nothing is missed, since settling looks at everything.
                if let Ok(Err(_)) = tokio::time::timeout(TICK, changes.changed()).await {
                    return;
                }
            }
        });
        let mesh = self.clone();
        self.spawn(async move {
            loop {
                mesh.0.clock.sleep(traffic::FLUSH).await;
                mesh.flush();
            }
        });
        if self.0.at.is_none() {
            let prober = self.prober();
            self.spawn(async move { prober.run().await });
        }
    }

    /// Ends all tasks.
    pub(in crate::twin) fn stop(&self) {
        self.tasks().abort_all();
    }

    /// The root of the new CA, as PEM.
    pub(in crate::twin) fn mesh_ca_root(&self) -> String {
        self.0.common.mesh_ca.root().pem()
    }

    /// The traffic.
    pub(in crate::twin) fn prober(&self) -> Arc<Prober> {
        Arc::clone(&self.0.common.prober)
    }

    /// Makes admin ports misbehave from now on, in place of the faults there were.
    pub(in crate::twin) fn set_admin_faults(&self, faults: Vec<AdminFault>) {
        *held(&self.0.faults) = faults;
    }

    fn admin_fault(&self, namespace: &str, pod: &str) -> Option<AdminMode> {
        let faults = held(&self.0.faults);
        let meets = |fault: &&AdminFault| {
            fault
                .pods
                .split_once('/')
                .is_some_and(|(ns, prefix)| ns == namespace && pod.starts_with(prefix))
        };
        faults.iter().find(meets).map(|fault| fault.mode)
    }

    /// Brings everything to where it should be.
    pub(in crate::twin) async fn settle(&self) {
        let _turn = self.0.turn.lock().await;
        self.control_planes().await;
        while let Some(uid) = self.step() {
            self.0
                .common
                .prober
                .sweep(Some(&BTreeSet::from([uid])))
                .await;
        }
        self.refresh_mounts();
    }

    /// Lets the first proxy that has something to do do one thing.
    fn step(&self) -> Option<String> {
        let world = World::look(&self.0.kube);
        let now = self.0.clock.now();
        let mut state = self.state();
        let State {
            istiods, proxies, ..
        } = &mut *state;
        let around = Around {
            world: &world,
            istiods,
            mesh_ca: &self.0.common.mesh_ca,
        };
        for (uid, proxy) in proxies {
            if proxy.mount.root.is_none() {
                proxy.mount.root = self.mounted_root(proxy);
            }
            if proxy.step(&around, now) {
                if let Some(standing) = &proxy.held {
                    name_roots(&mut held(&self.0.common.roots), standing);
                }
                return Some(uid.clone());
            }
        }
        None
    }

    /// The root certificate that a container of that pod gets to see when it starts now.
    fn mounted_root(&self, proxy: &Proxy) -> Option<String> {
        let map = self.0.kube.get(
            "configmaps",
            meta(&proxy.pod, "namespace"),
            control::ROOT_CONFIG_MAP,
        )?;
        map["data"]["root-cert.pem"].as_str().map(str::to_owned)
    }

    /// Sends the kubelet on its way for each mount that is no longer what the ConfigMap says.
    fn refresh_mounts(&self) {
        let mut stale = Vec::new();
        for (uid, proxy) in &mut self.state().proxies {
            if !proxy.mount.refreshing
                && proxy.mount.root.is_some()
                && self.mounted_root(proxy) != proxy.mount.root
            {
                proxy.mount.refreshing = true;
                stale.push(uid.clone());
            }
        }
        for uid in stale {
            let (least, more) = MOUNT_LAG;
            let part = u32::try_from(self.0.random.next() % 1000).unwrap_or(0);
            let lag = least + more * part / 1000;
            let mesh = self.clone();
            self.spawn(async move {
                mesh.0.clock.sleep(lag).await;
                if let Some(proxy) = mesh.state().proxies.get_mut(&uid) {
                    let root = mesh.mounted_root(proxy);
                    proxy.mount_refreshed(root);
                }
                mesh.settle().await;
            });
        }
    }

    /// The live, ready proxies.
    fn targets(&self) -> Vec<Target> {
        let world = World::look(&self.0.kube);
        let roots = held(&self.0.common.roots).clone();
        let state = self.state();
        let at = self.0.at.as_ref();
        let serves = |pod: &Value| {
            in_ready_set(pod)
                || (state.arriving.contains(meta(pod, "uid"))
                    && pod["metadata"]["deletionTimestamp"].is_null())
        };
        let live = world.pods.iter().filter(|pod| serves(pod));
        live.filter_map(|pod| {
            let proxy = state.proxies.get(meta(pod, "uid"))?;
            Some(Target {
                uid: meta(pod, "uid").to_owned(),
                workload: at.map_or_else(
                    || proxy.workload.clone(),
                    |at| format!("{}@{at}", proxy.workload),
                ),
                class: class(&roots, proxy).into(),
                gateway: proxy.gateway,
                endpoint: proxy.endpoint.clone(),
                pushed: proxy.pushed.as_ref().map(|(pushed, _)| Arc::clone(pushed)),
                services: world.services_of(pod),
                account: (meta(pod, "namespace").to_owned(), world::account(pod)),
                counters: proxy.counters.clone(),
                passed: is_visited(&world, &state, pod, proxy).then(|| proxy.passed.clone()),
                address: pod["status"]["podIP"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            })
        })
        .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        held(&self.0.state)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        held(&self.0.tasks)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// Whether anybody calls by this proxy. Applications do; visitors come to a gateway by a Service, to the pod where they were
/// before if they are to stay with one, and remain where they are until they are asked to go.
fn is_visited(world: &World, state: &State, pod: &Value, proxy: &Proxy) -> bool {
    if !proxy.gateway || (!proxy.draining && proxy.passed.any()) {
        return true;
    }
    let namespace = meta(pod, "namespace");
    let rank = |uid: &str| {
        let proxy = state.proxies.get(uid)?;
        Some((!proxy.passed.any(), proxy.started, uid.to_owned()))
    };
    let uid = meta(pod, "uid");
    let mut services = world.services.iter();
    services.any(|service| {
        if meta(service, "namespace") != namespace {
            return false;
        }
        let there = world.endpoints(namespace, meta(service, "name"));
        let there = there.unwrap_or_default();
        let is_sticky = service["spec"]["sessionAffinity"] == "ClientIP";
        there.contains(uid)
            && (!is_sticky || there.iter().filter_map(|u| rank(u)).min() == rank(uid))
    })
}

/// What an agent can reach at one moment.
struct Around<'a> {
    world: &'a World,
    istiods: &'a BTreeMap<String, Istiod>,
    mesh_ca: &'a MeshCa,
}

impl Reach for Around<'_> {
    fn istiod(&self, service: &ServiceKey) -> Result<&Istiod, String> {
        newest(self.istiods, self.world, service)
    }

    fn running(&self, uid: &str) -> Option<&Istiod> {
        self.istiods.get(uid)
    }

    fn mesh_ca(&self) -> &MeshCa {
        self.mesh_ca
    }
}

/// The newest ready istiod behind a Service. A real Service picks any; here a new connection always
/// meets the newest, so that a run repeats.
fn newest<'a>(
    istiods: &'a BTreeMap<String, Istiod>,
    world: &World,
    (namespace, name): &ServiceKey,
) -> Result<&'a Istiod, String> {
    let ready = world.endpoints(namespace, name)?;
    istiods
        .values()
        .filter(|istiod| ready.contains(istiod.uid.as_str()))
        .max_by_key(|istiod| istiod.started)
        .ok_or_else(|| "connect: connection refused".to_owned())
}

/// Gives roots that were not seen before the names `CITADEL`, `CITADEL-2`, ….
fn name_roots(roots: &mut Vec<(Fingerprint, String)>, standing: &Standing) {
    for root in std::iter::once(&standing.signer).chain(standing.bundle.certs()) {
        let fingerprint = root.sha256();
        if roots.iter().all(|(known, _)| *known != fingerprint) {
            let name = match roots.len() {
                1 => "CITADEL".to_owned(),
                before => format!("CITADEL-{before}"),
            };
            roots.push((fingerprint, name));
        }
    }
}

/// What a proxy presents, trusts and accepts, in words.
fn class(roots: &[(Fingerprint, String)], proxy: &Proxy) -> String {
    let (Some(standing), Some((pushed, _))) = (&proxy.held, &proxy.pushed) else {
        return "without a certificate".to_owned();
    };
    let name = |fingerprint: Fingerprint| {
        let known = roots.iter().find(|(known, _)| *known == fingerprint);
        known.map_or_else(|| fingerprint.short(), |(_, name)| name.clone())
    };
    let mut trusted: Vec<String> = standing
        .bundle
        .certs()
        .map(|root| name(root.sha256()))
        .collect();
    trusted.sort();
    let mut text = format!(
        "signed by {} as {}, trusts {}, accepts {}",
        name(standing.signer.sha256()),
        standing.trust_domain,
        trusted.join("+"),
        pushed.accepted.join("+")
    );
    if proxy.gateway {
        text.push_str(", gateway");
    }
    text
}

/// When a pod's proxy started, by the kubelet's record of its container: an Envoy is never older than that.
fn container_start(pod: &serde_json::Value) -> Timestamp {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let mut statuses = lists
        .iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten();
    statuses
        .find(|status| status["name"] == "istio-proxy")
        .and_then(|status| status["state"]["running"]["startedAt"].as_str())
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests;
