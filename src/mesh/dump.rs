//! What an Envoy holds: its own certificate chain and its trust bundle, out of a config dump.
//!
//! The shape is Envoy's `envoy.admin.v3.SecretsConfigDump` (snake_case from the admin port,
//! camelCase from `istioctl -o json`; both are read). Entries are chosen by exact SDS name and
//! never by position: gateways list more secrets, and the order is a hash map's. Private keys are
//! `[redacted]` by Envoy and not looked at.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use serde_json::Value;

use super::names;
use crate::pki::{Bundle, Cert, CertCache, PemIssue, decode_base64};

/// Notes that are kept of one dump: with more of them nobody reads them.
const MAX_NOTES: usize = 1000;

/// A value, or why it is not known.
pub type Reading<T> = Result<T, String>;

/// The certificates that a proxy accepts as ends of a peer's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TrustStore {
    /// One bundle for every peer (`trusted_ca`), as Istio makes it.
    Bundle(Bundle),
    /// A bundle for each trust domain (Envoy's SPIFFE validator); wins over `trusted_ca`.
    PerDomain(BTreeMap<String, Bundle>),
}

impl TrustStore {
    /// The bundle by which a peer of this trust domain is judged.
    pub fn for_peer(&self, trust_domain: &str) -> Option<&Bundle> {
        match self {
            Self::Bundle(bundle) => Some(bundle),
            Self::PerDomain(domains) => domains.get(trust_domain),
        }
    }

    /// Every root in it, for questions that are not about one peer.
    pub fn all(&self) -> Bundle {
        match self {
            Self::Bundle(bundle) => bundle.clone(),
            Self::PerDomain(domains) => domains
                .values()
                .fold(Bundle::default(), |all, bundle| all.union(bundle)),
        }
    }
}

/// The secrets of one proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The chains under the name `default`, leaf first. Envoy may hold more than one secret of the
    /// name (one per SDS source); a proxy may use any of them, so all must hold.
    pub chains: Reading<Vec<Vec<Cert>>>,
    /// The trust stores under the name `ROOTCA`; likewise.
    pub trust: Reading<Vec<TrustStore>>,
    /// What was odd but not fatal: unreadable blocks, other PEM types.
    pub notes: Vec<String>,
}

/// Reads the secrets out of a config dump, masked or whole.
///
/// # Errors
/// A reason when the JSON holds no secrets section at all: a mask that the Envoy does not know, a
/// body of something else. A section without our secrets is not an error but unknown readings.
pub fn secrets(dump: &Value) -> Result<Secrets, String> {
    secrets_with(dump, &CertCache::default())
}

/// [`secrets`], with what was parsed already: many proxies hold the same roots.
pub fn secrets_with(dump: &Value, cache: &CertCache) -> Result<Secrets, String> {
    let sections = sections(dump);
    if sections.is_empty() {
        return Err("the dump has no secrets section".into());
    }
    let mut notes = Vec::new();
    let mut active = Vec::new();
    let mut warming = Vec::new();
    for section in sections {
        for (list, into) in [
            (
                field(section, "dynamic_active_secrets", "dynamicActiveSecrets"),
                &mut active,
            ),
            (
                field(section, "dynamic_warming_secrets", "dynamicWarmingSecrets"),
                &mut warming,
            ),
        ] {
            into.extend(list.as_array().into_iter().flatten());
        }
    }
    let named = |name: &str| -> Vec<&Value> {
        active
            .iter()
            .copied()
            .filter(|e| e["name"] == name)
            .map(|e| &e["secret"])
            .collect()
    };
    let missing = |name: &str| {
        if warming.iter().any(|e| e["name"] == name) {
            format!("secret `{name}` is warming: the agent has not delivered it yet")
        } else {
            format!("the proxy has no secret `{name}`: its agent has no certificate")
        }
    };
    let chains = collect(
        &named(names::SDS_DEFAULT),
        &missing(names::SDS_DEFAULT),
        |secret| {
            let certificate = field(secret, "tls_certificate", "tlsCertificate");
            let text = source(field(certificate, "certificate_chain", "certificateChain"))?;
            let read = cache.chain(&text);
            note(&read.issues, names::SDS_DEFAULT, &mut notes);
            if read.certs.is_empty() {
                return Err("secret `default` holds no readable certificate".into());
            }
            loaded(&read.loads, names::SDS_DEFAULT)?;
            Ok(read.certs)
        },
    );
    let trust = collect(
        &named(names::SDS_ROOT),
        &missing(names::SDS_ROOT),
        |secret| {
            trust_store(
                field(secret, "validation_context", "validationContext"),
                cache,
                &mut notes,
            )
        },
    );
    Ok(Secrets {
        chains,
        trust,
        notes,
    })
}

/// Every section of the wanted type; several (a dump that was put together) are read as one.
fn sections(dump: &Value) -> Vec<&Value> {
    let list = dump.get("configs").and_then(Value::as_array);
    let mut found: Vec<&Value> = list
        .into_iter()
        .flatten()
        .filter(|c| {
            c["@type"]
                .as_str()
                .is_some_and(|t| t.ends_with(".SecretsConfigDump"))
        })
        .collect();
    // `istioctl proxy-config secret -o json` prints the section itself.
    if found.is_empty() && !field(dump, "dynamic_active_secrets", "dynamicActiveSecrets").is_null()
    {
        found.push(dump);
    }
    found
}

fn collect<T: Clone + Eq + Hash>(
    secrets: &[&Value],
    missing: &str,
    mut read: impl FnMut(&Value) -> Reading<T>,
) -> Reading<Vec<T>> {
    if secrets.is_empty() {
        return Err(missing.to_owned());
    }
    let (mut out, mut seen) = (Vec::new(), HashSet::new());
    for secret in secrets {
        let value = read(secret)?;
        if seen.insert(value.clone()) {
            out.push(value);
        }
    }
    Ok(out)
}

fn trust_store(context: &Value, cache: &CertCache, notes: &mut Vec<String>) -> Reading<TrustStore> {
    if let Some(domains) = spiffe_domains(context) {
        let mut bundles = BTreeMap::new();
        for domain in domains {
            let name = domain["name"].as_str().unwrap_or_default().to_lowercase();
            let text = source(field(domain, "trust_bundle", "trustBundle"))?;
            bundles.insert(name, bundle(&text, cache, notes)?);
        }
        return Ok(TrustStore::PerDomain(bundles));
    }
    let text = source(field(context, "trusted_ca", "trustedCa"))?;
    Ok(TrustStore::Bundle(bundle(&text, cache, notes)?))
}

fn spiffe_domains(context: &Value) -> Option<&Vec<Value>> {
    let custom = field(context, "custom_validator_config", "customValidatorConfig");
    let config = field(custom, "typed_config", "typedConfig");
    field(config, "trust_domains", "trustDomains").as_array()
}

fn bundle(text: &str, cache: &CertCache, notes: &mut Vec<String>) -> Reading<Bundle> {
    let read = cache.bundle(text);
    note(&read.issues, names::SDS_ROOT, notes);
    if read.bundle.is_empty() {
        return Err("secret `ROOTCA` holds no readable certificate".into());
    }
    loaded(&read.loads, names::SDS_ROOT)?;
    Ok(read.bundle.clone())
}

/// Envoy keeps what it had when it cannot load a secret, and shows the new one in its dump.
fn loaded(loads: &Result<(), PemIssue>, name: &str) -> Reading<()> {
    loads.as_ref().copied().map_err(|issue| {
        format!(
            "secret `{name}`, block {}: {}: Envoy does not load such a text as it stands, so what it \
             uses is not known",
            issue.index, issue.reason
        )
    })
}

fn note(issues: &[PemIssue], name: &str, notes: &mut Vec<String>) {
    let room = MAX_NOTES.saturating_sub(notes.len());
    notes.extend(
        issues
            .iter()
            .take(room)
            .map(|i| format!("secret `{name}`, block {}: {}", i.index, i.reason)),
    );
}

/// The text of an Envoy `DataSource`.
fn source(data: &Value) -> Reading<String> {
    if let Some(text) = field(data, "inline_string", "inlineString").as_str() {
        return Ok(text.to_owned());
    }
    if let Some(encoded) = field(data, "inline_bytes", "inlineBytes").as_str() {
        let bytes =
            decode_base64(encoded).ok_or("its bytes are not base64: the dump is damaged")?;
        return String::from_utf8(bytes).map_err(|_| "its bytes are not PEM text".into());
    }
    for (snake, camel) in [
        ("filename", "filename"),
        ("environment_variable", "environmentVariable"),
    ] {
        if let Some(place) = field(data, snake, camel).as_str() {
            return Err(format!(
                "held by reference (`{place}`): the dump does not show it"
            ));
        }
    }
    Err("the dump shows no data for it".into())
}

/// A field under either spelling.
pub(super) fn field<'a>(value: &'a Value, snake: &str, camel: &str) -> &'a Value {
    match &value[snake] {
        Value::Null => &value[camel],
        found => found,
    }
}

#[cfg(all(test, feature = "twin"))]
#[path = "dump_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
