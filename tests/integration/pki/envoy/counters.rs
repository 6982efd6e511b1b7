//! What Envoys count of the certificates that they refuse, beside what they said of each.

use std::collections::BTreeMap;

use rootshift::mesh::pods::ProxyKind;
use rootshift::mesh::tls_stats::{Counters, counters};
use rootshift::pki::Side;

use super::rig::{Said, Verdict, name};

/// How a pair's cluster is called in counters: as Istio's are.
pub(super) fn stat_name(name: &str) -> String {
    format!("outbound|80||{name}.pay.svc.cluster.local")
}

/// Whether a refusal is of a certificate, and not of a key or a cipher.
fn is_of_certificate(verdict: &Verdict, side: Side) -> bool {
    matches!(verdict, Verdict::Refused { by, words } if *by == side && !words.contains("SSL routines"))
}

/// Every certificate that was refused is counted once by who refused it, and nothing else is.
pub(super) fn check(said: &Said) {
    let mut total = 0;
    for (answer, me) in said.counters.iter().zip(["first", "second"]) {
        let found: Counters = counters(ProxyKind::Sidecar, answer).unwrap();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        let mut as_server = 0;
        for (number, verdicts) in said.verdicts.iter().enumerate() {
            let (calls, serves) = match me {
                "first" => (&verdicts.forth, &verdicts.back),
                _ => (&verdicts.back, &verdicts.forth),
            };
            if is_of_certificate(calls, Side::Client) {
                expected.insert(stat_name(&name(number)), 1);
            }
            as_server += u64::from(is_of_certificate(serves, Side::Server));
        }
        let mut clients: BTreeMap<String, u64> = BTreeMap::new();
        let mut server = 0;
        for (counter, count) in &found.refused {
            match counter
                .strip_prefix("cluster.")
                .and_then(|c| c.rsplit_once(".ssl."))
            {
                Some((cluster, _)) => *clients.entry(cluster.to_owned()).or_default() += count,
                None => server += count,
            }
        }
        assert_eq!(clients, expected, "{me}");
        assert_eq!(server, as_server, "{me}");
        total += server + clients.len() as u64;
    }
    assert!(total >= 100, "only {total} refusals");
}
