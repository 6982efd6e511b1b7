//! Faults of the API server, from a plan: refusals, slowness, lost answers.
//!
//! A fault is data, so that a scenario or a test says which call fails and how, and the same plan
//! makes the same calls fail again.

use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

/// One fault: which calls it meets, and what happens to them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Verb of the API (`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`); any unless given.
    #[serde(default)]
    pub verb: Option<String>,
    /// Resource with its group and subresource (`deployments.apps`, `pods/portforward`); any unless given.
    #[serde(default)]
    pub resource: Option<String>,
    /// Namespace; any unless given.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name of the object; any unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// The first of the matching calls that it meets, counted from 1.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many matching calls in a row it meets.
    #[serde(default = "one")]
    pub times: u64,
    /// What happens.
    pub effect: Effect,
}

/// What a fault does to a call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The answer is this error, and nothing is done.
    Status {
        /// HTTP status code.
        code: u16,
        /// The message of the Status.
        message: String,
        /// `Retry-After` in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// The answer comes this much later, in real milliseconds.
    Delay {
        /// How much later.
        milliseconds: u64,
    },
    /// The connection ends before anything is done.
    DropBefore,
    /// The call is done and the connection ends without an answer.
    DropAfter,
    /// The call is done and answered with success, in a text that is no JSON: something in front of
    /// the server, or an answer that was cut.
    Garbled,
}

/// What a call is matched by.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Verb of the API.
    pub verb: &'a str,
    /// Resource with its group and subresource.
    pub resource: &'a str,
    /// Namespace; empty for none.
    pub namespace: &'a str,
    /// Name; empty for none.
    pub name: &'a str,
}

/// The faults of a server with how often each has matched.
#[derive(Debug, Default)]
pub struct FaultPlan(Mutex<Vec<(Fault, u64)>>);

impl FaultPlan {
    /// A plan of these faults.
    pub fn new(faults: Vec<Fault>) -> FaultPlan {
        FaultPlan(Mutex::new(faults.into_iter().map(|f| (f, 0)).collect()))
    }

    /// Adds a fault while the server runs; its count begins now.
    pub fn add(&self, fault: Fault) {
        self.faults().push((fault, 0));
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.faults().clear();
    }

    /// Counts a call and returns what is to happen to it, in the order of the plan.
    pub fn meet(&self, call: Call<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (fault, seen) in self.faults().iter_mut() {
            if !matches(fault, call) {
                continue;
            }
            *seen += 1;
            if *seen >= fault.nth && *seen < fault.nth.saturating_add(fault.times) {
                effects.push(fault.effect.clone());
            }
        }
        effects
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<(Fault, u64)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Effect {
    /// How long this effect holds the answer back.
    pub fn delay(&self) -> Option<Duration> {
        match self {
            Effect::Delay { milliseconds } => Some(Duration::from_millis(*milliseconds)),
            _ => None,
        }
    }
}

fn matches(fault: &Fault, call: Call<'_>) -> bool {
    let fits = |wish: &Option<String>, is: &str| wish.as_deref().is_none_or(|w| w == is);
    fits(&fault.verb, call.verb)
        && fits(&fault.resource, call.resource)
        && fits(&fault.namespace, call.namespace)
        && fits(&fault.name, call.name)
}

fn one() -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(verb: &'a str, resource: &'a str) -> Call<'a> {
        Call {
            verb,
            resource,
            namespace: "shop",
            name: "",
        }
    }

    #[test]
    fn a_fault_meets_the_nth_matching_call_and_no_other() {
        let plan = FaultPlan::new(vec![Fault {
            verb: Some("patch".to_owned()),
            resource: Some("deployments.apps".to_owned()),
            namespace: None,
            name: None,
            nth: 2,
            times: 1,
            effect: Effect::DropAfter,
        }]);
        assert!(plan.meet(call("patch", "deployments.apps")).is_empty());
        assert!(plan.meet(call("get", "deployments.apps")).is_empty());
        assert_eq!(
            plan.meet(call("patch", "deployments.apps")),
            [Effect::DropAfter]
        );
        assert!(plan.meet(call("patch", "deployments.apps")).is_empty());
    }
}
