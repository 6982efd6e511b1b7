//! Who refused a handshake, and why: typed for counting, worded for people.

use std::fmt;

use crate::pki::{KeyError, PathError, SanRules};

/// One side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Who connects.
    Client,
    /// Who is connected to.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

/// A handshake that did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{side} refused: {detail}")]
pub struct HandshakeFailure {
    /// Who refused.
    pub side: Side,
    /// Why, for counting.
    pub cause: Refusal,
    /// Why, with names and values.
    pub detail: String,
}

impl HandshakeFailure {
    /// The side cannot even present itself.
    pub(super) fn unusable(side: Side, error: &KeyError) -> HandshakeFailure {
        HandshakeFailure {
            side,
            cause: Refusal::Other,
            detail: error.to_string(),
        }
    }
}

/// Why a peer was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// A certificate of the peer's path is no longer valid.
    Expired,
    /// The peer presented no certificate.
    NoCertificate,
    /// A certificate of the peer's path is not yet valid.
    NotYetValid,
    /// Anything else; the detail says what.
    Other,
    /// The path is valid, but the peer's name is not accepted.
    SanMismatch {
        /// The URIs that the peer presents.
        presented: Vec<String>,
        /// What was accepted.
        accepted: SanRules,
    },
    /// No path to anything in the bundle.
    UnknownIssuer,
}

impl Refusal {
    /// The word for a path that does not hold.
    pub(super) fn of(error: &PathError) -> Refusal {
        match error {
            PathError::Expired { .. } => Refusal::Expired,
            PathError::NotYetValid { .. } => Refusal::NotYetValid,
            PathError::BadSignature { .. } | PathError::UnknownIssuer { .. } => {
                Refusal::UnknownIssuer
            }
            _ => Refusal::Other,
        }
    }

    /// A short stable word: `unknown_issuer`, `san_mismatch`, …
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Expired => "expired",
            Refusal::NoCertificate => "no_certificate",
            Refusal::NotYetValid => "not_yet_valid",
            Refusal::Other => "other",
            Refusal::SanMismatch { .. } => "san_mismatch",
            Refusal::UnknownIssuer => "unknown_issuer",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Expired => "certificate expired",
            Refusal::NoCertificate => "no certificate",
            Refusal::NotYetValid => "certificate not yet valid",
            Refusal::Other => "handshake failed",
            Refusal::SanMismatch { .. } => "SAN not accepted",
            Refusal::UnknownIssuer => "unknown issuer",
        })
    }
}
