//! Two workloads: can they talk, now and after a step, and why not.

use rhai::plugin::*;
use rhai::{Array, Map};

use super::Mesh;
use crate::engine::kit::{self, Reply};
use crate::engine::{Failure, FailureKind, did_you_mean};
use crate::mesh::matrix::Talk;
use crate::mesh::why::{self, Direction, Endpoint, Nobody, State};

/// Adds the words to the module `mesh`.
pub(super) fn add_to(module: &mut rhai::Module) {
    rhai::plugin::combine_with_exported_module!(module, "why", words);
}

/// Why two workloads can or cannot talk.
#[export_module]
// The macro unwraps what it has checked.
#[allow(clippy::unwrap_used)]
mod words {
    /// Whether two workloads can talk, in both directions, now and after a move to each other revision that is
    /// installed; and why not.
    ///
    /// - `a`: `NAMESPACE/WORKLOAD`, `NAMESPACE/POD`, or `POD.NAMESPACE` as checks print it.
    /// - `b`: the other one, likewise; it may be the same.
    ///
    /// Answers `#{ends, states}`. `ends`: the two, `#{name, proxies, revisions}` each. `states`: `#{state,
    /// directions}` each, the first `now`; a direction is `#{client, server, answer, side, cause, server_shows,
    /// client_shows, next}`, where `answer` is `yes`, `no`, `unknown`, or `-` for what nobody connects to (a
    /// gateway), `side` is the one that refuses, `server_shows` and `client_shows` are the paths from the
    /// certificate that is shown to the root that the other one trusts, and `next` is what to do, or `()`.
    /// Throws `usage` if one of them is not there or has no proxy, `refused` if it cannot be judged.
    ///
    /// ```rhai
    /// let why = mesh::connect().why("shop/web", "pay/api");
    /// assert(why.states[0].directions.map(|d| d.answer) == ["yes", "yes"], why);
    /// ```
    #[rhai_fn(global, return_raw, pure, volatile)]
    pub fn why(mesh: &mut Mesh, a: &str, b: &str) -> Reply<Map> {
        let view = mesh.view()?;
        let answer = why::ask(&view, mesh.cluster.context(), a, b)
            .map_err(|nobody| kit::fail(super::failure(nobody)))?;
        let ends: Array = answer.ends.iter().map(super::end).collect();
        let states: Array = answer.states.iter().map(super::state).collect();
        Ok(Map::from([
            ("ends".into(), ends.into()),
            ("states".into(), states.into()),
        ]))
    }
}

fn failure(nobody: Nobody) -> Failure {
    match nobody {
        Nobody::Outside(name) => Failure::usage(format!("`{name}` has no proxy")).hint(
            "it is outside of the mesh: what it sends is plain text, and nothing here can break it",
        ),
        Nobody::Unjudged(name, reason) => {
            Failure::refused("unknown", format!("`{name}` cannot be judged: {reason}"))
                .hint("rootshift check names everything that cannot be judged")
        }
        Nobody::Unknown(name, known) => {
            let mut failure = Failure::new(
                FailureKind::Usage,
                format!("no workload and no pod with a proxy is named `{name}`"),
            );
            let last = name.rsplit('/').next().unwrap_or(&name);
            let elsewhere = known
                .iter()
                .find(|k| k.rsplit('/').next() == Some(last))
                .map(|k| format!("did you mean `{k}`?"));
            failure.hint = elsewhere
                .or_else(|| did_you_mean(&name, known.iter().map(String::as_str)))
                .or_else(|| {
                    Some(
                        "names are NAMESPACE/WORKLOAD; `rootshift run inventory` lists them".into(),
                    )
                });
            failure
        }
    }
}

fn end(end: &Endpoint) -> Dynamic {
    let revisions: Array = end.revisions.iter().cloned().map(Into::into).collect();
    let proxies = i64::try_from(end.proxies).unwrap_or(i64::MAX);
    Map::from([
        ("name".into(), end.name.clone().into()),
        ("proxies".into(), proxies.into()),
        ("revisions".into(), revisions.into()),
    ])
    .into()
}

fn state(state: &State) -> Dynamic {
    let directions: Array = state.directions.iter().map(direction).collect();
    Map::from([
        ("state".into(), state.name.clone().into()),
        ("directions".into(), directions.into()),
    ])
    .into()
}

fn direction(direction: &Direction) -> Dynamic {
    let (answer, side, cause) = match &direction.talk {
        None => ("-", Dynamic::UNIT, Dynamic::UNIT),
        Some(Talk::Yes) => ("yes", Dynamic::UNIT, Dynamic::UNIT),
        Some(Talk::No { side, cause }) => ("no", side.to_string().into(), cause.clone().into()),
        Some(Talk::Unknown(reason)) => ("unknown", Dynamic::UNIT, reason.clone().into()),
    };
    let next = direction.next.clone();
    Map::from([
        ("client".into(), direction.client.clone().into()),
        ("server".into(), direction.server.clone().into()),
        ("answer".into(), answer.into()),
        ("side".into(), side),
        ("cause".into(), cause),
        ("server_shows".into(), direction.server_shows.clone().into()),
        ("client_shows".into(), direction.client_shows.clone().into()),
        ("next".into(), next.map_or(Dynamic::UNIT, Into::into)),
    ])
    .into()
}
