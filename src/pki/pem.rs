//! Reading PEM as it is found in clusters, without ever losing the readable rest.
//!
//! Bundles are glued together by shell scripts, mounted from ConfigMaps and pasted into YAML: text
//! between blocks, CRLF, indentation, `END` and the next `BEGIN` on one line, no newline at the
//! end. Strict readers stop at the first oddity; here each oddity becomes a [`PemIssue`] and the
//! other blocks are still read. Blocks that Istio's own reader ignores (keys, CRLs, `TRUSTED
//! CERTIFICATE`) are ignored and reported too.

use std::fmt;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};

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
/// Of more than [`MAX_INPUT`] bytes nothing is read, which is an issue too.
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
            Piece::Broken { index, flaw } => report(index, flaw.to_string()),
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
        flaw: Flaw<'a>,
    },
}

/// Why something is no block. Its text quotes labels and nothing else: where line breaks are lost, the
/// rest of a line is the rest of the text, private keys in it too.
#[derive(Clone, Copy)]
pub(super) enum Flaw<'a> {
    /// Something was meant to be a block, and lost the dashes before it.
    BareBegin,
    /// No label and five dashes after `BEGIN`.
    BeginLine,
    /// No `END` before the next `BEGIN`.
    NoEnd {
        /// What stands after `BEGIN`.
        label: &'a str,
    },
    /// Text, and not a single block.
    NothingAtAll,
    /// The `END` of something else.
    OtherEnd {
        /// What stands after `BEGIN`.
        label: &'a str,
        /// What stands after `END`, where that is a label.
        end: Option<&'a str>,
    },
}

impl Flaw<'_> {
    /// The flaw without labels: in a text about keys they may be parts of one.
    pub(super) fn unquoted(self) -> &'static str {
        match self {
            Flaw::BareBegin => "a line says `BEGIN CERTIFICATE` without the five dashes before it",
            Flaw::BeginLine => "the BEGIN line does not end in `-----`",
            Flaw::NoEnd { .. } => "a block has no END line: cut short",
            Flaw::NothingAtAll => "the text has no PEM block",
            Flaw::OtherEnd { .. } => "a block is closed by the END line of another kind",
        }
    }
}

impl fmt::Display for Flaw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::NoEnd { label } => write!(f, "`BEGIN {label}` has no END line: cut short"),
            Flaw::OtherEnd {
                label,
                end: Some(end),
            } => write!(f, "`BEGIN {label}` is closed by `{END}{end}{DASHES}`"),
            Flaw::OtherEnd { label, end: None } => {
                write!(f, "`BEGIN {label}` is closed by a damaged END line")
            }
            _ => f.write_str(self.unquoted()),
        }
    }
}

/// Cuts a text into blocks. A block without its `END` ends where the next `BEGIN` starts.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    Pieces {
        rest: Some(text),
        index: 0,
        block: None,
    }
}

/// What is not yet cut. One piece at a time: a text of 16 MiB can have more than a million.
struct Pieces<'a> {
    /// `None` at the end.
    rest: Option<&'a str>,
    index: usize,
    /// The block that follows what was found before it.
    block: Option<Piece<'a>>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        loop {
            if let Some(block) = self.block.take() {
                return Some(block);
            }
            let index = self.index;
            let rest = self.rest.take()?;
            let start = rest.find(BEGIN);
            let outside = &rest[..start.unwrap_or(rest.len())];
            if let Some(start) = start {
                self.block = Some(self.cut(&rest[start + BEGIN.len()..]));
            }
            // Text between blocks is fine, unless something in it was meant to be one.
            if outside.contains("BEGIN CERTIFICATE") {
                let flaw = Flaw::BareBegin;
                return Some(Piece::Broken { index, flaw });
            }
            if start.is_none() && index == 0 && !outside.trim().is_empty() {
                let flaw = Flaw::NothingAtAll;
                return Some(Piece::Broken { index, flaw });
            }
        }
    }
}

impl<'a> Pieces<'a> {
    /// The block whose `BEGIN` is before `after`.
    fn cut(&mut self, after: &'a str) -> Piece<'a> {
        let index = self.index;
        self.index += 1;
        // Glued lines may share their dashes: `-----END X-----BEGIN Y-----`. Where the next block
        // begins is settled first, so that nothing before it can swallow it.
        let next = after.find(BEGIN).unwrap_or(after.len());
        let Some(label) = label(after, next) else {
            self.rest = Some(&after[next..]);
            let flaw = Flaw::BeginLine;
            return Piece::Broken { index, flaw };
        };
        let body = &after[label.len() + DASHES.len()..];
        let next = next - label.len() - DASHES.len();
        let Some(end) = body[..next].find(END) else {
            self.rest = Some(&body[next..]);
            let flaw = Flaw::NoEnd { label };
            return Piece::Broken { index, flaw };
        };
        let after = &body[end + END.len()..];
        // The dashes may be those of the next block.
        let until = (next - end - END.len() + DASHES.len()).min(after.len());
        match self::label(after, until) {
            Some(same) if same == label => {
                let closing = end + END.len() + label.len() + DASHES.len();
                self.rest = Some(&body[closing.min(next)..]);
                let body = &body[..end];
                Piece::Block { index, label, body }
            }
            end => {
                self.rest = Some(after);
                let flaw = Flaw::OtherEnd { label, end };
                Piece::Broken { index, flaw }
            }
        }
    }
}

/// The label at the beginning of a text, if five dashes follow it before `until`. RFC 7468: printable,
/// no dashes at the ends, and certainly on one line.
fn label(text: &str, until: usize) -> Option<&str> {
    let dashes = text.get(..until).unwrap_or(text).find(DASHES)?;
    let label = &text[..dashes];
    let fits = !label.is_empty() && label.len() < 64 && !label.contains(char::is_control);
    fits.then_some(label)
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
    // The library's own text quotes the character, which may be one of a private key.
    engine.decode(compact).map_err(|error| {
        let what = match error {
            DecodeError::InvalidByte(at, _) => format!("character {} is none of it", at + 1),
            DecodeError::InvalidLastSymbol { offset, .. } => {
                format!("character {} stands for less than a byte", offset + 1)
            }
            DecodeError::InvalidLength(length) => format!("{length} characters are cut short"),
            DecodeError::InvalidPadding => "the padding is wrong".to_owned(),
        };
        format!("the base64 is damaged: {what}")
    })
}
