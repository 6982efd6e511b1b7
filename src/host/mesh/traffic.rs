//! What proxies have passed on and what is open to them, and draining one.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::super::cluster::written;
use super::{Mesh, shape};
use crate::engine::kit::Reply;
use crate::mesh::pods::Workload;
use crate::mesh::traffic::{self, PodTraffic};

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "traffic", words);
}

/// Traffic and draining.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// What every running proxy has passed on since it started, and what is open to it, by its own count (Envoy's admin
    /// endpoint; kept whatever `proxyStatsMatcher` says).
    ///
    /// Answers maps of `namespace`, `pod`, `workload` (`#{kind, namespace, name}`), `kind`, `ready`, `started`, `requests`:
    /// those passed on to endpoints of the mesh that are still there, of TCP connections; one counts only once TLS with the
    /// endpoint was made; `connections`: those that are open to it, up to 5 s ago; `draining`: whether it was draining then;
    /// `unknown`: the reason why these cannot be told, or `()`; then they are `()` themselves, which is not 0.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// for t in mesh::connect().traffic() { assert(t.unknown == () && t.requests >= 0 && t.connections >= 0, t.pod); }
    /// ```
    #[rhai_fn(name = "traffic", global, return_raw, pure, volatile)]
    pub fn traffic_of_all(mesh: &mut Mesh) -> Reply<Array> {
        super::read(mesh, None)
    }

    /// What the running proxies of one workload have passed on, and what is open to them, as `m.traffic()` tells it of all.
    ///
    /// - `kind`: the workload's kind, such as `Deployment`.
    /// - `namespace`: where it is.
    /// - `name`: its name.
    ///
    /// Answers as `m.traffic()`; nothing where the workload has no running proxy.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// let found = mesh::connect().traffic("Deployment", "istio-system", "istio-ingressgateway");
    /// assert(found.len() == 1 && found[0].kind == "gateway", "there is one");
    /// ```
    #[rhai_fn(name = "traffic", global, return_raw, pure, volatile)]
    pub fn traffic_of(mesh: &mut Mesh, kind: &str, namespace: &str, name: &str) -> Reply<Array> {
        let workload = Workload {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        super::read(mesh, Some(&workload))
    }

    /// Has a pod's proxy drain: it asks its clients to close their connections (HTTP/1.1 with `Connection: close`, HTTP/2
    /// with GOAWAY) and serves whoever comes. The pod stays ready, and behind its Services: these have to lead elsewhere first.
    ///
    /// - `namespace`: the pod's namespace.
    /// - `pod`: its name.
    ///
    /// Answers `#{outcome, summary, diff}`; `unchanged` if it was draining. In a dry run it is not asked. Throws
    /// `not_found`, `refused`, or `cluster` if it has no proxy or that cannot be asked.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// let t = m.traffic("Deployment", "istio-system", "istio-ingressgateway")[0];
    /// assert(m.drain(t.namespace, t.pod).outcome == "changed" && m.drain(t.namespace, t.pod).outcome == "unchanged", "once");
    /// wait_until("its Envoy to say so", #{ timeout: 20 }, || m.traffic("Deployment", t.namespace, "istio-ingressgateway")[0].draining);
    /// m.undrain(t.namespace, t.pod);
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn drain(mesh: &mut Mesh, namespace: &str, pod: &str) -> Reply<Map> {
        super::set(mesh, namespace, pod, true)
    }

    /// Ends what `m.drain(namespace, pod)` began: the proxy serves as before.
    ///
    /// - `namespace`: the pod's namespace.
    /// - `pod`: its name.
    ///
    /// Answers `#{outcome, summary, diff}`; `unchanged` if it was not draining. Throws as `m.drain(namespace, pod)` does.
    ///
    /// ```rhai
    /// let m = mesh::connect();
    /// let t = m.traffic("Deployment", "istio-system", "istio-ingressgateway")[0];
    /// assert(m.undrain(t.namespace, t.pod).outcome == "unchanged", "it serves");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn undrain(mesh: &mut Mesh, namespace: &str, pod: &str) -> Reply<Map> {
        super::set(mesh, namespace, pod, false)
    }
}

fn read(mesh: &Mesh, of: Option<&Workload>) -> Reply<Array> {
    let taken = mesh.wait(traffic::take(&mesh.cluster, of, &mesh.options.read))?;
    Ok(taken.iter().map(|one| shown(one).into()).collect())
}

fn set(mesh: &Mesh, namespace: &str, pod: &str, on: bool) -> Reply<Map> {
    let options = &mesh.options.read;
    let call = traffic::set_draining(&mesh.cluster, namespace, pod, on, options);
    written(mesh.wait(call)?)
}

fn shown(one: &PodTraffic) -> Map {
    let (pod, told) = (&one.pod, one.traffic.as_ref());
    let number = |value: u64| Dynamic::from(i64::try_from(value).unwrap_or(i64::MAX));
    let known = |value: Option<Dynamic>| value.unwrap_or(Dynamic::UNIT);
    Map::from([
        ("namespace".into(), pod.namespace.clone().into()),
        ("pod".into(), pod.name.clone().into()),
        ("workload".into(), shape::workload(&pod.workload).into()),
        ("kind".into(), pod.kind.as_str().into()),
        ("ready".into(), pod.ready.into()),
        ("started".into(), shape::time(pod.started)),
        (
            "requests".into(),
            known(told.ok().map(|t| number(t.requests))),
        ),
        (
            "connections".into(),
            known(told.ok().map(|t| number(t.connections))),
        ),
        (
            "draining".into(),
            known(told.ok().map(|t| t.draining.into())),
        ),
        (
            "unknown".into(),
            known(told.err().map(|reason| reason.clone().into())),
        ),
    ])
}
