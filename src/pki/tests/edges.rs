//! What is met in the wild, one named test for each: the edge cases that a check of a mesh's
//! certificates has to survive, and the ways in which the checks before this one got them wrong.

use super::*;
use crate::pki::mint::{Defect, KeySpec, Oddity, Specimen};

fn made(defects: &[Defect]) -> Specimen {
    Specimen::new(defects, now()).unwrap()
}

fn signed_by(specimen: &Specimen) -> Signer {
    signer(&specimen.chain, &specimen.cas, &specimen.trusted, now())
}

fn by(signer: &Signer) -> Option<&str> {
    match signer {
        Signer::By { ca, .. } => Some(ca),
        _ => None,
    }
}

fn accepted(specimen: &Specimen) -> Result<Path, PathError> {
    accepts(&specimen.trusted, &specimen.chain, Usage::Workload, now())
}

fn refusal(specimen: &Specimen) -> String {
    accepted(specimen).unwrap_err().to_string()
}

#[test]
fn two_roots_in_either_order_of_the_text_are_both_trusted() {
    let (a, b) = (citadel(), mesh_ca());
    let (a, b) = (a.cert(), b.cert());
    for text in [[a.pem(), b.pem()].concat(), [b.pem(), a.pem()].concat()] {
        let (bundle, issues) = Bundle::from_pem(&text);
        assert_eq!(issues, []);
        assert_eq!(trusts(&bundle, &named("CITADEL", &[a]), now()), Trust::Yes);
        assert_eq!(trusts(&bundle, &named("MESHCA", &[b]), now()), Trust::Yes);
    }
}

/// Google's check keys its verdict by the serial of the first block: `[A]` after `[A, B]` was "both".
#[test]
fn the_same_first_root_with_another_second_is_another_bundle() {
    let (a, b) = (citadel(), mesh_ca());
    let cache = CertCache::default();
    let both = cache.bundle(&[a.cert().pem(), b.cert().pem()].concat());
    let one = cache.bundle(&a.cert().pem());
    let mesh = named("MESHCA", &[b.cert()]);
    assert_eq!(trusts(&both.bundle, &mesh, now()), Trust::Yes);
    assert!(!trusts(&one.bundle, &mesh, now()).is_yes());
    // What is the same is the same value; the verdict is not.
    assert_eq!(both.bundle.intersection(&one.bundle), one.bundle);
}

/// istiod appends all roots to a workload's chain: the last block, or any block, signs nothing.
#[test]
fn a_second_root_in_the_chain_does_not_make_it_the_signer() {
    let specimen = made(&[Defect::SecondRootPresented]);
    assert_eq!(specimen.chain.last(), specimen.cas[1].roots.certs().next());
    assert_eq!(by(&signed_by(&specimen)), Some("CITADEL"));
}

#[test]
fn a_ca_made_again_under_the_same_name_is_another_ca() {
    let old = made(&[]);
    let new = made(&[]);
    assert_eq!(old.chain[1].subject(), new.chain[1].subject());
    let verdict = signer(&old.chain[..1], &new.cas, &Bundle::default(), now());
    assert!(matches!(verdict, Signer::Broken { .. }), "{verdict}");
    let verdict = signer(&old.chain, &new.cas, &Bundle::default(), now());
    assert!(matches!(verdict, Signer::Foreign { .. }), "{verdict}");
    assert!(!trusts(&new.trusted, &old.cas[0], now()).is_yes());
    let bare = made(&[Defect::NamesakeRoot, Defect::RootAbsent]);
    assert!(refusal(&bare).contains("was not signed by that CA's key"));
    assert!(accepted(&made(&[Defect::NamesakeRoot])).is_err());
    // Beside the right one it does no harm: key identifiers tell them apart.
    assert!(accepted(&made(&[Defect::NamesakeBeside])).is_ok());
}

#[test]
fn a_root_issued_again_with_its_key_is_the_same_ca() {
    let specimen = made(&[Defect::ReissuedRoot]);
    assert!(accepted(&specimen).is_ok());
    let verdict = trusts(&specimen.trusted, &specimen.cas[0], now());
    assert!(matches!(verdict, Trust::YesByKey { .. }), "{verdict}");
    assert!(accepted(&made(&[Defect::ReissuedBeside])).is_ok());
}

#[test]
fn a_certificate_presented_or_trusted_twice_counts_once() {
    let specimen = made(&[Defect::PresentedTwice]);
    assert!(accepted(&specimen).is_ok());
    assert_eq!(by(&signed_by(&specimen)), Some("CITADEL"));
    let root = specimen.chain[1].pem();
    assert_eq!(Bundle::from_pem(&root.repeat(2)).0.len(), 1);
}

#[test]
fn a_cross_signed_root_connects_unless_the_self_signed_one_stands_beside_it() {
    assert!(accepted(&made(&[Defect::CrossSigned])).is_ok());
    // Envoy would take the self-signed one and stop there.
    let error = accepted(&made(&[Defect::CrossSignedBesideRoot])).unwrap_err();
    assert!(matches!(error, PathError::Uncertain { .. }), "{error}");
    let specimen = made(&[Defect::CrossSigned]);
    let verdict = signed_by(&specimen);
    assert!(matches!(verdict, Signer::Ambiguous { .. }), "{verdict}");
}

#[test]
fn keys_of_leaf_and_root_need_not_be_of_one_kind() {
    let specimen = made(&[Defect::RootKey(KeySpec::Rsa2048)]);
    assert_eq!(specimen.chain[0].key_kind().to_string(), "ECDSA P-256");
    assert_eq!(specimen.chain[1].key_kind().to_string(), "RSA 2048");
    assert!(accepted(&specimen).is_ok());
    assert!(
        accepted(&made(&[
            Defect::LeafKey(KeySpec::Rsa2048),
            Defect::RootKey(KeySpec::Ed25519)
        ]))
        .is_ok()
    );
    // Envoy cannot sign with it.
    let specimen = made(&[Defect::LeafKey(KeySpec::Ed25519)]);
    assert!(refusal(&specimen).contains("with which Envoy does not sign: Ed25519"));
    assert_eq!(by(&signed_by(&specimen)), Some("CITADEL"));
}

#[test]
fn without_its_intermediate_a_leaf_proves_nothing() {
    let specimen = made(&[Defect::IntermediateMissing]);
    let error = accepted(&specimen).unwrap_err();
    assert!(matches!(error, PathError::UnknownIssuer { .. }), "{error}");
    assert!(by(&signed_by(&specimen)).is_none());
}

#[test]
fn the_order_of_issuers_does_not_matter_and_that_of_the_leaf_does() {
    let specimen = made(&[Defect::TwoIntermediates, Defect::OutOfOrder]);
    assert!(accepted(&specimen).is_ok());
    assert_eq!(by(&signed_by(&specimen)), Some("CITADEL"));
    let specimen = made(&[Defect::LeafNotFirst]);
    assert!(refusal(&specimen).contains("is a CA"));
    let verdict = signed_by(&specimen);
    assert!(verdict.to_string().contains("chain order"), "{verdict}");
}

#[test]
fn a_chain_without_its_root_is_fine() {
    let specimen = made(&[Defect::Intermediate, Defect::RootAbsent]);
    assert!(accepted(&specimen).is_ok());
    assert_eq!(by(&signed_by(&specimen)), Some("CITADEL"));
}

#[test]
fn an_intermediate_as_anchor_accepts_and_is_only_part_of_the_trust() {
    let specimen = made(&[Defect::IntermediateTrusted]);
    assert!(accepted(&specimen).is_ok());
    let verdict = trusts(&specimen.trusted, &specimen.cas[0], now());
    assert!(
        matches!(verdict, Trust::No { .. } | Trust::Partial { .. }),
        "{verdict}"
    );
    assert!(!verdict.is_yes());
}

#[test]
fn a_leaf_outside_of_its_dates_is_refused_by_name_and_distance() {
    assert!(accepted(&made(&[Defect::LeafOverdue])).is_ok());
    let expired = made(&[Defect::LeafExpired]);
    assert!(
        refusal(&expired).contains("sa/front` expired 1h ago"),
        "{}",
        refusal(&expired)
    );
    assert!(refusal(&made(&[Defect::LeafFuture])).contains("becomes valid in 1h"));
    let verdict = signed_by(&expired).to_string();
    assert!(
        verdict.starts_with("unknown: signed by `CITADEL`, but"),
        "{verdict}"
    );
}

#[test]
fn an_expired_root_ends_no_path_and_beside_its_successor_leaves_it_open() {
    assert!(refusal(&made(&[Defect::RootExpired])).contains("expired 1h ago"));
    let specimen = made(&[Defect::ExpiredBeside]);
    let error = accepted(&specimen).unwrap_err();
    assert!(matches!(error, PathError::Uncertain { .. }), "{error}");
    let verdict = trusts(&specimen.trusted, &specimen.cas[0], now());
    assert!(matches!(verdict, Trust::Unknown { .. }), "{verdict}");
}

#[test]
fn dates_after_2049_are_read_and_shown() {
    let specimen = made(&[Defect::RootUntil2118]);
    let root = &specimen.chain[1];
    assert_eq!(root.not_after().to_string(), "2118-04-28T22:11:33Z");
    assert!(accepted(&specimen).is_ok());
    assert!(accepted(&made(&[Defect::RootForever])).is_ok());
    let mesh_ca = Cert::from_pem(meshca::ROOT_PEM).unwrap();
    assert!(mesh_ca.describe(now()).contains("2118-04-25T22:11:33Z"));
}

#[test]
fn serials_of_every_size_and_sign_are_shown_and_never_decide() {
    let long = made(&[Defect::Leaf(Oddity::LongSerial)]);
    assert_eq!(long.chain[0].serial(), format!("7fff{}", "a5".repeat(18)));
    assert!(long.chain[0].serial_decimal().len() > 40);
    let negative = made(&[Defect::Leaf(Oddity::NegativeSerial)]);
    assert!(negative.chain[0].serial().starts_with('-'));
    assert!(negative.chain[0].serial_decimal().starts_with('-'));
    for specimen in [long, negative] {
        assert!(accepted(&specimen).is_ok());
    }
}

#[test]
fn a_workload_without_a_subject_is_called_by_its_uri() {
    let leaf = &made(&[]).chain[0];
    assert_eq!(leaf.subject(), "");
    assert_eq!(
        leaf.display_name(),
        "spiffe://cluster.local/ns/shop/sa/front"
    );
    assert_eq!(leaf.subject_attributes(), []);
    // A CA without a name would make every such workload look self-issued.
    let specimen = made(&[Defect::RootUnnamed]);
    assert!(refusal(&specimen).contains("names no issuer"));
}

#[test]
fn an_identity_is_exactly_one_spiffe_uri() {
    let id = |defect| made(&[defect]).chain[0].spiffe_id();
    assert_eq!(id(Defect::NoSan), Err(SpiffeError::Missing));
    assert!(matches!(id(Defect::TwoUris), Err(SpiffeError::Several(uris)) if uris.len() == 2));
    let wrong = id(Defect::WrongNamespace).unwrap();
    assert_eq!(wrong.namespace, "pay");
    assert!(refusal(&made(&[Defect::NoSan])).contains("has no name"));
}

#[test]
fn purposes_and_usages_are_asked_of_every_certificate_of_the_path() {
    for (defect, reason) in [
        (
            Defect::Leaf(Oddity::ClientOnly),
            "clientAuth and serverAuth",
        ),
        (Defect::Sub(Oddity::ServerOnly), "clientAuth and serverAuth"),
        (
            Defect::Leaf(Oddity::AnyPurpose),
            "clientAuth and serverAuth",
        ),
        (
            Defect::Leaf(Oddity::NoDigitalSignature),
            "without digitalSignature",
        ),
        (Defect::Sub(Oddity::NotACa), "is not a CA"),
        (Defect::Sub(Oddity::NoCertSign), "keyCertSign"),
        (Defect::Root(Oddity::NoCertSign), "keyCertSign"),
        (
            Defect::PathLengthExceeded,
            "allows 0 CAs below it, the path has 1",
        ),
        (
            Defect::Leaf(Oddity::BadSignature),
            "was not signed by that CA's key",
        ),
        (
            Defect::Leaf(Oddity::WrongAuthorityKeyId),
            "was not signed by that CA's key",
        ),
        (
            Defect::Leaf(Oddity::CriticalExtension),
            "critical extension",
        ),
        (Defect::Sub(Oddity::NameConstraints), "name constraints"),
    ] {
        let why = refusal(&made(&[defect]));
        assert!(why.contains(reason), "{defect}: {why}");
    }
    for harmless in [
        Oddity::NoPurposes,
        Oddity::NoKeyUsage,
        Oddity::UnknownExtension,
    ] {
        assert!(
            accepted(&made(&[Defect::Leaf(harmless)])).is_ok(),
            "{harmless}"
        );
    }
}

/// OpenSSL and BoringSSL compare names in their canonical form; comparing bytes would overlook a
/// certificate that Envoy takes for the issuer.
#[test]
fn names_are_compared_as_rfc_5280_has_it() {
    assert!(accepted(&made(&[Defect::Leaf(Oddity::IssuerAsUtf8)])).is_ok());
    let a = Authority::self_signed(&CaSpec::new([("O", "Example  Ltd")], now())).unwrap();
    let spec = CaSpec::new([("O", "example LTD ")], now());
    let b = a.reissued(&spec).unwrap();
    let leaf = leaf(&b);
    assert_ne!(a.cert().subject(), b.cert().subject());
    assert!(accepts(&bundle(&[a.cert()]), &[leaf], Usage::Workload, now()).is_ok());
}

/// "CITADEL is whatever is not Google's" made every corporate root Citadel's.
#[test]
fn a_root_that_nobody_named_is_nobodys() {
    let specimen = made(&[Defect::ForeignRoot]);
    let stranger = made(&[]);
    let verdict = signer(&stranger.chain, &specimen.cas, &Bundle::default(), now());
    assert!(matches!(verdict, Signer::Foreign { .. }), "{verdict}");
}

/// Istio's check of a whole file with a blank line at its end matched everything.
#[test]
fn blank_lines_are_no_certificates_and_change_no_verdict() {
    let (a, b) = (citadel(), mesh_ca());
    let padded = format!("\n\n{}\n\n", b.cert().pem());
    let (bundle, issues) = Bundle::from_pem(&padded);
    assert_eq!((bundle.len(), issues.len()), (1, 0));
    assert!(!trusts(&bundle, &named("CITADEL", &[a.cert()]), now()).is_yes());
    assert!(loads_in_envoy(&padded).is_ok());
}

/// Every name can be asked for, and makes what it says without failing.
#[test]
fn every_defect_can_be_made_alone_and_beside_every_other() {
    let all = Defect::all();
    for (index, a) in all.iter().enumerate() {
        assert_eq!(a.name().parse::<Defect>().unwrap(), *a);
        let b = all[(index * 7 + 3) % all.len()];
        assert!(Specimen::new(&[*a, b], now()).is_ok(), "{a} {b}");
    }
    assert!("leaf-exipred".parse::<Defect>().is_err());
}
