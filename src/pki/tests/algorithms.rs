use super::*;

fn verify(text: &str) -> Result<Vec<Path>, PathError> {
    let chain = chain(text);
    paths(&chain[0], &[], &bundle(&[&chain[1]]), now())
}

#[test]
fn what_istio_and_its_plugged_in_cas_use_is_verified() {
    for (name, text) in [
        ("rsa-sha256", data!("algorithms/rsa-sha256.pem")),
        ("rsa-sha384", data!("algorithms/rsa-sha384.pem")),
        ("rsa-sha512", data!("algorithms/rsa-sha512.pem")),
        ("rsa-pss-sha256", data!("algorithms/rsa-pss-sha256.pem")),
        ("rsa-pss-sha384", data!("algorithms/rsa-pss-sha384.pem")),
        ("rsa-pss-sha512", data!("algorithms/rsa-pss-sha512.pem")),
        ("p256-sha256", data!("algorithms/p256-sha256.pem")),
        ("p256-sha384", data!("algorithms/p256-sha384.pem")),
        ("p384-sha256", data!("algorithms/p384-sha256.pem")),
        ("p384-sha384", data!("algorithms/p384-sha384.pem")),
        ("ed25519", data!("algorithms/ed25519.pem")),
        ("sha1-root", data!("odd/sha1-root.pem")),
    ] {
        assert_eq!(verify(text).map(|paths| paths.len()), Ok(1), "{name}");
        let chain = chain(text);
        let ca = named("CITADEL", &[&chain[1]]);
        assert!(
            matches!(
                signer(&chain, &[ca], &Bundle::default(), now()),
                Signer::By { .. }
            ),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_verified_is_unknown_and_never_no() {
    for (text, what) in [
        (
            data!("algorithms/p521-sha512.pem"),
            "ECDSA key on curve P-521",
        ),
        (
            data!("algorithms/rsa-sha1.pem"),
            "signature algorithm SHA-1 with RSA",
        ),
        (
            data!("algorithms/rsa-pss-salt20.pem"),
            "RSA-PSS with unusual parameters",
        ),
        (
            data!("algorithms/rsa1024-sha256.pem"),
            "RSA key of 1024 bits",
        ),
        (
            data!("odd/critical-extension.pem"),
            "critical extension 1.2.3.4.5",
        ),
        (data!("odd/name-constraints.pem"), "name constraints"),
    ] {
        let error = verify(text).unwrap_err();
        assert!(error.is_unknown(), "{what}: {error}");
        assert!(
            error
                .to_string()
                .contains(&format!("{what} is not supported")),
            "{error}"
        );
        let chain = chain(text);
        let ca = named("CITADEL", &[&chain[1]]);
        let signer = signer(&chain, &[ca], &Bundle::default(), now());
        assert!(matches!(signer, Signer::Unknown { .. }), "{what}: {signer}");
    }
}

#[test]
fn a_changed_signature_is_bad_with_every_algorithm() {
    for text in [
        data!("algorithms/rsa-sha256.pem"),
        data!("algorithms/rsa-pss-sha256.pem"),
        data!("algorithms/p256-sha256.pem"),
        data!("algorithms/p384-sha384.pem"),
        data!("algorithms/ed25519.pem"),
    ] {
        let chain = chain(text);
        let mut der = chain[0].der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        let changed = Cert::from_der(der).unwrap();
        let error = paths(&changed, &[], &bundle(&[&chain[1]]), now()).unwrap_err();
        assert!(matches!(error, PathError::BadSignature { .. }), "{error}");
    }
}
