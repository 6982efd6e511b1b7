use super::super::disruption::allow_eviction;
use super::super::objects::{annotation, condition_reason};
use super::*;

/// What the subresource `eviction` does.
fn evict(kube: &Kube, own: &str) -> Result<(), crate::twin::kube::Status> {
    allow_eviction(kube, &kube.get("pods", "shop", own).unwrap(), false)?;
    kube.delete("pods", "shop", own, Propagation::Background)
}

fn bare(own: &str) -> Value {
    let mut pod = template("bare", "app:1");
    pod["metadata"]["name"] = own.into();
    pod
}

fn ready(kube: &Kube, own: &str) -> bool {
    kube.get("pods", "shop", own)
        .is_some_and(|p| in_ready_set(&p))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reads_as_a_running_one() {
    let world = World::new(500.0).await;
    world.create("pods", bare("one")).await;
    world.until("it is ready", |k| ready(k, "one")).await;
    let pod = world.get("pods", "one");
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["spec"]["nodeName"], "twin-node-1");
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        assert!(condition_is_true(&pod, kind), "{kind}");
    }
    let container = &pod["status"]["containerStatuses"][0];
    assert!(container["state"]["running"]["startedAt"].is_string());
    assert_eq!(
        (
            &container["ready"],
            &container["started"],
            &container["restartCount"]
        ),
        (&json!(true), &json!(true), &json!(0))
    );
    let said: Vec<String> = world
        .kube
        .list("events", Some("shop"))
        .iter()
        .filter(|e| text(e, "/involvedObject/name") == "one")
        .map(|e| text(e, "/reason").to_owned())
        .collect();
    for reason in ["Scheduled", "Pulled", "Created", "Started"] {
        assert!(said.iter().any(|s| s == reason), "{reason} in {said:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_another_image_is_restarted() {
    let world = World::new(500.0).await;
    world.create("pods", bare("one")).await;
    world.until("it is ready", |k| ready(k, "one")).await;
    world.edit("pods", "one", |p| {
        p["spec"]["containers"][0]["image"] = "app:2".into();
    });
    world
        .until("it is ready again", |k| {
            let pod = k.get("pods", "shop", "one").unwrap();
            let container = &pod["status"]["containerStatuses"][0];
            ready(k, "one") && container["image"] == "app:2" && container["restartCount"] == 1
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_the_mesh_refuses_is_asked_for_again() {
    let world = World::new(500.0).await;
    *world.mesh.refuses.lock().unwrap() = true;
    world.create("pods", bare("one")).await;
    world
        .until("it runs, unready", |k| {
            k.list("events", Some("shop"))
                .iter()
                .any(|e| e["reason"] == "Unhealthy" && int(e, "/count") > 1)
        })
        .await;
    let pod = world.get("pods", "one");
    assert_eq!(
        (pod["status"]["phase"].as_str(), ready(&world.kube, "one")),
        (Some("Running"), false)
    );
    assert_eq!(condition_reason(&pod, "Ready"), "ContainersNotReady");
    *world.mesh.refuses.lock().unwrap() = false;
    world.until("it is ready", |k| ready(k, "one")).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_sidecar_without_its_certificate_holds_the_application_back() {
    let world = World::new(500.0).await;
    *world.mesh.refuses.lock().unwrap() = true;
    let mut pod = bare("one");
    pod["spec"]["initContainers"] = json!([
        {"name": "istio-init", "image": "proxy:1"},
        {"name": "istio-proxy", "image": "proxy:1", "restartPolicy": "Always", "startupProbe": {"httpGet": {}}},
    ]);
    world.create("pods", pod).await;
    world
        .until("the sidecar runs", |k| {
            k.list("events", Some("shop"))
                .iter()
                .any(|e| e["reason"] == "Unhealthy")
        })
        .await;
    let pod = world.get("pods", "one");
    assert_eq!(pod["status"]["phase"], "Pending");
    let inits = &pod["status"]["initContainerStatuses"];
    assert_eq!(
        (
            &inits[0]["state"]["terminated"]["reason"],
            &inits[1]["started"]
        ),
        (&json!("Completed"), &json!(false))
    );
    assert!(inits[1]["state"]["running"].is_object());
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    *world.mesh.refuses.lock().unwrap() = false;
    world.until("it is ready", |k| ready(k, "one")).await;
    let inits = world.get("pods", "one")["status"]["initContainerStatuses"].clone();
    assert_eq!(
        (&inits[1]["ready"], &inits[1]["started"]),
        (&json!(true), &json!(true))
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_leaves_its_endpoints_before_it_stops() {
    let world = World::new(50.0).await;
    world.create("services", service("web")).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 2, &json!(1), &json!(0)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    let serving = |k: &Kube| -> Vec<String> {
        k.list("endpointslices.discovery.k8s.io", Some("shop"))
            .iter()
            .flat_map(|s| array(s, "/endpoints").to_vec())
            .filter(|e| e["conditions"]["ready"] == true)
            .map(|e| text(&e, "/targetRef/name").to_owned())
            .collect()
    };
    world.until("two serve", |k| serving(k).len() == 2).await;
    let addresses = |k: &Kube| {
        k.get("endpoints", "shop", "web")
            .map_or(0, |e| array(&e, "/subsets/0/addresses").len())
    };
    world
        .until("two have addresses", |k| addresses(k) == 2)
        .await;
    let gone = name(&world.pods()[0]).to_owned();
    world.delete("pods", &gone, Propagation::Background);
    world
        .until("it is out", |k| !serving(k).contains(&gone))
        .await;
    let pod = world.get("pods", &gone);
    assert!(
        deleting(&pod) && pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
    );
    world
        .until("another is in", |k| {
            serving(k).len() == 2 && k.list("pods", None).len() == 2
        })
        .await;
    world.delete("services", "web", Propagation::Background);
    world
        .until("nothing is left of the Service", |k| {
            k.list("endpoints", Some("shop")).is_empty()
                && k.list("endpointslices.discovery.k8s.io", Some("shop"))
                    .is_empty()
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_by_force_is_told_to_have_stopped() {
    let world = World::new(500.0).await;
    world.create("pods", bare("one")).await;
    world.until("it is ready", |k| ready(k, "one")).await;
    let pod = world.get("pods", "one");
    let sweeps = || world.mesh.sweeps.load(Ordering::SeqCst);
    while sweeps() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.kube.remove("pods", "shop", "one").unwrap();
    let mesh = Arc::clone(&world.mesh);
    tokio::time::timeout(Duration::from_secs(5), async {
        while mesh.stories()[uid(&pod)].last() != Some(&"stopped") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(sweeps(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_by_annotation() {
    let world = World::new(200.0).await;
    let waiting = |k: &Kube, own: &str| {
        let pod = k.get("pods", "shop", own).unwrap();
        text(&pod, "/status/containerStatuses/0/state/waiting/reason").to_owned()
    };
    for (own, fault) in [
        ("crash", "crash"),
        ("image", "image"),
        ("unready", "not-ready"),
    ] {
        let mut pod = bare(own);
        pod["metadata"]["annotations"] = json!({"twin.rootshift.dev/fault": fault});
        world.create("pods", pod).await;
    }
    world
        .until("the image is missed", |k| {
            waiting(k, "image") == "ImagePullBackOff"
        })
        .await;
    world
        .until("it crashes", |k| {
            let pod = k.get("pods", "shop", "crash").unwrap();
            waiting(k, "crash") == "CrashLoopBackOff"
                && int(&pod, "/status/containerStatuses/0/restartCount") >= 2
        })
        .await;
    assert!(!ready(&world.kube, "unready"));
    world
        .kube
        .update("pods", "shop", "unready", |p| {
            p["metadata"]["annotations"] = json!({});
        })
        .unwrap();
    world.until("it is ready", |k| ready(k, "unready")).await;
    world
        .kube
        .update("pods", "shop", "unready", |p| {
            p["metadata"]["annotations"] = json!({"twin.rootshift.dev/fault": "not-ready"});
        })
        .unwrap();
    world.until("it is not", |k| !ready(k, "unready")).await;
    assert_eq!(
        annotation(&world.get("pods", "unready"), "twin.rootshift.dev/fault"),
        Some("not-ready")
    );
    for own in ["crash", "image", "unready"] {
        world.delete("pods", own, Propagation::Background);
    }
    world
        .until("all are gone", |k| k.list("pods", None).is_empty())
        .await;
    world.controllers.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_honour_the_budget_and_rollouts_do_not() {
    let world = World::new(200.0).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 2, &json!(0), &json!(1)),
        )
        .await;
    world.until("web is up", |k| rolled_out(k, "web")).await;
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}});
    world.create("poddisruptionbudgets.policy", budget).await;
    let status = |k: &Kube, key: &str| {
        let budget = k.get("poddisruptionbudgets.policy", "shop", "web").unwrap();
        budget["status"][key].as_i64()
    };
    world
        .until("the budget is counted", |k| {
            status(k, "currentHealthy") == Some(2)
        })
        .await;
    assert_eq!(status(&world.kube, "disruptionsAllowed"), Some(0));
    let pod = name(&world.pods()[0]).to_owned();
    let refused = evict(&world.kube, &pod).unwrap_err();
    assert_eq!(refused.code, 429);
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let cause = refused.details.unwrap()["causes"][0]["message"].clone();
    assert_eq!(
        cause,
        "The disruption budget web needs 2 healthy pods and has 2 currently"
    );
    world.edit("deployments.apps", "web", |d| set_image(d, "app:2"));
    world.until("web is rolled", |k| rolled_out(k, "web")).await;
    world.edit("poddisruptionbudgets.policy", "web", |b| {
        b["spec"]["minAvailable"] = 1.into();
    });
    world
        .until("one may go", |k| status(k, "disruptionsAllowed") == Some(1))
        .await;
    let mut pods = world.pods();
    pods.retain(|p| in_ready_set(p));
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = pods
            .iter()
            .map(|p| scope.spawn(|| evict(&world.kube, name(p)).map_or_else(|s| s.code, |()| 201)))
            .collect();
        racers.into_iter().map(|r| r.join().unwrap()).collect()
    });
    assert!(
        answers == [201, 429] || answers == [429, 201],
        "{answers:?}"
    );
    world
        .until("it has been replaced", |k| {
            status(k, "disruptionsAllowed") == Some(1) && rolled_out(k, "web")
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_keeps_the_least_size() {
    let world = World::new(500.0).await;
    world
        .create(
            "deployments.apps",
            deployment("web", 1, &json!(1), &json!(0)),
        )
        .await;
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "metadata": {"name": "web"},
        "spec": {"minReplicas": 2, "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    });
    world
        .create("horizontalpodautoscalers.autoscaling", hpa)
        .await;
    world
        .until("there are two", |k| {
            rolled_out(k, "web")
                && int(
                    &k.get("deployments.apps", "shop", "web").unwrap(),
                    "/spec/replicas",
                ) == 2
        })
        .await;
    world
        .until("it says what it sees", |k| {
            int(
                &k.get("horizontalpodautoscalers.autoscaling", "shop", "web")
                    .unwrap(),
                "/status/currentReplicas",
            ) == 2
        })
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_mesh_surfaces() {
    let world = World::new(500.0).await;
    *world.mesh.panics.lock().unwrap() = true;
    world.create("pods", bare("one")).await;
    let said = tokio::time::timeout(Duration::from_secs(10), world.controllers.failed())
        .await
        .unwrap();
    assert_eq!(
        said,
        "kubelet of pod `shop/one` panicked: the mesh is broken"
    );
    assert_eq!(world.controllers.failure(), Some(said.clone()));
    assert_eq!(world.controllers.stop().await, Err(said));
}
