use super::*;

fn stateful(own: &str, replicas: i64, strategy: &Value, policy: &str) -> Value {
    json!({
        "metadata": {"name": own},
        "spec": {
            "replicas": replicas, "serviceName": own, "selector": {"matchLabels": {"app": own}},
            "template": template(own, "app:1"), "updateStrategy": strategy, "podManagementPolicy": policy,
            "revisionHistoryLimit": 10,
        },
    })
}

fn rolling(partition: i64) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}})
}

fn all_ready(kube: &Kube, own: &str) -> bool {
    let set = kube.get("statefulsets.apps", "shop", own).unwrap();
    let wanted = int(&set, "/spec/replicas");
    int(&set, "/status/observedGeneration") == int(&set, "/metadata/generation")
        && int(&set, "/status/readyReplicas") == wanted
        && int(&set, "/status/replicas") == wanted
}

fn image(pod: &Value) -> &str {
    text(pod, "/spec/containers/0/image")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_starts_in_order_and_updates_backwards_one_at_a_time() {
    let world = World::new(200.0).await;
    world
        .create(
            "statefulsets.apps",
            stateful("db", 3, &rolling(0), "OrderedReady"),
        )
        .await;
    world.until("db is up", |k| all_ready(k, "db")).await;
    world.replay(0, |pods| {
        for (ordinal, before) in [("db-1", "db-0"), ("db-2", "db-1")] {
            if pods.contains_key(ordinal) {
                assert!(
                    pods.get(before).is_some_and(|p| in_ready_set(p)),
                    "{before} serves before {ordinal} comes"
                );
            }
        }
    });
    let pod = world.get("pods", "db-1");
    assert_eq!(label(&pod, "apps.kubernetes.io/pod-index"), "1");
    assert_eq!(label(&pod, "statefulset.kubernetes.io/pod-name"), "db-1");
    let begun = world.version();
    world.edit("statefulsets.apps", "db", |s| set_image(s, "app:2"));
    world
        .until("db is rolled", |k| {
            let s = k.get("statefulsets.apps", "shop", "db").unwrap();
            all_ready(k, "db")
                && s["status"]["currentRevision"] == s["status"]["updateRevision"]
                && int(&s, "/status/updatedReplicas") == 3
        })
        .await;
    world.replay(begun, |pods| {
        let (_, serving) = counts(pods);
        assert!(serving >= 2, "{serving}");
        let updated = |own: &str| pods.get(own).is_some_and(|p| image(p) == "app:2");
        assert!(!updated("db-0") || updated("db-1"));
        assert!(!updated("db-1") || updated("db-2"));
    });
    assert_eq!(world.kube.list("controllerrevisions.apps", None).len(), 2);
    let status = world.get("statefulsets.apps", "db")["status"].clone();
    assert_eq!(
        (
            int(&status, "/currentReplicas"),
            int(&status, "/updatedReplicas")
        ),
        (3, 3)
    );
    world.edit("statefulsets.apps", "db", |s| {
        s["spec"]["replicas"] = 1.into();
    });
    world
        .until("one is left", |k| k.list("pods", None).len() == 1)
        .await;
    assert_eq!(name(&world.pods()[0]), "db-0");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_holds_back_the_lower_ordinals() {
    let world = World::new(500.0).await;
    world
        .create(
            "statefulsets.apps",
            stateful("part", 3, &rolling(2), "Parallel"),
        )
        .await;
    world.until("part is up", |k| all_ready(k, "part")).await;
    world.edit("statefulsets.apps", "part", |s| set_image(s, "app:2"));
    world
        .until("one is updated", |k| {
            let s = k.get("statefulsets.apps", "shop", "part").unwrap();
            all_ready(k, "part") && int(&s, "/status/updatedReplicas") == 1
        })
        .await;
    let images: Vec<String> = world.pods().iter().map(|p| image(p).to_owned()).collect();
    assert_eq!(images, ["app:1", "app:1", "app:2"]);
    let old = uid(&world.get("pods", "part-0")).to_owned();
    world.delete("pods", "part-0", Propagation::Background);
    let again = |k: &Kube| {
        k.get("pods", "shop", "part-0")
            .is_some_and(|p| uid(&p) != old && in_ready_set(&p))
    };
    world.until("part-0 is back", again).await;
    assert_eq!(
        image(&world.get("pods", "part-0")),
        "app:1",
        "held back, so of the old revision"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_delete_updates_only_what_is_deleted() {
    let world = World::new(500.0).await;
    world
        .create(
            "statefulsets.apps",
            stateful("db", 2, &json!({"type": "OnDelete"}), "OrderedReady"),
        )
        .await;
    world.until("db is up", |k| all_ready(k, "db")).await;
    world.edit("statefulsets.apps", "db", |s| set_image(s, "app:2"));
    world
        .until("the revision is new", |k| {
            let s = k.get("statefulsets.apps", "shop", "db").unwrap();
            all_ready(k, "db") && s["status"]["currentRevision"] != s["status"]["updateRevision"]
        })
        .await;
    assert_eq!(
        world.get("statefulsets.apps", "db")["status"].get("updatedReplicas"),
        None
    );
    world.delete("pods", "db-1", Propagation::Background);
    world
        .until("db-1 is new", |k| {
            all_ready(k, "db")
                && k.get("pods", "shop", "db-1")
                    .is_some_and(|p| image(&p) == "app:2")
        })
        .await;
    assert_eq!(image(&world.get("pods", "db-0")), "app:1");
    world
        .until("it is counted", |k| {
            let s = k.get("statefulsets.apps", "shop", "db").unwrap();
            (
                int(&s, "/status/updatedReplicas"),
                int(&s, "/status/currentReplicas"),
            ) == (1, 1)
        })
        .await;
    world.end().await;
}

fn daemons(own: &str, rolling: &Value) -> Value {
    json!({
        "metadata": {"name": own},
        "spec": {
            "selector": {"matchLabels": {"app": own}}, "template": template(own, "app:1"), "revisionHistoryLimit": 10,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        },
    })
}

fn daemons_done(kube: &Kube, own: &str, wanted: i64) -> bool {
    let d = kube.get("daemonsets.apps", "shop", own).unwrap();
    let count = |key: &str| int(&d["status"], &format!("/{key}"));
    count("observedGeneration") == int(&d, "/metadata/generation")
        && count("desiredNumberScheduled") == wanted
        && count("currentNumberScheduled") == wanted
        && count("updatedNumberScheduled") == wanted
        && count("numberAvailable") == wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_replaces_its_pod_and_leaves_a_node_that_it_rejects() {
    let world = World::new(500.0).await;
    world
        .create(
            "daemonsets.apps",
            daemons("ds", &json!({"maxUnavailable": 1, "maxSurge": 0})),
        )
        .await;
    world.until("ds is up", |k| daemons_done(k, "ds", 1)).await;
    world.edit("daemonsets.apps", "ds", |d| set_image(d, "app:2"));
    world
        .until("ds is rolled", |k| {
            daemons_done(k, "ds", 1) && k.list("pods", None).iter().all(|p| image(p) == "app:2")
        })
        .await;
    world.replay(0, |pods| {
        assert!(pods.len() <= 1, "without a surge the old one goes first");
    });
    world.edit("daemonsets.apps", "ds", |d| {
        d["spec"]["template"]["spec"]["nodeSelector"] = json!({"no.such/node": "x"});
    });
    world
        .until("ds is empty", |k| {
            daemons_done(k, "ds", 0) && k.list("pods", None).is_empty()
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_with_a_surge_always_serves() {
    let world = World::new(200.0).await;
    world
        .create(
            "daemonsets.apps",
            daemons("ds", &json!({"maxUnavailable": 0, "maxSurge": 1})),
        )
        .await;
    world.until("ds is up", |k| daemons_done(k, "ds", 1)).await;
    let begun = world.version();
    world.edit("daemonsets.apps", "ds", |d| set_image(d, "app:2"));
    world
        .until("ds is rolled", |k| {
            daemons_done(k, "ds", 1) && k.list("pods", None).iter().all(|p| image(p) == "app:2")
        })
        .await;
    world.replay(begun, |pods| assert!(counts(pods).1 >= 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_to_completion() {
    let world = World::new(500.0).await;
    let mut job = json!({
        "metadata": {"name": "once"},
        "spec": {
            "completions": 2, "parallelism": 1, "backoffLimit": 6,
            "template": template("once", "busybox:1"),
        },
    });
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    world.create("jobs.batch", job).await;
    world
        .until("once is complete", |k| {
            condition_is_true(&k.get("jobs.batch", "shop", "once").unwrap(), "Complete")
        })
        .await;
    let status = world.get("jobs.batch", "once")["status"].clone();
    assert_eq!(
        (
            int(&status, "/succeeded"),
            status.get("active"),
            int(&status, "/ready")
        ),
        (2, None, 0)
    );
    assert!(
        world
            .pods()
            .iter()
            .all(|p| p["status"]["phase"] == "Succeeded")
    );
    world.delete("jobs.batch", "once", Propagation::Background);
    world
        .until("its pods are gone", |k| k.list("pods", None).is_empty())
        .await;
    world.end().await;
}
