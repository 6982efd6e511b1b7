//! Private keys: whatever is done to them, no error says any of their bytes.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rootshift::pki::{Cert, PrivateKey};
use secrecy::ExposeSecret as _;

use super::choices::Choices;
use super::material::{CERTS, KEY_TEXTS};
use super::{der, text};

/// As many characters of base64 in a row as no word of an error has by chance.
const TELLING: usize = 8;

/// The bodies of the real keys, without line breaks.
static BODIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let blocks = KEY_TEXTS
        .iter()
        .flat_map(|text| text.split("-----BEGIN ").skip(1));
    let bodies = blocks.filter_map(|block| block.split("-----").nth(1));
    bodies
        .map(|body| body.lines().filter(|line| !line.contains(':')).collect())
        .collect()
});

pub fn target(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut key = choices.pick(&KEY_TEXTS).as_bytes().to_vec();
    let mut made = String::new();
    if choices.below(2) == 0
        && let Some((label, der)) = anew(&key, &mut choices)
    {
        key = text::pem(&label, &der).into_bytes();
        made = STANDARD.encode(der);
    }
    for _ in 0..choices.below(6) {
        match choices.below(4) {
            0 => key.extend(choices.pick(&KEY_TEXTS).as_bytes()),
            _ => text::change(&mut key, &mut choices),
        }
    }
    let cert = choices.pick(&CERTS);
    judge(&String::from_utf8_lossy(&key), &made, cert);
}

/// The same label, and other DER.
fn anew(key: &[u8], choices: &mut Choices) -> Option<(String, Vec<u8>)> {
    let of = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        // The last block: the first may hold the curve's parameters.
        let (_, block) = text.rsplit_once("-----BEGIN ")?;
        let (label, body) = block.split_once("-----")?;
        let der = rootshift::pki::decode_base64(body.split("-----").next()?)?;
        Some((label.to_owned(), der))
    };
    let (label, der) = of(key)?;
    let (_, donor) = of(choices.pick(&KEY_TEXTS).as_bytes())?;
    Some((label, der::variant(&der, &donor, choices)))
}

fn judge(key: &str, made: &str, cert: &Cert) {
    match PrivateKey::from_pem(key) {
        Ok(read) => {
            assert_eq!(format!("{read} {read:?}"), "‹redacted› ‹redacted›");
            let pem = read.pem();
            let again = PrivateKey::from_pem(pem.expose_secret()).unwrap();
            assert_eq!(again.pem().expose_secret(), pem.expose_secret());
            let _ = read.matches(cert);
        }
        Err(error) => {
            let said = format!("{error} {error:?}");
            assert!(said.len() < 400, "{} characters of error", said.len());
            for word in said.split(|c: char| !c.is_ascii_alphanumeric() && !"+/".contains(c)) {
                let pieces = word.as_bytes().windows(TELLING);
                for piece in pieces.map(|piece| str::from_utf8(piece).unwrap()) {
                    let mut secrets = BODIES.iter().map(String::as_str).chain([made]);
                    assert!(
                        !secrets.any(|secret| secret.contains(piece)),
                        "{piece} of the key is in: {said}"
                    );
                }
            }
        }
    }
}
