//! Waves of restarts while others have a hand in them: somebody puts a restart back, somebody wants to stop;
//! and a rehearsal of one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rootshift::cluster::*;
use rootshift::engine::FailureKind;
use rootshift::twin::server::{Effect, Fault};
use rootshift::twin::{Scenario, Twin, TwinOptions};
use tokio::runtime::Runtime;

use super::*;
use crate::support::Program;
use crate::words::{on_cluster, runtime};

/// No word here waits longer.
const LIMIT: Duration = Duration::from_secs(120);

const WORKLOADS: &str = "
title: workloads of every strategy
namespaces:
  shop:
    workloads:
      - {name: agent, kind: DaemonSet}
      - {name: cache, kind: StatefulSet, replicas: 2, update_strategy: OnDelete}
      - {name: db, kind: StatefulSet, replicas: 2, update_strategy: OnDelete}
      - {name: last, kind: Deployment, replicas: 1}
      - {name: web, kind: Deployment, replicas: 2}
";

/// What is restarted, by name.
const SOME: &str = r#"
    fn some(names) { workload::list("shop").filter(|w| w.name in names) }
"#;

/// A twin with controllers and a few workloads.
struct Shop {
    runtime: Runtime,
    twin: Twin,
    cluster: Cluster,
}

impl Shop {
    fn new() -> Self {
        Self::at(20)
    }

    /// One whose pods take this many times less time than real ones.
    fn at(speed: u32) -> Self {
        let runtime = runtime();
        let scenario = format!("{WORKLOADS}speed: {speed}\n");
        let scenario = Scenario::parse("shop", &scenario).unwrap();
        let twin = runtime
            .block_on(Twin::start(scenario, TwinOptions::default()))
            .unwrap();
        let target = Target {
            kubeconfig: Some(twin.kubeconfig_path().to_owned()),
            ..Target::default()
        };
        let cluster = runtime.block_on(Cluster::connect(&target)).unwrap();
        Self {
            runtime,
            twin,
            cluster,
        }
    }

    /// `rootshift eval` of code, as events.
    fn eval(&self, code: &str) -> Program {
        let kubeconfig = self.twin.kubeconfig_path().to_str().unwrap();
        Program::new(["eval", "--kubeconfig", kubeconfig, "-o", "jsonl", "--yes"])
            .arg("--context")
            .arg(self.twin.context())
            .arg(format!("{SOME}{code}"))
    }

    /// The UIDs of the pods of a workload that are not going, by name.
    fn pods(&self, app: &str) -> BTreeMap<String, String> {
        self.runtime.block_on(async {
            let pods = self.cluster.kind("pods").await.unwrap();
            let of = Selector::labels(format!("app={app}"));
            let pods = self.cluster.list(&pods, Some("shop"), &of).await.unwrap();
            let staying = pods.iter().filter(|p| !p.is_deleting());
            staying
                .map(|p| (p.name().to_owned(), p.uid().to_owned()))
                .collect()
        })
    }
}

fn of_mutations(events: &[Value]) -> impl Iterator<Item = &Value> {
    events.iter().filter(|e| e["event"] == "mutation")
}

/// The pods that were evicted, in their order.
fn evicted(events: &[Value]) -> Vec<String> {
    of_mutations(events)
        .filter(|e| e["phase"] == "sent" && e["kind"] == "pod")
        .map(|e| e["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Somebody's tool: whenever one of these is restarted, it takes the restart back.
async fn put_back(cluster: Cluster, workloads: [(&str, &str); 2]) {
    const AT: &str = "kubectl.kubernetes.io/restartedAt";
    let nothing = json!({"spec": {"template": {"metadata": {"annotations": {AT: null}}}}});
    loop {
        for (kind, name) in workloads {
            let (kind, ns) = (cluster.kind(kind).await.unwrap(), Some("shop"));
            let now = cluster.get_existing(&kind, ns, name).await.unwrap();
            let annotations = now.at("/spec/template/metadata/annotations");
            if annotations.is_some_and(|a| a.get(AT).is_some()) {
                // If it loses a race, the next round has it.
                cluster.patch(&kind, ns, name, nothing.clone()).await.ok();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_restart_that_somebody_puts_back_is_no_success() {
    // The tool is faster than any rollout.
    let shop = Shop::at(5);
    let before = shop.pods("web");
    let tool = shop.runtime.spawn(put_back(
        shop.cluster.clone(),
        [("deploy", "web"), ("sts", "db")],
    ));
    let code = format!(
        r#"{SOME}
        let stopped = ();
        try {{ workload::restart_in_waves(some(["last", "web"]), #{{ order: "name", timeout: 60 }}); }}
        catch (e) {{ stopped = e; }}
        let on = workload::restart_in_waves(some(["db", "last", "web"]), #{{ order: "name", timeout: 60, stop_on_failure: false }});
        #{{ stopped: stopped, on: on }}"#
    );
    let told = on_cluster(&shop.runtime, &shop.cluster, &[], &code, LIMIT);
    tool.abort();
    let told = told.unwrap_or_else(|e| panic!("{}", e.render(false)));
    let (web, db, last) = (
        "deployment.apps/shop/web",
        "statefulset.apps/shop/db",
        "deployment.apps/shop/last",
    );
    let stopped = &told["stopped"];
    assert_eq!(
        stopped["message"],
        format!(
            "the restart stopped at `{web}`: somebody put its restart back: its pods are not new"
        )
    );
    assert_eq!(
        stopped["evidence"],
        json!([format!("restarted: {last}"), format!("failed: {web}")])
    );
    let on = &told["on"];
    assert_eq!(on["restarted"], json!([last]), "{on:#}");
    let failed: Vec<&Value> = on["failed"].as_array().unwrap().iter().collect();
    let whose: Vec<&Value> = failed.iter().map(|f| &f["workload"]).collect();
    assert_eq!(whose, [web, db], "{on:#}");
    for failure in failed {
        let why = "somebody put its restart back: its pods are not new";
        assert_eq!(failure["error"]["message"], why);
    }
    assert_eq!(shop.pods("web"), before, "they are not new");
    shop.runtime.block_on(shop.twin.stop());
}

#[test]
fn a_stop_between_two_evictions_leaves_the_other_pods_and_the_same_call_goes_on() {
    let shop = Shop::new();
    let (db, cache) = (shop.pods("db"), shop.pods("cache"));
    let begun = jiff::Timestamp::now();
    let code = format!(
        r#"workload::restart_in_waves(some(["cache", "db"]), #{{ max_unavailable: 2, since: "{begun}", stop_on_failure: false }})"#
    );
    // After each of the first set's pods: once asked to stop after the call, once to stop now.
    for (signal, pod) in [("INT", "cache-1"), ("TERM", "cache-0")] {
        let mut running = shop.eval(&code).start();
        let seen = loop {
            let event: Value = serde_json::from_str(&running.line()).unwrap();
            let evicted = evicted(&[event]);
            if !evicted.is_empty() {
                break evicted;
            }
        };
        running.signal(signal);
        let ran = running.end().code(130);
        assert_eq!(seen, [pod], "{signal}");
        assert_eq!(evicted(&ran.events()), Vec::<String>::new(), "{signal}");
        let finished = ran.finished();
        assert_eq!(finished["outcome"], "interrupted");
        assert_eq!(
            finished["failure"]["evidence"],
            json!([
                "failed: statefulset.apps/shop/cache",
                "not begun: statefulset.apps/shop/db"
            ]),
            "{signal}: {finished}"
        );
    }
    assert_eq!(shop.pods("db"), db, "not begun");
    let ran = shop.eval(&code).run().code(0);
    assert_eq!(evicted(&ran.events()), ["db-1", "db-0"]);
    let summary = &ran.finished()["summary"];
    assert_eq!(
        (&summary["unchanged"], &summary["restarted"]),
        (
            &json!(["statefulset.apps/shop/cache"]),
            &json!(["statefulset.apps/shop/db"])
        ),
        "{summary}"
    );
    for (app, old) in [("cache", cache), ("db", db)] {
        let now = shop.pods(app);
        assert_eq!(now.len(), old.len());
        assert!(now.iter().all(|(name, uid)| old[name] != *uid), "{app}");
    }
    shop.runtime.block_on(shop.twin.stop());
}

#[test]
fn a_deadline_between_two_evictions_tells_what_is_left() {
    let shop = Shop::new();
    let (db, cache) = (shop.pods("db"), shop.pods("cache"));
    // The new pods of `db` find no node.
    let code = format!(
        r#"{SOME}
        cluster::patch("sts", "shop", "db", #{{ spec: #{{ template: #{{ spec: #{{ nodeSelector: #{{ nowhere: "yes" }} }} }} }} }});
        let both = ["db", "cache"].map(|name| #{{ kind: "sts", namespace: "shop", name: name }});
        workload::restart_in_waves(both, #{{ max_unavailable: 2, stop_on_failure: false }})"#
    );
    let limit = Duration::from_secs(5);
    let begun = Instant::now();
    let error = on_cluster(&shop.runtime, &shop.cluster, &[], &code, limit).unwrap_err();
    assert!(begun.elapsed() < limit + Duration::from_secs(2));
    let failure = &error.failure;
    assert_eq!(failure.kind, FailureKind::Interrupted, "{failure:?}");
    assert_eq!(
        failure.evidence,
        [
            "failed: statefulset.apps/shop/db",
            "not begun: statefulset.apps/shop/cache"
        ]
    );
    let now = shop.pods("db");
    assert_ne!(now["db-1"], db["db-1"], "it was evicted");
    assert_eq!(now["db-0"], db["db-0"], "it stays");
    assert_eq!(shop.pods("cache"), cache, "not begun");
    shop.runtime.block_on(shop.twin.stop());
}

#[test]
fn a_rehearsal_of_waves_stores_nothing_and_waits_for_no_new_pod() {
    let shop = Shop::new();
    let state = || {
        let kinds = ["deploy", "sts", "ds"];
        let all = shop.runtime.block_on(async {
            let mut all = Vec::new();
            for kind in kinds {
                let kind = shop.cluster.kind(kind).await.unwrap();
                let of = Selector::all();
                all.extend(shop.cluster.list(&kind, Some("shop"), &of).await.unwrap());
            }
            all
        });
        let specs: Vec<String> = all
            .iter()
            .map(|o| o.at("/spec").unwrap().to_string())
            .collect();
        let pods = ["agent", "cache", "db", "last", "web"].map(|app| shop.pods(app));
        (specs, pods)
    };
    let before = state();
    let code = r#"workload::restart_in_waves(some(["agent", "db", "web"]), #{ max_unavailable: "100%", timeout: 600 })"#;
    let rehearse = || shop.eval(code).arg("--dry-run").run();
    let ran = rehearse().code(0);
    assert!(ran.elapsed < Duration::from_secs(20), "{:?}", ran.elapsed);
    let sent: Vec<Value> = of_mutations(&ran.events())
        .filter(|e| e["phase"] == "sent")
        .map(|e| e["summary"].clone())
        .collect();
    assert_eq!(
        sent,
        [
            "deployment.apps/web restarted (server dry run)",
            "daemonset.apps/agent restarted (server dry run)",
            "statefulset.apps/db restarted (server dry run)",
            "pod/db-1 evicted (server dry run)",
        ]
    );
    let summary = &ran.finished()["summary"];
    assert_eq!(summary["done"], true, "{summary}");
    assert_eq!(state(), before, "nothing was stored");
    // Each is judged by the server: what it would refuse, it refuses now.
    for (verb, resource, of) in [
        ("patch", "deployments.apps", "deployment.apps/shop/web"),
        ("patch", "daemonsets.apps", "daemonset.apps/shop/agent"),
        ("patch", "statefulsets.apps", "statefulset.apps/shop/db"),
        ("create", "pods/eviction", "statefulset.apps/shop/db"),
    ] {
        shop.twin.api_faults().clear();
        shop.twin.api_faults().add(Fault {
            verb: Some(verb.to_owned()),
            resource: Some(resource.to_owned()),
            namespace: None,
            name: None,
            nth: 1,
            times: 1000,
            effect: Effect::Status {
                code: 403,
                message: "not you".to_owned(),
                retry_after: None,
            },
        });
        let ran = rehearse();
        assert_ne!(ran.code, 0, "{resource}");
        let failure = &ran.finished()["failure"];
        let message = failure["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("stopped at `{of}`")) && message.contains("not you"),
            "{resource}: {failure}"
        );
    }
    // One that failed took no pod away, and leaves room for the next.
    let on = r#"workload::restart_in_waves(some(["cache", "db"]), #{ stop_on_failure: false })"#;
    let ran = shop.eval(on).arg("--dry-run").run();
    let summary = &ran.finished()["summary"];
    assert_eq!(
        summary["failed"].as_array().map(Vec::len),
        Some(2),
        "{summary}"
    );
    assert_eq!(state(), before, "nothing was stored");
    shop.runtime.block_on(shop.twin.stop());
}

/// A script that looks after each wave stops at what it sees: whatever it throws is thrown on, with the account.
#[test]
fn what_a_script_throws_after_a_wave_stops_the_rest() {
    let shop = Shop::new();
    let (db, last, web) = (shop.pods("db"), shop.pods("last"), shop.pods("web"));
    let code = format!(
        r#"{SOME}
        let seen = [];
        let stopped = ();
        let look = |w| {{ seen.push(w); if w.wave == 2 {{ throw #{{ kind: "refused", message: "no further", evidence: ["seen"] }}; }} }};
        try {{
            workload::restart_in_waves(some(["db", "last", "web"]), #{{ order: "name", stop_on_failure: false, after_wave: look }});
        }} catch (e) {{ stopped = e; }}
        let wrong = ();
        try {{ workload::restart_in_waves([], #{{ after_wave: 1 }}); }} catch (e) {{ wrong = e; }}
        #{{ stopped: stopped, seen: seen, wrong: wrong }}"#
    );
    let told = on_cluster(&shop.runtime, &shop.cluster, &[], &code, LIMIT);
    let told = told.unwrap_or_else(|e| panic!("{}", e.render(false)));
    let stopped = &told["stopped"];
    assert_eq!(
        (&stopped["kind"], &stopped["message"]),
        (&json!("refused"), &json!("no further"))
    );
    assert_eq!(
        stopped["evidence"],
        json!([
            "seen",
            "restarted: deployment.apps/shop/last, deployment.apps/shop/web",
            "not begun: statefulset.apps/shop/db"
        ])
    );
    assert_eq!(
        told["seen"],
        json!([
            {"wave": 1, "workloads": ["deployment.apps/shop/last"], "left": 2},
            {"wave": 2, "workloads": ["deployment.apps/shop/web"], "left": 1},
        ])
    );
    assert!(shop.pods("db") == db, "it was not begun");
    assert!(shop.pods("last") != last && shop.pods("web") != web);
    let message = told["wrong"]["message"].as_str().unwrap();
    assert!(
        message.contains("option `after_wave`") && message.contains("is a closure, not i64"),
        "{message}"
    );
}
