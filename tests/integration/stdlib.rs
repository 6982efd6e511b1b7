//! The Rhai library is tested in Rhai: each `x_test.rhai` beside `x.rhai` runs on a twin.

use std::path::{Path, PathBuf};

use crate::support::Program;

fn tests_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.to_str().unwrap().ends_with("_test.rhai") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_of_the_library_passes_on_a_twin() {
    let mut found = Vec::new();
    tests_below(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib"),
        &mut found,
    );
    assert!(found.len() >= 2, "{found:?}");
    for path in found {
        Program::new(["run", path.to_str().unwrap(), "--twin"])
            .run()
            .code(0);
    }
}
