use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::account::tests::{Heard, account};
use super::*;
use crate::{
    effect::clock::SystemClock,
    engine::{Cancel, Limits, Modules},
    host::{
        HostWords,
        world::{World, WorldParts},
    },
    journal::{
        Approval, Event, Mode, Outcome, PairFigures, StepResult, TargetRecord, TrafficFigures,
    },
};

/// Counts ten handshakes a checkpoint, of which `failing` fail.
struct Prober {
    checkpoints: AtomicU64,
    failing: u64,
}

impl TrafficSource for Prober {
    fn checkpoint<'a>(&'a self, _: &'a str) -> BoxFuture<'a, TrafficFigures> {
        Box::pin(async {
            self.checkpoints.fetch_add(1, Ordering::Relaxed);
            self.total()
        })
    }

    fn total(&self) -> TrafficFigures {
        let checkpoints = self.checkpoints.load(Ordering::Relaxed);
        let pair = PairFigures {
            client: "a".to_owned(),
            server: "b".to_owned(),
            live: true,
            made: 10 * checkpoints,
            failed: self.failing * checkpoints,
            ..PairFigures::default()
        };
        TrafficFigures::of(vec![pair], Vec::new())
    }
}

/// A session's choices; the rest is the same for all.
#[derive(Default)]
struct Choices {
    mutating: bool,
    target: bool,
    approvals: Approvals,
    waivers: Vec<(String, Option<String>)>,
    failing: Option<u64>,
    cancel: Cancel,
}

fn run(code: &str, choices: Choices) -> (Ended, Vec<Event>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (account, heard): (_, Heard) = account();
    let target = TargetRecord {
        context: "prod".to_owned(),
        server: "https://192.0.2.1".to_owned(),
        twin: None,
    };
    let opening = Opening {
        script: "test".to_owned(),
        title: None,
        mode: if choices.mutating {
            Mode::Mutating
        } else {
            Mode::ReadOnly
        },
        targets: choices.target.then_some(target).into_iter().collect(),
        params: json!({}),
        clusters: Vec::new(),
        approvals: choices.approvals,
        waivers: Waivers::new(choices.waivers),
        traffic: choices.failing.map(|failing| {
            Arc::new(Prober {
                checkpoints: AtomicU64::new(0),
                failing,
            }) as Arc<dyn TrafficSource>
        }),
        account: Arc::into_inner(account).unwrap(),
        modules: Modules::new(None),
        limits: Limits::default(),
        cancel: choices.cancel,
        runtime: runtime.handle().clone(),
    };
    let session = Session::open(opening, |port, bridge| Stage {
        world: World::new(WorldParts {
            clusters: Vec::new(),
            no_cluster: None,
            cas: Vec::new(),
            dumps: Arc::default(),
            bridge,
            port,
            path_prefix: None,
            clock: Arc::new(SystemClock),
        }),
        words: Box::new(HostWords),
        guard: None,
    });
    let ended = match session {
        Ok(session) => runtime.block_on(async {
            let result = match session.engine().compile("test", code) {
                Ok(program) => session.run(program, json!({})).await,
                Err(diagnostic) => Err(diagnostic),
            };
            session.close(result).await
        }),
        Err(ended) => ended,
    };
    (ended, heard.events())
}

fn steps(events: &[Event]) -> Vec<(String, usize, StepResult, u64)> {
    let step = |event: &Event| match event {
        Event::StepFinished {
            name,
            depth,
            result,
            handshakes,
            ..
        } => Some((
            name.clone(),
            *depth,
            *result,
            handshakes.as_ref().map_or(0, |h| h.made),
        )),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

#[test]
fn steps_nest_and_each_holds_the_handshakes_made_while_it_ran() {
    let code = r#"step "outer" { step "first" { 1 } step "second" { 2 } } 42"#;
    let (ended, events) = run(
        code,
        Choices {
            failing: Some(0),
            ..Choices::default()
        },
    );
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Done, 0));
    assert_eq!(
        steps(&events),
        [
            ("first".to_owned(), 1, StepResult::Done, 10),
            ("second".to_owned(), 1, StepResult::Done, 10),
            ("outer".to_owned(), 0, StepResult::Done, 30),
        ]
    );
    assert!(matches!(events.first(), Some(Event::Started { .. })));
    let Some(Event::Finished {
        handshakes: Some(all),
        summary,
        ..
    }) = events.last()
    else {
        panic!("not finished");
    };
    assert_eq!((all.made, summary), (40, &Value::from(42)));
}

#[test]
fn a_run_during_which_handshakes_failed_is_not_done() {
    let (ended, events) = run(
        r#"step "break it" { 1 }"#,
        Choices {
            failing: Some(2),
            ..Choices::default()
        },
    );
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, 3));
    assert_eq!(
        ended.failure.unwrap().message,
        "4 handshakes failed for trust during the run"
    );
    let failed = events.iter().find_map(|e| match e {
        Event::StepFinished {
            handshakes: Some(h),
            ..
        } => Some(h.failed),
        _ => None,
    });
    assert_eq!(failed, Some(2));
}

#[test]
fn a_failing_step_says_so_at_every_level() {
    let (ended, events) = run(
        r#"step "outer" { step "inner" { throw "no" } }"#,
        Choices::default(),
    );
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, 1));
    let results: Vec<_> = steps(&events).into_iter().map(|s| (s.0, s.2)).collect();
    assert_eq!(
        results,
        [
            ("inner".to_owned(), StepResult::Failed),
            ("outer".to_owned(), StepResult::Failed)
        ]
    );
    let rendered = ended.failure.unwrap().rendered.unwrap();
    assert!(rendered.contains("test:1:"), "{rendered}");
}

#[test]
fn nothing_is_evaluated_on_a_real_cluster_when_nobody_can_confirm() {
    let (ended, events) = run(
        r#"print("too late")"#,
        Choices {
            mutating: true,
            target: true,
            ..Choices::default()
        },
    );
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, 2));
    assert!(!events.iter().any(|e| matches!(e, Event::Output { .. })));
    assert!(events.contains(&Event::Approval {
        question: "Change cluster `prod` at https://192.0.2.1?".to_owned(),
        granted: false,
        by: Approval::Nobody,
    }));
}

#[test]
fn a_person_is_asked_and_a_no_is_a_refusal() {
    struct Says(&'static str);
    impl Ask for Says {
        fn ask<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Option<String>>> {
            Box::pin(async { Ok(Some(self.0.to_owned())) })
        }
    }
    for (answer, code) in [("y", 0), ("", 3), ("prod", 3)] {
        let approvals = Approvals {
            person: Some(Box::new(Says(answer))),
            ..Approvals::default()
        };
        let (ended, _) = run(
            "1",
            Choices {
                mutating: true,
                target: true,
                approvals,
                ..Choices::default()
            },
        );
        assert_eq!(ended.exit_code, code, "{answer:?}");
    }
}

#[test]
fn yes_does_not_answer_where_a_name_must_be_typed() {
    let code = r#"ask::confirm_name("Delete the old CA", "prod")"#;
    let with = |names: &[&str]| {
        let approvals = Approvals {
            yes: true,
            names: names.iter().map(ToString::to_string).collect(),
            ..Approvals::default()
        };
        let (ended, events) = run(
            code,
            Choices {
                approvals,
                ..Choices::default()
            },
        );
        let by = events.iter().find_map(|e| match e {
            Event::Approval { granted, by, .. } => Some((*granted, *by)),
            _ => None,
        });
        (ended.exit_code, by)
    };
    assert_eq!(with(&[]), (2, Some((false, Approval::Nobody))));
    assert_eq!(with(&["other"]), (2, Some((false, Approval::Nobody))));
    assert_eq!(with(&["prod"]), (0, Some((true, Approval::ConfirmFlag))));
}

#[test]
fn a_waiver_that_was_not_used_is_said() {
    let (_, events) = run(
        "1",
        Choices {
            waivers: vec![("RS1".to_owned(), None)],
            ..Choices::default()
        },
    );
    let said = events.iter().any(
        |e| matches!(e, Event::Note { text, .. } if text.starts_with("waiver `RS1` was not used")),
    );
    assert!(said, "{events:?}");
}

#[test]
fn a_request_to_stop_is_honoured_before_the_next_step() {
    let cancel = Cancel::new();
    cancel.ask();
    let (ended, events) = run(
        r#"step "never" { print("too late") }"#,
        Choices {
            cancel,
            ..Choices::default()
        },
    );
    assert_eq!(
        (ended.outcome, ended.exit_code),
        (Outcome::Interrupted, 130)
    );
    assert!(
        !events
            .iter()
            .any(|e| matches!(e, Event::StepStarted { .. }))
    );
}
