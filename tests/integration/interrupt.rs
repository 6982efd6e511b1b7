//! Ctrl-C in three stages, with real signals.

use std::time::Duration;

use crate::support::{Program, Ran};

/// Says when it is ready for a signal, waits, and cleans up.
const PATIENT: &str = r#"
ensure {
    print("ready");
    time::sleep(60);
} always {
    print("cleaned");
}
"#;

/// Its cleanup takes longer than anybody waits.
const STUBBORN: &str = r#"
ensure {
    print("ready");
    time::sleep(60);
} always {
    print("cleaning");
    time::sleep(60);
}
"#;

fn signalled(code: &str, signals: &[(&str, &str)]) -> Ran {
    let mut running = Program::new(["eval", code]).start();
    for (awaited, signal) in signals {
        loop {
            let line = if awaited.starts_with("stopping") {
                running.error_line()
            } else {
                running.line()
            };
            if line.starts_with(awaited) {
                break;
            }
        }
        running.signal(signal);
    }
    running.end()
}

#[test]
fn once_stops_before_the_next_call_and_the_cleanup_runs() {
    let ran = signalled(PATIENT, &[("ready", "INT")]).code(130);
    assert_eq!(ran.stdout, "cleaned\n");
    assert!(ran.elapsed < Duration::from_secs(30));
    ran.stderr_has("stopping after the current call; Ctrl-C again stops now\n");
}

#[test]
fn a_termination_stops_at_once_and_the_cleanup_runs() {
    let ran = signalled(PATIENT, &[("ready", "TERM")]).code(130);
    assert_eq!(ran.stdout, "cleaned\n");
    ran.stderr_has("stopping now; cleanup still runs, Ctrl-C again ends the program\n");
}

#[test]
fn thrice_ends_the_program_in_the_middle_of_the_cleanup() {
    let signals = [
        ("ready", "INT"),
        ("cleaning", "INT"),
        ("stopping now", "INT"),
    ];
    let ran = signalled(STUBBORN, &signals).code(130);
    assert!(ran.elapsed < Duration::from_secs(30));
}

#[test]
fn a_running_child_is_ended_by_the_second() {
    let code = r#"print("ready"); shell::run(["sh", "-c", "echo begun; sleep 60"])"#;
    let ran = signalled(code, &[("ready", "INT"), ("stopping after", "INT")]).code(130);
    assert!(ran.elapsed < Duration::from_secs(30));
}
