use super::super::pods::is_finished;
use super::*;
use crate::twin::kube::{AdmissionAnswer, ServiceRef, WebhookBackend};

/// Rolls a Deployment over to another image and checks the limits at each moment.
async fn roll_within_limits(
    speed: f64,
    replicas: i64,
    surge: Value,
    unavailable: Value,
    limits: (usize, usize),
) {
    let world = World::new(speed).await;
    world.create("services", service("web")).await;
    world
        .create(
            "deployments.apps",
            deployment("web", replicas, &surge, &unavailable),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    let begun = world.version();
    world.edit("deployments.apps", "web", |d| set_image(d, "app:2"));
    world
        .until("web is rolled", |k| {
            rolled_out(k, "web") && k.list("pods", None).len() == usize::try_from(replicas).unwrap()
        })
        .await;
    let (most, least) = limits;
    let mut moments = 0;
    world.replay(begun, |pods| {
        let (active, serving) = counts(pods);
        assert!(active <= most, "{active} pods where {most} are allowed");
        assert!(serving >= least, "{serving} pods serve where {least} must");
        moments += 1;
    });
    assert!(moments > 5);
    assert!(
        world
            .pods()
            .iter()
            .all(|p| p["spec"]["containers"][0]["image"] == "app:2")
    );
    // Each pod that came, and each that went. The last one was shown as Ready just now.
    let expected = 3 * usize::try_from(replicas).unwrap();
    let all_swept = async {
        while world.mesh.sweeps.load(Ordering::SeqCst) < expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let swept = tokio::time::timeout(Duration::from_secs(10), all_swept).await;
    assert!(swept.is_ok(), "fewer than {expected} sweeps");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_keeps_its_limits_at_every_moment() {
    roll_within_limits(100.0, 5, json!("25%"), json!("25%"), (7, 4)).await;
    roll_within_limits(100.0, 3, json!(0), json!(1), (3, 2)).await;
    roll_within_limits(100.0, 4, json!(2), json!(0), (6, 4)).await;
    roll_within_limits(100.0, 1, json!("25%"), json!("25%"), (2, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_at_a_thousand_times_the_speed() {
    for _ in 0..5 {
        roll_within_limits(1000.0, 4, json!(1), json!(1), (5, 3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreation_never_mixes_old_and_new() {
    let world = World::new(200.0).await;
    let mut d = deployment("web", 3, &json!(1), &json!(0));
    d["spec"]["strategy"] = json!({"type": "Recreate"});
    world.create("deployments.apps", d).await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    world.edit("deployments.apps", "web", |d| set_image(d, "app:2"));
    world
        .until("web is rolled", |k| {
            rolled_out(k, "web")
                && k.list("pods", None)
                    .iter()
                    .all(|p| p["spec"]["containers"][0]["image"] == "app:2")
        })
        .await;
    world.replay(0, |pods| {
        let images: std::collections::BTreeSet<String> = pods
            .values()
            .filter(|p| !is_finished(p))
            .map(|p| p["spec"]["containers"][0]["image"].to_string())
            .collect();
        assert!(images.len() <= 1, "{images:?}");
    });
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_count_up_and_an_undo_renumbers() {
    let world = World::new(500.0).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 1, &json!(1), &json!(0)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    for image in ["app:2", "app:1"] {
        world.edit("deployments.apps", "web", |d| set_image(d, image));
        world.until("web is rolled", |k| rolled_out(k, "web")).await;
    }
    let note = |o: &Value, key: &str| {
        o["metadata"]["annotations"][format!("deployment.kubernetes.io/{key}")].clone()
    };
    world
        .until("the revision is written", |k| {
            note(
                &k.get("deployments.apps", "shop", "web").unwrap(),
                "revision",
            ) == "3"
        })
        .await;
    let mut sets: Vec<(Value, Value)> = world
        .kube
        .list("replicasets.apps", Some("shop"))
        .iter()
        .map(|rs| (note(rs, "revision"), note(rs, "revision-history")))
        .collect();
    sets.sort_by_key(|(revision, _)| revision.to_string());
    assert_eq!(sets, [(json!("2"), Value::Null), (json!("3"), json!("1"))]);
    let reason = super::super::objects::condition_reason(
        &world.get("deployments.apps", "web"),
        "Progressing",
    )
    .to_owned();
    assert_eq!(reason, "NewReplicaSetAvailable");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_replica_sets_beyond_the_limit_go() {
    let world = World::new(1000.0).await;
    let mut d = deployment("web", 1, &json!(1), &json!(0));
    d["spec"]["revisionHistoryLimit"] = 1.into();
    world.create("deployments.apps", d).await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    for image in ["app:2", "app:3", "app:4"] {
        world.edit("deployments.apps", "web", |d| set_image(d, image));
        world.until("web is rolled", |k| rolled_out(k, "web")).await;
    }
    world
        .until("two are left", |k| {
            k.list("replicasets.apps", None).len() == 2
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_in_the_middle_of_a_rollout_ends_well() {
    let world = World::new(100.0).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 4, &json!(2), &json!(1)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    world.edit("deployments.apps", "web", |d| set_image(d, "app:2"));
    world
        .until("two sets are active", |k| {
            k.list("replicasets.apps", None)
                .iter()
                .filter(|rs| int(rs, "/status/replicas") > 0)
                .count()
                == 2
        })
        .await;
    world.edit("deployments.apps", "web", |d| {
        d["spec"]["replicas"] = 7.into();
    });
    world.until("web is rolled", |k| rolled_out(k, "web")).await;
    world.edit("deployments.apps", "web", |d| {
        d["spec"]["replicas"] = 0.into();
    });
    world
        .until("all are gone", |k| k.list("pods", None).is_empty())
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_is_scaled_but_not_rolled() {
    let world = World::new(500.0).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 1, &json!(1), &json!(0)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    world.edit("deployments.apps", "web", |d| {
        d["spec"]["paused"] = true.into();
        d["spec"]["replicas"] = 2.into();
        set_image(d, "app:2");
    });
    world
        .until("web is scaled", |k| {
            int(
                &k.get("deployments.apps", "shop", "web").unwrap(),
                "/status/availableReplicas",
            ) == 2
        })
        .await;
    assert_eq!(world.kube.list("replicasets.apps", None).len(), 1);
    world.edit("deployments.apps", "web", |d| {
        d["spec"].as_object_mut().unwrap().remove("paused");
    });
    world.until("web is rolled", |k| rolled_out(k, "web")).await;
    assert_eq!(world.kube.list("replicasets.apps", None).len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_cannot_be_scheduled_exceeds_its_deadline() {
    let world = World::new(10.0).await;
    let mut d = deployment("web", 1, &json!(1), &json!(0));
    d["spec"]["progressDeadlineSeconds"] = 3.into();
    d["spec"]["template"]["spec"]["nodeSelector"] = json!({"no.such/node": "x"});
    world.create("deployments.apps", d).await;
    world
        .until("the deadline has passed", |k| {
            let d = k.get("deployments.apps", "shop", "web").unwrap();
            super::super::objects::condition_reason(&d, "Progressing") == "ProgressDeadlineExceeded"
        })
        .await;
    let pod = &world.pods()[0];
    assert_eq!(
        pod["status"]["phase"].as_str().unwrap_or("Pending"),
        "Pending"
    );
    let reason = super::super::objects::condition_reason(pod, "PodScheduled").to_owned();
    assert_eq!(reason, "Unschedulable");
    world.edit("deployments.apps", "web", |d| {
        d["spec"]["template"]["spec"]
            .as_object_mut()
            .unwrap()
            .remove("nodeSelector");
    });
    world.until("web is up", |k| rolled_out(k, "web")).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_count_as_available_after_their_minimum_of_readiness() {
    let world = World::new(100.0).await;
    let mut d = deployment("web", 1, &json!(1), &json!(0));
    d["spec"]["minReadySeconds"] = 50.into();
    world.create("deployments.apps", d).await;
    let ready = |k: &Kube, key: &str| {
        int(
            &k.get("deployments.apps", "shop", "web").unwrap()["status"],
            key,
        ) == 1
    };
    world
        .until("it is ready", |k| ready(k, "/readyReplicas"))
        .await;
    let begun = std::time::Instant::now();
    assert!(!ready(&world.kube, "/availableReplicas"));
    world
        .until("it is available", |k| ready(k, "/availableReplicas"))
        .await;
    assert!(
        begun.elapsed() > Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_names() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let world = World::seeded(500.0, seed).await;
        world
            .create(
                "deployments.apps",
                deployment("web", 3, &json!(1), &json!(0)),
            )
            .await;
        world.until("web is up", |k| rolled_out(k, "web")).await;
        runs.push(
            world
                .pods()
                .iter()
                .map(|p| name(p).to_owned())
                .collect::<Vec<_>>(),
        );
        world.end().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

/// A webhook that cannot be reached while the switch is on.
struct Flaky(Arc<Mutex<bool>>);

impl WebhookBackend for Flaky {
    fn call<'a>(
        &'a self,
        _service: &'a ServiceRef,
        _review: &'a Value,
    ) -> BoxFuture<'a, Result<AdmissionAnswer, String>> {
        Box::pin(async {
            if *self.0.lock().unwrap() {
                return Err("connection refused".to_owned());
            }
            Ok(AdmissionAnswer {
                allowed: true,
                patch: None,
                message: String::new(),
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_stops_a_rollout_until_it_is_back() {
    let world = World::new(500.0).await;
    let broken = Arc::new(Mutex::new(false));
    world
        .kube
        .set_webhooks(Arc::new(Flaky(Arc::clone(&broken))));
    world.create("services", service("injector")).await;
    let webhook = json!({
        "metadata": {"name": "injector"},
        "webhooks": [{
            "name": "inject.example.io", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "injector", "namespace": "shop", "path": "/inject", "port": 443}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    });
    let resource = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
    world.kube.create(resource, "", webhook).await.unwrap();
    let web = deployment("web", 2, &json!(1), &json!(0));
    world.create("deployments.apps", web).await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    *broken.lock().unwrap() = true;
    let begun = world.version();
    world.edit("deployments.apps", "web", |d| set_image(d, "app:2"));
    let failure = |k: &Kube| {
        let d = k.get("deployments.apps", "shop", "web").unwrap();
        let failure = super::super::objects::condition(&d, "ReplicaFailure").cloned();
        failure.map(|c| {
            (
                text(&c, "/reason").to_owned(),
                text(&c, "/message").to_owned(),
            )
        })
    };
    world.until("it says so", |k| failure(k).is_some()).await;
    let (reason, message) = failure(&world.kube).unwrap();
    assert_eq!(reason, "FailedCreate");
    assert!(
        message.contains("failed calling webhook \"inject.example.io\""),
        "{message}"
    );
    let said = |k: &Kube| {
        k.list("events", Some("shop")).iter().any(|e| {
            e["reason"] == "FailedCreate"
                && text(e, "/message") == format!("Error creating: {message}")
        })
    };
    world.until("an event says so", said).await;
    world.replay(begun, |pods| {
        assert_eq!(counts(pods), (2, 2), "the old ones serve on");
    });
    *broken.lock().unwrap() = false;
    world
        .until("web is rolled", |k| {
            rolled_out(k, "web") && failure(k).is_none()
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_deployments_roll_at_once() {
    let world = World::new(1000.0).await;
    let names: Vec<String> = (0..40).map(|n| format!("web-{n}")).collect();
    for own in &names {
        let d = deployment(own, 3, &json!(1), &json!(0));
        world.create("deployments.apps", d).await;
    }
    let all = |k: &Kube| names.iter().all(|own| rolled_out(k, own));
    world.until("all are up", all).await;
    for own in &names {
        world.edit("deployments.apps", own, |d| set_image(d, "app:2"));
    }
    world.until("all are rolled", all).await;
    world.end().await;
}
