//! Identities in which one certificate was changed at random, and signed again: what no CA writes.
//!
//! The changes keep lengths right, so that the certificate is still read by lax parsers. What this program
//! does not read at all is no identity, and left out.

use jiff::Timestamp;
use proptest::{prelude::*, sample::select};
use rcgen::{KeyPair, SigningKey};
use rootshift::pki::mint::{Authority, CaSpec, LeafSpec, Oddity};
use rootshift::pki::{Cert, PrivateKey, SpiffeId};
use secrecy::ExposeSecret;

use super::cases::Case;

/// What is done to one element of DER.
#[derive(Debug, Clone, Copy)]
enum Change {
    Append(u8),
    Clear,
    Cut,
    Delete,
    Flip(u16),
    Prepend(u8),
    Replace(&'static [u8]),
    Tag(u8),
    Twice,
}

/// Contents that are right somewhere.
const CONTENTS: [&[u8]; 8] = [
    b"\x00",
    b"\x01\x01\x00",
    b"\x01\x01\x01",
    b"\x02\x01\x00",
    b"\x03\x02\x00\x81",
    b"\x04\x00",
    b"\x05\x00",
    b"\x30\x00",
];

/// So many attempts; those that are readable.
pub fn mutants(now: Timestamp, attempts: usize) -> Vec<Case> {
    let base = Base::new(now);
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Append),
        Just(Change::Clear),
        Just(Change::Cut),
        Just(Change::Delete),
        (0..4096u16).prop_map(Change::Flip),
        any::<u8>().prop_map(Change::Prepend),
        select(CONTENTS.to_vec()).prop_map(Change::Replace),
        any::<u8>().prop_map(Change::Tag),
        Just(Change::Twice),
    ];
    let drawn = super::cases::draw((0..3usize, any::<u16>(), change), attempts, 6);
    drawn
        .into_iter()
        .filter_map(|(victim, at, change)| base.mutant(victim, at.into(), change))
        .collect()
}

/// Leaf, intermediate and root, with all that a changed extension could be of.
struct Base {
    certs: [Cert; 3],
    key: PrivateKey,
    /// Who signed each of them.
    signers: [KeyPair; 3],
}

impl Base {
    fn new(now: Timestamp) -> Self {
        let id = SpiffeId::new("cluster.local", "shop", "front");
        let root = CaSpec::istio("cluster.local", now).odd(Oddity::Policy);
        let root = Authority::self_signed(&root).unwrap();
        let sub = CaSpec::new([("O", "cluster.local"), ("CN", "issuing")], now);
        let sub = sub
            .path_len(0)
            .odd(Oddity::Policy)
            .odd(Oddity::AuthorityBySerial);
        let sub = root.intermediate(&sub).unwrap();
        let spec = LeafSpec {
            dns: vec!["front.shop".to_owned()],
            ips: vec![[10, 0, 0, 1].into()],
            ..LeafSpec::workload(&id, now)
        };
        let (leaf, key) = sub.issue(&spec.odd(Oddity::Policy)).unwrap();
        let signer = |ca: &Authority| KeyPair::from_pem(ca.key_pem().expose_secret()).unwrap();
        Self {
            certs: [leaf, sub.cert().clone(), root.cert().clone()],
            key,
            signers: [signer(&sub), signer(&root), signer(&root)],
        }
    }

    fn mutant(&self, victim: usize, at: usize, change: Change) -> Option<Case> {
        let [leaf, sub, root] = &self.certs;
        let mut certs = [leaf.clone(), sub.clone(), root.clone()];
        let parts = elements(elements(certs[victim].der())?[0].1)?;
        let body = encode(parts[0].0, parts[0].1);
        let at = at % count(&body);
        let body = changed(&body, &mut Some(at), change)?;
        let mut signature = vec![0];
        signature.extend(self.signers[victim].sign(&body).unwrap());
        let rest = [encode(parts[1].0, parts[1].1), encode(3, &signature)].concat();
        let der = encode(0x30, &[body, rest].concat());
        certs[victim] = Cert::from_der(der).ok()?;
        let whose = ["leaf", "intermediate", "root"][victim];
        let [leaf, sub, root] = certs;
        // Another public key than the one that there is a private key for.
        (self.key.matches(&leaf) == Ok(true)).then(|| Case {
            name: format!("[{whose}, element {at}: {change:?}]"),
            chain: vec![leaf, sub],
            key: self.key.clone(),
            trusted: [root].into_iter().collect(),
        })
    }
}

/// The same DER with one element changed, counted from the outside in and from the left to the right.
fn changed(bytes: &[u8], at: &mut Option<usize>, change: Change) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for (tag, content) in elements(bytes)? {
        match *at {
            Some(0) => {
                *at = None;
                all.extend(apply(tag, content, change));
            }
            Some(more) => {
                *at = Some(more - 1);
                match inner(tag, content) {
                    Some(content) => all.extend(encode(tag, &changed(content, at, change)?)),
                    None => all.extend(encode(tag, content)),
                }
            }
            None => all.extend(encode(tag, content)),
        }
    }
    Some(all)
}

fn apply(tag: u8, content: &[u8], change: Change) -> Vec<u8> {
    match change {
        Change::Append(byte) => encode(tag, &[content, &[byte]].concat()),
        Change::Clear => encode(tag, &[]),
        Change::Cut => encode(tag, &content[..content.len().saturating_sub(1)]),
        Change::Delete => Vec::new(),
        Change::Flip(bit) => {
            let mut content = content.to_vec();
            let length = content.len().max(1);
            if let Some(byte) = content.get_mut(usize::from(bit / 8) % length) {
                *byte ^= 1 << (bit % 8);
            }
            encode(tag, &content)
        }
        Change::Prepend(byte) => encode(tag, &[&[byte], content].concat()),
        Change::Replace(content) => encode(tag, content),
        Change::Tag(tag) => encode(tag, content),
        Change::Twice => [encode(tag, content), encode(tag, content)].concat(),
    }
}

fn count(bytes: &[u8]) -> usize {
    let all = elements(bytes).unwrap_or_default();
    all.iter()
        .map(|(tag, content)| 1 + inner(*tag, content).map_or(0, count))
        .sum()
}

/// The elements inside an element, if there are any: of extensions too.
fn inner(tag: u8, content: &[u8]) -> Option<&[u8]> {
    let nested =
        tag & 0x20 != 0 || tag == 0x04 && matches!(content.first(), Some(0x03 | 0x04 | 0x30));
    (nested && elements(content).is_some()).then_some(content)
}

fn elements(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut all = Vec::new();
    while let [tag, first, rest @ ..] = bytes {
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                length
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                rest,
            )
        };
        let (content, rest) = rest.split_at_checked(length)?;
        all.push((*tag, content));
        bytes = rest;
    }
    bytes.is_empty().then_some(all)
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let header = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}
