//! Each finding, and beside it the workload that has nothing of the kind.

use super::*;
use crate::cluster::Object;
use crate::cluster::kind::tests::kind;
use serde_json::json;

fn around() -> Surroundings {
    Surroundings {
        autoscalers: Ok(Vec::new()),
        budgets: Ok(Vec::new()),
        claims: Ok(Vec::new()),
        nodes: Ok(vec![node("a"), node("b"), node("c"), node("d")]),
        pods: Ok(Vec::new()),
        quotas: Ok(Vec::new()),
    }
}

fn node(name: &str) -> Object {
    Object::new(json!({
        "kind": "Node", "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

/// Three replicas that roll one by one and are well, changed by a merge patch.
fn deployment(change: Value) -> Member {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "generation": 1},
        "spec": {
            "replicas": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "containers": [{"name": "main", "readinessProbe": {"httpGet": {"port": 80}},
                    "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}}],
                "terminationGracePeriodSeconds": 30,
            }},
        },
        "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
    });
    crate::cluster::merge(&mut object, &change);
    Member {
        kind: kind("apps", "v1", "Deployment", "deployments", &[], true),
        object: Object::new(object),
    }
}

fn set(kind_name: &str, change: Value) -> Member {
    let mut object = deployment(json!({})).object.to_value();
    object["kind"] = kind_name.into();
    object["spec"].as_object_mut().unwrap().remove("strategy");
    object["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    object["status"] = json!({
        "observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 3, "currentReplicas": 3,
        "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3,
        "currentRevision": "r", "updateRevision": "r",
    });
    crate::cluster::merge(&mut object, &change);
    let plural = format!("{}s", kind_name.to_lowercase());
    Member {
        kind: kind("apps", "v1", kind_name, &plural, &[], true),
        object: Object::new(object),
    }
}

fn codes(member: &Member, around: &Surroundings) -> Vec<String> {
    findings(member, around)
        .iter()
        .map(|f| format!("{} {}", f.code, f.severity.as_str()))
        .collect()
}

fn of(change: Value) -> Vec<String> {
    codes(&deployment(change), &around())
}

#[test]
fn a_workload_without_any_of_it_has_no_findings() {
    assert_eq!(of(json!({})), [""; 0]);
    assert_eq!(codes(&set("StatefulSet", json!({})), &around()), [""; 0]);
    assert_eq!(codes(&set("DaemonSet", json!({})), &around()), [""; 0]);
}

#[test]
fn a_paused_deployment_and_the_strategy_recreate_are_named() {
    assert_eq!(of(json!({"spec": {"paused": true}})), ["WL001 unsafe"]);
    let recreate = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
    assert_eq!(of(recreate), ["WL002 unsafe"]);
}

fn volume(modes: &[&str], change: &Value, nodes: usize) -> Vec<String> {
    let mut around = around();
    around.nodes.as_mut().unwrap().truncate(nodes);
    around.claims = Ok(vec![Object::new(json!({
        "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "shop"},
        "spec": {"accessModes": modes},
    }))]);
    let mut all = json!({"spec": {"template": {"spec": {"volumes": [
        {"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
    ]}}}});
    crate::cluster::merge(&mut all, change);
    let mut found = codes(&deployment(all), &around);
    // Where the volume can be is not judged, if there is a choice.
    let surges = change["spec"]["strategy"]["rollingUpdate"]["maxSurge"] != 0;
    let place = found.iter().position(|code| code == "WL007 unknown");
    assert_eq!(place.is_some(), nodes > 1 && surges, "{found:?}");
    found.retain(|code| code != "WL007 unknown");
    found
}

#[test]
fn a_surge_beside_a_volume_for_one_is_named() {
    let same = json!({});
    let one_away = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}});
    assert_eq!(volume(&["ReadWriteOncePod"], &same, 4), ["WL003 unsafe"]);
    assert_eq!(volume(&["ReadWriteOncePod"], &one_away, 4), ["WL003 warn"]);
    assert_eq!(volume(&["ReadWriteOnce"], &same, 4), ["WL003 unsafe"]);
    // All on one node, or a volume that many can hold.
    assert_eq!(volume(&["ReadWriteOnce"], &same, 1), [""; 0]);
    assert_eq!(volume(&["ReadWriteMany"], &same, 4), [""; 0]);
    assert_eq!(volume(&["ReadOnlyMany"], &same, 4), [""; 0]);
    // For many only where nobody writes.
    let both = ["ReadWriteOnce", "ReadOnlyMany"];
    assert_eq!(volume(&both, &same, 4), ["WL003 unsafe"]);
    let to_read = json!({"spec": {"template": {"spec": {"volumes": [
        {"persistentVolumeClaim": {"claimName": "data", "readOnly": true}}]}}}});
    assert_eq!(volume(&both, &to_read, 4), [""; 0]);
    let no_surge =
        json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}});
    assert_eq!(volume(&["ReadWriteOncePod"], &no_surge, 4), [""; 0]);
    let other = json!({"spec": {"template": {"spec": {"volumes": [
        {"persistentVolumeClaim": {"claimName": "gone"}}]}}}});
    assert_eq!(volume(&["ReadWriteMany"], &other, 4), ["WL003 unsafe"]);
}

#[test]
fn a_host_port_that_no_node_has_free_is_named() {
    let port = |replicas: i64| {
        let containers =
            json!([{"name": "main", "readinessProbe": {}, "ports": [{"hostPort": 80}]}]);
        json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
            "status": {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}})
    };
    // 25 % of four is one that may be away.
    assert_eq!(of(port(4)), ["WL004 warn"]);
    let mut full = around();
    full.nodes.as_mut().unwrap().truncate(3);
    assert_eq!(codes(&deployment(port(3)), &full), ["WL004 unsafe"]);
    assert_eq!(of(port(3)), [""; 0]);
    // Where a pod of somebody else holds it, it is not free.
    let mut held = around();
    let pod = |app: &str| {
        Object::new(json!({"kind": "Pod",
            "metadata": {"name": "p", "namespace": "shop", "labels": {"app": app}},
            "spec": {"nodeName": "d", "containers": [{"ports": [{"hostPort": 80}]}]}}))
    };
    held.pods = Ok(vec![pod("other")]);
    assert_eq!(codes(&deployment(port(3)), &held), ["WL004 unsafe"]);
    held.pods = Ok(vec![pod("web")]);
    assert_eq!(codes(&deployment(port(3)), &held), [""; 0]);
    held.pods = Err("forbidden".into());
    assert_eq!(
        codes(&deployment(port(3)), &held),
        ["WL004 unknown", "WL007 unknown"]
    );
    let network = json!({"spec": {"replicas": 4, "template": {"spec": {"hostNetwork": true,
        "containers": [{"name": "main", "readinessProbe": {}, "ports": [{"containerPort": 80}]}]}}},
        "status": {"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4}});
    assert_eq!(of(network), ["WL004 warn"]);
}

#[test]
fn a_daemon_set_that_surges_needs_room_on_each_node() {
    let surging = json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}});
    let set = set("DaemonSet", surging);
    assert_eq!(codes(&set, &around()), [""; 0]);
    let mut full = around();
    full.pods = Ok(vec![Object::new(
        json!({"kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "b", "containers": [{"resources": {"requests": {"cpu": "1600m"}}}]}}),
    )]);
    assert_eq!(codes(&set, &full), ["WL007 unsafe"]);
}

#[test]
fn probes_replicas_grace_and_what_may_be_away_are_named() {
    let bare = json!([{"name": "main"}, {"name": "side", "readinessProbe": {}}]);
    let change = json!({"spec": {"template": {"spec": {"containers": bare}}}});
    let found = findings(&deployment(change), &around());
    assert_eq!((found.len(), found[0].code), (1, "WL005"));
    assert!(found[0].detail.contains("`main`:"), "{}", found[0].detail);
    let one = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
        "readyReplicas": 1});
    // A single replica with the default strategy surges first.
    assert_eq!(of(json!({"spec": {"replicas": 1}, "status": one})), [""; 0]);
    let away = json!({"maxUnavailable": 1});
    let single =
        json!({"spec": {"replicas": 1, "strategy": {"rollingUpdate": away}}, "status": one});
    assert_eq!(of(single), ["WL006 unsafe"]);
    let lone = json!({"spec": {"replicas": 1}, "status": one});
    assert_eq!(
        codes(&set("StatefulSet", lone), &around()),
        ["WL006 unsafe"]
    );
    let all = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}});
    assert_eq!(of(all), ["WL011 unsafe"]);
    let cut = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 0}}}});
    assert_eq!(of(cut), ["WL012 unsafe"]);
}

#[test]
fn a_surge_without_room_on_the_nodes_is_named() {
    let large = |change: Value| {
        let containers = json!([{"name": "main", "readinessProbe": {}, "resources": {"requests": {"cpu": "1500m"}}}]);
        let mut all = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        crate::cluster::merge(&mut all, &change);
        deployment(all)
    };
    let mut full = around();
    full.pods = Ok(["a", "b", "c", "d"]
        .map(|node| {
            Object::new(
                json!({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": node,
                "containers": [{"resources": {"requests": {"cpu": "1"}}}]}}),
            )
        })
        .into());
    assert_eq!(codes(&large(json!({})), &around()), [""; 0]);
    assert_eq!(codes(&large(json!({})), &full), ["WL007 unsafe"]);
    let one_away = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}});
    assert_eq!(codes(&large(one_away), &full), ["WL007 warn"]);
    full.nodes = Err("nodes is forbidden".into());
    assert_eq!(codes(&large(json!({})), &full), ["WL007 unknown"]);
}

#[test]
fn a_surge_without_room_in_the_quota_is_named() {
    let quota = |hard: Value, used: Value| {
        let mut around = around();
        around.quotas = Ok(vec![Object::new(json!({
            "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "shop"},
            "spec": {"hard": hard}, "status": {"hard": hard, "used": used},
        }))]);
        codes(&deployment(json!({})), &around)
    };
    let full = ["WL008 unsafe"];
    assert_eq!(quota(json!({"pods": "3"}), json!({"pods": "3"})), full);
    assert_eq!(quota(json!({"pods": "4"}), json!({"pods": "3"})), [""; 0]);
    assert_eq!(
        quota(
            json!({"requests.cpu": "1600m"}),
            json!({"requests.cpu": "1500m"})
        ),
        full
    );
    assert_eq!(quota(json!({"cpu": "2"}), json!({"cpu": "1500m"})), [""; 0]);
    assert_eq!(
        quota(
            json!({"limits.memory": "3Gi"}),
            json!({"limits.memory": "3Gi"})
        ),
        full
    );
    assert_eq!(
        quota(json!({"secrets": "1"}), json!({"secrets": "1"})),
        [""; 0]
    );
    // What a container does not name is refused, unless a LimitRange names it: also without a surge.
    let unnamed = json!({"limits.cpu": "100"});
    assert_eq!(quota(unnamed.clone(), json!({})), ["WL008 unknown"]);
    let mut around = around();
    let set_quota = |hard: &Value, used: Value| {
        Ok(vec![Object::new(json!({
            "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "shop"},
            "status": {"hard": hard, "used": used},
        }))])
    };
    around.quotas = set_quota(&unnamed, json!({}));
    let sts = set("StatefulSet", json!({}));
    assert_eq!(codes(&sts, &around), ["WL008 unknown"]);
    // A quota that was lowered below what is used lets no pod be made anew.
    around.quotas = set_quota(&json!({"pods": "2"}), json!({"pods": "3"}));
    assert_eq!(codes(&sts, &around), full);
    around.quotas = set_quota(&json!({"pods": "3"}), json!({"pods": "3"}));
    assert_eq!(codes(&sts, &around), [""; 0]);
}

#[test]
fn an_autoscaler_at_its_maximum_is_named() {
    let hpa = |least: i64, most: i64, name: &str| {
        let mut around = around();
        around.autoscalers = Ok(vec![Object::new(json!({
            "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "namespace": "shop"},
            "spec": {"minReplicas": least, "maxReplicas": most,
                "scaleTargetRef": {"kind": "Deployment", "name": name}},
        }))]);
        codes(&deployment(json!({})), &around)
    };
    assert_eq!(hpa(1, 3, "web"), ["WL009 warn"]);
    assert_eq!(hpa(5, 5, "web"), ["WL009 warn"]);
    assert_eq!(hpa(1, 4, "web"), [""; 0]);
    assert_eq!(hpa(1, 3, "other"), [""; 0]);
}

#[test]
fn a_budget_that_allows_less_than_the_restart_takes_away_is_named() {
    let budget = |allowed: i64, app: &str, change: Value| {
        let mut around = around();
        around.budgets = Ok(vec![Object::new(json!({
            "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": app}}},
            "status": {"disruptionsAllowed": allowed},
        }))]);
        codes(&deployment(change), &around)
    };
    let one_away = json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}});
    // The default strategy of three takes none away.
    assert_eq!(budget(0, "web", json!({})), ["WL010 warn"]);
    assert_eq!(budget(1, "web", json!({})), [""; 0]);
    assert_eq!(budget(0, "web", one_away.clone()), ["WL010 unsafe"]);
    assert_eq!(budget(1, "web", one_away.clone()), [""; 0]);
    assert_eq!(budget(0, "other", one_away.clone()), [""; 0]);
    // Selected by a label that only live pods have; a status that is old.
    let mut around = around();
    let mut meshed = json!({
        "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"injected": "yes"}}}, "status": {"disruptionsAllowed": 0},
    });
    let pod = |app: &str| {
        Object::new(
            json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "shop",
            "labels": {"app": app, "injected": "yes"}}}),
        )
    };
    let web = deployment(one_away);
    around.budgets = Ok(vec![Object::new(meshed.clone())]);
    around.pods = Ok(vec![pod("web")]);
    assert_eq!(codes(&web, &around), ["WL010 unsafe"]);
    around.pods = Ok(vec![pod("other")]);
    assert_eq!(codes(&web, &around), [""; 0]);
    around.pods = Err("forbidden".into());
    assert_eq!(codes(&web, &around), ["WL007 unknown", "WL010 unknown"]);
    meshed["metadata"]["generation"] = json!(2);
    meshed["status"] = json!({"disruptionsAllowed": 9, "observedGeneration": 1});
    around.budgets = Ok(vec![Object::new(meshed)]);
    around.pods = Ok(vec![pod("web")]);
    assert_eq!(codes(&web, &around), ["WL010 unknown"]);
}

#[test]
fn what_a_restart_leaves_alone_or_finds_unfinished_is_named() {
    let on_delete = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
    assert_eq!(
        codes(&set("DaemonSet", on_delete), &around()),
        ["WL013 warn"]
    );
    let kept = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}});
    assert_eq!(codes(&set("StatefulSet", kept), &around()), ["WL014 warn"]);
    assert_eq!(
        of(json!({"status": {"availableReplicas": 2}})),
        ["WL015 warn"]
    );
}

#[test]
fn what_cannot_be_read_is_unknown_and_not_fine() {
    let mut blind = around();
    let why = || Err("forbidden".to_owned());
    (blind.autoscalers, blind.budgets, blind.quotas) = (why(), why(), why());
    (blind.claims, blind.nodes, blind.pods) = (why(), why(), why());
    assert_eq!(
        codes(&deployment(json!({})), &blind),
        [
            "WL007 unknown",
            "WL008 unknown",
            "WL009 unknown",
            "WL010 unknown"
        ]
    );
}
