//! Envoy's verdict of an exchange beside ours, and the differences that have a reason.

use std::fmt;

use jiff::Timestamp;
use rootshift::pki::{HandshakeFailure, PathError, Refusal, Side, Usage, accepts, handshake};

use super::pairs::Party;
use super::rig::Verdict;

/// What this program says of one exchange.
#[derive(Debug, Clone)]
pub(super) struct Ours {
    /// What the client says of the server.
    pub(super) client: Result<(), Objection>,
    /// What the server says of the client, whether the client would go that far or not.
    pub(super) server: Result<(), Objection>,
    pub(super) handshake: Result<(), HandshakeFailure>,
}

/// Why a side does not accept its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// The peer has no name that is accepted.
    Name(String),
    /// The peer's certificate is itself in the bundle, and there is no path; whatever else is said.
    Pinned,
    /// There is no path, or none for sure, where so many certificates are trusted.
    Path(PathError, usize),
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Name(words) => f.write_str(words),
            Objection::Pinned => f.write_str("the leaf itself is in the bundle"),
            Objection::Path(error, _) => error.fmt(f),
        }
    }
}

impl Ours {
    pub(super) fn of(client: &Party, server: &Party, now: Timestamp) -> Self {
        let view = |judge: &Party, peer: &Party, usage| {
            let (chain, leaf) = (&peer.case.chain, &peer.case.chain[0]);
            match accepts(&judge.bundle(), chain, usage, now) {
                Ok(_) => judge.accepts.accepts(leaf).map_err(Objection::Name),
                Err(_) if judge.trusts.contains(leaf) => Err(Objection::Pinned),
                Err(error) => Err(Objection::Path(error, judge.trusts.len())),
            }
        };
        Self {
            client: view(client, server, Usage::Server),
            server: view(server, client, Usage::Client),
            handshake: handshake(
                &client.identity(),
                &client.accepts,
                &server.identity(),
                &server.accepts,
                now,
            ),
        }
    }

    /// What a side objects to its peer.
    fn objection(&self, side: Side) -> Option<&Objection> {
        match side {
            Side::Client => self.client.as_ref().err(),
            Side::Server => self.server.as_ref().err(),
        }
    }
}

/// How Envoy's verdict and ours go together, in words for counting.
///
/// Not only the exchange as a whole is compared: the side that refuses in Envoy has to object here too.
///
/// # Errors
/// A difference that may not be. Where Envoy refuses, there is no list of reasons: that is never accepted
/// here.
pub(super) fn compare(envoy: &Verdict, ours: &Ours) -> Result<String, String> {
    let objections = [Side::Client, Side::Server].map(|side| ours.objection(side));
    let both_agree = objections.iter().all(Option::is_none);
    if ours.handshake.is_ok() && !both_agree {
        return Err("our handshake is laxer than our paths and names".to_owned());
    }
    if *envoy != Verdict::Accepted && (both_agree || ours.handshake.is_ok()) {
        return Err("accepted here, and not by Envoy".to_owned());
    }
    match envoy {
        Verdict::Accepted => match (&ours.handshake, objections.iter().flatten().next()) {
            (Ok(()), _) => Ok("both accept".to_owned()),
            (Err(_), Some(objection)) => {
                Ok(format!("only Envoy accepts: {}", stricter(objection)?))
            }
            (Err(failure), None) => {
                Ok(format!("only Envoy accepts: {}", stricter_webpki(failure)?))
            }
        },
        Verdict::Refused { by, words } if words.contains("NO COMMON SIGNATURE ALGORITHMS") => {
            // Envoy finds out when it should sign; here the peer refuses what it could not be shown.
            match ours.objection(other(*by)) {
                Some(Objection::Path(PathError::NotAllowed { reason, .. }, _))
                    if reason.contains("Envoy does not sign") =>
                {
                    Ok("both refuse: a key with which Envoy does not sign".to_owned())
                }
                _ => Err(format!("the {by}'s key is good enough here")),
            }
        }
        Verdict::Refused { by, .. } => {
            if ours.objection(*by).is_none() {
                return Err(format!("the {by} objects to nothing here"));
            }
            match objections {
                [Some(first), _] if *by == Side::Server => Ok(format!(
                    "both refuse: Envoy's server, and the client here, because {}",
                    stricter(first)?
                )),
                _ => Ok(format!("both refuse: the {by}")),
            }
        }
        Verdict::Unloadable { at, .. } => Ok(match ours.objection(other(*at)) {
            Some(_) => "both refuse: Envoy does not load what its peer refuses here".to_owned(),
            None => "both refuse: Envoy does not load what refuses its peer here".to_owned(),
        }),
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Why a side may object to a peer that Envoy accepts.
fn stricter(objection: &Objection) -> Result<&'static str, String> {
    const KIND: &str = "a kind of signature that is not evaluated";
    const ANCHORS: &str = "trusted certificates are asked for more than Envoy asks";
    Ok(match objection {
        Objection::Pinned => "the leaf itself is in the bundle: nothing that a CA's bundle says",
        Objection::Path(PathError::Uncertain { .. }, _) => {
            "several certificates fit, and the order of the text decides"
        }
        Objection::Path(PathError::Expired { .. }, 2..) => {
            "each of several certificates has a fault, and Envoy takes the one whose it overlooks"
        }
        Objection::Path(PathError::TooLong { .. }, _) => "longer than is followed",
        Objection::Path(PathError::Unsupported { what, .. }, _) => match what.as_str() {
            "name constraints" => "name constraints are not evaluated",
            what if what.contains("polic") => "policies are not evaluated",
            what if what.contains("critical extension") => ANCHORS,
            "ECDSA key on curve P-521" | "RSA key of 1024 bits" => KIND,
            "signature algorithm SHA-1 with RSA" => KIND,
            _ => return unlisted(objection),
        },
        Objection::Path(PathError::NotAllowed { reason, .. }, _) => match reason.as_str() {
            "is not a CA" | "is a CA without the key usage keyCertSign" => ANCHORS,
            reason if reason.contains("extended key usages") => ANCHORS,
            reason if reason.contains("CAs below it") => ANCHORS,
            "is a CA, not a workload's certificate" => "a CA as a leaf",
            "names no issuer" => "RFC 5280 wants a name",
            _ => return unlisted(objection),
        },
        Objection::Name(_) | Objection::Path(..) => return unlisted(objection),
    })
}

fn unlisted(objection: &Objection) -> Result<&'static str, String> {
    Err(format!(
        "stricter than Envoy for a reason that is not listed: {objection}"
    ))
}

/// Why a handshake may fail that Envoy makes, and to which our own paths do not object.
fn stricter_webpki(failure: &HandshakeFailure) -> Result<&'static str, String> {
    let detail = &failure.detail;
    Ok(match failure.cause {
        Refusal::UnknownIssuer => {
            "webpki compares names byte by byte, and leaves out what it cannot read"
        }
        Refusal::Other if detail == "UnsupportedCertVersion" => "webpki reads no version 1",
        Refusal::Other if detail.contains("BadDer") => "webpki wants DER where Envoy takes BER",
        _ => {
            let what = "webpki is stricter than Envoy for a reason that is not listed";
            return Err(format!("{what}: {detail}"));
        }
    })
}
