use super::*;

fn identity(ca: &Authority, id: &SpiffeId, extra: &[&Cert], trusted: &[&Cert]) -> Identity {
    let (leaf, key) = ca.issue(&LeafSpec::workload(id, now())).unwrap();
    let mut chain = vec![leaf];
    chain.extend(ca.chain());
    chain.extend(extra.iter().map(|cert| (*cert).clone()));
    Identity {
        chain,
        key,
        bundle: bundle(trusted),
    }
}

fn back() -> SpiffeId {
    SpiffeId::new("cluster.local", "pay", "back")
}

fn any() -> SanRules {
    SanRules::any()
}

fn meet(client: &Identity, server: &Identity) -> Result<(), HandshakeFailure> {
    handshake(client, &any(), server, &any(), now())
}

#[test]
fn one_ca_on_both_sides() {
    let ca = citadel();
    let root = ca.cert();
    let front = identity(&ca, &id(), &[], &[root]);
    let peer = identity(&ca, &back(), &[root], &[root]);
    assert_eq!(meet(&front, &peer), Ok(()));
    let inbound = SanRules::prefixes(["spiffe://cluster.local/"]);
    let outbound = SanRules::exact([back().to_string()]);
    assert_eq!(handshake(&front, &outbound, &peer, &inbound, now()), Ok(()));
}

#[test]
fn each_phase_of_the_migration_and_its_wrong_order() {
    let (old_ca, root) = (citadel(), mesh_ca());
    let new_ca = issuing(&root);
    let (old, new) = (old_ca.cert(), root.cert());
    let before = identity(&old_ca, &id(), &[old], &[old]);
    let phase_1 = identity(&old_ca, &id(), &[old, new], &[old, new]);
    let phase_2 = identity(&new_ca, &back(), &[new, old], &[old, new]);
    let after = identity(&new_ca, &back(), &[new], &[new]);
    for (a, b) in [
        (&before, &phase_1),
        (&phase_1, &phase_2),
        (&phase_2, &after),
        (&phase_2, &phase_2),
    ] {
        assert_eq!(meet(a, b), Ok(()));
        assert_eq!(meet(b, a), Ok(()));
    }
    // Without phase 1: who does not know the new root refuses, whichever side it is on.
    let refusal = meet(&before, &phase_2).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Client, &Refusal::UnknownIssuer)
    );
    assert_eq!(
        refusal.to_string(),
        format!(
            "client refused: unknown issuer: `spiffe://cluster.local/ns/pay/sa/back` was issued by \
             `CN=issuing,O=Google LLC`, and none of the trusted certificates (`O=cluster.local` {}) ends its chain",
            old.sha256().short()
        )
    );
    let refusal = meet(&phase_2, &before).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Server, &Refusal::UnknownIssuer)
    );
    // The old root gone too early.
    let refusal = meet(&after, &phase_1).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Client, &Refusal::UnknownIssuer)
    );
}

#[test]
fn a_ca_made_anew_under_the_old_name_is_refused() {
    let (old, new) = (citadel(), citadel());
    let before = identity(&old, &id(), &[], &[old.cert()]);
    let after = identity(&new, &back(), &[], &[new.cert(), old.cert()]);
    let refusal = meet(&before, &after).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Client, &Refusal::UnknownIssuer)
    );
    assert!(
        refusal.detail.contains("the key of that name did not sign"),
        "{refusal}"
    );
    assert_eq!(meet(&after, &before).unwrap_err().side, Side::Server);
}

#[test]
fn names_are_judged_after_paths_on_both_sides() {
    let ca = citadel();
    let root = ca.cert();
    let old = identity(&ca, &id(), &[], &[root]);
    let moved_id = SpiffeId::new("project.svc.id.goog", "pay", "back");
    let moved = identity(&ca, &moved_id, &[], &[root]);
    let outbound = SanRules::exact([back().to_string()]);
    let refusal = handshake(&old, &outbound, &moved, &any(), now()).unwrap_err();
    assert_eq!(refusal.side, Side::Client);
    assert_eq!(
        refusal.cause,
        Refusal::SanMismatch {
            presented: vec![moved_id.to_string()],
            accepted: outbound.clone()
        }
    );
    assert_eq!(
        refusal.to_string(),
        "client refused: SAN not accepted: peer presents `spiffe://project.svc.id.goog/ns/pay/sa/back`, \
         accepted is `spiffe://cluster.local/ns/pay/sa/back`"
    );
    let inbound = SanRules::prefixes(["spiffe://cluster.local/"]);
    let refusal = handshake(&moved, &any(), &old, &inbound, now()).unwrap_err();
    assert_eq!(
        (refusal.side, refusal.cause.code()),
        (Side::Server, "san_mismatch")
    );
    let aliases = SanRules::prefixes(["spiffe://cluster.local/", "spiffe://project.svc.id.goog/"]);
    assert_eq!(handshake(&moved, &any(), &old, &aliases, now()), Ok(()));
    // A stranger with a fitting name is refused for its path.
    let stranger = identity(&mesh_ca(), &back(), &[], &[root]);
    let refusal = handshake(&old, &outbound, &stranger, &any(), now()).unwrap_err();
    assert_eq!(refusal.cause, Refusal::UnknownIssuer);
}

#[test]
fn intermediates_are_anchors_and_must_otherwise_be_presented() {
    let root = mesh_ca();
    let issuing = issuing(&root);
    let whole = identity(&issuing, &id(), &[], &[root.cert()]);
    assert_eq!(meet(&whole, &whole), Ok(()));
    let mut bare = whole.clone();
    bare.chain.truncate(1);
    assert_eq!(
        meet(&bare, &whole).unwrap_err().cause,
        Refusal::UnknownIssuer
    );
    let mut partial = whole.clone();
    partial.bundle = bundle(&[issuing.cert()]);
    assert_eq!(meet(&bare, &partial), Ok(()));
}

#[test]
fn times_count_for_leaves_and_for_anchors() {
    let ca = citadel();
    let good = identity(&ca, &id(), &[], &[ca.cert()]);
    let at = |time| handshake(&good, &any(), &good, &any(), time);
    let refusal = at(now() + hours(27)).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Client, &Refusal::Expired)
    );
    assert!(
        refusal
            .detail
            .ends_with("expired 3h ago at 2026-11-24T20:00:00Z"),
        "{refusal}"
    );
    assert_eq!(at(now() - SignedDuration::from_mins(1)), Ok(()));
    let refusal = at(now() - hours(1)).unwrap_err();
    assert_eq!(refusal.cause, Refusal::NotYetValid);

    let spec = CaSpec::istio("cluster.local", now()).valid(now() - hours(48), now() - hours(24));
    let expired = Authority::self_signed(&spec).unwrap();
    let outlived = identity(&expired, &id(), &[], &[expired.cert()]);
    let refusal = meet(&outlived, &outlived).unwrap_err();
    assert_eq!(refusal.cause, Refusal::Expired);
    assert_eq!(
        refusal.detail,
        format!(
            "`O=cluster.local ({})` expired 1d ago at 2026-11-22T20:00:00Z",
            expired.cert().sha256().short()
        )
    );
}

#[test]
fn who_has_no_certificate_is_refused() {
    let ca = citadel();
    let good = identity(&ca, &id(), &[], &[ca.cert()]);
    let mut bare = good.clone();
    bare.chain.clear();
    let refusal = meet(&bare, &good).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Server, &Refusal::NoCertificate)
    );
    assert_eq!(
        meet(&good, &bare).unwrap_err().cause,
        Refusal::NoCertificate
    );
}

#[test]
fn who_trusts_nobody_refuses_everybody() {
    let ca = citadel();
    let good = identity(&ca, &id(), &[], &[ca.cert()]);
    let mut distrustful = good.clone();
    distrustful.bundle = Bundle::default();
    let refusal = meet(&good, &distrustful).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Server, &Refusal::UnknownIssuer)
    );
    assert!(refusal.detail.contains("(none)"), "{refusal}");
    assert_eq!(meet(&distrustful, &good).unwrap_err().side, Side::Client);
}

#[test]
fn a_key_that_is_not_the_certificates_makes_no_connection() {
    let ca = citadel();
    let good = identity(&ca, &id(), &[], &[ca.cert()]);
    let mut mixed = good.clone();
    mixed.key = identity(&ca, &id(), &[], &[]).key;
    let refusal = meet(&mixed, &good).unwrap_err();
    assert_eq!(
        (refusal.side, &refusal.cause),
        (Side::Client, &Refusal::Other)
    );
    assert!(
        refusal
            .detail
            .contains("does not belong to the certificate"),
        "{refusal}"
    );
    assert!(Endpoint::new(&mixed, &any()).is_err());
}

#[test]
fn a_leaf_for_servers_only_cannot_be_a_client() {
    let ca = citadel();
    let good = identity(&ca, &id(), &[], &[ca.cert()]);
    let spec = LeafSpec {
        client: false,
        ..LeafSpec::workload(&back(), now())
    };
    let (leaf, key) = ca.issue(&spec).unwrap();
    let server = Identity {
        chain: vec![leaf],
        key,
        bundle: good.bundle.clone(),
    };
    assert_eq!(meet(&good, &server), Ok(()));
    assert_eq!(meet(&server, &good).unwrap_err().side, Side::Server);
}

#[test]
fn keys_of_every_supported_kind_shake_hands() {
    for (cert, key) in [
        (data!("keys/rsa-pkcs1.crt"), data!("keys/rsa-pkcs1.key")),
        (data!("keys/p256-sec1.crt"), data!("keys/p256-sec1.key")),
        (data!("keys/p384-pkcs8.crt"), data!("keys/p384-pkcs8.key")),
        (
            data!("keys/ed25519-pkcs8.crt"),
            data!("keys/ed25519-pkcs8.key"),
        ),
    ] {
        // Self-signed CA certificates as leaves: refused, but only after the handshake's own
        // signature was made with the key and the certificate was looked at.
        let identity = Identity {
            chain: vec![Cert::from_pem(cert).unwrap()],
            key: PrivateKey::from_pem(key).unwrap(),
            bundle: Bundle::from_pem(cert).0,
        };
        let refusal = meet(&identity, &identity).unwrap_err();
        assert!(refusal.detail.contains("CaUsedAsEndEntity"), "{refusal}");
    }
}

#[test]
fn prepared_endpoints_are_cheap_and_independent() {
    let ca = citadel();
    let root = ca.cert();
    let inbound = SanRules::prefixes(["spiffe://cluster.local/"]);
    let endpoint =
        |id: &SpiffeId| Endpoint::new(&identity(&ca, id, &[root], &[root]), &inbound).unwrap();
    let (front, peer) = (endpoint(&id()), endpoint(&back()));
    let outbound = SanRules::exact([back().to_string()]);
    for _ in 0..50 {
        assert_eq!(front.handshake(&outbound, &peer, now()), Ok(()));
    }
    // One connection's matchers and time leave no trace in the next.
    assert!(
        front
            .handshake(&SanRules::exact(["spiffe://x"]), &peer, now())
            .is_err()
    );
    assert!(
        front
            .handshake(&outbound, &peer, now() + hours(48))
            .is_err()
    );
    assert_eq!(front.handshake(&outbound, &peer, now()), Ok(()));
    let short = root.sha256().short();
    assert_eq!(
        format!("{front:?}"),
        format!("Endpoint(anchors: [Cert(O=cluster.local {short})])")
    );
}
