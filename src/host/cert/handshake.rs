//! `cert::handshake`: two identities as scripts write them.

use rhai::{Dynamic, Map, NativeCallContext};

use super::arguments::{At, bundle_of, certs_of, key_of, script};
use super::types::map;
use crate::engine::Failure;
use crate::engine::did_you_mean;
use crate::engine::kit::{self, Reply};
use crate::pki::{self, Identity, SanRules};

const WORD: &str = "cert::handshake";
/// `trusted` and `cas` are `cert::sample`'s, so that what it gives can be used as it is.
const KNOWN: [&str; 7] = [
    "accepts", "bundle", "cas", "chain", "key", "leaf", "trusted",
];

pub(super) fn shake(ctx: &NativeCallContext, client: Map, server: Map, options: Map) -> Reply<Map> {
    let At { at } = At::of(ctx, WORD, options, &["at"])?;
    let (client, outbound) = identity("client", &client)?;
    let (server, inbound) = identity("server", &server)?;
    let result = pki::handshake(&client, &outbound, &server, &inbound, at);
    let none = (Dynamic::UNIT, Dynamic::UNIT, Dynamic::UNIT);
    let (side, cause, reason) = result.as_ref().err().map_or(none, |failure| {
        (
            failure.side.to_string().into(),
            failure.cause.code().into(),
            failure.to_string().into(),
        )
    });
    Ok(map([
        ("cause", cause),
        ("ok", result.is_ok().into()),
        ("reason", reason),
        ("side", side),
    ]))
}

/// An identity, and the names that it accepts.
fn identity(who: &str, given: &Map) -> Reply<(Identity, SanRules)> {
    if let Some(unknown) = given.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let mut failure = Failure::script(format!("the {who} of `{WORD}` has no `{unknown}`"));
        failure.hint = did_you_mean(unknown, KNOWN);
        return Err(kit::fail(failure));
    }
    let need = |key: &str| {
        given
            .get(key)
            .filter(|value| !value.is_unit())
            .ok_or_else(|| script(format!("the {who} of `{WORD}` lacks `{key}`")))
    };
    let mut chain = match given.get("leaf") {
        Some(leaf) => certs_of(WORD, leaf)?,
        None => Vec::new(),
    };
    if let Some(rest) = given.get("chain").filter(|chain| !chain.is_unit()) {
        chain.extend(certs_of(WORD, rest)?);
    }
    if chain.is_empty() {
        return Err(script(format!(
            "the {who} of `{WORD}` has no certificate in `chain`"
        )));
    }
    let identity = Identity {
        chain,
        key: key_of(WORD, need("key")?)?,
        bundle: bundle_of(WORD, need("bundle")?)?,
    };
    let rules = match given.get("accepts") {
        None => SanRules::any(),
        Some(names) if names.is_unit() => SanRules::any(),
        Some(names) => rules(who, names)?,
    };
    Ok((identity, rules))
}

/// Names with `*` at the end are prefixes.
fn rules(who: &str, names: &Dynamic) -> Reply<SanRules> {
    let names: Vec<String> = if let Some(list) = names.read_lock::<rhai::Array>() {
        list.iter()
            .map(|name| name.clone().into_string())
            .collect::<Result<_, _>>()
            .map_err(|kind| script(format!("`accepts` of the {who} has a name that is {kind}")))?
    } else {
        let name = names.clone().into_string();
        vec![name.map_err(|kind| script(format!("`accepts` of the {who} is names, not {kind}")))?]
    };
    let (mut prefixes, mut exact) = (Vec::new(), Vec::new());
    for name in names {
        match name.strip_suffix('*') {
            Some(prefix) => prefixes.push(prefix.to_owned()),
            None => exact.push(name),
        }
    }
    Ok(SanRules {
        prefixes: Some(prefixes),
        exact: Some(exact),
    })
}
