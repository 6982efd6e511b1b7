//! The two questions of a migration: which CAs does a proxy trust, and who signed its certificate.
//!
//! Both answer with facts or with "unknown" and a reason, and never guess from names.

use jiff::Timestamp;
use serde::Serialize;

use super::path::{Search, Usage, ca_name, issuers_for};
use super::{Bundle, Cert, Fingerprint, NamedCa, PathError};

/// Whether a bundle trusts a named CA. Only the two kinds of yes let a gate pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Trust {
    /// None of its roots is usable in the bundle.
    No {
        /// Why.
        reason: String,
    },
    /// Only part of its certificates pass: an intermediate of the CA is in the bundle, but no root; or the roots of
    /// one of its keys, and not those of another.
    Partial {
        /// Which.
        reason: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        reason: String,
    },
    /// A root is in the bundle by DER, and valid.
    Yes,
    /// The bundle holds a re-issued root: same key and subject, valid, other DER. Istio's rotator
    /// makes such roots.
    YesByKey {
        /// The root that is in the bundle.
        root: Fingerprint,
    },
}

impl Trust {
    /// `Yes` or `YesByKey`.
    pub fn is_yes(&self) -> bool {
        matches!(self, Trust::Yes | Trust::YesByKey { .. })
    }
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trust::No { reason } => write!(f, "no: {reason}"),
            Trust::Partial { reason } => write!(f, "partly: {reason}"),
            Trust::Unknown { reason } => write!(f, "unknown: {reason}"),
            Trust::Yes => f.write_str("yes"),
            Trust::YesByKey { root } => write!(f, "yes, by the re-issued root {}", root.short()),
        }
    }
}

/// Who signed a workload's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "signer", rename_all = "snake_case")]
pub enum Signer {
    /// Two or more different CAs of the configuration end a valid path (cross-signed, or the same
    /// root under two names).
    Ambiguous {
        /// Their names.
        cas: Vec<String>,
    },
    /// Some certificate bears the issuer's name, and its key did not sign: a CA made anew under
    /// the old name.
    Broken {
        /// The name.
        issuer: String,
    },
    /// Exactly one configured CA.
    By {
        /// Its name.
        ca: String,
        /// Which of its roots.
        root: Fingerprint,
    },
    /// A root that no configured CA has.
    Foreign {
        /// The root.
        root: Fingerprint,
        /// Its subject, which may well be that of a configured CA.
        subject: String,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Signer::Ambiguous { cas } => write!(f, "ambiguous: {}", cas.join(", ")),
            Signer::Broken { issuer } => write!(
                f,
                "broken: issuer `{issuer}`, but no known CA of that name made the signature"
            ),
            Signer::By { ca, .. } => f.write_str(ca),
            Signer::Foreign { root, subject } => {
                write!(
                    f,
                    "a CA that is not configured: `{subject}` ({})",
                    root.short()
                )
            }
            Signer::Unknown { reason } => write!(f, "unknown: {reason}"),
        }
    }
}

/// Whether a proxy with this bundle trusts `ca` at `now`: whether everything that its roots sign is
/// accepted, as Envoy builds paths ([`accepts`](super::accepts)).
///
/// Roots of one key and subject are one (Istio's rotator issues a root again); of several keys each has to be
/// trusted, since nobody knows which of them signs next. One that expired signs nothing any more, and does not
/// count beside others. Not yet valid, or not allowed to sign: no. Beside
/// another certificate that Envoy may take for the root, and that does not hold (the expired root whose
/// re-issue it is), it is unknown: that hangs on the order of the text.
pub fn trusts(bundle: &Bundle, ca: &NamedCa, now: Timestamp) -> Trust {
    if ca.roots.is_empty() {
        return Trust::Unknown {
            reason: format!("no root of `{}` is known", ca.name),
        };
    }
    let keys = keys(ca);
    let (mut yes, mut no) = (Vec::new(), Vec::new());
    for key in &keys {
        match trusts_key(bundle, key, now) {
            verdict if verdict.is_yes() => yes.push(verdict),
            verdict => no.push((key, verdict)),
        }
    }
    if !yes.is_empty() {
        no.retain(|(key, _)| key.roots.certs().any(|root| root.not_after() > now));
    }
    let unknown = |(_, verdict): &(&NamedCa, Trust)| matches!(verdict, Trust::Unknown { .. });
    let at = no.iter().position(unknown).unwrap_or_default();
    let Some((key, worst)) = no.into_iter().nth(at) else {
        let by_key = |verdict: &Trust| matches!(verdict, Trust::YesByKey { .. });
        return yes
            .iter()
            .find(|v| by_key(v))
            .cloned()
            .unwrap_or(Trust::Yes);
    };
    match worst {
        Trust::No { reason } if !yes.is_empty() => Trust::Partial {
            reason: format!(
                "of {} keys of `{}` one is not trusted ({}): {reason}",
                keys.len(),
                ca.name,
                fingerprints(&key.roots)
            ),
        },
        worst => worst,
    }
}

/// The CA as one for each key, with all the roots that have it.
fn keys(ca: &NamedCa) -> Vec<NamedCa> {
    let mut keys: Vec<NamedCa> = Vec::new();
    for root in ca.roots.certs() {
        let same = |known: &&mut NamedCa| {
            known.roots.certs().any(|other| {
                other.spki_sha256() == root.spki_sha256()
                    && other.parsed().subject_canonical == root.parsed().subject_canonical
            })
        };
        let one = Bundle::from_certs([root.clone()]);
        match keys.iter_mut().find(same) {
            Some(known) => known.roots = known.roots.union(&one),
            None => keys.push(NamedCa::new(ca.name.clone(), one)),
        }
    }
    keys
}

fn fingerprints(roots: &Bundle) -> String {
    let all: Vec<String> = roots.certs().map(|root| root.sha256().short()).collect();
    all.join(", ")
}

/// [`trusts`] for roots of one key.
fn trusts_key(bundle: &Bundle, ca: &NamedCa, now: Timestamp) -> Trust {
    let mut yes_by_key = None;
    let mut unfit = Vec::new();
    for root in ca.roots.certs() {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for issuer in issuers_for(bundle, root, now) {
            match issuer {
                Ok(cert) => good.push(cert),
                Err(error) => bad.push(error),
            }
        }
        let worst = bad.into_iter().max_by_key(PathError::is_unknown);
        match (good.first(), worst) {
            (Some(_), None) if good.iter().any(|cert| ca.roots.contains(cert)) => {
                return Trust::Yes;
            }
            (Some(cert), None) => {
                yes_by_key.get_or_insert(Trust::YesByKey {
                    root: cert.sha256(),
                });
            }
            (Some(_), Some(error)) => unfit.push(PathError::Uncertain {
                cert: root.subject(),
                otherwise: error.to_string(),
            }),
            // A namesake with another key is no root of this CA.
            (None, None | Some(PathError::BadSignature { .. })) => {}
            (None, Some(error)) => unfit.push(error),
        }
    }
    if let Some(verdict) = yes_by_key {
        return verdict;
    }
    if let Some(error) = unfit.into_iter().max_by_key(PathError::is_unknown) {
        let reason = error.to_string();
        return if error.is_unknown() {
            Trust::Unknown { reason }
        } else {
            Trust::No { reason }
        };
    }
    match intermediate_of(bundle, ca, now) {
        Some(verdict) => verdict,
        None => Trust::No {
            reason: absence(bundle, ca),
        },
    }
}

/// `Partial` if an intermediate of the CA is an anchor, `Unknown` if one may be.
fn intermediate_of(bundle: &Bundle, ca: &NamedCa, now: Timestamp) -> Option<Trust> {
    let mut search = Search::new(Usage::Workload, bundle.certs(), &ca.roots, Some(now));
    for cert in bundle
        .certs()
        .filter(|cert| cert.is_ca() && !cert.is_self_issued())
    {
        if search.start_at_ca(cert) {
            let reason = format!(
                "only the intermediate {} of `{}` is in the bundle, not its root",
                ca_name(cert, cert.sha256()),
                ca.name
            );
            return Some(Trust::Partial { reason });
        }
    }
    let (_, dead_ends) = search.into_parts();
    let unknown = dead_ends.iter().find(|error| error.is_unknown())?;
    let reason = unknown.to_string();
    Some(Trust::Unknown { reason })
}

/// What is there instead: the same name with another key deserves to be said.
fn absence(bundle: &Bundle, ca: &NamedCa) -> String {
    if bundle.is_empty() {
        return "the bundle is empty".to_owned();
    }
    let namesake = ca.roots.certs().find_map(|root| {
        let same =
            |cert: &&Cert| cert.parsed().subject_canonical == root.parsed().subject_canonical;
        bundle.certs().find(same).map(|cert| (root, cert))
    });
    if let Some((root, cert)) = namesake {
        return format!(
            "the bundle has {}, which bears the name of `{}` but not its key; expected {}",
            ca_name(cert, cert.sha256()),
            ca.name,
            root.sha256().short()
        );
    }
    let present: Vec<String> = bundle
        .certs()
        .map(|cert| ca_name(cert, cert.sha256()))
        .collect();
    format!("no root of `{}` among {}", ca.name, present.join(", "))
}

/// Who signed `chain`'s first certificate, of the CAs in `named`, at `now`.
///
/// `pool` is where issuers may be found besides the chain and the named roots: the proxy's own
/// bundle. Certificates on no path are ignored (Istio appends all roots to the chain), and a
/// self-signed certificate never counts by itself.
pub fn signer(chain: &[Cert], named: &[NamedCa], pool: &Bundle, now: Timestamp) -> Signer {
    let Some(leaf) = chain.first() else {
        return Signer::Unknown {
            reason: "there is no certificate".to_owned(),
        };
    };
    if leaf.is_ca() {
        let reason = format!(
            "chain order: the first certificate, {}, is a CA, and which one belongs to the key \
             cannot be proved",
            ca_name(leaf, leaf.sha256())
        );
        return Signer::Unknown { reason };
    }
    let roots = named
        .iter()
        .fold(Bundle::default(), |all, ca| all.union(&ca.roots));
    let issuers = || chain[1..].iter().chain(pool.certs());

    let (found, dead_ends) = search(leaf, issuers(), &roots, Some(now));
    let by: Vec<(&NamedCa, Fingerprint)> = named
        .iter()
        .filter_map(|ca| {
            let path = found.iter().find(|path| ca.roots.contains(path.anchor()))?;
            Some((ca, path.anchor().sha256()))
        })
        .collect();
    match by[..] {
        [] => {}
        [(ca, root)] => {
            return Signer::By {
                ca: ca.name.clone(),
                root,
            };
        }
        _ => {
            return Signer::Ambiguous {
                cas: by.iter().map(|(ca, _)| ca.name.clone()).collect(),
            };
        }
    }

    // It has a signer, but is not valid now.
    let (found, _) = search(leaf, issuers(), &roots, None);
    if let Some(path) = found.first() {
        let ca = named.iter().find(|ca| ca.roots.contains(path.anchor()));
        let name = ca.map_or_else(String::new, |ca| ca.name.clone());
        let why = dead_ends
            .iter()
            .find(|error| {
                matches!(
                    error,
                    PathError::Expired { .. } | PathError::NotYetValid { .. }
                )
            })
            .map_or_else(|| "not valid now".to_owned(), ToString::to_string);
        return Signer::Unknown {
            reason: format!("signed by `{name}`, but {why}"),
        };
    }
    if let Some(error) = dead_ends.iter().find(|error| error.is_unknown()) {
        return Signer::Unknown {
            reason: error.to_string(),
        };
    }

    let self_issued: Bundle = issuers()
        .filter(|cert| cert.is_self_issued())
        .cloned()
        .collect();
    let (found, foreign_dead_ends) = search(leaf, issuers(), &self_issued, None);
    if let Some(path) = found.first() {
        let anchor = path.anchor();
        return Signer::Foreign {
            root: anchor.sha256(),
            subject: anchor.subject(),
        };
    }
    for error in dead_ends.iter().chain(&foreign_dead_ends) {
        if let PathError::BadSignature { issuer, .. } = error {
            return Signer::Broken {
                issuer: issuer.clone(),
            };
        }
    }
    let reason = dead_ends
        .first()
        .map_or_else(|| "no path".to_owned(), ToString::to_string);
    Signer::Unknown { reason }
}

fn search<'a>(
    leaf: &Cert,
    pool: impl Iterator<Item = &'a Cert>,
    anchors: &'a Bundle,
    now: Option<Timestamp>,
) -> (Vec<super::Path>, Vec<PathError>) {
    let mut search = Search::new(Usage::Workload, pool, anchors, now);
    search.start_at_leaf(leaf);
    search.into_parts()
}
