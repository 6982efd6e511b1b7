//! `workload::restart_in_waves`: many workloads, a bounded part at a time.
//!
//! Each step (what the next wave is, whether the budgets allow it, the restart, the next pod to evict)
//! is [`crate::cluster::workload`]'s; this file runs them one after the other, so that a request to stop
//! is heard between any two, lets a request in flight finish, and knows what was done.

use super::super::cluster::{place, warn_of_reverts};
use super::super::time::{duration, parse};
use super::super::world::World;
use super::teller;
use crate::cluster::workload::{Bounds, Clearance, Member, Next, Share, next_wave, restart_change};
use crate::cluster::{Cluster, ClusterError, EvictOptions, Object, Outcome, Written};
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::journal::{Event, Level};
use jiff::Timestamp;
#[allow(clippy::wildcard_imports)] // The macro expects all of it in scope.
use rhai::plugin::*;
use rhai::{Array, FnPtr, Map};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How often a budget, or the pods of an `OnDelete` workload, are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(500);

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
    /// the first failure.
    ///
    /// - `workloads`: `#{kind, namespace, name}` for each, such as `workload::list` gives.
    /// - `options`: `max_unavailable`, how many workloads at a time, a number or a percentage of them (1);
    ///   `max_pods`, how many of their pods may be away at a time, a number or a percentage (as many as the
    ///   wave takes away); `order`: `given`, `name` or `smallest` first (`given`); `pause`, seconds between two waves (0);
    ///   `timeout`, seconds for each workload and each wait for a budget (600); `stop_on_failure` (`true`);
    ///   `since`, a time (RFC 3339, such as `time::now()` taken before the first attempt): what was
    ///   restarted at or after it is not restarted again, so the same call goes on where the last one
    ///   stopped (now: all are restarted); `on_wave`, called before each wave with `#{wave, workloads, left}`; if it gives
    ///   `false`, no further wave is begun.
    ///
    /// Gives `#{done, waves, restarted, unchanged, failed, left}`: whether all are restarted; how many waves
    /// there were; the workloads (`deployment.apps/shop/web`) that were restarted, that had been since
    /// `since`, `#{workload, error}` for those that failed, and those that were not begun. Throws
    /// what the first failure throws, unless `stop_on_failure` is `false`, with what was done and what
    /// not as evidence; `script` for a paused Deployment and for kinds without rollouts.
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

/// A run of waves.
struct Waves<'a> {
    world: &'a World,
    cluster: &'a Cluster,
    bounds: Bounds,
    since: Timestamp,
    timeout: Duration,
    restarted: Vec<String>,
    unchanged: Vec<String>,
    failed: Vec<(String, Failure)>,
    left: Vec<Member>,
    begun: i64,
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
    ];
    let (world, cluster) = place(ctx)?;
    let on_wave = closure(map.remove("on_wave"))?;
    let options: Options = kit::options(WORD, map, KNOWN)?;
    let since = match &options.since {
        Some(text) => parse(WORD, text)?,
        None => world.now(),
    };
    let bounds = Bounds {
        workloads: share("max_unavailable", &options.max_unavailable)?,
        pods: options
            .max_pods
            .as_ref()
            .map(|value| share("max_pods", value))
            .transpose()?,
    };
    let mut all = members(&world, &cluster, workloads)?;
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
        next_wave(std::slice::from_ref(member), &all, bounds).map_err(|e| kit::fail(e.into()))?;
    }
    let mut waves = Waves {
        world: &world,
        cluster: &cluster,
        bounds,
        since,
        timeout: duration("`timeout`", &options.timeout.into())?,
        restarted: Vec::new(),
        unchanged: Vec::new(),
        failed: Vec::new(),
        left: all.clone(),
        begun: 0,
    };
    let pause = duration("`pause`", &options.pause.into())?;
    while !waves.left.is_empty() {
        if waves.begun > 0 && !pause.is_zero() {
            world.pause(pause).map_err(|e| waves.told(&e))?;
        }
        let before = waves.failed.len();
        let wave = waves.begin(&all).map_err(|e| waves.told(&e))?;
        if !wave.is_empty() {
            if !waves.announce(ctx, on_wave.as_ref(), &wave)? {
                waves.left.splice(0..0, wave);
                break;
            }
            waves.run(&wave);
        }
        let new = waves.failed.get(before..).unwrap_or_default();
        let stopped = |f: &Failure| f.kind == FailureKind::Interrupted;
        let stop = new
            .iter()
            .find(|(_, failure)| options.stop_on_failure || stopped(failure));
        if let Some((workload, failure)) = stop.cloned() {
            return Err(kit::fail(waves.failure(&workload, failure)));
        }
    }
    Ok(waves.result())
}

fn closure(value: Option<Dynamic>) -> Reply<Option<FnPtr>> {
    let Some(value) = value.filter(|v| !v.is_unit()) else {
        return Ok(None);
    };
    let name = value.type_name();
    value.try_cast::<FnPtr>().map(Some).ok_or_else(|| {
        kit::fail(Failure::script(format!(
            "option `on_wave` of `{WORD}` is a closure, not {name}"
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

impl Waves<'_> {
    fn note(&self, level: Level, text: String) {
        self.world.port().emit(Event::Note { level, text });
    }

    /// Waits until the next wave may begin, and takes it off what is left. A workload that cannot be
    /// begun is taken off as failed, alone.
    fn begin(&mut self, all: &[Member]) -> Reply<Vec<Member>> {
        let most = next_wave(&self.left, all, self.bounds).map_err(|e| kit::fail(e.into()))?;
        let begun = Instant::now();
        let mut told = String::new();
        for index in 0..most {
            if let Err(error) = self.settle(&self.left[index]) {
                let member = self.left.remove(index);
                self.failed.push((member.key(), kit::failure_of(&error)));
                return Ok(Vec::new());
            }
            // As it is now, and not as it was before the first wave.
            match self.read_again(&self.left[index]) {
                Ok(member) => self.left[index] = member,
                Err(error) => {
                    let member = self.left.remove(index);
                    self.failed.push((member.key(), kit::failure_of(&error)));
                    return Ok(Vec::new());
                }
            }
        }
        loop {
            let candidates = &self.left[..most];
            match self
                .world
                .wait(self.cluster.clearance(candidates, self.since))?
            {
                Clearance::Go(count) => return Ok(self.left.drain(..count).collect()),
                Clearance::Never(why) => {
                    let failure = Failure::new(FailureKind::Cluster, why)
                        .hint("raise what the budget allows, or let the workload surge instead of taking pods away");
                    let member = self.left.remove(0);
                    self.failed.push((member.key(), failure));
                    return Ok(Vec::new());
                }
                Clearance::Wait(why) if begun.elapsed() >= self.timeout => {
                    let failure = Failure::new(FailureKind::Cluster, why)
                        .hint("make the pods of the budget healthy, and run again")
                        .retryable();
                    let member = self.left.remove(0);
                    self.failed.push((member.key(), failure));
                    return Ok(Vec::new());
                }
                Clearance::Wait(why) => {
                    if told != why {
                        self.note(Level::Warn, format!("waiting: {why}"));
                        told = why;
                    }
                    self.world.pause(LOOK)?;
                }
            }
        }
    }

    fn read_again(&self, member: &Member) -> Reply<Member> {
        let (namespace, name) = (member.object.namespace(), member.object.name());
        self.world.wait(
            self.cluster
                .member(&member.kind, namespace.unwrap_or(""), name),
        )
    }

    /// Waits until a workload is done with what was before.
    fn settle(&self, member: &Member) -> Reply<()> {
        if member.is_on_delete() {
            // Its old pods are what is to be replaced.
            return Ok(());
        }
        self.wait_for(std::slice::from_ref(member))
            .pop()
            .map_or(Ok(()), |result| result)
    }

    /// Waits for the rollouts of all of them at the same time; a result for each.
    fn wait_for(&self, members: &[Member]) -> Vec<Reply<()>> {
        let port = self.world.shared_port();
        let each = members.iter().map(|member| {
            let port = port.clone();
            async move {
                let (namespace, name) = (
                    member.object.namespace().unwrap_or(""),
                    member.object.name(),
                );
                let mut changed = teller(&*port, namespace, name);
                self.cluster
                    .watch_rollout(
                        &member.kind,
                        Some(namespace),
                        name,
                        self.timeout,
                        &mut changed,
                    )
                    .await
            }
        });
        let all = async { Ok::<_, ClusterError>(futures::future::join_all(each).await) };
        match self.world.bridge().watch(all) {
            Ok(results) => results
                .into_iter()
                .map(|result| result.map(|_| ()).map_err(|e| kit::fail(e.into())))
                .collect(),
            // Stopped: none of them is known to be done.
            Err(error) => {
                let failure = kit::failure_of(&error);
                members
                    .iter()
                    .map(|_| Err(kit::fail(failure.clone())))
                    .collect()
            }
        }
    }

    /// Tells that a wave begins; whether it may.
    fn announce(
        &mut self,
        ctx: &NativeCallContext,
        on_wave: Option<&FnPtr>,
        wave: &[Member],
    ) -> Reply<bool> {
        self.begun += 1;
        let keys: Vec<String> = wave.iter().map(Member::key).collect();
        self.note(
            Level::Info,
            format!("wave {}: {}", self.begun, keys.join(", ")),
        );
        let Some(on_wave) = on_wave else {
            return Ok(true);
        };
        let mut map = Map::new();
        let names: Array = keys.into_iter().map(Into::into).collect();
        map.insert("wave".into(), self.begun.into());
        map.insert("workloads".into(), names.into());
        let left = i64::try_from(self.left.len()).unwrap_or(i64::MAX);
        map.insert("left".into(), left.into());
        let answer: Dynamic = on_wave.call_within_context(ctx, (map,))?;
        let no = answer.as_bool() == Ok(false);
        if no {
            self.begun -= 1;
        }
        Ok(!no)
    }

    /// Restarts the members of a wave and waits for all of them.
    fn run(&mut self, wave: &[Member]) {
        let mut begun = Vec::new();
        for (index, member) in wave.iter().enumerate() {
            match self.restart(member) {
                Ok(outcome) => begun.push((member.clone(), outcome)),
                Err(error) => {
                    self.failed.push((member.key(), kit::failure_of(&error)));
                    // What was begun is still waited for; the rest of the wave is not begun.
                    self.left.splice(0..0, wave[index + 1..].iter().cloned());
                    break;
                }
            }
        }
        let (on_delete, rolling): (Vec<_>, Vec<_>) =
            begun.into_iter().partition(|(m, _)| m.is_on_delete());
        for (member, outcome) in on_delete {
            let result = self.replace_pods(&member);
            self.record(&member, outcome, result);
        }
        let members: Vec<Member> = rolling.iter().map(|(m, _)| m.clone()).collect();
        let results = self.wait_for(&members);
        for ((member, outcome), result) in rolling.into_iter().zip(results) {
            self.record(&member, outcome, result);
        }
    }

    fn restart(&self, member: &Member) -> Reply<Outcome> {
        let port = self.world.shared_port();
        let written = self.world.wait(async {
            let change = restart_change();
            let (namespace, name) = (member.object.namespace(), member.object.name());
            warn_of_reverts(&*port, self.cluster, &member.kind, namespace, name, &change).await;
            self.cluster.restart_unless(member, self.since).await
        })?;
        Ok(written.outcome)
    }

    fn record(&mut self, member: &Member, outcome: Outcome, result: Reply<()>) {
        match result {
            Ok(()) if outcome == Outcome::Unchanged => self.unchanged.push(member.key()),
            Ok(()) => self.restarted.push(member.key()),
            Err(error) => self.failed.push((member.key(), kit::failure_of(&error))),
        }
    }

    /// Evicts the old pods of a workload with the strategy `OnDelete`, one after the other.
    fn replace_pods(&self, member: &Member) -> Reply<()> {
        let (namespace, name) = (
            member.object.namespace().unwrap_or(""),
            member.object.name(),
        );
        let mut begun = Instant::now();
        let mut told = String::new();
        loop {
            let next =
                self.world
                    .wait(self.cluster.next_replacement(&member.kind, namespace, name))?;
            let waits_for = match next {
                Next::Done => return Ok(()),
                Next::Wait(what) => what,
                Next::Replace(pod) => match self.world.wait(self.evict(member, &pod))? {
                    None => {
                        begun = Instant::now();
                        continue;
                    }
                    Some(why) => why,
                },
            };
            if begun.elapsed() >= self.timeout {
                return Err(kit::fail(
                    Failure::new(
                        FailureKind::Cluster,
                        format!("after {:?} still waiting for {waits_for}", self.timeout),
                    )
                    .about(member.key())
                    .hint("workload::rollout_status tells what stands in the way; then run again")
                    .retryable(),
                ));
            }
            // Pods come and go all the time; only a budget that holds it up is news.
            if waits_for.contains("poddisruptionbudget") && told != waits_for {
                self.note(Level::Warn, format!("waiting: {waits_for}"));
                told = waits_for;
            }
            self.world.pause(LOOK)?;
        }
    }

    /// Evicts a pod if the budgets allow it; else why not.
    async fn evict(&self, member: &Member, pod: &Object) -> Result<Option<String>, ClusterError> {
        let alone = std::slice::from_ref(member);
        match self.cluster.clearance(alone, self.since).await? {
            Clearance::Never(why) | Clearance::Wait(why) => Ok(Some(why)),
            Clearance::Go(_) => match self.evict_once(pod).await {
                Ok(_) => Ok(None),
                // The budget was used up by somebody else in between.
                Err(error @ ClusterError::EvictionBlocked { .. }) => {
                    Ok(Some(format!("the poddisruptionbudget: {error}")))
                }
                Err(error) => Err(error),
            },
        }
    }

    /// Asks for this pod's eviction, without waiting for a budget or for its end.
    async fn evict_once(&self, pod: &Object) -> Result<Written, ClusterError> {
        let how = EvictOptions {
            ignore_missing: true,
            uid: Some(pod.uid().to_owned()),
            wait: None,
            ..EvictOptions::default()
        };
        let namespace = pod.namespace().unwrap_or("");
        self.cluster.evict(namespace, pod.name(), &how).await
    }

    /// A failure with what was done and what not.
    fn failure(&self, workload: &str, mut failure: Failure) -> Failure {
        if failure.kind != FailureKind::Interrupted {
            failure.message = format!("the restart stopped at `{workload}`: {}", failure.message);
        }
        failure.resource.get_or_insert_with(|| workload.to_owned());
        let left: Vec<String> = self.left.iter().map(Member::key).collect();
        let failed: Vec<String> = self.failed.iter().map(|(key, _)| key.clone()).collect();
        for (what, names) in [
            ("restarted", &self.restarted),
            ("restarted before", &self.unchanged),
            ("failed", &failed),
            ("not begun", &left),
        ] {
            if !names.is_empty() {
                failure
                    .evidence
                    .push(format!("{what}: {}", names.join(", ")));
            }
        }
        failure
    }

    /// An error that is not a workload's, with what was done and what not.
    fn told(&self, error: &EvalAltResult) -> Box<EvalAltResult> {
        let next = self.left.first().map_or_else(String::new, Member::key);
        kit::fail(self.failure(&next, kit::failure_of(error)))
    }

    fn result(&self) -> Map {
        let texts = |names: Vec<String>| -> Dynamic {
            let array: Array = names.into_iter().map(Into::into).collect();
            array.into()
        };
        let failed: Array = self
            .failed
            .iter()
            .map(|(workload, failure)| {
                let mut map = Map::new();
                map.insert("workload".into(), workload.clone().into());
                map.insert("error".into(), kit::thrown(failure));
                map.into()
            })
            .collect();
        let mut map = Map::new();
        let done = self.failed.is_empty() && self.left.is_empty();
        map.insert("done".into(), done.into());
        map.insert("waves".into(), self.begun.into());
        map.insert("restarted".into(), texts(self.restarted.clone()));
        map.insert("unchanged".into(), texts(self.unchanged.clone()));
        map.insert("failed".into(), failed.into());
        map.insert(
            "left".into(),
            texts(self.left.iter().map(Member::key).collect()),
        );
        map
    }
}
