//! Two bare Envoys as arbiters, which share no code with this program.
//!
//! Each holds one party of every pair, and requests go from each to the other. What this program says of
//! the same parties may be stricter for the reasons in [`compare`], and never laxer.
//!
//! How Envoy decides (BoringSSL's `X509_verify_cert` with `X509_V_FLAG_PARTIAL_CHAIN`): it builds one chain
//! and never goes back. The next certificate is the first of the bundle whose name (in canonical form), key
//! identifier and key usage fit, else the first presented one; neither dates nor signatures nor the CA flag
//! matter for that. From the first trusted certificate it goes on upwards in the bundle as far as it can.
//! Then dates and signatures of the whole chain count, but CA flag, path length, purposes and critical
//! extensions only of what was presented. A leaf that is itself in the bundle is trusted. What Envoy cannot
//! use it does not even load: a leaf without digitalSignature, an RSA key below 2048 bits, a server without
//! any name; with a key on P-521 or Ed25519 it does not sign.

mod compare;
mod config;
mod counters;
mod pairs;
mod rig;

use std::collections::BTreeMap;

use compare::{Objection, Ours, compare};
use rig::Verdict;
use rootshift::pki::mint::Defect;
use rootshift::pki::{HandshakeFailure, PathError, Refusal, Side};

use super::now;
use crate::support::say;

#[test]
fn two_envoys_say_the_same_but_for_what_is_listed() {
    let Some(envoy) = rig::envoy() else { return };
    let now = now();
    let mut pairs = pairs::pairs(now);
    for defect in Defect::all() {
        let name = format!("[{defect}]");
        assert!(pairs.iter().any(|pair| pair.a.case.name == name), "{name}");
        assert!(pairs.iter().any(|pair| pair.b.case.name == name), "{name}");
    }
    let count = pairs.len();
    assert!(count >= 600, "only {count} pairs");
    let (control, as_if) = pairs::control(now);
    pairs.push(control);
    let said = rig::verdicts(&envoy, &pairs);
    counters::check(&said);
    let mut verdicts = said.verdicts;

    // Judged as if it trusted its peer, the party that does not has to come out as a difference.
    let (control, seen) = (pairs.pop().unwrap(), verdicts.pop().unwrap());
    let wrong = Ours::of(&control.a, &as_if, now);
    assert!(wrong.handshake.is_ok());
    compare(&seen.forth, &wrong).unwrap_err();

    let mut counts = BTreeMap::<String, (usize, &str)>::new();
    let mut faults = Vec::new();
    for (pair, verdicts) in pairs.iter().zip(&verdicts) {
        for (direction, client, server, envoy) in [
            ("forth", &pair.a, &pair.b, &verdicts.forth),
            ("back", &pair.b, &pair.a, &verdicts.back),
        ] {
            let ours = Ours::of(client, server, now);
            match compare(envoy, &ours) {
                Ok(what) => counts.entry(what).or_insert((0, &pair.name)).0 += 1,
                Err(fault) => faults.push(format!(
                    "{fault}: {direction} in {}\n  Envoy: {envoy}\n  ours: {ours:?}\n",
                    pair.name
                )),
            }
        }
    }
    for (what, (count, example)) in &counts {
        say(&format!("{count:>6}  Envoy: {what}  (e.g. {example})"));
    }
    let first: String = faults.iter().take(20).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults:\n{first}", faults.len());
    for outcome in ["both accept", "both refuse"] {
        let of_it = counts.iter().filter(|(what, _)| what.starts_with(outcome));
        let share = of_it.map(|(_, (count, _))| count).sum::<usize>() * 100 / (2 * count);
        assert!(share >= 25, "{outcome}: only {share} %");
    }
}

fn expired() -> Objection {
    let error = PathError::Expired {
        cert: "leaf".to_owned(),
        not_after: now(),
        now: now(),
    };
    Objection::Path(error, 1)
}

fn refusal(side: Side) -> HandshakeFailure {
    HandshakeFailure {
        side,
        cause: Refusal::Expired,
        detail: String::new(),
    }
}

#[test]
fn a_yes_that_envoy_does_not_say_is_a_fault() {
    let yes = Ours {
        client: Ok(()),
        server: Ok(()),
        handshake: Ok(()),
    };
    let words = String::new;
    let (client, server) = (Side::Client, Side::Server);
    for verdict in [
        Verdict::Refused {
            by: client,
            words: words(),
        },
        Verdict::Refused {
            by: server,
            words: words(),
        },
        Verdict::Unloadable {
            at: client,
            words: words(),
        },
        Verdict::Unloadable {
            at: server,
            words: words(),
        },
    ] {
        compare(&verdict, &yes).unwrap_err();
        // Half a yes: the handshake fails, and neither path nor name says why.
        let failed = Ours {
            handshake: Err(refusal(server)),
            ..yes.clone()
        };
        compare(&verdict, &failed).unwrap_err();
    }
    compare(&Verdict::Accepted, &yes).unwrap();
}

#[test]
fn a_side_that_envoy_lets_refuse_has_to_object() {
    let (client, server) = (Side::Client, Side::Server);
    let ours = Ours {
        client: Ok(()),
        server: Err(expired()),
        handshake: Err(refusal(server)),
    };
    let refused = |by, words: &str| Verdict::Refused {
        by,
        words: words.to_owned(),
    };
    compare(&refused(server, "depth 0: certificate has expired"), &ours).unwrap();
    compare(&refused(client, "depth 0: certificate has expired"), &ours).unwrap_err();
    let key = "SSL routines:OPENSSL internal:NO COMMON SIGNATURE ALGORITHMS";
    compare(&refused(client, key), &ours).unwrap_err();
    compare(&refused(server, key), &ours).unwrap_err();
}

#[test]
fn a_no_that_envoy_does_not_say_needs_a_reason() {
    let ours = Ours {
        client: Ok(()),
        server: Err(expired()),
        handshake: Err(refusal(Side::Server)),
    };
    compare(&Verdict::Accepted, &ours).unwrap_err();
    let longer = PathError::TooLong {
        cert: "leaf".to_owned(),
    };
    let ours = Ours {
        server: Err(Objection::Path(longer, 1)),
        ..ours
    };
    compare(&Verdict::Accepted, &ours).unwrap();
    // Of the two judges in a handshake webpki may have a reason of its own, and not any.
    let ours = Ours {
        server: Ok(()),
        ..ours
    };
    compare(&Verdict::Accepted, &ours).unwrap_err();
}
