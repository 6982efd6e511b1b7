//! What istiods do for the cluster: root certificates of namespaces, CA bundles of webhooks.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ca::pem;
use super::config::{meta, text_at};
use super::istiod::Istiod;
use super::manifests::{DEFAULT_REVISION, ISTIO_SYSTEM};
use super::world::World;
use super::{Mesh, State};
use crate::twin::controllers::in_ready_set;

/// The ConfigMap with the roots of istiod's CA, in every namespace.
pub(super) const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ELECTION: &str = "istio-namespace-controller-election";
const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";
/// Namespaces that istiod writes no root certificate into.
const LEFT_OUT: &[&str] = &["kube-public", "kube-node-lease", "local-path-storage"];

impl Mesh {
    /// Lets the istiods read their configuration, elect a leader and write what they write.
    pub(super) async fn control_planes(&self) {
        let world = World::look(&self.0.kube);
        let (leader, bundles) = {
            let mut state = self.state();
            let State {
                istiods, accounts, ..
            } = &mut *state;
            world.note_accounts(accounts);
            let own = (world.ports(), accounts.clone());
            let (ports, accounts) = self.0.common.services(self.0.at.as_ref(), own);
            for istiod in istiods.values_mut() {
                istiod.reload(&self.0.kube);
                istiod.push(&ports, &accounts);
            }
            let elected = elect(&state, self.default_revision().as_deref());
            let changed = state.leader != elected;
            state.leader.clone_from(&elected);
            let leader = elected
                .and_then(|(uid, _)| state.istiods.get(&uid))
                .map(|istiod| Leader {
                    name: istiod.name.clone(),
                    revision: istiod.revision.clone(),
                    roots: roots(istiod),
                    changed,
                });
            (leader, bundles(&state, &world))
        };
        if let Some(leader) = leader {
            self.write_roots(&leader).await;
        }
        for (revision, bundle) in &bundles {
            self.write_bundles(revision, bundle);
        }
    }

    /// The revision of the tag `default`, if there is one: it takes the leadership over.
    fn default_revision(&self) -> Option<String> {
        let tag = self
            .0
            .kube
            .get(MUTATING, "", "istio-revision-tag-default")?;
        text_at(&tag, "labels", "istio.io/rev").map(str::to_owned)
    }

    async fn write_roots(&self, leader: &Leader) {
        if leader.changed {
            self.write_config_map(ISTIO_SYSTEM, ELECTION, election(leader))
                .await;
        }
        let data = json!({"data": {"root-cert.pem": leader.roots}, "metadata": {"labels": {"istio.io/config": "true"}}});
        for namespace in self.0.kube.list("namespaces", None) {
            let name = meta(&namespace, "name");
            let going = !namespace["metadata"]["deletionTimestamp"].is_null();
            if going || LEFT_OUT.contains(&name) {
                continue;
            }
            let there = self.0.kube.get("configmaps", name, ROOT_CONFIG_MAP);
            if there.is_none_or(|map| map["data"] != data["data"]) {
                self.write_config_map(name, ROOT_CONFIG_MAP, data.clone())
                    .await;
            }
        }
    }

    /// A write that fails is done again at the next change: all this runs after each.
    async fn write_config_map(&self, namespace: &str, name: &str, content: Value) {
        let written = self.0.kube.update("configmaps", namespace, name, |map| {
            super::config::merge(map, &content);
        });
        if written.is_err() {
            let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}});
            super::config::merge(&mut map, &content);
            let _ = self.0.kube.create("configmaps", namespace, map).await;
        }
    }

    /// Only configurations that are labelled with the istiod's own revision.
    fn write_bundles(&self, revision: &str, bundle: &str) {
        for resource in [MUTATING, VALIDATING] {
            for object in self.0.kube.list(resource, None) {
                if text_at(&object, "labels", "istio.io/rev") != Some(revision) {
                    continue;
                }
                let hooks = object["webhooks"].as_array().into_iter().flatten();
                if hooks
                    .clone()
                    .all(|hook| hook["clientConfig"]["caBundle"] == *bundle)
                {
                    continue;
                }
                let _ = self
                    .0
                    .kube
                    .update(resource, "", meta(&object, "name"), |object| {
                        for hook in object["webhooks"].as_array_mut().into_iter().flatten() {
                            hook["clientConfig"]["caBundle"] = json!(bundle);
                            // A validator starts with Ignore, until istiod has seen that it answers.
                            if resource == VALIDATING {
                                hook["failurePolicy"] = json!("Fail");
                            }
                        }
                    });
            }
        }
    }
}

struct Leader {
    name: String,
    revision: String,
    roots: String,
    changed: bool,
}

/// The leader stays while it runs; only the default tag's revision takes the lock from another. An
/// istiod without a CA does not run for it. Who gets a lock that was let go is chance in a real
/// cluster; here it is the newest istiod of the same revision, which is the restarted one.
fn elect(state: &State, default: Option<&str>) -> Option<(String, String)> {
    let candidates = || {
        state
            .istiods
            .values()
            .filter(|istiod| istiod.citadel.is_some())
    };
    let newest_of = |revision: &str| {
        candidates()
            .filter(|i| i.revision == revision)
            .max_by_key(|i| i.started)
    };
    let (held_by, of_revision) = state.leader.clone().unzip();
    let holder = candidates().find(|istiod| Some(&istiod.uid) == held_by.as_ref());
    let preferred = default.and_then(newest_of);
    let elected = match (holder, preferred) {
        (Some(holder), Some(preferred)) if holder.revision != preferred.revision => preferred,
        (Some(holder), _) => holder,
        (None, Some(preferred)) => preferred,
        (None, None) => of_revision
            .and_then(|revision| newest_of(&revision))
            .or_else(|| candidates().min_by_key(|i| (i.revision != DEFAULT_REVISION, i.started)))?,
    };
    Some((elected.uid.clone(), elected.revision.clone()))
}

/// CA bundle by revision: of the newest ready istiod, or of the newest while none is ready.
fn bundles(state: &State, world: &World) -> BTreeMap<String, String> {
    let ready = |istiod: &Istiod| {
        world
            .pods
            .iter()
            .any(|pod| meta(pod, "uid") == istiod.uid && in_ready_set(pod))
    };
    let mut chosen: BTreeMap<&str, (&Istiod, bool)> = BTreeMap::new();
    for istiod in state
        .istiods
        .values()
        .filter(|istiod| istiod.citadel.is_some())
    {
        let rank = (ready(istiod), istiod.started);
        let better = chosen
            .get(istiod.revision.as_str())
            .is_none_or(|(other, other_ready)| rank > (*other_ready, other.started));
        if better {
            chosen.insert(&istiod.revision, (istiod, rank.0));
        }
    }
    chosen
        .into_iter()
        .map(|(revision, (istiod, _))| (revision.to_owned(), STANDARD.encode(roots(istiod))))
        .collect()
}

fn roots(istiod: &Istiod) -> String {
    pem(istiod.roots())
}

fn election(leader: &Leader) -> Value {
    let now = format!("{:.0}", jiff::Timestamp::now());
    let record = json!({
        "holderIdentity": leader.name, "holderKey": leader.revision, "leaseDurationSeconds": 30,
        "acquireTime": now, "renewTime": now, "leaderTransitions": 0,
    });
    json!({"metadata": {"annotations": {"control-plane.alpha.kubernetes.io/leader": record.to_string()}}})
}
