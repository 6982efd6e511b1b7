//! `rootshift repl`: lines in, values out, in one session.
//!
//! At a terminal lines are edited, kept in a history and completed; from a pipe they are read as
//! they come, and the first failure ends the session with its exit code. Ctrl-C at the prompt drops
//! the line; while something is evaluated it stops that, and the prompt comes back.

mod editor;
pub(super) mod help;

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    sync::Arc,
};

use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use super::{
    args::{Format, ReplArgs},
    interrupt::Interrupts,
    place::{Place, told},
    show,
    start::{self, What},
};
use crate::{
    engine::{Cancel, Diagnostic, FailureKind, Session},
    journal::Mode,
    run::abandon,
};
use editor::{Editor, Input};

/// What the session is called in its account.
const NAME: &str = "repl";

/// Talks line by line; gives the exit code.
pub(super) fn repl(args: &ReplArgs, runtime: &Runtime) -> u8 {
    let report = show::report(Format::Text);
    if let Err(diagnostic) = start::allowed(NAME, told(&args.session), &args.session) {
        return start::refuse(&diagnostic, report);
    }
    let account = match start::account(&args.session, report) {
        Ok(account) => account,
        Err(code) => return code,
    };
    let cancel = Cancel::new();
    // Without a context a session may need no cluster at all.
    let needed = !args.session.context.is_empty();
    let place = match runtime.block_on(Place::open(&args.session, needed, account.run())) {
        Ok(place) => place,
        Err(failure) => return abandon(&account, &Diagnostic::new(failure)).exit_code,
    };
    let what = What {
        script: NAME.to_owned(),
        title: None,
        mode: told(&args.session),
        params: Value::Object(Map::new()),
        folder: Some(".".into()),
    };
    let opened = start::session(
        &args.session,
        what,
        &place,
        account,
        cancel.clone(),
        runtime,
    );
    let code = match opened {
        Ok(run) => {
            let session = Arc::new(Session::new(run.engine().clone()));
            let result = if io::stdin().is_terminal() {
                greet(&place, run.mode());
                talk(&session, &cancel, runtime)
            } else {
                read(&session, &cancel, runtime)
            };
            cancel.reset();
            runtime.block_on(run.close(result)).exit_code
        }
        Err(ended) => ended.exit_code,
    };
    runtime.block_on(place.close());
    code
}

fn greet(place: &Place, mode: Mode) {
    for cluster in &place.clusters {
        let rights = match mode {
            Mode::DryRun => "changes are rehearsed only (server dry run)",
            Mode::Mutating => "may be changed",
            Mode::ReadOnly => "read only; name it with --context to change it",
        };
        show::notice(&format!(
            "{} at {} ({rights})",
            cluster.context(),
            cluster.server()
        ));
    }
    if let Some(failure) = &place.no_cluster {
        show::notice(&format!("no cluster: {failure}"));
    }
    show::notice("`help` lists the words, Tab completes, Ctrl-D ends");
}

/// With a person, who can see failures and go on.
fn talk(session: &Arc<Session>, cancel: &Cancel, runtime: &Runtime) -> Result<Value, Diagnostic> {
    let mut editor = Editor::new(session.clone()).map_err(Diagnostic::new)?;
    loop {
        match editor.read() {
            Input::Line(line) if line.trim().is_empty() => {}
            Input::Line(line) => {
                if let Err(diagnostic) = answer(session, &line, cancel, runtime) {
                    show::diagnostic(&diagnostic);
                }
            }
            Input::Dropped => {}
            Input::End => return Ok(Value::Null),
        }
    }
}

/// From a pipe, where nobody sees failures in time.
fn read(session: &Session, cancel: &Cancel, runtime: &Runtime) -> Result<Value, Diagnostic> {
    let mut input = String::new();
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| {
            Diagnostic::new(crate::engine::Failure::new(
                FailureKind::Usage,
                format!("the standard input cannot be read: {error}"),
            ))
        })?;
        input.push_str(&line);
        input.push('\n');
        if !session.is_incomplete(&input) {
            answer(session, &std::mem::take(&mut input), cancel, runtime)?;
        }
    }
    // What is still open at the end is an error that points at the end.
    answer(session, &input, cancel, runtime)?;
    Ok(Value::Null)
}

fn answer(
    session: &Session,
    line: &str,
    cancel: &Cancel,
    runtime: &Runtime,
) -> Result<(), Diagnostic> {
    if let Some(topic) = help::topic(line) {
        show::result(&help::text(&session.engine().metadata(), topic));
        return Ok(());
    }
    let _interrupts = Interrupts::listen(runtime, cancel.clone());
    let shown = runtime.block_on(session.eval(line.trim_end()))?;
    if let Some(text) = shown.text {
        show::result(&text);
    }
    Ok(())
}
