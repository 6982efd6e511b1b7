//! SPIFFE ids: what is read is the identity that the text names, and nothing looser is read.

use rootshift::pki::{SpiffeError, SpiffeId};

use super::choices::Choices;
use super::text;

const SEEDS: &[&str] = &[
    "spiffe://cluster.local/ns/shop/sa/front",
    "SPIFFE://Project.svc.id.goog/ns/istio-system/sa/istio-ingressgateway-service-account",
    "spiffe://td/ns/a.b_c/sa/-",
    "https://example.com/ns/shop/sa/front",
    "",
];

const PIECES: &[&str] = &[
    "/", "ns", "sa", "..", ".", "%2e", "%00", ":8080", "user@", "?", "#", "\\", "é", "K",
    "\u{212a}", "ſ", "spiffe:", "//", "\0", " ",
];

pub fn target(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut uri = choices.pick(SEEDS).as_bytes().to_vec();
    while choices.more() {
        match choices.below(4) {
            0 => uri = choices.all().to_vec(),
            1 => {
                let at = choices.below(uri.len() + 1);
                uri.splice(at..at, choices.pick(PIECES).bytes());
            }
            2 => uri = uri.repeat(1 + choices.below(64).min(4096 / uri.len().max(1))),
            _ => text::change_bytes(&mut uri, &mut choices),
        }
    }
    judge(&String::from_utf8_lossy(&uri));
}

fn judge(uri: &str) {
    let read = uri.parse::<SpiffeId>();
    match SpiffeId::from_uris(&[uri.to_owned()]) {
        Err(SpiffeError::Missing) => assert!(read.is_err(), "{uri:?}"),
        one => assert_eq!(one, read, "{uri:?}"),
    }
    let Ok(id) = read else { return };
    // Its text is what was read, but for the case of the scheme and the trust domain.
    let shown = id.to_string();
    assert!(
        shown.eq_ignore_ascii_case(uri),
        "{uri:?} is read as {shown}"
    );
    let path = uri.len() - (id.namespace.len() + id.service_account.len() + "/ns//sa/".len());
    assert_eq!(shown[path..], uri[path..]);
    assert_eq!(shown.parse(), Ok(id.clone()), "{uri:?}");
    assert_eq!(id.trust_domain, id.trust_domain.to_ascii_lowercase());
    // A matcher of the trust domain is a prefix up to the slash: what is read cannot escape it.
    assert_eq!(shown.split('/').count(), 7, "{uri:?}");
    assert!(uri.len() <= 2048 && uri.is_ascii());
}
