//! Envoy's dumps with nodes lost, doubled, renamed and replaced: what cannot be read is unknown, and
//! what is read was there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rootshift::mesh::dump::{self, Secrets};
use rootshift::mesh::matchers::{self, Inbound, San};
use rootshift::pki::{Cert, CertCache, Fingerprint, SpiffeId, certs_from_pem, decode_base64};
use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::material::{CERT_TEXTS, DUMPS};
use super::text;

/// Names that mean something to the readers, in the spelling of the admin port.
const NAMES: &[&str] = &[
    "@type",
    "name",
    "secret",
    "configs",
    "dynamic_active_secrets",
    "dynamic_warming_secrets",
    "tls_certificate",
    "certificate_chain",
    "validation_context",
    "trusted_ca",
    "inline_bytes",
    "inline_string",
    "filename",
    "environment_variable",
    "custom_validator_config",
    "typed_config",
    "trust_domains",
    "trust_bundle",
    "common_tls_context",
    "combined_validation_context",
    "default_validation_context",
    "match_typed_subject_alt_names",
    "match_subject_alt_names",
    "san_type",
    "matcher",
    "exact",
    "prefix",
    "ignore_case",
    "require_client_certificate",
    "cluster",
    "dynamic_active_clusters",
];

/// Values of the same sort.
const WORDS: &[&str] = &[
    "default",
    "ROOTCA",
    "URI",
    "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
    "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
    "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
    "spiffe://cluster.local/ns/a/sa/b",
    "[redacted]",
    "",
];

/// What was read before makes no difference.
static CACHE: LazyLock<CertCache> = LazyLock::new(CertCache::default);

pub fn target(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    // The whole one is many times larger than the others together.
    let whole = choices.below(16) == 1;
    let real = match DUMPS.split_last().unwrap() {
        (last, _) if whole => last,
        (_, small) => choices.pick(small),
    };
    let mut dump = real.clone();
    let camel = choices.below(4) == 1;
    if camel {
        spell_in_camel_case(&mut dump);
    }
    let untouched = !choices.more();
    for _ in 0..choices.below(8) {
        change(&mut dump, &mut choices);
    }
    let held = dump::secrets(&dump);
    let demanded = matchers::matchers(&[&dump]);
    if untouched {
        assert_eq!(held, dump::secrets(real));
        assert!(
            held.as_ref()
                .is_ok_and(|read| read.chains.is_ok() && read.trust.is_ok())
        );
        assert_eq!(demanded, matchers::matchers(&[real]));
    }
    assert_eq!(dump::secrets_with(&dump, &CACHE), held);
    if let (Ok(held), false) = (&held, whole) {
        judge(&dump, held);
    }
    if let Ok(demanded) = demanded {
        let someone = SpiffeId::new("cluster.local", "pay", "sleep");
        let _ = (
            demanded.inbound.accepts(&someone),
            demanded.outbound.accepts(&someone),
            demanded.outbound.uniform().is_some(),
        );
        if let Inbound::Names(names) = &demanded.inbound {
            let texts = strings(&dump);
            for name in names {
                let (San::Exact(text) | San::Prefix(text)) = name else {
                    continue;
                };
                assert!(
                    texts.contains(&text.as_str()),
                    "{text} is demanded by nobody"
                );
            }
        }
    }
}

/// Nothing is invented, and what has no name of ours is nobody's.
fn judge(dump: &Value, read: &Secrets) {
    let texts = strings(dump);
    for (name, known) in [
        ("default", read.chains.is_ok()),
        ("ROOTCA", read.trust.is_ok()),
    ] {
        assert!(
            !known || texts.contains(&name),
            "no secret is called {name}"
        );
    }
    let mut there: BTreeSet<Fingerprint> = BTreeSet::new();
    for text in texts.iter().filter(|text| text.len() > 100) {
        there.extend(certs_from_pem(text).0.iter().map(Cert::sha256));
        let bytes = decode_base64(text).unwrap_or_default();
        let (certs, _) = certs_from_pem(&String::from_utf8_lossy(&bytes));
        there.extend(certs.iter().map(Cert::sha256));
    }
    for chain in read.chains.iter().flatten() {
        assert!(!chain.is_empty());
        assert!(chain.iter().all(|cert| there.contains(&cert.sha256())));
    }
    for store in read.trust.iter().flatten() {
        assert!(
            store
                .all()
                .certs()
                .all(|cert| there.contains(&cert.sha256()))
        );
        if let Some(bundle) = store.for_peer("cluster.local") {
            assert!(!bundle.is_empty());
        }
    }
}

/// All strings of a document that are values.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// Does something to some node.
fn change(dump: &mut Value, choices: &mut Choices) {
    let donor = match choices.below(4) {
        0 => node(&mut DUMPS[choices.below(DUMPS.len() - 1)].clone(), choices).clone(),
        _ => Value::Null,
    };
    let node = node(dump, choices);
    match choices.below(8) {
        0 => *node = donor,
        1 => *node = literal(choices),
        2 => match node {
            Value::String(text) => change_text(text, choices),
            Value::Array(list) if !list.is_empty() => {
                list.remove(choices.below(list.len()));
            }
            Value::Object(map) => {
                if let Some(key) = key(map, choices) {
                    map.remove(&key);
                }
            }
            _ => {}
        },
        3 => match node {
            Value::Array(list) if !list.is_empty() => {
                let one = choices.pick(list).clone();
                let times = 1 + choices.below(3);
                list.extend(std::iter::repeat_n(one, times));
            }
            // The same under another name, or one in place of another.
            Value::Object(map) => {
                if let Some(from) = key(map, choices) {
                    let copy = map[&from].clone();
                    let to = name(map, choices);
                    map.insert(to, copy);
                }
            }
            _ => {}
        },
        4 => {
            if let Value::Object(map) = node
                && let Some(from) = key(map, choices)
                && let Some(moved) = map.remove(&from)
            {
                let to = match choices.below(3) {
                    0 => in_camel_case(&from),
                    _ => name(map, choices),
                };
                map.insert(to, moved);
            }
        }
        5 => match node {
            Value::Array(list) => list.push(donor),
            Value::Object(map) => {
                let to = name(map, choices);
                map.insert(to, donor);
            }
            _ => {}
        },
        6 => spell_in_camel_case(node),
        _ => *node = json!([node.take()]),
    }
}

/// One of the nodes below `value`, or itself; the way down is chosen step by step.
fn node<'v>(value: &'v mut Value, choices: &mut Choices) -> &'v mut Value {
    let within = match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if choices.below(12) == 11 || within == 0 {
        return value;
    }
    let at = choices.below(within);
    match value {
        Value::Array(list) => node(&mut list[at], choices),
        Value::Object(map) => node(map.values_mut().nth(at).unwrap(), choices),
        other => other,
    }
}

fn key(map: &Map<String, Value>, choices: &mut Choices) -> Option<String> {
    map.keys().nth(choices.below(map.len())).cloned()
}

/// A name that is there, or one that means something, in either spelling.
fn name(map: &Map<String, Value>, choices: &mut Choices) -> String {
    match choices.below(4) {
        0 => key(map, choices).unwrap_or_default(),
        1 => in_camel_case(choices.pick::<&str>(NAMES)),
        _ => (*choices.pick(NAMES)).to_owned(),
    }
}

fn literal(choices: &mut Choices) -> Value {
    match choices.below(8) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(1e300),
        4 => json!([]),
        5 => json!({}),
        6 => json!({"inline_string": choices.pick(&CERT_TEXTS)}),
        _ => json!(choices.pick(WORDS)),
    }
}

/// The text itself, or what is in it in base64.
fn change_text(text: &mut String, choices: &mut Choices) {
    let inner = decode_base64(text).filter(|inner| inner.len() > 100);
    let encoded = inner.is_some() && choices.below(4) > 0;
    let mut bytes = match inner {
        Some(inner) if encoded => inner,
        _ => text.clone().into_bytes(),
    };
    for _ in 0..choices.below(3) {
        text::change(&mut bytes, choices);
    }
    *text = if encoded && choices.below(4) < 3 {
        text::base64(&bytes, choices)
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    };
}

/// Every name below, as `istioctl -o json` spells it.
fn spell_in_camel_case(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(spell_in_camel_case),
        Value::Object(map) => {
            for (name, mut value) in std::mem::take(map) {
                spell_in_camel_case(&mut value);
                map.insert(in_camel_case(&name), value);
            }
        }
        _ => {}
    }
}

fn in_camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| {
        let (start, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        all + start.to_ascii_uppercase().as_str() + rest
    })
}
