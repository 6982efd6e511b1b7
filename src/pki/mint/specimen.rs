//! Whole identities with what is wrong in the wild, by name.
//!
//! A specimen is a workload of istiod's own CA: its certificate and root, and a peer that trusts
//! that root. Each [`Defect`] changes one thing, and several can be combined, so that tests and
//! rehearsals can ask for what they mean instead of building it.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::{Authority, CaSpec, KeySpec, LeafSpec, MintError, Oddity};
use crate::pki::{Bundle, Cert, Identity, NamedCa, PrivateKey, SpiffeId};

/// One thing that is not as istiod makes it. Some are harmless, some fatal; what each means is for
/// verifications to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// An intermediate between root and leaf.
    Intermediate,
    /// Two intermediates.
    TwoIntermediates,
    /// Ten intermediates.
    DeepChain,
    /// Two intermediates, the upper of which allows none below.
    PathLengthExceeded,
    /// The leaf's key.
    LeafKey(KeySpec),
    /// The root's key.
    RootKey(KeySpec),
    /// The leaf ended an hour ago.
    LeafExpired,
    /// The leaf begins in an hour.
    LeafFuture,
    /// 90 % of the leaf's lifetime are over: its agent should have renewed it.
    LeafOverdue,
    /// An intermediate that ended an hour ago.
    IntermediateExpired,
    /// The root ended an hour ago.
    RootExpired,
    /// The root begins in an hour.
    RootFuture,
    /// The root ends in 2118, after what UTCTime can say.
    RootUntil2118,
    /// The root has no end: the last second of the year 9999.
    RootForever,
    /// The root has no name.
    RootUnnamed,
    /// Something is odd about the leaf.
    Leaf(Oddity),
    /// Something is odd about an intermediate.
    Sub(Oddity),
    /// Something is odd about the root.
    Root(Oddity),
    /// The leaf has no SAN.
    NoSan,
    /// The leaf has two SPIFFE URIs.
    TwoUris,
    /// The leaf says another namespace.
    WrongNamespace,
    /// The chain presents the root first of all issuers.
    OutOfOrder,
    /// The chain begins with the issuer.
    LeafNotFirst,
    /// The chain presents each certificate twice.
    PresentedTwice,
    /// The chain lacks the intermediate.
    IntermediateMissing,
    /// The chain does not have the root.
    RootAbsent,
    /// The chain ends with another root too, as istiod appends all of its bundle.
    SecondRootPresented,
    /// The peer trusts another CA only, and the chain presents the root as certified by that CA.
    CrossSigned,
    /// The same with the self-signed root in front of it.
    CrossSignedBesideRoot,
    /// The peer trusts another CA, and the expired root before it; the chain presents the root as
    /// certified by the other CA.
    CrossSignedBesideExpired,
    /// The peer trusts the CA's old key only, and the chain presents the new one as certified by it.
    Link,
    /// The same with the self-signed root in front of it.
    LinkBesideRoot,
    /// The same without anything that tells the link from a self-signed certificate.
    LinkUnmarked,
    /// The chain has an intermediate of the right name and another key.
    SubNamesakePresented,
    /// The chain has the intermediate again, with dates that are over.
    SubExpiredPresented,
    /// The peer trusts the root and another CA's.
    SecondRootTrusted,
    /// The peer trusts another CA's root.
    ForeignRoot,
    /// The peer trusts a root of the same name with another key.
    NamesakeRoot,
    /// The peer trusts the root and one of the same name with another key.
    NamesakeBeside,
    /// The peer trusts the root as it was issued again: same name and key.
    ReissuedRoot,
    /// The peer trusts the root and the one that was issued again.
    ReissuedBeside,
    /// The peer trusts the root and an expired one of the same name and key.
    ExpiredBeside,
    /// The peer trusts the root and an expired one of the same key, whose name is written otherwise.
    ExpiredBesideAsBmp,
    /// The peer trusts the intermediate only.
    IntermediateTrusted,
    /// The peer trusts the intermediate and its root, which has expired.
    IntermediateBesideExpired,
    /// The peer trusts the leaf only.
    LeafTrusted,
    /// The peer trusts nobody.
    NothingTrusted,
}

/// An identity that was made with defects, and who may judge it.
#[derive(Debug, Clone)]
pub struct Specimen {
    /// What it presents, in this order.
    pub chain: Vec<Cert>,
    /// The key of its own certificate, which stands first unless a defect says otherwise.
    pub key: PrivateKey,
    /// What the peer trusts.
    pub trusted: Bundle,
    /// `CITADEL`, whose root issued it, and `MESHCA`, the other CA.
    pub cas: Vec<NamedCa>,
}

#[derive(Clone, Copy, PartialEq)]
enum Item {
    Leaf,
    Sub(usize),
    SubNamesake,
    SubExpired,
    Root,
    Reissued,
    Expired,
    Namesake,
    Other,
    CrossSigned,
    ExpiredAsBmp,
    Link,
    LinkUnmarked,
}

struct Plan {
    now: Timestamp,
    root: CaSpec,
    subs: Vec<CaSpec>,
    leaf: LeafSpec,
    presented: Vec<Item>,
    trusted: Vec<Item>,
}

impl Defect {
    /// All of them.
    pub fn all() -> Vec<Defect> {
        let plain = [
            Defect::Intermediate,
            Defect::TwoIntermediates,
            Defect::DeepChain,
            Defect::PathLengthExceeded,
            Defect::LeafKey(KeySpec::Ed25519),
            Defect::LeafKey(KeySpec::P384),
            Defect::LeafKey(KeySpec::Rsa2048),
            Defect::RootKey(KeySpec::Ed25519),
            Defect::RootKey(KeySpec::P384),
            Defect::RootKey(KeySpec::Rsa2048),
            Defect::LeafExpired,
            Defect::LeafFuture,
            Defect::LeafOverdue,
            Defect::IntermediateExpired,
            Defect::RootExpired,
            Defect::RootFuture,
            Defect::RootUntil2118,
            Defect::RootForever,
            Defect::RootUnnamed,
            Defect::NoSan,
            Defect::TwoUris,
            Defect::WrongNamespace,
            Defect::OutOfOrder,
            Defect::LeafNotFirst,
            Defect::PresentedTwice,
            Defect::IntermediateMissing,
            Defect::RootAbsent,
            Defect::SecondRootPresented,
            Defect::CrossSigned,
            Defect::CrossSignedBesideRoot,
            Defect::CrossSignedBesideExpired,
            Defect::Link,
            Defect::LinkBesideRoot,
            Defect::LinkUnmarked,
            Defect::SubNamesakePresented,
            Defect::SubExpiredPresented,
            Defect::SecondRootTrusted,
            Defect::ForeignRoot,
            Defect::NamesakeRoot,
            Defect::NamesakeBeside,
            Defect::ReissuedRoot,
            Defect::ReissuedBeside,
            Defect::ExpiredBeside,
            Defect::ExpiredBesideAsBmp,
            Defect::IntermediateTrusted,
            Defect::IntermediateBesideExpired,
            Defect::LeafTrusted,
            Defect::NothingTrusted,
        ];
        let odd = Oddity::ALL.into_iter().flat_map(|oddity| {
            [
                Defect::Leaf(oddity),
                Defect::Sub(oddity),
                Defect::Root(oddity),
            ]
        });
        let odd = odd.filter(|defect| defect.means_something());
        plain.into_iter().chain(odd).collect()
    }

    /// A leaf is no CA anyway and has no name, only a leaf signs handshakes, and nobody is above a root.
    fn means_something(self) -> bool {
        !matches!(
            self,
            Defect::Leaf(
                Oddity::NotACa
                    | Oddity::NoCertSign
                    | Oddity::SubjectAsBmp
                    | Oddity::SubjectAsT61
                    | Oddity::SubjectInCapitals
            ) | Defect::Sub(Oddity::NoDigitalSignature)
                | Defect::Root(
                    Oddity::AuthorityBySerial
                        | Oddity::NoDigitalSignature
                        | Oddity::WrongAuthoritySerial
                )
        )
    }

    /// A stable name: `root-expired`, `leaf-no-purposes`.
    pub fn name(self) -> String {
        let key = |spec| match spec {
            KeySpec::Ed25519 => "ed25519",
            KeySpec::P256 => "p256",
            KeySpec::P384 => "p384",
            KeySpec::Rsa2048 => "rsa",
        };
        let name = match self {
            Defect::Intermediate => "intermediate",
            Defect::TwoIntermediates => "two-intermediates",
            Defect::DeepChain => "deep-chain",
            Defect::PathLengthExceeded => "path-length-exceeded",
            Defect::LeafKey(spec) => return format!("leaf-key-{}", key(spec)),
            Defect::RootKey(spec) => return format!("root-key-{}", key(spec)),
            Defect::LeafExpired => "leaf-expired",
            Defect::LeafFuture => "leaf-future",
            Defect::LeafOverdue => "leaf-overdue",
            Defect::IntermediateExpired => "intermediate-expired",
            Defect::RootExpired => "root-expired",
            Defect::RootFuture => "root-future",
            Defect::RootUntil2118 => "root-until-2118",
            Defect::RootForever => "root-forever",
            Defect::RootUnnamed => "root-unnamed",
            Defect::Leaf(oddity) => return format!("leaf-{oddity}"),
            Defect::Sub(oddity) => return format!("intermediate-{oddity}"),
            Defect::Root(oddity) => return format!("root-{oddity}"),
            Defect::NoSan => "no-san",
            Defect::TwoUris => "two-uris",
            Defect::WrongNamespace => "wrong-namespace",
            Defect::OutOfOrder => "out-of-order",
            Defect::LeafNotFirst => "leaf-not-first",
            Defect::PresentedTwice => "presented-twice",
            Defect::IntermediateMissing => "intermediate-missing",
            Defect::RootAbsent => "root-absent",
            Defect::SecondRootPresented => "second-root-presented",
            Defect::CrossSigned => "cross-signed",
            Defect::CrossSignedBesideRoot => "cross-signed-beside-root",
            Defect::CrossSignedBesideExpired => "cross-signed-beside-expired",
            Defect::Link => "link",
            Defect::LinkBesideRoot => "link-beside-root",
            Defect::LinkUnmarked => "link-unmarked",
            Defect::SubNamesakePresented => "intermediate-namesake-presented",
            Defect::SubExpiredPresented => "intermediate-expired-presented",
            Defect::SecondRootTrusted => "second-root-trusted",
            Defect::ForeignRoot => "foreign-root",
            Defect::NamesakeRoot => "namesake-root",
            Defect::NamesakeBeside => "namesake-beside",
            Defect::ReissuedRoot => "reissued-root",
            Defect::ReissuedBeside => "reissued-beside",
            Defect::ExpiredBeside => "expired-beside",
            Defect::ExpiredBesideAsBmp => "expired-beside-as-bmp",
            Defect::IntermediateTrusted => "intermediate-trusted",
            Defect::IntermediateBesideExpired => "intermediate-beside-expired",
            Defect::LeafTrusted => "leaf-trusted",
            Defect::NothingTrusted => "nothing-trusted",
        };
        name.to_owned()
    }

    fn apply(self, plan: &mut Plan) {
        let hours = SignedDuration::from_hours;
        let (past, now) = (plan.now - hours(1), plan.now);
        let over = |spec: CaSpec| spec.valid(now - hours(48), past);
        match self {
            Defect::Intermediate => plan.need_subs(1),
            Defect::TwoIntermediates => plan.need_subs(2),
            Defect::DeepChain => plan.need_subs(10),
            Defect::PathLengthExceeded => {
                plan.need_subs(2);
                plan.subs[0].path_len = Some(0);
            }
            Defect::LeafKey(key) => plan.leaf.key = key,
            Defect::RootKey(key) => plan.root.key = key,
            Defect::LeafExpired => {
                (plan.leaf.not_before, plan.leaf.not_after) = (now - hours(25), past);
            }
            Defect::LeafFuture => {
                (plan.leaf.not_before, plan.leaf.not_after) = (now + hours(1), now + hours(25));
            }
            Defect::LeafOverdue => {
                (plan.leaf.not_before, plan.leaf.not_after) = (now - hours(36), now + hours(4));
            }
            Defect::IntermediateExpired => {
                plan.need_subs(1);
                plan.subs[0] = over(plan.subs[0].clone());
            }
            Defect::RootExpired => plan.root = over(plan.root.clone()),
            Defect::RootFuture => {
                plan.root = plan.root.clone().valid(now + hours(1), now + hours(9));
            }
            Defect::RootUntil2118 => {
                plan.root.not_after = date(4_680_627_093);
            }
            Defect::RootForever => plan.root.not_after = date(253_402_300_799),
            Defect::RootUnnamed => plan.root.subject = Vec::new(),
            Defect::Leaf(oddity) => plan.leaf = plan.leaf.clone().odd(oddity),
            Defect::Sub(oddity) => {
                plan.need_subs(1);
                plan.subs[0] = plan.subs[0].clone().odd(oddity);
            }
            Defect::Root(oddity) => plan.root = plan.root.clone().odd(oddity),
            Defect::NoSan => plan.leaf.uris = Vec::new(),
            Defect::TwoUris => plan
                .leaf
                .uris
                .push("spiffe://cluster.local/ns/pay/sa/api".to_owned()),
            Defect::WrongNamespace => {
                plan.leaf.uris = vec!["spiffe://cluster.local/ns/pay/sa/front".to_owned()];
            }
            Defect::OutOfOrder => {
                plan.need_subs(1);
                plan.presented[1..].reverse();
            }
            Defect::LeafNotFirst => plan.presented.rotate_left(1),
            Defect::PresentedTwice => plan.presented.extend_from_within(..),
            Defect::IntermediateMissing => {
                plan.need_subs(1);
                plan.presented.retain(|item| *item != Item::Sub(0));
            }
            Defect::RootAbsent => plan.presented.retain(|item| *item != Item::Root),
            Defect::SecondRootPresented => plan.presented.push(Item::Other),
            Defect::CrossSigned => {
                plan.instead_of_root(Item::CrossSigned);
                plan.trusted = vec![Item::Other];
            }
            Defect::CrossSignedBesideRoot => {
                plan.presented.push(Item::CrossSigned);
                plan.trusted = vec![Item::Other];
            }
            Defect::CrossSignedBesideExpired => {
                plan.instead_of_root(Item::CrossSigned);
                plan.trusted = vec![Item::Expired, Item::Other];
            }
            Defect::Link => {
                plan.instead_of_root(Item::Link);
                plan.trusted = vec![Item::Namesake];
            }
            Defect::LinkBesideRoot => {
                plan.presented.push(Item::Link);
                plan.trusted = vec![Item::Namesake];
            }
            Defect::LinkUnmarked => {
                plan.instead_of_root(Item::LinkUnmarked);
                plan.trusted = vec![Item::Namesake];
            }
            Defect::SubNamesakePresented => {
                plan.need_subs(1);
                plan.presented.insert(1, Item::SubNamesake);
            }
            Defect::SubExpiredPresented => {
                plan.need_subs(1);
                plan.presented.insert(1, Item::SubExpired);
            }
            Defect::SecondRootTrusted => plan.trusted.push(Item::Other),
            Defect::ForeignRoot => plan.trusted = vec![Item::Other],
            Defect::NamesakeRoot => plan.trusted = vec![Item::Namesake],
            Defect::NamesakeBeside => plan.trusted.push(Item::Namesake),
            Defect::ReissuedRoot => plan.trusted = vec![Item::Reissued],
            Defect::ReissuedBeside => plan.trusted.push(Item::Reissued),
            Defect::ExpiredBeside => plan.trusted.push(Item::Expired),
            Defect::ExpiredBesideAsBmp => plan.trusted.push(Item::ExpiredAsBmp),
            Defect::IntermediateTrusted => {
                plan.need_subs(1);
                plan.trusted = vec![Item::Sub(0)];
            }
            Defect::IntermediateBesideExpired => {
                plan.need_subs(1);
                plan.trusted = vec![Item::Sub(0), Item::Expired];
            }
            Defect::LeafTrusted => plan.trusted = vec![Item::Leaf],
            Defect::NothingTrusted => plan.trusted = Vec::new(),
        }
    }
}

/// Seconds since 1970 that a certificate can say.
fn date(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for Defect {
    type Err = MintError;

    fn from_str(name: &str) -> Result<Defect, MintError> {
        Defect::all()
            .into_iter()
            .find(|defect| defect.name() == name)
            .ok_or_else(|| MintError::UnknownDefect {
                name: name.to_owned(),
            })
    }
}

impl Plan {
    fn new(now: Timestamp) -> Plan {
        let id = SpiffeId::new("cluster.local", "shop", "front");
        Plan {
            now,
            root: CaSpec::istio("cluster.local", now),
            subs: Vec::new(),
            leaf: LeafSpec::workload(&id, now),
            presented: vec![Item::Leaf, Item::Root],
            trusted: vec![Item::Root],
        }
    }

    /// At least so many intermediates; new ones stand right above the leaf.
    fn need_subs(&mut self, count: usize) {
        for index in self.subs.len()..count {
            let name = format!("issuing {index}");
            let subject = [("O", "cluster.local"), ("CN", &name)];
            self.subs.push(CaSpec::new(subject, self.now));
            self.presented.insert(1, Item::Sub(index));
        }
    }

    fn instead_of_root(&mut self, item: Item) {
        self.presented.retain(|item| *item != Item::Root);
        self.presented.push(item);
    }
}

impl Specimen {
    /// One with these defects, applied one after the other.
    ///
    /// # Errors
    /// None for any combination, short of a system without randomness.
    pub fn new(defects: &[Defect], now: Timestamp) -> Result<Specimen, MintError> {
        let mut plan = Plan::new(now);
        for defect in defects {
            defect.apply(&mut plan);
        }
        let hours = SignedDuration::from_hours;
        let root = Authority::self_signed(&plan.root)?;
        let other = Authority::self_signed(&CaSpec::mesh_ca(now))?;
        let mut chain = vec![root.clone()];
        for spec in &plan.subs {
            let above = &chain[chain.len() - 1];
            chain.push(above.intermediate(spec)?);
        }
        let issuer = &chain[chain.len() - 1];
        let (leaf, key) = issuer.issue(&plan.leaf)?;
        let sound = CaSpec {
            oddities: Vec::new(),
            ..plan.root.clone()
        };
        // The published RSA key would make it the same CA.
        let namesake = Authority::self_signed(&sound.clone().key(KeySpec::default()))?;
        let make = |item: &Item| -> Result<Cert, MintError> {
            let expired = |spec: &CaSpec| spec.clone().valid(now - hours(48), now - hours(1));
            let first = || plan.subs.first().unwrap_or(&sound);
            let authority = match item {
                Item::Leaf => return Ok(leaf.clone()),
                Item::Sub(index) => chain[index + 1].clone(),
                Item::SubNamesake => root.intermediate(first())?,
                Item::SubExpired => root.cross_sign(&chain[1], &expired(first()))?,
                Item::Root => root.clone(),
                Item::Reissued => root.reissued(&sound)?,
                Item::Expired => root.reissued(&expired(&sound))?,
                Item::Namesake => namesake.clone(),
                Item::Other => other.clone(),
                Item::CrossSigned => other.cross_sign(&root, &sound)?,
                Item::ExpiredAsBmp => root.reissued(&expired(&sound).odd(Oddity::SubjectAsBmp))?,
                Item::Link => namesake.cross_sign(&root, &sound)?,
                Item::LinkUnmarked => {
                    namesake.cross_sign(&root, &sound.clone().odd(Oddity::NoAuthorityKeyId))?
                }
            };
            Ok(authority.cert().clone())
        };
        let presented: Result<Vec<Cert>, MintError> = plan.presented.iter().map(make).collect();
        let trusted: Result<Vec<Cert>, MintError> = plan.trusted.iter().map(make).collect();
        let named = |name: &str, ca: &Authority| {
            NamedCa::new(name, Bundle::from_certs([ca.cert().clone()]))
        };
        Ok(Specimen {
            chain: presented?,
            key,
            trusted: trusted?.into_iter().collect(),
            cas: vec![named("CITADEL", &root), named("MESHCA", &other)],
        })
    }

    /// As one side of a handshake, which trusts `bundle`.
    pub fn identity(&self, bundle: Bundle) -> Identity {
        Identity {
            chain: self.chain.clone(),
            key: self.key.clone(),
            bundle,
        }
    }
}
