//! Texts and bytes changed as accidents change them: lines lost, doubled, glued and cut short.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::choices::Choices;

/// What makes readers of PEM stumble.
const SNIPPETS: &[&str] = &[
    "-----",
    "-----BEGIN ",
    "-----END ",
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE",
    "----BEGIN CERTIFICATE----",
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    "-----BEGIN PRIVATE KEY-----",
    "-----END RSA PRIVATE KEY-----",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "=",
    "==",
    "-",
    "_",
    "\0",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "é",
    "# subject=O = cluster.local\n",
    "MIIC",
    "",
];

/// Nothing becomes longer than this by repetition.
const LARGEST: usize = 64 << 10;

/// Changes a text somewhere.
pub fn change(text: &mut Vec<u8>, choices: &mut Choices) {
    match choices.below(9) {
        0 => change_bytes(text, choices),
        1 => {
            let snippet = choices.pick(SNIPPETS).as_bytes();
            let at = choices.below(text.len() + 1);
            text.splice(at..at, snippet.iter().copied());
        }
        2 => {
            // A line lost.
            let line = line(text, choices);
            text.drain(line);
        }
        3 => {
            let line = text[line(text, choices)].to_vec();
            let times = 1 + choices.below(64);
            let at = start_of_line(text, choices);
            let times = times.min(LARGEST / line.len().max(1));
            text.splice(at..at, line.repeat(times));
        }
        4 => {
            // A line break lost.
            if let Some(end) = line(text, choices).end.checked_sub(1) {
                text.remove(end);
            }
        }
        5 => text.retain(|byte| *byte != b'\n'),
        6 => text.truncate(choices.below(text.len() + 1)),
        7 => {
            let snippet = choices.pick(SNIPPETS).as_bytes();
            let line = line(text, choices);
            text.splice(line, snippet.iter().copied());
        }
        _ => {
            let break_as = *choices.pick(&["\r\n", "\n      ", "\\n", " ", "\n\n"]);
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            *text = lines.join(break_as.as_bytes());
        }
    }
}

/// Changes a few bytes somewhere.
pub fn change_bytes(bytes: &mut Vec<u8>, choices: &mut Choices) {
    let at = choices.below(bytes.len() + 1);
    match choices.below(6) {
        0 | 1 => {
            let bit = choices.below(8);
            bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << bit);
        }
        2 => {
            let value = choices.byte();
            bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = value);
        }
        3 => {
            let new = choices.bytes(8);
            bytes.splice(at..at, new.iter().copied());
        }
        4 => {
            let end = (at + choices.below(64)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            let end = (at + choices.below(64)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            let to = choices.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
    }
}

/// Base64 in one of the ways in which it is met.
pub fn base64(bytes: &[u8], choices: &mut Choices) -> String {
    match choices.below(5) {
        0 => STANDARD.encode(bytes),
        1 => STANDARD_NO_PAD.encode(bytes),
        2 => URL_SAFE.encode(bytes),
        3 => URL_SAFE_NO_PAD.encode(bytes),
        _ => broken_in_lines(&STANDARD.encode(bytes), 76),
    }
}

/// One PEM block.
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = broken_in_lines(&STANDARD.encode(der), 64);
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

fn broken_in_lines(text: &str, length: usize) -> String {
    let lines = text.as_bytes().chunks(length);
    lines.fold(String::new(), |all, line| {
        all + str::from_utf8(line).unwrap() + "\n"
    })
}

fn start_of_line(text: &[u8], choices: &mut Choices) -> usize {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let starts: Vec<usize> = std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect();
    *choices.pick(&starts)
}

/// Some line, its end included.
fn line(text: &[u8], choices: &mut Choices) -> std::ops::Range<usize> {
    let start = start_of_line(text, choices);
    let length = text[start..].iter().position(|byte| *byte == b'\n');
    start..length.map_or(text.len(), |length| start + length + 1)
}
