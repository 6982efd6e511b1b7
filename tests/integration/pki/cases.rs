//! What the judges are shown: random identities and bundles.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rootshift::pki::mint::{Authority, CaSpec, Defect, LeafSpec, Specimen};
use rootshift::pki::{Bundle, Cert, PrivateKey, SpiffeId, certs_from_pem};

/// One identity and one who judges it.
#[derive(Debug, Clone)]
pub struct Case {
    /// How it came about, for failures.
    pub name: String,
    /// Presented, its own certificate first.
    pub chain: Vec<Cert>,
    /// The key of the leaf.
    pub key: PrivateKey,
    /// What the judge trusts.
    pub trusted: Bundle,
}

/// Whether an issuer's name is written there in another way than the issuer writes it: for BoringSSL and
/// OpenSSL it is the same name.
pub fn names_written_otherwise(case: &str) -> bool {
    ["issuer-as-utf8", "subject-as-", "subject-in-"]
        .iter()
        .any(|oddity| case.contains(oddity))
}

/// Identities with none to three defects of the list.
pub fn specimens(now: Timestamp) -> impl Strategy<Value = Case> {
    vec(select(Defect::all()), 0..=3).prop_map(move |defects| specimen(&defects, now))
}

pub fn specimen(defects: &[Defect], now: Timestamp) -> Case {
    let made = Specimen::new(defects, now).unwrap();
    let names: Vec<String> = defects.iter().map(ToString::to_string).collect();
    Case {
        name: format!("[{}]", names.join(" ")),
        chain: made.chain,
        key: made.key,
        trusted: made.trusted,
    }
}

/// A leaf and its root for each algorithm of `tests/data/pki/algorithms`, which Envoy may know or not.
pub fn algorithms() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pki/algorithms");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let key = PrivateKey::from_pem(&read(&dir.join("leaf.key"))).unwrap();
    let files = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().unwrap() == "pem")
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let (chain, issues) = certs_from_pem(&read(path));
            assert_eq!(issues, []);
            Case {
                name: format!("[{}]", path.file_stem().unwrap().display()),
                trusted: chain[1..].iter().cloned().collect(),
                chain,
                key: key.clone(),
            }
        })
        .collect()
}

/// Chains and bundles drawn at random from CAs that are easily confused.
pub fn confusions(now: Timestamp) -> impl Strategy<Value = Case> {
    let world = world(now);
    let count = world.len();
    (0..count, any::<u16>(), any::<u16>(), 0..5u8).prop_map(
        move |(issuer, presented, trusted, age)| {
            let hours = SignedDuration::from_hours;
            let begin = if age == 0 {
                now - hours(30)
            } else {
                now - hours(1)
            };
            let id = SpiffeId::new("cluster.local", "shop", "front");
            let spec = LeafSpec::workload(&id, now).valid(begin, begin + hours(24));
            let (leaf, key) = world[issuer].1.issue(&spec).unwrap();
            let chosen = |mask: u16| {
                let all = world.iter().enumerate();
                all.filter(move |(index, _)| mask >> index & 1 == 1)
                    .map(|(_, ca)| ca)
            };
            let names = |mask| {
                chosen(mask)
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let certs = |mask| chosen(mask).map(|(_, ca)| ca.cert().clone());
            Case {
                name: format!(
                    "{} presents [{}] to [{}]{}",
                    world[issuer].0,
                    names(presented),
                    names(trusted),
                    if age == 0 { ", expired" } else { "" }
                ),
                chain: std::iter::once(leaf).chain(certs(presented)).collect(),
                key,
                trusted: certs(trusted).collect(),
            }
        },
    )
}

/// Random values, the same in every run of one seed.
pub fn draw<T>(strategy: impl Strategy<Value = T>, count: usize, seed: u8) -> Vec<T> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Two roots of one name, a re-issued one, an expired one, a cross-signed one, a link from one root's
/// key to the other's, intermediates with and without bounds, one of them expired, two of one name.
fn world(now: Timestamp) -> &'static [(&'static str, Authority)] {
    static WORLD: OnceLock<Vec<(&str, Authority)>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let hours = SignedDuration::from_hours;
        let istio = CaSpec::istio("cluster.local", now);
        let over = |spec: &CaSpec| spec.clone().valid(now - hours(9), now - hours(1));
        let named = |name: &str| CaSpec::new([("CN", name)], now);
        let a = Authority::self_signed(&istio).unwrap();
        let b = Authority::self_signed(&istio).unwrap();
        let mesh = Authority::self_signed(&CaSpec::mesh_ca(now)).unwrap();
        let one = mesh.intermediate(&named("one")).unwrap();
        let short = one.intermediate(&named("short").path_len(0)).unwrap();
        vec![
            ("a-again", a.reissued(&istio).unwrap()),
            ("a-expired", a.reissued(&over(&istio)).unwrap()),
            (
                "mesh-by-a",
                a.cross_sign(&mesh, &CaSpec::mesh_ca(now)).unwrap(),
            ),
            ("link-a-b", a.cross_sign(&b, &istio).unwrap()),
            ("one-of-b", b.intermediate(&named("one")).unwrap()),
            (
                "one-expired",
                mesh.intermediate(&over(&named("one"))).unwrap(),
            ),
            ("below-short", short.intermediate(&named("deep")).unwrap()),
            ("a", a),
            ("b", b),
            ("mesh", mesh),
            ("one", one),
            ("short", short),
        ]
    })
}
