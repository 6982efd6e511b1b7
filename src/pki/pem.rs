//! Reading PEM as it is found in clusters, without ever losing the readable rest.
//!
//! Bundles are glued together by shell scripts, mounted from ConfigMaps and pasted into YAML: text
//! between blocks, CRLF, indentation, `END` and the next `BEGIN` on one line, no newline at the
//! end. Strict readers stop at the first oddity; here each oddity becomes a [`PemIssue`] and the
//! other blocks are still read. Blocks that Istio's own reader ignores (keys, CRLs, `TRUSTED
//! CERTIFICATE`) are ignored and reported too.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::input::{self, MAX_INPUT};
use super::{Cert, CertError};

/// Issues that are listed of one text: a file that has more is not a bundle.
pub(super) const MAX_ISSUES: usize = 1000;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Something in a PEM text that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PEM block {}: {reason}", index + 1)]
pub struct PemIssue {
    /// Which block, from 0, in the order of the text; text outside of all blocks has the number of
    /// the block that follows.
    pub index: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// All certificates of a text in their order, repetitions included, and what could not be used.
/// The order matters in a chain: its first certificate is the workload's own.
///
/// Of more than [`MAX_INPUT`](super::MAX_INPUT) bytes nothing is read, which is an issue too.
pub fn certs_from_pem(text: &str) -> (Vec<Cert>, Vec<PemIssue>) {
    certs_with(text, Cert::from_der)
}

/// [`certs_from_pem`] with another way from DER to certificates.
pub(super) fn certs_with(
    text: &str,
    parse: impl Fn(Vec<u8>) -> Result<Cert, CertError>,
) -> (Vec<Cert>, Vec<PemIssue>) {
    let mut certs = Vec::new();
    let mut issues = Vec::new();
    if text.len() > MAX_INPUT {
        let reason = input::too_long(text.len());
        return (certs, vec![PemIssue { index: 0, reason }]);
    }
    let mut report = |index, reason: String| {
        if issues.len() < MAX_ISSUES {
            issues.push(PemIssue { index, reason });
        } else if issues.len() == MAX_ISSUES {
            let reason = "this and further blocks are unreadable: not listed".to_owned();
            issues.push(PemIssue { index, reason });
        }
    };
    for piece in pieces(text) {
        match piece {
            Piece::Block {
                index,
                label: "CERTIFICATE",
                body,
            } => match decode(body).and_then(|der| parse(der).map_err(|e| e.to_string())) {
                Ok(cert) => certs.push(cert),
                Err(reason) => report(index, reason),
            },
            Piece::Block { index, label, .. } => {
                report(
                    index,
                    format!("a `{label}` block is not a certificate, ignored"),
                );
            }
            Piece::Broken { index, reason } => report(index, reason),
        }
    }
    (certs, issues)
}

/// One PEM block with Istio's line length, with a newline at its end.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.extend([END, label, DASHES, "\n"]);
    text
}

/// A stretch of PEM text.
pub(super) enum Piece<'a> {
    /// From a `BEGIN` to the `END` of the same label.
    Block {
        /// From 0.
        index: usize,
        /// What stands after `BEGIN`.
        label: &'a str,
        /// Everything between the two lines.
        body: &'a str,
    },
    /// Looks like a block and is none.
    Broken {
        /// From 0.
        index: usize,
        /// Why.
        reason: String,
    },
}

/// Cuts a text into blocks. A block without its `END` ends where the next `BEGIN` starts.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut index = 0;
    let mut rest = text;
    loop {
        let Some(start) = rest.find(BEGIN) else {
            let nothing = index == 0 && !rest.trim().is_empty();
            outside(rest, index, nothing, &mut pieces);
            return pieces;
        };
        outside(&rest[..start], index, false, &mut pieces);
        let after = &rest[start + BEGIN.len()..];
        // Glued lines may share their dashes: `-----END X-----BEGIN Y-----`. Where the next block
        // begins is settled first, so that nothing before it can swallow it.
        let next = after.find(BEGIN).unwrap_or(after.len());
        let Some(label) = after
            .find(DASHES)
            .filter(|dashes| dashes + DASHES.len() <= next)
            .map(|dashes| &after[..dashes])
            .filter(|label| is_label(label))
        else {
            let reason = "the BEGIN line does not end in `-----`".to_owned();
            pieces.push(Piece::Broken { index, reason });
            index += 1;
            rest = &after[next..];
            continue;
        };
        let body = &after[label.len() + DASHES.len()..];
        let next = next - label.len() - DASHES.len();
        let closing = format!("{END}{label}{DASHES}");
        match body[..next].find(END) {
            Some(end) if body[end..].starts_with(&closing) => {
                pieces.push(Piece::Block {
                    index,
                    label,
                    body: &body[..end],
                });
                rest = &body[(end + closing.len()).min(next)..];
            }
            Some(end) => {
                let line = body[end..].lines().next().unwrap_or_default();
                let reason = format!("`BEGIN {label}` is closed by `{}`", line.trim());
                pieces.push(Piece::Broken { index, reason });
                rest = &body[end + END.len()..];
            }
            None => {
                let reason = format!("`BEGIN {label}` has no END line: cut short");
                pieces.push(Piece::Broken { index, reason });
                rest = &body[next..];
            }
        }
        index += 1;
    }
}

/// Text between blocks is fine, unless something in it was meant to be one.
fn outside(text: &str, index: usize, nothing: bool, pieces: &mut Vec<Piece<'_>>) {
    if text.contains("BEGIN CERTIFICATE") {
        let reason = "a line says `BEGIN CERTIFICATE` without the five dashes before it".to_owned();
        pieces.push(Piece::Broken { index, reason });
    } else if nothing {
        pieces.push(Piece::Broken {
            index,
            reason: "the text has no PEM block".to_owned(),
        });
    }
}

/// RFC 7468: printable, no dashes at the ends, and certainly on one line.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() < 64 && !label.contains(['\n', '\r'])
}

/// The bytes of a block's body.
pub(super) fn decode(body: &str) -> Result<Vec<u8>, String> {
    let engine = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let compact: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    if compact.is_empty() {
        return Err("the block is empty".to_owned());
    }
    engine
        .decode(compact)
        .map_err(|error| format!("the base64 is damaged: {error}"))
}
