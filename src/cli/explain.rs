//! `rootshift explain`: what a gate's code or the kind of a failure means; needs no cluster.

use std::fmt::Write as _;

use serde_json::json;

use super::args::{ExplainArgs, Format};
use super::show;
use crate::engine::{Failure, FailureKind, did_you_mean};
use crate::mesh::{gate, gate_text};

/// Explains; gives the exit code.
pub(super) fn explain(args: &ExplainArgs) -> u8 {
    let found = match &args.code {
        None => return list(args.output.output),
        Some(code) => about(code),
    };
    match found {
        Ok((text, value)) => {
            match args.output.output {
                Format::Text => show::result(text.trim_end()),
                Format::Json | Format::Jsonl => show::result(&value.to_string()),
            }
            0
        }
        Err(failure) => show::failure(&failure),
    }
}

fn list(format: Format) -> u8 {
    let gates = gate::ALL;
    if format == Format::Text {
        for gate in gates {
            show::result(&format!("{}  {}", gate.code, gate.title));
        }
        for kind in FailureKind::ALL {
            show::result(&format!(
                "{}: exit code {}",
                kind.as_str(),
                kind.exit_code()
            ));
        }
        return 0;
    }
    let gates: Vec<_> = gates
        .iter()
        .map(|g| json!({"code": g.code, "title": g.title}))
        .collect();
    let kinds = FailureKind::ALL.map(|k| json!({"kind": k.as_str(), "exit_code": k.exit_code()}));
    show::result(&json!({"gates": gates, "kinds": kinds}).to_string());
    0
}

/// What is said of a code, for people and for programs.
fn about(code: &str) -> Result<(String, serde_json::Value), Failure> {
    let gate = gate::ALL.iter().find(|g| g.code.eq_ignore_ascii_case(code));
    if let (Some(gate), Some(text)) = (gate, gate_text::of(code)) {
        let mut out = format!("{}: {}\n", gate.code, gate.title);
        for (title, part) in [
            ("What it looks at", text.looks_at),
            ("Why it matters", text.why),
            ("What to do", text.what_to_do),
            ("What a waiver means", text.waiver),
        ] {
            let _ = write!(out, "\n{title}\n{}", wrapped(part));
        }
        let _ = write!(
            out,
            "\nA waiver is --waive {0}=REASON; it is recorded, and shown to the end.\n",
            gate.code
        );
        let value = json!({"code": gate.code, "title": gate.title, "looks_at": text.looks_at,
            "why": text.why, "what_to_do": text.what_to_do, "waiver": text.waiver});
        return Ok((out, value));
    }
    if let Some(kind) = FailureKind::parse(&code.to_lowercase()) {
        let text = kind.explanation();
        let out = format!(
            "{kind}: exit code {}\n\n{}",
            kind.exit_code(),
            wrapped(text)
        );
        let value = json!({"kind": kind.as_str(), "exit_code": kind.exit_code(), "text": text});
        return Ok((out, value));
    }
    let known = gate::ALL.iter().map(|g| g.code);
    let kinds = FailureKind::ALL.map(FailureKind::as_str);
    let code_like = code.to_uppercase().starts_with("RS");
    let near = if code_like {
        did_you_mean(&code.to_uppercase(), known)
    } else {
        did_you_mean(code, kinds)
    };
    let failure = Failure::usage(format!("nothing has the code `{code}`"));
    Err(failure.hint(near.unwrap_or_else(|| "`rootshift explain` lists the codes".to_owned())))
}

/// Lines of at most 96 characters, indented.
fn wrapped(text: &str) -> String {
    let (mut out, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.chars().count() > 96 {
            out.push('\n');
            width = 0;
        }
        if width == 0 {
            out.push_str("  ");
            width = 2;
        } else {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.chars().count();
    }
    out.push('\n');
    out
}
