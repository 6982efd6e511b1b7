//! [`paths`] against `rustls-webpki`: two implementations, one answer.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

/// CAs that are easily confused, and what a good server needs.
struct World {
    cas: Vec<Authority>,
    judge_key: (Vec<Cert>, PrivateKey),
}

/// Two roots of one name, a re-issued one, an expired one, a cross-signed one, intermediates with
/// and without bounds, one of them expired, two of one name, a link from one root's key to the other's.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let istio = CaSpec::istio("cluster.local", now());
        let a = Authority::self_signed(&istio).unwrap();
        let b = Authority::self_signed(&istio).unwrap();
        let a_again = a.reissued(&istio).unwrap();
        let a_expired = a
            .reissued(&istio.clone().valid(now() - hours(9), now() - hours(1)))
            .unwrap();
        let mesh = mesh_ca();
        let mesh_by_a = a.cross_sign(&mesh, &CaSpec::mesh_ca(now())).unwrap();
        let one = mesh
            .intermediate(&CaSpec::new([("CN", "one")], now()))
            .unwrap();
        let one_namesake = b
            .intermediate(&CaSpec::new([("CN", "one")], now()))
            .unwrap();
        let one_expired = mesh
            .intermediate(
                &CaSpec::new([("CN", "one")], now()).valid(now() - hours(9), now() - hours(1)),
            )
            .unwrap();
        let short = one
            .intermediate(&CaSpec::new([("CN", "short")], now()).path_len(0))
            .unwrap();
        let too_deep = short
            .intermediate(&CaSpec::new([("CN", "deep")], now()))
            .unwrap();
        let link = a.cross_sign(&b, &istio).unwrap();
        let (leaf, key) = a.issue(&LeafSpec::workload(&id(), now())).unwrap();
        World {
            cas: vec![
                a,
                b,
                a_again,
                a_expired,
                mesh,
                mesh_by_a,
                one,
                one_namesake,
                one_expired,
                short,
                too_deep,
                link,
            ],
            judge_key: (vec![leaf], key),
        }
    })
}

fn pick(cas: &[Authority], mask: u16) -> Vec<Cert> {
    cas.iter()
        .enumerate()
        .filter(|(i, _)| mask >> i & 1 == 1)
        .map(|(_, ca)| ca.cert().clone())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_verifications_agree(
        issuer in 0usize..12, presented in any::<u16>(), trusted in any::<u16>(), fresh in any::<bool>(),
    ) {
        let world = world();
        let spec = LeafSpec::workload(&id(), now());
        let spec = if fresh { spec } else { spec.valid(now() - hours(24), now() - hours(1)) };
        // Mostly the chain is there, sometimes it lacks something.
        let (leaf, key) = world.cas[issuer].issue(&spec).unwrap();
        let mut chain = vec![leaf.clone()];
        chain.extend(pick(&world.cas, presented));
        let anchors: Bundle = pick(&world.cas, trusted).into_iter().collect();

        let ours = paths(&leaf, &chain[1..], &anchors, now());
        let peer = Identity { chain, key, bundle: bundle(&[world.cas[0].cert()]) };
        let judge = Identity {
            chain: world.judge_key.0.clone(), key: world.judge_key.1.clone(), bundle: anchors,
        };
        let theirs = handshake(&peer, &SanRules::any(), &judge, &SanRules::any(), now());
        // webpki gives up after 100 signature checks, which a pile of namesakes can reach.
        let gave_up = theirs.as_ref().is_err_and(|refusal| refusal.detail.contains("Maximum"));
        prop_assume!(!gave_up);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "paths: {:?}, webpki: {:?}", ours, theirs);
        if let Err(refusal) = theirs {
            prop_assert_eq!(refusal.side, Side::Server);
        }
    }
}
