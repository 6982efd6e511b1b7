//! The largest inputs that are accepted: they are read, or refused, in time that grows as they do, and
//! little is said of them.
//!
//! The sizes are such that the square of them takes many times the limit, also where it is no more than
//! a search for a byte, and that a debug build needs half a second.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rootshift::mesh::dump;
use rootshift::pki::{
    Bundle, Cert, CertCache, MAX_INPUT, NamedCa, Signer, Trust, Usage, accepts, certs_from_bytes,
    paths, signer, trusts,
};
use serde_json::json;

use super::chains::{sign, signing_ca};
use super::der::Element;
use super::material::{CERTS, PEM, now};

/// Of a debug build's own work: what else the machine does is not counted.
const LIMIT: Duration = Duration::from_secs(15);

/// The time that the processor has given to this thread.
fn spent() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap()
}

fn within<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = spent();
    let result = work();
    let took = spent().saturating_sub(started);
    println!("{what}: {took:?}");
    assert!(took < LIMIT, "{what} takes {took:?}");
    result
}

#[test]
fn texts_of_nothing_but_oddities_are_read_in_time_and_told_in_short() {
    for (size, piece) in [
        (MAX_INPUT / 4, "-----BEGIN "),
        (MAX_INPUT / 4, "-----BEGIN CERTIFICATE-----\n"),
        // Neither line breaks nor the right end: what is quoted of it must end somewhere.
        (MAX_INPUT / 4, "-----BEGIN A----------END B"),
        (MAX_INPUT / 4, "-----END CERTIFICATE-----\n"),
        (
            MAX_INPUT / 16,
            "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
        ),
        (MAX_INPUT / 16, "BEGIN CERTIFICATE\n"),
        (MAX_INPUT / 16, "-"),
        (MAX_INPUT / 16, "----- "),
        (MAX_INPUT / 16, "\u{a0}."),
        (MAX_INPUT / 16, "MIIC"),
    ] {
        let text = piece.repeat(size / piece.len());
        let (certs, issues) = within(piece, || certs_from_bytes(text.as_bytes()));
        assert_eq!(certs, []);
        assert!(!issues.is_empty() && issues.len() <= 1001);
        let said: usize = issues.iter().map(|issue| issue.reason.len()).sum();
        assert!(said < 200_000, "{said} bytes are said of {piece:?}");
    }
}

#[test]
fn one_giant_block_is_refused_in_time() {
    let encode = |der: &[u8], size: usize| STANDARD.encode(der.repeat(size / der.len()));
    for (name, body) in [
        ("letters", "A".repeat(MAX_INPUT - 100)),
        ("sequences", encode(b"\x30\x83\xff\xff\xff", MAX_INPUT / 8)),
        ("short ones", encode(b"\x30\x80", MAX_INPUT / 8)),
    ] {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let (certs, issues) = within(name, || certs_from_bytes(text.as_bytes()));
        assert_eq!((certs.len(), issues.len()), (0, 1), "{name}");
    }
}

#[test]
fn more_than_is_read_at_once_is_not_read() {
    let text = format!("{}{}", CERTS[0].pem(), " ".repeat(MAX_INPUT));
    let (certs, issues) = within("too much", || certs_from_bytes(text.as_bytes()));
    assert_eq!((certs.len(), issues.len()), (0, 1));
    assert!(
        issues[0].reason.ends_with("nothing was read"),
        "{}",
        issues[0]
    );
}

#[test]
fn ten_thousand_copies_are_read_in_time() {
    let one = CERTS.iter().min_by_key(|cert| cert.der().len()).unwrap();
    let text = one.pem().repeat(10_000);
    let (certs, issues) = within("PEM", || certs_from_bytes(text.as_bytes()));
    assert_eq!((certs.len(), issues.len()), (10_000, 0));
    let der = one.der().repeat(2_000);
    assert_eq!(within("DER", || certs_from_bytes(&der)).0.len(), 2_000);
    let cache = CertCache::default();
    assert_eq!(within("a bundle", || cache.bundle(&text)).bundle.len(), 1);
}

#[test]
fn certificates_with_giant_parts_are_refused_or_read_in_time() {
    let (root, leaf) = (&CERTS[0], &CERTS[1]);
    let anchors = Bundle::from_certs([root.clone()]);
    let mut read = 0;
    for size in [1_000, 60_000, 4 << 20] {
        let serial = Element::primitive(0x02, &vec![0x55; size]);
        for (what, number, field) in [
            ("serial", 1, serial),
            ("subject", 5, name("x", size / 12)),
            ("extensions", 7, extensions(size / 12)),
        ] {
            let der = with(root, number, field).der();
            let (certs, issues) = within(what, || certs_from_bytes(&der));
            assert_eq!(certs.len() + issues.len(), 1);
            read += certs.len();
            for cert in certs {
                within("in words", || (cert.describe(now()), cert.summary(now())));
                within("in digits", || (cert.serial(), cert.serial_decimal()));
                let chain = [leaf.clone(), cert];
                let verdict = within("judged", || {
                    accepts(&anchors, &chain, Usage::Workload, now())
                });
                assert!(verdict.is_err() || !anchors.contains(leaf));
            }
        }
    }
    // Those that are larger than a certificate may be are not.
    assert_eq!(read, 6);
}

/// A certificate whose field of this number is another one.
fn with(cert: &Cert, number: usize, field: Element) -> Element {
    let mut whole = Element::read(cert.der()).unwrap();
    whole.elements_mut().unwrap()[0].elements_mut().unwrap()[number] = field;
    whole
}

/// A name of so many parts, all of them `CN=text`.
fn name(text: &str, parts: usize) -> Element {
    let attribute = Element::sequence(vec![
        Element::primitive(0x06, &[0x55, 4, 3]),
        Element::primitive(0x0c, text.as_bytes()),
    ]);
    Element::sequence(vec![attribute.within(0x31); parts])
}

/// So many empty extensions of different kinds.
fn extensions(count: usize) -> Element {
    // The highest bit of a byte says that another one belongs to the same number.
    let kinds = (0u32..).filter(|kind| kind & 0x8080_8080 == 0);
    let extension = |kind: u32| {
        let oid = [&[0x2a][..], &kind.to_be_bytes()].concat();
        Element::sequence(vec![
            Element::primitive(0x06, &oid),
            Element::primitive(0x04, &[]),
        ])
    };
    Element::sequence(kinds.take(count).map(extension).collect()).within(0xa3)
}

/// CAs that say `subject` and `issuer` of themselves, all with one key and each with its own number.
fn namesakes(subject: &str, issuer: &str, count: usize) -> Vec<Cert> {
    let ca = signing_ca();
    (0..count)
        .map(|number| {
            let number = u32::try_from(number).unwrap() + 0x0100_0000;
            let mut whole = with(&ca, 1, Element::primitive(0x02, &number.to_be_bytes()));
            let said = whole.elements_mut().unwrap()[0].elements_mut().unwrap();
            said[3] = name(issuer, 1);
            said[5] = name(subject, 1);
            Cert::from_der(sign(whole)).unwrap()
        })
        .collect()
}

/// A workload's certificate by one of them.
fn leaf_of(issuer: &Cert) -> Cert {
    let (certs, _) = certs_from_bytes(PEM["algorithms/ed25519.pem"].as_bytes());
    let mut whole = Element::read(certs[0].der()).unwrap();
    let said = whole.elements_mut().unwrap()[0].elements_mut().unwrap();
    said[3] = Element::read(issuer.der()).unwrap().elements()[0].elements()[5].clone();
    let extensions = said[7].elements_mut().unwrap()[0].elements_mut().unwrap();
    extensions.retain(|extension| extension.elements()[0].inside() != [0x55, 0x1d, 0x23]);
    Cert::from_der(sign(whole)).unwrap()
}

#[test]
fn thousands_of_namesakes_with_one_key_do_not_stop_a_verdict() {
    const COUNT: usize = 2_000;
    let roots = namesakes("x", "x", COUNT);
    let round = [
        namesakes("x", "y", COUNT / 2),
        namesakes("y", "x", COUNT / 2),
    ]
    .concat();
    let below = namesakes("below", "x", COUNT);
    let stranger = &CERTS[1..2];
    let cas = [&roots[..1], stranger].map(|ca| {
        let name = ca[0].display_name();
        NamedCa::new(name, Bundle::from_certs(ca.to_vec()))
    });
    for (what, pool, trusted, is_trusted) in [
        ("roots", &roots[..], stranger, false),
        ("trusted roots", &[], &roots, true),
        ("in a round", &round, stranger, false),
        ("in a trusted round", &[], &round, true),
        ("in a round and trusted roots", &round, &roots, true),
        ("trusted intermediates", &[], &below, true),
    ] {
        let leaf = leaf_of(pool.first().unwrap_or(&trusted[0]));
        let bundle = Bundle::from_certs(trusted.to_vec());
        let chain = [&[leaf.clone()][..], pool].concat();
        let accepted = within(what, || {
            accepts(&bundle, &chain, Usage::Workload, now()).map(|_| ())
        });
        let found = within(what, || paths(&leaf, pool, &bundle, now()).map(|_| ()));
        for verdict in [accepted, found] {
            assert!(verdict.is_err() || is_trusted, "{what}");
            // Too much to look at is no reason to say no.
            let refused = verdict.is_err_and(|error| !error.is_unknown());
            assert!(!refused || !is_trusted, "{what}");
        }
        let by = within(what, || signer(&chain, &cas, &bundle, now()));
        assert!(!matches!(by, Signer::Ambiguous { .. }), "{what}: {by}");
        for ca in &cas {
            let trust = within(what, || trusts(&bundle, ca, now()));
            let exact = ca.roots.certs().all(|root| bundle.contains(root));
            assert_eq!(trust == Trust::Yes, exact, "{what}: {trust}");
        }
    }
}

#[test]
fn thousands_of_secrets_in_a_dump_are_read_in_time() {
    const COUNT: usize = 1_500;
    let chains = namesakes("x", "y", COUNT);
    let secret = |cert: &Cert| {
        let text = cert.pem();
        json!({
            "name": "default",
            "secret": {"tls_certificate": {"certificate_chain": {"inline_string": text}}}
        })
    };
    let damaged = "-----BEGIN A-----\n".repeat(10_000);
    let root = json!({
        "name": "ROOTCA",
        "secret": {"validation_context": {"trusted_ca": {"inline_string": damaged}}}
    });
    let all: Vec<_> = chains.iter().map(secret).chain([root]).collect();
    let dump = json!({"dynamic_active_secrets": all});
    let read = within("a dump", || dump::secrets(&dump)).unwrap();
    assert_eq!(read.chains.unwrap().len(), COUNT);
    assert!(read.trust.is_err());
    assert!(read.notes.len() <= 1000);
}
