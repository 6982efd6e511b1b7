//! What a restart takes away, what the budgets make of it, and which pod is next.

use super::*;
use crate::cluster::kind::tests::kind;

fn member(kind_name: &str, name: &str, size: i64, strategy: Value) -> Member {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind_name,
        "metadata": {"name": name, "namespace": "shop", "uid": "w"},
        "spec": {"replicas": size, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name, "tier": "front"}}}},
        "status": {"desiredNumberScheduled": size},
    });
    let field = if kind_name == "Deployment" {
        "strategy"
    } else {
        "updateStrategy"
    };
    object["spec"][field] = strategy;
    let plural = format!("{}s", kind_name.to_lowercase());
    Member {
        kind: kind("apps", "v1", kind_name, &plural, &[], true),
        object: Object::new(object),
    }
}

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

#[test]
fn a_restart_takes_away_what_its_controller_would() {
    for (kind_name, size, strategy, away) in [
        // 25 % and 25 %, the default: rounded down of three is none, so it surges.
        ("Deployment", 3, json!({}), 0),
        ("Deployment", 8, json!({}), 2),
        ("Deployment", 3, rolling(json!(0), json!(1)), 1),
        ("Deployment", 3, rolling(json!(1), json!(0)), 0),
        // Both round to none: the controller then takes one.
        ("Deployment", 3, rolling(json!(0), json!("10%")), 1),
        ("Deployment", 3, rolling(json!(1), json!("100%")), 3),
        ("Deployment", 3, json!({"type": "Recreate"}), 3),
        ("Deployment", 0, json!({"type": "Recreate"}), 0),
        ("StatefulSet", 3, json!({"type": "RollingUpdate"}), 1),
        (
            "StatefulSet",
            4,
            json!({"rollingUpdate": {"maxUnavailable": "50%"}}),
            2,
        ),
        ("StatefulSet", 3, json!({"type": "OnDelete"}), 1),
        ("DaemonSet", 5, json!({}), 1),
        // A DaemonSet's percentage is rounded up.
        (
            "DaemonSet",
            5,
            json!({"rollingUpdate": {"maxUnavailable": "50%"}}),
            3,
        ),
        ("DaemonSet", 5, rolling(json!(1), json!(0)), 0),
    ] {
        let member = member(kind_name, "web", size, strategy.clone());
        assert_eq!(
            member.disruption().pods,
            away,
            "{kind_name} {size} {strategy}"
        );
    }
}

fn budget(name: &str, label: (&str, &str), numbers: [i64; 4]) -> Object {
    let [allowed, healthy, desired, expected] = numbers;
    Object::new(json!({
        "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"selector": {"matchLabels": {label.0: label.1}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
            "desiredHealthy": desired, "expectedPods": expected},
    }))
}

fn epoch() -> Timestamp {
    Timestamp::now()
}

#[test]
fn a_budget_holds_a_wave_back_until_it_allows_what_the_wave_takes_away() {
    let one = rolling(json!(0), json!(1));
    let [a, b] = ["a", "b"].map(|name| member("Deployment", name, 2, one.clone()));
    let both = [a.clone(), b];
    let shared = |allowed| {
        [budget(
            "tier",
            ("tier", "front"),
            [allowed, 2 + allowed, 2, 4],
        )]
    };
    let go = |members: &[Member], budgets: &[Object]| clearance(members, budgets, &[], epoch());
    assert_eq!(go(&both, &[]), Clearance::Go(2));
    assert_eq!(go(&both, &shared(2)), Clearance::Go(2));
    // Together they would take two away: only the first may go.
    assert_eq!(go(&both, &shared(1)), Clearance::Go(1));
    let Clearance::Wait(why) = go(&both, &shared(0)) else {
        panic!("it went");
    };
    assert_eq!(
        why,
        "the restart of `deployment.apps/shop/a` takes away 1 pod (maxUnavailable 1 of 2), and \
         `poddisruptionbudget.policy/shop/tier` allows 0 now (2 of 4 healthy, 2 needed)"
    );
    // Of another app, or of another namespace: nobody's business.
    assert_eq!(
        go(&both, &[budget("x", ("app", "x"), [0, 1, 1, 1])]),
        Clearance::Go(2)
    );
    let mut far = budget("tier", ("tier", "front"), [0, 2, 2, 4]).to_value();
    far["metadata"]["namespace"] = json!("pay");
    assert_eq!(go(&both, &[Object::new(far)]), Clearance::Go(2));
    // What surges takes none away, whatever the budget says.
    let surging = [member("Deployment", "a", 2, rolling(json!(1), json!(0)))];
    assert_eq!(go(&surging, &shared(0)), Clearance::Go(1));
    // A budget whose status is old is not believed.
    let mut stale = shared(2)[0].to_value();
    stale["metadata"]["generation"] = json!(2);
    assert!(matches!(
        go(&both, &[Object::new(stale)]),
        Clearance::Wait(_)
    ));
}

#[test]
fn what_a_budget_can_never_allow_is_not_waited_for() {
    let strict = [budget("b", ("app", "a"), [0, 2, 2, 2])];
    let members = [member("StatefulSet", "a", 2, json!({}))];
    let Clearance::Never(why) = clearance(&members, &strict, &[], epoch()) else {
        panic!("it went or waited");
    };
    assert_eq!(
        why,
        "the restart of `statefulset.apps/shop/a` takes away 1 pod (one after the other), but \
         `poddisruptionbudget.policy/shop/b` allows 0 even when all 2 pods are healthy"
    );
}

#[test]
fn what_was_restarted_since_takes_nothing_more_away() {
    let since: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
    let strict = [budget("b", ("app", "a"), [0, 1, 1, 2])];
    for (at, restarted) in [
        ("2026-01-01T00:00:00.500Z", true),
        ("2026-01-01T00:00:00.499Z", false),
        ("2026-01-01T01:00:01+01:00", true),
        ("nonsense", false),
    ] {
        let mut object = member("StatefulSet", "a", 2, json!({})).object.to_value();
        object["spec"]["template"]["metadata"]["annotations"] = json!({RESTARTED_AT: at});
        let member = Member {
            object: Object::new(object),
            ..member("StatefulSet", "a", 2, json!({}))
        };
        assert_eq!(member.restarted_since(since), restarted, "{at}");
        let went = clearance(&[member], &strict, &[], since) == Clearance::Go(1);
        assert_eq!(went, restarted, "{at}");
    }
}

#[test]
fn a_budget_that_selects_a_label_of_live_pods_only_counts() {
    let pod = |namespace: &str, app: &str, phase: &str| {
        Object::new(json!({
            "kind": "Pod", "metadata": {"name": "p", "namespace": namespace,
                "labels": {"app": app, "security.istio.io/tlsMode": "istio"}},
            "status": {"phase": phase},
        }))
    };
    let meshed = [budget(
        "mesh",
        ("security.istio.io/tlsMode", "istio"),
        [0, 2, 1, 2],
    )];
    let members = [member("StatefulSet", "a", 2, json!({}))];
    let goes = |pods: &[Object]| clearance(&members, &meshed, pods, epoch()) == Clearance::Go(1);
    assert!(!goes(&[pod("shop", "a", "Running")]));
    assert!(goes(&[]));
    assert!(goes(&[pod("shop", "other", "Running")]));
    assert!(goes(&[pod("pay", "a", "Running")]));
    assert!(goes(&[pod("shop", "a", "Failed")]));
}

#[test]
fn what_is_stuck_takes_room_in_each_wave() {
    let all: Vec<Member> = (0..4)
        .map(|n| member("StatefulSet", &format!("s{n}"), 4, json!({})))
        .collect();
    let wave = |workloads: &str, pods: Option<&str>, stuck: usize| {
        let bounds = Bounds {
            workloads: workloads.parse().unwrap(),
            pods: pods.map(|p| p.parse().unwrap()),
        };
        next_wave(&all[stuck..], &all, &all[..stuck], bounds).unwrap()
    };
    assert_eq!(wave("1", None, 0), 1);
    assert_eq!(wave("1", None, 1), 0);
    assert_eq!(wave("2", None, 1), 1);
    assert_eq!(wave("100%", Some("3"), 1), 2);
    assert_eq!(wave("100%", Some("1"), 1), 0);
    assert_eq!(wave("1", None, 2), 0);
}

#[test]
fn a_wave_has_as_many_as_the_bounds_let_in() {
    let all: Vec<Member> = (0..8)
        .map(|n| member("StatefulSet", &format!("s{n}"), 4, json!({})))
        .collect();
    let wave = |workloads: &str, pods: Option<&str>| {
        let bounds = Bounds {
            workloads: workloads.parse().unwrap(),
            pods: pods.map(|p| p.parse().unwrap()),
        };
        next_wave(&all, &all, &[], bounds)
    };
    assert_eq!(wave("1", None).unwrap(), 1);
    assert_eq!(wave("25%", None).unwrap(), 2);
    assert_eq!(wave("1%", None).unwrap(), 1);
    assert_eq!(wave("100", None).unwrap(), 8);
    assert_eq!(wave("100%", Some("3")).unwrap(), 3);
    // A tenth of 32 pods.
    assert_eq!(wave("100%", Some("10%")).unwrap(), 3);
    let large = [member("Deployment", "big", 8, json!({"type": "Recreate"}))];
    let bounds = Bounds {
        workloads: Share::Count(1),
        pods: Some(Share::Count(2)),
    };
    let error = next_wave(&large, &all, &[], bounds)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("makes 8 pods unavailable at the same time"),
        "{error}"
    );
}

fn pod(name: &str, hash: &str, ready: bool) -> Object {
    let status = if ready { "True" } else { "False" };
    Object::new(json!({
        "kind": "Pod", "metadata": {"name": name, "labels": {"controller-revision-hash": hash}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    }))
}

#[test]
fn pods_are_replaced_one_after_the_other_and_only_while_the_others_are_ready() {
    let member = member("StatefulSet", "db", 3, json!({"type": "OnDelete"}));
    let step = |pods: &[Object]| match next(&member, pods.to_vec(), "new") {
        Next::Done => "done".to_owned(),
        Next::Replace(pod) => format!("replace {}", pod.name()),
        Next::Wait(what) => format!("wait for {what}"),
    };
    let old = |n: i64, ready| pod(&format!("db-{n}"), "old", ready);
    let new = |n: i64, ready| pod(&format!("db-{n}"), "new", ready);
    assert_eq!(
        step(&[old(0, true), old(1, true), old(2, true)]),
        "replace db-2"
    );
    assert_eq!(
        step(&[old(0, true), old(1, true), new(2, true)]),
        "replace db-1"
    );
    // An old one that serves nobody goes first.
    assert_eq!(
        step(&[old(0, false), old(1, true), old(2, true)]),
        "replace db-0"
    );
    // A new one that does not come up stops everything.
    assert_eq!(
        step(&[old(0, true), old(1, true), new(2, false)]),
        "wait for pod `db-2` to be ready"
    );
    assert_eq!(
        step(&[old(0, true), old(1, true)]),
        "wait for 1 pod more to be created"
    );
    assert_eq!(step(&[new(0, true), new(1, true), new(2, true)]), "done");
    // One that has ended is none: neither the next one goes nor is it done.
    let mut ended = new(2, false).to_value();
    ended["status"]["phase"] = json!("Failed");
    let ended = Object::new(ended);
    for others in [[old(0, true), old(1, true)], [new(0, true), new(1, true)]] {
        let [a, b] = others;
        assert_eq!(
            step(&[a, b, ended.clone()]),
            "wait for 1 pod more to be created"
        );
    }
    let mut going = old(2, true).to_value();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        step(&[old(0, true), old(1, true), Object::new(going)]),
        "wait for pod `db-2` to be gone"
    );
}
