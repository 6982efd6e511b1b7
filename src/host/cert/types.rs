//! The types of `cert::…` as scripts see them: `Cert`, `Bundle` and `PrivateKey`, their fields,
//! operators and texts.

use rhai::plugin::*;
use rhai::{Array, Map};
use serde_json::{Value, json};

use super::super::time;
use super::super::world::World;
use crate::engine::kit::{self, Reply};
use crate::pki::{Bundle, Cert, PrivateKey};

/// What stands where a key is.
const REDACTED: &str = "‹redacted›";

/// Makes the types known to `engine`.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Cert>("Cert")
        .register_type_with_name::<Bundle>("Bundle")
        .register_type_with_name::<PrivateKey>("PrivateKey");

    for (name, _) in FIELDS {
        engine.register_get(*name, |cert: &mut Cert| field(cert, name));
    }
    engine
        .register_get(
            "expires_in",
            |ctx: NativeCallContext, cert: &mut Cert| -> Reply<f64> {
                Ok(cert.expires_in(World::of(&ctx)?.now()).as_secs_f64())
            },
        )
        .register_fn(
            "to_string",
            |ctx: NativeCallContext, cert: &mut Cert| -> Reply<String> {
                Ok(cert.describe(World::of(&ctx)?.now()))
            },
        )
        .register_fn(
            "to_debug",
            |ctx: NativeCallContext, cert: &mut Cert| -> Reply<String> {
                Ok(cert.summary(World::of(&ctx)?.now()))
            },
        )
        .register_fn("==", |a: Cert, b: Cert| a == b)
        .register_fn("!=", |a: Cert, b: Cert| a != b);

    engine
        .register_get("certs", |bundle: &mut Bundle| -> Array {
            bundle
                .in_istios_order()
                .cloned()
                .map(Dynamic::from)
                .collect()
        })
        .register_get("pem", |bundle: &mut Bundle| bundle.pem())
        .register_get("sha256", |bundle: &mut Bundle| bundle.sha256().to_string())
        .register_get("not_after", |bundle: &mut Bundle| -> Dynamic {
            bundle
                .first_expiry()
                .map_or(Dynamic::UNIT, |at| time::text(at).into())
        })
        .register_get("len", |bundle: &mut Bundle| methods::len(bundle.clone()))
        .register_fn(
            "to_string",
            |ctx: NativeCallContext, bundle: &mut Bundle| -> Reply<String> {
                Ok(bundle.describe(World::of(&ctx)?.now()))
            },
        )
        .register_fn("to_debug", |bundle: &mut Bundle| {
            format!("Bundle of {} ({})", bundle.len(), bundle.sha256().short())
        })
        .register_fn("==", |a: Bundle, b: Bundle| a == b)
        .register_fn("!=", |a: Bundle, b: Bundle| a != b)
        .register_fn("+", |a: Bundle, b: Bundle| a.union(&b))
        .register_fn("-", |a: Bundle, b: Bundle| a.difference(&b))
        .register_fn("&", |a: Bundle, b: Bundle| a.intersection(&b));
    engine.register_global_module(rhai::exported_module!(methods).into());

    engine
        .register_get("kind", |key: &mut PrivateKey| key.kind())
        .register_fn("to_string", |_: &mut PrivateKey| REDACTED)
        .register_fn("to_debug", |_: &mut PrivateKey| REDACTED);
}

/// What can be asked of certificates and bundles besides their fields.
#[export_module]
mod methods {
    /// Whether a bundle has a certificate, by its bytes; also written `cert in bundle`.
    ///
    /// - `bundle`: a bundle.
    /// - `cert`: a certificate.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(root in cert::bundle(root) && !cert::bundle([]).contains(root), "by bytes");
    /// ```
    #[rhai_fn(global)]
    pub fn contains(bundle: Bundle, cert: Cert) -> bool {
        bundle.contains(&cert)
    }

    /// Whether a bundle has no certificate.
    ///
    /// - `bundle`: a bundle.
    ///
    /// ```rhai
    /// assert(cert::bundle([]).is_empty(), "nothing in it");
    /// ```
    #[rhai_fn(global)]
    pub fn is_empty(bundle: Bundle) -> bool {
        bundle.is_empty()
    }

    /// How many different certificates a bundle has.
    ///
    /// - `bundle`: a bundle.
    ///
    /// ```rhai
    /// let root = cert::mesh_ca_root();
    /// assert(cert::bundle([root, root]).len() == 1, "each once");
    /// ```
    #[rhai_fn(global)]
    pub fn len(bundle: Bundle) -> i64 {
        i64::try_from(bundle.len()).unwrap_or(i64::MAX)
    }

    /// All fields of a certificate as a map, as `cert::parse` lists them.
    ///
    /// - `cert`: a certificate.
    ///
    /// ```rhai
    /// let all = cert::mesh_ca_root().to_map();
    /// assert(all.keys().len() > 20 && all.is_ca, all.keys());
    /// ```
    #[rhai_fn(global)]
    pub fn to_map(cert: Cert) -> Map {
        super::FIELDS
            .iter()
            .map(|(name, value)| ((*name).into(), kit::to_dynamic(&value(&cert))))
            .collect()
    }
}

type Field = fn(&Cert) -> Value;

/// The fields of a certificate.
const FIELDS: &[(&str, Field)] = &[
    ("subject", |c| c.subject().into()),
    ("subject_parts", |c| parts(c.subject_attributes())),
    ("issuer", |c| c.issuer().into()),
    ("issuer_parts", |c| parts(c.issuer_attributes())),
    ("serial", |c| c.serial().into()),
    ("serial_decimal", |c| c.serial_decimal().into()),
    ("not_before", |c| time::text(c.not_before()).into()),
    ("not_after", |c| time::text(c.not_after()).into()),
    ("is_ca", |c| c.is_ca().into()),
    ("path_len", |c| c.path_len().into()),
    ("key_usages", |c| json!(c.key_usages())),
    ("extended_key_usages", |c| json!(c.extended_key_usages())),
    ("uris", |c| json!(c.uris())),
    ("dns_names", |c| json!(c.dns_names())),
    ("ip_addresses", |c| json!(c.ip_addresses())),
    ("email_addresses", |c| json!(c.email_addresses())),
    ("other_names", |c| json!(c.other_names())),
    ("spiffe_id", |c| {
        c.spiffe_id().ok().map(|id| id.to_string()).into()
    }),
    ("key", |c| c.key_kind().to_string().into()),
    ("signature_algorithm", |c| c.signature_algorithm().into()),
    ("ski", |c| c.ski().into()),
    ("aki", |c| c.aki().into()),
    ("self_issued", |c| c.is_self_issued().into()),
    ("self_signed", |c| c.is_self_signed().into()),
    ("sha256", |c| c.sha256().to_string().into()),
    ("spki_sha256", |c| c.spki_sha256().to_string().into()),
    ("pem", |c| c.pem().into()),
];

fn field(cert: &Cert, name: &str) -> Dynamic {
    FIELDS
        .iter()
        .find(|(field, _)| *field == name)
        .map_or(Dynamic::UNIT, |(_, value)| kit::to_dynamic(&value(cert)))
}

/// `[#{ kind, value }]`: a map could not hold two OUs, and order counts.
fn parts(attributes: Vec<(String, String)>) -> Value {
    attributes
        .into_iter()
        .map(|(kind, value)| json!({"kind": kind, "value": value}))
        .collect()
}

/// What a certificate's JSON has: enough to know it by. `to_map()` has everything.
const SHOWN: [&str; 8] = [
    "subject",
    "issuer",
    "serial",
    "not_before",
    "not_after",
    "is_ca",
    "uris",
    "sha256",
];

/// The JSON of a value of one of these types.
pub(in crate::host) fn json_form(value: &Dynamic) -> Option<Value> {
    if let Some(cert) = value.read_lock::<Cert>() {
        return Some(cert_json(&cert));
    }
    if let Some(bundle) = value.read_lock::<Bundle>() {
        return Some(bundle.in_istios_order().map(cert_json).collect());
    }
    value.is::<PrivateKey>().then(|| REDACTED.into())
}

fn cert_json(cert: &Cert) -> Value {
    FIELDS
        .iter()
        .filter(|(name, _)| SHOWN.contains(name))
        .map(|(name, value)| ((*name).to_owned(), value(cert)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A map of named values.
pub(super) fn map<const N: usize>(entries: [(&str, Dynamic); N]) -> Map {
    entries
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect()
}
