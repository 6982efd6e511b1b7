//! What the kubelet tells the mesh of pods.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use serde_json::Value;

use super::config::meta;
use super::istiod::Istiod;
use super::proxy::Proxy;
use super::{Mesh, container_start};
use crate::twin::controllers::{PodLifecycle, in_ready_set};

impl PodLifecycle for Mesh {
    fn started<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if Istiod::is(pod) {
                self.start_istiod(pod).await;
            } else if let Some(proxy) = Proxy::of(pod, container_start(pod)) {
                self.state()
                    .proxies
                    .insert(meta(pod, "uid").to_owned(), proxy);
            } else {
                return;
            }
            self.settle().await;
        })
    }

    fn ready<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let uid = meta(pod, "uid");
            if !self.state().proxies.contains_key(uid) {
                return match self.state().broken.get(uid) {
                    Some(reason) => Err(reason.clone()),
                    None => Ok(()),
                };
            }
            self.settle().await;
            self.state().proxies.get(uid).map_or(Ok(()), Proxy::ready)?;
            // It serves from now on, and what it replaces does so still: probed before the pod is
            // shown as Ready, because then its controller may take the old one away at once.
            self.state().arriving.insert(uid.to_owned());
            let only = BTreeSet::from([uid.to_owned()]);
            self.0.common.prober.sweep(Some(&only)).await;
            Ok(())
        })
    }

    fn live_set_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shown_as_ready();
            self.settle().await;
            self.0.common.prober.sweep(None).await;
        })
    }

    fn stopped<'a>(&'a self, pod: &'a Value) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let uid = meta(pod, "uid");
            let known = {
                let mut state = self.state();
                state.broken.remove(uid);
                state.arriving.remove(uid);
                state.istiods.remove(uid).is_some() | state.proxies.remove(uid).is_some()
            };
            if known {
                self.settle().await;
            }
        })
    }
}

impl Mesh {
    /// Forgets of the arriving pods those that have arrived.
    fn shown_as_ready(&self) {
        let pods = self.0.kube.list("pods", None);
        let ready: BTreeSet<&str> = pods
            .iter()
            .filter(|pod| in_ready_set(pod))
            .map(|pod| meta(pod, "uid"))
            .collect();
        let mut state = self.state();
        state.arriving.retain(|uid| !ready.contains(uid.as_str()));
    }

    async fn start_istiod(&self, pod: &Value) {
        let started = {
            let mut state = self.state();
            state.starts += 1;
            state.starts
        };
        let made = Istiod::start(&self.0.kube, pod, started).await;
        let uid = meta(pod, "uid").to_owned();
        let mut state = self.state();
        match made {
            Ok(istiod) => drop(state.istiods.insert(uid, istiod)),
            Err(reason) => drop(state.broken.insert(uid, reason)),
        }
    }
}
