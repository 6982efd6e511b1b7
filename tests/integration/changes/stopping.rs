//! Whoever wants to stop is heard: within a quarter of a second, also between two attempts.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rootshift::cluster::*;
use rootshift::engine::{Bridge, Cancel, Failure, FailureKind, kit};
use rootshift::twin::server::{Effect, Fault};

use super::*;

/// How long anybody may take to stop.
const SOON: Duration = Duration::from_millis(250);
/// When somebody wants it to.
const THEN: Duration = Duration::from_millis(150);

fn fault(effect: Effect) -> Fault {
    Fault {
        verb: None,
        resource: Some("configmaps".to_owned()),
        namespace: None,
        name: None,
        nth: 1,
        times: 1000,
        effect,
    }
}

const CALLS: &[&str] = &[
    "get", "list", "create", "patch", "json", "apply", "label", "delete",
];

async fn call(cluster: &Cluster, what: &str) -> Result<(), ClusterError> {
    let maps = cluster.kind("cm").await?;
    let shop = Some("shop");
    let patch = json!({"data": {"x": "1"}});
    match what {
        "get" => cluster.get(&maps, shop, "a").await.map(|_| ()),
        "list" => {
            let all = Selector::all();
            cluster.list(&maps, shop, &all).await.map(|_| ())
        }
        "create" => cluster.create(&maps, shop, map("b", "1")).await.map(|_| ()),
        "patch" => cluster.patch(&maps, shop, "a", patch).await.map(|_| ()),
        "json" => {
            let operations = json!([{"op": "replace", "path": "/data/x", "value": "1"}]);
            let form = PatchForm::Json;
            let done = cluster.patch_as(&maps, shop, "a", form, operations).await;
            done.map(|_| ())
        }
        "apply" => cluster.apply(map("a", "1")).await.map(|_| ()),
        "label" => {
            let one = [("l".to_owned(), Some("1".to_owned()))].into();
            cluster.label(&maps, shop, "a", &one).await.map(|_| ())
        }
        _ => {
            let options = DeleteOptions::default();
            cluster.delete(&maps, shop, "a", &options).await.map(|_| ())
        }
    }
}

/// Makes a call on a thread of its own, as a script does; gives what it failed with, and how long
/// after `THEN`.
fn stopped(bridge: &Bridge, cluster: &Cluster, what: &str) -> (Failure, Duration) {
    let begun = Instant::now();
    let error = std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let result = bridge.wait(call(cluster, what));
            kit::failure_of(&result.unwrap_err())
        });
        done.join().unwrap()
    });
    (error, begun.elapsed().saturating_sub(THEN))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_call_that_is_not_answered_is_given_up_at_once() {
    let runtime = runtime();
    let place = runtime.block_on(Place::new());
    runtime.block_on(place.make(map("a", "0")));
    let hours = Effect::Delay {
        milliseconds: 3_600_000,
    };
    place.faults.add(fault(hours));
    for what in CALLS {
        let cancel = Cancel::new();
        let bridge = Bridge::new(runtime.handle().clone(), cancel.clone());
        let stopping = std::thread::spawn(move || {
            std::thread::sleep(THEN);
            cancel.cancel();
        });
        let (error, late) = stopped(&bridge, &place.cluster, what);
        stopping.join().unwrap();
        assert_eq!(error.kind, FailureKind::Interrupted, "{what}: {error:?}");
        assert!(late < SOON, "{what}: {late:?} after the stop");

        let cancel = Cancel::new();
        cancel.expire_in(THEN);
        let bridge = Bridge::new(runtime.handle().clone(), cancel);
        let (error, late) = stopped(&bridge, &place.cluster, what);
        assert_eq!(error.kind, FailureKind::Interrupted, "{what}: {error:?}");
        assert!(late < SOON, "{what}: {late:?} after the deadline");
    }
}

/// As a session does it.
struct Asked(Bridge);

impl Stop for Asked {
    fn stopped(&self) -> BoxFuture<'static, ()> {
        self.0.asked().map(|_| ()).boxed()
    }
}

#[test]
fn a_pause_between_two_attempts_ends_when_somebody_asks_to_stop() {
    let runtime = runtime();
    let place = runtime.block_on(Place::new());
    runtime.block_on(place.make(map("a", "0")));
    for code in [429, 503] {
        let busy = Effect::Status {
            code,
            message: "busy".to_owned(),
            retry_after: Some(30),
        };
        // Reading back would be paused too, and is what a change begins with.
        for (what, verb) in [("get", "get"), ("create", "create"), ("patch", "patch")] {
            let cancel = Cancel::new();
            let bridge = Bridge::new(runtime.handle().clone(), cancel.clone());
            place.cluster.set_stop(Arc::new(Asked(bridge.clone())));
            place.faults.clear();
            place.faults.add(Fault {
                verb: Some(verb.to_owned()),
                ..fault(busy.clone())
            });
            let stopping = std::thread::spawn(move || {
                std::thread::sleep(THEN);
                cancel.ask();
            });
            let (error, late) = stopped(&bridge, &place.cluster, what);
            stopping.join().unwrap();
            assert_eq!(error.kind, FailureKind::Interrupted, "{what}: {error:?}");
            assert!(late < SOON, "{what}: {late:?} after the stop");
        }
    }
    // What was refused as busy was not done, and the error says so.
    place.faults.clear();
    assert!(place.kube.get("configmaps", "shop", "b").is_none());
}
