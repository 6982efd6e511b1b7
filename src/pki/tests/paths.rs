use super::*;

fn refused(leaf: &Cert, pool: &[Cert], anchors: &Bundle) -> String {
    paths(leaf, pool, anchors, now()).unwrap_err().to_string()
}

#[test]
fn a_leaf_under_its_root() {
    let ca = citadel();
    let leaf = leaf(&ca);
    let found = paths(&leaf, &[], &bundle(&[ca.cert()]), now()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].certs(), [leaf.clone(), ca.cert().clone()]);
    assert_eq!(
        (found[0].anchor(), found[0].not_after()),
        (ca.cert(), leaf.not_after())
    );
}

#[test]
fn order_in_the_pool_does_not_matter_and_the_rest_is_ignored() {
    let root = mesh_ca();
    let upper = root
        .intermediate(&CaSpec::new([("CN", "upper")], now()))
        .unwrap();
    let lower = upper
        .intermediate(&CaSpec::new([("CN", "lower")], now()).path_len(0))
        .unwrap();
    let leaf = leaf(&lower);
    let noise = citadel();
    let anchors = bundle(&[noise.cert(), root.cert()]);
    for pool in [
        vec![lower.cert().clone(), upper.cert().clone()],
        vec![
            noise.cert().clone(),
            upper.cert().clone(),
            leaf.clone(),
            lower.cert().clone(),
            root.cert().clone(),
        ],
    ] {
        let found = paths(&leaf, &pool, &anchors, now()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].certs().len(), 4);
    }
    assert_eq!(
        refused(&leaf, &[upper.cert().clone()], &anchors),
        "the issuer of `spiffe://cluster.local/ns/shop/sa/front`, `CN=lower`, is not among the trusted certificates"
    );
    assert_eq!(
        refused(&leaf, &[lower.cert().clone()], &anchors),
        "the issuer of `CN=lower`, `CN=upper`, is not among the trusted certificates"
    );
}

#[test]
fn every_certificate_of_a_bundle_is_an_anchor() {
    let root = mesh_ca();
    let issuing = issuing(&root);
    let leaf = leaf(&issuing);
    let partial = paths(&leaf, &[], &bundle(&[issuing.cert()]), now()).unwrap();
    assert_eq!(partial[0].certs().len(), 2);
    let both = paths(&leaf, &[], &bundle(&[issuing.cert(), root.cert()]), now()).unwrap();
    assert_eq!(
        both.iter()
            .map(|path| path.certs().len())
            .collect::<Vec<_>>(),
        [2, 3]
    );
}

#[test]
fn one_name_and_two_keys_are_two_cas() {
    let (old, new) = (citadel(), citadel());
    let leaf = leaf(&new);
    let reason = refused(&leaf, &[], &bundle(&[old.cert()]));
    assert_eq!(
        reason,
        format!(
            "`spiffe://cluster.local/ns/shop/sa/front` names `O=cluster.local` as its issuer, but was \
             not signed by that CA's key ({})",
            old.cert().sha256().short()
        )
    );
    assert_eq!(
        paths(&leaf, &[], &bundle(&[old.cert(), new.cert()]), now())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_reissued_root_ends_a_path_as_the_first_one_does() {
    let old = citadel();
    let new = old
        .reissued(&CaSpec::istio("cluster.local", now()))
        .unwrap();
    let leaf = leaf(&old);
    assert_eq!(
        paths(&leaf, &[], &bundle(&[new.cert()]), now())
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        paths(&leaf, &[], &bundle(&[new.cert(), old.cert()]), now())
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_cross_signed_root_opens_a_second_way() {
    let (old, new) = (citadel(), mesh_ca());
    let cross = old.cross_sign(&new, &CaSpec::mesh_ca(now())).unwrap();
    let leaf = leaf(&new);
    let anchors = bundle(&[old.cert()]);
    assert!(paths(&leaf, &[new.cert().clone()], &anchors, now()).is_err());
    let found = paths(
        &leaf,
        &[new.cert().clone(), cross.cert().clone()],
        &anchors,
        now(),
    )
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].certs(),
        [leaf, cross.cert().clone(), old.cert().clone()]
    );
}

#[test]
fn dates_of_every_certificate_count() {
    let ca = citadel();
    let spec = LeafSpec::workload(&id(), now());
    let issue = |from: i64, to: i64| {
        ca.issue(&spec.clone().valid(now() + hours(from), now() + hours(to)))
            .unwrap()
            .0
    };
    let anchors = bundle(&[ca.cert()]);
    assert_eq!(
        refused(&issue(-27, -3), &[], &anchors),
        "`spiffe://cluster.local/ns/shop/sa/front` expired 3h ago at 2026-11-23T17:00:00Z"
    );
    assert_eq!(
        refused(&issue(2, 3), &[], &anchors),
        "`spiffe://cluster.local/ns/shop/sa/front` becomes valid in 2h at 2026-11-23T22:00:00Z"
    );
    let expired = Authority::self_signed(
        &CaSpec::istio("cluster.local", now()).valid(now() - hours(48), now() - hours(24)),
    )
    .unwrap();
    assert_eq!(
        refused(&leaf(&expired), &[], &bundle(&[expired.cert()])),
        format!(
            "`O=cluster.local ({})` expired 1d ago at 2026-11-22T20:00:00Z",
            expired.cert().sha256().short()
        )
    );
}

#[test]
fn only_cas_that_may_sign_stand_above() {
    for (text, reason) in [
        (
            data!("odd/no-cert-sign.pem"),
            "is a CA without the key usage keyCertSign",
        ),
        (data!("odd/not-a-ca.pem"), "is not a CA"),
    ] {
        let chain = chain(text);
        let refused = refused(&chain[0], &[], &bundle(&[&chain[1]]));
        assert!(refused.ends_with(reason), "{refused}");
    }
}

#[test]
fn path_lengths_bind_and_self_issued_cas_do_not_count() {
    let root = Authority::self_signed(&CaSpec::istio("cluster.local", now()).path_len(1)).unwrap();
    let one = root
        .intermediate(&CaSpec::new([("CN", "one")], now()))
        .unwrap();
    let two = one
        .intermediate(&CaSpec::new([("CN", "two")], now()))
        .unwrap();
    let anchors = bundle(&[root.cert()]);
    assert!(paths(&leaf(&one), &one.chain(), &anchors, now()).is_ok());
    assert_eq!(
        refused(&leaf(&two), &two.chain(), &anchors),
        "`O=cluster.local` allows 1 CAs below it, the path has 2"
    );
}

#[test]
fn purposes_are_those_of_the_whole_path() {
    let ca = citadel();
    let server_only = LeafSpec {
        client: false,
        ..LeafSpec::workload(&id(), now())
    };
    let leaf = ca.issue(&server_only).unwrap().0;
    let anchors = bundle(&[ca.cert()]);
    assert!(paths_for(Usage::Server, &leaf, &[], &anchors, now()).is_ok());
    for usage in [Usage::Client, Usage::Workload] {
        let error = paths_for(usage, &leaf, &[], &anchors, now())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("has extended key usages without clientAuth"),
            "{error}"
        );
    }
}

#[test]
fn long_ladders_and_crowds_of_namesakes_end_in_unknown() {
    let mut ca = citadel();
    let root = ca.clone();
    for step in 0..7 {
        ca = ca
            .intermediate(&CaSpec::new([("CN", format!("step {step}"))], now()))
            .unwrap();
    }
    let error = paths(&leaf(&ca), &ca.chain(), &bundle(&[root.cert()]), now()).unwrap_err();
    assert!(
        error.is_unknown() && matches!(error, PathError::TooLong { .. }),
        "{error}"
    );

    // Re-issued certificates of one CA, all good, every pair a path: without a bound this would
    // not come back.
    let a = citadel();
    let mesh = |n: usize| {
        let subject = [("CN", if n.is_multiple_of(2) { "even" } else { "odd" })];
        a.cross_sign(&a, &CaSpec::new(subject, now()))
            .unwrap()
            .cert()
            .clone()
    };
    let crowd: Vec<Cert> = (0..12).map(mesh).collect();
    let started = std::time::Instant::now();
    let _ = paths(&leaf(&a), &crowd, &bundle(&[mesh_ca().cert()]), now());
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn a_trusted_leaf_is_not_a_path() {
    let ca = citadel();
    let leaf = leaf(&ca);
    assert!(paths(&leaf, &[], &bundle(&[&leaf]), now()).is_err());
    assert!(paths(&leaf, &[], &Bundle::default(), now()).is_err());
}

#[test]
fn the_labs_chains_are_valid_as_openssl_says() {
    let citadel_root = Cert::from_pem(data!("lab/citadel-root.pem")).unwrap();
    let mesh_root = Cert::from_pem(data!("lab/meshca-root.pem")).unwrap();
    for (text, root, length) in [
        (
            data!("lab/pay-sleep-citadel-distribute.default.pem"),
            &citadel_root,
            2,
        ),
        (
            data!("lab/pay-sleep-meshca-distribute.default.pem"),
            &mesh_root,
            3,
        ),
        (
            data!("lab/pay-sleep-meshca-only.default.pem"),
            &mesh_root,
            3,
        ),
    ] {
        let chain = chain(text);
        let both = bundle(&[&citadel_root, &mesh_root]);
        let found = paths(&chain[0], &chain, &both, now()).unwrap();
        assert_eq!(
            (found.len(), found[0].anchor(), found[0].certs().len()),
            (1, root, length)
        );
        let other = if root == &citadel_root {
            &mesh_root
        } else {
            &citadel_root
        };
        assert!(paths(&chain[0], &chain, &bundle(&[other]), now()).is_err());
    }
}

#[test]
fn a_path_that_depends_on_the_choice_of_a_certificate_is_no_acceptance() {
    let (old, new) = (citadel(), mesh_ca());
    let cross = old.cross_sign(&new, &CaSpec::mesh_ca(now())).unwrap();
    let leaf = leaf(&new);
    let judge = |chain: &[&Cert], trusted: &[&Cert]| {
        let chain: Vec<Cert> = chain.iter().map(|cert| (*cert).clone()).collect();
        accepts(&bundle(trusted), &chain, Usage::Workload, now())
    };
    assert!(judge(&[&leaf, cross.cert()], &[old.cert()]).is_ok());
    assert!(judge(&[&leaf, cross.cert(), new.cert()], &[new.cert()]).is_ok());
    assert!(
        judge(
            &[&leaf, cross.cert(), new.cert()],
            &[old.cert(), new.cert()]
        )
        .is_ok()
    );
    // OpenSSL takes the self-signed one, and stops: `self-signed certificate in certificate chain`.
    let error = judge(&[&leaf, cross.cert(), new.cert()], &[old.cert()]).unwrap_err();
    assert!(
        error.is_unknown() && matches!(error, PathError::Uncertain { .. }),
        "{error}"
    );
    assert_eq!(judge(&[], &[old.cert()]), Err(PathError::NoCertificate));
    let error = judge(&[old.cert()], &[old.cert()]).unwrap_err().to_string();
    assert_eq!(
        error,
        "`O=cluster.local` is a CA, not a workload's certificate"
    );
}

fn specimen(defects: &[mint::Defect]) -> Result<Path, PathError> {
    let made = mint::Specimen::new(defects, now()).unwrap();
    accepts(&made.trusted, &made.chain, Usage::Workload, now())
}

#[test]
fn a_name_is_the_same_in_every_string_type_and_in_capitals() {
    use mint::{Defect, Oddity};
    for oddity in [
        Oddity::IssuerAsUtf8,
        Oddity::SubjectAsBmp,
        Oddity::SubjectAsT61,
        Oddity::SubjectInCapitals,
    ] {
        assert!(specimen(&[Defect::Sub(oddity)]).is_ok(), "{oddity}");
    }
    // And so an expired root is found under every spelling.
    let error = specimen(&[Defect::ExpiredBesideAsBmp]).unwrap_err();
    assert!(matches!(error, PathError::Uncertain { .. }), "{error}");
}

#[test]
fn key_identifiers_may_not_be_critical() {
    use mint::{Defect, Oddity};
    for (defect, extension) in [
        (Defect::Leaf(Oddity::CriticalKeyIds), "2.5.29.35"),
        (Defect::Sub(Oddity::CriticalKeyIds), "2.5.29."),
        (Defect::Root(Oddity::CriticalKeyIds), "2.5.29.14"),
    ] {
        let error = specimen(&[defect]).unwrap_err();
        let words = format!("cannot be judged: critical extension {extension}");
        assert!(
            error.is_unknown() && error.to_string().contains(&words),
            "{error}"
        );
    }
}

#[test]
fn policies_are_harmless_unless_they_are_unsound_or_constrained() {
    use mint::{Defect, Oddity};
    for oddity in [
        Oddity::AnyPolicyMapped,
        Oddity::PolicyTwice,
        Oddity::RequirePolicy,
    ] {
        let error = specimen(&[Defect::Sub(oddity)]).unwrap_err();
        assert!(
            error.is_unknown() && error.to_string().contains("polic"),
            "{error}"
        );
    }
    let everywhere = [Defect::Leaf, Defect::Sub, Defect::Root].map(|of| of(Oddity::Policy));
    assert!(specimen(&everywhere).is_ok());
}

#[test]
fn an_issuer_can_be_named_by_serial_number() {
    use mint::{Defect, Oddity};
    let on_both = |oddity| [Defect::Leaf(oddity), Defect::Sub(oddity)];
    assert!(specimen(&on_both(Oddity::AuthorityBySerial)).is_ok());
    for defect in on_both(Oddity::WrongAuthoritySerial) {
        let error = specimen(&[defect]).unwrap_err();
        assert!(matches!(error, PathError::BadSignature { .. }), "{error}");
    }
}

#[test]
fn a_link_to_a_new_key_is_followed_if_it_can_be_told_from_a_root() {
    use mint::Defect;
    assert!(specimen(&[Defect::Link]).is_ok());
    for defect in [Defect::LinkBesideRoot, Defect::LinkUnmarked] {
        specimen(&[defect]).unwrap_err();
    }
}

#[test]
fn an_expired_certificate_above_a_trusted_one_counts() {
    use mint::Defect;
    for defect in [
        Defect::IntermediateBesideExpired,
        Defect::CrossSignedBesideExpired,
    ] {
        let error = specimen(&[defect]).unwrap_err();
        assert!(matches!(error, PathError::Expired { .. }), "{error}");
    }
}

#[test]
fn the_last_second_is_over_as_in_envoy() {
    let ca = citadel();
    let leaf = leaf(&ca);
    let at = |time| {
        accepts(
            &bundle(&[ca.cert()]),
            std::slice::from_ref(&leaf),
            Usage::Workload,
            time,
        )
    };
    assert!(at(leaf.not_after() - SignedDuration::from_millis(1)).is_ok());
    let error = at(leaf.not_after()).unwrap_err().to_string();
    assert!(error.contains("expired 0s ago"), "{error}");
    assert!(at(ca.cert().not_before()).is_ok());
}
