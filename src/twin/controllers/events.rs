//! Events: what controllers say about objects, as `kubectl describe` and `kubectl events` show it.
//!
//! An event that repeats is counted, not written again, as client-go's correlator does. Old ones are
//! forgotten, here by number (a real cluster forgets them after an hour).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::context::Ctx;
use super::naming::mix;
use super::objects::{name, namespace, uid};

/// How many events are kept.
const KEPT: usize = 4000;

/// An event of type `Normal` or `Warning`.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// `Normal` or `Warning`.
    pub kind: &'static str,
    /// `ScalingReplicaSet` and the like.
    pub reason: &'static str,
    /// The sentence.
    pub message: &'a str,
    /// Who says it: `deployment-controller`.
    pub from: &'static str,
}

impl<'a> Event<'a> {
    pub fn normal(from: &'static str, reason: &'static str, message: &'a str) -> Event<'a> {
        Event {
            kind: "Normal",
            reason,
            message,
            from,
        }
    }

    pub fn warning(from: &'static str, reason: &'static str, message: &'a str) -> Event<'a> {
        Event {
            kind: "Warning",
            reason,
            message,
            from,
        }
    }
}

/// What was said already.
#[derive(Debug, Default)]
pub struct Events(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    count: u64,
    names: HashMap<String, String>,
    order: VecDeque<(String, String, String)>,
}

impl Ctx {
    /// Says something about an object. An event that cannot be written (its namespace is going) is dropped, as the
    /// real recorders do.
    pub async fn event(&self, about: &Value, event: Event<'_>) {
        let key = format!(
            "{} {} {} {}",
            uid(about),
            event.from,
            event.reason,
            event.message
        );
        let space = match namespace(about) {
            "" => "default",
            space => space,
        };
        let known = self.events.lock().names.get(&key).cloned();
        if let Some(known) = known {
            let now = self.now();
            let again = self
                .kube
                .update("events", space, &known, |o| repeat(o, &now));
            if again.is_ok() {
                return;
            }
        }
        let (event_name, forgotten) = self.events.next(key, space, name(about));
        for (space, old) in forgotten {
            // Already gone with its namespace: as good.
            let _ = self.kube.remove("events", &space, &old);
        }
        let object = document(self, about, space, &event_name, event);
        let _ = self.kube.create("events", space, object).await;
    }
}

impl Events {
    fn lock(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a new event, and the events that are too many by it.
    fn next(&self, key: String, space: &str, about: &str) -> (String, Vec<(String, String)>) {
        let mut said = self.lock();
        said.count += 1;
        let name = format!("{about}.{:016x}", mix(said.count));
        said.names.insert(key.clone(), name.clone());
        said.order.push_back((key, space.to_owned(), name.clone()));
        let mut forgotten = Vec::new();
        while said.order.len() > KEPT
            && let Some((key, space, old)) = said.order.pop_front()
        {
            if said.names.get(&key) == Some(&old) {
                said.names.remove(&key);
            }
            forgotten.push((space, old));
        }
        (name, forgotten)
    }
}

fn repeat(event: &mut Value, now: &str) {
    if let Some(count) = event["count"].as_i64() {
        event["count"] = (count + 1).into();
        event["lastTimestamp"] = now.into();
    } else {
        let count = event["series"]["count"].as_i64().unwrap_or(1) + 1;
        event["series"] = json!({"count": count, "lastObservedTime": now.replace('Z', ".000000Z")});
    }
}

/// The scheduler writes events of the newer API (`eventTime`, `action`), everybody else the old form.
fn document(ctx: &Ctx, about: &Value, space: &str, name: &str, event: Event<'_>) -> Value {
    let now = ctx.now();
    let mut object = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": space},
        "involvedObject": {
            "apiVersion": about["apiVersion"], "kind": about["kind"], "name": about["metadata"]["name"],
            "resourceVersion": about["metadata"]["resourceVersion"], "uid": about["metadata"]["uid"],
        },
        "type": event.kind, "reason": event.reason, "message": event.message,
        "reportingComponent": event.from, "reportingInstance": "",
    });
    if about["metadata"]["namespace"].is_string() {
        object["involvedObject"]["namespace"] = about["metadata"]["namespace"].clone();
    }
    if event.from == super::scheduler::NAME {
        object["eventTime"] = now.replace('Z', ".000000Z").into();
        object["firstTimestamp"] = Value::Null;
        object["lastTimestamp"] = Value::Null;
        object["action"] = if event.kind == "Normal" {
            "Binding"
        } else {
            "Scheduling"
        }
        .into();
        object["reportingInstance"] = format!("{}-{}", event.from, ctx.node).into();
        object["source"] = json!({});
        return object;
    }
    object["eventTime"] = Value::Null;
    object["firstTimestamp"] = now.clone().into();
    object["lastTimestamp"] = now.into();
    object["count"] = 1.into();
    object["source"] = json!({"component": event.from});
    if event.from == super::kubelet::NAME {
        object["source"]["host"] = ctx.node.clone().into();
        object["reportingInstance"] = ctx.node.clone().into();
    }
    object
}
