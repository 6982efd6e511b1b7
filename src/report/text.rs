//! The report for people: plain lines, one after the other.
//!
//! Standard output gets results: what the script prints, what it returns, and after a run that had
//! steps or changed something how it ended. Everything else, steps as an indented tree, gates, mutations, notes and errors,
//! goes to standard error.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
};

use super::{Report, Style, value};
use crate::journal::{
    Approval, ChildEvent, Event, FailureRecord, GateVerdict, Level, Mode, MutationEvent, Record,
    StepResult, TrafficFigures, WaiverRecord,
};

/// How many findings of one gate, or pairs without trust, are shown.
const LINES: usize = 12;

/// Writes results to `out` and progress to `err`.
#[derive(Debug)]
pub struct Text<O, E> {
    out: O,
    err: E,
    style: Style,
    depth: usize,
    mode: Mode,
    /// Whether anything was done that is worth a sum at the end.
    worked: bool,
    /// The evidence of gates that refused.
    said: BTreeSet<String>,
    /// The program of each running child, by its number.
    children: Vec<(u64, String)>,
}

impl<O: Write + Send, E: Write + Send> Text<O, E> {
    /// `style` is that of `err`; results are never coloured.
    pub fn new(out: O, err: E, style: Style) -> Self {
        Self {
            out,
            err,
            style,
            depth: 0,
            mode: Mode::ReadOnly,
            worked: false,
            said: BTreeSet::new(),
            children: Vec::new(),
        }
    }

    /// Lines on standard error, at the depth of the running step.
    fn say(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.err, "{}{line}", "  ".repeat(self.depth))?;
        }
        Ok(())
    }

    fn started(&mut self, event: &Event) -> io::Result<()> {
        let Event::Started {
            script,
            title,
            mode,
            targets,
            waivers,
            journal,
            ..
        } = event
        else {
            return Ok(());
        };
        self.mode = *mode;
        let shown = targets.iter().any(|t| t.twin.is_some()) || *mode != Mode::ReadOnly;
        if !shown {
            return Ok(());
        }
        let mut text = match title {
            Some(title) => format!("{}: {title}\n", self.style.strong(script)),
            None => format!("{}\n", self.style.strong(script)),
        };
        for target in targets {
            let _ = writeln!(text, "cluster  {} at {}", target.context, target.server);
            if let Some(twin) = &target.twin {
                let _ = writeln!(text, "twin     {}, seed {}", twin.scenario, twin.seed);
            }
        }
        if *mode == Mode::DryRun {
            let _ = writeln!(text, "mode     server dry run: nothing will be changed");
        }
        if *mode != Mode::ReadOnly
            && let Some(journal) = journal
        {
            let _ = writeln!(text, "journal  {journal}");
        }
        for waiver in waivers {
            let _ = writeln!(text, "waiver   {}", waiver_name(waiver));
        }
        self.say(&text)
    }

    fn gate(&mut self, event: &Event) -> io::Result<()> {
        let Event::Gate {
            code,
            title,
            verdict,
            evidence,
            hint,
            reason,
        } = event
        else {
            return Ok(());
        };
        let verdict_text = match verdict {
            GateVerdict::Passed => self.style.good("passed"),
            GateVerdict::Refused => self.style.bad("refused"),
            GateVerdict::Waived => self.style.warn("waived"),
        };
        let mut text = format!("gate {code} {verdict_text}: {title}\n");
        if *verdict == GateVerdict::Refused {
            self.said.extend(evidence.iter().cloned());
        }
        // Of one that passed it is what somebody should know who relies on it.
        for line in evidence.iter().take(LINES) {
            let _ = writeln!(text, "  - {line}");
        }
        if let Some(more) = evidence.len().checked_sub(LINES).filter(|n| *n > 0) {
            let _ = writeln!(text, "  - and {more} more, which the journal holds");
        }
        if let Some(reason) = reason {
            let _ = writeln!(text, "  reason: {reason}");
        }
        // The hint of a refusal is shown with the failure that it becomes.
        if *verdict == GateVerdict::Waived
            && let Some(hint) = hint
        {
            let _ = writeln!(text, "  hint: {hint}");
        }
        self.say(&text)
    }

    fn mutation(&mut self, event: &Event) -> io::Result<()> {
        let Event::Mutation { target, what, .. } = event else {
            return Ok(());
        };
        self.worked = true;
        match what {
            MutationEvent::Intended { .. } => Ok(()),
            MutationEvent::Sent { summary, .. } => self.say(summary),
            MutationEvent::Unchanged { summary } => {
                let line = self.style.dim(summary);
                self.say(&line)
            }
            MutationEvent::Refused { code, error } => {
                let word = self.style.bad("refused");
                self.say(&format!("{word} {target}: {error} ({code})"))
            }
            MutationEvent::Failed { error } => {
                let word = self.style.bad("failed");
                self.say(&format!("{word} {target}: {error}"))
            }
        }
    }

    fn process(&mut self, number: u64, what: &ChildEvent) -> io::Result<()> {
        match what {
            ChildEvent::Started { argv } => {
                let program = argv.first().cloned().unwrap_or_default();
                let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
                self.children.push((number, name));
                self.say(&format!("$ {}", shell_words(argv)))
            }
            ChildEvent::Line { text, .. } => {
                let name = self
                    .children
                    .iter()
                    .find(|(n, _)| *n == number)
                    .map_or("", |(_, name)| name.as_str());
                // Many programs begin their lines with their own name.
                let text = text
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix(':'))
                    .unwrap_or(text);
                let text = text.strip_prefix(' ').unwrap_or(text);
                let line = format!("{name}| {text}");
                let line = self.style.dim(line.trim_end());
                self.say(&line)
            }
            ChildEvent::Ended { code, seconds } => {
                let ended = self.children.iter().position(|(n, _)| *n == number);
                let name = ended.map_or_else(String::new, |i| self.children.remove(i).1);
                let took = duration(*seconds);
                if *code == 0 {
                    return self.say(&format!("{name} done, {took}"));
                }
                let word = self.style.bad(&format!("exit code {code}"));
                self.say(&format!("{name} ended with {word}, {took}"))
            }
        }
    }

    fn step_finished(&mut self, event: &Event) -> io::Result<()> {
        let Event::StepFinished {
            name,
            depth,
            result,
            seconds,
            handshakes,
            ..
        } = event
        else {
            return Ok(());
        };
        self.depth = *depth;
        let word = match result {
            StepResult::Done => self.style.good("done"),
            StepResult::Failed => self.style.bad("failed"),
            StepResult::Interrupted => self.style.warn("interrupted"),
            StepResult::Refused => self.style.bad("refused"),
        };
        let mut text = format!("{word} {name}, {}", duration(*seconds));
        if let Some(figures) = handshakes {
            let _ = write!(text, ", {}", handshakes_short(figures));
        }
        self.say(&text)
    }

    fn finished(&mut self, event: &Event) -> io::Result<()> {
        let Event::Finished {
            outcome,
            seconds,
            handshakes,
            mutation_counts,
            waivers,
            summary,
            failure,
            ..
        } = event
        else {
            return Ok(());
        };
        self.depth = 0;
        write!(self.out, "{}", value::render(summary))?;
        let failed = handshakes.as_ref().is_some_and(|h| h.failed > 0);
        let mut text = String::new();
        if self.mode != Mode::ReadOnly {
            let rehearsed = if self.mode == Mode::DryRun {
                " (server dry run)"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "mutations     {} changed, {} unchanged, {} refused, {} failed{rehearsed}",
                mutation_counts.changed,
                mutation_counts.unchanged,
                mutation_counts.refused,
                mutation_counts.failed
            );
        }
        if let Some(figures) = handshakes {
            text.push_str(&handshakes_text(figures));
        }
        for waiver in waivers {
            let _ = writeln!(text, "waiver        {}", waiver_text(waiver));
        }
        let _ = writeln!(text, "outcome       {outcome}, {}", duration(*seconds));
        if self.mode != Mode::ReadOnly && (self.worked || failed) {
            write!(self.out, "{text}")?;
            self.out.flush()?;
        } else if failed || !waivers.is_empty() {
            self.say(&text)?;
        }
        if let Some(failure) = failure {
            let mut failure = failure.clone();
            // What a gate has just said need not be said again.
            failure.evidence.retain(|line| !self.said.contains(line));
            write!(self.err, "{}", failure_text(&failure, self.style))?;
        }
        self.out.flush()
    }
}

impl<O: Write + Send, E: Write + Send> Report for Text<O, E> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        match &record.event {
            Event::Approval {
                question,
                granted,
                by,
            } => {
                let answer = if *granted { "yes" } else { "no" };
                let by = match by {
                    // The person saw the question already.
                    Approval::Person => return Ok(()),
                    Approval::ConfirmFlag => "--confirm",
                    Approval::Nobody => "nobody to ask",
                    Approval::Rehearsal => "--dry-run",
                    Approval::Twin => "a twin",
                    Approval::YesFlag => "--yes",
                };
                self.say(&format!("{question} {answer} ({by})"))
            }
            event @ Event::Finished { .. } => self.finished(event),
            event @ Event::Gate { .. } => self.gate(event),
            event @ Event::Mutation { .. } => self.mutation(event),
            Event::Note { level, text } => match level {
                Level::Info => self.say(text),
                Level::Warn => {
                    let word = self.style.warn("warning:");
                    self.say(&format!("{word} {text}"))
                }
            },
            Event::Output { text } => {
                writeln!(self.out, "{text}")?;
                self.out.flush()
            }
            Event::Process { process, what } => self.process(*process, what),
            event @ Event::Started { .. } => self.started(event),
            event @ Event::StepFinished { .. } => self.step_finished(event),
            Event::StepStarted { name, depth, .. } => {
                self.depth = *depth;
                self.worked = true;
                let name = self.style.strong(name);
                self.say(&format!("step {name}"))?;
                self.depth += 1;
                Ok(())
            }
        }
    }
}

/// A failure as people see it: the script's line where there is one, the evidence, the hint.
pub fn failure_text(failure: &FailureRecord, style: Style) -> String {
    let mut text = match &failure.rendered {
        Some(rendered) => rendered.trim_end().to_owned(),
        None => format!("{} {}", style.bad("error:"), failure.message),
    };
    text.push('\n');
    for line in &failure.evidence {
        let _ = writeln!(text, "  - {line}");
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

fn handshakes_short(figures: &TrafficFigures) -> String {
    if figures.failed == 0 {
        format!("{} handshakes", figures.made)
    } else {
        format!(
            "{} handshakes, {} failed for trust",
            figures.made, figures.failed
        )
    }
}

fn handshakes_text(figures: &TrafficFigures) -> String {
    let mut text = format!(
        "handshakes    {} made, {} failed for trust, {} unreachable\n",
        figures.made, figures.failed, figures.unreachable
    );
    if let Some(least) = &figures.least {
        let _ = writeln!(text, "least probed  {}, {}", least.pair, least.made);
    }
    let failed: Vec<_> = figures.pairs.iter().filter(|p| p.failed > 0).collect();
    for pair in failed.iter().take(LINES) {
        let reasons: Vec<_> = pair
            .reasons
            .iter()
            .map(|(reason, n)| format!("{n} {reason}"))
            .collect();
        let _ = writeln!(
            text,
            "no trust      {}, {} failed: {}",
            pair.name(),
            pair.failed,
            reasons.join("; ")
        );
    }
    if let Some(more) = failed.len().checked_sub(LINES).filter(|n| *n > 0) {
        let _ = writeln!(text, "no trust      and {more} more pairs");
    }
    text
}

fn waiver_text(waiver: &WaiverRecord) -> String {
    let name = waiver_name(waiver);
    match waiver.used {
        0 => format!("{name}, not used"),
        1 => format!("{name}, used once"),
        n => format!("{name}, used {n} times"),
    }
}

fn waiver_name(waiver: &WaiverRecord) -> String {
    match &waiver.reason {
        Some(reason) => format!("{} ({reason})", waiver.code),
        None => waiver.code.clone(),
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    // Whole seconds of a run: neither negative nor near the end of the range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = seconds.round() as u64;
    format!("{} min {} s", whole / 60, whole % 60)
}

/// An argument vector as one would type it.
fn shell_words(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    argv.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
