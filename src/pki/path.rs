//! Certification paths: from a workload's certificate to something that is trusted.
//!
//! The rules are RFC 5280's as far as Istio's certificates use them, with Envoy's
//! `X509_V_FLAG_PARTIAL_CHAIN`: every certificate of a bundle is an anchor, intermediates included,
//! and the anchor's own dates and CA flag count. What cannot be evaluated (an unknown critical
//! extension, name constraints, a signature algorithm) is never taken for valid.
//!
//! All paths are found, not just one, because the question is which roots end one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::parse::KeyUsages;
use super::signature::{self, Signature};
use super::{Bundle, Cert, Fingerprint, KeyKind, when};

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
    /// Several certificates could be the issuer's, and it depends on which of them is taken.
    #[error(
        "several certificates of `{cert}` fit, and Envoy takes the first of them; with the wrong one: {otherwise}"
    )]
    Uncertain {
        /// The CA's name.
        cert: String,
        /// What is wrong with the wrong one.
        otherwise: String,
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
/// Envoy (BoringSSL, as OpenSSL) builds one chain and does not go back. At each step it takes the first
/// trusted certificate that fits, else the first presented one, and what fits is told by name, key
/// identifiers and key usage alone: not by dates, and not by the signature. Once it stands on a trusted
/// certificate it goes on upwards among the trusted ones, and every certificate of that way has to hold.
/// So where several certificates fit at one step (a root beside its expired predecessor of the same name
/// and key) and not all of them lead to an end, the answer hangs on the order of the text, and is
/// [`PathError::Uncertain`] here.
///
/// Of trusted certificates more is asked than Envoy does: it looks at their CA flag, path length, purposes
/// and critical extensions not at all. SAN matchers are asked separately
/// ([`SanRules`](super::SanRules)).
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
    let mut search = Search::new(usage, presented.iter(), bundle, Some(now));
    search.usable(leaf).and_then(|()| may_be_leaf(leaf))?;
    presentable(leaf, usage)?;
    search.climb(&mut vec![leaf.clone()], false)
}

/// One search. `now: None` ignores all dates.
pub(super) struct Search<'a> {
    usage: Usage,
    anchors: &'a Bundle,
    /// Anchors and pool by the name that they bear.
    candidates: BTreeMap<&'a [u8], BTreeSet<&'a Cert>>,
    now: Option<Timestamp>,
    checks: usize,
    found: Vec<Path>,
    /// The first of each kind: among thousands of namesakes there are millions.
    dead_ends: Vec<PathError>,
}

impl<'a> Search<'a> {
    // What is decided late about a certificate (`self_signature`) has no part in its order.
    #[allow(clippy::mutable_key_type)]
    pub(super) fn new(
        usage: Usage,
        pool: impl Iterator<Item = &'a Cert>,
        anchors: &'a Bundle,
        now: Option<Timestamp>,
    ) -> Search<'a> {
        let mut candidates: BTreeMap<&[u8], BTreeSet<&Cert>> = BTreeMap::new();
        for cert in anchors.certs().chain(pool) {
            let name = &cert.parsed().subject_canonical[..];
            candidates.entry(name).or_default().insert(cert);
        }
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
            self.dead_end(error);
            return;
        }
        self.extend(&mut vec![leaf.clone()]);
    }

    /// Searches from a CA certificate: who stands above it. Several may be asked for one after the
    /// other. Whether anything was found by now.
    pub(super) fn start_at_ca(&mut self, ca: &Cert) -> bool {
        match self.usable(ca).and_then(|()| may_issue(ca)) {
            Ok(()) => self.extend(&mut vec![ca.clone()]),
            Err(error) => self.dead_end(error),
        }
        !self.found.is_empty()
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

    fn dead_end(&mut self, error: PathError) {
        let kind = std::mem::discriminant(&error);
        if self
            .dead_ends
            .iter()
            .all(|known| std::mem::discriminant(known) != kind)
        {
            self.dead_ends.push(error);
        }
    }

    /// Everything that bears the name of the issuer of `cert`.
    fn namesakes(&self, cert: &Cert) -> impl Iterator<Item = &'a Cert> {
        let found = self.candidates.get(&cert.parsed().issuer_canonical[..]);
        found.into_iter().flatten().copied()
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
            .namesakes(&last)
            .filter(|c| !path.contains(c))
            .collect();
        if candidates.is_empty() {
            self.dead_end(PathError::UnknownIssuer {
                cert: last.display_name(),
                issuer: last.issuer(),
            });
            return;
        }
        if path.len() >= MAX_LENGTH {
            self.dead_end(PathError::TooLong {
                cert: last.display_name(),
            });
            return;
        }
        for candidate in candidates {
            let told = |end: &PathError| matches!(end, PathError::BadSignature { .. });
            if contradict(&last, candidate) && self.dead_ends.iter().any(told) {
                continue;
            }
            if let Err(error) = self.step(path, &last, candidate) {
                let enough = error == PathError::TooComplex;
                self.dead_end(error);
                if enough {
                    return;
                }
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
                self.dead_end(PathError::UnknownIssuer {
                    cert: last.display_name(),
                    issuer: format!("{} ({})", candidate.subject(), candidate.sha256().short()),
                });
            }
            path.pop();
        }
    }

    /// The one path that a verifier takes which does not go back, if it comes to an end whatever it
    /// takes on the way.
    fn climb(&mut self, path: &mut Vec<Cert>, trusted: bool) -> Result<Path, PathError> {
        let Some(last) = path.last().cloned() else {
            return Err(PathError::NoCertificate);
        };
        let mut candidates = Vec::new();
        if !ends_a_chain(&last) {
            candidates = self.fitting(&last, path, true);
        }
        let among_trusted = !candidates.is_empty();
        if !among_trusted {
            if trusted {
                return Ok(Path {
                    certs: path.clone(),
                    anchor: last,
                });
            }
            if !ends_a_chain(&last) {
                candidates = self.fitting(&last, path, false);
            }
        }
        if path.len() >= MAX_LENGTH && !candidates.is_empty() {
            return Err(PathError::TooLong {
                cert: last.display_name(),
            });
        }
        let (mut taken, mut failed) = (None, Vec::new());
        for candidate in candidates {
            let above = self.step(path, &last, candidate).and_then(|()| {
                path.push(candidate.clone());
                let above = self.climb(path, among_trusted);
                path.pop();
                above
            });
            match above {
                Ok(path) => taken = taken.or(Some(path)),
                Err(PathError::TooComplex) => return Err(PathError::TooComplex),
                Err(error) => failed.push(error),
            }
        }
        match (taken, failed.into_iter().max_by_key(PathError::weight)) {
            (Some(path), None) => Ok(path),
            (Some(_), Some(error)) if error.is_unknown() => Err(error),
            (Some(_), Some(error)) => Err(PathError::Uncertain {
                cert: last.issuer(),
                otherwise: error.to_string(),
            }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.unknown_issuer(&last)),
        }
    }

    /// Who may be taken for the issuer of `last`: of the trusted ones, or of all.
    fn fitting(&self, last: &Cert, path: &[Cert], trusted: bool) -> Vec<&'a Cert> {
        let may_sign = |cert: &Cert| cert.parsed().usages.is_none_or(KeyUsages::cert_sign);
        self.namesakes(last)
            .filter(|cert| {
                (!trusted || self.anchors.contains(cert))
                    && !contradict(last, cert)
                    && may_sign(cert)
                    && !path.contains(cert)
            })
            .collect()
    }

    /// Nobody fits. A certificate that bears the name and contradicts the key identifier deserves to be
    /// said.
    fn unknown_issuer(&self, last: &Cert) -> PathError {
        match self.namesakes(last).find(|cert| *cert != last) {
            Some(cert) if contradict(last, cert) => bad_signature(last, cert),
            Some(cert) if may_issue(cert).is_err() => not_an_issuer(cert),
            _ if ends_a_chain(last) => PathError::UnknownIssuer {
                cert: last.display_name(),
                issuer: format!("itself ({})", last.sha256().short()),
            },
            _ => PathError::UnknownIssuer {
                cert: last.display_name(),
                issuer: last.issuer(),
            },
        }
    }

    /// Whether `issuer` may stand above the path's `last`. The signature comes before the rest, so
    /// that a namesake is called one whatever else is wrong with it.
    fn step(&mut self, path: &[Cert], last: &Cert, issuer: &Cert) -> Result<(), PathError> {
        if contradict(last, issuer) {
            return Err(bad_signature(last, issuer));
        }
        self.checks += 1;
        if self.checks > MAX_CHECKS {
            return Err(PathError::TooComplex);
        }
        match signature::check(last, issuer) {
            Signature::Bad => return Err(bad_signature(last, issuer)),
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
        within_bounds(issuer, path)
    }

    fn usable(&self, cert: &Cert) -> Result<(), PathError> {
        usable(cert, self.usage, self.now)
    }
}

/// RFC 5280, section 4.2.1.9: self-issued intermediates and the leaf do not count.
fn within_bounds(issuer: &Cert, below: &[Cert]) -> Result<(), PathError> {
    let below = below
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
fn usable(cert: &Cert, usage: Usage, now: Option<Timestamp>) -> Result<(), PathError> {
    let parsed = cert.parsed();
    // RFC 5280, section 4.1.2.4. A leaf without a subject would also count as issued by itself.
    if parsed.issuer.is_empty() {
        return Err(PathError::NotAllowed {
            cert: cert.display_name(),
            reason: "names no issuer".to_owned(),
        });
    }
    if let Some(what) = &parsed.beyond_us {
        return Err(PathError::Unsupported {
            cert: cert.display_name(),
            what: what.clone(),
        });
    }
    if let Some(purposes) = &parsed.purposes {
        let (allowed, missing) = match usage {
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
    in_time(cert, now)
}

fn in_time(cert: &Cert, now: Option<Timestamp>) -> Result<(), PathError> {
    let Some(now) = now else { return Ok(()) };
    // RFC 5280 counts the last second as valid, BoringSSL does not (`X509_cmp_time_posix`).
    if cert.valid_at(now) && now < cert.not_after() {
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

/// What the certificate says of its issuer's excludes this one, as OpenSSL and BoringSSL see it
/// (`X509_check_akid`); what is absent says nothing.
fn contradict(cert: &Cert, issuer: &Cert) -> bool {
    let (cert, issuer) = (cert.parsed(), issuer.parsed());
    let differ = |wanted: &Option<Vec<u8>>, found: Option<&Vec<u8>>| match (wanted, found) {
        (Some(wanted), Some(found)) => wanted != found,
        _ => false,
    };
    differ(&cert.aki, issuer.ski.as_ref())
        || differ(&cert.aki_serial, Some(&issuer.serial))
        || differ(&cert.aki_issuer, Some(&issuer.issuer_canonical))
}

/// What BoringSSL takes for self-signed, without looking at the signature: no issuer is sought.
fn ends_a_chain(cert: &Cert) -> bool {
    cert.is_self_issued() && !contradict(cert, cert)
}

fn bad_signature(cert: &Cert, candidate: &Cert) -> PathError {
    PathError::BadSignature {
        cert: cert.display_name(),
        issuer: cert.issuer(),
        candidate: candidate.sha256().short(),
    }
}

/// The end of every path. Self-issued is not enough: when a CA changes its key under its old name,
/// the old key signs a link certificate whose issuer and subject are the same (RFC 4210, 4.4).
fn self_signed(cert: &Cert) -> bool {
    cert.is_self_issued() && *cert.self_signature() != Signature::Bad
}

fn may_be_leaf(cert: &Cert) -> Result<(), PathError> {
    match cert.parsed().usages {
        // TLS 1.3 and every ECDHE suite sign with the leaf's key.
        Some(usages) if !usages.digital_signature() => Err(PathError::NotAllowed {
            cert: cert.display_name(),
            reason: "has key usages without digitalSignature".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What Envoy asks of a workload's own certificate before, or while, it presents it.
fn presentable(cert: &Cert, usage: Usage) -> Result<(), PathError> {
    let parsed = cert.parsed();
    let not_allowed = |reason: String| {
        Err(PathError::NotAllowed {
            cert: cert.display_name(),
            reason,
        })
    };
    // It loads RSA keys from 2048 bits and offers no signatures of other kinds than these.
    let usable = match &parsed.key_kind {
        KeyKind::Rsa(bits) => *bits >= 2048,
        KeyKind::Ecdsa(curve) => matches!(curve.as_str(), "P-256" | "P-384"),
        KeyKind::Ed25519 | KeyKind::Other(_) => false,
    };
    if !usable {
        return not_allowed(format!(
            "has a key with which Envoy does not sign: {}",
            parsed.key_kind
        ));
    }
    let nameless = parsed.uris.is_empty()
        && parsed.dns_names.is_empty()
        && parsed.ip_addresses.is_empty()
        && !cert
            .subject_attributes()
            .iter()
            .any(|(kind, _)| kind == "CN");
    if nameless && usage != Usage::Client {
        // "Invalid TLS context has neither subject CN nor SAN names"
        return not_allowed("has no name, with which Envoy serves nothing".to_owned());
    }
    Ok(())
}

fn may_issue(cert: &Cert) -> Result<(), PathError> {
    if cert.can_sign_certs() {
        Ok(())
    } else {
        Err(not_an_issuer(cert))
    }
}

fn not_an_issuer(cert: &Cert) -> PathError {
    let reason = if cert.is_ca() {
        "is a CA without the key usage keyCertSign"
    } else {
        "is not a CA"
    };
    PathError::NotAllowed {
        cert: format!("{} ({})", cert.display_name(), cert.sha256().short()),
        reason: reason.to_owned(),
    }
}

/// What happens to a certificate that `root` signs where `bundle` is trusted: for each trusted
/// certificate that Envoy may take for its issuer, that certificate, or why the path does not hold.
pub(super) fn issuers_for(
    bundle: &Bundle,
    root: &Cert,
    now: Timestamp,
) -> Vec<Result<Cert, PathError>> {
    let mut search = Search::new(Usage::Workload, std::iter::empty(), bundle, Some(now));
    let namesake = |cert: &&Cert| {
        let (ski, wanted) = (&cert.parsed().ski, &root.parsed().ski);
        cert.parsed().subject_canonical == root.parsed().subject_canonical
            && (ski.is_none() || wanted.is_none() || ski == wanted)
    };
    let may_sign = |cert: &&Cert| cert.parsed().usages.is_none_or(KeyUsages::cert_sign);
    let mut candidates: Vec<&Cert> = bundle.certs().filter(namesake).filter(may_sign).collect();
    if candidates.is_empty() {
        // Nobody would be taken; why, is said of those that have the name.
        candidates = bundle.certs().filter(namesake).collect();
    }
    let mut judge = |cert: &Cert| {
        if cert.spki_sha256() != root.spki_sha256() {
            return Err(PathError::BadSignature {
                cert: format!("what {} signs", ca_name(root, root.sha256())),
                issuer: root.subject(),
                candidate: cert.sha256().short(),
            });
        }
        search.usable(cert)?;
        may_issue(cert)?;
        search.climb(&mut vec![cert.clone()], true)?;
        Ok(cert.clone())
    };
    candidates.into_iter().map(&mut judge).collect()
}

/// The first 8 digits and the name: how a CA is called in reasons.
pub(super) fn ca_name(cert: &Cert, fingerprint: Fingerprint) -> String {
    format!("`{}` ({})", cert.display_name(), fingerprint.short())
}
