//! What the README says is so: its script runs, its commands parse, its headings match the tree.

use std::path::Path;

use crate::support::rootshift;

const README: &str = include_str!("../../README.md");

/// The indented blocks, without their indentation.
fn blocks() -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in README.lines() {
        match line.strip_prefix("    ") {
            Some(code) => {
                let block = blocks.last_mut().unwrap();
                block.push_str(code);
                block.push('\n');
            }
            // A blank line may be inside of a block.
            None if line.is_empty() => blocks.last_mut().unwrap().push('\n'),
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

#[test]
fn its_script_runs_on_the_twin() {
    let script = blocks()
        .into_iter()
        .find(|block| block.trim_start().starts_with("//!"))
        .expect("a script");
    let ran = rootshift("run ./readme.rhai --twin -o jsonl")
        .file("readme.rhai", script.trim_start())
        .run()
        .code(0);
    let restarted = ran
        .events()
        .iter()
        .filter(|e| e["event"] == "mutation" && e["phase"] == "sent")
        .count();
    assert!(restarted > 0);
}

#[test]
fn its_commands_are_commands_of_the_program() {
    let mut found = 0;
    for block in blocks() {
        for line in block.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some(command) = line
                .strip_prefix("rootshift ")
                .or_else(|| line.strip_prefix("cargo run --release -- "))
            else {
                continue;
            };
            found += 1;
            // Parsed, then help instead of the act.
            let words = command.split('\'').next().unwrap_or_default();
            rootshift(words).arg("--help").run().code(0);
        }
    }
    assert!(found >= 6, "only {found} commands found");
}

#[test]
fn its_map_names_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = blocks()
        .into_iter()
        .find(|block| block.trim_start().starts_with("src/"))
        .expect("a map");
    let mut rooms: Vec<String> = std::fs::read_dir(root.join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    rooms.sort();
    for room in rooms {
        assert!(
            map.contains(&format!("  {room}/ ")),
            "`{room}` is not on the map"
        );
    }
}
