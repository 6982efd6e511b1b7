//! Certification paths: from a workload's certificate to something that is trusted.
//!
//! The rules are RFC 5280's as far as Istio's certificates use them, with Envoy's
//! `X509_V_FLAG_PARTIAL_CHAIN`: every certificate of a bundle is an anchor, intermediates included,
//! and the anchor's own dates and CA flag count. What cannot be evaluated (an unknown critical
//! extension, name constraints, a signature algorithm) is never taken for valid.
//!
//! All paths are found, not just one, because the question is which roots end one.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::signature::{self, Signature};
use super::{Bundle, Cert, Fingerprint, when};

/// Certificates in a path, the leaf and the anchor included.
const MAX_LENGTH: usize = 8;
/// Signature checks in one search: an adversary's pile of namesakes must not stop a scan.
const MAX_CHECKS: usize = 500;

/// A verified path: the leaf first, the anchor last, at least two certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    certs: Vec<Cert>,
    anchor: Cert,
}

impl Path {
    /// Leaf first, anchor last.
    pub fn certs(&self) -> &[Cert] {
        &self.certs
    }

    /// The trusted certificate that ends the path.
    pub fn anchor(&self) -> &Cert {
        &self.anchor
    }

    /// When the first certificate of the path expires.
    pub fn not_after(&self) -> Timestamp {
        self.certs
            .iter()
            .map(Cert::not_after)
            .min()
            .unwrap_or(Timestamp::MIN)
    }
}

/// What the leaf is presented as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// A client in mutual TLS.
    Client,
    /// A server.
    Server,
    /// Both, as every workload of a mesh is.
    Workload,
}

/// Why there is no path. Of several dead ends the one that says most is reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A certificate bears the issuer's name, but its key did not sign.
    #[error(
        "`{cert}` names `{issuer}` as its issuer, but was not signed by that CA's key ({candidate})"
    )]
    BadSignature {
        /// The certificate whose issuer is sought.
        cert: String,
        /// The issuer's name.
        issuer: String,
        /// The candidate's first 8 digits.
        candidate: String,
    },
    /// A certificate is no longer valid.
    #[error("`{cert}` expired {}", when::relative(*not_after, *now))]
    Expired {
        /// Which.
        cert: String,
        /// Its end.
        not_after: Timestamp,
        /// The time of the question.
        now: Timestamp,
    },
    /// There is nothing to judge.
    #[error("there is no certificate")]
    NoCertificate,
    /// A certificate may not do what the path needs of it.
    #[error("`{cert}` {reason}")]
    NotAllowed {
        /// Which.
        cert: String,
        /// What it lacks.
        reason: String,
    },
    /// A certificate is not yet valid.
    #[error("`{cert}` becomes valid {}", when::relative(*not_before, *now))]
    NotYetValid {
        /// Which.
        cert: String,
        /// Its begin.
        not_before: Timestamp,
        /// The time of the question.
        now: Timestamp,
    },
    /// Too many certificates of one name.
    #[error("more than {MAX_CHECKS} signatures to check")]
    TooComplex,
    /// Longer than this room follows.
    #[error("the path from `{cert}` is longer than {MAX_LENGTH} certificates")]
    TooLong {
        /// Where it was given up.
        cert: String,
    },
    /// Several certificates of one CA are presented, and it depends on the choice.
    #[error(
        "several certificates of `{cert}` are presented, and only with one of them the path is valid"
    )]
    Uncertain {
        /// The CA.
        cert: String,
    },
    /// Nobody of that name is known, or the path ends at a certificate that is not trusted.
    #[error("the issuer of `{cert}`, `{issuer}`, is not among the trusted certificates")]
    UnknownIssuer {
        /// The certificate whose issuer is sought.
        cert: String,
        /// The issuer's name.
        issuer: String,
    },
    /// It cannot be told.
    #[error("`{cert}` cannot be judged: {what} is not supported")]
    Unsupported {
        /// Which.
        cert: String,
        /// What is not supported.
        what: String,
    },
}

impl PathError {
    /// It is not known that there is no path.
    pub fn is_unknown(&self) -> bool {
        matches!(
            self,
            PathError::TooComplex
                | PathError::TooLong { .. }
                | PathError::Uncertain { .. }
                | PathError::Unsupported { .. }
        )
    }

    /// How much it explains, compared with another dead end of the same search.
    fn weight(&self) -> u8 {
        match self {
            PathError::NoCertificate | PathError::TooComplex | PathError::Uncertain { .. } => 7,
            PathError::Unsupported { .. } => 6,
            PathError::TooLong { .. } => 5,
            PathError::Expired { .. } | PathError::NotYetValid { .. } => 4,
            PathError::NotAllowed { .. } => 3,
            PathError::BadSignature { .. } => 2,
            PathError::UnknownIssuer { .. } => 1,
        }
    }
}

/// All valid paths at `now` from a workload's `leaf` through `pool` to any of `anchors`, the
/// shortest first; never empty. `pool` may hold anything, the leaf and the anchors too: what is on
/// no path is ignored.
///
/// # Errors
/// The reason that says most why there is none.
pub fn paths(
    leaf: &Cert,
    pool: &[Cert],
    anchors: &Bundle,
    now: Timestamp,
) -> Result<Vec<Path>, PathError> {
    paths_for(Usage::Workload, leaf, pool, anchors, now)
}

/// [`paths`] for a leaf that is only a client, or only a server.
pub fn paths_for(
    usage: Usage,
    leaf: &Cert,
    pool: &[Cert],
    anchors: &Bundle,
    now: Timestamp,
) -> Result<Vec<Path>, PathError> {
    let mut search = Search::new(usage, pool.iter(), anchors, Some(now));
    search.start_at_leaf(leaf);
    search.outcome()
}

/// Whether a proxy that trusts `bundle` accepts a peer that presents `chain` (its own certificate
/// first) at `now`, as Envoy judges; and by which path.
///
/// Stricter than [`paths`]: OpenSSL and BoringSSL build one chain, trusted certificates first, and
/// do not go back. Where a peer presents two certificates of one CA (its self-signed root and a
/// cross-signed one), they may take the wrong one, so a path that depends on the choice is
/// [`PathError::Uncertain`]. SAN matchers are asked separately ([`SanRules`](super::SanRules)).
pub fn accepts(
    bundle: &Bundle,
    chain: &[Cert],
    usage: Usage,
    now: Timestamp,
) -> Result<Path, PathError> {
    let Some((leaf, presented)) = chain.split_first() else {
        return Err(PathError::NoCertificate);
    };
    if leaf.is_ca() {
        let reason = "is a CA, not a workload's certificate".to_owned();
        return Err(PathError::NotAllowed {
            cert: leaf.display_name(),
            reason,
        });
    }
    let mut rival = None;
    for path in paths_for(usage, leaf, presented, bundle, now)? {
        match path.certs[1..]
            .iter()
            .find(|cert| has_rival(cert, presented, bundle))
        {
            None => return Ok(path),
            Some(cert) => rival = Some(cert.display_name()),
        }
    }
    Err(PathError::Uncertain {
        cert: rival.unwrap_or_default(),
    })
}

/// Another certificate of the same CA is presented, and nothing makes a verifier prefer this one.
fn has_rival(cert: &Cert, presented: &[Cert], bundle: &Bundle) -> bool {
    !bundle.contains(cert)
        && presented.iter().any(|other| {
            other != cert
                && !bundle.contains(other)
                && other.parsed().subject_raw == cert.parsed().subject_raw
                && other.parsed().spki == cert.parsed().spki
        })
}

/// One search. `now: None` ignores all dates.
pub(super) struct Search<'a> {
    usage: Usage,
    anchors: &'a Bundle,
    candidates: BTreeSet<&'a Cert>,
    now: Option<Timestamp>,
    checks: usize,
    found: Vec<Path>,
    dead_ends: Vec<PathError>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        usage: Usage,
        pool: impl Iterator<Item = &'a Cert>,
        anchors: &'a Bundle,
        now: Option<Timestamp>,
    ) -> Search<'a> {
        let candidates = anchors.certs().chain(pool).collect();
        Search {
            usage,
            anchors,
            candidates,
            now,
            checks: 0,
            found: Vec::new(),
            dead_ends: Vec::new(),
        }
    }

    /// Searches from an end-entity certificate.
    pub(super) fn start_at_leaf(&mut self, leaf: &Cert) {
        if let Err(error) = self.usable(leaf).and_then(|()| may_be_leaf(leaf)) {
            self.dead_ends.push(error);
            return;
        }
        self.extend(&mut vec![leaf.clone()]);
    }

    /// Searches from a CA certificate: who stands above it.
    pub(super) fn start_at_ca(&mut self, ca: &Cert) {
        if let Err(error) = self.usable(ca).and_then(|()| may_issue(ca)) {
            self.dead_ends.push(error);
            return;
        }
        self.extend(&mut vec![ca.clone()]);
    }

    pub(super) fn outcome(mut self) -> Result<Vec<Path>, PathError> {
        if self.found.is_empty() {
            return Err(self.explanation());
        }
        self.found.sort_by_key(|path| path.certs.len());
        Ok(self.found)
    }

    /// The paths and every dead end.
    pub(super) fn into_parts(mut self) -> (Vec<Path>, Vec<PathError>) {
        self.found.sort_by_key(|path| path.certs.len());
        (self.found, self.dead_ends)
    }

    fn explanation(&self) -> PathError {
        let best = self
            .dead_ends
            .iter()
            .rev()
            .max_by_key(|error| error.weight());
        best.cloned().unwrap_or(PathError::TooComplex)
    }

    fn extend(&mut self, path: &mut Vec<Cert>) {
        let Some(last) = path.last().cloned() else {
            return;
        };
        let candidates: Vec<&Cert> = self
            .candidates
            .iter()
            .copied()
            .filter(|c| c.parsed().subject_raw == last.parsed().issuer_raw && !path.contains(c))
            .collect();
        if candidates.is_empty() {
            self.dead_ends.push(PathError::UnknownIssuer {
                cert: last.display_name(),
                issuer: last.issuer(),
            });
            return;
        }
        if path.len() >= MAX_LENGTH {
            self.dead_ends.push(PathError::TooLong {
                cert: last.display_name(),
            });
            return;
        }
        for candidate in candidates {
            if let Err(error) = self.step(path, &last, candidate) {
                self.dead_ends.push(error);
                continue;
            }
            path.push(candidate.clone());
            if self.anchors.contains(candidate) {
                self.found.push(Path {
                    certs: path.clone(),
                    anchor: candidate.clone(),
                });
            }
            if !self_signed(candidate) {
                self.extend(path);
            } else if !self.anchors.contains(candidate) {
                self.dead_ends.push(PathError::UnknownIssuer {
                    cert: last.display_name(),
                    issuer: format!("{} ({})", candidate.subject(), candidate.sha256().short()),
                });
            }
            path.pop();
        }
    }

    /// Whether `issuer` may stand above the path's `last`. The signature comes before the rest, so
    /// that a namesake is called one whatever else is wrong with it.
    fn step(&mut self, path: &[Cert], last: &Cert, issuer: &Cert) -> Result<(), PathError> {
        let bad_signature = || PathError::BadSignature {
            cert: last.display_name(),
            issuer: last.issuer(),
            candidate: issuer.sha256().short(),
        };
        // As OpenSSL and BoringSSL do; both absent or one absent says nothing.
        if let (Some(aki), Some(ski)) = (&last.parsed().aki, &issuer.parsed().ski)
            && aki != ski
        {
            return Err(bad_signature());
        }
        self.checks += 1;
        if self.checks > MAX_CHECKS {
            return Err(PathError::TooComplex);
        }
        match signature::check(last, issuer) {
            Signature::Bad => return Err(bad_signature()),
            Signature::Good => {}
            Signature::Unsupported(what) => {
                return Err(PathError::Unsupported {
                    cert: last.display_name(),
                    what,
                });
            }
        }
        self.usable(issuer)?;
        may_issue(issuer)?;
        // RFC 5280, section 4.2.1.9: self-issued intermediates and the leaf do not count.
        let below = path
            .iter()
            .filter(|c| c.is_ca() && !c.is_self_issued())
            .count();
        match issuer.path_len() {
            Some(limit) if below > limit as usize => Err(PathError::NotAllowed {
                cert: issuer.display_name(),
                reason: format!("allows {limit} CAs below it, the path has {below}"),
            }),
            _ => Ok(()),
        }
    }

    /// What every certificate of a path must satisfy, whatever its place.
    fn usable(&self, cert: &Cert) -> Result<(), PathError> {
        let parsed = cert.parsed();
        if let Some(what) = &parsed.beyond_us {
            return Err(PathError::Unsupported {
                cert: cert.display_name(),
                what: what.clone(),
            });
        }
        if let Some(purposes) = parsed.purposes {
            let (allowed, missing) = match self.usage {
                Usage::Client => (purposes.client, "clientAuth"),
                Usage::Server => (purposes.server, "serverAuth"),
                Usage::Workload => (
                    purposes.client && purposes.server,
                    "clientAuth and serverAuth",
                ),
            };
            if !allowed {
                return Err(PathError::NotAllowed {
                    cert: cert.display_name(),
                    reason: format!("has extended key usages without {missing}"),
                });
            }
        }
        self.in_time(cert)
    }

    fn in_time(&self, cert: &Cert) -> Result<(), PathError> {
        let Some(now) = self.now else { return Ok(()) };
        if cert.valid_at(now) {
            return Ok(());
        }
        let name = if cert.is_ca() {
            format!("{} ({})", cert.display_name(), cert.sha256().short())
        } else {
            cert.display_name()
        };
        Err(if now < cert.not_before() {
            PathError::NotYetValid {
                cert: name,
                not_before: cert.not_before(),
                now,
            }
        } else {
            PathError::Expired {
                cert: name,
                not_after: cert.not_after(),
                now,
            }
        })
    }
}

/// The end of every path. Self-issued is not enough: when a CA changes its key under its old name,
/// the old key signs a link certificate whose issuer and subject are the same (RFC 4210, 4.4).
fn self_signed(cert: &Cert) -> bool {
    cert.is_self_issued() && signature::check(cert, cert) != Signature::Bad
}

fn may_be_leaf(cert: &Cert) -> Result<(), PathError> {
    match cert.parsed().usages {
        // TLS 1.3 and every ECDHE suite sign with the leaf's key.
        Some(usages) if !usages.digital_signature => Err(PathError::NotAllowed {
            cert: cert.display_name(),
            reason: "has key usages without digitalSignature".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn may_issue(cert: &Cert) -> Result<(), PathError> {
    let reason = if !cert.is_ca() {
        "is not a CA"
    } else if !cert.can_sign_certs() {
        "is a CA without the key usage keyCertSign"
    } else {
        return Ok(());
    };
    Err(PathError::NotAllowed {
        cert: format!("{} ({})", cert.display_name(), cert.sha256().short()),
        reason: reason.to_owned(),
    })
}

/// Why a certificate could not serve as an anchor at `now`; `None` if it could.
pub(super) fn unfit_anchor(cert: &Cert, now: Timestamp) -> Option<PathError> {
    let anchors = Bundle::default();
    let search = Search::new(Usage::Workload, std::iter::empty(), &anchors, Some(now));
    search.usable(cert).and_then(|()| may_issue(cert)).err()
}

/// The first 8 digits and the name: how a CA is called in reasons.
pub(super) fn ca_name(cert: &Cert, fingerprint: Fingerprint) -> String {
    format!("`{}` ({})", cert.display_name(), fingerprint.short())
}
