//! Certificates in whatever form they come: nothing readable is lost, nothing is counted twice, and
//! what is read once is read again.

use jiff::Timestamp;
use rootshift::pki::{
    Bundle, Cert, CertCache, PemIssue, certs_from_bytes, certs_from_pem, loads_in_envoy,
};

use super::choices::Choices;
use super::material::{CERT_TEXTS, CERTS, KEY_TEXTS, now};
use super::{der, text};

const BEGIN: &str = "-----BEGIN ";

pub fn target(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let input = match choices.below(8) {
        0 => choices.all().to_vec(),
        1 | 2 => ders(&mut choices),
        3..=6 => texts(&mut choices),
        _ => {
            let once = if choices.below(2) == 0 {
                ders(&mut choices)
            } else {
                texts(&mut choices)
            };
            let mut encoded = text::base64(&once, &mut choices).into_bytes();
            if choices.more() {
                text::change(&mut encoded, &mut choices);
            }
            encoded
        }
    };
    judge(&input);
}

/// Certificates one after the other, some of them changed.
fn ders(choices: &mut Choices) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..=choices.below(3) {
        all.extend(der(choices));
    }
    all
}

fn der(choices: &mut Choices) -> Vec<u8> {
    let cert = choices.pick(&CERTS);
    if choices.below(2) == 0 {
        return cert.der().to_vec();
    }
    let donor = choices.pick(&CERTS);
    der::variant(cert.der(), donor.der(), choices)
}

/// PEM with oddities, in one of the encodings of text.
fn texts(choices: &mut Choices) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..=choices.below(4) {
        match choices.below(8) {
            0 => all.extend(choices.pick(&KEY_TEXTS).as_bytes()),
            1..=3 => all.extend(choices.pick(&CERT_TEXTS).as_bytes()),
            _ => all.extend(text::pem("CERTIFICATE", &der(choices)).as_bytes()),
        }
    }
    let encoding = choices.below(8);
    for _ in 0..choices.below(6) {
        text::change(&mut all, choices);
    }
    let wide = |order: fn(u16) -> [u8; 2]| {
        let units = String::from_utf8_lossy(&all).into_owned();
        units.encode_utf16().flat_map(order).collect::<Vec<u8>>()
    };
    match encoding {
        1 => [&[0xff, 0xfe][..], &wide(u16::to_le_bytes)].concat(),
        2 => [&[0xfe, 0xff][..], &wide(u16::to_be_bytes)].concat(),
        3 => [&[0xef, 0xbb, 0xbf][..], &all].concat(),
        _ => all,
    }
}

fn judge(input: &[u8]) {
    let (certs, issues) = certs_from_bytes(input);
    if let Some(text) = plain(input)
        && text.contains(BEGIN)
    {
        let (same, noted) = certs_from_pem(&text);
        assert_eq!((&certs, &issues), (&same, &noted));
        all_blocks_are_accounted_for(&text, &certs, &issues);
        caches_do_not_matter(&text, &certs, &issues);
    }
    let said: usize = issues.iter().map(|issue| issue.to_string().len()).sum();
    assert!(
        said <= 300 * (issues.len() + 1),
        "{said} bytes of {} issues",
        issues.len()
    );
    for cert in &certs {
        everything_can_be_asked(cert);
    }
    let bundle = Bundle::from_certs(certs.iter().cloned());
    let (again, issues) = Bundle::from_pem(&bundle.pem());
    assert_eq!((&again, &issues[..]), (&bundle, &[][..]));
    assert_eq!(again.sha256(), bundle.sha256());
    let texts: Vec<String> = bundle.in_istios_order().map(Cert::pem).collect();
    assert!(texts.is_sorted());
    assert_eq!(texts.concat(), bundle.pem());
    assert!(bundle.describe(now()).lines().count() >= bundle.len());
    assert_eq!(
        bundle.first_expiry(),
        certs.iter().map(Cert::not_after).min()
    );
    assert!(certs.iter().all(|cert| bundle.contains(cert)));
}

/// The text, as anybody would read it.
fn plain(input: &[u8]) -> Option<String> {
    let units = |of: fn([u8; 2]) -> u16| {
        let pairs = input[2..].chunks_exact(2);
        let units = pairs
            .map(|pair| of([pair[0], pair[1]]))
            .collect::<Vec<u16>>();
        String::from_utf16_lossy(&units)
    };
    match input {
        [0xff, 0xfe, ..] => Some(units(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some(units(u16::from_be_bytes)),
        _ => String::from_utf8(input.to_vec()).ok(),
    }
}

/// Each begin of a block is one certificate or one issue, and they come in order.
fn all_blocks_are_accounted_for(text: &str, certs: &[Cert], issues: &[PemIssue]) {
    let begun = text.matches(BEGIN).count();
    let outside = |issue: &&PemIssue| {
        issue.reason == "the text has no PEM block" || issue.reason.starts_with("a line says")
    };
    let of_blocks = issues.len() - issues.iter().filter(outside).count();
    if issues.len() < 1000 {
        assert_eq!(certs.len() + of_blocks, begun, "{issues:?} of {text}");
    }
    assert!(issues.is_sorted_by_key(|issue| issue.index));
    assert!(issues.iter().all(|issue| issue.index <= begun));
}

/// A cache answers what reading anew answers, the first time and later.
fn caches_do_not_matter(text: &str, certs: &[Cert], issues: &[PemIssue]) {
    let cache = CertCache::default();
    for _ in 0..2 {
        let chain = cache.chain(text);
        let (cached, noted) = (chain.certs, chain.issues);
        assert_eq!((&cached[..], &noted[..]), (certs, issues));
        let read = cache.bundle(text);
        assert_eq!(read.bundle, Bundle::from_certs(certs.iter().cloned()));
        assert_eq!(read.issues, issues);
        assert_eq!(read.loads, chain.loads);
        assert_eq!(read.loads, loads_in_envoy(text));
    }
}

/// Every question has an answer, and the certificate is the same when it is written and read.
fn everything_can_be_asked(cert: &Cert) {
    assert_eq!(&Cert::from_pem(&cert.pem()).unwrap(), cert);
    assert_eq!(&Cert::from_der(cert.der()).unwrap(), cert);
    // A shorter one has neither a key nor a signature, and begins as a text may.
    if cert.der()[1] > 0x80 {
        assert_eq!(certs_from_bytes(cert.der()), (vec![cert.clone()], vec![]));
    }
    assert!(!cert.subject().is_empty() || cert.subject_attributes().is_empty());
    assert!(!cert.issuer().is_empty() || cert.issuer_attributes().is_empty());
    let (hex, decimal) = (cert.serial(), cert.serial_decimal());
    let digits = hex.trim_start_matches('-');
    assert!(hex.len() >= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(hex.starts_with('-'), decimal.starts_with('-'));
    let begin = cert.not_before();
    assert_eq!(
        cert.valid_at(begin),
        begin.as_second() <= cert.not_after().as_second()
    );
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    for at in [now(), begin, cert.not_after(), first, last] {
        // A line for each fact and nothing else: no name may forge one, nor move the cursor.
        let described = cert.describe(at);
        assert!((6..=12).contains(&described.lines().count()), "{described}");
        let steers = |line: &str| line.contains(char::is_control);
        assert!(!described.lines().any(steers), "{described}");
        assert!(!cert.summary(at).contains(char::is_control));
        let _ = cert.expires_in(at);
    }
    assert!(cert.is_ca() || !cert.can_sign_certs());
    assert!(cert.path_len().is_none() || cert.is_ca());
    assert!(cert.is_self_signed() == Some(false) || cert.is_self_issued());
    assert!(cert.spiffe_id().is_err() || !cert.uris().is_empty());
    assert!(!cert.display_name().is_empty());
    let _ = (
        cert.key_usages(),
        cert.extended_key_usages().map(<[String]>::len),
        cert.key_kind().to_string(),
        cert.signature_algorithm().len(),
        (cert.ski(), cert.aki()),
        (cert.dns_names(), cert.ip_addresses()),
        (cert.email_addresses(), cert.other_names()),
    );
}
