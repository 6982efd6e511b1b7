use super::*;

fn no(trust: Trust) -> String {
    match trust {
        Trust::No { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn trust_is_by_der_whatever_the_order_and_company() {
    let (citadel, mesh_ca) = (citadel(), mesh_ca());
    let (old, new) = (
        named("CITADEL", &[citadel.cert()]),
        named("MESHCA", &[mesh_ca.cert()]),
    );
    for text in [
        format!("{}{}", citadel.cert().pem(), mesh_ca.cert().pem()),
        format!("{}{}", mesh_ca.cert().pem(), citadel.cert().pem()),
    ] {
        let (bundle, _) = Bundle::from_pem(&text);
        assert_eq!(trusts(&bundle, &old, now()), Trust::Yes);
        assert_eq!(trusts(&bundle, &new, now()), Trust::Yes);
    }
    let only_new = bundle(&[mesh_ca.cert()]);
    assert_eq!(
        no(trusts(&only_new, &old, now())),
        format!(
            "no root of `CITADEL` among `{}` ({})",
            mesh_ca.cert().subject(),
            mesh_ca.cert().sha256().short()
        )
    );
    assert_eq!(
        no(trusts(&Bundle::default(), &old, now())),
        "the bundle is empty"
    );
}

#[test]
fn the_name_of_a_ca_is_not_the_ca() {
    let (old, new) = (citadel(), citadel());
    assert_eq!(
        no(trusts(
            &bundle(&[new.cert()]),
            &named("CITADEL", &[old.cert()]),
            now()
        )),
        format!(
            "the bundle has `O=cluster.local` ({}), which bears the name of `CITADEL` but not its key; expected {}",
            new.cert().sha256().short(),
            old.cert().sha256().short()
        )
    );
}

#[test]
fn a_reissued_root_is_trusted_by_key() {
    let old = citadel();
    let new = old
        .reissued(&CaSpec::istio("cluster.local", now()))
        .unwrap();
    let ca = named("CITADEL", &[old.cert()]);
    let root = new.cert().sha256();
    assert_eq!(
        trusts(&bundle(&[new.cert()]), &ca, now()),
        Trust::YesByKey { root }
    );
    assert!(trusts(&bundle(&[new.cert()]), &ca, now()).is_yes());

    let expired = old
        .reissued(&CaSpec::istio("cluster.local", now()).valid(now() - hours(9), now() - hours(1)));
    let reason = no(trusts(&bundle(&[expired.unwrap().cert()]), &ca, now()));
    assert!(
        reason.contains("expired 1h ago at 2026-11-23T19:00:00Z"),
        "{reason}"
    );

    // The same key under another subject signs nothing that this CA signed.
    let renamed = old.reissued(&CaSpec::istio("other.domain", now())).unwrap();
    no(trusts(&bundle(&[renamed.cert()]), &ca, now()));
}

#[test]
fn a_root_must_be_valid_and_allowed_to_sign() {
    let spec = CaSpec::istio("cluster.local", now());
    let make = |from, to| {
        Authority::self_signed(&spec.clone().valid(now() + hours(from), now() + hours(to))).unwrap()
    };
    let judge = |ca: &Authority| {
        no(trusts(
            &bundle(&[ca.cert()]),
            &named("CITADEL", &[ca.cert()]),
            now(),
        ))
    };
    assert!(judge(&make(-3, -2)).contains("expired 2h ago"));
    assert!(judge(&make(2, 3)).contains("becomes valid in 2h"));
    for (text, reason) in [
        (
            data!("odd/no-cert-sign.pem"),
            "without the key usage keyCertSign",
        ),
        (data!("odd/not-a-ca.pem"), "is not a CA"),
    ] {
        let root = &chain(text)[1];
        let why = no(trusts(&bundle(&[root]), &named("CITADEL", &[root]), now()));
        assert!(why.contains(reason), "{why}");
    }
    let root = &chain(data!("odd/name-constraints.pem"))[1];
    let verdict = trusts(&bundle(&[root]), &named("CITADEL", &[root]), now());
    assert!(matches!(verdict, Trust::Unknown { .. }), "{verdict}");
}

#[test]
fn of_a_ca_with_several_keys_each_must_be_trusted() {
    let (old, new) = (citadel(), citadel());
    let ca = named("CITADEL", &[old.cert(), new.cert()]);
    let both = bundle(&[old.cert(), new.cert()]);
    assert_eq!(trusts(&both, &ca, now()), Trust::Yes);
    for (held, lacks) in [(&new, &old), (&old, &new)] {
        let verdict = trusts(&bundle(&[held.cert()]), &ca, now());
        let Trust::Partial { reason } = &verdict else {
            panic!("{verdict}")
        };
        let short = lacks.cert().sha256().short();
        assert!(
            reason.starts_with(&format!(
                "of 2 keys of `CITADEL` one is not trusted ({short})"
            )),
            "{reason}"
        );
    }
    // Both keys are told apart by their identifiers.
    assert_eq!(
        trusts(&both, &named("CITADEL", &[new.cert()]), now()),
        Trust::Yes
    );
    // What has expired signs nothing that anybody accepts; alone it is still a no.
    let spec = CaSpec::istio("cluster.local", now());
    let expired =
        Authority::self_signed(&spec.clone().valid(now() - hours(3), now() - hours(2))).unwrap();
    let with_expired = named("CITADEL", &[expired.cert(), new.cert()]);
    assert_eq!(
        trusts(&bundle(&[new.cert()]), &with_expired, now()),
        Trust::Yes
    );
    no(trusts(
        &bundle(&[new.cert()]),
        &named("CITADEL", &[expired.cert()]),
        now(),
    ));
    // One key, issued again: one root.
    let again = new.reissued(&spec).unwrap();
    let reissued = named("CITADEL", &[new.cert(), again.cert()]);
    assert!(trusts(&bundle(&[new.cert()]), &reissued, now()).is_yes());
}

/// Envoy takes the first that fits in the order of the bundle's text, and looks at dates afterwards.
#[test]
fn beside_its_expired_predecessor_a_reissued_root_is_uncertain() {
    let spec = CaSpec::istio("cluster.local", now());
    let expired =
        Authority::self_signed(&spec.clone().valid(now() - hours(3), now() - hours(2))).unwrap();
    let fresh = expired.reissued(&spec).unwrap();
    let trusted = bundle(&[expired.cert(), fresh.cert()]);
    for roots in [
        &[expired.cert(), fresh.cert()][..],
        &[fresh.cert()],
        &[expired.cert()],
    ] {
        let verdict = trusts(&trusted, &named("CITADEL", roots), now());
        let Trust::Unknown { reason } = &verdict else {
            panic!("{verdict}");
        };
        assert!(reason.contains("Envoy takes the first"), "{reason}");
        assert!(reason.contains("expired 2h ago"), "{reason}");
    }
    let known = named("CITADEL", &[expired.cert()]);
    assert_eq!(
        trusts(&bundle(&[fresh.cert()]), &known, now()),
        Trust::YesByKey {
            root: fresh.cert().sha256()
        }
    );
    assert!(no(trusts(&bundle(&[expired.cert()]), &known, now())).contains("expired"));
}

#[test]
fn an_intermediate_in_the_bundle_is_part_of_the_trust() {
    let root = mesh_ca();
    let issuing = issuing(&root);
    let verdict = trusts(
        &bundle(&[issuing.cert()]),
        &named("MESHCA", &[root.cert()]),
        now(),
    );
    let Trust::Partial { reason } = &verdict else {
        panic!("{verdict:?}")
    };
    assert!(
        reason.starts_with("only the intermediate `CN=issuing,O=Google LLC`"),
        "{reason}"
    );
    assert!(!verdict.is_yes());
    no(trusts(
        &bundle(&[issuing.cert()]),
        &named("CITADEL", &[citadel().cert()]),
        now(),
    ));
}

#[test]
fn a_ca_without_known_roots_is_unknown() {
    let verdict = trusts(
        &bundle(&[citadel().cert()]),
        &NamedCa::new("MESHCA", Bundle::default()),
        now(),
    );
    assert_eq!(verdict.to_string(), "unknown: no root of `MESHCA` is known");
}

#[test]
fn the_signer_is_the_ca_whose_root_ends_the_path() {
    let (citadel, mesh_ca) = (citadel(), mesh_ca());
    let issuing = issuing(&mesh_ca);
    let cas = [
        named("CITADEL", &[citadel.cert()]),
        named("MESHCA", &[mesh_ca.cert()]),
    ];
    let by = |ca: &str, root: &Cert| Signer::By {
        ca: ca.to_owned(),
        root: root.sha256(),
    };
    let none = Bundle::default();

    assert_eq!(
        signer(&[leaf(&citadel)], &cas, &none, now()),
        by("CITADEL", citadel.cert())
    );
    let new = [
        leaf(&issuing),
        issuing.cert().clone(),
        mesh_ca.cert().clone(),
    ];
    assert_eq!(
        signer(&new, &cas, &none, now()),
        by("MESHCA", mesh_ca.cert())
    );
    assert_eq!(
        signer(&new[..2], &cas, &none, now()),
        by("MESHCA", mesh_ca.cert())
    );
    assert_eq!(
        signer(&new[..1], &cas, &bundle(&[issuing.cert()]), now()),
        by("MESHCA", mesh_ca.cert())
    );

    // Istio appends the whole root bundle, in the order of its text.
    for roots in [
        [citadel.cert(), mesh_ca.cert()],
        [mesh_ca.cert(), citadel.cert()],
    ] {
        let mut chain = vec![leaf(&citadel)];
        chain.extend(roots.into_iter().cloned());
        assert_eq!(
            signer(&chain, &cas, &none, now()),
            by("CITADEL", citadel.cert())
        );
        let mut chain = new[..2].to_vec();
        chain.extend(roots.into_iter().cloned());
        assert_eq!(
            signer(&chain, &cas, &none, now()),
            by("MESHCA", mesh_ca.cert())
        );
    }
}

#[test]
fn a_ca_made_anew_under_the_old_name_is_foreign_or_broken() {
    let (old, new) = (citadel(), citadel());
    let cas = [named("CITADEL", &[old.cert()])];
    let leaf = leaf(&new);
    let foreign = Signer::Foreign {
        root: new.cert().sha256(),
        subject: "O=cluster.local".to_owned(),
    };
    assert_eq!(
        signer(
            &[leaf.clone(), new.cert().clone()],
            &cas,
            &Bundle::default(),
            now()
        ),
        foreign
    );
    assert_eq!(
        signer(
            std::slice::from_ref(&leaf),
            &cas,
            &bundle(&[new.cert(), old.cert()]),
            now()
        ),
        foreign
    );
    let broken = Signer::Broken {
        issuer: "O=cluster.local".to_owned(),
    };
    assert_eq!(signer(&[leaf], &cas, &Bundle::default(), now()), broken);
}

#[test]
fn an_intermediate_made_anew_is_broken_too() {
    let root = mesh_ca();
    let (old, new) = (issuing(&root), issuing(&root));
    let cas = [named("MESHCA", &[root.cert()])];
    let chain = [leaf(&new), old.cert().clone()];
    assert!(matches!(
        signer(&chain, &cas, &Bundle::default(), now()),
        Signer::Broken { .. }
    ));
}

#[test]
fn a_self_signed_certificate_in_the_chain_proves_nothing() {
    let stranger = mesh_ca();
    let chain = [leaf(&stranger), stranger.cert().clone()];
    let cas = [named("CITADEL", &[citadel().cert()])];
    assert!(matches!(
        signer(&chain, &cas, &Bundle::default(), now()),
        Signer::Foreign { .. }
    ));
}

#[test]
fn two_named_cas_on_valid_paths_are_ambiguous() {
    let (old, new) = (citadel(), mesh_ca());
    let cross = old.cross_sign(&new, &CaSpec::mesh_ca(now())).unwrap();
    let cas = [
        named("CITADEL", &[old.cert()]),
        named("MESHCA", &[new.cert()]),
    ];
    let chain = [leaf(&new), cross.cert().clone()];
    let both = Signer::Ambiguous {
        cas: vec!["CITADEL".to_owned(), "MESHCA".to_owned()],
    };
    assert_eq!(signer(&chain, &cas, &Bundle::default(), now()), both);
    // A re-issued root of the same CA is the same CA.
    let again = old
        .reissued(&CaSpec::istio("cluster.local", now()))
        .unwrap();
    let cas = [named("CITADEL", &[old.cert(), again.cert()])];
    let verdict = signer(&[leaf(&old)], &cas, &Bundle::default(), now());
    assert!(matches!(verdict, Signer::By { .. }), "{verdict}");
}

#[test]
fn a_reissued_root_still_names_the_ca() {
    let old = citadel();
    let again = old
        .reissued(&CaSpec::istio("cluster.local", now()))
        .unwrap();
    let chain = [leaf(&again), again.cert().clone()];
    let verdict = signer(
        &chain,
        &[named("CITADEL", &[old.cert()])],
        &Bundle::default(),
        now(),
    );
    assert_eq!(
        verdict,
        Signer::By {
            ca: "CITADEL".to_owned(),
            root: old.cert().sha256()
        }
    );
}

#[test]
fn what_cannot_be_told_is_unknown_with_its_reason() {
    let root = mesh_ca();
    let issuing = issuing(&root);
    let cas = [named("MESHCA", &[root.cert()])];
    let none = Bundle::default();
    let unknown = |verdict: Signer| match verdict {
        Signer::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        unknown(signer(&[], &cas, &none, now())),
        "there is no certificate"
    );
    let swapped = [root.cert().clone(), leaf(&issuing)];
    assert!(
        unknown(signer(&swapped, &cas, &none, now()))
            .starts_with("chain order: the first certificate, `CN=")
    );
    assert_eq!(
        unknown(signer(&[leaf(&issuing)], &cas, &none, now())),
        "the issuer of `spiffe://cluster.local/ns/shop/sa/front`, `CN=issuing,O=Google LLC`, is not among the trusted certificates"
    );
    assert_eq!(
        unknown(signer(
            &[leaf(&issuing), issuing.cert().clone()],
            &cas,
            &none,
            now() + hours(25)
        )),
        "signed by `MESHCA`, but `spiffe://cluster.local/ns/shop/sa/front` expired 1h ago at 2026-11-24T20:00:00Z"
    );
}

#[test]
fn the_labs_dumps_are_judged_as_openssl_judges_them() {
    let cas = [
        named(
            "CITADEL",
            &[&Cert::from_pem(data!("lab/citadel-root.pem")).unwrap()],
        ),
        named(
            "MESHCA",
            &[&Cert::from_pem(data!("lab/meshca-root.pem")).unwrap()],
        ),
    ];
    for (chain_text, bundle_text, by, trusted) in [
        (
            data!("lab/pay-sleep-citadel-distribute.default.pem"),
            data!("lab/pay-sleep-citadel-distribute.ROOTCA.pem"),
            "CITADEL",
            [true, true],
        ),
        (
            data!("lab/pay-sleep-meshca-distribute.default.pem"),
            data!("lab/pay-sleep-meshca-distribute.ROOTCA.pem"),
            "MESHCA",
            [true, true],
        ),
        (
            data!("lab/pay-sleep-meshca-only.default.pem"),
            data!("lab/pay-sleep-meshca-only.ROOTCA.pem"),
            "MESHCA",
            [false, true],
        ),
    ] {
        let (bundle, _) = Bundle::from_pem(bundle_text);
        let verdict = signer(&chain(chain_text), &cas, &bundle, now());
        assert_eq!(verdict.to_string(), by);
        assert_eq!(
            cas.each_ref()
                .map(|ca| trusts(&bundle, ca, now()) == Trust::Yes),
            trusted
        );
    }
    // Three years older, of the same name, and another CA.
    let chain = chain(data!("lab/istio-2023.default.pem"));
    let (bundle, _) = Bundle::from_pem(data!("lab/istio-2023.ROOTCA.pem"));
    let then = "2023-05-15T02:00:00Z".parse().unwrap();
    assert!(matches!(
        signer(&chain, &cas, &bundle, then),
        Signer::Foreign { .. }
    ));
}

#[test]
fn intermediates_of_others_are_no_reason_to_doubt() {
    let (ca, other) = (citadel(), mesh_ca());
    let foreign = issuing(&other);
    let bundle = bundle(&[foreign.cert()]);
    let trust = trusts(&bundle, &named("CITADEL", &[ca.cert()]), now());
    assert!(matches!(trust, Trust::No { .. }), "{trust}");
    let trust = trusts(&bundle, &named("MESHCA", &[other.cert()]), now());
    assert!(matches!(trust, Trust::Partial { .. }), "{trust}");
}
