use super::*;
use secrecy::ExposeSecret;

#[test]
fn the_root_is_as_istiod_makes_it() {
    let ca = citadel();
    let root = ca.cert();
    assert_eq!(
        (root.subject(), root.issuer()),
        ("O=cluster.local".to_owned(), "O=cluster.local".to_owned())
    );
    assert!(root.is_ca() && root.can_sign_certs() && root.is_self_issued());
    assert_eq!((root.path_len(), root.aki()), (None, None));
    assert!(root.ski().is_some());
    assert_eq!(root.serial().trim_start_matches('0').len(), 32);
    assert_eq!(
        (root.not_after() - root.not_before()).get_seconds(),
        3650 * 86_400 + 60
    );
    assert_eq!(ca.chain(), []);
    assert_eq!(ca.root(), root);
}

#[test]
fn a_leaf_is_as_istiod_makes_it() {
    let ca = citadel();
    let leaf = leaf(&ca);
    assert_eq!(leaf.subject(), "");
    assert_eq!(leaf.uris(), ["spiffe://cluster.local/ns/shop/sa/front"]);
    assert_eq!(leaf.not_before(), now() - SignedDuration::from_mins(2));
    assert_eq!(leaf.not_after(), now() + hours(24));
    assert!(!leaf.is_ca());
    assert_eq!((leaf.ski(), leaf.aki()), (None, ca.cert().ski()));
}

#[test]
fn names_with_commas_and_dates_of_another_century_survive() {
    let ca = mesh_ca();
    let real = Cert::from_pem(meshca::ROOT_PEM).unwrap();
    assert_eq!(
        ca.cert().subject(),
        real.subject().replace("1:H52vgwEm3tc", "1:twin"),
    );
    assert!(ca.cert().not_after() > "2100-01-01T00:00:00Z".parse().unwrap());
    let issuing = issuing(&ca);
    assert_eq!(
        (issuing.cert().path_len(), issuing.root()),
        (Some(0), ca.cert())
    );
    assert_eq!(issuing.chain(), [issuing.cert().clone()]);
}

#[test]
fn a_ca_comes_back_from_its_pem() {
    let root = mesh_ca();
    let ca = issuing(&root);
    let text: String = ca
        .chain()
        .iter()
        .chain([root.cert()])
        .map(Cert::pem)
        .collect();
    let again = Authority::from_pem(&text, ca.key_pem().expose_secret()).unwrap();
    assert_eq!((again.cert(), again.root()), (ca.cert(), root.cert()));
    let leaf = leaf(&again);
    assert_eq!(
        paths(&leaf, &again.chain(), &bundle(&[root.cert()]), now())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_ca_is_not_made_of_what_does_not_fit() {
    let (a, b) = (citadel(), citadel());
    let mixed = Authority::from_pem(&a.cert().pem(), b.key_pem().expose_secret()).unwrap_err();
    assert_eq!(
        mixed.to_string(),
        "minting: the private key does not belong to the certificate of `O=cluster.local`"
    );
    let (leaf, key) = a.issue(&LeafSpec::workload(&id(), now())).unwrap();
    let error = Authority::from_pem(&leaf.pem(), key.pem().expose_secret())
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("is not a CA that may sign certificates"),
        "{error}"
    );
    let error = Authority::self_signed(&CaSpec::new([("XX", "y")], now()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("attribute `XX`"), "{error}");
}

#[test]
fn keys_from_elsewhere_sign_too() {
    let text = data!("keys/rsa-pkcs8.crt");
    let ca = Authority::from_pem(text, data!("keys/rsa-pkcs8.key")).unwrap();
    let cert = leaf(&ca);
    assert_eq!(
        paths(&cert, &[], &bundle(&[ca.cert()]), now())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_serving_certificate_serves() {
    let ca = citadel();
    let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
    let serving =
        mint::serving(&["localhost", "kubernetes.default.svc"], &[loopback], &ca).unwrap();
    let cert = Cert::from_pem(&serving.chain).unwrap();
    assert_eq!(cert.dns_names(), ["localhost", "kubernetes.default.svc"]);
    assert_eq!(
        PrivateKey::from_pem(serving.key.expose_secret())
            .unwrap()
            .matches(&cert),
        Ok(true)
    );
    assert_eq!(serving.root, ca.cert().pem());
    assert!(paths_for(Usage::Server, &cert, &[], &bundle(&[ca.cert()]), now()).is_ok());
}
