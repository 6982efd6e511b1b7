//! What scripts give for certificates, keys and times.

use jiff::Timestamp;
use rhai::{Array, Blob, Dynamic, Map, NativeCallContext};
use serde::Deserialize;

use super::super::world::World;
use crate::effect::files::FileError;
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use crate::pki::{self, Bundle, Cert, NamedCa, PrivateKey, Usage};

/// The time of a verdict.
pub(super) struct At {
    pub(super) at: Timestamp,
}

/// The time of a verdict, and what the peer is taken for.
pub(super) struct Judging {
    pub(super) at: Timestamp,
    pub(super) usage: Usage,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    at: Option<String>,
    usage: Option<String>,
}

impl At {
    pub(super) fn of(
        ctx: &NativeCallContext,
        word: &str,
        options: Map,
        known: &[&str],
    ) -> Reply<At> {
        let now = World::of(ctx)?.now();
        let options: Options = kit::options(word, options, known)?;
        Ok(At {
            at: time(word, options.at.as_deref(), now)?,
        })
    }
}

impl Judging {
    pub(super) fn of(ctx: &NativeCallContext, word: &str, options: Map) -> Reply<Judging> {
        let now = World::of(ctx)?.now();
        let options: Options = kit::options(word, options, &["at", "usage"])?;
        let usage = match options.usage.as_deref() {
            None | Some("workload") => Usage::Workload,
            Some("client") => Usage::Client,
            Some("server") => Usage::Server,
            Some(other) => {
                let message = format!("option `usage` of `{word}`: `{other}` is none");
                let hint = "`client`, `server` or `workload`";
                return Err(kit::fail(Failure::script(message).hint(hint)));
            }
        };
        Ok(Judging {
            at: time(word, options.at.as_deref(), now)?,
            usage,
        })
    }
}

/// The time that an option says, or now.
pub(super) fn time(word: &str, at: Option<&str>, now: Timestamp) -> Reply<Timestamp> {
    at.map_or(Ok(now), |at| super::super::time::parse(word, at))
}

pub(super) fn script(message: impl ToString) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::script(message.to_string()))
}

pub(super) fn failed(error: FileError) -> Box<rhai::EvalAltResult> {
    kit::fail(Failure::environment(error.to_string()))
}

/// All certificates of an argument in their order.
pub(super) fn certs_of(word: &str, value: &Dynamic) -> Reply<Vec<Cert>> {
    if let Some(cert) = value.read_lock::<Cert>() {
        return Ok(vec![cert.clone()]);
    }
    if let Some(bundle) = value.read_lock::<Bundle>() {
        return Ok(bundle.in_istios_order().cloned().collect());
    }
    if let Some(array) = value.read_lock::<Array>() {
        let mut certs = Vec::new();
        for value in array.iter() {
            certs.extend(certs_of(word, value)?);
        }
        return Ok(certs);
    }
    let (certs, issues) = if let Some(blob) = value.read_lock::<Blob>() {
        pki::certs_from_bytes(&blob)
    } else if let Ok(text) = value.clone().into_immutable_string() {
        pki::certs_from_bytes(text.as_bytes())
    } else {
        let message = format!("`{word}` takes certificates, not {}", value.type_name());
        let hint = "PEM text, DER as a blob, a Cert, a Bundle, or an array of these";
        return Err(kit::fail(Failure::script(message).hint(hint)));
    };
    match issues.first() {
        Some(issue) => {
            let failure = Failure::script(format!("`{word}`: {issue}"));
            let hint = "`cert::read` shows what can be read of such a text";
            Err(kit::fail(failure.hint(hint)))
        }
        None => Ok(certs),
    }
}

pub(super) fn bundle_of(word: &str, value: &Dynamic) -> Reply<Bundle> {
    if let Some(bundle) = value.read_lock::<Bundle>() {
        return Ok(bundle.clone());
    }
    Ok(Bundle::from_certs(certs_of(word, value)?))
}

/// CAs with their names; certificates without names are one CA without a name.
pub(super) fn named_cas(word: &str, value: &Dynamic) -> Reply<Vec<NamedCa>> {
    let Some(map) = value.read_lock::<Map>() else {
        return Ok(vec![NamedCa::new("", bundle_of(word, value)?)]);
    };
    map.iter()
        .map(|(name, roots)| Ok(NamedCa::new(name.as_str(), bundle_of(word, roots)?)))
        .collect()
}

pub(super) fn cert_of(word: &str, value: &Dynamic) -> Reply<Cert> {
    let certs = certs_of(word, value)?;
    match &certs[..] {
        [cert] => Ok(cert.clone()),
        _ => Err(script(format!(
            "`{word}` takes one certificate, not {}",
            certs.len()
        ))),
    }
}

/// A key, or the text of one. The text is in no message.
pub(super) fn key_of(word: &str, value: &Dynamic) -> Reply<PrivateKey> {
    if let Some(key) = value.read_lock::<PrivateKey>() {
        return Ok(key.clone());
    }
    let Ok(text) = value.clone().into_immutable_string() else {
        let message = format!("`{word}` takes a private key, not {}", value.type_name());
        let hint = "PEM text, or what `cert::key` or `cert::read_key` gave";
        return Err(kit::fail(Failure::script(message).hint(hint)));
    };
    read_key(&text).map_err(|error| script(format!("`{word}`: {error}")))
}

/// The key of a text: PEM, or base64 of it as Secrets hold it.
pub(super) fn read_key(text: &str) -> Result<PrivateKey, pki::KeyError> {
    if !text.contains("-----BEGIN")
        && let Some(bytes) = pki::decode_base64(text)
        && let Ok(inner) = String::from_utf8(bytes)
        && inner.contains("-----BEGIN")
    {
        return PrivateKey::from_pem(&inner);
    }
    PrivateKey::from_pem(text)
}
