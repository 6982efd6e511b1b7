//! Shows what is not an event: errors before a run has begun, and notices.

use std::io::{self, Write};

use crate::{
    cli::args::Format,
    effect::terminal,
    engine::{Diagnostic, Failure},
    journal::Record,
    report::{Json, Jsonl, Report, Style, Text, failure_text},
    run::{Listener, failure_record},
};

/// Shows a failure and gives its exit code.
pub(super) fn failure(failure: &Failure) -> u8 {
    let text = failure_text(&failure_record(failure), style());
    io::stderr().write_all(text.as_bytes()).ok();
    failure.kind.exit_code()
}

/// Shows a diagnostic and gives its exit code.
pub(super) fn diagnostic(diagnostic: &Diagnostic) -> u8 {
    let text = diagnostic.render(terminal::stderr_colour());
    io::stderr().write_all(text.as_bytes()).ok();
    diagnostic.failure.kind.exit_code()
}

/// A line for the person at the terminal.
pub(super) fn notice(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// A line of results. A closed pipe is the reader's business.
pub(super) fn result(text: &str) {
    writeln!(io::stdout(), "{text}").ok();
}

/// The report of a run in this format.
pub(super) fn report(format: Format) -> Box<dyn Listener> {
    let (out, err) = (io::stdout(), io::stderr());
    let report: Box<dyn Report> = match format {
        Format::Json => Box::new(WithErrors(Json::new(out))),
        Format::Jsonl => Box::new(WithErrors(Jsonl::new(out))),
        Format::Text => Box::new(Text::new(out, err, style())),
    };
    Box::new(Heard(report))
}

fn style() -> Style {
    Style {
        colour: terminal::stderr_colour(),
    }
}

/// A report as a run knows it. What cannot be written is in the journal all the same.
struct Heard(Box<dyn Report>);

impl Listener for Heard {
    fn hear(&mut self, record: &Record) {
        self.0.record(record).ok();
    }
}

/// A report for programs that leaves why a run did not end well on standard error too.
struct WithErrors<R>(R);

impl<R: Report> Report for WithErrors<R> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        if let crate::journal::Event::Finished {
            failure: Some(failure),
            ..
        } = &record.event
        {
            let text = failure_text(failure, style());
            io::stderr().write_all(text.as_bytes()).ok();
        }
        self.0.record(record)
    }
}
