//! The largest inputs that are accepted: they are read, or refused, in time that grows as they do.

use std::time::{Duration, Instant};

use rootshift::mesh::dump;
use rootshift::pki::{
    Bundle, Cert, CertCache, MAX_INPUT, NamedCa, PathError, Signer, Trust, Usage, accepts,
    certs_from_bytes, paths, signer, trusts,
};
use serde_json::json;

use super::chains::{sign, signing_ca};
use super::der::Element;
use super::material::{CERTS, PEM, now};
use super::text;

/// Of a debug build on a busy machine; what grows with the square of the input takes hours.
const LIMIT: Duration = Duration::from_secs(30);

fn within<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    let took = started.elapsed();
    println!("{what}: {took:?}");
    assert!(took < LIMIT, "{what} takes {took:?}");
    result
}

/// An eighth of what is read at once, since there are many: its square takes forever too.
fn filled(piece: &str) -> String {
    piece.repeat(MAX_INPUT / 8 / piece.len())
}

#[test]
fn texts_of_nothing_but_oddities_are_read_in_time_and_told_in_short() {
    for piece in [
        "-----BEGIN ",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE----------END CERTIFICATE-----",
        // Neither line breaks nor the right end: what is quoted of it must end somewhere.
        "-----BEGIN A----------END B",
        "-----END CERTIFICATE-----\n",
        "BEGIN CERTIFICATE\n",
        "-",
        "----- ",
        "\u{a0}.",
        "MIIC",
    ] {
        let text = filled(piece);
        let (certs, issues) = within(piece, || certs_from_bytes(text.as_bytes()));
        assert_eq!(certs, []);
        assert!(!issues.is_empty() && issues.len() <= 1001);
        let said: usize = issues.iter().map(|issue| issue.reason.len()).sum();
        assert!(said < 200_000, "{said} bytes are said of {piece:?}");
    }
}

#[test]
fn one_giant_block_is_refused_in_time() {
    let giants = [
        ("letters", "A".repeat(MAX_INPUT - 100)),
        (
            "sequences",
            text::base64(&b"\x30\x83\xff\xff\xff".repeat(MAX_INPUT / 8), &mut none()),
        ),
        (
            "short ones",
            text::base64(&b"\x30\x80".repeat(MAX_INPUT / 3), &mut none()),
        ),
    ];
    for (name, body) in giants {
        let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let (certs, issues) = within(name, || certs_from_bytes(text.as_bytes()));
        assert_eq!((certs.len(), issues.len()), (0, 1), "{name}");
    }
}

fn none() -> super::choices::Choices<'static> {
    super::choices::Choices::new(&[])
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

/// A certificate whose field of this number is another one.
fn with(cert: &Cert, number: usize, field: Element) -> Element {
    let mut whole = Element::read(cert.der()).unwrap();
    whole.elements_mut().unwrap()[0].elements_mut().unwrap()[number] = field;
    whole
}

#[test]
fn certificates_with_giant_parts_are_refused_or_read_in_time() {
    let root = &CERTS[0];
    for size in [1_000, 60_000, 4 << 20] {
        let serial = with(root, 1, Element::primitive(0x02, &vec![0x55; size])).der();
        let extension = |number: usize| {
            let number = u32::try_from(number)
                .unwrap()
                .to_be_bytes()
                .map(|byte| byte & 0x7f);
            let oid = [&[0x2a][..], &number].concat();
            Element::sequence(vec![
                Element::primitive(0x06, &oid),
                Element::primitive(0x04, &[]),
            ])
        };
        // No number twice: the highest bit of each byte says that another follows.
        let numbers = (0..)
            .filter(|number| number & 0x8080_8080 == 0)
            .take(size / 12);
        let extensions = Element::sequence(numbers.map(extension).collect());
        let mut wrapped = Element::sequence(vec![extensions]);
        wrapped.tag = 0xa3;
        let last = Element::read(root.der()).unwrap().elements()[0]
            .elements()
            .len()
            - 1;
        let extended = with(root, last, wrapped).der();
        let attribute = Element::read(
            &Element::sequence(vec![
                Element::primitive(0x06, &[0x55, 4, 3]),
                Element::primitive(0x0c, b"x"),
            ])
            .der(),
        )
        .unwrap();
        let mut set = Element::sequence(vec![attribute]);
        set.tag = 0x31;
        let name = Element::sequence(vec![set; size / 14]);
        let named = with(root, 5, name).der();
        for (what, der) in [
            ("serial", serial),
            ("extensions", extended),
            ("names", named),
        ] {
            let read = within(what, || certs_from_bytes(&der));
            for cert in read.0 {
                within("its description", || {
                    cert.describe(now()).len() + cert.summary(now()).len()
                });
                within("its serial", || {
                    (cert.serial().len(), cert.serial_decimal().len())
                });
                let bundle = Bundle::from_certs([cert.clone()]);
                let leaf = CERTS[1].clone();
                let _ = within("its verdict", || {
                    accepts(&bundle, &[leaf, cert], Usage::Workload, now())
                });
            }
        }
    }
}

/// CAs that say `subject` and `issuer` of themselves, all with one key and each with its own number.
fn namesakes(subject: &str, issuer: &str, count: usize) -> Vec<Cert> {
    let name = |text: &str| {
        let attribute = vec![
            Element::primitive(0x06, &[0x55, 4, 3]),
            Element::primitive(0x0c, text.as_bytes()),
        ];
        let mut set = Element::sequence(vec![Element::sequence(attribute)]);
        set.tag = 0x31;
        Element::sequence(vec![set])
    };
    let ca = signing_ca();
    (0..count)
        .map(|number| {
            let number = u32::try_from(number).unwrap() + 0x0100_0000;
            let mut whole = with(&ca, 1, Element::primitive(0x02, &number.to_be_bytes()));
            let said = whole.elements_mut().unwrap()[0].elements_mut().unwrap();
            said[3] = name(issuer);
            said[5] = name(subject);
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
    let other = NamedCa::new("OTHER", Bundle::from_certs([CERTS[1].clone()]));
    let own = NamedCa::new("OWN", Bundle::from_certs([roots[0].clone()]));
    for (name, pool, bundle) in [
        ("untrusted roots", &roots[..], &CERTS[1..2]),
        ("trusted roots", &[][..], &roots[..]),
        ("going round", &round[..], &CERTS[1..2]),
        ("going round, trusted", &[][..], &round[..]),
        ("going round to roots", &round[..], &roots[..]),
        ("trusted intermediates", &[][..], &below[..]),
    ] {
        let leaf = leaf_of(pool.first().or(bundle.first()).unwrap());
        let bundle = Bundle::from_certs(bundle.iter().cloned());
        let chain = [&[leaf.clone()][..], pool].concat();
        let accepted = within(name, || accepts(&bundle, &chain, Usage::Workload, now()));
        let found = within(name, || paths(&leaf, pool, &bundle, now()));
        let cas = [other.clone(), own.clone()];
        let by = within(name, || signer(&chain, &cas, &bundle, now()));
        for ca in &cas {
            let trust = within(name, || trusts(&bundle, ca, now()));
            assert!(
                !matches!(trust, Trust::Yes) || bundle.contains(ca.roots.certs().next().unwrap())
            );
        }
        let told = accepted
            .as_ref()
            .map_or_else(|e| e.to_string().len(), |p| p.certs().len());
        assert!(told < 1000, "{accepted:?}");
        assert!(
            found.is_err() || bundle.contains(found.unwrap()[0].anchor()),
            "{name}"
        );
        assert!(!matches!(by, Signer::Ambiguous { .. }), "{name}: {by:?}");
    }
    assert!(PathError::TooComplex.is_unknown());
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
    let damaged = filled("-----BEGIN A-----\n");
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
