//! An error as a person sees it: the source line, a caret, the call chain, evidence and a hint.

use super::sources::Sources;
use super::{Failure, position};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use rhai::{EvalAltResult, Position};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// A failure and where in which scripts it happened.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What went wrong.
    pub failure: Failure,
    /// Where, innermost first; empty if it has no place in a script.
    pub frames: Vec<Frame>,
}

/// A place in a script.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The name of the script or module.
    pub source: String,
    /// Its text, if known.
    pub text: Option<Arc<str>>,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// The function that the frame below this one is in: what was called here.
    pub called: Option<String>,
}

impl Diagnostic {
    /// A failure without a place.
    pub fn new(failure: Failure) -> Diagnostic {
        Diagnostic {
            failure,
            frames: Vec::new(),
        }
    }

    /// A failure at `line` and `column` (characters), both from 1, of `text`, which is called `source`.
    pub fn at(
        failure: Failure,
        source: &str,
        text: &str,
        line: usize,
        column: usize,
    ) -> Diagnostic {
        Diagnostic {
            failure,
            frames: vec![Frame {
                source: source.to_owned(),
                text: Some(Arc::from(text)),
                line,
                column,
                called: None,
            }],
        }
    }

    /// What `error` says and where, when `main` is the script that was evaluated.
    pub(super) fn of(
        failure: Failure,
        error: &EvalAltResult,
        main: &str,
        sources: &Sources,
    ) -> Diagnostic {
        let mut frames = Vec::new();
        let mut source = main.to_owned();
        let mut error = error;
        loop {
            let (called, next_source, inner, at) = match error {
                EvalAltResult::ErrorInFunctionCall(name, callee, inner, at) => {
                    (Some(name.as_str()), callee.clone(), Some(inner), *at)
                }
                EvalAltResult::ErrorInModule(name, inner, at) => {
                    (Some(name.as_str()), source.clone(), Some(inner), *at)
                }
                leaf => (None, String::new(), None, leaf.position()),
            };
            push(&mut frames, &source, called, at, sources);
            match inner {
                Some(inner) => {
                    if !next_source.is_empty() {
                        source = next_source;
                    }
                    error = inner;
                }
                None => break,
            }
        }
        frames.reverse();
        Diagnostic { failure, frames }
    }

    /// `file:line:column` of the innermost frame.
    pub fn place(&self) -> Option<String> {
        let frame = self.frames.first()?;
        Some(format!("{}:{}:{}", frame.source, frame.line, frame.column))
    }

    /// The whole report, with a line break at its end.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = renderer.render(&self.groups());
        out.push('\n');
        for frame in self.chain() {
            let _ = write!(
                out,
                "  called from {}:{}:{}",
                frame.source, frame.line, frame.column
            );
            if let Some(line) = frame.line_text() {
                let _ = write!(out, ": {line}");
            }
            out.push('\n');
        }
        for line in &self.failure.evidence {
            let _ = writeln!(out, "  - {line}");
        }
        if let Some(hint) = &self.failure.hint {
            let _ = writeln!(out, "hint: {hint}");
        }
        out
    }

    /// The frames after the innermost one.
    fn chain(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().skip(1)
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let title = Level::ERROR.primary_title(self.failure.message.as_str());
        let title = match &self.failure.code {
            Some(code) => title.id(code.as_str()),
            None => title,
        };
        let Some(frame) = self.frames.first() else {
            return vec![Group::with_title(title)];
        };
        let Some(text) = &frame.text else {
            return vec![Group::with_title(title)];
        };
        let snippet = Snippet::source(&**text)
            .path(frame.source.as_str())
            .annotation(AnnotationKind::Primary.span(position::span(
                text,
                frame.line,
                frame.column,
            )));
        vec![title.element(snippet)]
    }
}

impl Frame {
    fn line_text(&self) -> Option<&str> {
        self.text
            .as_ref()?
            .lines()
            .nth(self.line - 1)
            .map(str::trim)
    }
}

fn push(
    frames: &mut Vec<Frame>,
    source: &str,
    called: Option<&str>,
    at: Position,
    sources: &Sources,
) {
    let Some(line) = at.line() else {
        return;
    };
    frames.push(Frame {
        source: source.to_owned(),
        text: sources.get(source),
        line,
        column: at.position().unwrap_or(1),
        called: called.filter(|name| !name.is_empty()).map(str::to_owned),
    });
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Some(place) => write!(f, "{} ({place})", self.failure),
            None => write!(f, "{}", self.failure),
        }
    }
}

impl std::error::Error for Diagnostic {}
