//! Who may import whom: the rooms of `src/`, and the crates that are kept in one room.
//!
//! The sources are read as text, without comments, strings and test modules. What a room may name
//! is listed here; everything else is a violation. `use super::super::…` cannot go around it,
//! because the paths that leave a room through `super` are resolved too.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room and the rooms it may name. `effect` may be named by all.
const ROOMS: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "cluster", "engine", "host", "journal", "mesh", "pki", "report", "run", "script",
            "twin",
        ],
    ),
    ("cluster", &[]),
    ("effect", &[]),
    ("engine", &[]),
    ("host", &["cluster", "engine", "journal", "mesh", "pki"]),
    ("journal", &[]),
    ("mesh", &["cluster", "pki"]),
    ("pki", &[]),
    ("report", &["journal"]),
    ("run", &["cluster", "engine", "host", "journal", "script"]),
    ("script", &["engine"]),
    ("twin", &["pki"]),
];

/// Crates, and where they may be named: a room, or a file's beginning.
const CRATES: &[(&str, &[&str])] = &[
    ("annotate_snippets", &["engine/"]),
    ("clap", &["cli/"]),
    ("comfy_table", &["report/"]),
    ("etcetera", &["effect/"]),
    ("k8s_openapi", &["cluster/"]),
    ("kube", &["cluster/"]),
    ("rcgen", &["pki/"]),
    ("rhai", &["engine/", "host/", "cli/repl"]),
    ("rustls", &["cluster/connect", "pki/", "twin/server/"]),
    ("rustyline", &["cli/"]),
    ("tokio_rustls", &["twin/asmcli/client.rs", "twin/server/"]),
    ("tracing_subscriber", &["cli/"]),
    ("webpki", &["pki/"]),
    ("x509_parser", &["pki/"]),
];

/// Doors to the machine.
const MACHINE: &[(&str, &[&str])] = &[
    ("std::env", &["effect/", "cli/", "main.rs"]),
    ("std::process", &["effect/", "cli/", "main.rs"]),
    ("tokio::process", &["effect/"]),
];

#[test]
fn rooms_import_in_one_direction_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let files = rust_files(&src);
    assert!(files.len() > 30, "only {} files found", files.len());
    for file in files {
        let path = file
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        found.extend(violations(&path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_room_is_listed() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms: Vec<String> = fs::read_dir(&src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    rooms.sort();
    let listed: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    assert_eq!(rooms, listed);
}

#[test]
fn a_source_that_breaks_the_rules_is_caught() {
    let bad = r##"
        use crate::{effect::clock, run::{Outcome, Run}};
        use super::super::cli::args;
        /* use crate::script; */ // use crate::host;
        const TEXT: &str = "use crate::report";
        const RAW: &str = r#"kube::Client "quoted" crate::host"#;
        fn f() -> crate::engine::Failure { ::kube::Client::new(); let _ = std::env::var("X"); my_kube::x(); 'c' }
        #[cfg(test)]
        mod tests { use crate::twin::Twin; fn g() { if true {} } }
        use k8s_openapi as k;
    "##;
    assert_eq!(
        violations("mesh/read/deep.rs", bad),
        [
            "mesh/read/deep.rs names the room `run`",
            "mesh/read/deep.rs names the room `engine`",
            "mesh/read/deep.rs names the crate `k8s_openapi`",
            "mesh/read/deep.rs names the crate `kube`",
            "mesh/read/deep.rs names `std::env`",
        ]
    );
    // From a file one level higher, the same `super::super` leaves the room.
    assert!(
        violations("mesh/read.rs", bad).contains(&"mesh/read.rs names the room `cli`".to_owned())
    );
    assert!(
        violations(
            "cluster/a.rs",
            "use kube::Client; use crate::effect::clock;"
        )
        .is_empty()
    );
}

/// Every rule that a source breaks, in words.
fn violations(path: &str, source: &str) -> Vec<String> {
    let code = without_tests(&without_comments_and_strings(source));
    let tokens = tokens(&code);
    let Some((room, _)) = path.split_once('/') else {
        return Vec::new();
    };
    let allowed = ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, may)| *may);
    let Some(allowed) = allowed else {
        return vec![format!("{path} is in no room")];
    };
    let mut found = Vec::new();
    let mut say = |text: String| {
        if !found.contains(&text) {
            found.push(text);
        }
    };
    for named in rooms_named(path, &tokens) {
        if named != room && named != "effect" && !allowed.contains(&named.as_str()) {
            say(format!("{path} names the room `{named}`"));
        }
    }
    for (name, places) in CRATES {
        let names = tokens.iter().enumerate().any(|(i, token)| {
            let path_start = i == 0
                || tokens[i - 1] != "::"
                || i == 1
                || !is_word(&tokens[i - 2])
                || tokens[i - 2] == "use";
            let used = tokens.get(i + 1).is_some_and(|next| next == "::")
                || (i > 0 && tokens[i - 1] == "use");
            token == name && path_start && used
        });
        if names && !places.iter().any(|place| path.starts_with(place)) {
            say(format!("{path} names the crate `{name}`"));
        }
    }
    for (name, places) in MACHINE {
        let (krate, module) = name.split_once("::").unwrap();
        let names = paths(&tokens, krate).iter().any(|first| first == module);
        if names && !places.iter().any(|place| path.starts_with(place)) {
            say(format!("{path} names `{name}`"));
        }
    }
    found
}

/// The rooms that a file names, through `crate::` or by leaving its own room with `super::`.
fn rooms_named(path: &str, tokens: &[String]) -> Vec<String> {
    let mut rooms = paths(tokens, "crate");
    // `a/mod.rs` is the module `a`, `a/b.rs` the module `a::b`.
    let depth = path.split('/').count() - usize::from(path.ends_with("mod.rs"));
    let mut i = 0;
    while i < tokens.len() {
        let mut supers = 0;
        while tokens.get(i).is_some_and(|t| t == "super")
            && tokens.get(i + 1).is_some_and(|t| t == "::")
        {
            supers += 1;
            i += 2;
        }
        if supers == depth
            && let Some(room) = tokens.get(i)
        {
            rooms.push(room.clone());
        }
        i += 1;
    }
    rooms.retain(|room| ROOMS.iter().any(|(name, _)| name == room));
    rooms
}

/// The first segments after `root::`, those in braces included.
fn paths(tokens: &[String], root: &str) -> Vec<String> {
    let mut firsts = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if token != root || tokens.get(i + 1).is_none_or(|t| t != "::") {
            continue;
        }
        match tokens.get(i + 2).map(String::as_str) {
            Some("{") => {
                let mut depth = 0;
                let mut first = true;
                for token in &tokens[i + 2..] {
                    match token.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        "," if depth == 1 => first = true,
                        word if depth == 1 && first && is_word(word) => {
                            firsts.push(word.to_owned());
                            first = false;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            Some(word) => firsts.push(word.to_owned()),
            None => {}
        }
    }
    firsts
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Words, `::`, and single signs.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            continue;
        }
        let mut token = c.to_string();
        if is_word(&token) {
            while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || *n == '_') {
                token.push(next);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            token.push(':');
        }
        tokens.push(token);
    }
    tokens
}

fn without_comments_and_strings(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut code = String::new();
    let mut i = 0;
    while i < chars.len() {
        let raw = (at(i) == 'r' || (at(i) == 'b' && at(i + 1) == 'r'))
            && !(i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_'));
        let hashes_at = i + if at(i) == 'b' { 2 } else { 1 };
        let hashes = if raw {
            chars[hashes_at.min(chars.len())..]
                .iter()
                .take_while(|c| **c == '#')
                .count()
        } else {
            0
        };
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 1;
            i += 2;
            while i < chars.len() && depth > 0 {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
            }
        } else if raw && at(hashes_at + hashes) == '"' {
            let close: String = std::iter::once('"')
                .chain("#".repeat(hashes).chars())
                .collect();
            let rest: String = chars[hashes_at + hashes + 1..].iter().collect();
            let length = rest.find(&close).map_or(rest.len(), |n| n + close.len());
            i = hashes_at + hashes + 1 + rest[..length].chars().count();
            code.push_str("\"\"");
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            code.push_str("\"\"");
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // A character; anything else that begins so is a lifetime.
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            code.push(at(i));
            i += 1;
        }
    }
    code
}

/// Drops `#[cfg(test)] mod … { … }`: tests may look at everything.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(") {
        let (before, from) = rest.split_at(start);
        kept.push_str(before);
        let attribute = from.find(']').map_or(from, |end| &from[..=end]);
        let body = from[attribute.len()..].trim_start();
        let is_test = attribute == "#[cfg(test)]" || attribute.starts_with("#[cfg(all(test");
        if is_test && body.starts_with("mod ") && body.find('{') < body.find(';') {
            let mut depth = 0_usize;
            let end = from.char_indices().find_map(|(i, c)| {
                match c {
                    '{' => depth += 1,
                    '}' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(i + 1);
                        }
                    }
                    _ => {}
                }
                None
            });
            rest = &from[end.unwrap_or(from.len())..];
        } else {
            kept.push_str(attribute);
            rest = &from[attribute.len()..];
        }
    }
    kept.push_str(rest);
    kept
}

/// All Rust files below a folder, without those that hold only tests.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs")
            && name != "tests.rs"
            && !name.ends_with("_tests.rs")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}
