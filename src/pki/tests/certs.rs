use super::*;

#[test]
fn a_real_workload_certificate_reads_as_openssl_shows_it() {
    let chain = chain(data!("lab/pay-sleep-meshca-distribute.default.pem"));
    let [leaf, issuing, root] = &chain[..] else {
        panic!("{chain:?}")
    };
    assert_eq!(
        (leaf.subject(), leaf.issuer()),
        (
            String::new(),
            "CN=lab mesh issuing ca,O=Lab Mesh CA".to_owned()
        )
    );
    assert_eq!(leaf.serial(), "00f85af6c4b2fdb798a730e0de0d31fb");
    assert_eq!(leaf.not_before().to_string(), "2026-11-23T03:38:00Z");
    assert_eq!(leaf.not_after().to_string(), "2026-11-24T03:39:00Z");
    assert_eq!(leaf.uris(), ["spiffe://cluster.local/ns/pay/sa/sleep"]);
    assert_eq!(
        leaf.spiffe_id().unwrap(),
        SpiffeId::new("cluster.local", "pay", "sleep")
    );
    assert_eq!(leaf.key_kind().to_string(), "RSA 2048");
    assert!(!leaf.is_ca() && !leaf.can_sign_certs() && !leaf.is_self_issued());
    assert_eq!(leaf.aki(), issuing.ski());
    assert_eq!(
        (
            leaf.ski(),
            root.aki().is_none_or(|aki| Some(aki) == root.ski())
        ),
        (None, true)
    );
    assert_eq!(
        leaf.display_name(),
        "spiffe://cluster.local/ns/pay/sa/sleep"
    );
    assert!(issuing.can_sign_certs() && root.is_self_issued());
    assert_eq!(issuing.key_kind().to_string(), "ECDSA P-256");
}

#[test]
fn the_ends_of_the_validity_are_included() {
    let leaf = leaf(&citadel());
    assert!(leaf.valid_at(leaf.not_before()) && leaf.valid_at(leaf.not_after()));
    assert!(leaf.valid_at(leaf.not_after() + SignedDuration::from_millis(999)));
    assert!(!leaf.valid_at(leaf.not_before() - SignedDuration::from_millis(1)));
    assert!(!leaf.valid_at(leaf.not_after() + SignedDuration::from_secs(1)));
}

#[test]
fn no_expiry_and_long_serials_are_read() {
    let cert = Cert::from_pem(data!("odd/forever.pem")).unwrap();
    assert_eq!(cert.serial(), "f102030405060708090a0b0c0d0e0f1011121314");
    assert_eq!(cert.not_after(), Timestamp::MAX);
    assert!(cert.valid_at(now()) && cert.valid_at(Timestamp::MAX));
}

#[test]
fn names_are_escaped_as_openssl_escapes_them() {
    // openssl x509 -nameopt RFC2253; inside a multi-valued RDN, where RFC 4514 has no order, ours
    // is the one of the DER.
    let cert = Cert::from_pem(data!("odd/subject.pem")).unwrap();
    assert_eq!(
        cert.subject(),
        "CN=Zoë,OU=x+UID=y,O=\\ a\\, \\\"b\\\"\\; \\<c\\> \\\\ #d\\ ,C=DE"
    );
}

#[test]
fn identity_is_the_der_and_clones_are_equal() {
    let (a, b) = (citadel(), citadel());
    assert_eq!(a.cert().subject(), b.cert().subject());
    assert_ne!(a.cert(), b.cert());
    let copy = Cert::from_der(a.cert().der()).unwrap();
    assert_eq!((&copy, copy.sha256()), (a.cert(), a.cert().sha256()));
    assert_eq!(copy.cmp(a.cert()), std::cmp::Ordering::Equal);
}

#[test]
fn a_reissued_root_keeps_its_key_and_not_its_fingerprint() {
    let root = citadel();
    let again = root
        .reissued(&CaSpec::istio("cluster.local", now() + hours(1)))
        .unwrap();
    assert_ne!(root.cert().sha256(), again.cert().sha256());
    assert_eq!(root.cert().spki_sha256(), again.cert().spki_sha256());
    assert_eq!(root.cert().ski(), again.cert().ski());
}

#[test]
fn garbage_is_refused_in_words() {
    for (bytes, reason) in [
        (&b""[..], "not a certificate: the DER is cut short"),
        (
            &b"\x30\x03\x01\x01\x00"[..],
            "not a certificate: the DER is damaged",
        ),
        (
            &Cert::from_pem(meshca::ROOT_PEM).unwrap().der()[..500],
            "not a certificate: the DER is cut short",
        ),
    ] {
        let error = Cert::from_der(bytes).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
}

#[test]
fn what_envoy_cannot_read_is_not_read() {
    let ca = citadel();
    let der = ca.cert().der();
    let find = |part: &[u8]| {
        der.windows(part.len())
            .position(|window| window == part)
            .unwrap()
    };
    let usage = find(b"\x03\x02\x02\x04");
    let name = find(b"\x13\x0dcluster.local");
    for (at, byte, reason) in [
        (
            usage + 3,
            0x05,
            "extension 2.5.29.15: its encoding is not the one of RFC 5280",
        ),
        (usage + 2, 0x08, "extension 2.5.29.15: "),
        (name, 0x33, "its encoding is not the one of X.509"),
    ] {
        let mut der = der.to_vec();
        der[at] = byte;
        let error = Cert::from_der(der).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_curve_is_named_by_an_object_identifier() {
    let ca = citadel();
    let mut der = ca.cert().der().to_vec();
    let curve = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    let at = der.windows(10).position(|window| window == curve).unwrap();
    der[at] = 0x86;
    let cert = Cert::from_der(der).unwrap();
    assert_eq!(cert.key_kind().to_string(), "ECDSA without a named curve");
    let error = paths(&leaf(&ca), &[], &bundle(&[&cert]), now()).unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// A changed bit never panics; if it still reads, it is another certificate.
    #[test]
    fn a_flipped_bit_is_noticed(at in 0usize..1000, bit in 0u8..8) {
        let cert = Cert::from_pem(data!("lab/citadel-root.pem")).unwrap();
        let mut der = cert.der().to_vec();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        if let Ok(changed) = Cert::from_der(der) {
            proptest::prop_assert_ne!(changed.sha256(), cert.sha256());
        }
    }
}

/// Otherwise a certificate that no CA made would be accepted: what it says was signed, and its bytes were not.
#[test]
fn a_signed_part_has_one_certificate() {
    let leaf = &chain(data!("lab/pay-sleep-citadel-distribute.default.pem"))[0];
    let whole = leaf.der();
    let inside = &whole[4..];
    // At the end: the algorithm (RSA with SHA-256), the header of the signature, its 256 bytes.
    let (signed, rest) = inside.split_at(inside.len() - 15 - 5 - 256);
    let (algorithm, signature) = rest.split_at(15);
    assert_eq!(
        (signed[0], &algorithm[..2], &signature[..5]),
        (0x30, &[0x30, 13][..], &[3, 0x82, 1, 1, 0][..])
    );
    let around = |parts: &[&[u8]]| {
        let inside = parts.concat();
        let length = u16::try_from(inside.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82][..], &length, &inside].concat()
    };
    assert_eq!(around(&[signed, algorithm, signature]), whole);
    let longer = [&[0x30, 15][..], &algorithm[2..], &[5, 0]].concat();
    let padded = [&[0x30, 0x81, 13][..], &algorithm[2..]].concat();
    let mut unused = signature.to_vec();
    unused[4] = 1;
    for (what, der) in [
        (
            "a longer length",
            [&[0x30, 0x83, 0][..], &whole[2..]].concat(),
        ),
        (
            "something at the end",
            around(&[signed, algorithm, signature, &[5, 0]]),
        ),
        (
            "more in the algorithm",
            around(&[signed, &longer, signature]),
        ),
        (
            "a longer length of the algorithm",
            around(&[signed, &padded, signature]),
        ),
        (
            "bits that are not used",
            around(&[signed, algorithm, &unused]),
        ),
        (
            "a longer length of the signature",
            around(&[signed, algorithm, &[3, 0x83, 0], &signature[2..]]),
        ),
    ] {
        assert!(Cert::from_der(der).is_err(), "{what}");
    }
}

#[test]
fn what_no_peer_can_present_is_not_read() {
    let error = Cert::from_der(vec![0x30; (100 << 10) + 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a certificate: 102401 bytes are more than the 102400 that a certificate may have"
    );
}

#[test]
fn no_name_of_a_certificate_forges_a_line() {
    let shown = |uris: &[&str]| {
        let spec = LeafSpec::uris(uris.iter().copied(), now());
        let cert = citadel().issue(&spec).unwrap().0;
        (
            cert.display_name(),
            cert.describe(now()),
            cert.sha256().short(),
        )
    };
    let forged = "spiffe://a/ns/b/sa/c\nissuer     itself\u{1b}[2K";
    let (name, text, _) = shown(&[forged, "spiffe://d\r"]);
    assert_eq!(name, "spiffe://a/ns/b/sa/c\\0aissuer     itself\\1b[2K");
    assert!(
        text.starts_with(&format!("workload   {name}\nURI        spiffe://d\\0d\n")),
        "{text}"
    );
    let error = forged.parse::<SpiffeId>().unwrap_err().to_string();
    assert!(!error.contains(char::is_control), "{error}");
    // An empty one is none.
    let (name, _, short) = shown(&[""]);
    assert_eq!(name, short);
}

#[test]
fn der_that_holds_pem_is_der() {
    let inner = Cert::from_pem(data!("lab/citadel-root.pem")).unwrap();
    let spec = LeafSpec::uris([format!("spiffe://{}", inner.pem())], now());
    let cert = citadel().issue(&spec).unwrap().0;
    assert_eq!(certs_from_bytes(cert.der()), (vec![cert], vec![]));
}

#[test]
fn the_shortest_certificate_is_read_from_der() {
    // Of OpenSSL: Ed25519, version 1, without names.
    let text = "MIGmMFoCAQEwBQYDK2VwMAAwHhcNMjYxMTI3MDUyNjI0WhcNMzYxMTI0MDUyNjI0WjAAMCowBQYDK2Vw\
                AyEA3ZQwEHF6z6VS0RybCg2B9eX66fM3GpjD7d7cFCtFVuMwBQYDK2VwA0EAgtehfi3+J07RVL7fRFDr\
                XFx4vUUL7eCzmMZqtp4uRHoeZ2pa8Lkb6xLvIqPH5WUkpC+EigmnmQP88LvflCMiCw==";
    let der = decode_base64(text).unwrap();
    assert_eq!(der.len(), 169);
    for bytes in [&der[..], text.as_bytes()] {
        let (certs, issues) = certs_from_bytes(bytes);
        assert_eq!((certs.len(), issues.len()), (1, 0));
        assert_eq!(certs[0].der(), der);
    }
}
