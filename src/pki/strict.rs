//! Whether Envoy loads a PEM text as a whole.
//!
//! [`certs_from_pem`] reads what it can. Envoy (BoringSSL) reads all or nothing:
//! one damaged block, two blocks glued together, an indented line, and a bundle or chain is refused, the
//! proxy goes on with what it had before, and its dump may show the text all the same. So of a text
//! that does not pass here it is not known what the proxy holds. The rules were seen on Envoy 1.40; where
//! its reader was not seen to pass something, that is an issue here.

use super::{PemIssue, certs_from_pem, pem};

/// The first thing that keeps Envoy from loading the text, or that it reads as something else than
/// [`certs_from_pem`] does.
///
/// # Errors
/// The block, from 0, and what is wrong with it.
pub fn loads_in_envoy(text: &str) -> Result<(), PemIssue> {
    check(text, &certs_from_pem(text).1)
}

/// [`loads_in_envoy`] of a text that was read already, with what could not be used of it.
pub(super) fn check(text: &str, issues: &[PemIssue]) -> Result<(), PemIssue> {
    let mut index = 0;
    let mut open: Option<&str> = None;
    let mut certificate = false;
    let fail = |index: usize, reason: &str| {
        Err(PemIssue {
            index,
            reason: reason.to_owned(),
        })
    };
    // What is not listed cannot be looked up.
    if let Some(last) = issues.get(pem::MAX_ISSUES) {
        return Err(last.clone());
    }
    if text.starts_with('\u{feff}') {
        return fail(0, "a byte order mark at the beginning");
    }
    for line in text.split('\n') {
        let line = line.trim_end_matches([' ', '\t', '\r']);
        if line.contains('\r') {
            return fail(index, "a carriage return that ends no line");
        }
        match open {
            None => {
                if let Some(label) = label(line, "-----BEGIN ") {
                    open = Some(label);
                } else if line.contains("-----BEGIN") || line.contains("-----END") {
                    return fail(
                        index,
                        "`-----BEGIN` and `-----END` have to begin a line, and nothing may follow",
                    );
                }
            }
            Some(begun) => {
                if label(line, "-----END ") == Some(begun) {
                    block(index, begun, issues)?;
                    certificate |= begun == "CERTIFICATE";
                    open = None;
                    index += 1;
                } else if line.is_empty() {
                    return fail(index, "a blank line inside the block");
                } else if !line
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
                {
                    return fail(index, "a line inside the block is not base64");
                }
            }
        }
    }
    match open {
        Some(_) => fail(index, "the block has no END line"),
        None if !certificate => fail(index, "no PEM certificate"),
        None => Ok(()),
    }
}

fn label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}

/// Blocks of a text that is in order line by line are the blocks that the lenient reader has seen.
fn block(index: usize, label: &str, issues: &[PemIssue]) -> Result<(), PemIssue> {
    let fail = |reason: String| Err(PemIssue { index, reason });
    match label {
        "CERTIFICATE" => match issues.iter().find(|issue| issue.index == index) {
            None => Ok(()),
            Some(issue) => Err(issue.clone()),
        },
        "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => fail(format!(
            "Envoy reads a `{label}` block as a certificate; others do not"
        )),
        "X509 CRL" => fail("with a revocation list Envoy wants one of every issuer".to_owned()),
        _ => Ok(()),
    }
}
