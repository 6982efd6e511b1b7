//! What one proxy holds: its chain and its bundle as certificates, from a live proxy or from a dump that
//! somebody saved.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::Mesh;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::mesh::dump::{self, Reading, Secrets, TrustStore};
use crate::mesh::pods::{self, PodClass};
use crate::mesh::{MeshError, read};
use crate::pki::Cert;

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "secrets", words);
}

/// The secrets of one proxy.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// What a saved Envoy config dump holds: `#{ chains, bundles, unknown, notes }`. `chains` are the proxy's
    /// own (secret `default`), each an array of certificates, its own first; `bundles` what it trusts (secret
    /// `ROOTCA`), each `#{ trust_domain, bundle }`, where `trust_domain` is `()` unless the bundle is for one
    /// alone; `unknown` says why one of the two cannot be told, or is `()`; `notes` what was odd.
    ///
    /// - `text`: JSON of `/config_dump`, masked or whole, or of `istioctl proxy-config secret -o json`.
    ///
    /// Throws `script` if it is not such a dump.
    ///
    /// ```rhai
    /// let message = "";
    /// try { mesh::read_dump("{}"); } catch (e) { message = e.message; }
    /// assert(message.contains("no secrets section"), message);
    /// ```
    #[rhai_fn(return_raw)]
    pub fn read_dump(text: &str) -> Reply<Map> {
        let fail =
            |reason: String| kit::fail(Failure::script(format!("`mesh::read_dump`: {reason}")));
        let value = serde_json::from_str(text).map_err(|e| fail(format!("not JSON: {e}")))?;
        Ok(super::shape(&dump::secrets(&value).map_err(fail)?))
    }

    /// What one live proxy holds, as `mesh::read_dump` of its dump.
    ///
    /// - `namespace`: of the pod.
    /// - `pod`: its name.
    ///
    /// Throws `cluster` if there is no such pod, or it has no proxy, or cannot be read.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// let p = m.proxies()[0];
    /// let held = m.secrets(p.namespace, p.pod);
    /// assert(held.chains[0][0].spiffe_id != () && held.bundles[0].bundle.len >= 1, held);
    /// assert(held.bundles[0].bundle.certs[0].sha256 == m.roots("CITADEL")[0], "the root in use");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn secrets(mesh: &mut Mesh, namespace: &str, pod: &str) -> Reply<Map> {
        let read = mesh.wait(async {
            let kind = mesh.cluster.kind("pods").await?;
            let found = mesh.cluster.get(&kind, Some(namespace), pod).await?;
            let Some(object) = found else {
                return Ok(Err("there is no such pod".to_owned()));
            };
            let PodClass::Proxy(proxy) = pods::classify(&object) else {
                return Ok(Err("it has no proxy that can be read".to_owned()));
            };
            let mut readings =
                read::read_all(&mesh.cluster, vec![*proxy], &mesh.options.read).await;
            Ok::<_, MeshError>(readings.remove(0).secrets)
        })?;
        let secrets = read.map_err(|reason| {
            let message = format!("pod `{namespace}/{pod}`: {reason}");
            kit::fail(Failure::new(crate::engine::FailureKind::Cluster, message))
        })?;
        Ok(super::shape(&secrets))
    }
}

fn shape(secrets: &Secrets) -> Map {
    let certs = |chain: &Vec<Cert>| -> Dynamic {
        let certs = chain.iter().cloned().map(Dynamic::from);
        certs.collect::<Array>().into()
    };
    let chains: Array = secrets.chains.iter().flatten().map(certs).collect();
    let bundles: Array = secrets.trust.iter().flatten().flat_map(stores).collect();
    let notes: Array = secrets.notes.iter().cloned().map(Dynamic::from).collect();
    let reasons: Vec<String> = reason(&secrets.chains)
        .into_iter()
        .chain(reason(&secrets.trust))
        .collect();
    let unknown = if reasons.is_empty() {
        Dynamic::UNIT
    } else {
        reasons.join("; ").into()
    };
    Map::from([
        ("bundles".into(), bundles.into()),
        ("chains".into(), chains.into()),
        ("notes".into(), notes.into()),
        ("unknown".into(), unknown),
    ])
}

fn reason<T>(reading: &Reading<T>) -> Option<String> {
    reading.as_ref().err().cloned()
}

fn stores(store: &TrustStore) -> Vec<Dynamic> {
    let entry = |domain: Dynamic, bundle: &crate::pki::Bundle| {
        Map::from([
            ("bundle".into(), Dynamic::from(bundle.clone())),
            ("trust_domain".into(), domain),
        ])
        .into()
    };
    match store {
        TrustStore::Bundle(bundle) => vec![entry(Dynamic::UNIT, bundle)],
        TrustStore::PerDomain(domains) => domains
            .iter()
            .map(|(domain, bundle)| entry(domain.clone().into(), bundle))
            .collect(),
    }
}
