//! Each target for a bounded time: a moment in `cargo test`, longer if `ROOTSHIFT_FUZZ_SECONDS` says so.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::{TARGETS, Target, target};

/// No input may take longer, even in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn chains_that_are_changed_are_judged_and_never_accepted() {
    run("chains");
}

#[test]
fn dumps_that_are_changed_are_read_or_unknown() {
    run("dumps");
}

#[test]
fn certificates_are_found_in_whatever_form_they_come() {
    run("input");
}

#[test]
fn no_error_says_a_byte_of_a_private_key() {
    run("keys");
}

#[test]
fn spiffe_ids_are_read_strictly() {
    run("spiffe");
}

#[test]
fn each_target_has_a_corpus_and_each_corpus_a_target() {
    let files = std::fs::read_dir(corpus("")).unwrap();
    let mut files: Vec<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, targets);
}

/// Everything in the corpus, and then bytes at random. Of these the least that fail are shown.
fn run(name: &str) {
    let seconds = std::env::var("ROOTSHIFT_FUZZ_SECONDS").map(|text| text.parse().unwrap());
    let target = target(name);
    let kept = std::fs::read_to_string(corpus(name)).unwrap();
    for line in kept.lines() {
        let bytes = STANDARD.decode(line).unwrap();
        let read = std::panic::catch_unwind(|| timed(target, &bytes));
        assert!(read.is_ok(), "the target `{name}` fails with {line}");
    }
    let config = Config {
        cases: 16,
        failure_persistence: None,
        max_shrink_iters: 5_000,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let until = Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(1.0));
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        let read = TestRunner::new(config.clone()).run(&vec(any::<u8>(), 0..160), |bytes| {
            timed(target, &bytes);
            Ok(())
        });
        if let Err(TestError::Fail(reason, bytes)) = read {
            let line = STANDARD.encode(bytes);
            let file = corpus(name);
            panic!(
                "the target `{name}` fails: {reason}\nkeep it: echo {line} >>{}",
                file.display()
            );
        }
        rounds += 1;
    }
    let kept = kept.lines().count();
    println!("{name}: {kept} of the corpus, {} at random", rounds * 16);
}

fn timed(target: Target, bytes: &[u8]) {
    let started = Instant::now();
    target(bytes);
    let took = started.elapsed();
    assert!(took < LIMIT, "it takes {took:?}");
}

/// A file with an input in base64 in each line.
fn corpus(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    tests.join("integration/fuzz/corpus").join(name)
}
