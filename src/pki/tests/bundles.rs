use super::*;

#[test]
fn the_order_is_the_one_that_istios_agent_writes() {
    for text in [
        data!("lab/pay-sleep-citadel-distribute.ROOTCA.pem"),
        data!("lab/pay-sleep-meshca-distribute.ROOTCA.pem"),
        data!("lab/pay-sleep-meshca-only.ROOTCA.pem"),
        data!("lab/istio-2023.ROOTCA.pem"),
    ] {
        let (bundle, issues) = Bundle::from_pem(text);
        assert_eq!(issues, []);
        assert_eq!(bundle.pem().trim_end(), text.trim_end());
    }
}

#[test]
fn bundles_are_sets() {
    let (a, b, c) = (citadel(), citadel(), mesh_ca());
    let (a, b, c) = (a.cert(), b.cert(), c.cert());
    let left = bundle(&[a, b]);
    let right = bundle(&[c, b]);
    assert_eq!(left.union(&right), bundle(&[b, a, c, a]));
    assert_eq!(left.intersection(&right), bundle(&[b]));
    assert_eq!(left.difference(&right), bundle(&[a]));
    assert_eq!(left.sha256(), bundle(&[b, a]).sha256());
    assert_ne!(left.sha256(), right.sha256());
    assert_eq!(Bundle::from_pem(&left.pem()).0, left);
    assert!(left.contains(a) && !left.contains(c));
    assert!(Bundle::default().is_empty() && left.certs().count() == 2);
}
