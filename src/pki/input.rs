//! Certificates in whatever form they come: PEM, DER, and both in base64 as Kubernetes keeps them.
//!
//! One bad block never hides the others: what is unreadable is reported with its number and
//! reason. Input is bounded, because a bundle may come from a proxy or a file that somebody else
//! wrote.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Cert, PemIssue, certs_from_pem};

/// The most that is read at once. All public web CAs together take a quarter of a MiB.
pub const MAX_INPUT: usize = 16 << 20;

/// All certificates of `bytes` in their order, repetitions included, and what could not be used.
///
/// - PEM, as [`certs_from_pem`] reads it; a byte order mark, and UTF-16 with one, is understood, and
///   bytes that are not UTF-8 do no harm outside of blocks.
/// - DER: one certificate, or several one after the other.
/// - Base64 of one of these, of the standard or the URL-safe alphabet, padded or not: the values of a
///   Kubernetes Secret and of Envoy's dumps.
pub fn certs_from_bytes(bytes: &[u8]) -> (Vec<Cert>, Vec<PemIssue>) {
    read(bytes, true)
}

fn read(bytes: &[u8], may_be_base64: bool) -> (Vec<Cert>, Vec<PemIssue>) {
    if bytes.len() > MAX_INPUT {
        return nothing(too_long(bytes.len()));
    }
    // A SEQUENCE of 128 bytes or more: no key and signature are shorter, and no text begins so, while a
    // certificate may hold any text.
    if let [0x30, 0x81..=0x84, ..] = bytes {
        return certs_from_der(bytes);
    }
    let text = text(bytes);
    if text.contains("-----BEGIN") {
        return certs_from_pem(&text);
    }
    if may_be_base64 && let Some(inner) = base64_bytes(&text) {
        return read(&inner, false);
    }
    certs_from_pem(&text)
}

/// What is said of input beyond [`MAX_INPUT`].
pub(super) fn too_long(len: usize) -> String {
    format!("{len} bytes are more than the {MAX_INPUT} that are read at once: nothing was read")
}

fn nothing(reason: String) -> (Vec<Cert>, Vec<PemIssue>) {
    (Vec::new(), vec![PemIssue { index: 0, reason }])
}

fn text(bytes: &[u8]) -> String {
    let wide = |of: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..]
            .chunks_exact(2)
            .map(|pair| of([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn certs_from_der(bytes: &[u8]) -> (Vec<Cert>, Vec<PemIssue>) {
    let mut certs = Vec::new();
    let mut rest = bytes;
    let mut index = 0;
    while !rest.is_empty() {
        // Where the next certificate begins is known only while the lengths are sound.
        let length = element_length(rest).filter(|length| *length <= rest.len());
        let Some(length) = length else {
            let reason = if index == 0 {
                "the DER is cut short".to_owned()
            } else {
                format!("{} bytes after the last certificate are no DER", rest.len())
            };
            return (certs, vec![PemIssue { index, reason }]);
        };
        match Cert::from_der(&rest[..length]) {
            Ok(cert) => certs.push(cert),
            Err(error) => {
                let reason = error.to_string();
                return (certs, vec![PemIssue { index, reason }]);
            }
        }
        rest = &rest[length..];
        index += 1;
    }
    (certs, Vec::new())
}

/// The length of the SEQUENCE at the beginning, its header included.
fn element_length(bytes: &[u8]) -> Option<usize> {
    let [0x30, first, rest @ ..] = bytes else {
        return None;
    };
    if *first < 0x80 {
        return Some(2 + usize::from(*first));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return None;
    }
    let length = rest.get(..count)?.iter();
    let length = length.fold(0, |length, byte| length << 8 | usize::from(*byte));
    length.checked_add(2 + count)
}

/// The bytes of a text that is nothing but base64, and long enough for a certificate.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if compact.len() < 100 {
        return None;
    }
    decode_base64(&compact)
}

/// Base64 of the standard or the URL-safe alphabet, padded or not, white space ignored: Kubernetes and
/// Envoy use all of them.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let alphabet = if text.contains(['-', '_']) {
        &alphabet::URL_SAFE
    } else {
        &alphabet::STANDARD
    };
    GeneralPurpose::new(alphabet, config).decode(text).ok()
}
