//! Each kind of fault × each verb: the right state, or a clean error that says what is known.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::future::join_all;
use rootshift::cluster::*;
use rootshift::twin::server::{Effect, Fault};
use serde_json::json;

use super::*;
use crate::support::say;

/// What is asked: its name, the API's verb and resource for it, and how many requests of these make it
/// (a change whose result only the server knows is asked for as a dry run first).
const VERBS: &[(&str, &str, &str, u64)] = &[
    ("get", "get", "configmaps", 1),
    ("list", "list", "configmaps", 1),
    ("create", "create", "configmaps", 1),
    // Once more, because it takes over what we wrote otherwise.
    ("apply", "patch", "configmaps", 3),
    ("patch-merge", "patch", "configmaps", 1),
    ("patch-json", "patch", "deployments.apps", 2),
    ("patch-strategic", "patch", "deployments.apps", 2),
    ("label", "patch", "configmaps", 1),
    ("annotate", "patch", "configmaps", 1),
    ("scale", "patch", "deployments.apps/scale", 1),
    ("replace", "update", "configmaps", 2),
    ("delete", "delete", "configmaps", 1),
    ("evict", "create", "pods/eviction", 1),
];

fn effects() -> Vec<(&'static str, Effect)> {
    let status = |code| Effect::Status {
        code,
        message: "by the plan".to_owned(),
        retry_after: (code == 429).then_some(0),
    };
    vec![
        ("reset before", Effect::DropBefore),
        ("lost answer", Effect::DropAfter),
        ("garbled", Effect::Garbled),
        ("slow", Effect::Delay { milliseconds: 80 }),
        ("409", status(409)),
        ("429", status(429)),
        ("500", status(500)),
        ("503", status(503)),
        ("504", status(504)),
    ]
}

/// Makes the object that a verb is about, as it is before.
async fn before(place: &Place, verb: &str, name: &str) {
    match verb {
        "create" => {}
        "patch-json" | "patch-strategic" | "scale" => place.make(deployment("shop", name)).await,
        "evict" => place.make(pod("shop", name, &json!({"app": name}))).await,
        _ => place.make(map(name, "0")).await,
    }
}

async fn ask(cluster: &Cluster, verb: &str, name: &str) -> Result<Option<Written>, ClusterError> {
    let shop = Some("shop");
    let maps = cluster.kind("cm").await.unwrap();
    let deployments = cluster.kind("deployments.apps").await.unwrap();
    let one = BTreeMap::from([("l".to_owned(), Some("1".to_owned()))]);
    let written = match verb {
        "get" => {
            assert!(cluster.get(&maps, shop, name).await?.is_some());
            return Ok(None);
        }
        "list" => {
            let found = cluster.list(&maps, shop, &Selector::all()).await?;
            assert!(found.iter().any(|o| o.name() == name));
            return Ok(None);
        }
        "create" => cluster.create(&maps, shop, map(name, "1")).await,
        "apply" => cluster.apply(map(name, "1")).await,
        "patch-merge" => {
            let patch = json!({"data": {"x": "1"}});
            cluster.patch(&maps, shop, name, patch).await
        }
        "patch-json" => {
            // Twice it would be there twice.
            let args = "/spec/template/spec/containers/0/args/-";
            let patch = json!([{"op": "add", "path": args, "value": "b"}]);
            cluster
                .patch_as(&deployments, shop, name, PatchForm::Json, patch)
                .await
        }
        "patch-strategic" => {
            let more = json!([{"name": "second", "image": "none"}]);
            let patch = json!({"spec": {"template": {"spec": {"containers": more}}}});
            cluster
                .patch_as(&deployments, shop, name, PatchForm::Strategic, patch)
                .await
        }
        "label" => cluster.label(&maps, shop, name, &one).await,
        "annotate" => cluster.annotate(&maps, shop, name, &one).await,
        "scale" => cluster.scale(&deployments, shop, name, 5, None).await,
        "replace" => {
            let read = cluster.get_existing(&maps, shop, name).await?;
            let mut object = read.to_value();
            object["data"]["x"] = json!("1");
            cluster.replace(object).await
        }
        "delete" => {
            let options = DeleteOptions {
                wait: None,
                ..DeleteOptions::default()
            };
            cluster.delete(&maps, shop, name, &options).await
        }
        "evict" => {
            let options = EvictOptions {
                wait: None,
                ..EvictOptions::default()
            };
            cluster.evict("shop", name, &options).await
        }
        other => panic!("{other}"),
    };
    written.map(Some)
}

/// Whether the object is as the verb should leave it.
fn as_wanted(place: &Place, verb: &str, name: &str) -> bool {
    let of = |resource: &str| place.kube.get(resource, "shop", name);
    match verb {
        "get" | "list" => true,
        "delete" => of("configmaps").is_none(),
        "evict" => of("pods").is_none_or(|p| p["metadata"]["deletionTimestamp"].is_string()),
        "label" => of("configmaps").is_some_and(|o| o["metadata"]["labels"]["l"] == "1"),
        "annotate" => of("configmaps").is_some_and(|o| o["metadata"]["annotations"]["l"] == "1"),
        "scale" => of("deployments.apps").is_some_and(|o| o["spec"]["replicas"] == 5),
        "patch-json" => of("deployments.apps").is_some_and(|o| {
            o["spec"]["template"]["spec"]["containers"][0]["args"] == json!(["a", "b"])
        }),
        "patch-strategic" => of("deployments.apps").is_some_and(|o| {
            let containers = &o["spec"]["template"]["spec"]["containers"];
            containers.as_array().is_some_and(|c| c.len() == 2)
        }),
        _ => of("configmaps").is_some_and(|o| o["data"]["x"] == "1"),
    }
}

/// One cell: a fault that meets requests `nth` and the `times - 1` after it.
async fn cell(
    place: &Place,
    (verb, api_verb, resource, _): (&str, &str, &str, u64),
    effect: &Effect,
    (nth, times): (u64, u64),
) -> Result<String, String> {
    let name = format!("{verb}-{nth}");
    before(place, verb, &name).await;
    place.faults.add(Fault {
        verb: Some(api_verb.to_owned()),
        resource: Some(resource.to_owned()),
        namespace: None,
        name: None,
        nth,
        times,
        effect: effect.clone(),
    });
    let start = place.changes();
    let result = ask(&place.cluster, verb, &name).await;
    place.faults.clear();
    let made = place.changes() - start;
    let wanted = as_wanted(place, verb, &name);
    let reads = ["get", "list"].contains(&verb);
    match result {
        Ok(written) => {
            let outcome = written.map(|w| w.outcome);
            let changed = outcome.is_none_or(|o| o != Outcome::Unchanged);
            if !wanted || !changed || made != u64::from(!reads) {
                return Err(format!(
                    "ok, but {made} changes, as wanted: {wanted}, {outcome:?}"
                ));
            }
            Ok("done".to_owned())
        }
        Err(error) => {
            let unknown = matches!(
                error,
                ClusterError::OutcomeUnknown { .. } | ClusterError::Interrupted { .. }
            );
            // An error that does not say that it may have been done means that it was not.
            if made > 1 || (made == 1 && !unknown) || error.to_string().is_empty() {
                return Err(format!("{made} changes, and said: {error}"));
            }
            Ok(if unknown { "unknown" } else { "not done" }.to_owned())
        }
    }
}

/// All cells; `times`: how many requests in a row a fault meets.
async fn table(times: u64) -> BTreeMap<(&'static str, &'static str), String> {
    let rows = effects().into_iter().map(|(fault, effect)| async move {
        let place = Place::new().await;
        let mut row = Vec::new();
        for &of in VERBS {
            for nth in 1..=of.3 {
                // A dry run that fails is the error of the change, and one that is a conflict begins anew.
                let said = cell(&place, of, &effect, (nth, times))
                    .await
                    .unwrap_or_else(|e| format!("WRONG: {e}"));
                row.push(((fault, of.0), nth, said));
            }
        }
        row
    });
    let mut cells: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (key, _, said) in join_all(rows).await.into_iter().flatten() {
        let cell = cells.entry(key).or_default();
        if *cell != said {
            if !cell.is_empty() {
                cell.push_str(", ");
            }
            cell.push_str(&said);
        }
    }
    show(&cells);
    let wrong: Vec<String> = cells
        .iter()
        .filter(|(_, said)| said.contains("WRONG"))
        .map(|(key, said)| format!("{key:?}: {said}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    cells
}

fn show(cells: &BTreeMap<(&str, &str), String>) {
    let mut text = format!("{:16}", "");
    for (fault, _) in effects() {
        let _ = write!(text, " {fault:12}");
    }
    for (verb, ..) in VERBS {
        let _ = write!(text, "\n{verb:16}");
        for (fault, _) in effects() {
            let _ = write!(text, " {:12}", cells[&(fault, *verb)]);
        }
    }
    say(&text);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_is_got_over_and_no_change_is_made_twice() {
    for ((fault, verb), said) in table(1).await {
        // A conflict that is none of a version: the object exists, or the request was senseless.
        let refused = fault == "409" && ["get", "list", "create", "replace"].contains(&verb);
        let wanted = if refused { "not done" } else { "done" };
        assert_eq!(said, wanted, "{verb}, {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_stays_ends_with_what_is_known() {
    for ((fault, verb), said) in table(1000).await {
        let reads = ["get", "list"].contains(&verb);
        let foreseen = VERBS.iter().any(|v| v.0 == verb && v.3 > 1);
        // Where a dry run comes first and it is what fails, nothing was done.
        let last = |said: &'static str| match (reads, foreseen) {
            (true, _) => "not done".to_owned(),
            (false, false) => said.to_owned(),
            (false, true) => format!("not done, {said}"),
        };
        let wanted = match fault {
            "slow" => "done".to_owned(),
            // Carried out at the first attempt, and read back.
            "lost answer" | "garbled" => last("done"),
            // The last attempt may still be carried out.
            "reset before" => last("unknown"),
            _ => "not done".to_owned(),
        };
        assert_eq!(said, wanted, "{verb}, {fault}");
    }
}
