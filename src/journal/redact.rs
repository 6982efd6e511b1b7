//! Keeps key material out of the account of a run.
//!
//! Words and types keep secrets from being printed in the first place; this is the net below them,
//! for text that came from elsewhere: a child process, a server's message, a script's own string.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// What stands where a secret was.
pub const REDACTED: &str = "‹redacted›";

/// The text with every private key in it replaced: PEM, and base64 of PEM as Secrets have it.
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some(_) = find_key(text) else {
        return Cow::Borrowed(text);
    };
    let mut rest = text;
    let mut clean = String::with_capacity(text.len());
    while let Some((start, end)) = find_key(rest) {
        clean.push_str(&rest[..start]);
        clean.push_str(REDACTED);
        rest = &rest[end..];
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

/// Redacts every string in a JSON value.
pub fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redact(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(map) => map.values_mut().for_each(redact_value),
        _ => {}
    }
}

/// Start and end of the first private key.
fn find_key(text: &str) -> Option<(usize, usize)> {
    match (find_pem(text), find_encoded(text)) {
        (Some(pem), Some(encoded)) => Some(pem.min(encoded)),
        (pem, encoded) => pem.or(encoded),
    }
}

/// A run of base64 that begins as PEM does and holds a key.
fn find_encoded(text: &str) -> Option<(usize, usize)> {
    // `-----BEGIN `, as far as it fills groups of three bytes.
    const BEGIN: &str = "LS0tLS1CRUdJTi";
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
    let mut from = 0;
    loop {
        let start = from + text[from..].find(BEGIN)?;
        let run = &text[start..];
        let end = run.find(|c| !is_base64(c)).unwrap_or(run.len());
        let decoded = decode(&run[..end]);
        if decoded.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Some((start, start + end));
        }
        from = start + end;
    }
}

/// As much as can be decoded of a run that may be cut off.
fn decode(run: &str) -> Vec<u8> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let run = run
        .trim_end_matches('=')
        .replace('-', "+")
        .replace('_', "/");
    let whole = if run.len() % 4 == 1 {
        run.len() - 1
    } else {
        run.len()
    };
    engine.decode(&run[..whole]).unwrap_or_default()
}

/// A PEM block; a key that is cut off reaches to the end of the text.
fn find_pem(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("-----BEGIN ")?;
        let label_at = start + "-----BEGIN ".len();
        let label = text[label_at..].split("-----").next().unwrap_or_default();
        if label.ends_with("PRIVATE KEY") && !label.contains('\n') {
            let close = format!("-----END {label}-----");
            let end = text[label_at..]
                .find(&close)
                .map_or(text.len(), |i| label_at + i + close.len());
            return Some((start, end));
        }
        from = label_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_go_and_certificates_stay() {
        let cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN EC PRIVATE KEY-----\nSECRET\n-----END EC PRIVATE KEY-----";
        assert_eq!(
            redact(&format!("{cert}{key} and {key}.")),
            format!("{cert}{REDACTED} and {REDACTED}.")
        );
        assert!(matches!(redact(cert), Cow::Borrowed(_)));
    }

    #[test]
    fn keys_in_base64_go_as_secrets_hold_them() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let key =
            encode("-----BEGIN RSA PRIVATE KEY-----\nSECRET\n-----END RSA PRIVATE KEY-----\n");
        let cert = encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let text = format!("tls.crt: {cert}\ntls.key: {key}\n");
        let clean = format!("tls.crt: {cert}\ntls.key: {REDACTED}\n");
        assert_eq!(redact(&text), clean);
        // Cut off anywhere behind the label.
        let cut = &key[..48];
        assert_eq!(
            redact(&format!("{cut} and {cert}")),
            format!("{REDACTED} and {cert}")
        );
        assert!(matches!(redact(&cert), Cow::Borrowed(_)));
    }

    #[test]
    fn a_key_that_is_cut_off_goes_to_the_end() {
        assert_eq!(
            redact("x -----BEGIN PRIVATE KEY-----\nSECRET"),
            format!("x {REDACTED}")
        );
    }

    #[test]
    fn strings_inside_a_value_are_redacted() {
        let mut value = serde_json::json!({"a": ["-----BEGIN PRIVATE KEY-----\nS"]});
        redact_value(&mut value);
        assert_eq!(value, serde_json::json!({"a": [REDACTED]}));
    }
}
