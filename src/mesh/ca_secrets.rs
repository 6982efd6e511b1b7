//! The secrets that istiod loads its CA from, read as istiod reads them.
//!
//! Separate from [`super::ca`], which gives CAs their names: here nothing has a name yet, and what counts is which
//! secret a starting istiod takes, whether it can, and which root what it signs leads to. The rules are those of
//! `pilot/pkg/bootstrap/istio_ca.go` and `security/pkg/pki/ca/ca.go`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{MeshError, names};
use crate::cluster::Cluster;
use crate::pki::{
    Bundle, PluginCa, PluginFinding, PluginInput, PrivateKey, Severity, certs_from_bytes,
    check_plugin_ca, decode_base64,
};

/// The CA secrets, the one that lies dormant beside the other first: in this order they can be deleted, and what
/// istiod would load changes with the last one only.
pub const ALL: [&str; 2] = [names::CA_SECRET, names::CACERTS];

/// What keeps istiod from starting with a CA, by code of [`check_plugin_ca`].
const FATAL: [&str; 8] = [
    "chain_to_root",
    "empty",
    "expired",
    "key_mismatch",
    "key_unreadable",
    "key_unsupported",
    "not_a_ca",
    "not_yet_valid",
];

/// The CA secrets of a mesh by name, as they are or as they would be.
#[derive(Debug, Clone, Default)]
pub struct CaSecrets(BTreeMap<String, Value>);

/// What a starting istiod takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The secret that it is from.
    pub secret: String,
    /// The roots that it gives to proxies.
    pub roots: Bundle,
    /// Those of the roots to which its signing certificate leads.
    pub anchors: Bundle,
}

/// A secret that comes first, and that istiod cannot load. What happens then differs with its version: it does not
/// start, or it signs with another root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unloadable {
    /// The secret.
    pub secret: String,
    /// What it holds, as the object of a sentence.
    pub holds: String,
}

/// The keys of one file format.
struct Form {
    cert: &'static str,
    key: &'static str,
    chain: &'static [&'static str],
    root: &'static str,
}

const TLS: Form = Form {
    cert: "tls.crt",
    key: "tls.key",
    chain: &["tls.crt", "ca.crt"],
    root: "ca.crt",
};
const FILES: Form = Form {
    cert: "ca-cert.pem",
    key: "ca-key.pem",
    chain: &["cert-chain.pem"],
    root: "root-cert.pem",
};
/// Marks a `cacerts` that istiod made itself (`USE_CACERTS_FOR_SELF_SIGNED_CA`).
const GENERATED: &str = "istio-generated";
/// Of what istiod made itself it takes the two that count.
const SELF_SIGNED: Form = Form {
    cert: "ca-cert.pem",
    key: "ca-key.pem",
    chain: &[],
    root: "ca-cert.pem",
};

impl CaSecrets {
    /// Those that are there.
    ///
    /// # Errors
    /// [`ClusterError::Forbidden`](crate::cluster::ClusterError::Forbidden) when one may not be read: then it is not
    /// known which there are.
    pub async fn read(cluster: &Cluster) -> Result<Self, MeshError> {
        let kind = cluster.kind("secrets").await?;
        let asked = ALL.map(|name| cluster.get(&kind, Some(names::ISTIO_SYSTEM), name));
        let answers = futures::future::try_join_all(asked).await?;
        let found = ALL.iter().zip(answers).filter_map(|(name, secret)| {
            let secret = secret?;
            Some(((*name).to_owned(), secret.value().clone()))
        });
        Ok(Self(found.collect()))
    }

    /// One secret, as if there were no other.
    pub fn only(name: &str, secret: &Value) -> Self {
        Self::default().with(name, secret)
    }

    /// With this one written.
    pub fn with(mut self, name: &str, secret: &Value) -> Self {
        self.0.insert(name.to_owned(), secret.clone());
        self
    }

    /// With these deleted.
    pub fn without(mut self, names: &[String]) -> Self {
        self.0.retain(|name, _| !names.contains(name));
        self
    }

    /// Their names, in the order of [`ALL`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        ALL.into_iter().filter(|name| self.0.contains_key(*name))
    }

    /// Every certificate in one of them, whatever istiod takes of it.
    pub fn certs(&self, name: &str) -> Bundle {
        let data = self.0.get(name).and_then(|s| s["data"].as_object());
        let values = data.into_iter().flatten();
        values
            .filter_map(|(_, value)| decode_base64(value.as_str()?))
            .flat_map(|bytes| certs_from_bytes(&bytes).0)
            .collect()
    }

    /// What an istiod that starts now would load: `cacerts`, in the form of a TLS secret where it has `tls.crt`,
    /// else as four files, else `istio-ca-secret`. A `cacerts` that istiod made itself (it has the key
    /// `istio-generated`) comes after `istio-ca-secret`. `None`: it would make a root.
    ///
    /// # Errors
    /// When the one that comes first is not whole, or its parts do not fit together.
    pub fn load(&self, now: Timestamp) -> Result<Option<Load>, Unloadable> {
        let own = self.0.get(names::CA_SECRET);
        let own = own.map(|secret| (names::CA_SECRET, secret, &SELF_SIGNED));
        let plugged = self.0.get(names::CACERTS).and_then(|secret| {
            let has = |key: &str| secret["data"][key].is_string();
            let files = [FILES.cert, FILES.key, FILES.root, "cert-chain.pem"];
            let form = if has(GENERATED) {
                return Some((names::CACERTS, secret, &SELF_SIGNED));
            } else if has(TLS.cert) {
                &TLS
            } else if files.into_iter().any(has) {
                &FILES
            } else {
                return None;
            };
            Some((names::CACERTS, secret, form))
        });
        let generated =
            |(_, secret, _): &(&str, &Value, &Form)| secret["data"][GENERATED].is_string();
        let first = if plugged.as_ref().is_some_and(generated) {
            own.or(plugged)
        } else {
            plugged.or(own)
        };
        first
            .map(|(name, secret, form)| load(name, secret, form, now))
            .transpose()
    }
}

fn load(name: &str, secret: &Value, form: &Form, now: Timestamp) -> Result<Load, Unloadable> {
    let unloadable = |holds: String| Unloadable {
        secret: name.to_owned(),
        holds,
    };
    let bytes = |key: &str| decode_base64(secret["data"][key].as_str()?);
    let filled = |key: &str| bytes(key).is_some_and(|bytes| !bytes.trim_ascii().is_empty());
    let lacking = [form.cert, form.key, form.root]
        .into_iter()
        .find(|key| !filled(key))
        // A chain may be empty: the certificate that signs is then the root's own work.
        .or_else(|| form.chain.iter().copied().find(|key| bytes(key).is_none()));
    if let Some(key) = lacking {
        return Err(unloadable(format!("no `{key}`")));
    }
    let read = |keys: &[&str]| {
        let text: Vec<u8> = keys
            .iter()
            .filter_map(|key| bytes(key))
            .flat_map(|mut bytes| {
                bytes.push(b'\n');
                bytes
            })
            .collect();
        PluginInput::read(&text, None)
    };
    let key = bytes(form.key).unwrap_or_default();
    let roots: Bundle = read(&[form.root]).certs.into_iter().collect();
    let check = |in_use: Bundle| {
        let ca = PluginCa {
            ca_cert: read(&[form.cert]),
            ca_key: PrivateKey::from_pem(&String::from_utf8_lossy(&key)),
            ca_key_file: None,
            root_cert: read(&[form.root]),
            cert_chain: read(form.chain),
            in_use: Some(in_use),
            horizon: SignedDuration::ZERO,
        };
        check_plugin_ca(&ca, now)
    };
    if let Some(wrong) = check(Bundle::default()).into_iter().find(is_fatal) {
        return Err(unloadable(format!(
            "a CA that istiod does not load ({})",
            wrong.message
        )));
    }
    let leads_to = |root: &crate::pki::Cert| {
        let only = Bundle::from_certs([root.clone()]);
        let findings = check(only);
        !findings.iter().any(|f| f.code == "chain_to_root_in_use")
    };
    let anchors = roots.certs().filter(|root| leads_to(root)).cloned();
    Ok(Load {
        secret: name.to_owned(),
        anchors: anchors.collect(),
        roots,
    })
}

fn is_fatal(finding: &PluginFinding) -> bool {
    finding.severity != Severity::Warning
        && FATAL.contains(&finding.code)
        && (finding.code, finding.part) != ("empty", "cert_chain")
}

#[cfg(all(test, feature = "twin"))]
mod tests {
    use base64::Engine as _;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;
    use crate::pki::mint::{Authority, CaSpec};

    fn secret(parts: &[(&str, &str)]) -> Value {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let data: BTreeMap<&str, String> = parts.iter().map(|(k, v)| (*k, encode(v))).collect();
        json!({"data": data})
    }

    #[test]
    fn cacerts_is_loaded_in_either_form_and_before_the_other_secret() {
        let now = Timestamp::now();
        let root = Authority::self_signed(&CaSpec::istio("example.org", now)).unwrap();
        let signs = root
            .intermediate(&CaSpec::istio("example.org", now))
            .unwrap();
        let (cert, top) = (signs.cert().pem(), root.cert().pem());
        let key = signs.key_pem().expose_secret().to_owned();
        let other = Authority::self_signed(&CaSpec::istio("example.org", now)).unwrap();
        let both = format!("{top}{}", other.cert().pem());
        let tls = [
            ("tls.crt", cert.as_str()),
            ("tls.key", &key),
            ("ca.crt", &both),
        ];
        let files = [
            ("ca-cert.pem", cert.as_str()),
            ("ca-key.pem", &key),
            ("root-cert.pem", &both),
            ("cert-chain.pem", ""),
        ];
        let own = [
            ("ca-cert.pem", other.cert().pem()),
            ("ca-key.pem", other.key_pem().expose_secret().to_owned()),
        ];
        let own = own.each_ref().map(|(key, text)| (*key, text.as_str()));
        let secrets = CaSecrets::only(names::CA_SECRET, &secret(&own));

        for form in [&tls[..], &files[..]] {
            let load = secrets
                .clone()
                .with(names::CACERTS, &secret(form))
                .load(now);
            let load = load.unwrap().unwrap();
            assert_eq!(
                (load.secret.as_str(), load.roots.len()),
                (names::CACERTS, 2)
            );
            let anchors: Vec<_> = load.anchors.certs().collect();
            assert_eq!(anchors, [root.cert()], "it signs under one of the two");
        }
        for form in [&tls[..2], &files[..2], &files[1..]] {
            let secrets = secrets.clone().with(names::CACERTS, &secret(form));
            assert_eq!(secrets.load(now).unwrap_err().secret, names::CACERTS);
        }
        // What istiod made itself comes second, and is loaded where it is alone.
        let generated: Vec<_> = own.into_iter().chain([("istio-generated", "")]).collect();
        let generated = secret(&generated);
        let beside =
            CaSecrets::only(names::CA_SECRET, &secret(&own)).with(names::CACERTS, &generated);
        assert_eq!(beside.load(now).unwrap().unwrap().secret, names::CA_SECRET);
        let alone = CaSecrets::only(names::CACERTS, &generated);
        assert_eq!(alone.load(now).unwrap().unwrap().secret, names::CACERTS);
        let without = secrets.with(names::CACERTS, &secret(&[])).load(now);
        assert_eq!(without.unwrap().unwrap().secret, names::CA_SECRET);
        assert_eq!(CaSecrets::default().load(now), Ok(None));
    }
}
