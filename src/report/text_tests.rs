use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::journal::{MutationCounts, MutationTarget, Outcome, PairFigures, SCHEMA, TargetRecord};

fn show(events: Vec<Event>) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut report = Text::new(&mut out, &mut err, Style::default());
    for event in events {
        let record = Record {
            event,
            at: Timestamp::UNIX_EPOCH,
            run: "r".to_owned(),
        };
        report.record(&record).unwrap();
    }
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn started(mode: Mode) -> Event {
    Event::Started {
        schema: SCHEMA,
        version: "0".to_owned(),
        script: "move".to_owned(),
        title: Some("Move it.".to_owned()),
        mode,
        targets: vec![TargetRecord {
            context: "prod".to_owned(),
            server: "https://192.0.2.1".to_owned(),
            twin: None,
        }],
        params: Value::Null,
        waivers: Vec::new(),
        journal: Some("/j.jsonl".to_owned()),
    }
}

fn finished(summary: Value, handshakes: Option<TrafficFigures>) -> Event {
    Event::Finished {
        outcome: Outcome::Done,
        exit_code: 0,
        seconds: 75.2,
        handshakes,
        mutation_counts: MutationCounts {
            changed: 1,
            ..MutationCounts::default()
        },
        waivers: vec![WaiverRecord {
            code: "roots".to_owned(),
            reason: None,
            used: 0,
        }],
        summary,
        failure: None,
    }
}

#[test]
fn a_mutating_run_is_a_tree_of_steps_and_ends_with_its_figures() {
    let target = MutationTarget {
        context: "prod".to_owned(),
        verb: "patch".to_owned(),
        kind: "namespace".to_owned(),
        namespace: None,
        name: "shop".to_owned(),
        why: Some("label".to_owned()),
    };
    let figures = TrafficFigures::of(
        vec![
            PairFigures {
                client: "a".to_owned(),
                server: "b".to_owned(),
                live: true,
                made: 4,
                ..PairFigures::default()
            },
            PairFigures {
                client: "b".to_owned(),
                server: "a".to_owned(),
                live: true,
                made: 3,
                failed: 2,
                reasons: [("unknown issuer".to_owned(), 2)].into(),
                ..PairFigures::default()
            },
        ],
        vec![],
    );
    let step = |step, depth, name: &str| Event::StepStarted {
        step,
        parent: None,
        name: name.to_owned(),
        depth,
    };
    let end = |step, depth, name: &str, handshakes| Event::StepFinished {
        step,
        name: name.to_owned(),
        depth,
        result: StepResult::Done,
        seconds: 1.25,
        handshakes,
        failure: None,
    };
    let (out, err) = show(vec![
        started(Mode::Mutating),
        step(1, 0, "distribute"),
        step(2, 1, "move shop"),
        Event::Gate {
            code: "roots".to_owned(),
            title: "every proxy trusts both roots".to_owned(),
            verdict: GateVerdict::Passed,
            evidence: vec!["12 proxies".to_owned()],
            hint: None,
            reason: None,
        },
        Event::Mutation {
            mutation: 1,
            target,
            what: MutationEvent::Sent {
                outcome: "changed".to_owned(),
                summary: "namespace/shop labeled".to_owned(),
            },
        },
        Event::Process {
            process: 1,
            what: ChildEvent::Started {
                argv: vec!["/x/asmcli".to_owned(), "a b".to_owned()],
            },
        },
        Event::Process {
            process: 1,
            what: ChildEvent::Line {
                stream: "stderr".to_owned(),
                text: "asmcli: hello".to_owned(),
            },
        },
        Event::Process {
            process: 1,
            what: ChildEvent::Ended {
                code: 1,
                seconds: 0.0,
            },
        },
        end(2, 1, "move shop", Some(figures.clone())),
        end(1, 0, "distribute", None),
        finished(json!({"proxies_moved": 3}), Some(figures)),
    ]);
    assert_eq!(
        err,
        "move: Move it.\n\
         cluster  prod at https://192.0.2.1\n\
         journal  /j.jsonl\n\
         step distribute\n\
         \x20 step move shop\n\
         \x20   gate roots passed: every proxy trusts both roots\n\
         \x20     - 12 proxies\n\
         \x20   namespace/shop labeled\n\
         \x20   $ /x/asmcli 'a b'\n\
         \x20   asmcli| hello\n\
         \x20   asmcli ended with exit code 1, 0.0 s\n\
         \x20 done move shop, 1.2 s, 7 handshakes, 2 failed for trust\n\
         done distribute, 1.2 s\n"
    );
    assert_eq!(
        out,
        "proxies moved  3\n\
         mutations     1 changed, 0 unchanged, 0 refused, 0 failed\n\
         handshakes    7 made, 2 failed for trust, 0 unreachable\n\
         least probed  b -> a, 3\n\
         no trust      b -> a, 2 failed: 2 unknown issuer\n\
         waiver        roots, not used\n\
         outcome       done, 1 min 15 s\n"
    );
}

#[test]
fn a_read_only_run_prints_its_results_alone() {
    let mut end = finished(json!(null), Some(TrafficFigures::default()));
    if let Event::Finished { waivers, .. } = &mut end {
        waivers.clear();
    }
    let (out, err) = show(vec![
        started(Mode::ReadOnly),
        Event::Output {
            text: "pay trusts".to_owned(),
        },
        end,
    ]);
    assert_eq!((out.as_str(), err.as_str()), ("pay trusts\n", ""));
}

#[test]
fn a_failure_shows_its_evidence_and_its_hint() {
    let failure = FailureRecord {
        message: "`shop` may not move".to_owned(),
        evidence: vec!["web-1.shop trusts [CITADEL]".to_owned()],
        hint: Some("--waive roots".to_owned()),
        ..FailureRecord::default()
    };
    assert_eq!(
        failure_text(&failure, Style::default()),
        "error: `shop` may not move\n  - web-1.shop trusts [CITADEL]\nhint: --waive roots\n"
    );
}
