//! Our verdicts against OpenSSL's and `rustls-webpki`'s, over thousands of random identities.
//!
//! Where they may differ is on the lists below, each with its reason. Nothing that OpenSSL rejects
//! may ever be accepted: that list is empty and stays so.

use std::{collections::BTreeMap, sync::Mutex, thread, time::Duration};

use jiff::Timestamp;
use rootshift::pki::mint::Defect;
use rootshift::pki::{
    HandshakeFailure, Identity, PathError, SanRules, Usage, accepts, handshake, paths_for,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::{
    cases::{self, Case},
    now, openssl,
};
use crate::support::say;

/// A verdict of another judge beside ours.
struct Difference<'a> {
    case: &'a Case,
    ours: &'a Result<rootshift::pki::Path, PathError>,
    theirs: &'a str,
    usage: Usage,
    now: Timestamp,
}

/// Why OpenSSL may accept what we do not.
fn stricter_than_openssl(difference: &Difference) -> Option<&'static str> {
    let Difference { case, ours, .. } = difference;
    let error = ours.as_ref().err()?;
    Some(match error {
        PathError::Uncertain { .. } => {
            "Envoy takes the first certificate that fits; OpenSSL prefers one that is valid now"
        }
        PathError::TooLong { .. } => "longer than is followed",
        PathError::Unsupported { what, .. } if what == "name constraints" => {
            "name constraints are not evaluated"
        }
        PathError::Unsupported { what, .. } if what.contains("polic") => {
            "OpenSSL looks at policies only if it is asked to"
        }
        _ if case.trusted.contains(&case.chain[0]) => {
            "the leaf itself is in the bundle: nothing that a CA's bundle says"
        }
        PathError::NotAllowed { reason, .. } if reason == "is not a CA" => {
            "a root of version 1 cannot say that it is a CA"
        }
        PathError::Expired { .. } if case.name.contains("root-version-1") => {
            "a root of version 1 cannot say that it is a CA"
        }
        PathError::UnknownIssuer { issuer, .. } if issuer.starts_with("itself") => {
            "Envoy takes for self-signed what names itself; OpenSSL sees that the key is of another kind"
        }
        PathError::NotAllowed { reason, .. } if reason == "names no issuer" => {
            "RFC 5280 wants a name"
        }
        PathError::NotAllowed { reason, .. } if reason.contains("Envoy") => {
            "Envoy cannot present it; OpenSSL is not asked that"
        }
        PathError::NotAllowed { reason, .. } if reason.contains("digitalSignature") => {
            "OpenSSL thinks of key exchange by RSA; TLS 1.3 signs with the leaf's key"
        }
        // There is a path, so the fault lies beside it, or above its trusted end.
        _ if paths_for(
            difference.usage,
            &case.chain[0],
            &case.chain[1..],
            &case.trusted,
            difference.now,
        )
        .is_ok() =>
        {
            "Envoy goes on upwards from the first trusted certificate, and all of that has to hold"
        }
        _ => return None,
    })
}

/// Why webpki may accept what we do not: it knows fewer rules.
fn stricter_than_webpki(difference: &Difference) -> Option<&'static str> {
    Some(match difference.ours.as_ref().err()? {
        PathError::Uncertain { .. } => "webpki tries every certificate",
        PathError::Unsupported { .. } => "webpki does not look at anchors' extensions",
        PathError::BadSignature { .. } => "webpki does not compare key identifiers",
        PathError::UnknownIssuer { .. } if difference.case.name.contains("link-") => {
            "webpki does not stop at what looks self-signed"
        }
        PathError::Expired { .. } | PathError::NotYetValid { .. } => {
            "webpki takes anchors as they are"
        }
        PathError::NotAllowed { .. } => "webpki reads no key usages, and takes anchors as they are",
        _ => return None,
    })
}

/// Why we may accept what webpki does not.
fn laxer_than_webpki(difference: &Difference) -> Option<&'static str> {
    let theirs = difference.theirs;
    Some(if theirs.contains("UnsupportedCertVersion") {
        "OpenSSL and Envoy accept a leaf of version 1"
    } else if cases::names_written_otherwise(&difference.case.name) {
        "webpki compares names byte by byte"
    } else if theirs.contains("Maximum") {
        "webpki gives up early"
    } else {
        return None;
    })
}

fn all_cases(now: Timestamp) -> Vec<Case> {
    let alone = Defect::all();
    let alone = alone.iter().map(|defect| cases::specimen(&[*defect], now));
    alone
        .chain(cases::draw(cases::specimens(now), 3500, 1))
        .chain(cases::draw(cases::confusions(now), 1500, 2))
        .collect()
}

#[test]
fn openssl_and_webpki_say_the_same_but_for_what_is_listed() {
    if !openssl::available() {
        return;
    }
    let now = now();
    let cases = all_cases(now);
    let dir = tempfile::tempdir().unwrap();
    let counts = Mutex::new(BTreeMap::<String, (usize, String)>::new());
    let faults = Mutex::new(Vec::new());
    let handshakes = Mutex::new(0);
    let halves = cases.len().div_ceil(2);
    thread::scope(|scope| {
        for (index, part) in cases.chunks(halves).enumerate() {
            let dir = dir.path().join(index.to_string());
            let (counts, faults, handshakes) = (&counts, &faults, &handshakes);
            std::fs::create_dir(&dir).unwrap();
            scope.spawn(move || {
                for (number, case) in part.iter().enumerate() {
                    let usage = if number % 2 == 0 {
                        Usage::Client
                    } else {
                        Usage::Server
                    };
                    let ours = accepts(&case.trusted, &case.chain, usage, now);
                    let compare = |judge: &str, theirs: Result<(), String>| {
                        let words = theirs.clone().err().unwrap_or_default();
                        let difference = Difference {
                            case,
                            ours: &ours,
                            theirs: &words,
                            usage,
                            now,
                        };
                        let reason = match (judge, ours.is_ok(), theirs.is_ok()) {
                            (_, true, true) => Some("both accept"),
                            (_, false, false) => Some("both refuse"),
                            ("openssl", false, true) => stricter_than_openssl(&difference),
                            ("webpki", false, true) => stricter_than_webpki(&difference),
                            ("webpki", true, false) => laxer_than_webpki(&difference),
                            _ => None,
                        };
                        match reason {
                            Some(reason) => {
                                let mut counts = counts.lock().unwrap();
                                let entry = counts.entry(format!("{judge}: {reason}"));
                                let entry = entry.or_insert((0, case.name.clone()));
                                entry.0 += 1;
                            }
                            None => faults.lock().unwrap().push(format!(
                                "{judge} on {} ({usage:?})\n  ours: {ours:?}\n  theirs: {theirs:?}",
                                case.name
                            )),
                        }
                    };
                    let (ok, text) = openssl::verifies(&dir, &case.chain, &case.trusted, usage);
                    compare("openssl", if ok { Ok(()) } else { Err(text) });
                    compare("webpki", webpki_verifies(case, usage, now));
                    // A whole handshake is never laxer than the two that decide in it.
                    if number % 5 == 0 && usage == Usage::Client {
                        let shaken = shake(case, now);
                        if shaken.is_ok() && !(ours.is_ok() && ok) {
                            let fault = format!("handshake on {}: accepted", case.name);
                            faults.lock().unwrap().push(fault);
                        }
                        if shaken.is_ok() {
                            *handshakes.lock().unwrap() += 1;
                        }
                    }
                }
            });
        }
    });
    for (what, (count, example)) in counts.into_inner().unwrap() {
        say(&format!("{count:>6}  {what}  (e.g. {example})"));
    }
    let handshakes = handshakes.into_inner().unwrap();
    say(&format!("{handshakes:>6}  handshakes"));
    let faults = faults.into_inner().unwrap();
    let first: Vec<&String> = faults.iter().take(20).collect();
    assert!(faults.is_empty(), "{} faults: {first:#?}", faults.len());
    assert!(handshakes > 50, "only {handshakes} handshakes came about");
}

/// The case's identity as a client of a server that trusts what the case says.
fn shake(case: &Case, now: Timestamp) -> Result<(), HandshakeFailure> {
    let server = cases::specimen(&[], now);
    let client = Identity {
        chain: case.chain.clone(),
        key: case.key.clone(),
        bundle: server.trusted.clone(),
    };
    let server = Identity {
        chain: server.chain,
        key: server.key,
        bundle: case.trusted.clone(),
    };
    handshake(&client, &SanRules::any(), &server, &SanRules::any(), now)
}

fn webpki_verifies(case: &Case, usage: Usage, now: Timestamp) -> Result<(), String> {
    let der = |cert: &rootshift::pki::Cert| CertificateDer::from(cert.der().to_vec());
    let anchors: Vec<CertificateDer> = case.trusted.certs().map(der).collect();
    let anchors: Vec<_> = anchors
        .iter()
        .filter_map(|cert| webpki::anchor_from_trusted_cert(cert).ok())
        .collect();
    let chain: Vec<CertificateDer> = case.chain.iter().map(der).collect();
    let leaf = EndEntityCert::try_from(&chain[0]).map_err(|error| format!("{error:?}"))?;
    let usage = match usage {
        Usage::Server => KeyUsage::server_auth(),
        Usage::Client | Usage::Workload => KeyUsage::client_auth(),
    };
    let seconds = u64::try_from(now.as_second()).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &anchors, &chain[1..], time, usage, None, None)
        .map(drop)
        .map_err(|error| format!("{error:?}"))
}
