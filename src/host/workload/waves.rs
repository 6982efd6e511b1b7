//! `workload::restart_in_waves`: many workloads, a bounded part at a time.
//!
//! This file has the word and its options; [`super::wave_run`] runs the waves.

use super::super::cluster::place;
use super::super::time::{duration, parse};
use super::super::world::World;
use super::wave_run::{Hooks, Waves};
use crate::cluster::Cluster;
use crate::cluster::workload::{Bounds, Member, Share, next_wave};
use crate::engine::Failure;
use crate::engine::kit::{self, Reply};
use jiff::{SignedDuration, Timestamp};
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};
use serde::Deserialize;
use serde_json::Value;

/// Adds the words to the module `workload`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "waves", words);
}

#[export_module]
mod words {
    /// Restarts many workloads, a bounded number of them at a time, within their PodDisruptionBudgets.
    ///
    /// A rollout does not ask a PodDisruptionBudget. So before each wave every budget that selects pods of
    /// its workloads must allow what their rollouts take away together (a Deployment that surges may take
    /// none away); else it is waited for, and said for which. What a budget can never allow is
    /// refused at once. Workloads that are not done with an earlier rollout are waited for first. Old pods of
    /// the strategy OnDelete are evicted one after the other, each when the one before is ready. It stops at
    /// the first failure. A workload of which pods stay old is no success: a partition keeps them, or
    /// somebody put the restart back.
    ///
    /// - `workloads`: `#{kind, namespace, name}` for each, such as `workload::list` gives.
    /// - `options`: `max_unavailable`, how many workloads at a time, a number or a percentage of them (1);
    ///   `max_pods`, how many of their pods may be away at a time, a number or a percentage (as many as the
    ///   wave takes away); `order`: `given`, `name` or `smallest` first (`given`); `pause`, seconds between two waves (0);
    ///   `timeout`, seconds for each workload and each wait for a budget (600); `stop_on_failure` (`true`);
    ///   if `false`, a restarted workload that is not done still counts as away in each further wave;
    ///   `since`, a time (RFC 3339, such as `time::now()` taken before the first attempt): what was
    ///   restarted at or after it is not restarted again, so the same call goes on where the last one
    ///   stopped (now: all are restarted); `on_wave`, called before each wave with `#{wave, workloads, left}`; if it gives
    ///   `false`, no further wave is begun; `after_wave`, called with the same when a wave is done: what it throws stops
    ///   all, whatever `stop_on_failure` says, and is thrown on, with what was restarted and what not as evidence.
    ///
    /// Gives `#{done, waves, restarted, unchanged, failed, left}`: whether all are restarted; how many waves
    /// there were; the workloads (`deployment.apps/shop/web`) that were restarted, that had been since
    /// `since`, `#{workload, error}` for those that failed, and those that were not begun. Throws
    /// what the first failure throws, with what was done and what not as evidence, unless `stop_on_failure`
    /// is `false` and what is not done leaves room for another wave; `script` for a paused Deployment and for kinds without rollouts.
    ///
    /// ```rhai
    /// let begun = time::now();
    /// let some = workload::list("legacy");
    /// let done = workload::restart_in_waves(some, #{ max_unavailable: "50%", since: begun, timeout: 60 });
    /// assert(done.restarted == ["deployment.apps/legacy/batch"], done);
    /// let again = workload::restart_in_waves(some, #{ since: begun });
    /// assert(again.done && again.restarted.is_empty() && again.unchanged.len() == 1, again);
    /// ```
    #[rhai_fn(name = "restart_in_waves", return_raw, volatile)]
    pub fn restart_in_waves_with(
        ctx: NativeCallContext,
        workloads: Array,
        options: Map,
    ) -> Reply<Map> {
        super::restart_in_waves(&ctx, &workloads, options)
    }

    /// Restarts many workloads one after the other, within their PodDisruptionBudgets.
    ///
    /// - `workloads`: `#{kind, namespace, name}` for each, such as `workload::list` gives.
    ///
    /// Gives and throws as `restart_in_waves(workloads, options)`.
    ///
    /// ```rhai
    /// assert(workload::restart_in_waves([]).done, "nothing to do");
    /// ```
    #[rhai_fn(name = "restart_in_waves", return_raw, volatile)]
    pub fn restart_in_waves(ctx: NativeCallContext, workloads: Array) -> Reply<Map> {
        super::restart_in_waves(&ctx, &workloads, Map::new())
    }
}

const WORD: &str = "workload::restart_in_waves";
const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[derive(Deserialize)]
#[serde(default)]
struct Options {
    max_unavailable: Value,
    max_pods: Option<Value>,
    order: String,
    pause: f64,
    timeout: f64,
    stop_on_failure: bool,
    since: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_unavailable: 1.into(),
            max_pods: None,
            order: "given".into(),
            pause: 0.0,
            timeout: 600.0,
            stop_on_failure: true,
            since: None,
        }
    }
}

fn restart_in_waves(ctx: &NativeCallContext, workloads: &Array, mut map: Map) -> Reply<Map> {
    const KNOWN: &[&str] = &[
        "max_unavailable",
        "max_pods",
        "order",
        "pause",
        "timeout",
        "stop_on_failure",
        "since",
        "on_wave",
        "after_wave",
    ];
    let (world, cluster) = place(ctx)?;
    let hooks = Hooks {
        on_wave: closure("on_wave", &mut map)?,
        after_wave: closure("after_wave", &mut map)?,
    };
    let options: Options = kit::options(WORD, map, KNOWN)?;
    let now = world.now();
    let since = options.since.as_ref().map(|text| parse(WORD, text));
    let since = since.transpose()?.unwrap_or(now);
    if since > now {
        return Err(kit::fail(Failure::script(format!(
            "option `since` of `{WORD}` is {since}, which is to come: nothing can have been restarted since"
        ))));
    }
    let bounds = Bounds {
        workloads: share("max_unavailable", &options.max_unavailable)?,
        pods: options
            .max_pods
            .as_ref()
            .map(|value| share("max_pods", value))
            .transpose()?,
    };
    let mut all = members(&world, &cluster, workloads)?;
    let since = past_all(&all, since, now, options.since.is_some());
    match options.order.as_str() {
        "given" => {}
        "name" => all.sort_by_key(Member::key),
        "smallest" => all.sort_by_key(Member::size),
        other => {
            return Err(kit::fail(Failure::script(format!(
                "option `order` of `{WORD}` is `given`, `name` or `smallest`, not `{other}`"
            ))));
        }
    }
    // What an earlier attempt left under way counts as away until it is done, so it comes first.
    all.sort_by_key(|member| !member.restarted_since(since));
    // A bound that one of them cannot keep is told before anything is done.
    for member in &all {
        next_wave(std::slice::from_ref(member), &all, &[], bounds)
            .map_err(|e| kit::fail(e.into()))?;
    }
    let pause = duration("`pause`", &options.pause.into())?;
    let mut waves = Waves {
        world: &world,
        cluster: &cluster,
        bounds,
        since,
        timeout: duration("`timeout`", &options.timeout.into())?,
        stop_on_failure: options.stop_on_failure,
        restarted: Vec::new(),
        unchanged: Vec::new(),
        failed: Vec::new(),
        stuck: Vec::new(),
        left: all.clone(),
        all,
        begun: 0,
    };
    waves.run_all(ctx, &hooks, pause)?;
    Ok(waves.result())
}

/// From when on a restart is one that counts. One that is to come, by another clock or by hand, has not been, so
/// that what has it is restarted all the same, with a later time. (kubectl's restarts have whole seconds.)
fn past_all(all: &[Member], since: Timestamp, now: Timestamp, given: bool) -> Timestamp {
    let known = if given { now + SECOND } else { now };
    let to_come = all.iter().filter_map(Member::restarted_at);
    let last = to_come.filter(|at| *at > known).max();
    let next = last.and_then(|last| last.checked_add(SECOND).ok());
    next.unwrap_or(since)
}

fn closure(option: &str, map: &mut Map) -> Reply<Option<FnPtr>> {
    let Some(value) = map.remove(option).filter(|v| !v.is_unit()) else {
        return Ok(None);
    };
    let name = value.type_name();
    value.try_cast::<FnPtr>().map(Some).ok_or_else(|| {
        kit::fail(Failure::script(format!(
            "option `{option}` of `{WORD}` is a closure, not {name}"
        )))
    })
}

fn share(option: &str, value: &Value) -> Reply<Share> {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let wrong = |why: String| {
        kit::fail(Failure::script(format!(
            "option `{option}` of `{WORD}`: {why}"
        )))
    };
    match text.parse().map_err(wrong)? {
        Share::Count(0) | Share::Percent(0) => Err(wrong("nothing could be restarted".to_owned())),
        share => Ok(share),
    }
}

/// Reads all of them, each once, so that what cannot be restarted is told before anything is done.
fn members(world: &World, cluster: &Cluster, workloads: &Array) -> Reply<Vec<Member>> {
    let mut found: Vec<Member> = Vec::new();
    for workload in workloads {
        let map = workload.read_lock::<Map>();
        let text =
            |key: &str| -> Option<String> { map.as_ref()?.get(key)?.clone().into_string().ok() };
        let (Some(kind), Some(namespace), Some(name)) =
            (text("kind"), text("namespace"), text("name"))
        else {
            return Err(kit::fail(Failure::script(format!(
                "a workload for `{WORD}` is `#{{kind, namespace, name}}`, not {}",
                kit::text(workload)
            ))));
        };
        let member = world.wait(async {
            let kind = cluster.kind(&kind).await?;
            cluster.member(&kind, &namespace, &name).await
        })?;
        if !found.iter().any(|m| m.key() == member.key()) {
            found.push(member);
        }
    }
    Ok(found)
}
