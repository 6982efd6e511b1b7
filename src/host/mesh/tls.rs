//! What the proxies themselves say of certificates that they refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::plugin::*;
use rhai::{Array, Map};

use super::{Mesh, shape};
use crate::engine::kit::Reply;
use crate::mesh::tls_stats::{News, Refusal, Silent, TlsReading, Watch};

/// A watch as scripts hold it. Cloning shares.
#[derive(Clone)]
pub struct TlsWatch {
    mesh: Mesh,
    watch: Arc<Mutex<Watch>>,
}

impl TlsWatch {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "tls", words);
}

/// Refused certificates.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// The certificates that proxies have refused since they started, by their own count (Envoy's TLS counters, read
    /// from their admin endpoints, no Prometheus needed).
    ///
    /// Answers `#{total, by, unclear, silent, lost, watched, proxies}`. `by`: `#{namespace, pod, workload, side, server,
    /// counter, count, earlier, text}` for each counter above 0; `side` is who refused, `client` or `server`; `server` is
    /// `HOST:PORT` where the client refused, else `()`; `text` says it in one line. Only `ssl.fail_verify_error`, `_san` and `_cert_hash`
    /// count, a certificate that was shown and refused: always a failure of trust. `unclear`: likewise, of what may have
    /// other reasons: `ssl.connection_error`, peers that showed no certificate, whatever the world shows to a gateway.
    /// `silent`: `#{namespace, pod, reason}` of the proxies that tell nothing, since they cannot be read or, as Istio has
    /// it by default, keep no such counters: of these nothing is known, which is not 0. `watched` of `proxies` proxies
    /// told. `lost`: see `failures`.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// let t = mesh::connect().tls_failures();
    /// assert(t.total == 0 && t.watched == 0 && t.silent.len() == t.proxies, "nobody has asked for the counters");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn tls_failures(mesh: &mut Mesh) -> Reply<Map> {
        let reading = super::read(mesh)?;
        Ok(super::news(&Watch::default().news(&reading)))
    }

    /// Begins to watch which certificates proxies refuse: gives a handle, of which `failures()` tells what is new.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// let watch = mesh::connect().watch_tls();
    /// assert(watch.failures().total == 0, "nothing happened since");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn watch_tls(mesh: &mut Mesh) -> Reply<TlsWatch> {
        let watch = Watch::begin(super::read(mesh)?);
        Ok(TlsWatch {
            mesh: mesh.clone(),
            watch: Arc::new(Mutex::new(watch)),
        })
    }

    /// The certificates that proxies have refused since the watch began. What a proxy refused in the last moment before
    /// its end, after the last look, is in none.
    ///
    /// - `watch`: as `m.watch_tls()` gives it.
    ///
    /// Answers as `m.tls_failures()`: `count` is by how much a counter grew, `earlier` what it had been. Proxies that
    /// were not there, or were silent, count from their start. `lost`: `#{namespace, pod, reason}` of those that told
    /// then, are still there, and tell nothing now.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// let watch = mesh::connect().watch_tls();
    /// let found = watch.failures();
    /// assert(found.total == 0 && found.lost.is_empty() && found.silent.len() == found.proxies, "nobody counts");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn failures(watch: &mut TlsWatch) -> Reply<Map> {
        let reading = super::read(&watch.mesh)?;
        Ok(super::news(&watch.watch().news(&reading)))
    }

    /// Takes new classic sidecars into a watch: what they have refused as clients so far is of their start, when their
    /// application calls others while the agent has only one of the roots. To be called when they are ready; what they
    /// refuse from then on is new, as is all that they refused as servers.
    ///
    /// - `watch`: as `m.watch_tls()` gives it.
    ///
    /// Throws `cluster` if pods cannot be listed.
    ///
    /// ```rhai
    /// let watch = mesh::connect().watch_tls();
    /// watch.admit();
    /// assert(watch.failures().total == 0, "nobody is new");
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn admit(watch: &mut TlsWatch) -> Reply<()> {
        let reading = super::read(&watch.mesh)?;
        watch.watch().admit(&reading);
        Ok(())
    }
}

fn read(mesh: &Mesh) -> Reply<TlsReading> {
    let (world, options) = (&mesh.world, &mesh.options.read);
    mesh.wait(TlsReading::take(&mesh.cluster, world.clusters(), options))
}

fn news(news: &News) -> Map {
    let total: u64 = news.refused.iter().map(|refusal| refusal.count).sum();
    let refusals = |all: &[Refusal]| all.iter().map(refusal).collect::<Array>();
    let silent = |all: &[Silent]| all.iter().map(silent).collect::<Array>();
    Map::from([
        ("total".into(), number(total)),
        ("by".into(), refusals(&news.refused).into()),
        ("unclear".into(), refusals(&news.unclear).into()),
        ("silent".into(), silent(&news.silent).into()),
        ("lost".into(), silent(&news.lost).into()),
        ("watched".into(), count(news.watched)),
        ("proxies".into(), count(news.watched + news.silent.len())),
    ])
}

fn refusal(refusal: &Refusal) -> Dynamic {
    let server = refusal.server();
    let side = if server.is_some() { "client" } else { "server" };
    Map::from([
        ("namespace".into(), refusal.pod.namespace.clone().into()),
        ("pod".into(), refusal.pod.name.clone().into()),
        (
            "workload".into(),
            shape::workload(&refusal.pod.workload).into(),
        ),
        ("side".into(), side.into()),
        ("server".into(), server.map_or(Dynamic::UNIT, Dynamic::from)),
        ("counter".into(), refusal.counter.clone().into()),
        ("count".into(), number(refusal.count)),
        ("earlier".into(), number(refusal.earlier)),
        ("text".into(), refusal.line().into()),
    ])
    .into()
}

fn silent(silent: &Silent) -> Dynamic {
    Map::from([
        ("namespace".into(), silent.pod.namespace.clone().into()),
        ("pod".into(), silent.pod.name.clone().into()),
        ("reason".into(), silent.reason.clone().into()),
    ])
    .into()
}

fn number(value: u64) -> Dynamic {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

fn count(value: usize) -> Dynamic {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}
