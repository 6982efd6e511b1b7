use super::*;
use base64::Engine as _;

const ROOT: &str = data!("lab/citadel-root.pem");
const OTHER: &str = data!("lab/meshca-root.pem");

fn cert(text: &str) -> Cert {
    Cert::from_pem(text).unwrap()
}

fn read(bytes: &[u8]) -> (Vec<Cert>, Vec<String>) {
    let (certs, issues) = certs_from_bytes(bytes);
    (certs, issues.iter().map(ToString::to_string).collect())
}

#[test]
fn der_alone_and_one_after_the_other_is_read() {
    let (a, b) = (cert(ROOT), cert(OTHER));
    assert_eq!(read(a.der()), (vec![a.clone()], vec![]));
    let both = [a.der(), b.der()].concat();
    assert_eq!(read(&both), (vec![a.clone(), b.clone()], vec![]));
    let mut cut = both.clone();
    cut.truncate(both.len() - 1);
    let (certs, issues) = read(&cut);
    assert_eq!(certs, std::slice::from_ref(&a));
    assert!(issues[0].starts_with("PEM block 2: "), "{issues:?}");
    let (certs, issues) = read(&[a.der(), b"tail"].concat());
    assert_eq!(certs, [a]);
    assert!(
        issues[0].contains("4 bytes after the last certificate"),
        "{issues:?}"
    );
}

#[test]
fn base64_of_either_is_read_in_all_its_forms() {
    let a = cert(ROOT);
    for inner in [ROOT.as_bytes(), a.der()] {
        let standard = base64::engine::general_purpose::STANDARD.encode(inner);
        let unpadded = standard.trim_end_matches('=').to_owned();
        let wrapped = standard.as_bytes().chunks(76).map(String::from_utf8_lossy);
        let wrapped = wrapped.collect::<Vec<_>>().join("\r\n");
        let url = base64::engine::general_purpose::URL_SAFE.encode(inner);
        for text in [standard, unpadded, wrapped, url] {
            assert_eq!(read(text.as_bytes()), (vec![a.clone()], vec![]), "{text}");
        }
    }
}

#[test]
fn utf_16_and_bytes_that_are_not_utf_8_do_no_harm() {
    let a = cert(ROOT);
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(ROOT.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(read(&utf16), (vec![a.clone()], vec![]));
    let latin = [b"# Z\xfcrich\n", ROOT.as_bytes()].concat();
    assert_eq!(read(&latin), (vec![a], vec![]));
}

#[test]
fn input_has_an_end() {
    let huge = vec![b'-'; MAX_INPUT + 1];
    let (certs, issues) = read(&huge);
    assert!(
        certs.is_empty() && issues[0].contains("nothing was read"),
        "{issues:?}"
    );
    let text = String::from_utf8(huge).unwrap();
    assert_eq!(certs_from_pem(&text).1.len(), 1);
    let many = "-----BEGIN X-----\n-----END X-----\n".repeat(5000);
    let issues = certs_from_pem(&many).1;
    assert_eq!(issues.len(), 1001);
    assert!(
        issues[1000].reason.ends_with("not listed"),
        "{}",
        issues[1000]
    );
}

/// What Envoy 1.40 loads and what it does not, as it was seen.
#[test]
fn texts_that_envoy_does_not_load_are_told_apart() {
    let both = format!("{ROOT}{OTHER}");
    let key = data!("keys/rsa-pkcs8.key");
    for good in [
        both.clone(),
        both.replace('\n', "\r\n"),
        both.trim_end().to_owned(),
        format!("words\n\n{ROOT}between\n{OTHER}\n\n"),
        format!("{key}{both}"),
        both.replace("=\n", "=  \n"),
    ] {
        assert_eq!(loads_in_envoy(&good), Ok(()), "{good}");
    }
    let trusted = data!("odd/trusted-certificate.pem");
    let crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n";
    for (bad, block, reason) in [
        (String::new(), 0, "no PEM certificate"),
        (key.to_owned(), 1, "no PEM certificate"),
        (ROOT.replace("-----", ""), 0, "no PEM certificate"),
        (both.replace("-----\n-----", "----------"), 0, "not base64"),
        (both.replace('\n', "\r"), 0, "carriage return"),
        (both.replace('\n', "\n  "), 0, "not base64"),
        (ROOT.replacen("\nM", "\n\nM", 1), 0, "blank line"),
        (format!("\u{feff}{both}"), 0, "byte order mark"),
        (both[..both.len() - 40].to_owned(), 1, "no END"),
        (format!("{ROOT}{empty}"), 1, "empty"),
        (format!("{ROOT}{crl}"), 1, "revocation list"),
        (format!("{ROOT}{trusted}"), 1, "TRUSTED CERTIFICATE"),
        (ROOT.replacen("MII", "MIJ", 1), 0, "DER"),
        (
            both.replacen("END CERTIFICATE", "END X", 1),
            0,
            "not base64",
        ),
    ] {
        let issue = loads_in_envoy(&bad).unwrap_err();
        assert_eq!(issue.index, block, "{issue}\n{bad}");
        assert!(issue.reason.contains(reason), "{issue}");
    }
}
