//! A running proxy: its agent, and the secrets that its Envoy holds.
//!
//! The agent's rules are those of `pkg/istio-agent` and `security/pkg/nodeagent/cache` (Istio ≥ 1.21):
//! `default` is the answer to its request, byte for byte; `ROOTCA` is the answer's roots together
//! with what istiod sent over PCDS, which only an agent with `PROXY_CONFIG_XDS_AGENT=true` asks for,
//! without repetition and sorted as text; when the latter changes, it asks for a new certificate at
//! once. It verifies istiod with its mounted copy of `istio-ca-root-cert`. An agent that loses istiod
//! keeps all that it has.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ca::{Issued, MeshCa, pem};
use super::config::{container, environment, meta};
use super::envoy::stats::TlsCounters;
use super::envoy::traffic::{Gauges, Passed};
use super::envoy::{Held, Pushed, ServiceKey};
use super::istiod::Istiod;
use super::world::{account, service_of_address};
use crate::pki::{Bundle, Cert, Endpoint, Identity, SanRules, SpiffeId, certs_from_pem};

/// Where Envoy's admin endpoint listens unless the proxy configuration moves it.
const ADMIN_PORT: u16 = 15000;

/// Where an agent asks for configuration unless it is told another place; not repeated in the `PROXY_CONFIG` that
/// injection makes.
pub(super) const DISCOVERY: &str = "istiod.istio-system.svc:15012";

/// One proxy.
#[allow(clippy::struct_excessive_bools)] // They are not one thing's states.
pub(super) struct Proxy {
    pub(super) pod: Value,
    /// `NAMESPACE/NAME` of the workload that it belongs to.
    pub(super) workload: String,
    pub(super) gateway: bool,
    pub(super) config: Map<String, Value>,
    pub(super) started: Timestamp,
    /// What its Envoy has counted.
    pub(super) counters: TlsCounters,
    /// What it has passed on.
    pub(super) passed: Passed,
    /// Its server's gauges, as of the last flush.
    pub(super) gauges: Gauges,
    /// Whether somebody has it fail its health check. The agent has seen it ready and does not look again, so the pod stays so.
    pub(super) draining: bool,
    pub(super) mount: Mount,
    /// Pod of the istiod that it is connected to.
    pub(super) connected: Option<String>,
    /// What it got from istiod, and when.
    pub(super) pushed: Option<(Arc<Pushed>, Timestamp)>,
    /// Secret `default`.
    pub(super) chain: Option<Held>,
    /// Secret `ROOTCA`.
    pub(super) roots: Option<Held>,
    /// What handshakes are made with: always of the two secrets and of what was pushed.
    pub(super) endpoint: Option<Endpoint>,
    /// Bundle and signer, for naming the class.
    pub(super) held: Option<Standing>,
    /// Counts the states that a prober can tell apart.
    pub(super) version: u64,
    /// Why it is not further; empty when it is where it should be.
    pub(super) trouble: String,
    trust_domain: String,
    ca: CaClient,
    discovery: ServiceKey,
    asks_for_anchors: bool,
    anchors: Option<Vec<String>>,
    issued: Option<Issued>,
    sign_again: bool,
    renew_at: Option<Timestamp>,
}

/// The volume `istiod-ca-cert`.
#[derive(Debug, Default)]
pub(super) struct Mount {
    /// The roots of istiod's CA; nothing while the ConfigMap `istio-ca-root-cert` is not there.
    pub(super) root: Option<String>,
    /// Whether the kubelet is on its way to refresh it.
    pub(super) refreshing: bool,
}

/// What a proxy's secrets amount to.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The root that its certificate hangs from.
    pub(super) signer: Cert,
    /// The trust domain in its certificate.
    pub(super) trust_domain: String,
    pub(super) bundle: Bundle,
}

/// Which client of a CA the agent has.
#[derive(Clone, Debug)]
enum CaClient {
    /// istiod behind this Service.
    Citadel(ServiceKey),
    /// `CA_PROVIDER=GoogleCA`, or an address of googleapis.com.
    GoogleCa,
    /// A provider that the twin has no server for.
    Unknown(String),
}

/// Whom an agent can reach.
pub(super) trait Reach {
    /// The newest ready istiod behind a Service.
    ///
    /// # Errors
    /// Why there is none.
    fn istiod(&self, service: &ServiceKey) -> Result<&Istiod, String>;
    /// The istiod of that pod, while it runs.
    fn running(&self, uid: &str) -> Option<&Istiod>;
    /// The new CA.
    fn mesh_ca(&self) -> &MeshCa;
}

impl Proxy {
    /// A proxy whose containers have just started; nothing for a pod without one.
    pub(super) fn of(pod: &Value, now: Timestamp) -> Option<Proxy> {
        let istio_proxy = container(pod, "istio-proxy")?;
        let role = istio_proxy["args"][1].as_str()?;
        let env: std::collections::BTreeMap<&str, &str> = environment(istio_proxy).collect();
        let config: Map<String, Value> = env
            .get("PROXY_CONFIG")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let discovery = config
            .get("discoveryAddress")
            .and_then(Value::as_str)
            .unwrap_or(DISCOVERY);
        let address = env.get("CA_ADDR").copied().unwrap_or(discovery);
        let provider = env
            .get("CA_PROVIDER")
            .copied()
            .filter(|p| !p.is_empty())
            .unwrap_or("Citadel");
        let ca = match (provider, service_of_address(address)) {
            ("GoogleCA", _) => CaClient::GoogleCa,
            _ if address.contains("googleapis.com") => CaClient::GoogleCa,
            ("Citadel", Some(service)) => CaClient::Citadel(service),
            _ => CaClient::Unknown(format!(
                "CA provider {provider} at {address} is not registered"
            )),
        };
        let workload = env
            .get("ISTIO_META_WORKLOAD_NAME")
            .map_or_else(|| meta(pod, "name"), |name| *name);
        Some(Proxy {
            workload: format!("{}/{workload}", meta(pod, "namespace")),
            gateway: role != "sidecar",
            started: now,
            counters: TlsCounters::default(),
            passed: Passed::default(),
            gauges: Gauges::default(),
            draining: false,
            mount: Mount::default(),
            connected: None,
            pushed: None,
            chain: None,
            roots: None,
            endpoint: None,
            held: None,
            version: 0,
            trouble: String::new(),
            trust_domain: env
                .get("TRUST_DOMAIN")
                .copied()
                .unwrap_or("cluster.local")
                .to_owned(),
            ca,
            discovery: service_of_address(discovery).unwrap_or_default(),
            asks_for_anchors: env
                .get("PROXY_CONFIG_XDS_AGENT")
                .is_some_and(|v| *v == "true"),
            anchors: None,
            issued: None,
            sign_again: false,
            renew_at: None,
            config,
            pod: pod.clone(),
        })
    }

    /// Port of the admin endpoint.
    pub(super) fn admin_port(&self) -> u16 {
        let moved = self.config.get("proxyAdminPort").and_then(Value::as_u64);
        moved
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(ADMIN_PORT)
    }

    /// Whether Envoy has all that it needs to be ready.
    ///
    /// # Errors
    /// What it waits for.
    pub(super) fn ready(&self) -> Result<(), String> {
        if self.endpoint.is_some() {
            return Ok(());
        }
        let waiting = if self.mount.root.is_none() {
            "MountVolume.SetUp failed for volume \"istiod-ca-cert\": configmap \"istio-ca-root-cert\" not found"
        } else if self.trouble.is_empty() {
            "Envoy proxy is NOT ready: config not received from XDS server"
        } else {
            &self.trouble
        };
        Err(waiting.to_owned())
    }

    /// Does the next thing that there is to do, if anything; true when the proxy's secrets or its
    /// configuration have changed, so that every state in between can be probed.
    pub(super) fn step(&mut self, reach: &dyn Reach, now: Timestamp) -> bool {
        self.trouble.clear();
        if let Err(reason) = self.keep_connected(reach) {
            self.trouble = reason;
        }
        self.take_pushed(reach, now)
            || self.take_anchors(reach, now)
            || self.ask_for_certificate(reach, now)
    }

    /// The kubelet has brought the ConfigMap: the agent sees its file change and connects anew.
    pub(super) fn mount_refreshed(&mut self, root: Option<String>) {
        self.mount.refreshing = false;
        if root.is_some() && self.mount.root != root {
            self.mount.root = root;
            self.connected = None;
        }
    }

    fn trusted(&self) -> Vec<Cert> {
        certs_from_pem(self.mount.root.as_deref().unwrap_or_default()).0
    }

    fn keep_connected(&mut self, reach: &dyn Reach) -> Result<(), String> {
        if self
            .connected
            .as_deref()
            .is_some_and(|uid| reach.running(uid).is_none())
        {
            self.connected = None;
        }
        if self.connected.is_none() {
            let istiod = reach.istiod(&self.discovery)?;
            istiod.connect(&self.trusted())?;
            self.connected = Some(istiod.uid.clone());
        }
        Ok(())
    }

    fn connection<'a>(&self, reach: &'a dyn Reach) -> Option<&'a Istiod> {
        self.connected.as_deref().and_then(|uid| reach.running(uid))
    }

    fn take_pushed(&mut self, reach: &dyn Reach, now: Timestamp) -> bool {
        let Some(istiod) = self.connection(reach) else {
            return false;
        };
        if self
            .pushed
            .as_ref()
            .is_some_and(|(pushed, _)| Arc::ptr_eq(pushed, &istiod.pushed))
        {
            return false;
        }
        self.pushed = Some((Arc::clone(&istiod.pushed), now));
        self.prepare();
        true
    }

    /// The trust bundle over PCDS: a change makes `ROOTCA` anew and the certificate old.
    fn take_anchors(&mut self, reach: &dyn Reach, now: Timestamp) -> bool {
        if !self.asks_for_anchors {
            return false;
        }
        let Some(anchors) = self.connection(reach).and_then(Istiod::anchors) else {
            return false;
        };
        if self.anchors.as_ref() == Some(&anchors) {
            return false;
        }
        self.anchors = Some(anchors);
        self.sign_again = self.issued.is_some();
        self.hold_roots(now)
    }

    fn ask_for_certificate(&mut self, reach: &dyn Reach, now: Timestamp) -> bool {
        let due = self.renew_at.is_some_and(|at| now >= at);
        if self.issued.is_some() && !self.sign_again && !due {
            return false;
        }
        match self.request(reach) {
            Ok(issued) => {
                self.sign_again = false;
                self.renew_at = issued.chain.first().map(renewal);
                let pem = pem(&issued.chain);
                self.issued = Some(issued);
                let version = self.next_version();
                self.chain = Some(Held {
                    pem,
                    updated: now,
                    version,
                });
                if !self.hold_roots(now) {
                    self.prepare();
                }
                true
            }
            Err(reason) => {
                self.trouble = reason;
                false
            }
        }
    }

    fn request(&self, reach: &dyn Reach) -> Result<Issued, String> {
        let id =
            |domain: &str| SpiffeId::new(domain, meta(&self.pod, "namespace"), account(&self.pod));
        match &self.ca {
            CaClient::GoogleCa => reach.mesh_ca().issue(&id(&self.trust_domain)),
            CaClient::Citadel(service) => {
                let istiod = reach.istiod(service)?;
                istiod.connect(&self.trusted())?;
                let citadel = istiod.citadel.as_ref().ok_or("rpc error: code = Unimplemented desc = unknown service istio.v1.auth.IstioCertificateService")?;
                // The identity is of the caller's token and of the CA's own trust domain.
                citadel.issue(&id(&istiod.mesh.trust_domain))
            }
            CaClient::Unknown(reason) => Err(reason.clone()),
        }
    }

    /// Makes `ROOTCA` of what there is; true when its bytes have changed.
    fn hold_roots(&mut self, now: Timestamp) -> bool {
        let Some(issued) = &self.issued else {
            return false;
        };
        let mut texts: Vec<String> = issued
            .roots
            .iter()
            .map(|root| root.pem().trim().to_owned())
            .collect();
        texts.extend(self.anchors.iter().flatten().cloned());
        texts.sort();
        texts.dedup();
        let pem = texts.join("\n") + "\n";
        if self.roots.as_ref().is_some_and(|held| held.pem == pem) {
            return false;
        }
        let version = self.next_version();
        self.roots = Some(Held {
            pem,
            updated: now,
            version,
        });
        self.prepare();
        true
    }

    /// Prepares what handshakes are made with, from the secrets' own texts.
    fn prepare(&mut self) {
        let (Some(chain), Some(roots), Some(issued), Some((pushed, _))) =
            (&self.chain, &self.roots, &self.issued, &self.pushed)
        else {
            return;
        };
        let (bundle, _) = Bundle::from_pem(&roots.pem);
        let identity = Identity {
            chain: certs_from_pem(&chain.pem).0,
            key: issued.key.clone(),
            bundle: bundle.clone(),
        };
        let inbound = SanRules::prefixes(
            pushed
                .accepted
                .iter()
                .map(|domain| format!("spiffe://{domain}/")),
        );
        match Endpoint::new(&identity, &inbound) {
            Ok(endpoint) => {
                let leaf = identity.chain.first();
                self.held = leaf
                    .zip(issued.roots.first())
                    .map(|(leaf, signer)| Standing {
                        signer: signer.clone(),
                        trust_domain: leaf
                            .spiffe_id()
                            .map(|id| id.trust_domain)
                            .unwrap_or_default(),
                        bundle,
                    });
                self.endpoint = Some(endpoint);
                self.version += 1;
            }
            Err(error) => self.trouble = error.to_string(),
        }
    }

    fn next_version(&self) -> u64 {
        let newest = |held: &Option<Held>| held.as_ref().map_or(0, |h| h.version);
        newest(&self.chain).max(newest(&self.roots)) + 1
    }
}

/// Half of the lifetime (`SECRET_GRACE_PERIOD_RATIO`), by the wall clock as all validity is.
fn renewal(leaf: &Cert) -> Timestamp {
    let lifetime = leaf.not_after().as_second() - leaf.not_before().as_second();
    Timestamp::from_second(leaf.not_before().as_second() + lifetime / 2).unwrap_or(leaf.not_after())
}
