//! One saved dump: whose it is, since when, and what it holds.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::Value;

use crate::mesh::dump::{self, Reading, Secrets, field};
use crate::mesh::matchers::{self, Matchers};
use crate::pki::CertCache;

/// What a whole `GET /config_dump` says.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    /// Name that the proxy gives itself: of its pod, or of its machine.
    pub(super) name: String,
    /// Its namespace.
    pub(super) namespace: String,
    /// Its cluster, if it tells (`CLUSTER_ID`).
    pub(super) cluster: Option<String>,
    /// Its addresses, that of its id first.
    pub(super) addresses: Vec<String>,
    /// When this Envoy started.
    pub(super) started: Timestamp,
    /// The newest change in it: it was taken then or later.
    pub(super) changed: Timestamp,
    /// Service and namespace of the istiod that tells it its configuration.
    pub(super) discovery: Option<Service>,
    pub(super) secrets: Secrets,
    pub(super) matchers: Reading<Matchers>,
}

/// Name and namespace of a Service.
pub(super) type Service = (String, String);

impl Saved {
    /// The revision that its istiod's Service is of.
    pub(super) fn revision(&self) -> Option<String> {
        let (service, _) = self.discovery.as_ref()?;
        match service.strip_prefix("istiod")? {
            "" => Some("default".to_owned()),
            rest => rest.strip_prefix('-').map(str::to_owned),
        }
    }

    /// Whether the proxy has one of these addresses.
    pub(super) fn is_at(&self, addresses: &[String]) -> bool {
        addresses
            .iter()
            .any(|a| self.addresses.iter().any(|b| same(a, b)))
    }
}

/// Two texts of one address (IPv6 has many).
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Reads a dump, in Envoy's spelling (snake case) or in that of protobuf's JSON (camel case).
///
/// # Errors
/// Why nothing can rest on it: it does not say whose it is, or has no secrets.
pub(super) fn read(text: &[u8], certs: &CertCache) -> Reading<Saved> {
    let dump: Value = serde_json::from_slice(text).map_err(|e| format!("it is not JSON: {e}"))?;
    let sections = || dump["configs"].as_array().into_iter().flatten();
    let mut bootstraps = sections().filter(|section| {
        let kind = section["@type"].as_str();
        kind.is_some_and(|kind| kind.ends_with(".BootstrapConfigDump"))
    });
    let bootstrap = bootstraps.next().ok_or(
        "it does not say whose it is, having no bootstrap section: save the whole of GET /config_dump",
    )?;
    if bootstraps.next().is_some() {
        return Err("it is of several proxies: save one in each file".into());
    }
    let node = &bootstrap["bootstrap"]["node"];
    let id = node["id"].as_str().unwrap_or_default();
    // ROLE~ADDRESS~POD.NAMESPACE~DOMAIN (istio/istio `pkg/model/proxy.go`, ServiceNode).
    let parts: Vec<&str> = id.split('~').collect();
    let [_, address, who, _] = parts[..] else {
        return Err(format!("its node id `{id}` is not one of Istio's"));
    };
    let Some((name, namespace)) = who.rsplit_once('.') else {
        return Err(format!("its node id `{id}` names no namespace"));
    };
    let metadata = &node["metadata"];
    let instance = metadata["INSTANCE_IPS"].as_str().unwrap_or_default();
    let more = instance.split(',').map(str::trim).filter(|a| !a.is_empty());
    Ok(Saved {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        cluster: metadata["CLUSTER_ID"].as_str().map(str::to_owned),
        addresses: std::iter::once(address)
            .chain(more)
            .map(str::to_owned)
            .collect(),
        started: updated(bootstrap)
            .ok_or("it does not say when its Envoy started (`last_updated` of the bootstrap)")?,
        changed: sections()
            .flat_map(changes)
            .max()
            .ok_or("nothing in it says when it was changed")?,
        discovery: metadata["PROXY_CONFIG"]["discoveryAddress"]
            .as_str()
            .and_then(service),
        secrets: dump::secrets_with(&dump, certs)?,
        matchers: matchers::matchers(&[&dump]),
    })
}

/// When a section and what is listed in it was changed, by Envoy's own record. Other texts of that name, as in a pod's
/// annotations, are somebody's.
fn changes(section: &Value) -> Vec<Timestamp> {
    let lists = section.as_object().into_iter().flatten();
    let listed = lists
        .filter_map(|(_, list)| list.as_array())
        .flatten()
        .flat_map(|entry| {
            let state = field(entry, "active_state", "activeState");
            [updated(entry), updated(state)]
        });
    listed.chain([updated(section)]).flatten().collect()
}

fn updated(of: &Value) -> Option<Timestamp> {
    let time = field(of, "last_updated", "lastUpdated").as_str()?;
    time.parse().ok()
}

/// `istiod-a.istio-system.svc:15012` → (`istiod-a`, `istio-system`).
fn service(address: &str) -> Option<Service> {
    let host = address.split(':').next()?;
    let mut labels = host.split('.');
    let (name, namespace) = (labels.next()?, labels.next()?);
    (labels.next()? == "svc").then(|| (name.to_owned(), namespace.to_owned()))
}
