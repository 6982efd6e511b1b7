//! Scenarios and single parts of the twin.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rootshift::cluster::{DeleteOptions, Limits};
use rootshift::mesh::read::ReadOptions;
use rootshift::mesh::survey::{Survey, SurveyOptions};
use rootshift::twin::{Scenario, Twin, TwinOptions};
use serde_json::json;

use super::{DEADLINE, Lab, SMALL, failed_pairs};

#[tokio::test(flavor = "multi_thread")]
async fn the_default_scenario_starts_soon_with_all_talking_to_all() {
    let begun = Instant::now();
    let lab = Lab::start("default").await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let figures = lab.figures().await;
    assert_eq!((figures.failed, figures.unreachable), (0, 0), "{figures:?}");
    // Six injected workloads and a gateway that only calls; the two DaemonSets have one pod each.
    assert_eq!(figures.pairs.iter().filter(|p| p.alive).count(), 7 * 6 - 2);
    assert!(figures.least.unwrap().made >= 1);
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    let (chain, _) = lab.secrets("istio-system", "istio-ingressgateway").await;
    assert_eq!(
        chain[0].uris(),
        ["spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"]
    );
    assert!(
        figures
            .pairs
            .iter()
            .all(|p| !p.client.starts_with("legacy/") && !p.server.starts_with("legacy/"))
    );
    lab.twin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_istiod_a_namespace_gets_no_pods_and_keeps_those_it_has() {
    let lab = Lab::start(SMALL).await;
    let kind = lab.cluster.kind("deployment").await.unwrap();
    let patch = json!({"spec": {"replicas": 0}});
    lab.cluster
        .patch(&kind, Some("istio-system"), "istiod", patch)
        .await
        .unwrap();
    lab.cluster
        .wait_rollout(&kind, Some("istio-system"), "istiod", DEADLINE)
        .await
        .unwrap();
    let pods = lab.pods("shop", "web").await;
    lab.cluster
        .restart(&kind, Some("shop"), "web")
        .await
        .unwrap();
    let waited = lab
        .cluster
        .wait_rollout(&kind, Some("shop"), "web", Duration::from_secs(3))
        .await;
    let error = waited.unwrap_err().to_string();
    assert!(
        error.contains("failed calling webhook") && error.contains("connection refused"),
        "{error}"
    );
    assert_eq!(lab.pods("shop", "web").await, pods);
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ca_server_the_new_revision_cannot_inject_and_old_pods_serve_on() {
    let lab = Lab::start("no-ca-server").await;
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    lab.move_namespace("pay", "r1").await;
    lab.install("r2", "mesh_ca", "ca-migration-meshca").await;
    lab.label("pay", "r2").await;
    let kind = lab.cluster.kind("deployment").await.unwrap();
    lab.cluster
        .restart(&kind, Some("pay"), "api")
        .await
        .unwrap();
    let waited = lab
        .cluster
        .wait_rollout(&kind, Some("pay"), "api", Duration::from_secs(3))
        .await;
    let error = waited.unwrap_err().to_string();
    assert!(
        error.contains("rev.namespace.sidecar-injector.istio.io") && error.contains("remote error"),
        "{error}"
    );
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn native_sidecars_are_init_containers_whose_admin_port_answers() {
    let lab = Lab::start("native").await;
    let kind = lab.cluster.kind("pod").await.unwrap();
    let name = lab.pods("shop", "web").await.pop().unwrap();
    let pod = lab
        .cluster
        .get(&kind, Some("shop"), &name)
        .await
        .unwrap()
        .unwrap();
    let names = |list: &str| -> Vec<String> {
        pod.items(list)
            .iter()
            .map(|c| c["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/spec/containers"), ["app"]);
    assert_eq!(names("/spec/initContainers"), ["istio-init", "istio-proxy"]);
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    lab.install("r1", "citadel", "ca-migration-citadel").await;
    lab.move_namespace("shop", "r1").await;
    assert_eq!(
        lab.trusts("shop", "web").await,
        ["MESHCA", "O=cluster.local"]
    );
    let name = lab.pods("shop", "web").await.pop().unwrap();
    let pod = lab
        .cluster
        .get(&kind, Some("shop"), &name)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        pod.items("/spec/initContainers").len(),
        2,
        "the package knows what the mesh does"
    );
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_mesh_with_both_roots_is_what_the_false_green_scenario_has() {
    let lab = Lab::start("false-green").await;
    assert_eq!(
        lab.trusts("pay", "api").await,
        ["MESHCA", "O=cluster.local"]
    );
    assert_eq!(lab.trusts("shop", "web").await, ["O=cluster.local"]);
    assert_eq!(failed_pairs(&lab.figures().await), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_ports_misbehave_as_the_scenario_says() {
    let faults = "faults:\n  admin:\n  - {pods: shop/web, mode: refuse}\n  - {pods: shop/cart, mode: hang}\n  - {pods: pay/api, mode: truncate}\n";
    let lab = Lab::start(&format!("{SMALL}{faults}")).await;
    let limits = Limits {
        total: Duration::from_secs(1),
        ..Limits::default()
    };
    for (namespace, workload) in [("shop", "web"), ("shop", "cart"), ("pay", "api")] {
        let pod = lab.pods(namespace, workload).await.pop().unwrap();
        let read = async {
            let mut forward = lab.cluster.forward(namespace, &pod, 15000, &limits).await?;
            forward.get_ok("/config_dump").await
        };
        assert!(read.await.is_err(), "{namespace}/{workload}");
    }
    assert_eq!(
        lab.trusts("pay", "audit").await,
        ["O=cluster.local"],
        "the control"
    );
    assert_eq!(
        failed_pairs(&lab.figures().await),
        BTreeSet::new(),
        "the traffic has no such fault"
    );
}

/// The pod that is there when the reading begins never answers; while it is asked, it is replaced. What counts is the
/// pod that is there in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_replaced_while_it_is_read_is_read_anew() {
    // Names follow from the seed.
    let name = Lab::start(SMALL).await.pods("shop", "web").await.remove(0);
    let faults = format!("faults:\n  admin:\n  - {{pods: shop/{name}, mode: hang}}\n");
    let lab = Lab::start(&format!("{SMALL}{faults}")).await;
    let options = SurveyOptions {
        read: ReadOptions {
            limits: Limits {
                total: Duration::from_secs(5),
                ..Limits::default()
            },
            attempts: 1,
            ..ReadOptions::default()
        },
        ..SurveyOptions::default()
    };
    let web = |survey: &Survey| {
        let of = survey
            .proxies
            .iter()
            .filter(|p| p.pod().workload.name == "web");
        of.map(|p| (p.pod().name.clone(), p.reading.secrets.is_ok()))
            .collect::<BTreeMap<_, _>>()
    };
    let before = Survey::take(&lab.cluster, &[], &options).await.unwrap();
    assert_eq!(
        web(&before).get(&name),
        Some(&false),
        "it hangs: {:?}",
        web(&before)
    );

    let survey = Survey::take(&lab.cluster, &[], &options);
    let replace = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (pods, options) = (
            lab.cluster.kind("pod").await.unwrap(),
            DeleteOptions::default(),
        );
        let delete = lab.cluster.delete(&pods, Some("shop"), &name, &options);
        delete.await.unwrap();
    };
    let (survey, ()) = tokio::join!(survey, replace);
    let after = web(&survey.unwrap());
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(
        !after.contains_key(&name) && after.values().all(|known| *known),
        "{after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_the_new_root_are_served_beside_the_api() {
    let lab = Lab::start(SMALL).await;
    lab.figures().await;
    let traffic = lab.cluster.raw("/twin/traffic").await.unwrap();
    assert!(
        traffic["made"].as_u64().unwrap() > 0 && traffic["failed"] == 0,
        "{traffic}"
    );
    assert!(traffic["pairs"][0]["client"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_may_bring_objects_and_kinds_of_its_own() {
    let lab = Lab::start(
        "
title: a kind of one's own
namespaces:
  shop: {}
objects:
  - apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: rockets.example.com}
    spec:
      group: example.com
      scope: Namespaced
      names: {plural: rockets, singular: rocket, kind: Rocket, listKind: RocketList, shortNames: [rk]}
      versions:
        - name: v1
          served: true
          storage: true
          schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {stages: {type: integer}}}}}}
  - {apiVersion: example.com/v1, kind: Rocket, metadata: {name: one, namespace: shop}, spec: {stages: 3}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: plan, namespace: shop}, data: {a: b}}
",
    )
    .await;
    let kind = lab.cluster.kind("rk").await.unwrap();
    let rocket = lab.cluster.get(&kind, Some("shop"), "one").await.unwrap();
    assert_eq!(rocket.unwrap().at("/spec/stages"), Some(&json!(3)));
    let kind = lab.cluster.kind("cm").await.unwrap();
    assert!(
        lab.cluster
            .get(&kind, Some("shop"), "plan")
            .await
            .unwrap()
            .is_some()
    );
    lab.twin.stop().await;
    // What is of no known kind does not start.
    let objects =
        "title: t\nobjects: [{apiVersion: example.com/v1, kind: Rocket, metadata: {name: one}}]\n";
    let scenario = Scenario::parse("test", objects).unwrap();
    let error = Twin::start(scenario, TwinOptions::default())
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("create Rocket `one`: it is of an unknown kind"),
        "{error}"
    );
}
