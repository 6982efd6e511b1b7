use super::*;

const ROOT: &str = data!("lab/citadel-root.pem");
const OTHER: &str = data!("lab/meshca-root.pem");

fn read(text: &str) -> (usize, Vec<(usize, String)>) {
    let (certs, issues) = certs_from_pem(text);
    (
        certs.len(),
        issues
            .into_iter()
            .map(|issue| (issue.index, issue.reason))
            .collect(),
    )
}

#[test]
fn tidy_text_has_no_issues() {
    assert_eq!(read(""), (0, vec![]));
    assert_eq!(read(" \n"), (0, vec![]));
    assert_eq!(read(&format!("{ROOT}{OTHER}")), (2, vec![]));
}

#[test]
fn oddities_that_mean_nothing_are_not_issues() {
    let both = format!("{ROOT}{OTHER}");
    let crlf = both.replace('\n', "\r\n");
    let indented = both.replace('\n', "\n      ");
    let glued = both.replace("-----\n-----", "----------");
    let no_newline = both.trim_end().to_owned();
    let commented = format!("# old\nsubject=O = cluster.local\n{ROOT}\n# new\n{OTHER}\nend");
    let shared_dashes = both.replace("-----\n-----", "-----");
    let one_line = both.replace('\n', "").replace("-----M", "----- M");
    for text in [
        crlf,
        indented,
        glued,
        no_newline,
        commented,
        one_line,
        shared_dashes,
    ] {
        assert_eq!(read(&text), (2, vec![]), "{text}");
    }
}

#[test]
fn repetitions_stay_in_chains_and_vanish_in_bundles() {
    let twice = format!("{ROOT}{ROOT}{OTHER}");
    assert_eq!(read(&twice).0, 3);
    let (bundle, issues) = Bundle::from_pem(&twice);
    assert_eq!((bundle.len(), issues.len()), (2, 0));
}

#[test]
fn foreign_blocks_are_named_and_the_rest_is_read() {
    let key = data!("keys/rsa-pkcs1.key");
    let trusted = data!("odd/trusted-certificate.pem");
    let crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let (count, issues) = read(&format!("{key}{ROOT}{trusted}{crl}{OTHER}"));
    assert_eq!(count, 2);
    assert_eq!(
        issues,
        [
            (
                0,
                "a `RSA PRIVATE KEY` block is not a certificate, ignored".to_owned()
            ),
            (
                2,
                "a `TRUSTED CERTIFICATE` block is not a certificate, ignored".to_owned()
            ),
            (
                3,
                "a `X509 CRL` block is not a certificate, ignored".to_owned()
            ),
        ]
    );
}

#[test]
fn a_damaged_block_never_takes_its_neighbours_along() {
    let no_end = ROOT.replace("-----END CERTIFICATE-----\n", "");
    let wrong_end = ROOT.replace("END CERTIFICATE", "END CERTIFICATES");
    let other_end = ROOT.replace("END CERTIFICATE", "END X509 CRL");
    let four_dashes = ROOT.replace("-----BEGIN", "----BEGIN");
    let bad_base64 = ROOT.replacen('M', "!", 1);
    let body = ROOT.lines().nth(1).unwrap();
    let cut_short = ROOT.replace(body, "");
    let half_line = ROOT.replace(body, &body[..body.len() - 1]);
    let empty = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned();
    let half_begin = "-----BEGIN CERTIFICATE\n".to_owned();
    for (damaged, reason) in [
        (no_end, "`BEGIN CERTIFICATE` has no END line: cut short"),
        (
            wrong_end,
            "`BEGIN CERTIFICATE` is closed by `-----END CERTIFICATES-----`",
        ),
        (
            other_end,
            "`BEGIN CERTIFICATE` is closed by `-----END X509 CRL-----`",
        ),
        (
            four_dashes,
            "a line says `BEGIN CERTIFICATE` without the five dashes before it",
        ),
        (bad_base64, "the base64 is damaged: "),
        (cut_short, "not a certificate: the DER is "),
        (half_line, ""),
        (empty, "the block is empty"),
        (half_begin, "the BEGIN line does not end in `-----`"),
    ] {
        let (certs, issues) = certs_from_pem(&format!("{ROOT}{damaged}{OTHER}"));
        let expected = [
            Cert::from_pem(ROOT).unwrap(),
            Cert::from_pem(OTHER).unwrap(),
        ];
        assert_eq!(certs, expected, "{damaged}");
        assert_eq!(issues.len(), 1, "{damaged}: {issues:?}");
        assert_eq!(issues[0].index, 1, "{damaged}");
        assert!(
            issues[0].reason.contains(reason),
            "{damaged}: {}",
            issues[0]
        );
    }
}

/// Where the line breaks of a text are lost, the rest of a line is the rest of the text.
#[test]
fn of_a_damaged_block_only_labels_are_told() {
    let key = data!("keys/p256-sec1.key");
    let glued = format!("{ROOT}{key}")
        .replace("END CERTIFICATE", "END X509 CRL")
        .replace('\n', " ");
    let many = format!("-----BEGIN A----------END {}", "B".repeat(64)).repeat(2000);
    for (text, count, reason) in [
        (
            &glued,
            2,
            "`BEGIN CERTIFICATE` is closed by `-----END X509 CRL-----`",
        ),
        (&many, 1001, "`BEGIN A` is closed by a damaged END line"),
    ] {
        let (certs, issues) = certs_from_pem(text);
        assert_eq!((certs.len(), issues.len()), (0, count));
        assert_eq!(issues[0].reason, reason);
        assert!(issues.iter().all(|issue| issue.reason.len() < 100));
    }
}

#[test]
fn text_without_any_block_is_an_issue() {
    assert_eq!(
        read("[redacted]"),
        (0, vec![(0, "the text has no PEM block".to_owned())])
    );
    let (_, issues) = certs_from_pem("[redacted]");
    assert_eq!(
        issues[0].to_string(),
        "PEM block 1: the text has no PEM block"
    );
}

#[test]
fn der_with_something_after_it_is_refused() {
    let mut der = Cert::from_pem(ROOT).unwrap().der().to_vec();
    der.push(0);
    assert_eq!(
        Cert::from_der(der).unwrap_err().to_string(),
        "not a certificate: 1 bytes follow the certificate"
    );
}

#[test]
fn exactly_one_certificate_is_one_certificate() {
    assert_eq!(
        Cert::from_pem(&format!("{ROOT}{OTHER}"))
            .unwrap_err()
            .to_string(),
        "the text holds 2 certificates, expected exactly one"
    );
    assert_eq!(
        Cert::from_pem("").unwrap_err(),
        CertError::Count { found: 0 }
    );
    assert!(matches!(
        Cert::from_pem(data!("keys/rsa-pkcs1.key")),
        Err(CertError::Pem(_))
    ));
}

#[test]
fn what_is_written_is_what_openssl_writes() {
    assert_eq!(Cert::from_pem(ROOT).unwrap().pem(), ROOT);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Whatever stands around and between, the two certificates are found, and nothing panics.
    #[test]
    fn no_text_around_hides_a_certificate(
        before in "[ -~\n\r\t]{0,40}", between in "[ -~\n\r\t]{0,40}", after in "[ -~\n\r\t]{0,40}"
    ) {
        // A block that is begun by the text itself swallows nothing either, so no exception here.
        let (certs, _) = certs_from_pem(&format!("{before}\n{ROOT}{between}\n{OTHER}{after}"));
        proptest::prop_assert_eq!(certs.len(), 2);
    }

    /// Any stretch may be cut out of a bundle: what is left of the others is read.
    #[test]
    fn cutting_a_hole_costs_only_what_it_touches(start in 0usize..1100, length in 0usize..1100) {
        let text = format!("{ROOT}{OTHER}");
        let end = (start + length).min(ROOT.len());
        let start = start.min(end);
        let (certs, _) = certs_from_pem(&format!("{}{}", &text[..start], &text[end..]));
        let other = Cert::from_pem(OTHER).unwrap();
        proptest::prop_assert!(certs.contains(&other));
    }
}
