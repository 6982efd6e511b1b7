//! `--dry-run`: everything is judged by the server, nothing is stored. And the run's id in each request.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Mutex;

use rootshift::cluster::*;
use rootshift::twin::{Scenario, Twin, TwinOptions};

use super::*;
use crate::support::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_of_every_verb_stores_nothing() {
    let place = Place::new().await;
    place.make(map("a", "0")).await;
    place.make(deployment("shop", "web")).await;
    place.make(pod("shop", "p", &json!({"app": "p"}))).await;
    let cluster = &place.cluster;
    cluster.set_dry_run(true);
    let before = place.changes();
    let shop = Some("shop");
    let maps = cluster.kind("cm").await.unwrap();
    let web = cluster.kind("deploy").await.unwrap();
    let one = BTreeMap::from([("l".to_owned(), Some("1".to_owned()))]);
    let more = json!({"data": {"y": "1"}});
    let operations = json!([{"op": "add", "path": "/data/y", "value": "1"}]);
    let mut read = cluster
        .get_existing(&maps, shop, "a")
        .await
        .unwrap()
        .to_value();
    read["data"]["x"] = json!("1");
    let strategic = PatchForm::Strategic;
    let done = [
        cluster.create(&maps, shop, map("b", "1")).await,
        cluster.apply(map("c", "1")).await,
        cluster.apply(map("a", "1")).await,
        cluster.patch(&maps, shop, "a", more.clone()).await,
        cluster
            .patch_as(&maps, shop, "a", PatchForm::Json, operations)
            .await,
        cluster.patch_as(&maps, shop, "a", strategic, more).await,
        cluster.label(&maps, shop, "a", &one).await,
        cluster.annotate(&maps, shop, "a", &one).await,
        cluster.replace(read).await,
        cluster.scale(&web, shop, "web", 3, None).await,
        cluster.restart(&web, shop, "web").await,
        cluster.evict("shop", "p", &EvictOptions::default()).await,
        cluster
            .delete(&maps, shop, "a", &DeleteOptions::default())
            .await,
        cluster.label(&maps, shop, "a", &BTreeMap::new()).await,
    ]
    .map(|written| {
        let written = written.unwrap();
        let changed = written.outcome != Outcome::Unchanged;
        assert_eq!(changed, !written.diff.is_empty(), "{}", written.summary);
        written.summary
    });
    assert_eq!(
        done,
        [
            "configmap/b created (server dry run)",
            "configmap/c created (server dry run)",
            "configmap/a configured (server dry run)",
            "configmap/a patched (server dry run)",
            "configmap/a patched (server dry run)",
            "configmap/a patched (server dry run)",
            "configmap/a labeled (server dry run)",
            "configmap/a annotated (server dry run)",
            "configmap/a replaced (server dry run)",
            "deployment.apps/web scaled (server dry run)",
            "deployment.apps/web restarted (server dry run)",
            "pod/p evicted (server dry run)",
            "configmap \"a\" deleted from shop namespace (server dry run)",
            "configmap/a not labeled (server dry run)",
        ]
    );
    assert_eq!(place.changes(), before, "nothing was stored");
    // What the server refuses, it refuses in a rehearsal too.
    let error = cluster
        .patch(&web, shop, "web", json!({"spec": {"replicas": -1}}))
        .await
        .unwrap_err();
    assert!(matches!(error, ClusterError::Invalid { .. }), "{error}");
    // A rollout that does not come is not waited for.
    let limit = std::time::Duration::from_secs(60);
    let begun = std::time::Instant::now();
    let rollout = cluster
        .wait_rollout(&web, shop, "web", limit)
        .await
        .unwrap();
    assert!(rollout.note.is_some_and(|n| n.contains("dry run")));
    assert!(begun.elapsed() < limit / 2);
    cluster.set_dry_run(false);
    cluster.label(&maps, shop, "a", &one).await.unwrap();
    assert_eq!(place.changes(), before + 1, "and then it is");
}

#[test]
fn a_rehearsal_needs_no_yes_and_starts_no_program() {
    let runtime = crate::words::runtime();
    let twin = runtime
        .block_on(Twin::start(
            Scenario::find("default").unwrap(),
            TwinOptions::default(),
        ))
        .unwrap();
    let code = r#"
        assert(cluster::is_dry_run(), "it is one");
        let done = cluster::label("ns", "legacy", #{ tier: "back" });
        assert(cluster::get("ns", "legacy").metadata.labels["tier"] == (), "not stored");
        let refused = ();
        try { shell::run(["touch", "made"]); } catch (e) { refused = e; }
        assert(refused.kind == "refused", refused);
        print(refused.message);
        done.summary
    "#;
    let kubeconfig = twin.kubeconfig_path().to_str().unwrap();
    let args = [
        "eval",
        code,
        "--dry-run",
        "-o",
        "jsonl",
        "--kubeconfig",
        kubeconfig,
    ];
    let ran = Program::new(args)
        .arg("--context")
        .arg(twin.context())
        .run()
        .code(0);
    let events = ran.events();
    assert_eq!(events[0]["mode"], "dry_run", "{}", events[0]);
    assert!(
        ran.stdout
            .contains("`touch made` is not started: another program cannot be rehearsed"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.finished()["summary"],
        "namespace/legacy labeled (server dry run)"
    );
    assert!(!ran.dir().join("made").exists());
    // In text, the sum says it too.
    let label = r#"cluster::label("ns", "legacy", #{ tier: "back" }).outcome"#;
    Program::new(["eval", label, "--dry-run", "--kubeconfig", kubeconfig])
        .run()
        .code(0)
        .stderr_has("mode     server dry run: nothing will be changed")
        .stdout_has("mutations     1 changed, 0 unchanged, 0 refused, 0 failed (server dry run)");
    runtime.block_on(twin.stop());
}

#[test]
fn the_runs_id_is_in_the_user_agent_of_each_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agents = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&agents);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                if let Some(agent) = line.to_lowercase().strip_prefix("user-agent: ") {
                    told.lock().unwrap().push(agent.to_owned());
                }
                if line.is_empty() {
                    let body = r#"{"gitVersion": "v1.34.4", "platform": "linux/amd64"}"#;
                    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
                    write!(
                        stream,
                        "{answer}content-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                    .unwrap();
                }
            }
        }
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let ran = Program::new(["eval", "1", "-o", "jsonl", "--kubeconfig", "config"])
        .file("config", kubeconfig.to_string())
        .run()
        .code(0);
    let run = ran.events()[0]["run"].as_str().unwrap().to_owned();
    let agents = agents.lock().unwrap();
    assert!(!agents.is_empty());
    let wanted = format!("rootshift/{} (run {run})", env!("CARGO_PKG_VERSION"));
    for agent in agents.iter() {
        assert_eq!(*agent, wanted.to_lowercase());
    }
}
