//! Keeps key material out of the account of a run.
//!
//! Words and types keep secrets from being printed in the first place; this is the net below them,
//! for text that came from elsewhere: a child process, a server's message, a script's own string.

use std::borrow::Cow;

use serde_json::Value;

/// What stands where a secret was.
pub const REDACTED: &str = "‹redacted›";

/// The text with every PEM private key in it replaced.
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

/// Start and end of the first private key; a key that is cut off reaches to the end of the text.
fn find_key(text: &str) -> Option<(usize, usize)> {
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
