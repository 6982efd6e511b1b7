use serde_json::json;

use super::*;
use crate::mesh::pods::Workload;

const IN: &str = "listener.0.0.0.0_15006.ssl.";
const OUT: &str = "cluster.outbound|8080||api.pay.svc.cluster.local.ssl.";

fn answer(stats: &[(&str, &str, u64)]) -> Value {
    let stats: Vec<Value> = stats
        .iter()
        .map(|(scope, name, value)| json!({"name": format!("{scope}{name}"), "value": value}))
        .collect();
    json!({ "stats": stats })
}

/// Both sides are counted, with these on top.
fn full(more: &[(&str, &str, u64)]) -> Value {
    let mut all = vec![
        (IN, "fail_verify_error", 0),
        (IN, "fail_verify_san", 0),
        (OUT, "fail_verify_error", 0),
        (OUT, "fail_verify_san", 0),
    ];
    all.extend_from_slice(more);
    answer(&all)
}

fn pod(uid: &str, restarts: u64) -> ProxyPod {
    ProxyPod {
        namespace: "shop".into(),
        name: "web-1".into(),
        uid: uid.into(),
        restarts,
        started: None,
        addresses: Vec::new(),
        kind: ProxyKind::Sidecar,
        workload: Workload {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
        },
        service_account: "web".into(),
        revision: None,
        admin_port: 15000,
        labels: BTreeMap::new(),
        ready: true,
        file_mounted: false,
        cluster: None,
    }
}

fn reading(stats: &[(ProxyPod, Reading<Value>)]) -> TlsReading {
    let stats = stats.iter().map(|(pod, answer)| ProxyStats {
        pod: pod.clone(),
        counters: answer.clone().and_then(|a| counters(pod.kind, &a)),
    });
    TlsReading(stats.collect())
}

/// What is new in `now` for who began to watch at `before`.
fn news(before: &TlsReading, now: &TlsReading) -> News {
    Watch::begin(before.clone()).news(now)
}

fn one(uid: &str, restarts: u64, stats: &[(&str, &str, u64)]) -> TlsReading {
    reading(&[(pod(uid, restarts), Ok(full(stats)))])
}

#[test]
fn a_certificate_that_was_shown_and_refused_counts_and_nothing_else_does() {
    let found = counters(
        ProxyKind::Sidecar,
        &full(&[
            (IN, "fail_verify_error", 2),
            (OUT, "fail_verify_san", 1),
            (IN, "connection_error", 7),
            (IN, "fail_verify_no_cert", 3),
            (IN, "handshake", 9),
            ("cluster.xds-grpc.ssl.", "fail_verify_error", 5),
        ]),
    )
    .unwrap();
    let names = |of: &BTreeMap<String, u64>| of.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let (refused, unclear): (Vec<String>, Vec<String>) =
        (names(&found.refused), names(&found.unclear));
    assert_eq!(
        refused,
        [
            format!("{OUT}fail_verify_san=1"),
            format!("{IN}fail_verify_error=2")
        ]
    );
    assert_eq!(
        unclear,
        [
            format!("{IN}connection_error=7"),
            format!("{IN}fail_verify_no_cert=3")
        ]
    );
}

#[test]
fn a_proxy_that_keeps_no_counters_or_half_of_them_is_silent_and_not_without_failures() {
    let silent = |kind, stats: &[(&str, &str, u64)]| counters(kind, &answer(stats)).unwrap_err();
    let both = [(OUT, "fail_verify_error", 0), (OUT, "fail_verify_san", 0)];
    assert!(silent(ProxyKind::Sidecar, &[]).contains("of servers and clients"));
    assert!(silent(ProxyKind::Sidecar, &both).contains("of clients that"));
    assert!(silent(ProxyKind::NativeSidecar, &both[..1]).contains("of servers and clients"));
    assert!(silent(ProxyKind::Gateway, &both[..1]).contains("of servers that"));
    assert!(silent(ProxyKind::Gateway, &[]).contains("of servers that"));
    counters(ProxyKind::Gateway, &answer(&both)).unwrap();
    counters(ProxyKind::Sidecar, &json!({})).unwrap_err();
    let text = json!({"stats": [{"name": format!("{IN}fail_verify_error"), "value": "many"}]});
    counters(ProxyKind::Sidecar, &text).unwrap_err();
}

#[test]
fn what_the_world_shows_to_a_gateway_is_unclear() {
    let of = |kind| {
        let external = "listener.0.0.0.0_8443.ssl.";
        counters(kind, &full(&[(external, "fail_verify_error", 4)])).unwrap()
    };
    assert!(of(ProxyKind::Gateway).refused.is_empty());
    assert_eq!(of(ProxyKind::Gateway).unclear.len(), 1);
    assert_eq!(of(ProxyKind::Sidecar).refused.len(), 1);
}

#[test]
fn only_what_grew_is_new() {
    let before = one("u", 0, &[(IN, "fail_verify_error", 5)]);
    assert!(news(&before, &before).refused.is_empty());
    let found = news(&before, &one("u", 0, &[(IN, "fail_verify_error", 7)]));
    assert_eq!((found.refused[0].count, found.refused[0].earlier), (2, 5));
    assert_eq!(Watch::default().news(&before).refused[0].count, 5);
}

#[test]
fn another_pod_another_start_and_a_counter_that_began_anew_count_from_nothing() {
    let before = one("u", 0, &[(IN, "fail_verify_error", 5)]);
    for (uid, restarts, value) in [("v", 0, 5), ("u", 1, 5), ("u", 0, 4)] {
        let now = one(uid, restarts, &[(IN, "fail_verify_error", value)]);
        let found = news(&before, &now);
        assert_eq!(
            (found.refused[0].count, found.refused[0].earlier),
            (value, 0),
            "{uid} {restarts}"
        );
    }
}

#[test]
fn who_told_and_tells_no_more_is_lost_and_who_never_told_is_silent() {
    let mute = |uid| reading(&[(pod(uid, 0), Err("unreadable".to_owned()))]);
    let found = news(&one("u", 0, &[]), &mute("u"));
    assert_eq!(
        (found.silent.len(), found.lost.len(), found.watched),
        (1, 1, 0)
    );
    let found = news(&mute("u"), &mute("u"));
    assert_eq!((found.silent.len(), found.lost.len()), (1, 0));
    // What was counted before anybody could look is not taken for old.
    let found = news(&mute("u"), &one("u", 0, &[(IN, "fail_verify_error", 3)]));
    assert_eq!(found.refused[0].count, 3);
}

#[test]
fn what_a_new_classic_sidecar_refused_as_the_client_until_it_was_ready_is_its_start_and_no_more_than_that()
 {
    let early = [(OUT, "fail_verify_error", 4), (IN, "fail_verify_error", 1)];
    let begun = || Watch::begin(one("old", 0, &[]));
    let admitted = |pod: ProxyPod| {
        let now = reading(&[(pod, Ok(full(&early)))]);
        let mut watch = begun();
        watch.admit(&now);
        let found = watch.news(&now).refused.into_iter();
        found.map(|r| r.count).collect::<Vec<_>>()
    };
    assert_eq!(admitted(pod("new", 0)), [1], "as the server all counts");
    let mut starting = pod("new", 0);
    starting.ready = false;
    assert_eq!(admitted(starting), [4, 1], "not ready: not admitted");
    let mut native = pod("new", 0);
    native.kind = ProxyKind::NativeSidecar;
    assert_eq!(admitted(native), [4, 1], "its application starts after it");
    assert_eq!(
        admitted(pod("old", 0)),
        [4, 1],
        "who was there has no start"
    );

    // What it goes on to refuse is new, and so it is after the next workload's pods are admitted.
    let mut watch = begun();
    watch.admit(&one("new", 0, &[(OUT, "fail_verify_error", 4)]));
    let later = one("new", 0, &[(OUT, "fail_verify_error", 6)]);
    watch.admit(&later);
    let found = watch.news(&later);
    assert_eq!((found.refused[0].count, found.refused[0].earlier), (2, 4));
}

#[test]
fn a_line_says_who_refused_whom_and_why() {
    let now = one(
        "u",
        0,
        &[(IN, "fail_verify_san", 1), (OUT, "fail_verify_error", 2)],
    );
    let lines: Vec<String> = Watch::default()
        .news(&now)
        .refused
        .iter()
        .map(Refusal::line)
        .collect();
    assert_eq!(
        lines,
        [
            format!(
                "web-1.shop refused the certificate of the server api.pay.svc.cluster.local:8080: it hangs from no root that is trusted here, or is out of date (2 more; {OUT}fail_verify_error)"
            ),
            format!(
                "web-1.shop refused the certificate of a client: it bears no name that is accepted here (1 more; {IN}fail_verify_san)"
            ),
        ]
    );
}
