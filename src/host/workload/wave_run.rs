//! Running waves of restarts: what is begun, waited for, stopped at and told.
//!
//! Each step (what the next wave is, whether the budgets allow it, the restart, the next pod to evict)
//! is [`crate::cluster::workload`]'s; this file runs them one after the other, so that a request to stop
//! is heard between any two, lets a request in flight finish, and knows what was done.

use super::super::cluster::warn_of_reverts;
use super::super::world::World;
use super::teller;
use crate::cluster::workload::{Bounds, Clearance, Member, Next, next_wave, restart_change};
use crate::cluster::{Cluster, ClusterError, EvictOptions, Object, Outcome, Rollout, Written};
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind};
use crate::journal::{Event, Level};
use jiff::Timestamp;
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};
use std::time::{Duration, Instant};

/// How often a budget, or the pods of an `OnDelete` workload, are looked at while they are waited for.
const LOOK: Duration = Duration::from_millis(500);

/// A run of waves.
pub(super) struct Waves<'a> {
    pub(super) world: &'a World,
    pub(super) cluster: &'a Cluster,
    pub(super) bounds: Bounds,
    pub(super) since: Timestamp,
    pub(super) timeout: Duration,
    pub(super) stop_on_failure: bool,
    pub(super) restarted: Vec<String>,
    pub(super) unchanged: Vec<String>,
    pub(super) failed: Vec<(String, Failure)>,
    /// Those that were restarted and then failed: their pods may still be away.
    pub(super) stuck: Vec<Member>,
    /// All that are to be restarted, as they were read last.
    pub(super) all: Vec<Member>,
    pub(super) left: Vec<Member>,
    pub(super) begun: i64,
}

/// What a script does between waves.
pub(super) struct Hooks {
    /// Called before each wave; `false` ends them.
    pub(super) on_wave: Option<FnPtr>,
    /// Called after each wave; what it throws ends them.
    pub(super) after_wave: Option<FnPtr>,
}

/// What the next wave is.
enum Wave {
    /// These.
    Of(Vec<Member>),
    /// Not yet known: one was taken off as failed.
    Again,
    /// None: what is stuck leaves no room.
    Full,
}

impl Waves<'_> {
    fn note(&self, level: Level, text: String) {
        self.world.port().emit(Event::Note { level, text });
    }

    /// Runs wave after wave until none is left, or a hook says no.
    pub(super) fn run_all(
        &mut self,
        ctx: &NativeCallContext,
        hooks: &Hooks,
        pause: Duration,
    ) -> Reply<()> {
        let on_wave = hooks.on_wave.as_ref();
        while !self.left.is_empty() {
            if self.begun > 0 && !pause.is_zero() {
                self.world.pause(pause).map_err(|e| self.told(&e))?;
            }
            let before = self.failed.len();
            match self.begin(usize::MAX).map_err(|e| self.told(&e))? {
                Wave::Again => {}
                Wave::Full => return Err(self.full()),
                Wave::Of(wave) => {
                    if !self.announce(ctx, on_wave, &wave)? {
                        self.left.splice(0..0, wave);
                        return Ok(());
                    }
                    // The closure may have taken an hour: what held before it is asked again.
                    let wave = if on_wave.is_some() {
                        let count = wave.len();
                        self.left.splice(0..0, wave);
                        self.begin(count).map_err(|e| self.told(&e))?
                    } else {
                        Wave::Of(wave)
                    };
                    match wave {
                        Wave::Of(wave) => {
                            let keys = wave.iter().map(Member::key).collect();
                            self.run(wave);
                            let mut new = self.failed.iter().skip(before);
                            if !new.any(|(_, failure)| failure.kind == FailureKind::Interrupted) {
                                self.check(ctx, hooks.after_wave.as_ref(), keys)?;
                            }
                        }
                        Wave::Again => self.begun -= 1,
                        Wave::Full => return Err(self.full()),
                    }
                }
            }
            let new = self.failed.get(before..).unwrap_or_default();
            let stop = new.iter().find(|(_, failure)| self.stops_at(failure));
            if let Some((workload, failure)) = stop.cloned() {
                return Err(kit::fail(self.failure(&workload, failure)));
            }
        }
        Ok(())
    }

    /// Whether nothing more is begun after a failure.
    fn stops_at(&self, failure: &Failure) -> bool {
        self.stop_on_failure || failure.kind == FailureKind::Interrupted
    }

    /// The failure of the one that is stuck and leaves no room.
    fn full(&self) -> Box<EvalAltResult> {
        let key = self.stuck.first().map(Member::key).unwrap_or_default();
        let known = self.failed.iter().find(|(workload, _)| *workload == key);
        let failure = known.map_or_else(
            || Failure::new(FailureKind::Cluster, "it is not done".to_owned()),
            |(_, failure)| failure.clone(),
        );
        kit::fail(self.failure(&key, failure))
    }

    /// Waits until the next wave, of at most `most`, may begin, and takes it off what is left. A workload
    /// that cannot be begun is taken off as failed, alone.
    fn begin(&mut self, most: usize) -> Reply<Wave> {
        let begun = Instant::now();
        let mut told = String::new();
        loop {
            self.drop_done()?;
            let most = self.next_wave()?.min(most);
            if most == 0 {
                return Ok(Wave::Full);
            }
            if let Some((index, error)) = self.prepare(most) {
                self.fail_left(index, kit::failure_of(&error));
                return Ok(Wave::Again);
            }
            // As they are now: an autoscaler may have made them larger.
            for index in 0..most {
                let alone = std::slice::from_ref(&self.left[index]);
                if let Err(error) = next_wave(alone, &self.all, &[], self.bounds) {
                    self.fail_left(index, error.into());
                    return Ok(Wave::Again);
                }
            }
            let most = self.next_wave()?.min(most);
            let candidates = &self.left[..most];
            if candidates.is_empty() {
                return Ok(Wave::Full);
            }
            match self
                .world
                .wait(self.cluster.clearance(candidates, self.since))?
            {
                Clearance::Go(count) => return Ok(Wave::Of(self.left.drain(..count).collect())),
                Clearance::Never(why) => {
                    let failure = Failure::new(FailureKind::Cluster, why)
                        .hint("raise what the budget allows, or let the workload surge instead of taking pods away");
                    self.fail_left(0, failure);
                    return Ok(Wave::Again);
                }
                Clearance::Wait(why) if begun.elapsed() >= self.timeout => {
                    let failure = Failure::new(FailureKind::Cluster, why)
                        .hint("make the pods of the budget healthy, and run again")
                        .retryable();
                    self.fail_left(0, failure);
                    return Ok(Wave::Again);
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

    fn next_wave(&self) -> Reply<usize> {
        next_wave(&self.left, &self.all, &self.stuck, self.bounds).map_err(|e| kit::fail(e.into()))
    }

    fn fail_left(&mut self, index: usize, failure: Failure) {
        let member = self.left.remove(index);
        self.failed.push((member.key(), failure));
    }

    /// Waits until the first `count` that are left are done with what was before, and reads them
    /// again; else which one is not, and why.
    fn prepare(&mut self, count: usize) -> Option<(usize, Box<EvalAltResult>)> {
        // Old pods of the strategy OnDelete are what is to be replaced.
        let rolling: Vec<usize> = (0..count)
            .filter(|index| !self.left[*index].is_on_delete())
            .collect();
        let members: Vec<Member> = rolling.iter().map(|i| self.left[*i].clone()).collect();
        let results = self.wait_for(&members);
        for (index, result) in rolling.into_iter().zip(results) {
            if let Err(error) = result {
                return Some((index, error));
            }
        }
        for index in 0..count {
            match self.read_again(&self.left[index]) {
                Ok(member) => {
                    let key = member.key();
                    if let Some(known) = self.all.iter_mut().find(|m| m.key() == key) {
                        *known = member.clone();
                    }
                    self.left[index] = member;
                }
                Err(error) => return Some((index, error)),
            }
        }
        None
    }

    /// Forgets those that were stuck and are done by now, or gone.
    fn drop_done(&mut self) -> Reply<()> {
        let mut stuck = Vec::new();
        for member in std::mem::take(&mut self.stuck) {
            let (namespace, name) = (
                member.object.namespace().unwrap_or(""),
                member.object.name(),
            );
            let done = self.world.wait(async {
                let done = if member.is_on_delete() {
                    let next = self.cluster.next_replacement(&member.kind, namespace, name);
                    next.await.map(|next| matches!(next, Next::Done))
                } else {
                    let rollout = self.cluster.rollout(&member.kind, Some(namespace), name);
                    rollout.await.map(|rollout| rollout.done)
                };
                match done {
                    Err(ClusterError::NotFound { .. }) => Ok(true),
                    done => done,
                }
            });
            match done {
                Ok(true) => {}
                Ok(false) => stuck.push(member),
                Err(error) => {
                    stuck.push(member);
                    self.stuck = stuck;
                    return Err(error);
                }
            }
        }
        self.stuck = stuck;
        Ok(())
    }

    fn read_again(&self, member: &Member) -> Reply<Member> {
        let (namespace, name) = (member.object.namespace(), member.object.name());
        self.world.wait(
            self.cluster
                .member(&member.kind, namespace.unwrap_or(""), name),
        )
    }

    /// Waits for the rollouts of all of them at the same time; a result for each.
    fn wait_for(&self, members: &[Member]) -> Vec<Reply<Rollout>> {
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
                .map(|result| result.map_err(|e| kit::fail(e.into())))
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
        let answer: Dynamic = on_wave.call_within_context(ctx, (self.about(keys),))?;
        let no = answer.as_bool() == Ok(false);
        if no {
            self.begun -= 1;
        }
        Ok(!no)
    }

    /// Lets a script look at what a wave has done.
    fn check(
        &self,
        ctx: &NativeCallContext,
        after_wave: Option<&FnPtr>,
        keys: Vec<String>,
    ) -> Reply<()> {
        let Some(after_wave) = after_wave else {
            return Ok(());
        };
        let answer = after_wave.call_within_context::<Dynamic>(ctx, (self.about(keys),));
        answer
            .map(|_| ())
            .map_err(|error| kit::fail(self.with_account(kit::failure_of(&error))))
    }

    /// What a hook is told.
    fn about(&self, keys: Vec<String>) -> Map {
        let names: Array = keys.into_iter().map(Into::into).collect();
        let left = i64::try_from(self.left.len()).unwrap_or(i64::MAX);
        Map::from([
            ("wave".into(), self.begun.into()),
            ("workloads".into(), names.into()),
            ("left".into(), left.into()),
        ])
    }

    /// Restarts the members of a wave and waits for all of them: first, together, those that roll
    /// out; then those of the strategy `OnDelete`, one after the other.
    fn run(&mut self, wave: Vec<Member>) {
        let before = self.failed.len();
        let (on_delete, rolling): (Vec<_>, Vec<_>) =
            wave.into_iter().partition(Member::is_on_delete);
        let mut begun = Vec::new();
        let mut rest = rolling.into_iter();
        for member in rest.by_ref() {
            match self.restart(&member) {
                Ok(outcome) => begun.push((member, outcome)),
                Err(error) => {
                    self.failed.push((member.key(), kit::failure_of(&error)));
                    // What was begun is still waited for; the rest of the wave is not begun.
                    break;
                }
            }
        }
        let rest: Vec<Member> = rest.chain(on_delete).collect();
        let members: Vec<Member> = begun.iter().map(|(m, _)| m.clone()).collect();
        let results = self.wait_for(&members);
        for ((member, outcome), result) in begun.into_iter().zip(results) {
            let result = result.and_then(|rollout| self.all_new(&member, Some(&rollout)));
            self.record(member, outcome, result);
        }
        let mut rest = rest.into_iter();
        while !rest.as_slice().is_empty() {
            let new = self.failed.get(before..).unwrap_or_default();
            let is_next = rest.as_slice().first().is_some_and(Member::is_on_delete);
            if !is_next || new.iter().any(|(_, failure)| self.stops_at(failure)) {
                break;
            }
            let Some(member) = rest.next() else { break };
            match self.restart(&member) {
                Ok(outcome) => {
                    let result = self
                        .replace_pods(&member)
                        .and_then(|()| self.all_new(&member, None));
                    self.record(member, outcome, result);
                }
                Err(error) => self.failed.push((member.key(), kit::failure_of(&error))),
            }
        }
        self.left.splice(0..0, rest);
    }

    /// Whether what is done means that all pods are new: no partition kept any, and the template still
    /// has the restart. Nothing is new after a dry run.
    fn all_new(&self, member: &Member, rollout: Option<&Rollout>) -> Reply<()> {
        if self.cluster.is_dry_run() {
            return Ok(());
        }
        if let Some(note) = rollout.and_then(|r| r.note.clone()) {
            let failure = Failure::new(FailureKind::Cluster, note)
                .about(member.key())
                .hint("set spec.updateStrategy.rollingUpdate.partition to 0, and run again");
            return Err(kit::fail(failure));
        }
        if self.read_again(member)?.restarted_since(self.since) {
            return Ok(());
        }
        let why = "somebody put its restart back: its pods are not new".to_owned();
        let failure = Failure::new(FailureKind::Cluster, why)
            .about(member.key())
            .hint(
                "cluster::owners tells who manages it; restart it there, or stop that for the time",
            );
        Err(kit::fail(failure))
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

    fn record(&mut self, member: Member, outcome: Outcome, result: Reply<()>) {
        match result {
            Ok(()) if outcome == Outcome::Unchanged => self.unchanged.push(member.key()),
            Ok(()) => self.restarted.push(member.key()),
            Err(error) => {
                self.failed.push((member.key(), kit::failure_of(&error)));
                // A rehearsal takes no pod away.
                if !self.cluster.is_dry_run() {
                    self.stuck.push(member);
                }
            }
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
                    // The pod is still there, and would be named again.
                    None if self.cluster.is_dry_run() => return Ok(()),
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

    /// A workload's failure, with what was done and what not.
    fn failure(&self, workload: &str, mut failure: Failure) -> Failure {
        if failure.kind != FailureKind::Interrupted {
            failure.message = format!("the restart stopped at `{workload}`: {}", failure.message);
        }
        failure.resource.get_or_insert_with(|| workload.to_owned());
        self.with_account(failure)
    }

    /// A failure with what was done and what not as evidence.
    fn with_account(&self, mut failure: Failure) -> Failure {
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

    /// What the word gives.
    pub(super) fn result(&self) -> Map {
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
