use super::*;
use secrecy::ExposeSecret;

#[test]
fn every_encoding_is_read_and_matches_its_certificate_only() {
    let other = Cert::from_pem(meshca::ROOT_PEM).unwrap();
    for (name, key, cert) in [
        (
            "rsa-pkcs1",
            data!("keys/rsa-pkcs1.key"),
            data!("keys/rsa-pkcs1.crt"),
        ),
        (
            "rsa-pkcs8",
            data!("keys/rsa-pkcs8.key"),
            data!("keys/rsa-pkcs8.crt"),
        ),
        (
            "p256-sec1",
            data!("keys/p256-sec1.key"),
            data!("keys/p256-sec1.crt"),
        ),
        (
            "p256-sec1-params",
            data!("keys/p256-sec1-params.key"),
            data!("keys/p256-sec1-params.crt"),
        ),
        (
            "p384-pkcs8",
            data!("keys/p384-pkcs8.key"),
            data!("keys/p384-pkcs8.crt"),
        ),
        (
            "ed25519-pkcs8",
            data!("keys/ed25519-pkcs8.key"),
            data!("keys/ed25519-pkcs8.crt"),
        ),
    ] {
        let key = PrivateKey::from_pem(key).unwrap();
        assert_eq!(
            key.matches(&Cert::from_pem(cert).unwrap()),
            Ok(true),
            "{name}"
        );
        assert_eq!(key.matches(&other), Ok(false), "{name}");
        let again = PrivateKey::from_pem(key.pem().expose_secret()).unwrap();
        assert_eq!(
            again.matches(&Cert::from_pem(cert).unwrap()),
            Ok(true),
            "{name}"
        );
    }
}

#[test]
fn unusable_keys_are_called_what_they_are() {
    let error = |text: &str| PrivateKey::from_pem(text).unwrap_err();
    assert_eq!(error(data!("keys/p521-pkcs8.key")), KeyError::Unsupported);
    assert_eq!(
        error(data!("keys/rsa1024-pkcs8.key")),
        KeyError::Unsupported
    );
    assert_eq!(
        error(data!("keys/encrypted-pkcs8.key")),
        KeyError::Encrypted
    );
    assert_eq!(
        error(data!("keys/encrypted-pkcs1.key")),
        KeyError::Encrypted
    );
    assert_eq!(error(meshca::ROOT_PEM), KeyError::Count { found: 0 });
    let two = format!(
        "{}{}",
        data!("keys/rsa-pkcs1.key"),
        data!("keys/rsa-pkcs8.key")
    );
    assert_eq!(error(&two), KeyError::Count { found: 2 });
    let cut = data!("keys/rsa-pkcs8.key").replace("-----END PRIVATE KEY-----", "");
    assert!(matches!(error(&cut), KeyError::Malformed(_)));
}

#[test]
fn no_text_form_shows_a_key() {
    let text = data!("keys/p256-sec1.key");
    let key = PrivateKey::from_pem(text).unwrap();
    let ca = citadel();
    let identity = Identity {
        chain: vec![],
        key: key.clone(),
        bundle: Bundle::default(),
    };
    for shown in [
        format!("{key}"),
        format!("{key:?}"),
        format!("{:?}", key.pem()),
        format!("{identity:?}"),
        format!("{ca:?}"),
        format!("{:?}", ca.key_pem()),
        format!("{:?}", mint::serving(&["localhost"], &[], &ca).unwrap().key),
    ] {
        assert!(
            !shown.contains("BEGIN") && !shown.contains("PRIVATE"),
            "{shown}"
        );
        assert!(
            !text
                .lines()
                .skip(1)
                .any(|line| line.len() > 20 && !line.starts_with('-') && shown.contains(line))
        );
    }
    assert_eq!(key.to_string(), "‹redacted›");
    // Errors do not quote what they could not read.
    let damaged = text.replace("MHcC", "!!!!");
    let error = PrivateKey::from_pem(&damaged).unwrap_err().to_string();
    assert!(
        !text
            .lines()
            .skip(1)
            .any(|line| line.len() > 20 && error.contains(line)),
        "{error}"
    );
}

#[test]
fn no_error_tells_a_character_of_a_damaged_key() {
    let text = data!("keys/p256-sec1.key");
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let error = |text: &str| PrivateKey::from_pem(text).unwrap_err().to_string();
    let damaged = "the private key is damaged: ";
    for (text, reason) in [
        // The last character but one stands for too much: its neighbours were cut off.
        (
            text.replace(&body[body.len() - 8..], "B"),
            "the base64 is damaged: 157 characters are cut short",
        ),
        (
            text.replacen('M', "!", 1),
            "the base64 is damaged: character 1 is none of it",
        ),
        (
            text.replace(&body[body.len() - 8..], "Bx=="),
            "the base64 is damaged: character 158 stands for less than a byte",
        ),
        (
            text.replace("END EC", "END RSA"),
            "a block is closed by the END line of another kind",
        ),
        (
            text.replace("-----END", ""),
            "a block has no END line: cut short",
        ),
        // What stands between the dashes could be a label.
        (
            format!("-----BEGIN {}-----{text}", &body[..40]),
            "a block has no END line: cut short",
        ),
    ] {
        assert_eq!(error(&text), format!("{damaged}{reason}"), "{text}");
        let glued = text.replace('\n', "");
        assert!(!error(&glued).contains(&body[..8]), "{}", error(&glued));
    }
}
