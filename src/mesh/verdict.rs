//! What a proxy's secrets mean: which named roots it trusts, who signed for it, who it is, until when.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::ca;
use super::dump::{Reading, TrustStore};
use super::read::ProxyReading;
use crate::pki::{self, Bundle, Cert, Fingerprint, NamedCa, Signer, SpiffeId, Trust};

/// Skew that is forgiven when a certificate is not valid yet.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How a workload certificate stands in its lifetime (facts: healthy agents renew at half of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Less than an hour or a tenth of its lifetime is left.
    Critical,
    /// Over.
    Expired,
    /// Not begun.
    NotYet,
    /// More than half is left, or nearly so.
    Ok,
    /// Its agent should have renewed it: less than 45 % is left.
    Overdue,
}

impl Expiry {
    /// The verdict for a certificate now.
    pub fn of(cert: &Cert, now: Timestamp) -> Self {
        let lifetime = cert.not_after().duration_since(cert.not_before()).as_secs();
        let left = cert.not_after().duration_since(now).as_secs();
        if left <= 0 {
            Self::Expired
        } else if cert.not_before() > now + SKEW {
            Self::NotYet
        } else if left < (lifetime / 10).max(3600).min(lifetime / 2) {
            Self::Critical
        } else if left * 100 < lifetime * 45 {
            Self::Overdue
        } else {
            Self::Ok
        }
    }

    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Expired => "expired",
            Self::NotYet => "not yet valid",
            Self::Ok => "ok",
            Self::Overdue => "overdue",
        }
    }
}

/// Everything that is known of one proxy's trust.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// For each named CA, whether the proxy accepts certificates of it.
    pub trusts: BTreeMap<String, Trust>,
    /// Roots that it trusts, by name or fingerprint, in the bundle's order.
    pub roots: Reading<Vec<(Fingerprint, String)>>,
    /// Who signed its own certificate.
    pub signer: Signer,
    /// Its identity.
    pub identity: Reading<SpiffeId>,
    /// Its certificate's standing.
    pub expiry: Option<Expiry>,
    /// Begin of its certificate.
    pub not_before: Option<Timestamp>,
    /// End of its certificate.
    pub not_after: Option<Timestamp>,
}

impl Verdict {
    /// Judges a reading.
    pub fn of(reading: &ProxyReading, cas: &[NamedCa], now: Timestamp) -> Self {
        let (chains, stores) = match &reading.secrets {
            Ok(secrets) => (secrets.chains.clone(), secrets.trust.clone()),
            Err(reason) => (Err(reason.clone()), Err(reason.clone())),
        };
        let roots = stores.as_ref().map_err(Clone::clone).map(|stores| {
            let all = stores
                .iter()
                .fold(Bundle::default(), |all, store| all.union(&store.all()));
            all.certs()
                .map(|c| (c.sha256(), ca::name_of(c, cas)))
                .collect()
        });
        let leaf = chains
            .as_ref()
            .ok()
            .and_then(|chains| chains.first())
            .and_then(|chain| chain.first());
        Self {
            trusts: cas
                .iter()
                .map(|ca| (ca.name.clone(), trusts_all(&stores, ca, now)))
                .collect(),
            roots,
            signer: signer(&chains, &stores, cas, now),
            identity: identity(&chains, reading),
            expiry: leaf.map(|leaf| Expiry::of(leaf, now)),
            not_before: leaf.map(Cert::not_before),
            not_after: leaf.map(Cert::not_after),
        }
    }

    /// Whether it certainly trusts the CA. Unknown and partial are not certain.
    pub fn trusts(&self, ca: &str) -> bool {
        self.trusts.get(ca).is_some_and(Trust::is_yes)
    }

    /// Why its trust is not known, if it is not.
    pub fn unknown(&self) -> Option<String> {
        if let Err(reason) = &self.roots {
            return Some(reason.clone());
        }
        self.trusts.values().find_map(|t| match t {
            Trust::Unknown { reason } => Some(reason.clone()),
            _ => None,
        })
    }
}

/// What a proxy still accepts of a CA with these roots, in words: a root, the same root issued again, or an
/// intermediate; `None` if nothing of it is left.
pub fn remains(stores: &[TrustStore], roots: &Bundle, now: Timestamp) -> Option<String> {
    for store in stores {
        let held = store.all();
        if let Some(root) = held.intersection(roots).certs().next() {
            return Some(format!(
                "`{}` ({})",
                root.display_name(),
                root.sha256().short()
            ));
        }
        // Asked of each root by itself: one that says no must not hide one that says maybe.
        for root in roots.certs() {
            let alone = NamedCa::new(root.display_name(), Bundle::from_certs([root.clone()]));
            match pki::trusts(&held, &alone, now) {
                Trust::No { .. } => {}
                Trust::Yes => return Some(format!("`{}`", alone.name)),
                Trust::YesByKey { root } => {
                    return Some(format!(
                        "`{}`, issued again as {}",
                        alone.name,
                        root.short()
                    ));
                }
                Trust::Partial { reason } | Trust::Unknown { reason } => {
                    return Some(format!("part of `{}`, or may: {reason}", alone.name));
                }
            }
        }
    }
    None
}

/// Whether the proxy that was read trusts a CA.
pub fn trusts(reading: &ProxyReading, ca: &NamedCa, now: Timestamp) -> Trust {
    let stores = reading.secrets.as_ref().map_err(Clone::clone);
    trusts_all(&stores.and_then(|secrets| secrets.trust.clone()), ca, now)
}

/// The CA certificate of its own path that ends first, by name, and when: the leaf is worth nothing after that. `None`
/// where its own bundle ends no path of it.
pub fn issuer_ends(reading: &ProxyReading, now: Timestamp) -> Option<(String, Timestamp)> {
    let secrets = reading.secrets.as_ref().ok()?;
    let stores = secrets.trust.iter().flatten().map(TrustStore::all);
    let bundle = stores.fold(Bundle::default(), |all, store| all.union(&store));
    let paths = secrets
        .chains
        .iter()
        .flatten()
        .filter_map(|chain| pki::accepts(&bundle, chain, pki::Usage::Workload, now).ok());
    let ends = paths.flat_map(|path| {
        let issuers = path.certs().iter().skip(1);
        issuers
            .map(|cert| (cert.display_name(), cert.not_after()))
            .collect::<Vec<_>>()
    });
    ends.min_by_key(|(_, end)| *end)
}

/// A proxy may use any of its stores of one name, so all of them must hold.
fn trusts_all(stores: &Reading<Vec<TrustStore>>, ca: &NamedCa, now: Timestamp) -> Trust {
    let stores = match stores {
        Ok(stores) => stores,
        Err(reason) => {
            return Trust::Unknown {
                reason: reason.clone(),
            };
        }
    };
    let mut worst = None;
    for store in stores {
        let verdict = match store {
            TrustStore::Bundle(bundle) => pki::trusts(bundle, ca, now),
            TrustStore::PerDomain(_) => Trust::Unknown {
                reason: "it has a bundle for each trust domain: ask about a peer, not about a root"
                    .into(),
            },
        };
        if !verdict.is_yes() {
            return verdict;
        }
        worst.get_or_insert(verdict);
    }
    worst.unwrap_or_else(|| Trust::Unknown {
        reason: "it shows no trust bundle".into(),
    })
}

fn signer(
    chains: &Reading<Vec<Vec<Cert>>>,
    stores: &Reading<Vec<TrustStore>>,
    cas: &[NamedCa],
    now: Timestamp,
) -> Signer {
    let chains = match chains {
        Ok(chains) => chains,
        Err(reason) => {
            return Signer::Unknown {
                reason: reason.clone(),
            };
        }
    };
    let pool = stores
        .iter()
        .flatten()
        .fold(Bundle::default(), |all, store| all.union(&store.all()));
    let mut verdicts: Vec<Signer> = Vec::new();
    for chain in chains {
        let verdict = pki::signer(chain, cas, &pool, now);
        if !verdicts.contains(&verdict) {
            verdicts.push(verdict);
        }
    }
    match verdicts.len() {
        1 => verdicts.remove(0),
        0 => Signer::Unknown {
            reason: "it shows no certificate".into(),
        },
        _ => Signer::Unknown {
            reason: "it holds several certificates of different signers".into(),
        },
    }
}

fn identity(chains: &Reading<Vec<Vec<Cert>>>, reading: &ProxyReading) -> Reading<SpiffeId> {
    let chains = chains.as_ref().map_err(Clone::clone)?;
    let leaf = chains
        .first()
        .and_then(|c| c.first())
        .ok_or("it shows no certificate")?;
    let id = leaf.spiffe_id().map_err(|e| e.to_string())?;
    let pod = &reading.pod;
    if id.namespace != pod.namespace || id.service_account != pod.service_account {
        return Err(format!(
            "its certificate says `{id}`, but the pod is `{}` in `{}`",
            pod.service_account, pod.namespace
        ));
    }
    Ok(id)
}

#[cfg(all(test, feature = "twin"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pki::mint::{Authority, CaSpec};

    fn store(certs: &[&Authority]) -> [TrustStore; 1] {
        [TrustStore::Bundle(
            certs.iter().map(|ca| ca.cert().clone()).collect(),
        )]
    }

    #[test]
    fn an_old_ca_is_gone_only_when_nothing_of_it_is_left() {
        let now = Timestamp::now();
        let spec = CaSpec::istio("cluster.local", now);
        let old = Authority::self_signed(&spec).unwrap();
        let again = old.reissued(&spec).unwrap();
        let sub = old
            .intermediate(&CaSpec::new([("CN", "sub")], now))
            .unwrap();
        let namesake = Authority::self_signed(&spec).unwrap();
        let mesh = Authority::self_signed(&CaSpec::mesh_ca(now)).unwrap();
        let roots = Bundle::from_certs([old.cert().clone()]);
        let left = |certs: &[&Authority]| remains(&store(certs), &roots, now);
        assert_eq!(left(&[&mesh]), None);
        assert_eq!(
            left(&[&mesh, &namesake]),
            None,
            "the third root is another CA"
        );
        let short = |ca: &Authority| ca.cert().sha256().short();
        assert!(left(&[&mesh, &old]).unwrap().contains(&short(&old)));
        let answer = left(&[&mesh, &again]).unwrap();
        assert!(
            answer.contains(&format!("issued again as {}", short(&again))),
            "{answer}"
        );
        let answer = left(&[&mesh, &sub]).unwrap();
        assert!(answer.contains("only the intermediate"), "{answer}");
    }
}
