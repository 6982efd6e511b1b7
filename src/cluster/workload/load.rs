//! What a restart of a workload needs for a moment: new pods beside the old ones, and what each of them asks for.
//!
//! Separate from [`super::findings`], which judges that: here are the figures, also where nothing is wrong.

use serde_json::{Value, json};

use super::super::{Cluster, ClusterError, Object, Selector};
use super::is_finished;
use super::quantity::shown;
use super::room::amounts;
use super::selector::selects;
use super::share::Share;
use super::waves::Member;

/// What a restart of one workload needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The workload: `deployment.apps/shop/web`.
    pub workload: String,
    /// How many pods it wants, each of which is made anew.
    pub pods: i64,
    /// How many new ones are made beyond those.
    pub beside: i64,
    /// How many new ones may come up at the same time.
    pub at_once: i64,
    /// What each of them asks of its node: `cpu 110m, memory 168Mi`; empty: nothing.
    pub asks: String,
}

impl Cluster {
    /// What a restart of each Deployment, StatefulSet and DaemonSet of a namespace needs for a moment.
    ///
    /// # Errors
    /// There is no such namespace; they, or its pods, cannot be read.
    pub async fn restart_load(&self, namespace: &str) -> Result<Vec<Load>, ClusterError> {
        let members = self.members_in(namespace).await?;
        let kind = self.kind("v1/Pod").await?;
        let pods = self.list(&kind, Some(namespace), &Selector::all()).await?;
        Ok(members.iter().map(|member| load(member, &pods)).collect())
    }
}

fn load(member: &Member, pods: &[Object]) -> Load {
    let (size, beside) = (member.size(), surge(member));
    let asks = amounts(&admitted(member, pods), "requests");
    let asks: Vec<String> = asks
        .iter()
        .map(|(key, value)| format!("{key} {}", shown(key, *value)))
        .collect();
    Load {
        workload: member.key(),
        pods: size,
        beside,
        at_once: (beside + member.disruption().pods).min(size),
        asks: asks.join(", "),
    }
}

/// How many pods a rollout makes beyond those that are wanted.
pub(super) fn surge(member: &Member) -> i64 {
    let size = member.size();
    let object = &member.object;
    let share = |at: &str| Share::of(object.at(at));
    match object.kind() {
        _ if size == 0 => 0,
        "Deployment" if object.text("/spec/strategy/type") == "Recreate" => 0,
        "Deployment" => share("/spec/strategy/rollingUpdate/maxSurge")
            .unwrap_or(Share::Percent(25))
            .ceil(size),
        "DaemonSet" if !member.is_on_delete() => {
            share("/spec/updateStrategy/rollingUpdate/maxSurge").map_or(0, |s| s.ceil(size))
        }
        _ => 0,
    }
}

/// The template with the containers of the newest pod of it, which has what was added when it was admitted: a proxy, the
/// defaults of a LimitRange. Without a pod that is not known, and the template has to do.
pub(super) fn admitted(member: &Member, pods: &[Object]) -> Value {
    let object = &member.object;
    let template = object.at("/spec/template/spec");
    let mut spec = template.cloned().unwrap_or(Value::Null);
    let mine = |pod: &&Object| {
        pod.namespace() == object.namespace()
            && !is_finished(pod)
            && selects(object.at("/spec/selector"), &pod.labels())
    };
    let newest = pods
        .iter()
        .filter(mine)
        .max_by_key(|pod| pod.text("/metadata/creationTimestamp").to_owned());
    let Some(pod) = newest.and_then(|pod| pod.at("/spec")) else {
        return spec;
    };
    if !spec.is_object() {
        spec = json!({});
    }
    for key in ["containers", "initContainers", "overhead", "resources"] {
        spec[key] = pod[key].clone();
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind::tests::kind as of;

    fn member(kind: &str, mut spec: Value) -> Member {
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        spec["template"] = json!({"spec": {"nodeSelector": {"zone": "a"}, "containers": [
            {"name": "app", "resources": {"requests": {"cpu": "100m"}}},
        ]}});
        Member {
            kind: of("apps", "v1", kind, "webs", &[], true),
            object: Object::new(
                json!({"kind": kind, "metadata": {"name": "web", "namespace": "shop"}, "spec": spec}),
            ),
        }
    }

    fn pod(labels: &Value, made: &str, cpu: &str) -> Object {
        Object::new(json!({
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "shop", "labels": labels, "creationTimestamp": made},
            "status": {"phase": "Running"},
            "spec": {"containers": [
                {"name": "app", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "istio-proxy", "resources": {"requests": {"cpu": cpu, "memory": "128Mi"}}},
            ]},
        }))
    }

    #[test]
    fn what_a_new_pod_asks_for_is_what_the_newest_has_with_its_proxy() {
        let web = json!({"app": "web"});
        let pods = [
            pod(&web, "2026-11-27T10:00:00Z", "10m"),
            pod(&web, "2026-11-28T10:00:00Z", "200m"),
            pod(&json!({"app": "other"}), "2026-11-28T11:00:00Z", "2"),
        ];
        let web = member("Deployment", json!({"replicas": 4}));
        let found = load(&web, &pods);
        assert_eq!(found.asks, "cpu 300m, memory 128Mi");
        assert_eq!(admitted(&web, &pods)["nodeSelector"]["zone"], "a");
        assert_eq!(
            load(&web, &[]).asks,
            "cpu 100m",
            "no pod tells what is added"
        );
    }

    #[test]
    fn how_many_come_up_together_is_what_goes_and_what_surges() {
        let at_once = |kind: &str, spec: Value| {
            let found = load(&member(kind, spec), &[]);
            (found.pods, found.beside, found.at_once)
        };
        assert_eq!(at_once("Deployment", json!({"replicas": 10})), (10, 3, 5));
        assert_eq!(at_once("Deployment", json!({"replicas": 1})), (1, 1, 1));
        assert_eq!(at_once("Deployment", json!({"replicas": 0})), (0, 0, 0));
        let recreate = json!({"replicas": 3, "strategy": {"type": "Recreate"}});
        assert_eq!(at_once("Deployment", recreate), (3, 0, 3));
        assert_eq!(at_once("StatefulSet", json!({"replicas": 3})), (3, 0, 1));
        let all = json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}});
        assert_eq!(at_once("Deployment", all), (4, 4, 4));
    }
}
