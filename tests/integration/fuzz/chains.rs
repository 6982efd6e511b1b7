//! Changed certificates in chains, pools and bundles: every verdict ends, and none accepts what no CA
//! has signed.
//!
//! A certificate is more than its signed part. What stands around that part is fixed by it, as DER is
//! unique and the algorithm is named twice, so that one signed part has one certificate. The exception
//! is ECDSA, where (r, n − s) verifies wherever (r, s) does: for everyone, Envoy included. These second
//! forms are known here ([`twin`]) and are the only other bytes that may be accepted.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ring::signature::Ed25519KeyPair;
use rootshift::pki::{
    Bundle, Cert, KeyKind, NamedCa, Path, Signer, Trust, Usage, accepts, certs_from_pem, paths_for,
    signer, trusts,
};

use super::choices::Choices;
use super::der::{self, Element};
use super::material::{CERTS, PEM, SCENES, Scene, now};

/// What one verdict may take, even in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// All that a CA has really signed, and the second forms of it.
static GENUINE: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let twins = CERTS.iter().filter_map(|cert| twin(cert.der()));
    let plain = CERTS.iter().map(|cert| cert.der().to_vec());
    plain.chain(twins).collect()
});

pub fn target(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let scene = choices.pick(&SCENES);
    let mut chain = scene.chain.clone();
    let mut bundle: Vec<Cert> = scene.bundle.certs().cloned().collect();
    // What is signed on the way is genuine too.
    let mut signed = None;
    let mut untouched = true;
    if choices.below(4) == 0 {
        let leaf = signed_anew(&mut choices);
        bundle.push(signing_ca());
        if let Ok(leaf) = Cert::from_der(leaf) {
            signed = Some(leaf.clone());
            chain.insert(0, leaf);
            untouched = false;
        }
    }
    let usage = *choices.pick(&[Usage::Workload, Usage::Client, Usage::Server]);
    for _ in 0..choices.below(5) {
        let to_chain = choices.below(3) > 0;
        let certs = if to_chain { &mut chain } else { &mut bundle };
        let at = choices.below(certs.len());
        let Some(made) = made(certs.get(at), &mut choices) else {
            continue;
        };
        untouched = false;
        match choices.below(3) {
            0 if at < certs.len() => certs[at] = made,
            1 => certs.insert(at, made),
            _ => certs.push(made),
        }
    }
    let bundle = Bundle::from_certs(bundle);
    let doubt = judge(scene, &chain, &bundle, usage, signed.as_ref());
    assert!(doubt.is_none() || !untouched, "{}: {doubt:?}", scene.name);
}

/// Another certificate, or a variant of this one.
fn made(this: Option<&Cert>, choices: &mut Choices) -> Option<Cert> {
    let donor = choices.pick(&CERTS);
    match (this, choices.below(8)) {
        (None, _) | (_, 0) => Some(donor.clone()),
        (Some(this), 1) => Cert::from_der(twin(this.der())?).ok(),
        (Some(this), 2) => {
            // What the one says, with the other's signature.
            let (mut said, signed) = (Element::read(this.der())?, Element::read(donor.der())?);
            let parts = said.elements_mut()?;
            let (signature, algorithm) = (signed.elements().get(2)?, signed.elements().get(1)?);
            *parts.get_mut(2)? = signature.clone();
            *parts.get_mut(1)? = algorithm.clone();
            Cert::from_der(said.der()).ok()
        }
        (Some(this), 3) => {
            // Changes beside the signed part.
            let mut whole = Element::read(this.der())?;
            let (signed, donor) = (
                whole.elements().first()?.clone(),
                Element::read(donor.der())?,
            );
            whole.change(&donor, choices);
            *whole.elements_mut()?.first_mut()? = signed;
            Cert::from_der(whole.der()).ok()
        }
        (Some(this), _) => Cert::from_der(der::variant(this.der(), donor.der(), choices)).ok(),
    }
}

/// A workload's certificate that is changed first and signed then, by the CA of `ed25519-pkcs8`.
fn signed_anew(choices: &mut Choices) -> Vec<u8> {
    let (leaf, _) = certs_from_pem(&PEM["algorithms/ed25519.pem"]);
    let mut whole = Element::read(leaf[0].der()).unwrap();
    let said = &mut whole.elements_mut().unwrap()[0];
    let fields = said.elements_mut().unwrap();
    let ca = Element::read(signing_ca().der()).unwrap();
    fields[3] = ca.elements()[0].elements()[5].clone();
    // The authority key identifier names the old CA's key.
    let extensions = fields[7].elements_mut().unwrap()[0].elements_mut().unwrap();
    extensions.retain(|extension| extension.elements()[0].inside() != [0x55, 0x1d, 0x23]);
    let donor = Element::read(choices.pick(&CERTS).der()).unwrap();
    for _ in 0..choices.below(3) {
        said.change(&donor, choices);
    }
    sign(whole)
}

/// The CA with whose key [`sign`] signs.
pub fn signing_ca() -> Cert {
    Cert::from_pem(&PEM["keys/ed25519-pkcs8.crt"]).unwrap()
}

/// A certificate with a signature of what it says.
pub fn sign(mut whole: Element) -> Vec<u8> {
    static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
        let body = PEM["keys/ed25519-pkcs8.key"].split("-----").nth(2).unwrap();
        let key = rootshift::pki::decode_base64(body).unwrap();
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).unwrap()
    });
    let parts = whole.elements_mut().unwrap();
    let mut signature = vec![0];
    signature.extend(KEY.sign(&parts[0].der()).as_ref());
    parts[2] = Element::primitive(0x03, &signature);
    whole.der()
}

/// Why it is not accepted and of a known CA, if it is not.
fn judge(
    scene: &Scene,
    chain: &[Cert],
    bundle: &Bundle,
    usage: Usage,
    signed: Option<&Cert>,
) -> Option<String> {
    let leaf = &chain[0];
    let is_genuine = |cert: &Cert| GENUINE.contains(cert.der()) || signed == Some(cert);
    let sound = |path: &Path| {
        let (anchor, below) = path.certs().split_last().unwrap();
        assert_eq!(path.certs()[0], *leaf);
        assert_eq!(path.anchor(), anchor);
        assert!(!below.is_empty());
        let last = path.certs().iter().map(Cert::not_after).min();
        assert_eq!(last, Some(path.not_after()));
        assert!(is_genuine(leaf), "{leaf:?} is accepted: {}", leaf.pem());
        for cert in below.iter().filter(|cert| !bundle.contains(cert)) {
            assert!(is_genuine(cert), "{cert:?} is on a path: {}", cert.pem());
        }
    };
    let path = timed("accepts", || accepts(bundle, chain, usage, now()));
    let found = timed("paths", || {
        paths_for(usage, leaf, &chain[1..], bundle, now())
    });
    for path in path.iter().chain(found.iter().flatten()) {
        sound(path);
        assert!(bundle.contains(path.anchor()));
    }
    // What Envoy takes is among all that there is.
    assert!(found.is_ok() || path.is_err(), "{path:?}, but {found:?}");
    let by = timed("signer", || signer(chain, &scene.cas, bundle, now()));
    match &by {
        Signer::By { ca, root } => {
            let named = scene.cas.iter().find(|named| named.name == *ca).unwrap();
            assert!(named.roots.certs().any(|cert| cert.sha256() == *root));
            assert!(is_genuine(leaf), "{leaf:?} is of {by}: {}", leaf.pem());
        }
        Signer::Ambiguous { .. } | Signer::Foreign { .. } => {
            assert!(is_genuine(leaf), "{leaf:?} is of {by}: {}", leaf.pem());
        }
        Signer::Broken { .. } | Signer::Unknown { .. } => {}
    }
    for ca in &scene.cas {
        let trust = timed("trusts", || trusts(bundle, ca, now()));
        trust_is_founded(&trust, bundle, ca);
    }
    match (path, by) {
        (Ok(_), Signer::By { .. }) => None,
        (path, by) => Some(format!("{path:?}, {by:?}")),
    }
}

fn trust_is_founded(trust: &Trust, bundle: &Bundle, ca: &NamedCa) {
    match trust {
        Trust::Yes => assert!(ca.roots.certs().any(|root| bundle.contains(root))),
        Trust::YesByKey { root } => {
            let found = bundle.certs().find(|cert| cert.sha256() == *root).unwrap();
            let key = found.spki_sha256();
            assert!(ca.roots.certs().any(|root| root.spki_sha256() == key));
        }
        Trust::No { reason } | Trust::Partial { reason } | Trust::Unknown { reason } => {
            assert!(!reason.is_empty());
        }
    }
}

fn timed<T>(what: &str, judge: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let verdict = judge();
    assert!(
        started.elapsed() < LIMIT,
        "{what} took {:?}",
        started.elapsed()
    );
    verdict
}

/// The other form of an ECDSA signature around the same signed part.
pub fn twin(der: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Element::read(der)?;
    let issuer = Cert::from_der(der).ok()?.aki();
    // The size of the signer's key is not told by the certificate.
    let signer = CERTS.iter().find(|ca| {
        let named = issuer.is_some() && ca.ski() == issuer;
        named && matches!(ca.key_kind(), KeyKind::Ecdsa(_)) && ca.is_ca()
    })?;
    let order = match signer.key_kind() {
        KeyKind::Ecdsa(curve) if curve == "P-256" => P256,
        KeyKind::Ecdsa(curve) if curve == "P-384" => P384,
        _ => return None,
    };
    let signature = whole.elements_mut()?.get_mut(2)?;
    let numbers = signature.elements_mut()?.first_mut()?.elements_mut()?;
    let [_, s] = &mut numbers[..] else {
        return None;
    };
    *s = Element::primitive(0x02, &difference(order, &s.inside()));
    Some(whole.der())
}

/// The number of points of a curve (SEC 2).
const P256: &[u8] = &[
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384: &[u8] = &[
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
    0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

/// The content of the INTEGER `a - b`; `b` is the smaller one.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = Vec::new();
    let mut borrow = 0;
    let below = b.iter().rev().copied().chain(std::iter::repeat(0));
    for (a, b) in a.iter().rev().zip(below) {
        let digit = i16::from(*a) - i16::from(b) - borrow;
        borrow = i16::from(digit < 0);
        digits.push(u8::try_from(digit.rem_euclid(256)).unwrap());
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.last().is_none_or(|digit| digit & 0x80 != 0) {
        digits.push(0);
    }
    digits.reverse();
    digits
}

/// So that the exception is none by mistake: the second form is another certificate, and is accepted.
#[cfg(test)]
#[test]
fn the_second_form_of_an_ecdsa_signature_is_as_good_as_the_first() {
    let mut seen = 0;
    for scene in SCENES.iter() {
        let Some(twin) = twin(scene.chain[0].der()) else {
            continue;
        };
        let twin = Cert::from_der(twin).unwrap();
        assert_ne!(twin, scene.chain[0]);
        let chain = [&[twin][..], &scene.chain[1..]].concat();
        let path = accepts(&scene.bundle, &chain, Usage::Workload, now());
        assert!(path.is_ok(), "{}: {path:?}", scene.name);
        seen += 1;
    }
    assert!(seen >= 4, "{seen} chains with ECDSA");
}

/// So that what is changed before it is signed goes as far as it can.
#[cfg(test)]
#[test]
fn what_is_signed_anew_and_not_changed_is_accepted() {
    let leaf = Cert::from_der(signed_anew(&mut Choices::new(&[]))).unwrap();
    let bundle = Bundle::from_certs([signing_ca()]);
    let path = accepts(&bundle, &[leaf], Usage::Workload, now());
    assert!(path.is_ok(), "{path:?}");
}
